//! Pictures as vectors: every kind of file gives the pixels that were put into it, whole images are held out, and
//! files that lie are refused before memory is taken for them.

use datasets::{Dataset, DatasetError, ImageSource, SearchPath, Signal, Source, format};
use image_webp::{ColorType as WebpColor, WebPEncoder};
use std::path::{Path, PathBuf};

/// Some value for each place of a picture, different for each `seed`.
fn value(seed: usize, x: usize, y: usize, channel: usize) -> u8 {
    (seed * 89 + x * 7 + y * 31 + channel * 101) as u8
}

fn pixels(seed: usize, width: usize, height: usize, channels: usize) -> Vec<u8> {
    let at = |i: usize| value(seed, i / channels % width, i / channels / width, i % channels);
    (0..width * height * channels).map(at).collect()
}

fn png(width: u32, height: u32, color: png::ColorType, depth: png::BitDepth, data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(color);
    encoder.set_depth(depth);
    if color == png::ColorType::Indexed {
        encoder.set_palette(vec![10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120]);
    }
    encoder.write_header().and_then(|mut writer| writer.write_image_data(data)).expect("encodes");
    bytes
}

fn rgb_png(seed: usize, width: usize, height: usize) -> Vec<u8> {
    let data = pixels(seed, width, height, 3);
    png(width as u32, height as u32, png::ColorType::Rgb, png::BitDepth::Eight, &data)
}

fn webp(width: usize, height: usize, color: WebpColor, data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    WebPEncoder::new(&mut bytes).encode(data, width as u32, height as u32, color).expect("encodes");
    bytes
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).expect("a temporary file");
    path
}

#[test]
fn patches_are_rows_and_edges_that_fill_none_are_left_out() {
    let dir = tempfile::tempdir().expect("a folder");
    write(dir.path(), "a.png", &rgb_png(1, 7, 5));
    write(dir.path(), "a.webp", &webp(7, 5, WebpColor::Rgb8, &pixels(1, 7, 5, 3)));
    for name in ["a.png#2", "a.webp#2"] {
        let path = dir.path().join(name);
        assert_eq!(format::shape(&path).expect("a header"), (3 * 2, 2 * 2 * 3), "{name}");
        let rows = format::read(&path).expect("reads");
        for (row, patch) in rows.outer_iter().enumerate() {
            for (i, &found) in patch.iter().enumerate() {
                let (x, y) = (row % 3 * 2 + i / 3 % 2, row / 3 * 2 + i / 6);
                assert_eq!(found, f32::from(value(1, x, y, i % 3)), "{name}: row {row}, component {i}");
            }
        }
        // In blocks as at once.
        let mut blocks = format::Blocks::open(&path).expect("opens");
        let (mut block, mut all) = (Vec::new(), Vec::new());
        while blocks.next(4, &mut block).expect("reads") > 0 {
            all.append(&mut block);
        }
        assert_eq!(all, rows.into_raw_vec_and_offset().0, "{name}");
    }
    let eight = format::shape(&write(dir.path(), "b.png", &rgb_png(1, 17, 9))).expect("a header");
    assert_eq!(eight, (2, 192), "patches of 8×8 where nothing is said");
}

