//! How far the seeds of a method differ: every seed as a point, as the deviation from the mean over seeds.

use super::axis::Axis;
use super::panels::{Panel, PanelFigure};
use super::plot::{Plot, PlotSeries, ReferenceLine, Side};
use super::style::{MARKER, looks};
use super::{Drawing, Sketch, origin};
use crate::ReportError;
use crate::statistics::mean;
use crate::summary::{DatasetSummary, Which};
use crate::table::of_k;
use record::metric::{BITS_PER_VECTOR, NMSE, RECALL_K_AT_K};
use std::collections::BTreeMap;

/// Width over which methods of one rate stand beside each other, in figure units.
const ASIDE: f64 = 28.0;

/// Most points of a method: more of them cover each other, and make files of megabytes.
const MOST_POINTS: usize = 200;

/// At most [`MOST_POINTS`] values at even steps of their order, the smallest and the largest among them; where some are left out, one of
/// equal ones.
fn thinned(mut values: Vec<f64>) -> Vec<f64> {
    if values.len() <= MOST_POINTS {
        return values;
    }
    values.sort_by(f64::total_cmp);
    let mut thinned: Vec<f64> = (0..MOST_POINTS).map(|i| values[i * (values.len() - 1) / (MOST_POINTS - 1)]).collect();
    thinned.dedup();
    thinned
}

/// The unit of a deviation.
#[derive(Clone, Copy)]
enum Unit {
    /// Percent of the mean.
    Percent,
    /// Percentage points of a share.
    Points,
}

pub fn draw(dataset: &DatasetSummary) -> Result<Option<Sketch>, ReportError> {
    let mut panels = vec![];
    panels.extend(panel(dataset, "normalized MSE, % of the mean".into(), Which::metric(&NMSE), Unit::Percent));
    if let Some(k) = dataset.shown_k(&RECALL_K_AT_K) {
        let name = format!("{}, percentage points", of_k(&RECALL_K_AT_K.axis(), k));
        panels.extend(panel(dataset, name, Which::native(&RECALL_K_AT_K, k), Unit::Points));
    }
    if panels.is_empty() {
        return Ok(None);
    }
    let most = dataset.points.iter().map(|point| point.seed_count()).max().unwrap_or(0);
    let thinning = if most > MOST_POINTS {
        format!(" Of more than {MOST_POINTS} seeds, as many points are drawn, at even steps of their order.")
    } else {
        String::new()
    };
    let x_title = BITS_PER_VECTOR.axis();
    let figure = PanelFigure { x_title, y_title: "deviation".into(), panels, shared: false };
    let caption = format!(
        "Results of each seed on {}, as the deviation from the mean over the seeds of a method; methods of one rate stand \
         beside each other. A difference between two \
         methods that is smaller than this spread needs more seeds.{thinning}",
        dataset.name
    );
    Ok(Some(Sketch { caption, drawing: Drawing::Panels(figure) }))
}

/// The deviations of one metric; None if no two seeds differ.
fn panel(dataset: &DatasetSummary, name: String, which: Which<'_>, unit: Unit) -> Option<Panel> {
    let names = dataset.series();
    let mut curves: Vec<PlotSeries> = names
        .iter()
        .zip(looks(&names))
        .map(|(series, index)| {
            let (mut points, mut origins) = (Vec::new(), Vec::new());
            for point in dataset.points.iter().filter(|point| point.series == **series) {
                let seeds: Vec<f64> = point.per_seed(which).into_iter().map(|(_, value)| value).collect();
                let Some(mean_of_seeds) = mean(&seeds).filter(|_| seeds.len() > 1) else { continue };
                // The mean of equal values differs from them by rounding.
                let centre = if seeds.iter().all(|v| *v == seeds[0]) { seeds[0] } else { mean_of_seeds.value };
                let scale = match unit {
                    Unit::Percent if centre != 0.0 => 100.0 / centre,
                    Unit::Percent => continue,
                    Unit::Points => 100.0,
                };
                for at in thinned(seeds).iter().filter_map(|v| Some((point.rate()?, mean(&[scale * (v - centre)])?))) {
                    points.push(at);
                    origins.push(origin(point, at));
                }
            }
            PlotSeries { name: (*series).to_owned(), index, points, origins, ..PlotSeries::default() }
        })
        .filter(|curve| !curve.points.is_empty())
        .collect();
    // Which series each rate has.
    let mut at_rate: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (of, curve) in curves.iter().enumerate() {
        for (rate, _) in &curve.points {
            let all = at_rate.entry(rate.to_bits()).or_default();
            if all.last() != Some(&of) {
                all.push(of);
            }
        }
    }
    for (of, curve) in curves.iter_mut().enumerate() {
        let aside = |rate: f64| {
            let all = at_rate.get(&rate.to_bits()).map_or(&[][..], Vec::as_slice);
            let last = all.len().saturating_sub(1) as f64;
            let step = (2.0 * MARKER).min(ASIDE / last.max(1.0));
            step * (all.iter().position(|other| *other == of).unwrap_or(0) as f64 - 0.5 * last)
        };
        curve.aside = curve.points.iter().map(|(rate, _)| aside(*rate)).collect();
    }
    let values = || curves.iter().flat_map(|curve| &curve.points);
    let largest = values().map(|(_, e)| e.value.abs()).fold(0.0, f64::max);
    if largest == 0.0 {
        return None;
    }
    let x = Axis::log2(values().map(|(x, _)| *x))?;
    let y = Axis::around([-largest, largest].into_iter())?;
    let zero = ReferenceLine {
        name: "mean over seeds".into(),
        points: vec![(x.low(), 0.0), (x.high(), 0.0)],
        side: Side::Legend,
    };
    Some(Panel { name, plot: Plot::new(x, y, curves, vec![zero]) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_seeds_some_are_drawn_with_both_ends() {
        let few = vec![3.0, 1.0, 2.0];
        assert_eq!(thinned(few.clone()), few);
        assert_eq!(thinned(vec![2.0; 3]), [2.0; 3], "of few seeds, all are there");
        assert_eq!(thinned(vec![2.0; 1250]), [2.0], "equal points cover each other");
        let many = thinned((0..1250).rev().map(f64::from).collect());
        assert_eq!((many.len(), many[0], many[MOST_POINTS - 1]), (MOST_POINTS, 0.0, 1249.0));
        assert!(many.windows(2).all(|pair| (6.0..=7.0).contains(&(pair[1] - pair[0]))), "{many:?}");
    }
}
