//! Datasets of whole files, pictures or recordings, that give many rows each. No file is in two parts, because rows of one
//! file are alike.

mod open;

pub(crate) use open::open;

use crate::row_set::RowSet;
use crate::split::{Holdings, Parts, RowSelection, SplitUnit};
use crate::{DatasetError, Split};
use ndarray::Array2;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// A file, a folder of files, or a list of these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "write a folder, a file, or a list of them")]
pub enum Wholes {
    /// A file or a folder.
    One(PathBuf),
    /// Files and folders, in this order.
    Several(Vec<PathBuf>),
}

/// What the files are, for messages.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    /// The unit of splits.
    pub unit: SplitUnit,
    /// One of them, and what their rows are called.
    pub one: &'static str,
    pub rows: &'static str,
    /// How a single file is split by rows instead.
    pub single: &'static str,
    /// Whether a file is one by its name.
    pub is_member: fn(&Path) -> bool,
    /// The extensions that make it one, in words.
    pub extensions: fn() -> String,
}

impl Wholes {
    /// The files, in order.
    pub(crate) fn files(&self, root: &Path, kind: Kind) -> Result<Vec<PathBuf>, DatasetError> {
        let given = match self {
            Wholes::One(path) => std::slice::from_ref(path),
            Wholes::Several(paths) => paths,
        };
        let mut files = Vec::new();
        for path in given {
            let path = root.join(path);
            match std::fs::metadata(&path) {
                Ok(found) if found.is_dir() => files.extend(members_of(&path, kind)?),
                Ok(_) => files.push(path),
                Err(error) => return Err(DatasetError::Io { path, error }),
            }
        }
        Ok(files)
    }

    /// The default name of a dataset.
    pub(crate) fn stem(&self) -> Option<String> {
        let first = match self {
            Wholes::One(path) => path,
            Wholes::Several(paths) => paths.first()?,
        };
        first.file_stem().map(|stem| stem.to_string_lossy().into_owned())
    }
}

/// The files of a folder that are of the kind, in order of name.
fn members_of(folder: &Path, kind: Kind) -> Result<Vec<PathBuf>, DatasetError> {
    let io = |error| DatasetError::Io { path: folder.to_owned(), error };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if (kind.is_member)(&path) && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() {
        let reason = format!("this folder holds no file that ends in {}", (kind.extensions)());
        return Err(io(std::io::Error::other(reason)));
    }
    Ok(files)
}

/// Files of a dataset; parts without files of their own are split from `base`.
#[derive(Clone, Debug, Default)]
pub(crate) struct WholeFiles {
    pub base: Vec<PathBuf>,
    pub train: Option<Vec<PathBuf>>,
    pub queries: Option<Vec<PathBuf>>,
}

impl WholeFiles {
    /// The files that an entry names; parts of their own are left out where it names none.
    ///
    /// # Errors
    /// As [`Wholes::files`].
    pub(crate) fn of(
        base: &Wholes,
        train: Option<&Wholes>,
        queries: Option<&Wholes>,
        root: &Path,
        kind: Kind,
    ) -> Result<WholeFiles, DatasetError> {
        let files = |wholes: &Wholes| wholes.files(root, kind);
        Ok(WholeFiles {
            base: files(base)?,
            train: train.map(files).transpose()?,
            queries: queries.map(files).transpose()?,
        })
    }
}

/// How whole files are divided.
#[derive(Clone, Debug, Default)]
pub(crate) struct WholeSplit {
    pub train: Option<RowSelection>,
    pub base: Option<RowSelection>,
    pub queries: Option<RowSelection>,
    /// Numbers of rows that are drawn from the files of a part.
    pub train_rows: Option<usize>,
    pub query_rows: Option<usize>,
    pub seed: u64,
}

/// A file whose header was read.
pub(crate) struct Item<H> {
    pub path: PathBuf,
    /// Its name as the name of a file in the run folder.
    pub name: String,
    /// What its header says.
    pub header: H,
    /// Rows in it.
    pub rows: usize,
    digest: String,
}

impl<H> Item<H> {
    /// A file that is not identified yet.
    pub(crate) fn new(path: PathBuf, header: H, rows: usize) -> Item<H> {
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let name = stem.chars().map(|c| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '-' }).collect();
        Item { path, name, header, rows, digest: String::new() }
    }
}

