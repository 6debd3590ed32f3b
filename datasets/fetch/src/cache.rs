//! What the folder of datasets holds, and how it is emptied.

use crate::digest::REMEMBERED;
use crate::part::{PART, STATE};
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
    all.sort();
    Ok(all)
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
            all.push(Held { path, bytes: found.len(), leftover });
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
