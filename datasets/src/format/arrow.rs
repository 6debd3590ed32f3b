//! Arrow IPC files (Feather version 2) with a column of lists of numbers: every list is a row. Or with a column of numbers for
//! each component.

mod components;

use super::columns::{Holds, TableColumn, Vectors, choose};
use super::contain::{contained, plausible};
use super::input::Input;
use super::lists::absent;
use super::number::NumberType;
use super::{Format, OpenFile, RowReader, nesting, read_exact};
use components::Components;
use npyz::half::f16;
use polars_arrow::array::{Array, FixedSizeListArray, ListArray, PrimitiveArray};
use polars_arrow::datatypes::{ArrowDataType, Field};
use polars_arrow::io::ipc::read::{FileMetadata, FileReader, deserialize_footer};
use polars_arrow::offset::Offset;
use std::fmt::Display;
use std::io::{BufReader, Seek, SeekFrom};
use std::ops::Range;
use std::sync::Arc;

pub struct Arrow;

/// The first and the last bytes of a file.
const MAGIC: &[u8; 6] = b"ARROW1";

/// The length of the footer and the magic number after it.
const TAIL_BYTES: usize = 4 + MAGIC.len();

fn reason(error: impl Display) -> String {
    error.to_string()
}

fn metadata(file: &mut OpenFile) -> Result<FileMetadata, String> {
    let mut start = [0; MAGIC.len()];
    file.reader.rewind().map_err(reason)?;
    read_exact(file, &mut start)?;
    if &start != MAGIC {
        let stream = start[..4] == [0xff; 4];
        let first = start[..4] == *b"FEA1";
        return Err(match (stream, first) {
            (true, _) => "it is an Arrow stream, which has no table of contents; write it as an Arrow file".to_owned(),
            (_, true) => {
                "it is of the first version of Feather, which has no lists; write it as an Arrow file".to_owned()
            }
            _ => "it does not begin with ARROW1".to_owned(),
        });
    }
    let mut tail = [0; TAIL_BYTES];
    file.reader.seek(SeekFrom::End(-(TAIL_BYTES as i64))).map_err(reason)?;
    read_exact(file, &mut tail)?;
    let (length, magic) = tail.split_first_chunk().ok_or("it ends early")?;
    let length = i32::from_le_bytes(*length);
    let length = usize::try_from(length).ok().filter(|&length| length as u64 <= file.length);
    let Some(length) = length.filter(|_| magic == MAGIC) else {
        return Err("it does not end with a footer and ARROW1; it may be cut off".to_owned());
    };
    let mut footer = vec![0; length];
    file.reader.seek(SeekFrom::End(-((TAIL_BYTES + length) as i64))).map_err(reason)?;
    read_exact(file, &mut footer)?;
    nesting::arrow(&footer)?;
    let mut metadata = deserialize_footer(&footer, file.length).map_err(reason)?;
    if !metadata.ipc_schema.is_little_endian {
        return Err("its numbers are big-endian, which is not read; write it on another machine".to_owned());
    }
    // Columns of numbers need no dictionaries, which may be large.
    metadata.dictionaries = None;
    let mut end = 0;
    for block in &metadata.blocks {
        let after = block
            .offset
            .checked_add(i64::from(block.meta_data_length))
            .and_then(|at| at.checked_add(block.body_length));
        match after.filter(|after| end <= block.offset && block.offset <= *after) {
            Some(after) => end = after,
            None => return Err("its batches overlap".to_owned()),
        }
    }
    Ok(metadata)
}

/// The items of a list type, and the length of each list if the type fixes it; None if it is not a list type.
fn list(kind: &ArrowDataType) -> Option<(&Field, Option<usize>)> {
    match kind.to_storage() {
        ArrowDataType::List(item) | ArrowDataType::LargeList(item) => Some((item, None)),
        ArrowDataType::FixedSizeList(item, size) => Some((item, Some(*size))),
        _ => None,
    }
}

