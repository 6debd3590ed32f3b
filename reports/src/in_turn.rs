//! Pairs of trials that computed in turn: how much better one side is than the other, and whether its aims are reached.

mod csv;
mod latex;
mod page;

pub use csv::to_csv;
pub use latex::table as to_latex;
pub use page::{html, markdown};

use crate::ReportError;
use crate::machines::Classes;
use crate::number::{show, significant, trim};
use crate::statistics::{Estimate, mean, median, timing};
use crate::summary::over_seeds;
use crate::table::of_k;
use crate::values::{Series, Values, by_trial};
use record::metric::{Dictionary, NMSE, Noise, RECALL_K_AT_K, find_in};
use record::{Aim, Ended, Metric, Results, Status, TurnPair, rerank_factor, rerank_path};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A pair on one dataset, with one device and number of threads.
pub struct PairReport {
    /// Name of the pair.
    pub pair: String,
    /// Name of the dataset.
    pub dataset: String,
    /// Where it ran: device and number of threads, and the class of machines if there are several.
    pub place: String,
    /// Labels of ours and theirs.
    pub labels: [String; 2],
    /// Number of seeds for which both sides succeeded.
    pub seeds: usize,
    /// What was compared.
    pub rows: Vec<PairRow>,
    /// The processors that it ran on.
    pub processors: Vec<String>,
}

/// A pair in one metric.
pub struct PairRow {
    /// The metric.
    pub metric: &'static Metric,
    /// Its heading.
    pub title: String,
    /// Its name, with the re-ranking of a search.
    pub key: String,
    /// Number of neighbours requested.
    pub k: Option<usize>,
    /// The values of both sides; None if it was not measured on both.
    pub compared: Option<Compared>,
    /// What ours must reach.
    pub aim: Option<Aim>,
}

/// The values of both sides.
#[derive(Clone, Copy)]
pub struct Compared {
    /// Ours.
    pub ours: Estimate,
    /// Theirs.
    pub theirs: Estimate,
    /// How many times as good ours is; None if a value is not positive.
    pub ratio: Option<Estimate>,
    /// How much better ours is, in the unit of the metric.
    pub difference: Estimate,
    /// Number of rounds, over all seeds.
    pub rounds: usize,
}

/// Rounding errors that an aim allows.
const ROUNDING: f64 = 1e-9;

impl PairRow {
    /// Whether the aim is reached; None without one. What was not measured reaches nothing.
    pub fn reached(&self) -> Option<bool> {
        let aim = self.aim.as_ref()?;
        let Some(compared) = &self.compared else { return Some(false) };
        let better = |least: f64| match compared.ratio {
            Some(ratio) => ratio.value >= least * (1.0 - ROUNDING),
            // A value of 0, such as a distortion: no ratio, but an order.
            None if self.metric.larger_is_better() == Some(true) => {
                compared.ours.value >= least * compared.theirs.value
            }
            None => compared.ours.value * least <= compared.theirs.value,
        };
        let ratio = aim.ratio.is_none_or(better);
        let difference = aim.difference.is_none_or(|least| compared.difference.value >= least - ROUNDING);
        Some(ratio && difference)
    }

    /// What is shown of both values, and how they compare; dashes for what was not measured.
    fn words(&self) -> [String; 5] {
        let Some(Compared { ours, theirs, ratio, difference, rounds }) = &self.compared else {
            return ["–", "–", "–", "–", "0"].map(str::to_owned);
        };
        let shown = |value: f64| show(self.metric.format, value);
        // A share is compared by differences, unless the aim says otherwise.
        let by_difference = match &self.aim {
            Some(aim) => aim.difference.is_some(),
            None => self.metric.name == RECALL_K_AT_K.name,
        };
        let (better, interval) = match ratio.filter(|_| !by_difference) {
            Some(ratio) => (times(ratio.value), ends(ratio, times)),
            None => (signed(difference.value), ends(*difference, signed)),
        };
        [shown(ours.value), shown(theirs.value), better, interval, rounds.to_string()]
    }

