//! A place for the files that readers read.

use std::path::{Path, PathBuf};

/// A temporary folder, in memory where the system has such a folder.
pub struct Room {
    folder: tempfile::TempDir,
}

impl Room {
    /// A new, empty folder.
    ///
    /// # Errors
    /// A system error.
    pub fn new() -> std::io::Result<Room> {
        let shared = Path::new("/dev/shm");
        let folder = if shared.is_dir() { tempfile::tempdir_in(shared) } else { tempfile::tempdir() };
        folder.or_else(|_| tempfile::tempdir()).map(|folder| Room { folder })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file, in folders that need not exist, and returns its path.
    ///
    /// # Errors
    /// The system error in words.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, String> {
        let path = self.folder.path().join(name);
        let failed = |error: std::io::Error| format!("the input cannot be written: {error}");
        if let Err(error) = std::fs::write(&path, bytes) {
            let folder = path.parent().ok_or_else(|| failed(error))?;
            std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&path, bytes)).map_err(failed)?;
        }
        Ok(path)
    }
}
