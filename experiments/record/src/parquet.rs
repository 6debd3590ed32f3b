//! Reading tables from Parquet files, which may come from a stranger.

mod pages;

use crate::contain::contained;
use crate::frame::{fault, sha256};
use crate::{RecordError, regular};
use polars::prelude::*;
use std::io::Cursor;
use std::path::Path;

/// Columns that tables of older versions lack. They read as empty.
const LATER: [&str; 2] = ["family", "log"];

/// Maximum size of a Parquet file that is read, in bytes.
const MAX_PARQUET: u64 = 1 << 32;

/// Maximum number of rows per byte of a Parquet file. Tables of this program have less than one row per ten bytes; a
/// header that claims more than this maximum is refused before memory is allocated.
const MAX_ROWS_PER_BYTE: usize = 16;

/// Reads the columns in `schema` that `wanted` accepts from a Parquet file. The file may have other columns too, and lack
/// those that older versions did not write. It may come from a stranger: a file that is not a table of such columns is
/// refused with a reason. The file must have the SHA-256 `digest`, which was recorded when it was written.
///
/// # Errors
/// A system error; not a regular file; a file that is damaged or has other columns.
pub(crate) fn read(
    path: &Path,
    digest: &str,
    schema: &[(&str, DataType)],
    wanted: impl Fn(&str) -> bool,
) -> Result<DataFrame, RecordError> {
    let bytes = regular::read(path, MAX_PARQUET).map_err(RecordError::io("read", path))?;
    if digest != sha256(&bytes) {
        let reason = format!("its SHA-256 is not {digest}, which was noted when it was written");
        return Err(RecordError::Damaged { path: path.to_owned(), reason });
    }
    let schema: Vec<&(&str, DataType)> = schema.iter().filter(|(name, _)| wanted(name)).collect();
    contained(|| read_bytes(bytes, &schema)).map_err(|reason| RecordError::Damaged { path: path.to_owned(), reason })
}

fn read_bytes(bytes: Vec<u8>, schema: &[&(&str, DataType)]) -> Result<DataFrame, String> {
    let most = bytes.len().saturating_mul(MAX_ROWS_PER_BYTE);
    let length = bytes.len();
    let mut reader = ParquetReader::new(Cursor::new(&bytes[..]));
    let found = reader.schema().map_err(fault)?;
    let lacks = |name: &str| LATER.contains(&name) && !found.contains(name);
    for (name, kind) in schema.iter().filter(|(name, _)| !lacks(name)) {
        let field = found.get(name).ok_or_else(|| format!("it has no column `{name}`"))?;
        let stored = DataType::from_arrow_field(field);
        if stored != *kind {
            return Err(format!("its column `{name}` holds {stored}, not {kind}"));
        }
    }
    let rows = reader.num_rows().map_err(fault)?;
    if rows > most {
        return Err(format!("it promises {rows} rows; a file of {length} bytes can hold {most} at most"));
    }
    pages::check(&bytes, rows, |name| schema.iter().any(|(wanted, _)| *wanted == name))?;
    let names = schema.iter().map(|(name, _)| *name).filter(|name| !lacks(name)).map(str::to_owned).collect();
    // Run on this thread only, so that a panic is contained.
    let mut frame = reader.with_columns(Some(names)).read_parallel(ParallelStrategy::None).finish().map_err(fault)?;
    if frame.height() != rows {
        return Err(format!("it promises {rows} rows and has {}", frame.height()));
    }
    for (at, (name, kind)) in schema.iter().enumerate().filter(|(_, (name, _))| lacks(name)) {
        frame.insert_column(at, Column::full_null((*name).into(), rows, kind)).map_err(fault)?;
    }
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::tests::run;
    use crate::frame::{RESULTS, TRIALS, results, to_parquet, trials};

    /// A run folder may come from a stranger.
    #[test]
    fn no_file_is_too_odd_to_be_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("results.parquet");
        let refused = |bytes: &[u8]| {
            std::fs::write(&path, bytes).expect("writes");
            read(&path, &sha256(bytes), &RESULTS, |_| true).map(|frame| frame.height())
        };
        let whole = to_parquet(results(&run()).expect("a frame")).expect("bytes");
        assert_eq!(refused(&whole).expect("reads"), 3);
        for length in (0..whole.len()).step_by(101) {
            assert!(refused(&whole[..length]).is_err(), "cut to {length} bytes");
        }
        assert!(refused(b"PAR1PAR1").is_err() && refused(&[0xff; 4096]).is_err() && refused(&whole[4..]).is_err());
        // Change bytes of pages and any byte of the footer, with a linear congruential generator: the result is an error or
        // another table, never a panic or the end of the process.
        let length =
            u32::from_le_bytes(whole[whole.len() - 8..whole.len() - 4].try_into().expect("four bytes")) as usize;
        let mut state = 1u32;
        let pages = (4..whole.len() - 8 - length).step_by(5);
        for at in pages.chain((whole.len() - 8 - length..whole.len()).step_by(17)) {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (state >> 29);
            let _ = refused(&bytes);
        }
        // Other columns, other types, another order.
        let write = |frame: DataFrame| to_parquet(frame).expect("bytes");
        let frame = results(&run()).expect("a frame");
        let error = refused(&write(frame.drop("value").expect("a column"))).expect_err("no values").to_string();
        assert!(error.contains("it has no column `value`"), "{error}");
        let mut texts = frame.clone();
        texts.replace("value", Column::new("value".into(), ["0.5", "x", ""])).expect("a column");
        let error = refused(&write(texts)).expect_err("texts").to_string();
        assert!(error.contains("its column `value` holds str, not f64"), "{error}");
        let odd = [Some(f64::NAN), None, Some(f64::INFINITY)];
        let mut numbers = frame.clone();
        numbers.replace("value", Column::new("value".into(), odd)).expect("a column");
        assert_eq!(refused(&write(numbers)).expect("numbers all the same"), 3);
    }

    #[test]
    fn columns_that_older_versions_did_not_write_read_as_empty() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("trials.parquet");
        let written = trials(&run()).expect("a frame");
        let older = written.drop_many(LATER);
        let bytes = to_parquet(older.clone()).expect("bytes");
        std::fs::write(&path, &bytes).expect("writes");
        let found = read(&path, &sha256(&bytes), &TRIALS, |_| true).expect("reads");
        assert_eq!(found.get_column_names(), written.get_column_names());
        assert!(found.drop_many(LATER).equals_missing(&older));
        for name in LATER {
            assert_eq!(found.column(name).expect("a column").null_count(), older.height(), "{name}");
        }
    }
}
