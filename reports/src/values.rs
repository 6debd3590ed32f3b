//! The values of each trial, from the frames of runs: filtered, joined and grouped by expressions, once for a whole
//! report.

use crate::ReportError;
use polars::prelude::*;
use polars_lazy::prelude::*;
use record::{Results, VALUES};

/// The values of one trial by metric, in the order in which they were written.
#[derive(Clone, Debug, Default)]
pub struct Values {
    metrics: Vec<(String, Vec<Series>)>,
}

/// Values of one metric that differ only in their repeat.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// Position in the code, or part of the data, that they are about; None for the whole.
    pub stage: Option<String>,
    /// Number of neighbours requested.
    pub k: Option<usize>,
    /// The search path.
    pub path: Option<String>,
    /// The index of the repeat, iteration or epoch of each value.
    pub repeats: Vec<Option<usize>>,
    /// The values.
    pub values: Vec<f64>,
}

impl Values {
    /// All series of a metric.
    pub fn of(&self, metric: &str) -> &[Series] {
        let found = self.metrics.iter().find(|(name, _)| name == metric);
        found.map(|(_, series)| &series[..]).unwrap_or_default()
    }

    /// All metrics with their values.
    pub fn metrics(&self) -> impl Iterator<Item = (&str, &[Series])> {
        self.metrics.iter().map(|(name, series)| (name.as_str(), &series[..]))
    }

    fn push(&mut self, metric: &str, series: Series) {
        match self.metrics.iter_mut().find(|(name, _)| name == metric) {
            Some((_, all)) => all.push(series),
            None => self.metrics.push((metric.to_owned(), vec![series])),
        }
    }
}

/// Columns that identify the trial of a row: the index of its run, and the index of the trial in that run.
const RUN: &str = "run_place";
const PLACE: &str = "trial_place";

/// The values of each trial of each run for the wanted metrics, in the order of the runs and of their trials.
///
/// # Errors
/// Frames without the required columns.
pub fn by_trial(runs: &[Results], wanted: impl Fn(&str) -> bool) -> Result<Vec<Vec<Values>>, ReportError> {
    let mut all: Vec<Vec<Values>> = runs.iter().map(|run| vec![Values::default(); run.ended.len()]).collect();
    let frames: Vec<LazyFrame> = runs.iter().enumerate().map(|(at, run)| placed(at, run)).collect::<Result<_, _>>()?;
    if frames.is_empty() {
        return Ok(all);
    }
    let keys = [RUN, PLACE, "metric", "stage", "k", "path"].map(col);
    let grouped = concat(frames, UnionArgs { rechunk: false, maintain_order: true, ..UnionArgs::default() })?
        .group_by_stable(keys)
        .agg([col("value").len().alias("count"), col("repeat"), col("value")])
        .collect_with_engine(Engine::InMemory)?
        .unwrap_single();
    let (run, place) = (grouped.column(RUN)?.u32()?.clone(), grouped.column(PLACE)?.u32()?.clone());
    let text = |name: &str| grouped.column(name).and_then(|column| Ok(column.str()?.clone()));
    let (metric, stage, path) = (text("metric")?, text("stage")?, text("path")?);
    let k = grouped.column("k")?.i64()?.clone();
    let counts = grouped.column("count")?.u32()?.clone();
    let (repeats, values) =
        (grouped.column("repeat")?.list()?.get_inner(), grouped.column("value")?.list()?.get_inner());
    let (mut repeats, mut values) = (repeats.i64()?.iter(), values.f64()?.iter());
    let number = |n: Option<i64>| n.and_then(|n| usize::try_from(n).ok());
    for row in 0..grouped.height() {
        let count = counts.get(row).unwrap_or(0) as usize;
        let series = Series {
            stage: stage.get(row).map(str::to_owned),
            k: number(k.get(row)),
            path: path.get(row).map(str::to_owned),
            repeats: repeats.by_ref().take(count).map(number).collect(),
            values: values.by_ref().take(count).flatten().collect(),
        };
        let Some(metric) = metric.get(row).filter(|metric| wanted(metric)) else { continue };
        let (Some(run), Some(place)) = (run.get(row), place.get(row)) else { continue };
        if let Some(values) = all.get_mut(run as usize).and_then(|trials| trials.get_mut(place as usize)) {
            values.push(metric, series);
        }
    }
    Ok(all)
}

/// The values of a run, each with the index of its run and its trial. Values of trials that are not in the plan are
/// left out.
fn placed(at: usize, run: &Results) -> Result<LazyFrame, ReportError> {
    let ids: Vec<&str> = run.ended.iter().map(|ended| ended.trial.id.as_str()).collect();
    let places: Vec<u32> = (0..).take(ids.len()).collect();
    let runs = vec![u32::try_from(at).unwrap_or(u32::MAX); ids.len()];
    let trials = DataFrame::new(
        ids.len(),
        vec![Column::new("trial".into(), ids), Column::new(RUN.into(), runs), Column::new(PLACE.into(), places)],
    )?;
    let in_order = JoinArgs { maintain_order: MaintainOrderJoin::Left, ..JoinArgs::new(JoinType::Inner) };
    let measured = run.values.clone().lazy().select(VALUES.map(col));
    let measured = measured.filter(col("metric").is_not_null().and(col("value").is_not_null()));
    Ok(measured.join(trials.lazy(), [col("trial")], [col("trial")], in_order))
}
