//! The measurements as trials of a run: two per row, ours and the peer's, in the schema of all results.

use super::data::Data;
use super::limits::MachinePeaks;
use super::outcome::{RowComparison, RowEnd, RowOutcome, RowQuality};
use super::rows::{Row, Stage};
use methods::registry::family_of;
use record::metric::{
    DECODE_VECTORS_PER_SECOND, ENCODE_VECTORS_PER_SECOND, LIMIT_PER_SECOND, LIMIT_SHARE, MSE, PEER_SPEED_RATIO,
    PEER_SPEED_RATIO_AIM, RECALL_K_AT_K, SEARCH_QUERIES_PER_SECOND, TRAIN_SECONDS,
};
use record::{Limits, Machine, Measured, SCHEMA, Status, Trial, TrialRecord, id_of};
use serde_json::{Value, json};

/// Name of the run.
pub const EXPERIMENT: &str = "bench-peers";

/// What trials of one run share.
pub struct Common<'a> {
    /// Where it runs.
    pub machine: &'a Machine,
    /// What it can do at most.
    pub limits: MachinePeaks,
    /// Threads of each side.
    pub threads: usize,
    /// Version of FAISS.
    pub peer_version: &'a str,
    /// Seed of our fits.
    pub seed: u64,
    /// Seconds that the peer may take.
    pub timeout_seconds: f64,
}

/// The two trials of a row: ours, theirs. None for a row that was left out.
pub fn records(
    common: &Common<'_>,
    data: &Data,
    row: &Row,
    outcome: &RowOutcome,
    wall_seconds: f64,
) -> Vec<TrialRecord> {
    let (status, reason) = match &outcome.end {
        RowEnd::Skipped(_) => return Vec::new(),
        RowEnd::Measured(_) => (Status::Ok, None),
        RowEnd::Failed(reason) => (Status::Failed, Some(reason.clone())),
    };
    let method = row.parse_method().ok().flatten();
    let bits = method.as_ref().map_or(32 * data.dim(), |method| method.code_bits(data.dim()));
    let (name, params) = match &method {
        Some(method) => (method.name(), method.params()),
        None => ("exact", json!({ "k": row.k })),
    };
    let family = method.as_ref().and_then(|method| family_of(method.name())).map(|family| family.name().to_owned());
    let mut theirs = row.faiss.clone();
    if let Value::Object(theirs) = &mut theirs {
        theirs.insert("version".into(), common.peer_version.into());
    }
    let sides = [(name, params, row.name.clone()), ("faiss", theirs, format!("{} (FAISS)", row.name))];
    let record = |side: usize, (method, params, label): (&str, Value, String)| {
        let values = match &outcome.end {
            RowEnd::Measured(comparison) => values(common, row, outcome, comparison, side),
            _ => Vec::new(),
        };
        TrialRecord {
            schema: SCHEMA,
            trial: Trial {
                id: id_of(&json!([data.fingerprint, row.name, method, params, common.threads, common.seed])),
                experiment: EXPERIMENT.into(),
                dataset: data.name.clone(),
                dim: data.dim(),
                n: data.base_rows(row.rows).nrows(),
                metric_space: data.metric_space.clone(),
                method: method.into(),
                family: family.clone(),
                params,
                series: label.clone(),
                label,
                device: "cpu".into(),
                threads: common.threads,
                seed: common.seed,
                bits_per_vector: bits,
            },
            status,
            reason: reason.clone(),
            cause: None,
            limits: Limits { timeout_seconds: common.timeout_seconds, memory_bytes: None },
            machine: common.machine.clone(),
            wall_seconds,
            recipe: None,
            codes_sha256: None,
            log: None,
            values,
        }
    };
    sides.into_iter().enumerate().map(|(side, words)| record(side, words)).collect()
}

/// Everything measured of one side; what compares both stands with ours.
fn values(
    common: &Common<'_>,
    row: &Row,
    outcome: &RowOutcome,
    comparison: &RowComparison,
    side: usize,
) -> Vec<Measured> {
    let seconds = if side == 0 { &comparison.ours } else { &comparison.theirs };
    let path = if side == 0 { comparison.path.clone() } else { None };
    let mut values = Vec::new();
    for (repeat, seconds) in seconds.iter().enumerate() {
        let rate = comparison.items / seconds;
        let measured = match row.stage {
            Stage::Train => Measured::new(&TRAIN_SECONDS, *seconds),
            Stage::Encode => Measured::new(&ENCODE_VECTORS_PER_SECOND, rate),
            Stage::Decode => Measured::new(&DECODE_VECTORS_PER_SECOND, rate),
            Stage::Search => Measured::new(&SEARCH_QUERIES_PER_SECOND, rate).k(row.k).maybe_path(path.clone()),
        };
        values.push(measured.repeat(repeat));
        let (work, limit) = (comparison.work, comparison.work.limit(common.limits));
        values.push(Measured::new(&LIMIT_SHARE, work.amount() / seconds / limit).repeat(repeat));
    }
    values.push(Measured::new(&LIMIT_PER_SECOND, comparison.work.limit(common.limits)).in_unit(comparison.work.unit()));
    values.push(match comparison.quality {
        RowQuality::Distortion(mse) => Measured::new(&MSE, mse[side]),
        RowQuality::Overlap(recall) => Measured::new(&RECALL_K_AT_K, recall[side]).k(row.k).maybe_path(path),
    });
    if side == 0 {
        values.push(Measured::new(&PEER_SPEED_RATIO, comparison.ratio()));
        values.push(Measured::new(&PEER_SPEED_RATIO_AIM, outcome.aim));
    }
    values
}
