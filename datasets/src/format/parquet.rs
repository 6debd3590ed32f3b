//! Parquet tables with a column of lists of numbers, as embeddings are often stored: every list is a row. Or with a column of
//! numbers for each component.
//!
//! The file is read page by page with parts of `polars`: its parsers of metadata and levels, its decompression and its
//! decoders of values. The table reader of `polars` would hold a whole row group in memory, and allocate what a page claims
//! before checking the claim.

mod components;
mod layout;
mod pages;
mod texts;

use super::columns::{Holds, TableColumn, Vectors, choose};
use super::contain::{contained, plausible};
use super::number::NumberType;
use super::{FileLayout, Format, OpenFile, OutputType, RowReader, nesting, row_names};
use components::Components;
use pages::Pages;
use polars_arrow::datatypes::ArrowDataType;
use polars_parquet::parquet::compression::Compression;
use polars_parquet::parquet::metadata::{ColumnDescriptor, Descriptor};
use polars_parquet::parquet::schema::types::{IntegerType, PhysicalType, PrimitiveConvertedType, PrimitiveLogicalType};
use polars_parquet::read::{FileMetadata, read_metadata};
use std::collections::HashMap;
use std::fmt::Display;
use std::io::{Seek, SeekFrom};

pub struct Parquet;

fn reason(error: impl Display) -> String {
    error.to_string()
}

/// The length of the metadata and the magic number after them.
const TAIL_BYTES: usize = 8;

fn metadata(file: &mut OpenFile) -> Result<FileMetadata, String> {
    let mut tail = [0; TAIL_BYTES];
    file.reader.seek(SeekFrom::End(-(TAIL_BYTES as i64))).map_err(|_| "it is too short".to_owned())?;
    super::read_exact(file, &mut tail)?;
    let (length, magic) = tail.split_first_chunk().ok_or("it ends early")?;
    let length = u32::from_le_bytes(*length);
    if magic != b"PAR1" || u64::from(length) + TAIL_BYTES as u64 > file.length {
        return Err("it does not end with metadata and PAR1; it may be cut off".to_owned());
    }
    let mut bytes = vec![0; length as usize];
    file.reader.seek(SeekFrom::End(-((TAIL_BYTES + bytes.len()) as i64))).map_err(reason)?;
    super::read_exact(file, &mut bytes)?;
    nesting::parquet(&bytes)?;
    read_metadata(&mut file.reader).map_err(reason)
}

/// The types of a column's numbers, decoded and stored; None if it does not hold numbers.
fn number(column: &ColumnDescriptor) -> Option<(ArrowDataType, NumberType)> {
    let leaf = &column.descriptor.primitive_type;
    let integer = match (leaf.logical_type, leaf.converted_type) {
        (Some(PrimitiveLogicalType::Integer(kind)), _) => Some(kind),
        (Some(_), _) => None,
        (None, Some(converted)) => match converted {
            PrimitiveConvertedType::Int8 => Some(IntegerType::Int8),
            PrimitiveConvertedType::Int16 => Some(IntegerType::Int16),
            PrimitiveConvertedType::Int32 => Some(IntegerType::Int32),
            PrimitiveConvertedType::Int64 => Some(IntegerType::Int64),
            PrimitiveConvertedType::Uint8 => Some(IntegerType::UInt8),
            PrimitiveConvertedType::Uint16 => Some(IntegerType::UInt16),
            PrimitiveConvertedType::Uint32 => Some(IntegerType::UInt32),
            PrimitiveConvertedType::Uint64 => Some(IntegerType::UInt64),
            _ => None,
        },
        (None, None) => Some(IntegerType::Int64),
    };
    let unsigned = matches!(integer, Some(IntegerType::UInt32 | IntegerType::UInt64));
    match leaf.physical_type {
        PhysicalType::Float => Some((ArrowDataType::Float32, NumberType::F32)),
        PhysicalType::Double => Some((ArrowDataType::Float64, NumberType::F64)),
        PhysicalType::FixedLenByteArray(2) if leaf.logical_type == Some(PrimitiveLogicalType::Float16) => {
            Some((ArrowDataType::FixedSizeBinary(2), NumberType::F16))
        }
        PhysicalType::Int32 => {
            integer.map(|_| (ArrowDataType::Int32, if unsigned { NumberType::U32 } else { NumberType::I32 }))
        }
        PhysicalType::Int64 => {
            integer.map(|_| (ArrowDataType::Int64, if unsigned { NumberType::U64 } else { NumberType::I64 }))
        }
        _ => None,
    }
}

