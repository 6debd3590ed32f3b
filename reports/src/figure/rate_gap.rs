//! Distance to the Gaussian bound in decibels against rate: curves that crowd in a plot of distortion separate here.

use super::Sketch;
use super::axis::Axis;
use super::chart::{Chart, ReferenceLine, Side};
use crate::ReportError;
use crate::statistics::Estimate;
use crate::summary::{DatasetSummary, Point, Which};
use record::metric::{BITS_PER_VECTOR, NMSE};

/// Distance in decibels of a distortion to the bound at the same rate: 10·log₁₀(D / D(R)). None outside the rates of the
/// bound.
fn gap(bound: &[(f64, f64)], bits: f64, distortion: f64) -> Option<f64> {
    let above = bound.iter().position(|(rate, _)| *rate >= bits)?;
    let (right, at_right) = bound[above];
    let at = match above.checked_sub(1).map(|below| bound[below]) {
        // The bound is nearly exponential in the rate.
        Some((left, at_left)) if right > left => {
            let share = (bits - left) / (right - left);
            at_left.ln() + share * (at_right.ln() - at_left.ln())
        }
        _ if right == bits => at_right.ln(),
        _ => return None,
    };
    let decibels = 10.0 * (distortion.ln() - at) / std::f64::consts::LN_10;
    decibels.is_finite().then_some(decibels)
}

pub fn draw(dataset: &DatasetSummary) -> Result<Option<Sketch>, ReportError> {
    let mut bound = dataset.facts.bound.clone();
    bound.sort_by(|a, b| a.0.total_cmp(&b.0));
    let of_point = |point: &Point| {
        let nmse = point.estimate(Which::metric(&NMSE))?;
        let at = |distortion: f64| gap(&bound, point.bits as f64, distortion);
        let value = at(nmse.value)?;
        // An interval that reaches zero has no lower end in decibels; it ends at the value.
        Some(Estimate { value, low: at(nmse.low).unwrap_or(value), high: at(nmse.high).unwrap_or(value), ..nmse })
    };
    let curves = dataset.curves(of_point);
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let (Some(x), Some(y)) =
        (Axis::log2(points().map(|(x, _)| *x)), Axis::around(points().map(|(_, e)| e.value).chain([0.0])))
    else {
        return Ok(None);
    };
    let ends = [(x.low(), 0.0), (x.high(), 0.0)];
    let svg = Chart {
        title: dataset.name.clone(),
        x_title: BITS_PER_VECTOR.axis(),
        y_title: "distance to the Gaussian bound, dB".into(),
        x,
        y,
        curves,
        references: vec![ReferenceLine { name: "Gaussian bound".into(), points: ends.to_vec(), side: Side::Legend }],
        secondary_name: None,
    }
    .draw()?;
    let caption = format!(
        "Distance of the distortion to the Gaussian bound at the same rate on {}, in decibels, with 95% intervals over seeds. \
         Lower is better: 3 dB are a factor of two. Points outside the rates of the bound are left out.",
        dataset.name
    );
    Ok(Some(Sketch { caption, svg }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gap_is_exact_on_an_exponential_bound_and_undefined_outside() {
        // D(R) = 4^-R at whole rates; between them, it is interpolated in logarithms.
        let bound: Vec<(f64, f64)> = (0..5).map(|rate| (f64::from(rate), 4f64.powi(-rate))).collect();
        for (bits, factor, expected) in [(2.0, 2.0, 3.0103), (2.5, 1.0, 0.0), (0.0, 10.0, 10.0), (4.0, 0.5, -3.0103)] {
            let found = gap(&bound, bits, factor * 4f64.powf(-bits)).expect("inside");
            assert!((found - expected).abs() < 1e-4, "{bits}: {found}");
        }
        for (bits, distortion) in [(4.5, 0.1), (-1.0, 0.1), (2.0, 0.0), (2.0, f64::NAN)] {
            assert_eq!(gap(&bound, bits, distortion), None, "{bits} {distortion}");
        }
        assert_eq!(gap(&[], 1.0, 1.0), None);
    }
}
