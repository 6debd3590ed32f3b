//! What intervals and tests promise, tried on made-up results whose truth is known.

use super::difference::standard_normal;
use super::distributions::normal_quantile;
use super::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const RUNS: usize = 2000;

/// The largest count of events with this probability in all runs that chance exceeds once in a thousand times.
fn most(probability: f64) -> f64 {
    let runs = RUNS as f64;
    runs * probability + normal_quantile(0.999) * (runs * probability * (1.0 - probability)).sqrt()
}

fn normals(count: usize, rng: &mut ChaCha8Rng) -> Vec<f64> {
    (0..count).map(|_| standard_normal(rng)).collect()
}

/// Share of the runs in which the interval contains the truth.
fn coverage(truth: f64, mut interval: impl FnMut(&mut ChaCha8Rng) -> Estimate) -> f64 {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let holds = |e: Estimate| e.low <= truth && truth <= e.high;
    (0..RUNS).filter(|_| holds(interval(&mut rng))).count() as f64 / RUNS as f64
}

#[test]
fn intervals_over_seeds_cover_95_percent() {
    for seeds in [3, 5, 10] {
        let share = coverage(0.0, |rng| mean(&normals(seeds, rng)).expect("values"));
        assert!((0.93..=0.97).contains(&share), "mean of {seeds} seeds: {share}");
    }
}

#[test]
fn intervals_over_queries_and_vectors_cover_95_percent() {
    let deviation = |values: &[f64]| {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
        of_sample(mean, (squares / (values.len() - 1) as f64).sqrt(), values.len()).expect("values")
    };
    // 10-recall@10 of 100 queries, of which some find nothing: a query has a chance of its own for each neighbour.
    let share = coverage(0.5, |rng| {
        let query = |rng: &mut ChaCha8Rng| {
            let chance: f64 = rng.random();
            (0..10).filter(|_| rng.random::<f64>() < chance).count() as f64 / 10.0
        };
        deviation(&(0..100).map(|_| query(rng)).collect::<Vec<_>>())
    });
    assert!((0.93..=0.97).contains(&share), "queries: {share}");
    // Squared errors of 300 vectors with four components each.
    let share = coverage(4.0, |rng| {
        let error = |rng: &mut ChaCha8Rng| normals(4, rng).iter().map(|e| e * e).sum();
        deviation(&(0..300).map(|_| error(rng)).collect::<Vec<f64>>())
    });
    assert!((0.93..=0.97).contains(&share), "vectors: {share}");
}

#[test]
fn intervals_of_paired_differences_cover_95_percent() {
    // Student's with three seeds, and those of the signed-rank test with eight, twelve and thirty pairs.
    for pairs in [3, 8, 12, 30] {
        let share = coverage(0.7, |rng| {
            let differences = normals(pairs, rng).iter().map(|noise| 0.7 + noise).collect();
            compare(&[differences], 1).expect("differences").difference
        });
        assert!((0.93..=0.97).contains(&share), "{pairs} pairs: {share}");
    }
    // Three seeds on each of four datasets that differ in spread, with tails heavier than normal.
    let share = coverage(0.7, |rng| {
        let of_dataset = |spread: f64, rng: &mut ChaCha8Rng| -> Vec<f64> {
            normals(3, rng).iter().map(|noise| 0.7 + spread * noise.powi(3)).collect()
        };
        let differences: Vec<Vec<f64>> = [0.1, 0.3, 1.0, 3.0].map(|spread| of_dataset(spread, rng)).to_vec();
        compare(&differences, 1).expect("differences").difference
    });
    assert!((0.93..=0.97).contains(&share), "seeds and datasets: {share}");
}

