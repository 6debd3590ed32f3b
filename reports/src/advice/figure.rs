//! The figures of a code that a wish may limit, and their values for one code.

use crate::number::{engineering, significant};
use crate::statistics::Estimate;
use record::Metric;
use record::metric::{
    CODE_BYTES, ENCODE_VECTORS_PER_SECOND, NMSE, Noise, RECALL_K_AT_K, SEARCH_LATENCY_P50_US, TRAIN_SECONDS,
};
use serde::Serialize;

/// A figure that may be limited. Values are in the unit of its metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Figure {
    /// Bytes of a code, with everything that is stored for each vector.
    Bytes,
    /// k-recall@k on the method's own search path.
    Recall,
    /// Median latency of a single query on one thread.
    Latency,
    /// Normalized mean squared error.
    Distortion,
    /// Vectors encoded per second.
    EncodeRate,
    /// Seconds of one training.
    FitTime,
}

/// All of them, in the order in which they are told.
pub const FIGURES: [Figure; 6] =
    [Figure::Bytes, Figure::Recall, Figure::Latency, Figure::Distortion, Figure::EncodeRate, Figure::FitTime];

impl Figure {
    /// Its name in options and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Figure::Bytes => "bytes",
            Figure::Recall => "recall",
            Figure::Latency => "latency",
            Figure::Distortion => "distortion",
            Figure::EncodeRate => "encode-rate",
            Figure::FitTime => "fit-time",
        }
    }

    /// Its metric in the dictionary.
    pub fn metric(self) -> &'static Metric {
        match self {
            Figure::Bytes => &CODE_BYTES,
            Figure::Recall => &RECALL_K_AT_K,
            Figure::Latency => &SEARCH_LATENCY_P50_US,
            Figure::Distortion => &NMSE,
            Figure::EncodeRate => &ENCODE_VECTORS_PER_SECOND,
            Figure::FitTime => &TRAIN_SECONDS,
        }
    }

    /// Whether larger values are better. A limit is then the least that is wanted, otherwise the most that is allowed.
    pub fn larger_is_better(self) -> bool {
        self.metric().larger_is_better() == Some(true)
    }

    /// Whether its intervals are symmetric in the logarithm, as those of timings are.
    pub(crate) fn is_logarithmic(self) -> bool {
        self.metric().noise == Noise::Timed
    }

    /// A value with its unit.
    pub fn show(self, value: f64) -> String {
        match self {
            Figure::Bytes if value == 1.0 => "1 byte".to_owned(),
            Figure::Bytes => format!("{value:.0} bytes"),
            Figure::Recall => format!("{value:.3}"),
            Figure::Latency => format!("{} ms", significant(value / 1000.0, 3)),
            Figure::Distortion => significant(value, 3),
            Figure::EncodeRate => format!("{} vectors/s", engineering(value).replace(' ', "")),
            Figure::FitTime => format!("{} s", significant(value, 3)),
        }
    }

    /// How a limit is written in a sentence.
    pub fn limit(self, value: f64) -> String {
        let bound = if self.larger_is_better() { "at least" } else { "at most" };
        format!("{} {bound} {}", self.word(), self.show(value))
    }

    /// The figure in a sentence.
    pub fn word(self) -> &'static str {
        match self {
            Figure::Bytes => "size",
            Figure::Recall => "recall",
            Figure::Latency => "latency",
            Figure::Distortion => "normalized MSE",
            Figure::EncodeRate => "encoding",
            Figure::FitTime => "training",
        }
    }

    /// A limit that is one step looser: the next size of [`rungs`], twice as many misses in the recall, twice the time,
    /// half the speed, a quarter more distortion.
    pub fn relaxed(self, limit: f64) -> f64 {
        match self {
            Figure::Bytes => rung_above(limit as usize) as f64,
            // Twice the misses would be all of them from 0.5 down. Rounded, so that 0.8 becomes 0.6.
            Figure::Recall => (1e9 * (1.0 - 2.0 * (1.0 - limit)).max(0.5 * limit)).round() / 1e9,
            Figure::Latency | Figure::FitTime => 2.0 * limit,
            Figure::Distortion => 1.25 * limit,
            Figure::EncodeRate => 0.5 * limit,
        }
    }

    /// How far a value misses a limit, as the absolute logarithm of their ratio; 0 if it meets the limit.
    pub(crate) fn shortfall(self, value: f64, limit: f64) -> f64 {
        if self.meets(value, limit) { 0.0 } else { (value.max(1e-12) / limit).ln().abs() }
    }

    /// Whether a value meets a limit. NaN meets none.
    pub fn meets(self, value: f64, limit: f64) -> bool {
        if self.larger_is_better() { value >= limit } else { value <= limit }
    }

    /// Whether `a` is better than `b`.
    pub(crate) fn is_better(self, a: f64, b: f64) -> bool {
        if self.larger_is_better() { a > b } else { a < b }
    }
}

