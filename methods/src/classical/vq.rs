//! VQ-EMA: the codebook of a VQ-VAE without its network, updated online from mini-batches, with reset of unused
//! codewords.

use crate::algorithms::codebooks::symbol_bits;
use crate::algorithms::lloyd::random_rows;
use crate::algorithms::moments::variance;
use crate::algorithms::moving_codebook::MovingCodebook;
use crate::contract::usage::Usage;
use crate::product::quantizer::ProductQuantizer;
use crate::registry::{Exemption, Family, MethodEntry, RateParam, Tries, params_of, parse_params, schema_of};
use crate::{Context, Curve, Method, MethodError, ModelError, ParamError, Quantizer, State, Stream, TrainingRows};
use ndarray::{Array2, ArrayView2, Axis};
use rand::RngExt;
use rand::seq::SliceRandom;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strict::check_ranges;

/// The registration of this method.
pub const ENTRY: MethodEntry = MethodEntry {
    name: "vq",
    family: Some(Family::Vector),
    summary: "VQ-EMA: one codebook for whole vectors, learned from mini-batches by moving averages, with reset of dead codewords",
    paper: "van den Oord, Vinyals and Kavukcuoglu, Neural discrete representation learning, 2017 (appendix A.1); Dhariwal et al., Jukebox, 2020 (restarts of dead codewords)",
    rate: "log2(codewords), rounded up",
    rate_params: &[RateParam::power("codewords")],
    cost: "fit: O(n · dim · codewords) per epoch, twice; encode: O(dim · codewords)",
    examples: &[r#"{"codewords": 16}"#, r#"{"codewords": 20, "reset-below": 0, "init": "rows", "batch": 50}"#],
    tries: Tries { params: &["{}"], transforms: false },
    exempt: &[Exemption {
        law: "distance_from_zero_costs_nothing",
        with: "{}",
        why: "the smoothing of counts in moving averages shortens codewords by a fraction of their length",
    }],
    schema: schema_of::<Vq>,
    parse: parse_params::<Vq>,
};

/// Parameters of `vq`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Vq {
    /// Number of codewords. A code takes log2 of it bits, rounded up.
    #[schemars(range(min = 2, max = 65536))]
    pub codewords: usize,
    /// Decay γ of the moving averages: after each batch, average ← γ·average + (1−γ)·batch. A higher value averages
    /// over more batches.
    #[schemars(range(min = 0.0, max = 0.99999))]
    pub decay: f64,
    /// Resets a codeword whose average usage falls below this fraction of even usage (each codeword used equally
    /// often): it is placed next to a codeword that is in use. 0 turns resets off, so that dead codewords stay dead.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub reset_below: f64,
    /// Rows per batch. The codebook is updated after each batch.
    #[schemars(range(min = 1, max = 1000000))]
    pub batch: usize,
    /// Passes over the training rows, each in a new random order.
    #[schemars(range(min = 1, max = 10000))]
    pub epochs: usize,
    /// The initial codewords. With `uniform` and `reset-below: 0` the codebook tends to collapse.
    pub init: VqInit,
}

/// The initial codewords.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum VqInit {
    /// Uniform within ±s/codewords in each component, where s is the root mean square of the components of the training
    /// rows: close together around zero, as in the original VQ-VAE.
    Uniform,
    /// Training rows drawn at random.
    Rows,
}

impl Default for Vq {
    fn default() -> Vq {
        Vq { codewords: 256, decay: 0.99, reset_below: 0.1, batch: 256, epochs: 20, init: VqInit::Uniform }
    }
}

impl Method for Vq {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn params(&self) -> serde_json::Value {
        params_of(self)
    }

    fn check(&self, _dim: usize) -> Result<(), ParamError> {
        check_ranges(self)
    }

    fn code_bits(&self, _dim: usize) -> usize {
        symbol_bits(self.codewords).into()
    }

    fn fit_cost(&self, n: usize, dim: usize) -> f64 {
        2.0 * self.epochs as f64 * n as f64 * self.encode_cost(dim)
    }

