//! Quantities of configurations in panels that share their rows: one row per configuration, one panel per quantity. Bars
//! start at zero and have their value at their end. Values that span more than a factor of ten, and ratios, are points on a
//! logarithmic axis, which has no zero that a bar could start at.

use super::axis::Axis;
use super::hover::{Mark, describe};
use super::refused;
use super::style::{
    Column, EDGE, GRID, HAIR, INK, MARKER, MUTED, SCALE, SMALL, abridge, bold, colour, finish, font, marker,
    register_fonts, shorten, stroke, text_width,
};
use crate::ReportError;
use crate::statistics::Estimate;
use plotters::coord::Shift;
use plotters::coord::ranged1d::Ranged;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

const ROW: f64 = 18.0;
/// Height of a row if there are many: the least that texts need.
const DENSE: f64 = 13.0;
/// Number of rows that are many.
const MANY: usize = 12;
/// Space above the rows, for the name of a panel.
const TOP: f64 = 28.0;
/// Space below the rows: with and without an axis.
const AXIS: f64 = 24.0;
const BOTTOM: f64 = 8.0;
/// Smallest width of a panel; if not all have it, they stand in several rows.
const PANEL: f64 = 120.0;
/// Space to the right of a panel.
const GAP: f64 = 10.0;
/// Half the height of a bar, as a part of that of its row.
const HALF: f64 = 0.28;
/// The largest part of the width that names of rows may take.
const NAMES: f64 = 0.32;
/// Values of a larger ratio are drawn on a logarithmic axis.
const LINEAR: f64 = 10.0;

/// A measured quantity, shown in one panel.
pub struct BarPanel {
    /// Heading with unit.
    pub title: String,
    /// One value per row.
    pub values: Vec<Option<Estimate>>,
    /// Formats the value at the end of a bar.
    pub show: fn(f64) -> String,
    /// End of the value axis; by default the largest value.
    pub full: Option<f64>,
    /// What values are compared with. The axis is then logarithmic.
    pub reference: Option<Reference>,
}

/// A value that all values of a panel are compared with.
pub struct Reference {
    /// The value; above 0.
    pub value: f64,
    /// What each row is to reach; None for rows without an aim.
    pub aims: Vec<Option<f64>>,
}

/// Panels of bars: rows with their names and the indices of their looks.
pub struct Bars {
    /// Name and look of each row.
    pub rows: Vec<(String, usize)>,
    /// Where the values of each row come from: run, trials and source revision, in words.
    pub origins: Vec<String>,
    /// The panels, side by side.
    pub panels: Vec<BarPanel>,
}

/// The scale of a panel.
enum Scale {
    /// From zero to this value.
    Linear(f64),
    Logarithmic(Axis),
}

impl BarPanel {
    fn scale(&self) -> Scale {
        let values = || self.values.iter().flatten().map(|e| e.value);
        let (least, largest) = values().fold((f64::INFINITY, 0.0f64), |(low, high), v| (low.min(v), high.max(v)));
        let apart = self.reference.is_some() || (self.full.is_none() && least > 0.0 && largest > LINEAR * least);
        // Ends of intervals count as far as a logarithmic axis can hold them.
        let ends =
            self.values.iter().flatten().flat_map(|e| [e.low.max(e.value / 3.0), e.value, e.high.min(3.0 * e.value)]);
        let marked = self.reference.iter().flat_map(|to| to.aims.iter().flatten().copied().chain([to.value]));
        let axis = if apart { Axis::log10(ends.chain(marked)) } else { None };
        axis.map_or(Scale::Linear(self.full.unwrap_or(largest)), Scale::Logarithmic)
    }
}

impl Scale {
    /// The distance of a value from the left end of a scale of this length.
    fn place(&self, value: f64, length: f64) -> f64 {
        match self {
            Scale::Linear(full) if *full > 0.0 => length * (value / full).clamp(0.0, 1.0),
            Scale::Linear(_) => 0.0,
            Scale::Logarithmic(axis) => length * f64::from(axis.map(&axis.clamp(value), (0, 10_000))) / 10_000.0,
        }
    }
}

