//! Tests of the training loop.

use super::*;
use crate::contract::state::State;
use crate::product::quantizer::ProductQuantizer;
use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};

fn gaussian(n: usize, dim: usize) -> Array2<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    Array2::from_shape_fn((n, dim), |(_, j)| {
        let x: f32 = StandardNormal.sample(&mut rng);
        3.0 + x / (1.0 + j as f32)
    })
}

fn trained(name: &str, params: serde_json::Value, rows: &Array2<f32>) -> Result<Box<dyn Quantizer>, MethodError> {
    crate::parse(name, params).expect("parses").fit(rows.view(), &Context::cpu(1))
}

fn state(quantizer: &dyn Quantizer) -> State {
    let mut state = State::default();
    quantizer.save(&mut state);
    state
}

/// Error per row.
fn error(quantizer: &dyn Quantizer, rows: &Array2<f32>) -> f64 {
    let mut codes = vec![0; rows.nrows() * quantizer.code_size()];
    quantizer.encode_into(rows.view(), &mut codes).expect("encodes");
    let mut decoded = Array2::zeros(rows.dim());
    quantizer.decode_into(&codes, decoded.view_mut()).expect("decodes");
    rows.iter().zip(&decoded).map(|(x, y)| f64::from(x - y).powi(2)).sum::<f64>() / rows.nrows() as f64
}

/// Two codewords that nothing moves.
struct Still {
    codewords: Array2<f32>,
    /// Times the latents, as the loss; infinite where a loss shall be no number.
    loss: f32,
}

impl Bottleneck for Still {
    fn start(&mut self, _latents: ArrayView2<'_, f32>, _cx: &Context) -> Result<(), MethodError> {
        Ok(())
    }

    fn parameters(&mut self) -> Vec<&mut Array2<f32>> {
        Vec::new()
    }

    fn pass(
        &self,
        latents: &Matrix,
        _parameters: &[Matrix],
        _moment: &TrainingStep<'_>,
        _rng: &mut ChaCha8Rng,
    ) -> Result<ForwardPass, MethodError> {
        let loss = Loss { name: "loss", weight: 1.0, value: latents.by(latents).mean().scaled(self.loss) };
        Ok(ForwardPass { latents: latents.clone(), losses: vec![loss], chosen: Vec::new() })
    }

    fn quantizer(&self, cx: &Context) -> Result<Box<dyn Quantizer>, MethodError> {
        Ok(Box::new(ProductQuantizer::new(vec![self.codewords.clone()], Vec::new(), cx.backend.clone())))
    }
}

fn still(far: f32, near: f32, loss: f32) -> Result<Box<dyn Quantizer>, MethodError> {
    let training = Training { epochs: 2, ..Training::default() };
    let codewords = Array2::from_shape_fn((2, 3), |(i, _)| if i == 0 { near } else { far });
    let shape = (LatentWidth::MultipleOf(1), Spread::Natural(1));
    let (rows, cx) = (gaussian(100, 3), Context::cpu(1));
    let rows = TrainingRows::on_host(rows.view(), &cx)?;
    fit(&Encoder::Identity, &training, shape, Still { codewords, loss }, &rows, &cx)
}

#[test]
fn one_code_for_all_rows_is_told() {
    assert_eq!(still(1e3, 0.0, 0.0).err(), Some(MethodError::Collapsed { epochs: 2, rows: 100 }));
    assert_eq!(still(1e3, 0.5, 0.0).err(), Some(MethodError::Collapsed { epochs: 2, rows: 100 }));
    still(0.8, -0.8, 0.0).expect("two codewords in use");
}

#[test]
fn a_loss_that_is_no_number_is_told() {
    let told = still(0.8, -0.8, f32::INFINITY).err();
    assert!(matches!(&told, Some(MethodError::Diverged(reason)) if reason.contains("epoch 1 of 2")), "{told:?}");
    let told = still(9.0, -9.0, 0.0).err();
    let reason = "times the error of their mean";
    assert!(matches!(&told, Some(MethodError::Diverged(said)) if said.contains(reason)), "{told:?}");
}

#[test]
fn steps_that_are_far_too_long_are_told() {
    let rows = gaussian(200, 6);
    for (name, params) in [
        ("vqvae", serde_json::json!({ "codewords": 8 })),
        ("vqvae", serde_json::json!({ "codewords": 8, "update": "gradient", "encoder": "identity" })),
        ("rvqvae", serde_json::json!({ "stages": 2, "codewords": 8 })),
        ("qat", serde_json::json!({ "bits": 3 })),
        ("qat", serde_json::json!({ "bits": 3, "encoder": { "mlp": { "hidden": 8 } } })),
        ("fsq", serde_json::json!({ "levels": [8, 5] })),
        ("lfq", serde_json::json!({ "bits": 6 })),
        ("simvq", serde_json::json!({ "codewords": 8 })),
        ("gumbel", serde_json::json!({ "codewords": 8 })),
    ] {
        let mut params = params;
        params["training"] = serde_json::json!({ "epochs": 3, "batch": 64, "learning-rate": 1000.0 });
        let told = trained(name, params.clone(), &rows).err();
        // Codewords without an encoder that are all thrown out of reach but one are told as what they are.
        let collapsed = params["encoder"] == "identity" && matches!(told, Some(MethodError::Collapsed { .. }));
        assert!(collapsed || matches!(told, Some(MethodError::Diverged(_))), "{name} {params}: {told:?}");
    }
}

