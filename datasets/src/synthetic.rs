//! Random sources with known statistics, for which theory gives the limits of a quantizer.

mod embedding;

use crate::base_rows::{BaseRows, RowSource, RowStream};
use crate::opened::Opened;
use crate::{DatasetError, Labels, MetricSpace, Summary};
use ndarray::Array2;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::sync::Arc;

/// Vectors drawn at random from a distribution with known statistics. Training, base and query rows are drawn
/// independently of each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SyntheticSource {
    /// The distribution that rows are drawn from. Components have unit variance, except those of `sphere` and
    /// `embedding`, whose rows have unit length.
    pub synthetic: SyntheticKind,
    /// Components per vector.
    #[schemars(range(min = 1))]
    pub dim: usize,
    /// Number of base rows, which are encoded and searched.
    #[schemars(range(min = 1))]
    pub n: usize,
    /// Number of training rows, at least 1. Default: the number of base rows (`n`).
    #[serde(default)]
    pub train: Option<usize>,
    /// Number of query rows.
    #[serde(default = "default_queries")]
    #[schemars(range(min = 1))]
    pub queries: usize,
    /// Seed of the random draws. Change it to draw other rows from the same distribution.
    #[serde(default)]
    pub seed: u64,
    /// Correlation of neighbouring components, between -1 and 1. Only for `ar1`. Default: 0.9.
    #[serde(default)]
    #[schemars(range(min = -0.999999, max = 0.999999))]
    pub rho: Option<f64>,
    /// Number of clusters. Only for `mixture`. Default: 16.
    #[serde(default)]
    #[schemars(range(min = 1, max = 65536))]
    pub components: Option<usize>,
    /// Name of the dataset in tables and figures. Default: made from the parameters, such as `gaussian-16`.
    #[serde(default)]
    pub name: Option<String>,
}

fn default_queries() -> usize {
    1000
}

/// The distribution that rows are drawn from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SyntheticKind {
    /// Independent standard normal components.
    Gaussian,
    /// Independent Laplacian components.
    Laplacian,
    /// Independent components, evenly distributed between −√3 and √3.
    Uniform,
    /// Components that depend on the one before: `dim` consecutive samples of a stationary first-order autoregressive
    /// process with correlation `rho`.
    Ar1,
    /// Vectors of unit length in random directions, uniformly distributed on the sphere.
    Sphere,
    /// Equally likely Gaussian clusters; 90% of the variance lies between the cluster centres. The clusters serve as
    /// classes for the measurement `knn`.
    Mixture,
    /// Vectors of unit length that resemble embeddings of text: the variance along the j-th principal axis is
    /// proportional to 1/j, no axis lies along a component, and 30% of a row's power is the mean's.
    Embedding,
}

/// Share of a mixture's variance that lies between the cluster centres.
const BETWEEN: f64 = 0.9;

/// Streams of the seed; each row has its own position in the stream, so that rows can be drawn in any order.
const PARTS: [(&str, u64); 3] = [("train", 1), ("base", 2), ("queries", 3)];
const SHARED: u64 = 4;

impl SyntheticSource {
    /// Name in tables, e.g. `gaussian-16` or `ar1-8-rho0.9`.
    pub fn name(&self) -> String {
        if let Some(name) = &self.name {
            return name.clone();
        }
        let kind = format!("{:?}", self.synthetic).to_lowercase();
        match self.synthetic {
            SyntheticKind::Ar1 => format!("{kind}-{}-rho{}", self.dim, self.rho()),
            SyntheticKind::Mixture => format!("{kind}{}-{}", self.components(), self.dim),
            _ => format!("{kind}-{}", self.dim),
        }
    }

    fn rho(&self) -> f64 {
        self.rho.unwrap_or(0.9)
    }

    fn components(&self) -> usize {
        self.components.unwrap_or(16)
    }

    fn counts(&self) -> [usize; 3] {
        [self.train.unwrap_or(self.n), self.n, self.queries]
    }

