//! What a user may write where vectors are wanted, and what becomes of it.

mod contents;
mod open;

use crate::catalog::{self, Located, SearchPath};
use crate::drops::{self, DroppedRows, RowKind};
use crate::file_truth::TruthFile;
use crate::format::Place;
use crate::images::{ImagePlan, ImageSource};
use crate::judgments::JudgmentFiles;
use crate::opened::{self, Opened};
use crate::row_set::RowSet;
use crate::seen::{Digests, Seen};
use crate::sounds::{self, SoundPlan, SoundSource};
use crate::split::{Holdings, Parts};
use crate::wholes::WholeFiles;
use crate::{
    Dataset, DatasetError, FileTruth, Judgments, MetricSpace, Part, Signal, Split, Summary, SyntheticSource, ZeroRows,
    file_truth, format,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use strict::ParamError;

/// Where vectors come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// A dataset of the catalog, by name.
    Named(String),
    /// Files of vectors.
    File(FileSource),
    /// Images, cut into patches.
    Images(ImageSource),
    /// Recordings, cut into log-mel frames.
    Sound(SoundSource),
    /// A random source.
    Synthetic(SyntheticSource),
}

/// Vectors from files. Training rows are what methods are trained on, base rows are encoded and searched, and query
/// rows are what is searched for. A part without a file of its own takes its rows from `path`. If a file holds several
/// arrays, write `#` and the name of one: `set.hdf5#test`, `set.npz#x`, `words.parquet#embedding`. A table (Parquet,
/// Arrow, CSV, TSV, NDJSON) holds its vectors in a column of lists of numbers. Each line of an NDJSON file can be a list.
/// The other tables can also have one column of numbers per component: `words.parquet#e*` takes those whose names begin
/// with `e`, in the order of the table. Without `#`, these are the columns of Parquet and Arrow whose names differ only
/// in a number at their end, and all columns of numbers of CSV and TSV. A pattern such as `part-*.parquet` takes the
/// rows of all files whose names match, in the order of their names; tables with one column per component must name
/// them in the same order. A file packed as `.gz` or `.zst` is read as what
/// is in it; HDF5 and .npz files, which pack their arrays themselves, and Parquet files with one column per component
/// must be unpacked first. An HDF5 file in the layout of ann-benchmarks or VIBE, written
/// without a name, gives base rows (`train`), queries (`test`), their true neighbours and the metric at once. Methods are then trained on its base
/// rows, unless `split` sets `train` or `base`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileSource {
    /// File with the base rows, or with the rows of all parts. Formats: .npy, .npz, .fvecs, .bvecs, .ivecs, .fbin,
    /// .u8bin, .i8bin, .ibin, .f16bin, .safetensors, .hdf5, .h5, .parquet, .arrow, .feather, .ipc, .csv, .tsv, .ndjson,
    /// .jsonl, .txt and .vec (word vectors), .idx (as MNIST: `train-images-idx3-ubyte`); all but .npz and HDF5 also packed
    /// as .gz or .zst. If the extension is another one, the first bytes tell .npy, .npz, .safetensors, HDF5, Parquet,
    /// Arrow and IDX; files of other formats need their extension. A .webp, .png, .jpg, .ppm or .pgm image gives its patches as rows (`photo.png#8` for 8×8 pixels). Relative paths start at the folder of the experiment
    /// file.
    pub path: PathBuf,
    /// File with the training rows. Write `base` to train on the base rows themselves, as vector databases do. Default:
    /// rows of `path`, as `split` says, or the base rows of an HDF5 file of ann-benchmarks.
    #[serde(default)]
    pub train: Option<PathBuf>,
    /// File with the query rows. Default: rows of `path`, as `split` says, or the queries in an HDF5 file of
    /// ann-benchmarks.
    #[serde(default)]
    pub queries: Option<PathBuf>,
    /// File with the class of each row of `path`, which the measurements `knn` and `linear_probe` need: a one-dimensional array of integers
    /// (.npy, .npz, .safetensors, .idx), or rows of one integer each (`words.parquet#class*`). With a file of `queries`, give `query_labels` too. Default: no classes.
    #[serde(default)]
    pub labels: Option<PathBuf>,
    /// File with the class of each row of `queries`, which the measurements `knn` and `linear_probe` need. It holds one class for every
    /// row of that file, even if `split` uses only some of them. Give `labels` too. Default: no classes.
    #[serde(default)]
    pub query_labels: Option<PathBuf>,
    /// File with the true nearest neighbours of each row of `queries`: their row numbers in `path`, counted from 0,
    /// nearest first. Formats: .ivecs, .ibin, the ground truth of big-ann-benchmarks (row numbers, then distances), and
    /// arrays of integers in .npy, .npz, .safetensors, HDF5 or a table. Recall uses them if all rows of `path` are base
    /// rows and a sample agrees with the neighbours that vqbench computes. Otherwise it uses its own, and says why. Default: the
    /// neighbours in an HDF5 file of ann-benchmarks, if `queries` is not set.
    #[serde(default)]
    pub truth: Option<PathBuf>,
    /// Judgments of relevance, which the measurement `retrieval` needs: a text file with one judgment per line, as
    /// `query 0 document grade` (TREC) or `query document grade` (BEIR, with or without a header), separated by spaces or
    /// tabs. A grade of 0 or below means not relevant. Only base rows can be found: with a corpus in `path` and questions in
    /// `queries`, write `train: base` so that all documents are base rows. Default: no judgments.
    #[serde(default)]
    pub qrels: Option<PathBuf>,
    /// File with the id of each row of `path`, as `qrels` names documents: one id per line of a text file (.txt), or a column
    /// of a table (`corpus.parquet#_id`, `corpus.jsonl#_id`, `words.csv#id`). Default: row numbers, counted from 0.
    #[serde(default)]
    pub ids: Option<PathBuf>,
    /// File with the id of each row of `queries`, as `qrels` names queries, written as in `ids`. Default: row numbers,
    /// counted from 0.
    #[serde(default)]
    pub query_ids: Option<PathBuf>,
    /// How vectors are compared, which decides what the true nearest neighbours of a query are. Default: the metric
    /// that an HDF5 file of ann-benchmarks names; otherwise `l2`.
    #[serde(default)]
    pub metric: Option<MetricSpace>,
    /// Divides the rows of `path` into training, base and query rows, and selects rows of parts that have a file of
    /// their own. Set it to use fewer rows, or to reproduce a published split.
    #[serde(default)]
    pub split: Option<Split>,
    /// Rows to leave out, such as `[zeros, duplicates]`. They are left out after `split` has divided the rows, so row
    /// numbers in `split` are those of the file, and parts can become smaller than `split` says. Classes follow their
    /// rows. The run and its page say how many rows were left out. Default: none. A value that is not finite is then an error, and
    /// so is a row of zeros with the metric `cosine`; duplicates are used.
    #[serde(default)]
    pub drop: Vec<RowKind>,
    /// Number of rows per second of sound. Set it if rows are log-mel frames of sound; the measurement `signal` then
    /// reports bits per second. Default: rows are not sound.
    #[serde(default)]
    #[schemars(range(min = 0.001))]
    pub frames_per_second: Option<f64>,
    /// Name of the dataset in tables and figures. Default: the name of the file without its extension.
    #[serde(default)]
    pub name: Option<String>,
}

