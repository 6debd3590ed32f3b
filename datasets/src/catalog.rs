//! Named datasets: where their files are looked for, and what they must be.

use crate::format::Place;
use crate::split::Split;
use crate::{DatasetError, ImageSplit, MetricSpace};
use serde::Deserialize;
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
    /// Licence of the data.
    pub licence: String,
    /// Where it comes from.
    pub source: String,
    /// Base rows, or all rows when split. Left out where rows are patches of `images`.
    pub base: Option<FileEntry>,
    /// Training rows, all unless the split takes some; default: split from the base file.
    pub train: Option<FileEntry>,
    /// Query rows, all unless the split takes some; default: split from the base file.
    pub queries: Option<FileEntry>,
    /// Classes of the base file's rows.
    pub base_labels: Option<FileEntry>,
    /// Classes of the query file's rows.
    pub queries_labels: Option<FileEntry>,
    /// Images whose patches are the rows.
    pub images: Option<ImageSet>,
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

/// One file of a dataset.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Path below one of the folders searched; `#` and a name choose one of several arrays in it.
    pub path: String,
    /// Digest of the whole file's content.
    pub sha256: String,
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

/// Finds an entry by name.
///
/// # Errors
/// An unknown name, with the nearest known one.
pub fn find(name: &str) -> Result<&'static CatalogEntry, DatasetError> {
    entries().iter().find(|e| e.name == name).ok_or_else(|| {
        let near = strict::nearest_name(name, entries().iter().map(|e| e.name.as_str()), "datasets");
        DatasetError::Unknown {
            name: name.to_owned(),
            help: format!("{near}; or give `path:`, `images:` or `synthetic:`"),
        }
    })
}

impl CatalogEntry {
    /// Finds a file of this dataset.
    ///
    /// # Errors
    /// [`DatasetError::Absent`] with the folders searched.
    pub fn locate(&self, file: &FileEntry, search: &SearchPath) -> Result<PathBuf, DatasetError> {
        let embedded = search.embedded.iter().filter(|_| self.embedded).map(|folder| folder.join(&self.name));
        let candidates: Vec<PathBuf> = embedded.chain(search.folders.iter().cloned()).collect();
        candidates.iter().map(|folder| folder.join(&file.path)).find(|path| Place::of(path).file.is_file()).ok_or_else(
            || DatasetError::Absent {
                name: self.name.clone(),
                file: file.path.clone(),
                searched: candidates.iter().map(|c| c.display().to_string()).collect(),
                source_note: format!("source: {}", self.source),
            },
        )
    }

    /// All files with their digests.
    pub fn files(&self) -> impl Iterator<Item = &FileEntry> {
        [
            self.base.as_ref(),
            self.train.as_ref(),
            self.queries.as_ref(),
            self.base_labels.as_ref(),
            self.queries_labels.as_ref(),
        ]
        .into_iter()
        .flatten()
        .chain(self.images.iter().flat_map(|set| &set.files))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalog_parses_and_names_are_unique() {
        let mut names: Vec<&str> = entries().iter().map(|e| e.name.as_str()).collect();
        names.sort_unstable();
        assert!(!names.is_empty() && names.windows(2).all(|w| w[0] != w[1]), "{names:?}");
        for entry in entries() {
            assert!(entry.base.is_some() != entry.images.is_some(), "{} has rows from one of the two", entry.name);
        }
        for file in entries().iter().flat_map(CatalogEntry::files) {
            assert!(file.sha256.len() == 64 && file.sha256.chars().all(|c| c.is_ascii_hexdigit()), "{}", file.path);
        }
    }

    #[test]
    fn a_misspelt_name_gets_a_suggestion() {
        let error = find("wordnet-minilm-385").expect_err("unknown");
        assert!(error.help().is_some_and(|h| h.starts_with("did you mean `wordnet-minilm-384`?")), "{error:?}");
    }
}
