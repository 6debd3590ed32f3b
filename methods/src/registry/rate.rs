//! Finds the parameters with which a method has a given rate, so that methods can be compared at equal rates without
//! working out `m`, `stages` or `codewords` by hand.

use super::{MethodEntry, parse};
use crate::{Method, ParamError};
use serde_json::{Map, Value};

/// A parameter that sets the rate of a method. More of it never means fewer bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateParam {
    /// Its name.
    pub name: &'static str,
    /// Whether only powers of two are tried: a code takes the same number of bits for all sizes between two of them.
    powers: bool,
}

/// Largest value that is tried, whatever the range of the parameter.
const LARGEST: u64 = 1 << 16;

impl RateParam {
    /// A parameter for which 1, 2, 3, … are tried.
    pub const fn count(name: &'static str) -> RateParam {
        RateParam { name, powers: false }
    }

    /// A parameter for which 2, 4, 8, … are tried.
    pub const fn power(name: &'static str) -> RateParam {
        RateParam { name, powers: true }
    }

    /// The value that is tried at a step, from 0.
    fn value(self, step: u64) -> u64 {
        if self.powers { 2 << step } else { step + 1 }
    }

    /// Number of values up to `largest`.
    fn steps(self, largest: u64) -> u64 {
        if self.powers { u64::from(largest.max(1).ilog2()) } else { largest }
    }
}

/// What a search for a rate has found.
#[derive(Debug)]
pub enum AtRate {
    /// The parameters that give the rate, as they would be written.
    Found(Value),
    /// No parameters give the rate.
    Missed {
        /// The reason, with the nearest possible rate.
        reason: String,
    },
}

impl MethodEntry {
    /// The parameter that [`MethodEntry::at_rate`] searches: the first of [`MethodEntry::rate_params`] that `params`
    /// leaves open. None if the method has no such parameter, or none of them is open.
    pub fn rate_param(&self, params: &Value) -> Option<RateParam> {
        self.rate_params.iter().copied().find(|param| params.get(param.name).is_none())
    }

    /// Finds the parameters with which the code of a vector of `dim` components takes `bits`. All other parameters are
    /// as in `params`. A method without an open parameter is judged as it is.
    ///
    /// # Errors
    /// The parameters are wrong whatever the rate.
    pub fn at_rate(&self, params: &Value, dim: usize, bits: usize) -> Result<AtRate, ParamError> {
        match self.rate_param(params) {
            Some(param) => Search { entry: self, params, param, dim }.run(bits),
            None => {
                let method = parse(self.name, params.clone())?;
                method.check(dim)?;
                let found = method.code_bits(dim);
                Ok(if found == bits {
                    AtRate::Found(params.clone())
                } else {
                    AtRate::Missed { reason: format!("its only rate for {dim} components is {found} bits per vector") }
                })
            }
        }
    }
}

impl MethodEntry {
    /// The parameters with the largest rate of at most `bits` for vectors of `dim` components; all others are as in
    /// `params`. None if every rate is larger, or if the method cannot code such vectors.
    pub fn at_most(&self, params: &Value, dim: usize, bits: usize) -> Option<Value> {
        let Some(param) = self.rate_param(params) else {
            let method = parse(self.name, params.clone()).ok()?;
            method.check(dim).ok()?;
            return (method.code_bits(dim) <= bits).then(|| params.clone());
        };
        let search = Search { entry: self, params, param, dim };
        let above = search.first_with(bits + 1).ok()?;
        (0..above).rev().find_map(|step| search.possible(step)).map(|(_, step)| search.params(step))
    }
}

/// A search over the values of one parameter.
struct Search<'a> {
    entry: &'a MethodEntry,
    params: &'a Value,
    param: RateParam,
    dim: usize,
}

