//! Rows of a file through a quantizer within a budget of memory: one thread reads ahead, the others compute, and what
//! they make is written as it comes. The file may be larger than the budget, and than the machine's memory.

use crate::errors::Mistakes;
use crate::progress::RowProgress;
use clap::Args;
use datasets::DatasetError;
use datasets::format::Blocks;
use experiments::{ByteSize, machine};
use record::{AtomicFile, remove_leftovers};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Instant;

/// How much memory to take.
#[derive(Args, Clone, Copy)]
pub struct Budget {
    /// Memory that this process stays below, such as 512MiB or 2GB, whatever the size of the file
    #[arg(long, value_name = "SIZE", default_value = "1GiB")]
    memory: ByteSize,
}

/// Rows to be turned into other rows.
pub struct Job<'a> {
    /// Where they are.
    pub input: &'a Path,
    /// Rows and columns.
    pub shape: (usize, usize),
    /// Where the others go.
    pub output: &'a Path,
    /// What the output begins with.
    pub head: &'a [u8],
    /// Bytes per row that are held beside the row itself while the others are made.
    pub made_bytes: usize,
}

/// Rows as they are handed to the work: their number in the file, and their values.
pub struct Block<'a> {
    /// Number of the first.
    pub first: usize,
    /// How many there are.
    pub count: usize,
    /// Row-major.
    pub values: &'a [f32],
}

/// What was done.
pub struct Summary {
    seconds: f64,
    rows: usize,
    peak: Option<u64>,
}

impl Summary {
    /// How long it took, and how much memory.
    pub fn words(&self) -> String {
        let rate = self.rows as f64 / self.seconds.max(1e-9);
        let peak = self.peak.map_or_else(String::new, |bytes| format!(", in at most {} of memory", mebibytes(bytes)));
        format!("in {:.2} s ({rate:.0} per second){peak}", self.seconds)
    }
}

/// Values in the first block, and the most in any: enough to keep all threads busy, and no more, since larger blocks take
/// memory and win nothing.
const FIRST_BLOCK: usize = 1 << 18;
const LARGEST_BLOCK: usize = 1 << 23;

/// Blocks in memory at a time: one is read while the other is worked on.
const BLOCKS: usize = 2;

/// Room for what threads and the allocator take at the beginning.
const SLACK: u64 = 6 << 20;

/// The process without a model, where the system does not tell.
const PROGRAM: u64 = 32 << 20;

/// Set by Ctrl-C and by the end of a session.
static INTERRUPT: AtomicBool = AtomicBool::new(false);

