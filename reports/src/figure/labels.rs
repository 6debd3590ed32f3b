//! Names of curves at their ends and of reference lines beside them, where there is room: a reader finds them faster than
//! in a legend.

use super::plot::{Plot, PlotSeries, Side};
use super::style::{MARKER, SMALL, text_width};

/// A rectangle in figure units: left, top, right, bottom.
pub type Rect = [f64; 4];

/// The name of a curve at its place.
pub struct Label {
    /// The name.
    pub name: String,
    /// Index of the look of its curve.
    pub index: usize,
    /// Left end of the text, at half its height, in figure units.
    pub at: (f64, f64),
}

impl Label {
    /// The rectangle of the text.
    pub fn rect(&self) -> Rect {
        let (x, y) = self.at;
        [x, y - 0.5 * HEIGHT, x + text_width(&self.name, SMALL), y + 0.5 * HEIGHT]
    }
}

/// Height of a label.
const HEIGHT: f64 = SMALL;
/// Distance of a label from the end of its curve, and from everything else.
const NEAR: f64 = MARKER + 4.0;
const FREE: f64 = 2.0;
/// Number of combinations of places that are tried.
const MOST_TRIES: usize = 20_000;

/// A line between two places; a place twice is a marker.
struct Line {
    from: (f64, f64),
    to: (f64, f64),
    /// Space that it needs around it.
    around: f64,
}

/// Places for the names of all curves of a plot whose axes span `area`, in figure units. Labels may extend to `limit` at
/// the right. Returns None if a name has no place where it touches nothing and is nearest to its own curve: then a legend is
/// better for all of them.
pub fn place(plot: &Plot, area: Rect, limit: f64, taken: &[Rect]) -> Option<Vec<Label>> {
    let at = |x: f64, y: f64| plot.place(x, y, area);
    let lines = lines(plot, area);
    let named: Vec<&PlotSeries> = plot.curves.iter().filter(|curve| !curve.secondary).collect();
    let mut free: Vec<Vec<Place>> = Vec::new();
    for curve in &named {
        let mut places = candidates(curve, at)?;
        let others = plot.curves.iter().filter(|other| !std::ptr::eq(*other, *curve));
        let foreign: Vec<(f64, f64)> =
            others.flat_map(|other| other.points.iter().map(|(x, e)| at(*x, e.value))).collect();
        places.retain(|Place { rect, own, near, .. }| {
            let distance = |to: (f64, f64)| (to.0 - near.0).hypot(to.1 - near.1);
            let clear = foreign.iter().all(|other| distance(*other) > distance(*own) + FREE);
            let inside =
                rect[0] >= area[0] + FREE && rect[2] <= limit && rect[1] >= area[1] && rect[3] <= area[3] - FREE;
            let taken = taken.iter().any(|taken| overlap(*taken, *rect, FREE));
            clear && inside && !taken && !lines.iter().any(|line| crosses(line, *rect))
        });
        free.push(places);
    }
    // Names with few places choose first.
    let mut order: Vec<usize> = (0..named.len()).collect();
    order.sort_by_key(|&i| free[i].len());
    let mut tries = MOST_TRIES;
    let chosen = choose(&order.iter().map(|&i| &free[i][..]).collect::<Vec<_>>(), &mut Vec::new(), &mut tries)?;
    let label = |(i, at): (usize, (f64, f64))| Label { name: named[i].name.clone(), index: named[i].index, at };
    Some(order.into_iter().zip(chosen).map(label).collect())
}

/// Everything drawn in a plot whose axes span `area`.
fn lines(plot: &Plot, area: Rect) -> Vec<Line> {
    let at = |x: f64, y: f64| plot.place(x, y, area);
    let mut lines: Vec<Line> = Vec::new();
    for curve in &plot.curves {
        let places: Vec<(f64, f64)> = curve.points.iter().map(|(x, e)| at(*x, e.value)).collect();
        let joined = places.windows(2).filter(|_| curve.joined);
        lines.extend(joined.map(|pair| Line { from: pair[0], to: pair[1], around: FREE }));
        lines.extend(places.iter().map(|place| Line { from: *place, to: *place, around: MARKER + FREE }));
        let known = curve.points.iter().filter(|(_, e)| e.count > 1);
        lines.extend(known.map(|(x, e)| Line { from: at(*x, e.low), to: at(*x, e.high), around: MARKER }));
    }
    for reference in &plot.references {
        let places: Vec<(f64, f64)> = reference.points.iter().map(|(x, y)| at(*x, *y)).collect();
        lines.extend(places.windows(2).map(|pair| Line { from: pair[0], to: pair[1], around: FREE }));
    }
    lines
}

