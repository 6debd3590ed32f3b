//! Which methods a figure shows if there are too many: a drawing of thousands of points is a blot, and fills a page.

use super::side_by_side::evenly;
use crate::summary::DatasetSummary;
use std::collections::BTreeSet;

/// How much a figure has room for.
#[derive(Clone, Copy, PartialEq)]
pub struct Room {
    series: usize,
    points: usize,
}

impl Room {
    /// In axes.
    pub const POINTS: Room = Room { series: 40, points: 240 };
    /// In rows.
    pub const ROWS: Room = Room { series: 60, points: 60 };
}

impl DatasetSummary {
    /// The dataset with fewer methods, and what a caption says of it: those on the front of distortion against rate first,
    /// then others, evenly. None if there is room for all.
    pub(super) fn fewer(&self, room: Room) -> Option<(DatasetSummary, String)> {
        let (most_series, most_points) = (room.series, room.points);
        let names = self.series();
        if names.len() <= most_series && self.points.len() <= most_points {
            return None;
        }
        let front = self.rate_distortion_front();
        let on_front: BTreeSet<&str> =
            self.points.iter().zip(&front).filter(|(_, front)| **front).map(|(point, _)| &point.series[..]).collect();
        let kept: BTreeSet<&str> =
            chosen(names.len(), most_series, |i| on_front.contains(names[i])).into_iter().map(|i| names[i]).collect();
        let of_series: Vec<usize> =
            (0..self.points.len()).filter(|&i| kept.contains(&self.points[i].series[..])).collect();
        let points = chosen(of_series.len(), most_points, |i| front[of_series[i]]);
        let points: Vec<_> = points.into_iter().map(|i| self.points[of_series[i]].clone()).collect();
        let said = format!(
            " Of {} methods, {} are shown: first those on the Pareto front of distortion against rate, then others, evenly.",
            self.points.len(),
            points.len()
        );
        let (name, facts, machines) = (self.name.clone(), self.facts.clone(), self.machines.clone());
        Some((DatasetSummary { name, facts, points, machines }, said))
    }
}

/// At most `most` of `count` indices, in order: the preferred ones first, evenly if even they are too many, then the
/// others, evenly.
fn chosen(count: usize, most: usize, preferred: impl Fn(usize) -> bool) -> Vec<usize> {
    let (first, others): (Vec<usize>, Vec<usize>) = (0..count).partition(|&i| preferred(i));
    let first: Vec<usize> = evenly(first.len(), most).into_iter().map(|i| first[i]).collect();
    let room = most - first.len();
    let others = evenly(others.len(), room).into_iter().map(|i| others[i]);
    let all: BTreeSet<usize> = first.into_iter().chain(others).collect();
    all.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preferred_ones_are_kept_and_others_fill_the_room() {
        assert_eq!(chosen(5, 9, |_| false), [0, 1, 2, 3, 4]);
        assert_eq!(chosen(9, 4, |i| i == 5), [0, 3, 5, 8]);
        assert_eq!(chosen(9, 2, |i| i < 6), [0, 5]);
        assert_eq!(chosen(9, 3, |i| i < 2), [0, 1, 2]);
        assert_eq!(chosen(3, 0, |_| true), [0; 0]);
    }
}
