//! Arrays as `.npy` files in the scratch folder: written for the adapter, and read from it with every number checked.

use crate::process::plain;
use std::fs::{File, OpenOptions};
use std::io::{BufReader, BufWriter, Read, Seek, Write};
use std::path::Path;

/// Writes rows of vectors.
pub(crate) fn write_vectors(path: &Path, rows: ndarray::ArrayView2<'_, f32>) -> std::io::Result<()> {
    write(path, rows.dim(), rows.iter().copied())
}

/// Writes codes of `size` bytes each.
pub(crate) fn write_codes(path: &Path, codes: &[u8], size: usize) -> std::io::Result<()> {
    write(path, (codes.len() / size.max(1), size), codes.iter().copied())
}

fn write<T: Value>(
    path: &Path,
    (rows, columns): (usize, usize),
    values: impl Iterator<Item = T>,
) -> std::io::Result<()> {
    // A link or a pipe that an adapter has put here would lead elsewhere.
    let file = OpenOptions::new().write(true).create_new(true).open(path)?;
    let mut file = BufWriter::with_capacity(1 << 20, file);
    let text = format!("{{'descr': '{}', 'fortran_order': False, 'shape': ({rows}, {columns}), }}", T::NAME);
    // The header ends with a line break, and the values begin at a multiple of 64 bytes.
    let length = (PREFIX_BYTES + text.len() + 1).next_multiple_of(64) - PREFIX_BYTES;
    file.write_all(MAGIC)?;
    file.write_all(&[1, 0])?;
    file.write_all(&(length as u16).to_le_bytes())?;
    file.write_all(format!("{text:<width$}\n", width = length - 1).as_bytes())?;
    for value in values {
        value.write(&mut file)?;
    }
    file.flush()
}

/// The first bytes of a file.
const MAGIC: &[u8] = b"\x93NUMPY";

/// The first bytes, the version, and the length of the header in version 1.
const PREFIX_BYTES: usize = 10;

/// Most bytes of a code.
pub(crate) const MOST_CODE_BYTES: usize = 1 << 24;

/// Longest header that is read.
const LONGEST_HEADER: usize = 4096;

/// A type of values in arrays.
pub(crate) trait Value: Sized {
    /// As numpy names it.
    const NAME: &'static str;
    /// From its bytes, little endian.
    fn from_bytes(bytes: &[u8]) -> Self;
    /// To its bytes, little endian.
    fn write(self, file: &mut impl Write) -> std::io::Result<()>;
}

impl Value for f32 {
    const NAME: &'static str = "<f4";
    fn from_bytes(bytes: &[u8]) -> f32 {
        bytes.try_into().map_or(f32::NAN, f32::from_le_bytes)
    }
    fn write(self, file: &mut impl Write) -> std::io::Result<()> {
        file.write_all(&self.to_le_bytes())
    }
}

impl Value for u8 {
    const NAME: &'static str = "|u1";
    fn from_bytes(bytes: &[u8]) -> u8 {
        bytes.first().copied().unwrap_or_default()
    }
    fn write(self, file: &mut impl Write) -> std::io::Result<()> {
        file.write_all(&[self])
    }
}

impl Value for i64 {
    const NAME: &'static str = "<i8";
    fn from_bytes(bytes: &[u8]) -> i64 {
        bytes.try_into().map_or(-1, i64::from_le_bytes)
    }
    fn write(self, file: &mut impl Write) -> std::io::Result<()> {
        file.write_all(&self.to_le_bytes())
    }
}

/// What the header of an array says.
#[derive(Debug, PartialEq)]
struct Header {
    descr: String,
    fortran_order: bool,
    shape: Vec<u64>,
}

/// Reads a header: a dictionary of Python with three keys, in any order.
fn header(file: &mut impl Read) -> Option<Header> {
    let mut start = [0u8; 8];
    file.read_exact(&mut start).ok()?;
    if !start.starts_with(MAGIC) {
        return None;
    }
    // The length has two bytes in version 1, and four in version 2.
    let mut length = [0u8; 4];
    file.read_exact(&mut length[..if start[6] == 1 { 2 } else { 4 }]).ok()?;
    let length = u32::from_le_bytes(length) as usize;
    if length > LONGEST_HEADER {
        return None;
    }
    let mut text = vec![0u8; length];
    file.read_exact(&mut text).ok()?;
    let text = String::from_utf8(text).ok()?;
    let after = |key: &str| {
        let (_, rest) = text.split_once(key)?;
        rest.trim_start().strip_prefix(':').map(str::trim_start)
    };
    let descr = after("'descr'")?.strip_prefix('\'')?.split_once('\'')?.0.to_owned();
    let fortran_order = match after("'fortran_order'")? {
        rest if rest.starts_with("False") => false,
        rest if rest.starts_with("True") => true,
        _ => return None,
    };
    let (shape, _) = after("'shape'")?.strip_prefix('(')?.split_once(')')?;
    let parts = shape.split(',').map(str::trim).filter(|part| !part.is_empty());
    Some(Header { descr, fortran_order, shape: parts.map(|part| part.parse().ok()).collect::<Option<_>>()? })
}

