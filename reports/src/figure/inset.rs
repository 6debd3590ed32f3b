//! An enlarged part of a chart, in a free place of it: where curves crowd, a reader cannot tell them apart at the scale of
//! all of them.

use super::hover::Mark;
use super::labels::{Rect, clipped, is_free, overlap};
use super::plot::{Area, Frame, Plot, ReferenceLine, Side};
use super::refused;
use super::style::{CURVE, HAIR, MARKER, MUTED, SCALE, SMALL, colour, dash, stroke, text_width};
use crate::ReportError;
use crate::statistics::Estimate;
use plotters::element::DashedPathElement;
use plotters::prelude::*;

/// Markers that are nearer than this touch each other.
const TOUCH: f64 = 2.0 * MARKER;
/// Fewest markers that touch others.
const FEWEST: usize = 4;
/// Space around these markers that is enlarged with them.
const AROUND: f64 = 3.0 * MARKER;
/// Parts of the axes' length that an inset may take, the largest first.
const SIZES: [f64; 4] = [0.55, 0.5, 0.45, 0.4];
/// Least enlargement down and across.
const LEAST: (f64, f64) = (1.8, 1.2);
/// Space below for ticks, beside the labels of ticks, and at the other sides, where labels of ticks may stand out.
const BELOW: i32 = 18;
const BESIDE: i32 = 12;
const EDGE: i32 = 7;
/// Distance between places that are tried.
const STEP: f64 = 6.0;
/// Least distance between ticks at the side.
const TICKS: f64 = 14.0;

/// An inset at its place, in figure units.
pub struct Inset {
    /// What it enlarges.
    window: Rect,
    /// Where it stands, with its ticks.
    outer: Rect,
    plot: Plot,
}

impl Inset {
    /// The inset that enlarges the part of a plot in `window`, where curves [`crowd`], away from the rectangles that are
    /// `taken`. The axes span `axes`. None if no place is free that is large enough to tell the curves apart.
    pub fn find(plot: &Plot, axes: Rect, window: Rect, taken: &[Rect]) -> Option<Inset> {
        let free = is_free(plot, axes);
        let (width, height) = (axes[2] - axes[0], axes[3] - axes[1]);
        SIZES.iter().find_map(|part| {
            let enlarged = part_of(plot, axes, window, part * height);
            let (across, down) = (part * width, part * height);
            let inner = frame(&enlarged).axes((across as i32, down as i32));
            let times = |from: usize, to: usize| (inner[to] - inner[from]) / (window[to] - window[from]);
            if times(1, 3) < LEAST.0 || times(0, 2) < LEAST.1 {
                return None;
            }
            let count = |room: f64| (room / STEP) as usize;
            let lefts = (0..=count(width - across)).map(|i| axes[0] + STEP * i as f64);
            let places = lefts.flat_map(|left| {
                (0..=count(height - down)).map(move |j| {
                    let top = axes[1] + STEP * j as f64;
                    [left, top, left + across, top + down]
                })
            });
            let open = |rect: &Rect| {
                free(*rect) && !overlap(*rect, window, 0.0) && !taken.iter().any(|taken| overlap(*taken, *rect, 2.0))
            };
            let away = |rect: &Rect| (centre(*rect).0 - centre(window).0).hypot(centre(*rect).1 - centre(window).1);
            let outer = places.filter(open).min_by(|a, b| away(a).total_cmp(&away(b)))?;
            Some(Inset { window, outer, plot: enlarged })
        })
    }

    /// Draws the inset into the area of the whole figure, and a frame around what it enlarges. `whole` is the plot that it
    /// is a part of. Returns a mark for each drawn point.
    pub fn draw(&self, root: &Area<'_>, whole: &Plot) -> Result<Vec<Mark>, ReportError> {
        let at = |(x, y): (f64, f64)| ((x * f64::from(SCALE)) as i32, (y * f64::from(SCALE)) as i32);
        let boxed = |[left, top, right, bottom]: Rect| {
            let corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)];
            PathElement::new(corners.map(at).to_vec(), MUTED.stroke_width(stroke(HAIR)))
        };
        root.draw(&boxed(self.window)).map_err(refused)?;
        let [left, top, right, bottom] = self.outer;
        let size = ((right - left) as i32, (bottom - top) as i32);
        let ((left, top), (across, down)) = (at((left, top)), (size.0 * SCALE, size.1 * SCALE));
        let area = root.clone().shrink((left, top), (across, down));
        let frame = frame(&self.plot);
        let inner = frame.axes(size);
        let marks = self.plot.draw(&area, &frame)?;
        area.draw(&boxed(inner)).map_err(refused)?;
        // Where a curve leaves the window, its line goes on to the edge.
        let holds = |(x, e): &(f64, Estimate)| self.plot.x.holds(*x) && self.plot.y.holds(e.value);
        for curve in whole.curves.iter().filter(|curve| curve.joined) {
            for pair in curve.points.windows(2).filter(|pair| !pair.iter().all(holds)) {
                let [from, to] = [0, 1].map(|i| self.plot.project(pair[i].0, pair[i].1.value, inner));
                let Some((enters, leaves)) = clipped(from, to, inner) else { continue };
                let along = |share: f64| at((from.0 + share * (to.0 - from.0), from.1 + share * (to.1 - from.1)));
                let (ends, line) = ([along(enters), along(leaves)], colour(curve.index).stroke_width(stroke(CURVE)));
                match dash(curve.index) {
                    None => area.draw(&PathElement::new(ends.to_vec(), line)),
                    Some(dash) => area.draw(&DashedPathElement::new(ends, dash.on * SCALE, dash.off * SCALE, line)),
                }
                .map_err(refused)?;
            }
        }
        Ok(marks)
    }
}

