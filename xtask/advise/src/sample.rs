//! Nested samples of the vectors, one for each round, and the queries that are kept for the end.

use datasets::{Dataset, MetricSpace, truth};
use methods::Backend;
use ndarray::{Array2, Axis, s};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// About how much larger a sample is than the one before.
pub const GROWTH: usize = 4;

/// Training rows, and base rows, of the first sample: about four training rows for each codeword of a codebook of 256. With
/// fewer, methods with many codebooks overfit, and lose against others that they beat with all rows.
const FIRST_ROWS: usize = 1000;

/// Rows of the first sample for each neighbour, at least: among fewer, any code finds most of them. The constants of forecasts were
/// measured with as many.
const ROWS_PER_NEIGHBOUR: usize = 100;

/// As many queries take part in every round, if there are as many. A query costs far less than training.
const QUERIES: usize = 500;

/// The vectors of one round.
pub struct Stage {
    /// The share of all training rows and of all base rows.
    pub share: f64,
    /// Rows to train on.
    pub train: Array2<f32>,
    /// Rows to encode and to search in.
    pub base: Array2<f32>,
    /// Queries of the race.
    pub queries: Array2<f32>,
    /// The exact neighbours of each.
    pub truth: Vec<Vec<u32>>,
    /// Their neighbours among the training rows; of a sample alone.
    pub truth_in_training: Option<Vec<Vec<u32>>>,
    /// Queries that no round of the race uses, with their neighbours; in the last stage alone.
    pub held_out: Option<(Array2<f32>, Vec<Vec<u32>>)>,
}

/// The samples of all rounds. Rows of a smaller one are in every larger one.
pub struct Samples {
    /// One for each round, the smallest first; the last has all rows.
    pub stages: Vec<Stage>,
    /// How vectors are compared.
    pub metric: MetricSpace,
    /// Neighbours of each query.
    pub k: usize,
}

impl Samples {
    /// Draws samples with `seed`, of at most `rows` training and base rows each. Half of the queries, at random, are held
    /// out. The neighbours of queries are computed on the current thread pool.
    pub fn draw(data: &Dataset, k: usize, rows: usize, seed: u64, backend: &dyn Backend) -> Samples {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut order = |n: usize| {
            let mut order: Vec<usize> = (0..n).collect();
            order.shuffle(&mut rng);
            order
        };
        let (train, base) = (order(data.train.nrows()), order(data.base.nrows()));
        let queries = order(data.queries.nrows());
        let (in_race, kept) = queries.split_at(queries.len() / 2);
        let (train, base) = (&train[..rows.min(train.len())], &base[..rows.min(base.len())]);
        let take = |rows: &Array2<f32>, which: &[usize]| rows.select(Axis(0), which).as_standard_layout().into_owned();
        let (train, base) = (take(&data.train, train), take(&data.base, base));
        let (in_race, kept) = (take(&data.queries, in_race), take(&data.queries, kept));
        let neighbours = |base: &Array2<f32>, queries: &Array2<f32>| {
            let found = truth::exact_neighbors(base.view(), queries.view(), data.metric, k, backend.isa());
            found.into_iter().map(|row| row.into_iter().map(|n| n.id).collect()).collect::<Vec<Vec<u32>>>()
        };
        let first = |rows: &Array2<f32>, count: usize| rows.slice(s![..count, ..]).to_owned();
        let stage = |share: f64| {
            let part = |n: usize| ((n as f64 * share).round() as usize).clamp(1, n);
            let count = (in_race.nrows() as f64 * share.sqrt()) as usize;
            let queries = first(&in_race, count.max(QUERIES).min(in_race.nrows()));
            let train = first(&train, part(train.nrows()).max(k.min(train.nrows())));
            let base = first(&base, part(base.nrows()).max(k.min(base.nrows())));
            Stage {
                share,
                truth_in_training: (share < 1.0).then(|| neighbours(&train, &queries)),
                train,
                truth: neighbours(&base, &queries),
                held_out: (share == 1.0).then(|| (kept.clone(), neighbours(&base, &kept))),
                base,
                queries,
            }
        };
        let shares = shares(train.nrows().min(base.nrows()), FIRST_ROWS.max(ROWS_PER_NEIGHBOUR.saturating_mul(k)));
        Samples { stages: shares.into_iter().map(stage).collect(), metric: data.metric, k }
    }
}

