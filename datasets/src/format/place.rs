//! The location of vectors: a file and, if it holds several arrays, the name of one.

use super::FORMATS;
use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

/// A file and, after a `#`, the array or column in it: `set.hdf5#test`, `words.parquet#embedding`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The file itself.
    pub file: PathBuf,
    /// The array within it; None means the default of the format.
    pub part: Option<String>,
}

impl Place {
    /// Parses a path. The first `#` after a known extension ends the name of the file, so that other names may contain
    /// the character: `run#3.npy` is a file, `set.h5#group/rows` names an array.
    pub fn of(path: &Path) -> Place {
        let whole = || Place { file: path.to_owned(), part: None };
        // A path that is not Unicode cannot contain an array name.
        let Some(text) = path.to_str() else { return whole() };
        let mut marks = text.match_indices('#').map(|(at, _)| (&text[..at], &text[at + 1..]));
        marks
            .find(|(file, _)| known(extension(Path::new(file)).as_str()))
            .map_or_else(whole, |(file, part)| Place { file: file.into(), part: Some(part.to_owned()) })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        self.part.as_ref().map_or(Ok(()), |part| write!(f, "#{part}"))
    }
}

/// The extension in lower case; empty if there is none.
pub(super) fn extension(path: &Path) -> String {
    path.extension().and_then(OsStr::to_str).unwrap_or_default().to_ascii_lowercase()
}

fn known(extension: &str) -> bool {
    FORMATS.iter().any(|f| f.extensions().contains(&extension))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_follows_a_known_extension_only() {
        let of = |path: &str| {
            let place = Place::of(Path::new(path));
            (place.file.display().to_string(), place.part)
        };
        let some = |part: &str| Some(part.to_owned());
        assert_eq!(of("a/set.npy"), ("a/set.npy".into(), None));
        assert_eq!(of("run#3.npy"), ("run#3.npy".into(), None));
        assert_eq!(of("run#3.npy#x"), ("run#3.npy".into(), some("x")));
        assert_eq!(of("a.b#c/notes.txt#x"), ("a.b#c/notes.txt#x".into(), None));
        assert_eq!(of("set.NPY#group/rows#1"), ("set.NPY".into(), some("group/rows#1")));
        assert_eq!(of("set.npy#"), ("set.npy".into(), some("")));
        assert_eq!(Place::of(Path::new("d/set.npy#x/y")).to_string(), "d/set.npy#x/y");
    }
}
