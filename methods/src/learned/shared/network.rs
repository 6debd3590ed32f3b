//! Small networks: an affine map plus a branch of layers that corrects it. Each network is described once and computed
//! in two ways: forward and backward for training (`passes`), on plain rows for encoding and decoding.

use super::doubled::Doubled;
use crate::MethodError;
use crate::backend::{AffineMap, Backend, BranchLayer, PlainNetwork, RowMap, Runs};
use crate::contract::state::{State, StateError};
use cpu::Isa;
#[cfg(test)]
use gradients::Matrix;
use ndarray::{Array2, ArrayView2};
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

/// `x·weights + bias`.
#[derive(Clone, Debug)]
pub(crate) struct AffineLayer {
    /// Inputs × outputs.
    weights: Array2<f32>,
    /// 1 × outputs.
    bias: Array2<f32>,
}

impl AffineLayer {
    pub(crate) fn zeros(inputs: usize, outputs: usize) -> AffineLayer {
        AffineLayer::new(Array2::zeros((inputs, outputs)), Array2::zeros((1, outputs)))
    }

    /// Normal weights that preserve the power behind a rectifier (He et al. 2015), for inputs of power 1.
    pub(crate) fn random(inputs: usize, outputs: usize, rng: &mut impl Rng) -> AffineLayer {
        let deviation = (2.0 / inputs as f64).sqrt() as f32;
        let mut draw = || -> f32 { StandardNormal.sample(rng) };
        let weights = Array2::from_shape_fn((inputs, outputs), |_| deviation * draw());
        AffineLayer::new(weights, Array2::zeros((1, outputs)))
    }

    fn new(weights: Array2<f32>, bias: Array2<f32>) -> AffineLayer {
        AffineLayer { weights, bias }
    }

    /// Inputs and outputs.
    pub(crate) fn dim(&self) -> (usize, usize) {
        self.weights.dim()
    }

    /// Mutable weights and bias.
    pub(crate) fn arrays_mut(&mut self) -> [&mut Array2<f32>; 2] {
        [&mut self.weights, &mut self.bias]
    }

    /// Weights and bias, row by row.
    pub(super) fn values(&self) -> [&[f32]; 2] {
        [&self.weights, &self.bias].map(|array| match array.as_slice() {
            Some(values) => values,
            None => unreachable!("weights are made row by row"),
        })
    }

    /// Map number `i` of the network `name`, as [`NetworkWeights::save`] stored it.
    pub(crate) fn restore(
        name: &str,
        i: usize,
        (inputs, outputs): (usize, usize),
        state: &mut State,
    ) -> Result<AffineLayer, StateError> {
        let weights = state.take_matrix(&format!("{name} weights {i}"), inputs, outputs)?;
        Ok(AffineLayer::new(weights, state.take_matrix(&format!("{name} bias {i}"), 1, outputs)?))
    }

    fn view(&self) -> AffineMap<'_> {
        AffineMap { weights: self.weights.view(), bias: self.bias.view() }
    }
}

/// The 3×3 windows of an image: for each output position, the nine positions that it sees, with all channels of each.
#[derive(Clone, Debug)]
pub(crate) struct Windows {
    /// Indices of inputs, window by window; the number of inputs stands for a zero outside the image.
    inputs: Vec<u32>,
    /// Inputs per window.
    taps: usize,
    /// The same inputs as runs.
    runs: Runs,
    /// If the image is doubled before: its places before that.
    doubled: Option<Doubled>,
}

impl Windows {
    /// Windows around every second position of an image of `size×size` positions with `channels` channels.
    pub(crate) fn halving(size: usize, channels: usize) -> Windows {
        let picture = |y: usize, x: usize| (y < size && x < size).then_some((y, x));
        let inputs = Windows::inputs(size.div_ceil(2), channels, size, |y, x| (2 * y, 2 * x), picture);
        Windows { runs: Runs::new(&inputs, size * size * channels), inputs, taps: 9 * channels, doubled: None }
    }

    /// Windows around every position of an image of `size×size` positions that is first doubled by repeating each
    /// position.
    pub(crate) fn doubling(size: usize, channels: usize) -> Windows {
        let picture = |y: usize, x: usize| (y < 2 * size && x < 2 * size).then_some((y / 2, x / 2));
        let inputs = Windows::inputs(2 * size, channels, size, |y, x| (y, x), picture);
        let of_row = size * size * channels;
        let doubled = Some(Doubled::new(size, channels));
        Windows { runs: Runs::new(&inputs, of_row), inputs, taps: 9 * channels, doubled }
    }

