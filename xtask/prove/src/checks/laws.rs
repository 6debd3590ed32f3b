//! The laws of [`methods::laws`] for methods of this build: each is a check of its own.

use crate::case::{Checked, fail};
use crate::subject::Subject;
use methods::laws::{self, Bench, device::guarded};
use methods::registry::{MethodEntry, find};
use methods::{Method, ParamError, parse};
use serde_json::{Value, json};

macro_rules! all {
    ($($law:ident),*) => { &[$((stringify!($law), laws::$law)),*] };
}

/// Name and law, which panics where it is broken.
type Function = (&'static str, fn(&Bench));

static LAWS: &[Function] = methods::for_each_law!(all);

/// Laws of the registry or of devices, not of one method with given parameters.
const OTHERS: [&str; 3] =
    ["more_bits_never_hurt", "transforms_go_before_any_method", "codes_agree_with_those_of_the_processor"];

/// A law and the method that is held to it.
pub struct Law {
    /// Its name in words.
    pub name: String,
    law: fn(&Bench),
    entry: &'static MethodEntry,
}

/// Reads `{"name": …, "params": …}`.
fn parse_named(named: Value) -> Result<Box<dyn Method>, ParamError> {
    parse(named["name"].as_str().unwrap_or_default(), named["params"].clone())
}

/// The laws of a subject; none if it is no method of this build.
pub fn of(subject: &dyn Subject) -> Vec<Law> {
    let Some((name, params)) = subject.registered() else { return Vec::new() };
    let Ok(entry) = find(&name) else { return Vec::new() };
    let example = json!({ "name": name, "params": params }).to_string();
    // The bench takes entries that live as long as the program; there is one of each proof.
    let examples: &'static [&'static str] = Box::leak(Box::new([&*Box::leak(example.into_boxed_str())]));
    let entry: &'static MethodEntry = Box::leak(Box::new(MethodEntry { examples, parse: parse_named, ..*entry }));
    let laws = LAWS.iter().filter(|(name, _)| !OTHERS.contains(name));
    laws.map(|&(name, law)| Law { name: name.replace('_', " "), law, entry }).collect()
}

impl Law {
    /// Holds the method to the law.
    ///
    /// # Errors
    /// A failure, in the words of the law.
    pub fn check(&self) -> Checked {
        let bench = Bench::default().only(|_| false).with(self.entry);
        match guarded(|| (self.law)(&bench)) {
            Ok(()) => Ok(String::new()),
            Err(words) => fail(
                "held it to a law of methods::laws",
                "that it holds",
                words,
                "rows of methods::laws::gaussian, in the law",
            ),
        }
    }
}
