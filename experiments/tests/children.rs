//! What a run makes of the processes of its trials, whatever these say and however they end. The processes are shell scripts
//! that play the part of a trial.
#![cfg(unix)]

use experiments::engine::{self, EngineError, Settings};
use experiments::trial::Request;
use experiments::{Document, Launcher, Observer, Outcome, Overrides, Plan, Surroundings};
use record::{Cause, RecordError, RunFolder, Status, TrialRecord};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

const EXPERIMENT: &str = "name: t
seeds: [1]
threads: 1
datasets: [{ synthetic: gaussian, dim: 4, n: 40, queries: 5 }]
methods: [{ scalar: { bits: 2 } }]
measure: { distortion: {} }
";

/// What a child says that has measured something.
const VALUES: &str = r#"echo '{"values":[{"metric":"nmse","value":0.5,"unit":"1"}]}'"#;

struct Silent;

impl Observer for Silent {
    fn remark(&mut self, _: &str, _: &str) {}
    fn preparing(&mut self, _: &str) {}
    fn begin(&mut self, _: usize, _: usize, _: f64) {}
    fn phase(&mut self, _: &str, _: &str) {}
    fn ended(&mut self, _: &str, _: &TrialRecord, _: f64) {}
}

struct Bench {
    folder: tempfile::TempDir,
    experiment: String,
    retry_failed: bool,
}

impl Bench {
    fn new(experiment: impl Into<String>) -> Bench {
        let folder = tempfile::tempdir().expect("a folder");
        Bench { folder, experiment: experiment.into(), retry_failed: false }
    }

    /// Runs the experiment with children that do what a script says.
    fn run(&self, script: &str) -> (Outcome, Vec<TrialRecord>) {
        let document = Document::parse("e.yaml", &self.experiment).expect("YAML");
        let surroundings = Surroundings::default();
        let mut plan = Plan::new(&document, self.folder.path(), &surroundings, &Overrides::default()).expect("a plan");
        let never = AtomicBool::new(false);
        let script = format!("cat > \"$0/request.$$\"; mv \"$0/request.$$\" \"$0/request\"; {script}");
        let settings = Settings {
            folder: RunFolder::new(self.folder.path().join("run")),
            launcher: Launcher {
                program: PathBuf::from("sh"),
                arguments: vec!["-c".into(), script, self.folder.path().display().to_string()],
            },
            filter: None,
            force: false,
            retry_failed: self.retry_failed,
            interrupt: &never,
            surroundings: &surroundings,
            source_tree: self.folder.path().to_owned(),
        };
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
        (outcome, settings.folder.load().expect("a run").records)
    }

    /// How often a child was started, by scripts that say so with [`COUNT`].
    fn started(&self) -> usize {
        std::fs::read_to_string(self.folder.path().join("started")).map_or(0, |text| text.lines().count())
    }
}

const COUNT: &str = "echo x >> \"$0/started\"";

#[test]
fn what_libraries_write_to_standard_output_decides_nothing() {
    let noise = "echo 'a library says hello'; printf '\\377\\376 no text\\n'; echo; echo '{\"values\"'";
    for script in [
        format!("{VALUES}; {noise}"),
        format!("{noise}; {VALUES}"),
        format!("{noise}; {VALUES}; {noise}; exit 3"),
        format!("{VALUES}; kill -SEGV $$"),
    ] {
        let (outcome, records) = Bench::new(EXPERIMENT).run(&script);
        assert_eq!((outcome.ok, outcome.failed), (1, 0), "{script}: {:?}", records[0].reason);
        assert_eq!(records[0].values[0].value, 0.5);
    }
    // The first answer counts, and no answer is still a failure, which the noise may explain.
    let failed = r#"echo '{"failed":{"reason":"it was me","cause":"trial"}}'"#;
    let (_, records) = Bench::new(EXPERIMENT).run(&format!("{failed}; {VALUES}"));
    assert_eq!(records[0].reason.as_deref(), Some("it was me"));
    let (_, records) = Bench::new(EXPERIMENT).run("echo 'a library says goodbye'; exit 3");
    let reason = records[0].reason.clone().unwrap_or_default();
    assert!(reason.contains("exit status: 3") && reason.ends_with("it said: a library says goodbye"), "{reason}");
}

