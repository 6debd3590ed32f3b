//! Files and arrays with their digests, and the metadata that shows whether a file is still the same, so that it need not
//! be read twice.

use crate::DatasetError;
use crate::content::{self, Content, Reading};
use crate::drops::RowKind;
use crate::format::{self, Place, several};
use crate::regular::{self, look};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};

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

/// An array whose content is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenArray {
    asked: Asked,
    /// Metadata of each file that it was read from; None if a change could go unnoticed.
    looks: Vec<(PathBuf, Option<String>)>,
    content: Content,
}

/// What was read: where it is, as an absolute path, and how.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Asked {
    file: PathBuf,
    array: Option<String>,
    reading: Reading,
    /// Kinds of rows that were marked.
    kinds: Vec<RowKind>,
}

/// What is known of files and arrays. Another process need not read them again while they look the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Whole files.
    pub files: Vec<SeenFile>,
    /// Arrays in files.
    pub arrays: Vec<SeenArray>,
}

impl SeenFile {
    /// Whether the file, which is at `path`, looks as it did.
    fn is_unchanged(&self, path: &Path) -> bool {
        self.look.is_some() && path.metadata().ok().and_then(|found| look(&found)) == self.look
    }
}

impl SeenArray {
    /// Whether the files of the array, which are at `path`, look as they did.
    fn is_unchanged(&self, path: &Path) -> bool {
        self.looks.iter().all(|(_, look)| look.is_some()) && looks(path).is_ok_and(|looks| looks == self.looks)
    }
}

impl Seen {
    /// Whether everything looks as it did, so that a dataset which was resolved from it is still the same. False also if a
    /// change could go unnoticed.
    pub fn is_unchanged(&self) -> bool {
        self.files.iter().all(|file| file.is_unchanged(&file.path))
            && self.arrays.iter().all(|array| array.is_unchanged(&array.asked.file))
    }

    /// Adds what was seen for another dataset.
    pub fn add(&mut self, other: &Seen) {
        self.files.extend_from_slice(&other.files);
        self.arrays.extend_from_slice(&other.arrays);
    }
}

/// Digests of files and arrays; each is read once, however many parts come from it.
#[derive(Default)]
pub(crate) struct Digests {
    /// Digests from other processes, valid while the metadata is unchanged.
    before: HashMap<PathBuf, SeenFile>,
    found: HashMap<PathBuf, SeenFile>,
    /// The same of arrays.
    arrays_before: HashMap<Asked, SeenArray>,
    arrays: HashMap<Asked, SeenArray>,
}

impl Digests {
    /// Reuses digests of files with unchanged metadata.
    pub(crate) fn knowing(seen: &Seen) -> Digests {
        let before = seen.files.iter().map(|file| (file.path.clone(), file.clone())).collect();
        let arrays_before = seen.arrays.iter().map(|array| (array.asked.clone(), array.clone())).collect();
        Digests { before, arrays_before, ..Digests::default() }
    }

    /// The contents of arrays, in order, with rows of some kinds marked. Arrays that are not known are read side by side.
    pub(crate) fn arrays(
        &mut self,
        wanted: &[(&Path, Reading)],
        kinds: &[RowKind],
    ) -> Result<Vec<Content>, DatasetError> {
        let mut asked = Vec::new();
        for (path, reading) in wanted {
            let place = format::resolve(path)?;
            let file = std::path::absolute(&place.file).unwrap_or_else(|_| place.file.clone());
            asked.push(Asked { file, array: place.part, reading: *reading, kinds: kinds.to_vec() });
        }
        let mut new: Vec<(&Path, &Asked)> = Vec::new();
        for ((path, _), asked) in wanted.iter().zip(&asked) {
            if self.arrays.contains_key(asked) || new.iter().any(|(_, other)| *other == asked) {
                continue;
            }
            match self.arrays_before.remove(asked).filter(|before| before.is_unchanged(path)) {
                Some(before) => drop(self.arrays.insert(asked.clone(), before)),
                None => new.push((path, asked)),
            }
        }
        let read = |(path, asked): (&Path, &Asked)| see_array(path, asked);
        for seen in new.into_par_iter().map(read).collect::<Vec<_>>() {
            let seen = seen?;
            self.arrays.insert(seen.asked.clone(), seen);
        }
        Ok(asked.iter().filter_map(|asked| Some(self.arrays.get(asked)?.content.clone())).collect())
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
        Ok(content::hexadecimal(hasher))
    }

