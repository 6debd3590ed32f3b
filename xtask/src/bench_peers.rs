//! `bench-peers`: times our methods and FAISS alternately, on the same vectors, in one run, with their quality and
//! their share of the machine's limits.

mod data;
mod limits;
mod measure;
mod outcome;
mod peer;
mod python;
mod rows;
mod session;
mod table;
mod tidy;

use crate::errors::Mistakes;
use clap::Args;
use data::Data;
use experiments::{Seconds, Surroundings, machine};
use measure::{Ours, PairedTiming, RowFailure};
use methods::backend::CpuBackend;
use methods::{Cancel, Context};
use outcome::{RowEnd, RowOutcome};
use peer::PeerError;
use record::{RecordError, RunFolder, RunInfo, SCHEMA, TrialRecord, write_atomically};
use rows::Row;
use serde_json::json;
use session::{Greeting, PeerSession, SCRIPT, SCRIPT_TEXT};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use table::{Heading, RunDescription};

/// Set by Ctrl-C.
static INTERRUPT: AtomicBool = AtomicBool::new(false);

/// Seed of our fits.
const SEED: u64 = 1;

/// Folder of the script and of the vectors that the peer reads, below the run folder; removed at the end.
const SCRATCH: &str = "peer";

#[derive(Args)]
#[command(
    after_help = "The peer is FAISS in the version that xtask/peers/requirements.txt pins. The first run creates a Python environment for it \
in the user's cache folder, from PyPI. That needs Python 3.10 or later with `venv`, and the network, once.

Both sides run alternately, on the same vectors and with the same number of threads: 100,000 uniform rows of 128 components, the \
embedded wordnet-minilm-384, and siftsmall if it is on this machine (`cargo xtask datasets fetch siftsmall`). The slowest rows take minutes; `--only` selects some:
  cargo xtask bench-peers --only search --data synthetic

The output folder gets peers.md, and results.csv and results.parquet with every repeat; each row is written when it ends. METHODOLOGY.md \
explains how rows are measured.

Exit codes: 0 every row reaches its aim (with `--quick`: every row could be measured), 1 a row misses its aim or failed, 2 Python or \
FAISS is missing, or the request is wrong."
)]
pub struct Arguments {
    /// Run only the rows whose name contains TEXT, such as pq16x8 or search
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Vectors: `synthetic`, or a dataset of the catalog; repeat the flag for several [default: synthetic, wordnet-minilm-384, siftsmall]
    #[arg(long = "data", value_name = "NAME")]
    data: Vec<String>,
    /// Timings of each side; slow rows take fewer
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    repeats: u16,
    /// Threads of each side [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Use few vectors, to see whether everything works
    #[arg(long)]
    quick: bool,
    /// Python interpreter; if it lacks FAISS, an environment is created with it
    #[arg(long, value_name = "PATH", default_value = "python3")]
    python: PathBuf,
    /// Time limit for one timing of FAISS
    #[arg(long, value_name = "DURATION", default_value = "20m")]
    timeout: Seconds,
    /// Folder of the results
    #[arg(long, value_name = "DIR", default_value = "runs/bench-peers")]
    out: PathBuf,
}

pub fn run(arguments: Arguments, here: &Surroundings) -> Result<ExitCode, Mistakes> {
    let only = arguments.only.as_deref().unwrap_or_default();
    let read = |only: &str| {
        rows::read(only).map_err(|e| {
            Mistakes::new(format!("xtask/peers/rows.toml: {e}"), "this is a bug in vqbench: please report it")
        })
    };
    let rows = read(only)?;
    if rows.is_empty() {
        let all = read("")?;
        let names: Vec<&str> = all.iter().map(|row| row.name.as_str()).collect();
        let message = format!("no row matches `--only {only}`");
        return Err(Mistakes::new(message, format!("rows are {}", names.join(", "))));
    }
    let rows: Vec<Row> = if arguments.quick { rows.into_iter().map(Row::quick).collect() } else { rows };
    let names = data::names(&arguments.data, arguments.quick, &here.search)?;
    if cfg!(debug_assertions) {
        let help = "run it as `cargo xtask bench-peers`, which builds with optimization";
        return Err(Mistakes::new("a debug build is too slow for meaningful timings", help));
    }
    let python = python::interpreter(&arguments.python)?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(arguments.threads.map_or(0, usize::from)).build();
    let pool =
        pool.map_err(|e| Mistakes::new(format!("threads could not be started: {e}"), "use fewer `--threads`"))?;
    let cancel = Cancel::default();
    let flag = cancel.clone();
    // The first Ctrl-C ends the run with what it has; a second one does not wait.
    let _ = ctrlc::set_handler(move || {
        flag.cancel();
        if INTERRUPT.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
    });
    pool.install(|| compare(&arguments, &rows, &names, python, cancel, here))
}

