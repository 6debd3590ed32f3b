//! SimVQ: fixed random vectors mapped to codewords by one trained linear map. All codewords move together, so none
//! dies.

use crate::algorithms::codebooks::symbol_bits;
use crate::learned::shared::{
    Bottleneck, Encoder, ForwardPass, LatentWidth, Loss, Spread, Training, TrainingStep, fit, restore,
};
use crate::product::quantizer::ProductQuantizer;
use crate::registry::{Exemption, Family, MethodEntry, RateParam, Tries, params_of, parse_params, schema_of};
use crate::{Context, Method, MethodError, ModelError, ParamError, Quantizer, State, Stream, TrainingRows};
use cpu::Isa;
use gradients::Matrix;
use ndarray::{Array2, ArrayView2, Axis, s};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strict::check_ranges;

/// The registration of this method.
pub const ENTRY: MethodEntry = MethodEntry {
    name: "simvq",
    family: Some(Family::Learned),
    summary: "SimVQ: random fixed vectors, mapped to codewords by one learned linear map, which moves all codewords together",
    paper: "Zhu et al., Addressing representation collapse in vector quantized models with one linear layer, 2024",
    rate: "groups × log2(codewords), rounded up",
    rate_params: &[RateParam::count("groups"), RateParam::power("codewords")],
    cost: "fit: epochs × n × 3 times encoding and decoding; encode: the encoder and O(latent · codewords)",
    examples: &[
        r#"{"codewords": 16, "training": {"epochs": 6, "batch": 128}}"#,
        r#"{"codewords": 12, "groups": 3, "encoder": {"mlp": {"hidden": 16}}, "training": {"epochs": 6, "batch": 128}}"#,
    ],
    tries: Tries { params: &["{}"], transforms: false },
    exempt: &[Exemption {
        law: "clusters_far_apart_do_not_hide_the_nearest",
        with: "{}",
        why: "the encoder decides which codeword is nearest, since distances are between latents",
    }],
    schema: schema_of::<Simvq>,
    parse: parse_params::<Simvq>,
};

/// Parameters of `simvq`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Simvq {
    /// Codewords per codebook. A symbol takes log2 of it bits, rounded up.
    #[schemars(range(min = 2, max = 65536))]
    pub codewords: usize,
    /// Number of groups that the components of a latent are divided into. Each group has its own codebook and gives one
    /// symbol. More groups raise the rate.
    #[schemars(range(min = 1, max = 4096))]
    pub groups: usize,
    /// Weight β of the commitment loss, which keeps latents close to their codewords.
    #[schemars(range(min = 0.0, max = 1000.0))]
    pub beta: f64,
    /// The encoder, which maps vectors to latents, and the decoder, which maps quantized latents back.
    pub encoder: Encoder,
    /// How encoder, bottleneck and decoder are trained.
    pub training: Training,
}

impl Default for Simvq {
    fn default() -> Simvq {
        let (encoder, training) = (Encoder::default(), Training::default());
        Simvq { codewords: 256, groups: 1, beta: 0.25, encoder, training }
    }
}

impl Simvq {
    fn width(&self) -> LatentWidth {
        LatentWidth::MultipleOf(self.groups)
    }
}

impl Method for Simvq {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn params(&self) -> serde_json::Value {
        params_of(self)
    }

    fn check(&self, dim: usize) -> Result<(), ParamError> {
        check_ranges(self)?;
        self.encoder.latent(dim, self.width()).map(|_| ())
    }

    fn code_bits(&self, _dim: usize) -> usize {
        self.groups * usize::from(symbol_bits(self.codewords))
    }

    fn fit_cost(&self, n: usize, dim: usize) -> f64 {
        self.training.cost(n, self.encode_cost(dim))
    }

    fn decode_cost(&self, dim: usize) -> f64 {
        self.encoder.cost(dim, self.encoder.latent(dim, self.width()).unwrap_or(dim))
    }

    fn query_cost(&self, dim: usize) -> f64 {
        let latent = self.encoder.latent(dim, self.width()).unwrap_or(dim);
        self.encoder.query_cost(dim, latent, latent * self.codewords)
    }

    fn encode_cost(&self, dim: usize) -> f64 {
        let latent = self.encoder.latent(dim, self.width()).unwrap_or(dim);
        self.encoder.cost(dim, latent) + (latent * self.codewords) as f64
    }

    fn fit_rows(&self, train: &TrainingRows<'_>, cx: &Context) -> Result<Box<dyn Quantizer>, MethodError> {
        let shape = (self.width(), Spread::Natural(self.groups));
        fit(&self.encoder, &self.training, shape, Mapped { spec: self.clone(), books: Vec::new() }, train, cx)
    }

    fn restore(&self, dim: usize, state: &mut State, cx: &Context) -> Result<Box<dyn Quantizer>, ModelError> {
        let latent = self.encoder.latent(dim, self.width())?;
        restore(&self.encoder, dim, latent, state, cx, |state| {
            Ok(ProductQuantizer::restore(state, self.groups, self.codewords, latent, cx.backend.clone())?)
        })
    }
}

