//! The combinations of a method's entry: `sweep` multiplies its lists, `zip` advances its lists together.

use super::checks::Checker;
use crate::document::escape;
use serde_json::{Map, Value};

/// The key of an entry that a swept value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Sweep,
    Zip,
    /// The value was found for a rate.
    AtBits,
}

impl Source {
    /// As in YAML.
    pub(super) const fn key(self) -> &'static str {
        match self {
            Source::Sweep => "sweep",
            Source::Zip => "zip",
            Source::AtBits => "at_bits",
        }
    }
}

/// A parameter that takes its value from a list: which list, and the position in it.
#[derive(Clone, Debug)]
pub(super) struct Swept {
    pub(super) source: Source,
    pub(super) name: String,
    pub(super) position: usize,
}

impl Swept {
    /// The location of the value, below that of its entry.
    pub(super) fn pointer(&self, entry: &str) -> String {
        let (key, position) = (self.source.key(), self.position);
        match self.source {
            Source::Sweep | Source::Zip => format!("{entry}/{key}/{}/{position}", escape(&self.name)),
            Source::AtBits => format!("{entry}/{key}/{position}"),
        }
    }
}

/// A combination of swept values.
pub(super) type Combination<'e> = Vec<(Swept, &'e Value)>;

/// The lists of a `sweep` or `zip`, by parameter. A single value is a list of one, as everywhere. What is neither is
/// reported where it is read.
pub(super) fn lists(entry: &Map<String, Value>, source: Source) -> impl Iterator<Item = (&String, &[Value])> {
    let map = entry.get(source.key()).and_then(Value::as_object);
    map.into_iter()
        .flatten()
        .map(|(key, list)| (key, list.as_array().map_or(std::slice::from_ref(list), Vec::as_slice)))
}

/// Combinations of an entry, the last key of the sweep varying fastest and the zipped lists slowest; one empty
/// combination without either. There are not too many: [`super::extent`] has seen to it.
pub(super) fn combinations<'e>(
    entry: &'e Map<String, Value>,
    pointer: &str,
    checker: &mut Checker<'_>,
) -> Option<Vec<Combination<'e>>> {
    // Both are checked, so that the mistakes of both are seen.
    let [zip, sweep] = [Source::Zip, Source::Sweep].map(|source| check(entry, source, pointer, checker));
    if !zip || !sweep {
        return None;
    }
    let swept = |key: &str| lists(entry, Source::Sweep).any(|(other, _)| other == key);
    if let Some((key, _)) = lists(entry, Source::Zip).find(|(key, _)| swept(key)) {
        let pointer = format!("{pointer}/zip/{}", escape(key));
        checker.fault_at_key(
            &pointer,
            format!("`{key}` is in `zip` and in `sweep`"),
            Some("keep one of the two".into()),
        );
        return None;
    }
    let mut combinations = zipped(entry, pointer, checker)?;
    for (key, values) in lists(entry, Source::Sweep) {
        let mut longer = Vec::with_capacity(combinations.len() * values.len());
        for combination in &combinations {
            for (position, value) in values.iter().enumerate() {
                let mut combination: Combination<'e> = combination.clone();
                combination.push((Swept { source: Source::Sweep, name: key.clone(), position }, value));
                longer.push(combination);
            }
        }
        combinations = longer;
    }
    Some(combinations)
}

/// Whether a key of an entry is absent, or a mapping of parameters to lists that are not empty.
fn check(entry: &Map<String, Value>, source: Source, pointer: &str, checker: &mut Checker<'_>) -> bool {
    let key = source.key();
    match entry.get(key) {
        None => return true,
        Some(Value::Object(map)) if !map.is_empty() => {}
        Some(_) => {
            let example = match source {
                Source::Sweep => "such as { m: [24, 48, 96] }",
                Source::Zip | Source::AtBits => "such as { m: [4, 8], bits: [8, 4] }",
            };
            let message = format!("`{key}` is a mapping from parameters to lists of values");
            checker.fault(&format!("{pointer}/{key}"), message, Some(example.into()));
            return false;
        }
    }
    let bad = |(name, values): &(&String, &[Value])| values.is_empty() || entry[key][name.as_str()].is_null();
    let Some((name, _)) = lists(entry, source).find(bad) else { return true };
    let message = match source {
        Source::Sweep => format!("`{name}` is swept over an empty list or no list"),
        Source::Zip | Source::AtBits => format!("`{name}` in `{key}` has an empty list or no list"),
    };
    checker.fault(&format!("{pointer}/{key}/{}", escape(name)), message, Some(format!("write `{name}: [1, 2, 4]`")));
    false
}

/// One combination per position of the zipped lists.
fn zipped<'e>(entry: &'e Map<String, Value>, pointer: &str, checker: &mut Checker<'_>) -> Option<Vec<Combination<'e>>> {
    let Some((first, values)) = lists(entry, Source::Zip).next() else { return Some(vec![Vec::new()]) };
    let length = values.len();
    if let Some((name, other)) = lists(entry, Source::Zip).find(|(_, list)| list.len() != length) {
        let count = |n: usize| format!("{n} value{}", if n == 1 { "" } else { "s" });
        let message = format!("`{name}` has {}, but `{first}` has {}", count(other.len()), count(length));
        let help = "lists in `zip` advance together: give them the same number of values; a value that stays the same \
                    belongs to the parameters of the method";
        checker.fault_at_key(&format!("{pointer}/zip/{}", escape(name)), message, Some(help.into()));
        return None;
    }
    let at = |position: usize| {
        let swept = |name: &String| Swept { source: Source::Zip, name: name.clone(), position };
        lists(entry, Source::Zip).map(|(name, values)| (swept(name), &values[position])).collect()
    };
    Some((0..length).map(at).collect())
}