/// Everything after the checks, on the pool that ours is to run on.
fn compare(
    arguments: &Arguments,
    rows: &[Row],
    names: &[String],
    python: PathBuf,
    cancel: Cancel,
    here: &Surroundings,
) -> Result<ExitCode, Mistakes> {
    let (threads, isa, quick) = (rayon::current_num_threads(), here.devices.isa, arguments.quick);
    let folder = RunFolder::new(&arguments.out);
    if folder.load().is_ok_and(|run| run.info.name != tidy::EXPERIMENT) {
        return Err(RecordError::Foreign { path: arguments.out.clone() }.into());
    }
    let _lock = folder.prepare()?;
    let scratch = Scratch::new(folder.root())?;
    let mut session = PeerSession::new(python, scratch.0.clone(), threads, arguments.timeout.duration(), &INTERRUPT);
    let greeting = greet(&mut session).inspect_err(|_| {
        scratch.remove();
        folder.withdraw();
    })?;
    say_aside!("measuring the peaks of this machine");
    let (limits, processor_share) = limits::measure(isa, quick);
    let machine = machine::describe(&crate::source_tree(), isa);
    let setting = RunDescription {
        machine: machine.clone(),
        threads,
        peer: format!("FAISS {} ({})", greeting.version, greeting.options),
        limits,
        processor_share,
        quick,
    };
    let common = tidy::Common {
        machine: &machine,
        limits,
        threads,
        peer_version: &greeting.version,
        seed: SEED,
        timeout_seconds: arguments.timeout.0,
    };
    let mut results =
        PeerResults { folder: &folder, setting: &setting, headings: vec![], outcomes: vec![], records: vec![] };
    results.save()?;
    let timing = PairedTiming { repeats: usize::from(arguments.repeats), min_seconds: if quick { 0.0 } else { 0.2 } };
    for name in names {
        let Some(data) = data::load(name, !arguments.data.is_empty(), quick, &here.search)? else { continue };
        let heading =
            Heading { name: data.name.clone(), n: data.base.nrows(), dim: data.dim(), queries: data.queries.nrows() };
        results.headings.push(heading);
        data.write(&scratch.0)?;
        session.forget();
        let mut cx = Context::on(Arc::new(CpuBackend::new(isa)), SEED);
        cx.cancel = cancel.clone();
        let mut ours = Ours::new(&data, cx, isa, timing);
        for row in rows {
            let start = Instant::now();
            let Some(end) = measured(row, &data, &mut ours, &mut session) else {
                say!("{}", results.page().trim_end());
                say_aside!("interrupted: {} has the finished rows", folder.root().display());
                return Ok(ExitCode::from(1));
            };
            let outcome =
                RowOutcome { dataset: data.name.clone(), name: row.name.clone(), stage: row.stage, aim: row.aim, end };
            say_aside!("{}", progress(&outcome));
            let seconds = start.elapsed().as_secs_f64();
            results.records.extend(tidy::records(&common, &data, row, &outcome, seconds));
            results.outcomes.push(outcome);
            results.save()?;
        }
    }
    say!("{}", results.page().trim_end());
    say!("\n{}: {}", table::summary(&results.outcomes), folder.root().join("peers.md").display());
    let fine = |outcome: &RowOutcome| match &outcome.end {
        RowEnd::Measured(comparison) => quick || comparison.reaches(outcome.aim),
        RowEnd::Skipped(_) => true,
        RowEnd::Failed(_) => false,
    };
    Ok(ExitCode::from(u8::from(!results.outcomes.iter().all(fine))))
}

