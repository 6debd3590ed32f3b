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

/// Whether a check finds a mistake.
fn finds(check: &str, name: &str, key: &str) -> bool {
    let (mut params, like) = codec(name);
    let number = MUTATIONS.iter().position(|mutation| mutation.key == key).expect("a mutation of this name") + 1;
    params["mutation"] = number.into();
    let options = Options { only: vec![check.into()], dim: Some(16), ..Options::default() };
    let report = report(&InProcess::new(params), Some(&like), &options);
    assert_eq!(report.outcomes.len(), 1, "there is a check `{check}`");
    report.failures().count() == 1
}

fn passes(name: &str, seed: u64) {
    let (params, like) = codec(name);
    let report = report(&InProcess::new(params), Some(&like), &Options { seed, ..Options::default() });
    let failures: Vec<String> = report.failures().map(|(o, failure)| format!("{}: {failure}", o.name)).collect();
    assert!(failures.is_empty(), "{name}: {failures:#?}");
    assert!(report.counts().0 > 45, "{}", report.headline());
}

#[test]
fn right_codecs_pass_every_check() {
    passes("int8", 11);
    passes("signs", 12);
}

/// `cargo test -- --ignored`: all codecs and more seeds. `examples/mutants.rs` has the same for all mistakes.
#[test]
#[ignore = "takes minutes"]
fn all_right_codecs_pass_every_check() {
    for (params, ..) in codecs() {
        (1..=4).for_each(|seed| passes(params["codec"].as_str().expect("a name"), seed));
    }
}

#[test]
fn mistakes_are_found() {
    for (check, name, key) in [
        ("a little outside", "int8", "wraps"),
        ("bias", "int8", "truncates"),
        ("constant rows", "int8-dim", "zero-range"),
        ("a codeword is its own", "int8-dim", "signed-minus-128"),
        ("numbers of rows", "pq", "encode-batch-mean"),
        ("alone", "pq", "encode-interleaved"),
        ("rate–distortion bound", "pq", "decode-cheats"),
        ("own code", "pq", "next-codeword"),
        ("parity: falling", "pq", "shared-codebook"),
        ("trained again", "pq", "refit-keeps"),
        ("order of training rows", "pq", "fit-first-rows"),
        ("own code", "rotated-pq", "rotated-again"),
        ("restored", "rotated-pq", "save-forgets-last"),
        ("same seed", "rotated-pq", "seed-ignored"),
        ("constant rows", "signs", "zero-length"),
        ("large values", "signs", "length-half"),
        ("copies", "signs", "search-copies"),
        ("parity: recall, uneven rows", "rvq", "search-l2-is-ip"),
        ("against decoded rows, l2", "rvq", "search-skips-best"),
        ("row numbers", "rvq", "search-pads-zero"),
        ("restored search", "rvq", "restore-metric"),
    ] {
        assert!(finds(check, name, key), "{name}: `{check}` does not find `{key}`");
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
    let only = vec!["shapes".into(), "a little outside".into()];
    let found = report(&program, None, &Options { only, ..Options::default() });
    let (_, failure) = found.failures().find(|(o, _)| o.name == "a little outside").expect("rows outside wrap");
    assert!(failure.expected.contains("nearer") && failure.reproduce.contains("seed"), "{failure}");
    let unknown = Outside::new(Host::default(), command, json!({ "codec": "int8", "bitz": 3 }));
    assert!(unknown.is_err_and(|error| error.to_string().contains("bitz")));
}

/// What cannot be asked is skipped, with the reason.
#[test]
fn what_is_missing_is_skipped() {
    let own = Own(parse("lbg", json!({ "bits": 3 })).expect("a method"));
    let report = report(
        &own,
        None,
        &Options { seed: 2, only: vec!["parity: Gaussian".into(), "shapes".into()], ..Options::default() },
    );
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
