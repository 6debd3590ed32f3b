//! Makes a submission from a run: checks that it can be verified, takes private paths out, and writes files with their
//! digests.

use crate::manifest::{MANIFEST, Manifest, SUBMISSION_SCHEMA, check_words, slug};
use crate::readme;
use record::{RecordError, Run, RunFolder, Status, sha256, write_atomically};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// A run that cannot be submitted.
#[derive(Debug, Error)]
pub enum PublishError {
    /// The run folder cannot be read, or the submission cannot be written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Some trials have not run.
    #[error("{missing} of {all} trials have not run")]
    Unfinished {
        /// How many.
        missing: usize,
        /// Of how many.
        all: usize,
    },
    /// Some trials did not succeed.
    #[error("{failed} of {all} trials did not succeed; the first is {first}")]
    Failed {
        /// How many.
        failed: usize,
        /// Of how many.
        all: usize,
        /// The first of them, with its reason.
        first: String,
    },
    /// Some records do not hold what it takes to run their trials again.
    #[error("the records of {count} of {all} trials have no digest of their codes or no recipe; the first is {first}")]
    NoDigests {
        /// How many.
        count: usize,
        /// Of how many.
        all: usize,
        /// The first of them.
        first: String,
    },
    /// A dataset of several files by a pattern, or of a hidden file. Nobody may be made to read those.
    #[error("a dataset has the path {path:?}, a pattern of files or a hidden file")]
    Pattern {
        /// The path.
        path: String,
    },
    /// What the submitter said of themselves or of the licence is refused.
    #[error("of this submission, {0}")]
    Words(String),
    /// Something private would be published.
    #[error("{file} would disclose {secret:?} in `{line}`")]
    Private {
        /// The file of the submission.
        file: String,
        /// The text that is private.
        secret: String,
        /// The line that it stands in, cut short.
        line: String,
    },
    /// There is such a submission already.
    #[error("{} exists already", .0.display())]
    Exists(PathBuf),
    /// A file could not be written as text.
    #[error("the files could not be written: {0}")]
    Text(String),
}

/// Who submits what, and how.
#[derive(Clone, Debug)]
pub struct Submitter {
    /// Their name.
    pub name: String,
    /// How to reach them.
    pub contact: Option<String>,
    /// Licence of the files.
    pub licence: String,
    /// The day, such as 2026-11-29.
    pub date: String,
    /// Texts that must not be published, such as the home folder and the name of this machine.
    pub secrets: Vec<String>,
    /// Texts that may be published all the same.
    pub disclosed: Vec<String>,
}

/// Folders of users on common systems: a path below them says who somebody is.
const HOMES: [&str; 4] = ["/home/", "/Users/", "/root/", "\\Users\\"];

/// Makes the submission of a run and writes it into a new folder below `out`. `yaml` writes plain data as YAML. Returns
/// the folder.
///
/// # Errors
/// A run that cannot be verified by others; something private in it; a system error.
pub fn publish(
    folder: &RunFolder,
    submitter: &Submitter,
    out: &Path,
    yaml: impl Fn(&Value) -> String,
) -> Result<PathBuf, PublishError> {
    for (what, text) in [
        ("name", Some(&submitter.name)),
        ("contact", submitter.contact.as_ref()),
        ("licence", Some(&submitter.licence)),
    ] {
        text.map_or(Ok(()), |text| check_words(what, text)).map_err(PublishError::Words)?;
    }
    let mut run = folder.load()?;
    check(&run)?;
    anonymize(&mut run);
    let stray = run.records.iter().find_map(|record| leaving_path(&record.recipe.as_ref()?.dataset));
    if let Some(path) = stray {
        return Err(PublishError::Pattern { path });
    }
    let mut files = BTreeMap::new();
    let json = |error: serde_json::Error| PublishError::Text(error.to_string());
    files.insert("run.json".to_owned(), serde_json::to_vec_pretty(&run.info).map_err(json)?);
    files.insert("machine.json".to_owned(), serde_json::to_vec_pretty(&run.info.machine).map_err(json)?);
    files.insert("experiment.yaml".to_owned(), yaml(&run.info.experiment).into_bytes());
    for record in &run.records {
        files.insert(format!("trials/{}.json", record.trial.id), serde_json::to_vec(record).map_err(json)?);
    }
    let digests = |files: &BTreeMap<String, Vec<u8>>| -> BTreeMap<String, String> {
        files.iter().map(|(path, bytes)| (path.clone(), sha256(bytes))).collect()
    };
    // The id names what the trials said. The bytes of tables also depend on the library that wrote them.
    let content = sha256(serde_json::to_string(&digests(&files)).map_err(json)?.as_bytes());
    for (name, bytes) in record::table_files(&run).map_err(PublishError::Text)? {
        files.insert(name.to_owned(), bytes);
    }
    let id = format!("{}-{}-{}", slug(&run.info.name), slug(&submitter.name), &content[..8]);
    let mut manifest = Manifest {
        schema: SUBMISSION_SCHEMA,
        id: id.clone(),
        name: submitter.name.clone(),
        contact: submitter.contact.clone(),
        date: submitter.date.clone(),
        licence: submitter.licence.clone(),
        experiment: run.info.name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        trials: run.records.len(),
        files: digests(&files),
    };
    let text = readme::of(&manifest, &run).into_bytes();
    manifest.files.insert(readme::README.to_owned(), sha256(&text));
    files.insert(readme::README.to_owned(), text);
    refuse_private(&files, &private_texts(&submitter.secrets, &submitter.disclosed))?;
    files.insert(MANIFEST.to_owned(), serde_json::to_vec_pretty(&manifest).map_err(json)?);

    let root = out.join(&id);
    if root.symlink_metadata().is_ok() {
        return Err(PublishError::Exists(root));
    }
    for (path, bytes) in &files {
        let path = root.join(path);
        let parent = path.parent().unwrap_or(&root);
        std::fs::create_dir_all(parent).map_err(|error| {
            PublishError::Record(RecordError::Io { action: "create", path: parent.to_owned(), error })
        })?;
        write_atomically(&path, bytes)?;
    }
    Ok(root)
}