/// The area of a drawing, in figure units.
struct Canvas<'a>(DrawingArea<SVGBackend<'a>, Shift>);

impl Canvas<'_> {
    fn at(x: f64, y: f64) -> (i32, i32) {
        ((x * f64::from(SCALE)) as i32, (y * f64::from(SCALE)) as i32)
    }

    fn text(&self, text: &str, x: f64, y: f64, across: HPos, style: FontDesc<'_>) -> Result<(), ReportError> {
        let style = TextStyle::from(style).color(&INK).pos(Pos::new(across, VPos::Center));
        self.0.draw(&Text::new(text.to_owned(), Canvas::at(x, y), style)).map_err(refused)
    }

    fn line(&self, from: (f64, f64), to: (f64, f64), colour: RGBColor) -> Result<(), ReportError> {
        let ends = vec![Canvas::at(from.0, from.1), Canvas::at(to.0, to.1)];
        self.0.draw(&PathElement::new(ends, colour.stroke_width(stroke(HAIR)))).map_err(refused)
    }
}

impl Bars {
    /// Height of a row.
    fn row(&self) -> f64 {
        if self.rows.len() > MANY { DENSE } else { ROW }
    }

    /// Draws the panels as SVG.
    pub fn draw(&self, column: Column) -> Result<String, ReportError> {
        register_fonts();
        let width = column.width();
        let longest = self.rows.iter().map(|(name, _)| text_width(name, SMALL)).fold(0.0, f64::max);
        let names = longest.min(NAMES * f64::from(width)) + 12.0;
        let room = f64::from(width) - names;
        let beside = ((room / PANEL) as usize).clamp(1, self.panels.len().max(1));
        let across = room / beside as f64;
        let logarithmic = self.panels.iter().any(|panel| matches!(panel.scale(), Scale::Logarithmic(_)));
        let rows_height = self.row() * self.rows.len() as f64;
        let block = TOP + rows_height + if logarithmic { AXIS } else { BOTTOM };
        let height = (block * self.panels.len().div_ceil(beside) as f64 + 2.0) as i32;
        let mut svg = String::new();
        let mut marks = Vec::new();
        {
            let size = ((width * SCALE) as u32, (height * SCALE) as u32);
            let canvas = Canvas(SVGBackend::with_string(&mut svg, size).into_drawing_area());
            canvas.0.fill(&WHITE).map_err(refused)?;
            for (i, panels) in self.panels.chunks(beside).enumerate() {
                let top = TOP + block * i as f64;
                for (r, (name, _)) in self.rows.iter().enumerate() {
                    let text = abridge(name, SMALL, names - 12.0);
                    canvas.text(&text, names - 6.0, top + self.row() * (r as f64 + 0.5), HPos::Right, font(SMALL))?;
                }
                for (p, panel) in panels.iter().enumerate() {
                    let place = (names + across * p as f64, top);
                    marks.extend(self.panel(&canvas, panel, place, across - GAP)?);
                }
            }
            canvas.0.present().map_err(refused)?;
        }
        Ok(finish(svg, width, height, &marks))
    }

