//! Tests of learned codebooks.

use super::*;
use crate::learned::shared::Temperature;
use gradients::{Parameter, gradients};
use ndarray::arr2;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

fn rules(update: Update, estimator: Estimator, cosine: bool) -> Rules {
    Rules { update, estimator, decay: 0.9, reset: 0.0, beta: 0.25, cosine, temperature: Temperature::default() }
}

fn codewords() -> Array2<f32> {
    arr2(&[[0.0f32, 0.0], [10.0, 10.0], [2.0, -1.0]])
}

/// Nearest to the codewords 0, 2 and 0.
fn latents() -> Array2<f32> {
    arr2(&[[0.5f32, -0.2], [1.8, -0.6], [-0.3, 0.4]])
}

fn weights() -> Array2<f32> {
    arr2(&[[1.0f32, -2.0], [0.5, 3.0], [-1.5, 0.7]])
}

/// A codebook whose codewords are trained by gradients from where they are given, whatever their length.
fn trained(codewords: &Array2<f32>, estimator: Estimator, cosine: bool) -> LearnedCodebook {
    let mut book = LearnedCodebook::new(codewords.clone(), rules(Update::Gradient, estimator, cosine));
    book.parameter().expect("trained by gradients").assign(codewords);
    book
}

fn choose(book: &LearnedCodebook, latents: &Matrix, parameter: Option<&Matrix>) -> Choice {
    let cx = Context::cpu(1);
    let moment = TrainingStep { progress: 0.0, cx: &cx };
    book.choose(latents, parameter, &moment, &mut ChaCha8Rng::seed_from_u64(5)).expect("chooses")
}

/// The choice, and the gradients of `loss` of it by latents and by codewords.
fn both(book: &LearnedCodebook, z: &Array2<f32>, loss: impl Fn(&Choice) -> Matrix) -> (Choice, [Array2<f32>; 2]) {
    let leaves = [z, &book.book.codewords].map(|values| Parameter::new(values.view()).leaf());
    let choice = choose(book, &leaves[0], Some(&leaves[1]));
    let found = gradients(&loss(&choice), &leaves);
    (choice, found.try_into().expect("one for each leaf"))
}

/// `Σ w·output`.
fn weighted(output: &Matrix) -> Matrix {
    let w = weights();
    output.by(&Matrix::constant(w.view())).mean().scaled(w.len() as f32)
}

fn near(found: &Array2<f32>, expected: &Array2<f32>, gap: f32) {
    assert_eq!(found.dim(), expected.dim());
    let largest = (found - expected).iter().fold(0f32, |m, v| m.max(v.abs()));
    assert!(largest < gap, "{found} for {expected}");
}

fn differences(f: impl Fn(&Array2<f32>) -> f32, at: &Array2<f32>) -> Array2<f32> {
    let step = 4e-3;
    let moved = |(i, j): (usize, usize), by: f32| {
        let mut x = at.clone();
        x[(i, j)] += by;
        f(&x)
    };
    Array2::from_shape_fn(at.dim(), |ij| (moved(ij, step) - moved(ij, -step)) / (2.0 * step))
}

#[test]
fn each_loss_moves_one_side_only() {
    let book = trained(&codewords(), Estimator::StraightThrough, false);
    let (choice, [by_latents, by_codewords]) = both(&book, &latents(), |choice| choice.codebook_loss.clone());
    assert_eq!(choice.chosen, [0, 2, 0]);
    // (.25 + .04 + .04 + .16 + .09 + .16)/6.
    assert!((choice.codebook_loss.scalar() - 0.74 / 6.0).abs() < 1e-6);
    assert!((choice.commitment_loss.scalar() - 0.74 / 6.0).abs() < 1e-6);
    assert_eq!(by_latents, Array2::<f32>::zeros((3, 2)), "latents are constants here");
    // 2/6·Σ(e − z): of the first −(.5 − .3) and −(−.2 + .4), of the third 2 − 1.8 and −1 + .6.
    near(&by_codewords, &(arr2(&[[-0.2f32, -0.2], [0.0, 0.0], [0.2, -0.4]]) / 3.0), 1e-6);
    let (_, [by_latents, by_codewords]) = both(&book, &latents(), |choice| choice.commitment_loss.clone());
    near(&by_latents, &(arr2(&[[0.5f32, -0.2], [-0.2, 0.4], [-0.3, 0.4]]) / 3.0), 1e-6);
    assert_eq!(by_codewords, Array2::<f32>::zeros((3, 2)), "codewords are constants here");
}

