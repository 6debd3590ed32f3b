//! Checks everything but the methods: settings, devices, datasets, measurements. Each check reports at its place and
//! continues, so that the author sees all errors at once.

use super::labels::MAX_LABEL;
use super::{Overrides, PlannedDataset, available_threads};
use crate::clock::PhaseClock;
use crate::document::{Document, escape};
use crate::executor_choice::ExecutorChoice;
use crate::experiment::{DeviceChoice, Experiment};
use crate::fault::Fault;
use crate::metrics::{self, Measure};
use datasets::{SearchPath, Seen, Source};
use methods::ParamError;
use methods::backend::Devices;
use serde_json::{Map, Value};
use std::collections::HashSet;
use std::ops::Range;
use std::path::Path;

/// Upper bound on threads, far beyond any machine; a typing error would otherwise start a million threads.
const MAX_THREADS: usize = 4096;

/// Collects faults.
pub(super) struct Checker<'d> {
    pub(super) document: &'d Document,
    faults: Vec<Fault>,
    /// Number of further faults.
    more: usize,
}

/// Maximum number of faults that are reported; a file may have more than anyone reads.
const MAX_FAULTS: usize = 50;

impl<'d> Checker<'d> {
    pub(super) fn new(document: &'d Document) -> Checker<'d> {
        Checker { document, faults: Vec::new(), more: 0 }
    }

    fn push(&mut self, range: Range<usize>, message: impl Into<String>, help: Option<String>) {
        if self.faults.len() < MAX_FAULTS {
            self.faults.push(Fault::at_bytes(self.document, range, message, help));
        } else {
            self.more += 1;
        }
    }

    /// Whether there were faults.
    pub(super) fn has_faults(&self) -> bool {
        !self.faults.is_empty()
    }

    /// Fails if there were faults.
    pub(super) fn finish(mut self) -> Result<(), Vec<Fault>> {
        if self.more > 0 {
            self.faults.push(Fault::new(format!("{} more errors were found", self.more), "fix these first"));
        }
        if self.faults.is_empty() { Ok(()) } else { Err(self.faults) }
    }

    /// A fault at the value of a pointer, or at its key if the value is a container.
    pub(super) fn fault(&mut self, pointer: &str, message: impl Into<String>, help: Option<String>) {
        self.push(self.document.locate(pointer), message, help);
    }

    /// A fault at the key of a pointer.
    pub(super) fn fault_at_key(&mut self, pointer: &str, message: impl Into<String>, help: Option<String>) {
        self.push(self.document.locate_key(pointer), message, help);
    }

    /// A fault of a parameter below `pointer`: at the parameter if the document has it, otherwise at its parent. An
    /// unknown key, or one without a scalar value, is marked itself.
    pub(super) fn param(&mut self, pointer: &str, error: &ParamError) {
        let below = error.param.as_ref().map_or(pointer.to_owned(), |param| format!("{pointer}/{param}"));
        if error.message.starts_with("unknown key") {
            self.fault_at_key(&below, error.message.clone(), error.help.clone());
        } else {
            self.fault(&below, error.message.clone(), error.help.clone());
        }
    }
}

pub(super) fn apply(experiment: &mut Experiment, overrides: &Overrides) {
    if let Some(device) = overrides.device {
        experiment.device = vec![device];
    }
    if !overrides.seeds.is_empty() {
        experiment.seeds.clone_from(&overrides.seeds);
    }
    if let Some(timeout) = overrides.timeout {
        experiment.timeout = timeout;
    }
    if let Some(executor) = &overrides.executor {
        experiment.executor = executor.instead_of(&experiment.executor);
    }
}

/// Checks what an executor needs to know before it has seen the machines that trials run on.
pub(super) fn check_executor(experiment: &Experiment, checker: &mut Checker<'_>) {
    if experiment.executor.is_here() {
        return;
    }
    if experiment.threads.is_none() {
        let help = "add `threads: 8`, or as many as a trial is to have; the cores of this machine say nothing about the others";
        checker.fault("/executor", "trials run on other machines, and `threads` is not given", Some(help.into()));
    }
    if experiment.budget.is_some() {
        let help = "leave `budget` out, or use `executor: here`: a budget decides after each trial which one is next"
            .to_owned();
        checker.fault("/budget", "`budget` needs all trials on this machine", Some(help));
    }
    let ExecutorChoice::Slurm(settings) = &experiment.executor else { return };
    if let Some(time) = settings.time.filter(|time| time.0 < settings.task_time.0) {
        let message = format!("tasks of {} (`task_time`) do not end within a `time` of {time}", settings.task_time);
        let help = Some("raise `time`, or lower `task_time`".to_owned());
        checker.fault("/executor/slurm/time", message, help);
    }
}

pub(super) fn check_settings(experiment: &Experiment, checker: &mut Checker<'_>) {
    let name = &experiment.name;
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.len() > 100 || !name.chars().all(allowed) || name.starts_with('.') {
        let help = "it is the name of the run folder: use at most 100 letters, digits, `-`, `_` and `.`".to_owned();
        checker.fault("/name", format!("`{name}` cannot be the name of an experiment"), Some(help));
    }
    if !experiment.include.is_empty() {
        let help = "read the file with `include::read`, which adds what it includes".to_owned();
        checker.fault("/include", "what this experiment includes was not read", Some(help));
    }
    let threads = experiment.threads.as_deref().unwrap_or_default();
    let mut seen = HashSet::new();
    for (i, count) in threads.iter().enumerate() {
        if !(1..=MAX_THREADS).contains(count) {
            let help = format!("use 1 to {MAX_THREADS}, or leave it out to use all {} cores", available_threads());
            checker.fault(&format!("/threads/{i}"), format!("`threads: {count}` is out of range"), Some(help));
        } else if !seen.insert(count) {
            let help = "list each number of threads once".to_owned();
            checker.fault(&format!("/threads/{i}"), format!("{count} threads are listed twice"), Some(help));
        }
    }
    for (key, empty, what) in [
        ("/seeds", experiment.seeds.is_empty(), "one seed, such as `seeds: [1, 2, 3]`"),
        ("/datasets", experiment.datasets.is_empty(), "one dataset, such as `- wordnet-minilm-384`"),
        ("/methods", experiment.methods.is_empty(), "one method, such as `- pq: { m: 48 }`"),
        (
            "/threads",
            experiment.threads.is_some() && threads.is_empty(),
            "one number of threads, such as `threads: [1, 2]`",
        ),
        ("/report/formats", experiment.report.formats.is_empty(), "one format, such as html"),
    ] {
        if empty {
            checker.fault(
                key,
                format!("`{}` is empty", key.rsplit('/').next().unwrap_or(key)),
                Some(format!("list at least {what}")),
            );
        }
    }
    let mut seen = HashSet::new();
    if let Some((i, seed)) = experiment.seeds.iter().enumerate().find(|(_, seed)| !seen.insert(**seed)) {
        let help = "list each seed once: it stands for one independent repetition".to_owned();
        checker.fault(&format!("/seeds/{i}"), format!("seed {seed} is listed twice"), Some(help));
    }
}

/// The names of the requested backends without repetition, and the name of the GPU if one is used.
pub(super) fn resolve_devices(
    experiment: &Experiment,
    here: &Devices,
    checker: &mut Checker<'_>,
) -> (Vec<String>, Option<String>) {
    let devices = &experiment.device;
    // Only the machines that trials run on have them.
    let elsewhere = !experiment.executor.is_here();
    if devices.is_empty() {
        checker.fault("/device", "`device` is empty", Some("use cpu, cuda or auto".into()));
    }
    let mut names: Vec<String> = Vec::new();
    let mut called = None;
    for device in devices {
        if elsewhere {
            match device {
                DeviceChoice::Auto => {
                    let help = "write cpu or cuda: what `auto` stands for is not known before a trial runs".to_owned();
                    checker.fault("/device", "trials run on other machines, and `device` is `auto`", Some(help));
                }
                _ if names.iter().any(|name| name == device.name()) => {}
                _ => names.push(device.name().to_owned()),
            }
            continue;
        }
        match here.open(device.name()) {
            Ok(backend) if names.iter().any(|name| name == backend.name()) => {}
            Ok(backend) => {
                names.push(backend.name().to_owned());
                called = called.or(backend.device_name());
            }
            Err(error) => checker.fault("/device", error.reason, Some(error.help)),
        }
    }
    (names, called)
}

pub(super) fn resolve_datasets(
    experiment: &Experiment,
    root: &Path,
    search: &SearchPath,
    skip_missing: bool,
    checker: &mut Checker<'_>,
) -> (Vec<PlannedDataset>, Vec<String>) {
    let mut datasets: Vec<PlannedDataset> = Vec::new();
    let mut missing = Vec::new();
    let mut names = HashSet::new();
    // Several entries may use the same files.
    let mut seen = Seen::default();
    for (i, written) in experiment.datasets.iter().enumerate() {
        let pointer = format!("/datasets/{i}");
        let clock = PhaseClock::begin("digest");
        match Source::parse(written) {
            Err(error) => checker.param(&pointer, &error),
            Ok(source) => match source.resolve_knowing(root, search, &seen) {
                Err(error) if error.is_missing() => missing.push((pointer_of_file(&pointer, written), error)),
                Err(error) => checker.fault(&pointer_of_file(&pointer, written), error.to_string(), error.help()),
                Ok(resolved) if !names.insert(resolved.summary.name.clone()) => {
                    let name = &resolved.summary.name;
                    let help = "give one of them another `name:`".to_owned();
                    checker.fault(&pointer, format!("two datasets are called `{name}`"), Some(help));
                }
                Ok(resolved) if !is_name(&resolved.summary.name) => {
                    checker.fault(
                        &format!("{pointer}/name"),
                        format!("a dataset needs a name: one line of 1 to {MAX_LABEL} characters"),
                        Some("such as `name: my-vectors`".into()),
                    );
                }
                Ok(resolved) => {
                    seen.add(&resolved.seen);
                    let pointer = pointer_of_file(&pointer, written);
                    let (written, found) = (written.clone(), clock.end());
                    datasets.push(PlannedDataset { written, resolved, found, pointer });
                }
            },
        }
    }
    let skip = skip_missing && !datasets.is_empty();
    let skipped = if skip { missing.iter().map(|(_, error)| error.to_string()).collect() } else { Vec::new() };
    for (pointer, error) in missing.into_iter().filter(|_| !skip) {
        let others = experiment.datasets.len() > 1;
        let way_out = if others { "; `--skip-missing` leaves out what is not here" } else { "" };
        checker.fault(&pointer, error.to_string(), error.help().map(|help| help + way_out));
    }
    (datasets, skipped)
}

/// Whether a text is usable in tables and legends.
fn is_name(text: &str) -> bool {
    !text.trim().is_empty() && text.chars().count() <= MAX_LABEL && !text.contains(char::is_control)
}

/// The pointer to the path of a file source, the images of an image source, the recordings of a source of sound, or the distribution of a random source.
fn pointer_of_file(pointer: &str, written: &Value) -> String {
    ["path", "images", "wav", "synthetic"]
        .into_iter()
        .find(|key| written.get(key).is_some())
        .map_or(pointer.to_owned(), |key| format!("{pointer}/{key}"))
}

pub(super) fn resolve_measures(
    experiment: &mut Experiment,
    checker: &mut Checker<'_>,
) -> Vec<(String, Box<dyn Measure>)> {
    let written = experiment.measure.clone().unwrap_or_else(metrics::defaults);
    let mut measures = Vec::new();
    let mut resolved = Map::new();
    for (name, params) in written {
        let pointer = format!("/measure/{}", escape(&name));
        match metrics::parse(&name, params) {
            Err(error) if error.param.is_none() && error.message.starts_with("unknown measurement") => {
                checker.fault_at_key(&pointer, error.message, error.help);
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

/// Checks that the datasets can satisfy what the file requests; defaults are not checked.
pub(super) fn check_questions(
    datasets: &[PlannedDataset],
    measures: &[(String, Box<dyn Measure>)],
    checker: &mut Checker<'_>,
) {
    for (name, measure) in measures {
        let written = |key: &str| checker.document.value().pointer(&format!("/measure/{name}{key}")).is_some();
        let fewest = datasets.iter().map(|d| &d.resolved.summary).min_by_key(|summary| summary.base);
        if let Some(summary) = fewest.filter(|summary| measure.truth_depth() > summary.base && written("/k")) {
            let message = format!(
                "`{name}` needs {} neighbours, but dataset `{}` has {} base rows",
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
            let message = format!("`{name}` needs class labels, and no dataset here has any");
            let help = "give a file dataset `labels:`, or leave this out".to_owned();
            checker.fault_at_key(&format!("/measure/{name}"), message, Some(help));
        } else if measure.needs_judgments()
            && written("")
            && !datasets.is_empty()
            && datasets.iter().all(|d| !d.resolved.summary.judged)
        {
            let message = format!("`{name}` needs judgments of relevance, and no dataset here has any");
            let help = "give a file dataset `qrels:`, or leave this out".to_owned();
            checker.fault_at_key(&format!("/measure/{name}"), message, Some(help));
        } else if measure.needs_signal()
            && written("")
            && !datasets.is_empty()
            && datasets.iter().all(|d| d.resolved.summary.signal.is_none())
        {
            let message = format!("`{name}` is for images and sound, and no dataset here is either");
            let help =
                "write `images:` instead of `path:`, add `frames_per_second:` to frames of sound, or leave this out";
            checker.fault_at_key(&format!("/measure/{name}"), message, Some(help.to_owned()));
        }
    }
}
