//! Files that are there whole or not at all: written to a neighbour, flushed to disk, then renamed.

use crate::RecordError;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Ends the names of files that are being written.
pub(crate) const PARTIAL: &str = ".partial";

/// A file that appears under its name when it is complete. Dropped before, it leaves nothing.
#[derive(Debug)]
pub struct AtomicFile {
    file: File,
    partial: PathBuf,
    path: PathBuf,
    committed: bool,
}

impl AtomicFile {
    /// Begins a file that will be at `path`; what is there now stays until then.
    ///
    /// # Errors
    /// The system's refusal, with the path.
    pub fn create(path: &Path) -> Result<AtomicFile, RecordError> {
        let mut partial = path.as_os_str().to_owned();
        partial.push(format!(".{}{PARTIAL}", std::process::id()));
        let partial = PathBuf::from(partial);
        let file = File::create(&partial).map_err(RecordError::io("write", path))?;
        // Held as long as the file is open, it tells that somebody is at work. Where files cannot be locked, nobody asks.
        let _ = file.try_lock();
        Ok(AtomicFile { file, partial, path: path.to_owned(), committed: false })
    }

    /// Makes the file appear under its name.
    ///
    /// # Errors
    /// The system's refusal, with the path; nothing is left then.
    pub fn commit(mut self) -> Result<(), RecordError> {
        let done = self.file.sync_all().and_then(|()| fs::rename(&self.partial, &self.path));
        self.committed = done.is_ok();
        done.map_err(RecordError::io("write", &self.path))
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if !self.committed {
            let _ = fs::remove_file(&self.partial);
        }
    }
}

/// Writes a file so that it is there whole or not at all.
///
/// # Errors
/// The system's refusal, with the path.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), RecordError> {
    let mut file = AtomicFile::create(path)?;
    file.write_all(bytes).map_err(RecordError::io("write", path))?;
    file.commit()
}

/// Removes what killed processes left of a file, and nothing that somebody is still writing.
pub fn remove_leftovers(path: &Path) {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else { return };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let ours = |found: &str| {
        let middle = found.strip_prefix(name).and_then(|rest| rest.strip_suffix(PARTIAL));
        let number = middle.and_then(|middle| middle.strip_prefix('.'));
        number.is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
    };
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let abandoned = || File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok());
        if entry.file_name().to_str().is_some_and(ours) && abandoned() {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .expect("a folder")
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn a_file_appears_complete_or_not_at_all() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("codes.npy");
        fs::write(&path, "before").expect("writes");
        let mut file = AtomicFile::create(&path).expect("begins");
        file.write_all(b"half of").expect("writes");
        assert_eq!(fs::read(&path).expect("reads"), b"before");
        drop(file);
        assert_eq!(names(folder.path()), ["codes.npy"]);
        write_atomically(&path, b"after").expect("writes");
        assert_eq!(fs::read(&path).expect("reads"), b"after");
        assert_eq!(names(folder.path()), ["codes.npy"]);
    }

    #[test]
    fn leftovers_go_and_the_work_of_others_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("codes.npy");
        for name in ["codes.npy.123.partial", "codes.npy.x.partial", "other.npy.123.partial", "codes.npy.123"] {
            fs::write(folder.path().join(name), "left").expect("writes");
        }
        let mut busy = AtomicFile::create(&path).expect("begins");
        busy.write_all(b"work").expect("writes");
        remove_leftovers(&path);
        busy.commit().expect("is still there");
        assert_eq!(
            names(folder.path()),
            ["codes.npy", "codes.npy.123", "codes.npy.x.partial", "other.npy.123.partial"]
        );
    }
}
