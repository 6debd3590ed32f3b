//! Files within a zip file, for datasets that are published in one.

use crate::DatasetError;
use crate::format::ZippedFiles;
use std::io::Read;
use std::path::Path;

/// An open zip file.
pub struct ZipFile(ZippedFiles);

impl ZipFile {
    /// Opens a zip file and reads its table of contents.
    ///
    /// # Errors
    /// A file that cannot be read, or whose table of contents does not fit it.
    pub fn open(path: &Path) -> Result<ZipFile, DatasetError> {
        ZippedFiles::open(path).map(ZipFile)
    }

    /// The paths of the files in it and their unpacked bytes, in the order of the table. A path that ends with `/` is a folder.
    pub fn members(&self) -> Vec<(String, u64)> {
        self.0.members()
    }

    /// The unpacked content of the member with this number. Reading it fails at its end if it does not have the checksum that the
    /// table states.
    ///
    /// # Errors
    /// A member that is encrypted, packed in another way than by deflate, or larger than its packed bytes can hold.
    pub fn read(&mut self, number: usize) -> Result<impl Read + use<>, DatasetError> {
        self.0.read(number)
    }
}
