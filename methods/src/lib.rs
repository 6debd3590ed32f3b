//! The contract of a quantization method, and the methods that keep it.
//!
//! A method is described by plain data ([`Method`]: its parameters), checked against a dimension before anything runs,
//! and fitted to training rows, which gives an immutable [`Quantizer`]. Encoding and decoding work on batches of rows,
//! so that dynamic dispatch costs once per batch and never per vector. [`Symbols`] shows what a code consists of,
//! [`Searcher`] searches codes. Methods do their heavy work through a [`Backend`], and so run wherever there is one.
//!
//! Methods stand in modules with those that they share code with: [`classical`], [`product`], [`additive`], [`rotated`],
//! [`learned`]. What several modules share is in [`algorithms`] and [`search`], which hold no methods. Adding a method is
//! one new file in such a module, its `mod` line there, and one line in [`registry::METHODS`]. Its entry says which
//! [`registry::Family`] it belongs to. Outside programs are methods too: [`external`].
//!
//! Fit, encode, search:
//!
//! ```
//! use methods::{Context, SearchMetric, parse_text};
//! use ndarray::Array2;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let rows = Array2::from_shape_fn((1000, 16), |(i, j)| (i as f32 * (0.1 + j as f32)).sin());
//! let method = parse_text("PQ8x4")?; // 8 sub-quantizers of 16 codewords
//! let quantizer = method.fit(rows.view(), &Context::cpu(1))?; // seed 1
//! let mut codes = vec![0; rows.nrows() * quantizer.code_size()]; // 4 bytes per row
//! quantizer.encode_into(rows.view(), &mut codes)?;
//! let mut searcher = quantizer.searcher(SearchMetric::L2).ok_or("no searcher over codes")?;
//! searcher.set_query(rows.row(7).as_slice().ok_or("not contiguous")?);
//! let nearest = searcher.top_k(&codes, quantizer.code_size(), 10)?;
//! assert!(nearest.len() == 10 && nearest[0].score <= nearest[9].score);
//! # Ok(())
//! # }
//! ```

pub mod additive;
pub mod algorithms;
pub mod backend;
pub mod classical;
pub mod contract;
pub mod external;
pub mod factory;
pub mod laws;
pub mod learned;
pub mod product;
pub mod registry;
pub mod rotated;
pub mod search;
pub mod steps;
pub mod transform;

pub use backend::{Backend, BackendError, CodeRoom, DeviceCodes, DeviceMatrix, MatrixRoom};
pub use contract::batch::{decode_rows, encode_rows, row_major};
pub use contract::context::{Cancel, Context, Drawer, Stream, Streams};
pub use contract::curve::{Course, Curve, CurvePoint, Seen};
pub use contract::error::MethodError;
pub use contract::model::{Model, ModelError};
pub use contract::state::{State, StateError};
pub use contract::training_rows::TrainingRows;
pub use cpu::Neighbor;
pub use registry::{METHODS, MethodEntry, parse, parse_text};
pub use strict::ParamError;

use cpu::{ScanTables, TopK};
use ndarray::{ArrayView2, ArrayViewMut2, CowArray, Ix2};
use std::borrow::Cow;
use std::fmt::Debug;

/// The parameters of a method: plain data, complete and type-checked, independent of any vectors.
pub trait Method: Debug + Send + Sync {
    /// Name in YAML, tables and figures, e.g. `pq`.
    fn name(&self) -> &'static str;

    /// The parameters with every default filled in, as a JSON object.
    fn params(&self) -> serde_json::Value;

    /// Whether these parameters make sense for vectors of `dim` components.
    ///
    /// # Errors
    /// Names the parameter, what is wrong with it and what would be right.
    fn check(&self, dim: usize) -> Result<(), ParamError>;

    /// Bits stored per vector: symbols and side values (norms, scales).
    fn code_bits(&self, dim: usize) -> usize;

    /// Rough cost of fitting, in multiply-adds, for planning and progress only.
    fn fit_cost(&self, n: usize, dim: usize) -> f64;

    /// Rough cost of encoding one vector, in multiply-adds, for planning and progress only.
    fn encode_cost(&self, dim: usize) -> f64;

    /// Rough cost of decoding one vector, in multiply-adds: one per component, unless a method says more.
    fn decode_cost(&self, dim: usize) -> f64 {
        dim as f64
    }

