//! Pictures as vectors: WebP (lossless and lossy), PNG, JPEG, PPM and PGM, cut into square patches. `photo.png#8` asks for patches of
//! 8×8.
//!
//! A row is one patch: its pixels line by line, red, green and blue of each in turn, 0 to 255. Patches follow each
//! other line by line too; pixels at the right and lower edge that do not fill a patch are left out. A grey picture
//! gives each value three times, so that all pictures of a set have rows of one length. Colour profiles are not
//! applied.

mod jpeg;
mod pnm;

pub use jpeg::JPEG;
pub use pnm::PNM;

use super::contain::{MAX_EXPANSION, contained};
use super::{Format, OpenFile, RowReader, read_exact};
use std::io::{BufRead, Seek, SeekFrom};

/// Values per pixel.
pub const CHANNELS: usize = 3;

/// Default patch size.
pub const DEFAULT_PATCH: usize = 8;

/// Maximum patch size: larger patches are too long for every method here.
pub const MAX_PATCH: usize = 256;

/// An image file format.
pub struct Pictures {
    name: &'static str,
    extensions: &'static [&'static str],
    size: fn(&mut OpenFile) -> Result<Size, String>,
    /// All pixels, as RGB.
    decode: fn(&mut OpenFile, Size) -> Result<Vec<u8>, String>,
}

pub const WEBP: Pictures = Pictures { name: "WebP", extensions: &["webp"], size: webp_size, decode: webp_pixels };
pub const PNG: Pictures = Pictures { name: "PNG", extensions: &["png"], size: png_size, decode: png_pixels };

/// Every kind; [`super::FORMATS`] has them too.
pub const KINDS: [&Pictures; 4] = [&WEBP, &PNG, &JPEG, &PNM];

/// Pixels of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    pub width: usize,
    pub height: usize,
}

impl Size {
    /// Whole patches across and down.
    pub fn patches(self, patch: usize) -> (usize, usize) {
        (self.width / patch, self.height / patch)
    }

    fn bytes(self) -> usize {
        self.width * self.height * CHANNELS
    }
}

impl Pictures {
    /// The kind of a file with this extension.
    pub fn of_extension(extension: &str) -> Option<&'static Pictures> {
        KINDS.into_iter().find(|kind| kind.extensions.contains(&extension))
    }

    /// Extensions of all kinds in words: `.webp, .png or .ppm`.
    pub fn all_extensions(last: &str) -> String {
        let all: Vec<String> = KINDS.iter().flat_map(|kind| kind.extensions).map(|e| format!(".{e}")).collect();
        let (end, others) = all.split_last().map_or((String::new(), &[][..]), |(end, others)| (end.clone(), others));
        format!("{} {last} {end}", others.join(", "))
    }

    /// Pixels across and down, from the header.
    ///
    /// # Errors
    /// A reason in words, without the path.
    pub fn size(&self, file: &mut OpenFile) -> Result<Size, String> {
        let size = contained(|| (self.size)(file))?;
        // A picture that is packed as a whole does not hold more for being packed twice.
        plausible(size, file.length.min(file.stored))?;
        Ok(size)
    }
}

/// Files of this size may hold an image of up to 16 million values: in WebP, a uniform area takes almost no bytes.
const SMALL_FILE: u64 = 1 << 14;

/// Refuses image sizes that are implausible for a file of `length` bytes, before memory is allocated. Photographs do not reach
/// [`MAX_EXPANSION`].
fn plausible(Size { width, height }: Size, length: u64) -> Result<(), String> {
    if width == 0 || height == 0 {
        return Err(format!("its header states {width}×{height} pixels"));
    }
    let needed = (width as u128).saturating_mul(height as u128).saturating_mul(CHANNELS as u128);
    let most = u128::from(length.max(SMALL_FILE)) * MAX_EXPANSION;
    if needed > most || usize::try_from(needed).is_err() {
        return Err(format!(
            "its header states {width}×{height} pixels, that is {needed} bytes of values; a file of {length} bytes can \
             hold {most} at most"
        ));
    }
    Ok(())
}

