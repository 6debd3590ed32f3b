//! The pages of one column of a Parquet file, read in order.

use super::super::contain::{MAX_EXPANSION, contained, most_unpacked};
use super::super::lists::Gathered;
use super::super::number::{Number, NumberType};
use super::super::{OpenFile, RowReader, read_exact};
use super::{ColumnLayout, reason};
use polars_arrow::array::{Array, FixedSizeBinaryArray, PrimitiveArray};
use polars_arrow::datatypes::Field;
use polars_parquet::parquet::compression::{Compression, DecompressionContext, decompress};
use polars_parquet::parquet::encoding::hybrid_rle::HybridRleDecoder;
use polars_parquet::parquet::metadata::Descriptor;
use polars_parquet::parquet::page::{EncodedSplitBuffer, split_buffer_v1, split_buffer_v2};
use polars_parquet::parquet::read::{PageMetaData, PageReader};
use polars_parquet::parquet::schema::Repetition;
use polars_parquet::read::{BasicDecompressor, column_iter_to_arrays};
use polars_parquet_format::thrift::protocol::{TCompactInputProtocol, TCompactOutputProtocol};
use polars_parquet_format::{DataPageHeader, DictionaryPageHeader, Encoding, PageHeader, PageType};
use std::io::{Cursor, Seek, SeekFrom};

/// Maximum number of bytes of a page header.
const MAX_HEADER_BYTES: usize = 1 << 20;

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
        read_exact(file, &mut bytes)?;
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
pub(super) struct Pages {
    file: OpenFile,
    pub(super) header: ColumnLayout,
    /// The next row group to open.
    next: usize,
    open: Option<OpenChunk>,
    gathered: Gathered,
    /// Decoded values as text, where they are asked for as text.
    texts: Option<Vec<String>>,
}

impl Pages {
    pub(super) fn new(file: OpenFile, header: ColumnLayout) -> Pages {
        Pages { file, header, next: 0, open: None, gathered: Gathered::default(), texts: None }
    }

    /// Passes every value of a column without lists to `each`, as text, page by page.
    ///
    /// # Errors
    /// What is wrong with the file, a value that is absent, and errors of `each`.
    pub(super) fn each_text(mut self, each: &mut super::row_names::Receiver<'_>) -> Result<(), String> {
        self.texts = Some(Vec::new());
        loop {
            let more = self.gather()?;
            for text in self.texts.iter_mut().flat_map(|texts| texts.drain(..)) {
                each(&text)?;
            }
            if !more {
                return self.complete();
            }
        }
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
        let field = Field::new("".into(), self.header.kind.clone(), false);
        let pages = vec![BasicDecompressor::new(reader, Vec::new())];
        let (arrays, _) = column_iter_to_arrays(pages, vec![&leaf], field, None).map_err(reason)?;
        let found: usize = arrays.iter().map(|array| array.len()).sum();
        if found != count {
            return Err(format!("a page claims {count} values and holds {found}"));
        }
        let disagree = "its row groups disagree about the type of the column";
        for array in &arrays {
            if let Some(texts) = &mut self.texts {
                super::texts::append(array.as_ref(), self.header.number, texts)?.ok_or(disagree)?;
            } else {
                let number = self.header.number.ok_or("it holds text, not numbers")?;
                append(array.as_ref(), number, self.gathered.values()).ok_or(disagree)?;
            }
        }
        Ok(())
    }

    /// Reads everything that is left and reports what is wrong with it.
    pub(super) fn check(&mut self) -> Result<(), String> {
        while self.gather()? {
            self.gathered.forget();
        }
        self.complete()
    }

    fn complete(&self) -> Result<(), String> {
        let (promised, found) = (self.header.rows, self.gathered.finished());
        if found == promised { Ok(()) } else { Err(format!("its header states {promised} rows, {found} are there")) }
    }

    /// Maximum number of bytes that reading a page needs, from the headers of all pages; and of those, the bytes that are
    /// held until the next page is read.
    pub(super) fn largest_page(&mut self) -> Result<(u64, u64), String> {
        let (mut largest, mut held) = (0, 0);
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
                // Twice, because the buffer grows by doubling.
                held = held.max(2 * 4 * values as u64);
            }
        }
        let dictionary = self.header.chunks.iter().map(|chunk| chunk.dictionary_bytes).max().unwrap_or(0);
        Ok((largest + 3 * dictionary, held + dictionary))
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
        contained(|| self.largest_page().map(|(all, _)| all))
    }
}
