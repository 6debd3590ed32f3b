//! One plot area with its axes: curves with intervals and markers, and reference lines. A chart has one plot area,
//! panels have several.

use super::axis::Axis;
use super::hover::{Mark, Origin, describe, origins_at};
use super::labels::{Rect, beside_references};
use super::refused;
use super::style::{
    CURVE, Dash, EDGE, GRID, HAIR, INK, MARKER, MUTED, REFERENCE, SCALE, SMALL, STRONG, TEXT, WEAK, colour, dash, font,
    marker, stroke, text_width,
};
use crate::ReportError;
use crate::statistics::Estimate;
use plotters::coord::Shift;
use plotters::coord::ranged1d::Ranged;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Number of markers along a trace.
const TRACE_MARKERS: usize = 4;
/// With more curves than this, bands are paler, since they overlap.
const MANY: usize = 4;

/// A curve, or a cloud of points.
#[derive(Clone, Default)]
pub struct PlotSeries {
    /// Name in the legend.
    pub name: String,
    /// Index of its colour and its marker.
    pub index: usize,
    /// Points, by ascending x.
    pub points: Vec<(f64, Estimate)>,
    /// Whether points are joined.
    pub joined: bool,
    /// Whether it has a dashed line and open markers, as the second of two related curves.
    pub secondary: bool,
    /// Which points are emphasized; the others are small. If empty, all points are alike.
    pub strong: Vec<bool>,
    /// Whether it has many points along a line: intervals are drawn as a band, and only a few points have a marker.
    pub trace: bool,
    /// How far to the right of its place the marker of each point stands, in figure units, so that those of several clouds
    /// do not cover each other. If empty, all stand at their places.
    pub aside: Vec<f64>,
    /// Where its points come from.
    pub origins: Vec<Origin>,
}

impl PlotSeries {
    /// How far the marker of a point stands to the right of its place, in drawing units.
    fn moved(&self, point: usize) -> i32 {
        (self.aside.get(point).copied().unwrap_or(0.0) * f64::from(SCALE)) as i32
    }
}

/// A reference line, labelled where it ends.
#[derive(Clone)]
pub struct ReferenceLine {
    /// Name.
    pub name: String,
    /// Points by ascending x.
    pub points: Vec<(f64, f64)>,
    /// The side of the line that its label is on.
    pub side: Side,
}

/// A side of a reference line that curves leave free, where its name is tried first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Side {
    /// Below and to the left: the line is a lower envelope.
    Below,
    /// Above and to the right: the line is an upper envelope.
    Above,
    /// Below and to the right of a line that rises.
    Rising,
    /// Above and to the left of a line that rises; the line is an upper envelope.
    Over,
    /// No label; the legend names it.
    Legend,
}

impl Side {
    /// Its direction: to the right and down.
    pub fn direction(self) -> (f64, f64) {
        match self {
            Side::Below => (-1.0, 1.0),
            Side::Above => (1.0, -1.0),
            Side::Over => (-1.0, -1.0),
            Side::Rising | Side::Legend => (1.0, 1.0),
        }
    }
}

/// Axes and the elements drawn over them.
#[derive(Clone)]
pub struct Plot {
    /// Horizontal axis.
    pub x: Axis,
    /// Vertical axis.
    pub y: Axis,
    /// The curves.
    pub curves: Vec<PlotSeries>,
    /// Reference lines, drawn behind the curves.
    pub references: Vec<ReferenceLine>,
    /// Rectangles that the names of reference lines stay out of, in figure units.
    pub avoided: Vec<Rect>,
}

/// The titles and the space around a plot area.
#[derive(Default)]
pub struct Frame<'a> {
    /// Name and unit of the horizontal axis.
    pub x_title: &'a str,
    /// Name and unit of the vertical axis.
    pub y_title: &'a str,
    /// Space above.
    pub top: i32,
    /// Space to the right.
    pub right: i32,
    /// Space to the left, beyond the tick labels.
    pub left: i32,
    /// Space for ticks and title below; if 0, they are left out.
    pub below: i32,
    /// Space for ticks and title to the left; if 0, they are left out.
    pub beside: i32,
}

