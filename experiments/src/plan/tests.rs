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

const PAIRED: &str = "name: t\nseeds: [1, 2]\nthreads: 1\ndatasets: [{ synthetic: gaussian, dim: 12, n: 50 }]\nmeasure: { distortion: }\nmethods:\n  - pq: { iterations: 3 }\n    sweep: { m: [2, 3] }\n    label: \"PQ m={m}\"\n  - rvq: { iterations: 3, bits: 4 }\n    sweep: { stages: [1, 2] }\n    label: \"RVQ {stages}\"\n  - scalar: { bits: 2 }\n  - lbg: { bits: 2 }\n";

#[test]
fn trials_of_a_pair_know_each_other_and_have_ids_of_their_own() {
    let alone = plan(PAIRED).expect("valid");
    assert!(alone.pairs.is_empty() && alone.trials.iter().all(|t| t.in_turn.is_none()));
    let pairs = "pairs:\n  - { ours: \"PQ m={m}\", theirs: \"RVQ {stages}\", name: sum, aims: { nmse: { ratio: 0.5 } } }\n  - { ours: scalar, theirs: lbg }\n";
    let paired = plan(&format!("{PAIRED}{pairs}")).expect("valid");
    let names: Vec<(&str, usize)> = paired.pairs.iter().map(|p| (p.name.as_str(), p.trials.len())).collect();
    assert_eq!(
        names,
        [("sum, PQ m=2", 2), ("sum, PQ m=3", 2), (methods::METHODS[0].name, 2)],
        "templates are paired in order"
    );
    assert_eq!(paired.pairs[1].aims[0].ratio, Some(0.5));
    let by_id = |id: &str| paired.trials.iter().find(|t| t.trial.id == id).expect("a trial");
    for (ours, theirs) in paired.pairs.iter().flat_map(|pair| &pair.trials) {
        let (ours, theirs) = (by_id(ours), by_id(theirs));
        assert_eq!((&ours.trial.dataset, ours.trial.seed), (&theirs.trial.dataset, theirs.trial.seed));
        let (mine, other) = (ours.in_turn.as_ref().expect("a pair"), theirs.in_turn.as_ref().expect("a pair"));
        assert_eq!((&mine.partner, &other.partner), (&theirs.trial.id, &ours.trial.id));
        assert_eq!((mine.side, other.side), (Side::Ours, Side::Theirs));
        assert_eq!(id_in_turn(&other.with, &mine.with), ours.trial.id, "{}", mine.label);
    }
    for (alone, paired) in alone.trials.iter().zip(&paired.trials) {
        assert_eq!(alone.trial.label, paired.trial.label);
        assert_ne!(alone.trial.id, paired.trial.id, "a timing in turn is another measurement");
    }
    // What a filter keeps of a pair is both.
    let mut filtered = plan(&format!("{PAIRED}{pairs}")).expect("valid");
    filtered.filter("PQ m=3 · cpu · seed 2");
    let kept: Vec<&str> = filtered.trials.iter().map(|t| t.trial.label.as_str()).collect();
    assert_eq!(kept, ["PQ m=3", "RVQ 2"]);
    // Trials are joined whatever suffix their labels have.
    let threads = plan(&format!("{PAIRED}{pairs}").replace("threads: 1", "threads: [1, 2]")).expect("valid");
    assert_eq!(threads.pairs.iter().map(|pair| pair.trials.len()).collect::<Vec<_>>(), [4, 4, 4]);
}

#[test]
fn what_is_wrong_with_a_pair_is_said_where_it_stands() {
    let faults = |pair: &str| plan(&format!("{PAIRED}pairs:\n  - {pair}\n")).err().unwrap_or_default();
    for (pair, expected) in [
        ("{ ours: \"PQ m=4\", theirs: lbg }", "no method is called `PQ m=4`"),
        ("{ ours: \"PQ m={m}\", theirs: lbg }", "`PQ m={m}` stands for 2 methods and `lbg` for 1 method"),
        ("{ ours: lbg, theirs: lbg }", "`lbg` is in this pair already"),
        ("{ ours: scalar, theirs: lbg }\n  - { ours: lbg, theirs: \"RVQ 1\" }", "`lbg` is in another pair already"),
        (
            "{ ours: scalar, theirs: lbg, name: x }\n  - { ours: \"PQ m=2\", theirs: \"RVQ 1\", name: x }",
            "two pairs are called `x`",
        ),
        ("{ ours: scalar, theirs: lbg, aims: { nmze: { ratio: 1 } } }", "unknown metric `nmze`"),
        (
            "{ ours: scalar, theirs: lbg, aims: { model_bytes: { ratio: 1 }, dead_codes: { } } }",
            "either a ratio or a difference",
        ),
        (
            "{ ours: scalar, theirs: lbg, aims: { nmse: { ratio: 1, difference: 0 } } }",
            "either a ratio or a difference",
        ),
        ("{ ours: scalar, theirs: lbg, aims: { codewords: { ratio: 1 } } }", "neither larger nor smaller values"),
        ("{ ours: scalar, theirs: lbg, aims: { nmse: { ratio: -1 } } }", "`ratio: -1` is not above 0"),
        ("{ ours: scalar, their: lbg }", "unknown key `their`"),
        ("{ ours: scalar }", "theirs"),
        ("{ ours: scalar, theirs: lbg, name: \"\" }", "name"),
    ] {
        let found = faults(pair);
        assert!(found.len() == 1 && found[0].contains(expected), "{pair}: {found:?}");
    }
    let apart = "{ ours: scalar, theirs: lbg }\nexclude: [{ when: { label: lbg }, reason: slow }]";
    assert!(faults(apart)[0].contains("no two trials of the pair `scalar` meet"), "{:?}", faults(apart));
}
