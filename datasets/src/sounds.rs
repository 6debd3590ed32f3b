//! Recordings as one dataset of log-mel frames. Whole recordings are held out.

use crate::catalog::{CatalogEntry, Located, SoundSet};
use crate::format::{self, read_wav, wav, wav_header};
use crate::mel::{Frames, Mel};
use crate::opened::Opened;
use crate::seen::Digests;
use crate::signal::Signal;
use crate::split::{RECORDING, RowSelection};
use crate::wholes::{self, Divided, Item, Kind, WholeFiles, WholePart, WholeSplit, Wholes};
use crate::{DatasetError, MetricSpace, SearchPath, Summary};
use ndarray::Array2;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Recordings, cut into log-mel frames. A row is one frame: the logarithms of its energy in bands of frequency. Channels are
/// mixed down to one. All recordings have the same number of samples per second; nothing is resampled. Samples at the end that
/// do not fill a frame are left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SoundSource {
    /// Recordings of the base rows, and of parts without recordings of their own. Write a .wav file, a folder (all such files
    /// in it, ordered by name), or a list of these. Relative paths start at the folder of the experiment file.
    pub wav: Wholes,
    /// Recordings to train on, written as in `wav`. Default: some of `wav`, as `split` says.
    #[serde(default)]
    pub train: Option<Wholes>,
    /// Recordings whose frames are the query rows, written as in `wav`. Default: some of `wav`, as `split` says.
    #[serde(default)]
    pub queries: Option<Wholes>,
    /// How recordings become log-mel frames.
    #[serde(default)]
    pub mel: Mel,
    /// How vectors are compared, which decides what the true nearest neighbours of a query are.
    #[serde(default)]
    pub metric: MetricSpace,
    /// Divides the recordings into training, base and query recordings. No recording is in two parts, because neighbouring
    /// frames are alike.
    #[serde(default)]
    pub split: SoundSplit,
    /// Name of the dataset in tables and figures. Default: the name of the folder or of the first file.
    #[serde(default)]
    pub name: Option<String>,
}

/// Divides whole recordings into training, base and query recordings, and says how many of their frames are used. Each part is
/// a number of recordings, drawn at random with `seed`, or a range of recording numbers. A part with recordings of its own takes
/// from those, by default all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SoundSplit {
    /// Training recordings: a number of recordings, or a range such as "0..16". Default: half of the recordings that are not for
    /// queries; all that are left if `base` is a range.
    pub train: Option<RowSelection>,
    /// Base recordings, whose frames are all encoded and searched: a number of recordings, or a range. Default: all remaining
    /// recordings.
    pub base: Option<RowSelection>,
    /// Query recordings: a number of recordings, or a range. Default: a tenth of the recordings, at least one.
    pub queries: Option<RowSelection>,
    /// Number of training frames, drawn at random from all training recordings. Set it to shorten training. Default: every
    /// frame.
    #[schemars(range(min = 1))]
    pub train_frames: Option<usize>,
    /// Number of query frames, drawn at random from all query recordings. Raise it for a more precise recall. Default: every
    /// frame, but at most 1000.
    #[schemars(range(min = 1))]
    pub query_frames: Option<usize>,
    /// Seed of the random draws of recordings and frames. Change it to draw others.
    pub seed: u64,
}

/// What the files are.
const RECORDINGS: Kind = Kind {
    unit: RECORDING,
    one: "recording",
    rows: "frames",
    single: "",
    is_member: format::is_wav,
    extensions: || format!(".{}", wav::EXTENSION),
};

/// Recordings whose headers were read, and the parts they belong to.
#[derive(Clone, Debug)]
pub(crate) struct SoundPlan {
    /// What loading will give.
    pub summary: Summary,
    frames: Frames,
    train: WholePart,
    base: WholePart,
    queries: WholePart,
}

/// The recordings of a dataset of the catalog.
///
/// # Errors
/// Files that are not here, another number of recordings than the catalog states.
pub(crate) fn located(entry: &CatalogEntry, set: &SoundSet, search: &SearchPath) -> Result<Vec<PathBuf>, DatasetError> {
    let mut files = Vec::new();
    for file in &set.files {
        let Located { path, .. } = entry.locate(file, search)?;
        files.extend(Wholes::One(path).files(Path::new(""), RECORDINGS)?);
    }
    if files.len() == set.count {
        return Ok(files);
    }
    let (found, name) = (files.len(), entry.name.clone());
    let reason = format!("{found} of its {} recordings are here; remove its folder and fetch it again", set.count);
    Err(DatasetError::Shape { name, reason })
}

