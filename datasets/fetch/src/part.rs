//! What has arrived of a file, and what it is the start of.

use crate::{FetchError, digest};
use serde::{Deserialize, Serialize};
use std::fs::{File, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// Ends of the names of files that are not complete.
pub const PART: &str = ".part";
pub const STATE: &str = ".part.json";
pub const UNPACKED: &str = ".unpacked.part";

/// What tells whether the file at an address is still the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// The address that was asked, without user and password.
    pub address: String,
    /// Bytes of the whole file there.
    pub total: Option<u64>,
    /// Its `ETag`.
    pub etag: Option<String>,
    /// Its `Last-Modified`.
    pub modified: Option<String>,
}

impl Origin {
    /// A value of `If-Range`, which servers compare exactly: a strong tag, or a time.
    pub fn if_range(&self) -> Option<String> {
        self.etag.clone().filter(|tag| !tag.starts_with("W/")).or_else(|| self.modified.clone())
    }

    /// Whether another file has as many bytes, as far as both say.
    pub fn same_total(&self, other: &Origin) -> bool {
        same(&self.total, &other.total)
    }

    /// Whether a later answer is about the same content, as far as both say.
    pub fn agrees(&self, later: &Origin) -> bool {
        let tags = same(&self.etag, &later.etag) && same(&self.modified, &later.modified);
        self.address == later.address && self.same_total(later) && tags
    }
}

/// Whether two values are the same, as far as both are known.
fn same<T: PartialEq>(a: &Option<T>, b: &Option<T>) -> bool {
    a.is_none() || b.is_none() || a == b
}

/// An incomplete file, which no other process touches as long as this value lives.
pub struct Part {
    path: PathBuf,
    state: PathBuf,
    file: File,
    /// Bytes that are here.
    length: u64,
    /// What they are the start of; None if that is unknown.
    origin: Option<Origin>,
    /// How often bytes were dropped.
    losses: u32,
}

/// Whether a path leads to an open file.
fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(open), Ok(found)) = (file.metadata(), path.metadata()) else { return false };
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        (open.dev(), open.ino()) == (found.dev(), found.ino())
    }
    // As far as can be told: here the system does not let others rename an open file.
    #[cfg(not(unix))]
    {
        open.len() == found.len()
    }
}

/// A file name with something after it.
pub fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(end);
    path.with_file_name(name)
}

impl Part {
    /// Opens what is here of the file that will be at `path`, or starts it.
    pub fn open(path: &Path) -> Result<Part, FetchError> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(FetchError::io(folder))?;
        }
        let (path, state) = (with_end(path, PART), with_end(path, STATE));
        let file = loop {
            let file = File::options().create(true).truncate(false).read(true).write(true).open(&path);
            let file = file.map_err(FetchError::io(&path))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(FetchError::Busy { path }),
                Err(TryLockError::Error(error)) => return Err(FetchError::Io { path, error }),
            }
            // Another process may have given it its name, or removed it, before this one locked it.
            if is_at(&file, &path) {
                break file;
            }
        };
        let length = file.metadata().map_err(FetchError::io(&path))?.len();
        let origin = std::fs::read(&state).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Ok(Part { path, state, file, length, origin, losses: 0 })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn length(&self) -> u64 {
        self.length
    }

    pub fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }

    /// How often bytes were dropped since it was opened.
    pub fn losses(&self) -> u32 {
        self.losses
    }

    /// Drops all bytes: from now on, those of `origin` follow.
    pub fn restart(&mut self, origin: Option<Origin>) -> Result<(), FetchError> {
        self.file.set_len(0).map_err(FetchError::io(&self.path))?;
        self.losses += u32::from(self.length > 0);
        self.length = 0;
        match &origin {
            Some(origin) => {
                let text = serde_json::to_vec(origin).unwrap_or_default();
                std::fs::write(&self.state, text).map_err(FetchError::io(&self.state))?;
            }
            None => {
                let _ = std::fs::remove_file(&self.state);
            }
        }
        self.origin = origin;
        Ok(())
    }

    /// Adds bytes at the end.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), FetchError> {
        let written = self.file.seek(SeekFrom::Start(self.length)).and_then(|_| self.file.write_all(bytes));
        written.map_err(FetchError::io(&self.path))?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// The first eight bytes, once they are here.
    pub fn head(&mut self) -> Result<Option<[u8; 8]>, FetchError> {
        let mut head = [0; 8];
        if self.length < head.len() as u64 {
            return Ok(None);
        }
        let read = self.file.seek(SeekFrom::Start(0)).and_then(|_| self.file.read_exact(&mut head));
        read.map_err(FetchError::io(&self.path)).map(|()| Some(head))
    }

    /// Replaces the first bytes.
    pub fn set_head(&mut self, head: [u8; 8]) -> Result<(), FetchError> {
        let written = self.file.seek(SeekFrom::Start(0)).and_then(|_| self.file.write_all(&head));
        written.map_err(FetchError::io(&self.path))
    }

    /// SHA-256 of all bytes, in lower case; None if `cancel` was set. `reached` hears how many were read.
    pub fn digest(&mut self, cancel: &AtomicBool, reached: impl FnMut(u64)) -> Result<Option<String>, FetchError> {
        self.file.seek(SeekFrom::Start(0)).map_err(FetchError::io(&self.path))?;
        digest::sha256(&mut self.file, &self.path, cancel, reached)
    }

    /// Gives the complete file its name.
    pub fn finish(self, name: &Path) -> Result<(), FetchError> {
        self.file.sync_all().map_err(FetchError::io(&self.path))?;
        // The lock is held until the end, so that the file beside it is not that of another process.
        std::fs::rename(&self.path, name).map_err(FetchError::io(name))?;
        let _ = std::fs::remove_file(&self.state);
        Ok(())
    }

    /// Removes it.
    pub fn remove(self) {
        let _ = std::fs::remove_file(&self.state);
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_renamed_or_removed_is_not_at_its_old_path() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, name) = (folder.path().join("a.part"), folder.path().join("a"));
        let open = || File::options().create(true).truncate(false).write(true).open(&path).expect("opens");
        let file = open();
        assert!(is_at(&file, &path));
        std::fs::rename(&path, &name).expect("renames");
        assert!(!is_at(&file, &path) && is_at(&file, &name));
        if cfg!(unix) {
            let other = open();
            assert!(!is_at(&file, &path) && is_at(&other, &path));
        }
        let mut part = Part::open(&name).expect("opens");
        part.append(b"of another file").expect("writes");
        part.restart(None).expect("drops it");
        assert!(name.exists());
    }
}
