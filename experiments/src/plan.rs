//! From what was written to what will run: every check that needs no values, and the list of trials.

use crate::document::{Document, escape};
use crate::experiment::{Device, Experiment, ReportFormat};
use crate::fault::Fault;
use crate::machine::total_memory_bytes;
use crate::metrics::{self, Measure};
use crate::units::Seconds;
use datasets::{FileSource, Resolved, SearchPath, Source, SyntheticSource, catalog};
use methods::strict::{self, nearest_name};
use methods::{METHODS, Method, ParamError};
use record::{Limits, Trial};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// Fingerprint of the sources that determine results.
pub(crate) const SOURCES: &str = env!("VQBENCH_SOURCES");

/// What the command line may replace.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// Instead of `device`.
    pub device: Option<Device>,
    /// Instead of `seeds`.
    pub seeds: Vec<u64>,
    /// Instead of `timeout`.
    pub timeout: Option<Seconds>,
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
}

/// A dataset as written and as found.
pub struct PlannedDataset {
    /// As written, for the child process.
    pub written: Value,
    /// As found.
    pub resolved: Resolved,
    /// Where it is written, for errors found on loading.
    pub pointer: String,
}

/// A trial and what it is expected to cost.
pub struct PlannedTrial {
    /// What is tried.
    pub trial: Trial,
    /// Index of its dataset.
    pub dataset: usize,
    /// Rough expectation.
    pub estimated_seconds: f64,
}

/// Multiply-adds per second and thread assumed for estimates; they order trials and fill a progress bar, no more.
const ASSUMED_RATE: f64 = 2e10;

/// Far beyond any machine; a slip of the finger otherwise starts a million threads.
const MAX_THREADS: usize = 4096;

/// Trials of one experiment; a sweep over many lists multiplies quickly.
const MAX_TRIALS: usize = 100_000;

/// Starting a process and loading data.
const OVERHEAD_SECONDS: f64 = 0.3;

struct Checker<'d> {
    document: &'d Document,
    faults: Vec<Fault>,
}

impl Checker<'_> {
    fn fault(&mut self, pointer: &str, message: impl Into<String>, help: Option<String>) {
        self.faults.push(Fault::at(self.document, pointer, message, help));
    }

    /// A fault of a parameter below `pointer`: at the parameter if it stands in the document, else at its parent. An
    /// unknown or merely present key is marked itself.
    fn param(&mut self, pointer: &str, error: &ParamError) {
        let below = error.param.as_ref().map_or(pointer.to_owned(), |param| format!("{pointer}/{param}"));
        let range = if error.message.starts_with("unknown key") {
            self.document.locate_key(&below)
        } else {
            self.document.locate(&below)
        };
        self.faults.push(Fault::at_bytes(self.document, range, error.message.clone(), error.help.clone()));
    }
}