/// A source whose files were found and whose headers were read.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The dataset that loading will give.
    pub summary: Summary,
    /// What was read of the files that were found.
    pub seen: Seen,
    plan: ReadPlan,
}

#[derive(Clone, Debug)]
enum ReadPlan {
    Synthetic(SyntheticSource),
    Files(VectorFiles),
    Images(ImagePlan),
    Sound(SoundPlan),
}

#[derive(Clone, Debug)]
struct VectorFiles {
    base: PathBuf,
    train: Option<PathBuf>,
    queries: Option<PathBuf>,
    base_labels: Option<PathBuf>,
    query_labels: Option<PathBuf>,
    truth: Option<TruthFile>,
    judgments: JudgmentFiles,
    holdings: Holdings,
    parts: Parts,
    /// Whether the entry can leave rows out.
    droppable: bool,
    dropped: Vec<DroppedRows>,
}

/// The keys of a dataset that name files: a path, or a list of paths.
pub const PATH_KEYS: [&str; 11] =
    ["path", "images", "wav", "train", "queries", "labels", "query_labels", "truth", "qrels", "ids", "query_ids"];

/// The keys that tell that a dataset is of files, and of which.
pub const SOURCE_KEYS: [&str; 3] = ["path", "images", "wav"];

impl Source {
    /// Puts a folder before the relative paths of a dataset as an experiment writes it.
    pub fn rebase(written: &mut Value, folder: &Path) {
        let of_files = |map: &&mut serde_json::Map<String, Value>| SOURCE_KEYS.iter().any(|key| map.contains_key(*key));
        let Some(map) = written.as_object_mut().filter(of_files) else { return };
        let rebase = |path: &mut Value| {
            if let Some(text) = path.as_str() {
                *path = folder.join(text).display().to_string().into();
            }
        };
        for key in PATH_KEYS {
            match map.get_mut(key) {
                Some(Value::Array(paths)) => paths.iter_mut().for_each(rebase),
                // Not a file.
                Some(Value::String(text)) if key == "train" && text == BASE => {}
                Some(path) => rebase(path),
                None => {}
            }
        }
    }

