//! Axes with ticks as in papers: 1-2-5 or decades, powers of two for rates, and round linear steps.

use super::style::{SMALL, text_width};
use crate::number::{log_tick, superscript, trim};
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use std::ops::Range;

/// Smallest space between the labels of two ticks, in figure units.
const LEAST_GAP: f64 = 6.0;

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
    /// A logarithmic axis over the decades that contain the positive values, with a margin.
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

    /// A logarithmic axis with ticks at powers of two, for rates.
    pub fn log2(values: impl Iterator<Item = f64>) -> Option<Axis> {
        let (low, high) = finite_range(values.filter(|v| *v > 0.0))?;
        let (low, high) = widen(low, high, 0.06);
        let every = ((high / low).log2() / 9.0).ceil().max(1.0) as i32;
        let (first, last) = (low.log2().ceil() as i32, high.log2().floor() as i32);
        let ticks = (first..=last).filter(|e| e.rem_euclid(every) == 0).map(|e| 2f64.powi(e)).collect();
        Some(Axis { low, high, log: true, ticks, format: trim })
    }

    /// A linear axis from `low` to `high`, with a round step.
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

    /// As [`Axis::log2`], with ticks written as powers of two, for codebook sizes.
    pub fn powers_of_two(values: impl Iterator<Item = f64>) -> Option<Axis> {
        Some(Axis { format: |v| format!("2{}", superscript(v.log2().round() as i32)), ..Axis::log2(values)? })
    }

    /// A linear axis for fractions from 0 to 1, in percent.
    pub fn percent() -> Axis {
        Axis { format: |v| format!("{}%", trim(100.0 * v)), ..Axis::linear(0.0, 1.03) }
    }

    /// A linear axis over the values with a margin, for quantities without a meaningful zero.
    pub fn around(values: impl Iterator<Item = f64>) -> Option<Axis> {
        let (low, high) = finite_range(values)?;
        let margin = if high > low { 0.07 * (high - low) } else { 0.5 * high.abs().max(1.0) };
        Some(Axis::linear(low - margin, high + margin))
    }

    /// A linear axis if the values are of one magnitude, otherwise a logarithmic one.
    pub fn fitted(values: impl Iterator<Item = f64> + Clone) -> Option<Axis> {
        let (low, high) = finite_range(values.clone())?;
        if low > 0.0 && high > 2.0 * low { Axis::log10(values) } else { Axis::around(values) }
    }

    /// An axis for iterations counted from 1; logarithmic if there are many.
    pub fn counts(last: usize) -> Axis {
        let end = last.max(2) as f64;
        if let Some(axis) = Axis::log10([1.0, end].into_iter()).filter(|_| last > 50) {
            // With few decades there is room for ticks between them.
            let finer = (0..3).flat_map(|e| [1.0, 2.0, 5.0].map(|s| s * 10f64.powi(e))).filter(|t| *t <= end);
            return if last < 1000 { Axis { ticks: finer.collect(), ..axis } } else { axis };
        }
        let margin = 0.03 * (end - 1.0);
        let step = [1, 2, 5, 10].into_iter().find(|step| last <= 7 * step).unwrap_or(10);
        let ticks = std::iter::once(1).chain((1..=last / step).map(|i| i * step)).map(|tick| tick as f64);
        let mut ticks: Vec<f64> = ticks.collect();
        ticks.dedup();
        Axis { low: 1.0 - margin, high: end + margin, log: false, ticks, format: trim }
    }

    /// The axis with only so many ticks that their labels do not touch each other along a length in figure units: every
    /// second, every fourth ….
    pub fn fitting(&self, length: f64) -> Axis {
        let mut axis = self.clone();
        let touch = |axis: &Axis| {
            let place = |tick: f64| axis.share(tick) * length;
            let half = |tick: f64| 0.5 * text_width(&(axis.format)(tick), SMALL);
            let gap = |pair: &[f64]| place(pair[1]) - place(pair[0]) - half(pair[0]) - half(pair[1]);
            axis.ticks.windows(2).any(|pair| gap(pair) < LEAST_GAP)
        };
        while axis.ticks.len() > 2 && touch(&axis) {
            axis.ticks = axis.ticks.iter().copied().step_by(2).collect();
        }
        axis
    }

    /// Whether a value is within the ends of the axis.
    pub fn holds(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }

    /// The value, clipped to the ends of the axis.
    pub fn clamp(&self, value: f64) -> f64 {
        value.max(self.low).min(self.high)
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

    /// The value at a fraction of the drawn distance from `a` to `b`.
    pub fn between(&self, a: f64, b: f64, share: f64) -> f64 {
        if self.log { a * (b / a).powf(share) } else { a + (b - a) * share }
    }

    /// A value as a tick would show it.
    pub fn written(&self, value: f64) -> String {
        (self.format)(value)
    }

    /// The values of the ticks.
    pub fn ticks(&self) -> &[f64] {
        &self.ticks
    }

    /// Labels of the ticks, for measuring their width.
    pub fn labels(&self) -> Vec<String> {
        self.ticks.iter().map(|t| (self.format)(*t)).collect()
    }
}

