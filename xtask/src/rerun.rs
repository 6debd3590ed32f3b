//! `rerun`: runs one trial again from its record alone and says whether it gives the same codes and the same quality.

use crate::errors::Mistakes;
use crate::experiments_verb::{INTERRUPT, heed_interrupts};
use crate::progress::Progress;
use clap::Args;
use experiments::rerun::{Place, Rerun, RerunError};
use experiments::{ByteSize, Launcher, Observer, Seconds, Surroundings};
use record::{RecordError, RunFolder, TrialRecord, is_id, read_trial};
use reports::rerun::{RerunComparison, compare_records};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Args)]
#[command(
    after_help = "The record of a trial says everything that determines its codes: the dataset with its digest, the split, the method and \
its parameters, the seed, the device, the instruction set and the measurements. So one file is enough, in any folder and on any machine \
that has the vectors.

Codes are compared by their SHA-256. They must be equal if instruction set and GPU are those of the record; otherwise quality decides. \
Quality must agree within the tolerances of METHODOLOGY.md (\"Running a trial again\"). Speed is shown and not judged.

Examples:
  cargo xtask rerun runs/quickstart/trials/0123456789abcdef.json
  cargo xtask rerun runs/quickstart 0123456789abcdef
  cargo xtask rerun trial.json --folder ~/vectors     # where relative paths of the dataset start

Exit codes: 0 equal or within tolerance, 1 different, 2 it cannot run here (vectors missing or changed, device missing, a record of an \
older version)."
)]
pub struct Arguments {
    /// The record of a trial (`trials/ID.json` of a run folder, or a copy of it), or a run folder
    record: PathBuf,
    /// The trial, if a run folder is given
    trial: Option<String>,
    /// Folder that relative paths of the dataset start from [default: the one that the record names, or the current one]
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Time limit, if it is less than that of the record, such as 10m
    #[arg(long, value_name = "DURATION")]
    timeout: Option<Seconds>,
    /// Memory limit on the CPU, if it is less than that of the record, such as 4GiB
    #[arg(long, value_name = "SIZE")]
    memory: Option<ByteSize>,
    /// Also run trials of outside programs: this starts the commands that their author chose. Read them first
    #[arg(long)]
    run_programs: bool,
}

pub fn run(arguments: Arguments, here: &Surroundings) -> Result<ExitCode, Mistakes> {
    let mut here = here.clone();
    here.programs.refuses_commands = !arguments.run_programs;
    let here = &here;
    let record = read_trial(&record_file(&arguments.record, arguments.trial.as_deref())?).map_err(unreadable)?;
    heed_interrupts();
    let place =
        Place { folder: arguments.folder.as_deref(), timeout: arguments.timeout, memory: arguments.memory, here };
    let trial = &record.trial;
    say_foreign!("trial {}: {}, {}, {}, seed {}", trial.id, trial.dataset, trial.label, trial.device, trial.seed);
    let rerun = Rerun::prepare(&record, &place).map_err(cannot)?;
    remarks(&rerun).iter().for_each(|remark| say_foreign!("{remark}"));
    let session = Session::new()?;
    let mut progress = Progress::new();
    let comparison = session.run(rerun, &mut progress);
    progress.finish();
    let comparison = comparison.map_err(cannot)?;
    comparison.lines().iter().for_each(|line| say_foreign!("{line}"));
    Ok(match comparison.agrees() {
        true => {
            say!("the trial gave again what its record says");
            ExitCode::SUCCESS
        }
        false => {
            say!("the trial did not give again what its record says");
            ExitCode::from(1)
        }
    })
}

