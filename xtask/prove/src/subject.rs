//! What is put to the proof: a method, seen only through what it answers.
//!
//! The checks know nothing else, so that a method of ours, a program, and a mutant of either pass through the same ones.

use methods::SearchMetric;
use ndarray::{Array2, ArrayView2};
use thiserror::Error;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// It does not have the ability.
    #[error("cannot {0}")]
    Missing(&'static str),
    /// It said that it will not, and why.
    #[error("{verb}: {message}")]
    Error {
        /// What it was asked to do.
        verb: &'static str,
        /// What it said.
        message: String,
    },
    /// It broke the protocol, ended, or panicked.
    #[error("{verb}: {message}")]
    Broken {
        /// What it was asked to do.
        verb: &'static str,
        /// What was seen.
        message: String,
    },
}

/// What those cannot do that know directions alone.
pub const ANY_LENGTH: &str = "search by distance among rows of any length";

/// Codes of the same length, one per row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Codes {
    /// Bytes per code.
    pub size: usize,
    /// All codes, one after the other.
    pub bytes: Vec<u8>,
}

impl Codes {
    /// Number of codes.
    pub fn rows(&self) -> usize {
        self.bytes.len().checked_div(self.size).unwrap_or(0)
    }

    /// The code of a row; empty where there is none.
    pub fn row(&self, i: usize) -> &[u8] {
        self.bytes.get(i * self.size..(i + 1) * self.size).unwrap_or_default()
    }

    /// The codes of these rows, in this order.
    pub fn select(&self, rows: impl IntoIterator<Item = usize>) -> Codes {
        Codes { size: self.size, bytes: rows.into_iter().flat_map(|i| self.row(i).iter().copied()).collect() }
    }
}

/// What a search looks through.
#[derive(Clone, Copy, Debug)]
pub enum Held<'a> {
    /// Codes that it wrote.
    Codes(&'a Codes),
    /// Vectors, which it stores in its own way.
    Rows(ArrayView2<'a, f32>),
}

/// Row numbers per query, nearest first; -1 where there are fewer.
pub type Found = Vec<Vec<i64>>;

/// A method or a program, before training.
pub trait Subject {
    /// Its name, for titles.
    fn name(&self) -> String;

    /// Whether it takes vectors of `dim` components, as far as it knows before training.
    ///
    /// # Errors
    /// Why it does not.
    fn accepts(&self, dim: usize) -> Result<(), String>;

    /// Whether it says that equal seeds give equal codes.
    fn seedable(&self) -> bool;

    /// Whether it codes vectors. One that does not searches what it stores in its own way.
    fn codes(&self) -> bool {
        true
    }

    /// Whether it searches codes; otherwise it is given vectors to search.
    fn searches_codes(&self) -> bool {
        true
    }

    /// Whether its code of a row is by definition the nearest of all that it could have chosen, if that is known.
    fn nearest(&self) -> bool {
        false
    }

    /// Trains on rows, for searches by `metric`. A process that was used before may be used again.
    ///
    /// # Errors
    /// It refuses, or breaks.
    fn fit(&self, rows: ArrayView2<'_, f32>, seed: u64, metric: SearchMetric)
    -> Result<Box<dyn Trained + '_>, Refusal>;

    /// The same in a process that has done nothing else.
    ///
    /// # Errors
    /// It refuses, or breaks.
    fn fit_afresh(
        &self,
        rows: ArrayView2<'_, f32>,
        seed: u64,
        metric: SearchMetric,
    ) -> Result<Box<dyn Trained + '_>, Refusal> {
        self.fit(rows, seed, metric)
    }

    /// What [`Trained::save`] wrote, in a process that has done nothing else.
    ///
    /// # Errors
    /// It refuses, or breaks.
    fn restore(&self, model: &[u8], dim: usize, metric: SearchMetric) -> Result<Box<dyn Trained + '_>, Refusal>;

    /// The same with so many bits per symbol; None if no parameter sets them.
    fn at_bits(&self, bits: u64) -> Option<Box<dyn Subject>> {
        let _ = bits;
        None
    }

    /// Name and complete parameters, if it is a method of this build.
    fn registered(&self) -> Option<(String, serde_json::Value)> {
        None
    }
}

/// A method or a program after training.
pub trait Trained {
    /// One code per row.
    ///
    /// # Errors
    /// It cannot, it refuses, or it breaks.
    fn encode(&self, rows: ArrayView2<'_, f32>) -> Result<Codes, Refusal>;

    /// One row per code.
    ///
    /// # Errors
    /// It cannot, it refuses, or it breaks.
    fn decode(&self, codes: &Codes) -> Result<Array2<f32>, Refusal>;

    /// The `k` nearest of what is held, for each query.
    ///
    /// # Errors
    /// It cannot, it refuses, or it breaks.
    fn search(&self, held: Held<'_>, queries: ArrayView2<'_, f32>, k: usize) -> Result<Found, Refusal>;

    /// Whether its search is by estimates of the distance to a decoded row; None if it does not say.
    fn estimates(&self) -> Option<bool> {
        None
    }

    /// Everything that [`Subject::restore`] needs.
    ///
    /// # Errors
    /// It cannot, it refuses, or it breaks.
    fn save(&self) -> Result<Vec<u8>, Refusal>;
}