/// The patch size that a path requests.
fn patch_of(part: Option<&str>) -> Result<usize, String> {
    let Some(part) = part else { return Ok(DEFAULT_PATCH) };
    let side = part.parse().ok().filter(|side| (1..=MAX_PATCH).contains(side));
    side.ok_or_else(|| {
        format!(
            "`#{part}` is not a patch size; write the side of a patch in pixels, 1 to {MAX_PATCH}, such as `#{DEFAULT_PATCH}`"
        )
    })
}

impl Format for Pictures {
    fn name(&self) -> &'static str {
        self.name
    }

    fn extensions(&self) -> &'static [&'static str] {
        self.extensions
    }

    fn choose(&self, file: &mut OpenFile) -> Result<Option<String>, String> {
        patch_of(file.place.part.as_deref()).map(|side| Some(side.to_string()))
    }

    fn shape(&self, file: &mut OpenFile) -> Result<(usize, usize), String> {
        let patch = patch_of(file.place.part.as_deref())?;
        let size = self.size(file)?;
        let (across, down) = size.patches(patch);
        if across * down == 0 {
            let Size { width, height } = size;
            return Err(format!("its {width}×{height} pixels do not fill one patch of {patch}×{patch}"));
        }
        Ok((across * down, patch * patch * CHANNELS))
    }

    fn rows(&self, mut file: OpenFile) -> Result<Box<dyn RowReader>, String> {
        let shape = self.shape(&mut file)?;
        let patch = patch_of(file.place.part.as_deref())?;
        let size = self.size(&mut file)?;
        Ok(Box::new(Patches { file, decode: self.decode, size, patch, shape, pixels: Vec::new(), next: 0 }))
    }
}

/// The patches of an image. All its pixels are decoded at the first request.
struct Patches {
    file: OpenFile,
    decode: fn(&mut OpenFile, Size) -> Result<Vec<u8>, String>,
    size: Size,
    patch: usize,
    shape: (usize, usize),
    pixels: Vec<u8>,
    next: usize,
}

impl RowReader for Patches {
    fn shape(&self) -> (usize, usize) {
        self.shape
    }

    fn append(&mut self, count: usize, out: &mut Vec<f32>) -> Result<(), String> {
        if self.pixels.is_empty() {
            let pixels = contained(|| (self.decode)(&mut self.file, self.size))?;
            if pixels.len() != self.size.bytes() {
                return Err("its header and its pixels are of different sizes".to_owned());
            }
            self.pixels = pixels;
        }
        let across = self.size.width / self.patch;
        for row in self.next..self.next + count {
            let (left, top) = (row % across * self.patch, row / across * self.patch);
            for y in top..top + self.patch {
                let start = (y * self.size.width + left) * CHANNELS;
                out.extend(self.pixels[start..start + self.patch * CHANNELS].iter().map(|&v| f32::from(v)));
            }
        }
        self.next += count;
        Ok(())
    }

    /// The pixels, and the buffer with transparency that a decoder needs.
    fn working_bytes(&mut self) -> Result<u64, String> {
        Ok(3 * self.size.bytes() as u64)
    }
}

/// Colours without transparency. Transparent pixels are refused, because the background is unknown.
fn opaque(pixels: &[u8], channels: usize) -> Result<Vec<u8>, String> {
    let (colours, alpha) = match channels {
        4 => (3, true),
        2 => (1, true),
        other => (other, false),
    };
    let mut rgb = Vec::with_capacity(pixels.len() / channels * CHANNELS);
    for pixel in pixels.chunks_exact(channels) {
        if alpha && pixel[colours] != u8::MAX {
            return Err("it has transparent pixels; save it on a background".to_owned());
        }
        match colours {
            1 => rgb.extend([pixel[0]; CHANNELS]),
            _ => rgb.extend(&pixel[..CHANNELS]),
        }
    }
    Ok(rgb)
}

