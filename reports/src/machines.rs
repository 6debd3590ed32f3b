//! The classes of machines that the trials of a report ran on. Times are compared within a class alone: a pooled mean, or a
//! bar beside another, would compare machines and not methods.

use crate::summary::DatasetSummary;
use crate::words::WordTable;
use maud::{Markup, html as markup};
use record::{Machine, Results};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// The classes of machines of a report, by what [`Machine::is_like`] compares.
pub(crate) struct Classes {
    /// In the order in which trials name them.
    names: Vec<Arc<str>>,
    /// The index of a class by the class that a record says.
    known: HashMap<String, usize>,
}

impl Classes {
    /// The classes of all trials that have ended. A record names the GPU only if its trial used one: other trials on a
    /// machine with the same processor belong to the class with that GPU, unless there are machines with different ones.
    pub(crate) fn of(runs: &[Results]) -> Classes {
        let machines = || runs.iter().flat_map(|run| &run.ended).map(|ended| &ended.machine);
        let without = |machine: &Machine| Machine { gpu: None, ..machine.clone() }.class();
        let mut gpus: HashMap<String, BTreeSet<&str>> = HashMap::new();
        let mut known: HashMap<String, usize> = HashMap::new();
        for machine in machines().filter(|machine| machine.gpu.is_some()) {
            gpus.entry(without(machine)).or_default().extend(machine.gpu.as_deref());
        }
        let mut names: Vec<Arc<str>> = Vec::new();
        for machine in machines() {
            let said = machine.class();
            if known.contains_key(&said) {
                continue;
            }
            let only = match gpus.get(&said) {
                Some(found) if found.len() == 1 => found.first().map(|gpu| (*gpu).to_owned()),
                _ => machine.gpu.clone(),
            };
            let name = Machine { gpu: only, ..machine.clone() }.class();
            let at = names.iter().position(|known| **known == *name).unwrap_or(names.len());
            if at == names.len() {
                names.push(name.into());
            }
            known.insert(said, at);
        }
        Classes { names, known }
    }

    /// All of them, in order.
    pub(crate) fn names(&self) -> &[Arc<str>] {
        &self.names
    }

    /// The class of a machine.
    pub(crate) fn name(&self, machine: &Machine) -> Arc<str> {
        let said = machine.class();
        self.known.get(&said).map_or_else(|| said.into(), |at| self.names[*at].clone())
    }

    /// Whether there are several.
    pub(crate) fn several(&self) -> bool {
        self.names.len() > 1
    }
}

/// How a class is called in headings; numbers count from 1.
pub(crate) fn called(number: usize) -> String {
    format!("machine {number}")
}

/// Why times of several classes do not stand together, and which classes they are; None if something was timed on one class
/// at most.
pub(crate) fn note(dataset: &DatasetSummary) -> Option<String> {
    let timed = dataset.timed_on();
    if timed.len() < 2 {
        return None;
    }
    let each: Vec<String> = timed.iter().map(|name| format!("{} is {name}", called(dataset.number(name)))).collect();
    Some(format!(
        "Times were measured on {} classes of machines. Each class has columns and figures of its own, because times of \
         different machines do not compare: {}.",
        timed.len(),
        each.join("; ")
    ))
}

/// Heading of the section.
const TITLE: &str = "Machines";

/// Headings of the table.
const HEAD: &[&str] = &["", "class", "run", "dataset", "trials", "methods"];

/// Names of methods that a cell lists.
const MOST_NAMES: usize = 8;

