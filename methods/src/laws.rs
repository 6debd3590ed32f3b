//! The laws that every method must satisfy, for all parameters and on every backend: one suite, driven by the registry.
//!
//! They are part of the library so that a method of another crate, or a new device, can be tested too. Each law is a
//! function that panics if the law is violated; [`for_each_law`](crate::for_each_law) lists them all. If a law does not
//! apply to a method, the entry of the method says so, with the reason ([`MethodEntry::exempt`]).

mod agreement;
mod coding;
pub mod device;
mod exercise;
mod range;

pub use agreement::{
    Disagreement, codes_agree_with_those_of_the_processor, disagreements, scans_agree_with_those_of_the_processor,
};
pub use coding::*;
pub use exercise::exercise;
pub use range::*;

use crate::backend::{Backend, CpuBackend};
use crate::registry::{Exemption, MethodEntry};
use crate::{Context, METHODS, Method, Quantizer};
use ndarray::{Array2, ArrayView2};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use std::sync::Arc;

/// Passes the name of every law, which is that of its function here, to a macro.
#[macro_export]
macro_rules! for_each_law {
    ($each:ident) => {
        $each! {
            codes_have_the_stated_length_and_decode_to_finite_rows_of_the_stated_shape,
            coding_a_decoded_vector_again_loses_no_more_than_rounding,
            the_same_seed_gives_the_same_codes_for_any_chunking_and_thread_count,
            strided_rows_get_the_codes_of_contiguous_ones,
            symbols_stay_below_their_alphabets_and_account_for_the_rate,
            training_distortion_never_grows,
            searchers_score_like_decoded_vectors,
            more_bits_never_hurt,
            edge_cases_give_a_right_result_or_a_clear_error,
            one_dimension_is_enough,
            cancellation_is_honoured,
            a_saved_quantizer_is_the_same_quantizer,
            the_model_size_is_no_more_than_its_file,
            constant_rows_lose_nothing,
            distance_from_zero_costs_nothing,
            multiplying_all_rows_by_a_power_of_two_changes_no_code,
            clusters_far_apart_do_not_hide_the_nearest,
            searches_over_clusters_far_apart_find_the_nearest,
            no_stream_is_drawn_from_twice,
            transforms_go_before_any_method,
            codes_agree_with_those_of_the_processor,
            scans_agree_with_those_of_the_processor
        }
    };
}

/// A method with one of the examples of its entry, under the name of both.
type Specimen = (String, Box<dyn Method>);

/// The setting in which methods are tested.
#[derive(Clone)]
pub struct Bench {
    backend: Arc<dyn Backend>,
    extra: Vec<&'static MethodEntry>,
    chosen: fn(&str) -> bool,
}

impl Default for Bench {
    fn default() -> Bench {
        Bench::on(Arc::new(CpuBackend::detect()))
    }
}

impl Bench {
    /// All registered methods on this backend.
    pub fn on(backend: Arc<dyn Backend>) -> Bench {
        Bench { backend, extra: Vec::new(), chosen: |_| true }
    }

    /// And one that is not registered.
    pub fn with(mut self, entry: &'static MethodEntry) -> Bench {
        self.extra.push(entry);
        self
    }

    /// Only the chosen methods, if all would take too long.
    pub fn only(self, chosen: fn(&str) -> bool) -> Bench {
        Bench { chosen, ..self }
    }

    /// A context of the backend.
    pub fn context(&self, seed: u64) -> Context {
        Context::on(self.backend.clone(), seed)
    }

    fn is_registered(&self, method: &dyn Method) -> bool {
        self.extra.iter().all(|entry| entry.name != method.name())
    }

    /// The chosen methods of the registry.
    pub fn entries(&self) -> impl Iterator<Item = &'static MethodEntry> {
        METHODS.iter().filter(|entry| (self.chosen)(entry.name))
    }

    /// Every method with every example it gives.
    ///
    /// # Panics
    /// If a method gives no example, or an invalid one.
    pub fn specimens(&self) -> Vec<(String, Box<dyn Method>)> {
        self.with_entries().into_iter().map(|(_, specimen)| specimen).collect()
    }

    /// Every method with every example it gives that a law applies to.
    ///
    /// # Panics
    /// As [`Bench::specimens`].
    pub fn held_to(&self, law: &str) -> Vec<(String, Box<dyn Method>)> {
        let applies = |entry: &MethodEntry, method: &dyn Method| {
            !entry.exempt.iter().any(|exempt| exempt.law == law && exempt.covers(method))
        };
        let specimens = self.with_entries().into_iter();
        specimens.filter(|(entry, (_, method))| applies(entry, &**method)).map(|(_, specimen)| specimen).collect()
    }

    /// Every exemption from a law, with the specimens that it covers.
    ///
    /// # Panics
    /// As [`Bench::specimens`].
    pub fn exemptions(&self) -> Vec<(&'static Exemption, Vec<String>)> {
        let specimens = self.with_entries();
        let entries = self.entries().chain(self.extra.iter().copied());
        let of_entry = |entry: &'static MethodEntry| {
            let own = specimens.iter().filter(move |(of, _)| of.name == entry.name);
            entry.exempt.iter().map(move |exempt| {
                let covered = own.clone().filter(|(_, (_, method))| exempt.covers(&**method));
                (exempt, covered.map(|(_, (name, _))| name.clone()).collect())
            })
        };
        entries.flat_map(of_entry).collect()
    }

    fn with_entries(&self) -> Vec<(&'static MethodEntry, Specimen)> {
        self.entries()
            .chain(self.extra.iter().copied())
            .flat_map(|entry| {
                assert!(!entry.examples.is_empty(), "{} gives no example", entry.name);
                entry.examples.iter().map(move |example| {
                    let params = serde_json::from_str(example).expect("an example is JSON");
                    let method = (entry.parse)(params).unwrap_or_else(|e| panic!("{} {example}: {e}", entry.name));
                    (entry, (format!("{} {example}", entry.name), method))
                })
            })
            .collect()
    }
}

/// Components of the rows of most laws.
const DIM: usize = 12;

/// `n×dim` independent standard Gaussian values.
pub fn gaussian(n: usize, dim: usize, seed: u64) -> Array2<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    Array2::from_shape_fn((n, dim), |_| StandardNormal.sample(&mut rng))
}

/// Encodes rows.
///
/// # Panics
/// When the quantizer does not take them.
pub fn encode(quantizer: &dyn Quantizer, rows: ArrayView2<'_, f32>) -> Vec<u8> {
    let mut codes = vec![0xee; rows.nrows() * quantizer.code_size()];
    quantizer.encode_into(rows, &mut codes).expect("encodes");
    codes
}

/// Decodes codes.
///
/// # Panics
/// When the quantizer does not take them.
pub fn decode(quantizer: &dyn Quantizer, codes: &[u8]) -> Array2<f32> {
    let mut rows = Array2::from_elem((codes.len() / quantizer.code_size(), quantizer.dim()), f32::NAN);
    quantizer.decode_into(codes, rows.view_mut()).expect("decodes");
    rows
}

/// Mean of `‖a_i − b_i‖²` over the rows.
pub fn mse(a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>) -> f64 {
    a.iter().zip(b).map(|(x, y)| f64::from(x - y).powi(2)).sum::<f64>() / a.nrows() as f64
}
