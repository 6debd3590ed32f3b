//! That sets of instructions with a fused multiplication give the same results on whatever processor: digests of them are written
//! here, since no process can run those of two processors. After a deliberate change of the order of sums, write down what the test
//! of one processor says, and let those of the others confirm it.

use cpu::{Isa, Nearest, Panels, Score, negated_products, squared_distances};

/// Of scores, nearest vectors and distances.
const DISTANCES: u64 = 0x063c_b47a_17c6_8794;

/// Of products with registers of eight f32.
const PRODUCTS_OF_EIGHT: u64 = 0x9e82_7a09_ee83_342b;

/// `n` values from −½ to ½, by xorshift.
fn values(n: usize, mut state: u32) -> Vec<f32> {
    let mut draw = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as f32 / u32::MAX as f32 - 0.5
    };
    (0..n).map(|_| draw()).collect()
}

/// FNV-1a over the bits of values.
struct Digest(u64);

impl Digest {
    fn new() -> Digest {
        Digest(0xcbf2_9ce4_8422_2325)
    }

    fn take(&mut self, bits: impl IntoIterator<Item = u32>) {
        self.0 = bits.into_iter().fold(self.0, |digest, bits| (digest ^ u64::from(bits)).wrapping_mul(0x100_0000_01b3));
    }
}

const ROWS: usize = 61;

/// Vectors and rows for several numbers and dimensions: whole registers and not, with and without a first pass over bytes.
fn cases() -> impl Iterator<Item = (usize, usize, Vec<f32>, Vec<f32>)> {
    let dims = [1, 3, 8, 31, 37, 64, 100, 200];
    dims.into_iter().flat_map(|dim| [1, 5, 33, 200].map(|k| (dim, k, values(k * dim, 1), values(ROWS * dim, 2))))
}

fn of_distances(isa: Isa) -> u64 {
    let mut digest = Digest::new();
    for (dim, k, vectors, rows) in cases() {
        let mut scores = vec![0f32; ROWS * k];
        Panels::new(isa, &vectors, dim, Score::HalfDistance).scores(&rows, &mut scores);
        digest.take(scores.iter().map(|score| score.to_bits()));
        let (mut nearest, mut distances) = ([0; ROWS], [0f32; ROWS]);
        let packed = Nearest::new(isa, vectors.clone(), dim, Score::HalfDistance);
        packed.assign(&rows, dim, &mut nearest, Some(&mut distances));
        digest.take(nearest);
        digest.take(distances.map(f32::to_bits));
        squared_distances(isa, &rows[..dim], &vectors, &mut scores[..k]);
        digest.take(scores[..k].iter().map(|score| score.to_bits()));
    }
    digest.0
}

fn of_products(isa: Isa) -> u64 {
    let mut digest = Digest::new();
    for (dim, k, vectors, rows) in cases() {
        let mut scores = vec![0f32; k];
        negated_products(isa, &rows[..dim], &vectors, &mut scores);
        digest.take(scores.iter().map(|score| score.to_bits()));
    }
    digest.0
}

#[test]
fn fused_sets_agree_to_the_last_bit_across_processors() {
    for isa in Isa::available().into_iter().filter(|isa| *isa != Isa::PORTABLE) {
        assert_eq!(of_distances(isa), DISTANCES, "{isa}");
        if ["avx2", "neon", "neondot"].contains(&isa.to_string().as_str()) {
            assert_eq!(of_products(isa), PRODUCTS_OF_EIGHT, "{isa}");
        }
    }
}
