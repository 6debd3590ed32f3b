//! File formats of vectors. To add one: its file, its `mod` line, its line in [`FORMATS`].

mod arrow;
mod bigann;
mod blocks;
mod columns;
mod contain;
mod csv;
mod hdf5;
mod lists;
mod ndjson;
mod nesting;
mod npy;
mod number;
mod parquet;
pub(crate) mod picture;
mod place;
mod text;
mod vecs;
mod write;

pub use blocks::Blocks;
pub use place::Place;
pub use write::{FileLayout, OutputType, layout};

use crate::{DatasetError, regular};
use ndarray::Array2;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

/// A file format of vectors. Readers trust nothing: a header is checked against the file before memory is allocated.
pub trait Format: Sync {
    /// Name in messages.
    fn name(&self) -> &'static str;
    /// File extensions, without the dot.
    fn extensions(&self) -> &'static [&'static str];
    /// The array to read, if a file may hold several: the requested one, or the default of the format. By default a
    /// file holds one array, and requesting another is an error.
    ///
    /// # Errors
    /// A reason in words, without the path, that names the arrays there are.
    fn choose(&self, file: &mut OpenFile) -> Result<Option<String>, String> {
        match &file.place.part {
            None => Ok(None),
            Some(part) => Err(format!("a {} file holds one array only; leave out `#{part}`", self.name())),
        }
    }
    /// What else a file holds besides the rows that it gives if no array is requested. By default nothing.
    ///
    /// # Errors
    /// A reason in words, without the path.
    fn companions(&self, file: &mut OpenFile) -> Result<Option<Companions>, String> {
        let _ = file;
        Ok(None)
    }
    /// Rows and columns, from the header.
    ///
    /// # Errors
    /// A reason in words, without the path.
    fn shape(&self, file: &mut OpenFile) -> Result<(usize, usize), String>;
    /// A reader of the rows in order, in blocks of any size.
    ///
    /// # Errors
    /// A reason in words, without the path.
    fn rows(&self, file: OpenFile) -> Result<Box<dyn RowReader>, String>;
    /// What a file of this format holds besides the values of its rows; None if the format cannot be written. By
    /// default None.
    ///
    /// # Errors
    /// A shape that the format cannot hold; the text says why.
    fn layout(&self, values: OutputType, shape: (usize, usize)) -> Option<Result<FileLayout, String>> {
        let _ = (values, shape);
        None
    }
}

/// The contents of a benchmark file: other arrays besides the rows, and the metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Companions {
    /// The array of queries.
    pub queries: String,
    /// The array of the nearest rows of each query.
    pub neighbours: Option<String>,
    /// What the file calls its metric.
    pub metric: Option<String>,
}

/// The rows of an open file, from the first to the last.
pub trait RowReader {
    /// Rows and columns.
    fn shape(&self) -> (usize, usize);
    /// Appends the next `count` rows to `out`. Callers never request more than are left.
    ///
    /// # Errors
    /// A reason in words, without the path. Nothing is read after it.
    fn append(&mut self, count: usize, out: &mut Vec<f32>) -> Result<(), String>;
    /// Maximum number of bytes that a reader holds besides the requested rows, because the format forces it to read
    /// them at once.
    ///
    /// # Errors
    /// A reason in words, without the path.
    fn working_bytes(&mut self) -> Result<u64, String> {
        Ok(number::BUFFER_BYTES as u64)
    }
}

/// Every format.
pub static FORMATS: &[&dyn Format] = &[
    &npy::Npy,
    &vecs::FVECS,
    &vecs::BVECS,
    &vecs::IVECS,
    &bigann::FBIN,
    &bigann::U8BIN,
    &bigann::I8BIN,
    &bigann::IBIN,
    &hdf5::Hdf5,
    &parquet::Parquet,
    &arrow::Arrow,
    &csv::CSV,
    &csv::TSV,
    &ndjson::Ndjson,
    &picture::WEBP,
    &picture::PNG,
];

/// A file being read.
pub struct OpenFile {
    /// Its path and the array to read; readers find the result of [`Format::choose`] here.
    pub place: Place,
    /// Buffered content from the start.
    pub reader: BufReader<File>,
    /// Length in bytes.
    pub length: u64,
}

impl OpenFile {
    /// The same file with a reader of its own. Both share one position, so only one of them may be read.
    fn again(&self) -> Result<OpenFile, String> {
        let file = self.reader.get_ref().try_clone().map_err(|error| error.to_string())?;
        Ok(OpenFile { place: self.place.clone(), reader: BufReader::with_capacity(1 << 16, file), length: self.length })
    }
}

fn open(path: &Path) -> Result<(&'static dyn Format, OpenFile), DatasetError> {
    open_place(Place::of(path), path)
}

/// Opens a place that errors call `path`.
fn open_place(place: Place, path: &Path) -> Result<(&'static dyn Format, OpenFile), DatasetError> {
    let extension = place::extension(&place.file);
    let Some(format) = FORMATS.iter().find(|f| f.extensions().contains(&extension.as_str())) else {
        let known: Vec<&str> = FORMATS.iter().flat_map(|f| f.extensions()).copied().collect();
        return Err(DatasetError::UnknownFormat { path: path.to_owned(), known: known.join(", ") });
    };
    let mut file = open_file(place)?;
    file.place.part = format.choose(&mut file).map_err(malformed(path, format.name()))?;
    Ok((*format, file))
}

