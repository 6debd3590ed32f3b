//! All figures. To add one: add its file, its `mod` line, and its line in [`FIGURES`], or in [`OVERVIEWS`] if it covers
//! several datasets.

mod axis;
mod bars;
mod chart;
mod codewords;
mod cost;
mod critical_differences;
mod error_anatomy;
mod fewer;
mod hover;
mod in_turn;
mod inset;
mod labels;
mod legend;
mod one_rate;
mod panels;
mod plot;
mod rank_frequency;
mod rate_distortion;
mod rate_gap;
mod recall_rate;
mod recall_speed;
mod scaling;
mod seed_spread;
pub mod side_by_side;
mod signal_rate;
mod spectrum;
pub mod style;
mod throughput;
mod training;
mod utilization;
#[cfg(test)]
mod vision;

use crate::differences::critical::Diagram;
use crate::in_turn::PairReport;
use crate::machines::called;
use crate::statistics::Estimate;
use crate::summary::{DatasetSummary, Point};
use crate::{Drawn, ReportError, file_name};
use bars::Bars;
use chart::{Chart, PlotSeries};
use codewords::Use;
use cost::Cost;
use fewer::Room;
use hover::Origin;
use panels::PanelFigure;
use scaling::{Against, TimedTask};
use style::{Column, looks};
use training::TrainingMetric;

pub use spectrum::svg as spectrum;

/// A figure about one dataset; None if nothing that it needs was measured.
type Figure = fn(&DatasetSummary) -> Result<Option<Sketch>, ReportError>;

/// Figures of times: one for each class of machines, if there are several.
const TIMED: [&str; 4] = ["recall-speed", "throughput", "distortion-encoding", "distortion-training"];

/// All figures about one dataset, in the order of the page, and how many methods each has room for.
static FIGURES: &[(&str, Room, Figure)] = &[
    ("rate-distortion", Room::POINTS, rate_distortion::draw),
    ("rate-gap", Room::POINTS, rate_gap::draw),
    ("recall-rate", Room::POINTS, recall_rate::draw),
    ("recall-speed", Room::POINTS, recall_speed::draw),
    ("psnr-rate", Room::POINTS, |dataset| signal_rate::draw(dataset, &signal_rate::IMAGES)),
    ("log-mel-rate", Room::POINTS, |dataset| signal_rate::draw(dataset, &signal_rate::SOUNDS)),
    ("seed-spread", Room::POINTS, seed_spread::draw),
    ("error-vectors", Room::POINTS, error_anatomy::vectors),
    ("error-dimensions", Room::POINTS, error_anatomy::dimensions),
    ("error-inner-products", Room::POINTS, error_anatomy::inner_products),
    ("utilization", Room::ROWS, utilization::draw),
    ("rank-frequency", Room::POINTS, rank_frequency::draw),
    ("usage-codewords", Room::POINTS, |dataset| codewords::draw(dataset, Use::Share)),
    ("perplexity-codewords", Room::POINTS, |dataset| codewords::draw(dataset, Use::Perplexity)),
    ("training-usage", Room::POINTS, |dataset| training::draw(dataset, TrainingMetric::Usage)),
    ("training-perplexity", Room::POINTS, |dataset| training::draw(dataset, TrainingMetric::Perplexity)),
    ("training-mse", Room::POINTS, |dataset| training::draw(dataset, TrainingMetric::Distortion)),
    ("training-losses", Room::POINTS, training::draw_losses),
    ("throughput", Room::ROWS, throughput::draw),
    ("distortion-encoding", Room::POINTS, |dataset| cost::draw(dataset, Cost::Encoding)),
    ("distortion-training", Room::POINTS, |dataset| cost::draw(dataset, Cost::Training)),
    ("distortion-model", Room::POINTS, |dataset| cost::draw(dataset, Cost::Model)),
    ("spectrum", Room::POINTS, spectrum::draw),
];

/// A figure about all datasets together; None if nothing that it needs was measured.
type Overview = fn(&[DatasetSummary]) -> Result<Option<Sketch>, ReportError>;

/// All figures about all datasets together, in the order of the page.
static OVERVIEWS: &[(&str, Overview)] = &[
    ("critical-differences", critical_differences::draw),
    ("time-training-vectors", |all| scaling::draw(all, TimedTask::Training, Against::Vectors)),
    ("time-encoding-vectors", |all| scaling::draw(all, TimedTask::Encoding, Against::Vectors)),
    ("time-search-vectors", |all| scaling::draw(all, TimedTask::Search, Against::Vectors)),
    ("time-training-codewords", |all| scaling::draw(all, TimedTask::Training, Against::Codewords)),
    ("time-encoding-codewords", |all| scaling::draw(all, TimedTask::Encoding, Against::Codewords)),
    ("time-training-threads", |all| scaling::draw(all, TimedTask::Training, Against::Threads)),
    ("time-encoding-threads", |all| scaling::draw(all, TimedTask::Encoding, Against::Threads)),
    ("time-search-threads", |all| scaling::draw(all, TimedTask::Search, Against::Threads)),
];

