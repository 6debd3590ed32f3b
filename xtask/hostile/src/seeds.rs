//! Real input that mutations of files start from: what vqbench writes, small files made by hand, and the fixtures of
//! `datasets`, which other tools have written.

use datasets::format::{self, OutputType};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Rows and components of what is written here.
const SHAPE: (usize, usize) = (5, 3);

/// Largest fixture.
const MOST: usize = 32_768;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets/tests/fixtures")
}

/// Files of an extension; for none, one of every format.
pub fn vectors(extension: &str) -> Vec<Vec<u8>> {
    if let Some(inner) = extension.strip_suffix(".gz") {
        return vectors(inner).iter().map(|bytes| gzip(bytes)).chain([gzip(&[0; 1 << 20])]).collect();
    }
    if let Some(inner) = extension.strip_suffix(".zst") {
        return vectors(inner).iter().map(|bytes| zstandard(bytes)).chain([zstandard(&vec![0; 1 << 20])]).collect();
    }
    let all = ["npy", "npz", "safetensors", "fvecs", "idx", "h5", "parquet", "arrow", "png", "webp"];
    if extension.is_empty() {
        return all.iter().flat_map(|extension| vectors(extension).into_iter().take(3)).collect();
    }
    let path = PathBuf::from(format!("x.{extension}"));
    let mut found: Vec<Vec<u8>> =
        [OutputType::F32, OutputType::U8].into_iter().filter_map(|values| written(&path, values)).collect();
    found.extend(by_hand(extension));
    found.extend(of_other_tools(extension));
    found
}

/// A file as vqbench writes it.
fn written(path: &Path, values: OutputType) -> Option<Vec<u8>> {
    let layout = format::layout(path, values, SHAPE).ok()?;
    let rows: Vec<f32> = (0..SHAPE.0 * SHAPE.1).map(|i| (i * 7 % 11) as f32).collect();
    let mut bytes = layout.head.clone();
    layout.write_vectors(0, &rows, SHAPE.1, &mut bytes).ok()?;
    bytes.extend_from_slice(&layout.tail);
    Some(bytes)
}

/// Fixtures of an extension, or of others that mean the same.
fn of_other_tools(extension: &str) -> Vec<Vec<u8>> {
    let alike: &[&str] = match extension {
        "h5" | "hdf5" => &["h5", "hdf5"],
        "arrow" | "feather" | "ipc" => &["arrow", "feather", "ipc"],
        "ndjson" | "jsonl" => &["ndjson", "jsonl"],
        "csv" | "tsv" => &["csv", "tsv"],
        "jpg" | "jpeg" => &["jpg"],
        _ => &[extension],
    };
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(fixtures()).into_iter().flatten().flatten().map(|file| file.path()).collect();
    // The order in which a folder is listed must not decide what a mutation is.
    files.sort();
    let wanted =
        |path: &PathBuf| path.extension().is_some_and(|found| alike.iter().any(|extension| found == *extension));
    files
        .into_iter()
        .filter(wanted)
        .filter_map(|path| std::fs::read(path).ok())
        .filter(|file| file.len() <= MOST)
        .collect()
}

