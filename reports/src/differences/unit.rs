//! The units of differences: decibels for distortion, percentage points for shares.

use crate::number::significant;
use record::Metric;
use record::metric::{NMSE, NumberFormat};

/// The unit of a difference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Unit {
    /// 10·log10 of the ratio: a factor means the same on every dataset and at every rate.
    Ratio,
    /// A plain difference of decibels.
    Decibels,
    /// Percentage points of a fraction.
    Points,
    /// A plain difference in the unit of the metric.
    Plain,
}

impl Unit {
    /// The unit for a metric.
    pub fn of(metric: &Metric) -> Unit {
        match metric.format {
            _ if metric.name == NMSE.name => Unit::Ratio,
            _ if metric.unit == "dB" => Unit::Decibels,
            NumberFormat::Percent => Unit::Points,
            _ => Unit::Plain,
        }
    }

    /// The difference of a value from another; infinite or NaN where a ratio has no logarithm.
    pub fn difference(self, value: f64, other: f64) -> f64 {
        match self {
            Unit::Ratio => 10.0 * (value / other).log10(),
            Unit::Decibels | Unit::Plain => value - other,
            Unit::Points => 100.0 * (value - other),
        }
    }

    /// Name of the unit in tables; empty for a plain difference.
    pub fn name(self) -> &'static str {
        match self {
            Unit::Ratio | Unit::Decibels => "dB",
            Unit::Points => "points",
            Unit::Plain => "",
        }
    }

    /// A difference with its unit and sign.
    pub fn signed(self, value: f64) -> String {
        format!("{}{}", sign(value), self.size(value))
    }

    /// An interval of differences.
    pub fn interval(self, low: f64, high: f64) -> String {
        format!("{}{} to {}", sign(low), significant(low.abs(), 3), self.signed(high))
    }

    /// A difference with its unit, without its sign.
    pub fn size(self, value: f64) -> String {
        let name = self.name();
        let space = if name.is_empty() { "" } else { " " };
        format!("{}{space}{name}", significant(value.abs(), 3))
    }
}

/// The sign of a difference, with the width of a plus.
fn sign(value: f64) -> &'static str {
    if value < 0.0 { "−" } else { "+" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use record::metric::{PSNR_DB, RECALL_K_AT_K, TRAIN_NMSE};

    #[test]
    fn a_difference_has_the_unit_of_its_metric() {
        let of = |metric: &Metric, value: f64, other: f64| {
            let unit = Unit::of(metric);
            unit.signed(unit.difference(value, other))
        };
        assert_eq!(of(&NMSE, 0.1, 0.2), "−3.01 dB");
        assert_eq!(of(&PSNR_DB, 30.5, 30.0), "+0.500 dB");
        assert_eq!(of(&RECALL_K_AT_K, 0.61, 0.58), "+3.00 points");
        assert_eq!(of(&TRAIN_NMSE, 0.5, 0.25), "+0.250");
        assert!(!Unit::Ratio.difference(0.0, 0.1).is_finite(), "no distortion has no decibels");
    }
}
