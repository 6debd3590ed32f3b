//! Training curves: every iteration as it happened, including those that made things worse.

use std::cmp::Ordering;

/// A quantity followed through training.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// Name in records, after `training_`: `mse`, a loss, `perplexity`.
    pub name: &'static str,
    /// What was seen, in the order in which it happened.
    pub points: Vec<CurvePoint>,
    /// Whether the algorithm promises that it never grows; the conformance suite holds it to that.
    pub never_grows: bool,
}

/// A value of a [`Curve`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CurvePoint {
    /// Iterations done by then, or the number of the epoch, from 0.
    pub iteration: usize,
    /// The quantity.
    pub value: f64,
    /// What it is the value of.
    pub seen: Seen,
}

/// What a [`CurvePoint`] is the value of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Seen {
    /// All training rows.
    #[default]
    AllRows,
    /// A sample of them, which is all that this iteration looked at.
    Sample,
    /// All training rows, coded by an attempt that was not kept.
    Rejected,
}

impl Seen {
    /// How records mark it, in the column `path`: `sample`, `rejected`, or nothing.
    pub fn mark(self) -> Option<&'static str> {
        match self {
            Seen::AllRows => None,
            Seen::Sample => Some("sample"),
            Seen::Rejected => Some("rejected"),
        }
    }
}

/// By how much a value may be above the one before it and not have grown: what rounding does.
const ROUNDING: f64 = 1e-4;

impl Curve {
    /// One value per iteration or epoch, over all training rows.
    pub fn of(name: &'static str, values: Vec<f64>, never_grows: bool) -> Curve {
        let points = values.into_iter().enumerate();
        let points = points.map(|(iteration, value)| CurvePoint { iteration, value, seen: Seen::AllRows }).collect();
        Curve { name, points, never_grows }
    }

    /// The values over all training rows of what was kept.
    pub fn values(&self) -> Vec<f64> {
        self.points.iter().filter(|p| p.seen == Seen::AllRows).map(|p| p.value).collect()
    }

    /// The first two neighbours of which the second is larger, or no number. Values over a sample are compared as long as nothing else
    /// comes between them, since the next sample may be another; what was rejected is no part of the algorithm's way.
    pub fn first_growth(&self) -> Option<(CurvePoint, CurvePoint)> {
        let all = || self.points.iter().filter(|p| p.seen == Seen::AllRows);
        let sampled = self.points.iter().zip(self.points.iter().skip(1));
        let sampled = sampled.filter(|(a, b)| (a.seen, b.seen) == (Seen::Sample, Seen::Sample));
        // What is NaN has grown.
        let grows = |(a, b): &(&CurvePoint, &CurvePoint)| {
            matches!(b.value.partial_cmp(&(a.value * (1.0 + ROUNDING))), None | Some(Ordering::Greater))
        };
        all().zip(all().skip(1)).chain(sampled).find(grows).map(|(a, b)| (*a, *b))
    }
}

/// A distortion as an algorithm sees it while it goes on, with the number of the iteration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Course {
    points: Vec<CurvePoint>,
    iterations: usize,
}

impl Course {
    /// Writes down what is seen before the next iteration.
    pub fn see(&mut self, value: f64, seen: Seen) {
        self.points.push(CurvePoint { iteration: self.iterations, value, seen });
    }

    /// An iteration is done: codewords, rotations or codes have changed.
    pub fn advance(&mut self) {
        self.iterations += 1;
    }

    /// As many iterations as another course went through, of which nothing else is written down.
    pub fn advance_by(&mut self, other: &Course) {
        self.iterations += other.iterations;
    }

    /// Goes on with another course.
    pub fn append(&mut self, other: &Course) {
        let moved = |p: &CurvePoint| CurvePoint { iteration: self.iterations + p.iteration, ..*p };
        let points: Vec<CurvePoint> = other.points.iter().map(moved).collect();
        self.points.extend(points);
        self.iterations += other.iterations;
    }

    /// The last value over all rows of what was kept.
    pub fn last(&self) -> Option<f64> {
        self.points.iter().rev().find(|p| p.seen == Seen::AllRows).map(|p| p.value)
    }

    /// The sum of courses that began alike. Some may have ended before the others: they keep their last value.
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
