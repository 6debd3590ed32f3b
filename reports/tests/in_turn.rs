//! What reports say of trials that computed in turn: rounds are compared, aims are judged, and nothing else changes.

#[allow(dead_code)]
mod common;

use common::{all_formats, record, results, run, trial};
use record::metric::{NMSE, RECALL_K_AT_K, SEARCH_QUERIES_PER_SECOND, TRAIN_SECONDS};
use record::{Aim, Measured, PAIRED, Run, Status, TurnPair};
use reports::{in_turn, render};
use serde_json::json;

fn aim(metric: &str, ratio: Option<f64>, difference: Option<f64>) -> Aim {
    Aim { metric: metric.into(), k: None, ratio, difference }
}

/// A run in which `PQ m=4` and `Scalar 2 bit` computed in turn with two seeds.
fn paired() -> Run {
    let mut run = run();
    let ids = |seed: u64| (format!("PQm=4-{seed}"), format!("Scalar2bit-{seed}"));
    let aims = vec![
        aim("nmse", Some(1.25), None),
        aim("recall_k_at_k", None, Some(0.02)),
        aim("search_queries_per_second", Some(1.9), None),
        aim("usage", Some(1.0), None),
        aim("mse", Some(1.0), None),
    ];
    let pairs = vec![
        TurnPair { name: "32 bits".into(), aims, trials: vec![ids(1), ids(2), ids(3)] },
        TurnPair {
            name: "never ran".into(),
            aims: vec![aim("nmse", Some(9.0), None)],
            trials: vec![("x".into(), "y".into())],
        },
    ];
    run.info.experiment = json!({ PAIRED: pairs });
    for record in &mut run.records {
        // The machine slows down from repeat to repeat: the ratio of each round is 2, times 1, 1.1, 1.2 for the seeds.
        let base = if record.trial.label == "PQ m=4" { 2.0 + 0.2 * (record.trial.seed as f64 - 1.0) } else { 1.0 };
        for value in record.values.iter_mut().filter(|v| v.metric == SEARCH_QUERIES_PER_SECOND.name) {
            value.value = base * 1000.0 / (1.0 + value.repeat.unwrap_or(0) as f64);
        }
    }
    run
}

fn text(run: &Run, path: &str) -> String {
    let artifacts = render(&[results(run)], &all_formats()).expect("renders");
    let found = artifacts.into_iter().find(|a| a.path == path).unwrap_or_else(|| panic!("{path}"));
    String::from_utf8(found.bytes).expect("text")
}

#[test]
fn the_section_and_the_tables_say_what_was_compared() {
    let page = text(&paired(), "report.md");
    let start = page.find("## In turn").expect("a section");
    let section = &page[start..];
    let end = section[3..].find("\n## ").map_or(section.len(), |end| end + 3);
    insta::assert_snapshot!("in_turn.md", &section[..end]);
    insta::assert_snapshot!("in_turn.csv", text(&paired(), "tables/in-turn.csv"));
    insta::assert_snapshot!("in_turn.tex", text(&paired(), "tables/in-turn.tex"));
    let html = text(&paired(), "index.html");
    assert!(html.contains("id=\"in-turn\"") && html.contains("2.194×"));
    assert!(!text(&run(), "index.html").contains("id=\"in-turn\""), "without pairs there is no section");
}

#[test]
fn a_figure_shows_the_ratios_of_speeds_and_their_aims() {
    let artifacts = |run: &Run| render(&[results(run)], &all_formats()).expect("renders");
    let figure = |run: &Run| artifacts(run).into_iter().find(|a| a.path.ends_with("-in-turn.svg"));
    let svg = String::from_utf8(figure(&paired()).expect("a figure").bytes).expect("text");
    // The geometric mean of 2, 2.2 and 2.4, and the heading of its panel.
    assert!(svg.contains(">\n2.2\n<"), "{svg}");
    assert!(svg.contains("32 bits") && !svg.contains("never ran"), "{svg}");
    assert!(figure(&run()).is_none(), "without pairs there is none");
}

#[test]
fn a_missed_aim_is_one_line_and_what_did_not_run_is_none() {
    let missed = |run: &Run| in_turn::missed(&in_turn::compare(&[results(run)], record::METRICS).expect("compares"));
    assert_eq!(
        missed(&paired()),
        [
            "32 bits on vectors_16 (cpu, 2 threads): nmse of PQ m=4 compared with Scalar 2 bit is 1.200×; the aim is at least 1.25×",
            "32 bits on vectors_16 (cpu, 2 threads): mse was not measured for both PQ m=4 and Scalar 2 bit; the aim is at least 1×",
        ]
    );
    // A side that fails for a seed takes that seed from the comparison.
    let mut failing = paired();
    let at = failing.records.iter().position(|r| r.trial.id == "Scalar2bit-3").expect("a record");
    failing.records[at].status = Status::Failed;
    failing.records[at].values.clear();
    let reports = in_turn::compare(&[results(&failing)], record::METRICS).expect("compares");
    assert_eq!((reports.len(), reports[0].seeds), (1, 2));
    // If it fails for all, no aim is reached.
    failing.records.iter_mut().filter(|r| r.trial.label == "PQ m=4").for_each(|r| r.status = Status::Timeout);
    assert_eq!(missed(&failing).len(), 5);
    // Aims are reached within rounding.
    let mut exact = paired();
    exact.info.experiment[PAIRED][0]["aims"] =
        json!([{ "metric": "nmse", "ratio": 1.2 }, { "metric": "recall_k_at_k", "difference": 0.02 }]);
    assert!(missed(&exact).is_empty(), "{:?}", missed(&exact));
}

#[test]
fn zeros_have_a_difference_and_no_ratio() {
    let mut run = run();
    let both = [("A", 0.0, 0.0), ("B", 0.5, 0.25)].map(|(label, nmse, recall)| {
        let mut record = record(trial(label, label, 8, 1), 0.5);
        record.values = vec![
            Measured::new(&NMSE, nmse),
            Measured::new(&RECALL_K_AT_K, recall).k(10).path("adc"),
            Measured::new(&TRAIN_SECONDS, 2.0).repeat(0),
        ];
        record
    });
    run.info.trials = both.iter().map(|r| r.trial.clone()).collect();
    run.records = both.to_vec();
    let aims = vec![aim("nmse", Some(1.0), None)];
    run.info.experiment =
        json!({ PAIRED: [TurnPair { name: "p".into(), aims, trials: vec![("A-1".into(), "B-1".into())] }] });
    let reports = in_turn::compare(&[results(&run)], record::METRICS).expect("compares");
    let row = |name: &str| reports[0].rows.iter().find(|row| row.metric.name == name).expect("a row");
    let nmse = row("nmse").compared.expect("measured");
    assert!(nmse.ratio.is_none() && nmse.difference.value == 0.5);
    assert_eq!(row("nmse").reached(), Some(true), "nothing is better than no error");
    assert_eq!(row("train_seconds").compared.expect("measured").rounds, 1);
}
