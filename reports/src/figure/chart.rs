//! A chart: one plot, whose curves are named at their ends or in a legend below.

use super::axis::Axis;
use super::inset::{Inset, crowd};
use super::labels::{Label, Rect, beside_references, place};
use super::legend::Legend;
use super::plot::{BELOW, Frame, Plot};
pub use super::plot::{PlotSeries, ReferenceLine, Side};
use super::refused;
use super::style::{Column, SCALE, SMALL, finish, font, ink, register_fonts, text_width};
use crate::ReportError;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

const LEGEND_GAP: i32 = 6;
/// Space around the axes: above, to the left of the ticks, and to the right.
const TOP: i32 = 10;
const LEFT: i32 = 4;
const RIGHT: i32 = 14;
/// The largest part of the width that names beside the axes may take.
const BESIDE: f64 = 0.3;

/// A chart ready to be drawn.
pub struct Chart {
    /// Name and unit of the horizontal axis.
    pub x_title: String,
    /// Name and unit of the vertical axis.
    pub y_title: String,
    /// Horizontal axis.
    pub x: Axis,
    /// Vertical axis.
    pub y: Axis,
    /// The curves.
    pub curves: Vec<PlotSeries>,
    /// Reference lines, drawn behind the curves.
    pub references: Vec<ReferenceLine>,
    /// Legend entries that explain dashes and open markers.
    pub secondary_name: Option<String>,
    /// Whether an inset enlarges curves that crowd, if there is room.
    pub inset: bool,
}

/// What a chart has at one width.
struct Layout {
    plot: Plot,
    height: i32,
    right: i32,
    /// Names at the ends of curves; None if the legend has them.
    labels: Option<Vec<Label>>,
    inset: Option<Inset>,
}

impl Chart {
    fn layout(&self, column: Column) -> Layout {
        let mut plot = Plot::new(self.x.clone(), self.y.clone(), self.curves.clone(), self.references.clone());
        let (width, height) = (column.width(), if column == Column::Single { 262 } else { 340 });
        let (labels, right) = named(&plot, width, height);
        let axes = frame(&plot, right).axes((width, height));
        let window = if self.inset { crowd(&plot, axes) } else { None };
        // The frame around what is enlarged.
        plot.avoided.extend(window);
        let mut taken = plot.settle_references(axes);
        taken.extend(labels.iter().flatten().map(Label::rect));
        let inset = window.and_then(|window| Inset::find(&plot, axes, window, &taken));
        Layout { plot, height, right, labels, inset }
    }

    /// Whether the chart has an inset at a width.
    pub fn has_inset(&self, column: Column) -> bool {
        register_fonts();
        self.layout(column).inset.is_some()
    }

    /// Draws the chart as SVG.
    pub fn draw(&self, column: Column) -> Result<String, ReportError> {
        register_fonts();
        let s = SCALE;
        let width = column.width();
        let Layout { plot, height: plot_height, right, labels, inset } = self.layout(column);
        let curves = plot.curves.iter().filter(|_| labels.is_none());
        let legend = Legend::new(curves, plot.references.iter(), self.secondary_name.as_deref(), width);
        let gap = if legend.height() > 0 { LEGEND_GAP + 4 } else { 2 };
        let height = plot_height + gap + legend.height();
        let mut svg = String::new();
        let mut marks;
        {
            let root = SVGBackend::with_string(&mut svg, ((width * s) as u32, (height * s) as u32)).into_drawing_area();
            root.fill(&WHITE).map_err(refused)?;
            let above = root.clone().shrink((0, 0), (width * s, plot_height * s));
            let titled = Frame { x_title: &self.x_title, y_title: &self.y_title, ..frame(&plot, right) };
            marks = plot.draw(&above, &titled)?;
            for Label { name, index, at } in labels.unwrap_or_default() {
                let ink = ink(index);
                let style = TextStyle::from(font(SMALL)).color(&ink).pos(Pos::new(HPos::Left, VPos::Center));
                let at = ((at.0 * f64::from(s)) as i32, (at.1 * f64::from(s)) as i32);
                root.draw(&Text::new(name, at, style)).map_err(refused)?;
            }
            if let Some(inset) = inset {
                marks.extend(inset.draw(&root, &plot)?);
            }
            let top = (plot_height + LEGEND_GAP) * s;
            legend.draw(&root.clone().shrink((0, top), (width * s, legend.height().max(1) * s)))?;
            root.present().map_err(refused)?;
        }
        Ok(finish(svg, width, height, &marks))
    }
}

/// The space around the axes, without titles.
fn frame(plot: &Plot, right: i32) -> Frame<'static> {
    Frame { top: TOP, right, left: LEFT, below: BELOW, beside: plot.beside(), ..Frame::default() }
}

/// Names at the ends of curves, if all have room, and the space to the right of the axes that they need.
fn named(plot: &Plot, width: i32, height: i32) -> (Option<Vec<Label>>, i32) {
    let longest = plot.curves.iter().map(|curve| text_width(&curve.name, SMALL)).fold(0.0, f64::max);
    let limit = f64::from(width - 4);
    let with = |right: i32| {
        let area = frame(plot, right).axes((width, height));
        let taken: Vec<Rect> = beside_references(plot, area).into_iter().flatten().collect();
        place(plot, area, limit, &taken)
    };
    let wider = longest as i32 + RIGHT;
    if longest > 2.0 * BESIDE * f64::from(width) {
        (None, RIGHT)
    } else if let Some(labels) = with(RIGHT) {
        (Some(labels), RIGHT)
    } else if let Some(labels) = with(wider).filter(|_| f64::from(wider) <= BESIDE * f64::from(width)) {
        (Some(labels), wider)
    } else {
        (None, RIGHT)
    }
}
