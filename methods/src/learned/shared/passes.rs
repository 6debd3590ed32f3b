//! A network during training: passes of some rows forward and backward, with the derivatives of its few kinds of layers
//! written down, on the products of [`cpu`]. [`NetworkWeights::trace`] says the same in expressions of [`gradients`] and is
//! what the tests compare with.

use super::doubled::Doubled;
use super::network::{AffineLayer, LayerWeights, NetworkWeights, Windows};
use crate::backend::Runs;
use cpu::{Isa, LeftFactor, Onto, RightFactor};
use ndarray::Array2;
use rayon::prelude::*;
use std::borrow::Cow;
use std::sync::Arc;

/// A network at one step of training, packed for products.
pub(super) struct PackedNetwork<'a> {
    isa: Isa,
    straight: PackedMap<'a>,
    branch: Vec<Stage<'a>>,
    inputs: usize,
    outputs: usize,
}

struct PackedMap<'a> {
    bias: Cow<'a, [f32]>,
    /// Inputs × outputs.
    forward: RightFactor,
    /// Outputs × inputs; none if nobody asks for the gradient by the inputs.
    backward: Option<RightFactor>,
}

impl<'a> PackedMap<'a> {
    fn new(isa: Isa, affine: &'a AffineLayer, input_gradient: bool) -> PackedMap<'a> {
        let [weights, bias] = affine.values();
        PackedMap::of(isa, weights, bias.into(), input_gradient)
    }

    fn of(isa: Isa, weights: &[f32], bias: Cow<'a, [f32]>, input_gradient: bool) -> PackedMap<'a> {
        let backward = input_gradient.then(|| RightFactor::transposed(isa, weights, bias.len()));
        PackedMap { forward: RightFactor::new(isa, weights, bias.len()), bias, backward }
    }
}

/// What a convolution sees. Where an image is doubled before, its places before that are seen instead, each of which has the outputs of
/// its four places in the doubled image.
#[derive(Clone, Copy)]
enum Seen<'a> {
    Windows(&'a Windows),
    Doubled(&'a Doubled),
}

impl<'a> Seen<'a> {
    fn of(windows: &'a Windows) -> Seen<'a> {
        windows.doubled().map_or(Seen::Windows(windows), Seen::Doubled)
    }

    fn runs(self) -> &'a Runs {
        match self {
            Seen::Windows(windows) => windows.runs(),
            Seen::Doubled(doubled) => doubled.runs(),
        }
    }

    /// Windows of a row.
    fn count(self) -> usize {
        match self {
            Seen::Windows(windows) => windows.count(),
            Seen::Doubled(doubled) => doubled.count(),
        }
    }

    /// Inputs per window.
    fn taps(self) -> usize {
        self.runs().seen() / self.count().max(1)
    }

    fn rows_at_once(self) -> usize {
        (WINDOW_VALUES / self.runs().seen().max(1)).max(1)
    }
}

/// A map of the branch, and the rectifier behind it if there is one.
struct Stage<'a> {
    windows: Option<Seen<'a>>,
    map: PackedMap<'a>,
    rectified: bool,
}

/// What a pass forward leaves.
pub(super) struct Forward {
    /// Rows × outputs.
    pub(super) outputs: Vec<f32>,
    /// The outputs of each stage but the last, behind its rectifier.
    hidden: Vec<Arc<Vec<f32>>>,
}

/// What a pass backward gives.
pub(super) struct Backward {
    /// For each map, in the order of [`NetworkWeights::parameters`].
    pub(super) maps: Vec<MapGradient>,
    /// By the rows; none if nobody asked for it.
    pub(super) by_rows: Option<Vec<f32>>,
}

/// The gradient of some rows by one affine map.
pub(super) struct MapGradient {
    weights: WeightGradient,
    bias: Vec<f32>,
}

enum WeightGradient {
    /// The product of the transposed inputs (rows × inputs) and the gradient by the outputs. It is left to be computed
    /// for a part of the weights over all rows of a batch at a time.
    Product(Arc<Vec<f32>>, Arc<RightFactor>),
    Whole(Vec<f32>),
}

/// Values of windows that are gathered at a time: they stay in the cache.
const WINDOW_VALUES: usize = 1 << 14;

/// Rows of weights whose gradient one task computes.
const WEIGHT_ROWS: usize = 64;

impl<'a> PackedNetwork<'a> {
    /// `input_gradient` says whether backward passes give the gradient by the rows.
    pub(super) fn new(isa: Isa, network: &'a NetworkWeights, input_gradient: bool) -> PackedNetwork<'a> {
        let mut branch: Vec<Stage<'a>> = Vec::new();
        for layer in &network.branch {
            let wanted = input_gradient || !branch.is_empty();
            let (windows, map) = match layer {
                LayerWeights::Affine(affine) => (None, PackedMap::new(isa, affine, wanted)),
                LayerWeights::Convolution(windows, affine) => {
                    let seen = Seen::of(windows);
                    let map = match seen {
                        Seen::Windows(_) => PackedMap::new(isa, affine, wanted),
                        Seen::Doubled(doubled) => {
                            let [weights, bias] = affine.values();
                            PackedMap::of(isa, &doubled.weights(weights), bias.repeat(4).into(), wanted)
                        }
                    };
                    (Some(seen), map)
                }
                LayerWeights::Rectifier => {
                    match branch.last_mut() {
                        Some(stage) => stage.rectified = true,
                        None => unreachable!("a rectifier stands behind a map"),
                    }
                    continue;
                }
            };
            branch.push(Stage { windows, map, rectified: false });
        }
        let (inputs, outputs) = network.straight.dim();
        let straight = PackedMap::new(isa, &network.straight, input_gradient);
        PackedNetwork { isa, straight, branch, inputs, outputs }
    }

    /// The outputs of contiguous rows. Those of a row do not depend on other rows.
    pub(super) fn forward(&self, rows: &[f32]) -> Forward {
        let n = rows.len() / self.inputs;
        let mut outputs = vec![0f32; n * self.outputs];
        let onto = Onto { bias: Some(&self.straight.bias), ..Onto::default() };
        self.straight.forward.times(LeftFactor::Rows(rows), onto, &mut outputs);
        let mut hidden: Vec<Arc<Vec<f32>>> = Vec::new();
        for (s, stage) in self.branch.iter().enumerate() {
            let input = hidden.last().map_or(rows, |hidden| &hidden[..]);
            if s + 1 == self.branch.len() {
                stage.apply(input, n, true, &mut outputs);
            } else {
                let mut out = vec![0f32; n * stage.outputs()];
                stage.apply(input, n, false, &mut out);
                hidden.push(Arc::new(out));
            }
        }
        Forward { outputs, hidden }
    }

    /// The gradients of a loss of which `gradient` is the one by the outputs of `forward`, which came from `rows`.
    pub(super) fn backward(&self, rows: Arc<Vec<f32>>, forward: &Forward, mut gradient: Vec<f32>) -> Backward {
        let n = rows.len() / self.inputs;
        let sums = column_sums(&gradient, self.outputs);
        let last = Arc::new(RightFactor::new(self.isa, &gradient, self.outputs));
        let mut by_rows = self.straight.backward.as_ref().map(|transposed| {
            let mut by_rows = vec![0f32; n * self.inputs];
            transposed.times(LeftFactor::Rows(&gradient), Onto::default(), &mut by_rows);
            by_rows
        });
        let mut maps = Vec::with_capacity(1 + self.branch.len());
        for (s, stage) in self.branch.iter().enumerate().rev() {
            let before = s.checked_sub(1).map(|s| (&self.branch[s], &forward.hidden[s]));
            let input = before.map_or(&rows, |(_, hidden)| hidden);
            if let Some(Seen::Doubled(doubled)) = stage.windows {
                let mut of_place = vec![0f32; gradient.len()];
                doubled.by_place(stage.map.bias.len() / 4, &gradient, &mut of_place);
                gradient = of_place;
            }
            maps.push(match stage.windows {
                None if s + 1 == self.branch.len() => {
                    MapGradient { weights: WeightGradient::Product(input.clone(), last.clone()), bias: sums.clone() }
                }
                None => MapGradient::of_rows(self.isa, input.clone(), &gradient, stage.map.bias.len()),
                Some(seen) => MapGradient::of_windows(self.isa, seen, input, n, &gradient),
            });
            match (before, &mut by_rows) {
                (Some((before, hidden)), _) => {
                    let mut back = vec![0f32; hidden.len()];
                    stage.back(&gradient, n, &mut back);
                    if before.rectified {
                        back.iter_mut().zip(&**hidden).for_each(|(g, h)| *g = if *h > 0.0 { *g } else { 0.0 });
                    }
                    gradient = back;
                }
                (None, Some(by_rows)) => stage.back(&gradient, n, by_rows),
                (None, None) => {}
            }
        }
        maps.push(MapGradient { weights: WeightGradient::Product(rows, last), bias: sums });
        maps.reverse();
        Backward { maps, by_rows }
    }
}

impl Stage<'_> {
    /// Outputs for a row.
    fn outputs(&self) -> usize {
        self.map.bias.len() * self.windows.map_or(1, Seen::count)
    }

    /// The outputs of `n` rows, added to what `out` holds if `present`.
    fn apply(&self, rows: &[f32], n: usize, present: bool, out: &mut [f32]) {
        let onto = Onto { bias: Some(&self.map.bias), present, rectified: self.rectified };
        let Some(windows) = self.windows else {
            return self.map.forward.times(LeftFactor::Rows(rows), onto, out);
        };
        let (mut seen, mut by_place) = (Vec::new(), Vec::new());
        let (of_row, of_outputs) = (rows.len() / n.max(1), self.outputs());
        let at_once = windows.rows_at_once();
        for (rows, out) in rows.chunks(at_once * of_row).zip(out.chunks_mut(at_once * of_outputs)) {
            windows.runs().gather(rows, &mut seen);
            match windows {
                Seen::Windows(_) => self.map.forward.times(LeftFactor::Rows(&seen), onto, out),
                Seen::Doubled(doubled) => {
                    // The product begins with what is present, in the order of places.
                    let outputs = self.map.bias.len() / 4;
                    by_place.resize(out.len(), 0f32);
                    if present {
                        doubled.by_place(outputs, out, &mut by_place);
                    }
                    self.map.forward.times(LeftFactor::Rows(&seen), onto, &mut by_place);
                    doubled.by_image(outputs, &by_place, out);
                }
            }
        }
    }

    /// Adds the gradient by the inputs of `n` rows to `back`, given that by the outputs, by place where images are doubled.
    fn back(&self, gradient: &[f32], n: usize, back: &mut [f32]) {
        let Some(transposed) = &self.map.backward else { return };
        let Some(windows) = self.windows else {
            return transposed.times(LeftFactor::Rows(gradient), Onto { present: true, ..Onto::default() }, back);
        };
        let (of_row, of_outputs) = (back.len() / n.max(1), self.outputs());
        let at_once = windows.rows_at_once();
        let mut by_seen = Vec::new();
        for (gradient, back) in gradient.chunks(at_once * of_outputs).zip(back.chunks_mut(at_once * of_row)) {
            by_seen.resize(back.len() / of_row * windows.runs().seen(), 0f32);
            transposed.times(LeftFactor::Rows(gradient), Onto::default(), &mut by_seen);
            windows.runs().scatter(&by_seen, back);
        }
    }
}

impl MapGradient {
    fn of_rows(isa: Isa, inputs: Arc<Vec<f32>>, gradient: &[f32], outputs: usize) -> MapGradient {
        let right = Arc::new(RightFactor::new(isa, gradient, outputs));
        MapGradient { weights: WeightGradient::Product(inputs, right), bias: column_sums(gradient, outputs) }
    }

    /// `gradient` is by place where images are doubled.
    fn of_windows(isa: Isa, windows: Seen<'_>, rows: &[f32], n: usize, gradient: &[f32]) -> MapGradient {
        let (taps, of_row, of_outputs) = (windows.taps(), rows.len() / n.max(1), gradient.len() / n.max(1));
        let outputs = of_outputs / windows.count();
        let (mut seen, mut whole) = (Vec::new(), vec![0f32; taps * outputs]);
        let at_once = windows.rows_at_once();
        for (rows, gradient) in rows.chunks(at_once * of_row).zip(gradient.chunks(at_once * of_outputs)) {
            windows.runs().gather(rows, &mut seen);
            let left = LeftFactor::Columns { matrix: &seen, of: taps, first: 0, count: taps };
            let onto = Onto { present: true, ..Onto::default() };
            RightFactor::new(isa, gradient, outputs).times(left, onto, &mut whole);
        }
        let mut bias = column_sums(gradient, outputs);
        if let Seen::Doubled(doubled) = windows {
            whole = doubled.weight_gradient(&whole);
            bias = column_sums(&bias, outputs / 4);
        }
        MapGradient { weights: WeightGradient::Whole(whole), bias }
    }
}

/// Sums up the gradients of all shards, each of which has one for each map, in weights and biases in turn; if `present`, on top of what
/// these hold. The order of the sums does not depend on the number of threads.
pub(super) fn add_gradients(shards: &[&[MapGradient]], present: bool, sums: &mut [Array2<f32>]) {
    let mut tasks = Vec::new();
    for (m, pair) in sums.chunks_exact_mut(2).enumerate() {
        let [weights, bias] = pair else { continue };
        if !present {
            bias.fill(0.0);
        }
        for of_shard in shards {
            bias.iter_mut().zip(&of_shard[m].bias).for_each(|(sum, b)| *sum += b);
        }
        let columns = weights.ncols();
        let blocks = weights.as_slice_mut().unwrap_or_default().chunks_mut((WEIGHT_ROWS * columns).max(1));
        tasks.extend(blocks.enumerate().map(|(b, block)| (m, b * WEIGHT_ROWS, columns, block)));
    }
    tasks.into_par_iter().for_each(|(m, first, columns, block)| {
        for (s, of_shard) in shards.iter().enumerate() {
            let present = present || s > 0;
            match &of_shard[m].weights {
                WeightGradient::Product(inputs, right) => {
                    let of = inputs.len() / right.depth().max(1);
                    let left = LeftFactor::Columns { matrix: inputs, of, first, count: block.len() / columns };
                    right.times(left, Onto { present, ..Onto::default() }, block);
                }
                WeightGradient::Whole(values) if !present => {
                    block.copy_from_slice(&values[first * columns..][..block.len()]);
                }
                WeightGradient::Whole(values) => {
                    block.iter_mut().zip(&values[first * columns..]).for_each(|(sum, v)| *sum += v);
                }
            }
        }
    });
}

fn column_sums(rows: &[f32], columns: usize) -> Vec<f32> {
    let mut sums = vec![0f32; columns];
    for row in rows.chunks_exact(columns) {
        sums.iter_mut().zip(row).for_each(|(sum, v)| *sum += v);
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use gradients::{Matrix, Parameter, gradients};
    use ndarray::ArrayView2;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution, StandardNormal};

    fn gaussian(n: usize, dim: usize, rng: &mut impl Rng) -> Array2<f32> {
        Array2::from_shape_fn((n, dim), |_| StandardNormal.sample(rng))
    }

    fn affine(inputs: usize, outputs: usize, rng: &mut ChaCha8Rng) -> AffineLayer {
        let mut layer = AffineLayer::random(inputs, outputs, rng);
        *layer.arrays_mut()[1] = gaussian(1, outputs, rng);
        layer
    }

    /// Without a branch, with one hidden layer, with convolutions first and with convolutions last.
    fn networks(rng: &mut ChaCha8Rng) -> Vec<NetworkWeights> {
        let hidden = |inputs, width, outputs, rng: &mut ChaCha8Rng| {
            vec![
                LayerWeights::Affine(affine(inputs, width, rng)),
                LayerWeights::Rectifier,
                LayerWeights::Affine(affine(width, outputs, rng)),
            ]
        };
        let first = vec![
            LayerWeights::Convolution(Windows::halving(4, 3), affine(27, 5, rng)),
            LayerWeights::Rectifier,
            LayerWeights::Convolution(Windows::halving(2, 5), affine(45, 4, rng)),
            LayerWeights::Rectifier,
            LayerWeights::Affine(affine(4, 7, rng)),
        ];
        let last = vec![
            LayerWeights::Affine(affine(7, 20, rng)),
            LayerWeights::Rectifier,
            LayerWeights::Convolution(Windows::doubling(2, 5), affine(45, 4, rng)),
            LayerWeights::Rectifier,
            LayerWeights::Convolution(Windows::doubling(4, 4), affine(36, 3, rng)),
        ];
        vec![
            NetworkWeights { straight: affine(9, 4, rng), branch: Vec::new() },
            NetworkWeights { straight: affine(48, 7, rng), branch: hidden(48, 33, 7, rng) },
            NetworkWeights { straight: affine(48, 7, rng), branch: first },
            NetworkWeights { straight: affine(7, 192, rng), branch: last },
        ]
    }

    fn close(found: &[f32], expected: &Array2<f32>, what: &str) {
        assert_eq!(found.len(), expected.len(), "{what}");
        let size = expected.iter().fold(0f32, |m, v| m.max(v.abs()));
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() <= 1e-4 * size, "{what}: {found} for {expected}");
        }
    }

