//! File formats of vectors. To add one: its file, its `mod` line, its line in [`FORMATS`].

mod arrays;
mod arrow;
mod bigann;
mod blocks;
mod columns;
mod contain;
mod csv;
mod hdf5;
mod ids;
mod idx;
mod input;
mod labels;
mod lists;
mod ndjson;
mod nesting;
mod npy;
mod npz;
mod number;
mod parquet;
mod pickle;
pub(crate) mod picture;
mod place;
mod quote;
pub(crate) mod row_names;
mod safetensors;
pub(crate) mod several;
mod text;
mod vecs;
pub(crate) mod wav;
mod words;
mod write;
mod zip;

pub use blocks::Blocks;
pub(crate) use blocks::first_not_finite;
pub use place::Place;
pub(crate) use place::stem;
pub use write::{FileLayout, OutputType, PageHeads, layout};
pub(crate) use zip::ZippedFiles;

use crate::judgments::{self, Line};
use crate::{DatasetError, regular};
use input::{Input, Packing};
use ndarray::Array2;
use several::Several;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

/// A file format of vectors. Readers trust nothing: a header is checked against the file before memory is allocated.
pub trait Format: Sync {
    /// Name in messages.
    fn name(&self) -> &'static str;
    /// File extensions, without the dot.
    fn extensions(&self) -> &'static [&'static str];
    /// Whether a file without a known extension is of this format, by its first bytes and its length. By default it is
    /// not.
    fn recognizes(&self, head: &[u8], length: u64) -> bool {
        let _ = (head, length);
        false
    }
    /// Whether the values of a file are packed by the format, so that a file that is packed as a whole must be unpacked
    /// before it is read. By default they are not.
    fn packs(&self) -> bool {
        false
    }
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
    /// The names of the columns that are the components of a row, in this order; None if the array is not made of named
    /// columns. By default it is not.
    ///
    /// # Errors
    /// A reason in words, without the path.
    fn components(&self, file: &mut OpenFile) -> Result<Option<Vec<String>>, String> {
        let _ = file;
        Ok(None)
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
    /// The array as one class per row. By default, rows of one number each.
    ///
    /// # Errors
    /// A reason in words, without the path: another shape, a number that is not a class.
    fn labels(&self, file: OpenFile) -> Result<Vec<u32>, String> {
        labels::of_rows(&mut *self.rows(file)?)
    }
    /// The array as row numbers. By default, rows of numbers that f32 holds exactly.
    ///
    /// # Errors
    /// A reason in words, without the path: a number that is not a row number.
    fn ids(&self, file: OpenFile) -> Result<Array2<u32>, String> {
        ids::of_rows(&mut *self.rows(file)?)
    }
    /// Passes the name of each row to `each`, in order: a column that `#` names. By default, names are whole numbers, read as
    /// [`Format::labels`] reads classes.
    ///
    /// # Errors
    /// A reason in words, without the path: no such column, and errors of `each`.
    fn row_names(&self, mut file: OpenFile, each: &mut row_names::Receiver<'_>) -> Result<(), String> {
        file.place.part = self.choose(&mut file)?;
        self.labels(file)?.into_iter().try_for_each(|number| each(&number.to_string()))
    }
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
    /// Passes over the next `count` rows without reading them. False if the format has to read what lies between; then
    /// nothing has changed. By default it has.
    ///
    /// # Errors
    /// As [`RowReader::append`].
    fn skip(&mut self, count: usize) -> Result<bool, String> {
        let _ = count;
        Ok(false)
    }
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
    &npz::Npz,
    &vecs::FVECS,
    &vecs::BVECS,
    &vecs::IVECS,
    &bigann::FBIN,
    &bigann::U8BIN,
    &bigann::I8BIN,
    &bigann::IBIN,
    &bigann::F16BIN,
    &bigann::GROUND_TRUTH,
    &safetensors::Safetensors,
    &idx::Idx,
    &hdf5::Hdf5,
    &parquet::Parquet,
    &arrow::Arrow,
    &csv::CSV,
    &csv::TSV,
    &ndjson::Ndjson,
    &words::Words,
    &picture::WEBP,
    &picture::PNG,
    &picture::JPEG,
    &picture::PNM,
];

/// A file being read.
pub struct OpenFile {
    /// Its path and the array to read; readers find the result of [`Format::choose`] here.
    pub place: Place,
    /// Buffered content from the start.
    pub reader: BufReader<Input>,
    /// Length of the content in bytes.
    pub length: u64,
    /// Bytes that it takes in the file system.
    pub stored: u64,
}

impl OpenFile {
    /// The same content with a reader of its own, from the start.
    fn again(&self) -> OpenFile {
        self.buffered(1 << 16)
    }

