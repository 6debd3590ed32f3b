//! How probable it is that a code is the best of those tried.

use super::choice::{NORMAL_95, Wish};
use super::figure::{FIGURES, Figures};
use crate::statistics::Estimate;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::f64::consts::TAU;

/// The share of draws in which no code is better than the chosen one. `draw` gives the figures of all codes in a draw by
/// its number. Several codes may be best in a draw.
pub fn share_best(wish: &Wish, chosen: usize, draws: usize, mut draw: impl FnMut(usize) -> Vec<Figures>) -> f64 {
    let is_best = |codes: Vec<Figures>| match codes.get(chosen) {
        Some(own) => codes.iter().all(|other| wish.order(other, own).is_ge()),
        None => false,
    };
    (0..draws).filter(|number| is_best(draw(*number))).count() as f64 / draws.max(1) as f64
}

/// Draws of the figures of one code from their intervals, as independent normal variables (of their logarithms, for
/// timings). The same `stream` gives the same draws.
pub fn interval_draws(figures: &Figures, draws: usize, stream: u64) -> Vec<Figures> {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    rng.set_stream(stream);
    let mut normal = || {
        // Box and Muller; 1 − u is above zero.
        let (u, v): (f64, f64) = (rng.random(), rng.random());
        (-2.0 * (1.0 - u).ln()).sqrt() * (TAU * v).cos()
    };
    let mut one = || {
        let mut drawn = Figures::default();
        for figure in FIGURES {
            // Drawn whether or not it is needed, so that draws do not depend on what else is known.
            let z = normal() / (2.0 * NORMAL_95);
            let Some(e) = figures.get(figure) else { continue };
            let value = if figure.is_logarithmic() && e.low > 0.0 {
                e.value * (e.high / e.low).powf(z)
            } else {
                e.value + z * (e.high - e.low)
            };
            drawn.set(figure, Some(Estimate { value, low: value, high: value, count: 1 }));
        }
        drawn
    };
    (0..draws).map(|_| one()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::figure::Figure;
    use super::*;

    fn recall(value: f64, half: f64) -> Figures {
        let mut figures = Figures::default().with(Figure::Bytes, 8.0);
        figures.set(Figure::Recall, Some(Estimate { value, low: value - half, high: value + half, count: 9 }));
        figures
    }

    fn share(codes: &[Figures], chosen: usize) -> f64 {
        let wish = Wish::new(vec![(Figure::Bytes, 10.0)], None).expect("a wish");
        let drawn: Vec<Vec<Figures>> =
            codes.iter().zip(0..).map(|(figures, stream)| interval_draws(figures, 4000, stream)).collect();
        share_best(&wish, chosen, 4000, |at| drawn.iter().map(|of| of[at].clone()).collect())
    }

    #[test]
    fn two_equal_codes_share_and_a_far_better_one_takes_all() {
        assert!((share(&[recall(0.8, 0.1), recall(0.8, 0.1)], 0) - 0.5).abs() < 0.03);
        assert_eq!(share(&[recall(0.8, 0.01), recall(0.6, 0.01)], 0), 1.0);
        assert_eq!(share(&[recall(0.8, 0.01), recall(0.6, 0.01)], 1), 0.0);
        assert_eq!(share(&[recall(0.8, 0.0), recall(0.8, 0.0)], 0), 1.0, "nothing is better than an equal");
        // A difference of one standard deviation of the difference: Φ(1).
        let half = NORMAL_95 * 0.1 / 2f64.sqrt();
        assert!((share(&[recall(0.8, half), recall(0.7, half)], 0) - 0.841).abs() < 0.02);
    }

    #[test]
    fn draws_have_the_interval_that_they_come_from() {
        let mut figures = recall(0.5, 0.2);
        figures.set(Figure::Latency, Some(Estimate { value: 100.0, low: 50.0, high: 200.0, count: 3 }));
        let drawn = interval_draws(&figures, 4000, 7);
        let inside = |figure: Figure, low: f64, high: f64| {
            let values = drawn.iter().filter_map(|one| one.value(figure));
            values.filter(|v| (low..=high).contains(v)).count() as f64 / 4000.0
        };
        assert!((inside(Figure::Recall, 0.3, 0.7) - 0.95).abs() < 0.012);
        assert!((inside(Figure::Latency, 50.0, 200.0) - 0.95).abs() < 0.012);
        assert_eq!(inside(Figure::Bytes, 8.0, 8.0), 1.0);
        assert_eq!(drawn, interval_draws(&figures, 4000, 7));
    }
}