/// The files of a part, the rows in each, and how many of all these rows are used.
#[derive(Clone, Debug)]
pub(crate) struct WholePart {
    files: Vec<(PathBuf, usize)>,
    pub rows: usize,
    seed: u64,
    stream: u64,
}

/// The parts of a dataset.
pub(crate) struct Divided<H> {
    pub train: WholePart,
    pub base: WholePart,
    pub queries: WholePart,
    /// The files of the base rows, in order.
    pub base_items: Vec<Item<H>>,
    /// A text that changes with the content of any file.
    pub contents: String,
}

/// Default number of query rows.
const QUERIES: usize = 1000;

/// Streams of the seed for draws of rows.
const TRAIN_STREAM: u64 = 1;
const QUERY_STREAM: u64 = 2;

/// Reads the headers of all files with `open`, asks `identify` for a digest of each, and divides the files.
///
/// # Errors
/// Those of `open` and `identify`, files given twice, parts that are empty or overlap.
pub(crate) fn divide<H>(
    name: &str,
    files: WholeFiles,
    split: &WholeSplit,
    kind: Kind,
    mut open: impl FnMut(PathBuf) -> Result<Item<H>, DatasetError>,
    mut identify: impl FnMut(&[Item<H>]) -> Result<Vec<String>, DatasetError>,
) -> Result<Divided<H>, DatasetError> {
    let wrong = |reason: String| DatasetError::Shape { name: name.to_owned(), reason };
    let holdings = Holdings {
        base: files.base.len(),
        train: files.train.as_ref().map(Vec::len),
        queries: files.queries.as_ref().map(Vec::len),
        train_on_base: false,
    };
    let parts = split.parts(holdings, kind).map_err(wrong)?;
    let mut all = |files: Vec<PathBuf>| {
        let mut items = files.into_iter().map(&mut open).collect::<Result<Vec<_>, _>>()?;
        let digests = identify(&items)?;
        items.iter_mut().zip(digests).for_each(|(item, digest)| item.digest = digest);
        Ok::<_, DatasetError>(items)
    };
    let base = all(files.base)?;
    let train = files.train.map(&mut all).transpose()?;
    let queries = files.queries.map(&mut all).transpose()?;
    differ([&base, train.as_deref().unwrap_or_default(), queries.as_deref().unwrap_or_default()], kind)
        .map_err(wrong)?;
    let part = |own: &Option<Vec<Item<H>>>, which: &RowSet, stream: u64| {
        let from = own.as_deref().unwrap_or(&base);
        let files: Vec<_> = which.iter().map(|i| (from[i].path.clone(), from[i].rows)).collect();
        WholePart { rows: files.iter().map(|(_, rows)| rows).sum(), files, seed: split.seed, stream }
    };
    let drawn = |part: WholePart, wanted: Option<usize>, default: usize, called: &str| match wanted {
        None => Ok(WholePart { rows: part.rows.min(default), ..part }),
        Some(wanted) if (1..=part.rows).contains(&wanted) => Ok(WholePart { rows: wanted, ..part }),
        Some(wanted) => Err(wrong(format!(
            "{wanted} {called} {} are requested, but its {}s have {}; use 1 to {}",
            kind.rows, kind.one, part.rows, part.rows
        ))),
    };
    let lists = [("base", Some(&base)), ("train", train.as_ref()), ("queries", queries.as_ref())];
    let contents = lists.into_iter().filter_map(|(part, items)| Some(format!("{part}:{}", digest_of(items?))));
    let contents = contents.collect::<Vec<_>>().join(" ");
    let train = drawn(part(&train, &parts.train, TRAIN_STREAM), split.train_rows, usize::MAX, "training")?;
    let queries = drawn(part(&queries, &parts.queries, QUERY_STREAM), split.query_rows, QUERIES, "query")?;
    let base_part = part(&None, &parts.base, 0);
    let mut items: Vec<Option<Item<H>>> = base.into_iter().map(Some).collect();
    let base_items = parts.base.iter().filter_map(|i| items[i].take()).collect();
    Ok(Divided { train, base: base_part, queries, base_items, contents })
}

