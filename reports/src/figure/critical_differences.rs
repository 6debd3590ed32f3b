//! Critical differences over datasets: methods by mean rank, with bars over those between which no difference was seen.

use super::style::{Column, HAIR, INK, MUTED, SCALE, SMALL, abridge, finish, font, register_fonts, stroke, text_width};
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
/// Space between the axis and labels, between diagrams, and for the title of the axis.
const BESIDE: i32 = 14;
const GAP: i32 = 14;
const TITLE: i32 = 84;
/// Least distance between ticks.
const TICK: f64 = 18.0;
/// The part of the width that labels may take at each of both sides, and at one side alone.
const BOTH: f64 = 0.37;
const ONE: f64 = 0.62;
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

/// Where labels stand, alike in all diagrams of a figure.
#[derive(Clone, Copy)]
struct Sides {
    /// Space for labels to the left and to the right of the axis, in figure units.
    left: i32,
    right: i32,
    /// Whether all labels stand at the left.
    one: bool,
}

impl Sides {
    fn new(diagrams: &[Diagram], width: i32) -> Sides {
        let labels = diagrams.iter().flat_map(|diagram| &diagram.methods);
        let longest = labels.map(|method| text_width(&ranked(method, f64::MAX), SMALL)).fold(0.0, f64::max) as i32;
        let needed = longest + BESIDE + 6;
        let at_both = (BOTH * f64::from(width)) as i32;
        if needed <= at_both {
            Sides { left: needed.max(TITLE), right: needed, one: false }
        } else {
            let most = (ONE * f64::from(width)) as i32;
            Sides { left: needed.clamp(TITLE, most), right: BESIDE, one: true }
        }
    }

    /// Number of labels at the left.
    fn at_left(self, methods: usize) -> usize {
        if self.one { methods } else { methods.div_ceil(2) }
    }
}

/// The label of a method with its mean rank, in so much room.
fn ranked((label, rank): &(String, f64), room: f64) -> String {
    let rank = format!(" ({rank:.2})");
    abridge(label, SMALL, room - text_width(&rank, SMALL)) + &rank
}

/// Height of a diagram.
fn height(diagram: &Diagram, sides: Sides) -> i32 {
    let rows = sides.at_left(diagram.methods.len()) as i32;
    NAME + AXIS + BAR * (diagram.alike.len() as i32 + 1) + LABEL * rows + GAP
}

/// Draws the diagrams as SVG, one below the other.
pub fn svg(diagrams: &[Diagram], column: Column) -> Result<String, ReportError> {
    register_fonts();
    let width = column.width();
    let sides = Sides::new(diagrams, width);
    let total = diagrams.iter().map(|diagram| height(diagram, sides)).sum::<i32>() - GAP + 4;
    let mut svg = String::new();
    {
        let size = ((width * SCALE) as u32, (total * SCALE) as u32);
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        root.fill(&WHITE).map_err(refused)?;
        let mut top = 0;
        for diagram in diagrams {
            one(&root, diagram, top, (width, sides))?;
            top += height(diagram, sides);
        }
        root.present().map_err(refused)?;
    }
    Ok(finish(svg, width, total, &[]))
}

/// One diagram, from `top` down: name, axis of ranks, bars, and labels beside it, each joined to its rank.
fn one<B: DrawingBackend>(
    root: &DrawingArea<B, plotters::coord::Shift>,
    diagram: &Diagram,
    top: i32,
    (width, sides): (i32, Sides),
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
    let length = f64::from(width - sides.left - sides.right);
    // At least two methods, so the axis has a length.
    let across = |rank: f64| sides.left + (length * (rank - 1.0) / (count as f64 - 1.0)).round() as i32;
    let p = if diagram.p < 0.001 { "p < 0.001".to_owned() } else { format!("p = {:.3}", diagram.p) };
    text(format!("{}, {} datasets, Friedman {p}", diagram.rate, diagram.datasets), (6, top + NAME / 2), HPos::Left)?;
    let axis = top + NAME + AXIS - 6;
    line(vec![(across(1.0), axis), (across(count as f64), axis)], INK, HAIR)?;
    text("mean rank".to_owned(), (sides.left - BESIDE, axis - 11), HPos::Right)?;
    // So many ticks that their labels do not touch.
    let every = (1..).find(|every| length / count as f64 * f64::from(*every) >= TICK).unwrap_or(1);
    for rank in (1..=count).step_by(every as usize) {
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
    let left = sides.at_left(count);
    for (i, method) in diagram.methods.iter().enumerate() {
        // From above at the left, and what stands at the right from below, so that no lines cross.
        let row = if i < left { i } else { count - 1 - i } as i32;
        let (x, y) = (across(method.1), below + LABEL * row);
        let (end, at, room) = if i < left {
            (sides.left - BESIDE + 4, HPos::Right, sides.left)
        } else {
            (width - sides.right + BESIDE - 4, HPos::Left, sides.right)
        };
        line(vec![(x, axis), (x, y), (end, y)], MUTED, HAIR)?;
        let name = ranked(method, f64::from(room - BESIDE - 4));
        text(name, (if i < left { end - 4 } else { end + 4 }, y), at)?;
    }
    Ok(())
}