/// Reads an array of `rows` rows that an adapter wrote. `columns` is the number of columns, if it is known. Returns the
/// number of columns and the values.
///
/// # Errors
/// What the file is, and what it should be.
pub(crate) fn read<T: Value>(path: &Path, rows: usize, columns: Option<usize>) -> Result<(usize, Vec<T>), String> {
    let name = name_of(path);
    let mut file = BufReader::with_capacity(1 << 20, open(path, &name)?);
    let no_array = || format!("{name} is no .npy file of version 1 or 2");
    let Header { descr, fortran_order, shape } = header(&mut file).ok_or_else(no_array)?;
    if descr != T::NAME {
        return Err(format!("{name} has the type {}; {} is needed", plain(&descr, 20), T::NAME));
    }
    let wanted = columns.map_or_else(|| format!("({rows}, bytes)"), |columns| format!("({rows}, {columns})"));
    let &[found_rows, found_columns] = &shape[..] else {
        return Err(format!("{name} has the shape {shape:?}; {wanted} is needed"));
    };
    let fits = found_rows == rows as u64
        && columns.map_or(found_columns > 0 || rows == 0, |columns| found_columns == columns as u64);
    if !fits {
        return Err(format!("{name} has the shape ({found_rows}, {found_columns}); {wanted} is needed"));
    }
    if columns.is_none() && found_columns > MOST_CODE_BYTES as u64 {
        return Err(format!("{name} has codes of {found_columns} bytes; at most {MOST_CODE_BYTES} are possible"));
    }
    if fortran_order && found_rows > 1 && found_columns > 1 {
        return Err(format!("{name} is in Fortran order; C order is needed"));
    }
    let size = size_of::<T>();
    let bytes = found_rows.checked_mul(size as u64).and_then(|bytes| bytes.checked_mul(found_columns));
    // A file that claims more than it holds is found before there is memory for it.
    let held = file.get_ref().metadata().map_err(|error| format!("{name}: {error}"))?.len();
    let begin = file.stream_position().map_err(|error| format!("{name}: {error}"))?;
    let held = held.saturating_sub(begin);
    let Some(bytes) = bytes.filter(|bytes| held == *bytes) else {
        let needs = bytes.map_or_else(|| "more".to_owned(), |bytes| bytes.to_string());
        return Err(format!("{name} holds {held} bytes of values; its shape needs {needs}"));
    };
    let mut values = Vec::new();
    let count = bytes as usize / size;
    values.try_reserve_exact(count).map_err(|_| format!("{name} holds {count} values, more than the memory can"))?;
    let mut block = vec![0u8; (bytes as usize).min(1 << 20)];
    let mut left = bytes as usize;
    while left > 0 {
        let part = left.min(block.len());
        file.read_exact(&mut block[..part]).map_err(|error| format!("{name} ends early: {error}"))?;
        values.extend(block[..part].chunks_exact(size).map(T::from_bytes));
        left -= part;
    }
    Ok((found_columns as usize, values))
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// What an array of an adapter holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArrayKind {
    /// Vectors, f32.
    Vectors,
    /// Codes, bytes.
    Codes,
    /// Row numbers, i64.
    Ids,
}

/// The number of values in an array of a known shape, read and checked as those of adapters are.
///
/// # Errors
/// What the file is, and what it should be.
pub fn count_values(path: &Path, kind: ArrayKind, (rows, columns): (usize, usize)) -> Result<usize, String> {
    match kind {
        ArrayKind::Vectors => read::<f32>(path, rows, Some(columns)).map(|(_, values)| values.len()),
        ArrayKind::Codes => read::<u8>(path, rows, Some(columns)).map(|(_, values)| values.len()),
        ArrayKind::Ids => read::<i64>(path, rows, Some(columns)).map(|(_, values)| values.len()),
    }
}

