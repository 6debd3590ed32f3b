//! The timings of two builds whose trials ran in turn: the logarithm of each process, side by side for the three runs.

use super::{gated, timing_name};
use crate::ReportError;
use crate::statistics::median;
use crate::values::by_trial;
use record::metric::{Dictionary, METRICS};
use record::{Results, Status, rerank_factor};
use std::collections::BTreeMap;

/// The runs of two builds whose trials ran in turn.
pub struct Builds<'a> {
    /// The first run of the baseline.
    pub base: &'a Results,
    /// The second run of the baseline.
    pub again: &'a Results,
    /// The run of the new build.
    pub new: &'a Results,
}

/// What was timed: which method and where, by which metric, and the re-ranking factor of a search.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct What {
    pub(super) dataset: String,
    pub(super) label: String,
    pub(super) device: String,
    pub(super) threads: usize,
    pub(super) metric: &'static str,
    pub(super) reranked: Option<usize>,
}

impl What {
    pub(super) fn subject(&self) -> String {
        let What { dataset, label, device, threads, .. } = self;
        let plural = if *threads == 1 { "" } else { "s" };
        format!("{dataset} · {label} · {device}, {threads} thread{plural}")
    }

    pub(super) fn metric_text(&self) -> String {
        timing_name(self.metric, self.reranked)
    }
}

/// The logarithm of the median of each process, by what was timed, by seed, and by round.
pub(super) type Logarithms = BTreeMap<(What, u64, usize), f64>;

fn logarithms(run: &Results, dictionary: &Dictionary) -> Result<Logarithms, ReportError> {
    let timed: Vec<&'static str> = gated(dictionary, true).map(|(metric, _)| metric.name).collect();
    let all = by_trial(std::slice::from_ref(run), |metric| timed.contains(&metric))?.concat();
    let mut groups: BTreeMap<(What, u64, usize), Vec<f64>> = BTreeMap::new();
    for (ended, values) in run.ended.iter().zip(&all).filter(|(ended, _)| ended.status == Status::Ok) {
        let trial = &ended.trial;
        for metric in &timed {
            for series in values.of(metric) {
                let what = What {
                    dataset: trial.dataset.clone(),
                    label: trial.label.clone(),
                    device: trial.device.clone(),
                    threads: trial.threads,
                    metric,
                    reranked: series.path.as_deref().and_then(rerank_factor),
                };
                groups.entry((what, trial.seed, 0)).or_default().extend(&series.values);
            }
        }
    }
    let logarithm = |(key, values): (_, Vec<f64>)| Some((key, median(&values)?.ln()));
    Ok(groups.into_iter().filter_map(logarithm).filter(|(_, log)| log.is_finite()).collect())
}

/// The logarithms of all three runs.
#[derive(Clone, Default)]
pub(super) struct Sides {
    pub(super) base: Logarithms,
    pub(super) again: Logarithms,
    pub(super) new: Logarithms,
}

impl Sides {
    pub(super) fn of(builds: &Builds<'_>) -> Result<Sides, ReportError> {
        Ok(Sides {
            base: logarithms(builds.base, METRICS)?,
            again: logarithms(builds.again, METRICS)?,
            new: logarithms(builds.new, METRICS)?,
        })
    }

    /// Several rounds as one.
    pub(super) fn joined(rounds: Vec<Sides>) -> Sides {
        let mut all = Sides::default();
        for (round, sides) in rounds.into_iter().enumerate() {
            let numbered =
                |logarithms: Logarithms| logarithms.into_iter().map(move |((w, s, _), l)| ((w, s, round), l));
            all.base.extend(numbered(sides.base));
            all.again.extend(numbered(sides.again));
            all.new.extend(numbered(sides.new));
        }
        all
    }

    /// Without what is not wanted.
    pub(super) fn keep(mut self, wanted: impl Fn(&What) -> bool) -> Sides {
        for side in [&mut self.base, &mut self.again, &mut self.new] {
            side.retain(|(what, ..), _| wanted(what));
        }
        self
    }
}

/// Sum and number of the squared differences of the baseline from itself, by metric.
pub(super) type Squares = BTreeMap<&'static str, (f64, usize)>;

pub(super) fn squares<'a>(runs: impl IntoIterator<Item = &'a Sides>) -> Squares {
    let mut squares = Squares::new();
    for sides in runs {
        for (key, first) in &sides.base {
            if let Some(second) = sides.again.get(key) {
                let (sum, count) = squares.entry(key.0.metric).or_default();
                *sum += (second - first).powi(2);
                *count += 1;
            }
        }
    }
    squares
}
