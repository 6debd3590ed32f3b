//! Every experiment that is shipped can be run by a stranger: its vectors are embedded, generated, or can be fetched.

use datasets::catalog;
use experiments::include;
use std::path::{Path, PathBuf};

/// The experiment files of a folder.
fn experiments(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = std::fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|end| end == "yaml")).collect();
    files.sort();
    files
}

#[test]
fn vectors_of_shipped_experiments_are_public() {
    let files = [experiments("."), experiments("parity"), experiments("peers")].concat();
    assert!(files.len() > 10, "{files:?}");
    for file in files {
        let document = include::read(&file, &file.display().to_string()).unwrap_or_else(|fault| panic!("{fault:?}"));
        let name = file.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        for dataset in document.value()["datasets"].as_array().expect("datasets") {
            match dataset.as_str() {
                None => assert!(dataset.get("synthetic").is_some(), "{name}: {dataset}"),
                Some(dataset) => {
                    let entry = catalog::find(dataset).unwrap_or_else(|error| panic!("{name}: {error}"));
                    assert!(entry.embedded || !entry.downloads.is_empty(), "{name}: {dataset} is not public");
                }
            }
        }
    }
}
