//! Figures as PDF, for papers: lines and markers as paths, text as text in the embedded fonts, each reduced to the glyphs
//! that the figure uses. It is written from the tree that bitmaps are rendered from, so that both show the same.

mod fonts;

use crate::ReportError;
use crate::png::tree;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use fonts::Fonts;
use pdf_writer::types::{LineCapStyle, LineJoinStyle};
use pdf_writer::{Content, Filter, Finish, Name, Pdf, Rect, Ref, Str, TextStr};
use resvg::tiny_skia::{PathSegment, Transform};
use resvg::usvg::{self, FillRule, Group, LineCap, LineJoin, Node, Paint, Path, Text};
use std::collections::BTreeSet;
use std::io::Write;

/// Points per unit of length in SVG: an inch has 72 points, and 96 of those units.
const POINTS: f32 = 72.0 / 96.0;

/// Writes a figure as a PDF of one page, which is as large as the figure.
pub fn render(name: &str, svg: &str) -> Result<Vec<u8>, ReportError> {
    let fail = |reason: String| ReportError::Figure { name: name.to_owned(), reason };
    let tree = tree(name, svg)?;
    let points = |length: f32| (10.0 * length * POINTS).round() / 10.0;
    let (width, height) = (points(tree.size().width()), points(tree.size().height()));
    // The vertical axis of a PDF points upwards.
    let page = Transform::from_row(POINTS, 0.0, 0.0, -POINTS, 0.0, height);
    let mut drawing =
        Drawing { page, content: Content::new(), fonts: Fonts::new(tree.fontdb()), opacities: BTreeSet::new() };
    drawing.group(tree.root(), 1.0);
    let Drawing { content, fonts, opacities, .. } = drawing;
    let mut last = Ref::new(1);
    let mut next = || last.bump();
    let (catalog, pages, page, contents, about) = (next(), next(), next(), next(), next());
    let mut pdf = Pdf::new();
    pdf.catalog(catalog).pages(pages);
    pdf.pages(pages).kids([page]).count(1);
    pdf.document_info(about).title(TextStr(name)).producer(TextStr("vqbench"));
    let fonts = fonts.write(&mut pdf, &mut next).map_err(fail)?;
    let mut description = pdf.page(page);
    description.parent(pages).media_box(Rect::new(0.0, 0.0, width, height)).contents(contents);
    let mut resources = description.resources();
    let mut listed = resources.fonts();
    for (name, font) in &fonts {
        listed.pair(Name(name.as_bytes()), *font);
    }
    listed.finish();
    let mut states = resources.ext_g_states();
    for percent in &opacities {
        let opacity = f32::from(*percent) / 100.0;
        let mut state =
            states.insert(Name(state_name(*percent).as_bytes())).start::<pdf_writer::writers::ExtGraphicsState<'_>>();
        state.stroking_alpha(opacity).non_stroking_alpha(opacity);
    }
    states.finish();
    resources.finish();
    description.finish();
    pdf.stream(contents, &deflated(&content.finish())).filter(Filter::FlateDecode);
    Ok(pdf.finish())
}

/// Name of the graphics state of an opacity in percent.
fn state_name(percent: u8) -> String {
    format!("A{percent}")
}

/// Compresses the content of a stream.
fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    // Writing to memory cannot fail.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}

/// The operators of the page so far, and the resources that they use.
struct Drawing<'a> {
    page: Transform,
    content: Content,
    fonts: Fonts<'a>,
    /// The opacities below one, in percent.
    opacities: BTreeSet<u8>,
}