/// What the formats that vqbench does not write look like.
fn by_hand(extension: &str) -> Vec<Vec<u8>> {
    let (n, dim) = SHAPE;
    let numbers: Vec<u8> = (0..n * dim).map(|i| (i * 7 % 11) as u8).collect();
    let floats = || numbers.iter().flat_map(|&v| f32::from(v).to_le_bytes());
    let integers = || numbers.iter().flat_map(|&v| i32::from(v).to_le_bytes());
    let words = |values: &[u32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let head = |values: &[u8]| [words(&[n as u32, dim as u32]), values.to_vec()].concat();
    match extension {
        "ivecs" => vec![
            numbers
                .chunks(dim)
                .flat_map(|row| {
                    words(&[&[dim as u32][..], &row.iter().map(|&v| v.into()).collect::<Vec<u32>>()].concat())
                })
                .collect(),
        ],
        "bvecs" => vec![numbers.chunks(dim).flat_map(|row| [words(&[dim as u32]), row.to_vec()].concat()).collect()],
        "i8bin" | "u8bin" => vec![
            head(&numbers),
            [(n as u64).to_le_bytes(), (dim as u64).to_le_bytes()]
                .concat()
                .into_iter()
                .chain(numbers.iter().copied())
                .collect(),
        ],
        "ibin" => vec![head(&integers().collect::<Vec<u8>>())],
        "fbin" => {
            vec![[(n as u64).to_le_bytes(), (dim as u64).to_le_bytes()].concat().into_iter().chain(floats()).collect()]
        }
        "f16bin" => vec![head(&[0, 0x3c].repeat(n * dim))],
        "idx" => vec![
            [vec![0, 0, 8, 2, 0, 0, 0, n as u8, 0, 0, 0, dim as u8], numbers.clone()].concat(),
            [vec![0, 0, 8, 1, 0, 0, 0, 15], numbers.clone()].concat(),
        ],
        "safetensors" => {
            let header = format!(
                "{{\"a\":{{\"dtype\":\"F32\",\"shape\":[{n},{dim}],\"data_offsets\":[0,{}]}},\"b\":{{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[{0},{}]}}}}",
                4 * n * dim,
                4 * n * dim + 4
            );
            vec![
                [
                    (header.len() as u64).to_le_bytes().to_vec(),
                    header.into_bytes(),
                    floats().collect(),
                    vec![1, 2, 3, 4],
                ]
                .concat(),
            ]
        }
        "npz" => {
            let arrays: Vec<(&str, Vec<u8>)> = [("a.npy", OutputType::F32), ("b.npy", OutputType::U8)]
                .into_iter()
                .filter_map(|(name, values)| Some((name, written(Path::new("x.npy"), values)?)))
                .collect();
            vec![zip(&arrays, false), zip(&arrays, true)]
        }
        "npy" => [
            "|u1', 'fortran_order': True, 'shape': (3, 5)",
            ">f8', 'fortran_order': False, 'shape': (2, 3)",
            "<i8', 'fortran_order': False, 'shape': (6,)",
        ]
        .iter()
        .map(|header| {
            let header = format!("{{'descr': '{header}, }}\n");
            [
                b"\x93NUMPY\x01\x00".to_vec(),
                (header.len() as u16).to_le_bytes().to_vec(),
                header.into_bytes(),
                [1, 2, 3, 4, 5, 6, 0, 0].repeat(6),
            ]
            .concat()
        })
        .collect(),
        "txt" | "vec" => [&b"the 0.1 -0.2 3e-1\nof 1 2 3\nto 4 5 6\n"[..], b"2 3\nthe 0.1 0.2 0.3\nof 1 2 3\n"]
            .map(<[u8]>::to_vec)
            .to_vec(),
        "ndjson" | "jsonl" => {
            vec![b"{\"id\": 1, \"embedding\": [1, 2.5, -3e2]}\n{\"id\": 2, \"embedding\": [4, 5, 6]}\n".to_vec()]
        }
        "csv" | "tsv" => {
            [&b"id,e0,e1\n1,0.5,2\n2,1e3,-4\n"[..], b"a\tb\n1\t2\n", b"x,embedding\n1,\"[1, 2]\"\n2,\"[3, 4]\"\n"]
                .map(<[u8]>::to_vec)
                .to_vec()
        }
        "png" => [(png::ColorType::Rgb, 3), (png::ColorType::Grayscale, 1)]
            .into_iter()
            .filter_map(|(colour, channels)| picture(colour, channels))
            .collect(),
        "ppm" | "pgm" | "pnm" => {
            let pixels = |channels: usize| (0..9 * 8 * channels).map(|i| (i * 37 % 251) as u8).collect::<Vec<u8>>();
            vec![[&b"P6\n# 9 by 8\n9 8\n255\n"[..], &pixels(3)].concat(), [&b"P5 9 8 255\n"[..], &pixels(1)].concat()]
        }
        _ => Vec::new(),
    }
}

/// A picture of 9×8 pixels.
fn picture(colour: png::ColorType, channels: usize) -> Option<Vec<u8>> {
    let (width, height) = (9, 8);
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(colour);
    encoder.set_depth(png::BitDepth::Eight);
    let pixels: Vec<u8> = (0..(width * height) as usize * channels).map(|i| (i * 37 % 251) as u8).collect();
    encoder.write_header().and_then(|mut writer| writer.write_image_data(&pixels)).ok()?;
    Some(bytes)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::fast());
    out.write_all(bytes).and_then(|()| out.finish()).unwrap_or_default()
}

fn zstandard(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap_or_default()
}

/// A zip file, as numpy writes it.
fn zip(members: &[(&str, Vec<u8>)], packed: bool) -> Vec<u8> {
    let (mut out, mut table) = (Vec::new(), Vec::new());
    for (name, content) in members {
        let mut crc = flate2::Crc::new();
        crc.update(content);
        let mut deflated = flate2::write::DeflateEncoder::new(Vec::new(), Compression::fast());
        let stored = match packed {
            true => deflated.write_all(content).and_then(|()| deflated.finish()).unwrap_or_default(),
            false => content.clone(),
        };
        let start = out.len() as u32;
        let mut fields = vec![20, 0, 0, 0, if packed { 8 } else { 0 }, 0, 0, 0, 0, 0];
        [crc.sum(), stored.len() as u32, content.len() as u32].iter().for_each(|v| fields.extend(v.to_le_bytes()));
        fields.extend((name.len() as u16).to_le_bytes());
        fields.extend([0, 0]);
        out.extend(b"PK\x03\x04");
        out.extend(&fields);
        out.extend(name.bytes());
        out.extend(stored);
        table.extend(b"PK\x01\x02\x14\x00");
        table.extend(&fields);
        table.extend([0; 10]);
        table.extend(start.to_le_bytes());
        table.extend(name.bytes());
    }
    let (start, count) = (out.len() as u32, members.len() as u16);
    out.extend(&table);
    out.extend(b"PK\x05\x06\0\0\0\0");
    [count, count].iter().for_each(|v| out.extend(v.to_le_bytes()));
    [table.len() as u32, start].iter().for_each(|v| out.extend(v.to_le_bytes()));
    out.extend([0, 0]);
    out
}
