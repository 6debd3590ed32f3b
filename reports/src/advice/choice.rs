//! The rule: which of several codes is the best under limits, and what other limits would give.

use super::figure::{FIGURES, Figure, Figures};
use crate::statistics::normal_below;
use serde::Serialize;
use std::cmp::Ordering;
use thiserror::Error;

/// What is asked of a code: limits, and the figure that should be as good as possible within them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Wish {
    /// The limits, in the order of [`FIGURES`]; at most one for each figure.
    limits: Vec<(Figure, f64)>,
    objective: Figure,
}

/// A wish that cannot be one.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum WishError {
    /// Without any limit, the raw vectors are the answer.
    #[error("no limit is given, so no code is better than the vectors themselves")]
    NoLimit,
    /// A value that no limit can have.
    #[error("a limit on {} of {value} makes no sense; it must be {range}", figure.name())]
    Value {
        /// The limited figure.
        figure: Figure,
        /// Its value.
        value: f64,
        /// What it may be.
        range: &'static str,
    },
    /// Two limits on one figure.
    #[error("there are two limits on {}", .0.name())]
    Twice(Figure),
}

impl Wish {
    /// Limits, and the figure to make best. Without one it follows from the limits: the best recall; or the fewest
    /// bytes, if recall is limited and bytes are not.
    ///
    /// # Errors
    /// No limit, two for one figure, or a value that is out of range or NaN.
    pub fn new(mut limits: Vec<(Figure, f64)>, objective: Option<Figure>) -> Result<Wish, WishError> {
        if limits.is_empty() {
            return Err(WishError::NoLimit);
        }
        limits.sort_by_key(|(figure, _)| *figure as usize);
        if let Some(pair) = limits.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(WishError::Twice(pair[0].0));
        }
        for &(figure, value) in &limits {
            let (right, range) = match figure {
                Figure::Bytes => (value >= 1.0 && value.is_finite(), "at least 1"),
                Figure::Recall => (value > 0.0 && value <= 1.0, "above 0 and at most 1"),
                _ => (value > 0.0 && value.is_finite(), "above 0"),
            };
            if !right {
                return Err(WishError::Value { figure, value, range });
            }
        }
        let usual = Wish::usual_objective(&limits, Figure::Recall);
        Ok(Wish { objective: objective.unwrap_or(usual), limits })
    }

    /// The figure to make best if none is named: `quality`; or the bytes, if the quality is limited and they are not.
    pub fn usual_objective(limits: &[(Figure, f64)], quality: Figure) -> Figure {
        let limited = |figure: Figure| limits.iter().any(|(other, _)| *other == figure);
        if limited(quality) && !limited(Figure::Bytes) { Figure::Bytes } else { quality }
    }

    /// The limits, in the order of [`FIGURES`].
    pub fn limits(&self) -> &[(Figure, f64)] {
        &self.limits
    }

    /// The figure that should be as good as possible.
    pub fn objective(&self) -> Figure {
        self.objective
    }

    /// Whether the figure is limited or the objective.
    pub fn needs(&self, figure: Figure) -> bool {
        self.objective == figure || self.limits.iter().any(|(limited, _)| *limited == figure)
    }

    /// The figures that are limited, and the objective.
    pub fn needed(&self) -> Vec<Figure> {
        FIGURES.into_iter().filter(|figure| self.needs(*figure)).collect()
    }

    /// Whether the values meet all limits. What is not known meets none.
    pub fn is_met(&self, figures: &Figures) -> bool {
        self.limits.iter().all(|(figure, limit)| figures.value(*figure).is_some_and(|v| figure.meets(v, *limit)))
    }

    /// The first limit that even the better end of the interval misses.
    pub fn out_of_reach(&self, figures: &Figures) -> Option<Figure> {
        let misses = |(figure, limit): &&(Figure, f64)| {
            figures.get(*figure).is_some_and(|e| {
                let end = if figure.larger_is_better() { e.high } else { e.low };
                !figure.meets(end, *limit)
            })
        };
        self.limits.iter().find(misses).map(|(figure, _)| *figure)
    }

    /// The probability that all limits are met, if intervals are those of independent normal variables (of their
    /// logarithms, for timings).
    pub fn chance(&self, figures: &Figures) -> f64 {
        let one = |(figure, limit): &(Figure, f64)| {
            let Some(e) = figures.get(*figure) else { return 0.0 };
            let scale = |v: f64| if figure.is_logarithmic() { v.max(1e-12).ln() } else { v };
            let deviation = (scale(e.high) - scale(e.low)) / (2.0 * NORMAL_95);
            if deviation <= 0.0 {
                return f64::from(u8::from(figure.meets(e.value, *limit)));
            }
            let z = (scale(*limit) - scale(e.value)) / deviation;
            normal_below(if figure.larger_is_better() { -z } else { z })
        };
        self.limits.iter().map(one).product()
    }

    /// How much a code promises: the probability that it meets the limits, times its objective relative to the best one
    /// (`best`, the best value among all codes).
    pub fn promise(&self, figures: &Figures, best: f64) -> f64 {
        let Some(value) = figures.value(self.objective) else { return 0.0 };
        let (above, below) = if self.objective.larger_is_better() { (value, best) } else { (best, value) };
        // Both may be zero.
        let share = if above == below { 1.0 } else { above / below };
        self.chance(figures) * share.clamp(0.0, 1.0)
    }

    /// Sorts the better code first. Codes that meet all limits come before those that do not, then those with the better
    /// objective, then the smaller ones, then those with the better recall and distortion. Those that miss a limit are sorted by how far they miss, all limits together.
    pub fn order(&self, a: &Figures, b: &Figures) -> Ordering {
        let meets = (self.is_met(a), self.is_met(b));
        let by_limits = match meets {
            (true, true) => Ordering::Equal,
            (false, false) => self.shortfall(a).total_cmp(&self.shortfall(b)),
            (a, b) => b.cmp(&a),
        };
        let next = |so_far: Ordering, figure: &Figure| so_far.then_with(|| by_figure(*figure, a, b));
        [self.objective, Figure::Bytes, Figure::Recall, Figure::Distortion].iter().fold(by_limits, next)
    }

    fn shortfall(&self, figures: &Figures) -> f64 {
        let one = |(figure, limit): &(Figure, f64)| {
            figures.value(*figure).map_or(f64::INFINITY, |value| figure.shortfall(value, *limit))
        };
        self.limits.iter().map(one).sum()
    }

    /// The best of several codes, whether or not it meets the limits; the first of equals. None of none.
    pub fn best<'a>(&self, codes: impl IntoIterator<Item = &'a Figures>) -> Option<usize> {
        // `min_by` returns the first of equals.
        codes.into_iter().enumerate().min_by(|a, b| self.order(a.1, b.1)).map(|(at, _)| at)
    }

    /// The wish with the limit on each figure loosened by one step, and the loosened value. `step` loosens a limit, as
    /// [`Figure::relaxed`] does.
    pub fn relaxed(&self, step: impl Fn(Figure, f64) -> f64) -> impl Iterator<Item = (Figure, f64, Wish)> {
        self.limits.iter().enumerate().map(move |(at, &(figure, limit))| {
            let mut wish = self.clone();
            wish.limits[at].1 = step(figure, limit);
            (figure, wish.limits[at].1, wish)
        })
    }

    /// For each limit: the wish without it, for the best value of its figure within the others.
    pub fn without_each(&self) -> impl Iterator<Item = (Figure, f64, Wish)> + '_ {
        self.limits.iter().map(|&(figure, limit)| {
            let others = self.limits.iter().copied().filter(|(other, _)| *other != figure).collect();
            (figure, limit, Wish { limits: others, objective: figure })
        })
    }
}