/// Codewords are `C·W`; `C` stays as drawn.
struct MappedCodebook {
    /// `K×size`.
    fixed: Array2<f32>,
    /// `size×size`.
    map: Array2<f32>,
}

struct Mapped {
    spec: Simvq,
    books: Vec<MappedCodebook>,
}

impl Bottleneck for Mapped {
    /// Normal vectors `C`, and a map that gives each component the scale of the latents.
    fn start(&mut self, latents: ArrayView2<'_, f32>, cx: &Context) -> Result<(), MethodError> {
        let size = latents.ncols() / self.spec.groups;
        for g in 0..self.spec.groups {
            let part = latents.slice(s![.., g * size..(g + 1) * size]);
            let mut rng = cx.rng(Stream::LearnedCodebook(g as u32));
            let fixed = Array2::from_shape_fn((self.spec.codewords, size), |_| StandardNormal.sample(&mut rng));
            let power = part.map_axis(Axis(0), |x| x.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>());
            let deviation = power.mapv(|p| (p / latents.nrows().max(1) as f64).sqrt() as f32);
            self.books.push(MappedCodebook { fixed, map: Array2::from_diag(&deviation) });
        }
        Ok(())
    }

    fn parameters(&mut self) -> Vec<&mut Array2<f32>> {
        self.books.iter_mut().map(|book| &mut book.map).collect()
    }

    fn pass(
        &self,
        latents: &Matrix,
        parameters: &[Matrix],
        moment: &TrainingStep<'_>,
        _rng: &mut ChaCha8Rng,
    ) -> Result<ForwardPass, MethodError> {
        let size = latents.dim().1 / self.books.len();
        let share = 1.0 / self.books.len() as f32;
        let mut outputs = Vec::with_capacity(self.books.len());
        let mut sums: Option<[Matrix; 2]> = None;
        let backend = &moment.cx.backend;
        for (g, (book, map)) in self.books.iter().zip(parameters).enumerate() {
            let part = latents.columns(g * size..(g + 1) * size);
            let values = part.values();
            let rows = backend.upload(values.view())?;
            let nearest = backend.nearest(&rows, book.codewords(backend.isa()).view())?;
            let numbers: Vec<usize> = nearest.iter().map(|&c| c as usize).collect();
            let q = Matrix::constant(book.fixed.select(Axis(0), &numbers).view()).times(map, backend.isa());
            let values = q.values();
            outputs.push(part.straight_through(values.view()));
            let squared = |gap: Matrix| gap.by(&gap).mean().scaled(share);
            let losses = [squared(q.minus(&part.detached())), squared(part.minus(&q.detached()))];
            sums = Some(match sums {
                None => losses,
                Some([a, b]) => [a.plus(&losses[0]), b.plus(&losses[1])],
            });
        }
        let named = [("codebook_loss", 1.0), ("commitment_loss", self.spec.beta)];
        let losses = sums.into_iter().flatten().zip(named);
        let losses = losses.map(|(value, (name, weight))| Loss { name, weight, value }).collect();
        Ok(ForwardPass { latents: Matrix::beside(&outputs), losses, chosen: Vec::new() })
    }

    fn quantizer(&self, cx: &Context) -> Result<Box<dyn Quantizer>, MethodError> {
        // The product is stored; the map is not needed after training.
        let books = self.books.iter().map(|book| book.codewords(cx.backend.isa())).collect();
        Ok(Box::new(ProductQuantizer::new(books, Vec::new(), cx.backend.clone())))
    }
}

