//! Recordings as log-mel frames: samples of every kind, the frames of librosa, whole recordings held out, files that lie.

mod common;

use common::{folder, gzip, write};
use datasets::{Dataset, SearchPath, Signal, Source};
use serde_json::{Value, json};
use std::f64::consts::TAU;
use std::path::Path;

/// A WAV file. `tag` is 1 for integers and 3 for floats.
fn wav(rate: u32, channels: u16, tag: u16, bits: u16, data: &[u8]) -> Vec<u8> {
    let block = channels * bits / 8;
    let format = [
        &tag.to_le_bytes()[..],
        &channels.to_le_bytes(),
        &rate.to_le_bytes(),
        &(rate * u32::from(block)).to_le_bytes(),
        &block.to_le_bytes(),
        &bits.to_le_bytes(),
    ]
    .concat();
    // An odd chunk of something else stands between.
    let chunks = [
        &b"WAVEfmt \x10\0\0\0"[..],
        &format,
        b"LIST\x03\0\0\0abc\0",
        b"data",
        &(data.len() as u32).to_le_bytes(),
        data,
    ]
    .concat();
    [&b"RIFF"[..], &(chunks.len() as u32).to_le_bytes(), &chunks].concat()
}

/// Half a second of a tone at 8000 samples per second, as 16-bit samples.
fn tone(hertz: f64) -> Vec<i16> {
    (0..4000).map(|n| (16_000.0 * (TAU * hertz * f64::from(n) / 8000.0).sin()).round() as i16).collect()
}

fn tone_wav(hertz: f64) -> Vec<u8> {
    wav(8000, 1, 1, 16, &tone(hertz).into_iter().flat_map(i16::to_le_bytes).collect::<Vec<_>>())
}

fn load(folder: &Path, source: &Value) -> Result<Dataset, String> {
    let source = Source::parse(source).map_err(|error| error.message)?;
    let resolved = source.resolve(folder, &SearchPath::default()).map_err(|error| error.to_string())?;
    let data = resolved.load().map_err(|error| error.to_string())?;
    let summary = &resolved.summary;
    assert_eq!(
        (summary.train, summary.base, summary.queries),
        (data.train.nrows(), data.base.nrows(), data.queries.nrows())
    );
    assert_eq!((summary.dim, &summary.signal), (data.dim(), &data.signal));
    Ok(data)
}

/// A folder of six recordings.
fn recordings() -> tempfile::TempDir {
    let folder = folder();
    std::fs::create_dir(folder.path().join("tones")).expect("a folder");
    for i in 0..6 {
        write(&folder.path().join("tones"), &format!("t{i}.wav"), &tone_wav(300.0 + 500.0 * f64::from(i)));
    }
    write(&folder.path().join("tones"), "notes.txt", b"not a recording");
    folder
}

#[test]
fn frames_are_those_of_librosa() {
    // A tone and some noise; `librosa.feature.melspectrogram(y, sr=8000, n_fft=256, win_length=200, hop_length=160,
    // window='hann', center=False, n_mels=…, htk=…, norm=…)` of librosa 0.11 gives these energies, with 28 zeros before the
    // samples because it centres the window in the transform. Here: ln(1e-6 + energy).
    let folder = folder();
    let mut state = 12_345u32;
    let samples: Vec<i16> = (0..1000)
        .map(|n| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let noise = f64::from(state >> 16) / 65_536.0 - 0.5;
            (8000.0 * (TAU * 440.0 * f64::from(n) / 8000.0).sin() + 2000.0 * noise).round() as i16
        })
        .collect();
    let bytes: Vec<u8> = samples.into_iter().flat_map(i16::to_le_bytes).collect();
    write(folder.path(), "a.wav", &wav(8000, 1, 1, 16, &bytes));
    write(folder.path(), "b.wav", &tone_wav(500.0));
    write(folder.path(), "c.wav", &tone_wav(600.0));
    for (scale, expected) in [("slaney", SLANEY), ("htk", HTK)] {
        let source =
            json!({ "wav": "a.wav", "train": "b.wav", "queries": "c.wav", "mel": { "bands": 8, "scale": scale } });
        let data = load(folder.path(), &source).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(data.base.dim(), (6, 8));
        for (row, expected) in [0, 5].into_iter().zip(expected) {
            for (found, expected) in data.base.row(row).iter().zip(expected) {
                assert!((found - expected).abs() < 1e-4, "{scale}, frame {row}: {}", data.base.row(row));
            }
        }
    }
}