impl Search<'_> {
    /// The parameters at a step.
    fn params(&self, step: u64) -> Value {
        let mut params = self.params.as_object().cloned().unwrap_or_else(Map::new);
        params.insert(self.param.name.to_owned(), self.param.value(step).into());
        Value::Object(params)
    }

    fn method(&self, step: u64) -> Result<Box<dyn Method>, ParamError> {
        parse(self.entry.name, self.params(step))
    }

    fn bits(&self, step: u64) -> Result<usize, ParamError> {
        Ok(self.method(step)?.code_bits(self.dim))
    }

    /// The rate at a step if the method is right there.
    fn possible(&self, step: u64) -> Option<(usize, u64)> {
        let method = self.method(step).ok()?;
        method.check(self.dim).ok()?;
        Some((method.code_bits(self.dim), step))
    }

    /// Number of steps.
    fn steps(&self) -> u64 {
        let schema = self.entry.params_schema();
        let property = schema.as_value().pointer(&format!("/properties/{}/maximum", self.param.name));
        self.param.steps(property.and_then(Value::as_u64).unwrap_or(LARGEST).min(LARGEST))
    }

    /// The first step with at least so many bits, or the number of steps. The rate grows with the parameter.
    fn first_with(&self, bits: usize) -> Result<u64, ParamError> {
        let (mut first, mut end) = (0, self.steps());
        while first < end {
            let middle = first + (end - first) / 2;
            if self.bits(middle)? < bits { first = middle + 1 } else { end = middle }
        }
        Ok(first)
    }

    fn run(&self, bits: usize) -> Result<AtRate, ParamError> {
        let (first, steps) = (self.first_with(bits)?, self.steps());
        let name = self.param.name;
        let mut exact = None;
        if first < steps && self.bits(first)? == bits {
            match self.method(first)?.check(self.dim) {
                Ok(()) => return Ok(AtRate::Found(self.params(first))),
                Err(error) => exact = Some(error),
            }
        }
        let below = (0..first).rev().find_map(|step| self.possible(step));
        // Nothing above is nearer once it is as far from the rate as what was found below.
        let far = below.map_or(usize::MAX, |(found, _)| bits + found.abs_diff(bits));
        let near = |step: &u64| self.bits(*step).is_ok_and(|found| found < far);
        let above = (first..steps).take_while(near).find_map(|step| self.possible(step));
        let nearest = below.into_iter().chain(above).min_by_key(|(found, _)| found.abs_diff(bits));
        let Some((found, step)) = nearest else {
            // No value is right: something else is wrong.
            return Err(match exact {
                Some(error) => error,
                None => match self.method(first.min(steps.saturating_sub(1)))?.check(self.dim) {
                    Err(error) => error,
                    Ok(()) => ParamError::new(
                        name,
                        format!("no `{name}` gives {bits} bits per vector"),
                        "choose another rate",
                    ),
                },
            });
        };
        let why = match exact {
            Some(error) => format!("`{name}: {}` would, but {}", self.param.value(first), error.message),
            None => format!("no `{name}` does"),
        };
        let value = self.param.value(step);
        Ok(AtRate::Missed { reason: format!("{why}; the nearest rate is {found} bits, with `{name}: {value}`") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{METHODS, find};
    use serde_json::json;

    fn at(name: &str, params: Value, dim: usize, bits: usize) -> Result<AtRate, ParamError> {
        find(name)?.at_rate(&params, dim, bits)
    }

    /// The value found for a parameter, or the reason why there is none.
    fn found(name: &str, params: Value, dim: usize, bits: usize, param: &str) -> Result<u64, String> {
        match at(name, params, dim, bits).map_err(|error| error.message)? {
            AtRate::Found(params) => Ok(params[param].as_u64().unwrap_or(0)),
            AtRate::Missed { reason } => Err(reason),
        }
    }

    #[test]
    fn every_example_is_found_again_by_its_rate() {
        const DIM: usize = 12;
        for entry in METHODS.iter().filter(|entry| !entry.rate_params.is_empty()) {
            let mut tried = 0;
            for example in entry.examples {
                let mut params: Value = serde_json::from_str(example).expect("an example is JSON");
                let rate = parse(entry.name, params.clone()).expect("an example is right").code_bits(DIM);
                for param in entry.rate_params {
                    let Some(map) = params.as_object_mut() else { continue };
                    let Some(written) = map.shift_remove(param.name) else { continue };
                    match entry.at_rate(&params, DIM, rate).expect(example) {
                        AtRate::Found(params) => {
                            let method = parse(entry.name, params.clone()).expect(example);
                            assert!(method.check(DIM).is_ok(), "{} {params}", entry.name);
                            assert_eq!(method.code_bits(DIM), rate, "{} {params}", entry.name);
                            tried += 1;
                        }
                        // An earlier parameter that the example leaves to its default is searched instead.
                        AtRate::Missed { reason } => {
                            assert_ne!(
                                entry.rate_param(&params).map(|p| p.name),
                                Some(param.name),
                                "{example}: {reason}"
                            );
                        }
                    }
                    params[param.name] = written;
                }
            }
            assert!(tried > 0, "{}: no example was tried", entry.name);
        }
    }

    #[test]
    fn the_first_parameter_that_is_not_written_is_searched() {
        assert_eq!(found("pq", json!({}), 384, 64, "m"), Ok(8));
        assert_eq!(found("pq", json!({ "bits": 4 }), 384, 64, "m"), Ok(16));
        assert_eq!(found("pq", json!({ "m": 16 }), 384, 64, "bits"), Ok(4));
        assert_eq!(found("rvq", Value::Null, 100, 32, "stages"), Ok(4));
        assert_eq!(found("vqvae", json!({ "codewords": 16 }), 100, 32, "groups"), Ok(8));
        assert_eq!(found("kmeans", json!({}), 100, 8, "codewords"), Ok(256));
        assert_eq!(found("scalar", json!({ "transform": { "pca": { "dim": 16 } } }), 100, 32, "bits"), Ok(2));
    }

    #[test]
    fn a_rate_that_is_not_possible_is_missed_with_the_nearest_one() {
        let reason = |name, params, dim, bits| found(name, params, dim, bits, "").expect_err(name);
        let cases = [
            (reason("pq", json!({}), 384, 40), "`m: 5` would, but", "the nearest rate is 32 bits, with `m: 4`"),
            (reason("pq", json!({}), 384, 63), "no `m` does", "the nearest rate is 64 bits, with `m: 8`"),
            (reason("scalar", json!({}), 384, 32), "no `bits` does", "the nearest rate is 384 bits, with `bits: 1`"),
            (reason("kmeans", json!({}), 384, 64), "no `codewords` does", "16 bits, with `codewords: 65536`"),
            (reason("binary", Value::Null, 384, 64), "its only rate for 384 components is 384 bits", ""),
        ];
        for (reason, why, nearest) in cases {
            assert!(reason.contains(why) && reason.contains(nearest), "{reason}");
        }
    }

    #[test]
    fn what_is_wrong_at_every_rate_is_an_error() {
        let error = at("pq", json!({ "bitz": 4 }), 384, 64).expect_err("unknown key");
        assert!(error.message.contains("unknown key `bitz`"), "{error}");
        let error = at("scalar", json!({ "transform": { "pca": { "dim": 64 } } }), 12, 64).expect_err("too many");
        assert!(error.message.contains("64"), "{error}");
    }
}
