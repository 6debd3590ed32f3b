//! Turns an experiment file into a plan: all checks that need no vector values, and the list of trials.

mod checks;
mod entries;
mod extent;
mod labels;
mod ranges;

use crate::document::Document;
use crate::experiment::{DeviceChoice, Experiment, ReportFormat};
use crate::facts;
use crate::fault::Fault;
use crate::metrics::Measure;
use crate::surroundings::Surroundings;
use crate::units::Seconds;
use checks::Checker;
use datasets::{Resolved, Summary};
use entries::LabelledMethod;
use record::{DatasetFacts, Limits, Trial, id_of};
use serde_json::{Value, json};
use std::collections::HashSet;
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
    /// Skipped datasets, each with the reason.
    pub skipped: Vec<String>,
}

/// A dataset as written, and resolved.
pub struct PlannedDataset {
    /// As written, for the child process.
    pub written: Value,
    /// Resolved.
    pub resolved: Resolved,
    /// Its location in the file, for errors at loading.
    pub pointer: String,
}

/// A trial and its estimated cost.
pub struct PlannedTrial {
    /// The trial.
    pub trial: Trial,
    /// Index of its dataset.
    pub dataset: usize,
    /// Rough estimate.
    pub estimated_seconds: f64,
    /// Rough estimate of its memory, in bytes.
    pub estimated_bytes: u64,
}

/// Assumed multiply-adds per second and thread. Estimates only order trials and drive the progress bar.
const ASSUMED_RATE: f64 = 2e10;

/// Memory of a process that has loaded nothing, in bytes.
const OVERHEAD_BYTES: u64 = 1 << 26;