/// The shares of samples of `rows` rows: from `first` rows to all of them in equal steps of about [`GROWTH`].
fn shares(rows: usize, first: usize) -> Vec<f64> {
    let whole = rows as f64 / first as f64;
    let steps = (whole.ln() / (GROWTH as f64).ln()).round().max(0.0);
    (0..=steps as usize).map(|step| if steps == 0.0 { 1.0 } else { whole.powf(step as f64 / steps - 1.0) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use methods::backend::CpuBackend;
    use std::collections::HashSet;
    use std::path::Path;

    fn data(n: usize, queries: usize) -> Dataset {
        let source = serde_json::json!({ "synthetic": "gaussian", "dim": 4, "n": n, "train": n, "queries": queries });
        let source = datasets::Source::parse(&source).expect("a source");
        source.resolve(Path::new("."), &datasets::SearchPath::default()).expect("resolves").load().expect("loads")
    }

    fn rows(rows: &Array2<f32>) -> HashSet<Vec<u32>> {
        rows.outer_iter().map(|row| row.iter().map(|v| v.to_bits()).collect()).collect()
    }

    #[test]
    fn samples_are_nested_and_held_out_queries_are_in_none() {
        let samples = Samples::draw(&data(9000, 300), 3, usize::MAX, 1, &CpuBackend::detect());
        let sizes: Vec<usize> = samples.stages.iter().map(|stage| stage.base.nrows()).collect();
        assert_eq!(sizes, [1000, 3000, 9000]);
        assert_eq!(samples.stages.iter().map(|s| s.train.nrows()).collect::<Vec<_>>(), sizes);
        assert_eq!(samples.stages.iter().map(|s| s.queries.nrows()).collect::<Vec<_>>(), [150, 150, 150]);
        for pair in samples.stages.windows(2) {
            assert!(rows(&pair[0].base).is_subset(&rows(&pair[1].base)));
            assert!(rows(&pair[0].train).is_subset(&rows(&pair[1].train)));
            assert!(rows(&pair[0].queries).is_subset(&rows(&pair[1].queries)));
            assert!(pair[0].held_out.is_none());
        }
        let last = samples.stages.last().expect("a stage");
        let (kept, truth) = last.held_out.as_ref().expect("held out");
        assert_eq!((kept.nrows(), truth.len(), truth[0].len()), (150, 150, 3));
        assert!(rows(kept).is_disjoint(&rows(&last.queries)));
    }

    #[test]
    fn few_rows_make_a_single_round_and_a_limit_counts() {
        assert_eq!(Samples::draw(&data(990, 60), 3, usize::MAX, 1, &CpuBackend::detect()).stages.len(), 1);
        let samples = Samples::draw(&data(9000, 60), 3, 2000, 1, &CpuBackend::detect());
        assert_eq!(samples.stages.iter().map(|s| s.base.nrows()).collect::<Vec<_>>(), [1000, 2000]);
        let steps = |rows| {
            shares(rows, FIRST_ROWS).iter().map(|share| (share * rows as f64).round() as usize).collect::<Vec<_>>()
        };
        assert_eq!((steps(1), steps(1000), steps(1999)), (vec![1], vec![1000], vec![1999]));
        let samples = Samples::draw(&data(9000, 60), 30, usize::MAX, 1, &CpuBackend::detect());
        assert_eq!(
            samples.stages.iter().map(|s| s.base.nrows()).collect::<Vec<_>>(),
            [3000, 9000],
            "100 for each neighbour"
        );
        assert_eq!((steps(4000), steps(30_000)), (vec![1000, 4000], vec![1000, 5477, 30_000]));
        assert_eq!(steps(64_000), [1000, 4000, 16_000, 64_000]);
    }
}
