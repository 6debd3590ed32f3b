//! The style of all figures, in one place: widths, fonts, sizes of text, line widths, colours, dashes and markers.

use super::hover::{Mark, with_marks};
use plotters::prelude::*;
use plotters::style::FontFamily;
use std::sync::Once;

/// Inter Regular and SemiBold (SIL Open Font License, see `fonts/OFL.txt`), reduced to the characters that figures use.
pub const REGULAR: &[u8] = include_bytes!("../../fonts/Inter-Regular-subset.otf");
/// See [`REGULAR`].
pub const SEMIBOLD: &[u8] = include_bytes!("../../fonts/Inter-SemiBold-subset.otf");

/// The font and its fallbacks.
pub const FONT: &str = "Inter, Helvetica, Arial, sans-serif";

/// The drawing library uses integer units; figures are drawn larger by this factor and scaled back by their view box.
pub const SCALE: i32 = 10;

/// Points (1/72 inch) per figure unit at the size in which a figure stands in a paper.
const POINTS_PER_UNIT: f64 = 0.6;

/// Size of titles of axes and names of panels: 7.5 points. Journals ask for at least 7.
pub const TEXT: f64 = 12.5;
/// Size of ticks, names and labels: 7.02 points.
pub const SMALL: f64 = 11.7;

/// The drawing library counts the size of a text from the lowest to the highest letter; papers count the em, which is
/// smaller by this factor.
const LETTERS_PER_EM: f64 = 1.24;

/// Widths of lines, in figure units: curves; reference lines; edges of markers; axes, grid lines and whiskers.
pub const CURVE: f64 = 1.8;
pub const REFERENCE: f64 = 1.4;
pub const EDGE: f64 = 1.2;
pub const HAIR: f64 = 1.0;

/// Radius of a marker, of one that stands out, and of one that stands back.
pub const MARKER: f64 = 3.6;
pub const STRONG: f64 = 4.2;
pub const WEAK: f64 = 2.2;

/// The width of a figure: one column of a paper with two columns, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// 3.35 inches.
    Single,
    /// 6.9 inches.
    Double,
}

impl Column {
    /// Both widths.
    pub const ALL: [Column; 2] = [Column::Single, Column::Double];

    /// Width in figure units.
    pub fn width(self) -> i32 {
        match self {
            Column::Single => 402,
            Column::Double => 828,
        }
    }

    /// End of the name of a file with a figure of this width.
    pub fn suffix(self) -> &'static str {
        match self {
            Column::Single => "",
            Column::Double => "-wide",
        }
    }
}

/// A width of a line in drawing units.
pub fn stroke(width: f64) -> u32 {
    (width * f64::from(SCALE)) as u32
}

/// Colours of text and axes, of grid lines, and of de-emphasized elements.
pub const INK: RGBColor = RGBColor(34, 34, 34);
pub const GRID: RGBColor = RGBColor(230, 230, 230);
pub const MUTED: RGBColor = RGBColor(120, 120, 120);

/// Eight colours that also differ in grey and for people with a colour-vision deficiency (`vision.rs` tests it), all dark
/// enough to be seen on white: those of Okabe and Ito where possible, moved apart in lightness.
pub const PALETTE: [RGBColor; 8] = [
    RGBColor(178, 69, 124),
    RGBColor(214, 95, 3),
    RGBColor(0, 163, 130),
    RGBColor(8, 125, 192),
    RGBColor(36, 169, 242),
    RGBColor(124, 15, 50),
    RGBColor(22, 42, 97),
    RGBColor(115, 72, 146),
];

/// The start of the hash in [`slot`], chosen so that the methods of the shipped experiments differ in colour.
const SEED: u32 = 0x0bb7_19ea;

