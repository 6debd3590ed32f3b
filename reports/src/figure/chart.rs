//! A column-width chart: axes, curves with intervals and markers, a reference line with its name, a legend below.

use super::axis::Axis;
use super::refused;
use super::style::{GRID, INK, MUTED, SCALE, bold, colour, finish, font, marker, register_fonts, shorten, text_width};
use crate::ReportError;
use crate::stats::Estimate;
use plotters::coord::Shift;
use plotters::coord::ranged1d::Ranged;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

const WIDTH: i32 = 440;
const PLOT_HEIGHT: i32 = 280;
const TEXT: f64 = 12.0;
const SMALL: f64 = 11.0;
const ROW: i32 = 18;
const LEGEND_GAP: i32 = 6;
/// The longest name that a row of the legend holds.
const LEGEND_TEXT: f64 = 370.0;

/// A curve, or a cloud of points.
pub struct Curve {
    /// Name in the legend.
    pub name: String,
    /// Index of its colour and marker.
    pub index: usize,
    /// By ascending x.
    pub points: Vec<(f64, Estimate)>,
    /// Whether points are joined.
    pub joined: bool,
    /// Dashed line and open markers, for the second of two related curves.
    pub secondary: bool,
    /// Which points stand out; the others are pale. Empty: all stand out.
    pub strong: Vec<bool>,
}

/// A line to compare with, named where it ends.
pub struct Reference {
    /// Name.
    pub name: String,
    /// Points by ascending x.
    pub points: Vec<(f64, f64)>,
    /// On which side of the line its name stands.
    pub side: Side,
}

/// A side of a line that curves leave free.
#[derive(Clone, Copy, PartialEq)]
pub enum Side {
    /// Below and to the left: the line is a lower envelope.
    Below,
    /// Above and to the right: the line is an upper envelope.
    Above,
    /// Below and to the right of a line that rises.
    Rising,
}

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
    /// What is drawn.
    pub curves: Vec<Curve>,
    /// Behind the curves.
    pub references: Vec<Reference>,
    /// Entries of the legend that say what dashes and open markers mean.
    pub secondary_name: Option<String>,
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

impl Chart {
    /// Draws it as SVG.
    pub fn draw(&self) -> Result<String, ReportError> {
        register_fonts();
        let legend = self.legend_rows();
        let height = PLOT_HEIGHT + ROW * legend.len() as i32 + LEGEND_GAP + 6;
        let mut svg = String::new();
        {
            let root = SVGBackend::with_string(&mut svg, ((WIDTH * SCALE) as u32, (height * SCALE) as u32))
                .into_drawing_area();
            root.fill(&WHITE).map_err(refused)?;
            let (plot, below) = root.split_vertically((PLOT_HEIGHT + LEGEND_GAP) * SCALE);
            self.draw_plot(&plot.margin(0, LEGEND_GAP * SCALE, 0, 0))?;
            self.draw_legend(&below, &legend)?;
            root.present().map_err(refused)?;
        }
        Ok(finish(svg, WIDTH, height))
    }

