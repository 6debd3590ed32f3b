//! Facts of a dataset that do not depend on a method: variance, Gaussian bound, exact neighbours. They are computed
//! once per run and kept in the run folder.

mod base;

use crate::clock::PhaseClock;
use crate::vectors;
use base::{BaseFacts, Wanted};
use cpu::Isa;
use datasets::gaussian_bound;
use datasets::outliers::{self, FAR};
use datasets::{DatasetError, FileTruth, Judgments, Opened, Part, Resolved, Unused};
use record::{DatasetFacts, DroppedFacts, FileTruthFacts, JudgmentFacts, OutlierFacts};

/// Number of points of the bound that are kept for drawing.
const BOUND_POINTS: usize = 160;

/// Largest file of facts that is read, in bytes.
pub(crate) const MAX_FACTS: u64 = 1 << 30;

/// The exact neighbours of each query, by row number, nearest first.
pub type Truth = Vec<Vec<u32>>;

/// Computes facts and the `depth` nearest neighbours of each query, by kernels of `isa`. Neighbours that are `known` are
/// taken as they are. `resolved` is what the vectors were opened from. `clock` is told the phases, and `progress` is called with the number of base rows read so far, and of all that are to
/// be read.
///
/// # Errors
/// Vectors that cannot be used, neighbours that come with them and cannot be read; those of `progress`.
pub fn compute<E: From<DatasetError>>(
    data: &Opened,
    resolved: &Resolved,
    depth: usize,
    known: Option<Truth>,
    isa: Isa,
    clock: &mut PhaseClock,
    progress: &mut dyn FnMut(usize, usize) -> Result<(), E>,
) -> Result<(DatasetFacts, Truth), E> {
    let file_truth = resolved.file_truth(depth)?;
    let wanted = (depth > 0 && known.is_none())
        .then(|| Wanted { depth, among: file_truth.as_ref().and_then(FileTruth::candidates) });
    let BaseFacts { variance, spectrum, truth, profile } = base::read(data, resolved, wanted, isa, clock, progress)?;
    // Without a depth, every query has no neighbours.
    let truth = known.or(truth).unwrap_or_else(|| vec![Vec::new(); data.queries.nrows()]);
    let facts = DatasetFacts {
        name: data.name.clone(),
        dim: data.dim(),
        train: data.train.nrows(),
        base: data.base.nrows(),
        queries: data.queries.nrows(),
        metric_space: data.metric.to_string(),
        fingerprint: resolved.summary.fingerprint.clone(),
        variance,
        bound: gaussian_bound::curve(&spectrum, BOUND_POINTS),
        spectrum,
        signal: data.signal.as_ref().map(recorded),
        train_on_base: resolved.trains_on_base(),
        outliers: outliers(data, resolved),
        dropped: dropped(resolved),
        file_truth: file_truth.and_then(|truth| file_truth_facts(truth, depth)),
        vectors: profile.map(|profile| vectors::facts(&profile, |row| resolved.place(Part::Base, row))),
        judgments: data.judgments.as_ref().map(judged),
        preparation: None,
    };
    Ok((facts, truth))
}

/// What is known of the relevance of rows.
pub(crate) fn judged(judgments: &Judgments) -> JudgmentFacts {
    let (judged, queries) = (judgments.judged(), judgments.relevant.len());
    JudgmentFacts { judged, queries, left_out: judgments.left_out }
}

/// Training rows that are much longer than the others.
fn outliers(data: &Opened, resolved: &Resolved) -> Option<OutlierFacts> {
    let found = outliers::find(data.train.view())?;
    let first = resolved.place(Part::Train, found.first);
    Some(OutlierFacts { count: found.count, first, factor: found.factor, from: FAR })
}

/// The rows that the dataset's entry leaves out.
pub(crate) fn dropped(resolved: &Resolved) -> Vec<DroppedFacts> {
    let facts = |rows: &datasets::DroppedRows| DroppedFacts {
        part: rows.part.adjective().to_owned(),
        of: rows.of,
        non_finite: rows.non_finite,
        zeros: rows.zeros,
        duplicates: rows.duplicates,
    };
    resolved.dropped().iter().map(facts).collect()
}

/// What became of the neighbours in the files; None if there are none, or they agree and none are needed.
///
/// # Errors
/// Files that cannot be read.
pub(crate) fn file_truth(resolved: &Resolved, depth: usize) -> Result<Option<FileTruthFacts>, DatasetError> {
    Ok(resolved.file_truth(depth)?.and_then(|truth| file_truth_facts(truth, depth)))
}

fn file_truth_facts(truth: FileTruth, depth: usize) -> Option<FileTruthFacts> {
    let check = truth.check;
    (depth > 0 || check.unused == Some(Unused::Contradiction)).then(|| FileTruthFacts {
        file: check.file,
        queries: check.queries,
        agreement: check.agreement,
        explained_by: check.explained_by.map(|metric| metric.to_string()),
        used: check.unused.is_none(),
        unused_because: match check.unused {
            Some(Unused::Because(reason)) => Some(reason),
            Some(Unused::Contradiction) | None => None,
        },
    })
}

/// Converted to the result schema, which does not depend on datasets.
fn recorded(signal: &datasets::Signal) -> record::SignalFacts {
    match signal {
        datasets::Signal::Frames { per_second } => record::SignalFacts::Frames { per_second: *per_second },
        datasets::Signal::Images { patch, channels, pictures } => {
            let picture = |p: &datasets::Picture| record::PictureFacts {
                name: p.name.clone(),
                width: p.width,
                height: p.height,
                first_row: p.first_row,
            };
            record::SignalFacts::Images {
                patch: *patch,
                channels: *channels,
                pictures: pictures.iter().map(picture).collect(),
            }
        }
    }
}
