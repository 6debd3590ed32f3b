//! Named datasets: where their files are looked for, what they must be, and where they can be fetched.

mod download;
mod slices;

pub use download::{Download, Unpacking};
pub use slices::{parse_rows, write_rows};

use crate::format::Place;
use crate::mel::Mel;
use crate::split::Split;
use crate::{DatasetError, ImageSplit, MetricSpace, SoundSplit, format};
use serde::Deserialize;
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

const TEXT: &str = include_str!("../catalog.toml");

/// Folders that are searched for datasets of the catalog, in order.
#[derive(Clone, Debug, Default)]
pub struct SearchPath {
    /// Folders of embedded datasets; each dataset has a folder of its name.
    pub embedded: Vec<PathBuf>,
    /// The user's folders, then the download cache.
    pub folders: Vec<PathBuf>,
}

impl SearchPath {
    /// The folder `embedded` of the source tree that this was built from, and no other.
    pub fn of_source_tree() -> SearchPath {
        SearchPath { embedded: vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("embedded")], folders: vec![] }
    }
}

/// A named dataset.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogEntry {
    /// Name in YAML.
    pub name: String,
    /// One-line summary.
    pub summary: String,
    /// Whether its files are part of the repository.
    #[serde(default)]
    pub embedded: bool,
    /// How rows are compared.
    pub metric: MetricSpace,
    /// Components per vector.
    pub dim: usize,
    /// Rows of the file that base rows come from, where they are known without it.
    pub n: Option<usize>,
    /// Rows of the file of queries, likewise.
    pub n_queries: Option<usize>,
    /// Why nobody outside can fetch its files. They are used where somebody has them.
    pub local: Option<String>,
    /// Where its files can be fetched.
    #[serde(default, rename = "download")]
    pub downloads: Vec<Download>,
    /// Licence of the data.
    pub licence: String,
    /// Where it comes from.
    pub source: String,
    /// Base rows, or all rows when split. Left out where rows are patches of `images` or frames of `sound`.
    pub base: Option<FileEntry>,
    /// Training rows, all unless the split takes some; default: split from the base file.
    pub train: Option<FileEntry>,
    /// Query rows, all unless the split takes some; default: split from the base file.
    pub queries: Option<FileEntry>,
    /// Whether methods are trained on the base rows.
    #[serde(default)]
    pub train_on_base: bool,
    /// The published nearest rows of each query, with which the exact ones are compared.
    pub truth: Option<FileEntry>,
    /// Classes of the base file's rows.
    pub base_labels: Option<FileEntry>,
    /// Classes of the query file's rows.
    pub queries_labels: Option<FileEntry>,
    /// Images whose patches are the rows.
    pub images: Option<ImageSet>,
    /// Recordings whose log-mel frames are the rows.
    pub sound: Option<SoundSet>,
    /// Rows are log-mel frames of sound; this many make one second.
    pub frames_per_second: Option<f64>,
    /// Files that belong to the dataset but hold neither vectors nor classes of base or query rows.
    #[serde(default)]
    pub others: Vec<FileEntry>,
    /// How the base file is divided, and which rows are used of parts with a file of their own.
    #[serde(default)]
    pub split: Split,
}

/// Images of a dataset.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageSet {
    /// Height and width of a patch, in pixels.
    pub patch: usize,
    /// Which images belong to which part.
    pub split: ImageSplit,
    /// The images, in the order in which the split counts them.
    pub files: Vec<FileEntry>,
}

/// Recordings of a dataset.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SoundSet {
    /// How they become frames.
    #[serde(default)]
    pub mel: Mel,
    /// Which recordings belong to which part.
    #[serde(default)]
    pub split: SoundSplit,
    /// Number of recordings.
    pub count: usize,
    /// The recordings, in the order in which the split counts them. A path that ends with `/` stands for all recordings in
    /// that folder, by name.
    pub files: Vec<FileEntry>,
}

