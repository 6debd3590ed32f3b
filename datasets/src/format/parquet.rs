//! Parquet tables with a column of lists of numbers, as embeddings are often stored; every list is a row.
//!
//! The file is read page by page with parts of `polars`: its parsers of metadata and levels, its decompression and its
//! decoders of values. The table reader of `polars` would hold a whole row group in memory, and allocate what a page claims
//! before checking the claim.

use super::columns::{TableColumn, choose};
use super::contain::{MAX_EXPANSION, contained, most_unpacked, plausible};
use super::lists::Gathered;
use super::number::{Number, NumberType};
use super::{Format, OpenFile, RowReader, nesting};
use polars_arrow::array::{Array, FixedSizeBinaryArray, PrimitiveArray};
use polars_arrow::datatypes::{ArrowDataType, Field};
use polars_parquet::parquet::compression::{Compression, DecompressionContext, decompress};
use polars_parquet::parquet::encoding::hybrid_rle::HybridRleDecoder;
use polars_parquet::parquet::metadata::{ColumnDescriptor, Descriptor};
use polars_parquet::parquet::page::{EncodedSplitBuffer, split_buffer_v1, split_buffer_v2};
use polars_parquet::parquet::read::{PageMetaData, PageReader};
use polars_parquet::parquet::schema::Repetition;
use polars_parquet::parquet::schema::types::{IntegerType, PhysicalType, PrimitiveConvertedType, PrimitiveLogicalType};
use polars_parquet::read::{BasicDecompressor, FileMetadata, column_iter_to_arrays, read_metadata};
use polars_parquet_format::thrift::protocol::{TCompactInputProtocol, TCompactOutputProtocol};
use polars_parquet_format::{DataPageHeader, DictionaryPageHeader, Encoding, PageHeader, PageType};
use std::collections::HashMap;
use std::fmt::Display;
use std::io::{Cursor, Seek, SeekFrom};

pub struct Parquet;

/// Maximum number of bytes of a page header.
const MAX_HEADER_BYTES: usize = 1 << 20;

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
        let vectors = count.get(&name) == Some(&1) && leaf.descriptor.max_rep_level == 1 && number(leaf).is_some();
        TableColumn { name, kind: kind(leaf), vectors }
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
    descriptor: Descriptor,
    numbers: (ArrowDataType, NumberType),
    chunks: Vec<Chunk>,
    rows: usize,
    /// Numbers in the column, as the header counts them: a null or an empty list counts as one.
    values: usize,
}

fn header(file: &mut OpenFile) -> Result<ColumnLayout, String> {
    let metadata = metadata(file)?;
    let leaf = columns(&metadata).iter().position(|c| Some(&c.name) == file.place.part.as_ref() && c.vectors);
    let leaf = leaf.ok_or("it changed while it was read")?;
    let column = &metadata.schema().columns()[leaf];
    let numbers = number(column).ok_or("it changed while it was read")?;
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
    plausible([values, 1], size_of::<f32>(), file, true)?;
    Ok(ColumnLayout { descriptor: column.descriptor.clone(), numbers, chunks, rows, values })
}

/// A page of the column, as stored.
struct Page {
    header: PageHeader,
    compressed: usize,
    uncompressed: usize,
}

impl Page {
    /// Reads the header of the page at the current position of the file.
    fn next(file: &mut OpenFile) -> Result<Page, String> {
        let mut protocol = TCompactInputProtocol::new(&mut file.reader, MAX_HEADER_BYTES);
        let header = PageHeader::read_from_in_protocol(&mut protocol).map_err(reason)?;
        let size = |bytes: i32| usize::try_from(bytes).map_err(|_| format!("a page has {bytes} bytes"));
        let (compressed, uncompressed) = (size(header.compressed_page_size)?, size(header.uncompressed_page_size)?);
        let most = ((compressed as u128 + 1) * MAX_EXPANSION).min(most_unpacked(file));
        if compressed as u64 > file.length || uncompressed as u128 > most {
            return Err(format!(
                "a page claims {uncompressed} bytes out of {compressed}, in a file of {} bytes",
                file.length
            ));
        }
        Ok(Page { header, compressed, uncompressed })
    }

    /// Number of values in a page of data, from its header; None for other pages.
    fn values(&self) -> Option<i32> {
        match self.header.type_ {
            PageType::DATA_PAGE => self.header.data_page_header.as_ref().map(|page| page.num_values),
            PageType::DATA_PAGE_V2 => self.header.data_page_header_v2.as_ref().map(|page| page.num_values),
            _ => None,
        }
    }

