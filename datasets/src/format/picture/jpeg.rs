//! JPEG pictures, baseline and progressive, as `zune-jpeg` decodes them. An orientation in the metadata is not applied.

use super::{CHANNELS, OpenFile, Pictures, Size, error_text, rewind};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

pub const JPEG: Pictures = Pictures { name: "JPEG", extensions: &["jpg", "jpeg"], size, decode };

/// Most pixels across or down that the format can state.
const MOST: usize = u16::MAX as usize;

fn options() -> DecoderOptions {
    // Strict, so that a file that is cut off is not filled up with grey.
    DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(MOST)
        .set_max_height(MOST)
        .jpeg_set_out_colorspace(ColorSpace::RGB)
}

fn size(file: &mut OpenFile) -> Result<Size, String> {
    rewind(file)?;
    let mut decoder = JpegDecoder::new_with_options(&mut file.reader, options());
    decoder.decode_headers().map_err(error_text)?;
    let (width, height) = decoder.dimensions().ok_or("its header states no size")?;
    match decoder.input_colorspace() {
        Some(ColorSpace::CMYK | ColorSpace::YCCK) => {
            Err("its colours are those of printing (CMYK); save it as RGB".to_owned())
        }
        _ => Ok(Size { width, height }),
    }
}

fn decode(file: &mut OpenFile, size: Size) -> Result<Vec<u8>, String> {
    rewind(file)?;
    let mut decoder = JpegDecoder::new_with_options(&mut file.reader, options());
    let pixels = decoder.decode().map_err(error_text)?;
    let values = size.width * size.height * CHANNELS;
    if pixels.len() == values {
        Ok(pixels)
    } else {
        Err("its pixels are not of the size that its header states".to_owned())
    }
}