/// A figure without its name.
struct Sketch {
    caption: String,
    drawing: Drawing,
}

/// What is drawn, at any width.
enum Drawing {
    Chart(Chart),
    /// The first in one column, both side by side in two.
    Beside(Box<[Chart; 2]>),
    Panels(PanelFigure),
    Bars(Bars),
    Ranks(Vec<Diagram>),
}

impl Drawing {
    fn svg(&self, column: Column) -> Result<String, ReportError> {
        match self {
            Drawing::Chart(chart) => chart.draw(column),
            Drawing::Beside(charts) if column == Column::Single => charts[0].draw(column),
            Drawing::Beside(charts) => PanelFigure::of(&charts[..]).draw(column),
            Drawing::Panels(panels) => panels.draw(column),
            Drawing::Bars(bars) => bars.draw(column),
            Drawing::Ranks(diagrams) => critical_differences::svg(diagrams, column),
        }
    }

    /// The width that pages show: both columns where several panels stand beside each other.
    fn shown(&self) -> Column {
        match self {
            Drawing::Chart(_) | Drawing::Beside(_) => Column::Single,
            Drawing::Panels(panels) if panels.panels.len() < 2 => Column::Single,
            Drawing::Bars(bars) if bars.panels.len() < 2 => Column::Single,
            _ => Column::Double,
        }
    }
}

/// Draws the figures about all datasets together, then those about each dataset: of its pairs first.
pub fn draw_all(datasets: &[DatasetSummary], pairs: &[PairReport]) -> Result<Vec<Drawn>, ReportError> {
    let mut drawn = Vec::new();
    let classes = classes(datasets);
    for (kind, overview) in OVERVIEWS {
        if classes.is_empty() || !kind.starts_with("time-") {
            drawn.extend(named((*kind).to_owned(), None, overview(datasets))?);
        }
    }
    for (number, class) in classes {
        let here: Vec<DatasetSummary> = datasets.iter().map(|dataset| dataset.on(class)).collect();
        for (kind, overview) in OVERVIEWS.iter().filter(|(kind, _)| kind.starts_with("time-")) {
            let figure = named(format!("{kind}-machine{number}"), None, overview(&here))?;
            drawn.extend(figure.map(|figure| on((number, class), figure)));
        }
    }
    for dataset in datasets {
        let name = format!("{}-in-turn", file_name(&dataset.name));
        drawn.extend(named(name, Some(dataset.name.clone()), in_turn::draw(dataset, pairs))?);
        drawn.extend(about(dataset, |_| true)?);
    }
    Ok(drawn)
}

/// The classes of machines that something was timed on, each with its number; empty if there is one.
fn classes(datasets: &[DatasetSummary]) -> Vec<(usize, &str)> {
    let mut classes: Vec<(usize, &str)> = datasets
        .iter()
        .flat_map(|dataset| dataset.timed_on().into_iter().map(|class| (dataset.number(class), class)))
        .collect();
    classes.sort_unstable();
    classes.dedup();
    if classes.len() > 1 { classes } else { Vec::new() }
}

/// A figure of the times of one class of machines.
fn on((number, class): (usize, &str), figure: Drawn) -> Drawn {
    let caption = format!("{} All of it was timed on {}: {class}.", figure.caption, called(number));
    Drawn { caption, ..figure }
}

/// Draws those figures about a dataset whose kind is wanted: of times, for each class of machines by itself.
fn about(dataset: &DatasetSummary, wanted: impl Fn(&str) -> bool) -> Result<Vec<Drawn>, ReportError> {
    let classes = classes(std::slice::from_ref(dataset));
    let timed = |kind: &str| TIMED.contains(&kind) && !classes.is_empty();
    let mut drawn = drawn_with(dataset, "", |kind| wanted(kind) && !timed(kind))?;
    for (number, class) in &classes {
        let here = dataset.on(class);
        let of_class = drawn_with(&here, &format!("-machine{number}"), |kind| wanted(kind) && timed(kind))?;
        drawn.extend(of_class.into_iter().map(|figure| on((*number, class), figure)));
    }
    Ok(drawn)
}

