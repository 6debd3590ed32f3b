//! Axes with ticks as in papers: 1-2-5 or decades, powers of two for rates, and round linear steps.

use super::style::{SMALL, text_width};
use crate::number::{linear_tick, log_tick, superscript, trim};
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
        let at = |steps: &[f64]| -> Vec<f64> {
            let decades = (first..=last).filter(|e| e.rem_euclid(every) == 0);
            let all = decades.flat_map(|e| steps.iter().map(move |s| s * 10f64.powi(e)));
            all.filter(|t| (low..=high).contains(t)).collect()
        };
        let ticks = at(steps);
        // A single tick says nothing of the scale.
        let ticks = if ticks.len() > 1 { ticks } else { at(&[1.0, 2.0, 5.0]) };
        Some(Axis { low, high, log: true, ticks, format: log_tick })
    }

    /// A logarithmic axis with ticks at powers of two, for rates; with other round ticks if there is only one such power
    /// among several rates.
    pub fn log2(values: impl Iterator<Item = f64>) -> Option<Axis> {
        let (low, high) = finite_range(values.filter(|v| *v > 0.0))?;
        let axis = Axis::octaves(low, high);
        let ticks =
            if axis.ticks.len() > 1 || low == high { axis.ticks } else { Axis::linear(axis.low, axis.high).ticks };
        Some(Axis { ticks, ..axis })
    }

    fn octaves(low: f64, high: f64) -> Axis {
        let (low, high) = widen(low, high, 0.06);
        let every = ((high / low).log2() / 9.0).ceil().max(1.0) as i32;
        let (first, last) = (low.log2().ceil() as i32, high.log2().floor() as i32);
        let ticks = (first..=last).filter(|e| e.rem_euclid(every) == 0).map(|e| 2f64.powi(e)).collect();
        Axis { low, high, log: true, ticks, format: trim }
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
        Axis { low, high, log: false, ticks, format: linear_tick }
    }

    /// As [`Axis::log2`], with ticks written as powers of two, for codebook sizes.
    pub fn powers_of_two(values: impl Iterator<Item = f64>) -> Option<Axis> {
        let (low, high) = finite_range(values.filter(|v| *v > 0.0))?;
        Some(Axis { format: |v| format!("2{}", superscript(v.log2().round() as i32)), ..Axis::octaves(low, high) })
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

    /// The part of the axis between two values, with round ticks of its own, at most so many.
    pub fn part(&self, low: f64, high: f64, most: usize) -> Axis {
        let octaves = self.log && self.ticks.len() > 1 && self.ticks.iter().all(|tick| tick.log2().fract() == 0.0);
        let powers = (low.log2().ceil() as i32..=high.log2().floor() as i32).map(|e| 2f64.powi(e)).take(64);
        let mut ticks: Vec<f64> = if octaves { powers.collect() } else { Vec::new() };
        if ticks.len() < 2 {
            ticks = Axis::linear(low, high).ticks;
        }
        while ticks.len() > most.max(2) {
            ticks = ticks.into_iter().step_by(2).collect();
        }
        Axis { low, high, log: self.log, ticks, format: linear_tick }
    }

    /// The value at a part of the length of the axis.
    pub fn at(&self, share: f64) -> f64 {
        if self.log { self.low * (self.high / self.low).powf(share) } else { self.low + (self.high - self.low) * share }
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
        let near = Axis::log2([164.0, 464.0].into_iter()).expect("values");
        assert_eq!(near.labels(), ["200", "300", "400"]);
        assert_eq!(Axis::log2([256.0].into_iter()).expect("a value").labels(), ["256"]);
        assert_eq!(Axis::linear(0.0, 1.0).labels(), ["0", "0.2", "0.4", "0.6", "0.8", "1"]);
        let single = Axis::log10([2.2e-4, 7e-3].into_iter()).expect("values");
        assert_eq!(single.labels(), ["2·10⁻⁴", "5·10⁻⁴", "10⁻³", "2·10⁻³", "5·10⁻³"]);
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
    fn large_and_small_steps_have_short_ticks() {
        assert_eq!(Axis::linear(-1e6, 1e6).labels(), ["−10⁶", "−5·10⁵", "0", "5·10⁵", "10⁶"]);
        assert_eq!(Axis::linear(0.0, 4e-7).labels(), ["0", "10⁻⁷", "2·10⁻⁷", "3·10⁻⁷", "4·10⁻⁷"]);
        assert_eq!(Axis::linear(-0.5, 0.5).labels(), ["−0.4", "−0.2", "0", "0.2", "0.4"]);
        assert_eq!(Axis::linear(0.0, 20000.0).labels(), ["0", "5000", "10000", "15000", "20000"]);
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
