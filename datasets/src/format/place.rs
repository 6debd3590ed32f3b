//! The location of vectors: a file and, if it holds several arrays, the name of one.

use super::FORMATS;
use super::input::{EXTENSIONS, Packing};
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
    /// the character: `run#3.npy` is a file, `set.h5#group/rows` names an array. Without a known extension, a `#` after
    /// the path of a file on this machine does, if there is no file of the whole path: `model.bin#rows`.
    pub fn of(path: &Path) -> Place {
        let whole = || Place { file: path.to_owned(), part: None };
        // A path that is not Unicode cannot contain an array name.
        let Some(text) = path.to_str() else { return whole() };
        let marks = || text.match_indices('#').map(|(at, _)| (&text[..at], &text[at + 1..]));
        marks()
            .find(|(file, _)| known(extension(Path::new(file)).as_str()))
            .or_else(|| marks().find(|(file, _)| Path::new(file).is_file()).filter(|_| !path.exists()))
            .map_or_else(whole, |(file, part)| Place { file: file.into(), part: Some(part.to_owned()) })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        self.part.as_ref().map_or(Ok(()), |part| write!(f, "#{part}"))
    }
}

/// How a file is packed, by its extension, and its name without that extension.
pub(super) fn packing(path: &Path) -> (Packing, PathBuf) {
    let written = last_extension(path);
    match EXTENSIONS.iter().find(|(extension, _)| *extension == written) {
        Some((_, packing)) => (*packing, path.with_extension("")),
        None => (Packing::Plain, path.to_owned()),
    }
}

/// The extension in lower case that tells the format of a file, or of its content if it is packed; empty if there is none.
pub(super) fn extension(path: &Path) -> String {
    let (_, content) = packing(path);
    let name = content.file_name().and_then(OsStr::to_str).unwrap_or_default();
    if is_idx(&name.to_ascii_lowercase()) { "idx".to_owned() } else { last_extension(&content) }
}

/// The name of a file without its extensions and without the wildcards of a pattern.
pub(crate) fn stem(path: &Path) -> Option<String> {
    let (_, content) = packing(path);
    let stem = content.file_stem()?.to_string_lossy().into_owned();
    if !stem.contains(WILDCARDS) {
        return Some(stem);
    }
    let stem = stem.replace(WILDCARDS, "");
    let stem = stem.trim_matches(['-', '_', '.']);
    Some(if stem.is_empty() { "files".to_owned() } else { stem.to_owned() })
}

/// Characters that make a name a pattern.
const WILDCARDS: [char; 2] = ['*', '?'];

/// Whether a path names all files whose names match a pattern.
pub(super) fn is_pattern(path: &Path) -> bool {
    path.file_name().and_then(OsStr::to_str).is_some_and(|name| name.contains(WILDCARDS)) && !path.exists()
}

fn last_extension(path: &Path) -> String {
    path.extension().and_then(OsStr::to_str).unwrap_or_default().to_ascii_lowercase()
}

/// Whether a name is like `train-images-idx3-ubyte` or `train-images.idx3-ubyte`.
fn is_idx(name: &str) -> bool {
    let Some((before, after)) = name.rsplit_once("idx") else { return false };
    let kinds = ["ubyte", "byte", "short", "int", "float", "double"];
    let fits = |(count, kind): (&str, &str)| count.parse::<u8>().is_ok() && kinds.contains(&kind);
    before.ends_with(['-', '.']) && after.split_once('-').is_some_and(fits)
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
        assert_eq!(of("a.b#c/notes.md#x"), ("a.b#c/notes.md#x".into(), None));
        assert_eq!(of("set.NPY#group/rows#1"), ("set.NPY".into(), some("group/rows#1")));
        assert_eq!(of("set.npy#"), ("set.npy".into(), some("")));
        assert_eq!(of("set.npz.GZ#x"), ("set.npz.GZ".into(), some("x")));
        assert_eq!(of("set.gz#x"), ("set.gz#x".into(), None));
        assert_eq!(Place::of(Path::new("d/set.npy#x/y")).to_string(), "d/set.npy#x/y");
    }

    #[test]
    fn a_name_tells_format_packing_and_stem() {
        let told = |path: &str| {
            let path = Path::new(path);
            (extension(path), packing(path).0, stem(path).unwrap_or_default())
        };
        assert_eq!(told("d/a.NPY"), ("npy".into(), Packing::Plain, "a".into()));
        assert_eq!(told("a.b.npy.gz"), ("npy".into(), Packing::Gzip, "a.b".into()));
        assert_eq!(told("a.Zst"), (String::new(), Packing::Zstd, "a".into()));
        assert_eq!(told(".gz"), (String::new(), Packing::Plain, ".gz".into()));
        let images = ("idx".into(), Packing::Gzip, "t10k-images-idx3-ubyte".into());
        assert_eq!(told("t10k-images-idx3-ubyte.gz"), images);
        assert_eq!(told("labels.idx1-ubyte").0, "idx");
        assert_eq!(told("gridx3-ubyte").0, "");
        assert_eq!(told("no-such-*.parquet"), ("parquet".into(), Packing::Plain, "no-such".into()));
        assert_eq!(told("*.npy.gz"), ("npy".into(), Packing::Gzip, "files".into()));
    }
}