/// Opens a regular file and nothing else: a link could lead anywhere, and a pipe would never end.
fn open(path: &Path, name: &str) -> Result<File, String> {
    let no_file = || format!("{name} is not a regular file");
    let found = path.symlink_metadata().map_err(|_| format!("it did not write {name}"))?;
    if !found.is_file() {
        return Err(no_file());
    }
    let mut options = OpenOptions::new();
    options.read(true);
    // The file may be another one by now.
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32);
    }
    let file = options.open(path).map_err(|error| format!("{name} cannot be read: {error}"))?;
    if file.metadata().is_ok_and(|found| found.is_file()) { Ok(file) } else { Err(no_file()) }
}

/// The bytes of a file that an adapter wrote.
///
/// # Errors
/// It is missing or no regular file.
pub(crate) fn file_bytes(path: &Path) -> Result<u64, String> {
    let name = name_of(path);
    let file = open(path, &name)?;
    file.metadata().map(|found| found.len()).map_err(|error| format!("{name}: {error}"))
}

/// Copies a file that an adapter wrote to a place of the caller.
pub(crate) fn copy_out(from: &Path, to: &Path) -> Result<(), String> {
    copy(from, File::create(to))
}

/// Copies a file of the caller into the scratch folder.
pub(crate) fn copy_in(from: &Path, to: &Path) -> Result<(), String> {
    copy(from, OpenOptions::new().write(true).create_new(true).open(to))
}

fn copy(from: &Path, to: std::io::Result<File>) -> Result<(), String> {
    let name = name_of(from);
    let mut input = open(from, &name)?;
    let mut output = to.map_err(|error| error.to_string())?;
    std::io::copy(&mut input, &mut output).and_then(|_| output.flush()).map_err(|error| format!("{name}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn arrays_are_read_as_written_and_refused_otherwise() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.npy");
        let rows = array![[1f32, 2.0, 3.0], [4.0, 5.0, f32::NAN]];
        write_vectors(&path, rows.view()).expect("writes");
        let (columns, values) = read::<f32>(&path, 2, None).expect("reads");
        assert_eq!((columns, &values[..5]), (3, &[1f32, 2.0, 3.0, 4.0, 5.0][..]));
        assert!(values[5].is_nan());
        let wrong = |found: Result<(usize, Vec<f32>), String>| found.expect_err("refused");
        assert_eq!(wrong(read(&path, 3, Some(3))), "a.npy has the shape (2, 3); (3, 3) is needed");
        assert_eq!(wrong(read(&path, 2, Some(4))), "a.npy has the shape (2, 3); (2, 4) is needed");
        assert_eq!(read::<u8>(&path, 2, None).expect_err("type"), "a.npy has the type <f4; |u1 is needed");
        assert_eq!(wrong(read(&folder.path().join("b.npy"), 2, None)), "it did not write b.npy");
        let whole = std::fs::read(&path).expect("bytes");
        std::fs::write(&path, &whole[..whole.len() - 1]).expect("cut");
        assert_eq!(wrong(read(&path, 2, Some(3))), "a.npy holds 23 bytes of values; its shape needs 24");
        std::fs::write(&path, b"hello").expect("writes");
        assert_eq!(wrong(read(&path, 2, Some(3))), "a.npy is no .npy file of version 1 or 2");
        assert!(write_codes(&path, &[1], 1).is_err(), "nothing is overwritten");
        let path = folder.path().join("c.npy");
        write_codes(&path, &[1, 2, 3, 4, 5, 6], 3).expect("writes");
        assert_eq!(read::<u8>(&path, 2, None), Ok((3, vec![1, 2, 3, 4, 5, 6])));
    }

    #[cfg(unix)]
    #[test]
    fn links_and_pipes_are_no_arrays() {
        let folder = tempfile::tempdir().expect("a folder");
        let (real, link) = (folder.path().join("real.npy"), folder.path().join("link.npy"));
        write_codes(&real, &[1], 1).expect("writes");
        std::os::unix::fs::symlink(&real, &link).expect("links");
        assert_eq!(read::<u8>(&link, 1, None).expect_err("a link"), "link.npy is not a regular file");
        assert!(file_bytes(&link).is_err() && file_bytes(&real).is_ok_and(|bytes| bytes > 1));
    }
}
