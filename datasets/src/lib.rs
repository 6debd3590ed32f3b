//! Vectors in: file formats, a catalog of named sets, synthetic sources, and the exact neighbours to compare with.
//!
//! A [`Source`] is what a user writes; [`Source::resolve`] looks at headers only and says what it would give, and
//! [`Resolved::load`] reads it into a [`Dataset`]: disjoint train, base and query rows, all finite. [`format`](mod@format) reads and writes single
//! files:
//!
//! ```
//! use datasets::format::{self, Blocks, OutputType};
//! use std::fs::File;
//! use std::io::Write;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("vectors.fvecs");
//! let rows = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]; // three rows of two components
//! let layout = format::layout(&path, OutputType::F32, (3, 2))?;
//! let mut file = File::create(&path)?;
//! file.write_all(&layout.head)?;
//! layout.write_vectors(0, &rows, 2, &mut file)?;
//! file.write_all(&layout.tail)?;
//!
//! assert_eq!(format::read(&path)?[(2, 0)], 5.0);
//!
//! // What does not fit into memory is read in blocks.
//! let (mut blocks, mut block) = (Blocks::open(&path)?, Vec::new());
//! assert_eq!((blocks.next(2, &mut block)?, &block[..]), (2, &rows[..4]));
//! assert_eq!((blocks.next(2, &mut block)?, &block[..]), (1, &rows[4..]));
//! # Ok(())
//! # }
//! ```

pub mod archive;
mod base_rows;
pub mod catalog;
mod content;
mod drops;
mod error;
mod file_truth;
pub mod format;
pub mod gaussian_bound;
mod images;
pub mod judgments;
pub mod mel;
mod opened;
pub mod outliers;
mod permutation;
pub mod profile;
pub mod regular;
mod row_set;
mod seen;
pub mod signal;
mod sounds;
mod source;
pub mod split;
pub mod synthetic;
pub mod truth;
mod wholes;

pub use base_rows::{BLOCK_ROWS, BaseRows};
pub use catalog::SearchPath;
pub use drops::{DroppedRows, RowKind};
pub use error::DatasetError;
pub use file_truth::{FileTruth, TruthCheck, Unused};
pub use images::{ImageSource, ImageSplit};
pub use judgments::Judgments;
pub use opened::{BaseCheck, Opened};
pub use row_set::{Marks, RowSet};
pub use seen::{Seen, SeenArray, SeenFile};
pub use signal::{Picture, Signal};
pub use sounds::{SoundSource, SoundSplit};
pub use source::{FileSource, PATH_KEYS, Resolved, SOURCE_KEYS, Source};
pub use split::Split;
pub use synthetic::SyntheticSource;
pub use wholes::Wholes;

use ndarray::Array2;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How vectors are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MetricSpace {
    /// Squared Euclidean distance.
    #[default]
    #[schemars(extend("x-also-called" = MetricSpace::L2.other_names()))]
    L2,
    /// Cosine similarity: rows are scaled to unit length when they are loaded, and then compared by squared distance.
    #[schemars(extend("x-also-called" = MetricSpace::Cosine.other_names()))]
    Cosine,
    /// Inner product; a larger product is nearer.
    #[schemars(extend("x-also-called" = MetricSpace::Ip.other_names()))]
    Ip,
}

impl MetricSpace {
    /// What ann-benchmarks, VIBE, FAISS, Lucene, Milvus and others call it.
    pub fn other_names(self) -> &'static [&'static str] {
        match self {
            MetricSpace::L2 => &[
                "euclidean",
                "euclid",
                "squared_euclidean",
                "sqeuclidean",
                "l2_squared",
                "squared_l2",
                "metric_l2",
                "l2_distance",
            ],
            MetricSpace::Cosine => &[
                "angular",
                "normalized",
                "cos",
                "cosine_similarity",
                "cosine_distance",
                "cosinesimil",
                "metric_cosine",
            ],
            MetricSpace::Ip => &[
                "dot",
                "dot_product",
                "inner",
                "inner_product",
                "metric_inner_product",
                "max_inner_product",
                "maximum_inner_product",
                "mips",
            ],
        }
    }

    /// The metric of a name, ours or that of another program.
    pub fn of_name(name: &str) -> Option<MetricSpace> {
        let name = name.to_lowercase();
        let known = |metric: &MetricSpace| metric.to_string() == name || metric.other_names().contains(&name.as_str());
        [MetricSpace::L2, MetricSpace::Cosine, MetricSpace::Ip].into_iter().find(known)
    }
}

impl fmt::Display for MetricSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MetricSpace::L2 => "l2",
            MetricSpace::Cosine => "cosine",
            MetricSpace::Ip => "ip",
        })
    }
}

/// Loaded vectors: disjoint parts, all finite, scaled to unit length with the metric cosine.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// Name in tables and figures.
    pub name: String,
    /// How rows are compared.
    pub metric: MetricSpace,
    /// Rows to fit on, `n×dim`.
    pub train: Array2<f32>,
    /// Rows to encode, measure distortion on, and search in.
    pub base: Array2<f32>,
    /// Rows to search for.
    pub queries: Array2<f32>,
    /// Classes of base and query rows, where known.
    pub labels: Option<Labels>,
    /// Which base rows are relevant to which queries, where known.
    pub judgments: Option<Judgments>,
    /// What the base rows are pieces of, where that is known.
    pub signal: Option<Signal>,
}

/// The parts of a dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Rows to fit on.
    Train,
    /// Rows to encode and to search in.
    Base,
    /// Rows to search for.
    Queries,
}

impl Part {
    /// The word before "row": `training`, `base`, `query`.
    pub fn adjective(self) -> &'static str {
        match self {
            Part::Train => "training",
            Part::Base => "base",
            Part::Queries => "query",
        }
    }
}

/// Zero rows.
#[derive(Clone, Copy, Debug, Default)]
struct ZeroRows {
    first: Option<(Part, usize)>,
    count: usize,
}

impl ZeroRows {
    fn add(&mut self, part: Part, row: usize) {
        self.first.get_or_insert((part, row));
        self.count += 1;
    }
}

/// Classes of the rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels {
    /// One per base row.
    pub base: Vec<u32>,
    /// One per query row.
    pub queries: Vec<u32>,
}

/// Description of a dataset, available without reading its values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Name in tables and figures.
    pub name: String,
    /// Components per vector.
    pub dim: usize,
    /// Training rows.
    pub train: usize,
    /// Base rows.
    pub base: usize,
    /// Query rows.
    pub queries: usize,
    /// How rows are compared.
    pub metric: MetricSpace,
    /// Whether classes are known.
    pub labelled: bool,
    /// Whether judgments of relevance are known.
    pub judged: bool,
    /// What the base rows are pieces of, where that is known.
    pub signal: Option<Signal>,
    /// Changes whenever the vectors change: digests of their decoded values, or the parameters of the generator. The
    /// same vectors in another file format have the same one.
    pub fingerprint: String,
}

impl Dataset {
    /// Components per vector.
    pub fn dim(&self) -> usize {
        self.base.ncols()
    }
}