/// Draws figures about a dataset, whose names end with `suffix`.
fn drawn_with(
    dataset: &DatasetSummary,
    suffix: &str,
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<Drawn>, ReportError> {
    let mut drawn = Vec::new();
    let [points, rows] = [Room::POINTS, Room::ROWS].map(|room| dataset.fewer(room));
    for (kind, room, figure) in FIGURES.iter().filter(|(kind, ..)| wanted(kind)) {
        let name = format!("{}-{kind}{suffix}", file_name(&dataset.name));
        let fewer = if *room == Room::ROWS { &rows } else { &points };
        let (shown, said) = fewer.as_ref().map_or((dataset, ""), |(dataset, said)| (dataset, said));
        let sketch = figure(shown)
            .map(|sketch| sketch.map(|Sketch { caption, drawing }| Sketch { caption: caption + said, drawing }));
        drawn.extend(named(name, Some(dataset.name.clone()), sketch)?);
    }
    Ok(drawn)
}

/// A figure as a page shows it.
#[derive(Clone, Debug)]
pub struct PageFigure {
    /// The figure.
    pub svg: String,
    /// Its caption.
    pub caption: String,
}

/// Those figures about a dataset that have one of these names, in the order of pages, for pages other than reports.
///
/// # Errors
/// A figure that cannot be drawn.
pub fn page_figures(dataset: &DatasetSummary, names: &[&str]) -> Result<Vec<PageFigure>, ReportError> {
    let drawn = about(dataset, |kind| names.contains(&kind))?;
    Ok(drawn.into_iter().map(|found| PageFigure { svg: found.page_svg().to_owned(), caption: found.caption }).collect())
}

/// Name of the curve of points that differ only in the size of their codebooks, not in the number of codebooks.
fn codebook_series(point: &Point) -> String {
    match point.codebooks() {
        Some((_, codebooks)) if codebooks > 1.0 => format!("{}, {codebooks} codebooks", point.series),
        _ => point.series.clone(),
    }
}

/// Where a point comes from, if it is drawn at these coordinates.
fn origin(point: &Point, (x, y): (f64, Estimate)) -> Origin {
    Origin { at: Some((x, y.value)), text: point.origin.clone() }
}

/// Adds the name to a sketch or to its error.
fn named(
    name: String,
    dataset: Option<String>,
    sketch: Result<Option<Sketch>, ReportError>,
) -> Result<Option<Drawn>, ReportError> {
    let finished = sketch.and_then(|sketch| {
        let Some(Sketch { caption, drawing }) = sketch else { return Ok(None) };
        let drawn = Column::ALL.into_iter().map(|column| Ok((column, drawing.svg(column)?)));
        let widths = drawn.collect::<Result<Vec<_>, ReportError>>()?;
        Ok(Some((caption, widths, drawing.shown())))
    });
    match finished {
        Ok(found) => Ok(found.map(|(caption, widths, shown)| Drawn { name, dataset, caption, widths, shown })),
        Err(ReportError::Figure { reason, .. }) => Err(ReportError::Figure { name, reason }),
        Err(other) => Err(other),
    }
}

/// An error of the drawing library; the name is filled in by [`named`].
fn refused(error: impl std::fmt::Display) -> ReportError {
    ReportError::Figure { name: String::new(), reason: error.to_string() }
}

impl DatasetSummary {
    /// One curve per series, with the rate as x and `value` as y.
    fn curves(&self, value: impl Fn(&Point) -> Option<Estimate>) -> Vec<PlotSeries> {
        self.curves_over(|point| Some((point.rate()?, value(point)?)))
    }

    /// One curve per series through the coordinates that `at` returns.
    fn curves_over(&self, at: impl Fn(&Point) -> Option<(f64, Estimate)>) -> Vec<PlotSeries> {
        let series = self.series();
        series
            .iter()
            .zip(looks(&series))
            .map(|(name, index)| {
                let of_series = self.points.iter().filter(|p| p.series == *name);
                let mut points: Vec<(f64, Estimate)> = of_series.filter_map(&at).collect();
                points.sort_by(|a, b| a.0.total_cmp(&b.0));
                let origins = self.origins_of(name, &at);
                PlotSeries { name: (*name).to_owned(), index, points, joined: true, origins, ..PlotSeries::default() }
            })
            .filter(|curve| !curve.points.is_empty())
            .collect()
    }

    /// Where the points of a series come from, each at the coordinates that `at` returns.
    fn origins_of(&self, series: &str, at: impl Fn(&Point) -> Option<(f64, Estimate)>) -> Vec<Origin> {
        let of_series = self.points.iter().filter(|point| point.series == series);
        of_series.filter_map(|point| Some(origin(point, at(point)?))).collect()
    }

    /// Where each point comes from, in words.
    fn origins(&self) -> Vec<String> {
        self.points.iter().map(|point| point.origin.clone()).collect()
    }

    /// Label of each point, with the index of the look of its series.
    fn coloured_rows(&self) -> Vec<(String, usize)> {
        let series: Vec<&str> = self.points.iter().map(|p| p.series.as_str()).collect();
        self.points.iter().map(|p| p.label.clone()).zip(looks(&series)).collect()
    }
}