/// Where along a reference line its name is tried, as parts of its length: the middle first.
const ALONG: [f64; 17] =
    [0.5, 0.45, 0.55, 0.4, 0.6, 0.35, 0.65, 0.3, 0.7, 0.25, 0.75, 0.2, 0.8, 0.14, 0.86, 0.07, 0.93];
/// Distances of a name from its reference line: across and down.
const ASIDE: (f64, f64) = (5.0, 4.0);

/// Places for the names of the reference lines of a plot whose axes span `area`, in figure units: rectangles that touch
/// nothing. None for a line that the legend names, and for one whose name has no such place: then the legend has to.
pub fn beside_references(plot: &Plot, area: Rect) -> Vec<Option<Rect>> {
    let lines = lines(plot, area);
    let mut taken: Vec<Rect> = plot.avoided.clone();
    let mut found = Vec::new();
    for reference in &plot.references {
        let points: Vec<(f64, f64)> = reference.points.iter().map(|(x, y)| plot.place(*x, *y, area)).collect();
        let width = text_width(&reference.name, SMALL);
        let free = |rect: &Rect| {
            let inside = rect[0] >= area[0] + FREE
                && rect[2] <= area[2] - FREE
                && rect[1] >= area[1] + FREE
                && rect[3] <= area[3] - FREE;
            inside && !lines.iter().any(|line| crosses(line, *rect)) && !taken.iter().any(|t| overlap(*t, *rect, FREE))
        };
        // A name beside a place, in a direction to the right and down.
        let beside = |(x, y): (f64, f64)| {
            move |(right, down): (f64, f64)| {
                let left = x + right * ASIDE.0 + 0.5 * (right - 1.0) * width;
                let top = y + down * ASIDE.1 + 0.5 * (down - 1.0) * HEIGHT;
                [left, top, left + width, top + HEIGHT]
            }
        };
        // First at the side of the line that curves leave free.
        let (right, down) = reference.side.direction();
        let first = [(right, down), (0.0, down)];
        let then = [(-right, down), (right, -down), (0.0, -down), (-right, -down)];
        let tried = |sides: &[(f64, f64)]| {
            let places = ALONG.iter().filter_map(|share| along(&points, *share));
            places.flat_map(|at| sides.iter().copied().map(beside(at))).find(free)
        };
        let named = reference.side != Side::Legend;
        let place = if named { tried(&first).or_else(|| tried(&then)) } else { None };
        taken.extend(place);
        found.push(place);
    }
    found
}

/// The place at a part of the length of a line.
fn along(points: &[(f64, f64)], share: f64) -> Option<(f64, f64)> {
    let length = |pair: &[(f64, f64)]| (pair[1].0 - pair[0].0).hypot(pair[1].1 - pair[0].1);
    let mut left = share * points.windows(2).map(length).sum::<f64>();
    for pair in points.windows(2) {
        let here = length(pair);
        if left <= here && here > 0.0 {
            let part = left / here;
            return Some((pair[0].0 + part * (pair[1].0 - pair[0].0), pair[0].1 + part * (pair[1].1 - pair[0].1)));
        }
        left -= here;
    }
    None
}

/// A place for a name.
#[derive(Clone, Copy)]
struct Place {
    rect: Rect,
    /// The left end of the text, at half its height.
    at: (f64, f64),
    /// The end of the curve that it names, and the point of the rectangle that is next to it.
    own: (f64, f64),
    near: (f64, f64),
}

/// One place of each list, the first ones if possible, so that none overlaps another. Gives up after some tries.
fn choose(lists: &[&[Place]], taken: &mut Vec<Rect>, tries: &mut usize) -> Option<Vec<(f64, f64)>> {
    let Some((first, rest)) = lists.split_first() else { return Some(Vec::new()) };
    for Place { rect, at, .. } in *first {
        *tries = tries.checked_sub(1)?;
        if taken.iter().any(|taken| overlap(*taken, *rect, 0.5 * FREE)) {
            continue;
        }
        taken.push(*rect);
        let others = choose(rest, taken, tries);
        taken.pop();
        if let Some(mut all) = others {
            all.insert(0, *at);
            return Some(all);
        }
    }
    None
}