fn rewind(file: &mut OpenFile) -> Result<(), String> {
    file.reader.rewind().map_err(|e| e.to_string())
}

/// The error message of a decoder on one line.
fn error_text(error: impl std::fmt::Display) -> String {
    let text = error.to_string();
    if text.contains("failed to fill whole buffer") { "it ends early".to_owned() } else { text }
}

fn png_decoder(file: &mut OpenFile) -> Result<png::Decoder<impl BufRead + Seek + '_>, String> {
    rewind(file)?;
    let mut decoder = png::Decoder::new(&mut file.reader);
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    decoder.set_transformations(png::Transformations::EXPAND);
    Ok(decoder)
}

fn png_size(file: &mut OpenFile) -> Result<Size, String> {
    let mut decoder = png_decoder(file)?;
    let header = decoder.read_header_info().map_err(error_text)?;
    if header.bit_depth == png::BitDepth::Sixteen {
        return Err("it has 16 bits per channel; save it with 8".to_owned());
    }
    Ok(Size { width: header.width as usize, height: header.height as usize })
}

fn png_pixels(file: &mut OpenFile, _: Size) -> Result<Vec<u8>, String> {
    let mut reader = png_decoder(file)?.read_info().map_err(error_text)?;
    let bytes = reader.output_buffer_size().ok_or("it is too large")?;
    let mut pixels = vec![0; bytes];
    let found = reader.next_frame(&mut pixels).map_err(error_text)?;
    opaque(&pixels[..found.buffer_size()], found.color_type.samples())
}

fn webp_size(file: &mut OpenFile) -> Result<Size, String> {
    rewind(file)?;
    let mut head = [0; 12];
    read_exact(file, &mut head)?;
    if &head[..4] != b"RIFF" || &head[8..] != b"WEBP" {
        return Err("it does not begin as a WebP file does".to_owned());
    }
    let promised = u64::from(u32::from_le_bytes([head[4], head[5], head[6], head[7]])) + 8;
    if promised > file.length {
        return Err(format!("it ends early: its header states {promised} bytes, it has {}", file.length));
    }
    rewind(file)?;
    let decoder = image_webp::WebPDecoder::new(&mut file.reader).map_err(error_text)?;
    if decoder.is_animated() {
        return Err("it is an animation; save one picture of it".to_owned());
    }
    let (width, height) = decoder.dimensions();
    let size = Size { width: width as usize, height: height as usize };
    same_frame(file, size)?;
    Ok(size)
}

/// The image inside an extended file must have the size that the outer header states: the decoder allocates memory for
/// the inner size before it compares them.
fn same_frame(file: &mut OpenFile, size: Size) -> Result<(), String> {
    let mut at = 12;
    while at + 18 <= file.length {
        file.reader.seek(SeekFrom::Start(at)).map_err(|e| e.to_string())?;
        let mut chunk = [0; 18];
        read_exact(file, &mut chunk)?;
        if &chunk[..4] == b"VP8 " {
            let side = |low: u8, high: u8| usize::from(u16::from_le_bytes([low, high]) & 0x3fff);
            let inner = Size { width: side(chunk[14], chunk[15]), height: side(chunk[16], chunk[17]) };
            return if inner == size { Ok(()) } else { Err("its headers promise different sizes".to_owned()) };
        }
        let length = u64::from(u32::from_le_bytes([chunk[4], chunk[5], chunk[6], chunk[7]]));
        at += 8 + length.next_multiple_of(2);
    }
    Ok(())
}

fn webp_pixels(file: &mut OpenFile, size: Size) -> Result<Vec<u8>, String> {
    rewind(file)?;
    let mut decoder = image_webp::WebPDecoder::new(&mut file.reader).map_err(error_text)?;
    let channels = if decoder.has_alpha() { 4 } else { CHANNELS };
    let mut pixels = vec![0; size.width * size.height * channels];
    decoder.read_image(&mut pixels).map_err(error_text)?;
    if channels == CHANNELS { Ok(pixels) } else { opaque(&pixels, channels) }
}
