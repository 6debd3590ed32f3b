//! Small multiples: plots of one kind in two columns, with one shared legend.

use super::legend::Legend;
use super::plot::{BELOW, Frame, Plot, SMALL};
use super::refused;
use super::style::{INK, SCALE, bold, finish, register_fonts, shorten};
use crate::ReportError;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Size of a plot area in a figure with several panels.
const CELL: (i32, i32) = (268, 158);
/// Size of the plot area of a single panel, the same as in a chart.
const ALONE: (i32, i32) = (374, 213);
/// Space above the first row, for the heading.
const TOP: i32 = 28;
/// Space above each plot area, for its name.
const NAME: i32 = 18;
/// Space between a plot area and the next row.
const ROW_GAP: i32 = 8;
/// Space between the columns.
const COLUMN_GAP: i32 = 20;
const LEFT: i32 = 6;
const RIGHT: i32 = 16;

/// A plot with its name.
pub struct Panel {
    /// Name that distinguishes it from the other panels.
    pub name: String,
    /// The plot; all panels have the same horizontal axis.
    pub plot: Plot,
}

/// Panels ready to be drawn.
pub struct PanelFigure {
    /// Heading.
    pub title: String,
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
    pub fn draw(&self) -> Result<String, ReportError> {
        register_fonts();
        let s = SCALE;
        let count = self.panels.len();
        let columns = count.clamp(1, 2);
        let rows = count.div_ceil(columns) as i32;
        let (cell_width, cell_height) = if columns == 1 { ALONE } else { CELL };
        let beside: Vec<i32> = (0..columns)
            .map(|column| {
                let of_column = self.panels.iter().skip(column).step_by(columns);
                if column > 0 && self.shared { 0 } else { of_column.map(|p| p.plot.beside()).max().unwrap_or(0) }
            })
            .collect();
        let row_height = NAME + cell_height + ROW_GAP;
        let width = LEFT + beside.iter().sum::<i32>() + columns as i32 * (cell_width + COLUMN_GAP) - COLUMN_GAP + RIGHT;
        let legend_top = TOP + rows * row_height - ROW_GAP + BELOW + 4;
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
            let title = TextStyle::from(bold(13.0)).color(&INK).pos(Pos::new(HPos::Left, VPos::Top));
            root.draw(&Text::new(self.title.clone(), (10 * s, 8 * s), title)).map_err(refused)?;
            for (i, panel) in self.panels.iter().enumerate() {
                let (row, column) = ((i / columns) as i32, i % columns);
                // The last panel of a column has nothing below it.
                let last = i + columns >= count;
                let before: i32 = beside[..column].iter().sum::<i32>() + column as i32 * (cell_width + COLUMN_GAP);
                let (x, y) = (LEFT + before, TOP + row * row_height);
                let below = if last { BELOW } else { 0 };
                let size = (beside[column] + cell_width, NAME + cell_height + below);
                let area = root.clone().shrink((x * s, y * s), (size.0 * s, size.1 * s));
                let name = TextStyle::from(bold(SMALL)).color(&INK).pos(Pos::new(HPos::Center, VPos::Center));
                let centre = ((beside[column] + cell_width / 2) * s, NAME / 2 * s);
                let text = shorten(&panel.name, SMALL, f64::from(cell_width));
                area.draw(&Text::new(text, centre, name)).map_err(refused)?;
                let frame = Frame {
                    x_title: if last { &self.x_title } else { "" },
                    y_title: if column == 0 || !self.shared { &self.y_title } else { "" },
                    top: NAME,
                    below,
                    beside: beside[column],
                    ..Frame::default()
                };
                marks.extend(panel.plot.draw(&area, &frame)?);
            }
            let below = root.clone().shrink((0, legend_top * s), (width * s, legend.height() * s));
            legend.draw(&below)?;
            root.present().map_err(refused)?;
        }
        Ok(finish(svg, width, height, &marks))
    }
}