/// The rectangle around the markers of different curves that touch each other. None if few do.
pub fn crowd(plot: &Plot, axes: Rect) -> Option<Rect> {
    let curves = plot.curves.iter().enumerate().filter(|(_, curve)| curve.joined);
    let places =
        curves.flat_map(|(of, curve)| curve.points.iter().map(move |(x, e)| (of, plot.place(*x, e.value, axes))));
    let places: Vec<(usize, (f64, f64))> = places.collect();
    let touches = |(of, at): &&(usize, (f64, f64))| {
        places.iter().any(|(other, place)| other != of && (place.0 - at.0).hypot(place.1 - at.1) < TOUCH)
    };
    let crowded: Vec<(f64, f64)> = places.iter().filter(touches).map(|(_, at)| *at).collect();
    if crowded.len() < FEWEST {
        return None;
    }
    let around = crowded.iter().fold([f64::MAX, f64::MAX, f64::MIN, f64::MIN], |r, at| {
        [r[0].min(at.0), r[1].min(at.1), r[2].max(at.0), r[3].max(at.1)]
    });
    let [left, top, right, bottom] = around;
    Some([
        (left - AROUND).max(axes[0]),
        (top - AROUND).max(axes[1]),
        (right + AROUND).min(axes[2]),
        (bottom + AROUND).min(axes[3]),
    ])
}

/// The part of a plot inside a window, for an inset of a height.
fn part_of(plot: &Plot, axes: Rect, window: Rect, height: f64) -> Plot {
    let across = |at: f64| plot.x.at((at - axes[0]) / (axes[2] - axes[0]));
    let up = |at: f64| plot.y.at((axes[3] - at) / (axes[3] - axes[1]));
    let x = plot.x.part(across(window[0]), across(window[2]), usize::MAX);
    let y = plot.y.part(up(window[3]), up(window[1]), (height / TICKS) as usize);
    let references = plot.references.iter().cloned().map(|line| ReferenceLine { side: Side::Legend, ..line });
    Plot::new(x, y, plot.curves.clone(), references.collect())
}

fn frame(plot: &Plot) -> Frame<'static> {
    let widest = plot.y.labels().iter().map(|label| text_width(label, SMALL)).fold(0.0, f64::max);
    Frame { top: EDGE, right: EDGE, below: BELOW, beside: widest as i32 + BESIDE, ..Frame::default() }
}

fn centre([left, top, right, bottom]: Rect) -> (f64, f64) {
    (0.5 * (left + right), 0.5 * (top + bottom))
}

#[cfg(test)]
mod tests {
    use super::super::axis::Axis;
    use super::super::plot::PlotSeries;
    use super::super::style::register_fonts;
    use super::*;
    use crate::statistics::mean;

    const AXES: Rect = [50.0, 10.0, 388.0, 223.0];

    /// Curves at 32, 64 and 128 bits whose distortions differ by a factor, and one that reaches 1,536 bits.
    fn plot(factor: f64) -> Plot {
        let near = (0..5).map(|i| (vec![(32.0, 0.7), (64.0, 0.6), (128.0, 0.5)], factor.powi(i)));
        let curves =
            near.chain([(vec![(256.0, 0.4), (1536.0, 0.01)], 1.0)]).enumerate().map(|(index, (points, times))| {
                let points = points.into_iter().filter_map(|(x, y)| Some((x, mean(&[y * times])?))).collect();
                PlotSeries { name: format!("curve {index}"), index, points, joined: true, ..PlotSeries::default() }
            });
        let x = Axis::log2([4.0, 1536.0].into_iter()).expect("an axis");
        Plot::new(x, Axis::log10([0.01, 0.9].into_iter()).expect("an axis"), curves.collect(), vec![])
    }

    #[test]
    fn what_crowds_is_enlarged_in_a_free_place() {
        register_fonts();
        let crowded = plot(0.95);
        let window = crowd(&crowded, AXES).expect("a crowd");
        let inset = Inset::find(&crowded, AXES, window, &[]).expect("an inset");
        let places = crowded.curves.iter().take(5).flat_map(|curve| &curve.points);
        for (x, e) in places {
            let (x, y) = crowded.place(*x, e.value, AXES);
            let [left, top, right, bottom] = inset.window;
            assert!(left < x && x < right && top < y && y < bottom, "{x} {y} is in the window {:?}", inset.window);
        }
        assert!(is_free(&crowded, AXES)(inset.outer) && !overlap(inset.outer, inset.window, 0.0));
        assert_eq!(inset.plot.curves.len(), 5, "the other curve is elsewhere");
        assert_eq!(inset.plot.x.labels(), ["32", "64", "128"]);
        let elsewhere = Inset::find(&crowded, AXES, window, &[inset.outer]);
        assert!(elsewhere.is_none_or(|other| !overlap(other.outer, inset.outer, 0.0)), "what is taken stays free");
    }

    #[test]
    fn curves_that_stand_apart_need_no_inset() {
        register_fonts();
        let found = |plot: &Plot, taken: &[Rect]| Inset::find(plot, AXES, crowd(plot, AXES)?, taken);
        assert!(found(&plot(0.6), &[]).is_none());
        assert!(found(&plot(0.95), &[AXES]).is_none(), "no room");
    }
}