/// Where the name of a curve could stand, the best first: beside its last point, above or below it, and the same at its
/// first point. None for a cloud of points, which has no ends.
fn candidates(curve: &PlotSeries, at: impl Fn(f64, f64) -> (f64, f64)) -> Option<Vec<Place>> {
    let (first, last) = (curve.points.first()?, curve.points.last()?);
    if !curve.joined {
        return None;
    }
    let (first, last) = (at(first.0, first.1.value), at(last.0, last.1.value));
    let width = text_width(&curve.name, SMALL);
    let boxed = |(x, y): (f64, f64), own: (f64, f64), near: (f64, f64)| Place {
        rect: [x, y - 0.5 * HEIGHT, x + width, y + 0.5 * HEIGHT],
        at: (x, y),
        own,
        near,
    };
    let mut all = Vec::new();
    for (own, right) in [(last, true), (first, false)] {
        for shift in [0.0, -0.4, 0.4, -0.8, 0.8, -1.2, 1.2].map(|share| share * HEIGHT) {
            let near = (if right { own.0 + NEAR } else { own.0 - NEAR }, own.1 + shift);
            all.push(boxed((if right { near.0 } else { near.0 - width }, near.1), own, near));
        }
        // Above and below: in the middle, then away from the rest of the curve.
        let starts = if right { [-0.5 * width, -0.85 * width] } else { [-0.5 * width, -0.15 * width] };
        for (start, side) in starts.into_iter().flat_map(|start| [(start, -1.0), (start, 1.0)]) {
            let at = (own.0 + start, own.1 + side * (NEAR + 0.5 * HEIGHT));
            all.push(boxed(at, own, (own.0, own.1 + side * NEAR)));
        }
    }
    Some(all)
}

/// Whether two rectangles are nearer than this.
pub fn overlap(a: Rect, b: Rect, around: f64) -> bool {
    a[0] - around < b[2] && b[0] - around < a[2] && a[1] - around < b[3] && b[1] - around < a[3]
}

/// Whether a line passes through a rectangle.
fn crosses(line: &Line, rect: Rect) -> bool {
    let a = line.around;
    clipped(line.from, line.to, [rect[0] - a, rect[1] - a, rect[2] + a, rect[3] + a]).is_some()
}

/// The part of a line inside a rectangle, from where to where as parts of its length (Liang and Barsky, 1984).
pub fn clipped(from: (f64, f64), to: (f64, f64), rect: Rect) -> Option<(f64, f64)> {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let sides = [(-dx, from.0 - rect[0]), (dx, rect[2] - from.0), (-dy, from.1 - rect[1]), (dy, rect[3] - from.1)];
    let (mut enters, mut leaves) = (0.0f64, 1.0f64);
    for (towards, room) in sides {
        if towards == 0.0 {
            if room < 0.0 {
                return None;
            }
        } else if towards < 0.0 {
            enters = enters.max(room / towards);
        } else {
            leaves = leaves.min(room / towards);
        }
    }
    (enters <= leaves).then_some((enters, leaves))
}

/// Whether nothing that a plot draws in these axes comes near a rectangle.
pub fn is_free(plot: &Plot, axes: Rect) -> impl Fn(Rect) -> bool {
    let lines = lines(plot, axes);
    move |rect| !lines.iter().any(|line| crosses(line, rect))
}

#[cfg(test)]
mod tests {
    use super::super::axis::Axis;
    use super::super::plot::ReferenceLine;
    use super::super::style::register_fonts;
    use super::*;
    use crate::statistics::mean;
    use proptest::prelude::*;

    const AREA: Rect = [50.0, 10.0, 388.0, 223.0];

    /// Curves over a horizontal line at zero, as distances to a bound.
    fn crossed(curves: Vec<Vec<(f64, f64)>>) -> Plot {
        let drawn = curves.into_iter().enumerate().map(|(index, mut points)| {
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            let points = points.into_iter().filter_map(|(x, y)| Some((x, mean(&[y])?))).collect();
            PlotSeries { name: format!("curve {index}"), index, points, joined: true, ..PlotSeries::default() }
        });
        let x = Axis::log2([4.0, 1024.0].into_iter()).expect("an axis");
        let points = vec![(x.low(), 0.0), (x.high(), 0.0)];
        let line = ReferenceLine { name: "Gaussian bound".into(), points, side: Side::Rising };
        Plot::new(x, Axis::linear(-2.0, 4.0), drawn.collect(), vec![line])
    }

