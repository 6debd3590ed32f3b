//! What a user may write where vectors are wanted, and what becomes of it.

use crate::catalog::{self, SearchPath};
use crate::format::Place;
use crate::images::{self, ImagePlan, ImageSource};
use crate::seen::{Digests, SeenFile};
use crate::split::{Holdings, Parts};
use crate::{Dataset, DatasetError, Labels, Metric, Signal, Split, Summary, SyntheticSource, format, regular};
use ndarray::{Array2, Axis};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Vectors by catalog name, from files, from images, or from a random source.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// A name in the catalog.
    Named(String),
    /// Files of the user.
    File(FileSource),
    /// Images of the user, cut into patches.
    Images(ImageSource),
    /// A random source.
    Synthetic(SyntheticSource),
}

/// Files of vectors. Parts without a file of their own are split from `path`. In a file that holds several arrays, `#` and
/// a name say which: `set.hdf5#test`, `words.parquet#embedding`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileSource {
    /// Base rows, or all rows: .npy, .fvecs, .bvecs, .ivecs, .fbin, .u8bin, .i8bin, .ibin, .hdf5, .h5, .parquet, or the
    /// patches of one .webp or .png (`photo.png#8`), relative to the experiment file.
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
    /// Classes of the rows of `queries`, of all of them even if the split takes some.
    #[serde(default)]
    pub query_labels: Option<PathBuf>,
    /// How rows are compared: l2, cosine or ip.
    #[serde(default)]
    pub metric: Metric,
    /// How `path` is divided into parts, and which rows are taken of parts with a file of their own.
    #[serde(default)]
    pub split: Option<Split>,
    /// Rows are log-mel frames of sound, so many per second.
    #[serde(default)]
    #[schemars(range(min = 0.001))]
    pub frames_per_second: Option<f64>,
    /// Name in tables and figures; default: the file's name.
    #[serde(default)]
    pub name: Option<String>,
}

/// A source whose files were found and whose headers were read.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// What loading will give.
    pub summary: Summary,
    /// Its files as they were found.
    pub files: Vec<SeenFile>,
    plan: Plan,
}

#[derive(Clone, Debug)]
enum Plan {
    Synthetic(SyntheticSource),
    Files(Files),
    Images(ImagePlan),
}

#[derive(Clone, Debug)]
struct Files {
    base: PathBuf,
    train: Option<PathBuf>,
    queries: Option<PathBuf>,
    base_labels: Option<PathBuf>,
    query_labels: Option<PathBuf>,
    holdings: Holdings,
    parts: Parts,
}

impl Source {
    /// Finds the files, reads their headers and digests, and checks that the parts fit together. `root` is the folder
    /// that relative paths start from.
    ///
    /// # Errors
    /// Whatever would make loading fail, as far as it can be seen without interpreting values.
    pub fn resolve(&self, root: &Path, search: &SearchPath) -> Result<Resolved, DatasetError> {
        self.resolve_knowing(root, search, &[])
    }

    /// As [`Source::resolve`], without reading files for their digests that look as they did when they were `seen`.
    ///
    /// # Errors
    /// As [`Source::resolve`].
    pub fn resolve_knowing(
        &self,
        root: &Path,
        search: &SearchPath,
        seen: &[SeenFile],
    ) -> Result<Resolved, DatasetError> {
        let mut digests = Digests::knowing(seen);
        let resolved = self.resolve_with(root, search, &mut digests)?;
        Ok(Resolved { files: digests.into_seen(), ..resolved })
    }

