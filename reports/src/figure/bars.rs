//! Horizontal bars in panels that share their rows: one row per configuration, one panel per quantity. Each bar starts
//! at zero and has its value at its end.

use super::hover::{Mark, describe};
use super::refused;
use super::style::{GRID, INK, SCALE, bold, colour, finish, font, register_fonts, shorten, text_width};
use crate::ReportError;
use crate::statistics::Estimate;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

const ROW: f64 = 17.0;
const TOP: f64 = 50.0;
const TEXT: f64 = 11.0;
const PANEL: f64 = 150.0;
/// Maximum width of the row names.
const NAMES: f64 = 260.0;

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
}

/// Panels of bars: rows with their names and colour indices.
pub struct Bars {
    /// Heading.
    pub title: String,
    /// Name and colour index of each row.
    pub rows: Vec<(String, usize)>,
    /// The panels, side by side.
    pub panels: Vec<BarPanel>,
}

impl Bars {
    /// Draws the panels as SVG.
    pub fn draw(&self) -> Result<String, ReportError> {
        register_fonts();
        let s = f64::from(SCALE);
        let names = self.rows.iter().map(|(name, _)| text_width(name, TEXT)).fold(0.0, f64::max).min(NAMES) + 16.0;
        let width = (names + self.panels.len() as f64 * PANEL + 8.0) as i32;
        let height = (TOP + ROW * self.rows.len() as f64 + 10.0) as i32;
        let mut svg = String::new();
        let mut marks = Vec::new();
        {
            let size = ((width * SCALE) as u32, (height * SCALE) as u32);
            let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
            area.fill(&WHITE).map_err(refused)?;
            let at = |x: f64, y: f64| ((x * s) as i32, (y * s) as i32);
            let text = |text: &str, x: f64, y: f64, style: TextStyle<'_>| {
                area.draw(&Text::new(text.to_owned(), at(x, y), style)).map_err(refused)
            };
            let left = Pos::new(HPos::Left, VPos::Center);
            let right = Pos::new(HPos::Right, VPos::Center);
            text(&self.title, 10.0, 16.0, TextStyle::from(bold(13.0)).color(&INK).pos(left))?;
            for (r, (name, _)) in self.rows.iter().enumerate() {
                let y = TOP + ROW * (r as f64 + 0.5);
                text(&shorten(name, TEXT, NAMES), names - 6.0, y, TextStyle::from(font(TEXT)).color(&INK).pos(right))?;
            }
            for (p, panel) in self.panels.iter().enumerate() {
                let x0 = names + p as f64 * PANEL;
                text(&panel.title, x0, TOP - 14.0, TextStyle::from(font(TEXT)).color(&INK).pos(left))?;
                let bottom = TOP + ROW * self.rows.len() as f64;
                area.draw(&PathElement::new(vec![at(x0, TOP - 4.0), at(x0, bottom)], INK.stroke_width(SCALE as u32)))
                    .map_err(refused)?;
                let largest = panel.values.iter().flatten().map(|e| e.value).fold(0.0, f64::max);
                let full = panel.full.unwrap_or(largest);
                let room = PANEL
                    - 16.0
                    - panel
                        .values
                        .iter()
                        .flatten()
                        .map(|e| text_width(&(panel.show)(e.value), TEXT))
                        .fold(0.0, f64::max);
                if let Some(full) = panel.full {
                    let end = x0 + room * full / full.max(f64::MIN_POSITIVE);
                    area.draw(&PathElement::new(
                        vec![at(end, TOP - 4.0), at(end, bottom)],
                        GRID.stroke_width(SCALE as u32),
                    ))
                    .map_err(refused)?;
                }
                for (r, value) in panel.values.iter().enumerate() {
                    let y = TOP + ROW * (r as f64 + 0.5);
                    let Some(e) = value else { continue };
                    let length = |v: f64| if full > 0.0 { room * (v / full).clamp(0.0, 1.0) } else { 0.0 };
                    let ink = colour(self.rows[r].1);
                    area.draw(&Rectangle::new(
                        [at(x0, y - 5.0), at(x0 + length(e.value), y + 5.0)],
                        ink.mix(0.85).filled(),
                    ))
                    .map_err(refused)?;
                    let whisker = vec![at(x0 + length(e.low), y), at(x0 + length(e.high), y)];
                    area.draw(&PathElement::new(whisker, INK.stroke_width(SCALE as u32))).map_err(refused)?;
                    let centre = at(x0 + 0.5 * length(e.value), y);
                    let half = ((0.5 * s * length(e.value)) as i32 + SCALE, (0.5 * s * ROW) as i32);
                    let text_of = format!("{}: {} {}", self.rows[r].0, panel.title, describe(e));
                    marks.push(Mark { at: centre, half, text: text_of });
                    let end = x0 + length(e.value.max(e.high)) + 4.0;
                    text(&(panel.show)(e.value), end, y, TextStyle::from(font(TEXT)).color(&INK).pos(left))?;
                }
            }
            area.present().map_err(refused)?;
        }
        Ok(finish(svg, width, height, &marks))
    }
}
