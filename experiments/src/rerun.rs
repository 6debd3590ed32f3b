//! Runs a trial again from its record alone: same vectors, split, method, parameters, seed, device, instruction set and
//! measurements.

use crate::document::{Document, to_yaml};
use crate::engine::{self, EngineError, Launcher, Observer, Settings};
use crate::executor_choice::ExecutorChoice;
use crate::fault::Fault;
use crate::job::CPU;
use crate::plan::{ASSUMED_RATE, Overrides, Plan, Preparation, id_in_turn};
use crate::recipe::experiment_of;
use crate::surroundings::Surroundings;
use crate::units::{ByteSize, Seconds};
use cpu::Isa;
use record::{Cause, RunFolder, Status, TrialRecord};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use thiserror::Error;

/// A trial that cannot run again. This says nothing about its record.
#[derive(Debug, Error)]
pub enum RerunError {
    /// The record does not say what its trial consists of.
    #[error(
        "the record of trial {id} has no recipe: it was written by an older version of vqbench or by another program"
    )]
    NoRecipe {
        /// The trial.
        id: String,
    },
    /// The trial did not succeed, so there is nothing to compare.
    #[error("trial {id} did not succeed ({status}), so it has no codes to compare")]
    Unsuccessful {
        /// The trial.
        id: String,
        /// How it ended.
        status: &'static str,
    },
    /// Nobody can tell whether codes must be equal.
    #[error("the record of trial {id} names the instruction set {set:?}, which this version of vqbench does not know")]
    UnknownSet {
        /// The trial.
        id: String,
        /// The name in the record.
        set: String,
    },
    /// The vectors and what is computed of them before the trial take more than the limits allow.
    #[error("trial {id} needs more than the limits allow before it runs: {reason}")]
    TooLarge {
        /// The trial.
        id: String,
        /// What, and the limit.
        reason: String,
    },
    /// The experiment that the record gives back is refused: a missing dataset or device, parameters that this version
    /// does not know.
    #[error("trial {id} cannot run here: {}", list(.faults))]
    Refused {
        /// The trial.
        id: String,
        /// What is wrong.
        faults: Vec<Fault>,
    },
    /// The vectors or their split are not those of the record.
    #[error(
        "the vectors of {dataset} are not those of the record: their digest is `{found}`, and the record says `{recorded}`"
    )]
    Changed {
        /// Name of the dataset.
        dataset: String,
        /// Digest of what is here.
        found: String,
        /// Digest in the record.
        recorded: String,
    },
    /// The run could not start, or left no record.
    #[error("trial {id} could not be started: {reason}")]
    NotStarted {
        /// The trial.
        id: String,
        /// Why.
        reason: String,
    },
    /// It failed for a cause outside the trial.
    #[error("trial {id} failed for an external reason: {reason}")]
    Failed {
        /// The trial.
        id: String,
        /// Why.
        reason: String,
    },
    /// It was interrupted.
    #[error("trial {id} was interrupted")]
    Interrupted {
        /// The trial.
        id: String,
    },
}

fn list(faults: &[Fault]) -> String {
    faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("; ")
}

/// A trial that can run again here.
pub struct Rerun {
    plan: Plan,
    document: Document,
    surroundings: Surroundings,
    recorded: TrialRecord,
    /// The instruction set of the record, if this processor lacks it.
    pub lacking: Option<String>,
    /// Whether sources, compiler and dependencies of this build are those of the record.
    pub same_build: bool,
}

/// Where a trial runs again, and how.
pub struct Place<'a> {
    /// Folder that relative paths of the dataset start from; None for the one that the record names, or the current folder
    /// if that does not exist.
    pub folder: Option<&'a Path>,
    /// Time limit, if it is less than that of the record.
    pub timeout: Option<Seconds>,
    /// Memory limit of a trial on the CPU, if it is less than that of the record.
    pub memory: Option<ByteSize>,
    /// Where vectors and devices are.
    pub here: &'a Surroundings,
}