    /// Reads a dataset as an experiment writes it: a name of the catalog, or a mapping with `path:`, `images:`, `wav:` or `synthetic:`.
    ///
    /// # Errors
    /// Names the key to blame.
    pub fn parse(written: &Value) -> Result<Source, ParamError> {
        match written {
            Value::String(name) => Ok(Source::Named(name.clone())),
            Value::Object(map) if map.contains_key("synthetic") => {
                strict::from_value::<SyntheticSource>(written.clone()).map(Source::Synthetic)
            }
            Value::Object(map) if map.contains_key("path") => {
                strict::from_value::<FileSource>(written.clone()).map(Source::File)
            }
            Value::Object(map) if map.contains_key("images") => {
                strict::from_value::<ImageSource>(written.clone()).map(Source::Images)
            }
            Value::Object(map) if map.contains_key("wav") => {
                strict::from_value::<SoundSource>(written.clone()).map(Source::Sound)
            }
            _ => Err(ParamError {
                param: None,
                message: "this is not a dataset".into(),
                help: Some(
                    "write a name that `cargo xtask datasets` lists, or a mapping with `path:`, `images:`, `wav:` or \
                     `synthetic:`"
                        .to_owned(),
                ),
            }),
        }
    }

    /// Finds the files, reads each array once for its digest, and checks that the parts fit together. `root` is the folder
    /// that relative paths start from.
    ///
    /// # Errors
    /// Everything that would make loading fail and can be seen without interpreting values.
    pub fn resolve(&self, root: &Path, search: &SearchPath) -> Result<Resolved, DatasetError> {
        self.resolve_knowing(root, search, &Seen::default())
    }

    /// Like [`Source::resolve`], but does not read files and arrays for their digests if they are unchanged since they
    /// were `seen`.
    ///
    /// # Errors
    /// As [`Source::resolve`].
    pub fn resolve_knowing(&self, root: &Path, search: &SearchPath, seen: &Seen) -> Result<Resolved, DatasetError> {
        let mut digests = Digests::knowing(seen);
        let resolved = self.resolve_with(root, search, &mut digests)?;
        Ok(Resolved { seen: digests.into_seen(), ..resolved })
    }

    fn resolve_with(&self, root: &Path, search: &SearchPath, digests: &mut Digests) -> Result<Resolved, DatasetError> {
        match self {
            Source::Synthetic(source) => {
                let plan = ReadPlan::Synthetic(source.clone());
                Ok(Resolved { summary: source.summary()?, seen: Seen::default(), plan })
            }
            Source::Named(name) => {
                let entry = catalog::find(name)?;
                let mut locate = |file: &catalog::FileEntry| {
                    let Located { path, sha256 } = entry.locate(file, search)?;
                    let Some(expected) = sha256 else { return Ok(path) };
                    let found = digests.of(&path)?;
                    if found == expected {
                        return Ok(path);
                    }
                    Err(DatasetError::Digest { path, found, expected: expected.to_owned() })
                };
                if let Some(set) = &entry.images {
                    let files = set.files.iter().map(&mut locate).collect::<Result<Vec<_>, _>>()?;
                    for file in &entry.others {
                        locate(file)?;
                    }
                    let parts = WholeFiles { base: files, ..WholeFiles::default() };
                    let plan = ImagePlan::new(name, parts, set.patch, entry.metric, &set.split, digests)?;
                    return Resolved::from(plan).of_dim(name, entry.dim);
                }
                if let Some(set) = &entry.sound {
                    let parts = WholeFiles { base: sounds::located(&entry, set, search)?, ..WholeFiles::default() };
                    let plan = SoundPlan::new(name, parts, &set.mel, entry.metric, &set.split, digests)?;
                    return Resolved::from(plan).of_dim(name, entry.dim);
                }
                let Some(base) = &entry.base else {
                    let reason = "its catalog entry has none of `base`, `images` and `sound`".to_owned();
                    return Err(DatasetError::Shape { name: name.clone(), reason });
                };
                let paths = Paths {
                    base: locate(base)?,
                    train: entry.train.as_ref().map(&mut locate).transpose()?,
                    queries: entry.queries.as_ref().map(&mut locate).transpose()?,
                    base_labels: entry.base_labels.as_ref().map(&mut locate).transpose()?,
                    query_labels: entry.queries_labels.as_ref().map(&mut locate).transpose()?,
                    frames_per_second: entry.frames_per_second,
                    train_on_base: entry.train_on_base,
                    truth: entry.truth.as_ref().map(&mut locate).transpose()?,
                    drop: Vec::new(),
                    droppable: false,
                    judgments: JudgmentFiles::default(),
                };
                for file in &entry.others {
                    locate(file)?;
                }
                let resolved = paths.check(name, entry.metric, &entry.split, digests)?;
                resolved.of_dim(name, entry.dim)
            }
            Source::Images(source) => source.resolve(root, digests).map(Resolved::from),
            Source::Sound(source) => source.resolve(root, digests).map(Resolved::from),
            Source::File(source) => source.resolve(root, digests),
        }
    }
}

