//! A chart: one plot, whose curves are named at their ends or in a legend below.

use super::axis::Axis;
use super::labels::{Label, place};
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
}

impl Chart {
    /// Draws the chart as SVG.
    pub fn draw(&self, column: Column) -> Result<String, ReportError> {
        register_fonts();
        let s = SCALE;
        let width = column.width();
        let plot_height = match column {
            Column::Single => 262,
            Column::Double => 340,
        };
        let plot = Plot::new(self.x.clone(), self.y.clone(), self.curves.clone(), self.references.clone());
        let beside = plot.beside();
        let (labels, right) = named(&plot, beside, width, plot_height);
        let curves = plot.curves.iter().filter(|_| labels.is_none());
        let legend = Legend::new(curves, plot.references.iter(), self.secondary_name.as_deref(), width);
        let gap = if legend.height() > 0 { LEGEND_GAP + 4 } else { 2 };
        let height = plot_height + gap + legend.height();
        let mut svg = String::new();
        let marks;
        {
            let root = SVGBackend::with_string(&mut svg, ((width * s) as u32, (height * s) as u32)).into_drawing_area();
            root.fill(&WHITE).map_err(refused)?;
            let above = root.clone().shrink((0, 0), (width * s, plot_height * s));
            let frame = Frame {
                x_title: &self.x_title,
                y_title: &self.y_title,
                top: TOP,
                right,
                left: LEFT,
                below: BELOW,
                beside,
            };
            marks = plot.draw(&above, &frame)?;
            for Label { name, index, at } in labels.unwrap_or_default() {
                let ink = ink(index);
                let style = TextStyle::from(font(SMALL)).color(&ink).pos(Pos::new(HPos::Left, VPos::Center));
                let at = ((at.0 * f64::from(s)) as i32, (at.1 * f64::from(s)) as i32);
                root.draw(&Text::new(name, at, style)).map_err(refused)?;
            }
            let top = (plot_height + LEGEND_GAP) * s;
            legend.draw(&root.clone().shrink((0, top), (width * s, legend.height().max(1) * s)))?;
            root.present().map_err(refused)?;
        }
        Ok(finish(svg, width, height, &marks))
    }
}

/// Names at the ends of curves, if all have room, and the space to the right of the axes that they need.
fn named(plot: &Plot, beside: i32, width: i32, height: i32) -> (Option<Vec<Label>>, i32) {
    let longest = plot.curves.iter().map(|curve| text_width(&curve.name, SMALL)).fold(0.0, f64::max);
    let limit = f64::from(width - 4);
    let with = |right: i32| {
        let area = [LEFT + beside, TOP, width - right, height - BELOW].map(f64::from);
        place(plot, area, limit, &plot.reference_labels(area))
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