    /// The aim in words; empty without one.
    fn aim_words(&self) -> String {
        let words = |aim: &Aim| match (aim.ratio, aim.difference) {
            (Some(ratio), _) => format!("at least {}×", trim(ratio)),
            (None, Some(difference)) => format!("at least {}", written(difference)),
            (None, None) => String::new(),
        };
        self.aim.as_ref().map(words).unwrap_or_default()
    }
}

fn times(value: f64) -> String {
    format!("{}×", significant(value, 4))
}

fn signed(value: f64) -> String {
    let sign = if value < 0.0 { "−" } else { "+" };
    format!("{sign}{}", significant(value.abs(), 3))
}

/// A difference as it was written, with its sign.
fn written(value: f64) -> String {
    format!("{}{}", if value < 0.0 { "−" } else { "" }, trim(value.abs()))
}

fn ends(estimate: Estimate, words: fn(f64) -> String) -> String {
    if estimate.low == estimate.high {
        return "–".to_owned();
    }
    format!("{} to {}", words(estimate.low), words(estimate.high))
}

/// Compares the sides of all pairs of some runs.
///
/// # Errors
/// Frames without the required columns.
pub fn compare(runs: &[Results], dictionary: &Dictionary) -> Result<Vec<PairReport>, ReportError> {
    let paired: Vec<Vec<TurnPair>> = runs.iter().map(|run| run.info.pairs()).collect();
    if paired.iter().all(Vec::is_empty) {
        return Ok(Vec::new());
    }
    let values = by_trial(runs, |_| true)?;
    let classes = Classes::of(runs);
    let mut all = Vec::new();
    for ((run, pairs), values) in runs.iter().zip(&paired).zip(&values) {
        let ended: HashMap<&str, (&Ended, &Values)> =
            run.ended.iter().zip(values).map(|(ended, values)| (ended.trial.id.as_str(), (ended, values))).collect();
        let planned: HashMap<&str, &record::Trial> = run.info.trials.iter().map(|t| (t.id.as_str(), t)).collect();
        for pair in pairs {
            let mut meetings: Vec<(PairReport, Vec<[&Values; 2]>)> = Vec::new();
            // What has not run yet, or was left out by a filter, is not judged.
            let has_run = |id: &String| ended.contains_key(id.as_str());
            for (ours, theirs) in pair.trials.iter().filter(|(ours, theirs)| has_run(ours) || has_run(theirs)) {
                let (Some(trial), Some(other)) = (planned.get(ours.as_str()), planned.get(theirs.as_str())) else {
                    continue;
                };
                let plural = if trial.threads == 1 { "" } else { "s" };
                let both = [ours, theirs].map(|id| ended.get(id.as_str()));
                // Seeds that ran on machines of several classes are pairs by themselves.
                let on = both.iter().flatten().next().filter(|_| classes.several());
                let on = on.map(|(ended, _)| format!(", {}", classes.name(&ended.machine))).unwrap_or_default();
                let place = format!("{}, {} thread{plural}{on}", trial.device, trial.threads);
                let same = |(report, _): &(PairReport, _)| report.dataset == trial.dataset && report.place == place;
                let at = meetings.iter().position(same).unwrap_or_else(|| {
                    let report = PairReport {
                        pair: pair.name.clone(),
                        dataset: trial.dataset.clone(),
                        place,
                        labels: [trial.label.clone(), other.label.clone()],
                        seeds: 0,
                        rows: Vec::new(),
                        processors: Vec::new(),
                    };
                    meetings.push((report, Vec::new()));
                    meetings.len() - 1
                });
                let [Some((ours, mine)), Some((theirs, other))] = both else { continue };
                let alike = classes.name(&ours.machine) == classes.name(&theirs.machine);
                if ours.status == Status::Ok && theirs.status == Status::Ok && alike && met(ours, theirs) {
                    meetings[at].1.push([mine, other]);
                    let machine = &ours.machine;
                    let words = format!("{}, {} cores, {}", machine.cpu, machine.cores, machine.simd);
                    if !meetings[at].0.processors.contains(&words) {
                        meetings[at].0.processors.push(words);
                    }
                }
            }
            all.extend(meetings.into_iter().map(|(report, seeds)| PairReport {
                seeds: seeds.len(),
                rows: rows(&seeds, &pair.aims, dictionary),
                ..report
            }));
        }
    }
    Ok(all)
}