/// Base rows up to this many bytes are held while their values are checked, so that their file is read once.
const HELD_FOR_CHECK: u64 = 1 << 28;

/// Written instead of a file of training rows: train on the base rows.
const BASE: &str = "base";

impl FileSource {
    fn resolve(&self, root: &Path, digests: &mut Digests) -> Result<Resolved, DatasetError> {
        let stem = format::stem(&Place::of(&root.join(&self.path)).file);
        let name = self.name.clone().or(stem).unwrap_or_default();
        let split = self.split.clone().unwrap_or_default();
        let at = |path: &PathBuf| root.join(path);
        let train_on_base = self.train.as_deref() == Some(Path::new(BASE));
        let mut paths = Paths {
            base: at(&self.path),
            train: self.train.as_ref().filter(|_| !train_on_base).map(at),
            queries: self.queries.as_ref().map(at),
            base_labels: self.labels.as_ref().map(at),
            query_labels: self.query_labels.as_ref().map(at),
            frames_per_second: self.frames_per_second,
            train_on_base,
            truth: self.truth.as_ref().map(at),
            drop: self.drop.iter().copied().collect::<BTreeSet<_>>().into_iter().collect(),
            droppable: true,
            judgments: JudgmentFiles {
                qrels: self.qrels.as_ref().map(at),
                ids: self.ids.as_ref().map(at),
                query_ids: self.query_ids.as_ref().map(at),
            },
        };
        let mut metric = self.metric;
        if let Some(companions) = format::companions(&paths.base)? {
            let array = |name: &str| PathBuf::from(format!("{}#{name}", paths.base.display()));
            // The experiment takes precedence over the file, except for the metric, where a contradiction must be an
            // error.
            if self.queries.is_none() {
                paths.truth = paths.truth.or_else(|| companions.neighbours.as_deref().map(array));
                paths.queries = Some(array(&companions.queries));
                paths.train_on_base |= self.train.is_none() && split.train.is_none() && split.base.is_none();
            }
            metric = self.metric_of(&name, &paths.base, companions.metric.as_deref())?;
        }
        paths.check(&name, metric.unwrap_or_default(), &split, digests)
    }