    /// Rough cost of preparing a search for one query, in multiply-adds, besides scoring: the products with all codewords, for tables.
    fn query_cost(&self, dim: usize) -> f64 {
        let _ = dim;
        0.0
    }

    /// Rough cost of scoring one code for one query, in multiply-adds; a look-up in a table counts as one. One look-up per byte of the code,
    /// and never more than the products of all components, unless a method says something else.
    fn score_cost(&self, dim: usize) -> f64 {
        self.code_bits(dim).div_ceil(8).clamp(1, dim.max(1)) as f64
    }

    /// Trains on `train` (`n×dim`) on the host. The same seed gives the same quantizer for any number of threads.
    ///
    /// # Errors
    /// Parameters that do not fit the dimension, no rows, a non-finite row, cancellation, a backend failure.
    fn fit(&self, train: ArrayView2<'_, f32>, cx: &Context) -> Result<Box<dyn Quantizer>, MethodError> {
        let train = train.as_standard_layout();
        let rows = TrainingRows::on_host(train.view(), cx)?;
        self.check(train.ncols())?;
        self.fit_rows(&rows, cx)
    }

    /// Whether an outside program computes. Then rates and costs are what it says, and codes what it returns.
    fn is_program(&self) -> bool {
        false
    }

    /// The same method with what it depends on besides its parameters: who an outside program is, and what it says for vectors of
    /// `dims` components. None if there is nothing besides the parameters.
    ///
    /// # Errors
    /// A program that cannot be asked, or that refuses its parameters.
    fn identify(&self, programs: &adapters::Host, dims: &[usize]) -> Result<Option<Box<dyn Method>>, ParamError> {
        let _ = (programs, dims);
        Ok(None)
    }

    /// [`Method::fit`] on rows that have been checked and may be in a device's memory. Their dimension has passed
    /// [`Method::check`].
    ///
    /// # Errors
    /// As [`Method::fit`].
    fn fit_rows(&self, train: &TrainingRows<'_>, cx: &Context) -> Result<Box<dyn Quantizer>, MethodError>;

    /// Rebuilds a quantizer for vectors of `dim` components from the `state` that [`Quantizer::save`] wrote. It gives
    /// the same codes. `dim` has passed [`Method::check`].
    ///
    /// # Errors
    /// Arrays that are missing, have the wrong shape, or are not finite.
    fn restore(&self, dim: usize, state: &mut State, cx: &Context) -> Result<Box<dyn Quantizer>, ModelError>;
}

/// A trained quantizer: maps rows of `dim` f32 to codes of `code_size` bytes and back. Immutable.
///
/// `encode_into` and `decode_into` run on the current thread pool and give the same result for any number of threads
/// and any division of the rows.
pub trait Quantizer: Send + Sync {
    /// Components per vector.
    fn dim(&self) -> usize;

    /// Bits of information per code: all symbols and all side values. The rate that is reported.
    fn code_bits(&self) -> usize;

    /// Bytes per code as stored: [`Quantizer::code_bits`] padded to whole bytes per row.
    fn code_size(&self) -> usize {
        self.code_bits().div_ceil(8)
    }

    /// Bytes shared by all vectors: codebooks, levels, rotations, networks.
    fn model_size(&self) -> usize;

    /// Where it computes.
    fn backend(&self) -> &dyn Backend;

    /// Rows that it takes at a time, at most, where what it holds of each on the way is large.
    fn rows_at_once(&self) -> usize {
        usize::MAX
    }

    /// Bytes of a device's memory that a row takes on its way, beside itself and its code.
    fn bytes_per_row(&self) -> usize {
        0
    }

    /// Writes the code of each row, on the backend. There is a code of `code_size` bytes per row of `dim` components; the caller hands over
    /// no more than [`Quantizer::rows_at_once`].
    ///
    /// # Errors
    /// A backend failure.
    fn encode(&self, rows: &DeviceMatrix<'_>, codes: &mut CodeRoom<'_>) -> Result<(), MethodError>;

    /// Writes the row of each code, on the backend, as [`Quantizer::encode`] does.
    ///
    /// # Errors
    /// A symbol outside its alphabet; a backend failure.
    fn decode(&self, codes: &DeviceCodes<'_>, rows: &mut MatrixRoom<'_>) -> Result<(), MethodError>;

