//! A codebook learned together with an encoder, by gradients or moving averages, with reset of unused codewords.

use super::estimator::{Estimator, gumbel_softmax, rotate};
use super::training::{Loss, TrainingStep};
use crate::algorithms::lloyd::{Stop, lloyd, random_rows};
use crate::algorithms::moments::sum;
use crate::algorithms::moving_codebook::MovingCodebook;
use crate::backend::{Backend, NearestSearch, largest};
use crate::{Context, MethodError};
use gradients::Matrix;
use ndarray::{Array2, ArrayView2, Axis};
use rand::{Rng, RngExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::OnceLock;

/// How codewords are learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Update {
    /// By gradients of the codebook loss.
    Gradient,
    /// As moving averages of the latents that are assigned to them.
    Ema,
}

/// The initial codewords.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CodebookInit {
    /// Uniform within ±s/codewords in each component, where s is the root mean square of the latent components: close
    /// together around zero, as in the original VQ-VAE. Codebooks that start here tend to collapse.
    Uniform,
    /// Latents of training rows drawn at random.
    Rows,
    /// 10 iterations of k-means on the latents of the training rows.
    Kmeans,
}

impl CodebookInit {
    /// `codewords` codewords of the width of `latents`.
    pub(crate) fn codewords(
        self,
        latents: ArrayView2<'_, f32>,
        codewords: usize,
        cx: &Context,
        rng: &mut impl Rng,
    ) -> Result<Array2<f32>, MethodError> {
        const ITERATIONS: usize = 10;
        match self {
            CodebookInit::Rows => Ok(random_rows(latents, codewords, rng)),
            CodebookInit::Kmeans => {
                let rows = cx.backend.upload(latents)?;
                let first = random_rows(latents, codewords, rng);
                Ok(lloyd(&rows, first, Stop { max_iterations: ITERATIONS, relative_drop: 0.0 }, cx)?.codebook)
            }
            CodebookInit::Uniform => {
                let squares: Vec<f32> = latents.iter().map(|x| x * x).collect();
                let size = (sum(&squares) / squares.len().max(1) as f64).sqrt();
                let reach = size / codewords as f64;
                Ok(Array2::from_shape_fn((codewords, latents.ncols()), |_| {
                    (reach * (2.0 * rng.random::<f64>() - 1.0)) as f32
                }))
            }
        }
    }
}

/// How a codebook is learned.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) update: Update,
    pub(crate) estimator: Estimator,
    /// Decay of moving averages.
    pub(crate) decay: f64,
    /// Usage, as a fraction of even usage, below which a codeword is reset; 0 for never.
    pub(crate) reset: f64,
    /// Weight of the commitment loss.
    pub(crate) beta: f64,
    /// Whether latents and codewords are scaled to unit length.
    pub(crate) cosine: bool,
    /// Temperature of the Gumbel estimator, in mean squared distances to the nearest codeword.
    pub(crate) temperature: super::Temperature,
}

impl Rules {
    /// The losses of choices from several codebooks, each the mean over them.
    pub(crate) fn losses(&self, choices: &[Choice]) -> Vec<Loss> {
        let share = 1.0 / choices.len().max(1) as f64;
        let mean = |name, weight, values: Vec<&Matrix>| {
            let mut values = values.into_iter();
            let first = values.next()?.clone();
            let value = values.fold(first, |sum, v| sum.plus(v)).scaled(share as f32);
            Some(Loss { name, weight, value })
        };
        let codebook = choices.iter().map(|c| &c.codebook_loss).collect();
        let commitment = choices.iter().map(|c| &c.commitment_loss).collect();
        let losses = [mean("codebook_loss", 1.0, codebook), mean("commitment_loss", self.beta, commitment)];
        losses.into_iter().flatten().collect()
    }
}

/// One codebook while it is trained.
pub(crate) struct LearnedCodebook {
    rules: Rules,
    book: MovingCodebook,
    /// The codewords as they are used now; forgotten whenever they change.
    used: OnceLock<UsedCodewords>,
}

struct UsedCodewords {
    codewords: Array2<f32>,
    search: Option<Box<dyn NearestSearch>>,
}

/// The result of quantizing latents with a codebook.
pub(crate) struct Choice {
    /// The replacement of the latents.
    pub(crate) output: Matrix,
    /// The codewords chosen, as plain values.
    pub(crate) codewords: Array2<f32>,
    pub(crate) chosen: Vec<u32>,
    /// Codebook loss (without a gradient if codewords are learned in another way) and commitment loss.
    pub(crate) codebook_loss: Matrix,
    pub(crate) commitment_loss: Matrix,
}

impl LearnedCodebook {
    pub(crate) fn new(codewords: Array2<f32>, rules: Rules) -> LearnedCodebook {
        let mut book = MovingCodebook::new(codewords, rules.decay);
        if rules.cosine {
            to_unit_length(&mut book.codewords);
        }
        LearnedCodebook { rules, book, used: OnceLock::new() }
    }

    /// The codewords, if gradients train them.
    pub(crate) fn parameter(&mut self) -> Option<&mut Array2<f32>> {
        self.used = OnceLock::new();
        (self.rules.update == Update::Gradient).then_some(&mut self.book.codewords)
    }

    /// Codewords as they are used.
    pub(crate) fn codewords(&self) -> Array2<f32> {
        let mut codewords = self.book.codewords.clone();
        if self.rules.cosine {
            to_unit_length(&mut codewords);
        }
        codewords
    }

    fn used(&self, backend: &dyn Backend) -> &UsedCodewords {
        self.used.get_or_init(|| {
            let codewords = self.codewords();
            UsedCodewords { search: backend.nearest_search(codewords.view()), codewords }
        })
    }

