//! `submit`: makes a submission from a run, for others to verify and for the site.

use crate::errors::Mistakes;
use clap::Args;
use record::RunFolder;
use site::{PublishError, Submitter, date_of, publish};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

#[derive(Args)]
#[command(
    after_help = "A submission holds the experiment, the facts of the machine (processor, cores, instruction set, memory, GPU, system, \
compiler, version), the results, one record per trial with the SHA-256 of its codes, and the SHA-256 of every file. Vectors are not part of \
it. Paths of this machine, and what processes wrote on standard error, are taken out; if a path remains, or the name of this machine, the command refuses and says where.

Every trial of the run must have succeeded, with a record that others can run again.

Examples:
  cargo xtask submit runs/quickstart --name \"Ada Lovelace\" --contact ada@example.org
  cargo xtask submit runs/mine --name Ada --licence CC-BY-4.0 --out ~/submissions
  cargo xtask verify submissions/quickstart-ada-lovelace-0a1b2c3d      # what others will run

Exit codes: 0 the submission was written, 2 it was not."
)]
pub struct Arguments {
    /// Run folder
    run: PathBuf,
    /// Your name, or that of your group; it is published
    #[arg(long, value_name = "NAME")]
    name: String,
    /// How to reach you; it is published
    #[arg(long, value_name = "TEXT")]
    contact: Option<String>,
    /// Licence under which you publish these results, as an SPDX identifier
    #[arg(long, value_name = "LICENCE", default_value = "CC0-1.0")]
    licence: String,
    /// Folder in which the folder of the submission is made
    #[arg(long, value_name = "DIR", default_value = "submissions")]
    out: PathBuf,
    /// Publish this text even if it looks private, such as a machine's name that is also a common word; repeat the flag for
    /// several
    #[arg(long = "disclose", value_name = "TEXT")]
    disclosed: Vec<String>,
}

pub fn run(arguments: Arguments) -> Result<ExitCode, Mistakes> {
    let submitter = Submitter {
        name: arguments.name,
        contact: arguments.contact,
        licence: arguments.licence,
        date: today(),
        secrets: secrets(&arguments.run),
        disclosed: arguments.disclosed,
    };
    let folder = RunFolder::new(&arguments.run);
    let root = publish(&folder, &submitter, &arguments.out, experiments::document::to_yaml).map_err(refused)?;
    if folder.results()?.machines().iter().any(|machine| machine.git_dirty != Some(false)) {
        say_aside!(
            "warning: the source tree had uncommitted changes or no revision, so others cannot build the same program"
        );
    }
    say!("submission: {}", root.display());
    say!("look through it before you publish it; `cargo xtask verify {}` is what others will run", root.display());
    Ok(ExitCode::SUCCESS)
}

/// Today in UTC.
pub fn today() -> String {
    date_of(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}

/// Texts that must not be published: folders that lead here, and the name of this machine.
fn secrets(run: &Path) -> Vec<String> {
    let absolute = |path: &Path| path.canonicalize().ok().map(|path| path.display().to_string());
    let folders =
        [absolute(run), absolute(Path::new(".")), absolute(&crate::source_tree()), crate::environment::home()];
    // `/` leads everywhere.
    let folders = folders.into_iter().flatten().filter(|folder| folder.len() > 1);
    folders.chain(experiments::machine::host_name().filter(|name| name != "localhost")).collect()
}

/// The refusal with what would help.
fn refused(error: PublishError) -> Mistakes {
    let help = match error {
        PublishError::Record(error) => return error.into(),
        PublishError::Unfinished { .. } => "the same `cargo xtask experiments` command continues the run",
        PublishError::Failed { .. } => {
            "run the failed trials again with `cargo xtask experiments FILE --retry-failed`, or leave them out of the experiment"
        }
        PublishError::NoDigests { .. } => {
            "their records are of an older version of vqbench: run the experiment again with `--force`"
        }
        PublishError::Pattern { .. } => {
            "others would read whatever fits it in their folder: put the vectors into one file with a plain name"
        }
        PublishError::Words(_) => "give it as one line of at most 200 characters",
        PublishError::Private { .. } => {
            "take it out of the experiment and run it again, or allow it with `--disclose TEXT`"
        }
        PublishError::Exists(_) => {
            "a submission of these very results is there already; remove it, or choose another `--out`"
        }
        PublishError::Text(_) => "this is a bug in vqbench: please report it with the run folder",
    };
    Mistakes::new(error.to_string(), help)
}