    fn draw_plot(&self, area: &Area<'_>) -> Result<(), ReportError> {
        let s = SCALE;
        let label_width = self.y.labels().iter().map(|l| text_width(l, SMALL)).fold(0.0, f64::max);
        let title = TextStyle::from(bold(13.0)).color(&INK).pos(Pos::new(HPos::Left, VPos::Top));
        area.draw(&Text::new(self.title.clone(), (10 * s, 8 * s), title)).map_err(refused)?;
        let mut chart = ChartBuilder::on(area)
            .margin_top(32 * s)
            .margin_right(16 * s)
            .margin_left(6 * s)
            .x_label_area_size(35 * s)
            .y_label_area_size((label_width as i32 + 30) * s)
            .build_cartesian_2d(self.x.clone(), self.y.clone())
            .map_err(refused)?;
        chart
            .configure_mesh()
            .bold_line_style(GRID.stroke_width(s as u32))
            .light_line_style(TRANSPARENT)
            .axis_style(INK.stroke_width(s as u32))
            .label_style(TextStyle::from(font(SMALL)).color(&INK))
            .axis_desc_style(TextStyle::from(font(TEXT)).color(&INK))
            .x_desc(self.x_title.clone())
            .y_desc(self.y_title.clone())
            .set_all_tick_mark_size(4 * s)
            .draw()
            .map_err(refused)?;
        let inside = |&(x, y): &(f64, f64)| {
            (self.x.low()..=self.x.high()).contains(&x) && (self.y.low()..=self.y.high()).contains(&y)
        };
        for reference in &self.references {
            let points: Vec<(f64, f64)> = reference.points.iter().copied().filter(inside).collect();
            chart
                .draw_series(DashedLineSeries::new(
                    points.clone(),
                    5 * s,
                    4 * s,
                    MUTED.stroke_width((1.4 * f64::from(s)) as u32),
                ))
                .map_err(refused)?;
            if let Some(at) = self.half_way_down(&points) {
                let (pos, shift) = match reference.side {
                    Side::Below => (Pos::new(HPos::Right, VPos::Top), (-5 * s, 3 * s)),
                    // Near the right edge there is no room on that side.
                    Side::Above if self.x.map(&at.0, (0, 100)) > 70 => {
                        (Pos::new(HPos::Right, VPos::Bottom), (-5 * s, -3 * s))
                    }
                    Side::Rising => (Pos::new(HPos::Left, VPos::Top), (6 * s, 3 * s)),
                    Side::Above => (Pos::new(HPos::Left, VPos::Bottom), (5 * s, -3 * s)),
                };
                let style = TextStyle::from(font(SMALL)).color(&MUTED).pos(pos);
                let label = EmptyElement::at(at) + Text::new(reference.name.clone(), shift, style);
                chart.draw_series(std::iter::once(label)).map_err(refused)?;
            }
        }
        for curve in &self.curves {
            let ink = colour(curve.index);
            let line: Vec<(f64, f64)> = curve.points.iter().map(|(x, e)| (*x, e.value)).collect();
            let stroke = ink.stroke_width((1.8 * f64::from(s)) as u32);
            if curve.joined && curve.secondary {
                chart.draw_series(DashedLineSeries::new(line.clone(), 4 * s, 3 * s, stroke)).map_err(refused)?;
            } else if curve.joined {
                chart.draw_series(LineSeries::new(line.clone(), stroke)).map_err(refused)?;
            }
            for (i, (x, e)) in curve.points.iter().enumerate() {
                let strong = curve.strong.get(i).copied().unwrap_or(true);
                let (low, high) = (e.low.clamp(self.y.low(), self.y.high()), e.high.clamp(self.y.low(), self.y.high()));
                if e.count > 1 && strong {
                    let whisker = PathElement::new(vec![(*x, low), (*x, high)], ink.stroke_width(s as u32));
                    let cap = |y: f64| {
                        EmptyElement::at((*x, y))
                            + PathElement::new(vec![(-3 * s, 0), (3 * s, 0)], ink.stroke_width(s as u32))
                    };
                    chart.draw_series(std::iter::once(whisker)).map_err(refused)?;
                    chart.draw_series([cap(low), cap(high)]).map_err(refused)?;
                }
                let outline = marker(curve.index, 3.6);
                let mut closed = outline.clone();
                closed.extend(outline.first().copied());
                let fill = match (curve.secondary, strong) {
                    (true, _) => WHITE.filled(),
                    (false, true) => ink.filled(),
                    (false, false) => ink.mix(0.25).filled(),
                };
                let edge = if strong { ink.mix(1.0) } else { ink.mix(0.4) };
                let shape = EmptyElement::at((*x, e.value))
                    + Polygon::new(outline, fill)
                    + PathElement::new(closed, edge.stroke_width((1.2 * f64::from(s)) as u32));
                chart.draw_series(std::iter::once(shape)).map_err(refused)?;
            }
        }
        Ok(())
    }

