//! 3×3 convolutions of an image that is first doubled by repeating each place, computed on the image itself.
//!
//! Of the nine inputs of a window in the doubled image, several are the same place of the image. Weights of the same place are added up
//! once instead of multiplied each: the four windows around the copies of a place see its 3×3 neighbours, each window with weights of its own.
//!
//! ```text
//! out[2y+p, 2x+q] = Σ_{i,j} (Σ_{a: ⌈(p+a)/2⌉=i} Σ_{b: ⌈(q+b)/2⌉=j} w[a, b]) · in[y+i−1, x+j−1]
//! ```
//!
//! That is a quarter of the windows, with four times as many outputs each, which fill registers that few channels leave half empty.

use crate::backend::Runs;

/// The places of an image of `size×size` places with `channels` channels, before it is doubled.
#[derive(Clone, Debug)]
pub(super) struct Doubled {
    size: usize,
    channels: usize,
    /// What the 3×3 windows around all places see.
    runs: Runs,
}

impl Doubled {
    pub(super) fn new(size: usize, channels: usize) -> Doubled {
        let of_row = size * size * channels;
        let mut inputs = Vec::with_capacity(9 * of_row);
        for (y, x) in (0..size).flat_map(|y| (0..size).map(move |x| (y, x))) {
            for (i, j) in (0..3).flat_map(|i| (0..3).map(move |j| (i, j))) {
                let seen = (y + i).checked_sub(1).zip((x + j).checked_sub(1)).filter(|(y, x)| *y < size && *x < size);
                let first = seen.map(|(y, x)| (y * size + x) * channels);
                inputs.extend((0..channels).map(|c| first.map_or(of_row, |first| first + c) as u32));
            }
        }
        Doubled { size, channels, runs: Runs::new(&inputs, of_row) }
    }

    /// What the windows see.
    pub(super) fn runs(&self) -> &Runs {
        &self.runs
    }

    /// Windows of a row.
    pub(super) fn count(&self) -> usize {
        self.size * self.size
    }

    /// Calls `visit` with where the weights of an input (a row of them) lie among those of the convolution and among those of a place:
    /// the numbers of both rows, and the copy of the place.
    fn each_input(&self, mut visit: impl FnMut(usize, usize, usize)) {
        let halved = |copy: usize, tap: usize| (copy + tap).div_ceil(2);
        for (p, q) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            for (a, b) in (0..3).flat_map(|a| (0..3).map(move |b| (a, b))) {
                let (tap, of_place) = (3 * a + b, 3 * halved(p, a) + halved(q, b));
                for c in 0..self.channels {
                    visit(tap * self.channels + c, of_place * self.channels + c, 2 * p + q);
                }
            }
        }
    }

    /// The weights of a place, inputs × four times the outputs, from those of the convolution, inputs × outputs.
    pub(super) fn weights(&self, weights: &[f32]) -> Vec<f32> {
        let outputs = weights.len() / (9 * self.channels).max(1);
        let mut found = vec![0f32; 4 * weights.len()];
        self.each_input(|row, of_place, copy| {
            let to = &mut found[(4 * of_place + copy) * outputs..][..outputs];
            to.iter_mut().zip(&weights[row * outputs..]).for_each(|(to, w)| *to += w);
        });
        found
    }

    /// The gradient by the weights of the convolution, from that by the weights of a place.
    pub(super) fn weight_gradient(&self, gradient: &[f32]) -> Vec<f32> {
        let mut found = vec![0f32; gradient.len() / 4];
        let outputs = found.len() / (9 * self.channels).max(1);
        self.each_input(|row, of_place, copy| {
            let to = &mut found[row * outputs..][..outputs];
            to.iter_mut().zip(&gradient[(4 * of_place + copy) * outputs..]).for_each(|(to, g)| *to += g);
        });
        found
    }

    /// Two windows beside each other have outputs beside each other, both in the order of the doubled image and in that of places.
    /// The numbers of all such pairs of a row in both orders.
    fn pairs(&self) -> impl Iterator<Item = (usize, usize)> {
        let size = self.size;
        let lines = (0..size).flat_map(|y| [(y, 0), (y, 1)]);
        lines.flat_map(move |(y, p)| (0..size).map(move |x| ((2 * y + p) * size + x, 2 * (y * size + x) + p)))
    }

    /// Outputs of rows in the order of places, from those in the order of the doubled image; `outputs` for each window.
    pub(super) fn by_place(&self, outputs: usize, of_image: &[f32], of_place: &mut [f32]) {
        let (pair, of_row) = (2 * outputs, 4 * outputs * self.count());
        for (image, place) in of_image.chunks_exact(of_row).zip(of_place.chunks_exact_mut(of_row)) {
            for (i, p) in self.pairs() {
                let from = &image[i * pair..][..pair];
                place[p * pair..][..pair].iter_mut().zip(from).for_each(|(to, from)| *to = *from);
            }
        }
    }

    /// The other way.
    pub(super) fn by_image(&self, outputs: usize, of_place: &[f32], of_image: &mut [f32]) {
        let (pair, of_row) = (2 * outputs, 4 * outputs * self.count());
        for (image, place) in of_image.chunks_exact_mut(of_row).zip(of_place.chunks_exact(of_row)) {
            for (i, p) in self.pairs() {
                let from = &place[p * pair..][..pair];
                image[i * pair..][..pair].iter_mut().zip(from).for_each(|(to, from)| *to = *from);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_of_the_same_place_are_added_up() {
        let doubled = Doubled::new(1, 1);
        let weights: Vec<f32> = (0..9).map(|tap| (1 << tap) as f32).collect();
        let of_place = doubled.weights(&weights);
        // Around the only place there is nothing: of its nine inputs only the middle one counts.
        assert_eq!(
            of_place[16..20],
            [16.0 + 32.0 + 128.0 + 256.0, 8.0 + 16.0 + 64.0 + 128.0, 2.0 + 4.0 + 16.0 + 32.0, 27.0]
        );
        assert_eq!(of_place.iter().sum::<f32>(), 4.0 * 511.0, "each weight once for each copy");
        // The transposed map: Σ g·weights(w) = Σ weight_gradient(g)·w.
        let gradient: Vec<f32> = (0..36u16).map(|e| f32::from(e % 7) - 2.0).collect();
        let by_weights = doubled.weight_gradient(&gradient);
        let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        assert_eq!(product(&gradient, &of_place), product(&by_weights, &weights));
    }

    #[test]
    fn outputs_go_to_places_and_back() {
        let doubled = Doubled::new(2, 3);
        // Two rows of 4×4 windows with one output: the number of the window.
        let image: Vec<f32> = (0..32).map(|e| e as f32).collect();
        let (mut place, mut back) = (vec![0f32; 32], vec![0f32; 32]);
        doubled.by_place(1, &image, &mut place);
        assert_eq!(place[..8], [0.0, 1.0, 4.0, 5.0, 2.0, 3.0, 6.0, 7.0]);
        assert_eq!(place[16..20], [16.0, 17.0, 20.0, 21.0]);
        doubled.by_image(1, &place, &mut back);
        assert_eq!(back, image);
        assert_eq!((doubled.count(), doubled.runs().seen()), (4, 4 * 27));
    }
}
