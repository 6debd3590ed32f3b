//! Questions in SQL to the tables of a run, and how answers are written.

#[allow(dead_code)]
mod common;

use common::run;
use polars::prelude::DataFrame;
use record::{Run, RunTables, frame};
use reports::query::{MOST_ROWS, QueryError, query, to_csv, to_markdown, to_text};

fn tables(run: &Run) -> RunTables {
    RunTables { results: frame::results(run).expect("a frame"), trials: frame::trials(run).expect("a frame") }
}

fn ask(sql: &str) -> Result<DataFrame, QueryError> {
    let mut other = run();
    other.records.truncate(3);
    query(vec![("first".into(), tables(&run())), ("second".into(), tables(&other))], sql)
}

const BEST: &str = "SELECT run, label, bits_per_vector AS bits, AVG(value) AS nmse, COUNT(*) AS seeds FROM results
    WHERE metric = 'nmse' GROUP BY run, label, bits_per_vector ORDER BY run, nmse";

#[test]
fn answers_in_every_form() {
    let answer = ask(BEST).expect("an answer");
    insta::assert_snapshot!("query.txt", to_text(&answer));
    insta::assert_snapshot!("query.md", to_markdown(&answer));
    let csv = String::from_utf8(to_csv(&answer).expect("csv")).expect("text");
    insta::assert_snapshot!("query.csv", csv);
}

#[test]
fn tables_are_joined() {
    let sql = "SELECT t.run, t.label, t.reason, COUNT(r.value) AS measured FROM trials t LEFT JOIN results r
        ON t.trial = r.trial AND t.run = r.run WHERE t.status <> 'ok' GROUP BY t.run, t.label, t.reason";
    insta::assert_snapshot!("failures.txt", to_text(&ask(sql).expect("an answer")));
}

#[test]
fn mistakes_are_told_with_the_columns_there_are() {
    for (sql, expected) in [
        ("SELECT nmes FROM results", "nmes"),
        ("SELECT value FROM result", "result"),
        ("SELEC value FROM results", "SELEC"),
        ("SELECT value FROM results WHERE", ""),
        ("SELECT frobnicate(value) FROM results", "frobnicate"),
        ("", ""),
        ("SELECT 1; SELECT 2", "one"),
    ] {
        let error = ask(sql).expect_err(sql);
        assert!(error.message.contains(expected) && !error.message.is_empty(), "{sql}: {}", error.message);
        assert!(!error.message.contains('\n'), "{sql}: {}", error.message);
        assert!(
            error.help.contains("the table `results` has the columns run, experiment, trial, dataset"),
            "{}",
            error.help
        );
        assert!(error.help.contains("the table `trials` has the columns run, experiment"), "{}", error.help);
    }
}

#[test]
fn a_long_answer_is_cut_and_texts_of_a_stranger_stay_texts() {
    let mut run = run();
    run.records[0].trial.label = "\u{1b}[2J=x | y".into();
    run.records[0].values = vec![run.records[0].values[0].clone(); MOST_ROWS + 10];
    let all = || query(vec![("r".into(), tables(&run))], "SELECT label, params FROM results").expect("an answer");
    let text = to_text(&all());
    assert!(text.lines().count() == MOST_ROWS + 2 && !text.contains('\u{1b}'));
    assert!(text.ends_with("more rows; a LIMIT, CSV or `--out` shows others\n"));
    assert!(to_markdown(&all()).contains("=x \\| y"));
    let csv = String::from_utf8(to_csv(&all()).expect("csv")).expect("text");
    assert!(csv.lines().count() > MOST_ROWS + 10);
}
