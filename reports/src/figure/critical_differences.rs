//! Critical differences over datasets: methods by mean rank, with bars over those between which no difference was seen.

use super::style::{Column, HAIR, INK, MUTED, SCALE, SMALL, finish, font, register_fonts, shorten, stroke};
use super::{Drawing, Sketch, refused};
use crate::ReportError;
use crate::differences::critical::{Diagram, diagrams};
use crate::summary::DatasetSummary;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Heights, in figure units: of a diagram's name, of its axis, of a bar, and of a label.
const NAME: i32 = 20;
const AXIS: i32 = 26;
const BAR: i32 = 8;
const LABEL: i32 = 18;
/// Diagrams of one figure.
const MOST: usize = 6;

pub fn draw(datasets: &[DatasetSummary]) -> Result<Option<Sketch>, ReportError> {
    let Ok(mut all) = diagrams(datasets) else { return Ok(None) };
    let found = all.len();
    all.truncate(MOST);
    let most = all.iter().map(|diagram| diagram.datasets).max().unwrap_or(0);
    let left_out = if found > MOST { format!(" The first {MOST} of {found} rates are shown.") } else { String::new() };
    let caption = format!(
        "Mean rank of methods in distortion over {most} datasets; 1 is best. A bar joins methods between which no difference \
         was seen (Friedman's test, then Wilcoxon's signed-rank tests of all pairs with Holm's correction, 5%). A dataset \
         is one observation.{left_out}"
    );
    Ok(Some(Sketch { caption, drawing: Drawing::Ranks(all) }))
}

/// Height of a diagram.
fn height(diagram: &Diagram) -> i32 {
    let rows = diagram.methods.len().div_ceil(2) as i32;
    NAME + AXIS + BAR * (diagram.alike.len() as i32 + 1) + LABEL * rows + 10
}

/// Draws the diagrams as SVG, one below the other.
pub fn svg(diagrams: &[Diagram], column: Column) -> Result<String, ReportError> {
    register_fonts();
    let width = column.width();
    let total = diagrams.iter().map(height).sum::<i32>() + 6;
    let mut svg = String::new();
    {
        let size = ((width * SCALE) as u32, (total * SCALE) as u32);
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        root.fill(&WHITE).map_err(refused)?;
        let mut top = 0;
        for diagram in diagrams {
            one(&root, diagram, top, width)?;
            top += height(diagram);
        }
        root.present().map_err(refused)?;
    }
    Ok(finish(svg, width, total, &[]))
}

/// One diagram, from `top` down: name, axis of ranks, bars, and labels at both sides, each joined to its rank.
fn one<B: DrawingBackend>(
    root: &DrawingArea<B, plotters::coord::Shift>,
    diagram: &Diagram,
    top: i32,
    width: i32,
) -> Result<(), ReportError>
where
    B::ErrorType: 'static,
{
    let s = SCALE;
    let line = |points: Vec<(i32, i32)>, colour: RGBColor, thick: f64| {
        let scaled: Vec<(i32, i32)> = points.into_iter().map(|(x, y)| (x * s, y * s)).collect();
        root.draw(&PathElement::new(scaled, colour.stroke_width(stroke(thick)))).map_err(refused)
    };
    let text = |text: String, at: (i32, i32), across: HPos| {
        let style = TextStyle::from(font(SMALL)).color(&INK).pos(Pos::new(across, VPos::Center));
        root.draw(&Text::new(text, (at.0 * s, at.1 * s), style)).map_err(refused)
    };
    let count = diagram.methods.len();
    // Space for labels at either side of the axis.
    let side = width * 3 / 10;
    // At least two methods, so the axis has a length.
    let across = |rank: f64| side + (f64::from(width - 2 * side) * (rank - 1.0) / (count as f64 - 1.0)).round() as i32;
    let p = if diagram.p < 0.001 { "p < 0.001".to_owned() } else { format!("p = {:.3}", diagram.p) };
    text(format!("{}, {} datasets, Friedman {p}", diagram.rate, diagram.datasets), (10, top + NAME / 2), HPos::Left)?;
    let axis = top + NAME + AXIS - 6;
    line(vec![(across(1.0), axis), (across(count as f64), axis)], INK, HAIR)?;
    for rank in 1..=count {
        let x = across(rank as f64);
        line(vec![(x, axis - 4), (x, axis)], INK, HAIR)?;
        text(rank.to_string(), (x, axis - 11), HPos::Center)?;
    }
    for (row, &(first, last)) in diagram.alike.iter().enumerate() {
        let y = axis + BAR * (row as i32 + 1) - 2;
        let (from, to) = (across(diagram.methods[first].1), across(diagram.methods[last].1));
        line(vec![(from - 3, y), (to + 3, y)], INK, 3.0)?;
    }
    let below = axis + BAR * (diagram.alike.len() as i32 + 1) + LABEL / 2;
    let left = count.div_ceil(2);
    for (i, (label, rank)) in diagram.methods.iter().enumerate() {
        // The better half at the left from above, the rest at the right from below, so that no lines cross.
        let row = if i < left { i } else { count - 1 - i } as i32;
        let (x, y) = (across(*rank), below + LABEL * row);
        let name = format!("{} ({rank:.2})", shorten(label, SMALL, f64::from(side - 60)));
        let (end, at) = if i < left { (side - 10, HPos::Right) } else { (width - side + 10, HPos::Left) };
        line(vec![(x, axis), (x, y), (end, y)], MUTED, HAIR)?;
        text(name, (if i < left { end - 4 } else { end + 4 }, y), at)?;
    }
    Ok(())
}