#[test]
fn curves_have_a_value_for_each_epoch_and_end_with_the_error_of_the_quantizer() {
    let rows = gaussian(300, 6);
    let losses = ["codebook_loss", "commitment_loss", "mse", "perplexity", "reconstruction_loss", "usage"];
    for (name, params, names) in [
        ("vqvae", serde_json::json!({ "codewords": 8, "groups": 2 }), &losses[..]),
        ("rvqvae", serde_json::json!({ "stages": 2, "codewords": 8, "beam": 2 }), &losses),
        ("simvq", serde_json::json!({ "codewords": 8 }), &losses),
        ("qat", serde_json::json!({ "bits": 2 }), &["mse", "perplexity", "reconstruction_loss", "usage"]),
        (
            "gumbel",
            serde_json::json!({ "codewords": 8, "kl-weight": 0.01 }),
            &["kl_loss", "mse", "perplexity", "reconstruction_loss", "temperature", "usage"],
        ),
    ] {
        let mut params = params;
        params["training"] = serde_json::json!({ "epochs": 5, "batch": 64 });
        let quantizer = trained(name, params, &rows).unwrap_or_else(|e| panic!("{name}: {e}"));
        let mut found: Vec<_> = quantizer.curves().iter().map(|curve| curve.name).collect();
        found.sort_unstable();
        assert_eq!(found, names, "{name}");
        let curve = |wanted: &str| quantizer.curves().iter().find(|c| c.name == wanted).expect("a curve").values();
        for name_of_curve in names {
            let values = curve(name_of_curve);
            assert!(values.len() == 5 && values.iter().all(|v| v.is_finite()), "{name}, {name_of_curve}");
        }
        let (last, own) = (curve("mse")[4], error(&*quantizer, &rows));
        assert!((last / own - 1.0).abs() < 1e-6, "{name}: {last} for {own}");
        assert!(curve("usage").iter().all(|u| (0.0..=1.0).contains(u)), "{name}");
        assert!(curve("perplexity").iter().all(|&p| (1.0..=8.0 + 1e-9).contains(&p)), "{name}");
    }
}

#[test]
fn any_number_of_rows_and_any_batch_will_do() {
    for (n, batch) in [(40, 256), (40, 1), (1, 1), (63, 64), (65, 64), (130, 100)] {
        let rows = gaussian(n, 4);
        let training = serde_json::json!({ "epochs": 2, "batch": batch });
        let params = serde_json::json!({ "bits": 3, "encoder": { "linear": {} }, "training": training });
        let quantizer = trained("qat", params, &rows).unwrap_or_else(|e| panic!("{n} rows, {batch}: {e}"));
        let power = variance(rows.view(), &mean(rows.view()));
        assert!(error(&*quantizer, &rows) <= 0.2 * power, "{n} rows in batches of {batch}");
    }
}

/// More rows in a batch than a wave of shards holds.
#[test]
fn waves_of_shards_give_the_same_for_any_number_of_threads() {
    let rows = gaussian(WAVE * SHARD + 2 * SHARD + 7, 4);
    for params in [
        serde_json::json!({ "codewords": 8, "training": { "epochs": 2, "batch": 5000 } }),
        serde_json::json!({
            "codewords": 8, "update": "gradient", "estimator": "gumbel", "training": { "epochs": 2, "batch": 1050 }
        }),
    ] {
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
            pool.install(|| state(&*trained("vqvae", params.clone(), &rows).expect("fits")))
        };
        let one = on(1);
        assert!([2, 3].into_iter().all(|threads| on(threads) == one), "{params}");
    }
}

/// A gradient is the mean over the rows of a batch, however unequal its shards are.
#[test]
fn every_row_of_a_batch_weighs_the_same() {
    let mut means = Means::default();
    means.add(&[("loss", 1.0)], 64.0);
    means.add(&[("loss", 4.0)], 32.0);
    assert_eq!(means.means().collect::<Vec<_>>(), [("loss", 2.0)]);
    assert!(!means.diverged());
    means.add(&[("loss", f64::NAN)], 1.0);
    assert!(means.diverged());
}