    /// Describes the dataset that it will give.
    ///
    /// # Errors
    /// A parameter that is out of range or does not belong to the distribution.
    pub fn summary(&self) -> Result<Summary, DatasetError> {
        let wrong = |reason: String| Err(DatasetError::Shape { name: self.name(), reason });
        let [train, base, queries] = self.counts();
        if self.dim == 0 || train == 0 || base == 0 || queries == 0 {
            return wrong("dim, n, train and queries must be at least 1".into());
        }
        if [train, base, queries].into_iter().any(|n| n.checked_mul(self.dim).is_none_or(|v| v > 1 << 40)) {
            return wrong(format!("{base} rows of {} components are more than this program can address", self.dim));
        }
        if self.rho.is_some() && self.synthetic != SyntheticKind::Ar1 {
            return wrong("`rho` belongs to `synthetic: ar1` only".into());
        }
        if self.components.is_some() && self.synthetic != SyntheticKind::Mixture {
            return wrong("`components` belongs to `synthetic: mixture` only".into());
        }
        if self.rho().abs() >= 1.0 {
            return wrong(format!("`rho: {}` must lie between -1 and 1, both excluded", self.rho()));
        }
        if !(1..=65536).contains(&self.components()) {
            return wrong(format!("`components: {}` must lie between 1 and 65536", self.components()));
        }
        Ok(Summary {
            name: self.name(),
            dim: self.dim,
            train,
            base,
            queries,
            metric: MetricSpace::L2,
            labelled: self.synthetic == SyntheticKind::Mixture,
            judged: false,
            signal: None,
            // The name is not part of the content.
            fingerprint: format!("synthetic-1 {:?}", SyntheticSource { name: None, ..self.clone() }),
        })
    }

    /// Draws training and query rows, and the base rows if they are to be held.
    ///
    /// # Errors
    /// As [`SyntheticSource::summary`].
    pub(crate) fn open(&self, hold: bool) -> Result<Opened, DatasetError> {
        let summary = self.summary()?;
        let [train, base, queries] = self.counts();
        let all = |part: usize, n: usize| {
            let mut rows = Vec::new();
            self.draw(&self.shared(), PARTS[part].1, 0..n, &mut rows);
            Array2::from_shape_vec((n, self.dim), rows).unwrap_or_else(|_| unreachable!("n rows of dim values"))
        };
        let labels = (self.synthetic == SyntheticKind::Mixture)
            .then(|| Labels { base: self.clusters(PARTS[1].1, base), queries: self.clusters(PARTS[2].1, queries) });
        let base = match hold {
            true => BaseRows::from(all(1, base)),
            false => BaseRows::there((base, self.dim), Arc::new(Drawn { source: self.clone(), shared: self.shared() })),
        };
        let (train, queries) = (all(0, train), all(2, queries));
        Ok(Opened {
            name: summary.name,
            metric: summary.metric,
            train,
            base,
            queries,
            labels,
            judgments: None,
            signal: None,
        })
    }

