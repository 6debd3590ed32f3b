//! Zipped lists, rates and exclusions.

use super::{HEAD, plan};

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
