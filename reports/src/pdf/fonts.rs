//! The fonts of a PDF figure: which glyphs are used, under which codes, and the reduced fonts that hold them.

use super::deflated;
use pdf_writer::types::{CidFontType, FontFlags, SystemInfo, UnicodeCmap};
use pdf_writer::{Filter, Finish, Name, Pdf, Rect, Ref, Str};
use resvg::tiny_skia::Transform;
use resvg::usvg::fontdb::{Database, ID};
use resvg::usvg::layout::PositionedGlyph;
use std::collections::BTreeMap;
use subsetter::GlyphRemapper;
use ttf_parser::{Face, GlyphId, RawFace, Tag};

const SYSTEM: SystemInfo<'_> = SystemInfo { registry: Str(b"Adobe"), ordering: Str(b"Identity"), supplement: 0 };

/// The fonts that a figure uses so far.
pub struct Fonts<'a> {
    database: &'a Database,
    used: BTreeMap<ID, Used>,
}

/// The glyphs that a figure uses of a font.
struct Used {
    /// Name of the font in the content of the page.
    name: String,
    /// From the glyphs of the whole font to the codes of the reduced one.
    codes: GlyphRemapper,
    /// The text that each code stands for.
    texts: BTreeMap<u16, String>,
    /// The advance of each code, in thousandths of the font size.
    advances: BTreeMap<u16, f32>,
}

impl<'a> Fonts<'a> {
    pub fn new(database: &'a Database) -> Fonts<'a> {
        Fonts { database, used: BTreeMap::new() }
    }

    /// Calls `read` with a font; None if it cannot be parsed.
    fn face<T>(&self, font: ID, read: impl FnOnce(&Face<'_>) -> T) -> Option<T> {
        self.database.with_face_data(font, |data, index| Some(read(&Face::parse(data, index).ok()?))).flatten()
    }

    fn used(&mut self, font: ID) -> &mut Used {
        let name = format!("F{}", self.used.len());
        let empty = || Used { name, codes: GlyphRemapper::new(), texts: BTreeMap::new(), advances: BTreeMap::new() };
        self.used.entry(font).or_insert_with(empty)
    }

    /// Name of a font in the content of the page.
    pub fn name(&mut self, font: ID) -> String {
        self.used(font).name.clone()
    }

    /// From the em square of a glyph to the page. None if its font cannot be parsed.
    pub fn em(&self, glyph: &PositionedGlyph, to_page: Transform) -> Option<Transform> {
        let units = self.face(glyph.font, |face| f32::from(face.units_per_em()))?;
        Some(to_page.pre_concat(glyph.outline_transform()).pre_scale(units, units))
    }

    /// The code of a glyph, and its advance in thousandths of the font size.
    pub fn code(&mut self, glyph: &PositionedGlyph) -> (u16, f32) {
        // A font has at most 65,536 glyphs; the first one stands for those that are missing.
        let id = u16::try_from(glyph.id.0).unwrap_or(0);
        let advance = self.face(glyph.font, |face| advance(face, id)).unwrap_or(0.0);
        let used = self.used(glyph.font);
        let code = used.codes.remap(id);
        used.texts.entry(code).or_insert_with(|| glyph.text.clone());
        used.advances.insert(code, advance);
        (code, advance)
    }

    /// Writes all fonts. Returns their names in the content of the page.
    pub fn write(&self, pdf: &mut Pdf, next: &mut impl FnMut() -> Ref) -> Result<Vec<(String, Ref)>, String> {
        let mut written = Vec::new();
        for (font, used) in &self.used {
            let face = self.database.face(*font).ok_or("a font is missing")?;
            let reference = next();
            let found = self.database.with_face_data(*font, |data, index| {
                let base = format!("{}+{}", tag(used), face.post_script_name);
                write(pdf, next, reference, used, &base, data, index)
            });
            found.ok_or("a font cannot be read")??;
            written.push((used.name.clone(), reference));
        }
        Ok(written)
    }
}

/// The advance of a glyph in thousandths of the font size.
fn advance(face: &Face<'_>, glyph: u16) -> f32 {
    1000.0 * f32::from(face.glyph_hor_advance(GlyphId(glyph)).unwrap_or(0)) / f32::from(face.units_per_em())
}

/// Six letters that tell reduced fonts with different glyphs apart, as PDF asks for.
fn tag(used: &Used) -> String {
    let glyphs = used.codes.remapped_gids();
    let mut hash =
        glyphs.fold(14_695_981_039_346_656_037u64, |h, glyph| (h ^ u64::from(glyph)).wrapping_mul(1_099_511_628_211));
    let letter = |_| {
        let letter = char::from(b'A' + (hash % 26) as u8);
        hash /= 26;
        letter
    };
    (0..6).map(letter).collect()
}

/// Writes one font, reduced to the glyphs that are used.
fn write(
    pdf: &mut Pdf,
    next: &mut impl FnMut() -> Ref,
    reference: Ref,
    used: &Used,
    base: &str,
    data: &[u8],
    index: u32,
) -> Result<(), String> {
    let face = Face::parse(data, index).map_err(|e| e.to_string())?;
    let reduced = subsetter::subset(data, index, &used.codes).map_err(|e| e.to_string())?;
    // Of a font with PostScript outlines, a PDF holds only the table with the outlines.
    let raw = RawFace::parse(&reduced, 0).map_err(|e| e.to_string())?;
    let outlines = raw.table(Tag::from_bytes(b"CFF ")).ok_or("the font has no PostScript outlines")?;
    let (descendant, descriptor, program, unicode) = (next(), next(), next(), next());
    let name = Name(base.as_bytes());
    let mut font = pdf.type0_font(reference);
    font.base_font(name).encoding_predefined(Name(b"Identity-H"));
    font.descendant_font(descendant).to_unicode(unicode);
    font.finish();
    let mut cid = pdf.cid_font(descendant);
    cid.subtype(CidFontType::Type0).base_font(name).system_info(SYSTEM).font_descriptor(descriptor);
    cid.default_width(0.0);
    let mut widths = cid.widths();
    for (code, advance) in &used.advances {
        widths.consecutive(*code, [*advance]);
    }
    widths.finish();
    cid.finish();
    let scale = |value: i16| 1000.0 * f32::from(value) / f32::from(face.units_per_em());
    let bounds = face.global_bounding_box();
    let (low, high) = ((scale(bounds.x_min), scale(bounds.y_min)), (scale(bounds.x_max), scale(bounds.y_max)));
    let mut description = pdf.font_descriptor(descriptor);
    description.name(name).flags(FontFlags::SYMBOLIC).bbox(Rect::new(low.0, low.1, high.0, high.1));
    description.italic_angle(0.0).ascent(scale(face.ascender())).descent(scale(face.descender()));
    description.cap_height(scale(face.capital_height().unwrap_or(face.ascender())));
    // Nothing in the font says how thick its stems are; viewers need it only without the font.
    description.stem_v(if face.is_bold() { 120.0 } else { 80.0 }).font_file3(program);
    description.finish();
    let compressed = deflated(outlines);
    let mut stream = pdf.stream(program, &compressed);
    stream.filter(Filter::FlateDecode).pair(Name(b"Subtype"), Name(b"CIDFontType0C"));
    stream.finish();
    let mut map = UnicodeCmap::<u16>::new(Name(b"Custom"), SYSTEM);
    for (code, text) in used.texts.iter().filter(|(_, text)| !text.is_empty()) {
        map.pair_with_multiple(*code, text.chars());
    }
    pdf.cmap(unicode, &map.finish());
    Ok(())
}
