//! The codes to try: every method of the registry with the parameters that its entry names, behind transforms where the
//! entry says that these may help, at every size that the wish allows.

use crate::race::Entrant;
use methods::transform::{self, Transform};
use methods::{METHODS, Method, ParamError};
use reports::advice::{Figure, Wish, rung_above, rungs};
use reports::yaml::flow;
use serde_json::Value;
use std::collections::HashSet;

/// A code to try: a method with its parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Arm {
    /// The method.
    pub method: &'static str,
    /// Its parameters, as they would be written.
    pub params: Value,
    /// Bytes of a code.
    pub bytes: usize,
    /// The parameters that its entry names, without transform and rate.
    from: &'static str,
    /// What stands before it.
    transform: Transform,
    /// The size that it was made for.
    size: usize,
}

impl Arm {
    /// The method as an experiment or the command `fit` takes it: `pq: { m: 48 }`.
    pub fn written(&self) -> String {
        format!("{}: {}", self.method, flow(&self.params))
    }

    /// Rough cost of training and encoding a few thousand rows of `dim` components, for the order in which codes are tried.
    pub fn cost(&self, dim: usize) -> f64 {
        const ROWS: usize = 4000;
        self.parse().map_or(f64::INFINITY, |m| m.fit_cost(ROWS, dim) + ROWS as f64 * m.encode_cost(dim))
    }

    /// The method itself.
    ///
    /// # Errors
    /// Wrong parameters, which [`arms`] never gives.
    pub fn parse(&self) -> Result<Box<dyn Method>, ParamError> {
        methods::parse(self.method, self.params.clone())
    }
}

/// The sizes of codes that a search looks at, in bytes. For the best quality within a limit on bytes: that limit, and one
/// step more, so that the answer can say what the step would buy. For the fewest bytes, or without a limit on them: every
/// step from 4 bytes to the limit and one step more. No size is more than a step above 8 bits per component.
fn sizes(wish: &Wish, dim: usize) -> Vec<usize> {
    let limit = wish.limits().iter().find(|(figure, _)| *figure == Figure::Bytes).map(|(_, limit)| *limit as usize);
    let useful = rung_above(dim);
    match limit {
        Some(limit) if wish.objective() != Figure::Bytes => vec![limit.min(useful), rung_above(limit).min(useful)],
        limit => {
            let most = limit.map_or(usize::MAX, rung_above).min(useful);
            let least = 4.min(most);
            rungs().skip_while(|rung| *rung < least).take_while(|rung| *rung <= most).chain(limit).collect()
        }
    }
}

/// The codes to try for a wish on vectors of `dim` components. With names in `only`, no other methods are tried.
pub fn arms(wish: &Wish, dim: usize, only: &[String]) -> Vec<Arm> {
    let mut sizes = sizes(wish, dim);
    sizes.sort_unstable();
    sizes.dedup();
    let mut seen = HashSet::new();
    let mut arms = Vec::new();
    for entry in METHODS.iter().filter(|entry| only.is_empty() || only.iter().any(|name| name == entry.name)) {
        let transforms = if entry.tries.transforms { Transform::candidates(dim) } else { vec![Transform::None] };
        for from in entry.tries.params {
            for before in &transforms {
                // The entry's parameters are JSON objects, as a test of the registry checks.
                let Ok(Value::Object(mut params)) = serde_json::from_str::<Value>(from) else { continue };
                if *before != Transform::None {
                    params.insert(transform::KEY.to_owned(), methods::registry::params_of(before));
                }
                let params = Value::Object(params);
                for &size in &sizes {
                    let Some(found) = entry.at_most(&params, dim, size.saturating_mul(8)) else { continue };
                    let Ok(method) = methods::parse(entry.name, found.clone()) else { continue };
                    let bytes = method.code_bits(dim).div_ceil(8);
                    // What is far below a size is tried at a lower one.
                    if 2 * bytes > size && seen.insert((entry.name, found.to_string())) {
                        let (from, transform) = (*from, before.clone());
                        arms.push(Arm { method: entry.name, params: found, bytes, from, transform, size });
                    }
                }
            }
        }
    }
    arms
}

/// The codes as a race sees them, in the same order.
pub fn entrants(arms: &[Arm]) -> Vec<Entrant> {
    let kin = |a: &Arm, b: &Arm| a.method == b.method && a.from == b.from;
    let entrant = |arm: &Arm| Entrant {
        bytes: arm.bytes,
        // Every arm is its own kin.
        kin: arms.iter().position(|a| kin(a, arm) && a.transform == arm.transform).unwrap_or_default(),
        plain: (arm.transform != Transform::None)
            .then(|| arms.iter().position(|a| kin(a, arm) && a.transform == Transform::None && a.size == arm.size))
            .flatten(),
    };
    arms.iter().map(entrant).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use reports::advice::Figure;
    use serde_json::json;

    fn wish(limits: &[(Figure, f64)]) -> Wish {
        Wish::new(limits.to_vec(), None).expect("a wish")
    }

    #[test]
    fn every_arm_is_right_and_within_its_size() {
        for dim in [12, 100, 128] {
            let arms = arms(&wish(&[(Figure::Bytes, 16.0)]), dim, &[]);
            for arm in &arms {
                let method = arm.parse().expect("parses");
                method.check(dim).expect("fits the dimension");
                assert!(arm.bytes > 8 && arm.bytes <= 24, "{arm:?}");
            }
            let methods: HashSet<&str> = arms.iter().map(|arm| arm.method).collect();
            assert!(methods.len() >= 8, "{dim}: {methods:?}");
            assert_eq!(arms.iter().map(Arm::written).collect::<HashSet<_>>().len(), arms.len(), "none twice");
        }
    }

    #[test]
    fn a_limit_above_what_codes_can_use_leaves_no_method_out() {
        let only = ["pq".to_owned(), "scalar".to_owned()];
        for limit in [256.0, 1024.0, 1e15] {
            let arms = arms(&wish(&[(Figure::Bytes, limit)]), 64, &only);
            for method in &only {
                let most = arms.iter().filter(|arm| arm.method == method).map(|arm| arm.bytes).max();
                assert!(most.is_some_and(|most| most >= 64), "{method} within {limit} bytes: {most:?}");
            }
        }
    }

    #[test]
    fn a_limit_on_recall_tries_every_size() {
        let arms = arms(&wish(&[(Figure::Recall, 0.9)]), 64, &["pq".into()]);
        let mut bytes: Vec<usize> = arms.iter().map(|arm| arm.bytes).collect();
        bytes.sort_unstable();
        bytes.dedup();
        assert!(bytes.first() == Some(&4) && bytes.last().is_some_and(|most| *most >= 64), "{bytes:?}");
    }

    #[test]
    fn one_byte_leaves_few_and_unknown_methods_none() {
        assert!(!arms(&wish(&[(Figure::Bytes, 1.0)]), 16, &[]).is_empty());
        assert!(arms(&wish(&[(Figure::Bytes, 16.0)]), 16, &["none".into()]).is_empty());
    }

    #[test]
    fn parameters_are_written_as_yaml_that_reads_back() {
        let params = json!({ "m": 8, "levels": "lloyd-max", "odd": "a: b", "deep": { "list": [1, 2.5] }, "none": {} });
        let text = flow(&params);
        assert_eq!(text, "{ m: 8, levels: lloyd-max, odd: \"a: b\", deep: { list: [1, 2.5] }, none: {} }");
        let read = experiments::Document::parse("t", &text).expect("YAML");
        assert_eq!(*read.value(), params);
    }
}