    /// The metric, if the file names one too.
    fn metric_of(&self, name: &str, file: &Path, said: Option<&str>) -> Result<Option<MetricSpace>, DatasetError> {
        let Some(said) = said else { return Ok(self.metric) };
        let wrong = |reason: String| Err(DatasetError::Shape { name: name.to_owned(), reason });
        let file = file.display();
        match (self.metric, MetricSpace::of_name(said)) {
            (Some(written), Some(found)) if written != found => wrong(format!(
                "`metric: {written}` contradicts {file}, whose attribute `distance` is `{said}` (`metric: {found}`); leave \
                 `metric` out, or name the arrays to take them without what the file says: `path: …#train` and \
                 `queries: …#test`"
            )),
            (None, None) => wrong(format!(
                "{file} says that its distance is `{said}`, which is not known here; write `metric: l2`, `cosine` or `ip`"
            )),
            (written, found) => Ok(written.or(found)),
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
    train_on_base: bool,
    /// The file of neighbours, if there is one.
    truth: Option<PathBuf>,
    /// Kinds of rows to leave out, in order.
    drop: Vec<RowKind>,
    /// Whether they can be written: an entry by name has no keys.
    droppable: bool,
    judgments: JudgmentFiles,
}

impl Paths {
    /// The files of rows, by part.
    fn rows(&self) -> impl Iterator<Item = (&'static str, &PathBuf)> {
        let rows = [("base", Some(&self.base)), ("train", self.train.as_ref()), ("queries", self.queries.as_ref())];
        rows.into_iter().filter_map(|(part, path)| Some((part, path?)))
    }

    fn check(
        self,
        name: &str,
        metric: MetricSpace,
        split: &Split,
        digests: &mut Digests,
    ) -> Result<Resolved, DatasetError> {
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
        let holdings = Holdings { base: n, train, queries, train_on_base: self.train_on_base };
        let mut parts = split.parts(holdings).map_err(wrong)?;
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
        self.judgments.check(self.queries.is_some()).map_err(wrong)?;
        let contents = self.contents(digests)?;
        contents::disjoint(&contents).map_err(wrong)?;
        let dropped = self.leave_out(&contents, &mut parts).map_err(wrong)?;
        let truth = self.truth_file(name, holdings, &parts)?;
        let judgments = self.judgments.contents(digests)?.into_iter();
        let contents = contents.into_iter().map(|(key, content)| (key, content.sha256));
        let fingerprint: Vec<String> =
            contents.chain(judgments).map(|(key, content)| format!("{key}:{content}")).collect();
        // Only if given, so that the fingerprints of other files stay the same.
        let frames = self.frames_per_second.map_or_else(String::new, |rate| format!(" frames_per_second {rate}"));
        let summary = Summary {
            name: name.to_owned(),
            dim,
            train: parts.train.len(),
            base: parts.base.len(),
            queries: parts.queries.len(),
            metric,
            labelled: self.base_labels.is_some(),
            judged: self.judgments.qrels.is_some(),
            signal: self.frames_per_second.map(|per_second| Signal::Frames { per_second }),
            fingerprint: format!(
                "{} {metric} {split:?}{frames}{}{}",
                fingerprint.join(" "),
                if self.train_on_base { " train:base" } else { "" },
                drops::identity(&dropped)
            ),
        };
        let files = VectorFiles {
            base: self.base,
            train: self.train,
            queries: self.queries,
            base_labels: self.base_labels,
            query_labels: self.query_labels,
            truth,
            judgments: self.judgments,
            holdings,
            parts,
            droppable: self.droppable,
            dropped,
        };
        Ok(Resolved { summary, seen: Seen::default(), plan: ReadPlan::Files(files) })
    }
}

impl From<ImagePlan> for Resolved {
    fn from(plan: ImagePlan) -> Resolved {
        Resolved { summary: plan.summary.clone(), seen: Seen::default(), plan: ReadPlan::Images(plan) }
    }
}

impl From<SoundPlan> for Resolved {
    fn from(plan: SoundPlan) -> Resolved {
        Resolved { summary: plan.summary.clone(), seen: Seen::default(), plan: ReadPlan::Sound(plan) }
    }
}

impl Resolved {
    /// Checks the dimension that the catalog states.
    fn of_dim(self, name: &str, dim: usize) -> Result<Resolved, DatasetError> {
        if self.summary.dim == dim {
            return Ok(self);
        }
        let reason = format!("its rows have {} components; the catalog states {dim}", self.summary.dim);
        Err(DatasetError::Shape { name: name.to_owned(), reason })
    }

    /// Reads or draws all rows.
    ///
    /// # Errors
    /// Content that is malformed, not finite, beyond what f32 can compare, or changed since it was resolved.
    pub fn load(&self) -> Result<Dataset, DatasetError> {
        let data = self.open(u64::MAX)?;
        opened::check(&data, self)?;
        opened::into_dataset(data)
    }

    /// Reads or draws training and query rows, and the base rows too if they take at most `most_bytes`, or can be used in
    /// no other way ([`Resolved::must_be_held`]). The checks that need all base rows are those of [`crate::BaseCheck`].
    ///
    /// # Errors
    /// Content that is malformed, not finite, or changed since it was resolved.
    pub fn open(&self, most_bytes: u64) -> Result<Opened, DatasetError> {
        let hold = self.must_be_held() || self.base_bytes() <= most_bytes;
        match &self.plan {
            ReadPlan::Synthetic(source) => source.open(hold),
            ReadPlan::Files(files) => files.open(&self.summary, hold),
            ReadPlan::Images(images) => images.open(hold),
            ReadPlan::Sound(sound) => sound.open(hold),
        }
    }

    /// Whether the base rows cannot be read block by block, because `numpy_seed` reorders them.
    pub fn must_be_held(&self) -> bool {
        matches!(&self.plan, ReadPlan::Files(files) if files.must_be_held())
    }

    /// Bytes of the base rows as f32.
    pub fn base_bytes(&self) -> u64 {
        (self.summary.base as u64).saturating_mul(4 * self.summary.dim as u64)
    }

    /// Reads all values and reports what [`Resolved::load`] would refuse, in little memory. Random sources are always
    /// valid.
    ///
    /// # Errors
    /// As [`Resolved::load`].
    pub fn check(&self) -> Result<(), DatasetError> {
        if matches!(self.plan, ReadPlan::Synthetic(_)) {
            return Ok(());
        }
        opened::check(&self.open(HELD_FOR_CHECK)?, self)
    }

    /// Whether methods are trained on the base rows.
    pub fn trains_on_base(&self) -> bool {
        matches!(&self.plan, ReadPlan::Files(files) if files.holdings.train_on_base)
    }

    /// The rows that were left out of the parts, as the key `drop` says.
    pub fn dropped(&self) -> &[DroppedRows] {
        if let ReadPlan::Files(files) = &self.plan { &files.dropped } else { &[] }
    }

    /// Reads the neighbours that come with the vectors, and compares those of a sample with the exact ones. `depth` is
    /// the number of neighbours that are needed of each query. None if none come with them.
    ///
    /// # Errors
    /// Files that cannot be read.
    pub fn file_truth(&self, depth: usize) -> Result<Option<FileTruth>, DatasetError> {
        match &self.plan {
            ReadPlan::Files(VectorFiles { truth: Some(truth), .. }) => {
                truth.check(self.summary.metric, depth).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Reads the judgments of relevance, without the rows.
    ///
    /// # Errors
    /// As [`Resolved::load`].
    pub fn judgments(&self) -> Result<Option<Judgments>, DatasetError> {
        match &self.plan {
            ReadPlan::Files(files) => files.judgments(&self.summary.name),
            ReadPlan::Synthetic(_) | ReadPlan::Images(_) | ReadPlan::Sound(_) => Ok(None),
        }
    }

    /// The location of a row of a part: `row 3 of words.npy`, counted from 0 in its file; or its number in the part, if
    /// rows do not come from a file of vectors.
    pub fn place(&self, part: Part, row: usize) -> String {
        if let ReadPlan::Files(files) = &self.plan {
            let (path, rows) = files.rows_of(part);
            return format!("row {} of {}", rows.get(row).unwrap_or(row), file_truth::name_of(path));
        }
        format!("{} row {row}", part.adjective())
    }

    pub(crate) fn refuse(&self, zeros: ZeroRows) -> DatasetError {
        let row = zeros.first.map_or_else(String::new, |(part, row)| self.place(part, row));
        let droppable = matches!(&self.plan, ReadPlan::Files(files) if files.droppable);
        DatasetError::ZeroRow { name: self.summary.name.clone(), row, count: zeros.count, droppable }
    }
}

/// Fails unless the numbers match.
fn expect(summary: &Summary, path: &Path, found: usize, expected: usize, what: &str) -> Result<(), DatasetError> {
    if found == expected {
        return Ok(());
    }
    let reason = format!("{} has {found} {what} for {expected} rows", path.display());
    Err(DatasetError::Shape { name: summary.name.clone(), reason })
}

fn read_labels(summary: &Summary, path: &Path, expected: usize) -> Result<Vec<u32>, DatasetError> {
    let labels = format::read_labels(path)?;
    expect(summary, path, labels.len(), expected, "labels").map(|()| labels)
}

impl VectorFiles {
    /// The file of a part, and the rows that are used of it.
    fn rows_of(&self, part: Part) -> (&Path, &RowSet) {
        let own = match part {
            Part::Train => (&self.train, &self.parts.train),
            Part::Base => (&None, &self.parts.base),
            Part::Queries => (&self.queries, &self.parts.queries),
        };
        (own.0.as_deref().unwrap_or(&self.base), own.1)
    }

    fn judgments(&self, name: &str) -> Result<Option<Judgments>, DatasetError> {
        self.judgments.load(name, self.holdings.base, self.holdings.queries, &self.parts)
    }
}