    /// The bytes of the page. The first `plain` bytes are not compressed.
    fn content(
        &self,
        file: &mut OpenFile,
        compression: Compression,
        plain: usize,
        context: &mut DecompressionContext,
    ) -> Result<Vec<u8>, String> {
        let mut bytes = vec![0; self.compressed];
        super::read_exact(file, &mut bytes)?;
        if compression == Compression::Uncompressed {
            return Ok(bytes);
        }
        let (Some(packed), true) = (bytes.get(plain..), plain <= self.uncompressed) else {
            return Err(format!("a page of {} bytes begins with {plain} bytes of levels", self.compressed));
        };
        let mut out = vec![0; self.uncompressed];
        out[..plain].copy_from_slice(&bytes[..plain]);
        // A page that contains only nulls has nothing to decompress.
        if !packed.is_empty() {
            decompress(compression, packed, &mut out[plain..], context).map_err(reason)?;
        }
        Ok(out)
    }
}

/// The column in the current row group.
struct OpenChunk {
    compression: Compression,
    context: DecompressionContext,
    /// The dictionary as an uncompressed page; empty if there is none.
    dictionary: Vec<u8>,
    /// Number of values in the pages not yet read.
    left: usize,
    /// Position of the next page in the file.
    next: u64,
}

/// Reads the pages of all row groups in order.
struct Pages {
    file: OpenFile,
    header: ColumnLayout,
    /// The next row group to open.
    next: usize,
    open: Option<OpenChunk>,
    gathered: Gathered,
}

impl Pages {
    fn new(file: OpenFile, header: ColumnLayout) -> Pages {
        Pages { file, header, next: 0, open: None, gathered: Gathered::default() }
    }

    /// Reads more rows. Returns whether there were any.
    fn gather(&mut self) -> Result<bool, String> {
        let Some(mut open) = self.open.take() else {
            let Some(chunk) = self.header.chunks.get(self.next) else { return Ok(false) };
            self.open = Some(OpenChunk {
                compression: chunk.compression,
                context: DecompressionContext::Unset,
                dictionary: Vec::new(),
                left: chunk.values,
                next: chunk.start,
            });
            self.next += 1;
            return Ok(true);
        };
        if open.left == 0 {
            self.gathered.finish_row()?;
            return Ok(true);
        }
        self.page(&mut open)?;
        self.open = Some(open);
        Ok(true)
    }

    /// Reads the next page of the row group.
    fn page(&mut self, open: &mut OpenChunk) -> Result<(), String> {
        self.file.reader.seek(SeekFrom::Start(open.next)).map_err(reason)?;
        let page = Page::next(&mut self.file)?;
        let body = self.file.reader.stream_position().map_err(reason)?;
        open.next = body + page.compressed as u64;
        match (&page.header.dictionary_page_header, page.header.type_) {
            (Some(head), PageType::DICTIONARY_PAGE) => {
                let content = page.content(&mut self.file, open.compression, 0, &mut open.context)?;
                open.dictionary = dictionary_page(head.num_values, &content)?;
                return Ok(());
            }
            (_, PageType::INDEX_PAGE) => return Ok(()),
            _ => {}
        }
        let claimed = page.values().ok_or("a page is of no known kind")?;
        let count = usize::try_from(claimed).ok().filter(|count| *count <= open.left);
        let Some(count) = count else {
            return Err(format!("a page claims {claimed} values where {} are left", open.left));
        };
        open.left -= count;
        let (max_rep, max_def) = (self.header.descriptor.max_rep_level, self.header.descriptor.max_def_level);
        let content;
        let (split, encoding) = if let Some(head) = &page.header.data_page_header {
            content = page.content(&mut self.file, open.compression, 0, &mut open.context)?;
            let levels = [(max_rep, head.repetition_level_encoding), (max_def, head.definition_level_encoding)];
            if levels.iter().any(|&(max, encoding)| max > 0 && encoding != Encoding::RLE) {
                return Err(
                    "its levels have the deprecated encoding BIT_PACKED, which is not read; write the file anew"
                        .to_owned(),
                );
            }
            (split_buffer_v1(&content, max_rep > 0, max_def > 0).map_err(reason)?, head.encoding)
        } else if let Some(head) = &page.header.data_page_header_v2 {
            let length = |bytes: i32| usize::try_from(bytes).map_err(|_| format!("levels take {bytes} bytes"));
            let rep = length(head.repetition_levels_byte_length)?;
            let def = length(head.definition_levels_byte_length)?;
            let packed = head.is_compressed.unwrap_or(true);
            let compression = if packed { open.compression } else { Compression::Uncompressed };
            content = page.content(&mut self.file, compression, rep + def, &mut open.context)?;
            if rep + def > content.len() {
                return Err(format!("a page of {} bytes begins with {} bytes of levels", content.len(), rep + def));
            }
            (split_buffer_v2(&content, rep, def).map_err(reason)?, head.encoding)
        } else {
            return Err("a page has no header of its kind".to_owned());
        };
        let EncodedSplitBuffer { rep, def, values } = split;
        let repetitions = levels(rep, max_rep, count)?;
        let definitions = levels(def, max_def, count)?;
        for (&repetition, &definition) in repetitions.iter().zip(&definitions) {
            self.gathered.value(repetition == 0, definition == u32::from(max_def.unsigned_abs()))?;
        }
        drop((repetitions, definitions));
        let bytes = values_page(&open.dictionary, count, encoding, values)?;
        self.decode(bytes, count)
    }

