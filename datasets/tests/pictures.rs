//! JPEG and Netpbm pictures: the pixels that others read, and files that lie.

mod common;

use common::{folder, gzip, part, reason, write};
use datasets::format;
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// What libjpeg decodes at the corners; `fixtures/make_pictures.py` prints it. Decoders may differ by rounding, and in how they
/// spread colours that are stored at half the resolution.
const CORNERS: [(&str, f32, [[f32; 3]; 4]); 3] = [
    ("baseline.jpg", 12.0, [[0.0, 1.0, 0.0], [227.0, 3.0, 115.0], [7.0, 226.0, 96.0], [236.0, 229.0, 211.0]]),
    ("progressive.jpg", 2.0, [[0.0, 1.0, 0.0], [234.0, 0.0, 115.0], [0.0, 231.0, 93.0], [235.0, 230.0, 210.0]]),
    ("grey.jpg", 2.0, [[0.0; 3], [83.0; 3], [146.0; 3], [229.0; 3]]),
];

#[test]
fn jpeg_is_read_as_libjpeg_reads_it() {
    for (name, tolerance, corners) in CORNERS {
        let rows = format::read(&part(&fixture(name), "1")).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(rows.dim(), (40 * 24, 3), "{name}");
        for (row, expected) in [0, 39, 920, 959].into_iter().zip(corners) {
            for (found, expected) in rows.row(row).iter().zip(expected) {
                assert!(
                    (found - expected).abs() <= tolerance,
                    "{name}, pixel {row}: {} for {expected:?}",
                    rows.row(row)
                );
            }
        }
    }
}

#[test]
fn netpbm_holds_its_bytes_as_they_stand() {
    let folder = folder();
    let colour = write(folder.path(), "a.ppm", b"P6\n# by hand\n2 1\n255\n\x01\x02\x03\xff\x00\x09");
    assert_eq!(
        format::read(&part(&colour, "1")).expect("reads").into_raw_vec_and_offset().0,
        [1.0, 2.0, 3.0, 255.0, 0.0, 9.0]
    );
    // The first value looks like white space.
    let grey = write(folder.path(), "b.pgm", b"P5 2 1 255 \n\x07");
    assert_eq!(
        format::read(&part(&grey, "1")).expect("reads").into_raw_vec_and_offset().0,
        [10.0, 10.0, 10.0, 7.0, 7.0, 7.0]
    );
    let packed = write(folder.path(), "c.pnm.gz", &gzip(b"P5 2 2 255\n\x01\x02\x03\x04"));
    assert_eq!(format::shape(&part(&packed, "2")).expect("a header"), (1, 12));
}

#[test]
fn pictures_that_lie_are_refused_with_a_reason() {
    let folder = folder();
    let jpeg = std::fs::read(fixture("baseline.jpg")).expect("a fixture");
    let progressive = std::fs::read(fixture("progressive.jpg")).expect("a fixture");
    let frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).expect("a frame");
    let sized = |height: u16, width: u16| {
        let mut bytes = jpeg.clone();
        bytes[frame + 5..frame + 9].copy_from_slice(&[height.to_be_bytes(), width.to_be_bytes()].concat());
        bytes
    };
    for (name, bytes, expected) in [
        ("empty.jpg", vec![], "is not a usable JPEG file"),
        ("text.jpg", b"no picture at all, but text".to_vec(), "is not a usable JPEG file"),
        ("half.jpg", jpeg[..jpeg.len() / 2].to_vec(), "is not a usable JPEG file"),
        ("almost.jpg", jpeg[..jpeg.len() - 40].to_vec(), "is not a usable JPEG file"),
        ("halfprogressive.jpg", progressive[..progressive.len() / 2].to_vec(), "is not a usable JPEG file"),
        ("huge.jpg", sized(65_535, 65_535), "states 65535×65535 pixels"),
        ("none.jpg", sized(0, 40), "is not a usable JPEG file"),
        ("printed.jpg", std::fs::read(fixture("printed.jpg")).expect("a fixture"), "save it as RGB"),
        ("empty.ppm", vec![], "it ends early"),
        ("text.ppm", b"P3 1 1 255 1 2 3".to_vec(), "its values are text (P2, P3)"),
        ("bits.ppm", b"P4 8 1 \x01".to_vec(), "it is a bitmap"),
        ("deep.pgm", b"P5 1 1 65535 \x01\x02".to_vec(), "its largest value is 65535"),
        ("shallow.pgm", b"P5 1 1 15 \x01".to_vec(), "its largest value is 15"),
        ("short.pgm", b"P5 8 8 255 \x01".to_vec(), "64 bytes of values; 1 bytes follow it"),
        ("long.pgm", [&b"P5 8 8 255 "[..], &[0; 65]].concat(), "64 bytes of values; 65 bytes follow it"),
        ("huge.ppm", b"P6 999999999 999999999 255 ".to_vec(), "0 bytes follow it"),
        ("endless.ppm", b"P6 99999999999999999999 1 255 ".to_vec(), "its header must be width, height and 255"),
        ("minus.ppm", b"P6 -8 8 255 ".to_vec(), "its header must be width, height and 255"),
        ("comment.ppm", b"P6 # no end".to_vec(), "it ends early"),
        ("none.ppm", b"P6 0 8 255 ".to_vec(), "states 0×8 pixels"),
        ("other.ppm", jpeg.clone(), "it does not begin with P5 or P6"),
    ] {
        let found = reason(&write(folder.path(), name, &bytes));
        assert!(found.contains(expected), "{name}: {found}");
    }
}

#[test]
fn damaged_jpegs_are_read_or_refused() {
    let folder = folder();
    for name in ["baseline.jpg", "progressive.jpg", "grey.jpg"] {
        let whole = std::fs::read(fixture(name)).expect("a fixture");
        let path = folder.path().join(name);
        for at in (0..whole.len()).step_by(2) {
            let mut bytes = whole.clone();
            bytes[at] ^= [0x01, 0x80, 0xff][at / 2 % 3];
            std::fs::write(&path, &bytes).expect("writes");
            // Whatever it is by now: no panic, and all values are there.
            if let (Ok((n, dim)), Ok(rows)) = (format::shape(&path), format::read(&path)) {
                assert_eq!(rows.dim(), (n, dim), "{name}, byte {at}");
            }
        }
    }
}
