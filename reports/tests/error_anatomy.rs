//! Figures of where errors lie: which methods they compare, and when there are any.

mod common;

use common::{record, render, run, trial};
use record::metric::{BASE_NORM, DIMENSION_ERROR, IP_BIAS_BY_NORM, IP_STD_BY_NORM, VECTOR_ERROR};
use record::{Measured, Run, TrialRecord};

const DIM: usize = 16;

/// A trial with quantiles, groups of dimensions and, if rows have different norms, groups of rows.
fn measured(label: &str, series: &str, bits: usize, seed: u64, norms: bool) -> TrialRecord {
    let mut record = record(trial(label, series, bits, seed), 0.1);
    let error = 2.0 / bits as f64;
    record.values.extend((0..9).map(|i| Measured::new(&VECTOR_ERROR, error * (0.5 + 0.1 * i as f64)).repeat(i)));
    record.values.extend((0..DIM).map(|i| Measured::new(&DIMENSION_ERROR, error * (1.0 + i as f64)).repeat(i)));
    for i in (0..10).filter(|_| norms) {
        let norm = 1.0 + i as f64;
        record.values.push(Measured::new(&BASE_NORM, norm).repeat(i));
        record.values.push(Measured::new(&IP_BIAS_BY_NORM, -0.01 * norm).repeat(i));
        record.values.push(Measured::new(&IP_STD_BY_NORM, 0.1 * norm).repeat(i));
    }
    record
}

fn run_of(points: &[(&str, &str, usize)], norms: bool) -> Run {
    let each = |(label, series, bits): &(&str, &str, usize)| {
        (1..=2).map(|seed| measured(label, series, *bits, seed, norms)).collect::<Vec<_>>()
    };
    let mut run = run();
    run.records = points.iter().flat_map(each).collect();
    run.info.trials = run.records.iter().map(|r| r.trial.clone()).collect();
    run
}

/// Names and texts of the figures about errors, in one column.
fn figures(run: &Run) -> Vec<(String, String)> {
    let artifacts = render(std::slice::from_ref(run), &["svg".to_owned()]).expect("renders");
    let named = artifacts.into_iter().filter_map(|a| {
        let name = a.path.strip_prefix("figures/vectors_16-")?.strip_suffix(".svg")?.to_owned();
        Some((name, String::from_utf8(a.bytes).expect("text")))
    });
    named.filter(|(name, _)| name.starts_with("error-") && !name.ends_with("-wide")).collect()
}

#[test]
fn methods_of_the_rate_with_most_of_them_are_compared() {
    let points = [("PQ 2", "PQ", 16), ("PQ 4", "PQ", 32), ("Scalar 2", "Scalar", 32), ("Scalar 4", "Scalar", 64)];
    let figures = figures(&run_of(&points, true));
    let names: Vec<&str> = figures.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["error-vectors", "error-dimensions", "error-inner-products"]);
    for (name, svg) in &figures {
        assert!(svg.contains("PQ") && svg.contains("Scalar"), "{name} has both series");
    }
    // Marks say the exact values: at 32 bits, the largest quantile is 2/32·1.3.
    let vectors = &figures[0].1;
    assert!(vectors.contains("0.08125") && !vectors.contains("0.1625"), "only those of 32 bits");
}

#[test]
fn a_single_method_is_compared_with_itself_at_other_rates() {
    let figures = figures(&run_of(&[("PQ 2", "PQ", 16), ("PQ 4", "PQ", 32)], true));
    let vectors = &figures[0].1;
    assert!(vectors.contains("PQ 2") && vectors.contains("PQ 4"));
}

#[test]
fn rows_of_one_norm_have_no_figure_of_norms_and_old_runs_have_none() {
    let names = |run: &Run| figures(run).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    let points = [("PQ 4", "PQ", 32), ("Scalar 2", "Scalar", 32)];
    assert_eq!(names(&run_of(&points, false)), ["error-vectors", "error-dimensions"]);
    assert!(names(&run()).is_empty());
}