/// Space below a plot area for ticks and title.
pub const BELOW: i32 = 39;

pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Axes<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Axis, Axis>>;

impl Frame<'_> {
    /// The rectangle that the axes span in a drawing of a size, in figure units.
    pub fn axes(&self, (width, height): (i32, i32)) -> Rect {
        [self.left + self.beside, self.top, width - self.right, height - self.below].map(f64::from)
    }
}

impl Plot {
    /// Space that ticks and title need to the left of the plot area.
    pub fn beside(&self) -> i32 {
        self.y.labels().iter().map(|l| text_width(l, SMALL)).fold(0.0, f64::max) as i32 + 32
    }

    /// Draws the plot into an area. Returns a mark for each drawn point.
    pub fn draw(&self, area: &Area<'_>, frame: &Frame<'_>) -> Result<Vec<Mark>, ReportError> {
        let s = SCALE;
        let (width, height) = area.dim_in_pixel();
        let axes = frame.axes((width as i32 / s, height as i32 / s));
        let x = self.x.fitting(axes[2] - axes[0]);
        let mut chart = ChartBuilder::on(area)
            .margin_top(frame.top * s)
            .margin_right(frame.right * s)
            .margin_left(frame.left * s)
            .x_label_area_size(frame.below * s)
            .y_label_area_size(frame.beside * s)
            .build_cartesian_2d(x, self.y.clone())
            .map_err(refused)?;
        let mut mesh = chart.configure_mesh();
        mesh.bold_line_style(GRID.stroke_width(stroke(HAIR)))
            .light_line_style(TRANSPARENT)
            .axis_style(INK.stroke_width(stroke(HAIR)))
            .label_style(TextStyle::from(font(SMALL)).color(&INK))
            .axis_desc_style(TextStyle::from(font(TEXT)).color(&INK))
            .set_all_tick_mark_size(4 * s);
        if !frame.x_title.is_empty() {
            mesh.x_desc(frame.x_title);
        }
        if !frame.y_title.is_empty() {
            mesh.y_desc(frame.y_title);
        }
        mesh.draw().map_err(refused)?;
        // Without tick labels the library also omits the line of an axis.
        let (left, right, bottom, top) = (self.x.low(), self.x.high(), self.y.low(), self.y.high());
        let bare = [(frame.below, [(left, bottom), (right, bottom)]), (frame.beside, [(left, bottom), (left, top)])];
        for (_, ends) in bare.into_iter().filter(|(room, _)| *room == 0) {
            let axis = PathElement::new(ends.to_vec(), INK.stroke_width(stroke(HAIR)));
            chart.draw_series(std::iter::once(axis)).map_err(refused)?;
        }
        for (reference, place) in self.references.iter().zip(beside_references(self, axes)) {
            let line = MUTED.stroke_width(stroke(REFERENCE));
            let dashed = DashedLineSeries::new(reference.points.clone(), 5 * s, 4 * s, line);
            chart.draw_series(dashed).map_err(refused)?;
            let Some([left, top, _, bottom]) = place else { continue };
            let style = TextStyle::from(font(SMALL)).color(&MUTED).pos(Pos::new(HPos::Left, VPos::Center));
            let at = ((left * f64::from(s)) as i32, (0.5 * (top + bottom) * f64::from(s)) as i32);
            area.draw(&Text::new(reference.name.clone(), at, style)).map_err(refused)?;
        }
        // Draw all bands before the lines.
        for curve in self.curves.iter().filter(|c| c.trace) {
            self.draw_band(&mut chart, curve)?;
        }
        let mut marks = Vec::new();
        for curve in &self.curves {
            for i in self.draw_curve(&mut chart, curve)? {
                let Some((x, e)) = curve.points.get(i) else { continue };
                let named = |title: &str, text: String| if title.is_empty() { text } else { format!("{title} {text}") };
                let (y, x_text) = (named(frame.y_title, describe(e)), named(frame.x_title, self.x.written(*x)));
                let origins = origins_at(&curve.origins, (*x, e.value));
                let text = format!("{}: {y}; {x_text}{origins}", curve.name);
                let (across, down) = chart.backend_coord(&(*x, e.value));
                marks.push(Mark::point((across + curve.moved(i), down), text));
            }
        }
        Ok(marks)
    }

