//! How time grows with vectors, codewords or threads. These figures cover all datasets together, since the number of
//! vectors is a property of a dataset.

use super::axis::Axis;
use super::chart::{Chart, PlotSeries, ReferenceLine, Side};
use super::style::looks_of_methods;
use super::{Drawing, Sketch, codebook_series, origin};
use crate::ReportError;
use crate::statistics::Estimate;
use crate::summary::{DatasetSummary, Point, Which};
use record::Metric;
use record::metric::{CODEWORDS, ENCODE_VECTORS_PER_SECOND, SEARCH_QUERIES_PER_SECOND, TRAIN_SECONDS};

/// The timed task.
#[derive(Clone, Copy, PartialEq)]
pub enum TimedTask {
    Training,
    Encoding,
    Search,
}

/// The quantity on the horizontal axis.
#[derive(Clone, Copy, PartialEq)]
pub enum Against {
    Vectors,
    Codewords,
    Threads,
}

impl TimedTask {
    fn title(self) -> &'static str {
        match self {
            TimedTask::Training => "training",
            TimedTask::Encoding => "encoding of all base vectors",
            TimedTask::Search => "search for one query",
        }
    }

    fn axis(self) -> &'static str {
        match self {
            TimedTask::Training => "training, seconds",
            TimedTask::Encoding => "encoding, seconds",
            TimedTask::Search => "search for one query, seconds",
        }
    }

    fn seconds(self, dataset: &DatasetSummary, point: &Point) -> Option<Estimate> {
        let per = |items: usize, metric: &'static Metric| {
            let rate = point.estimate(Which::metric(metric)).filter(|rate| rate.low > 0.0)?;
            let time = |rate: f64| items as f64 / rate;
            Some(Estimate { value: time(rate.value), low: time(rate.high), high: time(rate.low), ..rate })
        };
        match self {
            TimedTask::Training => point.estimate(Which::metric(&TRAIN_SECONDS)),
            TimedTask::Encoding => per(dataset.facts.base, &ENCODE_VECTORS_PER_SECOND),
            TimedTask::Search => per(1, &SEARCH_QUERIES_PER_SECOND),
        }
    }
}

impl Against {
    fn title(self, work: TimedTask) -> String {
        let title = match (self, work) {
            (Against::Vectors, TimedTask::Training) => "training vectors",
            (Against::Vectors, _) => "base vectors",
            (Against::Codewords, _) => return CODEWORDS.axis(),
            (Against::Threads, _) => "threads",
        };
        title.to_owned()
    }

    fn place(self, work: TimedTask, dataset: &DatasetSummary, point: &Point) -> Option<f64> {
        Some(match (self, work) {
            (Against::Vectors, TimedTask::Training) => dataset.facts.train as f64,
            (Against::Vectors, _) => dataset.facts.base as f64,
            (Against::Codewords, _) => point.estimate(Which::metric(&CODEWORDS))?.value,
            (Against::Threads, _) => point.threads as f64,
        })
    }

    /// Minimum ratio between the ends of a curve. Quantities that vary for other reasons, such as the number of
    /// codewords at different rates, have a smaller ratio.
    fn least_span(self) -> f64 {
        match self {
            Against::Vectors => 50.0,
            Against::Codewords => 200.0,
            Against::Threads => 2.0,
        }
    }

    /// The ideal change of time, as an exponent of the quantity on the horizontal axis and in words.
    fn ideal(self) -> (f64, &'static str, Side) {
        match self {
            Against::Vectors | Against::Codewords => (1.0, "in proportion", Side::Rising),
            Against::Threads => (-1.0, "in inverse proportion", Side::Below),
        }
    }

    /// Name of the curve that a point belongs to: points on one curve differ only in the quantity on the horizontal
    /// axis.
    fn curve(self, dataset: &DatasetSummary, point: &Point, several: bool) -> String {
        // With several datasets, the name contains the dataset; not for vectors, where datasets differ by their size.
        let of = |name: &str| if several { format!("{name}, {}", dataset.name) } else { name.to_owned() };
        match self {
            Against::Vectors if several => format!("{}, d={}", point.label, dataset.facts.dim),
            Against::Vectors => point.label.clone(),
            Against::Codewords => of(&codebook_series(point)),
            Against::Threads => {
                let all = [format!(", {} threads", point.threads), format!(", {} thread", point.threads)];
                of(all.iter().fold(point.label.as_str(), |label, end| label.trim_end_matches(end.as_str())))
            }
        }
    }
}

/// Number of points on the line of the ideal change.
const LINE_POINTS: i32 = 100;

pub fn draw(datasets: &[DatasetSummary], work: TimedTask, against: Against) -> Result<Option<Sketch>, ReportError> {
    let mut curves: Vec<PlotSeries> = Vec::new();
    let mut methods: Vec<&str> = Vec::new();
    let several = datasets.windows(2).any(|pair| match against {
        Against::Vectors => pair[0].facts.dim != pair[1].facts.dim,
        _ => true,
    });
    for dataset in datasets {
        for point in &dataset.points {
            let place = against.place(work, dataset, point);
            let Some((x, seconds)) = place.zip(work.seconds(dataset, point)) else { continue };
            let name = against.curve(dataset, point, several);
            let at = curves.iter().position(|curve| curve.name == name).unwrap_or_else(|| {
                curves.push(PlotSeries { name, joined: true, ..PlotSeries::default() });
                methods.push(&point.series);
                curves.len() - 1
            });
            curves[at].points.push((x, seconds));
            curves[at].origins.push(origin(point, (x, seconds)));
        }
    }
    let names: Vec<(&str, &str)> = methods.into_iter().zip(curves.iter().map(|curve| &curve.name[..])).collect();
    let looks = looks_of_methods(&names);
    for (curve, look) in curves.iter_mut().zip(looks) {
        curve.index = look;
        curve.points.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    curves.retain(|PlotSeries { points, .. }| {
        let (first, last) = (points.first().map_or(1.0, |p| p.0), points.last().map_or(1.0, |p| p.0));
        last / first >= against.least_span()
    });
    let all = || curves.iter().flat_map(|curve| &curve.points);
    let places = || all().map(|(x, _)| *x);
    let x = if against == Against::Vectors { Axis::log10(places()) } else { Axis::log2(places()) };
    // Intervals of few seeds are so wide that they would hide how the curves run.
    let y = Axis::log10(all().flat_map(|(_, e)| [0.5 * e.value, e.value, e.high.min(2.0 * e.value)]));
    let (Some(x), Some(y)) = (x, y) else { return Ok(None) };
    let (power, words, side) = against.ideal();
    // Just below all curves, so that it never crosses them.
    let factor = all().map(|(x, e)| e.value / x.powf(power)).fold(f64::INFINITY, f64::min);
    let at = |i: i32| x.at(f64::from(i) / f64::from(LINE_POINTS));
    let line = (0..=LINE_POINTS).map(at).map(|x| (x, 0.75 * factor * x.powf(power))).collect();
    let names = curves.len();
    let drawn = Chart {
        x_title: against.title(work),
        y_title: work.axis().into(),
        x,
        y,
        curves,
        references: vec![ReferenceLine { name: words.into(), points: line, side }],
        secondary_name: None,
        inset: false,
    };
    let caption = format!(
        "Time of {} against {}, on logarithmic axes: median of each seed with 95% intervals over seeds, {names} curve{}. Along \
         the dashed line time changes {words}.",
        work.title(),
        against.title(work),
        if names == 1 { "" } else { "s" }
    );
    Ok(Some(Sketch { caption, drawing: Drawing::Chart(drawn) }))
}
