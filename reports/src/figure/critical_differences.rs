//! Critical differences over datasets: methods by mean rank, with bars over those between which no difference was seen.

use super::style::{INK, MUTED, SCALE, bold, colour, finish, font, register_fonts, shorten};
use super::{Sketch, refused};
use crate::ReportError;
use crate::differences::critical::{Diagram, diagrams};
use crate::summary::DatasetSummary;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Width of the figure, of the axis, and of the labels at either side.
const WIDTH: i32 = 640;
const SIDE: i32 = 190;
/// Heights, in figure units: of the heading, of a diagram's name, of its axis, of a bar, and of a label.
const TOP: i32 = 28;
const NAME: i32 = 20;
const AXIS: i32 = 26;
const BAR: i32 = 8;
const LABEL: i32 = 17;
const SIZE: f64 = 10.5;
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
    Ok(Some(Sketch { caption, svg: svg(&all)? }))
}

/// Height of a diagram.
fn height(diagram: &Diagram) -> i32 {
    let rows = diagram.methods.len().div_ceil(2) as i32;
    NAME + AXIS + BAR * (diagram.alike.len() as i32 + 1) + LABEL * rows + 10
}

fn svg(diagrams: &[Diagram]) -> Result<String, ReportError> {
    register_fonts();
    let total = TOP + diagrams.iter().map(height).sum::<i32>() + 6;
    let mut svg = String::new();
    {
        let size = ((WIDTH * SCALE) as u32, (total * SCALE) as u32);
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        root.fill(&WHITE).map_err(refused)?;
        let title = TextStyle::from(bold(13.0)).color(&INK).pos(Pos::new(HPos::Left, VPos::Top));
        let heading = Text::new("Critical differences in distortion", (10 * SCALE, 8 * SCALE), title);
        root.draw(&heading).map_err(refused)?;
        let mut top = TOP;
        for diagram in diagrams {
            one(&root, diagram, top)?;
            top += height(diagram);
        }
        root.present().map_err(refused)?;
    }
    Ok(finish(svg, WIDTH, total, &[]))
}

/// One diagram, from `top` down: name, axis of ranks, bars, and labels at both sides, each joined to its rank.
fn one<B: DrawingBackend>(
    root: &DrawingArea<B, plotters::coord::Shift>,
    diagram: &Diagram,
    top: i32,
) -> Result<(), ReportError>
where
    B::ErrorType: 'static,
{
    let s = SCALE;
    let line = |points: Vec<(i32, i32)>, colour: RGBColor, width: f64| {
        let scaled: Vec<(i32, i32)> = points.into_iter().map(|(x, y)| (x * s, y * s)).collect();
        root.draw(&PathElement::new(scaled, colour.stroke_width((width * f64::from(s)) as u32))).map_err(refused)
    };
    let text = |text: String, at: (i32, i32), across: HPos| {
        let style = TextStyle::from(font(SIZE)).color(&INK).pos(Pos::new(across, VPos::Center));
        root.draw(&Text::new(text, (at.0 * s, at.1 * s), style)).map_err(refused)
    };
    let count = diagram.methods.len();
    // At least two methods, so the axis has a length.
    let across = |rank: f64| SIDE + (f64::from(WIDTH - 2 * SIDE) * (rank - 1.0) / (count as f64 - 1.0)).round() as i32;
    let p = if diagram.p < 0.001 { "p < 0.001".to_owned() } else { format!("p = {:.3}", diagram.p) };
    text(format!("{}, {} datasets, Friedman {p}", diagram.rate, diagram.datasets), (10, top + NAME / 2), HPos::Left)?;
    let axis = top + NAME + AXIS - 6;
    line(vec![(across(1.0), axis), (across(count as f64), axis)], INK, 1.0)?;
    for rank in 1..=count {
        let x = across(rank as f64);
        line(vec![(x, axis - 4), (x, axis)], INK, 1.0)?;
        text(rank.to_string(), (x, axis - 11), HPos::Center)?;
    }
    for (row, &(first, last)) in diagram.alike.iter().enumerate() {
        let y = axis + BAR * (row as i32 + 1) - 2;
        let (from, to) = (across(diagram.methods[first].1), across(diagram.methods[last].1));
        line(vec![(from - 3, y), (to + 3, y)], colour(0), 3.0)?;
    }
    let below = axis + BAR * (diagram.alike.len() as i32 + 1) + LABEL / 2;
    let left = count.div_ceil(2);
    for (i, (label, rank)) in diagram.methods.iter().enumerate() {
        // The better half at the left from above, the rest at the right from below, so that no lines cross.
        let row = if i < left { i } else { count - 1 - i } as i32;
        let (x, y) = (across(*rank), below + LABEL * row);
        let name = format!("{} ({rank:.2})", shorten(label, SIZE, f64::from(SIDE - 60)));
        let (end, at) = if i < left { (SIDE - 10, HPos::Right) } else { (WIDTH - SIDE + 10, HPos::Left) };
        line(vec![(x, axis), (x, y), (end, y)], MUTED, 0.8)?;
        text(name, (if i < left { end - 4 } else { end + 4 }, y), at)?;
    }
    Ok(())
}