/// A name without what it says of the run, of threads and of the device: `PQ, 2 threads [second run], cuda` is `PQ`.
fn method(name: &str) -> &str {
    let is_threads = |end: &str| {
        let number = end.strip_suffix(" threads").or_else(|| end.strip_suffix(" thread"));
        number.is_some_and(|number| number.parse::<usize>().is_ok())
    };
    let mut method = name.split(" [").next().unwrap_or(name);
    while let Some((start, end)) = method.rsplit_once(", ") {
        if !is_threads(end) && !["cpu", "cuda"].contains(&end) {
            break;
        }
        method = start;
    }
    method
}

/// The place of a method in the palette: a function of its name alone, so that it has the same colour in every run.
fn slot(name: &str) -> usize {
    let method = method(name);
    // FNV-1a, and a last step that mixes high bits into the low ones.
    let hash = method.bytes().fold(SEED, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(16_777_619));
    let mixed = (hash ^ (hash >> 15)).wrapping_mul(0x2c1b_3c6d);
    (mixed ^ (mixed >> 12)) as usize % PALETTE.len()
}

/// The index of the look of each name. The colour depends on the name alone. Of several names with the same colour, the
/// first in the alphabet has a solid line; each further one has other dashes and another marker.
pub fn looks(names: &[&str]) -> Vec<usize> {
    looks_of_methods(&names.iter().map(|name| (*name, *name)).collect::<Vec<_>>())
}

/// As [`looks`], for names that tell the variants of a method apart: pairs of a method, which gives the colour, and a name.
pub fn looks_of_methods(names: &[(&str, &str)]) -> Vec<usize> {
    let mut order: Vec<(&str, &str)> = names.to_vec();
    order.sort_unstable();
    order.dedup();
    let look = |name: &(&str, &str)| {
        let before =
            order.iter().take_while(|other| *other < name).filter(|other| slot(other.0) == slot(name.0)).count();
        slot(name.0) + before * PALETTE.len()
    };
    names.iter().map(look).collect()
}

/// Colour of a look.
pub fn colour(look: usize) -> RGBColor {
    PALETTE[look % PALETTE.len()]
}

/// Colour of a text about a look: darker, because letters are thin.
pub fn ink(look: usize) -> RGBColor {
    let RGBColor(r, g, b) = colour(look);
    let darker = |channel: u8| (f64::from(channel) * 0.7) as u8;
    RGBColor(darker(r), darker(g), darker(b))
}

/// A pattern of a line, in figure units.
#[derive(Clone, Copy)]
pub struct Dash {
    /// Length of a dash.
    pub on: i32,
    /// Length of a gap.
    pub off: i32,
}

/// Dashes of the line of a look: None for the first use of each colour, then a different pattern for each reuse.
pub fn dash(look: usize) -> Option<Dash> {
    match look / PALETTE.len() {
        0 => None,
        round => Some([Dash { on: 6, off: 3 }, Dash { on: 2, off: 2 }, Dash { on: 10, off: 3 }][(round - 1) % 3]),
    }
}

/// Registers the embedded font with the drawing library, once per process.
pub fn register_fonts() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // A font that does not parse would cause an error at the first text.
        let _ = plotters::style::register_font(FONT, FontStyle::Normal, REGULAR);
        let _ = plotters::style::register_font(FONT, FontStyle::Bold, SEMIBOLD);
    });
}

/// Text style of a size in figure units.
pub fn font(size: f64) -> FontDesc<'static> {
    FontDesc::new(FontFamily::Name(FONT), size * LETTERS_PER_EM * f64::from(SCALE), FontStyle::Normal)
}

/// The same style, semi-bold.
pub fn bold(size: f64) -> FontDesc<'static> {
    FontDesc::new(FontFamily::Name(FONT), size * LETTERS_PER_EM * f64::from(SCALE), FontStyle::Bold)
}