    /// Draws a panel whose rows begin at a place.
    fn panel(
        &self,
        canvas: &Canvas<'_>,
        panel: &BarPanel,
        (left, top): (f64, f64),
        width: f64,
    ) -> Result<Vec<Mark>, ReportError> {
        let (row, bottom) = (self.row(), top + self.row() * self.rows.len() as f64);
        let thick = HALF * row;
        let texts = panel.values.iter().flatten().map(|e| text_width(&(panel.show)(e.value), SMALL));
        let length = width - texts.fold(0.0, f64::max) - MARKER;
        let scale = panel.scale();
        canvas.text(&shorten(&panel.title, SMALL, width), left, top - 14.0, HPos::Left, bold(SMALL))?;
        match &scale {
            Scale::Linear(full) if panel.full.is_some() => {
                let end = left + scale.place(*full, length);
                canvas.line((end, top - 4.0), (end, bottom), GRID)?;
            }
            Scale::Linear(_) => {}
            Scale::Logarithmic(axis) => {
                let axis = axis.fitting(length);
                for (tick, label) in axis.ticks().iter().zip(axis.labels()) {
                    let x = left + scale.place(*tick, length);
                    canvas.line((x, top - 4.0), (x, bottom), GRID)?;
                    canvas.text(&label, x, bottom + 10.0, HPos::Center, font(SMALL))?;
                }
                canvas.line((left, bottom), (left + length, bottom), INK)?;
            }
        }
        canvas.line((left, top - 4.0), (left, bottom), INK)?;
        if let Some(reference) = &panel.reference {
            let x = left + scale.place(reference.value, length);
            canvas.line((x, top - 4.0), (x, bottom), MUTED)?;
            for (r, aim) in reference.aims.iter().enumerate() {
                let Some(aim) = aim else { continue };
                let (x, y) = (left + scale.place(*aim, length), top + row * (r as f64 + 0.5));
                canvas.line((x, y - 0.4 * row), (x, y + 0.4 * row), INK)?;
            }
        }
        let mut marks = Vec::new();
        for ((r, value), (name, look)) in panel.values.iter().enumerate().zip(&self.rows) {
            let y = top + row * (r as f64 + 0.5);
            let Some(e) = value else { continue };
            let [value, low, high] = [e.value, e.low, e.high].map(|v| left + scale.place(v, length));
            let ink = colour(*look);
            match scale {
                Scale::Linear(_) => {
                    let bar = [Canvas::at(left, y - thick), Canvas::at(value, y + thick)];
                    canvas.0.draw(&Rectangle::new(bar, ink.filled())).map_err(refused)?;
                    canvas.line((low, y), (high, y), INK)?;
                    let (centre, half) =
                        (Canvas::at(0.5 * (left + value), y), Canvas::at(0.5 * (value - left) + 1.0, thick));
                    marks.push(Mark { at: centre, half, text: String::new() });
                }
                Scale::Logarithmic(_) => {
                    canvas.line((low, y), (high, y), ink)?;
                    let (x, y) = Canvas::at(value, y);
                    let mut outline: Vec<(i32, i32)> =
                        marker(*look, MARKER).into_iter().map(|(dx, dy)| (x + dx, y + dy)).collect();
                    canvas.0.draw(&Polygon::new(outline.clone(), ink.filled())).map_err(refused)?;
                    outline.extend(outline.first().copied());
                    canvas.0.draw(&PathElement::new(outline, ink.stroke_width(stroke(EDGE)))).map_err(refused)?;
                    marks.push(Mark::point((x, y), String::new()));
                }
            }
            if let Some(mark) = marks.last_mut() {
                let origin = self.origins.get(r).map(|origin| format!("\n{origin}")).unwrap_or_default();
                mark.text = format!("{name}: {} {}{origin}", panel.title, describe(e));
            }
            let aside = if matches!(scale, Scale::Linear(_)) { 4.0 } else { MARKER + 3.0 };
            let text = (panel.show)(e.value);
            let mut end = value.max(high);
            // The text stands behind an aim that it would cover.
            let aim = panel.reference.as_ref().and_then(|reference| *reference.aims.get(r)?);
            if let Some(aim) = aim.map(|aim| left + scale.place(aim, length))
                && (end..=end + aside + text_width(&text, SMALL)).contains(&aim)
            {
                end = aim;
            }
            canvas.text(&text, end + aside, y, HPos::Left, font(SMALL))?;
        }
        Ok(marks)
    }
}
