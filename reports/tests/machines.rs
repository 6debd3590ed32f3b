//! What reports say of a run on machines of two classes: times stand together within a class alone, quality as ever.

#[allow(dead_code)]
mod common;

use common::{all_formats, compare, machine, record, render, results, run, text, trial};
use record::metric::{ENCODE_VECTORS_PER_SECOND, SEARCH_LATENCY_P50_US, TRAIN_SECONDS};
use record::{Measured, PAIRED, Run, TurnPair};
use reports::compare::{Options, Verdict};
use reports::in_turn;
use serde_json::json;

/// A run whose seed 3, and all of `Scalar 4 bit`, ran on a machine that is ten times faster.
fn two_classes() -> Run {
    let mut run = run();
    for record in &mut run.records {
        record.values.push(Measured::new(&SEARCH_LATENCY_P50_US, 400.0));
        if record.trial.seed == 3 || record.trial.label == "Scalar 4 bit" {
            record.machine.cpu = "Another Processor".into();
            record.machine.cores = 64;
            for value in &mut record.values {
                match value.unit.as_str() {
                    "1/s" => value.value *= 10.0,
                    "s" | "µs" => value.value /= 10.0,
                    _ => {}
                }
            }
        }
    }
    run
}

#[test]
fn times_of_two_classes_of_machines_stand_apart() {
    let run = two_classes();
    insta::assert_snapshot!("machines.md", text(&run, "report.md"));
    insta::assert_snapshot!("machines.csv", text(&run, "tables/vectors_16.csv"));
    insta::assert_snapshot!("machines.tex", text(&run, "tables/vectors_16.tex"));
    let page = text(&run, "index.html");
    assert_eq!(page.matches("because times of different machines do not compare").count(), 1);
    assert!(page.contains("Latency is no limit here"), "a limit of time would choose a machine");
    assert!(page.contains("<h2>Machines</h2>") && page.contains("Another Processor, 64 cores, avx512"));
    // A row says where its trials ran.
    assert!(page.contains(", on A Processor, 2 cores, avx512; Another Processor, 64 cores, avx512\""));
    let provenance: serde_json::Value = serde_json::from_str(&text(&run, "provenance.json")).expect("JSON");
    let machines = json!([["A Processor, 2 cores, avx512", 7], ["Another Processor, 64 cores, avx512", 6]]);
    assert_eq!(provenance["runs"][0]["machines"], machines);
}

/// A mean over both machines of the times of three seeds would be at 1.5 to 4 times that of the first.
#[test]
fn no_number_of_a_report_is_a_mean_over_both() {
    let run = two_classes();
    let bencher: serde_json::Value = serde_json::from_str(&text(&run, "bencher.json")).expect("JSON");
    let value = |subject: &str| bencher[subject]["encode-vectors-per-second"]["value"].as_f64();
    let near = |found: Option<f64>, expected: f64| found.is_some_and(|v| (v / expected - 1.0).abs() < 0.01);
    assert_eq!(value("vectors_16 · PQ m=2"), None, "no time without its machine");
    assert!(near(value("vectors_16 · PQ m=2 · A Processor, 2 cores, avx512"), 1e6 / 16.0), "{bencher:#}");
    assert!(near(value("vectors_16 · PQ m=2 · Another Processor, 64 cores, avx512"), 1e7 / 16.0));
    assert_eq!(value("vectors_16 · Scalar 4 bit · A Processor, 2 cores, avx512"), None, "it did not run there");
    assert!(bencher["vectors_16 · PQ m=2"]["nmse"]["value"].is_number(), "quality is one value");

    // Each figure of times has one machine.
    let artifacts = render(&[run], &all_formats()).expect("renders");
    let names: Vec<&str> = artifacts.iter().filter_map(|a| a.path.strip_suffix("-wide.svg")).collect();
    let drawn = |name: &str| names.contains(&format!("figures/vectors_16-{name}").as_str());
    for kind in ["throughput", "recall-speed"] {
        assert!(!drawn(kind) && drawn(&format!("{kind}-machine1")) && drawn(&format!("{kind}-machine2")), "{names:?}");
    }
    assert!(drawn("rate-distortion") && !drawn("rate-distortion-machine1"));
    let svg = |name: &str| {
        let found = artifacts.iter().find(|a| a.path == format!("figures/vectors_16-{name}.svg")).expect(name);
        String::from_utf8(found.bytes.clone()).expect("text")
    };
    assert!(
        !svg("throughput-machine1").contains("Scalar 4 bit") && svg("throughput-machine2").contains("Scalar 4 bit")
    );
}

