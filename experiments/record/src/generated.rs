//! Generated files in folders that may also contain files of others: a list records the files that this program wrote,
//! and only those are ever replaced or removed.

use crate::{RecordError, regular, write_atomically};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

/// Name of the list, which is in the folder itself.
const LIST: &str = ".vqbench-files.json";

/// Maximum size of a list that is read, in bytes.
const MAX_LIST: u64 = 1 << 26;

#[derive(Default, Serialize, Deserialize)]
struct List {
    /// Paths relative to the folder, with `/` as the separator.
    files: BTreeSet<String>,
}

/// A file to write into the folder.
#[derive(Clone, Copy, Debug)]
pub struct Generated<'a> {
    /// Path relative to the folder, with `/` as the separator.
    pub path: &'a str,
    /// Content.
    pub bytes: &'a [u8],
}

/// Which files may be replaced in a folder that has no list yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unlisted {
    /// None: the existing files belong to somebody else.
    Keep,
    /// Files with the same names as those to write: the folder belongs to this program, from a version that kept no
    /// list.
    Replace,
}

/// Writes `files` into `folder`, and removes files that an earlier call wrote and that are not in `files`. All other
/// files in the folder stay unchanged.
///
/// # Errors
/// A file to write already exists and is not in the list; a folder on its path is a symbolic link; the list is damaged;
/// a system error. The first three leave everything unchanged.
pub fn write_generated(folder: &Path, files: &[Generated<'_>], unlisted: Unlisted) -> Result<(), RecordError> {
    let old = read_list(folder)?;
    let new: BTreeSet<String> = files.iter().map(|file| file.path.to_owned()).collect();
    let replaceable = old.is_none() && unlisted == Unlisted::Replace;
    let old = old.unwrap_or_default().files;
    for path in old.iter().chain(&new) {
        let path = below(folder, path)?;
        for above in path.ancestors().skip(1).take_while(|above| *above != folder) {
            refuse_link(above)?;
        }
    }
    let foreign = new.difference(&old).map(|path| folder.join(path)).find(|path| path.symlink_metadata().is_ok());
    if let Some(path) = foreign.filter(|_| !replaceable) {
        return Err(RecordError::NotOurs { path });
    }
    create(folder)?;
    // Write the list before and after the files: whenever this process dies, the list contains everything that was
    // written.
    write_list(folder, old.union(&new).cloned().collect())?;
    for path in old.difference(&new) {
        remove(folder, &folder.join(path));
    }
    for file in files {
        let path = folder.join(file.path);
        path.parent().map_or(Ok(()), create)?;
        write_atomically(&path, file.bytes)?;
    }
    write_list(folder, new)
}

/// Maximum size of a generated file that is read, in bytes.
const MAX_FILE: u64 = 1 << 32;

/// What is in a folder of generated files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GeneratedFolder {
    /// The files by path relative to the folder, with `/` as the separator, without the list.
    pub files: BTreeMap<String, Vec<u8>>,
    /// The paths in the list.
    pub listed: BTreeSet<String>,
}

/// Reads the generated files of a folder: with `Unlisted::Keep` the listed ones, because all others belong to somebody
/// else; with `Unlisted::Replace` every file, because the whole folder belongs to this program. Nothing is read from a
/// folder that does not exist.
///
/// # Errors
/// A symbolic link, a pipe or a device; a damaged list; a system error.
pub fn read_generated(folder: &Path, unlisted: Unlisted) -> Result<GeneratedFolder, RecordError> {
    let listed = read_list(folder)?.unwrap_or_default().files;
    let mut paths = BTreeSet::new();
    match unlisted {
        Unlisted::Keep => {
            for path in &listed {
                let file = below(folder, path)?;
                for above in file.ancestors().skip(1).take_while(|above| *above != folder) {
                    regular::refuse_link(above).map_err(RecordError::io("read", above))?;
                }
                if file.symlink_metadata().is_ok() {
                    paths.insert(path.clone());
                }
            }
        }
        Unlisted::Replace if folder.symlink_metadata().is_ok() => walk(folder, "", &mut paths)?,
        Unlisted::Replace => {}
    }
    let mut files = BTreeMap::new();
    for path in paths {
        let file = folder.join(&path);
        let bytes = regular::read(&file, MAX_FILE).map_err(RecordError::io("read", &file))?;
        files.insert(path, bytes);
    }
    Ok(GeneratedFolder { files, listed })
}

