//! Several images as one dataset. Whole images are held out, so that base images can be reassembled.

use crate::base_rows::{BaseRows, RowSource, RowStream};
use crate::format::picture::{CHANNELS, DEFAULT_PATCH, MAX_PATCH, Pictures, Size};
use crate::format::{picture_size, read_picture};
use crate::opened::{Opened, to_unit_length};
use crate::row_set::RowSet;
use crate::seen::Digests;
use crate::signal::{Picture, Signal};
use crate::split::{Holdings, IMAGE, Parts, RowSelection};
use crate::{DatasetError, MetricSpace, Split, Summary, format};
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
use std::sync::Arc;

/// Images, cut into square patches. A row is one patch: its pixels line by line, with red, green and blue of each pixel
/// in turn, from 0 to 255. A grey image repeats each value three times. Pixels at the right and lower edges that do not
/// fill a patch are left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageSource {
    /// Images of the base rows, and of parts without images of their own. Write a .webp, .png, .jpg or .ppm file, a folder (all
    /// such files in it, ordered by name), or a list of these. Relative paths start at the folder of the experiment
    /// file.
    pub images: Images,
    /// Images to train on, written as in `images`. Default: some of `images`, as `split` says.
    #[serde(default)]
    pub train: Option<Images>,
    /// Images whose patches are the query rows, written as in `images`. Default: some of `images`, as `split` says.
    #[serde(default)]
    pub queries: Option<Images>,
    /// Height and width of a patch, in pixels. A row has 3·patch² components. A larger patch makes rows longer and
    /// fewer.
    #[serde(default = "default_patch")]
    #[schemars(range(min = 1, max = 256))]
    pub patch: usize,
    /// How vectors are compared, which decides what the true nearest neighbours of a query are.
    #[serde(default)]
    pub metric: MetricSpace,
    /// Divides the images into training, base and query images. No image is in two parts, because neighbouring patches
    /// are alike.
    #[serde(default)]
    pub split: ImageSplit,
    /// Name of the dataset in tables and figures. Default: the name of the folder or of the first file.
    #[serde(default)]
    pub name: Option<String>,
}

fn default_patch() -> usize {
    DEFAULT_PATCH
}

/// An image, a folder of images, or a list of these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "write a folder, an image file, or a list of them")]
pub enum Images {
    /// A file or a folder.
    One(PathBuf),
    /// Files and folders, in this order.
    Several(Vec<PathBuf>),
}

/// Divides whole images into training, base and query images, and says how many of their patches are used. Each part is
/// a number of images, drawn at random with `seed`, or a range of image numbers. A part with images of its own takes
/// from those, by default all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ImageSplit {
    /// Training images: a number of images, or a range such as "0..16". Default: half of the images that are not for
    /// queries; all that are left if `base` is a range.
    pub train: Option<RowSelection>,
    /// Base images, whose patches are all encoded and searched: a number of images, or a range. Default: all remaining
    /// images.
    pub base: Option<RowSelection>,
    /// Query images: a number of images, or a range. Default: a tenth of the images, at least one.
    pub queries: Option<RowSelection>,
    /// Number of training patches, drawn at random from all training images. Set it to shorten training. Default: every
    /// patch.
    #[schemars(range(min = 1))]
    pub train_patches: Option<usize>,
    /// Number of query patches, drawn at random from all query images. Raise it for a more precise recall. Default:
    /// every patch, but at most 1000.
    #[schemars(range(min = 1))]
    pub query_patches: Option<usize>,
    /// Seed of the random draws of images and patches. Change it to draw others.
    pub seed: u64,
}

/// Default number of query patches.
const QUERIES: usize = 1000;

/// Streams of the seed for draws of patches.
const TRAIN_STREAM: u64 = 1;
const QUERY_STREAM: u64 = 2;

/// Files of a set of images; parts without files of their own are split from `base`.
#[derive(Clone, Debug, Default)]
pub(crate) struct ImageFiles {
    pub base: Vec<PathBuf>,
    pub train: Option<Vec<PathBuf>>,
    pub queries: Option<Vec<PathBuf>>,
}

/// Images whose headers were read, and the parts they belong to.
#[derive(Clone, Debug)]
pub(crate) struct ImagePlan {
    /// What loading will give.
    pub summary: Summary,
    patch: usize,
    /// Files of each part, and the patches in them.
    train: Vec<(PathBuf, usize)>,
    base: Vec<(PathBuf, usize)>,
    queries: Vec<(PathBuf, usize)>,
    seed: u64,
}

