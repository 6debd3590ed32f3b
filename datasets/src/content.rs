//! What is in an array, whatever container it lies in: a digest of its decoded values. It identifies vectors, classes and
//! neighbours, so that the same ones in another format are the same.

use crate::DatasetError;
use crate::drops::{MarkedRows, Marker, RowKind};
use crate::format::{self, Blocks, Place};
use ndarray::ArrayView1;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::path::Path;
use std::sync::mpsc::{channel, sync_channel};

/// Values decoded and digested at a time.
const BLOCK_VALUES: usize = 1 << 18;

/// How an array is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Reading {
    /// Vectors.
    Rows,
    /// A class for each row.
    Labels,
    /// Row numbers of neighbours.
    Neighbours,
}

/// The content of an array.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Content {
    /// Digest of the number of columns (u64, little-endian) and of all values, row by row (f32 or u32, little-endian).
    pub sha256: String,
    /// The same of the rows of each file that has any.
    pub pieces: Vec<String>,
    /// Rows of the requested kinds.
    pub marked: MarkedRows,
}

/// Reads an array from its first value to its last, and marks rows of some kinds. Vectors are read in blocks.
///
/// # Errors
/// Files that cannot be read. Values that are not finite are no error here.
pub(crate) fn read(path: &Path, reading: Reading, kinds: &[RowKind]) -> Result<Content, DatasetError> {
    match reading {
        Reading::Rows => read_rows(path, kinds),
        Reading::Labels => Ok(of_integers(format::read_labels(path)?.iter(), 1)),
        Reading::Neighbours => format::read_ids(path).map(|ids| of_integers(ids.iter(), ids.ncols())),
    }
}

fn read_rows(path: &Path, kinds: &[RowKind]) -> Result<Content, DatasetError> {
    let places = format::pieces(path)?;
    let (_, dim) = format::shape(path)?;
    let mut whole = hasher(dim);
    let mut marker = Marker::new(kinds);
    let mut pieces = Vec::new();
    let several = places.len() > 1;
    for place in places {
        let mut piece = hasher(dim);
        read_ahead(place, path, dim, |block| {
            let of_piece = || {
                if several {
                    piece.update(&block.bytes)
                }
            };
            rayon::join(|| whole.update(&block.bytes), || rayon::join(of_piece, || marker.take(&block.values, dim)));
        })?;
        pieces.push(piece);
    }
    if !several {
        pieces = vec![whole.clone()];
    }
    let pieces = pieces.into_iter().map(hexadecimal).collect();
    Ok(Content { sha256: hexadecimal(whole), pieces, marked: marker.finish() })
}

/// Rows that were read, and what is digested of them.
#[derive(Default)]
struct Block {
    values: Vec<f32>,
    bytes: Vec<u8>,
}

/// Calls `act` with each block of rows of a place, in order. A digest is a chain and takes one thread: while it is
/// computed, another reads and decodes the next block.
fn read_ahead(place: Place, path: &Path, dim: usize, mut act: impl FnMut(&Block)) -> Result<(), DatasetError> {
    std::thread::scope(|scope| {
        let (full, blocks) = sync_channel(1);
        let (back, used) = channel::<Block>();
        scope.spawn(move || {
            let read = || {
                let mut rows = Blocks::at(place, path)?;
                loop {
                    let Block { mut values, mut bytes } = used.try_recv().unwrap_or_default();
                    if rows.next_of_any(BLOCK_VALUES.div_ceil(dim), &mut values)? == 0 {
                        return Ok(());
                    }
                    bytes.resize(4 * values.len(), 0);
                    let places = bytes.as_chunks_mut().0.iter_mut();
                    places.zip(&values).for_each(|(bytes, value)| *bytes = value.to_le_bytes());
                    if full.send(Ok(Block { values, bytes })).is_err() {
                        return Ok(());
                    }
                }
            };
            if let Err(error) = read() {
                let _ = full.send(Err(error));
            }
        });
        for block in blocks {
            let block = block?;
            act(&block);
            let _ = back.send(block);
        }
        Ok(())
    })
}

fn of_integers<'a>(values: impl Iterator<Item = &'a u32>, columns: usize) -> Content {
    let mut hasher = hasher(columns);
    values.for_each(|value| hasher.update(value.to_le_bytes()));
    let sha256 = hexadecimal(hasher);
    Content { pieces: vec![sha256.clone()], sha256, marked: MarkedRows::default() }
}

fn hasher(columns: usize) -> Sha256 {
    let mut hasher = Sha256::new();
    hasher.update((columns as u64).to_le_bytes());
    hasher
}

/// Half of the SHA-256 of a row; 0 and −0 are the same value.
pub(crate) fn row_digest(row: ArrayView1<'_, f32>) -> u128 {
    let bytes: Vec<u8> = row.iter().flat_map(|&value| (value + 0.0).to_le_bytes()).collect();
    Sha256::digest(&bytes).first_chunk().map_or(0, |half| u128::from_le_bytes(*half))
}

/// A digest as text.
pub(crate) fn hexadecimal(hasher: Sha256) -> String {
    hasher.finalize().iter().map(|b| format!("{b:02x}")).collect()
}
