//! Several images as one dataset. Whole images are held out, so that base images can be reassembled.

use crate::content::Reading;
use crate::format::picture::{CHANNELS, DEFAULT_PATCH, MAX_PATCH, Pictures, Size};
use crate::format::{Place, picture_size, read_picture};
use crate::opened::Opened;
use crate::seen::Digests;
use crate::signal::{Picture, Signal};
use crate::split::{IMAGE, RowSelection};
use crate::wholes::{self, Divided, Item, Kind, WholeFiles, WholePart, WholeSplit, Wholes};
use crate::{DatasetError, MetricSpace, Summary, format};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
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
    pub images: Wholes,
    /// Images to train on, written as in `images`. Default: some of `images`, as `split` says.
    #[serde(default)]
    pub train: Option<Wholes>,
    /// Images whose patches are the query rows, written as in `images`. Default: some of `images`, as `split` says.
    #[serde(default)]
    pub queries: Option<Wholes>,
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

/// What the files are.
const IMAGES: Kind = Kind {
    unit: IMAGE,
    one: "image",
    rows: "patches",
    single: ", or cut up one image by rows with `path: photo.png#8`",
    is_member: format::is_picture,
    extensions: || Pictures::all_extensions("or"),
};

/// Images whose headers were read, and the parts they belong to.
#[derive(Clone, Debug)]
pub(crate) struct ImagePlan {
    /// What loading will give.
    pub summary: Summary,
    patch: usize,
    train: WholePart,
    base: WholePart,
    queries: WholePart,
}

impl ImageSource {
    /// Finds the files and reads their headers and digests. `root` is the folder that relative paths start from.
    ///
    /// # Errors
    /// Whatever would make loading fail, as far as it can be seen without interpreting values.
    pub(crate) fn resolve(&self, root: &Path, digests: &mut Digests) -> Result<ImagePlan, DatasetError> {
        let files = WholeFiles::of(&self.images, self.train.as_ref(), self.queries.as_ref(), root, IMAGES)?;
        let name = self.name.clone().or_else(|| self.images.stem()).unwrap_or_default();
        ImagePlan::new(&name, files, self.patch, self.metric, &self.split, digests)
    }
}

impl ImagePlan {
    /// Reads headers and digests and divides the images.
    ///
    /// # Errors
    /// Files that are not images or hold no whole patch, images given twice, parts that are empty or overlap.
    pub fn new(
        name: &str,
        files: WholeFiles,
        patch: usize,
        metric: MetricSpace,
        split: &ImageSplit,
        digests: &mut Digests,
    ) -> Result<ImagePlan, DatasetError> {
        if !(1..=MAX_PATCH).contains(&patch) {
            let reason = format!("`patch: {patch}` is out of range; use 1 to {MAX_PATCH} pixels, such as 8");
            return Err(DatasetError::Shape { name: name.to_owned(), reason });
        }
        let open = |path| opened(path, patch);
        let identify = |images: &[Item<Size>]| identified(images, patch, digests);
        let divided = wholes::divide(name, files, &split.of_wholes(), IMAGES, open, identify)?;
        let mut pictures = Vec::new();
        let mut first_row = 0;
        for image in &divided.base_items {
            let (across, down) = image.header.patches(patch);
            pictures.push(Picture { name: image.name.clone(), width: across * patch, height: down * patch, first_row });
            first_row += image.rows;
        }
        let summary = Summary {
            name: name.to_owned(),
            dim: patch * patch * CHANNELS,
            train: divided.train.rows,
            base: divided.base.rows,
            queries: divided.queries.rows,
            metric,
            labelled: false,
            judged: false,
            // Rows of unit length are no longer pixels.
            signal: (metric != MetricSpace::Cosine).then_some(Signal::Images { patch, channels: CHANNELS, pictures }),
            fingerprint: format!("images {} patch {patch} {metric} {split:?}", divided.contents),
        };
        let Divided { train, base, queries, .. } = divided;
        Ok(ImagePlan { summary, patch, train, base, queries })
    }

    /// Reads training and query patches, and the base patches if they are to be held.
    ///
    /// # Errors
    /// Content that is malformed or has changed since its header was read.
    pub fn open(&self, hold: bool) -> Result<Opened, DatasetError> {
        let (patch, parts) = (self.patch, [&self.train, &self.base, &self.queries]);
        wholes::open(&self.summary, parts, IMAGES, Arc::new(move |path| read_picture(path, patch)), hold)
    }
}

/// The digest of the pixels of each image, whatever its format. Images are read side by side.
fn identified(images: &[Item<Size>], patch: usize, digests: &mut Digests) -> Result<Vec<String>, DatasetError> {
    let arrays: Vec<Option<PathBuf>> = images.iter().map(|image| patches_of(&image.path, patch)).collect();
    let named: Vec<(&Path, Reading)> = arrays.iter().flatten().map(|path| (path.as_path(), Reading::Rows)).collect();
    let mut contents = digests.arrays(&named, &[])?.into_iter();
    let digest = |(image, array): (&Item<Size>, &Option<PathBuf>)| match array.as_ref().and_then(|_| contents.next()) {
        Some(content) => Ok(content.sha256),
        None => digests.of_file(image.path.clone()),
    };
    images.iter().zip(&arrays).map(digest).collect()
}

/// The array of an image's patches, as a path names it; None if no path can.
fn patches_of(path: &Path, patch: usize) -> Option<PathBuf> {
    let mut place = path.as_os_str().to_owned();
    place.push(format!("#{patch}"));
    Some(PathBuf::from(place)).filter(|place| Place::of(place).file == path)
}

/// Reads the header of an image.
fn opened(path: PathBuf, patch: usize) -> Result<Item<Size>, DatasetError> {
    let size = picture_size(&path)?;
    let (across, down) = size.patches(patch);
    if across * down == 0 {
        let Size { width, height } = size;
        let reason = format!("its {width}×{height} pixels do not fill one patch of {patch}×{patch}");
        return Err(DatasetError::Malformed { path, format: "picture", reason });
    }
    Ok(Item::new(path, size, across * down))
}

impl ImageSplit {
    fn of_wholes(&self) -> WholeSplit {
        let (train, base, queries) = (self.train.clone(), self.base.clone(), self.queries.clone());
        let (train_rows, query_rows) = (self.train_patches, self.query_patches);
        WholeSplit { train, base, queries, train_rows, query_rows, seed: self.seed }
    }
}