impl SoundSource {
    /// Finds the files and reads their headers and digests. `root` is the folder that relative paths start from.
    ///
    /// # Errors
    /// Whatever would make loading fail, as far as it can be seen without interpreting values.
    pub(crate) fn resolve(&self, root: &Path, digests: &mut Digests) -> Result<SoundPlan, DatasetError> {
        let files = WholeFiles::of(&self.wav, self.train.as_ref(), self.queries.as_ref(), root, RECORDINGS)?;
        let name = self.name.clone().or_else(|| self.wav.stem()).unwrap_or_default();
        SoundPlan::new(&name, files, &self.mel, self.metric, &self.split, digests)
    }
}

impl SoundPlan {
    /// Reads headers and digests and divides the recordings.
    ///
    /// # Errors
    /// Files that are not recordings or hold no whole frame, several rates, recordings given twice, parts that are empty or
    /// overlap, frames that do not fit the rate.
    pub fn new(
        name: &str,
        files: WholeFiles,
        mel: &Mel,
        metric: MetricSpace,
        split: &SoundSplit,
        digests: &mut Digests,
    ) -> Result<SoundPlan, DatasetError> {
        let wrong = |reason: String| DatasetError::Shape { name: name.to_owned(), reason };
        // Those of the first recording.
        let mut first: Option<(Frames, u32, PathBuf)> = None;
        let open = |path: PathBuf| {
            let header = wav_header(&path)?;
            let (frames, rate, other) = match &mut first {
                Some(first) => first,
                none => none.insert((Frames::new(mel, header.rate).map_err(wrong)?, header.rate, path.clone())),
            };
            if header.rate != *rate {
                return Err(wrong(format!(
                    "{} has {} samples per second and {} has {rate}; nothing is resampled: convert one of them",
                    path.display(),
                    header.rate,
                    other.display()
                )));
            }
            let rows = frames.count(header.samples);
            if rows == 0 {
                let reason =
                    format!("its {} samples do not fill one frame of {} samples", header.samples, frames.samples());
                return Err(DatasetError::Malformed { path, format: "WAV", reason });
            }
            Ok(Item::new(path, (), rows))
        };
        let identify = |sounds: &[Item<()>]| sounds.iter().map(|sound| digests.of_file(sound.path.clone())).collect();
        let divided = wholes::divide(name, files, &split.of_wholes(), RECORDINGS, open, identify)?;
        let (frames, ..) = first.ok_or_else(|| wrong("it has no recordings".to_owned()))?;
        let summary = Summary {
            name: name.to_owned(),
            dim: mel.bands,
            train: divided.train.rows,
            base: divided.base.rows,
            queries: divided.queries.rows,
            metric,
            labelled: false,
            judged: false,
            signal: Some(Signal::Frames { per_second: frames.per_second() }),
            fingerprint: format!("wav {} {mel:?} {metric} {split:?}", divided.contents),
        };
        let Divided { train, base, queries, .. } = divided;
        Ok(SoundPlan { summary, frames, train, base, queries })
    }

    /// Reads training and query frames, and the base frames if they are to be held.
    ///
    /// # Errors
    /// Content that is malformed or has changed since its header was read.
    pub fn open(&self, hold: bool) -> Result<Opened, DatasetError> {
        let (name, dim, frames) = (self.summary.name.clone(), self.summary.dim, self.frames.clone());
        let read = move |path: &Path| {
            let sound = read_wav(path)?;
            let count = frames.count(sound.len());
            let mut values = Vec::with_capacity(count * dim);
            (0..count).for_each(|at| frames.append(&sound, at, &mut values));
            Array2::from_shape_vec((count, dim), values)
                .map_err(|e| DatasetError::Shape { name: name.clone(), reason: e.to_string() })
        };
        wholes::open(&self.summary, [&self.train, &self.base, &self.queries], RECORDINGS, Arc::new(read), hold)
    }
}

impl SoundSplit {
    fn of_wholes(&self) -> WholeSplit {
        let (train, base, queries) = (self.train.clone(), self.base.clone(), self.queries.clone());
        let (train_rows, query_rows) = (self.train_frames, self.query_frames);
        WholeSplit { train, base, queries, train_rows, query_rows, seed: self.seed }
    }
}