    /// Decodes pages of values without levels, as if the column were not a list.
    fn decode(&mut self, pages: Vec<u8>, count: usize) -> Result<(), String> {
        let mut leaf = self.header.descriptor.primitive_type.clone();
        leaf.field_info.repetition = Repetition::Required;
        let descriptor = Descriptor { primitive_type: leaf.clone(), max_def_level: 0, max_rep_level: 0 };
        let most = pages.len() + 1;
        let meta = PageMetaData::new(0, count as i64, Compression::Uncompressed, descriptor);
        let reader = PageReader::new_with_page_meta(Cursor::new(pages.into()), meta, Vec::new(), most);
        let (kind, number) = &self.header.numbers;
        let field = Field::new("".into(), kind.clone(), false);
        let pages = vec![BasicDecompressor::new(reader, Vec::new())];
        let (arrays, _) = column_iter_to_arrays(pages, vec![&leaf], field, None).map_err(reason)?;
        let found: usize = arrays.iter().map(|array| array.len()).sum();
        if found != count {
            return Err(format!("a page claims {count} values and holds {found}"));
        }
        let out = self.gathered.values();
        for array in &arrays {
            append(array.as_ref(), *number, out).ok_or("its row groups disagree about the type of the column")?;
        }
        Ok(())
    }

    /// Reads everything that is left and reports what is wrong with it.
    fn check(&mut self) -> Result<(), String> {
        while self.gather()? {
            self.gathered.forget();
        }
        self.complete()
    }

    fn complete(&self) -> Result<(), String> {
        let (promised, found) = (self.header.rows, self.gathered.finished());
        if found == promised { Ok(()) } else { Err(format!("its header states {promised} rows, {found} are there")) }
    }

    /// Maximum number of bytes that reading a page needs, from the headers of all pages.
    fn largest_page(&mut self) -> Result<u64, String> {
        let mut largest = 0;
        for chunk in &self.header.chunks {
            let (mut left, mut next) = (chunk.values, chunk.start);
            while left > 0 {
                self.file.reader.seek(SeekFrom::Start(next)).map_err(reason)?;
                let page = Page::next(&mut self.file)?;
                next = self.file.reader.stream_position().map_err(reason)? + page.compressed as u64;
                let values = page.values().map_or(0, |count| usize::try_from(count).unwrap_or(0));
                left = left.saturating_sub(values);
                // The page compressed, decompressed, and as a page of values; levels; decoded numbers, and as f32.
                let bytes = page.compressed + 2 * page.uncompressed + values * (2 * 4 + 8 + 4);
                largest = largest.max(bytes as u64);
            }
        }
        let dictionary = self.header.chunks.iter().map(|chunk| chunk.dictionary_bytes).max().unwrap_or(0);
        Ok(largest + 3 * dictionary)
    }
}

/// The levels of `count` values.
fn levels(bytes: &[u8], max: i16, count: usize) -> Result<Vec<u32>, String> {
    let bits = u16::BITS - max.unsigned_abs().leading_zeros();
    let levels = HybridRleDecoder::new(bytes, bits, count).collect().map_err(reason)?;
    if levels.len() == count { Ok(levels) } else { Err(format!("{} levels for {count} values", levels.len())) }
}

fn page(header: &PageHeader, content: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    header.write_to_out_protocol(&mut TCompactOutputProtocol::new(&mut *out)).map_err(reason)?;
    out.extend_from_slice(content);
    Ok(())
}

