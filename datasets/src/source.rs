//! What a user may write where vectors are wanted, and what becomes of it.

use crate::catalog::{self, SearchPath};
use crate::split::Parts;
use crate::{Dataset, DatasetError, Labels, Metric, Split, Summary, SyntheticSource, format};
use ndarray::{Array2, Axis};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Vectors by catalog name, from files, or from a random source.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// A name in the catalog.
    Named(String),
    /// Files of the user.
    File(FileSource),
    /// A random source.
    Synthetic(SyntheticSource),
}

/// Files of vectors. Parts without a file of their own are split from `path`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileSource {
    /// Base rows, or all rows: .npy, .fvecs, .bvecs or .ivecs, relative to the experiment file.
    pub path: PathBuf,
    /// File of training rows; default: split from `path`.
    #[serde(default)]
    pub train: Option<PathBuf>,
    /// File of query rows; default: split from `path`.
    #[serde(default)]
    pub queries: Option<PathBuf>,
    /// Classes of the rows of `path`: a one-dimensional .npy of integers.
    #[serde(default)]
    pub labels: Option<PathBuf>,
    /// Classes of the rows of `queries`.
    #[serde(default)]
    pub query_labels: Option<PathBuf>,
    /// How rows are compared: l2, cosine or ip.
    #[serde(default)]
    pub metric: Metric,
    /// How `path` is divided into parts.
    #[serde(default)]
    pub split: Option<Split>,
    /// Name in tables and figures; default: the file's name.
    #[serde(default)]
    pub name: Option<String>,
}

/// A source whose files were found and whose headers were read.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// What loading will give.
    pub summary: Summary,
    plan: Plan,
}

#[derive(Clone, Debug)]
enum Plan {
    Synthetic(SyntheticSource),
    Files(Files),
}

#[derive(Clone, Debug)]
struct Files {
    base: PathBuf,
    train: Option<PathBuf>,
    queries: Option<PathBuf>,
    base_labels: Option<PathBuf>,
    query_labels: Option<PathBuf>,
    parts: Parts,
}

impl Source {
    /// Finds the files, reads their headers and digests, and checks that the parts fit together. `root` is the folder
    /// that relative paths start from.
    ///
    /// # Errors
    /// Whatever would make loading fail, as far as it can be seen without interpreting values.
    pub fn resolve(&self, root: &Path, search: &SearchPath) -> Result<Resolved, DatasetError> {
        match self {
            Source::Synthetic(source) => {
                Ok(Resolved { summary: source.summary()?, plan: Plan::Synthetic(source.clone()) })
            }
            Source::Named(name) => {
                let entry = catalog::find(name)?;
                let locate = |file: &catalog::FileEntry| {
                    let path = entry.locate(file, search)?;
                    let found = sha256(&path)?;
                    if found == file.sha256 {
                        Ok(path)
                    } else {
                        Err(DatasetError::Digest { path, found, expected: file.sha256.clone() })
                    }
                };
                let optional = |file: &Option<catalog::FileEntry>| file.as_ref().map(locate).transpose();
                let paths = Paths {
                    base: locate(&entry.base)?,
                    train: optional(&entry.train)?,
                    queries: optional(&entry.queries)?,
                    base_labels: optional(&entry.base_labels)?,
                    query_labels: optional(&entry.queries_labels)?,
                };
                for file in &entry.others {
                    locate(file)?;
                }
                let resolved = paths.check(name, entry.metric, &entry.split)?;
                if resolved.summary.dim != entry.dim {
                    let reason =
                        format!("its rows have {} components, the catalog says {}", resolved.summary.dim, entry.dim);
                    return Err(DatasetError::Shape { name: name.clone(), reason });
                }
                Ok(resolved)
            }
            Source::File(source) => {
                let at = |path: &PathBuf| root.join(path);
                let paths = Paths {
                    base: at(&source.path),
                    train: source.train.as_ref().map(at),
                    queries: source.queries.as_ref().map(at),
                    base_labels: source.labels.as_ref().map(at),
                    query_labels: source.query_labels.as_ref().map(at),
                };
                let stem = source.path.file_stem().map(|s| s.to_string_lossy().into_owned());
                let name = source.name.clone().or(stem).unwrap_or_default();
                paths.check(&name, source.metric, &source.split.clone().unwrap_or_default())
            }
        }
    }
}

struct Paths {
    base: PathBuf,
    train: Option<PathBuf>,
    queries: Option<PathBuf>,
    base_labels: Option<PathBuf>,
    query_labels: Option<PathBuf>,
}

impl Paths {
    /// Each file's part and digest.
    fn fingerprint(&self) -> Result<String, DatasetError> {
        let parts = [
            ("base", Some(&self.base)),
            ("train", self.train.as_ref()),
            ("queries", self.queries.as_ref()),
            ("labels", self.base_labels.as_ref()),
            ("query_labels", self.query_labels.as_ref()),
        ];
        let named = parts.into_iter().filter_map(|(part, path)| Some((part, path?)));
        let digests = named.map(|(part, path)| Ok(format!("{part}:{}", sha256(path)?)));
        Ok(digests.collect::<Result<Vec<_>, DatasetError>>()?.join(" "))
    }