/// Whether the embedded font has a glyph for a character.
pub fn has_glyph(c: char) -> bool {
    matches!(c, ' '..='~' | '\u{a0}'..='\u{ff}' | 'Α'..='Ω' | 'α'..='ω' | 'Ѐ'..='џ' | '‐'..='…' | '‰' | '⁰' | '⁴'..='₎' | '←'..='↓')
        || matches!(c, '∂' | '∆' | '∑' | '−' | '√' | '∞' | '≈' | '≠' | '≤' | '≥' | '‖' | '′' | '■'..='●' | '✓' | '✗')
}

/// Shortens a text to a width, with an ellipsis if something was removed.
pub fn shorten(text: &str, size: f64, width: f64) -> String {
    if text_width(text, size) <= width {
        return text.to_owned();
    }
    let mut kept: Vec<char> = text.chars().collect();
    while !kept.is_empty() && text_width(&format!("{}…", kept.iter().collect::<String>()), size) > width {
        kept.pop();
    }
    format!("{}…", kept.into_iter().collect::<String>().trim_end())
}

/// Shortens a text to a width, with an ellipsis in its middle: names of configurations differ at their end.
pub fn abridge(text: &str, size: f64, width: f64) -> String {
    let letters: Vec<char> = text.chars().collect();
    let without = |removed: usize| {
        let head: String = letters[..(letters.len() - removed) / 2].iter().collect();
        let tail: String = letters[(letters.len() - removed) / 2 + removed..].iter().collect();
        if removed == 0 { head + &tail } else { format!("{}…{}", head.trim_end(), tail.trim_start()) }
    };
    let fits = |removed: &usize| text_width(&without(*removed), size) <= width;
    without((0..letters.len()).find(fits).unwrap_or(letters.len()))
}

/// Width of a text in figure units.
pub fn text_width(text: &str, size: f64) -> f64 {
    font(size).box_size(text).map_or(0.0, |(width, _)| f64::from(width) / f64::from(SCALE))
}

/// Number of shapes of markers, as many as colours.
pub const SHAPES: usize = 8;

/// Which shape the marker of a look has: every colour has its own, and another one each time that it is used again.
pub fn shape(look: usize) -> usize {
    (look + 3 * (look / PALETTE.len())) % SHAPES
}

/// Outline of the marker of a look around the origin, in drawing units: circle, square, triangle, diamond, ….
pub fn marker(look: usize, radius: f64) -> Vec<(i32, i32)> {
    let r = radius * f64::from(SCALE);
    let at = |turn: f64, r: f64| {
        let angle = turn * std::f64::consts::TAU;
        ((r * angle.sin()).round() as i32, (-r * angle.cos()).round() as i32)
    };
    let polygon =
        |corners: usize, start: f64, r: f64| (0..corners).map(|c| at(start + c as f64 / corners as f64, r)).collect();
    // A star's inner corners lie between its outer ones.
    let star = |points: usize, start: f64, inner: f64| {
        let corner = |c: usize| {
            at(start + 0.5 * c as f64 / points as f64, if c.is_multiple_of(2) { 1.35 * r } else { inner * r })
        };
        (0..2 * points).map(corner).collect()
    };
    match shape(look) {
        0 => polygon(24, 0.0, r),
        1 => polygon(4, 0.125, r * 1.25),
        2 => polygon(3, 0.0, r * 1.4),
        3 => polygon(4, 0.0, r * 1.3),
        4 => polygon(3, 0.5, r * 1.4),
        5 => star(4, 0.125, 0.45),
        6 => polygon(5, 0.0, r * 1.25),
        _ => star(5, 0.0, 0.55),
    }
}

/// Gives a drawing of `width×height` figure units its size on paper, and adds its marks.
pub fn finish(svg: String, width: i32, height: i32, marks: &[Mark]) -> String {
    let svg = with_marks(svg, marks);
    let drawn = format!("width=\"{}\" height=\"{}\"", width * SCALE, height * SCALE);
    let points = |units: i32| format!("{:.1}pt", f64::from(units) * POINTS_PER_UNIT);
    svg.replacen(&drawn, &format!("width=\"{}\" height=\"{}\"", points(width), points(height)), 1)
}