impl Rerun {
    /// Checks everything that can be checked before the trial runs. It will use the instruction set of the record, if this
    /// processor has it.
    ///
    /// # Errors
    /// Why the trial cannot run again here.
    pub fn prepare(record: &TrialRecord, place: &Place<'_>) -> Result<Rerun, RerunError> {
        let id = record.trial.id.clone();
        let Some(recipe) = &record.recipe else { return Err(RerunError::NoRecipe { id }) };
        if record.status != Status::Ok {
            return Err(RerunError::Unsuccessful { id, status: record.status.as_str() });
        }
        let mut surroundings = place.here.clone();
        let set = &record.machine.simd;
        let lacking = match Isa::named(set) {
            Ok(isa) => {
                surroundings.devices.isa = isa;
                None
            }
            Err(_) if Isa::is_name(set) => Some(set.clone()),
            // An invented name would replace equal codes by wide tolerances.
            Err(_) => return Err(RerunError::UnknownSet { id, set: set.clone() }),
        };
        let refused = |faults: Vec<Fault>| RerunError::Refused { id: id.clone(), faults };
        let text = to_yaml(&experiment_of(record, recipe));
        let document = Document::parse(&format!("trial {id}"), &text).map_err(|fault| refused(vec![fault]))?;
        let limit = place.timeout.filter(|limit| limit.0 < record.limits.timeout_seconds);
        let overrides = Overrides { timeout: limit, executor: Some(ExecutorChoice::Here), ..Overrides::default() };
        let root = place.folder.map_or_else(|| folder_of(recipe.folder.as_deref()), Path::to_owned);
        let mut plan = Plan::new(&document, &root, &surroundings, &overrides).map_err(refused)?;
        // Set afterwards: a plan that does not fit here is no mistake of the record.
        if let Some(ByteSize(most)) = place.memory.filter(|_| record.trial.device == CPU) {
            plan.limits.memory_bytes = Some(record.limits.memory_bytes.map_or(most, |bytes| bytes.min(most)));
        }
        let ([dataset], [planned]) = (&plan.datasets[..], &plan.trials[..]) else {
            let message = format!("its record stands for {} trials instead of one", plan.trials.len());
            return Err(refused(vec![Fault::new(message, "")]));
        };
        if let Some(reason) = too_large(&plan, place) {
            return Err(RerunError::TooLarge { id, reason });
        }
        let found = &dataset.resolved.summary;
        if found.fingerprint != recipe.fingerprint {
            return Err(RerunError::Changed {
                dataset: found.name.clone(),
                found: found.fingerprint.clone(),
                recorded: recipe.fingerprint.clone(),
            });
        }
        let alone = &planned.trial.id;
        let in_turn = record.log.as_ref().and_then(|log| log.in_turn.as_ref());
        let same_build = in_turn.map_or(alone.clone(), |turn| id_in_turn(alone, &turn.with)) == id;
        Ok(Rerun { plan, document, surroundings, recorded: record.clone(), lacking, same_build })
    }

    /// The pair that the trial of the record took turns in. Here it runs alone.
    pub fn pair(&self) -> Option<&str> {
        Some(&self.recorded.log.as_ref()?.in_turn.as_ref()?.pair)
    }

    /// The record that is run again.
    pub fn recorded(&self) -> &TrialRecord {
        &self.recorded
    }

    /// Runs the trial in a run folder, which may hold earlier ones: trials of one dataset share its facts.
    ///
    /// # Errors
    /// A cause outside the trial. A trial that fails by itself is a record that says so.
    pub fn run(
        mut self,
        folder: RunFolder,
        launcher: Launcher,
        interrupt: &AtomicBool,
        source_tree: PathBuf,
        observer: &mut dyn Observer,
    ) -> Result<TrialRecord, RerunError> {
        let id = self.recorded.trial.id.clone();
        let own = self.plan.trials.first().map_or_else(String::new, |planned| planned.trial.id.clone());
        let settings = Settings {
            folder,
            launcher,
            filter: None,
            force: true,
            retry_failed: true,
            interrupt,
            surroundings: &self.surroundings,
            source_tree,
        };
        let outcome = engine::run(&mut self.plan, &self.document, &settings, observer);
        let not_started = |reason: String| RerunError::NotStarted { id: id.clone(), reason };
        let outcome = outcome.map_err(|error: EngineError| not_started(error.to_string()))?;
        if outcome.interrupted {
            return Err(RerunError::Interrupted { id });
        }
        let record = settings.folder.trial(&own).ok_or_else(|| not_started("it left no record".to_owned()))?;
        if record.status != Status::Ok && record.cause.is_some_and(Cause::passes) {
            return Err(RerunError::Failed { id, reason: record.reason.unwrap_or_default() });
        }
        Ok(record)
    }
}

/// Why the limits of `place` do not allow to load the vectors and to compute their facts, which happens before the trial and
/// outside its process. None if they do.
fn too_large(plan: &Plan, place: &Place<'_>) -> Option<String> {
    let dataset = plan.datasets.first()?;
    let cost = Preparation::of(&dataset.resolved, plan.truth_depth(), place.memory.map(|most| most.0));
    // The record may ask for more threads than there are cores.
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let seconds = cost.multiply_adds / (ASSUMED_RATE * plan.most_threads().min(cores) as f64);
    let on_cpu = plan.trials.first().filter(|planned| planned.trial.device == CPU);
    let of_trial = on_cpu.map_or(0, |planned| plan.demand(0, planned.trial.bits_per_vector).least);
    let bytes = cost.bytes.max(of_trial);
    if let Some(most) = place.memory.filter(|most| bytes > most.0) {
        let mebibytes = ByteSize(bytes >> 20 << 20);
        return Some(format!("its vectors take about {mebibytes} of memory, and the limit is {most}"));
    }
    let most = place.timeout.filter(|most| seconds > most.0)?;
    Some(format!("the facts of its vectors take about {}, and the limit is {most}", Seconds(seconds.ceil())))
}

/// The folder that a record names, or the current one.
fn folder_of(recorded: Option<&str>) -> PathBuf {
    recorded.map(PathBuf::from).filter(|folder| folder.is_dir()).unwrap_or_else(|| PathBuf::from("."))
}
