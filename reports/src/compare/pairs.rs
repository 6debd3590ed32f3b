//! Pairs each trial of the base run with its counterpart in the new run.

use super::Tried;
use record::{Ended, Results};
use std::collections::{BTreeMap, BTreeSet};

/// The result of looking up a trial of the base run in the new run.
pub(super) enum Match<'a> {
    /// Its counterpart.
    One(Tried<'a>),
    /// No counterpart; the text is the reason, as the end of a sentence.
    None(String),
}

/// The trials of a new run, by the properties that they must share with those of the base run.
pub(super) struct Pairs<'a> {
    base: &'a Results,
    new: &'a Results,
    fresh: &'a [Tried<'a>],
    by_label: bool,
    /// Trials by key; those under one key differ only in their number of threads.
    found: BTreeMap<String, Vec<Tried<'a>>>,
    /// Fingerprints that several datasets of a run share, so that names must distinguish these datasets.
    shared: BTreeSet<&'a str>,
    /// Whether trials differ in device or threads, which their labels may not say.
    several: bool,
}

/// The fingerprint of a dataset, by its name.
fn fingerprint<'a>(run: &'a Results, dataset: &str) -> &'a str {
    run.info.datasets.iter().find(|d| d.name == dataset).map_or("", |d| d.fingerprint.as_str())
}

impl<'a> Pairs<'a> {
    /// Indexes the trials of the new run, which is the second argument.
    pub(super) fn new(
        (base, old): (&'a Results, &'a [Tried<'a>]),
        (new, fresh): (&'a Results, &'a [Tried<'a>]),
        by_label: bool,
    ) -> Pairs<'a> {
        let mut shared = BTreeSet::new();
        for run in [base, new] {
            let mut seen = BTreeSet::new();
            let of_run = run.info.datasets.iter().map(|d| d.fingerprint.as_str());
            shared.extend(of_run.filter(|fingerprint| !seen.insert(*fingerprint)));
        }
        let places: BTreeSet<(&str, usize)> = old
            .iter()
            .chain(fresh)
            .map(|tried| (tried.ended.trial.device.as_str(), tried.ended.trial.threads))
            .collect();
        let mut pairs = Pairs { base, new, fresh, by_label, found: BTreeMap::new(), shared, several: places.len() > 1 };
        for tried in fresh {
            pairs.found.entry(pairs.key(new, tried.ended)).or_default().push(*tried);
        }
        pairs
    }

    /// The key that two trials must share; it does not contain the number of threads.
    fn key(&self, run: &Results, ended: &Ended) -> String {
        let t = &ended.trial;
        let what = if self.by_label { t.label.clone() } else { format!("{} {}", t.method, t.params) };
        format!("{} {what} {} {}", self.dataset(run, ended), t.device, t.seed)
    }

    /// Identifies a dataset by its content, and also by its name if a run has the same content under several names.
    fn dataset(&self, run: &Results, ended: &Ended) -> String {
        let fingerprint = fingerprint(run, &ended.trial.dataset);
        let name = if self.shared.contains(fingerprint) { ended.trial.dataset.as_str() } else { "" };
        format!("{fingerprint} {name}")
    }

    /// The name of a trial, with everything that distinguishes it from other trials of its run, except its seed.
    pub(super) fn subject(&self, ended: &Ended) -> String {
        let t = &ended.trial;
        let plural = if t.threads == 1 { "" } else { "s" };
        let place =
            if self.several { format!(" · {}, {} thread{plural}", t.device, t.threads) } else { String::new() };
        format!("{} · {}{place}", t.dataset, t.label)
    }

    /// The counterpart of a trial of the base run. Quality does not depend on the number of threads: if no trial has
    /// the same number, another trial is used, and the comparison of timings reports that they are not comparable.
    pub(super) fn of(&self, old: &Ended) -> Match<'a> {
        let candidates = self.found.get(&self.key(self.base, old)).map(Vec::as_slice).unwrap_or_default();
        let same = candidates.iter().find(|tried| tried.ended.trial.threads == old.trial.threads);
        match same.or(candidates.first()) {
            Some(tried) => Match::One(*tried),
            None => Match::None(self.why_none(old)),
        }
    }

    fn why_none(&self, old: &Ended) -> String {
        let (t, dataset) = (&old.trial, self.dataset(self.base, old));
        let mut others = self.fresh.iter().map(|tried| tried.ended).filter(|r| {
            (&r.trial.label, &r.trial.device, r.trial.seed) == (&t.label, &t.device, t.seed)
                && self.dataset(self.new, r) == dataset
        });
        match others.next() {
            Some(other) if other.trial.method != t.method => {
                format!("is another method in the new run: {} was {}", other.trial.method, t.method)
            }
            Some(other) => format!(
                "has other parameters in the new run: {}; `--by-label` compares them all the same",
                changes(&t.params, &other.trial.params)
            ),
            None => "is not in the new run".to_owned(),
        }
    }
}

/// The parameters that differ, with both values.
fn changes(old: &serde_json::Value, new: &serde_json::Value) -> String {
    let names: BTreeSet<&String> = [old, new].iter().filter_map(|v| v.as_object()).flat_map(|map| map.keys()).collect();
    let shown = |value: Option<&serde_json::Value>| value.map_or("nothing".to_owned(), ToString::to_string);
    let differing = names.into_iter().filter(|name| old.get(name.as_str()) != new.get(name.as_str()));
    let words = differing.map(|name| format!("{name} was {}, is {}", shown(old.get(name)), shown(new.get(name))));
    words.collect::<Vec<_>>().join("; ")
}
