//! Scores and margins against plain ones in f64.

use super::*;
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn random(rng: &mut ChaCha8Rng, n: usize) -> Vec<f32> {
    (0..n).map(|_| rng.random::<f32>() * 2.0 - 1.0).collect()
}

fn plain_score(x: &[f32], c: &[f32], score: Score) -> f64 {
    let dot: f64 = x.iter().zip(c).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
    let squared: f64 = x.iter().zip(c).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum();
    match score {
        Score::HalfDistance => squared / 2.0,
        Score::NegatedDot => -dot,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_instruction_set_finds_a_nearest_vector(
        n in 0usize..40, k in 1usize..70, dim in 1usize..40, slack in 0usize..3, seed in any::<u64>()
    ) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let stride = dim + slack;
        let rows = random(&mut rng, n * stride);
        let vectors = random(&mut rng, k * dim);
        for isa in Isa::available() {
            let panels = Panels::new(isa, &vectors, dim, Score::HalfDistance);
            let (mut nearest, mut open) = (vec![u32::MAX; n], Vec::new());
            panels.assign(&rows, stride, &mut nearest, &mut open);
            for i in 0..n {
                let x = &rows[i * stride..][..dim];
                let score = |c: usize| plain_score(x, &vectors[c * dim..][..dim], Score::HalfDistance);
                let best = (0..k).map(score).fold(f64::INFINITY, f64::min);
                prop_assert!((nearest[i] as usize) < k);
                prop_assert!(open.contains(&i) || score(nearest[i] as usize) == best, "{isa} row {i}");
            }
            // Margins are tight enough to decide nearly all rows of the usual kind.
            prop_assert!(open.len() <= 2 + n / 10, "{isa}: {} of {n} open", open.len());
        }
    }

    #[test]
    fn every_instruction_set_gives_the_plain_scores(
        n in 0usize..20, k in 0usize..70, dim in 1usize..40, dot in any::<bool>(), seed in any::<u64>()
    ) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let kind = if dot { Score::NegatedDot } else { Score::HalfDistance };
        let rows = random(&mut rng, n * dim);
        let vectors = random(&mut rng, k * dim);
        for isa in Isa::available() {
            let mut scores = vec![f32::NAN; n * k];
            Panels::new(isa, &vectors, dim, kind).scores(&rows, &mut scores);
            for i in 0..n {
                for c in 0..k {
                    let plain = plain_score(&rows[i * dim..][..dim], &vectors[c * dim..][..dim], kind);
                    prop_assert!((f64::from(scores[i * k + c]) - plain).abs() < 1e-5 * dim as f64);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn no_score_is_off_by_more_than_its_margin(
        dim in prop_oneof![1usize..40, 300usize..500], dot in any::<bool>(), sizes in any::<[u8; 2]>(), mixed in any::<bool>(), seed in any::<u64>()
    ) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let scales = [1e-45, 1e-30, 1e-22, 1e-10, 1.0, 100.0, 1e15, 1e18];
        let mut draw = |n: usize, size: u8| -> Vec<f32> {
            let mut scale = || scales[if mixed { rng.random_range(0..8) } else { usize::from(size % 8) }];
            let of_row: Vec<f32> = (0..n).map(|_| scale()).collect();
            of_row.iter().flat_map(|scale| random(&mut rng, dim).into_iter().map(move |v| v * scale)).collect()
        };
        let (n, k) = (5, 9);
        let (rows, vectors) = (draw(n, sizes[0]), draw(k, sizes[1]));
        let kind = if dot { Score::NegatedDot } else { Score::HalfDistance };
        for isa in Isa::available() {
            let panels = Panels::new(isa, &vectors, dim, kind);
            let mut scores = vec![f32::NAN; n * k];
            panels.scores(&rows, &mut scores);
            for (i, (row, scores)) in rows.chunks(dim).zip(scores.chunks(k)).enumerate() {
                let margin = f64::from(panels.margin_of(row));
                for (vector, score) in vectors.chunks(dim).zip(scores) {
                    let gap = (f64::from(*score) - plain_score(row, vector, kind)).abs();
                    prop_assert!(gap <= margin || margin.is_infinite(), "{isa}, row {i}: {gap} of {margin}");
                }
                if dot && !mixed {
                    // And the margin of products is of the order of their rounding, however unequal rows and vectors are.
                    let norm = |x: &[f32]| x.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
                    let largest = vectors.chunks(dim).map(norm).fold(0.0, f64::max);
                    let size = (norm(row) + 1e-20) * (largest + 1e-20);
                    // Where products come near the largest number, the margin may exceed it.
                    let tight = 2e-7 * (dim + 16) as f64 * size + dim as f64 * 1e-44;
                    prop_assert!(margin <= tight || size > 1e37 && margin.is_infinite(), "{isa}: {margin} of {size}");
                }
            }
        }
    }
}

/// Equal vectors, vectors that are far from each other, and values that are not finite: a score cannot decide.
#[test]
fn what_scores_cannot_decide_is_open() {
    let far = |v: f32| [v, 1e4, -1e4];
    let near_two = [far(1e4), far(1e4 + 0.01), far(-1e4)].concat();
    for isa in Isa::available() {
        for (vectors, row) in [
            (vec![1.0; 3 * 50], [0.25; 3]),
            (near_two.clone(), far(1e4)),
            (vec![f32::NAN; 9], [0.25; 3]),
            (vec![1.0, 2.0, 3.0, f32::INFINITY, 0.0, 0.0], [0.25; 3]),
            (vec![1e-23, 0.0, 0.0, 2e-23, 0.0, 0.0], [0.0; 3]),
        ] {
            let (mut nearest, mut open) = (vec![9; 7], Vec::new());
            let panels = Panels::new(isa, &vectors, 3, Score::HalfDistance);
            panels.assign(&row.repeat(7), 3, &mut nearest, &mut open);
            assert_eq!(open, [0, 1, 2, 3, 4, 5, 6], "{isa}: {vectors:?}");
            assert!(nearest.iter().all(|&c| (c as usize) < panels.len()));
        }
    }
}

#[test]
fn wide_sets_agree_to_the_last_bit() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let (rows, vectors) = (random(&mut rng, 11 * 37), random(&mut rng, 45 * 37));
    let scores: Vec<Vec<f32>> = Isa::available()
        .into_iter()
        .filter(|isa| *isa != Isa::PORTABLE)
        .map(|isa| {
            let mut scores = vec![0.0; 11 * 45];
            Panels::new(isa, &vectors, 37, Score::HalfDistance).scores(&rows, &mut scores);
            scores
        })
        .collect();
    assert!(scores.windows(2).all(|pair| pair[0] == pair[1]));
}
