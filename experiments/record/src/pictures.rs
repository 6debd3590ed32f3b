//! Pictures in a run folder, as PNG: crops of the originals, and what trials reconstructed of them.
//!
//! `pictures/original/<dataset>/<picture>.png` and `pictures/<trial id>/<picture>.png`.

use crate::{DatasetFacts, RunFolder, RunInfo, SignalFacts, Trial, regular};
use std::path::{Path, PathBuf};

/// A picture that was read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PictureFile {
    /// Name of the dataset.
    pub dataset: String,
    /// Id of the trial that produced it; None for an original.
    pub trial: Option<String>,
    /// Name of the picture.
    pub name: String,
    /// Content of the file.
    pub png: Vec<u8>,
}

/// Maximum file size in bytes, far larger than what a trial stores; a larger file did not come from a trial.
const MAX_BYTES: u64 = 1 << 24;

const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// Converts a name to one path component. A name that had to be changed gets a hash suffix, so that different names
/// stay different.
fn part(name: &str) -> String {
    let kept = |c: char| c.is_alphanumeric() || "-_.".contains(c);
    if !name.is_empty() && !name.starts_with('.') && name.chars().all(kept) {
        return name.to_owned();
    }
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let plain: String = name.trim_start_matches('.').chars().map(|c| if kept(c) { c } else { '-' }).collect();
    format!("{plain}-{hash:08x}")
}

impl RunFolder {
    /// The folder with the pictures of a trial.
    pub fn pictures(&self, trial: &str) -> PathBuf {
        self.root().join("pictures").join(part(trial))
    }

    /// The folder with crops of the original pictures of a dataset.
    pub fn original_pictures(&self, dataset: &str) -> PathBuf {
        self.root().join("pictures").join("original").join(part(dataset))
    }

    /// All existing pictures: for each dataset the originals, then those of its trials, in the order of the plan.
    pub(crate) fn load_pictures<'a>(
        &self,
        info: &RunInfo,
        succeeded: impl Iterator<Item = &'a Trial> + Clone,
    ) -> Vec<PictureFile> {
        let mut found = Vec::new();
        for facts in &info.datasets {
            let mut take = |folder: PathBuf, trial: Option<&str>| {
                let files = names(facts).filter_map(|name| Some((name, read(&picture_file(&folder, name))?)));
                found.extend(files.map(|(name, png)| PictureFile {
                    dataset: facts.name.clone(),
                    trial: trial.map(str::to_owned),
                    name: name.to_owned(),
                    png,
                }));
            };
            take(self.original_pictures(&facts.name), None);
            for trial in succeeded.clone().filter(|trial| trial.dataset == facts.name) {
                take(self.pictures(&trial.id), Some(&trial.id));
            }
        }
        found
    }

    /// Folders that pictures are written to, including symbolic links.
    pub(crate) fn picture_folders(&self) -> Vec<PathBuf> {
        let below =
            |folder: PathBuf| std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let all = self.root().join("pictures");
        below(all.clone()).chain(below(all.join("original"))).filter(|path| path.is_dir()).collect()
    }
}

/// The file of a picture in a folder.
pub fn picture_file(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{}.png", part(name)))
}

/// Names of the pictures of a dataset.
fn names(facts: &DatasetFacts) -> impl Iterator<Item = &str> {
    let pictures = match &facts.signal {
        Some(SignalFacts::Images { pictures, .. }) => &pictures[..],
        _ => &[],
    };
    pictures.iter().map(|picture| picture.name.as_str())
}

fn read(path: &Path) -> Option<Vec<u8>> {
    regular::read(path, MAX_BYTES).ok().filter(|bytes| bytes.starts_with(SIGNATURE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_linked_picture_is_not_shown() {
        let folder = tempfile::tempdir().expect("a folder");
        let picture = [SIGNATURE, b"of somebody else"].concat();
        std::fs::write(folder.path().join("private.png"), &picture).expect("writes");
        let link = folder.path().join("shown.png");
        std::os::unix::fs::symlink(folder.path().join("private.png"), &link).expect("links");
        assert_eq!(read(&folder.path().join("private.png")), Some(picture));
        assert_eq!(read(&link), None);
    }

    #[test]
    fn no_name_leads_out_of_the_folder_and_names_stay_different() {
        let folder = RunFolder::new("run");
        let path = |name: &str| picture_file(&folder.pictures("a1"), name).display().to_string();
        assert_eq!(path("kodim01"), "run/pictures/a1/kodim01.png");
        for name in ["..", "../../secret", "/etc/passwd", "a/b", "", ".hidden", "a b"] {
            let below = path(name).strip_prefix("run/pictures/a1/").map(str::to_owned).expect("below the folder");
            assert!(!below.contains('/') && !below.starts_with('.'), "{name}: {below}");
            let original = folder.original_pictures(name).display().to_string();
            assert!(Path::new(&original).components().count() == 4 && !original.ends_with(".."), "{original}");
        }
        assert_ne!(path("a b"), path("a-b"));
        assert_ne!(path("a b"), path("a/b"));
    }
}