    fn check(self, name: &str, metric: Metric, split: &Split) -> Result<Resolved, DatasetError> {
        let wrong = |reason: String| DatasetError::Shape { name: name.to_owned(), reason };
        let (n, dim) = format::shape(&self.base)?;
        let other = |path: &Option<PathBuf>| -> Result<Option<usize>, DatasetError> {
            let Some(path) = path else { return Ok(None) };
            let (rows, columns) = format::shape(path)?;
            if columns != dim {
                let (a, b) = (path.display(), self.base.display());
                return Err(wrong(format!("{a} has rows of {columns} components, {b} of {dim}")));
            }
            Ok(Some(rows))
        };
        let (train, queries) = (other(&self.train)?, other(&self.queries)?);
        let parts = match (train, queries) {
            (Some(_), Some(_)) => Parts { train: Vec::new(), base: (0..n).collect(), queries: Vec::new() },
            (Some(_), None) => {
                let (queries, base) = (split.queries.clone(), split.base.clone());
                return Err(wrong(format!(
                    "a `train` file without a `queries` file is not supported; name both, or split both from `path` (asked: {queries:?}, {base:?})"
                )));
            }
            (None, separate) => split.parts(n, separate.is_some()).map_err(wrong)?,
        };
        if self.query_labels.is_some() && self.queries.is_none() {
            return Err(wrong(
                "`query_labels` needs a `queries` file; split queries take their classes from `labels`".into(),
            ));
        }
        if self.query_labels.is_some() && self.base_labels.is_none() {
            return Err(wrong("`query_labels` needs `labels` for the rows of `path` too".into()));
        }
        let fingerprint = self.fingerprint()?;
        let digests: Vec<&str> = fingerprint
            .split(' ')
            .filter_map(|p| p.split_once(':'))
            .filter(|(part, _)| !part.contains("labels"))
            .map(|(_, d)| d)
            .collect();
        if (1..digests.len()).any(|i| digests[..i].contains(&digests[i])) {
            return Err(wrong("two of its files are the same; train, base and query rows must be disjoint".into()));
        }
        let summary = Summary {
            name: name.to_owned(),
            dim,
            train: train.unwrap_or(parts.train.len()),
            base: parts.base.len(),
            queries: queries.unwrap_or(parts.queries.len()),
            metric,
            labelled: self.base_labels.is_some() && (self.query_labels.is_some() || self.queries.is_none()),
            fingerprint: format!("{fingerprint} {metric} {split:?}"),
        };
        let files = Files {
            base: self.base,
            train: self.train,
            queries: self.queries,
            base_labels: self.base_labels,
            query_labels: self.query_labels,
            parts,
        };
        Ok(Resolved { summary, plan: Plan::Files(files) })
    }
}

impl Resolved {
    /// Reads or draws all rows.
    ///
    /// # Errors
    /// Content that is malformed, not finite, or changed since it was resolved.
    pub fn load(&self) -> Result<Dataset, DatasetError> {
        match &self.plan {
            Plan::Synthetic(source) => source.load(),
            Plan::Files(files) => files.load(&self.summary)?.finish(),
        }
    }
}

impl Files {
    fn load(&self, summary: &Summary) -> Result<Dataset, DatasetError> {
        let all = read_finite(&self.base)?;
        let part = |file: &Option<PathBuf>, rows: &[usize]| match file {
            Some(path) => read_finite(path),
            None => Ok(select(&all, rows)),
        };
        let train = part(&self.train, &self.parts.train)?;
        let queries = part(&self.queries, &self.parts.queries)?;
        let labels = self.labels(summary, all.nrows(), queries.nrows())?;
        let base = if self.parts.base.len() == all.nrows() { all } else { select(&all, &self.parts.base) };
        Ok(Dataset { name: summary.name.clone(), metric: summary.metric, train, base, queries, labels })
    }

    fn labels(&self, summary: &Summary, rows: usize, queries: usize) -> Result<Option<Labels>, DatasetError> {
        let Some(path) = self.base_labels.as_ref().filter(|_| summary.labelled) else { return Ok(None) };
        let expect = |labels: Vec<u32>, rows: usize, path: &Path| {
            if labels.len() == rows {
                return Ok(labels);
            }
            let reason = format!("{} has {} labels for {rows} rows", path.display(), labels.len());
            Err(DatasetError::Shape { name: summary.name.clone(), reason })
        };
        let all = expect(format::read_labels(path)?, rows, path)?;
        let queries = match &self.query_labels {
            Some(path) => expect(format::read_labels(path)?, queries, path)?,
            None => self.parts.queries.iter().map(|&i| all[i]).collect(),
        };
        Ok(Some(Labels { base: self.parts.base.iter().map(|&i| all[i]).collect(), queries }))
    }
}

/// Reads a file whose values must all be numbers.
fn read_finite(path: &Path) -> Result<Array2<f32>, DatasetError> {
    let rows = format::read(path)?;
    match rows.indexed_iter().find(|(_, v)| !v.is_finite()) {
        Some(((row, column), &value)) => Err(DatasetError::NonFinite { path: path.to_owned(), row, column, value }),
        None => Ok(rows),
    }
}

fn select(rows: &Array2<f32>, which: &[usize]) -> Array2<f32> {
    rows.select(Axis(0), which).as_standard_layout().into_owned()
}

/// Digest of a file's content, in lower-case hexadecimal.
///
/// # Errors
/// A file that cannot be read.
pub fn sha256(path: impl AsRef<Path>) -> Result<String, DatasetError> {
    let path = path.as_ref();
    let io = |error| DatasetError::Io { path: path.to_owned(), error };
    let mut file = std::fs::File::open(path).map_err(io)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0u8; 1 << 16];
    loop {
        match file.read(&mut buffer).map_err(io)? {
            0 => break,
            n => hasher.update(&buffer[..n]),
        }
    }
    Ok(hasher.finalize().iter().map(|b| format!("{b:02x}")).collect())
}