/// Refuses runs that others could not verify.
fn check(run: &Run) -> Result<(), PublishError> {
    let all = run.info.trials.len();
    let missing = all - run.records.len();
    if missing > 0 || all == 0 {
        return Err(PublishError::Unfinished { missing, all });
    }
    let label = |record: &record::TrialRecord| format!("{} ({})", record.trial.id, record.trial.label);
    let failed: Vec<_> = run.records.iter().filter(|record| record.status != Status::Ok).collect();
    if let Some(first) = failed.first() {
        let reason = first.reason.as_deref().unwrap_or(first.status.as_str());
        let first = format!("{}: {reason}", label(first));
        return Err(PublishError::Failed { failed: failed.len(), all, first });
    }
    let without: Vec<_> = run.records.iter().filter(|r| r.codes_sha256.is_none() || r.recipe.is_none()).collect();
    if let Some(first) = without.first() {
        return Err(PublishError::NoDigests { count: without.len(), all, first: label(first) });
    }
    Ok(())
}

/// The keys of a dataset that name files. They are those of `datasets`, which pages do not depend on; a test of `xtask`
/// compares both.
pub const PATH_KEYS: [&str; 11] =
    ["path", "images", "wav", "train", "queries", "labels", "query_labels", "truth", "qrels", "ids", "query_ids"];

/// Takes out the folders of this machine. Vectors are identified by their digest, so that their place does not matter.
fn anonymize(run: &mut Run) {
    for record in &mut run.records {
        if let Some(recipe) = &mut record.recipe {
            recipe.folder = None;
            shorten_paths(&mut recipe.dataset);
        }
        // What a process wrote may name files and users. How long its phases took stays.
        if let Some(log) = &mut record.log {
            log.standard_error.clear();
        }
    }
    if let Some(experiment) = run.info.experiment.as_object_mut() {
        // What was included stands in the experiment already.
        experiment.remove("include");
        if let Some(Value::Array(datasets)) = experiment.get_mut("datasets") {
            datasets.iter_mut().for_each(shorten_paths);
        }
    }
}

/// Replaces paths of a dataset that leave its folder by their file names. The name of an array after `#` stays.
fn shorten_paths(dataset: &mut Value) {
    for path in paths_of(dataset) {
        let name = |file: &str| file.rsplit(['/', '\\']).find(|part| !part.is_empty()).unwrap_or("").to_owned();
        if let Some(text) = path.as_str().filter(|text| leaves(file_of(text))) {
            let file = file_of(text);
            *path = format!("{}{}", name(file), &text[file.len()..]).into();
        }
    }
}

/// The file of a path, without the name of an array after `#`.
fn file_of(path: &str) -> &str {
    path.split_once('#').map_or(path, |(file, _)| file)
}

/// Whether the path of a file may lead out of the folder that it starts from.
fn leaves(file: &str) -> bool {
    file.starts_with(['/', '~', '\\']) || file.contains("..") || file.contains(':')
}

/// Whether the path of a file is a pattern of several, or hidden: it would find files that nobody meant.
fn finds_others(file: &str) -> bool {
    file.contains(['*', '?', '[']) || file.split('/').any(|part| part.starts_with('.') && part != ".")
}

/// A path of a dataset that may lead to files that are none of the submitter's business, if somebody runs the trial again:
/// out of its folder, to hidden files, or to whatever fits a pattern. None if there is no such path.
pub fn leaving_path(dataset: &Value) -> Option<String> {
    let mut dataset = dataset.clone();
    let paths = paths_of(&mut dataset);
    let strays = |path: &&str| leaves(file_of(path)) || finds_others(file_of(path));
    paths.into_iter().filter_map(|path| path.as_str()).find(strays).map(str::to_owned)
}

