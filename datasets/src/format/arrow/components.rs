//! Rows whose components are columns of an Arrow file.

use super::super::contain::{contained, plausible};
use super::super::input::Input;
use super::super::lists::absent;
use super::super::number::{Number, NumberType};
use super::super::{OpenFile, RowReader};
use super::{append, nodes, number, read_as_bits, reason};
use polars_arrow::array::Array;
use polars_arrow::io::ipc::read::{FileMetadata, FileReader};
use std::io::BufReader;
use std::ops::Range;

/// The columns of a batch, and the range of its rows that is not yet used.
struct Batch {
    columns: Vec<Box<dyn Array>>,
    left: Range<usize>,
}

/// Reads the same rows of all columns, batch by batch.
pub(super) struct Components {
    reader: FileReader<BufReader<Input>>,
    numbers: Vec<NumberType>,
    names: Vec<String>,
    /// Rows of each batch.
    batches: Vec<usize>,
    /// The next of them.
    next: usize,
    rows: usize,
    batch: Option<Batch>,
    /// Number of rows in the batches read so far.
    read: usize,
    /// Values of one column.
    values: Vec<f32>,
}

impl Components {
    /// Checks the batches against the file.
    ///
    /// # Errors
    /// A reason in words, without the path.
    pub(super) fn new(
        mut file: OpenFile,
        mut metadata: FileMetadata,
        columns: Vec<usize>,
    ) -> Result<Components, String> {
        let fields: Vec<_> = metadata.schema.iter_values().cloned().collect();
        // The array of each column in the list of all arrays of a batch.
        let mut places = Vec::new();
        let (mut numbers, mut names, mut place) = (Vec::new(), Vec::new(), 0);
        for (at, field) in fields.iter().enumerate() {
            if columns.contains(&at) {
                places.push(place);
                names.push(field.name.to_string());
                numbers.push(number(&field.dtype).ok_or("it changed while it was read")?);
            }
            place += nodes(&field.dtype);
        }
        let (mut batches, mut rows) = (Vec::new(), 0usize);
        let mut reader = FileReader::new(&mut file.reader, metadata.clone(), None, None);
        while let Some(batch) = reader.next_record_batch() {
            let wrong = |what: &str| format!("batch {} {what}", batches.len());
            let batch = batch.map_err(|error| wrong(&error.to_string()))?;
            let held = usize::try_from(batch.length().map_err(reason)?).map_err(|_| wrong("has no length"))?;
            let lengths = batch.nodes().map_err(reason)?.ok_or_else(|| wrong("has no columns"))?;
            for (&place, name) in places.iter().zip(&names) {
                let length = lengths.get(place).map(|node| node.length());
                if length.and_then(|length| usize::try_from(length).ok()) != Some(held) {
                    return Err(wrong(&format!("and its column `{name}` are not of one length")));
                }
            }
            let buffers = batch.buffers().map_err(reason)?.ok_or_else(|| wrong("has no buffers"))?;
            if buffers.iter().any(|part| u64::try_from(part.length()).is_ok_and(|bytes| bytes > file.length)) {
                return Err(wrong("is larger than the file"));
            }
            rows = rows.checked_add(held).ok_or("its numbers of rows make no sense")?;
            batches.push(held);
        }
        let bytes = numbers.iter().map(|&kind| Number::little_endian(kind).bytes()).min().unwrap_or(1);
        plausible([rows, columns.len()], bytes, &file, true)?;
        for (&at, kind) in columns.iter().zip(&numbers) {
            if *kind == NumberType::F16 {
                read_as_bits(&mut metadata, at)?;
            }
        }
        Ok(Components {
            reader: FileReader::new(file.reader, metadata, Some(columns), None),
            numbers,
            names,
            batches,
            next: 0,
            rows,
            batch: None,
            read: 0,
            values: Vec::new(),
        })
    }

    /// Reads the next batch.
    fn read(&mut self) -> Result<Batch, String> {
        let at = self.next;
        let expected = *self.batches.get(at).ok_or("it ends early")?;
        let batch = self.reader.next().ok_or("it ends early")?.map_err(|error| format!("batch {at}: {error}"))?;
        let columns = batch.into_arrays();
        if columns.len() != self.names.len() || columns.iter().any(|column| column.len() != expected) {
            return Err(format!("batch {at} states {expected} rows of {} columns and holds others", self.names.len()));
        }
        for (column, name) in columns.iter().zip(&self.names) {
            if let Some(valid) = column.validity().filter(|valid| valid.unset_bits() > 0) {
                let row = valid.iter().position(|valid| !valid).unwrap_or_default();
                return Err(format!("in its column `{name}`: {}", absent(self.read + row)));
            }
        }
        self.next += 1;
        self.read += expected;
        Ok(Batch { columns, left: 0..expected })
    }
}

impl RowReader for Components {
    fn shape(&self) -> (usize, usize) {
        (self.rows, self.names.len())
    }

    fn append(&mut self, count: usize, out: &mut Vec<f32>) -> Result<(), String> {
        let dim = self.names.len();
        contained(|| {
            let mut left = count;
            while left > 0 {
                let mut batch = match self.batch.take() {
                    Some(batch) => batch,
                    None => self.read()?,
                };
                let from = batch.left.start;
                let to = batch.left.end.min(from + left);
                let begin = out.len();
                out.resize(begin + (to - from) * dim, 0.0);
                for (j, (column, &kind)) in batch.columns.iter().zip(&self.numbers).enumerate() {
                    self.values.clear();
                    append(column.as_ref(), kind, from..to, &mut self.values)
                        .ok_or("its batches disagree about the type of a column")?;
                    let places = out[begin + j..].iter_mut().step_by(dim);
                    places.zip(&self.values).for_each(|(place, value)| *place = *value);
                }
                batch.left.start = to;
                left -= to - from;
                self.batch = Some(batch).filter(|batch| !batch.left.is_empty());
            }
            Ok(())
        })
    }

    fn working_bytes(&mut self) -> Result<u64, String> {
        // The numbers compressed and decompressed.
        let largest = self.batches.iter().max().copied().unwrap_or(0) as u64;
        Ok(2 * 8 * largest * self.names.len() as u64)
    }
}
