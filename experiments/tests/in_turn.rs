//! How two trials of a pair take turns, whatever their processes say and however they end. The processes are shell scripts that
//! play the part of a trial.
#![cfg(unix)]

use experiments::engine::{self, EngineError, Settings};
use experiments::{Document, Launcher, Observer, Outcome, Overrides, Plan, Surroundings};
use record::{RecordError, RunFolder, Side, Status, TrialRecord};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

const EXPERIMENT: &str = "name: t
seeds: [1]
threads: 1
timeout: 1h
datasets: [{ synthetic: gaussian, dim: 4, n: 40, queries: 5 }]
methods: [{ scalar: { bits: 2 }, label: ours }, { scalar: { bits: 3 }, label: theirs }]
pairs: [{ ours: ours, theirs: theirs, name: both }]
measure: { distortion: {} }
";

/// What a script can do: `turn N` waits for the turn at step N, `did` notes who computes, `value` answers.
const WORDS: &str = r#"
read -r request
me=$(echo "$request" | sed 's/.*"label":"\([a-z]*\)".*/\1/')
turn() { echo "{\"turn\":{\"at\":[$1,0,0],\"name\":\"step $1\"}}"; read -r go || exit 9; }
did() { echo "$me $1" >> "$0/did"; }
value() { echo '{"values":[{"metric":"nmse","value":0.5,"unit":"1"}]}'; }
"#;

struct Silent;

impl Observer for Silent {
    fn remark(&mut self, _: &str, _: &str) {}
    fn preparing(&mut self, _: &str) {}
    fn begin(&mut self, _: usize, _: usize, _: f64) {}
    fn phase(&mut self, _: &str, _: &str) {}
    fn ended(&mut self, _: &str, _: &TrialRecord, _: f64) {}
}

struct Bench(tempfile::TempDir);

impl Bench {
    fn new() -> Bench {
        Bench(tempfile::tempdir().expect("a folder"))
    }

    /// Runs an experiment with processes that do what a script says. Returns what they noted, too.
    fn run(&self, experiment: &str, script: &str, retry_failed: bool) -> (Outcome, Vec<TrialRecord>, Vec<String>) {
        let document = Document::parse("e.yaml", experiment).expect("YAML");
        let surroundings = Surroundings::default();
        let mut plan = Plan::new(&document, self.0.path(), &surroundings, &Overrides::default()).expect("a plan");
        let never = AtomicBool::new(false);
        let settings = Settings {
            folder: RunFolder::new(self.0.path().join("run")),
            launcher: Launcher {
                program: PathBuf::from("sh"),
                arguments: vec!["-c".into(), format!("{WORDS}\n{script}"), self.0.path().display().to_string()],
            },
            filter: None,
            force: false,
            retry_failed,
            interrupt: &never,
            surroundings: &surroundings,
            source_tree: self.0.path().to_owned(),
        };
        let _ = std::fs::remove_file(self.0.path().join("did"));
        // A child of another test holds the lock of this folder too, between its fork and its start.
        let mut tries = 0..1000;
        let outcome = loop {
            match engine::run(&mut plan, &document, &settings, &mut Silent) {
                Err(EngineError::Record(RecordError::Busy { .. })) if tries.next().is_some() => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                ended => break ended.expect("runs"),
            }
        };
        let did = std::fs::read_to_string(self.0.path().join("did")).unwrap_or_default();
        (outcome, settings.folder.load().expect("a run").records, did.lines().map(str::to_owned).collect())
    }
}

#[test]
fn one_side_computes_at_a_time_and_the_order_alternates() {
    let script = "for step in 0 1 2 3; do turn $step; did $step; sleep 0.02; did $step; done; value";
    let (outcome, records, did) = Bench::new().run(EXPERIMENT, script, false);
    assert_eq!((outcome.ok, outcome.failed), (2, 0), "{records:?}");
    let turns = |first: &str, second: &str, step: usize| {
        [first, first, second, second].map(|side| format!("{side} {step}")).to_vec()
    };
    let expected = [
        turns("ours", "theirs", 0),
        turns("theirs", "ours", 1),
        turns("ours", "theirs", 2),
        turns("theirs", "ours", 3),
    ];
    assert_eq!(did, expected.concat());
    let numbers = |record: &TrialRecord| {
        let in_turn = record.log.as_ref().and_then(|log| log.in_turn.clone()).expect("a pair");
        assert_eq!(in_turn.pair, "both");
        let steps: Vec<&str> = in_turn.turns.iter().map(|turn| turn.step.as_str()).collect();
        assert_eq!(steps, ["step 0", "step 1", "step 2", "step 3"]);
        (in_turn.side, in_turn.turns.iter().map(|turn| turn.number).collect::<Vec<_>>())
    };
    assert_eq!(numbers(&records[0]), (Side::Ours, vec![0, 3, 4, 7]));
    assert_eq!(numbers(&records[1]), (Side::Theirs, vec![1, 2, 5, 6]));
}

#[test]
fn a_side_that_dies_fails_or_never_asks_blocks_nobody() {
    for end in ["exit 3", "kill -SEGV $$", r#"echo '{"failed":{"reason":"r","cause":"trial"}}'"#, "value"] {
        for before in ["", "turn 0;", "turn 0; turn 1;"] {
            let script =
                format!("if [ $me = theirs ]; then {before} {end}; else turn 0; turn 1; turn 2; did 2; value; fi");
            let (outcome, records, did) = Bench::new().run(EXPERIMENT, &script, false);
            assert_eq!((records[0].status, &did[..]), (Status::Ok, &["ours 2".to_owned()][..]), "{before} {end}");
            assert_eq!(outcome.ok, 1 + usize::from(end == "value"), "{before} {end}");
        }
    }
}

#[test]
fn a_side_that_is_too_slow_is_stopped_and_waiting_is_not_slow() {
    let limited = EXPERIMENT.replace("timeout: 1h", "timeout: 300ms");
    // Ours waits longer than its limit while theirs has the turn until its own limit.
    let script = "turn 0; turn 1; if [ $me = theirs ]; then exec sleep 60; fi; turn 2; did 2; value";
    let (outcome, records, did) = Bench::new().run(&limited, script, false);
    assert_eq!((outcome.ok, outcome.failed), (1, 1));
    assert_eq!((records[0].status, records[1].status), (Status::Ok, Status::Timeout));
    assert_eq!(did, ["ours 2"]);
    assert!(records[0].wall_seconds < 0.3, "waiting does not count: {}", records[0].wall_seconds);
}

#[test]
fn a_pair_runs_again_together_or_not_at_all() {
    let bench = Bench::new();
    let script = "turn 0; did 0; if [ $me = theirs ]; then kill -KILL $$; fi; value";
    let (outcome, ..) = bench.run(EXPERIMENT, script, false);
    assert_eq!((outcome.ok, outcome.passing), (1, 1));
    let (outcome, _, did) = bench.run(EXPERIMENT, "turn 0; did 0; value", false);
    assert_eq!((outcome.ok, outcome.reused, did.len()), (2, 0, 2), "what ended well runs again beside the other");
    let (outcome, _, did) = bench.run(EXPERIMENT, "turn 0; did 0; value", false);
    assert_eq!((outcome.ok, outcome.reused, did.len()), (2, 2, 0));
    // Without the pair, they are other measurements.
    let apart = EXPERIMENT.replace("pairs:", "analysis: none #");
    let (outcome, ..) = bench.run(&apart, "cat > /dev/null; value", false);
    assert_eq!((outcome.ok, outcome.reused), (2, 0));
}