impl Plan {
    /// Checks a document. Relative paths in it start from `root`.
    ///
    /// # Errors
    /// Every fault found, each with its place.
    pub fn new(
        document: &Document,
        root: &Path,
        search: &SearchPath,
        overrides: &Overrides,
    ) -> Result<Plan, Vec<Fault>> {
        let mut checker = Checker { document, faults: Vec::new() };
        if !document.value().is_object() {
            let help =
                "an experiment is a mapping with `name`, `datasets` and `methods`; see experiments/quickstart.yaml";
            return Err(vec![Fault::at(document, "", "this is no experiment", Some(help.into()))]);
        }
        let mut experiment: Experiment = match strict::from_value(document.value().clone()) {
            Ok(experiment) => experiment,
            Err(error) => {
                checker.param("", &error);
                return Err(checker.faults);
            }
        };
        apply(&mut experiment, overrides);
        check_settings(&experiment, &mut checker);
        let devices = resolve_devices(&experiment, &mut checker);
        let datasets = resolve_datasets(&experiment, root, search, &mut checker);
        let measures = resolve_measures(&mut experiment, &mut checker);
        let methods = resolve_methods(&experiment, &mut checker);
        for (method, place) in &methods {
            // The same parameter can be wrong for several datasets; its author needs to hear each dimension once.
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
        check_questions(&datasets, &measures, &mut checker);
        if !checker.faults.is_empty() {
            return Err(checker.faults);
        }
        let measures: Vec<Box<dyn Measure>> = measures.into_iter().map(|(_, measure)| measure).collect();
        let threads = experiment.threads.unwrap_or_else(available_threads);
        experiment.threads = Some(threads);
        let limits = Limits { timeout_seconds: experiment.timeout.0, memory_bytes: experiment.memory.map(|m| m.0) };
        let mut plan = Plan { experiment, root: root.to_owned(), datasets, measures, trials: Vec::new(), limits };
        for dataset in 0..plan.datasets.len() {
            for (method, _) in &methods {
                for device in &devices {
                    for seed in plan.experiment.seeds.clone() {
                        let trial = plan.trial(dataset, method, device, threads, seed);
                        plan.trials.push(trial);
                    }
                }
            }
        }
        if plan.trials.len() > MAX_TRIALS {
            let message = format!("this experiment has {} trials, more than {MAX_TRIALS}", plan.trials.len());
            return Err(vec![Fault::at(
                document,
                "/methods",
                message,
                Some("shorten a sweep, or split the experiment".into()),
            )]);
        }
        // Two entries that mean the same would count one result twice.
        let mut seen = HashSet::new();
        plan.trials.retain(|t| seen.insert(t.trial.id.clone()));
        Ok(plan)
    }

    /// Neighbours that the ground truth must hold.
    pub fn truth_depth(&self) -> usize {
        self.measures.iter().map(|m| m.truth_depth()).max().unwrap_or(0)
    }

    /// Whether some measurement is of speed, so that trials must run alone.
    pub fn timed(&self) -> bool {
        self.measures.iter().any(|m| m.seconds() > 0.0)
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
                id: hash(&identity),
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
            estimated_seconds: OVERHEAD_SECONDS + multiply_adds / (ASSUMED_RATE * threads as f64) + measuring,
        }
    }

