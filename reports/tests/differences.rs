//! What a report says of differences: found where they are, denied where they are not, and nothing where too little ran.

mod common;

use common::{all_formats, record, render, run, text, trial};
use record::metric::{MSE_STD, NMSE, RECALL_K_AT_K_STD};
use record::{DatasetFacts, Measured, Run, Trial, TrialRecord};

/// A deterministic number in −1..1 for a seed, a method and a dataset.
fn noise(seed: u64, method: usize, dataset: usize) -> f64 {
    // The mixing steps of SplitMix64.
    let mut mixed = (seed << 32 | (method as u64) << 16 | dataset as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

/// Methods at 32 bits with these distortions on several datasets. The distortion of each seed differs by `spread`.
fn made(methods: &[(&str, f64)], datasets: usize, seeds: u64, spread: f64) -> Run {
    let mut run = run();
    let facts = run.info.datasets[0].clone();
    run.info.datasets.clear();
    run.records.clear();
    for dataset in 0..datasets {
        let name = format!("set-{dataset}");
        run.info.datasets.push(DatasetFacts { name: name.clone(), fingerprint: name.clone(), ..facts.clone() });
        for (method, (label, nmse)) in methods.iter().enumerate() {
            for seed in 1..=seeds {
                let trial = Trial { dataset: name.clone(), ..trial(label, label, 32, seed) };
                let mut record: TrialRecord = record(Trial { id: format!("{name}-{}", trial.id), ..trial }, 0.5);
                let value = nmse * (1.0 + spread * noise(seed, method, dataset));
                record.values.iter_mut().filter(|v| v.metric == NMSE.name).for_each(|v| v.value = value);
                // Other metrics would be tested too.
                record.values.retain(|v| !v.metric.starts_with("recall") && !v.metric.starts_with("knn"));
                run.records.push(record);
            }
        }
    }
    run.info.trials = run.records.iter().map(|r| r.trial.clone()).collect();
    run
}

/// The rows of the section that compare these methods in distortion.
fn rows<'a>(page: &'a str, a: &str, b: &str) -> Vec<Vec<&'a str>> {
    let cells = page.lines().map(|line| line.split('|').map(str::trim).collect::<Vec<_>>());
    cells.filter(|cells| cells.len() == 11 && cells[2] == "NMSE" && cells[3] == a && cells[4] == b).collect()
}

#[test]
fn a_difference_far_larger_than_the_spread_is_named_and_marked() {
    let run = made(&[("good", 0.1), ("fair", 0.2), ("poor", 0.4)], 1, 3, 0.01);
    let page = text(&run, "report.md");
    let found = rows(&page, "good", "poor");
    assert_eq!(found.len(), 1, "{page}");
    assert_eq!((found[0][9], found[0][7]), ("A is better", "paired t, 3 seeds"), "{page}");
    assert!(found[0][5].starts_with("−6.0") && found[0][5].ends_with(" dB"), "{page}");
    assert!(rows(&page, "fair", "poor").is_empty(), "the page compares with the best alone");
    let csv = text(&run, "tables/differences.csv");
    assert!(csv.lines().any(|line| line.contains(",fair,poor,dB,") && line.ends_with(",A is better")), "{csv}");
    let tex = text(&run, "tables/set-0.tex");
    assert!(tex.contains("\\textbf{0.1") && tex.contains("\\underline{0.") && !tex.contains("\\rlap"), "{tex}");
    let html = text(&run, "index.html");
    assert!(html.contains("<section id=\"differences\">") && html.contains("<td>A is better</td>"));
}

#[test]
fn noise_is_no_difference_and_the_page_says_what_would_have_been_one() {
    let run = made(&[("one", 0.1), ("other", 0.1001)], 1, 3, 0.05);
    let page = text(&run, "report.md");
    let section = page.split("Is the difference real?").nth(1).expect("a section");
    assert!(
        section.contains("no difference seen; a difference of ") && section.contains(" dB would have been"),
        "{section}"
    );
    assert!(!section.contains("is better"), "{section}");
    assert!(section.contains("With 5 seeds they could be "), "{section}");
    let tex = text(&run, "tables/set-0.tex");
    assert!(!tex.contains("\\textbf") && !tex.contains("\\underline"), "{tex}");
    assert_eq!(tex.matches("\\rlap{$^{\\approx}$}").count(), 4, "distortion and gap of both: {tex}");
}

#[test]
fn a_single_seed_is_not_tested() {
    let run = made(&[("good", 0.1), ("poor", 0.4)], 1, 1, 0.01);
    let page = text(&run, "report.md");
    let section = page.split("Is the difference real?").nth(1).expect("a section");
    assert!(section.contains("No difference is tested: there is at most 1 seed for each pair of methods"), "{section}");
    assert!(!section.contains("is better") && !section.contains("| verdict |"), "{section}");
    let tex = text(&run, "tables/set-0.tex");
    assert!(tex.contains("Differences are not tested: too few seeds.") && !tex.contains("\\textbf"), "{tex}");
    assert!(text(&run, "tables/differences.csv").lines().any(|line| line.ends_with(",none,,,not tested")));
}

