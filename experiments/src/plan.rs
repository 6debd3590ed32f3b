//! Turns an experiment file into a plan: all checks that need no vector values, and the list of trials.

mod checks;
mod defaults;
mod entries;
mod exclusions;
mod extent;
mod labels;
mod limits;
mod overrides;
mod pairs;
mod ranges;
mod rates;
mod sweeps;

use crate::document::Document;
use crate::executor_choice::ExecutorChoice;
use crate::experiment::{DeviceChoice, Experiment, ReportFormat};
use crate::facts;
use crate::fault::Fault;
use crate::memory::Demand;
use crate::metrics::Measure;
use crate::spectrum::MAX_SPECTRUM_DIM;
use crate::surroundings::Surroundings;
use crate::units::Seconds;
use checks::Checker;
use datasets::Resolved;
use entries::LabelledMethod;
use exclusions::{Axes, Exclusions, Kept};
use methods::registry::family_of;
pub(crate) use pairs::id_in_turn;
use record::{DatasetFacts, Limits, Phase, Side, Trial, TurnPair, id_of};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};

/// Fingerprint of the sources that determine results.
pub(crate) const SOURCES: &str = env!("VQBENCH_SOURCES");

/// Settings that the command line overrides.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// Instead of `device`.
    pub device: Option<DeviceChoice>,
    /// Instead of `seeds`.
    pub seeds: Vec<u64>,
    /// Instead of `timeout`.
    pub timeout: Option<Seconds>,
    /// Skip datasets whose files are missing, if others remain.
    pub skip_missing: bool,
    /// Instead of `executor`. Where the experiment gives settings for the same one, these count.
    pub executor: Option<ExecutorChoice>,
}

/// A checked experiment.
pub struct Plan {
    /// With every default filled in.
    pub experiment: Experiment,
    /// Folder that relative paths start from.
    pub root: PathBuf,
    /// Datasets, resolved, in order.
    pub datasets: Vec<PlannedDataset>,
    /// Measurements, in order.
    pub measures: Vec<Box<dyn Measure>>,
    /// Everything to run, in order.
    pub trials: Vec<PlannedTrial>,
    /// Limits of each trial.
    pub limits: Limits,
    /// The GPU that some of it runs on.
    pub gpu: Option<String>,
    /// The pairs of trials that compute in turn.
    pub pairs: Vec<TurnPair>,
    /// What `at_bits` found, one line each.
    pub found: Vec<String>,
    /// What is left out (missing datasets, rates that a method cannot have, excluded trials, and, after a run, trials for
    /// which the budget of time was not enough), each with the reason.
    pub skipped: Vec<String>,
}

/// A dataset as written, and resolved.
pub struct PlannedDataset {
    /// As written, for the child process.
    pub written: Value,
    /// Resolved.
    pub resolved: Resolved,
    /// How long it took to find its files, and to read each array for the digest of its values.
    pub found: Vec<Phase>,
    /// Its location in the file, for errors at loading.
    pub pointer: String,
}

/// A trial and its estimated cost.
pub struct PlannedTrial {
    /// The trial.
    pub trial: Trial,
    /// One line that names it within its plan.
    pub name: String,
    /// Index of its dataset.
    pub dataset: usize,
    /// Rough estimate.
    pub estimated_seconds: f64,
    /// Rough estimate of its memory, in bytes.
    pub estimated_bytes: u64,
    /// The trial that it takes turns with, if it does.
    pub in_turn: Option<TurnWith>,
}

/// The other side of a trial that takes turns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnWith {
    /// Name of the pair.
    pub pair: String,
    /// The side of the trial itself.
    pub side: Side,
    /// The id that the trial of the other side would have without a pair.
    pub with: String,
    /// The id that it has.
    pub partner: String,
    /// The label of its method.
    pub label: String,
}

/// Assumed multiply-adds per second and thread. Estimates only order trials and drive the progress bar.
pub(crate) const ASSUMED_RATE: f64 = 2e10;

/// What it costs to load a dataset and to compute its facts, which a run does once, before its trials.
pub(crate) struct Preparation {
    /// Memory in bytes.
    pub bytes: u64,
    /// Multiply-adds of exact neighbours and, up to [`MAX_SPECTRUM_DIM`] components, of the covariance and its eigenvalues
    /// (about nine times the cube of the dimension).
    pub multiply_adds: f64,
}

impl Preparation {
    /// Of a dataset, under a limit of memory. `depth` is the number of exact neighbours of each query.
    pub fn of(resolved: &Resolved, depth: usize, limit: Option<u64>) -> Preparation {
        let summary = &resolved.summary;
        let bytes = Demand::of_facts(resolved, depth).estimate(limit);
        let (dim, base) = (summary.dim as f64, summary.base as f64);
        let searched = if depth > 0 { base * summary.queries as f64 * dim } else { 0.0 };
        let spectrum = if summary.dim > MAX_SPECTRUM_DIM { 0.0 } else { base * dim * dim + 9.0 * dim * dim * dim };
        Preparation { bytes, multiply_adds: spectrum + searched }
    }
}