    fn rng(&self, stream: u64) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(stream);
        rng
    }

    /// What all rows share: the centres of a mixture's clusters, one after the other, or the parameters of `embedding`.
    fn shared(&self) -> Vec<f32> {
        let mut rng = self.rng(SHARED);
        match self.synthetic {
            SyntheticKind::Mixture => {
                (0..self.components() * self.dim).map(|_| normal(&mut rng) as f32 * BETWEEN.sqrt() as f32).collect()
            }
            SyntheticKind::Embedding => embedding::parameters(self.dim, &mut rng),
            _ => Vec::new(),
        }
    }

    /// The generator of a row. One per row makes rows independent of their order.
    fn row_rng(&self, stream: u64, row: usize) -> ChaCha8Rng {
        self.rng((stream << 48) | row as u64)
    }

    /// Replaces the content of `rows` by the rows of a range.
    fn draw(&self, shared: &[f32], stream: u64, range: Range<usize>, rows: &mut Vec<f32>) {
        rows.clear();
        rows.resize(range.len() * self.dim, 0.0);
        rows.par_chunks_mut(self.dim).zip(range).for_each(|(row, i)| {
            self.draw_row(row, shared, &mut self.row_rng(stream, i));
        });
    }

    /// The clusters of the first `n` rows.
    fn clusters(&self, stream: u64, n: usize) -> Vec<u32> {
        (0..n).into_par_iter().map(|i| self.cluster(&mut self.row_rng(stream, i))).collect()
    }

    fn cluster(&self, rng: &mut ChaCha8Rng) -> u32 {
        rng.random_range(0..self.components()) as u32
    }

    fn draw_row(&self, row: &mut [f32], shared: &[f32], rng: &mut ChaCha8Rng) {
        match self.synthetic {
            SyntheticKind::Gaussian => row.iter_mut().for_each(|x| *x = normal(rng) as f32),
            SyntheticKind::Uniform => {
                row.iter_mut().for_each(|x| *x = (12f64.sqrt() * (rng.random::<f64>() - 0.5)) as f32)
            }
            SyntheticKind::Laplacian => row.iter_mut().for_each(|x| *x = laplacian(rng) as f32),
            SyntheticKind::Ar1 => {
                let (rho, innovation) = (self.rho(), (1.0 - self.rho().powi(2)).sqrt());
                let mut state = normal(rng);
                for x in row {
                    *x = state as f32;
                    state = rho * state + innovation * normal(rng);
                }
            }
            SyntheticKind::Sphere => {
                let draws: Vec<f64> = row.iter().map(|_| normal(rng)).collect();
                let norm = draws.iter().map(|v| v * v).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
                row.iter_mut().zip(draws).for_each(|(x, v)| *x = (v / norm) as f32);
            }
            SyntheticKind::Mixture => {
                let centre = &shared[self.cluster(rng) as usize * self.dim..][..self.dim];
                row.iter_mut().zip(centre).for_each(|(x, c)| *x = c + (normal(rng) * (1.0 - BETWEEN).sqrt()) as f32);
            }
            SyntheticKind::Embedding => embedding::draw(row, shared, rng),
        }
    }
}

/// Base rows that are drawn when they are needed.
struct Drawn {
    source: SyntheticSource,
    shared: Vec<f32>,
}

struct DrawnStream<'a>(&'a Drawn, usize);

impl RowSource for Drawn {
    fn open(&self) -> Result<Box<dyn RowStream + '_>, DatasetError> {
        Ok(Box::new(DrawnStream(self, 0)))
    }

    fn reads_ahead(&self) -> bool {
        false
    }

    fn row(&self, number: usize, row: &mut Vec<f32>) -> bool {
        row.resize(self.source.dim, 0.0);
        self.source.draw_row(row, &self.shared, &mut self.source.row_rng(PARTS[1].1, number));
        true
    }
}

impl RowStream for DrawnStream<'_> {
    fn next(&mut self, count: usize, rows: &mut Vec<f32>) -> Result<(), DatasetError> {
        let DrawnStream(drawn, first) = self;
        drawn.source.draw(&drawn.shared, PARTS[1].1, *first..*first + count, rows);
        *first += count;
        Ok(())
    }
}

fn normal(rng: &mut ChaCha8Rng) -> f64 {
    StandardNormal.sample(rng)
}

