//! `at_bits`: a method's parameters are found for each rate, and for each dimension of the datasets, since the rate of
//! some methods depends on it.

use super::checks::Checker;
use super::sweeps::{Source, Swept};
use methods::ParamError;
use methods::registry::{AtRate, MethodEntry};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Largest rate that can be asked for, far beyond any use.
const MAX_BITS: u64 = 1 << 20;

/// The parameters that were found for some rate.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct AtBits {
    /// As if they had been written.
    pub(super) params: Value,
    /// The position of the rate in its list, and each dimension with its rate. Where the rate depends on the dimension,
    /// the same parameters answer several rates.
    pub(super) position: usize,
    pub(super) rates: Vec<(usize, usize)>,
}

/// What `at_bits` found for one combination of the other parameters.
#[derive(Default)]
pub(super) struct Searched {
    pub(super) found: Vec<AtBits>,
    /// What has no such rate: rate, dimension and reason.
    pub(super) missed: Vec<(usize, usize, String)>,
}

/// Why parameters were not searched.
pub(super) enum SearchFault {
    /// All that decides the rate is given.
    NothingToFind { message: String, help: String },
    /// A parameter is wrong whatever the rate.
    Param(ParamError),
}

impl From<ParamError> for SearchFault {
    fn from(error: ParamError) -> SearchFault {
        SearchFault::Param(error)
    }
}

/// The rates of an entry; None without `at_bits`, or if it was wrong.
pub(super) fn read(
    entry: &Map<String, Value>,
    pointer: &str,
    checker: &mut Checker<'_>,
) -> Result<Option<Vec<usize>>, ()> {
    let key = Source::AtBits.key();
    let Some(written) = entry.get(key) else { return Ok(None) };
    let values = written.as_array().map_or(std::slice::from_ref(written), Vec::as_slice);
    let help = || Some("list bits per vector, such as `at_bits: [32, 64, 128]`".to_owned());
    let mut rates = Vec::with_capacity(values.len());
    for (i, value) in values.iter().enumerate() {
        let place = format!("{pointer}/{key}/{i}");
        let Some(rate) = value.as_u64().filter(|rate| (1..=MAX_BITS).contains(rate)) else {
            let message = format!("`at_bits` holds {value}, which is not a number of bits from 1 to {MAX_BITS}");
            checker.fault(&place, message, help());
            return Err(());
        };
        if rates.contains(&(rate as usize)) {
            checker.fault(&place, format!("{rate} bits are listed twice"), Some("list each rate once".into()));
            return Err(());
        }
        rates.push(rate as usize);
    }
    if rates.is_empty() {
        checker.fault(&format!("{pointer}/{key}"), "`at_bits` is empty", help());
        return Err(());
    }
    Ok(Some(rates))
}

/// Finds the parameters of `entry` for each rate and dimension.
///
/// # Errors
/// The parameters are wrong whatever the rate, or leave nothing to find.
pub(super) fn search(
    entry: &MethodEntry,
    params: &Value,
    rates: &[usize],
    dims: &BTreeSet<usize>,
) -> Result<Searched, SearchFault> {
    if entry.is_program() {
        let message = format!("`at_bits` cannot choose parameters of `{}`: only the program knows them", entry.name);
        return Err(SearchFault::NothingToFind {
            message,
            help: "`sweep` the parameter that sets its rate".to_owned(),
        });
    }
    if !entry.rate_params.is_empty() && entry.rate_param(params).is_none() {
        let names: Vec<String> = entry.rate_params.iter().map(|param| format!("`{}`", param.name)).collect();
        let (names, several) = (names.join(" and "), names.len() > 1);
        let message = format!("`at_bits` has nothing to find: {names} {} given", if several { "are" } else { "is" });
        let help = format!("leave out {}, or `at_bits`", if several { "one of them" } else { "it" });
        return Err(SearchFault::NothingToFind { message, help });
    }
    let mut searched = Searched::default();
    for (position, &rate) in rates.iter().enumerate() {
        for &dim in dims {
            match entry.at_rate(params, dim, rate)? {
                AtRate::Missed { reason } => searched.missed.push((rate, dim, reason)),
                AtRate::Found(params) => match searched.found.iter_mut().find(|found| found.params == params) {
                    Some(found) => found.rates.push((dim, rate)),
                    None => searched.found.push(AtBits { params, position, rates: vec![(dim, rate)] }),
                },
            }
        }
    }
    Ok(searched)
}

impl AtBits {
    /// The dimensions that the parameters are for.
    pub(super) fn dims(&self) -> BTreeSet<usize> {
        self.rates.iter().map(|(dim, _)| *dim).collect()
    }

    /// The value that was found, as a swept value; None if there was nothing to find.
    pub(super) fn swept(&self, entry: &MethodEntry, open: &Value) -> Option<Swept> {
        let name = entry.rate_param(open)?.name.to_owned();
        Some(Swept { source: Source::AtBits, name, position: self.position })
    }

    /// What was found, as words: `m=8 gives 64 bits per vector of 384 components`.
    pub(super) fn describe(&self, entry: &MethodEntry, open: &Value) -> String {
        let what = match entry.rate_param(open) {
            Some(param) => format!("{}={} gives", param.name, self.params[param.name]),
            None => "it has".into(),
        };
        // Datasets of several dimensions mostly have the same rate.
        let mut dims: Vec<(usize, Vec<String>)> = Vec::new();
        for (dim, rate) in &self.rates {
            match dims.iter_mut().find(|(other, _)| other == rate) {
                Some((_, dims)) => dims.push(dim.to_string()),
                None => dims.push((*rate, vec![dim.to_string()])),
            }
        }
        let words =
            |(rate, dims): &(usize, Vec<String>)| format!("{rate} bits per vector of {} components", dims.join(" or "));
        let rates: Vec<String> = dims.iter().map(words).collect();
        format!("{what} {}", rates.join(", "))
    }
}
