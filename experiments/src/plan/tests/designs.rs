//! Zipped lists, rates and exclusions.

use super::{Document, Fault, HEAD, Overrides, Path, Plan, Surroundings, plan};
use miette::Diagnostic;
use serde_json::Value;

fn labels(methods: &str) -> Vec<String> {
    let plan = plan(&format!("{HEAD}methods: {methods}\n")).expect(methods);
    plan.trials.into_iter().filter(|t| t.trial.seed == 1).map(|t| t.trial.label).collect()
}

fn first_fault(rest: &str) -> String {
    let faults = plan(&format!("{HEAD}{rest}\n")).err().expect(rest);
    assert_eq!(faults.len(), 1, "{rest}: {faults:?}");
    faults[0].clone()
}

#[test]
fn zipped_lists_advance_together_and_multiply_with_a_sweep() {
    assert_eq!(
        labels("[{ pq: , zip: { m: [2, 3, 4], bits: [4, 3, 2] } }]"),
        ["pq m=2 bits=4", "pq m=3 bits=3", "pq m=4 bits=2"]
    );
    assert_eq!(
        labels(
            "[{ pq: { iterations: 3 }, zip: { m: [2, 3], bits: { from: 3, to: 4 } }, sweep: { init: [auto, random] } }]"
        ),
        [
            "pq m=2 bits=3 init=auto",
            "pq m=2 bits=3 init=random",
            "pq m=3 bits=4 init=auto",
            "pq m=3 bits=4 init=random"
        ]
    );
}

#[test]
fn wrong_zips_are_refused() {
    for (methods, expected) in [
        ("[{ pq: , zip: { m: [2, 3], bits: [4] } }]", "`bits` has 1 value, but `m` has 2 values"),
        ("[{ pq: , zip: { m: [2, 3], bits: 4 } }]", "`bits` has 1 value, but `m` has 2 values"),
        ("[{ pq: , zip: { m: [2], bits: [] } }]", "`bits` in `zip` has an empty list"),
        ("[{ pq: , zip: [2, 3] }]", "`zip` is a mapping from parameters to lists"),
        ("[{ pq: { m: 2 }, zip: { m: [2, 3] } }]", "`m` is given in the parameters and in the zip"),
        ("[{ pq: , zip: { m: [2, 3] }, sweep: { m: [4] } }]", "`m` is in `zip` and in `sweep`"),
        ("[{ pq: , zip: { mm: [2, 3] } }]", "unknown key `mm`"),
        ("[{ pq: , zip: { m: [2, 5] } }]", "m=5"),
        ("[{ pq: { m: 2 }, zipp: { m: [2, 3] } }]", "unknown key `zipp`"),
    ] {
        let fault = first_fault(&format!("methods: {methods}"));
        assert!(fault.contains(expected), "{methods}: {fault}");
    }
}

#[test]
fn the_parameters_for_a_rate_are_found_and_told() {
    let text = format!(
        "{HEAD}methods:\n  - pq: {{ bits: 2 }}\n    at_bits: [4, 10, 24]\n    label: \"PQ m={{m}}\"\n  - scalar:\n    at_bits: {{ from: 12, to: 24, step: 12 }}\n"
    );
    let found = plan(&text).expect("valid");
    let trials: Vec<_> =
        found.trials.iter().step_by(2).map(|t| (&t.trial.label[..], t.trial.bits_per_vector)).collect();
    assert_eq!(trials, [("PQ m=2", 4), ("PQ m=12", 24), ("scalar bits=1", 12), ("scalar bits=2", 24)]);
    assert_eq!(found.found[0], "PQ m=2: m=2 gives 4 bits per vector of 12 components");
    assert_eq!(found.found.len(), 4);
    let same = HEAD.replace("n: 50 }]", "n: 50 }, { synthetic: gaussian, name: g24, dim: 24, n: 50 }]");
    let same = plan(&(same + "methods: [{ pq: { bits: 2 }, at_bits: 4 }]\n")).expect("valid");
    assert_eq!(same.found, ["pq: m=2 gives 4 bits per vector of 12 or 24 components"]);
    let [left_out] = &found.skipped[..] else { panic!("{:?}", found.skipped) };
    assert!(left_out.starts_with("pq at 10 bits per vector of 12 components: `m: 5` would, but"), "{left_out}");
    assert!(left_out.ends_with("the nearest rate is 8 bits, with `m: 4`"), "{left_out}");
}

#[test]
fn what_is_found_depends_on_the_dimension() {
    let two = HEAD.replace("n: 50 }]", "n: 50 }, { synthetic: gaussian, name: g24, dim: 24, n: 50 }]");
    let found = plan(&format!("{two}methods: [{{ scalar: , at_bits: [24, 48] }}]\n")).expect("valid");
    let trials: Vec<_> =
        found.trials.iter().step_by(2).map(|t| (t.trial.dim, &t.trial.label[..], t.trial.bits_per_vector)).collect();
    assert_eq!(
        trials,
        [(12, "scalar bits=2", 24), (12, "scalar bits=4", 48), (24, "scalar bits=2", 48), (24, "scalar bits=1", 24)]
    );
    assert_eq!(
        found.found[0],
        "scalar bits=2: bits=2 gives 24 bits per vector of 12 components, 48 bits per vector of 24 components"
    );
}