    /// The nearest codeword of each latent. `parameter` holds the codewords if they are trained by gradients.
    pub(crate) fn choose(
        &self,
        latents: &Matrix,
        parameter: Option<&Matrix>,
        moment: &TrainingStep<'_>,
        rng: &mut impl Rng,
    ) -> Result<Choice, MethodError> {
        let latents = if self.rules.cosine { unit_rows(latents) } else { latents.clone() };
        let values = latents.values();
        let backend = &moment.cx.backend;
        let UsedCodewords { codewords, search } = self.used(&**backend);
        let rows = backend.upload(values.view())?;
        let mut chosen = match search {
            Some(search) => search.nearest(&rows)?,
            None => backend.nearest(&rows, codewords.view())?,
        };
        let mut output = None;
        if self.rules.estimator == Estimator::Gumbel {
            let all = match parameter {
                Some(parameter) if self.rules.cosine => unit_rows(parameter),
                Some(parameter) => parameter.clone(),
                None => Matrix::constant(codewords.view()),
            };
            let weights = self.gumbel_weights(&latents, &values, codewords, &chosen, moment, rng);
            chosen = largest(weights.values().view());
            output = Some(weights.times(&all, backend.isa()));
        }
        let numbers: Vec<usize> = chosen.iter().map(|&c| c as usize).collect();
        let q = codewords.select(Axis(0), &numbers);
        let output = output.unwrap_or_else(|| match self.rules.estimator {
            Estimator::Rotation => rotate(&latents, q.view()),
            _ => latents.straight_through(q.view()),
        });
        let commitment_loss = squared(&latents.minus(&Matrix::constant(q.view())));
        let codebook_loss = match parameter {
            None => commitment_loss.detached(),
            Some(parameter) => {
                let of_rows = parameter.rows(&chosen);
                let of_rows = if self.rules.cosine { unit_rows(&of_rows) } else { of_rows };
                squared(&of_rows.minus(&latents.detached()))
            }
        };
        Ok(Choice { output, codewords: q, chosen, codebook_loss, commitment_loss })
    }

    /// One-hot in the forward pass, a softmax of `−‖z−e‖²/s` with noise in the backward pass. `s` is the mean of the
    /// smallest distance per row, so that a temperature means the same for latents of any scale.
    fn gumbel_weights(
        &self,
        latents: &Matrix,
        values: &Array2<f32>,
        codewords: &Array2<f32>,
        nearest: &[u32],
        moment: &TrainingStep<'_>,
        rng: &mut impl Rng,
    ) -> Matrix {
        let gaps = values
            .outer_iter()
            .zip(nearest)
            .map(|(z, &c)| z.iter().zip(codewords.row(c as usize)).map(|(z, e)| f64::from(z - e).powi(2)).sum::<f64>());
        let power: f64 = values.iter().map(|z| f64::from(*z).powi(2)).sum();
        let scale = (gaps.sum::<f64>().max(1e-6 * power) / values.nrows().max(1) as f64).max(1e-12);
        let powers = codewords.map_axis(Axis(1), |e| e.dot(&e)).insert_axis(Axis(0));
        let columns = Matrix::constant(codewords.t());
        // ‖z‖² is the same for all codewords and cancels in the softmax.
        let logits = latents
            .times(&columns, moment.cx.backend.isa())
            .scaled(2.0)
            .minus(&Matrix::constant(powers.view()))
            .scaled((1.0 / scale) as f32);
        let inverse = Array2::from_elem((1, 1), (1.0 / self.rules.temperature.at(moment.progress)) as f32);
        gumbel_softmax(&logits, &Matrix::constant(inverse.view()), true, moment.cx.backend.isa(), rng)
    }

    /// Updates moving averages and resets codewords, from all latents of a batch.
    pub(crate) fn after_step(
        &mut self,
        latents: ArrayView2<'_, f32>,
        chosen: &[u32],
        cx: &Context,
        rng: &mut impl Rng,
    ) -> Result<(), MethodError> {
        if self.rules.update == Update::Gradient && self.rules.reset == 0.0 {
            return Ok(());
        }
        self.used = OnceLock::new();
        let mut rows = latents.to_owned();
        if self.rules.cosine {
            to_unit_length(&mut rows);
        }
        let codewords = self.book.codewords.nrows();
        let cells = cx.backend.cell_sums(&cx.backend.upload(rows.view())?, chosen, codewords)?;
        match self.rules.update {
            Update::Ema => self.book.update(&cells.counts, &cells.sums),
            Update::Gradient => self.book.count(&cells.counts),
        }
        self.book.reset_unused(self.rules.reset, rows.view(), chosen, rng);
        if self.rules.cosine && self.rules.update == Update::Ema {
            to_unit_length(&mut self.book.codewords);
        }
        Ok(())
    }
}

fn squared(gap: &Matrix) -> Matrix {
    gap.by(gap).mean()
}

/// Keeps the quotient finite for a zero row.
const LEAST_POWER: f32 = 1e-12;

/// Each row scaled to unit length, differentiably.
pub(crate) fn unit_rows(rows: &Matrix) -> Matrix {
    rows.over(&rows.by(rows).row_sums().shifted(LEAST_POWER).sqrt())
}

/// Each row scaled to unit length.
pub(crate) fn to_unit_length(rows: &mut Array2<f32>) {
    for mut row in rows.outer_iter_mut() {
        let length = (row.dot(&row) + LEAST_POWER).sqrt();
        row.mapv_inplace(|x| x / length);
    }
}

#[cfg(test)]
mod tests {
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
            let [of_latents, of_codewords] = [
                (i == 1).then(|| differences(|z| at(&long, z), &z)),
                (i == 0).then(|| differences(|e| at(e, &z), &long)),
            ];
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
}