    /// `picture` maps a position that a window sees to one of the `size×size` positions.
    fn inputs(
        out: usize,
        channels: usize,
        size: usize,
        centre: impl Fn(usize, usize) -> (usize, usize),
        picture: impl Fn(usize, usize) -> Option<(usize, usize)>,
    ) -> Vec<u32> {
        let mut inputs = Vec::with_capacity(out * out * 9 * channels);
        for (y, x) in (0..out).flat_map(|y| (0..out).map(move |x| (y, x))) {
            let (y, x) = centre(y, x);
            for (dy, dx) in (0..3).flat_map(|dy| (0..3).map(move |dx| (dy, dx))) {
                // One is added before one is subtracted: positions are unsigned.
                let seen = (y + dy).checked_sub(1).zip((x + dx).checked_sub(1)).and_then(|(y, x)| picture(y, x));
                let first = seen.map(|(y, x)| (y * size + x) * channels);
                inputs.extend((0..channels).map(|c| first.map_or(size * size * channels, |first| first + c) as u32));
            }
        }
        inputs
    }

    /// Places of the image before it is doubled, if it is.
    pub(super) fn doubled(&self) -> Option<&Doubled> {
        self.doubled.as_ref()
    }

    /// Windows of a row.
    pub(super) fn count(&self) -> usize {
        self.inputs.len() / self.taps
    }

    /// What the windows see.
    pub(super) fn runs(&self) -> &Runs {
        &self.runs
    }
}

/// A layer of a branch.
#[derive(Clone, Debug)]
pub(crate) enum LayerWeights {
    /// An affine map of all inputs.
    Affine(AffineLayer),
    /// The same affine map of every window; the results are concatenated.
    Convolution(Windows, AffineLayer),
    /// `max(x, 0)`.
    Rectifier,
}

/// `x·A + b + branch(x)`.
#[derive(Clone, Debug)]
pub(crate) struct NetworkWeights {
    pub(crate) straight: AffineLayer,
    pub(crate) branch: Vec<LayerWeights>,
}

impl NetworkWeights {
    /// Every trained array: weights and bias of the straight map, then those of each map of the branch.
    pub(crate) fn parameters(&mut self) -> Vec<&mut Array2<f32>> {
        let mut found: Vec<&mut Array2<f32>> = self.straight.arrays_mut().into();
        for layer in &mut self.branch {
            if let LayerWeights::Affine(affine) | LayerWeights::Convolution(_, affine) = layer {
                found.extend(affine.arrays_mut());
            }
        }
        found
    }

    fn affines(&self) -> impl Iterator<Item = &AffineLayer> {
        std::iter::once(&self.straight).chain(self.branch.iter().filter_map(|layer| match layer {
            LayerWeights::Affine(affine) | LayerWeights::Convolution(_, affine) => Some(affine),
            LayerWeights::Rectifier => None,
        }))
    }

    /// Bytes of all weights.
    pub(crate) fn model_size(&self) -> usize {
        self.affines().map(|affine| 4 * (affine.weights.len() + affine.bias.len())).sum()
    }

    /// Applies the network to differentiable rows, with `parameters` instead of the arrays.
    #[cfg(test)]
    pub(crate) fn trace(&self, rows: &Matrix, parameters: &[Matrix]) -> Matrix {
        let mut pairs = parameters.chunks_exact(2);
        let mut affine = |x: &Matrix| match pairs.next() {
            Some([weights, bias]) => x.times(weights, Isa::widest()).plus(bias),
            _ => unreachable!("as many parameters as NetworkWeights::parameters gives"),
        };
        let straight = affine(rows);
        let mut x = rows.clone();
        for layer in &self.branch {
            x = match layer {
                LayerWeights::Affine(_) => affine(&x),
                LayerWeights::Rectifier => x.rectified(),
                LayerWeights::Convolution(windows, of_window) => {
                    let seen = x.gather_columns(&windows.inputs).reshaped(windows.taps);
                    affine(&seen).reshaped(windows.count() * of_window.bias.len())
                }
            };
        }
        if self.branch.is_empty() { straight } else { straight.plus(&x) }
    }

