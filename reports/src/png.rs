//! Reads figures with the embedded fonts, and renders them as pixels, so that they look the same on every machine.

use crate::ReportError;
use crate::figure::style::{REGULAR, SEMIBOLD, has_glyph};
use resvg::tiny_skia::{Color, Pixmap, Transform};
use resvg::usvg::{Options, Tree};

/// Pixels per unit of length in SVG: 300 dots per inch, where SVG has 96 units.
const ZOOM: f32 = 300.0 / 96.0;

/// The resolution that the file states, so that a figure has its size in a paper: 300 dots per inch, in dots per metre.
const DOTS_PER_METRE: u32 = 11_811;

/// Reads a figure with the embedded fonts.
pub fn tree(name: &str, svg: &str) -> Result<Tree, ReportError> {
    let mut options = Options::default();
    let fonts = options.fontdb_mut();
    fonts.load_font_data(REGULAR.to_vec());
    fonts.load_font_data(SEMIBOLD.to_vec());
    fonts.set_sans_serif_family("Inter");
    // An SVG viewer falls back to other fonts for glyphs that the embedded one lacks; here such a character becomes a
    // box instead of nothing.
    let svg: String = svg.chars().map(|c| if has_glyph(c) || c.is_control() { c } else { '□' }).collect();
    let refused = |e: resvg::usvg::Error| ReportError::Figure { name: name.to_owned(), reason: e.to_string() };
    Tree::from_str(&svg, &options).map_err(refused)
}

/// Renders a figure on a white background.
pub fn render(name: &str, svg: &str) -> Result<Vec<u8>, ReportError> {
    let fail = |reason: String| ReportError::Figure { name: name.to_owned(), reason };
    let tree = tree(name, svg)?;
    let size = tree.size();
    let (width, height) = ((size.width() * ZOOM).ceil() as u32, (size.height() * ZOOM).ceil() as u32);
    let mut pixels = Pixmap::new(width, height).ok_or_else(|| fail(format!("{width}×{height} pixels")))?;
    pixels.fill(Color::WHITE);
    resvg::render(&tree, Transform::from_scale(ZOOM, ZOOM), &mut pixels.as_mut());
    // The background is opaque, so nothing is lost without the fourth channel.
    let rgb: Vec<u8> = pixels.pixels().iter().flat_map(|p| [p.red(), p.green(), p.blue()]).collect();
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let (xppu, yppu) = (DOTS_PER_METRE, DOTS_PER_METRE);
    encoder.set_pixel_dims(Some(png::PixelDimensions { xppu, yppu, unit: png::Unit::Meter }));
    let written = encoder.write_header().and_then(|mut writer| writer.write_image_data(&rgb));
    written.map_err(|e| fail(e.to_string()))?;
    Ok(bytes)
}