/// A logarithmic range with a margin on both sides; a single value gets a factor of 1.6 on each side.
fn widen(low: f64, high: f64, margin: f64) -> (f64, f64) {
    // The limits are beyond any measurement; quotients of clipped values are finite.
    let (low, high) = (low.clamp(1e-100, 1e100), high.clamp(1e-100, 1e100));
    let (low, high) = if high / low < 1.5 { (low / 1.6, high * 1.6) } else { (low, high) };
    let factor = (high / low).powf(margin);
    (low / factor, high * factor)
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        // Values that a logarithmic axis cannot show are placed outside, within the range of integers.
        let share = self.share(*value).clamp(-10.0, 10.0);
        limit.0 + (share * f64::from(limit.1 - limit.0)).round() as i32
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
        let sizes = Axis::powers_of_two([64.0, 240.0, 4375.0].into_iter()).expect("values");
        assert_eq!(sizes.labels(), ["2⁶", "2⁷", "2⁸", "2⁹", "2¹⁰", "2¹¹", "2¹²"]);
        assert_eq!(Axis::percent().labels(), ["0%", "25%", "50%", "75%", "100%"]);
        assert_eq!(Axis::counts(3).labels(), ["1", "2", "3"]);
        assert_eq!(Axis::counts(30).labels(), ["1", "5", "10", "15", "20", "25", "30"]);
        assert_eq!(Axis::counts(200).labels(), ["1", "2", "5", "10", "20", "50", "100", "200"]);
        assert_eq!(Axis::counts(1000).labels(), ["1", "10", "100", "1000"]);
    }

    #[test]
    fn ticks_leave_room_for_their_labels() {
        crate::figure::style::register_fonts();
        let rates = Axis::log2([8.0, 3072.0].into_iter()).expect("values");
        assert_eq!(rates.fitting(400.0).labels(), ["16", "64", "256", "1024", "4096"]);
        assert_eq!(rates.fitting(100.0).labels(), ["16", "256", "4096"]);
        assert_eq!(Axis::percent().fitting(0.0).labels().len(), 2, "never fewer");
    }

    #[test]
    fn no_value_is_too_odd_for_an_axis() {
        let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -1.0, f64::MIN_POSITIVE, f64::MAX];
        let axes = [Axis::log10(odd.into_iter()), Axis::around(odd.into_iter()), Axis::fitted(odd.into_iter())];
        let counts = [0, 1, 2, 50, 51, usize::MAX].map(Axis::counts);
        for axis in axes.into_iter().flatten().chain(counts).chain([Axis::linear(1.0, 1.0), Axis::percent()]) {
            for value in odd {
                axis.map(&value, (0, 10_000));
            }
            assert!(axis.labels().len() < 50, "{axis:?}");
        }
    }
}