fn number(kind: &ArrowDataType) -> Option<NumberType> {
    Some(match kind.to_storage() {
        ArrowDataType::Float16 => NumberType::F16,
        ArrowDataType::Float32 => NumberType::F32,
        ArrowDataType::Float64 => NumberType::F64,
        ArrowDataType::Int8 => NumberType::I8,
        ArrowDataType::UInt8 => NumberType::U8,
        ArrowDataType::Int16 => NumberType::I16,
        ArrowDataType::UInt16 => NumberType::U16,
        ArrowDataType::Int32 => NumberType::I32,
        ArrowDataType::UInt32 => NumberType::U32,
        ArrowDataType::Int64 => NumberType::I64,
        ArrowDataType::UInt64 => NumberType::U64,
        _ => return None,
    })
}

/// Arrow's name of a type, without details.
fn called(kind: &ArrowDataType) -> String {
    match (list(kind), kind.to_storage()) {
        (Some((item, _)), _) => format!("list of {}", called(&item.dtype)),
        (None, ArrowDataType::Utf8View | ArrowDataType::LargeUtf8) => "Utf8".to_owned(),
        (None, ArrowDataType::Struct(_)) => "struct".to_owned(),
        (None, ArrowDataType::Dictionary(_, values, _)) => format!("dictionary of {}", called(values)),
        (None, kind) => format!("{kind:?}").split(['(', ' ', '{']).next().unwrap_or_default().to_owned(),
    }
}

fn columns(metadata: &FileMetadata) -> Vec<TableColumn> {
    let column = |field: &Field| TableColumn {
        name: field.name.to_string(),
        kind: called(&field.dtype),
        holds: match list(&field.dtype) {
            Some((item, _)) if number(&item.dtype).is_some() => Holds::Vectors,
            None if number(&field.dtype).is_some() => Holds::Numbers,
            _ => Holds::Other,
        },
    };
    metadata.schema.iter_values().map(column).collect()
}

/// Number of arrays of a column: itself, and the arrays within it.
fn nodes(kind: &ArrowDataType) -> usize {
    1 + match kind.to_storage() {
        ArrowDataType::List(item) | ArrowDataType::LargeList(item) | ArrowDataType::FixedSizeList(item, _) => {
            nodes(&item.dtype)
        }
        ArrowDataType::Map(item, _) => nodes(&item.dtype),
        ArrowDataType::Struct(fields) => fields.iter().map(|field| nodes(&field.dtype)).sum(),
        ArrowDataType::Union(union) => union.fields.iter().map(|field| nodes(&field.dtype)).sum(),
        _ => 0,
    }
}

/// The layout of the column, checked against the file before values are read.
struct ArrowLayout {
    metadata: FileMetadata,
    column: usize,
    number: NumberType,
    /// Rows of each batch.
    batches: Vec<usize>,
    rows: usize,
    values: usize,
    /// Values of the largest batch.
    largest: usize,
}

/// Where the vectors are, and the metadata.
fn vectors(file: &mut OpenFile) -> Result<(FileMetadata, Vectors), String> {
    let metadata = metadata(file)?;
    let vectors = choose(&columns(&metadata), file.place.part.as_deref());
    Ok((metadata, vectors.map_err(|_| "it changed while it was read")?))
}

