//! Bounds the size of an experiment before it is expanded: lists multiply, and a small file can request more trials
//! than fit in memory.

use super::checks::Checker;
use super::sweeps::{self, Source};
use crate::document::cost;
use crate::experiment::Experiment;
use crate::units::ByteSize;
use serde_json::{Map, Value};

/// Maximum number of trials of an experiment.
pub(super) const MAX_TRIALS: u64 = 100_000;

/// Maximum number of bytes of the parameters and settings of all trials, as written.
const MAX_BYTES: u64 = 512 << 20;

/// Approximate bytes of a value besides its text.
const VALUE_BYTES: u64 = 64;

/// Refuses an experiment that expands to too much. Returns whether it may be expanded.
pub(super) fn check(experiment: &Experiment, checker: &mut Checker<'_>) -> bool {
    let count = |n: usize| n as u64;
    let datasets = count(experiment.datasets.len());
    let devices = count(experiment.device.len());
    let threads = count(experiment.threads.as_ref().map_or(1, Vec::len));
    let seeds = count(experiment.seeds.len());
    let mut methods = 0u64;
    let mut bytes = 0u64;
    for (i, entry) in experiment.methods.iter().enumerate() {
        let combinations = combinations(entry);
        if combinations > MAX_TRIALS {
            let message = format!("this entry has {combinations} combinations");
            let help = format!("an experiment has at most {MAX_TRIALS} trials; shorten a list");
            let key = [Source::Sweep, Source::Zip, Source::AtBits]
                .map(Source::key)
                .into_iter()
                .find(|key| entry.contains_key(*key));
            checker.fault(&format!("/methods/{i}/{}", key.unwrap_or_default()), message, Some(help));
            return false;
        }
        methods = methods.saturating_add(combinations);
        bytes = bytes.saturating_add(combined_bytes(entry, combinations));
    }
    // What is overridden is part of each method.
    let overridden: u64 =
        experiment.overrides.iter().map(|item| map_bytes(&item.parameters) + map_bytes(&item.methods)).sum();
    bytes = bytes.saturating_add(overridden.saturating_mul(methods));
    let each = [datasets, devices, threads, seeds].into_iter().fold(1u64, u64::saturating_mul);
    let trials = methods.saturating_mul(each);
    if trials > MAX_TRIALS {
        let factors = [
            (methods, "methods"),
            (datasets, "datasets"),
            (seeds, "seeds"),
            (devices, "devices"),
            (threads, "numbers of threads"),
        ];
        let factors = factors.into_iter().filter(|(count, _)| *count > 1);
        let factors: Vec<String> = factors.map(|(count, what)| format!("{count} {what}")).collect();
        let message = format!("this experiment has {trials} trials, more than {MAX_TRIALS}: {}", factors.join(" × "));
        checker.fault("/methods", message, Some("shorten a sweep or the seeds, or split the experiment".into()));
        return false;
    }
    let settings = experiment.measure.as_ref().map_or(0, map_bytes).saturating_mul(trials);
    if bytes.saturating_mul(each).saturating_add(settings) > MAX_BYTES {
        let message = format!(
            "the parameters and settings of the {trials} trials of this experiment take more than {}",
            ByteSize(MAX_BYTES)
        );
        checker.fault("/methods", message, Some("shorten the longest lists and texts, or a sweep".into()));
        return false;
    }
    true
}

/// The lists of a sweep or zip, each with its length. What is not a list counts as one value; the error is reported
/// where it is read.
fn lists(entry: &Map<String, Value>, source: Source) -> impl Iterator<Item = (&String, &[Value], u64)> {
    sweeps::lists(entry, source).map(|(key, list)| (key, list, list.len().max(1) as u64))
}

fn combinations(entry: &Map<String, Value>) -> u64 {
    let rates = entry.get(Source::AtBits.key()).and_then(Value::as_array).map_or(1, Vec::len).max(1) as u64;
    let zipped = lists(entry, Source::Zip).map(|(_, _, values)| values).max().unwrap_or(1);
    lists(entry, Source::Sweep)
        .fold(rates.saturating_mul(zipped), |product, (_, _, values)| product.saturating_mul(values))
}

/// Bytes of the parameters of all combinations: fixed parameters in each of them, and each swept value in its share of
/// them.
fn combined_bytes(entry: &Map<String, Value>, combinations: u64) -> u64 {
    let lists_of = [Source::Sweep, Source::Zip];
    let is_list = |key: &String| lists_of.iter().any(|source| source.key() == key);
    let fixed = entry.iter().filter(|(key, _)| !is_list(key)).map(|(key, value)| bytes(key, value));
    let fixed = fixed.sum::<u64>().saturating_mul(combinations);
    let swept = lists_of.into_iter().flat_map(|source| lists(entry, source)).map(|(key, list, values)| {
        let share = combinations / values;
        let all: u64 = list.iter().map(|value| bytes(key, value)).sum();
        all.saturating_mul(share)
    });
    swept.fold(fixed, u64::saturating_add)
}

fn map_bytes(map: &Map<String, Value>) -> u64 {
    map.iter().map(|(key, value)| bytes(key, value)).sum()
}

fn bytes(key: &str, value: &Value) -> u64 {
    let (values, text) = cost(value);
    (key.len() + text) as u64 + values as u64 * VALUE_BYTES
}
