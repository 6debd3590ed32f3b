//! Schedules: how a value changes during training.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// A temperature that changes during training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Temperature {
    /// Temperature at the first step.
    #[schemars(range(min = 0.001, max = 1000.0))]
    pub start: f64,
    /// Temperature at the last step.
    #[schemars(range(min = 0.001, max = 1000.0))]
    pub end: f64,
    /// How the temperature moves from `start` to `end`.
    pub schedule: Decay,
}

/// How a value moves from its start to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Decay {
    /// Half a period of a cosine: slow at both ends, fast in the middle.
    Cosine,
    /// By the same factor at every step.
    Exponential,
    /// By the same difference at every step.
    Linear,
}

impl Default for Temperature {
    /// From 1 to 1/16 as a cosine (Ramesh et al. 2021, DALL-E).
    fn default() -> Temperature {
        Temperature { start: 1.0, end: 0.0625, schedule: Decay::Cosine }
    }
}

impl Temperature {
    /// After the share `progress` of training.
    pub(crate) fn at(&self, progress: f64) -> f64 {
        self.schedule.between(self.start, self.end, progress.clamp(0.0, 1.0))
    }
}

impl Decay {
    fn between(self, start: f64, end: f64, progress: f64) -> f64 {
        match self {
            Decay::Cosine => end + (start - end) * cosine(progress),
            Decay::Exponential => start * (end / start).powf(progress),
            Decay::Linear => start + (end - start) * progress,
        }
    }
}

/// From 1 to 0: `(1 + cos(π·progress))/2`.
fn cosine(progress: f64) -> f64 {
    0.5 * (1.0 + (PI * progress).cos())
}

/// The learning rate as a fraction of its peak: it rises linearly over the fraction `warmup` of all steps, then falls
/// along a cosine to a hundredth.
pub(crate) fn learning_rate_share(step: usize, steps: usize, warmup: f64) -> f64 {
    const FLOOR: f64 = 0.01;
    let warm = (warmup * steps as f64).ceil();
    let step = step as f64;
    if step < warm {
        return (step + 1.0) / warm;
    }
    FLOOR + (1.0 - FLOOR) * cosine((step - warm) / (steps as f64 - warm).max(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_go_from_start_to_end() {
        for (schedule, middle) in [(Decay::Cosine, 0.53125), (Decay::Exponential, 0.25), (Decay::Linear, 0.53125)] {
            let temperature = Temperature { schedule, ..Temperature::default() };
            assert!((temperature.at(0.0) - 1.0).abs() < 1e-12, "{schedule:?}");
            assert!((temperature.at(0.5) - middle).abs() < 1e-12, "{schedule:?}");
            assert!((temperature.at(1.0) - 0.0625).abs() < 1e-12, "{schedule:?}");
        }
    }

    #[test]
    fn the_learning_rate_rises_and_falls() {
        let share: Vec<f64> = (0..100).map(|step| learning_rate_share(step, 100, 0.1)).collect();
        assert!((share[0] - 0.1).abs() < 1e-12 && (share[9] - 1.0).abs() < 1e-12 && (share[10] - 1.0).abs() < 1e-12);
        assert!(share[10..].windows(2).all(|pair| pair[1] < pair[0]) && share[99] < 0.02, "{share:?}");
        assert_eq!(learning_rate_share(0, 1, 0.0), 1.0);
    }
}