    /// The digest of a file; its name may contain any character.
    pub(crate) fn of_file(&mut self, path: PathBuf) -> Result<String, DatasetError> {
        let place = std::path::absolute(&path).unwrap_or_else(|_| path.clone());
        if let Some(known) = self.found.get(&place) {
            return Ok(known.sha256.clone());
        }
        let seen = match self.before.remove(&place).filter(|before| before.is_unchanged(&path)) {
            Some(before) => before,
            None => SeenFile { path: place.clone(), ..see(&path)? },
        };
        let digest = seen.sha256.clone();
        self.found.insert(place, seen);
        Ok(digest)
    }

    /// All files and arrays whose digests were requested.
    pub(crate) fn into_seen(self) -> Seen {
        let mut files: Vec<SeenFile> = self.found.into_values().collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let mut arrays: Vec<SeenArray> = self.arrays.into_values().collect();
        arrays.sort_by(|a, b| (&a.asked.file, &a.asked.array).cmp(&(&b.asked.file, &b.asked.array)));
        Seen { files, arrays }
    }
}

/// The metadata of the files that a path names.
fn looks(path: &Path) -> Result<Vec<(PathBuf, Option<String>)>, DatasetError> {
    let look_of = |file: PathBuf| match file.metadata() {
        Ok(found) => Ok((std::path::absolute(&file).unwrap_or(file), look(&found))),
        Err(error) => Err(DatasetError::Io { path: file, error }),
    };
    several::files(&Place::of(path).file)?.into_iter().map(look_of).collect()
}

/// Reads an array, and checks the metadata of its files before and after.
fn see_array(path: &Path, asked: &Asked) -> Result<SeenArray, DatasetError> {
    let before = looks(path)?;
    let content = content::read(path, asked.reading, &asked.kinds)?;
    let after = looks(path)?;
    let looks = if before == after { before } else { before.into_iter().map(|(file, _)| (file, None)).collect() };
    Ok(SeenArray { asked: asked.clone(), looks, content })
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
    let sha256 = content::hexadecimal(hasher);
    Ok(SeenFile { path: path.to_owned(), look: if before == after { before } else { None }, sha256 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::time::{Duration, SystemTime};

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
        SeenFile { sha256: "as before".into(), ..digests.into_seen().files.remove(0) }
    }

    fn knowing(file: &SeenFile) -> Digests {
        Digests::knowing(&Seen { files: vec![file.clone()], ..Seen::default() })
    }

    #[test]
    fn a_file_that_looks_the_same_is_not_read_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.npy");
        old_file(&path, b"content");
        let before = seen(&path);
        let digest = |before: &SeenFile| knowing(before).of_file(path.clone());
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
        let mut digests = knowing(&before);
        assert_eq!(digests.of_file(path.clone()).expect("reads"), see(&path).expect("reads").sha256);
    }

    #[test]
    fn an_array_is_read_again_if_one_of_its_files_changes_or_is_added() {
        let folder = tempfile::tempdir().expect("a folder");
        let csv = |name: &str, text: &str| old_file(&folder.path().join(name), text.as_bytes());
        csv("a-1.csv", "1,2\n");
        csv("a-2.csv", "3,4\n");
        let path = folder.path().join("a-*.csv");
        let rows = |digests: &mut Digests| digests.arrays(&[(&path, Reading::Rows)], &[]).expect("reads").remove(0);
        let mut digests = Digests::default();
        let content = rows(&mut digests);
        let mut seen = digests.into_seen();
        assert_eq!((seen.files.len(), seen.arrays.len()), (0, 1));
        seen.arrays[0].content.sha256 = "as before".into();
        assert_eq!(rows(&mut Digests::knowing(&seen)).sha256, "as before");
        csv("a-2.csv", "3,5\n");
        let changed = rows(&mut Digests::knowing(&seen));
        assert_eq!((changed.pieces[0] == content.pieces[0], changed.pieces[1] == content.pieces[1]), (true, false));
        csv("a-2.csv", "3,4\n");
        csv("a-3.csv", "5,6\n");
        let added = rows(&mut Digests::knowing(&seen));
        assert_eq!((&added.pieces[..2], added.pieces.len()), (&content.pieces[..], 3));
        // Unlike the changed one, the whole is that of the same rows in one file.
        csv("all.csv", "1,2\n3,4\n5,6\n");
        let all = folder.path().join("all.csv");
        let all = Digests::default().arrays(&[(&all, Reading::Rows)], &[]).expect("reads").remove(0);
        assert_eq!((all.sha256 == added.sha256, all.sha256 == changed.sha256), (true, false));
    }
}