#[test]
fn every_kind_of_picture_gives_its_colours() {
    use png::{BitDepth, ColorType};
    let dir = tempfile::tempdir().expect("a folder");
    let read = |name: &str, bytes: &[u8]| {
        let path = write(dir.path(), name, bytes).display().to_string() + "#1";
        format::read(Path::new(&path)).map(|rows| rows.into_raw_vec_and_offset().0).map_err(|e| e.to_string())
    };
    let grey = Ok(vec![5.0, 5.0, 5.0, 200.0, 200.0, 200.0]);
    assert_eq!(read("grey.png", &png(2, 1, ColorType::Grayscale, BitDepth::Eight, &[5, 200])), grey);
    assert_eq!(read("grey.webp", &webp(2, 1, WebpColor::L8, &[5, 200])), grey);
    assert_eq!(read("ga.png", &png(2, 1, ColorType::GrayscaleAlpha, BitDepth::Eight, &[5, 255, 200, 255])), grey);
    let bits = read("bits.png", &png(2, 1, ColorType::Grayscale, BitDepth::One, &[0b0100_0000]));
    assert_eq!(bits, Ok(vec![0.0, 0.0, 0.0, 255.0, 255.0, 255.0]));
    let palette = read("palette.png", &png(2, 1, ColorType::Indexed, BitDepth::Two, &[0b1100_0000]));
    assert_eq!(palette, Ok(vec![100.0, 110.0, 120.0, 10.0, 20.0, 30.0]));
    let opaque = [1, 2, 3, 255, 4, 5, 6, 255];
    let colours = Ok(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    assert_eq!(read("rgba.png", &png(2, 1, ColorType::Rgba, BitDepth::Eight, &opaque)), colours);
    assert_eq!(read("rgba.webp", &webp(2, 1, WebpColor::Rgba8, &opaque)), colours);
    let clear = [1, 2, 3, 255, 4, 5, 6, 254];
    for found in [
        read("clear.png", &png(2, 1, ColorType::Rgba, BitDepth::Eight, &clear)),
        read("clear.webp", &webp(2, 1, WebpColor::Rgba8, &clear)),
    ] {
        assert!(found.as_ref().is_err_and(|e| e.contains("transparent pixels")), "{found:?}");
    }
    let deep = read("deep.png", &png(1, 1, ColorType::Grayscale, BitDepth::Sixteen, &[1, 2]));
    assert!(deep.as_ref().is_err_and(|e| e.contains("16 bits per channel")), "{deep:?}");
}

/// `fixtures/make.py` wrote it with libwebp; its decoder gives these values for the corners.
#[test]
fn lossy_webp_is_read_as_libwebp_reads_it() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/lossy.webp#1");
    let rows = format::read(&path).expect("reads");
    assert_eq!(rows.dim(), (40 * 24, 3));
    for (row, expected) in LOSSY_CORNERS {
        for (found, expected) in rows.row(row).iter().zip(expected) {
            assert!((found - expected).abs() <= 2.0, "row {row}: {} instead of {expected}", rows.row(row));
        }
    }
}

const LOSSY_CORNERS: [(usize, [f32; 3]); 4] =
    [(0, [0.0, 8.0, 1.0]), (39, [223.0, 6.0, 107.0]), (920, [9.0, 225.0, 104.0]), (959, [233.0, 232.0, 205.0])];

fn reason(path: &str) -> String {
    let path = Path::new(path);
    format::shape(path).and_then(|_| format::read(path).map(drop)).expect_err("refused").to_string()
}

#[test]
fn pictures_that_lie_are_refused_with_a_reason() {
    let dir = tempfile::tempdir().expect("a folder");
    let photo = rgb_png(3, 40, 40);
    // IHDR holds the size from byte 16 on, and a checksum behind it that has to fit.
    let sized = |width: u32, height: u32| {
        let mut bytes = png(1, 1, png::ColorType::Rgb, png::BitDepth::Eight, &[0; 3]);
        bytes[16..20].copy_from_slice(&width.to_be_bytes());
        bytes[20..24].copy_from_slice(&height.to_be_bytes());
        let crc = crc(&bytes[12..29]);
        bytes[29..33].copy_from_slice(&crc.to_be_bytes());
        bytes
    };
    let lossless = webp(40, 40, WebpColor::Rgb8, &pixels(3, 40, 40, 3));
    let lossy = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/lossy.webp")).expect("reads");
    let with = |bytes: &[u8], at: usize, new: &[u8]| {
        let mut bytes = bytes.to_vec();
        bytes[at..at + new.len()].copy_from_slice(new);
        bytes
    };
    // An extended file of 8×8 around a picture of 16383×16383.
    let mut inner = with(&lossy, 26, &[0xff, 0x3f, 0xff, 0x3f]).split_off(12);
    let mut extended = [&b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\x07\0\0\x07\0\0"[..], &inner].concat();
    let length = extended.len() as u32 - 8;
    extended[4..8].copy_from_slice(&length.to_le_bytes());
    inner.clear();
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty.png", vec![], "is not a usable PNG file"),
        ("empty.webp", vec![], "it ends early"),
        ("text.png", b"no picture at all, but text".to_vec(), "is not a usable PNG file"),
        ("text.webp", b"no picture at all, but text".to_vec(), "does not begin as a WebP file does"),
        ("really.webp", photo.clone(), "does not begin as a WebP file does"),
        ("really.png", lossless.clone(), "is not a usable PNG file"),
        ("half.png", photo[..photo.len() / 2].to_vec(), "is not a usable PNG file"),
        ("half.webp", lossless[..lossless.len() / 2].to_vec(), "it ends early"),
        ("halflossy.webp", lossy[..lossy.len() / 2].to_vec(), "it ends early"),
        ("wide.png", sized(2_000_000_000, 2_000_000_000), "states 2000000000×2000000000 pixels"),
        ("large.png", sized(60_000, 60_000), "states 60000×60000 pixels"),
        ("none.png", sized(0, 8), "is not a usable PNG file"),
        ("more.png", sized(500, 500), "is not a usable PNG file"),
        ("huge.webp", with(&lossless, 21, &[0xfe, 0xbf, 0xff, 0x0f]), "states 16383×16383 pixels"),
        ("hugelossy.webp", with(&lossy, 26, &[0xff, 0x3f, 0xff, 0x3f]), "states 16383×16383 pixels"),
        ("two.webp", extended, "its headers promise different sizes"),
        ("small.png", rgb_png(1, 7, 20), "7×20 pixels do not fill one patch of 8×8"),
    ];
    for (name, bytes, expected) in cases {
        let path = write(dir.path(), name, &bytes).display().to_string();
        assert!(reason(&path).contains(expected), "{name}: {}", reason(&path));
    }
    let path = write(dir.path(), "good.png", &photo).display().to_string();
    for part in ["", "0", "257", "x", "-1"] {
        let reason = reason(&format!("{path}#{part}"));
        assert!(reason.contains("is not a patch size; write the side of a patch in pixels"), "{part}: {reason}");
    }
}

