//! A column-width chart: a heading, one plot, a legend below.

use super::axis::Axis;
use super::legend::Legend;
use super::plot::{BELOW, Frame, Plot};
pub use super::plot::{PlotSeries, ReferenceLine, Side};
use super::refused;
use super::style::{INK, SCALE, bold, finish, register_fonts};
use crate::ReportError;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

const WIDTH: i32 = 440;
const PLOT_HEIGHT: i32 = 280;
const LEGEND_GAP: i32 = 6;

/// A chart ready to be drawn.
pub struct Chart {
    /// Heading.
    pub title: String,
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
    pub fn draw(self) -> Result<String, ReportError> {
        register_fonts();
        let s = SCALE;
        let plot = Plot { x: self.x, y: self.y, curves: self.curves, references: self.references };
        let legend = Legend::new(plot.curves.iter(), plot.references.iter(), self.secondary_name.as_deref(), WIDTH);
        let height = PLOT_HEIGHT + legend.height() + LEGEND_GAP + 6;
        let mut svg = String::new();
        let marks;
        {
            let root = SVGBackend::with_string(&mut svg, ((WIDTH * s) as u32, (height * s) as u32)).into_drawing_area();
            root.fill(&WHITE).map_err(refused)?;
            let (above, below) = root.split_vertically((PLOT_HEIGHT + LEGEND_GAP) * s);
            let above = above.margin(0, LEGEND_GAP * s, 0, 0);
            let title = TextStyle::from(bold(13.0)).color(&INK).pos(Pos::new(HPos::Left, VPos::Top));
            above.draw(&Text::new(self.title, (10 * s, 8 * s), title)).map_err(refused)?;
            let frame = Frame {
                x_title: &self.x_title,
                y_title: &self.y_title,
                top: 32,
                right: 16,
                left: 6,
                below: BELOW,
                beside: plot.beside(),
            };
            marks = plot.draw(&above, &frame)?;
            legend.draw(&below)?;
            root.present().map_err(refused)?;
        }
        Ok(finish(svg, WIDTH, height, &marks))
    }
}
