//! How often codewords are used, by their rank: a curve that falls early is a codebook of which few codewords do the
//! work.

use super::axis::Axis;
use super::chart::{Chart, ReferenceLine, Side};
use super::one_rate::OneRate;
use super::side_by_side::{range, split};
use super::{Drawing, Sketch};
use crate::ReportError;
use crate::summary::{DatasetSummary, Point};
use record::metric::CODEWORD_FREQUENCY;
use record::ranks;

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
    // Curves compare at about one size; of the sizes with the most curves, the largest.
    let size = |p: &Point| p.codebooks().map_or(0, |(size, _)| size.log2().round() as i64);
    let alike = split(&points, size).into_iter().max_by_key(|group| group.len());
    let Some(shown) = alike.and_then(|alike| OneRate::of(dataset, alike)) else { return Ok(None) };
    let curves = shown.curves(|point| {
        // A logarithmic axis cannot show a codeword that nothing uses: the curve ends before it.
        let used = ranks::read(point.course(CODEWORD_FREQUENCY.name)).into_iter();
        used.filter(|(_, share)| share.value > 0.0).map(|(rank, share)| (rank as f64, share)).collect()
    });
    let sizes = || shown.points.iter().filter_map(|point| point.codebooks()).map(|(size, _)| size);
    let codewords = sizes().fold(0.0, f64::max);
    let even = 1.0 / codewords;
    let values = curves.iter().flat_map(|curve| &curve.points).map(|(_, share)| share.value);
    let Some((x, y)) = Axis::powers_of_two([1.0, codewords].into_iter()).zip(Axis::log10(values.chain([even]))) else {
        return Ok(None);
    };
    let points = vec![(1.0, even), (codewords, even)];
    let references = vec![ReferenceLine { name: "all equally often".into(), points, side: Side::Below }];
    let drawing = Drawing::Chart(Chart {
        x_title: "rank of the codeword".into(),
        y_title: CODEWORD_FREQUENCY.axis(),
        x,
        y,
        curves,
        references,
        secondary_name: None,
        inset: false,
    });
    let meaning = format!(
        "Share of the base vectors that go to a codeword, by its rank among the {} of its codebook, as a mean over \
         codebooks; a curve that ends early has dead codewords beyond its end, and a flat one uses all codewords equally often",
        range(sizes(), "codeword")
    );
    Ok(Some(Sketch { caption: shown.caption(&meaning), drawing }))
}
