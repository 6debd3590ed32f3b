//! How much memory did the whole trial take?

use super::{Measure, MeasureEntry, Subject, params_of, parse_params};
use methods::MethodError;
use methods::spec::schema_of;
use record::Measured;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub const ENTRY: MeasureEntry = MeasureEntry {
    name: "memory",
    summary: "Peak resident memory of the trial's process, data included",
    always: true,
    schema: schema_of::<Memory>,
    parse: parse_params::<Memory>,
};

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Memory {}

impl Measure for Memory {
    fn params(&self) -> Value {
        params_of(self)
    }

    fn measure(&self, _subject: &Subject<'_>) -> Result<Vec<Measured>, MethodError> {
        Ok(peak_rss_bytes().map(|bytes| Measured::new("peak_rss_bytes", bytes, "B")).into_iter().collect())
    }
}

/// Peak resident set size of this process. Linux keeps it per program image; what `getrusage` says there starts from the
/// size of the process that spawned this one.
#[cfg(target_os = "linux")]
fn peak_rss_bytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024.0)
}

#[cfg(all(unix, not(target_os = "linux")))]
fn peak_rss_bytes() -> Option<f64> {
    use nix::sys::resource::{UsageWho, getrusage};
    // Apple's systems count in bytes, the others in KiB.
    let unit = if cfg!(target_vendor = "apple") { 1.0 } else { 1024.0 };
    getrusage(UsageWho::RUSAGE_SELF).ok().map(|usage| usage.max_rss() as f64 * unit)
}

#[cfg(not(unix))]
fn peak_rss_bytes() -> Option<f64> {
    None
}