impl Budget {
    /// Passes every row of the input through `work` and puts what it writes into the output, which appears when all is
    /// done. Without result: it was interrupted, and there is no output.
    pub fn stream(
        self,
        job: &Job<'_>,
        mut work: impl FnMut(Block<'_>, &mut BufWriter<AtomicFile>) -> Result<(), Mistakes>,
    ) -> Result<Option<Summary>, Mistakes> {
        // Whoever cannot install it was here before.
        let _ = ctrlc::set_handler(|| INTERRUPT.store(true, Ordering::SeqCst));
        let (n, dim) = job.shape;
        let row_bytes = (BLOCKS * 4 * dim + job.made_bytes) as u64;
        let mut pace = self.pace(job, row_bytes)?;
        remove_leftovers(job.output);
        let mut output = BufWriter::with_capacity(1 << 16, AtomicFile::create(job.output)?);
        let begun = Instant::now();
        let mut progress = RowProgress::new(n);
        output.write_all(job.head).map_err(unwritten(job.output))?;
        let whole = std::thread::scope(|scope| {
            let (ask, asked) = mpsc::channel::<(usize, Vec<f32>)>();
            let (give, given) = mpsc::channel();
            scope.spawn(move || read_ahead(job.input, &asked, &give));
            for _ in 0..BLOCKS {
                let _ = ask.send((pace.rows, Vec::new()));
            }
            let mut done = 0;
            while done < n {
                if INTERRUPT.load(Ordering::SeqCst) {
                    return Ok(false);
                }
                let (count, values) = given.recv().map_err(|_| changed(job.input))??;
                if count == 0 || values.len() != count * dim {
                    return Err(changed(job.input));
                }
                work(Block { first: done, count, values: &values }, &mut output)?;
                done += count;
                progress.advance(count);
                self.keep(&mut pace, count)?;
                let _ = ask.send((pace.rows, values));
            }
            Ok(true)
        })?;
        if !whole {
            return Ok(None);
        }
        let file = output.into_inner().map_err(|error| unwritten(job.output)(error.into_error()))?;
        file.commit()?;
        Ok(Some(Summary { seconds: begun.elapsed().as_secs_f64(), rows: n, peak: machine::peak_rss_bytes() }))
    }

    /// The size of the first block; a budget that has no room even for that is told before any work.
    fn pace(self, job: &Job<'_>, row_bytes: u64) -> Result<Pace, Mistakes> {
        let n = job.shape.0;
        // Of what goes in and what comes out, the wider decides.
        let width = job.shape.1.max(job.made_bytes / 4);
        let working = Blocks::open(job.input)?.working_bytes()?;
        let first = (FIRST_BLOCK / width).clamp(1, n.max(1));
        let before = machine::rss_bytes().unwrap_or(PROGRAM);
        let blocks = first as u64 * row_bytes + SLACK;
        let needed = (before + working + blocks).max(machine::peak_rss_bytes().unwrap_or(0));
        if needed > self.memory.0 {
            let message = format!(
                "`--memory {}` is too little: the program and the model take {}, reading {} takes {}, blocks of rows at least {}",
                self.memory,
                mebibytes(before),
                job.input.display(),
                mebibytes(working),
                mebibytes(blocks)
            );
            return Err(Mistakes::new(message, enough(needed)));
        }
        let most = (LARGEST_BLOCK / width).clamp(1, n.max(1));
        // Where the system does not tell what is taken, a method is trusted to take no more than the rows do.
        let blind = ((self.memory.0 - before.min(self.memory.0)) / 4 / row_bytes.max(1)) as usize;
        Ok(Pace { rows: first, tried: 0, most, blind: blind.max(first), base: before })
    }

    /// Sees to it that the next block fits too.
    fn keep(self, pace: &mut Pace, worked_on: usize) -> Result<(), Mistakes> {
        let peak = machine::peak_rss_bytes();
        if let Some(peak) = peak.filter(|peak| *peak > self.memory.0) {
            let message = format!("`--memory {}` is too little: {} were taken", self.memory, mebibytes(peak));
            return Err(Mistakes::new(message, enough(peak)));
        }
        pace.adapt(worked_on, peak, self.memory.0);
        Ok(())
    }
}

/// The size of blocks, which grows as long as memory allows. How much a method takes per row is not known before: it is
/// seen on small blocks.
#[derive(Debug)]
struct Pace {
    /// Rows of the next block.
    rows: usize,
    /// Blocks of that size that were worked on.
    tried: usize,
    /// Rows of the largest.
    most: usize,
    /// The same where memory cannot be measured.
    blind: usize,
    /// Bytes taken before the first.
    base: u64,
}

impl Pace {
    /// After a block: doubles its size if what blocks have taken so far could double within nine tenths of the budget. That
    /// is known when as many of the present size were worked on as there are at a time.
    fn adapt(&mut self, worked_on: usize, peak: Option<u64>, budget: u64) {
        self.tried += usize::from(worked_on == self.rows);
        let fits = match peak {
            Some(peak) => peak.saturating_add(peak.saturating_sub(self.base)) <= budget / 10 * 9,
            None => 2 * self.rows <= self.blind,
        };
        if fits && self.tried >= BLOCKS && self.rows < self.most {
            self.rows = (2 * self.rows).min(self.most);
            self.tried = 0;
        }
    }
}

/// Answers every wish for a block with the next one, until there is none left or nobody asks.
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

/// Says that nothing was written.
pub fn interrupted(output: &Path) -> ExitCode {
    say_aside!("interrupted: {} was not written", output.display());
    ExitCode::from(130)
}

/// The system's refusal to write.
pub fn unwritten(path: &Path) -> impl Fn(std::io::Error) -> Mistakes {
    move |error| {
        let message = format!("cannot write {}: {error}", path.display());
        Mistakes::new(message, "write to another folder, or make room in this one")
    }
}

fn changed(path: &Path) -> Mistakes {
    Mistakes::new(format!("{} changed while it was read", path.display()), "run this again when nobody writes to it")
}

fn enough(bytes: u64) -> String {
    // A quarter more, so that blocks have room to grow, in whole steps of 16 MiB.
    format!("give at least `--memory {}MiB`", (bytes + bytes / 4).div_ceil(1 << 20).next_multiple_of(16))
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_grow_while_what_they_take_could_double() {
        const MIB: u64 = 1 << 20;
        let mut pace = Pace { rows: 100, tried: 0, most: 1000, blind: 150, base: 20 * MIB };
        let rows = |pace: &mut Pace, peak| {
            for _ in 0..BLOCKS {
                pace.adapt(pace.rows, peak, 100 * MIB);
            }
            pace.rows
        };
        assert_eq!(rows(&mut pace, Some(30 * MIB)), 200);
        pace.adapt(100, Some(30 * MIB), 100 * MIB);
        pace.adapt(200, Some(30 * MIB), 100 * MIB);
        assert_eq!(pace.rows, 200, "one of them was asked for before");
        assert_eq!(rows(&mut pace, Some(54 * MIB)), 400, "34 more would make 88");
        assert_eq!(rows(&mut pace, Some(56 * MIB)), 400, "36 more would make 92");
        assert_eq!(rows(&mut pace, Some(u64::MAX)), 400);
        assert_eq!(rows(&mut pace, None), 400, "beyond what is safe to guess");
        pace.blind = 10_000;
        assert_eq!((rows(&mut pace, None), rows(&mut pace, None)), (800, 1000));
    }
}