/// Whether two trials took turns with each other, as far as their records say.
fn met(ours: &Ended, theirs: &Ended) -> bool {
    let attempt = |ended: &Ended| ended.in_turn().map(|turn| turn.attempt.clone());
    attempt(ours) == attempt(theirs)
}

/// One line for each aim that is missed.
pub fn missed(reports: &[PairReport]) -> Vec<String> {
    let of = |report: &PairReport| -> Vec<String> {
        let missed = report.rows.iter().filter(|row| row.reached() == Some(false));
        let line = |row: &PairRow| {
            let [ours, theirs] = &report.labels;
            let what = match &row.compared {
                None => {
                    let of = row.k.map_or(String::new(), |k| format!(" of {k} neighbours"));
                    format!("{}{of} was not measured for both {ours} and {theirs}", row.key)
                }
                Some(_) => {
                    let [_, _, better, ..] = row.words();
                    format!("{} of {ours} compared with {theirs} is {better}", row.key)
                }
            };
            format!("{} on {} ({}): {what}; the aim is {}", report.pair, report.dataset, report.place, row.aim_words())
        };
        missed.map(line).collect()
    };
    reports.iter().flat_map(of).collect()
}

/// What a value is of, besides its metric: number of neighbours, and re-ranking factor.
type Facet = (Option<usize>, Option<usize>);

/// The facet of a series; None for parts of a code, and for what was computed on raw vectors.
fn facet(series: &Series) -> Option<Facet> {
    let path = series.path.as_deref();
    (series.stage.is_none() && path != Some("raw")).then(|| (series.k, path.and_then(rerank_factor)))
}

/// The rows of a pair from the values of both sides, seed by seed.
fn rows(seeds: &[[&Values; 2]], aims: &[Aim], dictionary: &Dictionary) -> Vec<PairRow> {
    let mut rows = Vec::new();
    let mut left: Vec<&Aim> = aims.iter().collect();
    for metric in dictionary.iter().filter(|metric| metric.larger_is_better().is_some()) {
        let of_metric: Vec<&Aim> = aims.iter().filter(|aim| aim.metric == metric.name).collect();
        let quality = [NMSE.name, RECALL_K_AT_K.name].contains(&metric.name);
        let usual = metric.column.is_some() && (metric.noise == Noise::Timed || quality);
        if !usual && of_metric.is_empty() {
            continue;
        }
        let facets: BTreeSet<Facet> =
            seeds.iter().flat_map(|[ours, _]| ours.of(metric.name)).filter_map(facet).collect();
        let several: BTreeSet<Option<usize>> = facets.iter().map(|(k, _)| *k).collect();
        let shown = if several.contains(&Some(10)) { Some(10) } else { several.last().copied().flatten() };
        for (k, factor) in facets {
            let wanted = |aim: &&&Aim| factor.is_none() && aim.k.or(shown) == k;
            let aim = of_metric.iter().find(wanted).copied();
            if aim.is_none() && (k != shown || !usual || (quality && factor.is_some())) {
                continue;
            }
            let Some(compared) = compared(seeds, metric, (k, factor)) else { continue };
            if let Some(aim) = aim {
                left.retain(|other| !std::ptr::eq(*other, aim));
            }
            rows.push(row(metric, k, factor, Some(compared), aim));
        }
    }
    for aim in left {
        if let Some(metric) = find_in(dictionary, &aim.metric) {
            rows.push(row(metric, aim.k, None, None, Some(aim)));
        }
    }
    rows
}

