//! `verify`: checks a submission, and runs a random sample of its trials again.

use crate::errors::Mistakes;
use crate::experiments_verb::{INTERRUPT, heed_interrupts};
use crate::progress::trials;
use crate::rerun::{Session, remarks};
use crate::submit::today;
use clap::Args;
use experiments::plan::describe;
use experiments::rerun::{Place, Rerun, RerunError};
use experiments::{ByteSize, Observer, Seconds, Surroundings, machine};
use record::{Machine, TrialRecord, write_atomically};
use site::{
    Submission, SubmissionError, TrialVerdict, UNNAMED, VERIFICATION, Verification, VerifiedTrial, sample,
    unpredictable_seed,
};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Instant;

#[derive(Args)]
#[command(
    after_help = "First every file must have the SHA-256 of the manifest, and the tables must agree with the records. Then a random sample of \
the trials runs again. Codes must be equal if instruction set and GPU are those of the record; quality must agree within the tolerances of \
METHODOLOGY.md (\"Running a trial again\"). Speed is not judged.

The result is written as verification.json into the submission, where `cargo xtask site` finds it.

Examples:
  cargo xtask verify submissions/quickstart-ada-0a1b2c3d
  cargo xtask verify submissions/quickstart-ada-0a1b2c3d --sample 20 --by \"Grace Hopper\"
  cargo xtask verify submissions/mine-ada-0a1b2c3d --folder ~/vectors --out result.json

Exit codes: 0 everything agrees, 1 something differs, 2 it cannot be verified here (vectors or device missing, not a submission)."
)]
pub struct Arguments {
    /// Folder of a submission
    submission: PathBuf,
    /// Number of trials that run again
    #[arg(long, value_name = "N", default_value = "20", value_parser = clap::value_parser!(u32).range(1..))]
    sample: u32,
    /// Seed of the sample, to repeat one. By default nobody can predict which trials run
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
    /// Your name, for the result. Without it, the site does not count the result
    #[arg(long, value_name = "NAME", default_value = UNNAMED)]
    by: String,
    /// Folder that relative paths of datasets start from [default: the current folder]
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Most time of one trial, if its record allows more
    #[arg(long, value_name = "DURATION", default_value = "1h")]
    timeout: Seconds,
    /// Most memory of one trial on the CPU, if its record allows more [default: three quarters of this machine's]
    #[arg(long, value_name = "SIZE")]
    memory: Option<ByteSize>,
    /// Also run trials of outside programs: this starts the commands that their author chose. Read them first
    #[arg(long)]
    run_programs: bool,
    /// File of the result [default: verification.json in the submission]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub fn run(arguments: Arguments, here: &Surroundings) -> Result<ExitCode, Mistakes> {
    let mut here = here.clone();
    here.programs.refuses_commands = !arguments.run_programs;
    let here = &here;
    let out = arguments.out.clone().unwrap_or_else(|| arguments.submission.join(VERIFICATION));
    let submission = match Submission::open(&arguments.submission) {
        Ok(submission) => submission,
        Err(error @ SubmissionError::NotOne { .. }) => {
            return Err(Mistakes::new(error.to_string(), "name a folder that `cargo xtask submit` has written"));
        }
        Err(error) => {
            say_foreign!("{}: {error}", arguments.submission.display());
            say!("a file of the submission is missing, damaged or changed; no trial ran again");
            return Ok(ExitCode::from(1));
        }
    };
    let (manifest, records) = (&submission.manifest, &submission.run.records);
    say!("{}: its {} files have the digests of its manifest", manifest.id, manifest.files.len());
    let disagreements = disagreements(&submission);
    disagreements.iter().for_each(|line| say_foreign!("{line}"));
    if disagreements.is_empty() {
        say!("its tables agree with the records of {} trials", records.len());
    }

    heed_interrupts();
    let seed = arguments.seed.unwrap_or_else(unpredictable_seed);
    let chosen = sample(records.len(), arguments.sample as usize, seed);
    say!("running {} of {} trials again, sample of seed {seed}", chosen.len(), records.len());
    // A stranger chose the parameters: what they need is limited here.
    let own = this_machine(here, records);
    let place = Place {
        folder: Some(arguments.folder.as_deref().unwrap_or(Path::new("."))),
        timeout: Some(arguments.timeout),
        memory: Some(arguments.memory.unwrap_or(ByteSize(own.memory_bytes / 4 * 3))),
        here,
    };
    let verified = run_again(&chosen.iter().map(|at| &records[*at]).collect::<Vec<_>>(), &place)?;
    let verification = Verification {
        schema: 0,
        submission: manifest.id.clone(),
        manifest_sha256: submission.digest.clone(),
        by: arguments.by,
        date: today(),
        version: own.version.clone(),
        revision: own.git_revision.clone(),
        machine: own.class(),
        seed,
        trials: records.len(),
        disagreements,
        sample: verified,
        chance: 0.0,
        passed: false,
    };
    let verification = verification.concluded();
    table(&verification, records).iter().for_each(|line| say_foreign!("{line}"));
    let text = serde_json::to_vec_pretty(&verification)
        .map_err(|error| Mistakes::new(format!("the result could not be written: {error}"), ""))?;
    write_atomically(&out, &text)?;
    say!("result: {}", out.display());
    Ok(conclude(&verification))
}

