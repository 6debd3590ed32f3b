//! Parquet tables with a column of lists of numbers, as embeddings are often stored; every list is a row.

use super::contain::{contained, plausible};
use super::{Format, OpenFile, Rows};
use npyz::half::f16;
use parquet::basic::{ConvertedType, LogicalType, Type};
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl, get_column_reader};
use parquet::data_type::{DataType, FixedLenByteArray};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::schema::types::SchemaDescriptor;
use std::fs::File;
use std::mem::take;

pub struct Parquet;

/// Rows decoded at a time.
const ROWS_PER_BATCH: usize = 1024;

fn words(error: ParquetError) -> String {
    error.to_string()
}

fn open(file: &OpenFile) -> Result<SerializedFileReader<File>, String> {
    let file = file.reader.get_ref().try_clone().map_err(|e| e.to_string())?;
    SerializedFileReader::new(file).map_err(words)
}

/// A column of the table, and the leaf of the schema that holds its numbers.
struct Column {
    name: String,
    kind: String,
    leaf: Option<usize>,
}

fn columns(schema: &SchemaDescriptor) -> Vec<Column> {
    let roots: Vec<usize> = (0..schema.num_columns()).map(|leaf| schema.get_column_root_idx(leaf)).collect();
    let column = |(leaf, &root): (usize, &usize)| {
        let only = roots.iter().filter(|&&other| other == root).count() == 1;
        let found = schema.column(leaf);
        let half = matches!(found.logical_type_ref(), Some(LogicalType::Float16));
        let integer = matches!(
            found.converted_type(),
            ConvertedType::NONE
                | ConvertedType::INT_8
                | ConvertedType::INT_16
                | ConvertedType::INT_32
                | ConvertedType::INT_64
                | ConvertedType::UINT_8
                | ConvertedType::UINT_16
        );
        let number = match found.physical_type() {
            Type::FLOAT | Type::DOUBLE => true,
            Type::INT32 | Type::INT64 => integer,
            Type::FIXED_LEN_BYTE_ARRAY => half,
            _ => false,
        };
        Column {
            name: schema.get_column_root(leaf).name().to_owned(),
            kind: format!(
                "{}{}",
                if found.max_rep_level() > 0 { "list of " } else { "" },
                if half { "FLOAT16".to_owned() } else { found.physical_type().to_string() }
            ),
            leaf: (only && number && found.max_rep_level() == 1).then_some(leaf),
        }
    };
    roots.iter().enumerate().map(column).collect()
}

/// A number of two bytes; anything else becomes NaN, which no vector may contain.
fn half(bytes: &FixedLenByteArray) -> f32 {
    bytes.data().first_chunk().map_or(f32::NAN, |bytes| f16::from_le_bytes(*bytes).to_f32())
}

fn listed(columns: &[Column]) -> String {
    let named = |lists: bool| {
        let chosen = columns.iter().filter(|c| c.leaf.is_some() || !lists);
        let names: Vec<String> =
            chosen.map(|c| if lists { format!("#{}", c.name) } else { format!("{} ({})", c.name, c.kind) }).collect();
        names.join(", ")
    };
    if columns.iter().any(|c| c.leaf.is_some()) {
        format!("its columns of lists of numbers are {}", named(true))
    } else {
        format!("it has no column of lists of float16, float, double or integers; its columns are {}", named(false))
    }
}

/// The layout of the column, checked against the file before values are read.
struct Header {
    reader: SerializedFileReader<File>,
    leaf: usize,
    rows: usize,
    /// Numbers in the column, as the header counts them: a null or an empty list counts as one.
    values: usize,
}

fn header(file: &OpenFile) -> Result<Header, String> {
    let reader = open(file)?;
    let named = columns(reader.metadata().file_metadata().schema_descr());
    let leaf = named.iter().find(|c| Some(&c.name) == file.place.part.as_ref()).and_then(|c| c.leaf);
    let leaf = leaf.ok_or("it changed while it was read")?;
    let (mut rows, mut values) = (0usize, 0usize);
    for group in reader.metadata().row_groups() {
        let column = group.columns().get(leaf).ok_or("a row group lacks the column")?;
        let add = |sum: usize, more: i64| usize::try_from(more).ok().and_then(|more| sum.checked_add(more));
        rows = add(rows, group.num_rows()).ok_or("its numbers of rows make no sense")?;
        values = add(values, column.num_values()).ok_or("its numbers of values make no sense")?;
    }
    plausible([values, 1], size_of::<f32>(), file.length, true)?;
    Ok(Header { reader, leaf, rows, values })
}

/// Passes on pages while they hold no more values than the header states: a page of a few bytes may claim billions.
struct Watched {
    pages: Box<dyn PageReader>,
    left: usize,
}

