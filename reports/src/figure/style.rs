//! Shared style of all figures: font, palette, markers.

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

/// Colours of text and axes, of grid lines, and of de-emphasized elements.
pub const INK: RGBColor = RGBColor(34, 34, 34);
pub const GRID: RGBColor = RGBColor(230, 230, 230);
pub const MUTED: RGBColor = RGBColor(120, 120, 120);

/// The palette of Okabe and Ito, which people with all common kinds of colour vision can distinguish. Without yellow,
/// which is too light; black, the colour of whiskers, is replaced by a grey.
const PALETTE: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(110, 110, 110),
];

/// Colour of the `i`-th series.
pub fn colour(i: usize) -> RGBColor {
    PALETTE[i % PALETTE.len()]
}

/// A pattern of a line, in figure units.
#[derive(Clone, Copy)]
pub struct Dash {
    /// Length of a dash.
    pub on: i32,
    /// Length of a gap.
    pub off: i32,
}

/// Dashes of the line of the `i`-th series: None for the first use of each colour, then a different pattern for each
/// reuse.
pub fn dash(i: usize) -> Option<Dash> {
    match i / PALETTE.len() {
        0 => None,
        round if round % 2 == 1 => Some(Dash { on: 5, off: 3 }),
        _ => Some(Dash { on: 2, off: 2 }),
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
    FontDesc::new(FontFamily::Name(FONT), size * f64::from(SCALE), FontStyle::Normal)
}

/// The same style, semi-bold.
pub fn bold(size: f64) -> FontDesc<'static> {
    FontDesc::new(FontFamily::Name(FONT), size * f64::from(SCALE), FontStyle::Bold)
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

/// Width of a text in figure units.
pub fn text_width(text: &str, size: f64) -> f64 {
    font(size).box_size(text).map_or(0.0, |(width, _)| f64::from(width) / f64::from(SCALE))
}

/// Outline of the marker of the `i`-th series around the origin, in drawing units: circle, square, triangle, diamond,
/// ….
pub fn marker(i: usize, radius: f64) -> Vec<(i32, i32)> {
    let r = radius * f64::from(SCALE);
    let at = |turn: f64, r: f64| {
        let angle = turn * std::f64::consts::TAU;
        ((r * angle.sin()).round() as i32, (-r * angle.cos()).round() as i32)
    };
    let polygon =
        |corners: usize, start: f64, r: f64| (0..corners).map(|c| at(start + c as f64 / corners as f64, r)).collect();
    match i % 6 {
        0 => polygon(24, 0.0, r),
        1 => polygon(4, 0.125, r * 1.25),
        2 => polygon(3, 0.0, r * 1.4),
        3 => polygon(4, 0.0, r * 1.3),
        4 => polygon(3, 0.5, r * 1.4),
        _ => polygon(5, 0.0, r * 1.25),
    }
}

/// Scales a drawing of `width×height` figure units back to that size, and adds its marks.
pub fn finish(svg: String, width: i32, height: i32, marks: &[Mark]) -> String {
    let svg = with_marks(svg, marks);
    let drawn = format!("width=\"{}\" height=\"{}\"", width * SCALE, height * SCALE);
    svg.replacen(&drawn, &format!("width=\"{width}\" height=\"{height}\""), 1)
}