#[test]
fn methods_without_randomness_are_compared_exactly() {
    let run = made(&[("good", 0.1), ("poor", 0.4), ("again", 0.1)], 1, 3, 0.0);
    let page = text(&run, "report.md");
    assert_eq!(rows(&page, "good", "poor")[0][6..10], ["exact", "none: no seed differs", "–", "A is better"], "{page}");
    assert_eq!(rows(&page, "good", "again")[0][9], "equal for every seed", "{page}");
}

#[test]
fn many_datasets_have_signed_ranks_and_a_diagram_of_critical_differences() {
    let run = made(&[("good", 0.1), ("fair", 0.2), ("fair too", 0.2)], 8, 3, 0.3);
    let page = text(&run, "report.md");
    let section = page.split("Is the difference real?").nth(1).expect("a section");
    assert!(section.contains("### Over several datasets"), "{section}");
    let found = rows(section, "good", "fair");
    assert_eq!(found[0][7], "signed rank, 24 pairs on 8 datasets", "{section}");
    assert_eq!(found[0][9], "A is better", "{section}");
    assert!(rows(section, "fair", "fair too").is_empty() && rows(section, "fair too", "fair").is_empty(), "{section}");
    assert!(!section.contains("There is no diagram"), "{section}");
    let artifacts = render(&[run], &all_formats()).expect("renders");
    let find = |path: &str| artifacts.iter().find(|a| a.path == path).map(|a| a.bytes.clone());
    let svg = String::from_utf8(find("figures/critical-differences.svg").expect("drawn")).expect("text");
    assert!(svg.contains("good (1.00)") && svg.contains("8 datasets, Friedman p"), "{svg}");
    assert!(find("figures/critical-differences.png").is_some_and(|png| png.starts_with(b"\x89PNG")));
    // Six datasets are too few for three methods, and the page says so.
    let few = made(&[("good", 0.1), ("fair", 0.2), ("fair too", 0.2)], 6, 3, 0.3);
    let page = text(&few, "report.md");
    assert!(page.contains("There is no diagram of critical differences over datasets: it needs at least 3 methods at one rate on at least 7 datasets"), "{page}");
    assert!(!render(&[few], &all_formats()).expect("renders").iter().any(|a| a.path.contains("critical")));
}

#[test]
fn curves_save_rate_or_say_why_not() {
    let mut run = run();
    run.records.clear();
    for (series, factor) in [("first", 1.0), ("second", 0.8), ("apart", 0.001)] {
        for (bits, nmse) in [(16, 0.4), (32, 0.2), (64, 0.05)] {
            for seed in 1..=3 {
                run.records.push(record(trial(&format!("{series} {bits}"), series, bits, seed), factor * nmse));
            }
        }
    }
    run.info.trials = run.records.iter().map(|r| r.trial.clone()).collect();
    let page = text(&run, "report.md");
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| first | second | −")).collect();
    assert!(rows.len() == 1 && rows[0].contains("% to −"), "{page}");
    assert!(page.contains("rate of first and apart: the curves do not overlap"), "{page}");
    let csv = text(&run, "tables/rate-savings.csv");
    assert!(csv.lines().any(|line| line.starts_with("vectors_16,first,second,-0.")), "{csv}");
    assert!(csv.contains("the curves do not overlap"), "{csv}");
}

#[test]
fn intervals_over_vectors_and_queries_stand_beside_those_over_seeds() {
    let mut run = run();
    for record in run.records.iter_mut().filter(|r| !r.values.is_empty()) {
        record.values.push(Measured::new(&MSE_STD, 1.6));
        record.values.push(Measured::new(&RECALL_K_AT_K_STD, 0.2).k(10).path("adc"));
    }
    let csv = text(&run, "tables/vectors_16.csv");
    let mut lines = csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let (head, row) = (lines.next().expect("a head"), lines.next().expect("a row"));
    let value = |name: &str| -> f64 {
        let at = head.iter().position(|title| *title == name).unwrap_or_else(|| panic!("{name} in {head:?}"));
        row[at].parse().expect("a number")
    };
    // 1.6 over a variance of 16, over 1000 vectors; .2 over 100 queries. The quantiles of t are 1.962 and 1.984.
    let half = |key: &str| 0.5 * (value(&format!("{key}_high")) - value(&format!("{key}_low")));
    assert!((half("nmse_vectors") - 1.962 * 0.1 / 1000f64.sqrt()).abs() < 1e-5, "{}", half("nmse_vectors"));
    assert!((half("recall_10_at_10_queries") - 1.984 * 0.02).abs() < 1e-4, "{}", half("recall_10_at_10_queries"));
    assert!(!csv.contains("rerank4_queries"), "measured for the method's own search only");
    let html = text(&run, "index.html");
    assert!(html.contains("; over 1000 vectors: 0.39") && html.contains("; over 100 queries: 0.5"));
}