const SLANEY: [[f32; 8]; 2] = [
    [-1.07422, -0.27377, -7.57869, -7.76498, -7.07038, -7.07680, -6.70764, -7.33119],
    [-1.08883, -0.30132, -7.05517, -6.77764, -6.99870, -7.06188, -7.15927, -7.54220],
];
const HTK: [[f32; 8]; 2] = [
    [-2.23224, 5.32513, 4.40181, -1.96094, -1.03669, -0.79603, -0.23452, -0.67192],
    [-2.05152, 5.30536, 4.36940, -1.06214, -0.90173, -0.77206, -0.69716, -0.86904],
];

#[test]
fn every_kind_of_sample_gives_the_same_sound() {
    let folder = folder();
    // Values that 8 bits hold, between -1 and 1.
    let values: Vec<i8> =
        (0..800).map(|n| (100.0 * (TAU * 700.0 * f64::from(n) / 8000.0).sin()).round() as i8).collect();
    let each = |f: fn(i8) -> Vec<u8>| values.iter().flat_map(|&v| f(v)).collect::<Vec<u8>>();
    let eight = each(|v| vec![v.cast_unsigned().wrapping_add(128)]);
    let sixteen = each(|v| (i16::from(v) << 8).to_le_bytes().to_vec());
    let files = [
        ("u8.wav", wav(8000, 1, 1, 8, &eight)),
        ("i16.wav", wav(8000, 1, 1, 16, &sixteen)),
        ("i24.wav", wav(8000, 1, 1, 24, &each(|v| (i32::from(v) << 16).to_le_bytes()[..3].to_vec()))),
        ("i32.wav", wav(8000, 1, 1, 32, &each(|v| (i32::from(v) << 24).to_le_bytes().to_vec()))),
        ("f32.WAV", wav(8000, 1, 3, 32, &each(|v| (f32::from(v) / 128.0).to_le_bytes().to_vec()))),
        // Two channels whose mean is the sound.
        (
            "stereo.wav",
            wav(8000, 2, 1, 16, &each(|v| [5000, -5000].map(|d| ((i16::from(v) << 8) + d).to_le_bytes()).concat())),
        ),
        ("packed.wav.gz", gzip(&wav(8000, 1, 1, 16, &sixteen))),
    ];
    write(folder.path(), "x.wav", &tone_wav(500.0));
    write(folder.path(), "y.wav", &tone_wav(600.0));
    let mut first = None;
    for (name, bytes) in files {
        write(folder.path(), name, &bytes);
        let source = json!({ "wav": name, "train": "x.wav", "queries": "y.wav" });
        let base = load(folder.path(), &source).unwrap_or_else(|e| panic!("{name}: {e}")).base;
        assert_eq!(base.dim(), (4, 64), "{name}");
        assert_eq!(*first.get_or_insert(base.clone()), base, "{name}");
    }
}

#[test]
fn whole_recordings_are_held_out() {
    let folder = recordings();
    let split = json!({ "train": "0..3", "base": "3..5", "queries": "5..6", "train_frames": 20, "query_frames": 7 });
    let mel = json!({ "bands": 16, "frame_ms": 25, "hop_ms": 10 });
    let data = load(folder.path(), &json!({ "wav": "tones", "mel": mel, "split": split })).expect("loads");
    // 4000 samples hold (4000 − 200)/80 + 1 frames.
    assert_eq!((data.train.nrows(), data.base.nrows(), data.queries.nrows()), (20, 2 * 48, 7));
    assert_eq!((data.name.as_str(), data.signal), ("tones", Some(Signal::Frames { per_second: 100.0 })));
    // Every frame is loudest in the band of its recording: a part holds its own recordings only.
    let loudest = |rows: &ndarray::Array2<f32>| {
        let of = |row: ndarray::ArrayView1<f32>| (0..16).max_by(|&a, &b| row[a].total_cmp(&row[b])).expect("bands");
        let mut bands: Vec<usize> = rows.outer_iter().map(of).collect();
        bands.dedup();
        bands
    };
    let (train, base, queries) = (loudest(&data.train), loudest(&data.base), loudest(&data.queries));
    assert_eq!((train.len(), base.len(), queries.len()), (3, 2, 1), "{train:?} {base:?} {queries:?}");
    let all = [train, base, queries].concat();
    assert!(all.windows(2).all(|pair| pair[0] < pair[1]), "higher tones in higher bands: {all:?}");
    let defaults =
        load(folder.path(), &json!({ "wav": ["tones/t0.wav", "tones/t1.wav", "tones/t2.wav"] })).expect("loads");
    assert_eq!((defaults.train.nrows(), defaults.base.nrows(), defaults.queries.nrows()), (24, 24, 24));
}

