//! `datasets.lock`: what was fetched, so that the same dataset is the same next year and on another machine.

use crate::FetchError;
use serde::Deserialize;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

const HEAD: &str =
    "# What `cargo xtask datasets fetch` has fetched. A file that is fetched again must have the same SHA-256.\n";

/// A file that was fetched.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its path below the folder of datasets.
    pub path: String,
    /// Its bytes.
    pub bytes: u64,
    /// Its SHA-256, in lower case.
    pub sha256: String,
    /// The address that it came from.
    pub address: String,
    /// When, as HTTP writes times.
    pub date: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    #[serde(default)]
    file: Vec<Entry>,
}

/// The entries of one file; none if it does not exist.
fn read(path: &Path) -> Result<Vec<Entry>, FetchError> {
    let wrong = |reason: String| FetchError::Lock { path: path.to_owned(), reason };
    match std::fs::read_to_string(path) {
        Ok(text) => toml::from_str::<Content>(&text).map(|content| content.file).map_err(|e| wrong(e.to_string())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(wrong(error.to_string())),
    }
}

/// What the files record of a path, with the file that does.
///
/// # Errors
/// A file that cannot be read.
pub fn recorded(locks: &[PathBuf], path: &str) -> Result<Vec<(PathBuf, Entry)>, FetchError> {
    let mut all = Vec::new();
    for lock in locks {
        all.extend(read(lock)?.into_iter().filter(|entry| entry.path == path).map(|entry| (lock.clone(), entry)));
    }
    Ok(all)
}

/// Records a file whose digest is known to be right in the first of the files, and in each of the others that exists, unless it is there.
///
/// # Errors
/// A file that cannot be read or written.
pub fn spread(locks: &[PathBuf], entry: &Entry) -> Result<(), FetchError> {
    for (number, lock) in locks.iter().enumerate() {
        if (number == 0 || lock.exists()) && !read(lock)?.iter().any(|known| known.path == entry.path) {
            append(lock, entry).map_err(|e| FetchError::Lock { path: lock.clone(), reason: e.to_string() })?;
        }
    }
    Ok(())
}

/// Records a file that comes from an address now, as [`spread`] does.
///
/// # Errors
/// A file that cannot be read or written.
pub fn record(locks: &[PathBuf], path: &str, bytes: u64, sha256: &str, address: &str) -> Result<(), FetchError> {
    let date = httpdate::fmt_http_date(SystemTime::now());
    let [path, sha256, address] = [path, sha256, address].map(str::to_owned);
    spread(locks, &Entry { path, bytes, sha256, address, date })
}

fn append(lock: &Path, entry: &Entry) -> std::io::Result<()> {
    if let Some(folder) = lock.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut file = std::fs::File::options().create(true).append(true).open(lock)?;
    let head = if file.metadata()?.len() == 0 { HEAD } else { "" };
    // A text of JSON is one of TOML.
    let text = |value: &str| serde_json::Value::from(value).to_string();
    let Entry { path, bytes, sha256, address, date } = entry;
    let lines = [
        format!("\n[[file]]\npath = {}\nbytes = {bytes}", text(path)),
        format!("sha256 = {}\naddress = {}\ndate = {}\n", text(sha256), text(address), text(date)),
    ];
    // One write, so that two processes do not mix their lines.
    file.write_all(format!("{head}{}", lines.join("\n")).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_recorded_is_read_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let (first, second, third) =
            (folder.path().join("new/a.lock"), folder.path().join("b.lock"), folder.path().join("c.lock"));
        std::fs::write(&second, "").expect("writes");
        let locks = [first.clone(), second.clone(), third.clone()];
        record(&locks, "a/\"b\"\\.gz", 7, "00ff", "http://x/é").expect("records");
        record(&locks, "a/\"b\"\\.gz", 8, "11", "http://y").expect("keeps the first");
        record(&locks, "c", 1, "22", "http://z").expect("records");
        let found = recorded(&locks, "a/\"b\"\\.gz").expect("reads");
        let places: Vec<&PathBuf> = found.iter().map(|(lock, _)| lock).collect();
        assert_eq!(places, [&first, &second]);
        for (_, entry) in &found {
            assert_eq!((entry.bytes, entry.sha256.as_str(), entry.address.as_str()), (7, "00ff", "http://x/é"));
        }
        assert!(!third.exists(), "only the first is made");
        assert_eq!(recorded(&locks, "d").expect("reads"), []);

        // A file that did not record it learns it.
        std::fs::write(&third, "").expect("writes");
        let known = recorded(&locks, "c").expect("reads").remove(0).1;
        spread(&locks, &known).expect("writes");
        assert_eq!(recorded(&locks[2..], "c").expect("reads")[0].1, known);
        std::fs::write(&first, "[[file]]\npath = 3\n").expect("writes");
        assert!(matches!(recorded(&locks, "c"), Err(FetchError::Lock { path, .. }) if path == first));
    }
}
