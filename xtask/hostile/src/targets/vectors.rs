//! Files of vectors, labels and row numbers, in every format.

use super::plain;
use crate::room::Room;
use crate::seeds;
use datasets::format::{self, Blocks};
use datasets::{DatasetError, SearchPath, Source};
use serde_json::json;
use std::path::{Path, PathBuf};

/// More values than any input of the size of a mutation can justify.
pub(super) const MOST_VALUES: usize = 1 << 25;

/// Rows that are read at a time, for the comparison with all at once.
const BLOCK: usize = 7;

/// A file of vectors with a name of an extension.
pub struct VectorFile {
    extension: &'static str,
    name: String,
    parts: &'static [&'static str],
}

/// The mutations of a bounded run: more where one takes less time.
pub fn cases(extension: &str) -> u64 {
    match extension {
        "fvecs" | "bvecs" | "ivecs" | "fbin" | "u8bin" | "i8bin" | "ibin" | "f16bin" | "idx" | "safetensors" => 100_000,
        "npy" | "csv" | "tsv" | "ndjson" | "jsonl" | "txt" | "vec" => 20_000,
        _ => 10_000,
    }
}

/// The arrays that are asked for; the input decides which.
fn parts(extension: &str) -> &'static [&'static str] {
    match extension {
        "hdf5" | "h5" => {
            &["", "#test", "#neighbors", "#more/half", "#integers", "#text", "#linked", "#virtual", "#sparse"]
        }
        "parquet" | "parquet.gz" => &["", "#embedding", "#*", "#double", "#long"],
        "arrow" | "feather" | "ipc" | "arrow.zst" => &["", "#embedding", "#id*", "#half", "#int64", "#*"],
        "csv" | "tsv" | "csv.gz" => &["", "#embedding", "#1", "#e*"],
        "ndjson" | "jsonl" | "jsonl.zst" => &["", "#embedding"],
        "npz" | "safetensors" => &["", "#a", "#b"],
        "png" | "webp" | "jpg" | "jpeg" | "ppm" | "pgm" | "pnm" => &["#4", "#1", ""],
        _ => &[""],
    }
}

impl VectorFile {
    pub fn new(extension: &'static str) -> VectorFile {
        let name = if extension.is_empty() { "input".to_owned() } else { format!("input.{extension}") };
        VectorFile { extension, name, parts: parts(extension) }
    }

    pub fn seeds(&self) -> Vec<Vec<u8>> {
        seeds::vectors(self.extension)
    }

    pub fn check(&self, room: &Room, input: &[u8]) -> Result<(), String> {
        let file = room.write(&self.name, input)?;
        // Which array and which reader, by the input alone, so that an input means the same everywhere.
        let choice = input.iter().fold(0usize, |sum, &byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        let place = PathBuf::from(format!("{}{}", file.display(), self.parts[choice % self.parts.len()]));
        let shape = told(format::shape(&place))?;
        if let Some((n, dim)) = shape.filter(|(n, dim)| n.saturating_mul(*dim) > MOST_VALUES) {
            return Err(format!("a file of {} bytes holds {n} rows of {dim} components", input.len()));
        }
        match choice / self.parts.len() % 4 {
            0 => told(format::read_labels(&place)).map(drop),
            1 => told(format::read_ids(&place)).map(drop),
            2 => whole_and_blocks(&place, shape),
            _ => dataset(&place),
        }
    }
}

/// The value, or None if it was refused in words that name the file.
pub(super) fn told<T>(outcome: Result<T, DatasetError>) -> Result<Option<T>, String> {
    let error = match outcome {
        Ok(value) => return Ok(Some(value)),
        Err(error) => error,
    };
    let text = error.to_string();
    plain(&text)?;
    if !text.contains("input") {
        return Err(format!("an error does not say which file: {text}"));
    }
    Ok(None)
}

/// All rows at once have the shape of the header, and are those of blocks.
fn whole_and_blocks(place: &Path, shape: Option<(usize, usize)>) -> Result<(), String> {
    let whole = told(format::read(place))?;
    if let Some(rows) = whole.as_ref().filter(|rows| shape.is_some_and(|shape| shape != rows.dim())) {
        return Err(format!("its header says {shape:?}, and {:?} were read", rows.dim()));
    }
    let Some(mut blocks) = told(Blocks::open(place))? else { return Ok(()) };
    told(blocks.working_bytes())?;
    let (mut all, mut block) = (Vec::new(), Vec::new());
    let finished = loop {
        match blocks.next(BLOCK, &mut block) {
            Ok(0) => break true,
            Ok(_) => all.extend_from_slice(&block),
            Err(error) => {
                told(Err::<(), _>(error))?;
                break false;
            }
        }
    };
    let whole = whole.map(|rows| rows.into_iter().collect::<Vec<f32>>());
    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<u32>>();
    match whole {
        None if finished => Err("it is refused as a whole, and read in blocks".to_owned()),
        Some(whole) if finished && bits(&whole) != bits(&all) => {
            Err("blocks have other values than the whole".to_owned())
        }
        Some(whole) if !finished && whole.iter().all(|value| value.is_finite()) => {
            Err("it is read as a whole, and refused in blocks".to_owned())
        }
        _ => Ok(()),
    }
}

/// The file as an experiment would name it.
fn dataset(place: &Path) -> Result<(), String> {
    let written = json!({ "path": place, "metric": "cosine", "split": { "queries": 1 } });
    let source = Source::parse(&written).map_err(|error| format!("the source of the test is refused: {error}"))?;
    let Some(resolved) = told(source.resolve(Path::new("/"), &SearchPath::default()))? else { return Ok(()) };
    let Some(data) = told(resolved.load())? else { return Ok(()) };
    let (train, base, queries) = (data.train.nrows(), data.base.nrows(), data.queries.nrows());
    let said = (resolved.summary.train, resolved.summary.base, resolved.summary.queries);
    if (train, base, queries) != said {
        return Err(format!("it should have {said:?} rows and has {:?}", (train, base, queries)));
    }
    Ok(())
}