#[test]
fn recordings_that_cannot_be_are_refused_with_a_reason() {
    let folder = recordings();
    let good = tone_wav(440.0);
    let with = |at: usize, bytes: &[u8]| {
        let mut wav = good.clone();
        wav[at..at + bytes.len()].copy_from_slice(bytes);
        wav
    };
    let data = good.windows(4).position(|four| four == b"data").expect("a chunk");
    for (name, bytes, expected) in [
        ("empty", vec![], "it ends early"),
        ("text", b"no recording at all, but text".to_vec(), "it does not begin as a WAV file does"),
        ("rf64", with(0, b"RF64"), "it is an RF64 file"),
        ("header", good[..30].to_vec(), "the description of its samples is too short"),
        ("nothing", good[..data].to_vec(), "it holds no sound"),
        ("cut", good[..good.len() - 1].to_vec(), "its header states 8000 bytes of sound, 7999 follow"),
        ("streamed", with(data + 4, &[0xff; 4]), "its header states 4294967295 bytes of sound, 8000 follow"),
        ("odd", with(data + 4, &7999u32.to_le_bytes()), "its 7999 bytes of sound are not whole samples of 2 bytes"),
        ("law", with(20, &[6, 0]), "its sound is compressed (format 6)"),
        ("deep", with(34, &[64, 0]), "its samples have 64 bits"),
        ("channels", with(22, &[0, 0]), "states 0 channels"),
        ("many", with(22, &[0xff, 0xff]), "states 65535 channels"),
        ("block", with(32, &[3, 0]), "states 3 bytes for 1 samples of 16 bits"),
        ("rate", with(24, &[0; 4]), "states 0 samples per second"),
        ("fast", with(24, &[0xff; 4]), "states 4294967295 samples per second"),
        ("tag", with(data, b"atad"), "it holds no sound"),
        ("other", with(24, &16_000u32.to_le_bytes()), "t0.wav has 8000 samples per second and"),
        ("short", wav(8000, 1, 1, 16, &[0; 100]), "its 50 samples do not fill one frame of 200 samples"),
        ("infinite", wav(8000, 1, 3, 32, &[0, 0, 0x80, 0x7f].repeat(400)), "sample 0 is not finite"),
        ("copy", std::fs::read(folder.path().join("tones/t1.wav")).expect("reads"), "t1.wav is there twice"),
    ] {
        write(folder.path(), &format!("{name}.wav"), &bytes);
        let source = json!({ "wav": format!("{name}.wav"), "train": "tones/t0.wav", "queries": "tones/t1.wav" });
        let error = load(folder.path(), &source).expect_err(name);
        assert!(error.contains(expected), "{name}: {error}");
    }
    for (source, expected) in [
        (
            json!({ "wav": "tones/t0.wav" }),
            "1 recording cannot be held out for 3 parts; give more recordings, or `train:`",
        ),
        (json!({ "wav": ["tones/t0.wav", "tones/notes.txt", "tones/t1.wav"] }), "is unknown"),
        (json!({ "wav": "absent" }), "cannot read"),
        (json!({ "wav": "tones", "mel": { "bands": 500 } }), "use fewer `bands`"),
        (json!({ "wav": "tones", "mel": { "high_hz": 5000 } }), "between 0 and 4000 Hz"),
        (
            json!({ "wav": "tones", "split": { "train_frames": 5000 } }),
            "5000 training frames are requested, but its recordings have 48",
        ),
        (json!({ "wav": "tones", "mel": { "band": 5 } }), "unknown key `band`"),
    ] {
        let error = load(folder.path(), &source).expect_err(expected);
        assert!(error.contains(expected), "{source}: {error}");
    }
}

#[test]
fn the_recordings_of_the_catalog_are_a_folder_of_which_none_may_be_missing() {
    let here = folder();
    let folder = here.path().join("fsdd/free-spoken-digit-dataset-1.0.10/recordings");
    std::fs::create_dir_all(&folder).expect("a folder");
    // As many short recordings as there are, of which no two are alike.
    let recording = |i: usize| {
        let samples = (0..2300).map(|n| ((n * (i + 3)) % 32_749) as i16).flat_map(i16::to_le_bytes);
        wav(8000, 1, 1, 16, &samples.collect::<Vec<_>>())
    };
    for i in 0..2999 {
        write(&folder, &format!("{i}.wav"), &recording(i));
    }
    let search = SearchPath { folders: vec![here.path().to_owned()], ..SearchPath::default() };
    let resolve = || Source::Named("fsdd".into()).resolve(Path::new("."), &search).map_err(|error| error.to_string());
    let error = resolve().expect_err("one is missing");
    assert!(error.contains("2999 of its 3000 recordings are here"), "{error}");
    write(&folder, "2999.wav", &recording(2999));
    let summary = resolve().expect("all").summary;
    // Fourteen frames each.
    assert_eq!((summary.dim, summary.train, summary.base, summary.queries), (64, 20_000, 14_000, 1000));
}