/// A file of gigabytes of pixels may be small after it is packed twice, and its size is judged by what is on the disk.
#[test]
fn a_packed_picture_may_hold_no_more_than_a_bare_one() {
    let dir = tempfile::tempdir().expect("a folder");
    let photo = rgb_png(3, 16, 16);
    let path = write(dir.path(), "good.png.gz", &gzip(&photo));
    assert_eq!(format::read(&path).expect("reads").dim(), (4, 192));
    // Its header states 20,000 × 20,000 pixels; behind the picture are bytes that deflate to almost nothing.
    let mut bytes = photo;
    bytes[16..24].copy_from_slice(&[20_000u32, 20_000].map(u32::to_be_bytes).concat());
    let checksum = crc(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&checksum.to_be_bytes());
    bytes.resize(2 << 20, 0);
    let plain = write(dir.path(), "bomb.png", &bytes);
    assert!(format::shape(&plain).is_ok(), "as large as such a file may state");
    let path = write(dir.path(), "bomb.png.gz", &gzip(&bytes));
    let error = reason(&path.display().to_string());
    assert!(error.contains("states 20000×20000 pixels"), "{error}");
    write(dir.path(), "x.png", &rgb_png(4, 16, 16));
    write(dir.path(), "y.png", &rgb_png(5, 16, 16));
    let source: ImageSource = toml::from_str(&format!("images = [{path:?}, 'x.png', 'y.png']")).expect("a source");
    let error = Source::Images(source).resolve(dir.path(), &SearchPath::default()).expect_err("refused").to_string();
    assert!(error.contains("states 20000×20000 pixels"), "{error}");
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut out, bytes).expect("memory");
    out.finish().expect("memory")
}

/// Mutants of good pictures are read or refused; checksums of PNG are made right again, so that more than those is
/// tried.
#[test]
fn damaged_pictures_are_read_or_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let rgba = pixels(5, 20, 12, 4).chunks_exact(4).flat_map(|p| [p[0], p[1], p[2], 255]).collect::<Vec<u8>>();
    let originals = [
        ("x.png", rgb_png(5, 20, 12)),
        ("x.webp", webp(20, 12, WebpColor::Rgb8, &pixels(5, 20, 12, 3))),
        ("y.webp", webp(20, 12, WebpColor::Rgba8, &rgba)),
    ];
    let mut state = 1u32;
    let mut random = |below: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize % below
    };
    for (name, original) in originals {
        let mut read = 0;
        for round in 0..400 {
            let mut bytes = original.clone();
            for _ in 0..1 + round % 3 {
                let at = random(bytes.len());
                bytes[at] = random(256) as u8;
            }
            if name.ends_with("png") {
                let crc = crc(&bytes[12..29]);
                bytes[29..33].copy_from_slice(&crc.to_be_bytes());
            }
            if round % 5 == 0 {
                bytes.truncate(random(original.len()));
            }
            let path = write(dir.path(), name, &bytes);
            let size = format::shape(&path).map_or(0, |(n, dim)| n * dim);
            assert!(size <= 1 << 25, "{name}, round {round}: {size} values");
            read += usize::from(format::read(&path).is_ok());
        }
        assert!(read < 400, "{name}: no mutant was refused");
    }
}

/// CRC-32 as PNG has it.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

/// Five pictures of different sizes, and files that are none.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    for (seed, (width, height)) in [(8, 8), (12, 9), (8, 4), (16, 8), (4, 4)].into_iter().enumerate() {
        if seed % 2 == 0 {
            write(dir.path(), &format!("p{seed}.PNG"), &rgb_png(seed, width, height));
        } else {
            write(
                dir.path(),
                &format!("p{seed}.webp"),
                &webp(width, height, WebpColor::Rgb8, &pixels(seed, width, height, 3)),
            );
        }
    }
    write(dir.path(), "notes.txt", b"not a picture");
    dir
}

