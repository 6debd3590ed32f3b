//! The figures. To add one: its file, its `mod` line, its line in [`FIGURES`].

mod axis;
mod bars;
mod chart;
mod rate_distortion;
mod recall_rate;
mod recall_speed;
pub mod style;
mod throughput;
mod utilization;

use crate::summary::DatasetSummary;
use crate::{Drawn, ReportError, file_name};

/// A figure about one dataset; none when nothing it needs was measured.
type Figure = fn(&DatasetSummary) -> Result<Option<Sketch>, ReportError>;

/// Every figure, in the order of the page.
static FIGURES: &[(&str, Figure)] = &[
    ("rate-distortion", rate_distortion::draw),
    ("recall-rate", recall_rate::draw),
    ("recall-speed", recall_speed::draw),
    ("utilization", utilization::draw),
    ("throughput", throughput::draw),
];

/// A figure before it has a name.
struct Sketch {
    caption: String,
    svg: String,
}

/// Draws what there is to draw of a dataset.
pub fn draw_all(dataset: &DatasetSummary) -> Result<Vec<Drawn>, ReportError> {
    let mut drawn = Vec::new();
    for (kind, figure) in FIGURES {
        let name = format!("{}-{kind}", file_name(&dataset.name));
        let sketch = figure(dataset).map_err(|error| match error {
            ReportError::Figure { reason, .. } => ReportError::Figure { name: name.clone(), reason },
            other => other,
        })?;
        if let Some(Sketch { caption, svg }) = sketch {
            drawn.push(Drawn { name, dataset: dataset.name.clone(), caption, svg });
        }
    }
    Ok(drawn)
}

/// An error of the drawing library; the name is filled in by [`draw_all`].
fn refused(error: impl std::fmt::Display) -> ReportError {
    ReportError::Figure { name: String::new(), reason: error.to_string() }
}

impl DatasetSummary {
    /// One curve per series over the rate, of whatever `value` finds.
    fn curves(&self, value: impl Fn(&crate::summary::Point) -> Option<crate::stats::Estimate>) -> Vec<chart::Curve> {
        let series = self.series();
        series
            .iter()
            .enumerate()
            .map(|(index, name)| {
                let of_series = self.points.iter().filter(|p| p.series == *name);
                let points = of_series.filter_map(|p| Some((p.bits as f64, value(p)?))).collect();
                let name = (*name).to_owned();
                chart::Curve { name, index, points, joined: true, secondary: false, strong: Vec::new() }
            })
            .filter(|curve| !curve.points.is_empty())
            .collect()
    }

    /// Each point's label with the colour of its series.
    fn coloured_rows(&self) -> Vec<(String, usize)> {
        let series = self.series();
        let index = |name: &str| series.iter().position(|s| *s == name).unwrap_or(0);
        self.points.iter().map(|p| (p.label.clone(), index(&p.series))).collect()
    }
}