impl Drawing<'_> {
    fn group(&mut self, group: &Group, opacity: f32) {
        // The drawing library gives an opacity to single elements only, so that it applies to each of them.
        let opacity = opacity * group.opacity().get();
        for node in group.children() {
            match node {
                Node::Group(inner) => self.group(inner, opacity),
                Node::Path(path) => self.path(path, opacity),
                Node::Text(text) => self.text(text, opacity),
                // No figure holds an image.
                Node::Image(_) => {}
            }
        }
    }

    fn path(&mut self, path: &Path, opacity: f32) {
        if !path.is_visible() {
            return;
        }
        let ctm = self.page.pre_concat(path.abs_transform());
        self.content.save_state();
        self.content.transform([ctm.sx, ctm.ky, ctm.kx, ctm.sy, ctm.tx, ctm.ty]);
        if let Some(fill) = path.fill() {
            self.opacity(opacity * fill.opacity().get());
            let [r, g, b] = rgb(fill.paint());
            self.content.set_fill_rgb(r, g, b);
            self.outline(path);
            match fill.rule() {
                FillRule::NonZero => self.content.fill_nonzero(),
                FillRule::EvenOdd => self.content.fill_even_odd(),
            };
        }
        if let Some(stroke) = path.stroke() {
            self.opacity(opacity * stroke.opacity().get());
            let [r, g, b] = rgb(stroke.paint());
            self.content.set_stroke_rgb(r, g, b).set_line_width(stroke.width().get());
            self.content.set_line_cap(match stroke.linecap() {
                LineCap::Butt => LineCapStyle::ButtCap,
                LineCap::Round => LineCapStyle::RoundCap,
                LineCap::Square => LineCapStyle::ProjectingSquareCap,
            });
            self.content.set_line_join(match stroke.linejoin() {
                LineJoin::Miter | LineJoin::MiterClip => LineJoinStyle::MiterJoin,
                LineJoin::Round => LineJoinStyle::RoundJoin,
                LineJoin::Bevel => LineJoinStyle::BevelJoin,
            });
            if let Some(dashes) = stroke.dasharray() {
                self.content.set_dash_pattern(dashes.iter().copied(), stroke.dashoffset());
            }
            self.outline(path);
            self.content.stroke();
        }
        self.content.restore_state();
    }

    fn outline(&mut self, path: &Path) {
        let mut at = (0.0, 0.0);
        for segment in path.data().segments() {
            match segment {
                PathSegment::MoveTo(p) => {
                    self.content.move_to(p.x, p.y);
                    at = (p.x, p.y);
                }
                PathSegment::LineTo(p) => {
                    self.content.line_to(p.x, p.y);
                    at = (p.x, p.y);
                }
                PathSegment::QuadTo(c, p) => {
                    // A PDF has cubic curves only.
                    let towards = |from: f32, to: f32| from + 2.0 / 3.0 * (to - from);
                    let (x1, y1) = (towards(at.0, c.x), towards(at.1, c.y));
                    self.content.cubic_to(x1, y1, towards(p.x, c.x), towards(p.y, c.y), p.x, p.y);
                    at = (p.x, p.y);
                }
                PathSegment::CubicTo(a, b, p) => {
                    self.content.cubic_to(a.x, a.y, b.x, b.y, p.x, p.y);
                    at = (p.x, p.y);
                }
                PathSegment::Close => {
                    self.content.close_path();
                }
            }
        }
    }

    fn text(&mut self, text: &Text, opacity: f32) {
        let to_page = self.page.pre_concat(text.abs_transform());
        for span in text.layouted().iter().filter(|span| span.visible) {
            let Some(fill) = &span.fill else { continue };
            self.content.save_state();
            self.opacity(opacity * fill.opacity().get());
            let [r, g, b] = rgb(fill.paint());
            self.content.set_fill_rgb(r, g, b).begin_text();
            // Glyphs of one font that follow each other on a line are shown together, so that words can be searched for.
            let mut rest = &span.positioned_glyphs[..];
            while let Some(first) = rest.first() {
                let Some(em) = self.fonts.em(first, to_page) else { break };
                let line = rest.iter().take_while(|glyph| glyph.font == first.font).count();
                let (glyphs, after) = rest.split_at(line);
                let Some(back) = em.invert() else { break };
                let name = self.fonts.name(first.font);
                self.content.set_font(Name(name.as_bytes()), 1.0);
                self.content.set_text_matrix([em.sx, em.ky, em.kx, em.sy, em.tx, em.ty]);
                let mut shown = self.content.show_positioned();
                let mut items = shown.items();
                // Where the next glyph would stand, in thousandths of the font size.
                let mut pen = 0.0;
                for glyph in glyphs {
                    let Some(place) = self.fonts.em(glyph, to_page) else { continue };
                    let x = 1000.0 * back.pre_concat(place).tx;
                    if (x - pen).abs() > 0.5 {
                        items.adjust(pen - x);
                        pen = x;
                    }
                    let (code, advance) = self.fonts.code(glyph);
                    items.show(Str(&code.to_be_bytes()));
                    pen += advance;
                }
                items.finish();
                shown.finish();
                rest = after;
            }
            self.content.end_text().restore_state();
        }
    }

    fn opacity(&mut self, opacity: f32) {
        let percent = (100.0 * opacity).round().clamp(0.0, 100.0) as u8;
        if percent < 100 {
            self.opacities.insert(percent);
            self.content.set_parameters(Name(state_name(percent).as_bytes()));
        }
    }
}

/// The colour of a paint, each channel from 0 to 1. Figures use plain colours only.
fn rgb(paint: &Paint) -> [f32; 3] {
    let usvg::Color { red, green, blue } = match paint {
        Paint::Color(colour) => *colour,
        _ => usvg::Color::black(),
    };
    [red, green, blue].map(|channel| f32::from(channel) / 255.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::read::ZlibDecoder;
    use std::io::Read;

    /// The content of the page: the last stream of the file.
    fn content(pdf: &[u8]) -> String {
        let find = |text: &[u8]| pdf.windows(text.len()).rposition(|bytes| bytes == text).expect("a stream");
        let start = find(b"\nstream\n") + 8;
        let mut text = String::new();
        ZlibDecoder::new(&pdf[start..find(b"\nendstream")]).read_to_string(&mut text).expect("compressed text");
        text
    }

    #[test]
    fn a_figure_is_lines_and_text_of_its_size() {
        let svg = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"100pt\" height=\"50pt\" viewBox=\"0 0 1000 500\">\
                   <path d=\"M0 0 L1000 500\" stroke=\"#ff0000\" stroke-width=\"10\" opacity=\"0.5\"/>\
                   <text x=\"100\" y=\"250\" font-family=\"Inter\" font-size=\"100\">PQP</text></svg>";
        let pdf = render("drawn", svg).expect("written");
        let text = String::from_utf8_lossy(&pdf);
        assert!(text.contains("/MediaBox [0 0 100 50]") && text.contains("/CA 0.5"), "{text}");
        // Two glyphs are embedded, and each says which letter it is.
        let named = |letter: char| text.contains(&format!("> <{:04X}>", u32::from(letter)));
        assert!(named('P') && named('Q') && !named('R') && text.contains("2 beginbfchar"), "{text}");
        let content = content(&pdf);
        assert!(content.contains("1 0 0 RG") && content.contains("0 0 m") && content.contains("/A50 gs"), "{content}");
        // The text stands 25 points above the lower end, 10 points high.
        let (from, shown) = (content.find("Tm").expect("placed"), content.matches("TJ").count());
        let matrix: Vec<f32> =
            content[..from].split_whitespace().rev().take(6).filter_map(|v| v.parse().ok()).collect();
        for (found, expected) in matrix.iter().zip([25.0, 10.0, 10.0, 0.0, 0.0, 10.0]) {
            assert!((found - expected).abs() < 0.01, "{content}");
        }
        assert_eq!((matrix.len(), shown), (6, 1), "one piece of text: {content}");
    }
}
