//! What each trial measured, in the groups that reports ask for.

use record::{Measured, Run, TrialRecord};

/// What one trial measured, by metric, in the order in which it was written.
#[derive(Clone, Debug, Default)]
pub struct Values {
    metrics: Vec<(String, Vec<Series>)>,
}

/// Values of one metric that differ in nothing but their repeat.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// Position of the code, or part of the data, that they are of; none for the whole.
    pub stage: Option<String>,
    /// Neighbours asked for.
    pub k: Option<usize>,
    /// How the search went.
    pub path: Option<String>,
    /// The number of the repeat, iteration or epoch of each value.
    pub repeats: Vec<Option<usize>>,
    /// The values.
    pub values: Vec<f64>,
}

impl Values {
    /// Everything of a metric.
    pub fn of(&self, metric: &str) -> &[Series] {
        let found = self.metrics.iter().find(|(name, _)| name == metric);
        found.map(|(_, series)| &series[..]).unwrap_or_default()
    }

    /// Every metric with its values.
    pub fn metrics(&self) -> impl Iterator<Item = (&str, &[Series])> {
        self.metrics.iter().map(|(name, series)| (name.as_str(), &series[..]))
    }

    fn push(&mut self, v: &Measured) {
        let known = self.metrics.iter().position(|(name, _)| *name == v.metric);
        let at = known.unwrap_or_else(|| {
            self.metrics.push((v.metric.clone(), Vec::new()));
            self.metrics.len() - 1
        });
        let all = &mut self.metrics[at].1;
        let place = (&v.stage, v.k, &v.path);
        let known = all.iter().position(|series| (&series.stage, series.k, &series.path) == place);
        let at = known.unwrap_or_else(|| {
            let (stage, k, path) = (v.stage.clone(), v.k, v.path.clone());
            all.push(Series { stage, k, path, ..Series::default() });
            all.len() - 1
        });
        all[at].repeats.push(v.repeat);
        all[at].values.push(v.value);
    }
}

/// What each trial of each run measured of the metrics that are wanted, in the order of the runs and of their trials.
pub fn by_trial(runs: &[Run], wanted: impl Fn(&str) -> bool) -> Vec<Vec<Values>> {
    let of_trial = |record: &TrialRecord| {
        let mut values = Values::default();
        for measured in record.values.iter().filter(|v| wanted(&v.metric)) {
            values.push(measured);
        }
        values
    };
    runs.iter().map(|run| run.records.iter().map(of_trial).collect()).collect()
}