/// Starts the peer and sees that it is the one to compare with.
fn greet(session: &mut PeerSession<'_>) -> Result<Greeting, Mistakes> {
    let greeting = session.greet().map_err(|error| {
        let help = "name a Python with a working faiss-cpu with `--python PATH`";
        Mistakes::new(format!("FAISS cannot be used: {error}"), help)
    })?;
    if greeting.version == python::pinned_version() {
        return Ok(greeting);
    }
    let message =
        format!("this FAISS is version {}, but version {} is needed", greeting.version, python::pinned_version());
    Err(Mistakes::new(message, "leave out `--python`; the command then creates an environment"))
}

/// A row on a dataset; none when interrupted.
fn measured(row: &Row, data: &Data, ours: &mut Ours<'_>, session: &mut PeerSession<'_>) -> Option<RowEnd> {
    if let Some(reason) = row.refusal(data.dim()) {
        return Some(RowEnd::Skipped(reason));
    }
    match ours.compare(row, session) {
        Ok(comparison) => Some(RowEnd::Measured(comparison)),
        Err(RowFailure::Peer(PeerError::Interrupted)) => None,
        // A Ctrl-C at the terminal reaches the peer as well.
        Err(_) if INTERRUPT.load(Ordering::SeqCst) => None,
        Err(error) => Some(RowEnd::Failed(error.to_string())),
    }
}

/// One line while the run goes on.
fn progress(outcome: &RowOutcome) -> String {
    let RowOutcome { dataset, name, .. } = outcome;
    match &outcome.end {
        RowEnd::Measured(comparison) => {
            format!("{dataset}, {name}: {:.2} times as fast (aim: {})", comparison.ratio(), outcome.aim)
        }
        RowEnd::Skipped(reason) => format!("{dataset}, {name}: left out, {reason}"),
        RowEnd::Failed(reason) => format!("{dataset}, {name}: failed, {reason}"),
    }
}

/// What has been measured so far, and where it is kept.
struct PeerResults<'a> {
    folder: &'a RunFolder,
    setting: &'a RunDescription,
    headings: Vec<Heading>,
    outcomes: Vec<RowOutcome>,
    records: Vec<TrialRecord>,
}

impl PeerResults<'_> {
    fn page(&self) -> String {
        table::to_markdown(self.setting, &self.headings, &self.outcomes)
    }

    /// Writes everything that has ended.
    fn save(&self) -> Result<(), Mistakes> {
        for record in self.records.iter().rev().take(2) {
            self.folder.save_trial(record)?;
        }
        let info = RunInfo {
            schema: SCHEMA,
            name: tidy::EXPERIMENT.into(),
            analysis: "Ours beside FAISS on the same vectors in the same run: peers.md has the table.".into(),
            experiment: json!({ "name": tidy::EXPERIMENT, "threads": self.setting.threads, "quick": self.setting.quick }),
            machine: self.setting.machine.clone(),
            datasets: vec![],
            trials: self.records.iter().map(|record| record.trial.clone()).collect(),
            skipped: vec![],
        };
        self.folder.save_run(&info)?;
        let run = record::Run { info, records: self.records.clone(), pictures: vec![] };
        self.folder.save_tables(&run)?;
        Ok(write_atomically(&self.folder.root().join("peers.md"), self.page().as_bytes())?)
    }
}

/// A folder that goes when the run ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new(root: &Path) -> Result<Scratch, Mistakes> {
        let root = root.canonicalize().unwrap_or_else(|_| root.to_owned());
        let scratch = Scratch(root.join(SCRATCH));
        let write = || {
            std::fs::create_dir_all(&scratch.0)?;
            std::fs::write(scratch.0.join(SCRIPT), SCRIPT_TEXT)
        };
        write().map_err(|error| {
            let help = "choose another folder with `--out`, or make this one writable";
            Mistakes::new(format!("cannot write {}: {error}", scratch.0.display()), help)
        })?;
        Ok(scratch)
    }
}

impl Scratch {
    fn remove(&self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.remove();
    }
}