    /// Weights and bias, if the network is an affine map and no more.
    pub(crate) fn affine(&self) -> Option<(&Array2<f32>, &Array2<f32>)> {
        self.branch.is_empty().then_some((&self.straight.weights, &self.straight.bias))
    }

    fn branch(&self) -> Vec<BranchLayer<'_>> {
        fn layer(layer: &LayerWeights) -> BranchLayer<'_> {
            match layer {
                LayerWeights::Affine(affine) => BranchLayer::Affine(affine.view()),
                LayerWeights::Convolution(windows, affine) => {
                    BranchLayer::Windows { inputs: &windows.inputs, map: affine.view() }
                }
                LayerWeights::Rectifier => BranchLayer::Rectifier,
            }
        }
        self.branch.iter().map(layer).collect()
    }

    /// As `backend` computes it.
    pub(crate) fn on(&self, backend: &dyn Backend) -> Result<Box<dyn RowMap>, MethodError> {
        backend.network(self.straight.view(), &self.branch())
    }

    /// On plain rows of the host. The result of a row does not depend on those beside it.
    pub(crate) fn apply(&self, isa: Isa, rows: ArrayView2<'_, f32>) -> Array2<f32> {
        let mut out = Array2::zeros((rows.nrows(), self.straight.bias.len()));
        if let Some(out) = out.as_slice_mut() {
            PlainNetwork::new(isa, self.straight.view(), &self.branch()).images(rows, out);
        }
        out
    }

    /// Adds all arrays to `state`, under names that begin with `name`.
    pub(crate) fn save(&self, name: &str, state: &mut State) {
        for (i, affine) in self.affines().enumerate() {
            state.put_matrix(format!("{name} weights {i}"), affine.weights.view());
            state.put_matrix(format!("{name} bias {i}"), affine.bias.view());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gradients::Parameter;
    use ndarray::s;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    fn gaussian(n: usize, dim: usize, rng: &mut ChaCha8Rng) -> Array2<f32> {
        Array2::from_shape_fn((n, dim), |_| StandardNormal.sample(rng))
    }

    #[test]
    fn a_network_gives_the_same_traced_as_on_plain_rows() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let random = |inputs, outputs, rng: &mut ChaCha8Rng| {
            let affine = AffineLayer::random(inputs, outputs, rng);
            AffineLayer::new(affine.weights, gaussian(1, outputs, rng))
        };
        let (first, second, third) = (random(27, 5, &mut rng), random(45, 4, &mut rng), random(16, 7, &mut rng));
        let branch = vec![
            LayerWeights::Convolution(Windows::halving(4, 3), first),
            LayerWeights::Rectifier,
            LayerWeights::Convolution(Windows::doubling(2, 5), second),
            LayerWeights::Rectifier,
            LayerWeights::Affine(random(64, 16, &mut rng)),
            LayerWeights::Rectifier,
            LayerWeights::Affine(third),
        ];
        let mut network = NetworkWeights { straight: random(48, 7, &mut rng), branch };
        let rows = gaussian(300, 48, &mut rng);
        let parameters: Vec<Matrix> =
            network.parameters().into_iter().map(|p| Parameter::new(p.view()).leaf()).collect();
        let traced = network.trace(&Matrix::constant(rows.view()), &parameters).values();
        let plain = network.apply(Isa::widest(), rows.view());
        let gap = (&traced - &plain).iter().fold(0f32, |m, v| m.max(v.abs()));
        assert!(gap < 1e-3, "{gap}");
        let one = network.apply(Isa::widest(), rows.slice(s![17..18, ..]));
        assert_eq!(one.row(0), plain.row(17), "a row alone");
        let mut state = State::default();
        network.save("encoder", &mut state);
        assert_eq!(state.arrays().map(|a| 4 * a.values.len()).sum::<usize>(), network.model_size());
    }

    #[test]
    fn windows_by_hand() {
        // A picture of 2×2 places of one channel: around every second place there is one window, around place 0.
        assert_eq!(Windows::halving(2, 1).inputs, [4, 4, 4, 4, 0, 1, 4, 2, 3]);
        // One place doubled is four places, all of them that one.
        let doubled = Windows::doubling(1, 1);
        assert_eq!(doubled.inputs[..9], [1, 1, 1, 1, 0, 0, 1, 0, 0]);
        assert_eq!((doubled.count(), doubled.taps), (4, 9));
        // Channels of a place stay together.
        assert_eq!(Windows::halving(1, 2).inputs[8..10], [0, 1]);
    }
}