/// Seconds to start a process and load data.
const OVERHEAD_SECONDS: f64 = 0.3;

impl Plan {
    /// Checks a document. Relative paths in it start from `root`.
    ///
    /// # Errors
    /// All faults found, each with its location.
    pub fn new(
        document: &Document,
        root: &Path,
        surroundings: &Surroundings,
        overrides: &Overrides,
    ) -> Result<Plan, Vec<Fault>> {
        let mut checker = Checker::new(document);
        if !document.value().is_object() {
            let help =
                "an experiment is a mapping with `name`, `datasets` and `methods`; see experiments/quickstart.yaml";
            return Err(vec![Fault::at(document, "", "this is not an experiment", Some(help.into()))]);
        }
        let mut experiment: Experiment = match strict::from_value(document.value().clone()) {
            Ok(experiment) => experiment,
            Err(error) => {
                checker.param("", &error);
                return Err(checker.finish().err().unwrap_or_default());
            }
        };
        checks::apply(&mut experiment, overrides);
        checks::check_settings(&experiment, &mut checker);
        defaults::apply(&mut experiment, &mut checker);
        if !ranges::expand(&mut experiment, &mut checker) || !extent::check(&experiment, &mut checker) {
            return Err(checker.finish().err().unwrap_or_default());
        }
        checks::check_executor(&experiment, &mut checker);
        let (devices, gpu) = checks::resolve_devices(&experiment, &surroundings.devices, &mut checker);
        let (datasets, mut skipped) =
            checks::resolve_datasets(&experiment, root, &surroundings.search, overrides.skip_missing, &mut checker);
        let measures = checks::resolve_measures(&mut experiment, &mut checker);
        let programs = surroundings.programs.at(root);
        let complete = datasets.len() == experiment.datasets.len();
        overrides::check(&experiment, &datasets, complete, &mut checker);
        let entries::Methods { list: methods, found, missed } =
            entries::resolve_methods(&experiment, &datasets, &programs, &mut checker);
        programs.dismiss();
        let threads = experiment.threads.get_or_insert_with(|| vec![available_threads()]).clone();
        let rules = experiment.exclude.clone();
        let axes = Axes {
            datasets: &datasets,
            methods: &methods,
            devices: &devices,
            threads: &threads,
            seeds: &experiment.seeds,
        };
        let mut exclusions = Exclusions::new(&rules, &axes, &mut checker);
        let kept = axes.combine(&mut exclusions);
        // A parameter can be wrong for several datasets; each dimension is reported once.
        let used: BTreeSet<(usize, usize)> =
            kept.iter().map(|kept| (kept.method, datasets[kept.dataset].resolved.summary.dim)).collect();
        for (method, dim) in used {
            let (method, place) = &methods[method];
            if let Err(error) = method.method.check(dim) {
                place.report(&error, &mut checker);
            }
        }
        checks::check_questions(&datasets, &measures, &mut checker);
        let pairs = pairs::resolve(&experiment.pairs, &methods, &mut checker);
        // What the command line leaves out may be what an exclusion is for.
        let reduced = overrides.device.is_some() || !overrides.seeds.is_empty() || !skipped.is_empty();
        if !checker.has_faults() && !reduced {
            exclusions.report_unused(&mut checker);
        }
        checker.finish()?;
        skipped.extend(missed);
        skipped.extend(exclusions.lines());
        let measures: Vec<Box<dyn Measure>> = measures.into_iter().map(|(_, measure)| measure).collect();
        let limits = Limits { timeout_seconds: experiment.timeout.0, memory_bytes: experiment.memory.map(|m| m.0) };
        // If several thread counts are used, they are part of the name.
        let several = threads.len() > 1;
        let mut plan = Plan {
            experiment,
            root: root.to_owned(),
            datasets,
            measures,
            trials: Vec::new(),
            limits,
            gpu,
            pairs: Vec::new(),
            found,
            skipped,
        };
        let mut labels = Vec::new();
        for Kept { dataset, method, device, threads, seed } in kept {
            labels.push(methods[method].0.label.clone());
            let mut planned = plan.trial(dataset, &methods[method].0, &device, threads, seed);
            if several {
                let suffix = format!(", {threads} thread{}", if threads == 1 { "" } else { "s" });
                planned.trial.label += &suffix;
                planned.trial.series += &suffix;
            }
            plan.trials.push(planned);
        }
        let mut checker = Checker::new(document);
        plan.pairs = pairs::join(pairs, &mut plan.trials, &labels, !reduced, &mut checker);
        limits::check(&plan, &mut checker);
        checker.finish()?;
        if plan.trials.is_empty() {
            let help = plan.skipped.first().cloned().unwrap_or_default();
            return Err(vec![Fault::at(document, "/methods", "no trial is left to run", Some(help))]);
        }
        Ok(plan)
    }