    /// As [`OpenFile::again`], with a buffer of this many bytes.
    fn buffered(&self, bytes: usize) -> OpenFile {
        let reader = BufReader::with_capacity(bytes, self.reader.get_ref().again());
        OpenFile { place: self.place.clone(), reader, ..*self }
    }
}

/// Number of bytes at the start of a file that tell its format.
const HEAD_BYTES: usize = 16;

/// Opens a place that errors call `path`.
fn open_place(place: Place, path: &Path) -> Result<(&'static dyn Format, OpenFile), DatasetError> {
    if let Some(refusal) = pickle::by_name(&place.file) {
        return Err(refusal);
    }
    let extension = place::extension(&place.file);
    let unknown = || {
        let known: Vec<&str> = FORMATS.iter().flat_map(|f| f.extensions()).copied().collect();
        DatasetError::UnknownFormat { path: path.to_owned(), known: known.join(", ") }
    };
    let by_name = FORMATS.iter().find(|f| f.extensions().contains(&extension.as_str()));
    let mut file = open_file(place, path)?;
    let format = match by_name {
        Some(format) => format,
        None => {
            let io = |error| DatasetError::Io { path: path.to_owned(), error };
            let head: Vec<u8> = file.reader.fill_buf().map_err(io)?.iter().take(HEAD_BYTES).copied().collect();
            if let Some(refusal) = pickle::by_content(path, &head, &mut file) {
                return Err(refusal);
            }
            FORMATS.iter().find(|format| format.recognizes(&head, file.length)).ok_or_else(unknown)?
        }
    };
    let malformed = malformed(path, format.name());
    if format.packs() && file.reader.get_ref().is_packed() {
        return Err(malformed(
            "it packs its values itself, and is not read within another packed file; unpack that".into(),
        ));
    }
    file.place.part = format.choose(&mut file).map_err(malformed)?;
    Ok((*format, file))
}

/// Opens a file, which errors call `path`, and finds out the length of its content.
fn open_file(place: Place, path: &Path) -> Result<OpenFile, DatasetError> {
    let io = |error| DatasetError::Io { path: place.file.clone(), error };
    let (file, stored) = regular::open(&place.file).map_err(io)?;
    let input = match place::packing(&place.file).0 {
        Packing::Plain => Input::whole(file, stored),
        packing => Input::packed(file, stored, packing).map_err(malformed(path, packing.name()))?,
    };
    let length = input.length();
    Ok(OpenFile { place, reader: BufReader::with_capacity(1 << 16, input), length, stored })
}

fn malformed(path: &Path, format: &'static str) -> impl Fn(String) -> DatasetError {
    move |reason| DatasetError::Malformed { path: path.to_owned(), format, reason: quote::message(&reason) }
}

/// The file and the array that a path names, with the default of the format filled in. Of a pattern, the array that the
/// first of its files has.
///
/// # Errors
/// A missing file, an unknown extension, an unknown array, or several arrays and none requested.
pub fn resolve(path: &Path) -> Result<Place, DatasetError> {
    let place = Place::of(path);
    match several::files(&place.file)?.into_iter().next() {
        Some(first) if first != place.file => {
            let (_, first) = open_place(Place { file: first.clone(), part: place.part }, &first)?;
            Ok(Place { file: place.file, part: first.place.part })
        }
        _ => open_place(place, path).map(|(_, file)| file.place),
    }
}

/// The files of a pattern; None if the place is one file.
fn several(place: &Place) -> Result<Option<Several>, DatasetError> {
    match several::files(&place.file)? {
        files if files == [place.file.clone()] => Ok(None),
        files => Several::new(files, place.part.clone()).map(Some),
    }
}

/// The files that a path names, each with the array to read, without those that hold no rows if there are several.
///
/// # Errors
/// As [`resolve`], and a malformed header.
pub(crate) fn pieces(path: &Path) -> Result<Vec<Place>, DatasetError> {
    let Place { file, mut part } = Place::of(path);
    let files = several::files(&file)?;
    let mut pieces = Vec::new();
    for file in &files {
        let (format, mut open) = open_place(Place { file: file.clone(), part: part.clone() }, file)?;
        part.clone_from(&open.place.part);
        if files.len() == 1 || format.shape(&mut open).map_err(malformed(file, format.name()))?.0 > 0 {
            pieces.push(open.place);
        }
    }
    Ok(pieces)
}