    fn query_cost(&self, dim: usize) -> f64 {
        dim as f64 * self.codewords as f64
    }

    fn encode_cost(&self, dim: usize) -> f64 {
        dim as f64 * self.codewords as f64
    }

    fn fit_rows(&self, train: &TrainingRows<'_>, cx: &Context) -> Result<Box<dyn Quantizer>, MethodError> {
        let (all, train) = (train.matrix()?, train.host()?);
        let mut rng = cx.rng(Stream::Part(0));
        let mut book = MovingCodebook::new(self.start(train, cx), self.decay);
        let mut order: Vec<usize> = (0..train.nrows()).collect();
        let mut followed = [Vec::new(), Vec::new(), Vec::new()];
        for _ in 0..self.epochs {
            order.shuffle(&mut rng);
            for batch in order.chunks(self.batch) {
                cx.cancel.check()?;
                let rows = train.select(Axis(0), batch);
                let device = cx.backend.upload(rows.view())?;
                let nearest = cx.backend.nearest(&device, book.codewords.view())?;
                let cells = cx.backend.cell_sums(&device, &nearest, self.codewords)?;
                book.update(&cells.counts, &cells.sums);
                book.reset_unused(self.reset_below, rows.view(), &nearest, &mut rng);
            }
            if book.codewords.iter().any(|v| !v.is_finite()) {
                return Err(MethodError::Diverged("a codeword became NaN or infinite; lower `decay`".into()));
            }
            let assignment = cx.backend.assign(all, book.codewords.view())?;
            let mut counts = vec![0u32; self.codewords];
            assignment.nearest.iter().for_each(|&codeword| counts[codeword as usize] += 1);
            let usage = Usage::of(&counts);
            let values = [assignment.mean(), usage.share(), usage.perplexity()];
            followed.iter_mut().zip(values).for_each(|(followed, value)| followed.push(value));
        }
        let [mse, usage, perplexity] = followed;
        let curves = [("mse", mse), ("usage", usage), ("perplexity", perplexity)];
        let curves = curves.map(|(name, values)| Curve::of(name, values, false)).into();
        Ok(Box::new(ProductQuantizer::new(vec![book.codewords], curves, cx.backend.clone())))
    }

    fn restore(&self, dim: usize, state: &mut State, cx: &Context) -> Result<Box<dyn Quantizer>, ModelError> {
        Ok(ProductQuantizer::restore(state, 1, self.codewords, dim, cx.backend.clone())?)
    }
}

impl Vq {
    fn start(&self, train: ArrayView2<'_, f32>, cx: &Context) -> Array2<f32> {
        let mut rng = cx.rng(Stream::Part(1));
        match self.init {
            VqInit::Rows => random_rows(train, self.codewords, &mut rng),
            VqInit::Uniform => {
                let power = variance(train, &vec![0.0; train.ncols()]) / train.ncols() as f64;
                let reach = power.sqrt() / self.codewords as f64;
                Array2::from_shape_fn((self.codewords, train.ncols()), |_| {
                    (reach * (2.0 * rng.random::<f64>() - 1.0)) as f32
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The collapse of an online codebook, and its cure.
    #[test]
    fn dead_codewords_stay_dead_without_reset_and_come_to_use_with_it() {
        use rand_distr::{Distribution, StandardNormal};
        let mut rng = Context::cpu(5).rng(Stream::Part(9));
        let rows = Array2::from_shape_fn((4000, 8), |_| StandardNormal.sample(&mut rng));
        let usage = |reset_below: f64| {
            let method = Vq { codewords: 512, reset_below, epochs: 8, ..Vq::default() };
            let quantizer = method.fit(rows.view(), &Context::cpu(1)).expect("fits");
            let curve = quantizer.curves().iter().find(|c| c.name == "usage").expect("followed").values();
            *curve.last().expect("epochs")
        };
        let (off, on) = (usage(0.0), usage(0.1));
        assert!(off < 0.7 && on > 0.95, "usage {off} without reset, {on} with it");
    }
}
