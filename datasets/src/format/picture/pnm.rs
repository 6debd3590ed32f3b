//! Netpbm pictures in binary with 8 bits: PPM (`P6`, red, green and blue) and PGM (`P5`, grey).

use super::{CHANNELS, OpenFile, Pictures, Size, read_exact, rewind};
use std::io::Seek;

pub const PNM: Pictures = Pictures { name: "PPM", extensions: &["ppm", "pgm", "pnm"], size, decode };

/// Most digits of a number in the header.
const MOST_DIGITS: usize = 9;

/// Reads the header and checks that the file holds what it states. Returns the values per pixel too.
fn header(file: &mut OpenFile) -> Result<(Size, usize), String> {
    rewind(file)?;
    let mut magic = [0; 2];
    read_exact(file, &mut magic)?;
    let channels = match &magic {
        b"P6" => CHANNELS,
        b"P5" => 1,
        b"P2" | b"P3" => return Err("its values are text (P2, P3); save it in binary (P5, P6)".to_owned()),
        b"P1" | b"P4" => return Err("it is a bitmap (PBM); save it as PGM or PPM".to_owned()),
        b"P7" | b"Pf" | b"PF" => return Err("it is a PAM or PFM file; save it as PGM or PPM".to_owned()),
        _ => return Err("it does not begin with P5 or P6".to_owned()),
    };
    let (width, height, largest) = (number(file)?, number(file)?, number(file)?);
    if largest != 255 {
        return Err(format!("its largest value is {largest}; save it with 8 bits, whose largest value is 255"));
    }
    let at = file.reader.stream_position().map_err(|e| e.to_string())?;
    let needed = width as u128 * height as u128 * channels as u128;
    let held = file.length.saturating_sub(at);
    if needed != u128::from(held) {
        return Err(format!(
            "its header states {width}×{height} pixels, that is {needed} bytes of values; {held} bytes follow it"
        ));
    }
    Ok((Size { width, height }, channels))
}

/// The next number of the header and the one white space behind it. White space and comments before it do not count.
fn number(file: &mut OpenFile) -> Result<usize, String> {
    let mut digits = String::new();
    let mut comment = false;
    loop {
        let mut byte = [0];
        read_exact(file, &mut byte)?;
        match byte[0] {
            b'\n' | b'\r' if comment => comment = false,
            _ if comment => {}
            b'#' => comment = true,
            byte if byte.is_ascii_whitespace() && digits.is_empty() => {}
            byte if byte.is_ascii_whitespace() => {
                return digits.parse().map_err(|_| "its header is not one".to_owned());
            }
            digit if digit.is_ascii_digit() && digits.len() < MOST_DIGITS => digits.push(char::from(digit)),
            _ => return Err("its header must be width, height and 255 as numbers".to_owned()),
        }
    }
}

fn size(file: &mut OpenFile) -> Result<Size, String> {
    header(file).map(|(size, _)| size)
}

fn decode(file: &mut OpenFile, stated: Size) -> Result<Vec<u8>, String> {
    let (size, channels) = header(file)?;
    if size != stated {
        return Err("it changed while it was read".to_owned());
    }
    let mut values = vec![0; size.width * size.height * channels];
    read_exact(file, &mut values)?;
    Ok(if channels == CHANNELS { values } else { values.into_iter().flat_map(|grey| [grey; CHANNELS]).collect() })
}
