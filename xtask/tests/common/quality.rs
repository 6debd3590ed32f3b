//! What must be equal between two runs of one experiment, however and wherever their trials ran.

#![allow(dead_code)]

use record::metric::{self, Noise};
use record::{RunFolder, Status};
use std::path::Path;

/// One line for each trial and each value that is no time and no memory, in the order of the plan; an error if a trial has no
/// record.
pub fn quality(root: &Path) -> Result<Vec<String>, String> {
    let run = RunFolder::new(root).load().map_err(|error| error.to_string())?;
    let mut lines = Vec::new();
    for trial in &run.info.trials {
        let mut own = run.records.iter().filter(|record| record.trial.id == trial.id);
        let record = own.next().ok_or_else(|| format!("{} has no record", trial.id))?;
        if own.next().is_some() {
            return Err(format!("{} has two records", trial.id));
        }
        if record.status != Status::Ok {
            return Err(format!("{} failed: {}", trial.id, record.reason.as_deref().unwrap_or_default()));
        }
        let codes = record.codes_sha256.as_deref().ok_or_else(|| format!("{} has no digest of its codes", trial.id))?;
        lines.push(format!("{} {codes} {}", trial.id, record.trial.bits_per_vector));
        let exact = record.values.iter().filter(|v| metric::find(&v.metric).is_some_and(|m| m.noise == Noise::Exact));
        lines.extend(exact.map(|v| {
            format!("{} {} {:?} {:?} {:?} {:x}", trial.id, v.metric, v.stage, v.k, v.path, v.value.to_bits())
        }));
    }
    Ok(lines)
}