    /// A plot with the points and the parts of reference lines that its axes can show; a logarithmic axis cannot show
    /// zero.
    pub fn new(x: Axis, y: Axis, mut curves: Vec<PlotSeries>, mut references: Vec<ReferenceLine>) -> Plot {
        for curve in &mut curves {
            let shown = |(at, e): &(f64, Estimate)| x.holds(*at) && y.holds(e.value);
            let strong = curve.strong.iter().zip(&curve.points).filter(|(_, point)| shown(point));
            curve.strong = strong.map(|(strong, _)| *strong).collect();
            let aside = curve.aside.iter().zip(&curve.points).filter(|(_, point)| shown(point));
            curve.aside = aside.map(|(aside, _)| *aside).collect();
            curve.points.retain(shown);
        }
        references.iter_mut().for_each(|line| line.points.retain(|(at, value)| x.holds(*at) && y.holds(*value)));
        curves.retain(|curve| !curve.points.is_empty());
        Plot { x, y, curves, references, avoided: Vec::new() }
    }

    /// The place of a value, clipped to the axes, if they span `area`, in figure units.
    pub fn place(&self, x: f64, y: f64, area: Rect) -> (f64, f64) {
        self.project(self.x.clamp(x), self.y.clamp(y), area)
    }

    /// The place of a value, even outside the axes, if they span `area`, in figure units.
    pub fn project(&self, x: f64, y: f64, area: Rect) -> (f64, f64) {
        let s = f64::from(SCALE);
        let limits = area.map(|side| (side * s) as i32);
        let (across, down) = (self.x.map(&x, (limits[0], limits[2])), self.y.map(&y, (limits[3], limits[1])));
        (f64::from(across) / s, f64::from(down) / s)
    }

    /// Leaves to the legend those reference lines whose names have no free place if the axes span `axes`, in figure
    /// units. Returns the rectangles of the other names.
    pub fn settle_references(&mut self, axes: Rect) -> Vec<Rect> {
        let places = beside_references(self, axes);
        for (reference, place) in self.references.iter_mut().zip(&places) {
            // A line without a part that the axes can show needs no name.
            if place.is_none() && reference.points.len() > 1 {
                reference.side = Side::Legend;
            }
        }
        places.into_iter().flatten().collect()
    }

    fn draw_band(&self, chart: &mut Axes<'_, '_>, curve: &PlotSeries) -> Result<(), ReportError> {
        let known: Vec<&(f64, Estimate)> = curve.points.iter().filter(|(_, e)| e.count > 1).collect();
        if known.len() < 2 {
            return Ok(());
        }
        let high = known.iter().map(|(x, e)| (*x, self.y.clamp(e.high)));
        let low = known.iter().rev().map(|(x, e)| (*x, self.y.clamp(e.low)));
        let opacity = if self.curves.len() > MANY { 0.09 } else { 0.15 };
        let band = Polygon::new(high.chain(low).collect::<Vec<_>>(), colour(curve.index).mix(opacity).filled());
        chart.draw_series(std::iter::once(band)).map_err(refused)?;
        Ok(())
    }