#[test]
fn intervals_of_rate_savings_cover_95_percent() {
    let quality = [4.0, 7.5, 14.2, 20.0];
    let rates = [32.0, 64.0, 128.0, 200.0];
    let truth = rate_saving(
        &RateDistortionCurve { rates: rates.to_vec(), quality_db: vec![quality.to_vec()] },
        &RateDistortionCurve { rates: rates.map(|r| 0.9 * r).to_vec(), quality_db: vec![quality.to_vec()] },
    )
    .expect("overlapping curves")
    .rate
    .value;
    assert!((truth + 0.1).abs() < 1e-12);
    for (seeds, spread) in [(3, 0.02), (3, 0.2), (4, 0.05)] {
        let share = coverage(truth, |rng| {
            let mut curve = |factor: f64| RateDistortionCurve {
                rates: rates.map(|r| factor * r).to_vec(),
                // What a seed adds to all points, and to each of them.
                quality_db: (0..seeds)
                    .map(|_| {
                        let common = standard_normal(rng);
                        quality.map(|q| q + spread * (common + standard_normal(rng))).to_vec()
                    })
                    .collect(),
            };
            rate_saving(&curve(1.0), &curve(0.9)).expect("overlapping curves").rate
        });
        assert!((0.93..=0.97).contains(&share), "{seeds} seeds, spread {spread}: {share}");
    }
}

/// Number of runs in which some pair of equal methods is called different: `methods` on `datasets` with `seeds`.
fn false_alarms(methods: usize, datasets: usize, seeds: usize) -> usize {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let pairs: Vec<(usize, usize)> = (0..methods).flat_map(|a| (0..a).map(move |b| (b, a))).collect();
    let mut alarm = || {
        let values: Vec<Vec<Vec<f64>>> =
            (0..methods).map(|_| (0..datasets).map(|_| normals(seeds, &mut rng)).collect()).collect();
        let p: Vec<f64> = pairs
            .iter()
            .map(|&(a, b)| {
                let of_dataset = |(a, b): (&Vec<f64>, &Vec<f64>)| a.iter().zip(b).map(|(a, b)| a - b).collect();
                let differences: Vec<Vec<f64>> = values[a].iter().zip(&values[b]).map(of_dataset).collect();
                compare(&differences, pairs.len()).and_then(|c| c.p).expect("a test")
            })
            .collect();
        adjusted(&p).iter().any(|p| *p <= ALPHA)
    };
    (0..RUNS).filter(|_| alarm()).count()
}

#[test]
fn equal_methods_are_called_different_in_at_most_5_percent_of_all_reports() {
    for (methods, datasets, seeds) in [(2, 1, 3), (5, 1, 3), (2, 1, 8), (5, 1, 12), (4, 4, 3)] {
        let alarms = false_alarms(methods, datasets, seeds);
        assert!(alarms as f64 <= most(ALPHA), "{methods} methods, {datasets} datasets, {seeds} seeds: {alarms}");
    }
    // With one comparison by Student's t the level is used up: a test that never rejects would pass the above.
    assert!(false_alarms(2, 1, 3) as f64 >= 2.0 * RUNS as f64 * ALPHA - most(ALPHA));
}

#[test]
fn the_difference_that_would_have_been_seen_is_seen_in_80_percent() {
    for (pairs, comparisons) in [(3, 1), (3, 20), (5, 10), (10, 6), (16, 1)] {
        let mut rng = ChaCha8Rng::seed_from_u64(9);
        let unit: Vec<f64> = normals(pairs, &mut rng);
        let test = compare(std::slice::from_ref(&unit), comparisons).expect("differences").test;
        let visible = least_visible(pairs, comparisons, test).expect("a test");
        let mut seen = || {
            let differences = normals(pairs, &mut rng).iter().map(|noise| visible + noise).collect();
            compare(&[differences], comparisons).and_then(|c| c.p).is_some_and(|p| p * comparisons as f64 <= ALPHA)
        };
        let share = (0..RUNS).filter(|_| seen()).count() as f64 / RUNS as f64;
        assert!((share - 0.8).abs() < 0.08, "{pairs} pairs, {comparisons} comparisons: {share}");
    }
}
