//! SHA-256 of complete files. What was computed is remembered with the metadata of the file, so that a large file is not read each time.

use crate::FetchError;
use crate::part::PART;
use datasets::regular::look;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// The file in the folder of datasets that holds the remembered digests.
pub const REMEMBERED: &str = "datasets.checked";

#[derive(Serialize, Deserialize)]
struct Remembered {
    /// Metadata of the file, in a form that is only compared.
    look: String,
    sha256: String,
}

/// By the absolute paths of files.
type All = BTreeMap<String, Remembered>;

/// SHA-256 of all that comes, in lower case; None if `cancel` was set. `reached` hears how many bytes were read.
pub fn sha256(
    content: &mut impl Read,
    path: &Path,
    cancel: &AtomicBool,
    mut reached: impl FnMut(u64),
) -> Result<Option<String>, FetchError> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    let mut done = 0;
    loop {
        if cancel.load(Ordering::SeqCst) {
            return Ok(None);
        }
        match content.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                hasher.update(&buffer[..count]);
                done += count as u64;
                reached(done);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(FetchError::io(path)(error)),
        }
    }
    Ok(Some(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()))
}

/// SHA-256 of a file; it is read only if it does not look as it did when it was read before. None if `cancel` was set.
pub fn of_file(
    folder: &Path,
    path: &Path,
    cancel: &AtomicBool,
    reached: impl FnMut(u64),
) -> Result<Option<String>, FetchError> {
    let (mut file, _) = datasets::regular::open(path).map_err(FetchError::io(path))?;
    let look_now = |file: &std::fs::File| file.metadata().ok().and_then(|found| look(&found));
    let before = look_now(&file);
    if let Some(known) = read(folder).remove(&key(path))
        && before.as_ref() == Some(&known.look)
    {
        return Ok(Some(known.sha256));
    }
    let sha256 = sha256(&mut file, path, cancel, reached)?;
    if let (Some(look), Some(sha256)) = (before.filter(|look| look_now(&file).as_ref() == Some(look)), &sha256) {
        keep(folder, path, look, sha256);
    }
    Ok(sha256)
}

/// Remembers the digest of a file that was just given its name.
pub fn remember(folder: &Path, path: &Path, sha256: &str) {
    if let Some(look) = path.metadata().ok().and_then(|found| look(&found)) {
        keep(folder, path, look, sha256);
    }
}

fn key(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).to_string_lossy().into_owned()
}

fn read(folder: &Path) -> All {
    let bytes = std::fs::read(folder.join(REMEMBERED)).ok();
    bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

/// Without it, files are read again: so what goes wrong here is no error.
fn keep(folder: &Path, path: &Path, look: String, sha256: &str) {
    let mut all = read(folder);
    all.retain(|path, _| Path::new(path).exists());
    all.insert(key(path), Remembered { look, sha256: sha256.to_owned() });
    let Ok(bytes) = serde_json::to_vec_pretty(&all) else { return };
    let new = folder.join(format!("{REMEMBERED}.{}{PART}", std::process::id()));
    let written = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&new, bytes));
    if written.and_then(|()| std::fs::rename(&new, folder.join(REMEMBERED))).is_err() {
        let _ = std::fs::remove_file(&new);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::time::{Duration, SystemTime};

    #[test]
    fn a_file_is_read_again_once_it_looks_different() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a");
        let write = |text: &str, age: u64| {
            std::fs::write(&path, text).expect("writes");
            let file = File::options().write(true).open(&path).expect("opens");
            file.set_modified(SystemTime::now() - Duration::from_secs(age)).expect("an older time");
        };
        // Whether the file was read, and whether its digest is that of `text`.
        let digest = |text: &str| {
            let mut is_read = false;
            let found = of_file(folder.path(), &path, &AtomicBool::new(false), |_| is_read = true).expect("reads");
            let expected = sha256(&mut text.as_bytes(), &path, &AtomicBool::new(false), |_| ()).expect("reads");
            (is_read, found == expected)
        };
        write("one", 3600);
        assert_eq!(digest("one"), (true, true));
        assert_eq!(digest("one"), (false, true));
        write("two", 3600);
        assert_eq!(digest("two"), (true, true), "changed");
        write("new", 0);
        assert_eq!(digest("new"), (true, true));
        assert_eq!(digest("new"), (true, true), "it was just written");
        let cancelled = of_file(folder.path(), &path, &AtomicBool::new(true), |_| ()).expect("stops");
        assert_eq!(cancelled, None);
        std::fs::write(folder.path().join(REMEMBERED), "no JSON").expect("writes");
        assert_eq!(digest("new"), (true, true));
    }
}
