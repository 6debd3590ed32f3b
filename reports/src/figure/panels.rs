//! Small multiples: plots of one kind in two columns, with one shared legend.

use super::chart::Chart;
use super::legend::Legend;
use super::plot::{BELOW, Frame, Plot};
use super::refused;
use super::style::{Column, INK, SCALE, SMALL, bold, finish, register_fonts, shorten};
use crate::ReportError;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Height of the plot areas of panels in several rows, and in one.
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

/// Where a panel stands in a figure, in figure units, and the space around its axes.
struct Place<'a> {
    at: (i32, i32),
    size: (i32, i32),
    frame: Frame<'a>,
}

impl PanelFigure {
    /// Charts with one horizontal axis side by side, each with the name of its vertical axis above it.
    pub fn of(charts: &[Chart]) -> PanelFigure {
        let panel = |chart: &Chart| {
            let (x, y) = (chart.x.clone(), chart.y.clone());
            let plot = Plot::new(x, y, chart.curves.clone(), chart.references.clone());
            Panel { name: chart.y_title.clone(), plot }
        };
        let x_title = charts.first().map_or(String::new(), |chart| chart.x_title.clone());
        PanelFigure { x_title, y_title: String::new(), panels: charts.iter().map(panel).collect(), shared: false }
    }

    /// Draws the panels as SVG.
    pub fn draw(&self, column: Column) -> Result<String, ReportError> {
        register_fonts();
        let s = SCALE;
        let width = column.width();
        let count = self.panels.len();
        let columns = if column == Column::Single && count <= STACKED { 1 } else { count.clamp(1, 2) };
        let rows = count.div_ceil(columns) as i32;
        let cell_height = if rows == 1 { ALONE } else { CELL };
        let beside: Vec<i32> = (0..columns)
            .map(|column| {
                let of_column = self.panels.iter().skip(column).step_by(columns);
                if column > 0 && self.shared { 0 } else { of_column.map(|p| p.plot.beside()).max().unwrap_or(0) }
            })
            .collect();
        let row_height = NAME + cell_height + ROW_GAP;
        let gaps = LEFT + RIGHT + (columns as i32 - 1) * COLUMN_GAP;
        let cell_width = (width - beside.iter().sum::<i32>() - gaps) / columns as i32;
        // Where each panel stands, and its axes within.
        let places: Vec<Place<'_>> = (0..count)
            .map(|i| {
                let (row, across) = ((i / columns) as i32, i % columns);
                // The last panel of a column has nothing below it.
                let last = i + columns >= count;
                let before: i32 = beside[..across].iter().sum::<i32>() + across as i32 * (cell_width + COLUMN_GAP);
                let below = if last { BELOW } else { 0 };
                let size = (beside[across] + cell_width, NAME + cell_height + below);
                let frame = Frame {
                    x_title: if last { &self.x_title } else { "" },
                    y_title: if across == 0 || !self.shared { &self.y_title } else { "" },
                    top: NAME,
                    below,
                    beside: beside[across],
                    ..Frame::default()
                };
                Place { at: (LEFT + before, row * row_height), size, frame }
            })
            .collect();
        let plots = self.panels.iter().zip(&places).map(|(panel, Place { size, frame, .. })| {
            let mut plot = panel.plot.clone();
            plot.settle_references(frame.axes(*size));
            plot
        });
        let plots: Vec<Plot> = plots.collect();
        let legend_top = rows * row_height - ROW_GAP + BELOW + 4;
        let legend = Legend::new(
            plots.iter().flat_map(|plot| &plot.curves),
            plots.iter().flat_map(|plot| &plot.references),
            None,
            width,
        );
        let height = legend_top + legend.height() + 6;
        let mut svg = String::new();
        let mut marks = Vec::new();
        {
            let root = SVGBackend::with_string(&mut svg, ((width * s) as u32, (height * s) as u32)).into_drawing_area();
            root.fill(&WHITE).map_err(refused)?;
            for ((panel, plot), Place { at: (x, y), size, frame }) in self.panels.iter().zip(&plots).zip(&places) {
                let area = root.clone().shrink((x * s, y * s), (size.0 * s, size.1 * s));
                let name = TextStyle::from(bold(SMALL)).color(&INK).pos(Pos::new(HPos::Center, VPos::Center));
                let centre = ((frame.beside + cell_width / 2) * s, NAME / 2 * s);
                let text = shorten(&panel.name, SMALL, f64::from(cell_width));
                area.draw(&Text::new(text, centre, name)).map_err(refused)?;
                marks.extend(plot.draw(&area, frame)?);
            }
            let below = root.clone().shrink((0, legend_top * s), (width * s, legend.height().max(1) * s));
            legend.draw(&below)?;
            root.present().map_err(refused)?;
        }
        Ok(finish(svg, width, height, &marks))
    }
}
