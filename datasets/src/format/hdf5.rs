//! HDF5, laid out as ann-benchmarks and VIBE do (`train`, `test`, `neighbors`, `distances`) or in any other way: one dataset
//! of two dimensions is read, contiguous or chunked, compressed or not.

use super::contain::{contained, plausible};
use super::{Companions, Format, OpenFile, RowReader, quote};
use ndarray::Array2;
use rust_hdf5::{DatatypeMessage, FileLocking, H5Dataset, H5File, Hdf5Error, StorageLayout};

pub struct Hdf5;

/// The first bytes of a file.
const MAGIC: &[u8] = b"\x89HDF\r\n\x1a\n";

/// The dataset that is read if none is named and there is one of this name, as in files of ann-benchmarks.
const DEFAULT: &str = "train";

/// Other contents of such a file: the queries, the nearest rows of each, and the attribute that names the metric.
const QUERIES: &str = "test";
const NEIGHBOURS: &str = "neighbors";
const METRIC: &str = "distance";

/// The attribute of files of VIBE that says what values are, and how its word for bits, eight of which are one value, begins.
const POINT_TYPE: &str = "point_type";
const BITS: &str = "bin";

/// Maximum number of datasets that a message lists; some files hold thousands.
const MOST_LISTED: usize = 12;

/// Number of values decoded at a time; more if a row of chunks is larger.
const VALUES_PER_BLOCK: usize = 1 << 18;

fn error_text(error: Hdf5Error) -> String {
    error.to_string()
}

fn open(file: &OpenFile) -> Result<H5File, String> {
    // Locks are for concurrent writers. On read-only and network folders they fail for no benefit.
    H5File::options().locking(FileLocking::Disabled).open(&file.place.file).map_err(error_text)
}

/// Opens a dataset. Only names that lie in the file itself are opened: a link could lead to any file of the machine.
fn dataset(file: &H5File, name: &str) -> Result<H5Dataset, String> {
    let name = name.trim_start_matches('/');
    if !file.dataset_names().iter().any(|known| known == name) {
        return Err(format!("it has no dataset `{name}`"));
    }
    file.dataset(name).map_err(error_text)
}

fn rows_and_columns(dataset: &H5Dataset) -> Option<[usize; 2]> {
    dataset.shape().try_into().ok()
}

/// The two-dimensional datasets by name, with their shapes.
fn candidates(file: &H5File) -> Vec<(String, [usize; 2])> {
    let mut names = file.dataset_names();
    names.sort_unstable();
    let shape = |name: &String| file.dataset(name).ok().as_ref().and_then(rows_and_columns);
    names.into_iter().filter_map(|name| shape(&name).map(|shape| (name, shape))).collect()
}