fn open_file(place: Place) -> Result<OpenFile, DatasetError> {
    let io = |error| DatasetError::Io { path: place.file.clone(), error };
    let (file, length) = regular::open(&place.file).map_err(io)?;
    let reader = BufReader::with_capacity(1 << 16, file);
    Ok(OpenFile { place, reader, length })
}

fn malformed(path: &Path, format: &'static str) -> impl Fn(String) -> DatasetError {
    move |reason| DatasetError::Malformed { path: path.to_owned(), format, reason }
}

/// The file and the array that a path names, with the default of the format filled in.
///
/// # Errors
/// A missing file, an unknown extension, an unknown array, or several arrays and none requested.
pub fn resolve(path: &Path) -> Result<Place, DatasetError> {
    open(path).map(|(_, file)| file.place)
}

/// What a file holds besides its rows if no array is requested; None if one is.
///
/// # Errors
/// As [`resolve`].
pub(crate) fn companions(path: &Path) -> Result<Option<Companions>, DatasetError> {
    if Place::of(path).part.is_some() {
        return Ok(None);
    }
    let (format, mut file) = open(path)?;
    format.companions(&mut file).map_err(malformed(path, format.name()))
}

/// Rows and columns of a file of vectors, from its header.
///
/// # Errors
/// As [`resolve`], and a malformed header.
pub fn shape(path: &Path) -> Result<(usize, usize), DatasetError> {
    let (format, mut file) = open(path)?;
    let malformed = malformed(path, format.name());
    let (n, dim) = format.shape(&mut file).map_err(&malformed)?;
    if n == 0 || dim == 0 {
        return Err(malformed(format!("it holds {n} rows of {dim} components")));
    }
    Ok((n, dim))
}

/// All rows of a file of vectors, as f32, row-major.
///
/// # Errors
/// As [`resolve`], a malformed header, and content that ends early.
pub fn read(path: &Path) -> Result<Array2<f32>, DatasetError> {
    read_place(Place::of(path), path)
}

/// As [`read`], of a place that errors call `path`.
fn read_place(place: Place, path: &Path) -> Result<Array2<f32>, DatasetError> {
    let (format, file) = open_place(place, path)?;
    let all = || {
        let mut rows = format.rows(file)?;
        let (n, dim) = rows.shape();
        let mut values = Vec::with_capacity(n * dim);
        rows.append(n, &mut values)?;
        Array2::from_shape_vec((n, dim), values).map_err(|e| e.to_string())
    };
    all().map_err(malformed(path, format.name()))
}

/// Whether a file is a picture by its name.
pub(crate) fn is_picture(path: &Path) -> bool {
    picture::Pictures::of_extension(&place::extension(path)).is_some()
}

/// Pixels across and down of a picture file, from its header.
///
/// # Errors
/// A missing file, or one that is not an image by name or content.
pub(crate) fn picture_size(path: &Path) -> Result<picture::Size, DatasetError> {
    let Some(kind) = picture::Pictures::of_extension(&place::extension(path)) else {
        let known: Vec<&str> = picture::KINDS.iter().flat_map(|kind| kind.extensions()).copied().collect();
        return Err(DatasetError::UnknownFormat {
            path: path.to_owned(),
            known: format!("{} for images", known.join(", ")),
        });
    };
    let mut file = open_file(Place { file: path.to_owned(), part: None })?;
    kind.size(&mut file).map_err(malformed(path, kind.name()))
}

/// The patches of a picture file.
///
/// # Errors
/// As [`read`].
pub(crate) fn read_picture(path: &Path, patch: usize) -> Result<Array2<f32>, DatasetError> {
    read_place(Place { file: path.to_owned(), part: Some(patch.to_string()) }, path)
}

/// Class labels: a one-dimensional npy of integers.
///
/// # Errors
/// A missing file, another shape or type, a negative label.
pub fn read_labels(path: &Path) -> Result<Vec<u32>, DatasetError> {
    let (format, mut file) = open(path)?;
    npy::read_labels(&mut file).map_err(malformed(path, format.name()))
}

/// Row numbers, as ground truth comes: ivecs.
///
/// # Errors
/// A missing or malformed file, a negative number.
pub fn read_ids(path: &Path) -> Result<Array2<u32>, DatasetError> {
    let (_, file) = open(path)?;
    vecs::read_ids(file).map_err(malformed(path, "ivecs"))
}

/// Row numbers as the bytes of an ivecs file.
pub fn ids_to_ivecs(rows: &[Vec<u32>]) -> Vec<u8> {
    rows.iter()
        .flat_map(|row| std::iter::once(row.len() as u32).chain(row.iter().copied()))
        .flat_map(u32::to_le_bytes)
        .collect()
}

fn read_exact(file: &mut OpenFile, bytes: &mut [u8]) -> Result<(), String> {
    file.reader.read_exact(bytes).map_err(|_| "it ends early".to_owned())
}
