//! The measurements as trials of a run: two per row, ours and the peer's, in the schema of all results.

use super::data::Data;
use super::limits::Limits;
use super::outcome::{Comparison, End, Outcome, Quality};
use super::rows::{Row, Stage};
use experiments::plan::hash;
use record::{Limits as TrialLimits, Machine, Measured, SCHEMA, Status, Trial, TrialRecord};
use serde_json::{Value, json};

/// Name of the run.
pub const EXPERIMENT: &str = "bench-peers";

/// What trials of one run share.
pub struct Common<'a> {
    /// Where it runs.
    pub machine: &'a Machine,
    /// What it can do at most.
    pub limits: Limits,
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
pub fn records(common: &Common<'_>, data: &Data, row: &Row, outcome: &Outcome, wall_seconds: f64) -> Vec<TrialRecord> {
    let (status, reason) = match &outcome.end {
        End::Skipped(_) => return Vec::new(),
        End::Measured(_) => (Status::Ok, None),
        End::Failed(reason) => (Status::Failed, Some(reason.clone())),
    };
    let method = row.parse_method().ok().flatten();
    let bits = method.as_ref().map_or(32 * data.dim(), |method| method.code_bits(data.dim()));
    let (name, params) = match &method {
        Some(method) => (method.name(), method.params()),
        None => ("exact", json!({ "k": row.k })),
    };
    let mut theirs = row.faiss.clone();
    if let Value::Object(theirs) = &mut theirs {
        theirs.insert("version".into(), common.peer_version.into());
    }
    let sides = [(name, params, row.name.clone()), ("faiss", theirs, format!("{} (FAISS)", row.name))];
    let record = |side: usize, (method, params, label): (&str, Value, String)| {
        let values = match &outcome.end {
            End::Measured(comparison) => values(common, row, outcome, comparison, side),
            _ => Vec::new(),
        };
        TrialRecord {
            schema: SCHEMA,
            trial: Trial {
                id: hash(&json!([data.fingerprint, row.name, method, params, common.threads, common.seed])),
                experiment: EXPERIMENT.into(),
                dataset: data.name.clone(),
                dim: data.dim(),
                n: data.base_rows(row.rows).nrows(),
                metric_space: data.metric_space.clone(),
                method: method.into(),
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
            limits: TrialLimits { timeout_seconds: common.timeout_seconds, memory_bytes: None },
            machine: common.machine.clone(),
            wall_seconds,
            values,
        }
    };
    sides.into_iter().enumerate().map(|(side, words)| record(side, words)).collect()
}

/// Everything measured of one side; what compares both stands with ours.
fn values(common: &Common<'_>, row: &Row, outcome: &Outcome, comparison: &Comparison, side: usize) -> Vec<Measured> {
    let seconds = if side == 0 { &comparison.ours } else { &comparison.theirs };
    let path = if side == 0 { comparison.path.clone() } else { None };
    let mut values = Vec::new();
    for (repeat, seconds) in seconds.iter().enumerate() {
        let rate = comparison.items / seconds;
        let measured = match row.stage {
            Stage::Train => Measured::new("train_seconds", *seconds, "s"),
            Stage::Encode => Measured::new("encode_vectors_per_second", rate, "1/s"),
            Stage::Decode => Measured::new("decode_vectors_per_second", rate, "1/s"),
            Stage::Search => {
                Measured { path: path.clone(), ..Measured::new("search_queries_per_second", rate, "1/s").k(row.k) }
            }
        };
        values.push(measured.repeat(repeat));
        let (work, limit) = (comparison.work, comparison.work.limit(common.limits));
        values.push(Measured::new("limit_share", work.amount() / seconds / limit, "1").repeat(repeat));
    }
    values.push(Measured::new("limit_per_second", comparison.work.limit(common.limits), comparison.work.unit()));
    values.push(match comparison.quality {
        Quality::Distortion(mse) => Measured::new("mse", mse[side], "1"),
        Quality::Overlap(recall) => Measured { path, ..Measured::new("recall_k_at_k", recall[side], "1").k(row.k) },
    });
    if side == 0 {
        values.push(Measured::new("peer_speed_ratio", comparison.ratio(), "1"));
        values.push(Measured::new("peer_speed_ratio_aim", outcome.aim, "1"));
    }
    values
}