fn row(
    metric: &'static Metric,
    k: Option<usize>,
    factor: Option<usize>,
    compared: Option<Compared>,
    aim: Option<&Aim>,
) -> PairRow {
    let heading = metric.column.map_or(metric.name, |column| column.title);
    let reranked = factor.map(|factor| format!(", re-ranked ×{factor}")).unwrap_or_default();
    let title = k.map_or(heading.to_owned(), |k| of_k(heading, k)) + &reranked;
    let key = metric.name.to_owned() + &factor.map(|factor| format!(" {}", rerank_path(factor))).unwrap_or_default();
    PairRow { metric, title, key, k, compared, aim: aim.cloned() }
}

/// Compares both sides in one metric. None if no seed has values of both.
fn compared(seeds: &[[&Values; 2]], metric: &'static Metric, wanted: Facet) -> Option<Compared> {
    let larger = metric.larger_is_better()?;
    let of = |values: &Values| -> BTreeMap<Option<usize>, f64> {
        let series = values.of(metric.name).iter().filter(|series| facet(series) == Some(wanted));
        series.flat_map(|series| series.repeats.iter().copied().zip(series.values.iter().copied())).collect()
    };
    let mut groups: [Vec<Vec<f64>>; 4] = Default::default();
    for [ours, theirs] in seeds {
        let (ours, theirs) = (of(ours), of(theirs));
        // Repeats of one number followed each other directly.
        let rounds: Vec<(f64, f64)> =
            ours.iter().filter_map(|(repeat, ours)| Some((*ours, *theirs.get(repeat)?))).collect();
        let each = |of: &dyn Fn((f64, f64)) -> f64| rounds.iter().map(|round| of(*round)).collect::<Vec<f64>>();
        if !rounds.is_empty() {
            groups[0].push(each(&|(ours, _)| ours));
            groups[1].push(each(&|(_, theirs)| theirs));
            groups[2].push(each(&|(ours, theirs)| if larger { ours / theirs } else { theirs / ours }));
            groups[3].push(each(&|(ours, theirs)| if larger { ours - theirs } else { theirs - ours }));
        }
    }
    let [ours, theirs, ratios, differences] = groups;
    let differences: Vec<f64> = differences.iter().filter_map(|group| Some(mean(group)?.value)).collect();
    let positive = |group: &Vec<f64>| group.iter().all(|ratio| *ratio > 0.0 && ratio.is_finite());
    Some(Compared {
        rounds: ratios.iter().map(Vec::len).sum(),
        ratio: if ratios.iter().all(positive) { ratio_of_rounds(&ratios) } else { None },
        difference: mean(&differences)?,
        ours: over_seeds(&ours, metric)?,
        theirs: over_seeds(&theirs, metric)?,
    })
}

/// The ratio of both sides from the ratios of their rounds, by seed: the geometric mean of the medians of the seeds, with
/// Student's interval over seeds. With one seed, the median of its rounds, and the interval is over them: it does not tell how
/// other processes would differ.
fn ratio_of_rounds(seeds: &[Vec<f64>]) -> Option<Estimate> {
    let [rounds] = seeds else { return timing(seeds) };
    let each: Vec<Vec<f64>> = rounds.iter().map(|ratio| vec![*ratio]).collect();
    let (spread, middle) = (timing(&each)?, median(rounds)?);
    let shift = middle / spread.value;
    Some(Estimate { value: middle, low: spread.low * shift, high: spread.high * shift, count: rounds.len() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_are_compared_and_not_means() {
        // Both sides slow down together: the ratio of each round is 2.
        let one = ratio_of_rounds(&[vec![2.0, 2.0, 2.0]]).expect("rounds");
        assert_eq!((one.value, one.low, one.high), (2.0, 2.0, 2.0));
        let disturbed = ratio_of_rounds(&[vec![2.0, 2.0, 8.0, 2.0, 2.0]]).expect("rounds");
        assert!((disturbed.value - 2.0).abs() < 1e-12 && disturbed.high > 3.0, "{disturbed:?}");
        let seeds = ratio_of_rounds(&[vec![1.0, 1.0, 9.0], vec![4.0, 4.0, 4.0]]).expect("seeds");
        assert!((seeds.value - 2.0).abs() < 1e-12, "{seeds:?}");
        assert!(ratio_of_rounds(&[]).is_none());
    }
}
