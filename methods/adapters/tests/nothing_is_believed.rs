//! What a session says of adapters that misbehave: the text of each refusal, and that nothing of them stays.
#![cfg(unix)]

mod common;
#[path = "common/shell.rs"]
mod shell;

use adapters::{AdapterError, Held, Host, Metric, Session, Singles, Timing};
use common::compiled;
use ndarray::Array2;
use serde_json::{Value, json};
use shell::host;
use std::fmt::Write;
use std::path::Path;

const ROWS: usize = 30;
const DIM: usize = 4;
const TIMING: Timing = Timing { repeats: 3, min_seconds: 0.002 };
const SINGLES: Singles = Singles { queries: 30, seconds: 0.002 };

fn rows() -> Array2<f32> {
    Array2::from_shape_fn((ROWS, DIM), |(i, j)| ((i * DIM + j) as f32 * 0.7).sin())
}

/// A session with the hostile adapter, after `hello`.
fn session(root: &Path, hostile: &Path, params: &Value) -> Result<Session, AdapterError> {
    let command = [hostile.to_string_lossy().into_owned()];
    let mut session = Session::start(&host(root), &command, 1)?;
    session.hello(params, Some(DIM))?;
    Ok(session)
}

/// Everything that a session can do, once. Stops at the first error.
fn everything(mut session: Session) -> Result<(), AdapterError> {
    let rows = rows();
    session.fit(rows.view(), 1, Metric::L2)?;
    let (codes, size, laps) = session.encode(rows.view(), Some(TIMING))?;
    assert_eq!((size, codes.len(), laps.len()), (DIM, ROWS * DIM, 3));
    let (decoded, laps) = session.decode(&codes, size, Some(TIMING))?;
    assert_eq!((decoded.dim(), laps.len()), ((ROWS, DIM), 3));
    session.search(Held::Codes(&codes, size), rows.view(), 2, None, None)?;
    let found = session.search(Held::Same, rows.view(), ROWS + 2, Some(TIMING), Some(SINGLES))?;
    assert_eq!((found.ids[0].len(), found.ids[7][0], found.laps.len()), (ROWS, 7, 3));
    assert!(found.singles.len() >= 20, "{found:?}");
    let folder = tempfile::tempdir().expect("a folder");
    let model = folder.path().join("model");
    session.save_to(&model)?;
    assert_eq!(session.saved_bytes()?, 7);
    session.restore(&model, DIM, Metric::L2)?;
    session.bye()
}

/// The processes that run in a folder.
fn running_in(folder: &Path) -> Vec<String> {
    let folder = folder.canonicalize().expect("a folder");
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let runs = |process: &Path| std::fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd == folder);
    let all = entries.map(|entry| entry.path()).filter(|process| runs(process));
    all.filter_map(|process| std::fs::read_to_string(process.join("comm")).ok()).collect()
}

fn outcome(root: &Path, hostile: &Path, fault: &str, at: &str) -> String {
    let end = session(root, hostile, &json!({ "fault": fault, "at": at })).and_then(everything);
    let text = end.map_or_else(|error| error.to_string(), |()| "no error".to_owned());
    assert!(!text.chars().any(char::is_control) && text.len() < 800, "{text}");
    // Scratch folders have names of their own.
    let words = text.split(' ').map(|word| word.rsplit_once("vqbench-adapter-").map_or(word, |_| "FILE"));
    words.collect::<Vec<_>>().join(" ")
}

/// What is said of each of some faults, each at some verbs.
fn outcomes(cases: &[(&[&str], &[&str])]) -> Option<String> {
    let compiled = compiled()?;
    let folder = tempfile::tempdir().expect("a folder");
    let mut text = String::new();
    for (faults, verbs) in cases {
        for (at, fault) in verbs.iter().flat_map(|at| faults.iter().map(move |fault| (at, fault))) {
            writeln!(text, "{fault} {at}: {}", outcome(folder.path(), &compiled.hostile, fault, at)).expect("writes");
        }
    }
    assert_eq!(running_in(folder.path()), [""; 0]);
    Some(text)
}

const VERBS: [&str; 8] = ["hello", "fit", "encode", "decode", "search", "save", "restore", "bye"];