    /// A point on a line, half of its fall across the plot from its start.
    fn half_way_down(&self, points: &[(f64, f64)]) -> Option<(f64, f64)> {
        let height = |y: f64| f64::from(self.y.map(&y, (0, 10_000)));
        let (first, last) = (points.first()?, points.last()?);
        let middle = 0.5 * (height(first.1) + height(last.1));
        let pair = points.windows(2).find(|pair| (height(pair[0].1) - middle) * (height(pair[1].1) - middle) <= 0.0)?;
        let share = (height(pair[0].1) - middle).abs() / (height(pair[0].1) - height(pair[1].1)).abs().max(1.0);
        Some((self.x.between(pair[0].0, pair[1].0, share), self.y.between(pair[0].1, pair[1].1, share)))
    }

    /// Entries of the legend, in rows that fit the width.
    fn legend_rows(&self) -> Vec<Vec<(String, usize, bool)>> {
        let mut entries: Vec<(String, usize, bool)> = Vec::new();
        for curve in self.curves.iter().filter(|c| !c.secondary) {
            entries.push((shorten(&curve.name, SMALL, LEGEND_TEXT), curve.index, false));
        }
        if let Some(name) = &self.secondary_name {
            entries.push((name.clone(), 6, true));
        }
        let mut rows: Vec<Vec<(String, usize, bool)>> = vec![Vec::new()];
        let mut used = 0.0;
        for entry in entries {
            let width = entry_width(&entry.0);
            if used + width > f64::from(WIDTH - 20) && used > 0.0 {
                rows.push(Vec::new());
                used = 0.0;
            }
            used += width;
            if let Some(row) = rows.last_mut() {
                row.push(entry);
            }
        }
        rows
    }

    fn draw_legend(&self, area: &Area<'_>, rows: &[Vec<(String, usize, bool)>]) -> Result<(), ReportError> {
        let s = f64::from(SCALE);
        for (r, row) in rows.iter().enumerate() {
            let total: f64 = row.iter().map(|(name, ..)| entry_width(name)).sum();
            let mut x = (f64::from(WIDTH) - total + 14.0) / 2.0;
            let y = f64::from(ROW) * (r as f64 + 0.5);
            for (name, index, secondary) in row {
                let ink = if *secondary { MUTED } else { colour(*index) };
                let at = |dx: f64| ((((x + dx) * s) as i32), ((y * s) as i32));
                let stroke = ink.stroke_width((1.8 * s) as u32);
                let pieces: &[(f64, f64)] = if *secondary { &[(0.0, 5.0), (17.0, 22.0)] } else { &[(0.0, 22.0)] };
                for (from, to) in pieces {
                    area.draw(&PathElement::new(vec![at(*from), at(*to)], stroke)).map_err(refused)?;
                }
                let centre = at(11.0);
                let shift = |p: &(i32, i32)| (p.0 + centre.0, p.1 + centre.1);
                let outline: Vec<(i32, i32)> =
                    marker(if *secondary { 0 } else { *index }, 3.6).iter().map(shift).collect();
                let fill = if *secondary { WHITE.filled() } else { ink.filled() };
                area.draw(&Polygon::new(outline.clone(), fill)).map_err(refused)?;
                let mut closed = outline.clone();
                closed.extend(outline.first().copied());
                area.draw(&PathElement::new(closed, ink.stroke_width((1.2 * s) as u32))).map_err(refused)?;
                let style = TextStyle::from(font(SMALL)).color(&INK).pos(Pos::new(HPos::Left, VPos::Center));
                area.draw(&Text::new(name.clone(), at(27.0), style)).map_err(refused)?;
                x += entry_width(name);
            }
        }
        Ok(())
    }
}

fn entry_width(name: &str) -> f64 {
    text_width(name, SMALL) + 27.0 + 14.0
}