fn header(file: &mut OpenFile, mut metadata: FileMetadata, column: usize) -> Result<ArrowLayout, String> {
    let node = metadata.schema.iter_values().take(column).map(|field| nodes(&field.dtype)).sum::<usize>();
    let field = metadata.schema.iter_values().nth(column).ok_or("it changed while it was read")?.clone();
    let (item, size) = list(&field.dtype).ok_or("it changed while it was read")?;
    let number = number(&item.dtype).ok_or("it changed while it was read")?;
    let mut batches = Vec::new();
    let (mut rows, mut values, mut largest) = (0usize, 0usize, 0);
    let mut reader = FileReader::new(&mut file.reader, metadata.clone(), None, None);
    while let Some(batch) = reader.next_record_batch() {
        let at = batches.len();
        let wrong = |what: &str| format!("batch {at} {what}");
        let batch = batch.map_err(|error| wrong(&error.to_string()))?;
        let nodes = batch.nodes().map_err(reason)?.ok_or_else(|| wrong("has no columns"))?;
        let length = |of: usize| {
            let length = nodes.get(of).map(|node| node.length());
            length.and_then(|length| usize::try_from(length).ok()).ok_or_else(|| wrong("lacks the column"))
        };
        let (held, inner) = (length(node)?, length(node + 1)?);
        if usize::try_from(batch.length().map_err(reason)?) != Ok(held) {
            return Err(wrong("and its column are not of one length"));
        }
        if size.is_some_and(|size| held.checked_mul(size) != Some(inner)) {
            return Err(wrong(&format!("holds {inner} numbers in {held} lists of one size")));
        }
        let buffers = batch.buffers().map_err(reason)?.ok_or_else(|| wrong("has no buffers"))?;
        if buffers.iter().any(|part| u64::try_from(part.length()).is_ok_and(|bytes| bytes > file.length)) {
            return Err(wrong("is larger than the file"));
        }
        rows = rows.checked_add(held).ok_or("its numbers of rows make no sense")?;
        values = values.checked_add(inner).ok_or("its numbers of values make no sense")?;
        largest = largest.max(inner);
        batches.push(held);
    }
    let bytes = super::number::Number::little_endian(number).bytes();
    plausible([values, 1], bytes, file, true)?;
    plausible([rows, 1], 1, file, true)?;
    if number == NumberType::F16 {
        read_as_bits(&mut metadata, column)?;
    }
    Ok(ArrowLayout { metadata, column, number, batches, rows, values, largest })
}

/// Changes the type of a column from half-precision numbers to 16-bit integers, because the reader's type for such numbers
/// is not public.
fn read_as_bits(metadata: &mut FileMetadata, column: usize) -> Result<(), String> {
    let schema = Arc::make_mut(&mut metadata.schema);
    let (_, field) = schema.get_at_index_mut(column).ok_or("it changed while it was read")?;
    let bits = |item: &Field| Box::new(Field::new(item.name.clone(), ArrowDataType::UInt16, item.is_nullable));
    let kind = match field.dtype.to_storage() {
        ArrowDataType::List(item) => ArrowDataType::List(bits(item)),
        ArrowDataType::LargeList(item) => ArrowDataType::LargeList(bits(item)),
        ArrowDataType::FixedSizeList(item, size) => ArrowDataType::FixedSizeList(bits(item), *size),
        _ => ArrowDataType::UInt16,
    };
    field.dtype = kind;
    Ok(())
}

/// The numbers of a batch, and the range of them that is not yet used.
struct Batch {
    numbers: Box<dyn Array>,
    left: Range<usize>,
}

/// Reads the batches in order.
struct Batches {
    reader: FileReader<BufReader<Input>>,
    number: NumberType,
    shape: (usize, usize),
    /// Rows of each batch.
    batches: Vec<usize>,
    /// The next of them.
    next: usize,
    batch: Option<Batch>,
    /// Number of rows in the batches read so far.
    read: usize,
    /// Components of row 0.
    first: Option<usize>,
    working_bytes: u64,
}

impl Batches {
    fn new(file: OpenFile, header: ArrowLayout) -> Batches {
        // The numbers compressed and decompressed, and the offsets of the lists.
        let bytes = 2 * header.largest as u64 * 8 + 2 * 8 * header.batches.iter().max().map_or(0, |&rows| rows as u64);
        Batches {
            reader: FileReader::new(file.reader, header.metadata, Some(vec![header.column]), None),
            number: header.number,
            shape: (header.rows, header.values / header.rows.max(1)),
            batches: header.batches,
            next: 0,
            batch: None,
            read: 0,
            first: None,
            working_bytes: bytes,
        }
    }