    /// Draws a curve. Returns the indices of the points that have a marker.
    fn draw_curve(&self, chart: &mut Axes<'_, '_>, curve: &PlotSeries) -> Result<Vec<usize>, ReportError> {
        let s = SCALE;
        let ink = colour(curve.index);
        let line: Vec<(f64, f64)> = curve.points.iter().map(|(x, e)| (*x, e.value)).collect();
        let thick = ink.stroke_width(stroke(CURVE));
        // Secondary curves are dashed already.
        let dashes = if curve.secondary { Some(Dash { on: 4, off: 3 }) } else { self.dash(curve) };
        if curve.joined {
            match dashes {
                Some(Dash { on, off }) => {
                    chart.draw_series(DashedLineSeries::new(line.clone(), on * s, off * s, thick)).map_err(refused)?
                }
                None => chart.draw_series(LineSeries::new(line.clone(), thick)).map_err(refused)?,
            };
        }
        let marked = if curve.trace { self.trace_markers(curve) } else { (0..curve.points.len()).collect() };
        for &i in &marked {
            let Some((x, e)) = curve.points.get(i) else { continue };
            let strong = curve.strong.get(i).copied().unwrap_or(true);
            let (low, high) = (self.y.clamp(e.low), self.y.clamp(e.high));
            if e.count > 1 && strong && !curve.trace {
                let whisker = PathElement::new(vec![(*x, low), (*x, high)], ink.stroke_width(stroke(HAIR)));
                let cap = |y: f64| {
                    EmptyElement::at((*x, y))
                        + PathElement::new(vec![(-3 * s, 0), (3 * s, 0)], ink.stroke_width(stroke(HAIR)))
                };
                chart.draw_series(std::iter::once(whisker)).map_err(refused)?;
                chart.draw_series([cap(low), cap(high)]).map_err(refused)?;
            }
            // Smaller, not paler: pale points vanish in grey.
            let radius = match (curve.strong.is_empty() || curve.strong.iter().all(|s| *s), strong) {
                (true, _) => MARKER,
                (false, true) => STRONG,
                (false, false) => WEAK,
            };
            let moved = |(across, down): (i32, i32)| (across + curve.moved(i), down);
            let outline: Vec<(i32, i32)> = marker(curve.index, radius).into_iter().map(moved).collect();
            let mut closed = outline.clone();
            closed.extend(outline.first().copied());
            let fill = if curve.secondary { WHITE.filled() } else { ink.filled() };
            let shape = EmptyElement::at((*x, e.value))
                + Polygon::new(outline, fill)
                + PathElement::new(closed, ink.stroke_width(stroke(EDGE)));
            chart.draw_series(std::iter::once(shape)).map_err(refused)?;
        }
        Ok(marked)
    }

    /// The dashes of a line whose colour is used by another curve; None in plots where dashes have another meaning.
    fn dash(&self, curve: &PlotSeries) -> Option<Dash> {
        if self.curves.iter().any(|c| c.secondary) { None } else { dash(curve.index) }
    }

    /// The points of a trace that have a marker: spread over the axis, and at different positions for each curve, so
    /// that markers do not overlap.
    fn trace_markers(&self, curve: &PlotSeries) -> Vec<usize> {
        let stagger = (curve.index as f64 * 0.381_966 + 0.25).fract();
        let place = |x: f64| f64::from(self.x.map(&x, (0, 10_000)));
        let end = curve.points.last().map_or(0.0, |(x, _)| place(*x));
        let mut marked: Vec<usize> = (0..TRACE_MARKERS)
            .map(|m| 10_000.0 * (m as f64 + stagger) / TRACE_MARKERS as f64)
            .filter(|wanted| *wanted <= end)
            .filter_map(|wanted| {
                let distance = |(_, (x, _)): &(usize, &(f64, Estimate))| (place(*x) - wanted).abs();
                curve.points.iter().enumerate().min_by(|a, b| distance(a).total_cmp(&distance(b))).map(|(i, _)| i)
            })
            .collect();
        marked.dedup();
        // A short trace ends before the first marker position.
        if marked.is_empty() { vec![curve.points.len().saturating_sub(1)] } else { marked }
    }
}