/// What a file holds besides its rows if no array is requested; None if one is.
///
/// # Errors
/// As [`resolve`].
pub(crate) fn companions(path: &Path) -> Result<Option<Companions>, DatasetError> {
    let place = Place::of(path);
    if place.part.is_some() || place::is_pattern(&place.file) {
        return Ok(None);
    }
    let (format, mut file) = open_place(place, path)?;
    format.companions(&mut file).map_err(malformed(path, format.name()))
}

/// Rows and columns of a file of vectors, from its header.
///
/// # Errors
/// As [`resolve`], and a malformed header.
pub fn shape(path: &Path) -> Result<(usize, usize), DatasetError> {
    let place = Place::of(path);
    let (name, (n, dim)) = match several(&place)? {
        Some(several) => (several.format, several.shape()),
        None => {
            let (format, mut file) = open_place(place, path)?;
            (format.name(), format.shape(&mut file).map_err(malformed(path, format.name()))?)
        }
    };
    if n == 0 || dim == 0 {
        return Err(malformed(path, name)(format!("it holds {n} rows of {dim} components")));
    }
    Ok((n, dim))
}

/// The rows of a file of vectors that are read from it.
struct Rows {
    /// The name of its format.
    format: &'static str,
    reader: Box<dyn RowReader>,
    /// Bytes that unpacking takes besides what the reader takes.
    unpacking: u64,
}

/// The rows of a place that errors call `path`.
fn rows(place: Place, path: &Path) -> Result<Rows, DatasetError> {
    if let Some(several) = several(&place)? {
        return Ok(Rows { format: several.format, reader: Box::new(several), unpacking: 0 });
    }
    let (format, file) = open_place(place, path)?;
    let unpacking = file.reader.get_ref().working_bytes();
    let reader = format.rows(file).map_err(malformed(path, format.name()))?;
    Ok(Rows { format: format.name(), reader, unpacking })
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
    let Rows { format, mut reader, .. } = rows(place, path)?;
    let (n, dim) = reader.shape();
    let mut values = Vec::with_capacity(n * dim);
    let all = reader
        .append(n, &mut values)
        .and_then(|()| Array2::from_shape_vec((n, dim), values).map_err(|e| e.to_string()));
    all.map_err(malformed(path, format))
}

/// Whether a path names a file, or a pattern that at least one file matches.
pub(crate) fn is_here(path: &Path) -> bool {
    path.is_file() || (place::is_pattern(path) && several::files(path).is_ok_and(|files| !files.is_empty()))
}

/// Bytes of a file of the big-ann family with so many rows; None if the extension is of another format.
pub fn cut_bytes(name: &str, rows: usize, dim: usize) -> Option<u64> {
    bigann::bytes(&place::extension(Path::new(name)), rows, dim)
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
    let mut file = open_file(Place { file: path.to_owned(), part: None }, path)?;
    kind.size(&mut file).map_err(malformed(path, kind.name()))
}

/// The patches of a picture file.
///
/// # Errors
/// As [`read`].
pub(crate) fn read_picture(path: &Path, patch: usize) -> Result<Array2<f32>, DatasetError> {
    read_place(Place { file: path.to_owned(), part: Some(patch.to_string()) }, path)
}

/// Whether a file is a recording by its name.
pub(crate) fn is_wav(path: &Path) -> bool {
    place::extension(path) == wav::EXTENSION
}

/// Opens a recording. Errors are as those of [`read`].
fn open_wav(path: &Path) -> Result<(wav::Header, OpenFile), DatasetError> {
    if !is_wav(path) {
        let known = format!("{} for sound", wav::EXTENSION);
        return Err(DatasetError::UnknownFormat { path: path.to_owned(), known });
    }
    let mut file = open_file(Place { file: path.to_owned(), part: None }, path)?;
    let header = wav::header(&mut file).map_err(malformed(path, "WAV"))?;
    Ok((header, file))
}

/// What the header of a recording states.
///
/// # Errors
/// A missing file, or one that is not a recording by name or content.
pub(crate) fn wav_header(path: &Path) -> Result<wav::Header, DatasetError> {
    open_wav(path).map(|(header, _)| header)
}

/// The samples of a recording, mixed down to one channel.
///
/// # Errors
/// As [`read`].
pub(crate) fn read_wav(path: &Path) -> Result<Vec<f32>, DatasetError> {
    let (header, mut file) = open_wav(path)?;
    wav::mono(&mut file, &header).map_err(malformed(path, "WAV"))
}

/// Class labels: a one-dimensional array of integers, or rows of one integer each.
///
/// # Errors
/// A missing file, another shape or type, a negative label.
pub fn read_labels(path: &Path) -> Result<Vec<u32>, DatasetError> {
    let place = Place::of(path);
    let Place { part, .. } = resolve(path)?;
    let mut labels = Vec::new();
    for file in several::files(&place.file)? {
        let path = file.clone();
        let (format, file) = open_place(Place { file, part: part.clone() }, &path)?;
        labels.extend(format.labels(file).map_err(malformed(&path, format.name()))?);
    }
    Ok(labels)
}