    /// Reads the next batch. Returns whether there was one.
    fn read(&mut self) -> Result<bool, String> {
        self.batch = None;
        let Some(&expected) = self.batches.get(self.next) else { return Ok(false) };
        let at = self.next;
        let batch = self.reader.next().ok_or("it ends early")?.map_err(|error| format!("batch {at}: {error}"))?;
        let lists = batch.into_arrays().pop().ok_or("a batch lacks the column")?;
        if lists.len() != expected {
            return Err(format!("batch {at} promises {expected} rows and holds {}", lists.len()));
        }
        if let Some(valid) = lists.validity().filter(|valid| valid.unset_bits() > 0) {
            let row = valid.iter().position(|valid| !valid).unwrap_or_default();
            return Err(absent(self.read + row));
        }
        let any = lists.as_any();
        let (numbers, left) = if let Some(lists) = any.downcast_ref::<FixedSizeListArray>() {
            let dim = *self.first.get_or_insert(lists.size());
            (lists.values().clone(), 0..expected * dim)
        } else if let Some(lists) = any.downcast_ref::<ListArray<i32>>() {
            (lists.values().clone(), self.lengths(lists)?)
        } else if let Some(lists) = any.downcast_ref::<ListArray<i64>>() {
            (lists.values().clone(), self.lengths(lists)?)
        } else {
            return Err("its batches disagree about the type of the column".to_owned());
        };
        if left.end > numbers.len() {
            return Err(format!("batch {at} holds {} numbers where its rows need {}", numbers.len(), left.end));
        }
        if let Some(valid) = numbers.validity().filter(|valid| valid.unset_bits() > 0) {
            let null = valid.iter().enumerate().position(|(i, valid)| !valid && left.contains(&i));
            if let Some(i) = null {
                return Err(absent(self.read + (i - left.start) / self.first.unwrap_or(1).max(1)));
            }
        }
        self.batch = Some(Batch { numbers, left });
        self.next += 1;
        self.read += expected;
        Ok(true)
    }

    /// Checks that all lists are as long as the first of the file. Returns the range of their numbers.
    fn lengths<O: Offset>(&mut self, lists: &ListArray<O>) -> Result<Range<usize>, String> {
        let ends = lists.offsets().as_slice();
        for (i, pair) in ends.windows(2).enumerate() {
            let (row, length) = (self.read + i, pair[1].to_usize().saturating_sub(pair[0].to_usize()));
            if length == 0 {
                return Err(absent(row));
            }
            let first = *self.first.get_or_insert(length);
            if length != first {
                return Err(format!("row {row} has {length} components, row 0 has {first}"));
            }
        }
        let place = |end: Option<&O>| end.map_or(0, |end| end.to_usize());
        Ok(place(ends.first())..place(ends.last()))
    }
}

/// Appends numbers of an array; None if it is of another type than the schema says.
fn append(array: &dyn Array, kind: NumberType, range: Range<usize>, out: &mut Vec<f32>) -> Option<()> {
    macro_rules! walk {
        ($type:ty, $convert:expr) => {{
            let numbers = array.as_any().downcast_ref::<PrimitiveArray<$type>>()?.values().get(range)?;
            out.extend(numbers.iter().map($convert))
        }};
    }
    match kind {
        NumberType::F16 => walk!(u16, |&bits| f16::from_bits(bits).to_f32()),
        // Arrow has no such type.
        NumberType::BF16 => return None,
        NumberType::F32 => walk!(f32, |&v| v),
        NumberType::F64 => walk!(f64, |&v| v as f32),
        NumberType::I8 => walk!(i8, |&v| f32::from(v)),
        NumberType::U8 => walk!(u8, |&v| f32::from(v)),
        NumberType::I16 => walk!(i16, |&v| f32::from(v)),
        NumberType::U16 => walk!(u16, |&v| f32::from(v)),
        NumberType::I32 => walk!(i32, |&v| v as f32),
        NumberType::U32 => walk!(u32, |&v| v as f32),
        NumberType::I64 => walk!(i64, |&v| v as f32),
        NumberType::U64 => walk!(u64, |&v| v as f32),
    }
    Some(())
}

