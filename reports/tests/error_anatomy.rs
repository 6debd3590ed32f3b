//! Figures of where errors lie, of how often codewords are used and of how far seeds differ: which methods they compare,
//! and when there are any.

#[allow(dead_code)]
mod common;

use common::{record, render, run, trial};
use record::metric::{
    BASE_NORM, CODEWORD_FREQUENCY, CODEWORDS, DIMENSION_ERROR, IP_BIAS_BY_NORM, IP_STD_BY_NORM, VECTOR_ERROR,
};
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
    all_figures(run).into_iter().filter(|(name, _)| name.starts_with("error-")).collect()
}

/// Names and texts of all figures, in one column.
fn all_figures(run: &Run) -> Vec<(String, String)> {
    let artifacts = render(std::slice::from_ref(run), &["svg".to_owned()]).expect("renders");
    let named = artifacts.into_iter().filter_map(|a| {
        let name = a.path.strip_prefix("figures/vectors_16-")?.strip_suffix(".svg")?.to_owned();
        Some((name, String::from_utf8(a.bytes).expect("text")))
    });
    named.filter(|(name, _)| !name.ends_with("-wide")).collect()
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
    // Marks say exact values: at 32 bits, those of the quantiles are 2/32·(0.5 + 0.1 i).
    let marked: Vec<f64> = figures[0].1.split("variance ").skip(1).filter_map(number).collect();
    let of_rate = |value: &f64| (0..9).any(|i| (value - 0.0625 * (0.5 + 0.1 * f64::from(i))).abs() < 1e-4);
    assert!(marked.len() >= 8 && marked.iter().all(of_rate), "only those of 32 bits: {marked:?}");
}

/// The number at the start of a text.
fn number(text: &str) -> Option<f64> {
    text.split(|c: char| !c.is_ascii_digit() && c != '.').next()?.parse().ok()
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

#[test]
fn frequencies_of_codewords_compare_the_rate_that_most_methods_of_a_size_have() {
    let points =
        [("PQ 16", "PQ", 16), ("RVQ 16", "RVQ", 16), ("FSQ 15", "FSQ", 16), ("PQ 32", "PQ", 32), ("VQ 64", "VQ", 6)];
    // Two builds wrote the ranks 1, 2, 4, … in different ways.
    let figure = |repeat: fn(u32) -> usize| {
        let mut run = run_of(&points, false);
        for record in &mut run.records {
            let size = if record.trial.series == "VQ" { 6 } else { 4 };
            let codewords = if record.trial.series == "FSQ" { 15.0 } else { f64::from(1 << size) };
            record.values.push(Measured::new(&CODEWORDS, codewords));
            // The last codeword is dead.
            let share = |i: u32| if i == size { 0.0 } else { 0.4 / f64::from(1u32 << i) };
            let ranked = (0..=size).map(|i| Measured::new(&CODEWORD_FREQUENCY, share(i)).repeat(repeat(i)));
            record.values.extend(ranked);
        }
        let figures = all_figures(&run);
        figures.into_iter().find(|(name, _)| name == "rank-frequency").expect("a figure").1
    };
    let svg = figure(|i| 1 << i);
    assert!(["PQ", "RVQ", "FSQ"].iter().all(|name| svg.contains(&format!(">\n{name}\n<"))), "by their series");
    assert!(!svg.contains("VQ 64") && !svg.contains("PQ 32"));
    let shares: Vec<f64> = svg.split("share of the vectors ").skip(1).filter_map(number).collect();
    assert!(!shares.is_empty() && shares.iter().all(|share| *share > 0.0), "{shares:?}");
    assert_eq!(svg, figure(|i| i as usize), "records of older builds");
}

#[test]
fn the_spread_of_seeds_needs_seeds_that_differ() {
    let spread = |run: &Run| all_figures(run).into_iter().find(|(name, _)| name == "seed-spread").map(|(_, svg)| svg);
    let svg = spread(&run()).expect("three seeds that differ");
    // Seeds are 1% below and above the mean.
    let deviations: Vec<&str> =
        svg.split("deviation ").skip(1).filter_map(|text| text.split([';', ' ']).next()).collect();
    assert!(deviations.iter().any(|text| text.starts_with("-1.0")), "{deviations:?}");
    // PQ and scalar quantization at 32 bits stand beside each other.
    let places = |series: &str| {
        let marks = svg.split("<rect x=\"").skip(1).filter(|mark| mark.contains(&format!("<title>{series}: ")));
        marks.filter(|mark| mark.contains("vector 32")).filter_map(|mark| mark.split('"').next()).collect::<Vec<_>>()
    };
    let (pq, scalar) = (places("PQ"), places("Scalar"));
    assert!(pq.len() >= 3 && scalar.len() >= 3 && pq.iter().all(|x| !scalar.contains(x)), "{pq:?} {scalar:?}");
    let mut alone = run();
    alone.records.retain(|record| record.trial.seed == 1);
    assert!(spread(&alone).is_none());
    // The mean of three times 0.1 is not 0.1.
    let mut equal = run();
    equal.records.iter_mut().flat_map(|record| &mut record.values).for_each(|value| value.value = 0.1);
    assert!(spread(&equal).is_none());
}