/// Judgments of relevance: text in the layout of TREC or BEIR.
///
/// # Errors
/// A missing file, and lines that are no judgments.
pub(crate) fn read_judgments(path: &Path) -> Result<Vec<Line>, DatasetError> {
    let mut file = open_file(Place { file: path.to_owned(), part: None }, path)?;
    let read = text::start(&mut file, false).and_then(|mut records| {
        judgments::parse(|| Ok(if records.next()? { Some((records.text()?.to_owned(), records.line())) } else { None }))
    });
    read.map_err(malformed(path, "judgments"))
}

/// Row numbers, such as the nearest rows of each query: a two-dimensional array of integers.
///
/// # Errors
/// A missing or malformed file, a number that is not a row number.
pub fn read_ids(path: &Path) -> Result<Array2<u32>, DatasetError> {
    let place = Place::of(path);
    let Place { part, .. } = resolve(path)?;
    let mut pieces = Vec::new();
    for file in several::files(&place.file)? {
        let piece = file.clone();
        let (format, file) = open_place(Place { file, part: part.clone() }, &piece)?;
        pieces.push(format.ids(file).map_err(malformed(&piece, format.name()))?);
    }
    if pieces.len() == 1 {
        return Ok(pieces.remove(0));
    }
    let views: Vec<_> = pieces.iter().filter(|ids| ids.nrows() > 0).map(|ids| ids.view()).collect();
    ndarray::concatenate(ndarray::Axis(0), &views).map_err(|e| malformed(path, "ground truth")(e.to_string()))
}

/// Row numbers as the bytes of an ivecs file.
pub fn ids_to_ivecs(rows: &[Vec<u32>]) -> Vec<u8> {
    rows.iter()
        .flat_map(|row| std::iter::once(row.len() as u32).chain(row.iter().copied()))
        .flat_map(u32::to_le_bytes)
        .collect()
}

/// Row numbers from the bytes of an ivecs file; None if they end early.
pub fn ids_of_ivecs(bytes: &[u8]) -> Option<Vec<Vec<u32>>> {
    let (words, rest) = bytes.as_chunks::<4>();
    let (mut words, mut rows) = (words, Vec::new());
    while let Some((length, others)) = words.split_first() {
        let (row, later) = others.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        rows.push(row.iter().map(|word| u32::from_le_bytes(*word)).collect());
        words = later;
    }
    rest.is_empty().then_some(rows)
}

/// Row numbers and scores as the bytes of a file of ground truth of big-ann-benchmarks.
///
/// # Errors
/// Rows of several lengths; more than the format counts.
pub fn ids_to_ibin(rows: &[Vec<u32>], scores: &[f32]) -> Result<Vec<u8>, String> {
    let k = rows.first().map_or(0, Vec::len);
    if rows.iter().any(|row| row.len() != k) || scores.len() != rows.len() * k {
        return Err("rows and scores of a .ibin file must be as many for each query".to_owned());
    }
    let count = |n: usize| u32::try_from(n).map_err(|_| "a .ibin file holds fewer than 2^32 rows".to_owned());
    let counts = [count(rows.len())?, count(k)?];
    let ids = counts.iter().chain(rows.iter().flatten()).flat_map(|id| id.to_le_bytes());
    Ok(ids.chain(scores.iter().flat_map(|score| score.to_le_bytes())).collect())
}

fn read_exact(file: &mut OpenFile, bytes: &mut [u8]) -> Result<(), String> {
    file.reader.read_exact(bytes).map_err(unread)
}

/// Reads bytes of a file of which other parts are passed over: without a buffer, which would be filled each time.
fn read_apart(file: &mut OpenFile, bytes: &mut [u8]) -> Result<(), String> {
    file.reader.get_mut().read_exact(bytes).map_err(unread)
}

/// Passes over bytes of a file. What follows is read by [`read_apart`]. False if the content is packed; then nothing has
/// changed.
fn pass_over(file: &mut OpenFile, bytes: u64) -> Result<bool, String> {
    if file.reader.get_ref().is_packed() {
        return Ok(false);
    }
    let bytes = i64::try_from(bytes).map_err(|_| "it ends early".to_owned())?;
    file.reader.seek(SeekFrom::Current(bytes)).map_err(unread)?;
    Ok(true)
}

/// Why content cannot be read.
fn unread(error: io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "it ends early".to_owned(),
        _ => error.to_string(),
    }
}