#[test]
fn a_record_keeps_the_log_of_its_trial() {
    let phases = "for p in load fit distortion; do echo '{\"phase\":\"'$p'\"}'; done; printf 'a library\\033[31m warns\\n\\n' >&2";
    let log = |script: &str| {
        let (_, records) = Bench::new(EXPERIMENT).run(&format!("{phases}; {script}"));
        let log = records[0].log.clone().expect("a log");
        let names: Vec<&str> = log.phases.iter().map(|phase| phase.name.as_str()).collect();
        assert_eq!(names, ["load", "fit", "distortion"], "{script}");
        let seconds: f64 = log.phases.iter().map(|phase| phase.seconds).sum();
        assert!(seconds <= records[0].wall_seconds && log.phases.iter().all(|phase| phase.seconds >= 0.0), "{log:?}");
        (records[0].status, log.remarks, log.standard_error)
    };
    assert_eq!(log(VALUES), (Status::Ok, vec![], "a library warns".to_owned()));
    for script in ["kill -KILL $$", "exit 3", r#"echo '{"failed":{"reason":"r","cause":"trial"}}'"#] {
        let (status, _, error) = log(&format!("echo 'and fails' >&2; {script}"));
        assert_eq!((status, error.as_str()), (Status::Failed, "a library warns\nand fails"), "{script}");
    }
    // What happens after the answer changes no result, but is told.
    let (status, remarks, _) = log(&format!("{VALUES}; exit 3"));
    assert_eq!(
        (status, remarks),
        (Status::Ok, vec!["After its answer, its process ended with exit code 3.".to_owned()])
    );
    let (_, remarks, error) =
        log(&format!("i=0; while [ $i -lt 1000 ]; do echo \"line $i\"; i=$((i+1)); done >&2; {VALUES}"));
    assert!(error.starts_with("line ") && error.ends_with("\nline 999") && error.len() <= 4096, "{error}");
    assert!(remarks[0].starts_with("The first ") && remarks[0].ends_with(" bytes of standard error are not kept."));
}

/// Runs a script until its trial has failed, then children that succeed; tells the cause and whether these had a chance.
fn fails_then(experiment: &str, script: &str, retry_failed: bool) -> (Option<Cause>, bool) {
    let mut bench = Bench::new(experiment);
    let (outcome, records) = bench.run(script);
    assert_eq!((outcome.ok, outcome.failed), (0, 1), "{script}");
    assert_eq!(outcome.passing, usize::from(records[0].failed_in_passing()));
    let cause = records[0].cause;
    bench.retry_failed = retry_failed;
    let (outcome, _) = bench.run(VALUES);
    (cause, outcome.ok == 1)
}