    /// Encodes `rows` (`n×dim`) to `codes` (`n·code_size` bytes) on the host, by way of the backend.
    ///
    /// # Errors
    /// Shapes that do not fit together; a backend failure.
    fn encode_into(&self, rows: ArrayView2<'_, f32>, codes: &mut [u8]) -> Result<(), MethodError> {
        contract::batch::encode_into(self, rows, codes)
    }

    /// Decodes `codes` (`n·code_size` bytes) to `rows` (`n×dim`) on the host, by way of the backend.
    ///
    /// # Errors
    /// Shapes that do not fit together; a symbol outside its alphabet; a backend failure.
    fn decode_into(&self, codes: &[u8], rows: ArrayViewMut2<'_, f32>) -> Result<(), MethodError> {
        contract::batch::decode_into(self, codes, rows)
    }

    /// Search over codes without decoding them; None if the method has no such search for `metric`.
    fn searcher(&self, metric: SearchMetric) -> Option<Box<dyn Searcher + '_>> {
        let _ = metric;
        None
    }

    /// The discrete symbols a code is made of.
    fn symbols(&self) -> Option<&dyn Symbols>;

    /// Saves to `state` everything that [`Method::restore`] needs besides the parameters.
    fn save(&self, state: &mut State);

    /// The outside program that computes, if one does. It may lack what every other quantizer can do.
    fn program(&self) -> Option<&external::Program> {
        None
    }

    /// Training curves, by iteration or epoch, if the method iterates.
    fn curves(&self) -> &[Curve] {
        &[]
    }
}

/// Scores codes against one raw query (asymmetric distance computation). Each thread has its own, because it holds the
/// tables of a query.
pub trait Searcher: Send {
    /// Name of this kind of search in records: `adc` for raw queries against codes.
    fn path(&self) -> &'static str {
        "adc"
    }

    /// Whether scores are estimates of the score of the decoded vector. Otherwise they equal it up to rounding.
    fn is_estimate(&self) -> bool {
        false
    }

    /// Whether the estimates are unbiased over the random choices of the fit.
    fn is_unbiased(&self) -> bool {
        false
    }

    /// Takes the query (`dim` components) that the next scores refer to.
    fn set_query(&mut self, query: &[f32]);

    /// What [`Searcher::set_prepared`] takes of each query (`n×dim`): one row per query, in which a transform, for example,
    /// has computed for all queries at a time what [`Searcher::set_query`] computes for one. Runs on the current thread pool. By
    /// default, the queries themselves.
    ///
    /// # Errors
    /// A backend failure.
    fn prepare<'q>(&self, queries: CowArray<'q, f32, Ix2>) -> Result<CowArray<'q, f32, Ix2>, MethodError> {
        Ok(queries)
    }

    /// Takes the query whose row [`Searcher::prepare`] has returned; scores are those after [`Searcher::set_query`], up to
    /// rounding.
    fn set_prepared(&mut self, prepared: &[f32]) {
        self.set_query(prepared);
    }

    /// Writes one score per code. Smaller is nearer: an estimate of `‖q−x‖²` for [`SearchMetric::L2`], of `−q·x` for
    /// [`SearchMetric::InnerProduct`], without any scaling; see [`Searcher::is_estimate`].
    ///
    /// # Errors
    /// A symbol outside its alphabet; mismatched lengths.
    fn score_into(&mut self, codes: &[u8], scores: &mut [f32]) -> Result<(), MethodError>;

    /// The layout of codes, if a score is
    ///
    /// ```text
    /// constant + offset_i + slope_i·Σ_p table_p[symbol p of code i]
    /// ```
    ///
    /// so that many codes can be scanned for several queries at a time ([`search::scan::HeldCodes`]).
    fn code_layout(&self) -> Option<backend::CodeLayout> {
        None
    }

    /// The tables and the constant of the current query; present if [`Searcher::code_layout`] is.
    fn scan_tables(&self) -> Option<ScanTables> {
        None
    }

    /// The current query as a code, if scores are its Hamming distance to codes up to scale and offset; see
    /// [`backend::BitQuery`].
    fn bit_query(&self) -> Option<backend::BitQuery> {
        None
    }

    /// `offset_i` and `slope_i` of a code.
    ///
    /// # Errors
    /// Side values that an encoder cannot have written.
    fn row_factors(&self, code: &[u8]) -> Result<[f32; 2], MethodError> {
        let _ = code;
        Ok([0.0, 1.0])
    }

    /// `offset_i` and `slope_i` of all codes, computed once when codes are held; empty if they are 0 and 1. They are memory of the
    /// search and no part of a code: a code of several codewords that add up, for instance, does not hold the norm of their sum.
    ///
    /// None if scores by them cancel in f32, so that they do not tell rows near each other apart. Decoded rows are searched then.
    ///
    /// # Errors
    /// As [`Searcher::row_factors`], and those of decoding.
    fn factors(&self, codes: &[u8], code_size: usize) -> Result<Option<Vec<[f32; 2]>>, MethodError> {
        match self.code_layout() {
            Some(layout) if layout.has_factors => {
                codes.chunks_exact(code_size).map(|code| self.row_factors(code)).collect::<Result<_, _>>().map(Some)
            }
            _ => Ok(Some(Vec::new())),
        }
    }

    /// The codes as [`Searcher::code_layout`] describes them. Symbols that are neither half nor whole bytes are laid out anew, once
    /// when codes are held, so that no query unpacks them.
    ///
    /// # Errors
    /// A symbol outside its alphabet; a number of bytes that is no multiple of the code size.
    fn laid_out<'c>(&self, codes: &'c [u8]) -> Result<Cow<'c, [u8]>, MethodError> {
        Ok(Cow::Borrowed(codes))
    }

    /// The symbols of codes, one code after the other, if they are wider than a byte and scores are sums of entries of
    /// [`Searcher::wide_tables`].
    ///
    /// # Errors
    /// As [`Searcher::laid_out`].
    fn wide_symbols(&self, codes: &[u8]) -> Result<Option<Vec<u16>>, MethodError> {
        let _ = codes;
        Ok(None)
    }

    /// The tables of the current query for symbols wider than a byte.
    fn wide_tables(&self) -> Option<search::wide::WideTables<'_>> {
        None
    }

    /// The `k` codes with the smallest scores, nearest first, ties by number. An implementation may fuse scoring and
    /// selection.
    ///
    /// # Errors
    /// As [`Searcher::score_into`].
    fn top_k(&mut self, codes: &[u8], code_size: usize, k: usize) -> Result<Vec<Neighbor>, MethodError> {
        const CODES: usize = 4096;
        let mut scores = [0f32; CODES];
        let mut top = TopK::new(k);
        for (block, codes) in codes.chunks(CODES * code_size).enumerate() {
            let scores = &mut scores[..codes.len() / code_size];
            self.score_into(codes, scores)?;
            top.push_block(scores, (block * CODES) as u32);
        }
        Ok(top.drain_sorted())
    }
}