fn listed(candidates: &[(String, [usize; 2])]) -> String {
    if candidates.is_empty() {
        return "it has no two-dimensional dataset".to_owned();
    }
    let named: Vec<String> = candidates
        .iter()
        .take(MOST_LISTED)
        .map(|(name, [n, dim])| format!("#{} ({n}×{dim})", quote::name(name)))
        .collect();
    let more = candidates.len().saturating_sub(MOST_LISTED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("its two-dimensional datasets are {}{more}", named.join(", "))
}

/// How the values of a dataset become f32.
#[derive(Clone, Copy)]
enum StoredNumber {
    Half,
    Single,
    Double,
    Signed,
    Unsigned,
}

fn values(dataset: &H5Dataset) -> Result<StoredNumber, String> {
    match dataset.datatype().map_err(error_text)? {
        DatatypeMessage::FloatingPoint { size: 2, .. } => Ok(StoredNumber::Half),
        DatatypeMessage::FloatingPoint { size: 4, .. } => Ok(StoredNumber::Single),
        DatatypeMessage::FloatingPoint { size: 8, .. } => Ok(StoredNumber::Double),
        DatatypeMessage::FixedPoint { signed: true, .. } => Ok(StoredNumber::Signed),
        DatatypeMessage::FixedPoint { signed: false, .. } => Ok(StoredNumber::Unsigned),
        other => Err(format!("values of type {other} cannot be vectors; use float16, float32, float64 or integers")),
    }
}

/// The layout of a dataset, checked against the file before values are read.
struct DatasetLayout {
    dataset: H5Dataset,
    values: StoredNumber,
    rows: usize,
    columns: usize,
    /// Rows read at a time: whole chunks, since a chunk is decoded as one.
    block: usize,
}

fn header(file: &OpenFile) -> Result<DatasetLayout, String> {
    let name = file.place.part.as_deref().unwrap_or(DEFAULT);
    let dataset = dataset(&open(file)?, name)?;
    let [rows, columns] = rows_and_columns(&dataset).ok_or("it changed while it was read")?;
    let values = values(&dataset)?;
    let layout = dataset.storage_layout().map_err(error_text)?;
    if layout == StorageLayout::Virtual || !dataset.external_files().map_err(error_text)?.is_empty() {
        return Err(format!("the values of `{name}` lie in another file; copy them into one"));
    }
    let compressed = !dataset.filters().map_err(error_text)?.is_empty();
    plausible([rows, columns], dataset.element_size(), file, compressed)?;
    let mut chunk_rows = 1;
    if let Some(chunk) = dataset.chunk_dims() {
        let chunk: [usize; 2] =
            chunk.try_into().map_err(|chunk| format!("`{name}` has two dimensions, its chunks are {chunk:?}"))?;
        plausible(chunk, dataset.element_size(), file, compressed).map_err(|e| format!("in a chunk, {e}"))?;
        chunk_rows = chunk[0].max(1);
    }
    let block = (VALUES_PER_BLOCK / columns.max(1)).next_multiple_of(chunk_rows).max(chunk_rows);
    Ok(DatasetLayout { dataset, values, rows, columns, block })
}

impl DatasetLayout {
    /// Rows `start..start + count`, appended to `out`.
    fn append(&self, start: usize, count: usize, out: &mut Vec<f32>) -> Result<(), String> {
        let (starts, counts) = ([start, 0], [count, self.columns]);
        let before = out.len();
        match self.values {
            StoredNumber::Half | StoredNumber::Single => {
                out.extend(self.dataset.read_numeric_slice_as::<f32>(&starts, &counts).map_err(error_text)?);
            }
            StoredNumber::Double => {
                let values = self.dataset.read_numeric_slice_as::<f64>(&starts, &counts).map_err(error_text)?;
                out.extend(values.into_iter().map(|v| v as f32));
            }
            StoredNumber::Signed => {
                let values = self.dataset.read_numeric_slice_as::<i64>(&starts, &counts).map_err(error_text)?;
                out.extend(values.into_iter().map(|v| v as f32));
            }
            StoredNumber::Unsigned => {
                let values = self.dataset.read_numeric_slice_as::<u64>(&starts, &counts).map_err(error_text)?;
                out.extend(values.into_iter().map(|v| v as f32));
            }
        }
        let found = out.len() - before;
        if found == count * self.columns {
            Ok(())
        } else {
            Err(format!("row {start} and those after it are cut short"))
        }
    }
}

impl DatasetLayout {
    /// All values as row numbers.
    fn ids(&self) -> Result<Array2<u32>, String> {
        if !matches!(self.values, StoredNumber::Signed | StoredNumber::Unsigned) {
            return Err("row numbers need integers; its values are of floating point".to_owned());
        }
        let mut ids = Vec::with_capacity(self.rows * self.columns);
        // Rows without columns can be any number.
        let rows = if self.columns == 0 { 0 } else { self.rows };
        for start in (0..rows).step_by(self.block.max(1)) {
            let counts = [self.block.min(self.rows - start), self.columns];
            let values = self.dataset.read_numeric_slice_as::<i64>(&[start, 0], &counts).map_err(error_text)?;
            for value in values {
                let wrong = |_| format!("row {} holds {value}, which is not a row number", ids.len() / self.columns);
                ids.push(u32::try_from(value).map_err(wrong)?);
            }
        }
        Array2::from_shape_vec((self.rows, self.columns), ids).map_err(|e| e.to_string())
    }
}

impl Format for Hdf5 {
    fn name(&self) -> &'static str {
        "hdf5"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["hdf5", "h5"]
    }

    fn recognizes(&self, head: &[u8], _: u64) -> bool {
        head.starts_with(MAGIC)
    }

    fn packs(&self) -> bool {
        true
    }

    fn choose(&self, file: &mut OpenFile) -> Result<Option<String>, String> {
        contained(|| {
            let opened = open(file)?;
            if let Some(name) = &file.place.part {
                let name = name.trim_start_matches('/');
                let with_list = |reason| format!("{reason}; {}", listed(&candidates(&opened)));
                let found = dataset(&opened, name).map_err(with_list)?;
                return match rows_and_columns(&found) {
                    Some(_) => Ok(Some(name.to_owned())),
                    None => Err(with_list(format!("`{name}` has shape {:?}", found.shape()))),
                };
            }
            let candidates = candidates(&opened);
            match &candidates[..] {
                [(only, _)] => Ok(Some(only.clone())),
                several if several.iter().any(|(name, _)| name == DEFAULT) => Ok(Some(DEFAULT.to_owned())),
                [] => Err(listed(&candidates)),
                _ => Err(format!("{}; write one of them after its name", listed(&candidates))),
            }
        })
    }

    fn companions(&self, file: &mut OpenFile) -> Result<Option<Companions>, String> {
        contained(|| {
            let opened = open(file)?;
            let candidates = candidates(&opened);
            let named = |name: &str| candidates.iter().any(|(known, _)| known == name).then(|| name.to_owned());
            let (Some(_), Some(queries)) = (named(DEFAULT), named(QUERIES)) else { return Ok(None) };
            // An attribute that is not text says nothing.
            let said = |name| opened.attr_string(name).ok().map(|text| text.trim_end_matches('\0').to_owned());
            if said(POINT_TYPE).is_some_and(|kind| kind.starts_with(BITS)) {
                return Err(format!(
                    "its attribute `{POINT_TYPE}` says that each value of `{DEFAULT}` is eight bits; write them as numbers \
                     (`numpy.unpackbits(rows, axis=1)`) to a .npy, and compare these with `metric: l2`, which orders bits as \
                     the Hamming distance does"
                ));
            }
            Ok(Some(Companions { queries, neighbours: named(NEIGHBOURS), metric: said(METRIC) }))
        })
    }

    fn shape(&self, file: &mut OpenFile) -> Result<(usize, usize), String> {
        contained(|| header(file).map(|header| (header.rows, header.columns)))
    }

    fn ids(&self, file: OpenFile) -> Result<Array2<u32>, String> {
        contained(|| header(&file)?.ids())
    }

    fn rows(&self, file: OpenFile) -> Result<Box<dyn RowReader>, String> {
        let header = contained(|| header(&file))?;
        Ok(Box::new(Hdf5Rows { header, next: 0, decoded: Vec::new(), taken: 0 }))
    }
}

