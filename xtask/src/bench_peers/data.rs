//! The vectors of `bench-peers`: uniform random ones, and those of the catalog.

use crate::errors::Mistakes;
use datasets::{DatasetError, MetricSpace, SearchPath, Source, catalog, format};
use methods::row_major;
use ndarray::{Array2, ArrayView2, s};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::io::Write;
use std::path::Path;

/// Name of the random vectors for `--data`.
const SYNTHETIC: &str = "synthetic";

/// Vectors that are measured by default.
const DEFAULT: [&str; 3] = [SYNTHETIC, "wordnet-minilm-384", "siftsmall"];

/// Seed of the random vectors.
const SEED: u64 = 0;

/// Vectors compared by squared distance.
pub struct Data {
    /// Name in tables.
    pub name: String,
    /// Their fingerprint.
    pub fingerprint: String,
    /// The metric of the dataset, by name.
    pub metric_space: String,
    /// Rows to train on.
    pub train: Array2<f32>,
    /// Rows to encode and to search in.
    pub base: Array2<f32>,
    /// Rows to search for.
    pub queries: Array2<f32>,
}

impl Data {
    /// Components per vector.
    pub fn dim(&self) -> usize {
        self.base.ncols()
    }

    /// The first `rows` rows trained on.
    pub fn train_rows(&self, rows: usize) -> ArrayView2<'_, f32> {
        self.train.slice(s![..rows.min(self.train.nrows()), ..])
    }

    /// The first `rows` rows worked on.
    pub fn base_rows(&self, rows: usize) -> ArrayView2<'_, f32> {
        self.base.slice(s![..rows.min(self.base.nrows()), ..])
    }

    /// Writes the three parts into a folder, for the peer.
    ///
    /// # Errors
    /// The system's refusal.
    pub fn write(&self, folder: &Path) -> Result<(), Mistakes> {
        for (part, rows) in [("train", &self.train), ("base", &self.base), ("queries", &self.queries)] {
            let path = folder.join(part).with_extension("npy");
            let layout = format::layout(&path, format::OutputType::F32, rows.dim())?;
            let write = || {
                let mut file = std::io::BufWriter::new(std::fs::File::create(&path)?);
                file.write_all(&layout.head)?;
                layout.write_vectors(0, &row_major(rows), rows.ncols(), &mut file)?;
                file.flush()
            };
            write().map_err(|error: std::io::Error| {
                let help = "choose another folder with `--out`, or make room in this one";
                Mistakes::new(format!("cannot write {}: {error}", path.display()), help)
            })?;
        }
        Ok(())
    }
}

/// The names of the vectors to measure: the requested ones, or the default. Requested ones must exist.
///
/// # Errors
/// An unknown name, or files that are not there.
pub fn names(asked: &[String], quick: bool, search: &SearchPath) -> Result<Vec<String>, Mistakes> {
    if asked.is_empty() {
        let count = if quick { 1 } else { DEFAULT.len() };
        return Ok(DEFAULT[..count].iter().map(|name| (*name).to_owned()).collect());
    }
    for name in asked.iter().filter(|name| *name != SYNTHETIC) {
        let entry = catalog::find(name)?;
        if entry.metric == MetricSpace::Ip {
            let message = format!("`{name}` has the metric ip, but these rows search by distance");
            return Err(Mistakes::new(message, "use a dataset with the metric l2 or cosine"));
        }
        // Missing files are reported now, and not after minutes of other rows.
        Source::Named(name.clone()).resolve(Path::new("."), search)?;
    }
    Ok(asked.to_vec())
}

/// Loads the vectors of a name. Returns None, with a message, if files are missing that were not requested by name.
///
/// # Errors
/// Files that are missing or damaged.
pub fn load(name: &str, asked: bool, quick: bool, search: &SearchPath) -> Result<Option<Data>, Mistakes> {
    if name == SYNTHETIC {
        return Ok(Some(uniform(quick)));
    }
    let resolved = match Source::Named(name.to_owned()).resolve(Path::new("."), search) {
        Err(DatasetError::Absent { .. }) if !asked => {
            say_aside!(
                "{name}: skipped, its files are not on this machine (`cargo xtask datasets fetch {name}` brings them)"
            );
            return Ok(None);
        }
        resolved => resolved?,
    };
    let (fingerprint, metric_space) = (resolved.summary.fingerprint.clone(), resolved.summary.metric.to_string());
    let datasets::Dataset { train, base, queries, .. } = resolved.load()?;
    Ok(Some(Data { name: name.to_owned(), fingerprint, metric_space, train, base, queries }))
}

/// Uniform in the unit cube: the hardest case, without any structure.
fn uniform(quick: bool) -> Data {
    let (n, dim, queries) = if quick { (5000, 32, 50) } else { (100_000, 128, 1000) };
    let draw = |stream: u64, rows: usize| {
        let mut rng = ChaCha8Rng::seed_from_u64(SEED);
        rng.set_stream(stream);
        Array2::from_shape_simple_fn((rows, dim), || rng.random::<f32>())
    };
    Data {
        name: format!("uniform-{dim}"),
        fingerprint: format!("uniform {n} {dim} {queries} {SEED}"),
        metric_space: MetricSpace::L2.to_string(),
        train: draw(1, n),
        base: draw(2, n),
        queries: draw(3, queries),
    }
}
