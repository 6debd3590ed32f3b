//! Axes with the ticks that papers use: 1-2-5 or decades, powers of two for rates, and round linear steps.

use crate::number::{log_tick, trim};
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use std::ops::Range;

/// A linear or logarithmic axis with its own ticks.
#[derive(Clone, Debug)]
pub struct Axis {
    low: f64,
    high: f64,
    log: bool,
    ticks: Vec<f64>,
    format: fn(f64) -> String,
}

fn finite_range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let range =
        values.filter(|v| v.is_finite()).fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    (range.0 <= range.1).then_some(range)
}

impl Axis {
    /// Logarithmic, over the decades that hold the positive values with a margin.
    pub fn log10(values: impl Iterator<Item = f64>) -> Option<Axis> {
        let (low, high) = finite_range(values.filter(|v| *v > 0.0))?;
        let (low, high) = widen(low, high, 0.07);
        let decades = (high / low).log10();
        let steps: &[f64] = match decades {
            d if d < 0.7 => &[1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0],
            d if d < 1.6 => &[1.0, 2.0, 5.0],
            _ => &[1.0],
        };
        let every = (decades / 7.0).ceil().max(1.0) as i32;
        let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
        let ticks = (first..=last)
            .filter(|e| e.rem_euclid(every) == 0)
            .flat_map(|e| steps.iter().map(move |s| s * 10f64.powi(e)))
            .filter(|t| (low..=high).contains(t))
            .collect();
        Some(Axis { low, high, log: true, ticks, format: log_tick })
    }

    /// Logarithmic with ticks at powers of two, for rates.
    pub fn log2(values: impl Iterator<Item = f64>) -> Option<Axis> {
        let (low, high) = finite_range(values.filter(|v| *v > 0.0))?;
        let (low, high) = widen(low, high, 0.06);
        let every = ((high / low).log2() / 9.0).ceil().max(1.0) as i32;
        let (first, last) = (low.log2().ceil() as i32, high.log2().floor() as i32);
        let ticks = (first..=last).filter(|e| e.rem_euclid(every) == 0).map(|e| 2f64.powi(e)).collect();
        Some(Axis { low, high, log: true, ticks, format: trim })
    }

    /// Linear from `low` to `high`, with a round step.
    pub fn linear(low: f64, high: f64) -> Axis {
        let high = if high > low { high } else { low + 1.0 };
        let raw = (high - low) / 5.0;
        let power = 10f64.powf(raw.log10().floor());
        let step = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().map(|s| s * power).find(|s| *s >= raw * 0.999).unwrap_or(raw);
        let first = (low / step).ceil() as i64;
        let last = (high / step + 1e-9).floor() as i64;
        let ticks = (first..=last).map(|i| i as f64 * step).collect();
        Axis { low, high, log: false, ticks, format: trim }
    }

    /// Lower end.
    pub fn low(&self) -> f64 {
        self.low
    }

    /// Upper end.
    pub fn high(&self) -> f64 {
        self.high
    }

    fn share(&self, value: f64) -> f64 {
        if self.log {
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        }
    }

    /// The value a share of the way from `a` to `b`, as the axis draws them.
    pub fn between(&self, a: f64, b: f64, share: f64) -> f64 {
        if self.log { a * (b / a).powf(share) } else { a + (b - a) * share }
    }

    /// Labels of the ticks, for measuring.
    pub fn labels(&self) -> Vec<String> {
        self.ticks.iter().map(|t| (self.format)(*t)).collect()
    }
}

/// A logarithmic range with a margin on both sides; a single value gets a factor of two around it.
fn widen(low: f64, high: f64, margin: f64) -> (f64, f64) {
    let (low, high) = if high / low < 1.5 { (low / 1.6, high * 1.6) } else { (low, high) };
    let factor = (high / low).powf(margin);
    (low / factor, high * factor)
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        limit.0 + (self.share(*value) * f64::from(limit.1 - limit.0)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.low..self.high
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        (self.format)(*value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        let axis = Axis::log10([3e-5, 0.8].into_iter()).expect("values");
        assert_eq!(axis.labels(), ["10⁻⁴", "10⁻³", "0.01", "0.1", "1"]);
        let narrow = Axis::log10([0.3, 0.8].into_iter()).expect("values");
        assert_eq!(narrow.labels(), ["0.3", "0.4", "0.5", "0.6", "0.8"]);
        let rates = Axis::log2([8.0, 3072.0].into_iter()).expect("values");
        assert_eq!(rates.labels(), ["16", "64", "256", "1024", "4096"]);
        assert_eq!(Axis::linear(0.0, 1.0).labels(), ["0", "0.2", "0.4", "0.6", "0.8", "1"]);
        assert!(Axis::log10([0.0, -1.0].into_iter()).is_none());
    }
}
