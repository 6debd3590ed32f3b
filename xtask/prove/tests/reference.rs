//! The checks are checked: right codecs pass all of them, wrong ones fail one, in this process and through the protocol.

use adapters::Host;
use methods::parse;
use prove::reference::mutations::MUTATIONS;
use prove::reference::{InProcess, codecs};
use prove::{Options, Outside, Own, Report, Subject, Verdict, prove};
use serde_json::{Value, json};
use std::collections::HashSet;

fn report(subject: &dyn Subject, like: Option<&dyn Subject>, options: &Options) -> Report {
    prove(subject, like, options, &mut |_, _| {}).expect("it can be trained")
}

/// A codec by name, with its parameters and our own method.
fn codec(name: &str) -> (Value, Own) {
    let (params, method, like) =
        codecs().into_iter().find(|(params, ..)| params["codec"] == name).expect("a codec of this name");
    (params, Own(parse(method, like).expect("a method")))
}

/// The first check that fails with a mistake.
fn failures(name: &str, key: &str) -> Vec<String> {
    let (mut params, like) = codec(name);
    let number = MUTATIONS.iter().position(|mutation| mutation.key == key).expect("a mutation of this name") + 1;
    params["mutation"] = number.into();
    let options = Options { until_first_failure: true, ..Options::default() };
    let report = report(&InProcess::new(params), Some(&like), &options);
    report.failures().map(|(outcome, _)| outcome.name.clone()).collect()
}

#[test]
fn right_codecs_pass_every_check() {
    for (params, method, like) in codecs() {
        let like = Own(parse(method, like).expect("a method"));
        let report = report(&InProcess::new(params.clone()), Some(&like), &Options { seed: 11, ..Options::default() });
        let failures: Vec<String> = report.failures().map(|(o, failure)| format!("{}: {failure}", o.name)).collect();
        assert!(failures.is_empty(), "{params}: {failures:#?}");
        let (passed, _, skipped) = report.counts();
        assert!(passed > 45 && skipped < 15, "{params}: {passed} passed, {skipped} skipped");
    }
}

#[test]
fn mistakes_are_found() {
    for (name, key) in [
        ("int8", "wraps"),
        ("int8", "truncates"),
        ("int8-dim", "zero-range"),
        ("int8-dim", "signed-minus-128"),
        ("pq", "encode-batch-mean"),
        ("pq", "decode-cheats"),
        ("pq", "last-as-first"),
        ("pq", "shared-codebook"),
        ("pq", "search-u16-ids"),
        ("pq", "refit-keeps"),
        ("rotated-pq", "rotated-again"),
        ("rotated-pq", "save-forgets-last"),
        ("rotated-pq", "seed-ignored"),
        ("signs", "zero-length"),
        ("signs", "length-half"),
        ("signs", "bits-reversed"),
        ("rvq", "no-cross-terms"),
        ("rvq", "search-skips-best"),
        ("rvq", "search-heap-kept"),
        ("rvq", "restore-metric"),
    ] {
        assert!(!failures(name, key).is_empty(), "{name}: `{key}` goes unnoticed");
    }
}

#[test]
fn mutations_are_different_and_described() {
    let keys: HashSet<&str> = MUTATIONS.iter().map(|mutation| mutation.key).collect();
    assert_eq!(keys.len(), MUTATIONS.len());
    assert!(MUTATIONS.len() >= 100);
    assert!(MUTATIONS.iter().all(|mutation| mutation.words.len() > 20 && !mutation.codecs.is_empty()));
}

/// Through the protocol a right program passes, and a wrong one fails where its mistake is, with what anyone needs to see it.
#[test]
fn programs_are_proven_through_the_protocol() {
    let command = vec![env!("CARGO_BIN_EXE_reference-adapter").to_owned()];
    let (params, like) = codec("int8");
    let program = Outside::new(Host::default(), command.clone(), params.clone()).expect("says hello");
    let found = report(&program, Some(&like), &Options { seed: 5, ..Options::default() });
    let failures: Vec<String> = found.failures().map(|(o, failure)| format!("{}: {failure}", o.name)).collect();
    assert!(failures.is_empty(), "{failures:#?}");
    let mut wrong = params;
    wrong["mutation"] = (MUTATIONS.iter().position(|m| m.key == "wraps").expect("there") + 1).into();
    let program = Outside::new(Host::default(), command.clone(), wrong).expect("says hello");
    let found = report(&program, None, &Options::default());
    let (_, failure) = found.failures().find(|(o, _)| o.name == "a little outside").expect("rows outside wrap");
    assert!(failure.expected.contains("nearer") && failure.reproduce.contains("seed"), "{failure}");
    let unknown = Outside::new(Host::default(), command, json!({ "codec": "int8", "bitz": 3 }));
    assert!(unknown.is_err_and(|error| error.to_string().contains("bitz")));
}

/// What cannot be asked is skipped, with the reason.
#[test]
fn what_is_missing_is_skipped() {
    let own = Own(parse("lbg", json!({ "bits": 3 })).expect("a method"));
    let report = report(&own, None, &Options { seed: 2, ..Options::default() });
    let skipped: Vec<&str> = report
        .outcomes
        .iter()
        .filter_map(|outcome| match &outcome.verdict {
            Verdict::Skipped(why) => Some(why.as_str()),
            _ => None,
        })
        .collect();
    assert!(skipped.iter().any(|why| why.contains("--like")), "{skipped:?}");
    assert_eq!(report.failures().count(), 0, "{}", report.headline());
}
