//! Exact neighbours that are kept between runs. They are found again by what they depend on: the content of the vectors,
//! how many neighbours, and how they are computed.

use crate::facts::Truth;
use crate::json::plain_json;
use datasets::{Summary, format};
use record::{digest_of_codes as digest, id_of, read_regular, write_atomically};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Changes when the neighbours that are computed change.
const VERSION: u32 = 1;

/// Largest description that is read, in bytes.
const MAX_DESCRIPTION: u64 = 1 << 20;

/// A place for the neighbours of the queries of a dataset.
pub(crate) struct KeptNeighbours {
    folder: PathBuf,
    key: Value,
    shape: (usize, usize),
    rows: usize,
}

/// Stands beside the neighbours, and is written after them.
#[derive(Serialize, Deserialize)]
struct Description {
    /// What they depend on. The name of a file has only a digest of it.
    key: Value,
    /// Digest of the file of neighbours.
    sha256: String,
}

impl KeptNeighbours {
    /// Of the `depth` nearest neighbours, in a cache folder.
    pub(crate) fn new(cache: &Path, summary: &Summary, depth: usize) -> KeptNeighbours {
        let Summary { fingerprint, metric, base, queries, dim, .. } = summary;
        let depth = depth.min(*base);
        let key = json!({
            "version": VERSION, "fingerprint": fingerprint, "metric": metric, "depth": depth,
            "base": base, "queries": queries, "dim": dim,
        });
        KeptNeighbours { folder: cache.join("neighbours"), key, shape: (*queries, depth), rows: *base }
    }

    fn file(&self, extension: &str) -> PathBuf {
        self.folder.join(format!("{}.{extension}", id_of(&self.key)))
    }

    /// The neighbours, if they are there and whole.
    pub(crate) fn get(&self) -> Option<Truth> {
        let text = read_regular(&self.file("json"), MAX_DESCRIPTION).ok()?;
        let description: Description = serde_json::from_slice(&text).ok()?;
        let (queries, depth) = self.shape;
        let bytes = read_regular(&self.file("ivecs"), (4 * queries * (depth + 1)) as u64).ok()?;
        if description.key != self.key || description.sha256 != digest(&bytes) {
            return None;
        }
        let ids = format::ids_of_ivecs(&bytes)?;
        let fits = |row: &Vec<u32>| row.len() == depth && row.iter().all(|id| (*id as usize) < self.rows);
        (ids.len() == queries && ids.iter().all(fits)).then_some(ids)
    }

    /// Keeps neighbours. A cache that cannot be written keeps none.
    pub(crate) fn put(&self, truth: &Truth) {
        let bytes = format::ids_to_ivecs(truth);
        let description = Description { key: self.key.clone(), sha256: digest(&bytes) };
        let _ = std::fs::create_dir_all(&self.folder)
            .ok()
            .and_then(|()| write_atomically(&self.file("ivecs"), &bytes).ok())
            .and_then(|()| write_atomically(&self.file("json"), plain_json(&description).as_bytes()).ok());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datasets::{SearchPath, Source};

    fn summary(seed: u64) -> Summary {
        let written = json!({ "synthetic": "gaussian", "dim": 3, "n": 20, "queries": 2, "seed": seed });
        let source = Source::parse(&written).expect("a source");
        source.resolve(Path::new("."), &SearchPath::default()).expect("resolves").summary
    }

    #[test]
    fn neighbours_are_found_again_only_for_the_same_content_and_only_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let of = |seed: u64, depth: usize| KeptNeighbours::new(folder.path(), &summary(seed), depth);
        let truth = vec![vec![3, 1, 19], vec![0, 2, 4]];
        assert_eq!(of(1, 3).get(), None);
        of(1, 3).put(&truth);
        assert_eq!(of(1, 3).get(), Some(truth.clone()));
        assert_eq!((of(2, 3).get(), of(1, 2).get()), (None, None), "other vectors, another depth");

        // A file that is cut short, one of another dataset under this name, and one with a row that does not exist.
        let (ids, json) = (of(1, 3).file("ivecs"), of(1, 3).file("json"));
        let whole = std::fs::read(&ids).expect("neighbours");
        std::fs::write(&ids, &whole[..16]).expect("writes");
        assert_eq!(of(1, 3).get(), None, "cut short");
        of(2, 3).put(&truth);
        std::fs::copy(of(2, 3).file("ivecs"), &ids).expect("copies");
        std::fs::copy(of(2, 3).file("json"), &json).expect("copies");
        assert_eq!(of(1, 3).get(), None, "of another dataset");
        of(1, 3).put(&vec![vec![3, 1, 20], vec![0, 2, 4]]);
        assert_eq!(of(1, 3).get(), None, "there are 20 rows");
        of(1, 3).put(&truth);
        assert_eq!(of(1, 3).get(), Some(truth));
        // A process that ended between the two files.
        std::fs::remove_file(&json).expect("removes");
        assert_eq!(of(1, 3).get(), None);
    }
}