/// Memory of a trial: all rows as f32, the training rows once more for the method, the base rows once more decoded and
/// once more for measurements, and the codes. Saturates on overflow.
fn expected_bytes(summary: &Summary, code_bits: usize) -> u64 {
    let (train, base, queries) = (summary.train as u64, summary.base as u64, summary.queries as u64);
    let rows = || train.checked_mul(2)?.checked_add(base.checked_mul(3)?)?.checked_add(queries);
    let codes = || base.checked_mul(code_bits.div_ceil(8) as u64);
    let all = || rows()?.checked_mul(4 * summary.dim as u64)?.checked_add(codes()?)?.checked_add(OVERHEAD_BYTES);
    all().unwrap_or(u64::MAX)
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
        if !ranges::expand(&mut experiment, &mut checker) || !extent::check(&experiment, &mut checker) {
            return Err(checker.finish().err().unwrap_or_default());
        }
        let (devices, gpu) = checks::resolve_devices(&experiment, &surroundings.devices, &mut checker);
        let (datasets, skipped) =
            checks::resolve_datasets(&experiment, root, &surroundings.search, overrides.skip_missing, &mut checker);
        let measures = checks::resolve_measures(&mut experiment, &mut checker);
        let methods = entries::resolve_methods(&experiment, &mut checker);
        for (method, place) in &methods {
            // A parameter can be wrong for several datasets; each dimension is reported once.
            let mut dims = HashSet::new();
            for dataset in &datasets {
                let dim = dataset.resolved.summary.dim;
                if dims.insert(dim)
                    && let Err(error) = method.method.check(dim)
                {
                    place.report(&error, &mut checker);
                }
            }
        }
        checks::check_questions(&datasets, &measures, &mut checker);
        checker.finish()?;
        let measures: Vec<Box<dyn Measure>> = measures.into_iter().map(|(_, measure)| measure).collect();
        let threads = experiment.threads.get_or_insert_with(|| vec![available_threads()]).clone();
        let limits = Limits { timeout_seconds: experiment.timeout.0, memory_bytes: experiment.memory.map(|m| m.0) };
        // If several thread counts are used, they are part of the name.
        let several = threads.len() > 1;
        let mut trials = Vec::new();
        let mut plan =
            Plan { experiment, root: root.to_owned(), datasets, measures, trials: Vec::new(), limits, gpu, skipped };
        for dataset in 0..plan.datasets.len() {
            for (method, _) in &methods {
                for device in &devices {
                    for (&threads, seed) in
                        threads.iter().flat_map(|t| plan.experiment.seeds.iter().map(move |s| (t, *s)))
                    {
                        let mut planned = plan.trial(dataset, method, device, threads, seed);
                        if several {
                            let suffix = format!(", {threads} thread{}", if threads == 1 { "" } else { "s" });
                            planned.trial.label += &suffix;
                            planned.trial.series += &suffix;
                        }
                        trials.push(planned);
                    }
                }
            }
        }
        plan.trials = trials;
        Ok(plan)
    }

    /// Reads all values of the datasets, one after the other. Returns all errors in them, and remarks for readers of
    /// the figures, each with the name of its dataset.
    pub fn check_values(&self, document: &Document) -> (Vec<Fault>, Vec<(String, String)>) {
        let (mut faults, mut remarks) = (Vec::new(), Vec::new());
        for PlannedDataset { resolved, pointer, .. } in &self.datasets {
            match resolved.check().and_then(|()| facts::wrong_truth(resolved)) {
                Err(error) => faults.push(Fault::at(document, pointer, error.to_string(), error.help())),
                Ok(wrong_truth) => {
                    let (name, metric_space) = (resolved.summary.name.clone(), resolved.summary.metric.to_string());
                    let train_on_base = resolved.trains_on_base();
                    let facts = DatasetFacts { metric_space, train_on_base, wrong_truth, ..DatasetFacts::default() };
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
        PlannedTrial {
            trial: Trial {
                id: id_of(&identity),
                experiment: self.experiment.name.clone(),
                dataset: summary.name.clone(),
                dim,
                n,
                metric_space: summary.metric.to_string(),
                method: method.method.name().to_owned(),
                params,
                label: method.label.clone(),
                series: method.series.clone(),
                device: device.to_owned(),
                threads,
                seed,
                bits_per_vector: method.method.code_bits(dim),
            },
            dataset,
            estimated_bytes: expected_bytes(summary, method.method.code_bits(dim)),
            estimated_seconds: OVERHEAD_SECONDS + multiply_adds / (ASSUMED_RATE * threads as f64) + measuring,
        }
    }

    /// Keeps the trials whose description contains `text`, ignoring case.
    pub fn filter(&mut self, text: &str) {
        // `seed 1` is also part of `seed 10`.
        let is = |t: &PlannedTrial| describe(&t.trial).to_lowercase() == text.to_lowercase();
        let whole = self.trials.iter().any(is);
        self.trials.retain(|t| if whole { is(t) } else { matches(&t.trial, text) });
    }
}

/// One line that names a trial.
pub fn describe(trial: &Trial) -> String {
    format!("{} · {} · {} · seed {}", trial.dataset, trial.label, trial.device, trial.seed)
}

/// Whether the description of a trial contains a text, ignoring case.
pub fn matches(trial: &Trial, text: &str) -> bool {
    describe(trial).to_lowercase().contains(&text.to_lowercase())
}

fn available_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(text: &str) -> Result<Plan, Vec<String>> {
        let document = Document::parse("t.yaml", text).map_err(|f| vec![f.to_string()])?;
        Plan::new(&document, Path::new("."), &Surroundings::default(), &Overrides::default())
            .map_err(|faults| faults.iter().map(ToString::to_string).collect())
    }

    const HEAD: &str = "name: t\nseeds: [1, 2]\nthreads: 1\ndatasets: [{ synthetic: gaussian, dim: 12, n: 50 }]\nmeasure: { distortion: }\n";

    #[test]
    fn sweeps_multiply_and_labels_are_filled_in() {
        let plan = plan(&format!("{HEAD}methods:\n  - pq: {{ iterations: 3 }}\n    sweep: {{ m: [2, 3], bits: [2, 4] }}\n    label: \"PQ {{m}}x{{bits}} fast\"\n")).expect("valid");
        let labels: Vec<&str> = plan.trials.iter().map(|t| t.trial.label.as_str()).collect();
        assert_eq!(
            labels,
            [
                "PQ 2x2 fast",
                "PQ 2x2 fast",
                "PQ 2x4 fast",
                "PQ 2x4 fast",
                "PQ 3x2 fast",
                "PQ 3x2 fast",
                "PQ 3x4 fast",
                "PQ 3x4 fast"
            ]
        );
        assert!(plan.trials.iter().all(|t| t.trial.series == "PQ fast"));
        let bits: Vec<usize> = plan.trials.iter().map(|t| t.trial.bits_per_vector).step_by(2).collect();
        assert_eq!(bits, [4, 8, 6, 12]);
    }

    #[test]
    fn a_range_is_the_list_of_its_values() {
        let methods = |sweep: &str| plan(&format!("{HEAD}methods: [{{ pq: {{ bits: 2 }}, sweep: {sweep} }}]\n"));
        let labels = |sweep: &str| -> Vec<String> {
            methods(sweep).expect("valid").trials.into_iter().map(|t| t.trial.label).collect()
        };
        assert_eq!(labels("{ m: { from: 2, to: 6, step: 2 } }"), labels("{ m: [2, 4, 6] }"));
        let faults = methods("{ m: { from: 2, to: 1 } }").err().expect("no values");
        assert!(faults.len() == 1 && faults[0].contains("this range ends at 1, below its start 2"), "{faults:?}");
    }

    #[test]
    fn the_id_changes_with_what_determines_the_result_and_only_then() {
        let ids = |text: &str| plan(text).expect("valid").trials.iter().map(|t| t.trial.id.clone()).collect::<Vec<_>>();
        let base = ids(&format!("{HEAD}methods: [{{ lbg: {{ bits: 3 }} }}]"));
        assert_eq!(base.len(), 2);
        assert_eq!(
            ids(&format!("{HEAD}methods: [{{ lbg: {{ bits: 3 }}, label: mine }}]")),
            base,
            "names do not matter"
        );
        assert_ne!(base[0], base[1], "seeds differ");
        assert_eq!(ids(&format!("{HEAD}timeout: 3m\nmethods: [{{ lbg: {{ bits: 3, epsilon: 0.01 }} }}]"))[0].len(), 16);
        assert_eq!(
            ids(&format!("{HEAD}timeout: 3m\nmethods: [{{ lbg: {{ bits: 3 }} }}]")),
            base,
            "limits do not matter"
        );
        assert_ne!(ids(&format!("{HEAD}methods: [{{ lbg: {{ bits: 4 }} }}]")), base);
        assert_ne!(
            ids(&HEAD.replace("n: 50", "n: 51").replace("measure", "methods: [{ lbg: { bits: 3 } }]\nmeasure")),
            base
        );
    }

    #[test]
    fn all_faults_are_reported_at_once() {
        let faults = plan("name: t\ndatasets: [wordnet-minilm-385, { synthetic: gaussian, dim: 12, n: 50 }]\nmethods: [{ pqq: {} }, { pq: { m: 5 } }]\nmeasure: { distortions: }\n")
            .err()
            .expect("four mistakes");
        assert_eq!(faults.len(), 4, "{faults:?}");
    }

    #[test]
    fn every_trial_runs_with_each_number_of_threads() {
        let text = |threads: &str| HEAD.replace("threads: 1", threads) + "methods: [{ lbg: { bits: 3 } }]";
        let found = plan(&text("threads: [1, 4]")).expect("valid");
        let trials: Vec<_> =
            found.trials.iter().map(|t| (t.trial.label.as_str(), t.trial.threads, t.trial.seed)).collect();
        let (one, four) = ("lbg, 1 thread", "lbg, 4 threads");
        assert_eq!(trials, [(one, 1, 1), (one, 1, 2), (four, 4, 1), (four, 4, 2)]);
        let ids = |threads: &str| {
            plan(&text(threads)).expect("valid").trials.into_iter().map(|t| t.trial.id).collect::<Vec<_>>()
        };
        assert_eq!(ids("threads: 4"), ids("threads: [1, 4]")[2..], "the same trials under either name");
        for (threads, expected) in [
            ("threads: []", "`threads` is empty"),
            ("threads: [1, 0]", "`threads: 0` is out of range"),
            ("threads: [2, 2]", "2 threads are listed twice"),
            ("threads: two", "`threads` must be an integer, not the string \"two\""),
            ("threads: [1.5]", "entry 1 of `threads` must be an integer"),
        ] {
            let faults = plan(&text(threads)).err().expect(threads);
            assert!(faults[0].contains(expected), "{faults:?}");
        }
    }

    #[test]
    fn equal_methods_are_a_mistake_whatever_they_are_called() {
        for (methods, expected) in [
            ("[{ lbg: { bits: 3 } }, { lbg: { bits: 3 } }]", "the same method as `lbg` before it"),
            ("[{ lbg: { bits: 3 }, label: a }, { lbg: { bits: 3 }, label: b }]", "the same method as `a` before it"),
            ("[{ pq: { m: 4 } }, { pq: { m: 4, bits: 8 } }]", "the same method as `pq` before it"),
            ("[{ pq: { m: 4 }, label: a }, { factory: PQ4x8 }]", "the same method as `a` before it"),
            ("[{ lbg: , sweep: { bits: [3, 4, 3] } }]", "the same method as `lbg bits=3` before it"),
            ("[{ lbg: { bits: 3 }, label: a }, { lbg: { bits: 4 }, label: a }]", "several methods are called `a`"),
        ] {
            let faults = plan(&format!("{HEAD}methods: {methods}")).err().expect(methods);
            assert!(faults.len() == 1 && faults[0].contains(expected), "{methods}: {faults:?}");
        }
    }

    #[test]
    fn what_a_small_file_expands_to_is_known_before_it_is_expanded() {
        let numbers = |n: usize| (1..=n).map(|i| i.to_string()).collect::<Vec<_>>().join(",");
        let fsq = |sweep: String| format!("methods: [{{ fsq: {{ preset: 8 }}, sweep: {{ groups: [{sweep}] }} }}]\n");
        let entry = format!("  - lbg:\n    sweep: {{ bits: [{}] }}\n", numbers(999));
        let wide = |n| format!("{{ fsq: {{ levels: [{}] }}, sweep: {{ groups: [{}] }} }}", numbers(n), numbers(n));
        for (text, expected) in [
            (
                HEAD.replace("[1, 2]", &format!("[{}]", numbers(40_000))) + &fsq(numbers(20_000)),
                "has 800000000 trials, more than 100000: 20000 methods × 40000 seeds",
            ),
            (format!("{HEAD}methods: [{{ pq: , sweep: {{ m: [{0}], bits: [{0}] }} }}]", numbers(9999)), "99980001"),
            (format!("{HEAD}methods:\n{}", entry.repeat(51)), "has 101898 trials"),
            (format!("{HEAD}methods: [{}]", wide(9000)), "take more than 512MiB"),
        ] {
            let faults = plan(&text).err().expect(expected);
            assert!(faults.len() == 1 && faults[0].contains(expected), "{faults:?}");
        }
        let many = format!("{HEAD}methods:\n{}", "  - pqq: {}\n".repeat(5000));
        let faults = plan(&many).err().expect("5000 mistakes");
        assert_eq!((faults.len(), faults[50].as_str()), (51, "4950 more errors were found"));
    }
}
