//! Small multiples: plots of one kind in two columns, with one shared legend.

use super::legend::Legend;
use super::plot::{BELOW, Frame, Plot};
use super::refused;
use super::style::{Column, INK, SCALE, SMALL, bold, finish, register_fonts, shorten};
use crate::ReportError;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Height of the plot areas of several panels, and of one alone.
const CELL: i32 = 150;
const ALONE: i32 = 217;
/// With more panels than this, two stand beside each other even in one column of a paper.
const STACKED: usize = 3;
/// Space above each plot area, for its name.
const NAME: i32 = 20;
/// Space between a plot area and the next row.
const ROW_GAP: i32 = 8;
/// Space between the columns.
const COLUMN_GAP: i32 = 16;
const LEFT: i32 = 4;
const RIGHT: i32 = 14;

/// A plot with its name.
pub struct Panel {
    /// Name that distinguishes it from the other panels.
    pub name: String,
    /// The plot; all panels have the same horizontal axis.
    pub plot: Plot,
}

/// Panels ready to be drawn.
pub struct PanelFigure {
    /// Name and unit of the horizontal axis.
    pub x_title: String,
    /// Name and unit of the vertical axes.
    pub y_title: String,
    /// The panels, row by row.
    pub panels: Vec<Panel>,
    /// Whether all panels have the same vertical axis, which is then labelled only at the first column.
    pub shared: bool,
}

impl PanelFigure {
    /// Draws the panels as SVG.
    pub fn draw(&self, column: Column) -> Result<String, ReportError> {
        register_fonts();
        let s = SCALE;
        let width = column.width();
        let count = self.panels.len();
        let columns = if column == Column::Single && count <= STACKED { 1 } else { count.clamp(1, 2) };
        let rows = count.div_ceil(columns) as i32;
        let cell_height = if count == 1 { ALONE } else { CELL };
        let beside: Vec<i32> = (0..columns)
            .map(|column| {
                let of_column = self.panels.iter().skip(column).step_by(columns);
                if column > 0 && self.shared { 0 } else { of_column.map(|p| p.plot.beside()).max().unwrap_or(0) }
            })
            .collect();
        let row_height = NAME + cell_height + ROW_GAP;
        let gaps = LEFT + RIGHT + (columns as i32 - 1) * COLUMN_GAP;
        let cell_width = (width - beside.iter().sum::<i32>() - gaps) / columns as i32;
        let legend_top = rows * row_height - ROW_GAP + BELOW + 4;
        let legend = Legend::new(
            self.panels.iter().flat_map(|p| &p.plot.curves),
            self.panels.iter().flat_map(|p| &p.plot.references),
            None,
            width,
        );
        let height = legend_top + legend.height() + 6;
        let mut svg = String::new();
        let mut marks = Vec::new();
        {
            let root = SVGBackend::with_string(&mut svg, ((width * s) as u32, (height * s) as u32)).into_drawing_area();
            root.fill(&WHITE).map_err(refused)?;
            for (i, panel) in self.panels.iter().enumerate() {
                let (row, across) = ((i / columns) as i32, i % columns);
                // The last panel of a column has nothing below it.
                let last = i + columns >= count;
                let before: i32 = beside[..across].iter().sum::<i32>() + across as i32 * (cell_width + COLUMN_GAP);
                let (x, y) = (LEFT + before, row * row_height);
                let below = if last { BELOW } else { 0 };
                let size = (beside[across] + cell_width, NAME + cell_height + below);
                let area = root.clone().shrink((x * s, y * s), (size.0 * s, size.1 * s));
                let name = TextStyle::from(bold(SMALL)).color(&INK).pos(Pos::new(HPos::Center, VPos::Center));
                let centre = ((beside[across] + cell_width / 2) * s, NAME / 2 * s);
                let text = shorten(&panel.name, SMALL, f64::from(cell_width));
                area.draw(&Text::new(text, centre, name)).map_err(refused)?;
                let frame = Frame {
                    x_title: if last { &self.x_title } else { "" },
                    y_title: if across == 0 || !self.shared { &self.y_title } else { "" },
                    top: NAME,
                    below,
                    beside: beside[across],
                    ..Frame::default()
                };
                marks.extend(panel.plot.draw(&area, &frame)?);
            }
            let below = root.clone().shrink((0, legend_top * s), (width * s, legend.height().max(1) * s));
            legend.draw(&below)?;
            root.present().map_err(refused)?;
        }
        Ok(finish(svg, width, height, &marks))
    }
}
