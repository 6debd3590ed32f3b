//! Which trial of a new run belongs to which of the base run.

use super::Tried;
use record::{Ended, Results};
use std::collections::{BTreeMap, BTreeSet};

/// What a trial of the base run finds in the new run.
pub(super) enum Match<'a> {
    /// Its counterpart.
    One(Tried<'a>),
    /// Nothing, and why, as the end of a sentence.
    None(String),
}

/// The trials of a new run by what they must share with those of the base run.
pub(super) struct Pairs<'a> {
    base: &'a Results,
    new: &'a Results,
    fresh: &'a [Tried<'a>],
    by_label: bool,
    /// Trials that differ in their threads alone.
    found: BTreeMap<String, Vec<Tried<'a>>>,
    /// Fingerprints under which a run has several datasets: their names tell these apart.
    shared: BTreeSet<&'a str>,
    /// Whether labels alone leave devices or threads unsaid.
    several: bool,
}

/// The digest of a dataset by its name.
fn fingerprint<'a>(run: &'a Results, dataset: &str) -> &'a str {
    run.info.datasets.iter().find(|d| d.name == dataset).map_or("", |d| d.fingerprint.as_str())
}

impl<'a> Pairs<'a> {
    /// Sorts the trials of the new run, the second of the two.
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

    /// What two trials must share, but for their threads.
    fn key(&self, run: &Results, ended: &Ended) -> String {
        let t = &ended.trial;
        let what = if self.by_label { t.label.clone() } else { format!("{} {}", t.method, t.params) };
        format!("{} {what} {} {}", self.dataset(run, ended), t.device, t.seed)
    }

    /// A dataset by its content; by its name too where a run has the same content under several.
    fn dataset(&self, run: &Results, ended: &Ended) -> String {
        let fingerprint = fingerprint(run, &ended.trial.dataset);
        let name = if self.shared.contains(fingerprint) { ended.trial.dataset.as_str() } else { "" };
        format!("{fingerprint} {name}")
    }

    /// What a trial is called, with everything that tells it from others of its run but its seed.
    pub(super) fn subject(&self, ended: &Ended) -> String {
        let t = &ended.trial;
        let plural = if t.threads == 1 { "" } else { "s" };
        let place =
            if self.several { format!(" · {}, {} thread{plural}", t.device, t.threads) } else { String::new() };
        format!("{} · {}{place}", t.dataset, t.label)
    }

    /// The counterpart of a trial of the base run. Quality does not depend on threads: where those are not to be had, others do,
    /// and timings tell that they cannot be compared.
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

/// Which parameters differ, and how.
fn changes(old: &serde_json::Value, new: &serde_json::Value) -> String {
    let names: BTreeSet<&String> = [old, new].iter().filter_map(|v| v.as_object()).flat_map(|map| map.keys()).collect();
    let shown = |value: Option<&serde_json::Value>| value.map_or("nothing".to_owned(), ToString::to_string);
    let differing = names.into_iter().filter(|name| old.get(name.as_str()) != new.get(name.as_str()));
    let words = differing.map(|name| format!("{name} was {}, is {}", shown(old.get(name)), shown(new.get(name))));
    words.collect::<Vec<_>>().join("; ")
}