/// The quantile of the normal distribution that its 95% interval reaches to.
pub(super) const NORMAL_95: f64 = 1.959_963_984_540_054;

/// The better value first; what is not known last.
fn by_figure(figure: Figure, a: &Figures, b: &Figures) -> Ordering {
    match (a.value(figure), b.value(figure)) {
        (Some(a), Some(b)) if figure.is_better(a, b) => Ordering::Less,
        (Some(a), Some(b)) if figure.is_better(b, a) => Ordering::Greater,
        (a, b) => b.is_some().cmp(&a.is_some()),
    }
}

/// What follows from a wish, by the numbers of the codes.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// The best code that meets all limits.
    pub best: Option<usize>,
    /// The second best that meets them.
    pub runner_up: Option<usize>,
    /// What loosening each limit by one step buys.
    pub relaxed: Vec<Relaxation>,
    /// If no code meets all limits: for each limit, the code that comes nearest to it within the others. None if none is
    /// within the others.
    pub misses: Vec<(Figure, Option<usize>)>,
}

/// What a looser limit buys.
#[derive(Clone, Debug, PartialEq)]
pub struct Relaxation {
    /// The limited figure.
    pub figure: Figure,
    /// The looser limit.
    pub limit: f64,
    /// The best code then, if it has a better objective than the best one before, or if there was none.
    pub code: Option<usize>,
}

