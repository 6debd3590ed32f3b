//! Files with their digests, and the metadata that shows whether a file is still the same, so that it need not be read
//! twice.

use crate::format::{Place, several};
use crate::{DatasetError, regular};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fs::Metadata;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// A file whose content is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenFile {
    /// Where it is, as an absolute path: processes may start from different folders.
    path: PathBuf,
    /// Metadata of the file, in a form that is only compared; None if a change could go unnoticed.
    look: Option<String>,
    /// Digest of its content, in lower-case hexadecimal.
    sha256: String,
}

/// A file that was modified less than this long ago may change again within one tick of the clock of its file system.
const SETTLED: Duration = Duration::from_secs(2);

/// Size, modification and change times, and the inode number.
#[cfg(unix)]
fn look(found: &Metadata) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let (modified, changed) = ((found.mtime(), found.mtime_nsec()), (found.ctime(), found.ctime_nsec()));
    settled(found).then(|| format!("{} {modified:?} {changed:?} {} {}", found.len(), found.dev(), found.ino()))
}

/// Size and time of the last change.
#[cfg(not(unix))]
fn look(found: &Metadata) -> Option<String> {
    let modified = found.modified().ok()?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    settled(found).then(|| format!("{} {modified:?}", found.len()))
}

fn settled(found: &Metadata) -> bool {
    let age = found.modified().ok().and_then(|modified| SystemTime::now().duration_since(modified).ok());
    age.is_some_and(|age| age >= SETTLED)
}

/// Digests of files; each file is read once, however many parts come from it.
#[derive(Default)]
pub(crate) struct Digests {
    /// Digests from other processes, valid while the metadata is unchanged.
    before: HashMap<PathBuf, SeenFile>,
    found: HashMap<PathBuf, SeenFile>,
}

impl Digests {
    /// Reuses digests of files with unchanged metadata.
    pub(crate) fn knowing(seen: &[SeenFile]) -> Digests {
        let before = seen.iter().map(|file| (file.path.clone(), file.clone())).collect();
        Digests { before, found: HashMap::new() }
    }

    /// The digest of the file that a path names, for any array in it; of a pattern, one of the digests of all files in
    /// order.
    pub(crate) fn of(&mut self, path: &Path) -> Result<String, DatasetError> {
        let named = Place::of(path).file;
        let files = several::files(&named)?;
        if files == [named.clone()] {
            return self.of_file(named);
        }
        let mut hasher = Sha256::new();
        for file in files {
            hasher.update(self.of_file(file)?);
        }
        Ok(hasher.finalize().iter().map(|b| format!("{b:02x}")).collect())
    }

    /// The digest of a file; its name may contain any character.
    pub(crate) fn of_file(&mut self, path: PathBuf) -> Result<String, DatasetError> {
        let place = std::path::absolute(&path).unwrap_or_else(|_| path.clone());
        if let Some(known) = self.found.get(&place) {
            return Ok(known.sha256.clone());
        }
        let found = |before: &SeenFile| path.metadata().ok().and_then(|found| look(&found)) == before.look;
        let seen = match self.before.remove(&place).filter(|before| before.look.is_some() && found(before)) {
            Some(before) => before,
            None => SeenFile { path: place.clone(), ..see(&path)? },
        };
        let digest = seen.sha256.clone();
        self.found.insert(place, seen);
        Ok(digest)
    }

    /// All files whose digests were requested.
    pub(crate) fn into_seen(self) -> Vec<SeenFile> {
        let mut seen: Vec<SeenFile> = self.found.into_values().collect();
        seen.sort_by(|a, b| a.path.cmp(&b.path));
        seen
    }
}

/// Computes the digest of a file, and checks its metadata before and after.
fn see(path: &Path) -> Result<SeenFile, DatasetError> {
    let io = |error| DatasetError::Io { path: path.to_owned(), error };
    let (mut file, _) = regular::open(path).map_err(io)?;
    let before = file.metadata().map(|found| look(&found)).map_err(io)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0u8; 1 << 16];
    loop {
        match file.read(&mut buffer).map_err(io)? {
            0 => break,
            n => hasher.update(&buffer[..n]),
        }
    }
    let after = file.metadata().map(|found| look(&found)).map_err(io)?;
    let sha256 = hasher.finalize().iter().map(|b| format!("{b:02x}")).collect();
    Ok(SeenFile { path: path.to_owned(), look: if before == after { before } else { None }, sha256 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    /// A file that was last written to an hour ago.
    fn old_file(path: &Path, content: &[u8]) {
        std::fs::write(path, content).expect("writes");
        let file = File::options().write(true).open(path).expect("opens");
        file.set_modified(SystemTime::now() - Duration::from_secs(3600)).expect("an older time");
    }

    /// What one process has seen, as another one receives it; with a digest that no file has.
    fn seen(path: &Path) -> SeenFile {
        let mut digests = Digests::default();
        digests.of_file(path.to_owned()).expect("reads");
        SeenFile { sha256: "as before".into(), ..digests.into_seen().remove(0) }
    }

    #[test]
    fn a_file_that_looks_the_same_is_not_read_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.npy");
        old_file(&path, b"content");
        let before = seen(&path);
        let digest = |before: &SeenFile| Digests::knowing(std::slice::from_ref(before)).of_file(path.clone());
        assert_eq!(digest(&before).expect("reads"), "as before");

        // Other content of the same length; another length; a file in its place; none at all.
        old_file(&path, b"CONTENT");
        assert_eq!(digest(&before).expect("reads"), see(&path).expect("reads").sha256, "changed");
        old_file(&path, b"longer content");
        assert_eq!(digest(&before).expect("reads"), see(&path).expect("reads").sha256, "longer");
        std::fs::remove_file(&path).expect("removes");
        assert!(digest(&before).is_err(), "gone");
    }

    #[test]
    fn a_file_that_was_just_written_is_read_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.npy");
        std::fs::write(&path, b"content").expect("writes");
        let before = seen(&path);
        let mut digests = Digests::knowing(&[before]);
        assert_eq!(digests.of_file(path.clone()).expect("reads"), see(&path).expect("reads").sha256);
    }
}