    fn resolve_with(&self, root: &Path, search: &SearchPath, digests: &mut Digests) -> Result<Resolved, DatasetError> {
        match self {
            Source::Synthetic(source) => {
                let plan = Plan::Synthetic(source.clone());
                Ok(Resolved { summary: source.summary()?, files: Vec::new(), plan })
            }
            Source::Named(name) => {
                let entry = catalog::find(name)?;
                let mut locate = |file: &catalog::FileEntry| {
                    let path = entry.locate(file, search)?;
                    let found = digests.of(&path)?;
                    if found == file.sha256 {
                        Ok(path)
                    } else {
                        Err(DatasetError::Digest { path, found, expected: file.sha256.clone() })
                    }
                };
                if let Some(set) = &entry.images {
                    let files = set.files.iter().map(&mut locate).collect::<Result<Vec<_>, _>>()?;
                    for file in &entry.others {
                        locate(file)?;
                    }
                    let parts = images::Files { base: files, ..images::Files::default() };
                    let plan = ImagePlan::new(name, parts, set.patch, entry.metric, &set.split, digests)?;
                    return Resolved::from(plan).of_dim(name, entry.dim);
                }
                let Some(base) = &entry.base else {
                    let reason = "the catalog gives it neither `base` nor `images`".to_owned();
                    return Err(DatasetError::Shape { name: name.clone(), reason });
                };
                let paths = Paths {
                    base: locate(base)?,
                    train: entry.train.as_ref().map(&mut locate).transpose()?,
                    queries: entry.queries.as_ref().map(&mut locate).transpose()?,
                    base_labels: entry.base_labels.as_ref().map(&mut locate).transpose()?,
                    query_labels: entry.queries_labels.as_ref().map(&mut locate).transpose()?,
                    frames_per_second: entry.frames_per_second,
                };
                for file in &entry.others {
                    locate(file)?;
                }
                let resolved = paths.check(name, entry.metric, &entry.split, digests)?;
                resolved.of_dim(name, entry.dim)
            }
            Source::Images(source) => source.resolve(root, digests).map(Resolved::from),
            Source::File(source) => {
                let at = |path: &PathBuf| root.join(path);
                let paths = Paths {
                    base: at(&source.path),
                    train: source.train.as_ref().map(at),
                    queries: source.queries.as_ref().map(at),
                    base_labels: source.labels.as_ref().map(at),
                    query_labels: source.query_labels.as_ref().map(at),
                    frames_per_second: source.frames_per_second,
                };
                let stem = Place::of(&source.path).file.file_stem().map(|s| s.to_string_lossy().into_owned());
                let name = source.name.clone().or(stem).unwrap_or_default();
                let split = source.split.clone().unwrap_or_default();
                paths.check(&name, source.metric, &split, digests)
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
    frames_per_second: Option<f64>,
}

impl Paths {
    /// What each part is read from: the digest of the file, and the array in it where it may hold several.
    fn contents(&self, digests: &mut Digests) -> Result<Vec<(&'static str, String)>, DatasetError> {
        let rows = [("base", Some(&self.base)), ("train", self.train.as_ref()), ("queries", self.queries.as_ref())];
        let labels = [("labels", self.base_labels.as_ref()), ("query_labels", self.query_labels.as_ref())];
        let named = rows.into_iter().chain(labels).filter_map(|(part, path)| Some((part, path?)));
        let content = |(part, path): (_, &PathBuf)| {
            let digest = digests.of(path)?;
            let array = format::resolve(path)?.part.map_or_else(String::new, |array| format!("#{array}"));
            Ok((part, format!("{digest}{array}")))
        };
        named.map(content).collect()
    }

    fn check(self, name: &str, metric: Metric, split: &Split, digests: &mut Digests) -> Result<Resolved, DatasetError> {
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
        let holdings = Holdings { base: n, train, queries };
        let parts = split.parts(holdings).map_err(wrong)?;
        if self.query_labels.is_some() && self.queries.is_none() {
            return Err(wrong(
                "`query_labels` needs a `queries` file; split queries take their classes from `labels`".into(),
            ));
        }
        if self.base_labels.is_some() && self.queries.is_some() && self.query_labels.is_none() {
            return Err(wrong(
                "`labels` are the classes of the rows of `path`; those of the rows of `queries` are missing: give \
                 `query_labels` too, or leave out `labels`"
                    .into(),
            ));
        }
        if self.query_labels.is_some() && self.base_labels.is_none() {
            return Err(wrong("`query_labels` needs `labels` for the rows of `path` too".into()));
        }
        if let Some(rate) = self.frames_per_second.filter(|rate| !(rate.is_finite() && *rate > 0.0)) {
            return Err(wrong(format!("`frames_per_second: {rate}` must be a positive number, such as 50")));
        }
        let contents = self.contents(digests)?;
        let mut rows: Vec<&String> =
            contents.iter().filter(|(part, _)| !part.contains("labels")).map(|(_, content)| content).collect();
        rows.sort_unstable();
        if rows.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(wrong("two of its files are the same; train, base and query rows must be disjoint".into()));
        }
        let fingerprint: Vec<String> =
            contents.into_iter().map(|(part, content)| format!("{part}:{content}")).collect();
        // Only where it is given, so that what was known of other files stays known.
        let frames = self.frames_per_second.map_or_else(String::new, |rate| format!(" frames_per_second {rate}"));
        let summary = Summary {
            name: name.to_owned(),
            dim,
            train: parts.train.len(),
            base: parts.base.len(),
            queries: parts.queries.len(),
            metric,
            labelled: self.base_labels.is_some(),
            signal: self.frames_per_second.map(|per_second| Signal::Frames { per_second }),
            fingerprint: format!("{} {metric} {split:?}{frames}", fingerprint.join(" ")),
        };
        let files = Files {
            base: self.base,
            train: self.train,
            queries: self.queries,
            base_labels: self.base_labels,
            query_labels: self.query_labels,
            holdings,
            parts,
        };
        Ok(Resolved { summary, files: Vec::new(), plan: Plan::Files(files) })
    }
}

impl From<ImagePlan> for Resolved {
    fn from(plan: ImagePlan) -> Resolved {
        Resolved { summary: plan.summary.clone(), files: Vec::new(), plan: Plan::Images(plan) }
    }
}

impl Resolved {
    /// Checks the dimension that the catalog promises.
    fn of_dim(self, name: &str, dim: usize) -> Result<Resolved, DatasetError> {
        if self.summary.dim == dim {
            return Ok(self);
        }
        let reason = format!("its rows have {} components, the catalog says {dim}", self.summary.dim);
        Err(DatasetError::Shape { name: name.to_owned(), reason })
    }

    /// Reads or draws all rows.
    ///
    /// # Errors
    /// Content that is malformed, not finite, beyond what f32 can compare, or changed since it was resolved.
    pub fn load(&self) -> Result<Dataset, DatasetError> {
        let dataset = match &self.plan {
            Plan::Synthetic(source) => source.load()?,
            Plan::Files(files) => files.load(&self.summary)?.finish()?,
            Plan::Images(images) => images.load()?.finish()?,
        };
        dataset.check_range()?;
        Ok(dataset)
    }
}

impl Files {
    fn load(&self, summary: &Summary) -> Result<Dataset, DatasetError> {
        let expect = |path: &Path, found: usize, expected: usize, what: &str| {
            if found == expected {
                return Ok(());
            }
            let reason = format!("{} has {found} {what} for {expected} rows", path.display());
            Err(DatasetError::Shape { name: summary.name.clone(), reason })
        };
        let rows = |path: &Path, expected: usize| {
            let rows = read_finite(path)?;
            expect(path, rows.nrows(), expected, "rows").map(|()| rows)
        };
        let labels = |path: &Path, expected: usize| {
            let labels = format::read_labels(path)?;
            expect(path, labels.len(), expected, "labels").map(|()| labels)
        };
        let Files { holdings, parts, .. } = self;
        let all = rows(&self.base, holdings.base)?;
        let part = |file: &Option<PathBuf>, held: Option<usize>, which: &[usize]| match (file, held) {
            (Some(path), Some(held)) => rows(path, held).map(|rows| taken(rows, which)),
            _ => Ok(select(&all, which)),
        };
        let train = part(&self.train, holdings.train, &parts.train)?;
        let queries = part(&self.queries, holdings.queries, &parts.queries)?;
        let labels = match self.base_labels.as_ref().filter(|_| summary.labelled) {
            None => None,
            Some(path) => {
                let of = |labels: &[u32], rows: &[usize]| rows.iter().map(|&i| labels[i]).collect();
                let all = labels(path, holdings.base)?;
                let queries = match (&self.query_labels, holdings.queries) {
                    (Some(path), Some(held)) => of(&labels(path, held)?, &parts.queries),
                    _ => of(&all, &parts.queries),
                };
                Some(Labels { base: of(&all, &parts.base), queries })
            }
        };
        let base = taken(all, &parts.base);
        let (name, signal) = (summary.name.clone(), summary.signal.clone());
        Ok(Dataset { name, metric: summary.metric, train, base, queries, labels, signal })
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

/// The rows `which`, which may be all of them.
fn taken(rows: Array2<f32>, which: &[usize]) -> Array2<f32> {
    if which.iter().copied().eq(0..rows.nrows()) { rows } else { select(&rows, which) }
}

fn select(rows: &Array2<f32>, which: &[usize]) -> Array2<f32> {
    rows.select(Axis(0), which).as_standard_layout().into_owned()
}
