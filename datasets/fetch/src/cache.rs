//! What the folder of datasets holds, and how it is emptied.

use crate::digest::REMEMBERED;
use crate::part::{PART, STATE};
use std::collections::BTreeSet;
use std::fs::TryLockError;
use std::io;
use std::path::{Path, PathBuf};

/// A file in the folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Held {
    /// Its path below the folder, with `/` between names.
    pub path: String,
    /// Its bytes.
    pub bytes: u64,
    /// Whether it is what is left of a fetch that did not end.
    pub leftover: bool,
    /// Whether it belongs to a fetch that runs now.
    pub in_use: bool,
}

/// All files below a folder, in order of their paths, without the records of what was fetched; none if there is no such folder. Links
/// are not followed.
///
/// # Errors
/// A folder that cannot be read, with its path.
pub fn held(folder: &Path) -> Result<Vec<Held>, (PathBuf, io::Error)> {
    let mut all = Vec::new();
    if folder.is_dir() {
        walk(folder, "", false, &mut all)?;
    }
    all.retain(|file| file.path != "datasets.lock" && file.path != REMEMBERED);
    for place in folders_in_use(folder, &all) {
        all.iter_mut()
            .filter(|file| file.leftover && file.path.starts_with(&place))
            .for_each(|file| file.in_use = true);
    }
    all.sort();
    Ok(all)
}

/// The folders, with `/` at the end, of files that another process fetches. What it unpacks lies there too.
fn folders_in_use(folder: &Path, all: &[Held]) -> BTreeSet<String> {
    let locked = |file: &&Held| {
        let open = datasets::regular::open(&folder.join(&file.path));
        open.is_ok_and(|(open, _)| matches!(open.try_lock_shared(), Err(TryLockError::WouldBlock)))
    };
    let parts = all.iter().filter(|file| file.path.ends_with(PART)).filter(locked);
    parts.map(|file| file.path.rfind('/').map_or_else(String::new, |at| file.path[..=at].to_owned())).collect()
}

fn walk(folder: &Path, before: &str, in_leftover: bool, all: &mut Vec<Held>) -> Result<(), (PathBuf, io::Error)> {
    let wrong = |error| (folder.to_owned(), error);
    for entry in std::fs::read_dir(folder).map_err(wrong)? {
        let entry = entry.map_err(wrong)?;
        let found = entry.metadata().map_err(wrong)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let leftover = in_leftover || name.ends_with(PART) || name.ends_with(STATE);
        let path = format!("{before}{name}");
        if found.is_dir() {
            walk(&entry.path(), &format!("{path}/"), leftover, all)?;
        } else {
            all.push(Held { path, bytes: found.len(), leftover, in_use: false });
        }
    }
    Ok(())
}

/// Removes files of the folder, and folders that become empty by it.
///
/// # Errors
/// A file that cannot be removed, with its path. Those before it are removed.
pub fn remove(folder: &Path, files: &[Held]) -> Result<(), (PathBuf, io::Error)> {
    for file in files {
        let path = folder.join(&file.path);
        std::fs::remove_file(&path).map_err(|error| (path.clone(), error))?;
        // Fails where a folder still holds something.
        let emptied = path.ancestors().skip(1).take_while(|above| *above != folder && above.starts_with(folder));
        let _ = emptied.map(std::fs::remove_dir).take_while(Result::is_ok).count();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_fetch_writes_now_is_in_use() {
        let folder = tempfile::tempdir().expect("a folder");
        for path in ["a/x.gz.part", "a/x.gz.part.json", "a/b.unpacked.part/c", "a/whole", "d/y.part", "datasets.lock"] {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, "").expect("writes");
        }
        let in_use = || -> Vec<(String, bool)> {
            held(folder.path()).expect("a folder").into_iter().map(|file| (file.path, file.in_use)).collect()
        };
        let all = |used: bool| {
            let paths = [("a/b.unpacked.part/c", used), ("a/whole", false), ("a/x.gz.part", used)];
            let others = [("a/x.gz.part.json", used), ("d/y.part", false)];
            paths.into_iter().chain(others).map(|(path, used)| (path.to_owned(), used)).collect::<Vec<_>>()
        };
        assert_eq!(in_use(), all(false));
        let part = std::fs::File::open(folder.path().join("a/x.gz.part")).expect("opens");
        part.lock().expect("locks");
        assert_eq!(in_use(), all(true));
        part.unlock().expect("unlocks");
        assert_eq!(in_use(), all(false));
    }
}
