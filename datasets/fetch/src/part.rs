//! What has arrived of a file, and what it is the start of.

use crate::FetchError;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{File, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Ends of the names of files that are not complete.
pub const PART: &str = ".part";
pub const STATE: &str = ".part.json";

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

/// A file name with something after it.
fn with_end(path: &Path, end: &str) -> PathBuf {
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
        let file = File::options().create(true).truncate(false).read(true).write(true).open(&path);
        let file = file.map_err(FetchError::io(&path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(FetchError::Busy { path }),
            Err(TryLockError::Error(error)) => return Err(FetchError::Io { path, error }),
        }
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

    /// SHA-256 of all bytes, in lower case. `reached` hears how many were read.
    pub fn digest(&mut self, mut reached: impl FnMut(u64)) -> Result<String, FetchError> {
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 1 << 18];
        let mut done = 0;
        self.file.seek(SeekFrom::Start(0)).map_err(FetchError::io(&self.path))?;
        loop {
            let count = self.file.read(&mut buffer).map_err(FetchError::io(&self.path))?;
            if count == 0 {
                break;
            }
            hasher.update(&buffer[..count]);
            done += count as u64;
            reached(done);
        }
        Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Gives the complete file its name.
    pub fn finish(self, name: &Path) -> Result<(), FetchError> {
        self.file.sync_all().map_err(FetchError::io(&self.path))?;
        std::fs::rename(&self.path, name).map_err(FetchError::io(name))?;
        let _ = std::fs::remove_file(&self.state);
        Ok(())
    }

    /// Removes it.
    pub fn remove(self) {
        let _ = std::fs::remove_file(&self.path);
        let _ = std::fs::remove_file(&self.state);
    }
}