impl MappedCodebook {
    fn codewords(&self, isa: Isa) -> Array2<f32> {
        crate::algorithms::products::multiply(isa, self.fixed.view(), self.map.view())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learned::shared::Linear;
    use gradients::{Parameter, gradients};
    use ndarray::arr2;
    use rand::SeedableRng;

    /// Two groups of two components, three codewords each.
    fn mapped() -> Mapped {
        let first = MappedCodebook {
            fixed: arr2(&[[1.0f32, 0.0], [-1.0, 2.0], [0.5, -1.5]]),
            map: arr2(&[[2.0f32, 0.5], [-0.25, 1.0]]),
        };
        let second = MappedCodebook {
            fixed: arr2(&[[0.0f32, 1.0], [1.0, 1.0], [-2.0, 0.5]]),
            map: arr2(&[[1.0f32, -0.5], [0.25, 0.75]]),
        };
        Mapped { spec: Simvq { codewords: 3, groups: 2, ..Simvq::default() }, books: vec![first, second] }
    }

    fn latents() -> Array2<f32> {
        arr2(&[[1.7f32, 0.6, 0.3, 0.8], [-2.2, 1.4, -1.8, 1.2], [1.2, -1.1, 1.1, 0.4]])
    }

    #[test]
    fn each_loss_moves_one_side_only_and_reconstruction_the_latents() {
        let mut bottleneck = mapped();
        let z = latents();
        let q: Vec<[Array2<f32>; 2]> = (0..2)
            .map(|g| {
                let rows = [[0usize, 1, 2], [0, 2, 1]][g];
                let fixed = bottleneck.books[g].fixed.select(Axis(0), &rows);
                let values = fixed.dot(&bottleneck.books[g].map);
                [fixed, values]
            })
            .collect();
        let maps: Vec<Parameter> = bottleneck.parameters().into_iter().map(|map| Parameter::new(map.view())).collect();
        assert_eq!(maps.len(), 2, "one map for each group, and no codewords");
        let (cx, w) = (Context::cpu(1), z.mapv(|v| 1.0 + 0.3 * v));
        let found = |part: usize| {
            let mut leaves: Vec<Matrix> = maps.iter().map(Parameter::leaf).collect();
            leaves.push(Parameter::new(z.view()).leaf());
            let moment = TrainingStep { progress: 0.0, cx: &cx };
            let pass =
                bottleneck.pass(&leaves[2], &leaves[..2], &moment, &mut cx.rng(Stream::Part(0))).expect("passes");
            for (g, [_, values]) in q.iter().enumerate() {
                assert_eq!(pass.latents.columns(2 * g..2 * g + 2).values(), values, "group {g}");
            }
            let names: Vec<_> = pass.losses.iter().map(|loss| (loss.name, loss.weight)).collect();
            assert_eq!(names, [("codebook_loss", 1.0), ("commitment_loss", 0.25)]);
            let reconstruction = pass.latents.by(&Matrix::constant(w.view())).mean().scaled(w.len() as f32);
            gradients(pass.losses.get(part).map_or(&reconstruction, |loss| &loss.value), &leaves)
        };
        let near = |found: &Array2<f32>, expected: &Array2<f32>| {
            let gap = (found - expected).iter().fold(0f32, |m, v| m.max(v.abs()));
            assert!(gap < 1e-5, "{found} for {expected}");
        };
        let zeros = Array2::<f32>::zeros((2, 2));
        let (codebook, commitment, reconstruction) = (found(0), found(1), found(2));
        // Both are means over all twelve entries: dW = 2/12·Cᵀ(C·W − z), dz = 2/12·(z − C·W).
        for (g, [fixed, values]) in q.iter().enumerate() {
            let gap = values - &z.slice(s![.., 2 * g..2 * g + 2]);
            near(&codebook[g], &(fixed.t().dot(&gap) / 6.0));
            near(&commitment[2].slice(s![.., 2 * g..2 * g + 2]).to_owned(), &(gap / -6.0));
            assert_eq!((&commitment[g], &reconstruction[g]), (&zeros, &zeros));
        }
        assert_eq!(codebook[2], Array2::<f32>::zeros((3, 4)));
        assert_eq!(reconstruction[2], w);
    }

    #[test]
    fn what_is_stored_is_the_product() {
        let bottleneck = mapped();
        let quantizer = bottleneck.quantizer(&Context::cpu(1)).expect("a quantizer");
        let mut state = State::default();
        quantizer.save(&mut state);
        // By hand: [1, 0]·W is the first row of W, [0.5, −1.5]·W = (1.375, −1.25).
        let first = state.take_matrix("codebook 0", 3, 2).expect("saved");
        assert_eq!(first, arr2(&[[2.0, 0.5], [-2.5, 1.5], [1.375, -1.25]]));
        let second = state.take_matrix("codebook 1", 3, 2).expect("saved");
        assert_eq!(second, arr2(&[[0.25, 0.75], [1.25, 0.25], [-1.875, 1.375]]));
    }

    /// After training, codewords still are the drawn ones behind one linear map: the least-squares map leaves nothing.
    #[test]
    fn training_moves_codewords_as_a_whole() {
        let cx = Context::cpu(3);
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let rows = Array2::from_shape_fn((300, 3), |(_, j)| {
            let x: f32 = StandardNormal.sample(&mut rng);
            x * (3 - j) as f32
        });
        let training = Training { epochs: 5, batch: 64, learning_rate: 0.01 };
        let encoder = Encoder::Linear(Linear { latent: Some(2) });
        let method = Simvq { codewords: 20, encoder, training, ..Simvq::default() };
        let quantizer = method.fit(rows.view(), &cx).expect("fits");
        let mut state = State::default();
        quantizer.save(&mut state);
        let stored = state.take_matrix("codebook 0", 20, 2).expect("saved").mapv(f64::from);
        let mut rng = cx.rng(Stream::LearnedCodebook(0));
        let fixed: Array2<f64> = Array2::from_shape_fn((20, 2), |_| {
            let x: f32 = StandardNormal.sample(&mut rng);
            f64::from(x)
        });
        let (squares, shared) = (fixed.t().dot(&fixed), fixed.t().dot(&stored));
        let determinant = squares[(0, 0)] * squares[(1, 1)] - squares[(0, 1)] * squares[(1, 0)];
        let inverse = arr2(&[[squares[(1, 1)], -squares[(0, 1)]], [-squares[(1, 0)], squares[(0, 0)]]]) / determinant;
        let map = inverse.dot(&shared);
        let left = (fixed.dot(&map) - &stored).iter().fold(0f64, |m, v| m.max(v.abs()));
        assert!(left < 1e-5, "{left}");
        assert!(map[(0, 1)].abs() > 1e-4, "trained away from the diagonal that it starts as: {map}");
    }
}