/// Chooses among codes by what is known of them. `step` loosens a limit by one step.
pub fn choose(wish: &Wish, codes: &[Figures], step: impl Fn(Figure, f64) -> f64) -> Choice {
    let met = |wish: &Wish, at: usize| wish.is_met(&codes[at]);
    let best = wish.best(codes).filter(|at| met(wish, *at));
    let others = (0..codes.len()).filter(|at| Some(*at) != best).min_by(|a, b| wish.order(&codes[*a], &codes[*b]));
    let runner_up = best.and(others).filter(|at| met(wish, *at));
    let relaxed = wish.relaxed(step).map(|(figure, limit, looser)| {
        let found = looser.best(codes).filter(|at| met(&looser, *at));
        let gains = |at: &usize| best.is_none_or(|best| by_figure(wish.objective, &codes[*at], &codes[best]).is_lt());
        Relaxation { figure, limit, code: found.filter(gains) }
    });
    let misses = wish.without_each().map(|(figure, _, others)| {
        let found = (0..codes.len()).filter(|at| codes[*at].get(figure).is_some());
        let found = found.min_by(|a, b| others.order(&codes[*a], &codes[*b]));
        (figure, found.filter(|at| met(&others, *at)))
    });
    Choice {
        relaxed: relaxed.collect(),
        misses: if best.is_some() { vec![] } else { misses.collect() },
        best,
        runner_up,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::Estimate;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn code(bytes: f64, recall: f64, latency: f64) -> Figures {
        Figures::default().with(Figure::Bytes, bytes).with(Figure::Recall, recall).with(Figure::Latency, latency)
    }

    fn wish(limits: &[(Figure, f64)]) -> Wish {
        Wish::new(limits.to_vec(), None).expect("a wish")
    }

    fn relaxed(choice: &Choice) -> Vec<(Figure, Option<usize>)> {
        choice.relaxed.iter().map(|relaxed| (relaxed.figure, relaxed.code)).collect()
    }

    const BYTES: Figure = Figure::Bytes;
    const RECALL: Figure = Figure::Recall;
    const LATENCY: Figure = Figure::Latency;

    #[test]
    fn the_objective_is_what_is_left_open() {
        assert_eq!(wish(&[(BYTES, 64.0)]).objective(), RECALL);
        assert_eq!(wish(&[(RECALL, 0.9)]).objective(), BYTES);
        assert_eq!(wish(&[(LATENCY, 10.0)]).objective(), RECALL);
        assert_eq!(wish(&[(RECALL, 0.9), (BYTES, 64.0)]).objective(), RECALL);
        let asked = Wish::new(vec![(RECALL, 0.9), (BYTES, 64.0)], Some(LATENCY)).expect("a wish");
        assert_eq!(asked.needed(), [BYTES, RECALL, LATENCY]);
    }

    #[test]
    fn wishes_that_make_no_sense_are_refused() {
        assert_eq!(Wish::new(vec![], None), Err(WishError::NoLimit));
        for (figure, value) in [(RECALL, f64::NAN), (RECALL, 0.0), (RECALL, 1.5), (BYTES, 0.0), (LATENCY, -1.0)] {
            let refused = Wish::new(vec![(figure, value)], None);
            assert!(matches!(refused, Err(WishError::Value { figure: f, .. }) if f == figure), "{refused:?}");
        }
        assert_eq!(Wish::new(vec![(BYTES, 8.0), (BYTES, 9.0)], None), Err(WishError::Twice(BYTES)));
    }

    #[test]
    fn limits_come_before_the_objective() {
        let codes = [code(96.0, 0.99, 1.0), code(64.0, 0.9, 1.0), code(64.0, 0.93, 1.0), code(48.0, 0.93, 1.0)];
        let choice = choose(&wish(&[(BYTES, 64.0)]), &codes, Figure::relaxed);
        assert_eq!((choice.best, choice.runner_up), (Some(3), Some(2)), "of equals, the smaller");
        assert_eq!(relaxed(&choice), [(BYTES, Some(0))], "a step of bytes buys recall");
        assert!(choice.misses.is_empty());
        let choice = choose(&wish(&[(RECALL, 0.92)]), &codes, Figure::relaxed);
        assert_eq!((choice.best, choice.runner_up), (Some(3), Some(2)));
        assert_eq!(relaxed(&choice), [(RECALL, None)], "no code with a lower recall is smaller");
    }

    #[test]
    fn what_no_code_meets_names_the_nearest_for_each_limit() {
        let codes = [code(96.0, 0.99, 1.0), code(64.0, 0.9, 5.0), code(32.0, 0.7, 1.0)];
        let choice = choose(&wish(&[(BYTES, 64.0), (RECALL, 0.95), (LATENCY, 2.0)]), &codes, Figure::relaxed);
        assert_eq!((choice.best, choice.runner_up), (None, None));
        assert_eq!(choice.misses, [(BYTES, Some(0)), (RECALL, Some(2)), (LATENCY, None)]);
        assert_eq!(relaxed(&choice), [(BYTES, Some(0)), (RECALL, None), (LATENCY, None)]);
    }

    /// Properties of the rule over random codes: the best meets the limits if any code does, none is better, and looser
    /// limits never make the objective worse.
    #[test]
    fn the_best_is_never_beaten_and_looser_limits_never_cost() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..300 {
            let codes: Vec<Figures> = (0..12)
                .map(|_| {
                    let bytes = f64::from(rng.random_range(1..20u32));
                    let recall = f64::from(rng.random_range(0..10u32)) / 10.0;
                    code(bytes, recall, 10.0 * rng.random::<f64>())
                })
                .collect();
            let limits = [(BYTES, 10.0), (RECALL, 0.5), (LATENCY, 5.0)];
            let wish = wish(&limits[..rng.random_range(1..4usize)]);
            let choice = choose(&wish, &codes, Figure::relaxed);
            assert_eq!(choice.best.is_some(), codes.iter().any(|code| wish.is_met(code)));
            let Some(best) = choice.best else { continue };
            assert!(wish.is_met(&codes[best]));
            let objective = |at: usize| codes[at].value(wish.objective()).expect("known");
            for other in (0..codes.len()).filter(|at| wish.is_met(&codes[*at])) {
                assert!(!wish.objective().is_better(objective(other), objective(best)));
            }
            for Relaxation { figure, code: at, .. } in choice.relaxed {
                let at = at.unwrap_or(best);
                assert!(!wish.objective().is_better(objective(best), objective(at)), "{figure:?}");
            }
        }
    }

    #[test]
    fn a_code_is_out_of_reach_only_if_its_whole_interval_is() {
        let recall = |value: f64, half: f64| {
            let mut figures = code(64.0, value, 1.0);
            figures.set(RECALL, Some(Estimate { value, low: value - half, high: value + half, count: 50 }));
            figures
        };
        let wish = wish(&[(RECALL, 0.9)]);
        assert_eq!(wish.out_of_reach(&recall(0.85, 0.06)), None);
        assert_eq!(wish.out_of_reach(&recall(0.85, 0.04)), Some(RECALL));
        assert!((wish.chance(&recall(0.9, 0.05)) - 0.5).abs() < 1e-12);
        // One end of a 95% interval is left out with 2.5%.
        assert!((wish.chance(&recall(0.85, 0.05)) - 0.025).abs() < 1e-9);
        assert_eq!(wish.chance(&recall(0.9, 0.0)), 1.0);
        assert_eq!(wish.chance(&Figures::default()), 0.0);
        // Half the bytes at half the chance promise as much.
        let (small, large) = (recall(0.9, 0.05), recall(0.99, 0.0).with(BYTES, 128.0));
        assert!((wish.promise(&small, 64.0) - 0.5).abs() < 1e-12);
        assert!((wish.promise(&large, 64.0) - 0.5).abs() < 1e-12);
    }
}
