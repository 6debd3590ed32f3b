//! Rate savings between the rate–distortion curves of a dataset.

use crate::statistics::{NoSaving, RateDistortionCurve, Saving, rate_saving};
use crate::summary::{DatasetSummary, Point, Which};
use record::metric::NMSE;
use std::collections::BTreeMap;

/// Curves of a dataset beyond which each is compared with the first alone.
const MOST_CURVES: usize = 10;

/// The rate that one curve saves over another.
pub struct SavingRow {
    /// Name of the dataset.
    pub dataset: String,
    /// Name of curve A.
    pub a: String,
    /// Name of curve B.
    pub b: String,
    /// The rate of B relative to A, or why there is none.
    pub saving: Result<Saving, NoSaving>,
}

/// The rate savings between all pairs of curves of a dataset that have several rates, and which curves are left out.
pub fn of(dataset: &DatasetSummary) -> (Vec<SavingRow>, Vec<String>) {
    let mut curves: Vec<(&str, RateDistortionCurve)> = Vec::new();
    let mut refused: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for name in dataset.series() {
        let Some(curve) = curve(dataset, name) else { continue };
        match curve.check() {
            Ok(()) => curves.push((name, curve)),
            Err(reason) => refused.entry(reason.to_string()).or_default().push(name),
        }
    }
    let note = |(reason, names): (String, Vec<&str>)| {
        format!("{}, rate at equal distortion of {}: {reason}", dataset.name, names.join(", "))
    };
    // A report of single rates has no curves to miss.
    let notes = if curves.is_empty() { vec![] } else { refused.into_iter().map(note).collect() };
    let mut rows = Vec::new();
    for (first, (a, one)) in curves.iter().enumerate() {
        for (b, other) in &curves[first + 1..] {
            if first == 0 || curves.len() <= MOST_CURVES {
                let saving = rate_saving(one, other);
                rows.push(SavingRow { dataset: dataset.name.clone(), a: (*a).into(), b: (*b).into(), saving });
            }
        }
    }
    (rows, notes)
}

/// The curve of a series over the seeds that all its points have. A rate with several points is a sweep over something
/// else, and then the series is no curve; nor is it one if a point loses nothing.
fn curve(dataset: &DatasetSummary, series: &str) -> Option<RateDistortionCurve> {
    let mut points: Vec<&Point> = dataset.points.iter().filter(|point| point.series == series).collect();
    points.sort_by_key(|point| point.bits);
    if points.windows(2).any(|pair| pair[0].bits == pair[1].bits) {
        return None;
    }
    let by_seed: Vec<BTreeMap<u64, f64>> =
        points.iter().map(|point| point.per_seed(Which::metric(&NMSE)).into_iter().collect()).collect();
    let at = |seed: &u64| -> Option<Vec<f64>> {
        let quality = by_seed.iter().map(|values| values.get(seed).map(|nmse| -10.0 * nmse.log10()));
        quality.collect::<Option<Vec<f64>>>().filter(|quality| quality.iter().all(|q| q.is_finite()))
    };
    let quality_db: Vec<Vec<f64>> = by_seed.first()?.keys().filter_map(at).collect();
    (!quality_db.is_empty())
        .then(|| RateDistortionCurve { rates: points.iter().map(|point| point.bits as f64).collect(), quality_db })
}