/// Unit variance, by inversion: `−sgn(u)·ln(1−2|u|)/√2` for uniform `u` in `(−½, ½)`.
fn laplacian(rng: &mut ChaCha8Rng) -> f64 {
    let u = rng.random::<f64>() - 0.5;
    -u.signum() * (1.0 - 2.0 * u.abs()).max(f64::MIN_POSITIVE).ln() / std::f64::consts::SQRT_2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(kind: SyntheticKind, dim: usize, n: usize) -> SyntheticSource {
        SyntheticSource {
            synthetic: kind,
            dim,
            n,
            train: Some(10),
            queries: 10,
            seed: 5,
            rho: None,
            components: None,
            name: None,
        }
    }

    impl SyntheticSource {
        fn load(&self) -> Result<crate::Dataset, DatasetError> {
            self.open(true).and_then(crate::opened::into_dataset)
        }
    }

    fn moments(rows: &Array2<f32>) -> (f64, f64, f64) {
        let n = rows.len() as f64;
        let mean = rows.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
        let moment = |p: i32| rows.iter().map(|&x| (f64::from(x) - mean).powi(p)).sum::<f64>() / n;
        (mean, moment(2), moment(4) / moment(2).powi(2))
    }

    #[test]
    fn each_source_has_its_known_moments() {
        for (kind, kurtosis) in [
            (SyntheticKind::Gaussian, 3.0),
            (SyntheticKind::Laplacian, 6.0),
            (SyntheticKind::Uniform, 1.8),
            (SyntheticKind::Ar1, 3.0),
        ] {
            let (mean, variance, found) = moments(&source(kind, 8, 50_000).load().expect("draws").base);
            assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.02, "{kind:?}: {mean} {variance}");
            assert!((found - kurtosis).abs() < 0.05 * kurtosis, "{kind:?}: kurtosis {found}");
        }
    }

    #[test]
    fn neighbouring_samples_of_ar1_correlate_by_rho() {
        let mut ar1 = source(SyntheticKind::Ar1, 6, 50_000);
        ar1.rho = Some(0.7);
        let base = ar1.load().expect("draws").base;
        for (lag, expected) in [(1, 0.7), (2, 0.49), (5, 0.7f64.powi(5))] {
            let found = base.outer_iter().map(|r| f64::from(r[0] * r[lag])).sum::<f64>() / 50_000.0;
            assert!((found - expected).abs() < 0.02, "lag {lag}: {found}");
        }
    }

    #[test]
    fn sphere_rows_have_unit_length_and_clusters_are_labelled() {
        let sphere = source(SyntheticKind::Sphere, 5, 100).load().expect("draws");
        assert!(sphere.base.outer_iter().all(|r| (r.dot(&r) - 1.0).abs() < 1e-5));
        let mixture = source(SyntheticKind::Mixture, 5, 1000).load().expect("draws");
        let labels = mixture.labels.expect("clusters");
        assert!(labels.base.iter().all(|&l| l < 16) && labels.base.contains(&15));
    }

    #[test]
    fn parts_are_different_and_seeds_decide() {
        let a = source(SyntheticKind::Gaussian, 3, 10).load().expect("draws");
        let b = source(SyntheticKind::Gaussian, 3, 10).load().expect("draws");
        assert_eq!(a.base, b.base);
        assert_ne!(a.base, a.train);
        assert_ne!(a.base, a.queries);
        let mut other = source(SyntheticKind::Gaussian, 3, 10);
        other.seed = 6;
        assert_ne!(other.load().expect("draws").base, a.base);
    }

    #[test]
    fn rows_that_are_not_held_are_those_that_are() {
        for kind in [SyntheticKind::Gaussian, SyntheticKind::Mixture, SyntheticKind::Embedding] {
            let source = source(kind, 3, 5000);
            let (held, drawn) = (source.open(true).expect("draws"), source.open(false).expect("draws"));
            assert!(drawn.base.held().is_none());
            assert_eq!(Some(drawn.base.range(0..5000).expect("draws").view()), held.base.held());
            assert_eq!((drawn.train, drawn.queries, drawn.labels), (held.train, held.queries, held.labels));
        }
    }

    #[test]
    fn parameters_of_another_kind_are_refused() {
        let mut gaussian = source(SyntheticKind::Gaussian, 3, 10);
        gaussian.rho = Some(0.5);
        assert!(gaussian.summary().expect_err("no rho").to_string().contains("ar1"));
        assert!(source(SyntheticKind::Gaussian, 0, 10).summary().is_err());
        assert!(source(SyntheticKind::Gaussian, usize::MAX, 10).summary().is_err());
    }
}
