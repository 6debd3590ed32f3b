//! Passes the rows of a file through some work, block by block; one thread reads ahead.

use super::pace::{BLOCKS, Pace};
use super::{Coded, Coding, CodingError, changed, unwritten};
use crate::machine;
use datasets::DatasetError;
use datasets::format::{Blocks, FileLayout};
use record::{AtomicFile, remove_leftovers};
use std::io::{BufWriter, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::Instant;

/// A conversion of the rows of a file.
pub(super) struct Job<'a> {
    /// Rows and columns of the input.
    pub(super) shape: (usize, usize),
    /// The rows of the input that are written.
    pub(super) rows: Range<usize>,
    /// What the output holds besides its rows.
    pub(super) layout: &'a FileLayout,
    /// Bytes needed per row besides the row itself while it is processed.
    pub(super) made_bytes: usize,
}

/// A block of rows.
pub(super) struct Block<'a> {
    /// Number of the first row, in the output.
    pub(super) first: usize,
    /// Number of rows.
    pub(super) count: usize,
    /// Their values, row-major.
    pub(super) values: &'a [f32],
}

/// Passes every row of the input through `work` and writes the results to the output, which appears when it is
/// complete.
pub(super) fn stream(
    coding: Coding<'_>,
    job: &Job<'_>,
    mut work: impl FnMut(Block<'_>, &mut BufWriter<AtomicFile>) -> Result<(), CodingError>,
) -> Result<Coded, CodingError> {
    let Coding { input, output, memory, interrupt, progress } = coding;
    let dim = job.shape.1;
    let Range { start, end } = job.rows;
    let mut pace = Pace::new(input, job.shape, job.made_bytes, memory)?;
    remove_leftovers(output);
    let mut file = BufWriter::with_capacity(1 << 16, AtomicFile::create(output)?);
    let begun = Instant::now();
    progress(0, end);
    file.write_all(&job.layout.head).map_err(unwritten(output))?;
    std::thread::scope(|scope| {
        let (ask, asked) = mpsc::channel::<(usize, Vec<f32>)>();
        let (give, given) = mpsc::channel();
        scope.spawn(move || read_ahead(input, &asked, &give));
        for _ in 0..BLOCKS {
            let _ = ask.send((pace.rows(), Vec::new()));
        }
        let mut done = 0;
        while done < end {
            if interrupt.load(Ordering::SeqCst) {
                return Err(CodingError::Interrupted { path: output.to_owned() });
            }
            let (count, values) = given.recv().map_err(|_| changed(input))??;
            if count == 0 || values.len() != count * dim {
                return Err(changed(input));
            }
            let (from, to) = (start.saturating_sub(done).min(count), count.min(end - done));
            if from < to {
                let values = &values[from * dim..to * dim];
                work(Block { first: done + from - start, count: to - from, values }, &mut file)?;
            }
            done += to;
            progress(done, end);
            pace.keep(count)?;
            let _ = ask.send((pace.rows(), values));
        }
        Ok(())
    })?;
    file.write_all(&job.layout.tail).map_err(unwritten(output))?;
    let file = file.into_inner().map_err(|error| unwritten(output)(error.into_error()))?;
    file.commit()?;
    Ok(Coded { rows: end - start, seconds: begun.elapsed().as_secs_f64(), peak_bytes: machine::peak_rss_bytes() })
}

/// Reader thread: answers each request with the next block, until the file ends or no one requests more.
fn read_ahead(
    path: &Path,
    asked: &mpsc::Receiver<(usize, Vec<f32>)>,
    give: &mpsc::Sender<Result<(usize, Vec<f32>), DatasetError>>,
) {
    let mut blocks = match Blocks::open(path) {
        Ok(blocks) => blocks,
        Err(error) => {
            let _ = give.send(Err(error));
            return;
        }
    };
    for (rows, mut values) in asked {
        let block = blocks.next(rows, &mut values).map(|count| (count, values));
        let more = block.as_ref().is_ok_and(|(count, _)| *count > 0);
        if give.send(block).is_err() || !more {
            return;
        }
    }
}
