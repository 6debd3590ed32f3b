//! Opens a submission, which may come from a stranger: every file must be one that the manifest lists, with its digest.

use crate::manifest::{MANIFEST, Manifest};
use crate::publish::leaving_path;
use crate::verification::{UNNAMED, VERIFICATION, Verification};
use record::metric::BITS_PER_VECTOR;
use record::{DatasetFacts, RecordError, Run, RunFolder, Status, TrialRecord, is_id, read_regular, sha256};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Maximum size of a file, of all files together, and of the manifest, in bytes.
const MAX_FILE: u64 = 64 << 20;
const MAX_ALL: u64 = 1 << 30;
const MAX_MANIFEST: u64 = 8 << 20;

/// Maximum size of a verification, in bytes.
const MAX_VERIFICATION: u64 = 8 << 20;

/// The folders that a submission may have.
const FOLDERS: [&str; 1] = ["trials"];

/// A folder that is no submission, or one that does not hold together.
#[derive(Debug, Error)]
pub enum SubmissionError {
    /// A folder without a manifest.
    #[error("{} is not a submission: {reason}", .path.display())]
    NotOne {
        /// The folder.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The manifest is refused.
    #[error("submission.json: {0}")]
    Manifest(String),
    /// A file is not the one that the manifest lists.
    #[error("{path}: {reason}")]
    File {
        /// Path in the submission.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// The run in it cannot be read.
    #[error("{0}")]
    Run(String),
}

/// A submission whose files are those of its manifest.
#[derive(Clone, Debug)]
pub struct Submission {
    /// Its folder, which is a run folder too.
    pub folder: RunFolder,
    /// Its manifest.
    pub manifest: Manifest,
    /// SHA-256 of the manifest, by which a verification refers to this submission.
    pub digest: String,
    /// Its run, as the records of the trials say.
    pub run: Run,
    /// What somebody found who ran a sample again; None if nobody said.
    pub verification: Option<Verification>,
}

impl Submission {
    /// Opens a submission.
    ///
    /// # Errors
    /// The first thing that is wrong with it. The paths in messages start at its folder.
    pub fn open(root: &Path) -> Result<Submission, SubmissionError> {
        let not_one = |reason: String| SubmissionError::NotOne { path: root.to_owned(), reason };
        let found = root.symlink_metadata().map_err(|error| not_one(error.to_string()))?;
        if !found.is_dir() {
            return Err(not_one("it is not a folder".to_owned()));
        }
        // `.` and paths that end in `..` have no name of their own.
        let absolute = root.canonicalize().map_err(|error| not_one(error.to_string()))?;
        let name = absolute.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let bytes = read_regular(&root.join(MANIFEST), MAX_MANIFEST)
            .map_err(|error| not_one(format!("its {MANIFEST} cannot be read: {error}")))?;
        let manifest = Manifest::parse(&bytes, &name).map_err(SubmissionError::Manifest)?;
        check_files(root, &manifest)?;
        let folder = RunFolder::new(root);
        let run = folder.load().map_err(|error| SubmissionError::Run(below(root, &error)))?;
        if run.records.len() != manifest.trials || run.info.trials.len() != manifest.trials {
            return Err(SubmissionError::Run(format!(
                "run.json plans {} trials, there are records of {}, and the manifest says {}",
                run.info.trials.len(),
                run.records.len(),
                manifest.trials
            )));
        }
        run.records.iter().try_for_each(|record| check_record(record, &run.info.datasets))?;
        let digest = sha256(&bytes);
        let verification = read_verification(root)?;
        // One of earlier files stays readable, and does not count.
        if let Some(found) = verification.as_ref().filter(|found| found.manifest_sha256 == digest) {
            let ids: Vec<&str> = run.records.iter().map(|record| record.trial.id.as_str()).collect();
            found.check_sample(&ids).map_err(|reason| wrong(VERIFICATION, reason))?;
        }
        Ok(Submission { folder, manifest, digest, run, verification })
    }

    /// The verification, if it passed, is about these very files, and was made by somebody else who gives
    /// a name.
    pub fn reproduced(&self) -> Option<&Verification> {
        let own = self.manifest.name.trim().to_lowercase();
        let verification = self.verification.as_ref()?;
        let by = verification.by.trim().to_lowercase();
        let by_other = by != own && by != UNNAMED;
        (verification.passed && verification.manifest_sha256 == self.digest && by_other).then_some(verification)
    }
}

/// The text of an error, with paths relative to the submission.
fn below(root: &Path, error: &RecordError) -> String {
    error.to_string().replace(&format!("{}/", root.display()), "")
}

fn wrong(path: &str, reason: impl Into<String>) -> SubmissionError {
    SubmissionError::File { path: path.to_owned(), reason: reason.into() }
}

/// Refuses a record that nobody could verify, or that makes those who try read files that are none of the submitter's
/// business.
fn check_record(record: &TrialRecord, datasets: &[DatasetFacts]) -> Result<(), SubmissionError> {
    let file = format!("trials/{}.json", record.trial.id);
    let Some(recipe) = record.recipe.as_ref().filter(|_| record.codes_sha256.is_some() && record.status == Status::Ok)
    else {
        return Err(wrong(&file, "its trial did not succeed, or has no digest of its codes or no recipe"));
    };
    // Pages place a trial by these; those who run it again see only its recipe and its values.
    let facts = datasets.iter().find(|facts| facts.name == record.trial.dataset);
    if facts.is_none_or(|facts| facts.fingerprint != recipe.fingerprint) {
        return Err(wrong(&file, "its recipe has the digest of other vectors than run.json"));
    }
    let rate = record.values.iter().find(|value| value.metric == BITS_PER_VECTOR.name).map(|value| value.value);
    if rate.is_some_and(|rate| rate != record.trial.bits_per_vector as f64) {
        return Err(wrong(&file, "its rate is not the one that it measured"));
    }
    match leaving_path(&recipe.dataset) {
        Some(path) => Err(wrong(
            &file,
            format!(
                "its dataset has the path {path:?}, which leads out of its folder, to hidden files or to a pattern of files"
            ),
        )),
        None => Ok(()),
    }
}

/// Compares the files with the manifest: none more, none less, none changed.
fn check_files(root: &Path, manifest: &Manifest) -> Result<(), SubmissionError> {
    for needed in ["run.json", "machine.json", "experiment.yaml", "results.parquet", "trials.parquet", "tables.json"] {
        if !manifest.files.contains_key(needed) {
            return Err(wrong(needed, "the manifest does not list it"));
        }
    }
    if let Some(path) = manifest.files.keys().find(|path| !expected(path)) {
        return Err(wrong(path, "a submission has no such file"));
    }
    let unreadable = |error: io::Error| wrong(".", format!("the folder cannot be read: {error}"));
    let mut found = BTreeSet::new();
    list(root, "", &mut found).map_err(unreadable)?;
    if let Some(path) = found.iter().find(|path| !manifest.files.contains_key(*path)) {
        return Err(wrong(path, "the manifest does not list it"));
    }
    let mut all = 0u64;
    for (path, digest) in &manifest.files {
        let file = root.join(path);
        let size = file.symlink_metadata().map_err(|error| wrong(path, error.to_string()))?.len();
        all = all.saturating_add(size);
        if size > MAX_FILE || all > MAX_ALL {
            return Err(wrong(
                path,
                format!("it has {size} bytes; a file may have {MAX_FILE}, and all together {MAX_ALL}"),
            ));
        }
        let bytes = read_regular(&file, MAX_FILE).map_err(|error| wrong(path, error.to_string()))?;
        let now = sha256(&bytes);
        if now != *digest {
            return Err(wrong(path, format!("its SHA-256 is {now}; the manifest says {digest:?}")));
        }
    }
    Ok(())
}

/// Whether a submission may have a file of this path.
fn expected(path: &str) -> bool {
    let record = path.strip_prefix("trials/").and_then(|name| name.strip_suffix(".json"));
    let fixed = [
        "README.md",
        "run.json",
        "machine.json",
        "experiment.yaml",
        "results.parquet",
        "trials.parquet",
        "tables.json",
    ];
    record.map_or(fixed.contains(&path), is_id)
}

/// The paths of all files below a folder, except the manifest and the verification. Links count as files, so that the
/// digests refuse them.
fn list(folder: &Path, before: &str, found: &mut BTreeSet<String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{before}{name}");
        if before.is_empty() && [MANIFEST, VERIFICATION].contains(&path.as_str()) {
            continue;
        }
        if entry.file_type()?.is_dir() && FOLDERS.contains(&path.as_str()) {
            list(&entry.path(), &format!("{path}/"), found)?;
        } else {
            found.insert(path);
        }
    }
    Ok(())
}

/// Reads the verification of a submission; None if there is none.
fn read_verification(root: &Path) -> Result<Option<Verification>, SubmissionError> {
    let file = root.join(VERIFICATION);
    if file.symlink_metadata().is_err() {
        return Ok(None);
    }
    let bytes = read_regular(&file, MAX_VERIFICATION).map_err(|error| wrong(VERIFICATION, error.to_string()))?;
    Verification::parse(&bytes).map(Some).map_err(|reason| wrong(VERIFICATION, reason))
}