#[test]
fn wrong_rates_are_refused() {
    for (methods, expected) in [
        ("[{ pq: , at_bits: [] }]", "`at_bits` is empty"),
        ("[{ pq: , at_bits: [32, a] }]", "`at_bits` holds \"a\""),
        ("[{ pq: , at_bits: [0] }]", "`at_bits` holds 0"),
        ("[{ pq: , at_bits: [32, 32] }]", "32 bits are listed twice"),
        ("[{ pq: { m: 4, bits: 8 }, at_bits: 32 }]", "`at_bits` has nothing to find: `m` and `bits` are given"),
        ("[{ pq: , sweep: { m: [2, 4], bits: [2, 4] }, at_bits: 8 }]", "`at_bits` has nothing to find"),
        ("[{ pq: { bitz: 8 }, at_bits: 32 }]", "unknown key `bitz`"),
        ("[{ pq: , at_bit: 32 }]", "unknown key `at_bit`"),
        ("[{ scalar: , at_bits: [13] }]", "no trial is left to run"),
        ("[{ pq: { bits: 4, m: 2 }, label: x }, { pq: { bits: 4 }, at_bits: 8 }]", "the same method as `x` before it"),
    ] {
        let fault = first_fault(&format!("methods: {methods}"));
        assert!(fault.contains(expected), "{methods}: {fault}");
    }
}

#[test]
fn excluded_trials_are_left_out_with_the_reason() {
    let text = |exclude: &str| {
        format!(
            "{HEAD}methods: [{{ pq: {{ bits: 2 }}, sweep: {{ m: [2, 3, 5] }} }}, {{ lbg: {{ bits: 3 }} }}]\nexclude: {exclude}\n"
        )
    };
    // 5 does not divide 12, but those trials are left out.
    let found = plan(&text("[{ when: { method: pq, m: 5 }, reason: it does not divide 12 }, { when: { m: [2, 3], seed: 2, bits: 2.0 }, reason: too slow }]"))
        .expect("valid");
    let trials: Vec<_> = found.trials.iter().map(|t| (&t.trial.label[..], t.trial.seed)).collect();
    assert_eq!(trials, [("pq m=2", 1), ("pq m=3", 1), ("lbg", 1), ("lbg", 2)]);
    assert_eq!(
        found.skipped,
        [
            "gaussian-12 · pq m=5 · cpu · 1 thread: it does not divide 12",
            "gaussian-12 · pq m=2 · cpu · 1 thread · seed 2: too slow",
            "gaussian-12 · pq m=3 · cpu · 1 thread · seed 2: too slow"
        ]
    );
    // A list of one may be written without brackets.
    assert_eq!(plan(&text("{ when: { m: 5 }, reason: a }")).expect("valid").trials.len(), 6);
}

#[test]
fn wrong_exclusions_are_refused() {
    for (exclude, expected) in [
        ("[{ when: { method: pq } }]", "the key `reason` is missing"),
        ("[{ when: { method: pq }, reason: \" \" }]", "an exclusion needs a reason"),
        ("[{ when: {}, reason: a }]", "`when` is empty"),
        ("[{ when: { methd: pq }, reason: a }]", "unknown key `methd`"),
        ("[{ when: { method: pqq }, reason: a }]", "unknown method `pqq`"),
        ("[{ when: { m: 7 }, reason: a }]", "this exclusion matches no trial"),
        ("[{ when: { m: 2, seed: 3 }, reason: a }]", "this exclusion matches no trial"),
        ("[{ when: { method: lbg }, reason: a }]", "this exclusion matches no trial"),
        ("[{ when: { m: [] }, reason: a }]", "`m` has no value"),
        ("[{ when: { seed: [1, 2] }, reason: a }]", "no trial is left to run"),
        ("[{ when: { m: 2 }, because: a, reason: a }]", "unknown key `because`"),
    ] {
        let fault =
            first_fault(&format!("methods: [{{ pq: {{ bits: 2 }}, sweep: {{ m: [2, 3] }} }}]\nexclude: {exclude}"));
        assert!(fault.contains(expected), "{exclude}: {fault}");
    }
}

const TWO_DATASETS: &str = "name: t\nseeds: [1]\nthreads: 1\nmeasure: { distortion: }\ndatasets:\n  - { synthetic: gaussian, name: wide, dim: 12, n: 50 }\n  - { synthetic: gaussian, name: narrow, dim: 6, n: 50 }\n";

/// Dataset, label and parameters of each trial.
fn overridden(rest: &str) -> Vec<(String, String, Value)> {
    let plan = plan(&format!("{TWO_DATASETS}{rest}\n")).expect(rest);
    plan.trials.into_iter().map(|t| (t.trial.dataset, t.trial.label, t.trial.params)).collect()
}