impl WholePart {
    /// The rows that are used, in order of the files, of `dim` components. `read` gives all rows of a file, row after row.
    ///
    /// # Errors
    /// Those of `read`, and files that have changed since their headers were read.
    pub(crate) fn load(
        &self,
        name: &str,
        dim: usize,
        kind: Kind,
        read: impl Fn(&Path) -> Result<Array2<f32>, DatasetError> + Sync,
    ) -> Result<Array2<f32>, DatasetError> {
        let total: usize = self.files.iter().map(|(_, rows)| rows).sum();
        let mut chosen: Vec<usize> = (0..total).collect();
        if self.rows < total {
            let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
            rng.set_stream(self.stream);
            chosen.shuffle(&mut rng);
            chosen.truncate(self.rows);
            chosen.sort_unstable();
        }
        let mut jobs = Vec::new();
        let (mut start, mut taken) = (0, &chosen[..]);
        for (path, rows) in &self.files {
            let (here, later) = taken.split_at(taken.partition_point(|&row| row < start + rows));
            jobs.push((path, *rows, start, here));
            (start, taken) = (start + rows, later);
        }
        let piece = |(path, expected, start, here): (&PathBuf, usize, usize, &[usize])| {
            let rows = as_expected(read(path)?, name, kind, path, (expected, dim))?;
            Ok(here.iter().flat_map(|&row| rows.row(row - start).to_vec()).collect::<Vec<f32>>())
        };
        let pieces = jobs.into_par_iter().map(piece).collect::<Result<Vec<_>, DatasetError>>()?;
        let rows = Array2::from_shape_vec((self.rows, dim), pieces.concat());
        rows.map_err(|e| DatasetError::Shape { name: name.to_owned(), reason: e.to_string() })
    }
}

/// The rows of a file, if their number is that of its header.
fn as_expected(
    rows: Array2<f32>,
    name: &str,
    kind: Kind,
    path: &Path,
    shape: (usize, usize),
) -> Result<Array2<f32>, DatasetError> {
    if rows.dim() == shape {
        return Ok(rows);
    }
    let reason = format!("{} has {} {} for {}", path.display(), rows.nrows(), kind.rows, shape.0);
    Err(DatasetError::Shape { name: name.to_owned(), reason })
}

/// Names of base files are unique, and no file is there twice.
fn differ<H>(lists: [&[Item<H>]; 3], kind: Kind) -> Result<(), String> {
    let mut names = HashSet::new();
    if let Some(item) = lists[0].iter().find(|item| !names.insert(&item.name)) {
        return Err(format!("two of its {}s are called `{}`; rename one of them", kind.one, item.name));
    }
    let mut digests = HashSet::new();
    match lists.into_iter().flatten().find(|item| !digests.insert(&item.digest)) {
        None => Ok(()),
        Some(item) => Err(format!(
            "the content of {} is there twice; train, base and query {}s must be disjoint",
            item.path.display(),
            kind.one
        )),
    }
}

/// One digest of the names and contents of files.
fn digest_of<H>(items: &[Item<H>]) -> String {
    let mut hasher = Sha256::new();
    items.iter().for_each(|item| hasher.update(format!("{} {}\n", item.digest, item.name)));
    hasher.finalize().iter().map(|b| format!("{b:02x}")).collect()
}

impl WholeSplit {
    /// Divides the files.
    fn parts(&self, files: Holdings, kind: Kind) -> Result<Parts, String> {
        let own = usize::from(files.train.is_none()) + usize::from(files.queries.is_none());
        if files.base <= own {
            let Kind { one, single, .. } = kind;
            return Err(format!(
                "{} {one}{} cannot be held out for {} parts; give more {one}s, {}`train:` and `queries:` {one}s of their \
                 own{single}",
                files.base,
                if files.base == 1 { "" } else { "s" },
                own + 1,
                if single.is_empty() { "or " } else { "" }
            ));
        }
        let queries = match (&self.queries, files.queries) {
            (None, None) => Some(RowSelection::Count((files.base / 10).max(1))),
            (given, _) => given.clone(),
        };
        let (train, base) = (self.train.clone(), self.base.clone());
        Split { train, base, queries, seed: self.seed, numpy_seed: None }.parts_of(files, kind.unit)
    }
}
