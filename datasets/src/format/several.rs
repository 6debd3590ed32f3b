//! Several files as one array: those whose names match a pattern such as `part-*.parquet`, in the order of their names.

use super::quote::shown;
use super::{Format, OpenFile, Place, RowReader, malformed, open_place, place};
use crate::DatasetError;
use glob::{MatchOptions, Pattern};
use std::io;
use std::path::{Path, PathBuf};

/// As in a shell, a wildcard does not stand for the dot that hides a file.
const MATCHING: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// The files that a path names, without the array in them: itself, or those that match if it is a pattern.
///
/// # Errors
/// A pattern that is malformed or matches nothing; a folder that cannot be read.
pub(crate) fn files(path: &Path) -> Result<Vec<PathBuf>, DatasetError> {
    let Some(name) = path.file_name().and_then(|name| name.to_str()).filter(|_| place::is_pattern(path)) else {
        return Ok(vec![path.to_owned()]);
    };
    let io = |error| DatasetError::Io { path: path.to_owned(), error };
    let pattern = Pattern::new(name).map_err(|error| {
        io(io::Error::new(io::ErrorKind::InvalidInput, format!("its name is no pattern of names: {}", error.msg)))
    })?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let name = entry.map_err(io)?.file_name();
        if name.to_str().is_some_and(|name| pattern.matches_with(name, MATCHING)) {
            found.push(path.with_file_name(name));
        }
    }
    found.sort();
    if found.is_empty() {
        return Err(io(io::Error::new(io::ErrorKind::NotFound, "no file has such a name")));
    }
    Ok(found)
}

/// The rows of all files in order, without those that hold none. Each file must have the array that was chosen in the
/// first, and the same columns in the same order.
pub(super) struct Several {
    /// The name of the format of the first.
    pub(super) format: &'static str,
    files: Vec<(Place, usize)>,
    dim: usize,
    /// The files not yet opened.
    next: usize,
    open: Option<OpenRows>,
}

/// The rows of one file.
struct OpenRows {
    name: String,
    rows: Box<dyn RowReader>,
    /// Bytes that unpacking takes besides what the reader takes.
    unpacking: u64,
    left: usize,
}

impl Several {
    /// Reads the headers of all files.
    ///
    /// # Errors
    /// Files that cannot be read, rows of several lengths, and other columns than those of the first.
    pub(super) fn new(files: Vec<PathBuf>, part: Option<String>) -> Result<Several, DatasetError> {
        let mut several = Several { format: "", files: Vec::new(), dim: 0, next: 0, open: None };
        let mut part = part;
        let mut columns: Option<(PathBuf, Vec<String>)> = None;
        for file in files {
            let path = file.clone();
            let (format, mut open) = open_place(Place { file, part: part.clone() }, &path)?;
            let malformed = malformed(&path, format.name());
            let (n, dim) = format.shape(&mut open).map_err(&malformed)?;
            if several.format.is_empty() {
                several.format = format.name();
                part.clone_from(&open.place.part);
            }
            if n == 0 {
                continue;
            }
            if let Some((first, _)) = several.files.first() {
                if dim != several.dim {
                    let first = first.file.display();
                    return Err(malformed(format!("its rows have {dim} components, those of {first} {}", several.dim)));
                }
            } else {
                several.dim = dim;
            }
            match (format.components(&mut open).map_err(&malformed)?, &columns) {
                (Some(names), Some((first, expected))) => {
                    if let Some(at) = (0..dim).find(|&at| names.get(at) != expected.get(at)) {
                        let name = |names: &[String]| shown(names.get(at).map_or("", String::as_str));
                        return Err(malformed(format!(
                            "its component {at} is the column {}, that of {} is {}",
                            name(&names),
                            first.display(),
                            name(expected)
                        )));
                    }
                }
                (Some(names), None) => columns = Some((path.clone(), names)),
                (None, _) => {}
            }
            several.files.push((open.place, n));
        }
        Ok(several)
    }

    fn open(&mut self) -> Result<OpenRows, String> {
        let (place, expected) = self.files.get(self.next).ok_or("it ends early")?;
        self.next += 1;
        let (format, file): (&dyn Format, OpenFile) =
            open_place(place.clone(), &place.file).map_err(|error| error.to_string())?;
        let name = place.file.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let unpacking = file.reader.get_ref().working_bytes();
        let rows = format.rows(file).map_err(|reason| format!("in {name}: {reason}"))?;
        if rows.shape() != (*expected, self.dim) {
            return Err(format!("{name} changed while it was read"));
        }
        Ok(OpenRows { name, rows, unpacking, left: *expected })
    }
}

impl RowReader for Several {
    fn shape(&self) -> (usize, usize) {
        (self.files.iter().fold(0, |sum: usize, (_, n)| sum.saturating_add(*n)), self.dim)
    }

    fn append(&mut self, count: usize, out: &mut Vec<f32>) -> Result<(), String> {
        let mut left = count;
        while left > 0 {
            let mut open = match self.open.take() {
                Some(open) => open,
                None => self.open()?,
            };
            let rows = left.min(open.left);
            if rows > 0 {
                open.rows.append(rows, out).map_err(|reason| format!("in {}: {reason}", open.name))?;
            }
            left -= rows;
            open.left -= rows;
            self.open = Some(open).filter(|open| open.left > 0);
        }
        Ok(())
    }

    fn working_bytes(&mut self) -> Result<u64, String> {
        let mut most = 0;
        for at in 0..self.files.len() {
            self.next = at;
            let mut open = self.open()?;
            let reading = open.rows.working_bytes().map_err(|reason| format!("in {}: {reason}", open.name))?;
            most = most.max(reading + open.unpacking);
        }
        self.next = 0;
        Ok(most)
    }
}
