//! Tests of plans: what an experiment file expands to, and what is refused.

mod designs;

use super::*;
use std::collections::HashSet;

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
    assert_eq!(ids(&format!("{HEAD}methods: [{{ lbg: {{ bits: 3 }}, label: mine }}]")), base, "names do not matter");
    assert_ne!(base[0], base[1], "seeds differ");
    assert_eq!(ids(&format!("{HEAD}timeout: 3m\nmethods: [{{ lbg: {{ bits: 3, epsilon: 0.01 }} }}]"))[0].len(), 16);
    assert_eq!(ids(&format!("{HEAD}timeout: 3m\nmethods: [{{ lbg: {{ bits: 3 }} }}]")), base, "limits do not matter");
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
    let trials: Vec<_> = found.trials.iter().map(|t| (t.trial.label.as_str(), t.trial.threads, t.trial.seed)).collect();
    let (one, four) = ("lbg, 1 thread", "lbg, 4 threads");
    assert_eq!(trials, [(one, 1, 1), (one, 1, 2), (four, 4, 1), (four, 4, 2)]);
    let ids =
        |threads: &str| plan(&text(threads)).expect("valid").trials.into_iter().map(|t| t.trial.id).collect::<Vec<_>>();
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

/// Trials that differ in threads alone have names of their own, by which `--filter` finds one of them.
#[test]
fn names_tell_trials_apart() {
    let text = |threads: &str| {
        format!(
            "name: t\nseeds: [1, 10]\nthreads: {threads}\nmeasure: {{ distortion: }}\n\
             datasets: [{{ synthetic: gaussian, dim: 4, n: 50 }}]\nmethods: [{{ scalar: {{}} }}]\n"
        )
    };
    let mut several = plan(&text("[1, 2]")).expect("a plan");
    let names: HashSet<&str> = several.trials.iter().map(|trial| trial.name.as_str()).collect();
    assert_eq!(names.len(), 4, "{names:?}");
    let first = several.trials[0].name.clone();
    assert!(first.ends_with(" · seed 1 · 1 thread"), "{first}");
    several.filter(&first);
    assert_eq!(several.trials.len(), 1);
    let mut one = plan(&text("2")).expect("a plan");
    assert!(one.trials.iter().all(|trial| !trial.name.contains("thread")));
    one.filter("seed 1");
    assert_eq!(one.trials.len(), 2, "`seed 10` contains it");
}