#[test]
fn what_fails_for_something_outside_of_it_is_tried_again_by_the_same_command() {
    let says = |cause: &str| format!(r#"echo '{{"failed":{{"reason":"r","cause":"{cause}"}}}}'"#);
    let aborts = "echo 'memory allocation of 99 bytes failed' >&2; kill -ABRT $$".to_owned();
    for (script, cause) in [
        ("kill -KILL $$".to_owned(), Cause::Killed),
        ("kill -TERM $$".to_owned(), Cause::Killed),
        ("kill -HUP $$".to_owned(), Cause::Killed),
        (aborts.clone(), Cause::Memory),
        (says("files"), Cause::Files),
        (says("device"), Cause::Device),
        (says("start"), Cause::Start),
    ] {
        assert_eq!(fails_then(EXPERIMENT, &script, false), (Some(cause), true), "{script}");
    }
    let limited = format!("{EXPERIMENT}memory: 1GiB\n");
    for (experiment, script) in [
        (EXPERIMENT, "kill -SEGV $$".to_owned()),
        (EXPERIMENT, "kill -ABRT $$".to_owned()),
        (EXPERIMENT, "exit 1".to_owned()),
        (EXPERIMENT, says("trial")),
        // Under a limit of its own it would run out of memory again.
        (&limited, aborts),
        (&limited, says("start")),
    ] {
        assert_eq!(fails_then(experiment, &script, false), (Some(Cause::Trial), false), "{script}");
        assert_eq!(fails_then(experiment, &script, true), (Some(Cause::Trial), true), "{script}");
    }
}

#[test]
fn failures_of_records_without_a_cause_are_kept() {
    let bench = Bench::new(EXPERIMENT);
    let (_, records) = bench.run("kill -KILL $$");
    let file = RunFolder::new(bench.folder.path().join("run")).trial_file(&records[0].trial.id);
    let text = std::fs::read_to_string(&file).expect("a record");
    let old: String = text.lines().filter(|line| !line.contains("\"cause\"")).collect();
    assert!(old.len() < text.len());
    std::fs::write(&file, old).expect("writes");
    let (outcome, records) = bench.run(VALUES);
    assert_eq!((outcome.ok, outcome.reused, outcome.passing, records[0].cause), (0, 1, 0, None));
}

/// The whole way, from a file that is gone to the same command after it came back.
#[test]
fn a_dataset_that_is_gone_or_other_and_comes_back_is_measured_after_all() {
    let file = "name: t\nseeds: [1]\nthreads: 1\ndatasets: [{ path: rows.fvecs }]\nmethods: [{ scalar: { bits: 2 } }]\nmeasure: { distortion: {} }\n";
    let bench = Bench::new(file);
    let path = bench.folder.path().join("rows.fvecs");
    let rows = |shift: u8| -> Vec<u8> {
        let row = |i: u8| [vec![2, 0, 0, 0], vec![0, 0, 0x80 + shift, 0x3f, 0, 0, i, 0x40]].concat();
        (0..100).flat_map(row).collect()
    };
    std::fs::write(&path, rows(0)).expect("writes");
    // What the process of a trial does, with the request as it came.
    let answer = |request: &Request| {
        let mut answer = Vec::new();
        let text = serde_json::to_vec(request).expect("a request");
        experiments::trial::run(&text[..], &mut answer, &Surroundings::default()).expect("answers");
        String::from_utf8(answer).expect("text")
    };
    let (_, _) = bench.run("exit 1");
    let request: Request =
        serde_json::from_slice(&std::fs::read(bench.folder.path().join("request")).expect("a request")).expect("JSON");
    assert!(answer(&request).contains("\"values\""));
    std::fs::remove_file(&path).expect("removes");
    assert!(answer(&request).contains("\"cause\":\"files\""), "gone");
    std::fs::write(&path, rows(1)).expect("writes");
    let changed = answer(&request);
    assert!(
        changed.contains("have changed since this run began") && changed.contains("\"cause\":\"files\""),
        "{changed}"
    );
    std::fs::write(&path, &rows(0)[..600]).expect("writes");
    assert!(answer(&request).contains("\"cause\":\"files\""), "cut");
    std::fs::write(&path, rows(0)).expect("writes");
    assert!(answer(&request).contains("\"values\""), "the same again");
}

/// A child is told how the files of its dataset looked, and takes their digests from there.
#[test]
fn files_that_look_the_same_are_not_read_for_their_digests_again() {
    let folder = "datasets: [{ path: rows.fvecs, queries: more/queries.fvecs }]";
    let bench = Bench::new(format!(
        "name: t\nseeds: [1]\nthreads: 1\n{folder}\nmethods: [{{ scalar: {{ bits: 2 }} }}]\nmeasure: {{ distortion: {{}} }}\n"
    ));
    std::fs::create_dir(bench.folder.path().join("more")).expect("a folder");
    for (name, value) in [("rows.fvecs", 0x3f), ("more/queries.fvecs", 0x40)] {
        let path = bench.folder.path().join(name);
        let row = |i: u8| [vec![1, 0, 0, 0], vec![0, 0, i, value]].concat();
        std::fs::write(&path, (0..100).flat_map(row).collect::<Vec<u8>>()).expect("writes");
        let an_hour_ago = std::time::SystemTime::now() - Duration::from_secs(3600);
        std::fs::File::options().write(true).open(&path).and_then(|f| f.set_modified(an_hour_ago)).expect("a time");
    }
    bench.run(VALUES);
    let text = std::fs::read_to_string(bench.folder.path().join("request")).expect("a request");
    let mut request: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let arrays = request["seen"]["arrays"].as_array_mut().expect("arrays");
    assert_eq!(arrays.len(), 2);
    arrays.iter_mut().for_each(|array| array["content"]["sha256"] = format!("as {}", array["asked"]["file"]).into());
    let request: Request = serde_json::from_value(request).expect("a request");
    let source = datasets::Source::parse(&request.dataset).expect("a source");
    let resolve = |seen| source.resolve_knowing(&request.root, &datasets::SearchPath::default(), seen);
    let fingerprint = |seen| resolve(seen).expect("resolves").summary.fingerprint;
    assert_eq!(fingerprint(&request.seen).matches("as \"/").count(), 2, "digests are those that were told");
    assert!(!fingerprint(&datasets::Seen::default()).contains("as \"/"));
}

#[test]
fn a_trial_that_starves_beside_others_runs_once_more_alone() {
    let two = Bench::new(EXPERIMENT.replace("seeds: [1]", "seeds: [1, 2]"));
    // Each child waits until the other one runs, or two seconds; then the first to come is killed, once.
    let script = format!(
        "{COUNT}; i=0; while [ $(wc -l < \"$0/started\") -lt 2 ] && [ $i -lt 200 ]; do sleep 0.01; i=$((i+1)); done; \
         mkdir \"$0/killed\" 2>/dev/null && kill -KILL $$; {VALUES}"
    );
    let (outcome, records) = two.run(&script);
    let side_by_side = std::thread::available_parallelism().is_ok_and(|cores| cores.get() >= 2);
    if side_by_side {
        assert_eq!((outcome.ok, two.started()), (2, 3), "{:?}", records.iter().map(|r| &r.reason).collect::<Vec<_>>());
        let remarks: Vec<&String> = records.iter().flat_map(|r| &r.log.as_ref().expect("a log").remarks).collect();
        assert!(remarks.len() == 1 && remarks[0].starts_with("This is its second attempt."), "{remarks:?}");
    }
    // Alone, it has failed.
    let one = Bench::new(EXPERIMENT);
    let (outcome, records) = one.run(&format!("{COUNT}; kill -KILL $$"));
    assert_eq!((outcome.passing, one.started(), records[0].status), (1, 1, Status::Failed));
}

/// What a child says whose normalized MSE depends on its seed for `scalar bits=2` only.
const SEEDED: &str = r#"
seed=$(sed 's/.*"seed":\([0-9]*\).*/\1/' "$0/request")
bits=$(sed 's/.*"label":"scalar bits=\([0-9]*\)".*/\1/' "$0/request")
echo "bits $bits seed $seed" >> "$0/started"
if [ "$bits" = 2 ]; then value=0.$seed; else value=0.5; fi
echo "{\"values\":[{\"metric\":\"nmse\",\"value\":$value,\"unit\":\"1\"}]}""#;

fn budgeted(seeds: &str, budget: &str) -> String {
    let two = "methods: [{ scalar: , sweep: { bits: [2, 3] } }]";
    let text = EXPERIMENT.replace("methods: [{ scalar: { bits: 2 } }]", two).replace("seeds: [1]", seeds);
    // One at a time, so that the order is known.
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{text}budget: {budget}\n").replace("threads: 1", &format!("threads: {cores}"))
}

#[test]
fn a_budget_goes_to_the_widest_intervals() {
    let bench = Bench::new(budgeted("seeds: [1, 2, 3, 4]", "1h"));
    let (outcome, _) = bench.run(SEEDED);
    assert_eq!((outcome.ok, outcome.left), (8, 0));
    let started = std::fs::read_to_string(bench.folder.path().join("started")).expect("a list");
    let expected = [
        "bits 2 seed 1",
        "bits 3 seed 1", // the first seed of all
        "bits 2 seed 2",
        "bits 3 seed 2", // intervals need two
        "bits 2 seed 3",
        "bits 2 seed 4", // which differ for 2 bits only
        "bits 3 seed 3",
        "bits 3 seed 4",
    ];
    assert_eq!(started.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn a_used_up_budget_says_what_it_left_out_and_more_of_it_continues() {
    let mut bench = Bench::new(budgeted("seeds: [1]", "1h"));
    let (outcome, records) = bench.run(&format!("sleep 0.01; {SEEDED}"));
    assert_eq!((outcome.ok, outcome.left), (2, 0));
    assert!(records.iter().map(|record| record.wall_seconds).sum::<f64>() > 0.001);

    // What the first call spent is more than this budget.
    bench.experiment = budgeted("seeds: [1, 2, 3]", "1ms");
    let (outcome, records) = bench.run(SEEDED);
    assert_eq!((outcome.ok, outcome.failed, outcome.left, outcome.reused, records.len()), (2, 0, 4, 2, 2));
    let skipped = |bench: &Bench| RunFolder::new(bench.folder.path().join("run")).load().expect("a run").info.skipped;
    assert_eq!(
        skipped(&bench),
        [
            "gaussian-4 · scalar bits=2 · cpu · seeds 2, 3: the budget of 1ms was used up",
            "gaussian-4 · scalar bits=3 · cpu · seeds 2, 3: the budget of 1ms was used up"
        ]
    );

    bench.experiment = budgeted("seeds: [1, 2, 3]", "1h");
    let (outcome, _) = bench.run(SEEDED);
    assert_eq!((outcome.ok, outcome.left, outcome.reused), (6, 0, 2));
    assert!(skipped(&bench).is_empty());
}
