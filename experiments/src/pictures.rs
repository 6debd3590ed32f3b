//! Saves crops of images, original and decoded, for reports.

use datasets::{Picture, Signal};
use ndarray::Array2;
use record::{picture_file, read_regular, write_atomically};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// How many images are saved, and how large a crop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CropSettings {
    /// Base pictures, from the first on.
    pub count: usize,
    /// Side in pixels of the piece from the middle.
    pub crop: usize,
}

/// What the process of a trial saves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// Which.
    pub settings: CropSettings,
    /// Where decoded pictures go.
    pub decoded: PathBuf,
    /// Where the originals go.
    pub originals: PathBuf,
}

/// Gives a range of the base rows, or what they decode to.
pub type RowsOf<'a> = &'a dyn Fn(Range<usize>) -> Result<Array2<f32>, String>;

/// Saves pieces of the decoded pictures, and of the originals unless they are there already. Asks for the rows of one
/// picture at a time.
///
/// # Errors
/// The system's refusal, in words; those of the rows.
pub fn save(
    wanted: &Wanted,
    signal: Option<&Signal>,
    originals: RowsOf<'_>,
    decoded: RowsOf<'_>,
) -> Result<(), String> {
    let Some(Signal::Images { patch, pictures, .. }) = signal else { return Ok(()) };
    for picture in pictures.iter().take(wanted.settings.count) {
        for (folder, rows) in [(&wanted.originals, originals), (&wanted.decoded, decoded)] {
            let rows = rows(picture.rows(*patch))?;
            let pixels = Picture { first_row: 0, ..picture.clone() }.pixels(rows.view(), *patch);
            let png = middle(&pixels, picture.width, picture.height, wanted.settings.crop)?;
            put(folder, &picture_file(folder, &picture.name), &png)?;
        }
    }
    Ok(())
}

fn put(folder: &Path, path: &Path, bytes: &[u8]) -> Result<(), String> {
    // Concurrent trials write the same originals; a correct file is kept.
    if read_regular(path, bytes.len() as u64).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    std::fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    write_atomically(path, bytes).map_err(|e| e.to_string())
}

/// The middle of an RGB picture as PNG, at most `crop` pixels wide and high.
fn middle(pixels: &[u8], width: usize, height: usize, crop: usize) -> Result<Vec<u8>, String> {
    let (across, down) = (width.min(crop), height.min(crop));
    let (left, top) = ((width - across) / 2, (height - down) / 2);
    let line = |y: usize| &pixels[(y * width + left) * 3..][..across * 3];
    let piece: Vec<u8> = (top..top + down).flat_map(line).copied().collect();
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, across as u32, down as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::High);
    let written = encoder.write_header().and_then(|mut writer| writer.write_image_data(&piece));
    written.map_err(|e| format!("a picture could not be written: {e}"))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::s;

    fn decode(path: &Path) -> (u32, u32, Vec<u8>) {
        let file = std::io::BufReader::new(std::fs::File::open(path).expect("a file"));
        let mut reader = png::Decoder::new(file).read_info().expect("a PNG");
        let mut pixels = vec![0; reader.output_buffer_size().expect("small")];
        let found = reader.next_frame(&mut pixels).expect("decodes");
        (found.width, found.height, pixels)
    }

    #[test]
    fn the_middle_of_each_picture_is_saved_and_originals_are_left_alone() {
        // Two pictures of 6×4 and 2×2 pixels in patches of 1×1; a pixel is its own row number.
        let base = Array2::from_shape_fn((28, 3), |(row, channel)| (row + 100 * channel) as f32);
        let picture = |name: &str, width, height, first_row| Picture { name: name.into(), width, height, first_row };
        let pictures = vec![picture("wide", 6, 4, 0), picture("small", 2, 2, 24)];
        let signal = Signal::Images { patch: 1, channels: 3, pictures };
        let rows = |more: f32| {
            let all = base.mapv(|v| v + more);
            move |rows: Range<usize>| Ok(all.slice(s![rows, ..]).to_owned())
        };
        let dir = tempfile::tempdir().expect("a folder");
        let wanted = Wanted {
            settings: CropSettings { count: 2, crop: 2 },
            decoded: dir.path().join("pictures/a1"),
            originals: dir.path().join("pictures/original/t"),
        };
        save(&wanted, Some(&signal), &rows(0.0), &rows(0.4)).expect("saves");
        let pixel = |row: usize| [row as u8, row as u8 + 100, row as u8 + 200];
        let piece = |rows: [usize; 4]| rows.map(pixel).concat();
        for folder in [&wanted.originals, &wanted.decoded] {
            assert_eq!(decode(&folder.join("wide.png")), (2, 2, piece([8, 9, 14, 15])));
            assert_eq!(decode(&folder.join("small.png")), (2, 2, piece([24, 25, 26, 27])));
        }
        let written = |path: &Path| path.metadata().and_then(|m| m.modified()).expect("a time");
        let original = wanted.originals.join("wide.png");
        let before = written(&original);
        save(&wanted, Some(&signal), &rows(0.0), &rows(7.0)).expect("saves");
        assert_eq!(written(&original), before, "originals do not change");
        assert_eq!(decode(&wanted.decoded.join("small.png")).2[0], 31, "decoded ones do");
    }
}
