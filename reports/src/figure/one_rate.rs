//! Compares methods of nearly one rate by a curve each: where their errors lie, and how often their codewords are used.

use super::hover::Origin;
use super::plot::PlotSeries;
use super::side_by_side::{by_rate, evenly};
use super::style::looks_of_methods;
use crate::statistics::Estimate;
use crate::summary::{DatasetSummary, Point};
use std::collections::BTreeSet;

/// Maximum number of curves: more cannot be told apart.
const MOST_CURVES: usize = 8;

/// The points that one figure compares.
pub struct OneRate<'a> {
    dataset: &'a DatasetSummary,
    /// The points, in the order of the dataset.
    pub points: Vec<&'a Point>,
    /// Number of points that could have been shown.
    found: usize,
    /// The rates, as text.
    rates: String,
}

impl<'a> OneRate<'a> {
    /// Of measured points, those of the rate at which most are, of several such rates the largest; all points if no rate
    /// has more than one. Returns None if there are none.
    pub fn of(dataset: &'a DatasetSummary, measured: Vec<&'a Point>) -> Option<OneRate<'a>> {
        let richest = by_rate(&measured).into_iter().max_by_key(|group| group.len())?;
        let points = if richest.len() > 1 { richest } else { measured };
        let kept = evenly(points.len(), MOST_CURVES);
        let found = points.len();
        let points: Vec<&Point> =
            points.into_iter().enumerate().filter(|(i, _)| kept.contains(i)).map(|(_, point)| point).collect();
        let bits = || points.iter().map(|p| p.bits);
        let (low, high) = (bits().min()?, bits().max()?);
        let rates = if low == high { format!("{low}") } else { format!("{low} to {high}") };
        Some(OneRate { dataset, points, found, rates })
    }

    /// A curve for each point, named and coloured by its series as in other figures, or by its label if a series has
    /// several points here. `course` gives the coordinates of its points, by ascending x.
    pub fn curves(&self, course: impl Fn(&Point) -> Vec<(f64, Estimate)>) -> Vec<PlotSeries> {
        let series: BTreeSet<&str> = self.points.iter().map(|point| point.series.as_str()).collect();
        let apart = series.len() == self.points.len();
        let name = |point: &'a Point| if apart { point.series.as_str() } else { point.label.as_str() };
        let of = |point: &'a Point| (point.series.as_str(), name(point));
        let all = &self.dataset.points;
        let names: Vec<(&str, &str)> =
            if apart { all.iter().map(of).collect() } else { self.points.iter().map(|p| of(p)).collect() };
        let looks = looks_of_methods(&names);
        let curve = |point: &&'a Point| {
            let name = name(point);
            let index = names.iter().position(|other| other.1 == name).map_or(0, |at| looks[at]);
            let points = course(point);
            let origins = vec![Origin { at: None, text: point.origin.clone() }];
            let name = name.to_owned();
            PlotSeries { name, index, points, joined: true, trace: true, origins, ..PlotSeries::default() }
        };
        self.points.iter().map(curve).collect()
    }

    /// What the curves mean, and of which methods they are.
    pub fn caption(&self, meaning: &str) -> String {
        let left_out = match self.found - self.points.len() {
            0 => String::new(),
            n => format!(" {n} of {} methods are left out, evenly.", self.found),
        };
        format!(
            "{meaning}. On {}, methods with {} bits per vector. Means over seeds with 95% intervals as bands.{left_out}",
            self.dataset.name, self.rates
        )
    }
}