impl PageReader for Watched {
    fn get_next_page(&mut self) -> Result<Option<Page>, ParquetError> {
        let Some(page) = self.pages.get_next_page()? else { return Ok(None) };
        let held = page.num_values() as usize;
        if held > self.left {
            return Err(ParquetError::General(format!("a page claims {held} values where {} are left", self.left)));
        }
        if !matches!(page, Page::DictionaryPage { .. }) {
            self.left -= held;
        }
        Ok(Some(page))
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>, ParquetError> {
        self.pages.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<(), ParquetError> {
        self.pages.skip_next_page()
    }

    fn at_record_boundary(&mut self) -> Result<bool, ParquetError> {
        self.pages.at_record_boundary()
    }
}

impl Iterator for Watched {
    type Item = Result<Page, ParquetError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

/// Rows that are complete and not yet used, all as long as the first row of the file.
struct Gathered {
    values: Vec<f32>,
    /// Rows of the file that are complete.
    finished: usize,
    dim: Option<usize>,
    /// Length of the row being gathered.
    current: Option<usize>,
    /// Scratch space for the values of a batch.
    definitions: Vec<i16>,
    repetitions: Vec<i16>,
}

impl Gathered {
    fn finish_row(&mut self) -> Result<(), String> {
        let Some(length) = self.current.take() else { return Ok(()) };
        let dim = *self.dim.get_or_insert(length);
        if length != dim {
            return Err(format!("row {} has {length} components, row 0 has {dim}", self.finished));
        }
        self.finished += 1;
        Ok(())
    }

    /// Adds one value, or a missing value. `starts` says whether it begins a row.
    fn level(&mut self, starts: bool, present: bool) -> Result<(), String> {
        if starts {
            self.finish_row()?;
            self.current = Some(0);
        }
        let row = self.finished;
        if !present {
            return Err(format!("row {row} is null, empty, or holds a null; drop it or fill it"));
        }
        *self.current.as_mut().ok_or_else(|| format!("row {row} begins in its middle"))? += 1;
        Ok(())
    }

    /// Reads the next batch of a column. Returns whether there was one.
    fn batch<T: DataType>(
        &mut self,
        column: &mut ColumnReaderImpl<T>,
        present: i16,
        convert: fn(&T::T) -> f32,
    ) -> Result<bool, String> {
        let (mut definitions, mut repetitions) = (take(&mut self.definitions), take(&mut self.repetitions));
        definitions.clear();
        repetitions.clear();
        let mut values = Vec::new();
        let (d, r) = (Some(&mut definitions), Some(&mut repetitions));
        let (_, _, levels) = column.read_records(ROWS_PER_BATCH, d, r, &mut values).map_err(words)?;
        // A column whose lists and elements cannot be null still repeats, so both kinds of level are there.
        for (&definition, &repetition) in definitions.iter().zip(&repetitions) {
            self.level(repetition == 0, definition == present)?;
        }
        self.values.extend(values.iter().map(convert));
        (self.definitions, self.repetitions) = (definitions, repetitions);
        Ok(levels > 0)
    }
}

/// Reads the row groups in order.
struct Groups {
    header: Header,
    /// The next row group to open.
    next: usize,
    /// The column in the current row group, and the definition level of a present value.
    column: Option<(ColumnReader, i16)>,
    gathered: Gathered,
    /// Rows taken.
    taken: usize,
}

impl Groups {
    fn new(header: Header) -> Groups {
        let (values, definitions, repetitions) = (Vec::new(), Vec::new(), Vec::new());
        let gathered = Gathered { values, finished: 0, dim: None, current: None, definitions, repetitions };
        Groups { header, next: 0, column: None, gathered, taken: 0 }
    }

    fn pages(&self, group: usize) -> Result<Box<dyn PageReader>, String> {
        let group = self.header.reader.get_row_group(group).map_err(words)?;
        group.get_column_page_reader(self.header.leaf).map_err(words)
    }

    /// Reads more rows. Returns whether there were any.
    fn gather(&mut self) -> Result<bool, String> {
        let Some((column, present)) = &mut self.column else {
            if self.next == self.header.reader.num_row_groups() {
                return Ok(false);
            }
            let column = self.header.reader.metadata().row_group(self.next).column(self.header.leaf);
            let descriptor = column.column_descr_ptr();
            let present = descriptor.max_def_level();
            let negative = |_| format!("row group {} says that it holds {} values", self.next, column.num_values());
            let left = usize::try_from(column.num_values()).map_err(negative)?;
            let pages = Watched { pages: self.pages(self.next)?, left };
            self.column = Some((get_column_reader(descriptor, Box::new(pages)), present));
            self.next += 1;
            return Ok(true);
        };
        let (rows, present) = (&mut self.gathered, *present);
        let more = match column {
            ColumnReader::FloatColumnReader(c) => rows.batch(c, present, |v| *v)?,
            ColumnReader::DoubleColumnReader(c) => rows.batch(c, present, |v| *v as f32)?,
            ColumnReader::FixedLenByteArrayColumnReader(c) => rows.batch(c, present, half)?,
            ColumnReader::Int32ColumnReader(c) => rows.batch(c, present, |v| *v as f32)?,
            ColumnReader::Int64ColumnReader(c) => rows.batch(c, present, |v| *v as f32)?,
            _ => return Err("its row groups disagree about the type of the column".to_owned()),
        };
        if !more {
            self.column = None;
            self.gathered.finish_row()?;
        }
        Ok(true)
    }

    /// Reads everything that is left and reports what is wrong with it.
    fn check(&mut self) -> Result<(), String> {
        while self.gather()? {
            self.gathered.values.clear();
        }
        self.complete()
    }

    fn complete(&self) -> Result<(), String> {
        let (promised, found) = (self.header.rows, self.gathered.finished);
        if found == promised { Ok(()) } else { Err(format!("its header states {promised} rows, {found} are there")) }
    }
}

impl Rows for Groups {
    fn shape(&self) -> (usize, usize) {
        (self.header.rows, self.header.values / self.header.rows.max(1))
    }

    fn append(&mut self, count: usize, out: &mut Vec<f32>) -> Result<(), String> {
        let dim = self.shape().1;
        contained(|| {
            let mut left = count;
            while left > 0 {
                let ready = left.min(self.gathered.finished - self.taken);
                if ready == 0 {
                    if !self.gather()? {
                        self.complete()?;
                    }
                    continue;
                }
                if let Some(found) = self.gathered.dim.filter(|found| *found != dim) {
                    return Err(format!("row 0 has {found} components, its header states {dim}"));
                }
                // Processed as they come, so that at most one batch is held here.
                out.extend(self.gathered.values.drain(..ready * dim));
                self.taken += ready;
                left -= ready;
            }
            if self.taken == self.header.rows { self.check() } else { Ok(()) }
        })
    }

    fn working_bytes(&mut self) -> Result<u64, String> {
        contained(|| {
            let (mut largest, mut dictionary) = (0, 0);
            for i in 0..self.header.reader.num_row_groups() {
                let mut pages = self.pages(i)?;
                while let Some(page) = pages.peek_next_page().map_err(words)? {
                    largest = largest.max(page.num_levels.or(page.num_rows).unwrap_or(0) as u64);
                    pages.skip_next_page().map_err(words)?;
                }
                let column = self.header.reader.metadata().row_group(i).column(self.header.leaf);
                let bytes = column.dictionary_page_offset().map_or(0, |offset| column.data_page_offset() - offset);
                let expansion = column.uncompressed_size() / column.compressed_size().max(1) + 1;
                dictionary = dictionary.max(u64::try_from(bytes.saturating_mul(expansion)).unwrap_or(0));
            }
            // A page compressed and uncompressed, as levels and numbers; and its rows, as read and as f32.
            let dim = self.shape().1 as u64;
            Ok(3 * dictionary + largest * (8 + 8 + 4) + ROWS_PER_BATCH as u64 * dim * (8 + 4 + 4))
        })
    }
}

impl Format for Parquet {
    fn name(&self) -> &'static str {
        "parquet"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["parquet"]
    }

    fn choose(&self, file: &mut OpenFile) -> Result<Option<String>, String> {
        contained(|| {
            let reader = open(file)?;
            let columns = columns(reader.metadata().file_metadata().schema_descr());
            let lists: Vec<&str> = columns.iter().filter(|c| c.leaf.is_some()).map(|c| c.name.as_str()).collect();
            match (&file.place.part, &lists[..]) {
                (Some(name), _) if lists.contains(&name.as_str()) => Ok(Some(name.clone())),
                (Some(name), _) => match columns.iter().find(|c| c.name == *name) {
                    Some(column) => Err(format!("its column `{name}` is {}; {}", column.kind, listed(&columns))),
                    None => Err(format!("it has no column `{name}`; {}", listed(&columns))),
                },
                (None, [only]) => Ok(Some((*only).to_owned())),
                (None, []) => Err(listed(&columns)),
                (None, _) => Err(format!("{}; write one of them after its name", listed(&columns))),
            }
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
                Groups::new(header).check()?;
                return Err(format!("{values} values make no {rows} rows of one length"));
            }
            Ok((header.rows, header.values / header.rows))
        })
    }

    fn rows(&self, mut file: OpenFile) -> Result<Box<dyn Rows>, String> {
        self.shape(&mut file)?;
        contained(|| Ok(Box::new(Groups::new(header(&file)?)) as Box<dyn Rows>))
    }
}