/// Collects the paths of all files below a folder; `prefix` is the path of the folder itself, empty or with `/` at its
/// end. Does not enter links.
fn walk(folder: &Path, prefix: &str, paths: &mut BTreeSet<String>) -> Result<(), RecordError> {
    for entry in fs::read_dir(folder).map_err(RecordError::io("read", folder))? {
        let entry = entry.map_err(RecordError::io("read", folder))?;
        let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let kind = entry.file_type().map_err(RecordError::io("read", &entry.path()))?;
        if kind.is_dir() {
            walk(&entry.path(), &format!("{path}/"), paths)?;
        } else if path != LIST {
            paths.insert(path);
        }
    }
    Ok(())
}

/// Removes a file, and its parent folders that are empty then.
fn remove(folder: &Path, path: &Path) {
    if path.symlink_metadata().is_ok_and(|found| found.is_file()) && fs::remove_file(path).is_ok() {
        let mut above = path.ancestors().skip(1).take_while(|above| *above != folder);
        // Stops at the first folder that is not empty.
        let _ = above.all(|above| fs::remove_dir(above).is_ok());
    }
}

fn create(folder: &Path) -> Result<(), RecordError> {
    fs::create_dir_all(folder).map_err(RecordError::io("create", folder))
}

fn refuse_link(path: &Path) -> Result<(), RecordError> {
    regular::refuse_link(path).map_err(RecordError::io("write into", path))
}

/// The path of a file. A list may come from a stranger, so it must not point outside the folder.
fn below(folder: &Path, path: &str) -> Result<PathBuf, RecordError> {
    let inside = !path.is_empty() && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    if inside && path != LIST {
        return Ok(folder.join(path));
    }
    let reason = format!("{path:?} is not the path of a file below its folder");
    Err(RecordError::Damaged { path: folder.join(LIST), reason })
}

/// Reads the list of a folder; returns `None` if it has none.
fn read_list(folder: &Path) -> Result<Option<List>, RecordError> {
    let path = folder.join(LIST);
    if path.symlink_metadata().is_err() {
        return Ok(None);
    }
    let bytes = regular::read(&path, MAX_LIST).map_err(RecordError::io("read", &path))?;
    let list = serde_json::from_slice(&bytes);
    list.map(Some).map_err(|error| RecordError::Damaged { path, reason: error.to_string() })
}

