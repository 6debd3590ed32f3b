//! The columns of the leaderboard and their values for a point, shared by pages, LaTeX and CSV.

use crate::ReportError;
use crate::machines::called;
use crate::number::show;
use crate::sampling::{Sampled, over_data};
use crate::statistics::Estimate;
use crate::summary::{DatasetSummary, Path, Point, Which};
use record::frame;
use record::metric::{Dictionary, KNN_ACCURACY_RETENTION, Noise};
use record::{Metric, rerank_path};

/// A cell: the shown text, and the number to sort by.
pub struct Cell {
    /// The shown text.
    pub text: String,
    /// The estimate behind it.
    pub estimate: Option<Estimate>,
}

/// A column of the leaderboard.
pub struct Column {
    /// Heading.
    pub title: String,
    /// Explanation for a tooltip.
    pub meaning: String,
    /// Name in CSV.
    pub key: String,
    /// Whether it is part of the narrow table for papers.
    pub essential: bool,
    /// The shown metric.
    pub metric: &'static Metric,
    /// Number of neighbours requested.
    pub k: Option<usize>,
    /// The search path; None for the method's own.
    pub path: Option<String>,
    /// The class of machines that it was timed on; None for everything else, and where all was timed on one class.
    pub machine: Option<String>,
}

impl Column {
    /// The same column for one class of machines.
    fn on(&self, class: &str, title: &str, key: &str) -> Column {
        Column {
            title: title.to_owned(),
            meaning: format!("{}, on {class}", self.meaning),
            key: format!("{}{key}", self.key),
            essential: self.essential,
            metric: self.metric,
            k: self.k,
            path: self.path.clone(),
            machine: Some(class.to_owned()),
        }
    }

    /// The cell of a point; a dash if nothing was measured.
    pub fn cell(&self, point: &Point) -> Cell {
        let estimate = self.estimate(point);
        let shown = |e: Estimate| show(self.metric.format, e.value) + &self.error(e);
        Cell { text: estimate.map_or_else(|| "–".to_owned(), shown), estimate }
    }

    /// Half of the 95% interval of a value that codes should not reach, so that nobody takes noise for a gain: more of the
    /// accuracy kept than there was. Empty for all other values.
    fn error(&self, e: Estimate) -> String {
        if self.metric.name != KNN_ACCURACY_RETENTION.name || e.value <= 1.0 || e.count < 2 {
            return String::new();
        }
        format!(" ± {}", show(self.metric.format, 0.5 * (e.high - e.low)))
    }

    fn which(&self) -> Which<'_> {
        let path = self.path.as_deref().map_or(Path::Native, Path::Named);
        Which { metric: self.metric, k: self.k, path, machine: self.machine.as_deref() }
    }

    fn estimate(&self, point: &Point) -> Option<Estimate> {
        point.estimate(self.which())
    }

    /// The interval of a point over the vectors or queries of its dataset; None if it was not measured.
    pub fn sampled(&self, point: &Point, dataset: &DatasetSummary) -> Option<Sampled> {
        over_data(point, self.which(), &dataset.facts)
    }
}

/// Placeholder for the number of neighbours in headings and axis titles.
const K: &str = "{k}";

/// A heading or title with the placeholder replaced by the number of neighbours.
pub fn of_k(title: &str, k: usize) -> String {
    title.replace(K, &k.to_string())
}

/// Name of a column in CSV: that of the metric, with each `k` in it replaced by the number of neighbours.
fn key(metric: &Metric, k: Option<usize>) -> String {
    let part = |part: &str| match k {
        Some(k) if part == "k" => k.to_string(),
        _ => part.to_owned(),
    };
    metric.name.split('_').map(part).collect::<Vec<_>>().join("_")
}

/// The columns of a dictionary that some point of the dataset has values for, each followed by its columns for
/// re-ranked searches. What was timed on several classes of machines has columns for each of them.
pub fn columns(dataset: &DatasetSummary, dictionary: &Dictionary) -> Vec<Column> {
    let classes = dataset.timed_on();
    let several = classes.len() > 1;
    let of = |column: Column| -> Vec<Column> {
        if !several || column.metric.noise != Noise::Timed {
            return vec![column];
        }
        let on = |class: &&str| {
            let number = dataset.number(class);
            column.on(class, &format!("{}, {}", column.title, called(number)), &format!("_machine{number}"))
        };
        classes.iter().map(on).collect()
    };
    let mut columns: Vec<Column> = all_columns(dataset, dictionary).into_iter().flat_map(of).collect();
    columns.retain(|column| dataset.points.iter().any(|point| column.estimate(point).is_some()));
    columns
}