    proptest! {
        #[test]
        fn names_of_reference_lines_touch_no_curve(
            curves in prop::collection::vec(prop::collection::vec((4.0..1024.0, -2.0..4.0), 1..7), 0..8)
        ) {
            register_fonts();
            let mut plot = crossed(curves);
            let places = plot.settle_references(AREA);
            prop_assert_eq!(places.is_empty(), plot.references[0].side == Side::Legend, "the legend has what has no place");
            for [left, top, right, bottom] in places {
                prop_assert!(left >= AREA[0] && right <= AREA[2] && top >= AREA[1] && bottom <= AREA[3]);
                let inside = |(x, y): (f64, f64)| left < x && x < right && top < y && y < bottom;
                for curve in &plot.curves {
                    let at: Vec<(f64, f64)> = curve.points.iter().map(|(x, e)| plot.place(*x, e.value, AREA)).collect();
                    prop_assert!(!at.iter().any(|place| inside(*place)));
                    for pair in at.windows(2) {
                        let between = |i: i32| {
                            let part = f64::from(i) / 500.0;
                            (pair[0].0 + part * (pair[1].0 - pair[0].0), pair[0].1 + part * (pair[1].1 - pair[0].1))
                        };
                        prop_assert!(!(0..=500).map(between).any(inside), "{:?}", pair);
                    }
                }
                let line = plot.place(4.0, 0.0, AREA).1;
                prop_assert!(top > line || bottom < line, "beside its line");
            }
        }
    }

    #[test]
    fn the_name_of_a_line_moves_out_of_the_way() {
        register_fonts();
        let free = beside_references(&crossed(vec![]), AREA)[0].expect("room");
        let middle = 0.5 * (AREA[0] + AREA[2]);
        assert!(free[0] >= middle && free[0] < middle + 10.0 && free[1] > crossed(vec![]).place(4.0, 0.0, AREA).1);
        // A curve through the place that it had.
        let moved = beside_references(&crossed(vec![vec![(64.0, 0.5), (128.0, -0.5), (256.0, -0.2)]]), AREA)[0];
        assert!(moved.is_some_and(|moved| moved != free && moved[1] == free[1]), "{moved:?}, below the line still");
        // A frame in that place.
        let mut framed = crossed(vec![]);
        framed.avoided.push([free[0] - 20.0, AREA[1], free[2] - 5.0, free[3] + 5.0]);
        let beside = beside_references(&framed, AREA)[0].expect("room");
        assert!(!overlap(beside, framed.avoided[0], 0.0) && beside[1] == free[1], "{beside:?}");
        let wall = (0..60).map(|i| vec![(4.0, 0.1 * f64::from(i - 20)), (1024.0, 0.1 * f64::from(i - 20))]).collect();
        assert_eq!(beside_references(&crossed(wall), AREA), [None]);
    }

    #[test]
    fn places_are_chosen_together() {
        let place = |x: f64| Place { rect: [x, 0.0, x + 10.0, 10.0], at: (x, 5.0), own: (x, 5.0), near: (x, 5.0) };
        let (a, b) = ([place(0.0), place(20.0)], [place(5.0)]);
        // The first name takes its second place, so that the other one has room.
        assert_eq!(choose(&[&a, &b], &mut vec![], &mut 100), Some(vec![(20.0, 5.0), (5.0, 5.0)]));
        assert_eq!(choose(&[&b, &b], &mut vec![], &mut 100), None, "no room");
        assert_eq!(choose(&[&a, &b], &mut vec![], &mut 1), None, "too long a search");
    }

    #[test]
    fn lines_are_found_where_they_touch() {
        let line = |from, to| Line { from, to, around: 1.0 };
        let rect = [10.0, 10.0, 20.0, 20.0];
        for (from, to, expected) in [
            ((0.0, 15.0), (30.0, 15.0), true),
            ((0.0, 0.0), (30.0, 30.0), true),
            ((15.0, 15.0), (15.0, 15.0), true),
            ((0.0, 8.0), (30.0, 8.0), false),
            ((0.0, 9.5), (30.0, 9.5), true),
            ((0.0, 30.0), (8.5, 10.0), false),
            ((0.0, 15.0), (5.0, 15.0), false),
            ((25.0, 25.0), (25.0, 25.0), false),
        ] {
            assert_eq!(crosses(&line(from, to), rect), expected, "{from:?} {to:?}");
        }
        assert!(overlap(rect, [19.0, 19.0, 30.0, 30.0], 0.0) && !overlap(rect, [21.0, 0.0, 30.0, 30.0], 0.5));
    }
}
