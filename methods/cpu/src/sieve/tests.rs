//! Scores by bytes against f64, with the bounds on their errors, for every instruction set that has products of bytes.

use super::*;
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Scores every row with every vector.
struct Everything<'a> {
    vectors: &'a [f32],
    rows: &'a [f32],
    dim: usize,
    score: Score,
}

/// What is found: row, vector, score and margin; and for each row what may be nearest.
#[derive(Default)]
struct Found {
    scores: Vec<(usize, u32, f32, f32)>,
    near: Vec<Vec<u32>>,
}

impl FoundBelow for Found {
    fn below(&mut self, row: usize, id: u32, score: f32, margin: f32) -> f32 {
        self.scores.push((row, id, score, margin));
        f32::INFINITY
    }
}

impl FoundNear for Found {
    fn near<L: Lanes>(&mut self, row: usize, ids: &[u32]) {
        assert_eq!(self.near.len(), row);
        self.near.push(ids.to_vec());
    }
}

impl SieveWork for Everything<'_> {
    type Out = Found;

    #[inline(always)]
    fn run<L: ByteTile<ROWS>, const ROWS: usize>(self) -> Found {
        let Everything { vectors, rows, dim, score } = self;
        let sieve = Sieve::new::<L, ROWS>(vectors, dim, score);
        let (n, mut bytes, mut found) = (rows.len() / dim, ByteRows::default(), Found::default());
        sieve.round_rows::<L, ROWS>(n, StridedRows { rows, stride: dim, dim }, &mut bytes);
        sieve.below_limit::<L, ROWS>(&bytes, &mut vec![f32::INFINITY; n], &mut found);
        sieve.near_best::<L, ROWS>(&bytes, &mut Vec::new(), &mut found);
        found
    }
}

/// Values of some kind: usual, far from zero, one large component, many ties, all zero, tiny, too small to divide by, huge.
fn values(rng: &mut ChaCha8Rng, n: usize, dim: usize, kind: u8) -> Vec<f32> {
    let mut draw = |i: usize| {
        let v = rng.random::<f32>() * 2.0 - 1.0;
        match kind {
            1 => v + 1e4,
            2 if i.is_multiple_of(dim) => v * 1e3,
            3 => v.round(),
            4 => 0.0,
            5 => v * 1e-12,
            6 => v * 1e-33,
            7 => v * 1e12,
            _ => v,
        }
    };
    (0..n * dim).map(&mut draw).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn scores_are_off_by_no_more_than_their_margin(
        n in 1usize..30, k in 1usize..90, dim in 1usize..140, of_rows in 0u8..8, of_vectors in 0u8..8, dot in any::<bool>(),
        seed in any::<u64>()
    ) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let rows = values(&mut rng, n, dim, of_rows);
        let vectors = values(&mut rng, k, dim, of_vectors);
        let score = if dot { Score::NegatedDot } else { Score::HalfDistance };
        let exact = |i: usize, c: usize| -> f64 {
            let pairs = rows[i * dim..][..dim].iter().zip(&vectors[c * dim..][..dim]).map(|(x, c)| (f64::from(*x), f64::from(*c)));
            if dot { pairs.map(|(x, c)| -x * c).sum() } else { pairs.map(|(x, c)| 0.5 * (x - c).powi(2)).sum() }
        };
        let tiles = [with_byte_tiles::<Everything<'_>>, with_byte_tiles_of_one];
        for (isa, tiles) in Isa::available().into_iter().flat_map(|isa| tiles.map(|tiles| (isa, tiles))) {
            let work = Everything { vectors: &vectors, rows: &rows, dim, score };
            let Some(mut found) = tiles(isa, work) else { continue };
            for (i, c, score, margin) in &found.scores {
                let off = (f64::from(*score) - exact(*i, *c as usize)).abs();
                prop_assert!(off <= f64::from(*margin), "{isa}: row {i}, vector {c}: {off:e} > {margin:e}");
            }
            // Each pair once.
            found.scores.sort_by_key(|(i, c, ..)| (*i, *c));
            let pairs = found.scores.iter().map(|(i, c, ..)| (*i, *c as usize));
            prop_assert!(pairs.eq((0..n).flat_map(|i| (0..k).map(move |c| (i, c)))), "{isa}");
            // The nearest is among the near.
            for (i, near) in found.near[..n].iter().enumerate() {
                let best = (0..k).map(|c| exact(i, c)).fold(f64::INFINITY, f64::min);
                prop_assert!(near.iter().any(|c| exact(i, *c as usize) == best), "{isa}: row {i}");
                prop_assert!(near.is_sorted(), "{isa}");
            }
        }
    }
}