/// A code as a row of symbols, for measuring usage, perplexity and entropy.
pub trait Symbols {
    /// Size of the alphabet at each position.
    fn alphabets(&self) -> Vec<usize>;

    /// Name of position `p` in tables, e.g. `sub 3`.
    fn position_name(&self, p: usize) -> String;

    /// Unpacks one code into its symbols, one per position.
    ///
    /// # Errors
    /// A code of the wrong length.
    fn unpack(&self, code: &[u8], symbols: &mut [u16]) -> Result<(), MethodError>;

    /// Bits per vector that are stored beside the symbols (norms, scales).
    fn side_bits(&self) -> usize {
        0
    }

    /// The codebook of position `p`, `K×dsub` row-major; None if it has none.
    fn codebook(&self, p: usize) -> Option<ArrayView2<'_, f32>> {
        let _ = p;
        None
    }
}

/// How vectors are compared in a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SearchMetric {
    /// Squared Euclidean distance; on unit vectors it gives the same order as cosine similarity.
    L2,
    /// Inner product, larger is nearer; scores are negated.
    InnerProduct,
}

/// The check that every `encode_into` and `decode_into` needs: lengths.
///
/// # Errors
/// Names the length that is wrong.
pub fn check_batch(dim: usize, code_size: usize, shape: (usize, usize), codes: usize) -> Result<(), MethodError> {
    let (n, columns) = shape;
    if columns != dim {
        return Err(MethodError::Dimension { expected: dim, found: columns });
    }
    if n * code_size != codes {
        return Err(MethodError::CodeLength { expected: n * code_size, found: codes });
    }
    Ok(())
}
