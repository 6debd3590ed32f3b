//! How often codewords are used, by their rank: a curve that falls early is a codebook of which few codewords do the
//! work.

use super::axis::Axis;
use super::chart::{Chart, PlotSeries, ReferenceLine, Side};
use super::hover::Origin;
use super::side_by_side::split;
use super::style::looks;
use super::{Drawing, Sketch, codebook_series};
use crate::ReportError;
use crate::summary::{DatasetSummary, Point};
use record::metric::CODEWORD_FREQUENCY;

/// Least number of codewords: with fewer there are hardly any ranks.
const LEAST_CODEWORDS: f64 = 8.0;

pub fn draw(dataset: &DatasetSummary) -> Result<Option<Sketch>, ReportError> {
    // Quantizers of single components are left out: their levels say nothing about vectors.
    let ranked = |p: &&Point| {
        let has_codebooks =
            |(size, codebooks): (f64, f64)| size >= LEAST_CODEWORDS && codebooks < dataset.facts.dim as f64;
        p.codebooks().is_some_and(has_codebooks) && p.course(CODEWORD_FREQUENCY.name).len() > 1
    };
    let points: Vec<&Point> = dataset.points.iter().filter(ranked).collect();
    // Curves compare at one size; of the sizes with the most curves, the largest.
    let size = |p: &Point| p.codebooks().map_or(0, |(size, _)| size as i64);
    let Some(shown) = split(&points, size).into_iter().max_by_key(|group| group.len()) else { return Ok(None) };
    let codewords = shown.first().map_or(0, |point| size(point)) as f64;
    let mut names: Vec<String> = shown.iter().map(|point| codebook_series(point)).collect();
    let apart = names.iter().all(|name| names.iter().filter(|other| *other == name).count() == 1);
    if !apart {
        names = shown.iter().map(|point| point.label.clone()).collect();
    }
    let looks = looks(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let curves: Vec<PlotSeries> = shown
        .iter()
        .zip(names)
        .zip(looks)
        .map(|((point, name), index)| {
            // A logarithmic axis cannot show a codeword that nothing uses: the curve ends before it.
            let used = point.course(CODEWORD_FREQUENCY.name).into_iter().filter(|(_, share)| share.value > 0.0);
            let points = used.map(|(i, share)| ((1u64 << i.min(62)) as f64, share)).collect();
            let origins = vec![Origin { at: None, text: point.origin.clone() }];
            PlotSeries { name, index, points, joined: true, trace: true, origins, ..PlotSeries::default() }
        })
        .collect();
    let even = 1.0 / codewords;
    let values = curves.iter().flat_map(|curve| &curve.points).map(|(_, share)| share.value);
    let Some((x, y)) = Axis::powers_of_two([1.0, codewords].into_iter()).zip(Axis::log10(values.chain([even]))) else {
        return Ok(None);
    };
    let points = vec![(1.0, even), (codewords, even)];
    let references = vec![ReferenceLine { name: "all equally often".into(), points, side: Side::Legend }];
    let drawing = Drawing::Chart(Chart {
        x_title: "rank of the codeword".into(),
        y_title: CODEWORD_FREQUENCY.axis(),
        x,
        y,
        curves,
        references,
        secondary_name: None,
    });
    let caption = format!(
        "Share of the base vectors of {} that go to a codeword, by its rank among the {codewords} codewords of its \
         codebook; mean over codebooks and seeds, with 95% intervals over seeds as bands. A curve ends where codewords are \
         dead.",
        dataset.name
    );
    Ok(Some(Sketch { caption, drawing }))
}