fn resolve(folder: &Path, text: &str) -> Result<datasets::Resolved, DatasetError> {
    let source: ImageSource = toml::from_str(text).expect("a source");
    Source::Images(source).resolve(folder, &SearchPath::default())
}

fn load(folder: &Path, text: &str) -> Dataset {
    let resolved = resolve(folder, text).expect("resolves");
    let data = resolved.load().expect("loads");
    // Picture by picture they give the same.
    let read = resolved.open(0).and_then(|opened| opened.base.range(0..data.base.nrows()));
    assert_eq!(read.expect("reads"), data.base);
    data
}

#[test]
fn whole_images_are_held_out_and_come_together_again() {
    let dir = folder();
    let text = "images = '.'\npatch = 4\nname = 'five'\nsplit = { train = '0..2', base = '2..4', queries = '4..5' }";
    let data = load(dir.path(), text);
    // 8×8 and 12×9 pixels make 4 and 6 patches; 8×4 and 16×8 make 2 and 8; 4×4 makes one.
    assert_eq!((data.train.dim(), data.base.dim(), data.queries.dim()), ((10, 48), (10, 48), (1, 48)));
    let Some(Signal::Images { patch: 4, channels: 3, pictures }) = &data.signal else { panic!("{:?}", data.signal) };
    let shapes: Vec<_> = pictures.iter().map(|p| (&p.name[..], p.width, p.height, p.first_row)).collect();
    assert_eq!(shapes, [("p2", 8, 4, 0), ("p3", 16, 8, 2)]);
    assert_eq!(pictures[0].pixels(data.base.view(), 4), pixels(2, 8, 4, 3));
    assert_eq!(pictures[1].pixels(data.base.view(), 4), pixels(3, 16, 8, 3));

    let capped = text.replace("split = {", "split = { train_patches = 3,");
    let (some, same) = (load(dir.path(), &capped), load(dir.path(), &capped));
    assert_eq!((some.train.dim(), &some.train), ((3, 48), &same.train));
    let rows = |data: &Dataset| data.train.outer_iter().map(|row| row.to_vec()).collect::<Vec<_>>();
    let (some, all) = (rows(&some), rows(&data));
    let places: Vec<_> = some.iter().filter_map(|row| all.iter().position(|other| other == row)).collect();
    assert!(places.len() == 3 && places.windows(2).all(|w| w[0] < w[1]), "{places:?}");
    assert!(load(dir.path(), &text.replace("patch = 4", "patch = 4\nmetric = 'cosine'")).signal.is_none());
}

#[test]
fn parts_may_have_images_of_their_own() {
    let dir = folder();
    let data = load(dir.path(), "images = 'p3.webp'\ntrain = ['p0.PNG', 'p1.webp']\nqueries = ['p4.PNG']\npatch = 4");
    assert_eq!((data.name.as_str(), data.train.nrows(), data.base.nrows(), data.queries.nrows()), ("p3", 10, 8, 1));
    // Left alone, a tenth of the images are for queries, at least one, and half of the rest are for training.
    let data = load(dir.path(), "images = '.'\npatch = 4\nname = 'x'");
    let Some(Signal::Images { pictures, .. }) = &data.signal else { panic!("{:?}", data.signal) };
    assert_eq!(pictures.len(), 2);
}

#[test]
fn the_fingerprint_follows_the_images() {
    let dir = folder();
    let of = |text: &str| resolve(dir.path(), text).expect("resolves").summary.fingerprint;
    let text = "images = '.'\npatch = 4\nname = 'x'";
    let before = of(text);
    assert_eq!(of(text), before);
    assert_eq!(of(&text.replace("'x'", "'y'")), before, "names of datasets do not matter");
    assert_ne!(of(&text.replace("patch = 4", "patch = 2")), before);
    assert_ne!(of(&format!("{text}\nsplit = {{ seed = 1 }}")), before);
    let resolved = resolve(dir.path(), text).expect("resolves");
    // The same pixels in other formats, under the same names.
    let other = tempfile::tempdir().expect("a folder");
    ["webp", "ppm"].iter().for_each(|name| std::fs::create_dir(other.path().join(name)).expect("a folder"));
    for (name, width) in [("a", 12), ("b", 8), ("c", 4)] {
        let data = pixels(width, width, 8, 3);
        write(other.path(), &format!("{name}.png"), &rgb_png(width, width, 8));
        write(other.path(), &format!("webp/{name}.webp"), &webp(width, 8, WebpColor::Rgb8, &data));
        let netpbm = [format!("P6 {width} 8 255\n").as_bytes(), &data].concat();
        write(other.path(), &format!("ppm/{name}.ppm"), &netpbm);
    }
    let of_folder = |folder: &str| {
        let text = format!("images = '{}'\npatch = 4\nname = 'x'", other.path().join(folder).display());
        resolve(other.path(), &text).expect("resolves").summary.fingerprint
    };
    assert_eq!((of_folder("webp"), of_folder("ppm")), (of_folder("."), of_folder(".")));
    write(dir.path(), "p1.webp", &webp(8, 8, WebpColor::Rgb8, &pixels(9, 8, 8, 3)));
    assert_ne!(of(text), before);
    assert!(resolved.load().is_err(), "its header says another size than before");
}