/// Parquet's name of the type of a column.
fn kind(column: &ColumnDescriptor) -> String {
    let leaf = &column.descriptor.primitive_type;
    let name = match leaf.physical_type {
        _ if leaf.logical_type == Some(PrimitiveLogicalType::Float16) => "FLOAT16",
        PhysicalType::Boolean => "BOOLEAN",
        PhysicalType::Int32 => "INT32",
        PhysicalType::Int64 => "INT64",
        PhysicalType::Int96 => "INT96",
        PhysicalType::Float => "FLOAT",
        PhysicalType::Double => "DOUBLE",
        PhysicalType::ByteArray => "BYTE_ARRAY",
        PhysicalType::FixedLenByteArray(_) => "FIXED_LEN_BYTE_ARRAY",
    };
    format!("{}{name}", if column.descriptor.max_rep_level > 0 { "list of " } else { "" })
}

/// A column for each leaf of the schema. A column of the table with several leaves appears several times.
fn columns(metadata: &FileMetadata) -> Vec<TableColumn> {
    let leaves = metadata.schema().columns();
    let root = |leaf: &ColumnDescriptor| leaf.path_in_schema.first().map_or_else(String::new, |name| name.to_string());
    let mut count: HashMap<String, usize> = HashMap::new();
    for leaf in leaves {
        *count.entry(root(leaf)).or_default() += 1;
    }
    let column = |leaf: &ColumnDescriptor| {
        let name = root(leaf);
        let numbers = count.get(&name) == Some(&1) && number(leaf).is_some();
        let holds = match (numbers, leaf.descriptor.max_rep_level) {
            (true, 1) => Holds::Vectors,
            (true, 0) if leaf.path_in_schema.len() == 1 => Holds::Numbers,
            _ => Holds::Other,
        };
        TableColumn { name, kind: kind(leaf), holds }
    };
    leaves.iter().map(column).collect()
}

/// The column in one row group.
struct Chunk {
    /// Position of its first page in the file.
    start: u64,
    values: usize,
    compression: Compression,
    /// Estimated size of its dictionary, decompressed.
    dictionary_bytes: u64,
}

/// The layout of the column, checked against the file before values are read.
struct ColumnLayout {
    name: String,
    descriptor: Descriptor,
    /// How values are decoded, and the numbers they are; None if they are text.
    kind: ArrowDataType,
    number: Option<NumberType>,
    chunks: Vec<Chunk>,
    rows: usize,
    /// Numbers in the column, as the header counts them: a null or an empty list counts as one.
    values: usize,
}

/// The columns to read, and whether each value of them is a row's list.
fn header(file: &mut OpenFile) -> Result<(Vec<ColumnLayout>, bool), String> {
    let metadata = metadata(file)?;
    let vectors = choose(&columns(&metadata), file.place.part.as_deref());
    let (leaves, lists) = match vectors.map_err(|_| "it changed while it was read")? {
        Vectors::Lists(leaf) => (vec![leaf], true),
        Vectors::Components(leaves) => (leaves, false),
    };
    let columns = leaves.iter().map(|&leaf| column(&metadata, leaf)).collect::<Result<Vec<_>, _>>()?;
    let values = columns.iter().try_fold(0usize, |sum, column| sum.checked_add(column.values));
    let values = values.ok_or("its numbers of values make no sense")?;
    plausible([values, 1], size_of::<f32>(), file, true)?;
    Ok((columns, lists))
}

