//! The results as trials of a run, in the schema of all results: one for each proof and each step, and one for the
//! limits.

use crate::table::{DeviceRun, Findings, share};
use cuda::proofs::Agreement;
use methods::steps::{DevicePeaks, Note, Timing};
use record::metric::{
    COMPARED, CPU_SECONDS, CPU_SPEED_RATIO, DISTORTION_EXCESS, LIMIT_PER_SECOND, LIMIT_SHARE, MSE_EXCESS, NEAR_TIES,
    OPEN_SHARE, PEAK_DEVICE_BYTES, PEER_SPEED_RATIO, SEARCHED_SHARE, STEP_SECONDS, STEP_VECTORS_PER_SECOND,
    TRANSFER_BYTES_PER_SECOND, WRONG,
};
use record::{Limits, Measured, Metric, Run, RunInfo, SCHEMA, Status, Trial, TrialRecord, id_of};
use reports::statistics::middle;
use serde_json::{Value, json};

/// The entry of the dictionary for what a step measures beside its time.
pub fn metric_of(note: Note) -> &'static Metric {
    match note {
        Note::OpenShare => &OPEN_SHARE,
        Note::SearchedShare => &SEARCHED_SHARE,
        Note::CpuSeconds => &CPU_SECONDS,
        Note::CpuSpeedRatio => &CPU_SPEED_RATIO,
        Note::MseExcess => &MSE_EXCESS,
        Note::PeakDeviceBytes => &PEAK_DEVICE_BYTES,
    }
}

/// Name of the run.
pub const EXPERIMENT: &str = "gpu-check";

/// The findings as a run.
pub fn run(setting: &DeviceRun, findings: &Findings) -> Run {
    let records = records(setting, findings);
    let info = RunInfo {
        schema: SCHEMA,
        name: EXPERIMENT.into(),
        analysis: "The CUDA kernels beside the processor and the limits of the device: gpu.md has the tables.".into(),
        experiment: json!({ "name": EXPERIMENT, "seed": setting.seed, "scale": setting.scale }),
        machine: setting.machine.clone(),
        datasets: vec![],
        trials: records.iter().map(|record| record.trial.clone()).collect(),
        skipped: vec![],
    };
    Run { info, records, pictures: vec![] }
}

/// One trial for each finding.
fn records(setting: &DeviceRun, findings: &Findings) -> Vec<TrialRecord> {
    let limits = findings.limits.as_ref().and_then(|limits| limits.as_ref().ok()).copied();
    let proofs = findings.proofs.iter().map(|(name, end)| {
        let status = match end {
            Ok(found) if found.holds() => Ok(values_of_proof(found)),
            Ok(found) => Err((found.reasons.join("; "), values_of_proof(found))),
            Err(reason) => Err((reason.clone(), vec![])),
        };
        record(setting, name, (0, 0), json!({}), status)
    });
    let measured = findings.limits.iter().map(|measured| {
        let status = match measured {
            Ok(limits) => Ok(values_of_limits(*limits)),
            Err(reason) => Err((reason.clone(), vec![])),
        };
        record(setting, "limits", (0, 0), json!({}), status)
    });
    let steps = findings.steps.iter().map(|(name, end)| match end {
        Ok(timing) => {
            let params = json!({ "k": timing.k, "scale": setting.scale });
            record(setting, name, (timing.n, timing.dim), params, Ok(values_of_step(setting, name, timing, limits)))
        }
        Err(reason) => record(setting, name, (0, 0), json!({ "scale": setting.scale }), Err((reason.clone(), vec![]))),
    });
    proofs.chain(measured).chain(steps).collect()
}

fn record(
    setting: &DeviceRun,
    name: &str,
    (n, dim): (usize, usize),
    params: Value,
    end: Result<Vec<Measured>, (String, Vec<Measured>)>,
) -> TrialRecord {
    let (status, reason, values) = match end {
        Ok(values) => (Status::Ok, None, values),
        Err((reason, values)) => (Status::Failed, Some(reason), values),
    };
    TrialRecord {
        schema: SCHEMA,
        trial: Trial {
            id: id_of(&json!([setting.facts.name, name, params, setting.seed])),
            experiment: EXPERIMENT.into(),
            dataset: "random".into(),
            dim,
            n,
            metric_space: "l2".into(),
            method: name.into(),
            family: None,
            params,
            label: name.into(),
            series: name.into(),
            device: "cuda".into(),
            threads: setting.machine.cores,
            seed: setting.seed,
            bits_per_vector: 0,
        },
        status,
        reason,
        cause: None,
        limits: Limits { timeout_seconds: 0.0, memory_bytes: None },
        machine: setting.machine.clone(),
        wall_seconds: 0.0,
        recipe: None,
        codes_sha256: None,
        log: None,
        // The table holds numbers alone.
        values: values.into_iter().filter(|measured| measured.value.is_finite()).collect(),
    }
}

fn values_of_proof(found: &Agreement) -> Vec<Measured> {
    let count = |metric: &'static Metric, count: usize| Measured::new(metric, count as f64);
    let counts = [(&COMPARED, found.compared), (&NEAR_TIES, found.ties), (&WRONG, found.wrong)];
    let mut values: Vec<Measured> = counts.into_iter().map(|(metric, n)| count(metric, n)).collect();
    values.extend(found.excess().map(|excess| Measured::new(&DISTORTION_EXCESS, excess)));
    values
}

fn values_of_limits(limits: DevicePeaks) -> Vec<Measured> {
    let of = |path: &str, value, unit| Measured::new(&LIMIT_PER_SECOND, value).in_unit(unit).path(path);
    vec![of("copy", limits.copy, "B/s"), of("f32", limits.floats, "FLOP/s"), of("tensor", limits.halves, "FLOP/s")]
}

fn values_of_step(setting: &DeviceRun, name: &str, timing: &Timing, limits: Option<DevicePeaks>) -> Vec<Measured> {
    let mut values = Vec::new();
    for (repeat, &seconds) in timing.seconds.iter().enumerate() {
        values.push(Measured::new(&STEP_SECONDS, seconds).repeat(repeat));
        values.push(Measured::new(&STEP_VECTORS_PER_SECOND, timing.n as f64 / seconds).repeat(repeat));
        values.extend(limits.map(|limits| Measured::new(&LIMIT_SHARE, share(timing, limits, seconds)).repeat(repeat)));
    }
    let ratio = setting.torch.ratio(name, timing.n, timing.k, middle(&timing.seconds));
    values.extend(ratio.map(|ratio| Measured::new(&PEER_SPEED_RATIO, ratio).path("torch")));
    values.extend(timing.notes.iter().map(|(note, value)| Measured::new(metric_of(*note), *value)));
    let transfers = timing.transfers.iter();
    values
        .extend(transfers.map(|(way, bytes, took)| Measured::new(&TRANSFER_BYTES_PER_SECOND, bytes / took).path(*way)));
    values
}