/// The sizes of codes, in bytes, that a search looks at: 1, 2, 3, 4, 6, 8, 12, …: powers of two and what lies halfway.
pub fn rungs() -> impl Iterator<Item = usize> {
    (0..31).flat_map(|power: u32| {
        let size = 1usize << power;
        [Some(size), (size > 1).then_some(size / 2 * 3)].into_iter().flatten()
    })
}

/// The smallest size of [`rungs`] above `bytes`.
pub fn rung_above(bytes: usize) -> usize {
    rungs().find(|rung| *rung > bytes).unwrap_or(bytes.saturating_mul(2))
}

/// The figures of one code, as far as they are known, each with its 95% interval.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures([Option<Estimate>; FIGURES.len()]);

impl Figures {
    /// One of them.
    pub fn get(&self, figure: Figure) -> Option<Estimate> {
        self.0[figure as usize]
    }

    /// The value of one of them.
    pub fn value(&self, figure: Figure) -> Option<f64> {
        self.get(figure).map(|estimate| estimate.value)
    }

    /// Sets one of them. An estimate with a NaN counts as not known.
    pub fn set(&mut self, figure: Figure, estimate: Option<Estimate>) {
        self.0[figure as usize] = estimate.filter(|e| !(e.value.is_nan() || e.low.is_nan() || e.high.is_nan()));
    }

    /// With one of them known exactly.
    pub fn with(mut self, figure: Figure, value: f64) -> Figures {
        self.set(figure, Some(Estimate { value, low: value, high: value, count: 1 }));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rungs_rise_by_a_third_or_a_half() {
        let first: Vec<usize> = rungs().take(11).collect();
        assert_eq!(first, [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48]);
        assert_eq!([rung_above(1), rung_above(48), rung_above(50)], [2, 64, 64]);
    }

    #[test]
    fn a_relaxed_limit_is_looser_for_every_figure() {
        for (figure, limit) in FIGURES.into_iter().zip([64.0, 0.95, 1000.0, 0.2, 1e4, 3.0]) {
            let relaxed = figure.relaxed(limit);
            assert!(figure.meets(limit, relaxed) && !figure.meets(relaxed, limit), "{figure:?}: {relaxed}");
            assert!(figure.shortfall(relaxed, limit) > 0.0 && figure.shortfall(limit, relaxed) == 0.0);
        }
        assert_eq!([0.95, 0.8].map(|recall| Figure::Recall.relaxed(recall)), [0.9, 0.6]);
        assert_eq!(Figure::Recall.relaxed(0.4), 0.2, "it never falls to zero");
    }

    #[test]
    fn nan_is_not_known_and_meets_nothing() {
        let nan = Estimate { value: f64::NAN, low: 0.0, high: 1.0, count: 3 };
        let mut figures = Figures::default().with(Figure::Recall, 0.9);
        figures.set(Figure::Recall, Some(nan));
        assert_eq!(figures.get(Figure::Recall), None);
        assert!(!Figure::Recall.meets(f64::NAN, 0.1) && !Figure::Bytes.meets(f64::NAN, 10.0));
    }
}
