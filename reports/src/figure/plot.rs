//! One plot area with its axes: curves with intervals and markers, and reference lines. A chart has one plot area,
//! panels have several.

use super::axis::Axis;
use super::hover::{Mark, Origin, describe, origins_at};
use super::labels::Rect;
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
    /// Where its points come from.
    pub origins: Vec<Origin>,
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

/// A side of a reference line that curves leave free.
#[derive(Clone, Copy, PartialEq)]
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

/// Axes and the elements drawn over them.
pub struct Plot {
    /// Horizontal axis.
    pub x: Axis,
    /// Vertical axis.
    pub y: Axis,
    /// The curves.
    pub curves: Vec<PlotSeries>,
    /// Reference lines, drawn behind the curves.
    pub references: Vec<ReferenceLine>,
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

/// Where the label of a reference line stands.
struct LabelPlace {
    /// In the units of the axes.
    at: (f64, f64),
    /// The corner of the text that stands there.
    pos: Pos,
    /// In drawing units.
    shift: (i32, i32),
}

impl Plot {
    /// Space that ticks and title need to the left of the plot area.
    pub fn beside(&self) -> i32 {
        self.y.labels().iter().map(|l| text_width(l, SMALL)).fold(0.0, f64::max) as i32 + 32
    }

    /// Draws the plot into an area. Returns a mark for each drawn point.
    pub fn draw(&self, area: &Area<'_>, frame: &Frame<'_>) -> Result<Vec<Mark>, ReportError> {
        let s = SCALE;
        let (width, _) = area.dim_in_pixel();
        let x = self.x.fitting(f64::from(width as i32 / s - frame.left - frame.beside - frame.right));
        let mut chart = ChartBuilder::on(area)
            .margin_top(frame.top * s)
            .margin_right(frame.right * s)
            .margin_left(frame.left * s)
            .x_label_area_size(frame.below * s)
            .y_label_area_size(frame.beside * s)
            .build_cartesian_2d(x, self.y.clone())
            .map_err(refused)?;
        chart
            .configure_mesh()
            .bold_line_style(GRID.stroke_width(stroke(HAIR)))
            .light_line_style(TRANSPARENT)
            .axis_style(INK.stroke_width(stroke(HAIR)))
            .label_style(TextStyle::from(font(SMALL)).color(&INK))
            .axis_desc_style(TextStyle::from(font(TEXT)).color(&INK))
            .x_desc(frame.x_title)
            .y_desc(frame.y_title)
            .set_all_tick_mark_size(4 * s)
            .draw()
            .map_err(refused)?;
        // Without tick labels the library also omits the line of an axis.
        let (left, right, bottom, top) = (self.x.low(), self.x.high(), self.y.low(), self.y.high());
        let bare = [(frame.below, [(left, bottom), (right, bottom)]), (frame.beside, [(left, bottom), (left, top)])];
        for (_, ends) in bare.into_iter().filter(|(room, _)| *room == 0) {
            let axis = PathElement::new(ends.to_vec(), INK.stroke_width(stroke(HAIR)));
            chart.draw_series(std::iter::once(axis)).map_err(refused)?;
        }
        for reference in &self.references {
            self.draw_reference(&mut chart, reference)?;
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
                marks.push(Mark::point(chart.backend_coord(&(*x, e.value)), text));
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
            curve.points.retain(shown);
        }
        references.iter_mut().for_each(|line| line.points.retain(|(at, value)| x.holds(*at) && y.holds(*value)));
        curves.retain(|curve| !curve.points.is_empty());
        Plot { x, y, curves, references }
    }

    /// The place of a value, if the axes span `area`, in figure units.
    pub fn place(&self, x: f64, y: f64, area: Rect) -> (f64, f64) {
        let s = f64::from(SCALE);
        let limits = area.map(|side| (side * s) as i32);
        let across = self.x.map(&self.x.clamp(x), (limits[0], limits[2]));
        let down = self.y.map(&self.y.clamp(y), (limits[3], limits[1]));
        (f64::from(across) / s, f64::from(down) / s)
    }

    /// The rectangles of the labels of reference lines, if the axes span `area`, in figure units.
    pub fn reference_labels(&self, area: Rect) -> Vec<Rect> {
        let boxed = |reference: &ReferenceLine| {
            let LabelPlace { at, pos, shift } = self.reference_label(reference)?;
            let (x, y) = self.place(at.0, at.1, area);
            let (x, y) = (x + f64::from(shift.0 / SCALE), y + f64::from(shift.1 / SCALE));
            let width = text_width(&reference.name, SMALL);
            let left = if matches!(pos.h_pos, HPos::Right) { x - width } else { x };
            let top = if matches!(pos.v_pos, VPos::Bottom) { y - SMALL } else { y };
            Some([left, top, left + width, top + SMALL])
        };
        self.references.iter().filter_map(boxed).collect()
    }

    fn draw_reference(&self, chart: &mut Axes<'_, '_>, reference: &ReferenceLine) -> Result<(), ReportError> {
        let s = SCALE;
        let line = MUTED.stroke_width(stroke(REFERENCE));
        chart.draw_series(DashedLineSeries::new(reference.points.clone(), 5 * s, 4 * s, line)).map_err(refused)?;
        let Some(LabelPlace { at, pos, shift }) = self.reference_label(reference) else { return Ok(()) };
        let style = TextStyle::from(font(SMALL)).color(&MUTED).pos(pos);
        let label = EmptyElement::at(at) + Text::new(reference.name.clone(), shift, style);
        chart.draw_series(std::iter::once(label)).map_err(refused)?;
        Ok(())
    }

    /// The place of the label of a reference line. None if the legend names the line.
    fn reference_label(&self, reference: &ReferenceLine) -> Option<LabelPlace> {
        let s = SCALE;
        let at = self.half_way_down(&reference.points)?;
        let (pos, shift) = match reference.side {
            Side::Legend => return None,
            Side::Below => (Pos::new(HPos::Right, VPos::Top), (-5 * s, 3 * s)),
            // Near the right edge there is no space on that side.
            Side::Above if self.x.map(&at.0, (0, 100)) > 70 => (Pos::new(HPos::Right, VPos::Bottom), (-5 * s, -3 * s)),
            Side::Over => (Pos::new(HPos::Right, VPos::Bottom), (-5 * s, -3 * s)),
            Side::Rising => (Pos::new(HPos::Left, VPos::Top), (6 * s, 3 * s)),
            Side::Above => (Pos::new(HPos::Left, VPos::Bottom), (5 * s, -3 * s)),
        };
        Some(LabelPlace { at, pos, shift })
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
            let outline = marker(curve.index, radius);
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

    /// The point where a line is half-way between its first and last drawn height.
    fn half_way_down(&self, points: &[(f64, f64)]) -> Option<(f64, f64)> {
        let height = |y: f64| f64::from(self.y.map(&y, (0, 10_000)));
        let (first, last) = (points.first()?, points.last()?);
        let middle = 0.5 * (height(first.1) + height(last.1));
        let pair = points.windows(2).find(|pair| (height(pair[0].1) - middle) * (height(pair[1].1) - middle) <= 0.0)?;
        let share = (height(pair[0].1) - middle).abs() / (height(pair[0].1) - height(pair[1].1)).abs().max(1.0);
        Some((self.x.between(pair[0].0, pair[1].0, share), self.y.between(pair[0].1, pair[1].1, share)))
    }
}