#[test]
fn sets_of_images_that_cannot_be_are_refused() {
    let dir = folder();
    let (nothing, other) = (dir.path().join("nothing"), dir.path().join("other"));
    std::fs::create_dir(&nothing).expect("a folder");
    std::fs::create_dir(&other).expect("a folder");
    write(&other, "p0.png", &rgb_png(9, 8, 8));
    write(&other, "copy.webp", &std::fs::read(dir.path().join("p1.webp")).expect("reads"));
    let cases = [
        ("images = 'absent'\npatch = 4", "cannot read"),
        ("images = 'nothing'", "holds no file that ends in .webp, .png, .jpg"),
        ("images = 'p0.PNG'\npatch = 4", "1 image cannot be held out for 3 parts"),
        ("images = ['p0.PNG', 'p1.webp', 'notes.txt']", "is unknown"),
        ("images = ['p0.PNG', 'p1.webp', 'p2.PNG']", "p2.PNG is not a usable picture file: its 8×4 pixels do not fill"),
        ("images = ['p0.PNG', 'p1.webp', 'p0.PNG']\npatch = 4", "two of its images are called `p0`"),
        ("images = ['p0.PNG', 'p1.webp', 'other/p0.png']\npatch = 4", "two of its images are called `p0`"),
        ("images = ['p0.PNG', 'p1.webp', 'other/copy.webp']\npatch = 4", "copy.webp is there twice"),
        ("images = ['p2.PNG', 'p3.webp']\ntrain = 'p3.webp'\npatch = 4", "p3.webp is there twice"),
        ("images = '.'\npatch = 0", "`patch: 0` is out of range"),
        ("images = '.'\npatch = 4\nsplit = { train = '0..9' }", "image range 0..9 does not lie within the 5 images"),
        ("images = '.'\npatch = 4\nsplit = { train = 5 }", "5 training images are requested, but only 4 of 5 are left"),
        ("images = '.'\npatch = 4\nsplit = { train = '0..2', base = '1..3' }", "images 1..3 are in two parts"),
        ("images = '.'\npatch = 4\nsplit = { train = '0..2', train_patches = 99 }", "its images have 10"),
        ("images = '.'\npatch = 4\nsplit = { query_patches = 0 }", "0 query patches are requested"),
    ];
    for (text, expected) in cases {
        let error = resolve(dir.path(), text).expect_err(text).to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn the_kodak_patches_are_as_the_catalog_says_where_they_are() {
    let search = real_sets();
    match Source::Named("kodak-patches".into()).resolve(Path::new("."), &search) {
        Err(DatasetError::Absent { .. }) => {}
        Err(error) => panic!("{error}"),
        Ok(resolved) => {
            let data = resolved.load().expect("loads");
            let dims = (data.train.dim(), data.base.dim(), data.queries.dim());
            assert_eq!(dims, ((30_000, 192), (24_576, 192), (1000, 192)));
            // As libwebp reads kodim17 to kodim20, of which the first is upright: row 65 is the patch at (8, 8).
            assert_eq!(data.base.iter().map(|&v| f64::from(v)).sum::<f64>(), 502_662_929.0);
            let start = data.base.row(65).iter().take(12).copied().collect::<Vec<_>>();
            assert_eq!(start, [19.0, 8.0, 12.0, 19.0, 11.0, 13.0, 16.0, 8.0, 10.0, 17.0, 9.0, 12.0]);
        }
    }
}

/// The folders that `VQBENCH_DATA` names, if any.
fn real_sets() -> SearchPath {
    let folders = std::env::var_os("VQBENCH_DATA").map_or(vec![], |list| std::env::split_paths(&list).collect());
    SearchPath { folders, ..SearchPath::of_source_tree() }
}