#[test]
fn reconstruction_reaches_latents_only() {
    let q = codewords().select(Axis(0), &[0, 2, 0]);
    for estimator in [Estimator::StraightThrough, Estimator::Rotation] {
        let book = trained(&codewords(), estimator, false);
        let (choice, [by_latents, by_codewords]) = both(&book, &latents(), |choice| weighted(&choice.output));
        assert_eq!(choice.output.values(), q, "{estimator:?}");
        assert_eq!(choice.codewords, q, "{estimator:?}");
        assert_eq!(by_codewords, Array2::<f32>::zeros((3, 2)), "{estimator:?}");
        if estimator == Estimator::StraightThrough {
            assert_eq!(by_latents, weights(), "as if nothing had happened");
        }
    }
}

#[test]
fn moving_averages_leave_the_codebook_loss_without_a_gradient() {
    let mut book = LearnedCodebook::new(codewords(), rules(Update::Ema, Estimator::StraightThrough, false));
    assert!(book.parameter().is_none());
    let leaf = Parameter::new(latents().view()).leaf();
    let choice = choose(&book, &leaf, None);
    assert_eq!(choice.codebook_loss.scalar(), choice.commitment_loss.scalar());
    let losses = rules(Update::Ema, Estimator::StraightThrough, false).losses(&[choice]);
    let told: Vec<_> = losses.iter().map(|loss| (loss.name, loss.weight)).collect();
    assert_eq!(told, [("codebook_loss", 1.0), ("commitment_loss", 0.25)]);
    let found = gradients(&losses[0].value.plus(&losses[1].value), &[leaf]).remove(0);
    near(&found, &(arr2(&[[0.5f32, -0.2], [-0.2, 0.4], [-0.3, 0.4]]) / 3.0), 1e-6);
}

/// The gradients go through the normalization, at codewords that training has brought away from unit length.
#[test]
fn cosine_codes_are_differentiated_through_their_lengths() {
    let long = arr2(&[[3.0f32, 0.5], [-0.2, 1.5], [-0.6, -0.7]]);
    let z = arr2(&[[2.0f32, 0.1], [0.3, 0.9], [-1.2, -0.4]]);
    let book = trained(&long, Estimator::StraightThrough, true);
    for codeword in book.codewords().outer_iter() {
        assert!((codeword.dot(&codeword) - 1.0).abs() < 1e-6, "{codeword}");
    }
    let parts: [fn(&Choice) -> Matrix; 2] = [|c| c.codebook_loss.clone(), |c| c.commitment_loss.clone()];
    for (i, part) in parts.into_iter().enumerate() {
        let (choice, [by_latents, by_codewords]) = both(&book, &z, part);
        assert_eq!(choice.chosen, [0, 1, 2]);
        let at = |long: &Array2<f32>, z: &Array2<f32>| {
            let parameter = Matrix::constant(long.view());
            let book = trained(long, Estimator::StraightThrough, true);
            let choice = choose(&book, &Matrix::constant(z.view()), Some(&parameter));
            assert_eq!(choice.chosen, [0, 1, 2]);
            part(&choice).scalar()
        };
        let zeros = Array2::zeros((3, 2));
        let [of_latents, of_codewords] =
            [(i == 1).then(|| differences(|z| at(&long, z), &z)), (i == 0).then(|| differences(|e| at(e, &z), &long))];
        near(&by_latents, of_latents.as_ref().unwrap_or(&zeros), 2e-4);
        near(&by_codewords, of_codewords.as_ref().unwrap_or(&zeros), 2e-4);
    }
    // Straight through, but only as far as the unit latents.
    let (choice, [by_latents, _]) = both(&book, &z, |choice| weighted(&choice.output));
    assert_eq!(choice.output.values(), book.codewords());
    let unit = |z: &Array2<f32>| weighted(&unit_rows(&Matrix::constant(z.view()))).scalar();
    near(&by_latents, &differences(unit, &z), 2e-3);
}