#[test]
fn an_override_counts_for_its_datasets_only() {
    let trials = overridden(
        "defaults: { iterations: 4 }\noverrides:\n  - { dataset: narrow, parameters: { iterations: 9 }, methods: { pq: { m: 3 } } }\n\
         methods: [{ pq: { m: 4, bits: 2 } }, { kmeans: { codewords: 8, iterations: 5 } }]",
    );
    let found: Vec<_> = trials
        .iter()
        .map(|(dataset, label, params)| (&dataset[..], &label[..], params["m"].as_u64(), params["iterations"].as_u64()))
        .collect();
    assert_eq!(
        found,
        [
            ("wide", "pq m=4 iterations=4", Some(4), Some(4)),
            ("wide", "kmeans iterations=5", None, Some(5)),
            ("narrow", "pq m=3 iterations=9", Some(3), Some(9)),
            ("narrow", "kmeans iterations=9", None, Some(9)),
        ]
    );
}

#[test]
fn overrides_multiply_no_trials_and_the_last_one_counts() {
    let trials = overridden(
        "overrides:\n  - { dataset: [wide, narrow], methods: { pq: { bits: 3 } } }\n  - { dataset: wide, methods: { pq: { bits: 5 } } }\n\
         methods: [{ pq: { bits: 2 }, sweep: { m: [2, 3] }, label: \"PQ {m}\" }]",
    );
    let found: Vec<_> = trials
        .iter()
        .map(|(dataset, label, params)| (&dataset[..], &label[..], params["bits"].as_u64().expect("bits")))
        .collect();
    assert_eq!(found, [("wide", "PQ 2", 5), ("wide", "PQ 3", 5), ("narrow", "PQ 2", 3), ("narrow", "PQ 3", 3)]);
}

#[test]
fn a_rate_is_met_with_the_parameters_of_each_dataset() {
    let trials = overridden(
        "overrides: [{ dataset: narrow, methods: { pq: { bits: 4 } } }]\nmethods: [{ pq: { bits: 2 }, at_bits: 12 }]",
    );
    let found: Vec<_> = trials.iter().map(|(dataset, _, params)| (&dataset[..], params["m"].as_u64())).collect();
    assert_eq!(found, [("wide", Some(6)), ("narrow", Some(3))]);
}

/// The message of a fault, its help, and the text that it points at.
fn told(fault: &Fault) -> String {
    let place = fault.labels().and_then(|mut labels| labels.next()).expect("a place");
    let source = fault.source_code().expect("a text").read_span(place.inner(), 0, 0).expect("a span");
    let help = fault.help().map(|help| help.to_string()).unwrap_or_default();
    format!("{fault}; {help}; at {}", String::from_utf8_lossy(source.data()))
}

#[test]
fn wrong_overrides_are_refused_where_they_stand() {
    for (overrides, methods, expected) in [
        ("{ dataset: wid, methods: { pq: { m: 2 } } }", "{ pq: { m: 2 } }", ["no dataset is called `wid`", "wide"]),
        ("{ dataset: wide }", "{ pq: { m: 2 } }", ["this override changes nothing", "such as"]),
        (
            "{ dataset: wide, methods: { lbg: { bits: 2 } } }",
            "{ pq: { m: 2 } }",
            ["no entry of `methods` is `lbg`", "pq"],
        ),
        ("{ dataset: wide, methods: { pqq: { m: 2 } } }", "{ pq: { m: 2 } }", ["unknown method `pqq`", "pq"]),
        (
            "{ dataset: wide, parameters: { mm: 2 } }",
            "{ pq: { m: 2 } }",
            ["no method here has a parameter `mm`", "`m`"],
        ),
        ("{ dataset: wide, methods: { pq: { mm: 2 } } }", "{ pq: { m: 2 } }", ["unknown key `mm`", "at mm"]),
        ("{ dataset: wide, methods: { pq: { m: 5 } } }", "{ pq: { m: 2 } }", ["m=5", "at 5"]),
        (
            "{ dataset: wide, methods: { pq: { m: 2 } } }",
            "{ pq: , sweep: { m: [2, 3] } }",
            ["`m` of `pq` comes from its `sweep`", "`exclude`"],
        ),
        (
            "{ dataset: wide, methods: { pq: { m: 3 } } }",
            "{ pq: { m: 2 } }, { pq: { m: 3 } }",
            ["the same method as `pq m=3`", "at pq"],
        ),
    ] {
        let text = format!("{TWO_DATASETS}overrides: [{overrides}]\nmethods: [{methods}]\n");
        let document = Document::parse("t.yaml", &text).expect("YAML");
        let planned = Plan::new(&document, Path::new("."), &Surroundings::default(), &Overrides::default());
        let faults: Vec<String> = planned.err().expect(overrides).iter().map(told).collect();
        assert_eq!(faults.len(), 1, "{overrides}: {faults:?}");
        expected.iter().for_each(|words| assert!(faults[0].contains(words), "{overrides}: {}", faults[0]));
    }
}