/// Which trials ran on which class of machines; None if there is one class.
fn table(runs: &[Results]) -> Option<WordTable> {
    let classes = Classes::of(runs);
    if !classes.several() {
        return None;
    }
    let mut rows = Vec::new();
    for (number, class) in (1..).zip(classes.names()) {
        for run in runs {
            for dataset in &run.info.datasets {
                let here = run.ended.iter().filter(|ended| ended.trial.dataset == dataset.name);
                let here: Vec<_> = here.filter(|ended| classes.name(&ended.machine) == *class).collect();
                if here.is_empty() {
                    continue;
                }
                let mut names: Vec<&str> = Vec::new();
                let mut seen = BTreeSet::new();
                names.extend(here.iter().map(|ended| &*ended.trial.series).filter(|name| seen.insert(*name)));
                let more = names.len().saturating_sub(MOST_NAMES);
                names.truncate(MOST_NAMES);
                let mut methods = names.join("; ");
                if more > 0 {
                    methods += &format!("; and {more} more");
                }
                rows.push(vec![
                    called(number),
                    class.to_string(),
                    run.info.name.clone(),
                    dataset.name.clone(),
                    here.len().to_string(),
                    methods,
                ]);
            }
        }
    }
    Some(WordTable { heading: TITLE.to_owned(), head: HEAD, rows })
}

/// What the section says before its table.
const INTRODUCTION: &str = "Trials ran on machines of several classes: other processors, numbers of cores, instruction sets or GPUs. Quality is that of \
     the method on all of them, up to rounding between instruction sets. Times are shown and compared within a class alone.";

/// The section of a page; empty if there is one class.
pub(crate) fn html(runs: &[Results]) -> Markup {
    markup! {
        @if let Some(table) = table(runs) {
            section id="machines" { h2 { (TITLE) } p.facts { (INTRODUCTION) } (table.html()) }
        }
    }
}

/// The section in Markdown; empty if there is one class.
pub(crate) fn markdown(runs: &[Results], escape: fn(&str) -> String) -> String {
    let section = |table: WordTable| format!("\n## {TITLE}\n\n{}\n\n{}", escape(INTRODUCTION), table.markdown(escape));
    table(runs).map(section).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use record::Ended;

    fn machine(cpu: &str, gpu: Option<&str>) -> Machine {
        Machine { cpu: cpu.into(), cores: 2, simd: "avx2".into(), gpu: gpu.map(str::to_owned), ..Machine::default() }
    }

    fn run(machines: &[Machine]) -> Results {
        let trial = serde_json::json!({
            "id": "a", "experiment": "e", "dataset": "d", "dim": 1, "n": 1, "metric_space": "l2", "method": "m", "params": {},
            "label": "l", "series": "s", "device": "cpu", "threads": 1, "seed": 1, "bits_per_vector": 1,
        });
        let ended = |machine: &Machine| Ended {
            trial: serde_json::from_value(trial.clone()).expect("a trial"),
            status: record::Status::Ok,
            reason: None,
            cause: None,
            limits: record::Limits { timeout_seconds: 1.0, memory_bytes: None },
            machine: machine.clone(),
            wall_seconds: 1.0,
            log: None,
        };
        let info = record::RunInfo {
            schema: record::SCHEMA,
            name: "e".into(),
            analysis: String::new(),
            experiment: serde_json::json!({}),
            machine: Machine::default(),
            datasets: vec![],
            trials: vec![],
            skipped: vec![],
        };
        Results {
            info,
            ended: machines.iter().map(ended).collect(),
            values: polars::prelude::DataFrame::default(),
            pictures: vec![],
        }
    }

    #[test]
    fn trials_without_a_gpu_are_of_the_class_of_their_machine() {
        let names = |machines: &[Machine]| -> Vec<String> {
            Classes::of(&[run(machines)]).names().iter().map(|name| name.to_string()).collect()
        };
        let (plain, gpu) = (machine("P", None), machine("P", Some("G")));
        assert_eq!(names(&[plain.clone(), gpu.clone(), plain.clone()]), ["P, 2 cores, avx2, G"], "one machine");
        let other = machine("P", Some("H"));
        assert_eq!(names(&[plain.clone(), gpu.clone(), other]).len(), 3, "nobody knows whose processor it was");
        assert_eq!(names(&[machine("Q", None), gpu]), ["Q, 2 cores, avx2", "P, 2 cores, avx2, G"]);
        assert!(names(&[]).is_empty());
        let more = Machine { memory_bytes: 1, os: "x".into(), git_revision: Some("y".into()), ..plain.clone() };
        assert_eq!(names(&[plain, more]).len(), 1, "times do not depend on these");
    }
}