    /// Outputs, and the gradients of `Σ w·outputs` by rows and parameters, as `gradients` finds them.
    fn traced(
        network: &mut NetworkWeights,
        rows: ArrayView2<'_, f32>,
        w: ArrayView2<'_, f32>,
    ) -> (Array2<f32>, Vec<Array2<f32>>) {
        let mut leaves: Vec<Matrix> = vec![Parameter::new(rows).leaf()];
        leaves.extend(network.parameters().into_iter().map(|p| Parameter::new(p.view()).leaf()));
        let outputs = network.trace(&leaves[0], &leaves[1..]);
        let loss = outputs.by(&Matrix::constant(w)).sum();
        (outputs.values(), gradients(&loss, &leaves))
    }

    #[test]
    fn passes_agree_with_the_gradients_of_expressions() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for (kind, mut network) in networks(&mut rng).into_iter().enumerate() {
            for n in [1, 3, 64, 130] {
                let (inputs, outputs) = network.straight.dim();
                let (rows, w) = (gaussian(n, inputs, &mut rng), gaussian(n, outputs, &mut rng));
                let (expected, of_loss) = traced(&mut network, rows.view(), w.view());
                let [rows, w] = [rows, w].map(|a| a.into_raw_vec_and_offset().0);
                for isa in Isa::available() {
                    let what = format!("network {kind}, {n} rows, {isa}");
                    let packed = PackedNetwork::new(isa, &network, true);
                    let forward = packed.forward(&rows);
                    close(&forward.outputs, &expected, &what);
                    let mut sums: Vec<Array2<f32>> = of_loss[1..].iter().map(|g| Array2::zeros(g.dim())).collect();
                    // In shards that are not equal.
                    let parts = [0..n / 3, n / 3..n].into_iter().filter(|part| !part.is_empty()).map(|part| {
                        let rows = Arc::new(rows[part.start * inputs..part.end * inputs].to_vec());
                        let w = w[part.start * outputs..part.end * outputs].to_vec();
                        let forward = packed.forward(&rows);
                        packed.backward(rows, &forward, w)
                    });
                    let parts: Vec<Backward> = parts.collect();
                    // The first is written over what is there, the others are added.
                    sums.iter_mut().for_each(|sum| sum.fill(7.0));
                    for (p, part) in parts.iter().enumerate() {
                        add_gradients(&[&part.maps[..]], p > 0, &mut sums);
                    }
                    let by_rows = parts.iter().flat_map(|part| part.by_rows.iter().flatten().copied());
                    close(&by_rows.collect::<Vec<f32>>(), &of_loss[0], &format!("{what}, by rows"));
                    for (p, (found, expected)) in sums.iter().zip(&of_loss[1..]).enumerate() {
                        close(found.as_slice().expect("contiguous"), expected, &format!("{what}, parameter {p}"));
                    }
                    let without = PackedNetwork::new(isa, &network, false);
                    let found = without.backward(Arc::new(rows.clone()), &forward, w.clone());
                    assert!(found.by_rows.is_none() && found.maps.len() == sums.len() / 2, "{what}");
                }
            }
        }
    }

    /// Many rows are passed in blocks; a row has the outputs that it has alone.
    #[test]
    fn a_row_does_not_depend_on_others() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        for network in networks(&mut rng) {
            let (inputs, outputs) = network.straight.dim();
            let rows = gaussian(150, inputs, &mut rng).into_raw_vec_and_offset().0;
            for isa in Isa::available() {
                let packed = PackedNetwork::new(isa, &network, false);
                let all = packed.forward(&rows).outputs;
                for i in [0, 17, 149] {
                    let one = packed.forward(&rows[i * inputs..][..inputs]).outputs;
                    assert_eq!(one, all[i * outputs..][..outputs], "{isa}: row {i}");
                }
            }
        }
    }
}