/// A dictionary as an uncompressed page.
fn dictionary_page(values: i32, content: &[u8]) -> Result<Vec<u8>, String> {
    let bytes = i32::try_from(content.len()).map_err(reason)?;
    let head = DictionaryPageHeader::new(values, Encoding::PLAIN, None);
    let mut out = Vec::with_capacity(content.len() + 32);
    page(&PageHeader::new(PageType::DICTIONARY_PAGE, bytes, bytes, None, None, None, head, None), content, &mut out)?;
    Ok(out)
}

/// Values without levels as an uncompressed page, after the dictionary that they may refer to.
fn values_page(dictionary: &[u8], count: usize, encoding: Encoding, content: &[u8]) -> Result<Vec<u8>, String> {
    let size = |bytes: usize| i32::try_from(bytes).map_err(reason);
    let (count, bytes) = (size(count)?, size(content.len())?);
    let head = DataPageHeader::new(count, encoding, Encoding::RLE, Encoding::RLE, None);
    let mut out = Vec::with_capacity(dictionary.len() + content.len() + 64);
    out.extend_from_slice(dictionary);
    page(&PageHeader::new(PageType::DATA_PAGE, bytes, bytes, None, head, None, None, None), content, &mut out)?;
    Ok(out)
}

/// Appends decoded numbers; None if they are of another type than the schema says.
fn append(array: &dyn Array, number: NumberType, out: &mut Vec<f32>) -> Option<()> {
    let any = array.as_any();
    match number {
        NumberType::F32 => out.extend_from_slice(any.downcast_ref::<PrimitiveArray<f32>>()?.values()),
        NumberType::F64 => out.extend(any.downcast_ref::<PrimitiveArray<f64>>()?.values().iter().map(|&v| v as f32)),
        NumberType::F16 => {
            Number::little_endian(NumberType::F16).append(any.downcast_ref::<FixedSizeBinaryArray>()?.values(), out);
        }
        NumberType::U32 => {
            let bits = any.downcast_ref::<PrimitiveArray<i32>>()?.values().iter();
            out.extend(bits.map(|&v| v.cast_unsigned() as f32));
        }
        NumberType::U64 => {
            let bits = any.downcast_ref::<PrimitiveArray<i64>>()?.values().iter();
            out.extend(bits.map(|&v| v.cast_unsigned() as f32));
        }
        NumberType::I64 => out.extend(any.downcast_ref::<PrimitiveArray<i64>>()?.values().iter().map(|&v| v as f32)),
        _ => out.extend(any.downcast_ref::<PrimitiveArray<i32>>()?.values().iter().map(|&v| v as f32)),
    }
    Some(())
}

impl RowReader for Pages {
    fn shape(&self) -> (usize, usize) {
        (self.header.rows, self.header.values / self.header.rows.max(1))
    }

    fn append(&mut self, count: usize, out: &mut Vec<f32>) -> Result<(), String> {
        let dim = self.shape().1;
        contained(|| {
            let mut left = count;
            while left > 0 {
                // Used as they come, so that at most one page is held here.
                let taken = self.gathered.take(left, dim, out)?;
                left -= taken;
                if taken == 0 && !self.gather()? {
                    return self.complete().and(Err("it ends early".to_owned()));
                }
            }
            let all = self.gathered.finished() - self.gathered.ready() == self.header.rows;
            if all { self.check() } else { Ok(()) }
        })
    }

    fn working_bytes(&mut self) -> Result<u64, String> {
        contained(|| self.largest_page())
    }
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
            choose(&columns, file.place.part.as_deref()).map(|column| Some(column.name.clone()))
        })
    }

    fn shape(&self, file: &mut OpenFile) -> Result<(usize, usize), String> {
        contained(|| {
            let header = header(file)?;
            if header.rows == 0 {
                return Ok((0, 0));
            }
            if !header.values.is_multiple_of(header.rows) {
                // Some row has another length; reading finds out which.
                let (values, rows) = (header.values, header.rows);
                Pages::new(file.again(), header).check()?;
                return Err(format!("{values} values make no {rows} rows of one length"));
            }
            Ok((header.rows, header.values / header.rows))
        })
    }

    fn rows(&self, mut file: OpenFile) -> Result<Box<dyn RowReader>, String> {
        self.shape(&mut file)?;
        contained(|| {
            let header = header(&mut file)?;
            Ok(Box::new(Pages::new(file, header)) as Box<dyn RowReader>)
        })
    }
}