fn write_list(folder: &Path, files: BTreeSet<String>) -> Result<(), RecordError> {
    let path = folder.join(LIST);
    let bytes = serde_json::to_vec_pretty(&List { files });
    let bytes = bytes.map_err(|e| RecordError::Damaged { path: path.clone(), reason: e.to_string() })?;
    write_atomically(&path, &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, paths: &[&str], unlisted: Unlisted) -> Result<(), RecordError> {
        let files: Vec<Generated<'_>> = paths.iter().map(|path| Generated { path, bytes: path.as_bytes() }).collect();
        write_generated(folder, &files, unlisted)
    }

    fn put(path: &Path) {
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, "years of work").expect("writes");
    }

    fn is_untouched(path: &Path) -> bool {
        fs::read(path).is_ok_and(|content| content == b"years of work")
    }

    #[test]
    fn only_what_was_written_before_is_removed() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = dir.path().join("report");
        write(&folder, &["index.html", "figures/a.svg", "tables/a.csv"], Unlisted::Keep).expect("writes");
        let mine = folder.join("figures/mine.svg");
        put(&mine);
        write(&folder, &["index.html", "pictures/deep/a.png"], Unlisted::Keep).expect("writes");
        assert!(is_untouched(&mine) && !folder.join("figures/a.svg").exists());
        assert!(!folder.join("tables").exists(), "a folder that is empty now goes");
        assert_eq!(fs::read(folder.join("pictures/deep/a.png")).expect("reads"), b"pictures/deep/a.png");
    }

    #[test]
    fn files_of_others_are_never_replaced() {
        let dir = tempfile::tempdir().expect("a folder");
        let (index, figure) = (dir.path().join("index.html"), dir.path().join("figures/chapter-1.svg"));
        put(&index);
        put(&figure);
        let error = write(dir.path(), &["figures/a.svg", "index.html"], Unlisted::Keep).expect_err("foreign");
        assert!(matches!(&error, RecordError::NotOurs { path } if *path == index), "{error}");
        assert!(!dir.path().join("figures/a.svg").exists() && !dir.path().join(LIST).exists(), "nothing was begun");
        // Other names next to the files of others are allowed.
        write(dir.path(), &["figures/a.svg"], Unlisted::Keep).expect("writes");
        write(dir.path(), &[], Unlisted::Keep).expect("writes");
        assert!(is_untouched(&index) && is_untouched(&figure) && !dir.path().join("figures/a.svg").exists());
    }

    #[test]
    fn the_folder_of_an_earlier_version_is_taken_over() {
        let dir = tempfile::tempdir().expect("a folder");
        put(&dir.path().join("index.html"));
        put(&dir.path().join("notes.txt"));
        write(dir.path(), &["index.html"], Unlisted::Replace).expect("writes");
        assert!(!is_untouched(&dir.path().join("index.html")) && is_untouched(&dir.path().join("notes.txt")));
    }

    #[test]
    fn what_was_written_is_read_back() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = dir.path().join("report");
        assert_eq!(read_generated(&folder, Unlisted::Replace).expect("nothing"), GeneratedFolder::default());
        write(&folder, &["index.html", "figures/a.svg", "tables/a.csv"], Unlisted::Keep).expect("writes");
        put(&folder.join("figures/mine.svg"));
        fs::remove_file(folder.join("tables/a.csv")).expect("removes");
        let paths = |unlisted| {
            let found = read_generated(&folder, unlisted).expect("reads");
            assert_eq!(found.listed.len(), 3);
            assert_eq!(found.files["index.html"], b"index.html");
            found.files.into_keys().collect::<Vec<_>>()
        };
        assert_eq!(paths(Unlisted::Keep), ["figures/a.svg", "index.html"]);
        assert_eq!(paths(Unlisted::Replace), ["figures/a.svg", "figures/mine.svg", "index.html"]);
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("/etc/passwd", folder.join("tables.csv")).expect("links");
            let error = read_generated(&folder, Unlisted::Replace).expect_err("a link").to_string();
            assert!(error.contains("tables.csv: it is a symbolic link"), "{error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn no_link_and_no_list_lead_out_of_the_folder() {
        let elsewhere = tempfile::tempdir().expect("a folder");
        let victim = elsewhere.path().join("a.svg");
        put(&victim);
        let dir = tempfile::tempdir().expect("a folder");
        let folder = dir.path().join("report");
        write(&folder, &["figures/a.svg"], Unlisted::Keep).expect("writes");
        fs::remove_dir_all(folder.join("figures")).expect("removes");
        std::os::unix::fs::symlink(elsewhere.path(), folder.join("figures")).expect("links");
        for paths in [&["figures/a.svg"][..], &["index.html"], &[]] {
            let error = write(&folder, paths, Unlisted::Keep).expect_err("a link").to_string();
            assert!(error.contains("figures: it is a symbolic link") && is_untouched(&victim), "{error}");
        }
        fs::remove_file(folder.join("figures")).expect("removes");
        for path in ["../a.svg", "/etc/passwd", "figures/../../a.svg", "", LIST] {
            write_list(&folder, [path.to_owned()].into()).expect("writes");
            let error = write(&folder, &[], Unlisted::Keep).expect_err(path);
            assert!(matches!(error, RecordError::Damaged { .. }), "{error}");
        }
    }
}