/// Says what was found, and the exit code.
fn conclude(verification: &Verification) -> ExitCode {
    let different = verification.count(TrialVerdict::Different);
    let unable = verification.count(TrialVerdict::Unable);
    say!("{}", verification.meaning());
    if verification.passed {
        say!("verified: every trial of the sample was reproduced");
        ExitCode::SUCCESS
    } else if verification.failed() {
        let tables = if verification.disagreements.is_empty() { "" } else { "; its tables and records disagree" };
        say!("not verified: {} of the sample not reproduced{tables}", trials(different));
        ExitCode::from(1)
    } else {
        say!("not verified: {} of the sample cannot run here", trials(unable));
        ExitCode::from(2)
    }
}

/// Where tables and records disagree, one line each.
fn disagreements(submission: &Submission) -> Vec<String> {
    match submission.folder.checked_parquet() {
        Ok(checked) => checked.disagreements.iter().map(ToString::to_string).collect(),
        Err(error) => {
            let root = format!("{}/", submission.folder.root().display());
            vec![error.to_string().replace(&root, "")]
        }
    }
}

/// Runs trials again, those of one dataset after each other.
fn run_again(records: &[&TrialRecord], place: &Place<'_>) -> Result<Vec<VerifiedTrial>, Mistakes> {
    let session = Session::new()?;
    let mut said = BTreeSet::new();
    let mut trials = Vec::new();
    for (number, record) in records.iter().enumerate() {
        let begun = Instant::now();
        let id = record.trial.id.as_str();
        let compared = Rerun::prepare(record, place).and_then(|rerun| {
            for remark in remarks(&rerun) {
                if said.insert(remark.clone()) {
                    say_foreign!("{remark}");
                }
            }
            session.run(rerun, &mut Silent)
        });
        if INTERRUPT.load(Ordering::SeqCst) {
            return Err(Mistakes::new("interrupted", "the same command starts again; `--seed` repeats the sample"));
        }
        let (done, all, seconds) = (number + 1, records.len(), begun.elapsed().as_secs_f64());
        say_foreign_aside!("[{done}/{all}] {} ({seconds:.1} s)", describe(&record.trial));
        trials.push(match compared {
            Ok(comparison) => VerifiedTrial::compared(id, comparison),
            Err(error) => {
                say_foreign_aside!("{error}");
                VerifiedTrial::unable(id, public_reason(&error).to_owned())
            }
        });
    }
    Ok(trials)
}

/// Why a trial cannot run, for a result that is published. The error itself may quote the verifier's files.
fn public_reason(error: &RerunError) -> &'static str {
    match error {
        RerunError::NoRecipe { .. } | RerunError::Unsuccessful { .. } => "its record is not complete",
        RerunError::UnknownSet { .. } => "its record names an unknown instruction set",
        RerunError::TooLarge { .. } => "it needs more than the limits allow",
        RerunError::Refused { .. } => "its vectors, device or parameters cannot be used here",
        RerunError::Changed { .. } => "the vectors here have another digest",
        RerunError::NotStarted { .. } | RerunError::Failed { .. } => "it could not be run here",
        RerunError::Interrupted { .. } => "it was interrupted",
    }
}

/// Says nothing: a line per trial is enough.
struct Silent;

impl Observer for Silent {
    fn preparing(&mut self, _: &str) {}
    fn remark(&mut self, _: &str, _: &str) {}
    fn begin(&mut self, _: usize, _: usize, _: f64) {}
    fn phase(&mut self, _: &str, _: &str) {}
    fn ended(&mut self, _: &str, _: &TrialRecord, _: f64) {}
}

/// This machine, with the GPU if a trial asks for one.
fn this_machine(here: &Surroundings, records: &[TrialRecord]) -> Machine {
    let gpu = records.iter().any(|record| record.trial.device != "cpu");
    let gpu = if gpu { here.devices.open("cuda").ok().and_then(|backend| backend.device_name()) } else { None };
    Machine { gpu, ..machine::describe(&crate::source_tree(), here.devices.isa) }
}

/// A line per trial of the sample.
fn table(verification: &Verification, records: &[TrialRecord]) -> Vec<String> {
    let label = |id: &str| {
        let record = records.iter().find(|record| record.trial.id == id);
        record.map_or_else(String::new, |r| format!("{} · {} · seed {}", r.trial.dataset, r.trial.label, r.trial.seed))
    };
    let labels: Vec<String> = verification.sample.iter().map(|trial| label(&trial.trial)).collect();
    let width = labels.iter().map(|label| label.chars().count()).chain([5]).max().unwrap_or(0);
    let mut lines = vec![format!("{:<16}  {:<width$}  {:<15}  {:<16}  quality", "id", "trial", "verdict", "codes")];
    for (trial, label) in verification.sample.iter().zip(labels) {
        let (codes, quality) = trial.words();
        lines.push(format!(
            "{:<16}  {label:<width$}  {:<15}  {codes:<16}  {quality}",
            trial.trial,
            trial.verdict.as_str()
        ));
    }
    lines
}
