//! Opens only regular files: reading from a named pipe would block, and a device may never end. Also says what a file looks
//! like, to see whether it has changed.

use std::fs::{File, FileType, Metadata};
use std::io::{self, Read};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Opens a file and returns its length in bytes.
///
/// # Errors
/// A system error; anything that is not a regular file, without blocking on it.
pub fn open(path: &Path) -> io::Result<(File, u64)> {
    // Checked before it is opened, because opening a pipe blocks until there is a writer.
    check(std::fs::metadata(path)?.file_type())?;
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    check(metadata.file_type())?;
    Ok((file, metadata.len()))
}

/// The content of a file, at most the first `most` bytes.
///
/// # Errors
/// As [`open`].
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.0.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The whole content of a file of text.
///
/// # Errors
/// As [`open`]; bytes that are not UTF-8.
pub fn read_text(path: &Path) -> io::Result<String> {
    String::from_utf8(read(path, u64::MAX)?).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        io::Error::other(format!("it is not text: byte {at} is not UTF-8"))
    })
}

/// A file that was modified less than this long ago may change again within one tick of the clock of its file system.
const SETTLED: Duration = Duration::from_secs(2);

/// Shows whether a file is still the same: size, modification and change times, and the inode number, in a form that is only
/// compared. None if a change could go unnoticed, because the file was modified just now.
#[cfg(unix)]
pub fn look(found: &Metadata) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let (modified, changed) = ((found.mtime(), found.mtime_nsec()), (found.ctime(), found.ctime_nsec()));
    settled(found).then(|| format!("{} {modified:?} {changed:?} {} {}", found.len(), found.dev(), found.ino()))
}

/// Shows whether a file is still the same: size and time of the last change. None if a change could go unnoticed.
#[cfg(not(unix))]
pub fn look(found: &Metadata) -> Option<String> {
    let modified = found.modified().ok()?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    settled(found).then(|| format!("{} {modified:?}", found.len()))
}

fn settled(found: &Metadata) -> bool {
    let age = found.modified().ok().and_then(|modified| SystemTime::now().duration_since(modified).ok());
    age.is_some_and(|age| age >= SETTLED)
}

fn check(kind: FileType) -> io::Result<()> {
    if kind.is_file() {
        return Ok(());
    }
    Err(io::Error::other(format!("it is not a regular file but {}", called(kind))))
}

#[cfg(unix)]
fn called(kind: FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    match kind {
        _ if kind.is_dir() => "a folder",
        _ if kind.is_fifo() => "a named pipe",
        _ if kind.is_socket() => "a socket",
        _ => "a device",
    }
}

#[cfg(not(unix))]
fn called(kind: FileType) -> &'static str {
    if kind.is_dir() { "a folder" } else { "something else" }
}