impl Images {
    /// The image files, in order.
    fn files(&self, root: &Path) -> Result<Vec<PathBuf>, DatasetError> {
        let given = match self {
            Images::One(path) => std::slice::from_ref(path),
            Images::Several(paths) => paths,
        };
        let mut files = Vec::new();
        for path in given {
            let path = root.join(path);
            match std::fs::metadata(&path) {
                Ok(found) if found.is_dir() => files.extend(pictures_in(&path)?),
                Ok(_) => files.push(path),
                Err(error) => return Err(DatasetError::Io { path, error }),
            }
        }
        Ok(files)
    }

    /// The default name of a dataset.
    fn stem(&self) -> Option<String> {
        let first = match self {
            Images::One(path) => path,
            Images::Several(paths) => paths.first()?,
        };
        first.file_stem().map(|stem| stem.to_string_lossy().into_owned())
    }
}

/// Picture files of a folder, in order of name.
fn pictures_in(folder: &Path) -> Result<Vec<PathBuf>, DatasetError> {
    let io = |error| DatasetError::Io { path: folder.to_owned(), error };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if format::is_picture(&path) && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() {
        let kinds = Pictures::all_extensions("or");
        return Err(io(std::io::Error::other(format!("this folder holds no file that ends in {kinds}"))));
    }
    Ok(files)
}

impl ImageSource {
    /// Finds the files and reads their headers and digests. `root` is the folder that relative paths start from.
    ///
    /// # Errors
    /// Whatever would make loading fail, as far as it can be seen without interpreting values.
    pub(crate) fn resolve(&self, root: &Path, digests: &mut Digests) -> Result<ImagePlan, DatasetError> {
        let own = |images: &Option<Images>| images.as_ref().map(|images| images.files(root)).transpose();
        let files =
            ImageFiles { base: self.images.files(root)?, train: own(&self.train)?, queries: own(&self.queries)? };
        let name = self.name.clone().or_else(|| self.images.stem()).unwrap_or_default();
        ImagePlan::new(&name, files, self.patch, self.metric, &self.split, digests)
    }
}

/// The header and the file metadata of an image.
struct ImageFile {
    path: PathBuf,
    name: String,
    size: Size,
    digest: String,
}

impl ImagePlan {
    /// Reads headers and digests and divides the images.
    ///
    /// # Errors
    /// Files that are not images or hold no whole patch, images given twice, parts that are empty or overlap.
    pub fn new(
        name: &str,
        files: ImageFiles,
        patch: usize,
        metric: MetricSpace,
        split: &ImageSplit,
        digests: &mut Digests,
    ) -> Result<ImagePlan, DatasetError> {
        let wrong = |reason: String| DatasetError::Shape { name: name.to_owned(), reason };
        if !(1..=MAX_PATCH).contains(&patch) {
            return Err(wrong(format!("`patch: {patch}` is out of range; use 1 to {MAX_PATCH} pixels, such as 8")));
        }
        let holdings = Holdings {
            base: files.base.len(),
            train: files.train.as_ref().map(Vec::len),
            queries: files.queries.as_ref().map(Vec::len),
            train_on_base: false,
        };
        let parts = split.parts(holdings).map_err(wrong)?;
        let all = |files: Vec<PathBuf>, digests: &mut Digests| {
            files.into_iter().map(|path| found(path, patch, digests)).collect::<Result<Vec<_>, _>>()
        };
        let base = all(files.base, digests)?;
        let train = files.train.map(|files| all(files, digests)).transpose()?;
        let queries = files.queries.map(|files| all(files, digests)).transpose()?;
        differ([&base, train.as_deref().unwrap_or_default(), queries.as_deref().unwrap_or_default()]).map_err(wrong)?;

        let chosen = |own: &Option<Vec<ImageFile>>, which: &RowSet| -> Vec<(PathBuf, usize)> {
            let from = own.as_deref().unwrap_or(&base);
            which.iter().map(|i| (from[i].path.clone(), from[i].rows(patch))).collect()
        };
        let (train_files, query_files) = (chosen(&train, &parts.train), chosen(&queries, &parts.queries));
        let count = |files: &[(PathBuf, usize)], wanted: Option<usize>, default: usize, part: &str| {
            let rows: usize = files.iter().map(|(_, rows)| rows).sum();
            match wanted {
                None => Ok(rows.min(default)),
                Some(wanted) if (1..=rows).contains(&wanted) => Ok(wanted),
                Some(wanted) => Err(wrong(format!(
                    "{wanted} {part} patches are requested, but its images have {rows}; use 1 to {rows}"
                ))),
            }
        };
        let train_rows = count(&train_files, split.train_patches, usize::MAX, "training")?;
        let query_rows = count(&query_files, split.query_patches, QUERIES, "query")?;
        let mut pictures = Vec::new();
        let mut rows = 0;
        for image in parts.base.iter().map(|i| &base[i]) {
            let (across, down) = image.size.patches(patch);
            let (name, first_row) = (image.name.clone(), rows);
            pictures.push(Picture { name, width: across * patch, height: down * patch, first_row });
            rows += across * down;
        }
        let lists = [("base", Some(&base)), ("train", train.as_ref()), ("queries", queries.as_ref())];
        let contents = lists.into_iter().filter_map(|(part, images)| Some(format!("{part}:{}", digest_of(images?))));
        let contents: Vec<String> = contents.collect();
        let summary = Summary {
            name: name.to_owned(),
            dim: patch * patch * CHANNELS,
            train: train_rows,
            base: rows,
            queries: query_rows,
            metric,
            labelled: false,
            judged: false,
            // Rows of unit length are no longer pixels.
            signal: (metric != MetricSpace::Cosine).then_some(Signal::Images { patch, channels: CHANNELS, pictures }),
            fingerprint: format!("images {} patch {patch} {metric} {split:?}", contents.join(" ")),
        };
        let base = chosen(&None, &parts.base);
        Ok(ImagePlan { summary, patch, train: train_files, base, queries: query_files, seed: split.seed })
    }