#[test]
fn gumbel_gives_codewords_and_trains_them() {
    for cosine in [false, true] {
        // Near enough to each other for the noise to change a choice.
        let book = trained(&arr2(&[[0.4f32, 0.1], [0.2, 0.5], [0.3, -0.4]]), Estimator::Gumbel, cosine);
        let (choice, [by_latents, by_codewords]) = both(&book, &latents(), |choice| weighted(&choice.output));
        let q = book.codewords().select(Axis(0), &choice.chosen.iter().map(|&c| c as usize).collect::<Vec<_>>());
        near(&choice.output.values(), &q, 1e-6);
        assert_eq!(choice.codewords, q, "losses are of the codewords drawn, not of the nearest");
        assert!(by_latents.iter().any(|g| g.abs() > 1e-3), "{by_latents}");
        if cosine {
            // Through the length of codewords nothing comes back along them.
            for (gradient, codeword) in by_codewords.outer_iter().zip(book.codewords().outer_iter()) {
                assert!(gradient.dot(&codeword).abs() < 1e-5, "{gradient}");
            }
        } else {
            let mut expected = Array2::zeros((3, 2));
            for (w, &c) in weights().outer_iter().zip(&choice.chosen) {
                expected.row_mut(c as usize).scaled_add(1.0, &w);
            }
            near(&by_codewords, &expected, 1e-6);
        }
    }
    // Temperatures mean the same for latents of any size; a power of two leaves nothing to rounding.
    let drawn = |size: f32| {
        let rows = Array2::from_shape_fn((64, 2), |(i, j)| size * ((7 * i + 3 * j) % 11) as f32 / 11.0);
        let book = trained(&(rows.slice(ndarray::s![..5, ..]).to_owned()), Estimator::Gumbel, false);
        choose(&book, &Matrix::constant(rows.view()), None).chosen
    };
    assert_eq!(drawn(1.0), drawn(64.0));
}

/// The formula of moving averages, written down anew: `N ← γN + (1−γ)n`, `m ← γm + (1−γ)Σx`, both over `1−γᵗ`, and
/// `e = m/N̂` with `N̂ = (N+ε)/(ΣN+Kε)·ΣN`.
#[test]
fn moving_averages_follow_three_batches() {
    let mut book = LearnedCodebook::new(codewords(), rules(Update::Ema, Estimator::StraightThrough, false));
    let (cx, mut rng) = (Context::cpu(1), ChaCha8Rng::seed_from_u64(1));
    let batches: [(Array2<f32>, [u32; 4]); 3] = [
        (arr2(&[[0.5f32, -0.2], [0.1, 0.3], [1.8, -0.6], [-0.4, 0.2]]), [0, 0, 2, 0]),
        (arr2(&[[2.5f32, -1.2], [2.1, -0.3], [1.7, -0.6], [1.4, -0.9]]), [2, 2, 2, 2]),
        (arr2(&[[0.2f32, 0.7], [9.1, 8.3], [1.1, -0.9], [-0.8, 0.6]]), [0, 1, 2, 0]),
    ];
    let (mut n, mut m) = ([0f64; 3], [[0f64; 2]; 3]);
    let mut expected = codewords().mapv(f64::from);
    for (t, (rows, chosen)) in batches.iter().enumerate() {
        book.after_step(rows.view(), chosen, &cx, &mut rng).expect("steps");
        n.iter_mut().for_each(|n| *n *= 0.9);
        m.iter_mut().flatten().for_each(|m| *m *= 0.9);
        for (row, &c) in rows.outer_iter().zip(chosen) {
            n[c as usize] += 0.1;
            (0..2).for_each(|j| m[c as usize][j] += 0.1 * f64::from(row[j]));
        }
        let whole = 1.0 - 0.9f64.powi(t as i32 + 1);
        let total = n.iter().sum::<f64>() / whole;
        for c in (0..3).filter(|&c| n[c] > 0.0) {
            let smoothed = (n[c] / whole + 1e-5) / (total + 3e-5) * total;
            (0..2).for_each(|j| expected[(c, j)] = m[c][j] / whole / smoothed);
        }
        near(&book.codewords(), &expected.mapv(|e| e as f32), 2e-6);
        if t < 2 {
            assert_eq!(book.codewords().row(1), codewords().row(1), "no row, no move");
        }
    }
    assert!((book.codewords()[(1, 0)] - 9.1).abs() < 0.01, "its only row, but for the smoothing");
}

#[test]
fn only_moving_averages_move_after_a_step_and_cosine_codewords_keep_their_length() {
    let (cx, mut rng) = (Context::cpu(1), ChaCha8Rng::seed_from_u64(1));
    let mut book = trained(&codewords(), Estimator::StraightThrough, false);
    book.after_step(latents().view(), &[0, 2, 0], &cx, &mut rng).expect("steps");
    assert_eq!(book.codewords(), codewords());
    let start = arr2(&[[3.0f32, 0.5], [-0.2, 1.5], [-0.6, -0.7]]);
    let mut book = LearnedCodebook::new(start, rules(Update::Ema, Estimator::StraightThrough, true));
    book.after_step(latents().view(), &[0, 0, 1], &cx, &mut rng).expect("steps");
    for codeword in book.book.codewords.outer_iter() {
        assert!((codeword.dot(&codeword) - 1.0).abs() < 1e-6, "{codeword}");
    }
    // The mean of the directions of its rows, (.92848, −.37139) and (.94868, −.31623).
    near(&book.codewords().slice(ndarray::s![..1, ..]).to_owned(), &arr2(&[[0.93902f32, -0.34387]]), 1e-3);
}