    /// Reads all values of the datasets, one after the other. Returns all errors in them, and remarks for readers of
    /// the figures, each with the name of its dataset.
    pub fn check_values(&self, document: &Document) -> (Vec<Fault>, Vec<(String, String)>) {
        let (mut faults, mut remarks) = (Vec::new(), Vec::new());
        for PlannedDataset { resolved, pointer, .. } in &self.datasets {
            let known = || Ok((facts::file_truth(resolved, self.truth_depth())?, resolved.judgments()?));
            match resolved.check().and_then(|()| known()) {
                Err(error) => faults.push(Fault::at(document, pointer, error.to_string(), error.help())),
                Ok((file_truth, judgments)) => {
                    let facts = DatasetFacts {
                        metric_space: resolved.summary.metric.to_string(),
                        train_on_base: resolved.trains_on_base(),
                        dropped: facts::dropped(resolved),
                        file_truth,
                        judgments: judgments.as_ref().map(facts::judged),
                        ..DatasetFacts::default()
                    };
                    let name = resolved.summary.name.clone();
                    remarks.extend(facts.remarks().into_iter().map(|remark| (name.clone(), remark)));
                }
            }
        }
        (faults, remarks)
    }

    /// Number of neighbours that the ground truth needs.
    pub fn truth_depth(&self) -> usize {
        self.measures.iter().map(|m| m.truth_depth()).max().unwrap_or(0)
    }

    /// Whether a measurement times something, so that trials must run alone.
    pub fn timed(&self) -> bool {
        self.measures.iter().any(|m| m.seconds() > 0.0)
    }

    /// The largest number of threads of a trial.
    pub fn most_threads(&self) -> usize {
        self.trials.iter().map(|t| t.trial.threads).max().unwrap_or(1)
    }

    /// Formats of the report, by name.
    pub fn report_formats(&self) -> Vec<String> {
        self.experiment.report.formats.iter().map(|f| ReportFormat::name(*f).to_owned()).collect()
    }

    fn trial(&self, dataset: usize, method: &LabelledMethod, device: &str, threads: usize, seed: u64) -> PlannedTrial {
        let summary = &self.datasets[dataset].resolved.summary;
        let (dim, n) = (summary.dim, summary.base);
        let params = method.method.params();
        let identity = json!({
            "sources": SOURCES,
            "dataset": summary.fingerprint,
            "name": summary.name,
            "method": method.method.name(),
            "params": params,
            "device": device,
            "threads": threads,
            "seed": seed,
            "measure": self.experiment.measure,
        });
        let multiply_adds = method.method.fit_cost(summary.train, dim)
            + 2.0 * method.method.encode_cost(dim) * (n + summary.train) as f64;
        let measuring: f64 = self.measures.iter().map(|m| m.seconds()).sum();
        let trial = Trial {
            id: id_of(&identity),
            experiment: self.experiment.name.clone(),
            dataset: summary.name.clone(),
            dim,
            n,
            metric_space: summary.metric.to_string(),
            method: method.method.name().to_owned(),
            family: family_of(method.method.name()).map(|family| family.name().to_owned()),
            params,
            label: method.label.clone(),
            series: method.series.clone(),
            device: device.to_owned(),
            threads,
            seed,
            bits_per_vector: method.method.code_bits(dim),
        };
        let name = match self.experiment.threads.as_ref().map_or(1, Vec::len) {
            0 | 1 => describe(&trial),
            _ if threads == 1 => format!("{} · 1 thread", describe(&trial)),
            _ => format!("{} · {threads} threads", describe(&trial)),
        };
        PlannedTrial {
            trial,
            name,
            dataset,
            estimated_bytes: self.demand(dataset, method.method.code_bits(dim)).estimate(self.limits.memory_bytes),
            estimated_seconds: OVERHEAD_SECONDS + multiply_adds / (ASSUMED_RATE * threads as f64) + measuring,
            in_turn: None,
        }
    }

    /// The memory that a trial takes.
    pub(crate) fn demand(&self, dataset: usize, code_bits: usize) -> Demand {
        let row_bytes = self.measures.iter().map(|m| m.bytes_per_row()).sum();
        Demand::of_trial(&self.datasets[dataset].resolved, code_bits, row_bytes, self.timed())
    }

    /// Keeps the trials whose name contains `text`, ignoring case, and those that they take turns with.
    pub fn filter(&mut self, text: &str) {
        // `seed 1` is also part of `seed 10`.
        let is = |t: &PlannedTrial| t.name.to_lowercase() == text.to_lowercase();
        let whole = self.trials.iter().any(is);
        let kept = self.trials.iter().filter(|t| if whole { is(t) } else { t.matches(text) });
        let partner = |t: &PlannedTrial| t.in_turn.as_ref().map(|turn| turn.partner.clone());
        let ids: HashSet<String> = kept.flat_map(|t| [Some(t.trial.id.clone()), partner(t)]).flatten().collect();
        self.trials.retain(|t| ids.contains(&t.trial.id));
    }
}

impl PlannedTrial {
    /// Whether its name contains a text, ignoring case.
    pub fn matches(&self, text: &str) -> bool {
        self.name.to_lowercase().contains(&text.to_lowercase())
    }
}

/// One line that names a trial.
pub fn describe(trial: &Trial) -> String {
    format!("{} · {} · {} · seed {}", trial.dataset, trial.label, trial.device, trial.seed)
}

fn available_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests;
