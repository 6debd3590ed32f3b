//! Files that only an entry of an experiment reads: recordings, and judgments of relevance.

use super::vectors::{MOST_VALUES, told};
use crate::room::Room;
use datasets::{SearchPath, Source};
use serde_json::{Value, json};
use std::path::Path;

/// A recording of 16-bit samples, all different from those of another `pitch`.
fn wav(pitch: usize) -> Vec<u8> {
    let samples: Vec<u8> = (0..600).flat_map(|n| (((n * pitch) % 4001) as i16).to_le_bytes()).collect();
    let length = |bytes: usize| (bytes as u32).to_le_bytes();
    [
        &b"RIFF"[..],
        &length(36 + samples.len()),
        b"WAVEfmt \x10\0\0\0\x01\0\x01\0",
        &8000u32.to_le_bytes(),
        &16_000u32.to_le_bytes(),
        b"\x02\0\x10\0data",
        &length(samples.len()),
        &samples,
    ]
    .concat()
}

pub fn wav_seeds() -> Vec<Vec<u8>> {
    vec![wav(7)]
}

pub fn check_wav(room: &Room, input: &[u8]) -> Result<(), String> {
    let recording = room.write("input.wav", input)?;
    let others = [room.write("others/input-train.wav", &wav(11))?, room.write("others/input-queries.wav", &wav(13))?];
    let values = load(json!({ "wav": recording, "train": others[0], "queries": others[1], "name": "input" }))?;
    if values > MOST_VALUES {
        return Err(format!("a recording of {} bytes gives {values} values", input.len()));
    }
    Ok(())
}

pub fn qrels_seeds() -> Vec<Vec<u8>> {
    [&b"0 0 1 2\n1 0 3 1\n1 0 0 -1\n"[..], b"query-id\tcorpus-id\tscore\n0\t2\t1\n1\t4\t3\n"]
        .map(<[u8]>::to_vec)
        .to_vec()
}

pub fn check_qrels(room: &Room, input: &[u8]) -> Result<(), String> {
    let judgments = room.write("input.tsv", input)?;
    let rows = room.write("input.csv", b"1,2\n3,4\n5,6\n7,8\n9,10\n")?;
    let queries = room.write("input-queries.csv", b"2,1\n4,3\n")?;
    load(json!({ "path": rows, "queries": queries, "train": "base", "qrels": judgments, "name": "input" })).map(drop)
}

/// Number of base values of an entry; 0 if it is refused.
fn load(written: Value) -> Result<usize, String> {
    let source = Source::parse(&written).map_err(|error| format!("the source of the test is refused: {error}"))?;
    let Some(resolved) = told(source.resolve(Path::new("/"), &SearchPath::default()))? else { return Ok(0) };
    Ok(told(resolved.load())?.map_or(0, |data| data.base.len()))
}