    /// Keeps the trials whose description contains `text`, ignoring case.
    pub fn filter(&mut self, text: &str) {
        self.trials.retain(|t| matches(&t.trial, text));
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

/// First 16 hexadecimal digits of the SHA-256 of a value as JSON.
pub fn hash(value: &Value) -> String {
    Sha256::digest(value.to_string().as_bytes()).iter().take(8).map(|b| format!("{b:02x}")).collect()
}

fn available_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn apply(experiment: &mut Experiment, overrides: &Overrides) {
    if let Some(device) = overrides.device {
        experiment.device = crate::experiment::Devices::One(device);
    }
    if !overrides.seeds.is_empty() {
        experiment.seeds.clone_from(&overrides.seeds);
    }
    if let Some(timeout) = overrides.timeout {
        experiment.timeout = timeout;
    }
}

fn check_settings(experiment: &Experiment, checker: &mut Checker<'_>) {
    let name = &experiment.name;
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.len() > 100 || !name.chars().all(allowed) || name.starts_with('.') {
        let help = "it names the run folder: use up to 100 letters, digits, `-`, `_` and `.`, such as `pq-vs-scalar`"
            .to_owned();
        checker.fault("/name", format!("`{name}` cannot be the name of an experiment"), Some(help));
    }
    if let Some(threads) = experiment.threads.filter(|threads| !(1..=MAX_THREADS).contains(threads)) {
        let help = format!("use 1 to {MAX_THREADS}, or leave it out for all {} cores", available_threads());
        checker.fault("/threads", format!("`threads: {threads}` is out of range"), Some(help));
    }
    for (key, empty, what) in [
        ("/seeds", experiment.seeds.is_empty(), "a seed, such as `seeds: [1, 2, 3]`"),
        ("/datasets", experiment.datasets.is_empty(), "a dataset, such as `- wordnet-minilm-384`"),
        ("/methods", experiment.methods.is_empty(), "a method, such as `- pq: { m: 48 }`"),
        ("/report/formats", experiment.report.formats.is_empty(), "a format, such as html"),
    ] {
        if empty {
            checker.fault(
                key,
                format!("`{}` is empty", key.rsplit('/').next().unwrap_or(key)),
                Some(format!("name at least {what}")),
            );
        }
    }
    let mut seen = HashSet::new();
    if let Some((i, seed)) = experiment.seeds.iter().enumerate().find(|(_, seed)| !seen.insert(**seed)) {
        let help = "each seed stands for one independent repetition".to_owned();
        checker.fault(&format!("/seeds/{i}"), format!("seed {seed} is listed twice"), Some(help));
    }
}

/// Devices by the names of their backends, each once.
fn resolve_devices(experiment: &Experiment, checker: &mut Checker<'_>) -> Vec<String> {
    let devices = experiment.device.list();
    if devices.is_empty() {
        checker.fault("/device", "`device` is empty", Some("use cpu, cuda or auto".into()));
    }
    let mut names: Vec<String> = Vec::new();
    for device in devices {
        match methods::backend::open(device.name()) {
            Ok(backend) if names.iter().any(|name| name == backend.name()) => {}
            Ok(backend) => names.push(backend.name().to_owned()),
            Err(error) => checker.fault("/device", error.reason, Some(error.help)),
        }
    }
    names
}

/// Reads a dataset as it is written in an experiment.
///
/// # Errors
/// Names the key to blame.
pub fn parse_source(written: &Value) -> Result<Source, ParamError> {
    match written {
        Value::String(name) => Ok(Source::Named(name.clone())),
        Value::Object(map) if map.contains_key("synthetic") => {
            strict::from_value::<SyntheticSource>(written.clone()).map(Source::Synthetic)
        }
        Value::Object(map) if map.contains_key("path") => {
            strict::from_value::<FileSource>(written.clone()).map(Source::File)
        }
        _ => Err(ParamError {
            param: None,
            message: "this is no dataset".into(),
            help: Some(format!(
                "write a name ({}), or a mapping with `path:` or `synthetic:`",
                catalog::entries().iter().map(|e| e.name.as_str()).collect::<Vec<_>>().join(", ")
            )),
        }),
    }
}

fn resolve_datasets(
    experiment: &Experiment,
    root: &Path,
    search: &SearchPath,
    checker: &mut Checker<'_>,
) -> Vec<PlannedDataset> {
    let mut datasets: Vec<PlannedDataset> = Vec::new();
    for (i, written) in experiment.datasets.iter().enumerate() {
        let pointer = format!("/datasets/{i}");
        match parse_source(written) {
            Err(error) => checker.param(&pointer, &error),
            Ok(source) => match source.resolve(root, search) {
                Err(error) => checker.fault(&pointer_of_file(&pointer, written), error.to_string(), error.help()),
                Ok(resolved) if datasets.iter().any(|d| d.resolved.summary.name == resolved.summary.name) => {
                    let name = &resolved.summary.name;
                    let help = "give one of them a `name:` of its own".to_owned();
                    checker.fault(&pointer, format!("two datasets are called `{name}`"), Some(help));
                }
                Ok(resolved) if resolved.summary.name.trim().is_empty() => {
                    checker.fault(
                        &format!("{pointer}/name"),
                        "a dataset needs a name",
                        Some("such as `name: my-vectors`".into()),
                    );
                }
                Ok(resolved) if bytes_needed(&resolved.summary) > total_memory_bytes() => {
                    let gib = |bytes: u64| format!("{:.1} GiB", bytes as f64 / (1u64 << 30) as f64);
                    let needed = gib(bytes_needed(&resolved.summary));
                    let help = "use fewer rows or dimensions; every trial holds all rows as f32".to_owned();
                    let message = format!(
                        "dataset `{}` needs {needed} of memory, this machine has {}",
                        resolved.summary.name,
                        gib(total_memory_bytes())
                    );
                    checker.fault(&pointer_of_file(&pointer, written), message, Some(help));
                }
                Ok(resolved) => datasets.push(PlannedDataset {
                    written: written.clone(),
                    resolved,
                    pointer: pointer_of_file(&pointer, written),
                }),
            },
        }
    }
    datasets
}

/// Bytes of all rows as f32; the largest number when there are more than that.
fn bytes_needed(summary: &datasets::Summary) -> u64 {
    let rows =
        [summary.train, summary.base, summary.queries].into_iter().try_fold(0u64, |sum, n| sum.checked_add(n as u64));
    rows.and_then(|rows| rows.checked_mul(4 * summary.dim as u64)).unwrap_or(u64::MAX)
}

/// Points at the path of a file source, at the kind of a synthetic one.
fn pointer_of_file(pointer: &str, written: &Value) -> String {
    ["path", "synthetic"]
        .into_iter()
        .find(|key| written.get(key).is_some())
        .map_or(pointer.to_owned(), |key| format!("{pointer}/{key}"))
}

fn resolve_measures(experiment: &mut Experiment, checker: &mut Checker<'_>) -> Vec<(String, Box<dyn Measure>)> {
    let written = experiment.measure.clone().unwrap_or_else(metrics::defaults);
    let mut measures = Vec::new();
    let mut resolved = Map::new();
    for (name, params) in written {
        let pointer = format!("/measure/{}", escape(&name));
        match metrics::parse(&name, params) {
            Err(error) if error.param.is_none() && error.message.starts_with("unknown measurement") => {
                let range = checker.document.locate_key(&pointer);
                checker.faults.push(Fault::at_bytes(checker.document, range, error.message, error.help));
            }
            Err(error) => checker.param(&pointer, &error),
            Ok(measure) => {
                if measure.seconds() > 0.0 && cfg!(debug_assertions) {
                    let help = "use `cargo xtask`, which builds with optimization".to_owned();
                    checker.fault(&pointer, format!("`{name}` measures time, and this is a debug build"), Some(help));
                }
                resolved.insert(name.clone(), measure.params());
                measures.push((name, measure));
            }
        }
    }
    experiment.measure = Some(resolved);
    measures
}

/// Whether what was written, not what a default says, can be asked of the datasets.
fn check_questions(datasets: &[PlannedDataset], measures: &[(String, Box<dyn Measure>)], checker: &mut Checker<'_>) {
    for (name, measure) in measures {
        let written = |key: &str| checker.document.value().pointer(&format!("/measure/{name}{key}")).is_some();
        let fewest = datasets.iter().map(|d| &d.resolved.summary).min_by_key(|summary| summary.base);
        if let Some(summary) = fewest.filter(|summary| measure.truth_depth() > summary.base && written("/k")) {
            let message = format!(
                "`{name}` asks for {} neighbours, dataset `{}` has {} base rows",
                measure.truth_depth(),
                summary.name,
                summary.base
            );
            checker.fault(&format!("/measure/{name}/k"), message, Some("use a smaller k, or more rows".into()));
        } else if measure.needs_labels()
            && written("")
            && !datasets.is_empty()
            && datasets.iter().all(|d| !d.resolved.summary.labelled)
        {
            let range = checker.document.locate_key(&format!("/measure/{name}"));
            let message = format!("`{name}` needs classes, and no dataset here has any");
            let help = "give a file dataset `labels:`, or leave this out".to_owned();
            checker.faults.push(Fault::at_bytes(checker.document, range, message, Some(help)));
        }
    }
}

/// A method with its names.
struct LabelledMethod {
    method: Box<dyn Method>,
    label: String,
    series: String,
}

/// Reads the methods, one for each combination of swept values, with the place where it is written.
fn resolve_methods(experiment: &Experiment, checker: &mut Checker<'_>) -> Vec<(LabelledMethod, Place)> {
    let mut methods = Vec::new();
    for (i, entry) in experiment.methods.iter().enumerate() {
        let pointer = format!("/methods/{i}");
        let names: Vec<&String> = entry.keys().filter(|key| !["sweep", "label"].contains(&key.as_str())).collect();
        let [name] = names[..] else {
            let found = names.iter().map(|n| n.as_str()).collect::<Vec<_>>().join(", ");
            let message = if found.is_empty() {
                "no method is named here".into()
            } else {
                format!("this entry names several methods: {found}")
            };
            let known = METHODS.iter().map(|m| m.name).collect::<Vec<_>>().join(", ");
            checker.fault(
                &pointer,
                message,
                Some(format!(
                    "each entry is one method ({known}) with its parameters, and optionally `sweep` and `label`"
                )),
            );
            continue;
        };
        let below = format!("{pointer}/{}", escape(name));
        if let Err(error) = methods::spec::find(name) {
            let range = checker.document.locate_key(&below);
            checker.faults.push(Fault::at_bytes(checker.document, range, error.message, error.help));
            continue;
        }
        let Some(combinations) = sweep(entry.get("sweep"), &format!("{pointer}/sweep"), checker) else { continue };
        let fixed = |key: &String| entry[name].get(key).is_some();
        let twice = entry.get("sweep").and_then(Value::as_object).and_then(|sweep| sweep.keys().find(|key| fixed(key)));
        if let Some(key) = twice {
            let range = checker.document.locate_key(&format!("{pointer}/sweep/{}", escape(key)));
            let message = format!("`{key}` stands both in the parameters and in the sweep");
            checker.faults.push(Fault::at_bytes(checker.document, range, message, Some("keep one of the two".into())));
            continue;
        }
        let template = match entry.get("label") {
            None => None,
            Some(Value::String(text)) if !text.trim().is_empty() => Some(text.as_str()),
            Some(_) => {
                checker.fault(
                    &format!("{pointer}/label"),
                    "`label` must be a text that says something",
                    Some("such as \"PQ m={m}\"".into()),
                );
                continue;
            }
        };
        for swept in combinations {
            let params = match (&entry[name], swept.is_empty()) {
                (params, true) => params.clone(),
                (Value::Null, false) => Value::Object(swept.clone()),
                (Value::Object(params), false) => {
                    let mut params = params.clone();
                    params.extend(swept.clone());
                    Value::Object(params)
                }
                (other, false) => other.clone(),
            };
            let position = |key: &str, value: &Value| {
                let list = entry.get("sweep").and_then(|sweep| sweep.get(key)).and_then(Value::as_array);
                list.and_then(|list| list.iter().position(|v| v == value)).unwrap_or(0)
            };
            let place = Place {
                entry: pointer.clone(),
                method: below.clone(),
                swept: swept.iter().map(|(key, value)| (key.clone(), position(key, value))).collect(),
            };
            match methods::parse(name, params) {
                Err(error) => {
                    place.report(&error, checker);
                    break;
                }
                Ok(method) => {
                    let params = method.params();
                    let label = match label(template, name, &params, &entry[name], &swept) {
                        Ok(label) => label,
                        Err(error) => {
                            checker.fault(&format!("{pointer}/label"), error.message, error.help);
                            break;
                        }
                    };
                    let taken = methods.iter().any(|(other, _): &(LabelledMethod, Place)| {
                        other.label == label
                            && (other.method.name(), other.method.params()) != (method.name(), params.clone())
                    });
                    if taken {
                        let help = "let the label say what differs, such as \"PQ m={m}\"".to_owned();
                        checker.fault(
                            &format!("{pointer}/label"),
                            format!("several methods are called `{label}`"),
                            Some(help),
                        );
                        break;
                    }
                    let series = template.map_or_else(|| plain_series(name, &entry[name]), series);
                    methods.push((LabelledMethod { method, label, series }, place));
                }
            }
        }
    }
    methods
}

/// Where a method and its parameters are written.
struct Place {
    /// The entry of the list.
    entry: String,
    /// The method's key.
    method: String,
    /// Values that come from the sweep, with their position in their list.
    swept: Vec<(String, usize)>,
}

impl Place {
    /// Reports an error of a parameter: at the swept value if it comes from the sweep, else below the method.
    fn report(&self, error: &ParamError, checker: &mut Checker<'_>) {
        let first = error.param.as_deref().and_then(|param| param.split('/').next()).unwrap_or("");
        match self.swept.iter().find(|(name, _)| name == first) {
            Some((name, _)) if error.message.starts_with("unknown key") => {
                checker.param(
                    &format!("{}/sweep", self.entry),
                    &ParamError { param: Some(name.clone()), ..error.clone() },
                );
            }
            Some((name, index)) => {
                let pointer = format!("{}/sweep/{}/{index}", self.entry, escape(name));
                checker.fault(&pointer, error.message.clone(), error.help.clone());
            }
            None => checker.param(&self.method, error),
        }
    }
}

/// Combinations of a sweep, the last key varying fastest; one empty combination without a sweep.
fn sweep(written: Option<&Value>, pointer: &str, checker: &mut Checker<'_>) -> Option<Vec<Map<String, Value>>> {
    let mut combinations = vec![Map::new()];
    let map = match written {
        None => return Some(combinations),
        Some(Value::Object(map)) if !map.is_empty() => map,
        Some(_) => {
            checker.fault(
                pointer,
                "`sweep` is a mapping from parameters to lists of values",
                Some("such as { m: [24, 48, 96] }".into()),
            );
            return None;
        }
    };
    let product = map.values().map(|v| v.as_array().map_or(1, Vec::len)).try_fold(1usize, |a, b| a.checked_mul(b));
    if product.is_none_or(|product| product > MAX_TRIALS) {
        let help = format!("an experiment has at most {MAX_TRIALS} trials; shorten a list");
        checker.fault(pointer, "this sweep has too many combinations", Some(help));
        return None;
    }
    for (key, values) in map {
        let values = match values {
            Value::Array(values) if !values.is_empty() => values,
            _ => {
                let pointer = format!("{pointer}/{}", escape(key));
                checker.fault(
                    &pointer,
                    format!("`{key}` is swept over no list"),
                    Some(format!("write `{key}: [1, 2, 4]`")),
                );
                return None;
            }
        };
        combinations = combinations
            .into_iter()
            .flat_map(|combination| {
                values.iter().map(move |value| {
                    let mut combination = combination.clone();
                    combination.insert(key.clone(), value.clone());
                    combination
                })
            })
            .collect();
    }
    Some(combinations)
}

/// The name of one point: the template with `{param}` replaced, or the method with the parameters that were written.
fn label(
    template: Option<&str>,
    name: &str,
    params: &Value,
    written: &Value,
    swept: &Map<String, Value>,
) -> Result<String, ParamError> {
    let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    if let (None, Some(text)) = (template, written.as_str()) {
        // Parameters that are one text name themselves.
        return Ok(text.to_owned());
    }
    let Some(template) = template else {
        let written: Vec<&String> =
            written.as_object().into_iter().flatten().map(|(k, _)| k).chain(swept.keys()).collect();
        let given = params.as_object().into_iter().flatten().filter(|(key, _)| written.contains(key));
        let words: Vec<String> = given.map(|(key, value)| format!("{key}={}", plain(value))).collect();
        return Ok(if words.is_empty() { name.to_owned() } else { format!("{name} {}", words.join(" ")) });
    };
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (key, after) = after.split_once('}').unwrap_or((after, ""));
        let Some(value) = params.get(key) else {
            let known = params.as_object().into_iter().flatten().map(|(key, _)| key.as_str());
            let help = nearest_name(key, known, "parameters");
            return Err(ParamError::new("label", format!("`{{{key}}}` in the label is no parameter of {name}"), help));
        };
        text += before;
        text += &plain(value);
        rest = after;
    }
    Ok(text + rest)
}

/// The name of a curve: the template without the words that change from point to point.
fn series(template: &str) -> String {
    let words: Vec<&str> = template.split_whitespace().filter(|word| !word.contains('{')).collect();
    if words.is_empty() { template.to_owned() } else { words.join(" ") }
}

/// The name of a curve without a template: the method and those of its written parameters that are no numbers, since
/// numbers are what changes along a curve.
fn plain_series(name: &str, written: &Value) -> String {
    if let Some(text) = written.as_str() {
        return text.to_owned();
    }
    let kinds = written.as_object().into_iter().flatten().filter(|(_, value)| !value.is_number());
    let words: Vec<String> = kinds
        .map(|(key, value)| format!("{key}={}", value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
        .collect();
    if words.is_empty() { name.to_owned() } else { format!("{name} {}", words.join(" ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(text: &str) -> Result<Plan, Vec<String>> {
        let document = Document::parse("t.yaml", text).map_err(|f| vec![f.to_string()])?;
        Plan::new(&document, Path::new("."), &SearchPath::from_env(), &Overrides::default())
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
    fn equal_entries_are_run_once() {
        let plan =
            plan(&format!("{HEAD}methods: [{{ lbg: {{ bits: 3 }} }}, {{ lbg: {{ bits: 3 }} }}]")).expect("valid");
        assert_eq!(plan.trials.len(), 2);
    }
}