/// One file of a dataset.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Path below one of the folders searched; `#` and a name choose one of several arrays in it.
    pub path: String,
    /// Digest of the whole file's content, where it is known.
    pub sha256: Option<String>,
    /// Files of another kind with the same rows, which are used where this one is missing.
    #[serde(default)]
    pub or: Vec<Container>,
}

/// Another file with the same rows.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Container {
    /// As of a [`FileEntry`].
    pub path: String,
    /// As of a [`FileEntry`].
    pub sha256: Option<String>,
}

/// A file that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located<'a> {
    /// Where it is.
    pub path: PathBuf,
    /// The digest that it must have, if it is known.
    pub sha256: Option<&'a str>,
}

#[derive(Deserialize)]
struct Catalog {
    dataset: Vec<CatalogEntry>,
}

/// All entries of the catalog.
pub fn entries() -> &'static [CatalogEntry] {
    static ENTRIES: OnceLock<Vec<CatalogEntry>> = OnceLock::new();
    ENTRIES.get_or_init(|| {
        toml::from_str::<Catalog>(TEXT).map(|c| c.dataset).unwrap_or_else(|e| unreachable!("catalog.toml: {e}"))
    })
}

/// Finds an entry by name. The first rows of a large set have a name of their own: `bigann-10m`.
///
/// # Errors
/// An unknown name, with the nearest known one.
pub fn find(name: &str) -> Result<Cow<'static, CatalogEntry>, DatasetError> {
    if let Some(entry) = entries().iter().find(|e| e.name == name) {
        return Ok(Cow::Borrowed(entry));
    }
    CatalogEntry::of_slice(name, entries()).map(Cow::Owned).ok_or_else(|| {
        let near = strict::nearest(name, entries().iter().map(|e| e.name.as_str()));
        let near = near.map_or_else(String::new, |near| format!("did you mean `{near}`? "));
        DatasetError::Unknown {
            name: name.to_owned(),
            help: format!("{near}`cargo xtask datasets` lists all; or give `path:`, `images:`, `wav:` or `synthetic:`"),
        }
    })
}

impl CatalogEntry {
    /// Finds a file of this dataset, or another one with the same rows.
    ///
    /// # Errors
    /// [`DatasetError::Absent`] with the folders searched.
    pub fn locate<'a>(&self, file: &'a FileEntry, search: &SearchPath) -> Result<Located<'a>, DatasetError> {
        let embedded = search.embedded.iter().filter(|_| self.embedded).map(|folder| folder.join(&self.name));
        let candidates: Vec<PathBuf> = embedded.chain(search.folders.iter().cloned()).collect();
        let here = |name: &'a str, sha256: &'a Option<String>| {
            let fetched = self.matching(name);
            let found = |folder: &&PathBuf| match &fetched[..] {
                [] if name.ends_with('/') => folder.join(name).is_dir(),
                [] => format::is_here(&Place::of(&folder.join(name)).file),
                paths => paths.iter().all(|path| folder.join(path).is_file()),
            };
            let path = candidates.iter().find(found)?.join(name);
            Some(Located { path, sha256: sha256.as_deref() })
        };
        here(&file.path, &file.sha256)
            .or_else(|| file.or.iter().find_map(|other| here(&other.path, &other.sha256)))
            .ok_or_else(|| DatasetError::Absent {
                name: self.name.clone(),
                file: file.path.clone(),
                searched: candidates.iter().map(|c| c.display().to_string()).collect(),
                help: self.how_to_get(),
            })
    }

    /// All files that fetching gives and that a pattern such as `part-*.parquet` matches; empty for other paths.
    fn matching(&self, path: &str) -> Vec<String> {
        let place = Place::of(Path::new(path)).file;
        let Some((start, end)) = place.to_str().and_then(|path| path.split_once('*')) else { return Vec::new() };
        let paths = self.downloads.iter().flat_map(Download::paths);
        paths.filter(|path| path.starts_with(start) && path.ends_with(end)).collect()
    }

    /// Whether all its files are on this machine.
    pub fn is_here(&self, search: &SearchPath) -> bool {
        self.files().chain(&self.others).all(|file| self.locate(file, search).is_ok())
    }

    /// What to do if its files are not on this machine.
    fn how_to_get(&self) -> String {
        let folder = "put the files into a folder and name it in VQBENCH_DATA (several are separated by `:`)";
        match &self.local {
            None if self.downloads.is_empty() => format!("{folder}; source: {}", self.source),
            None => {
                let size = self.download_size().map_or_else(String::new, |size| format!(" ({size})"));
                format!("fetch it with `cargo xtask datasets fetch {}`{size}", self.name)
            }
            Some(why) => {
                format!("its files cannot be fetched: {why}; if you have them, {folder}; source: {}", self.source)
            }
        }
    }

    /// Bytes that fetching takes, as a text for people: `525 MB`, `about 3.6 GB`; None if they are not known.
    pub fn download_size(&self) -> Option<String> {
        let (mut sum, mut exact) = (0, !self.downloads.is_empty());
        for download in &self.downloads {
            let known = match (download.cut, self.n, download.range) {
                (true, Some(n), _) => format::cut_bytes(&download.to, n, self.dim),
                (_, _, Some((start, end))) => Some(end - start),
                _ => download.bytes,
            };
            exact &= known.is_some();
            sum += known.or(download.about)?;
        }
        match (sum, exact) {
            (0, _) => None,
            (bytes, true) => Some(write_bytes(bytes)),
            (bytes, false) => Some(format!("about {}", write_bytes(bytes))),
        }
    }

    /// All files with their digests.
    pub fn files(&self) -> impl Iterator<Item = &FileEntry> {
        [
            self.base.as_ref(),
            self.train.as_ref(),
            self.queries.as_ref(),
            self.truth.as_ref(),
            self.base_labels.as_ref(),
            self.queries_labels.as_ref(),
        ]
        .into_iter()
        .flatten()
        .chain(self.images.iter().flat_map(|set| &set.files))
        .chain(self.sound.iter().flat_map(|set| &set.files))
    }
}