/// Reads a dataset in whole chunks, for any requested number of rows.
struct Hdf5Rows {
    header: DatasetLayout,
    /// First row that has not been decoded.
    next: usize,
    /// The block that rows are being taken from.
    decoded: Vec<f32>,
    /// Number of values used of it.
    taken: usize,
}

impl RowReader for Hdf5Rows {
    fn shape(&self) -> (usize, usize) {
        (self.header.rows, self.header.columns)
    }

    fn append(&mut self, count: usize, out: &mut Vec<f32>) -> Result<(), String> {
        let mut left = count * self.header.columns;
        while left > 0 {
            if self.taken == self.decoded.len() {
                let rows = self.header.block.min(self.header.rows - self.next);
                self.decoded.clear();
                self.taken = 0;
                contained(|| self.header.append(self.next, rows, &mut self.decoded))?;
                self.next += rows;
            }
            let values = left.min(self.decoded.len() - self.taken);
            out.extend_from_slice(&self.decoded[self.taken..self.taken + values]);
            self.taken += values;
            left -= values;
        }
        Ok(())
    }

    fn working_bytes(&mut self) -> Result<u64, String> {
        let DatasetLayout { dataset, columns, block, rows, .. } = &self.header;
        // The bytes as stored, assembled from chunks, as numbers of up to 8 bytes, and as f32.
        let per_value = 2 * dataset.element_size() as u64 + 8 + 4;
        Ok((*block.min(rows) * columns) as u64 * per_value)
    }
}
