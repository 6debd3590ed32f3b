//! Ranges in sweeps: `{ from: 1, to: 8 }`, `{ from: 0, to: 1, step: 0.25 }` or `{ from: 4, to: 64, factor: 2 }` in place
//! of a list.

use super::checks::Checker;
use super::sweeps::Source;
use crate::document::escape;
use crate::experiment::Experiment;
use serde_json::{Map, Number, Value, json};

/// Maximum number of values of a range.
const MAX_VALUES: usize = 10_000;

/// Significant digits of a computed value: 3·0.1 is 0.3, not 0.30000000000000004.
const DIGITS: usize = 12;

/// Replaces every range in `sweep`, `zip` and `at_bits` by the list of its values. Returns whether all ranges are right.
pub(super) fn expand(experiment: &mut Experiment, checker: &mut Checker<'_>) -> bool {
    let mut right = true;
    for (i, entry) in experiment.methods.iter_mut().enumerate() {
        for source in [Source::Sweep, Source::Zip] {
            let lists = entry.get_mut(source.key()).and_then(Value::as_object_mut);
            for (key, value) in lists.into_iter().flatten() {
                right &= expand_one(value, &format!("/methods/{i}/{}/{}", source.key(), escape(key)), checker);
            }
        }
        if let Some(rates) = entry.get_mut(Source::AtBits.key()) {
            right &= expand_one(rates, &format!("/methods/{i}/{}", Source::AtBits.key()), checker);
        }
    }
    right
}

/// Replaces a value by its list if it is a range. Returns whether it was right.
fn expand_one(value: &mut Value, pointer: &str, checker: &mut Checker<'_>) -> bool {
    let is_range = |map: &&Map<String, Value>| map.contains_key("from") || map.contains_key("to");
    let Some(range) = value.as_object().filter(is_range) else { return true };
    match values(range) {
        Ok(list) => *value = Value::Array(list),
        Err((message, help)) => {
            checker.fault(pointer, message, Some(help));
            return false;
        }
    }
    true
}

/// The values of a range, `to` included if a step ends there; or what is wrong and what would be right.
fn values(range: &Map<String, Value>) -> Result<Vec<Value>, (String, String)> {
    let example = || "write `{ from: 1, to: 8 }`, with `step: 2` or `factor: 2` if you need it".to_owned();
    if let Some(key) = range.keys().find(|key| !["from", "to", "step", "factor"].contains(&key.as_str())) {
        return Err((format!("unknown key `{key}` in a range"), example()));
    }
    let number = |key: &str| match range.get(key) {
        None => Ok(None),
        Some(Value::Number(number)) => Ok(number.as_f64()),
        Some(other) => Err((format!("`{key}: {other}` is not a number"), example())),
    };
    let (from, to, step, factor) = (number("from")?, number("to")?, number("step")?, number("factor")?);
    let (Some(from), Some(to)) = (from, to) else {
        return Err(("a range needs `from` and `to`".into(), example()));
    };
    if to < from {
        return Err((format!("this range ends at {to}, below its start {from}"), "exchange `from` and `to`".into()));
    }
    let next: Box<dyn Fn(usize) -> f64> = match (step, factor) {
        (Some(_), Some(_)) => return Err(("a range has a `step` or a `factor`, not both".into(), example())),
        (step, None) => {
            let step = step.unwrap_or(1.0);
            if step <= 0.0 {
                return Err((
                    format!("`step: {step}` does not lead from {from} to {to}"),
                    "use a positive step".into(),
                ));
            }
            Box::new(move |i| from + i as f64 * step)
        }
        (None, Some(factor)) => {
            if factor <= 1.0 || from <= 0.0 {
                let message = format!("`factor: {factor}` does not lead from {from} to {to}");
                return Err((message, "use a factor above 1 and a positive `from`".into()));
            }
            Box::new(move |i| from * factor.powf(i as f64))
        }
    };
    // Integers stay integers, as in parameters such as `m`.
    let whole =
        ["from", "to", "step", "factor"].iter().all(|key| range.get(*key).is_none_or(|v| v.is_i64() || v.is_u64()));
    // A last step may miss `to` by rounding.
    let end = to + 1e-9 * to.abs().max(1e-9);
    let mut list = Vec::new();
    while next(list.len()) <= end {
        if list.len() == MAX_VALUES {
            return Err((format!("this range has more than {MAX_VALUES} values"), "use a larger step".into()));
        }
        let value = next(list.len());
        list.push(if whole { json!(value.round() as i64) } else { rounded(value) });
    }
    Ok(list)
}

/// A value with the digits that it was meant to have.
fn rounded(value: f64) -> Value {
    let text = format!("{value:.*e}", DIGITS - 1);
    let value = text.parse().unwrap_or(value);
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(range: Value) -> Result<Value, String> {
        let Value::Object(map) = range else { unreachable!("a mapping") };
        values(&map).map(Value::Array).map_err(|(message, _)| message)
    }

    #[test]
    fn ranges_have_the_values_that_a_reader_expects() {
        for (range, expected) in [
            (json!({ "from": 1, "to": 4 }), json!([1, 2, 3, 4])),
            (json!({ "from": 8, "to": 33, "step": 8 }), json!([8, 16, 24, 32])),
            (json!({ "from": 4, "to": 64, "factor": 2 }), json!([4, 8, 16, 32, 64])),
            (json!({ "from": 3, "to": 2187, "factor": 3 }), json!([3, 9, 27, 81, 243, 729, 2187])),
            (json!({ "from": 5, "to": 5 }), json!([5])),
            (json!({ "from": 0.1, "to": 0.5, "step": 0.1 }), json!([0.1, 0.2, 0.3, 0.4, 0.5])),
            (json!({ "from": 0.001, "to": 0.1, "factor": 10 }), json!([0.001, 0.01, 0.1])),
            (json!({ "from": -1, "to": 1 }), json!([-1, 0, 1])),
            (json!({ "from": 1, "to": 10_000 }), json!((1..=10_000).collect::<Vec<_>>())),
        ] {
            assert_eq!(of(range.clone()), Ok(expected), "{range}");
        }
    }

    #[test]
    fn a_range_that_does_not_end_or_begin_is_refused() {
        for (range, expected) in [
            (json!({ "from": 1 }), "needs `from` and `to`"),
            (json!({ "to": 1 }), "needs `from` and `to`"),
            (json!({ "from": 4, "to": 1 }), "ends at 1, below its start 4"),
            (json!({ "from": 1, "to": 4, "step": 0 }), "`step: 0` does not lead from 1 to 4"),
            (json!({ "from": 1, "to": 4, "factor": 1 }), "`factor: 1` does not lead"),
            (json!({ "from": 0, "to": 4, "factor": 2 }), "`factor: 2` does not lead"),
            (json!({ "from": 1, "to": 4, "step": 1, "factor": 2 }), "not both"),
            (json!({ "from": 1, "to": 4, "by": 2 }), "unknown key `by`"),
            (json!({ "from": "a", "to": 4 }), "is not a number"),
            (json!({ "from": 1, "to": 10_001 }), "more than 10000 values"),
            (json!({ "from": 0, "to": 1e300, "step": 1e-300 }), "more than 10000 values"),
        ] {
            let found = of(range.clone());
            assert!(found.as_ref().is_err_and(|message| message.contains(expected)), "{range}: {found:?}");
        }
    }
}