#[test]
fn arrays_are_read_only_if_they_are_what_was_asked_for() {
    let wrong = ["rows", "columns", "type", "endian", "fortran", "flat", "claims", "terabytes", "overflow", "short"];
    let files = ["text", "empty", "missing", "link", "pipe", "folder"];
    let cases: [(&[&str], &[&str]); 5] = [
        (&wrong, &["encode", "decode", "search"]),
        (&files, &["encode"]),
        (&["missing", "link", "folder"], &["save"]),
        (&["nan", "infinity"], &["decode"]),
        (&["beyond", "huge", "negative", "after-end", "same-row"], &["search"]),
    ];
    if let Some(text) = outcomes(&cases) {
        insta::assert_snapshot!(text);
    }
}

#[test]
fn replies_are_read_only_if_they_are_replies() {
    let lines = ["garbage", "binary", "wrong-id", "no-id", "neither", "no-object", "long", "twice", "refuses"];
    let cases: [(&[&str], &[&str]); 6] = [
        (&["parts"], &["hello", "encode"]),
        (&lines, &["hello", "encode"]),
        (&["truncated", "escape", "megabyte-error"], &["hello"]),
        (&["escape-error", "endless"], &["encode"]),
        (&["close-replies", "stdout", "stderr"], &["fit"]),
        (&["no-timing", "zero", "constant"], &["timed"]),
    ];
    if let Some(text) = outcomes(&cases) {
        insta::assert_snapshot!(text);
    }
}

#[test]
fn an_end_has_a_reason_at_every_verb() {
    let cases: [(&[&str], &[&str]); 4] = [
        (&["abort", "segv", "exit"], &VERBS),
        (&["code-bytes"], &[""]),
        (&["no-timing", "backwards"], &["fit"]),
        (&["coarse-singles"], &["search"]),
    ];
    if let Some(text) = outcomes(&cases) {
        insta::assert_snapshot!(text);
    }
}

#[test]
fn nothing_stays_behind() {
    let cases: [(&[&str], &[&str]); 4] = [
        (&["", "elsewhere"], &["search"]),
        (&["no-scratch", "no-input-files"], &["fit"]),
        (&["child", "daemon"], &["fit", "bye"]),
        (&["child-exit", "child-exit-quietly"], &["fit", "bye"]),
    ];
    if let Some(text) = outcomes(&cases) {
        insta::assert_snapshot!(text);
    }
}

#[test]
fn what_depends_on_time_is_checked_too() {
    let Some(compiled) = compiled() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let said = |fault: &str, at: &str| outcome(folder.path(), &compiled.hostile, fault, at);
    let fast = said("fast", "timed");
    assert!(fast.starts_with("the adapter broke the protocol at `encode`: its clock shows 300"), "{fast}");
    let fast = said("fast", "fit");
    assert!(fast.starts_with("the adapter broke the protocol at `fit`: it says that training took 1000"), "{fast}");
    let less = said("less", "timed");
    assert!(less.contains("it measured for 0.00") && less.contains("must be repeated for 0.002 s"), "{less}");
    let threads = said("threads", "timed");
    // Where others take the processors, two threads do not get more than one.
    assert!(threads == "no error" || threads.contains("more than 1 thread allows"), "{threads}");
}

#[test]
fn without_a_launcher_replies_are_on_standard_output() {
    let Some(compiled) = compiled() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let command = [compiled.int8.to_string_lossy().into_owned()];
    let mut session = Session::start(&Host::default().at(folder.path()), &command, 1).expect("starts");
    let hello = session.hello(&json!({ "levels": 16 }), Some(DIM)).expect("says hello");
    assert_eq!((hello.name.as_str(), hello.code_bytes), ("int8 sample", Some(DIM)));
    session.fit(rows().view(), 1, Metric::Ip).expect("fits");
    let (codes, size, _) = session.encode(rows().view(), None).expect("encodes");
    assert_eq!((size, codes.iter().max()), (DIM, Some(&15)));
    session.bye().expect("ends");
    // What else is on standard output is no reply then.
    let command = [compiled.hostile.to_string_lossy().into_owned()];
    let mut session = Session::start(&Host::default().at(folder.path()), &command, 1).expect("starts");
    session.hello(&json!({ "fault": "garbage", "at": "fit" }), Some(DIM)).expect("says hello");
    let error = session.fit(rows().view(), 1, Metric::L2).expect_err("no reply").to_string();
    assert!(error.contains("`Loading model... 100%` is no reply"), "{error}");
}