/// The paths of files in a dataset as an experiment writes it.
fn paths_of(dataset: &mut Value) -> Vec<&mut Value> {
    let Some(map) = dataset.as_object_mut() else { return vec![] };
    let mut paths = Vec::new();
    for (_, value) in map.iter_mut().filter(|(key, _)| PATH_KEYS.contains(&key.as_str())) {
        match value {
            Value::Array(items) => paths.extend(items),
            path => paths.push(path),
        }
    }
    paths
}

/// Characters of a line that are shown around something private.
const SHOWN: usize = 60;

/// What must not be published: these secrets and the homes of common systems, without what may be published all the same.
fn private_texts<'a>(secrets: &'a [String], disclosed: &[String]) -> BTreeSet<&'a str> {
    let all = HOMES.into_iter().chain(secrets.iter().map(String::as_str));
    all.filter(|secret| !disclosed.iter().any(|disclosed| disclosed == secret)).collect()
}

/// Refuses to publish a secret. Tables hold nothing that records do not hold, so texts are enough.
fn refuse_private(files: &BTreeMap<String, Vec<u8>>, secrets: &BTreeSet<&str>) -> Result<(), PublishError> {
    for (file, bytes) in files {
        let Ok(text) = std::str::from_utf8(bytes) else { continue };
        for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
            if let Some(at) = whole(text, secret) {
                let start = text.floor_char_boundary(at.saturating_sub(SHOWN));
                let end = text.ceil_char_boundary((at + secret.len() + SHOWN).min(text.len()));
                let line = text[start..end].split('\n').find(|line| line.contains(*secret)).unwrap_or(secret);
                let line = line.trim().to_owned();
                return Err(PublishError::Private { file: file.clone(), secret: (*secret).to_owned(), line });
            }
        }
    }
    Ok(())
}

/// Where a text stands in another as a whole word: a machine called `lab` does not stand in `label`. Paths are words of
/// their own wherever they stand.
fn whole(text: &str, word: &str) -> Option<usize> {
    let letter = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    let bounded = |at: usize| {
        let is_path = word.contains(['/', '\\']);
        is_path || !(letter(text[..at].chars().next_back()) || letter(text[at + word.len()..].chars().next()))
    };
    text.match_indices(word).map(|(at, _)| at).find(|at| bounded(*at))
}

/// The distinct machine classes of the trials.
pub fn classes(run: &Run) -> Vec<String> {
    let classes: BTreeSet<String> = run.records.iter().map(|record| record.machine.class()).collect();
    classes.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_that_leave_the_folder_become_file_names() {
        let mut dataset = json!({ "path": "/home/ada/big set/v.hdf5#train", "queries": "../q.npy", "labels": "l.npy", "split": { "seed": 1 } });
        shorten_paths(&mut dataset);
        assert_eq!(
            dataset,
            json!({ "path": "v.hdf5#train", "queries": "q.npy", "labels": "l.npy", "split": { "seed": 1 } })
        );
        let mut images = json!({ "images": ["C:\\photos\\a.png", "b/c.png"], "patch": 8 });
        shorten_paths(&mut images);
        assert_eq!(images["images"], json!(["a.png", "b/c.png"]));
        let mut named = json!("wordnet-minilm-384");
        shorten_paths(&mut named);
        assert_eq!(named, json!("wordnet-minilm-384"));
        assert_eq!(leaving_path(&dataset), None);
        for (path, stray) in [
            ("part-*.npy", true),
            (".ssh/id", true),
            ("a/.hidden.txt", true),
            ("?.csv", true),
            ("./v.npy", false),
            ("words.parquet#e*", false),
            ("w.npz#dense/kernel:0", false),
            ("/srv/w.npz#a", true),
        ] {
            assert_eq!(leaving_path(&json!({ "path": path })).is_some(), stray, "{path}");
        }
        let mut array = json!({ "path": "/home/ada/w.npz#dense/kernel:0" });
        shorten_paths(&mut array);
        assert_eq!(array, json!({ "path": "w.npz#dense/kernel:0" }));
        assert_eq!(leaving_path(&json!({ "path": "v.npy", "queries": "../../q.npy" })), Some("../../q.npy".into()));
    }

    #[test]
    fn secrets_are_found_as_whole_words() {
        let refuse = |text: &str, secret: &str| {
            let files = [("run.json".to_owned(), text.as_bytes().to_vec())].into();
            refuse_private(&files, &private_texts(&[secret.to_owned()], &[])).map_err(|error| error.to_string())
        };
        assert_eq!(refuse("a label", "lab"), Ok(()));
        assert_eq!(
            refuse("one\n on lab-7, two\n", "lab-7"),
            Err("run.json would disclose \"lab-7\" in `on lab-7, two`".into())
        );
        assert!(refuse("x /root/v.npy y", "").is_err(), "homes of common systems always count");
        assert!(refuse("\"/srv/vectors/v.npy\"", "/srv/vectors").is_err());
        let (secrets, disclosed) = (["lab".to_owned()], ["lab".to_owned(), "/home/".to_owned()]);
        assert_eq!(private_texts(&secrets, &disclosed), BTreeSet::from(["/Users/", "/root/", "\\Users\\"]));
    }
}