    /// Reads training and query patches, and the base patches if they are to be held.
    ///
    /// # Errors
    /// Content that is malformed or has changed since its header was read.
    pub fn open(&self, hold: bool) -> Result<Opened, DatasetError> {
        let Summary { name, metric, signal, .. } = &self.summary;
        let part = |files: &[(PathBuf, usize)], wanted: usize, stream: u64| {
            let mut rows = self.part(files, wanted, stream)?;
            if *metric == MetricSpace::Cosine {
                let rows = rows.as_slice_mut().unwrap_or_default();
                rows.chunks_exact_mut(self.summary.dim).for_each(to_unit_length);
            }
            Ok::<_, DatasetError>(rows)
        };
        let train = part(&self.train, self.summary.train, TRAIN_STREAM)?;
        let base = match hold {
            true => BaseRows::from(part(&self.base, self.summary.base, 0)?),
            false => BaseRows::there((self.summary.base, self.summary.dim), Arc::new(self.clone())),
        };
        let queries = part(&self.queries, self.summary.queries, QUERY_STREAM)?;
        let (name, signal) = (name.clone(), signal.clone());
        Ok(Opened { name, metric: *metric, train, base, queries, labels: None, judgments: None, signal })
    }

    /// All patches of a picture.
    fn patches(&self, path: &Path, expected: usize) -> Result<Array2<f32>, DatasetError> {
        let rows = read_picture(path, self.patch)?;
        if rows.nrows() != expected {
            let reason = format!("{} has {} patches for {expected}", path.display(), rows.nrows());
            return Err(DatasetError::Shape { name: self.summary.name.clone(), reason });
        }
        Ok(rows)
    }

    /// `wanted` patches of the files, in their order.
    fn part(&self, files: &[(PathBuf, usize)], wanted: usize, stream: u64) -> Result<Array2<f32>, DatasetError> {
        let total: usize = files.iter().map(|(_, rows)| rows).sum();
        let mut chosen: Vec<usize> = (0..total).collect();
        if wanted < total {
            let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
            rng.set_stream(stream);
            chosen.shuffle(&mut rng);
            chosen.truncate(wanted);
            chosen.sort_unstable();
        }
        let mut jobs = Vec::new();
        let (mut start, mut taken) = (0, &chosen[..]);
        for (path, rows) in files {
            let (here, later) = taken.split_at(taken.partition_point(|&row| row < start + rows));
            jobs.push((path, *rows, start, here));
            (start, taken) = (start + rows, later);
        }
        let read = |(path, expected, start, here): (&PathBuf, usize, usize, &[usize])| {
            let rows = self.patches(path, expected)?;
            Ok(here.iter().flat_map(|&row| rows.row(row - start).to_vec()).collect::<Vec<f32>>())
        };
        let pieces = jobs.into_par_iter().map(read).collect::<Result<Vec<_>, DatasetError>>()?;
        let rows = Array2::from_shape_vec((wanted, self.summary.dim), pieces.concat());
        rows.map_err(|e| DatasetError::Shape { name: self.summary.name.clone(), reason: e.to_string() })
    }
}