/// Two runs, each on its own machine, are no better than one run on two.
#[test]
fn runs_of_two_machines_in_one_report_stand_apart_too() {
    let mut other = run();
    other.info.name = "elsewhere".into();
    other.records.iter_mut().for_each(|record| record.machine.cpu = "Another Processor".into());
    let artifacts = render(&[run(), other], &all_formats()).expect("renders");
    let names: Vec<&str> = artifacts.iter().map(|a| a.path.as_str()).collect();
    assert!(names.contains(&"figures/vectors_16-throughput-machine2.svg"), "{names:?}");
    assert!(!names.contains(&"figures/vectors_16-throughput.svg"));
    let page = artifacts.iter().find(|a| a.path == "report.md").expect("a page");
    let page = String::from_utf8(page.bytes.clone()).expect("text");
    assert!(page.contains("train s, machine 1") && page.contains("train s, machine 2"), "{page}");
}

#[test]
fn what_differs_in_a_machine_but_not_in_its_class_changes_nothing() {
    let mut run = run();
    let one = text(&run, "report.md");
    for record in run.records.iter_mut().skip(3) {
        record.machine.memory_bytes = 1 << 40;
        record.machine.git_revision = Some("fedcba".into());
    }
    let both = text(&run, "report.md");
    assert!(both.starts_with(&one[..one.find("\n---").expect("a rule")]));
    assert_eq!(both.matches("A Processor, 2 cores").count(), 2, "and the end names both machines");
}

#[test]
fn speed_is_compared_where_both_runs_were_timed() {
    let one = run();
    let mut elsewhere = run();
    elsewhere.records.iter_mut().for_each(|record| record.machine.cores = 64);
    let found = compare(&one, &elsewhere, &Options::default());
    assert_eq!(found.verdict(), Verdict::CannotTell);
    let reason = "speed was measured on A Processor, 2 cores, avx512 (2 threads) and on A Processor, 64 cores, avx512 (2 threads)";
    assert!(found.unknown.iter().any(|line| line.ends_with(reason)), "{:?}", found.unknown);
    assert!(found.checks.iter().any(|check| check.metric == "nmse"), "quality is compared");

    // Two processes on each of two machines, in both runs.
    let mut both = run();
    both.records.truncate(3);
    let mut fourth = record(trial("PQ m=2", "PQ", 16, 4), 0.4);
    fourth.machine.cores = 64;
    both.records[2].machine.cores = 64;
    both.records.push(fourth);
    let mut slower = both.clone();
    for record in slower.records.iter_mut().filter(|record| record.machine.cores == 64) {
        let timed = record.values.iter_mut().filter(|v| v.metric == ENCODE_VECTORS_PER_SECOND.name);
        timed.for_each(|v| v.value *= 0.5);
    }
    let found = compare(&both, &slower, &Options::default());
    let worse: Vec<&str> = found.regressions().map(|check| check.subject.as_str()).collect();
    assert_eq!(worse, ["vectors_16 · PQ m=2, on A Processor, 64 cores, avx512"], "{found:?}");
    assert!(found.unknown.is_empty(), "{:?}", found.unknown);
    // What only one of the runs timed is said.
    slower.records.iter_mut().for_each(|record| record.machine.cores = 2);
    let found = compare(&both, &slower, &Options::default());
    let only = "speed on A Processor, 64 cores, avx512 (2 threads) was measured in one of the runs only";
    assert!(found.unknown.iter().any(|line| line.ends_with(only)), "{:?}", found.unknown);
}

#[test]
fn pairs_that_met_on_two_machines_are_two() {
    let mut run = two_classes();
    let ids = |seed: u64| (format!("PQm=4-{seed}"), format!("Scalar2bit-{seed}"));
    let pair = TurnPair { name: "32 bits".into(), aims: vec![], trials: vec![ids(1), ids(2), ids(3)] };
    run.info.experiment = json!({ PAIRED: [pair] });
    let places = |run: &Run| -> Vec<(String, usize, bool)> {
        let found = in_turn::compare(&[results(run)], record::METRICS).expect("frames");
        let timed = |row: &in_turn::PairRow| row.metric.name == TRAIN_SECONDS.name && row.compared.is_some();
        found.into_iter().map(|r| (r.place.clone(), r.seeds, r.rows.iter().any(timed))).collect()
    };
    let one = "cpu, 2 threads, A Processor, 2 cores, avx512".to_owned();
    let other = "cpu, 2 threads, Another Processor, 64 cores, avx512".to_owned();
    assert_eq!(places(&run), [(one.clone(), 2, true), (other, 1, true)]);
    // Both sides of a pair meet on one machine, whatever a record says.
    let theirs = run.records.iter_mut().find(|r| r.trial.id == "Scalar2bit-3").expect("a record");
    theirs.machine = machine();
    assert_eq!(places(&run)[1].1, 0);
}
