//! The legend below a chart or its panels: one entry per curve, in centred rows.

use super::plot::{Area, PlotSeries, ReferenceLine, Side};
use super::refused;
use super::style::{
    CURVE, Dash, EDGE, INK, MARKER, MUTED, REFERENCE, SCALE, SMALL, colour, dash, font, marker, shorten, stroke,
    text_width,
};
use crate::ReportError;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Height of a row.
pub const ROW: i32 = 18;
/// Space at both ends of a row together.
const MARGIN: f64 = 40.0;
/// Space that an entry needs beside its name.
const BESIDE: f64 = 41.0;
/// Length of the line sample beside a name.
const SAMPLE: i32 = 22;

/// The sample that a name explains.
#[derive(Clone, Copy, PartialEq)]
enum Sample {
    /// Line and marker of the curve with this index.
    Curve(usize),
    /// Marker of the cloud of points with this index.
    Cloud(usize),
    /// The dashes and open markers of all secondary curves.
    Secondary,
    /// The dashes of a reference line.
    ReferenceLine,
}

/// Legend entries, in rows that fit a width.
pub struct Legend {
    rows: Vec<Vec<(String, Sample)>>,
    width: i32,
    /// Whether dashes distinguish curves of the same colour.
    dashes: bool,
}

impl Legend {
    /// A legend of curves and of reference lines without a label in the plot; names in several panels appear once.
    pub fn new<'a>(
        curves: impl Iterator<Item = &'a PlotSeries>,
        references: impl Iterator<Item = &'a ReferenceLine>,
        secondary_name: Option<&str>,
        width: i32,
    ) -> Legend {
        let mut entries: Vec<(String, Sample)> = Vec::new();
        let mut dashes = true;
        let longest = f64::from(width) - MARGIN - BESIDE;
        for curve in curves {
            let sample = if curve.joined { Sample::Curve(curve.index) } else { Sample::Cloud(curve.index) };
            let entry = (shorten(&curve.name, SMALL, longest), sample);
            dashes &= !curve.secondary;
            if !curve.secondary && !entries.contains(&entry) {
                entries.push(entry);
            }
        }
        for reference in references.filter(|r| r.side == Side::Legend) {
            let entry = (shorten(&reference.name, SMALL, longest), Sample::ReferenceLine);
            if !entries.contains(&entry) {
                entries.push(entry);
            }
        }
        entries.extend(secondary_name.map(|name| (name.to_owned(), Sample::Secondary)));
        let mut rows: Vec<Vec<(String, Sample)>> = Vec::new();
        let mut used = 0.0;
        for entry in entries {
            let needed = entry_width(&entry.0);
            if rows.is_empty() || used + needed > f64::from(width) - MARGIN {
                rows.push(Vec::new());
                used = 0.0;
            }
            used += needed;
            if let Some(row) = rows.last_mut() {
                row.push(entry);
            }
        }
        Legend { rows, width, dashes }
    }

    /// Total height of the rows.
    pub fn height(&self) -> i32 {
        ROW * self.rows.len() as i32
    }

    /// Draws the legend at the top of an area of the same width.
    pub fn draw(&self, area: &Area<'_>) -> Result<(), ReportError> {
        let s = f64::from(SCALE);
        for (r, row) in self.rows.iter().enumerate() {
            let total: f64 = row.iter().map(|(name, _)| entry_width(name)).sum();
            let mut x = (f64::from(self.width) - total + 14.0) / 2.0;
            let y = f64::from(ROW) * (r as f64 + 0.5);
            for (name, sample) in row {
                let at = |dx: f64| ((((x + dx) * s) as i32), ((y * s) as i32));
                self.draw_sample(area, *sample, at)?;
                let style = TextStyle::from(font(SMALL)).color(&INK).pos(Pos::new(HPos::Left, VPos::Center));
                area.draw(&Text::new(name.clone(), at(27.0), style)).map_err(refused)?;
                x += entry_width(name);
            }
        }
        Ok(())
    }

    fn draw_sample(&self, area: &Area<'_>, sample: Sample, at: impl Fn(f64) -> (i32, i32)) -> Result<(), ReportError> {
        let length = f64::from(SAMPLE);
        let (ink, pieces) = match sample {
            Sample::Curve(index) => {
                let dashes = if self.dashes { dash(index) } else { None };
                (colour(index), dashes.map_or_else(|| vec![(0.0, length)], pieces))
            }
            Sample::Cloud(index) => (colour(index), vec![]),
            Sample::Secondary => (MUTED, vec![(0.0, 5.0), (17.0, 22.0)]),
            Sample::ReferenceLine => (MUTED, pieces(Dash { on: 5, off: 4 })),
        };
        let width = if sample == Sample::ReferenceLine { REFERENCE } else { CURVE };
        for (from, to) in pieces {
            let piece = PathElement::new(vec![at(from), at(to)], ink.stroke_width(stroke(width)));
            area.draw(&piece).map_err(refused)?;
        }
        let (index, fill) = match sample {
            Sample::Curve(index) | Sample::Cloud(index) => (index, ink.filled()),
            Sample::Secondary => (0, WHITE.filled()),
            Sample::ReferenceLine => return Ok(()),
        };
        let centre = at(length / 2.0);
        let shift = |p: &(i32, i32)| (p.0 + centre.0, p.1 + centre.1);
        let outline: Vec<(i32, i32)> = marker(index, MARKER).iter().map(shift).collect();
        area.draw(&Polygon::new(outline.clone(), fill)).map_err(refused)?;
        let mut closed = outline.clone();
        closed.extend(outline.first().copied());
        area.draw(&PathElement::new(closed, ink.stroke_width(stroke(EDGE)))).map_err(refused)
    }
}

/// The dashes of a sample, with one of them in its middle.
fn pieces(dash: Dash) -> Vec<(f64, f64)> {
    let (on, length) = (f64::from(dash.on), f64::from(SAMPLE));
    let period = on + f64::from(dash.off);
    let first = ((length - on) / 2.0).rem_euclid(period) - period;
    let starts = (0..SAMPLE).map(|i| first + f64::from(i) * period);
    starts.map(|from| (from.max(0.0), (from + on).min(length))).filter(|(from, to)| from < to).collect()
}

fn entry_width(name: &str) -> f64 {
    text_width(name, SMALL) + BESIDE
}