/// The patches of the base pictures, picture by picture.
struct PatchStream<'a> {
    plan: &'a ImagePlan,
    next: usize,
    /// Patches that were read and not yet given.
    left: Vec<f32>,
}

impl RowSource for ImagePlan {
    fn open(&self) -> Result<Box<dyn RowStream + '_>, DatasetError> {
        Ok(Box::new(PatchStream { plan: self, next: 0, left: Vec::new() }))
    }
}

impl RowStream for PatchStream<'_> {
    fn next(&mut self, count: usize, rows: &mut Vec<f32>) -> Result<(), DatasetError> {
        let dim = self.plan.summary.dim;
        while self.left.len() < count * dim
            && let Some((path, expected)) = self.plan.base.get(self.next)
        {
            let first = self.left.len();
            self.left.extend(self.plan.patches(path, *expected)?.iter());
            if self.plan.summary.metric == MetricSpace::Cosine {
                self.left[first..].chunks_exact_mut(dim).for_each(to_unit_length);
            }
            self.next += 1;
        }
        rows.clear();
        rows.extend(self.left.drain(..count * dim));
        Ok(())
    }
}

impl ImageFile {
    fn rows(&self, patch: usize) -> usize {
        let (across, down) = self.size.patches(patch);
        across * down
    }
}

fn found(path: PathBuf, patch: usize, digests: &mut Digests) -> Result<ImageFile, DatasetError> {
    let size = picture_size(&path)?;
    if size.patches(patch).0 * size.patches(patch).1 == 0 {
        let Size { width, height } = size;
        let reason = format!("its {width}×{height} pixels do not fill one patch of {patch}×{patch}");
        return Err(DatasetError::Malformed { path, format: "picture", reason });
    }
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    // The name of a file in the run folder.
    let name = stem.chars().map(|c| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '-' }).collect();
    let digest = digests.of_file(path.clone())?;
    Ok(ImageFile { path, name, size, digest })
}

/// Names of base images are unique, and no image is there twice.
fn differ(lists: [&[ImageFile]; 3]) -> Result<(), String> {
    let mut names = HashSet::new();
    if let Some(image) = lists[0].iter().find(|image| !names.insert(&image.name)) {
        return Err(format!("two of its images are called `{}`; rename one of them", image.name));
    }
    let mut digests = HashSet::new();
    match lists.into_iter().flatten().find(|image| !digests.insert(&image.digest)) {
        None => Ok(()),
        Some(image) => Err(format!(
            "the content of {} is there twice; train, base and query images must be disjoint",
            image.path.display()
        )),
    }
}

/// One digest of the names and contents of images.
fn digest_of(images: &[ImageFile]) -> String {
    let mut hasher = Sha256::new();
    images.iter().for_each(|image| hasher.update(format!("{} {}\n", image.digest, image.name)));
    hasher.finalize().iter().map(|b| format!("{b:02x}")).collect()
}

impl ImageSplit {
    /// Divides the images.
    fn parts(&self, images: Holdings) -> Result<Parts, String> {
        let own = usize::from(images.train.is_none()) + usize::from(images.queries.is_none());
        if images.base <= own {
            return Err(format!(
                "{} image{} cannot be held out for {} parts; give more images, `train:` and `queries:` images of their own, \
                 or cut up one image by rows with `path: photo.png#8`",
                images.base,
                if images.base == 1 { "" } else { "s" },
                own + 1
            ));
        }
        let queries = match (&self.queries, images.queries) {
            (None, None) => Some(RowSelection::Count((images.base / 10).max(1))),
            (given, _) => given.clone(),
        };
        let (train, base) = (self.train.clone(), self.base.clone());
        Split { train, base, queries, seed: self.seed, numpy_seed: None }.parts_of(images, IMAGE)
    }
}