impl RowReader for Batches {
    fn shape(&self) -> (usize, usize) {
        self.shape
    }

    fn append(&mut self, count: usize, out: &mut Vec<f32>) -> Result<(), String> {
        let dim = self.shape.1;
        contained(|| {
            let mut left = count * dim;
            while left > 0 {
                let Some(batch) = self.batch.as_mut().filter(|batch| !batch.left.is_empty()) else {
                    if !self.read()? {
                        return Err("it ends early".to_owned());
                    }
                    if let Some(first) = self.first.filter(|first| *first != dim) {
                        return Err(format!("row 0 has {first} components, its header promises {dim}"));
                    }
                    continue;
                };
                let from = batch.left.start;
                let to = batch.left.end.min(from + left);
                append(batch.numbers.as_ref(), self.number, from..to, out)
                    .ok_or("its batches disagree about the type of the column")?;
                batch.left.start = to;
                left -= to - from;
            }
            Ok(())
        })
    }

    fn working_bytes(&mut self) -> Result<u64, String> {
        Ok(self.working_bytes)
    }
}

impl Format for Arrow {
    fn name(&self) -> &'static str {
        "Arrow"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["arrow", "feather", "ipc"]
    }

    fn recognizes(&self, head: &[u8], _: u64) -> bool {
        head.starts_with(MAGIC)
    }

    fn choose(&self, file: &mut OpenFile) -> Result<Option<String>, String> {
        contained(|| {
            let columns = columns(&metadata(file)?);
            let vectors = choose(&columns, file.place.part.as_deref())?;
            Ok(Some(file.place.part.clone().unwrap_or_else(|| vectors.part(&columns))))
        })
    }

    fn components(&self, file: &mut OpenFile) -> Result<Option<Vec<String>>, String> {
        contained(|| {
            let (metadata, vectors) = vectors(file)?;
            let Vectors::Components(chosen) = vectors else { return Ok(None) };
            let mut columns = columns(&metadata);
            Ok(Some(chosen.into_iter().map(|at| std::mem::take(&mut columns[at].name)).collect()))
        })
    }

    fn shape(&self, file: &mut OpenFile) -> Result<(usize, usize), String> {
        contained(|| {
            let (metadata, vectors) = vectors(file)?;
            let column = match vectors {
                Vectors::Lists(column) => column,
                Vectors::Components(columns) => return Ok(Components::new(file.again(), metadata, columns)?.shape()),
            };
            let header = header(file, metadata, column)?;
            let (rows, values) = (header.rows, header.values);
            if rows == 0 {
                return Ok((0, 0));
            }
            if !values.is_multiple_of(rows) {
                // Some row has another length; reading finds out which.
                let mut batches = Batches::new(file.again(), header);
                while batches.read()? {}
                return Err(format!("{values} values make no {rows} rows of one length"));
            }
            Ok((rows, values / rows))
        })
    }

    fn rows(&self, mut file: OpenFile) -> Result<Box<dyn RowReader>, String> {
        self.shape(&mut file)?;
        contained(|| {
            let (metadata, vectors) = vectors(&mut file)?;
            Ok(match vectors {
                Vectors::Lists(column) => {
                    let header = header(&mut file, metadata, column)?;
                    Box::new(Batches::new(file, header)) as Box<dyn RowReader>
                }
                Vectors::Components(columns) => Box::new(Components::new(file, metadata, columns)?),
            })
        })
    }
}