/// The file of a record: named itself, or by its run folder and trial.
fn record_file(record: &Path, trial: Option<&str>) -> Result<PathBuf, Mistakes> {
    match (trial, record.is_dir()) {
        (None, false) => Ok(record.to_owned()),
        (Some(id), true) if is_id(id) => Ok(RunFolder::new(record).trial_file(id)),
        (Some(id), true) => {
            let help = format!("the files in {} are named after the trials", record.join("trials").display());
            Err(Mistakes::new(format!("`{id}` is not the id of a trial"), help))
        }
        (None, true) => {
            let help = "name one of its trials too: `cargo xtask rerun RUN TRIAL`";
            Err(Mistakes::new(format!("{} is a folder with many trials", record.display()), help))
        }
        (Some(_), false) => {
            let help = "name a run folder and one of its trials, or the file of a record alone";
            Err(Mistakes::new(format!("{} is not a folder", record.display()), help))
        }
    }
}

fn unreadable(error: RecordError) -> Mistakes {
    match error {
        RecordError::Newer { .. } => error.into(),
        error => Mistakes::new(error.to_string(), "name the record of a trial, such as a file in runs/NAME/trials"),
    }
}

/// The error with what would help.
fn cannot(error: RerunError) -> Mistakes {
    let help = match &error {
        RerunError::NoRecipe { .. } => "run its experiment again: the new record will have one",
        RerunError::UnknownSet { .. } => "use the version of vqbench that wrote the record",
        RerunError::TooLarge { .. } => "look at its dataset, and allow more with `--timeout` or `--memory`",
        RerunError::Unsuccessful { .. } => "name a trial that succeeded",
        RerunError::Refused { .. } => {
            "`cargo xtask datasets` says how to get vectors of the catalog; `--folder` names the folder of other files"
        }
        RerunError::Changed { .. } => "use the same files, and the version of vqbench that wrote the record",
        RerunError::NotStarted { .. } | RerunError::Failed { .. } => "",
        RerunError::Interrupted { .. } => "the same command starts it again",
    };
    Mistakes::new(error.to_string(), help)
}

/// What a reader of the comparison should know before.
pub fn remarks(rerun: &Rerun) -> Vec<String> {
    let mut remarks = Vec::new();
    if !rerun.same_build {
        let machine = &rerun.recorded().machine;
        let revision = machine.git_revision.as_deref().unwrap_or("an unknown revision");
        remarks.push(format!(
            "warning: the record is of another build (version {}, revision {revision}, {}): sources, compiler or settings \
             may explain differences",
            machine.version, machine.rustc
        ));
    }
    if let Some(pair) = rerun.pair() {
        remarks.push(format!(
            "note: the trial took turns with another one, in the pair {pair}; here it runs alone, so its speeds may differ"
        ));
    }
    if let Some(name) = &rerun.lacking {
        remarks.push(format!("note: this processor lacks the instruction set {name} of the record"));
    }
    remarks
}

/// A scratch folder in which trials run again. It is removed at the end.
pub struct Session {
    scratch: tempfile::TempDir,
    program: PathBuf,
}

impl Session {
    /// Makes the folder.
    pub fn new() -> Result<Session, Mistakes> {
        let scratch = tempfile::Builder::new().prefix("vqbench-rerun-").tempdir();
        let scratch = scratch.map_err(|error| {
            Mistakes::new(
                format!("no temporary folder can be made: {error}"),
                "set TMPDIR to a folder that you may write",
            )
        })?;
        let program = std::env::current_exe()
            .map_err(|error| Mistakes::new(format!("cannot find this program: {error}"), "run it by its path"))?;
        Ok(Session { scratch, program })
    }

    /// Runs a trial again and compares it with its record. Trials of one dataset share its facts and exact neighbours.
    pub fn run(&self, rerun: Rerun, observer: &mut dyn Observer) -> Result<RerunComparison, RerunError> {
        let recorded: TrialRecord = rerun.recorded().clone();
        let folder = RunFolder::new(self.scratch.path().join("run"));
        let launcher = Launcher { program: self.program.clone(), arguments: vec!["trial".into()] };
        let now = rerun.run(folder, launcher, &INTERRUPT, crate::source_tree(), observer)?;
        Ok(compare_records(&recorded, &now))
    }
}
