//! Training curves: every iteration as it happened, including those that made things worse.

use std::cmp::Ordering;

/// A quantity recorded during training.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// Name in records, after `training_`: `mse`, a loss, `perplexity`.
    pub name: &'static str,
    /// The values in order of time.
    pub points: Vec<CurvePoint>,
    /// Whether the algorithm guarantees that the quantity never grows. The conformance suite checks it.
    pub never_grows: bool,
}

/// A value of a [`Curve`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CurvePoint {
    /// Iterations done so far, or the number of the epoch, from 0.
    pub iteration: usize,
    /// The quantity.
    pub value: f64,
    /// Which rows the value refers to.
    pub seen: Seen,
}

/// Which rows a [`CurvePoint`] refers to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Seen {
    /// All training rows.
    #[default]
    AllRows,
    /// A sample of the training rows, which is all that this iteration used.
    Sample,
    /// All training rows, for a result that was discarded.
    Rejected,
}

impl Seen {
    /// The mark in the column `path` of records: `sample`, `rejected`, or none.
    pub fn mark(self) -> Option<&'static str> {
        match self {
            Seen::AllRows => None,
            Seen::Sample => Some("sample"),
            Seen::Rejected => Some("rejected"),
        }
    }
}

/// Relative increase that rounding can cause, and that does not count as growth.
const ROUNDING: f64 = 1e-4;

impl Curve {
    /// One value per iteration or epoch, over all training rows.
    pub fn of(name: &'static str, values: Vec<f64>, never_grows: bool) -> Curve {
        let points = values.into_iter().enumerate();
        let points = points.map(|(iteration, value)| CurvePoint { iteration, value, seen: Seen::AllRows }).collect();
        Curve { name, points, never_grows }
    }

    /// The values over all training rows, without discarded results.
    pub fn values(&self) -> Vec<f64> {
        self.points.iter().filter(|p| p.seen == Seen::AllRows).map(|p| p.value).collect()
    }

    /// The first two consecutive values of which the second is larger or NaN. Two sample values are compared only if
    /// nothing lies between them, since the next sample may be different; discarded results are skipped.
    pub fn first_growth(&self) -> Option<(CurvePoint, CurvePoint)> {
        let all = || self.points.iter().filter(|p| p.seen == Seen::AllRows);
        let sampled = self.points.iter().zip(self.points.iter().skip(1));
        let sampled = sampled.filter(|(a, b)| (a.seen, b.seen) == (Seen::Sample, Seen::Sample));
        // NaN counts as growth.
        let grows = |(a, b): &(&CurvePoint, &CurvePoint)| {
            matches!(b.value.partial_cmp(&(a.value * (1.0 + ROUNDING))), None | Some(Ordering::Greater))
        };
        all().zip(all().skip(1)).chain(sampled).find(grows).map(|(a, b)| (*a, *b))
    }
}

/// The course of the distortion while an algorithm runs, with iteration numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Course {
    points: Vec<CurvePoint>,
    iterations: usize,
}

impl Course {
    /// Records a value before the next iteration.
    pub fn see(&mut self, value: f64, seen: Seen) {
        self.points.push(CurvePoint { iteration: self.iterations, value, seen });
    }

    /// Counts an iteration: codewords, rotations or codes have changed.
    pub fn advance(&mut self) {
        self.iterations += 1;
    }

    /// Counts as many iterations as another course has, without recording its values.
    pub fn advance_by(&mut self, other: &Course) {
        self.iterations += other.iterations;
    }

    /// Appends another course.
    pub fn append(&mut self, other: &Course) {
        let moved = |p: &CurvePoint| CurvePoint { iteration: self.iterations + p.iteration, ..*p };
        let points: Vec<CurvePoint> = other.points.iter().map(moved).collect();
        self.points.extend(points);
        self.iterations += other.iterations;
    }

    /// The last value over all rows that was kept.
    pub fn last(&self) -> Option<f64> {
        self.points.iter().rev().find(|p| p.seen == Seen::AllRows).map(|p| p.value)
    }

    /// The sum of courses that started together. A course that ended before the others keeps its last value.
    pub fn sum<'a>(courses: impl IntoIterator<Item = &'a Course>) -> Course {
        let courses: Vec<&Course> = courses.into_iter().collect();
        let Some(longest) = courses.iter().max_by_key(|course| course.points.len()) else { return Course::default() };
        let at = |course: &Course, i: usize| course.points.get(i).or(course.points.last()).map_or(0.0, |p| p.value);
        let points = longest.points.iter().enumerate();
        let points = points.map(|(i, p)| CurvePoint { value: courses.iter().map(|c| at(c, i)).sum(), ..*p });
        Course { points: points.collect(), iterations: longest.iterations }
    }

    /// The course as a curve of the mean squared error.
    pub fn into_curve(self, never_grows: bool) -> Curve {
        Curve { name: "mse", points: self.points, never_grows }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_found_wherever_it_is_promised_not_to_be() {
        let curve = |points: &[(f64, Seen)]| {
            let mut course = Course::default();
            for &(value, seen) in points {
                course.see(value, seen);
                course.advance();
            }
            course.into_curve(true)
        };
        use Seen::{AllRows, Rejected, Sample};
        let kept =
            curve(&[(2.0, Sample), (1.0, Sample), (3.0, AllRows), (5.0, Rejected), (2.0, AllRows), (9.0, Sample)]);
        assert_eq!(kept.first_growth(), None);
        assert_eq!(kept.values(), [3.0, 2.0]);
        let grows = curve(&[(3.0, AllRows), (2.0, AllRows), (2.1, AllRows)]).first_growth().expect("it grows");
        assert_eq!((grows.0.iteration, grows.1.iteration), (1, 2));
        assert!(curve(&[(3.0, Sample), (4.0, Sample), (3.5, AllRows)]).first_growth().is_some());
        assert!(curve(&[(3.0, AllRows), (9.0, Rejected), (4.0, AllRows)]).first_growth().is_some());
        assert!(curve(&[(3.0, AllRows), (f64::NAN, AllRows)]).first_growth().is_some());
    }

    #[test]
    fn courses_are_numbered_by_iterations_and_added_as_far_as_the_longest() {
        let course = |values: &[f64]| {
            let mut course = Course::default();
            values.iter().for_each(|&v| {
                course.see(v, Seen::AllRows);
                course.advance();
            });
            course
        };
        let mut sum = Course::sum(&[course(&[5.0, 3.0]), course(&[4.0, 2.0, 1.0])]);
        sum.append(&course(&[3.0]));
        let found: Vec<(usize, f64)> = sum.points.iter().map(|p| (p.iteration, p.value)).collect();
        assert_eq!(found, [(0, 9.0), (1, 5.0), (2, 4.0), (3, 3.0)]);
        assert_eq!(sum.last(), Some(3.0));
    }
}
