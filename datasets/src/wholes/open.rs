//! Reads the rows of whole files: training and query rows, and the base rows if they are to be held. Otherwise base rows are
//! read file by file.

use super::{Kind, WholePart, as_expected};
use crate::base_rows::{BaseRows, RowSource, RowStream};
use crate::opened::{Opened, to_unit_length};
use crate::{DatasetError, MetricSpace, Summary};
use ndarray::Array2;
use std::path::Path;
use std::sync::Arc;

/// Gives all rows of a file.
type ReadFile = Arc<dyn Fn(&Path) -> Result<Array2<f32>, DatasetError> + Send + Sync>;

/// Opens the training, base and query rows of a dataset.
///
/// # Errors
/// Those of `read`, and files that have changed since their headers were read.
pub(crate) fn open(
    summary: &Summary,
    [train, base, queries]: [&WholePart; 3],
    kind: Kind,
    read: ReadFile,
    hold: bool,
) -> Result<Opened, DatasetError> {
    let part = |part: &WholePart| {
        let mut rows = part.load(&summary.name, summary.dim, kind, &*read)?;
        scale(summary, rows.as_slice_mut().unwrap_or_default());
        Ok::<_, DatasetError>(rows)
    };
    let (train, queries) = (part(train)?, part(queries)?);
    let base = match hold {
        true => BaseRows::from(part(base)?),
        false => {
            let files = WholeFilesOfBase { summary: summary.clone(), part: base.clone(), kind, read };
            BaseRows::there((summary.base, summary.dim), Arc::new(files))
        }
    };
    let (name, signal) = (summary.name.clone(), summary.signal.clone());
    Ok(Opened { name, metric: summary.metric, train, base, queries, labels: None, judgments: None, signal })
}

/// Scales rows to unit length if the metric requires it.
fn scale(summary: &Summary, rows: &mut [f32]) {
    if summary.metric == MetricSpace::Cosine {
        rows.chunks_exact_mut(summary.dim).for_each(to_unit_length);
    }
}

/// The files of the base rows, of which every row is used.
struct WholeFilesOfBase {
    summary: Summary,
    part: WholePart,
    kind: Kind,
    read: ReadFile,
}

struct Stream<'a> {
    source: &'a WholeFilesOfBase,
    /// The next file.
    next: usize,
    /// Rows that were read and not yet given.
    left: Vec<f32>,
}

impl RowSource for WholeFilesOfBase {
    fn open(&self) -> Result<Box<dyn RowStream + '_>, DatasetError> {
        Ok(Box::new(Stream { source: self, next: 0, left: Vec::new() }))
    }
}

impl RowStream for Stream<'_> {
    fn next(&mut self, count: usize, rows: &mut Vec<f32>) -> Result<(), DatasetError> {
        let WholeFilesOfBase { summary, part, kind, read } = self.source;
        while self.left.len() < count * summary.dim
            && let Some((path, expected)) = part.files.get(self.next)
        {
            let first = self.left.len();
            let file = as_expected(read(path)?, &summary.name, *kind, path, (*expected, summary.dim))?;
            self.left.extend(file.iter());
            scale(summary, &mut self.left[first..]);
            self.next += 1;
        }
        rows.clear();
        rows.extend(self.left.drain(..count * summary.dim));
        Ok(())
    }
}