/// The columns of one class of machines: what was timed there, and everything that is not timed.
pub fn columns_on(dataset: &DatasetSummary, dictionary: &Dictionary, class: Option<&str>) -> Vec<Column> {
    let of = |column: Column| match class {
        _ if column.metric.noise != Noise::Timed => Some(column),
        Some(class) => Some(column.on(class, &column.title, "")),
        None => None,
    };
    all_columns(dataset, dictionary).into_iter().filter_map(of).collect()
}

/// The columns that there may be, without classes of machines.
fn all_columns(dataset: &DatasetSummary, dictionary: &Dictionary) -> Vec<Column> {
    let mut columns = Vec::new();
    for metric in dictionary {
        let Some(shown) = metric.column else { continue };
        let k = if shown.title.contains(K) { dataset.shown_k(metric) } else { None };
        let title = k.map_or(shown.title.to_owned(), |k| of_k(shown.title, k));
        let (meaning, key) = (metric.meaning.to_owned(), key(metric, k));
        let essential = shown.essential;
        columns.push(Column { title, meaning, key: key.clone(), essential, metric, k, path: None, machine: None });
        let factors = dataset.rerank_factors(metric);
        for factor in &factors {
            let path = rerank_path(*factor);
            columns.push(Column {
                title: format!("… re-ranked ×{factor}"),
                meaning: format!(
                    "{}, when {factor} candidates per neighbour are fetched over codes and ordered by their raw vectors",
                    metric.meaning
                ),
                key: format!("{key}_{path}"),
                // A paper has no space for all columns.
                essential: shown.essential && Some(factor) == factors.last(),
                metric,
                k,
                path: Some(path),
                machine: None,
            });
        }
    }
    columns
}

/// The leaderboard as CSV; each value has its interval.
///
/// # Errors
/// An error of the table library.
pub fn to_csv(dataset: &DatasetSummary, dictionary: &Dictionary) -> Result<Vec<u8>, ReportError> {
    use polars::prelude::{Column, DataFrame};
    let columns = columns(dataset, dictionary);
    let points = &dataset.points;
    let text = |name: &str, of: fn(&Point) -> &str| Column::new(name.into(), points.iter().map(of).collect::<Vec<_>>());
    let count = |name: &str, of: fn(&Point) -> usize| {
        Column::new(name.into(), points.iter().map(|point| of(point) as u64).collect::<Vec<_>>())
    };
    let mut all = vec![
        text("label", |point| &point.label),
        text("series", |point| &point.series),
        text("device", |point| &point.device),
        count("threads", |point| point.threads),
        count("seeds", Point::seed_count),
    ];
    for column in &columns {
        let estimates: Vec<Option<Estimate>> = points.iter().map(|point| column.estimate(point)).collect();
        let part = |name: String, of: fn(Estimate) -> f64| {
            Column::new(name.into(), estimates.iter().map(|estimate| estimate.map(of)).collect::<Vec<_>>())
        };
        all.push(part(column.key.clone(), |e| e.value));
        all.push(part(format!("{}_low", column.key), |e| e.low));
        all.push(part(format!("{}_high", column.key), |e| e.high));
        let sampled: Vec<Option<Sampled>> = points.iter().map(|point| column.sampled(point, dataset)).collect();
        if let Some(of) = sampled.iter().flatten().map(|sampled| sampled.of).next() {
            let part = |end: &str, value: fn(Sampled) -> f64| {
                let values: Vec<Option<f64>> = sampled.iter().map(|sampled| sampled.map(value)).collect();
                Column::new(format!("{}_{of}_{end}", column.key).into(), values)
            };
            all.push(part("low", |sampled| sampled.low));
            all.push(part("high", |sampled| sampled.high));
        }
    }
    let frame = DataFrame::new(points.len(), all)?;
    frame::to_csv(&frame).map_err(ReportError::Table)
}
