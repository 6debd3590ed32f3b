//! Codebook use as a function of codebook size, which shows codebook collapse (Mentzer et al., Finite scalar
//! quantization, 2023, figure 3).

use super::axis::Axis;
use super::chart::{Chart, PlotSeries, ReferenceLine, Side};
use super::style::looks_of_methods;
use super::{Drawing, Sketch, codebook_series, origin};
use crate::ReportError;
use crate::summary::{DatasetSummary, Point, Which};
use record::metric::{CODEWORDS, PERPLEXITY, USAGE};

/// The shown measure of codebook use.
#[derive(Clone, Copy, PartialEq)]
pub enum Use {
    Share,
    Perplexity,
}

/// Minimum ratio between the largest and the smallest codebook of a curve; a smaller range does not show the effect of
/// size.
const LEAST_SPAN: f64 = 2.0;

pub fn draw(dataset: &DatasetSummary, what: Use) -> Result<Option<Sketch>, ReportError> {
    let metric = match what {
        Use::Share => &USAGE,
        Use::Perplexity => &PERPLEXITY,
    };
    // Curves of points that differ only in the size of the codebooks. Quantizers of single components are left out:
    // their levels say nothing about vectors.
    let has_codebooks = |p: &&Point| p.codebooks().is_some_and(|(_, codebooks)| codebooks < dataset.facts.dim as f64);
    let mut curves: Vec<PlotSeries> = Vec::new();
    let mut numbers: Vec<f64> = Vec::new();
    let mut methods: Vec<&str> = Vec::new();
    for point in dataset.points.iter().filter(has_codebooks) {
        let found = point.codebooks().zip(point.estimate(Which::metric(metric)).filter(|e| e.value > 0.0));
        let Some(((size, codebooks), estimate)) = found else { continue };
        let name = codebook_series(point);
        let at = curves.iter().position(|c| c.name == name).unwrap_or_else(|| {
            curves.push(PlotSeries { name, joined: true, ..PlotSeries::default() });
            numbers.push(codebooks);
            methods.push(&point.series);
            curves.len() - 1
        });
        curves[at].points.push((size, estimate));
        curves[at].origins.push(origin(point, (size, estimate)));
    }
    let names: Vec<(&str, &str)> = methods.into_iter().zip(curves.iter().map(|curve| &curve.name[..])).collect();
    let looks = looks_of_methods(&names);
    for (curve, look) in curves.iter_mut().zip(looks) {
        curve.index = look;
        curve.points.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    // A single point is drawn only next to a curve with the same number of codebooks, which it can be compared with.
    let spans = |curve: &PlotSeries| match (curve.points.first(), curve.points.last()) {
        (Some(first), Some(last)) => last.0 >= LEAST_SPAN * first.0,
        _ => false,
    };
    let drawn: Vec<f64> = curves.iter().zip(&numbers).filter(|(c, _)| spans(c)).map(|(_, n)| *n).collect();
    let mut number = numbers.iter();
    curves.retain(|_| number.next().is_some_and(|n| drawn.contains(n)));
    let sizes = || curves.iter().flat_map(|c| &c.points).map(|(size, _)| *size);
    let Some(x) = Axis::powers_of_two(sizes()) else { return Ok(None) };
    let values = || curves.iter().flat_map(|c| &c.points).map(|(_, e)| e.value);
    let (y, references, meaning) = match what {
        Use::Share => (
            Some(Axis::percent()),
            vec![],
            "Share of the codewords that at least one base vector is assigned to".to_owned(),
        ),
        Use::Perplexity => (
            Axis::powers_of_two(values().chain(sizes())),
            vec![ReferenceLine {
                name: "all equally often".into(),
                points: vec![x.low(), x.high()].into_iter().map(|size| (size, size)).collect(),
                side: Side::Over,
            }],
            "Perplexity of the codewords that the base vectors go to, at most the size of the codebook (dashed)"
                .to_owned(),
        ),
    };
    let Some(y) = y else { return Ok(None) };
    let drawing = Drawing::Chart(Chart {
        x_title: CODEWORDS.axis(),
        y_title: metric.axis(),
        x,
        y,
        curves,
        references,
        secondary_name: None,
        inset: false,
    });
    let caption = format!(
        "{meaning}, against the size of the codebook, on {}; means over seeds with 95% intervals. A curve that falls \
         away from full use with size is a codebook that collapses, or one that the vectors are too few to fill ({} base vectors).",
        dataset.name, dataset.facts.base
    );
    Ok(Some(Sketch { caption, drawing }))
}