fn column(metadata: &FileMetadata, leaf: usize) -> Result<ColumnLayout, String> {
    let column = &metadata.schema().columns()[leaf];
    let (kind, number) = match number(column) {
        Some((kind, number)) => (kind, Some(number)),
        None if texts::is_text(column) => (ArrowDataType::BinaryView, None),
        None => return Err(format!("its column `{}` holds neither numbers nor text", column.path_in_schema.join("."))),
    };
    let (mut rows, mut values, mut chunks) = (0usize, 0usize, Vec::new());
    for (i, group) in metadata.row_groups.iter().enumerate() {
        let column = group.parquet_columns().get(leaf).ok_or("a row group lacks the column")?;
        let negative = |_| format!("row group {i} says that it holds {} values", column.num_values());
        let held = usize::try_from(column.num_values()).map_err(negative)?;
        rows = rows.checked_add(group.num_rows()).ok_or("its numbers of rows make no sense")?;
        values = values.checked_add(held).ok_or("its numbers of values make no sense")?;
        let data = column.data_page_offset();
        // Some writers give 0 where there is no dictionary.
        let dictionary = column.dictionary_page_offset().filter(|&offset| 0 < offset && offset < data);
        let start = u64::try_from(dictionary.unwrap_or(data)).map_err(|_| format!("row group {i} begins nowhere"))?;
        let expansion = column.uncompressed_size() / column.compressed_size().max(1) + 1;
        let dictionary_bytes = dictionary.map_or(0, |offset| (data - offset).saturating_mul(expansion));
        chunks.push(Chunk {
            start,
            values: held,
            compression: column.compression(),
            dictionary_bytes: u64::try_from(dictionary_bytes).unwrap_or(0),
        });
    }
    let name = column.path_in_schema.first().map_or_else(String::new, |name| name.to_string());
    Ok(ColumnLayout { name, descriptor: column.descriptor.clone(), kind, number, chunks, rows, values })
}

impl Format for Parquet {
    fn name(&self) -> &'static str {
        "parquet"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["parquet"]
    }

    fn recognizes(&self, head: &[u8], _: u64) -> bool {
        head.starts_with(b"PAR1")
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
            let (columns, lists) = header(file)?;
            Ok((!lists).then(|| columns.into_iter().map(|column| column.name).collect()))
        })
    }

    fn shape(&self, file: &mut OpenFile) -> Result<(usize, usize), String> {
        contained(|| {
            let (mut columns, lists) = header(file)?;
            let rows = columns.first().map_or(0, |column| column.rows);
            if rows == 0 {
                return Ok((0, 0));
            }
            if !lists {
                return Ok((rows, columns.len()));
            }
            let header = columns.pop().ok_or("it changed while it was read")?;
            let values = header.values;
            if !values.is_multiple_of(rows) {
                // Some row has another length; reading finds out which.
                Pages::new(file.again(), header).check()?;
                return Err(format!("{values} values make no {rows} rows of one length"));
            }
            Ok((rows, values / rows))
        })
    }

    fn rows(&self, mut file: OpenFile) -> Result<Box<dyn RowReader>, String> {
        self.shape(&mut file)?;
        contained(|| {
            let (mut columns, lists) = header(&mut file)?;
            if !lists {
                return Ok(Box::new(Components::new(&file, columns)?) as Box<dyn RowReader>);
            }
            let header = columns.pop().ok_or("it changed while it was read")?;
            Ok(Box::new(Pages::new(file, header)) as Box<dyn RowReader>)
        })
    }

    fn row_names(&self, mut file: OpenFile, each: &mut row_names::Receiver<'_>) -> Result<(), String> {
        texts::read(&mut file, each)
    }

    fn layout(&self, values: OutputType, (n, dim): (usize, usize)) -> Option<Result<FileLayout, String>> {
        (values == OutputType::F32).then(|| layout::layout(n, dim))
    }
}