/// A number of bytes for people: `5.3 MB`.
pub fn write_bytes(bytes: u64) -> String {
    let units = ["kB", "MB", "GB", "TB"];
    if bytes < 1000 {
        return format!("{bytes} bytes");
    }
    let mut size = bytes as f64 / 1000.0;
    let mut unit = 0;
    while size >= 999.5 && unit + 1 < units.len() {
        size /= 1000.0;
        unit += 1;
    }
    let digits = usize::from(size < 9.95);
    format!("{size:.digits$} {}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn digests(file: &FileEntry) -> impl Iterator<Item = &String> {
        file.sha256.iter().chain(file.or.iter().filter_map(|other| other.sha256.as_ref()))
    }

    fn is_digest(text: &str) -> bool {
        text.len() == 64 && text.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c))
    }

    /// A path that leads nowhere else on any system.
    fn is_plain(path: &str) -> bool {
        let fine =
            |name: &str| !name.is_empty() && !name.starts_with('.') && !name.contains(['\\', ':', '*', '?', '{']);
        path.split('/').all(fine)
    }

    #[test]
    fn the_catalog_parses_and_names_are_unique() {
        let mut names: Vec<&str> = entries().iter().map(|e| e.name.as_str()).collect();
        names.sort_unstable();
        assert!(!names.is_empty() && names.windows(2).all(|w| w[0] != w[1]), "{names:?}");
        for entry in entries() {
            let sources = [entry.base.is_some(), entry.images.is_some(), entry.sound.is_some()];
            assert_eq!(sources.iter().filter(|given| **given).count(), 1, "{} has rows from one of these", entry.name);
            assert!(!entry.licence.is_empty() && !entry.source.is_empty(), "{}", entry.name);
        }
        for file in entries().iter().flat_map(|entry| entry.files().chain(&entry.others)) {
            assert!(digests(file).all(|digest| is_digest(digest)), "{}", file.path);
        }
    }

    #[test]
    fn every_dataset_is_embedded_or_fetched_or_says_why_it_is_neither() {
        for entry in entries() {
            let ways = [entry.embedded, !entry.downloads.is_empty(), entry.local.is_some()];
            assert_eq!(ways.iter().filter(|&&way| way).count(), 1, "{}", entry.name);
            let got: HashSet<String> = entry.downloads.iter().flat_map(Download::paths).collect();
            for file in entry.files().chain(&entry.others).filter(|_| !entry.downloads.is_empty()) {
                let place = Place::of(Path::new(&file.path)).file.display().to_string();
                let comes = got.contains(&place) || !entry.matching(&file.path).is_empty();
                assert!(comes, "{}: nothing fetches {place}", entry.name);
            }
        }
    }

    #[test]
    fn downloads_are_well_formed() {
        let mut places: HashSet<(String, Vec<String>)> = HashSet::new();
        for entry in entries() {
            for download in &entry.downloads {
                let what = format!("{} {}", entry.name, download.to);
                assert!(!download.from.is_empty(), "{what}");
                assert!(
                    download.from.iter().all(|from| from.starts_with("https://") || from.starts_with("http://")),
                    "{what}"
                );
                assert!(download.paths().iter().all(|path| is_plain(path.trim_end_matches('/'))), "{what}");
                assert!(download.sha256.as_deref().is_none_or(is_digest), "{what}");
                let one = download.sha256.is_none() && download.bytes.is_none() && download.to.contains("{}");
                assert!(download.names.is_empty() || one, "{what}");
                assert!(download.bytes.is_none() || download.about.is_none(), "{what}");
                assert_eq!(
                    download.members.is_empty(),
                    matches!(download.unpack, None | Some(Unpacking::Gzip)),
                    "{what}"
                );
                assert!(!download.cut || format::cut_bytes(&download.to, 1, entry.dim).is_some(), "{what}");
                let named = entry.n.is_some_and(|n| download.to.contains(&format!(".{}.", write_rows(n))));
                assert!(!download.cut || named, "{what}: the path holds the number of rows");
                // One path stands for one content, whichever dataset fetched it.
                places.insert((download.to.clone(), download.from.clone()));
            }
        }
        let mut paths: Vec<&String> = places.iter().map(|(to, _)| to).collect();
        paths.sort_unstable();
        assert!(paths.windows(2).all(|pair| pair[0] != pair[1]), "two contents for one path: {paths:?}");
    }

    #[test]
    fn the_first_rows_of_a_large_set_are_a_dataset() {
        let slice = find("bigann-10m").expect("a slice");
        assert_eq!((slice.name.as_str(), slice.n, slice.dim), ("bigann-10m", Some(10_000_000), 128));
        assert_eq!(slice.base.as_ref().map(|file| file.path.as_str()), Some("bigann/base.10M.u8bin"));
        let cut: Vec<&Download> = slice.downloads.iter().filter(|download| download.cut).collect();
        assert_eq!(cut.iter().map(|download| download.to.as_str()).collect::<Vec<_>>(), ["bigann/base.10M.u8bin"]);
        assert_eq!(slice.download_size().as_deref(), Some("about 1.3 GB"));
        assert_eq!(find("bigann").expect("all of it").n, Some(1_000_000_000));
        for name in ["bigann-10M", "bigann-10000k", "bigann-2B", "bigann-", "siftsmall-10k"] {
            assert!(find(name).is_err(), "{name}");
        }
    }

    #[test]
    fn sizes_are_for_people() {
        let all = [(999, "999 bytes"), (1000, "1.0 kB"), (5_304_531, "5.3 MB"), (12_800_000_008, "13 GB")];
        for (bytes, text) in all {
            assert_eq!(write_bytes(bytes), text);
        }
        assert_eq!(write_bytes(999_600), "1.0 MB");
    }

    #[test]
    fn a_misspelt_name_gets_a_suggestion() {
        let error = find("wordnet-minilm-385").expect_err("unknown");
        assert!(error.help().is_some_and(|h| h.starts_with("did you mean `wordnet-minilm-384`?")), "{error:?}");
    }
}