#[test]
fn a_command_may_name_the_scratch_folder() {
    let Some(compiled) = compiled() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let script = "test -d \"$0\" && test \"$0/x\" = \"$VQBENCH_SCRATCH/$1\" && exec \"$2\"";
    let program = compiled.int8.to_string_lossy().into_owned();
    let command = ["sh", "-c", script, "{scratch}", "x", &program].map(str::to_owned);
    let mut session = Session::start(&host(folder.path()), &command, 1).expect("starts");
    session.hello(&json!({}), None).expect("says hello");
    session.bye().expect("ends");
}

#[test]
fn parameters_of_any_size_end_in_an_answer() {
    let Some(compiled) = compiled() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let command = [compiled.int8.to_string_lossy().into_owned()];
    let mut session = Session::start(&host(folder.path()), &command, 1).expect("starts");
    let mut ask = |params: Value| session.hello(&params, None).map(|hello| hello.version).map_err(|e| e.to_string());
    assert_eq!(ask(json!({ "levels": 2 })), Ok("1.0".to_owned()));
    let refused = ask(json!({ "level": 2 })).expect_err("refused");
    assert_eq!(refused, "the adapter refused `hello`: unknown parameter `level`; did you mean `levels`?");
    let refused = ask(json!({ "levels": 300 })).expect_err("refused");
    assert_eq!(refused, "the adapter refused `hello`: `levels` must be a number from 2 to 256");
    let refused = ask(json!({ "x".repeat(59_000): "é\n\"\u{1}" })).expect_err("refused");
    assert!(
        refused.starts_with("the adapter refused `hello`: unknown parameter `xxx") && refused.len() < 600,
        "{refused}"
    );
    let refused = ask(json!({ "levels": "y".repeat(70_000) })).expect_err("refused");
    let expected = "and at most 60000 are sent; put large parameters into a file and give its name";
    assert!(refused.starts_with("the request `hello` takes 70") && refused.ends_with(expected), "{refused}");
    assert_eq!(ask(json!({})), Ok("1.0".to_owned()), "it goes on after each refusal");
}

#[test]
fn an_adapter_is_asked_only_for_what_it_can_do() {
    let Some(compiled) = compiled() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let mut only = session(folder.path(), &compiled.hostile, &json!({ "can": "search_base" })).expect("says hello");
    only.fit(rows().view(), 1, Metric::L2).expect("fits");
    let found = only.search(Held::Base(rows().view()), rows().view(), 3, None, None).expect("searches");
    assert_eq!((found.ids[4][0], found.ids[4].len()), (4, 3));
    let errors = [
        only.encode(rows().view(), None).map(drop),
        only.decode(&[0; 8], DIM, None).map(drop),
        only.search(Held::Codes(&[0; 8], DIM), rows().view(), 1, None, None).map(drop),
        only.saved_bytes().map(drop),
        only.restore(Path::new("model"), DIM, Metric::L2),
    ];
    let texts = errors.map(|error| error.expect_err("it cannot").to_string());
    let whats = ["encode", "decode", "search codes", "save its model", "restore a model"];
    assert_eq!(texts, whats.map(|what| format!("hostile cannot {what}; its capabilities are search_base")));
    only.bye().expect("ends");
    // It says that it can do something that it cannot.
    let mut liar = session(folder.path(), &compiled.hostile, &json!({ "can": "encode fly" })).expect_err("cannot fly");
    assert!(liar.to_string().contains("unknown variant `fly`"), "{liar}");
    liar = Session::start(&host(folder.path()), &["./missing".into()], 1)
        .and_then(|mut session| session.hello(&json!({}), None))
        .expect_err("is missing");
    assert!(liar.to_string().starts_with("the adapter ended during `hello` (exit status: 127); it said: "), "{liar}");
}
