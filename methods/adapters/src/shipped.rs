//! The adapters that are shipped: their programs, what these need, and their parameters, one file and one line each.

mod faiss;
mod rabitqlib;
mod scalable_vs;
mod scann;
mod turbovec;
mod usearch;
mod vector_quantize_pytorch;

use schemars::Schema;
use serde_json::Value;
use strict::ParamError;

/// All adapters that are shipped, by name.
pub static SHIPPED: &[Shipped] = &[
    faiss::SHIPPED,
    rabitqlib::SHIPPED,
    scalable_vs::SHIPPED,
    scann::SHIPPED,
    turbovec::SHIPPED,
    usearch::SHIPPED,
    vector_quantize_pytorch::SHIPPED,
];

/// The file that speaks the protocol for adapters in Python. Each of them imports it.
pub const CLIENT: &str = include_str!("../clients/vqbench.py");

/// An adapter that is part of this program. Its library is fetched on demand (see [`crate::Environment`]).
#[derive(Debug)]
pub struct Shipped {
    /// Name in experiments.
    pub name: &'static str,
    /// One line for listings.
    pub summary: &'static str,
    /// What it is good for, and what it does not do.
    pub use_for: &'static str,
    /// The licence of the library: an SPDX identifier, or a text.
    pub licence: &'static str,
    /// The package that computes, as [`Shipped::requirements`] pins it.
    pub package: &'static str,
    /// The oldest Python that the library runs on.
    pub oldest_python: (u32, u32),
    /// Why the library cannot run on this machine, if it cannot.
    pub refusal_here: fn() -> Option<&'static str>,
    /// Whether installing it fetches gigabytes. Continuous integration leaves it out.
    pub is_large: bool,
    /// Text of the program.
    pub adapter: &'static str,
    /// Exact versions of all packages, in pip's notation.
    pub requirements: &'static str,
    /// Parameter objects (JSON) for dimensions divisible by 12 and 16. The first is a good start; checks run all of them.
    pub examples: &'static [&'static str],
    /// Schema of the parameters, with descriptions and defaults.
    pub schema: fn() -> Schema,
    /// Reads parameters, and returns them as the program reads them.
    pub parse: fn(Value) -> Result<Value, ParamError>,
}

impl Shipped {
    /// Why it cannot run on this machine, if it cannot.
    pub fn refusal(&self) -> Option<&'static str> {
        (self.refusal_here)()
    }

    /// The version of the library that is pinned.
    pub fn version(&self) -> &'static str {
        let line = self.requirements.lines().find_map(|line| line.strip_prefix(self.package)?.strip_prefix("=="));
        line.and_then(|rest| rest.split([' ', ';']).next()).unwrap_or_default()
    }
}

/// An adapter by its name.
pub fn find(name: &str) -> Option<&'static Shipped> {
    SHIPPED.iter().find(|shipped| shipped.name == name)
}

/// For [`Shipped::refusal_here`]: a library that runs everywhere.
fn everywhere() -> Option<&'static str> {
    None
}

/// For [`Shipped::refusal_here`]: a library that needs AVX2 on x86-64.
fn with_avx2() -> Option<&'static str> {
    #[cfg(target_arch = "x86_64")]
    if !std::arch::is_x86_feature_detected!("avx2") {
        return Some("the library needs a processor with AVX2");
    }
    None
}

/// Reads a parameter struct strictly; for [`Shipped::parse`].
fn parse_params<T>(params: Value) -> Result<Value, ParamError>
where
    T: serde::Serialize + serde::de::DeserializeOwned + schemars::JsonSchema + 'static,
{
    let params: T = strict::from_value(params)?;
    strict::check_ranges(&params)?;
    serde_json::to_value(params).map_err(|error| ParamError { param: None, message: error.to_string(), help: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn everything_is_pinned() {
        for shipped in SHIPPED {
            assert!(shipped.version().contains('.'), "{}: `{}` is not pinned", shipped.name, shipped.package);
            let lines = || shipped.requirements.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
            assert!(lines().all(|line| line.contains("==")), "{}: every package is pinned", shipped.name);
            assert!(lines().any(|line| line.starts_with("numpy==")), "{}: the client needs NumPy", shipped.name);
        }
    }

    /// The parameters of the struct are the fields of `Params` in the program, so that neither refuses what the other has.
    #[test]
    fn programs_have_the_parameters_that_are_documented() {
        for shipped in SHIPPED {
            let schema = Value::from((shipped.schema)());
            let documented: BTreeSet<String> = match schema["properties"].as_object() {
                Some(properties) => properties.keys().cloned().collect(),
                None => BTreeSet::new(),
            };
            let body = shipped.adapter.split("class Params:").nth(1).unwrap_or_default();
            let body = body.lines().skip(1).take_while(|line| line.starts_with("    ") || line.is_empty());
            let field = |line: &str| Some(line.trim().split_once(": ")?.0.replace('_', "-"));
            let fields: BTreeSet<String> =
                body.filter(|line| !line.trim_start().starts_with('#')).filter_map(field).collect();
            assert_eq!(documented, fields, "{}", shipped.name);
        }
    }

    #[test]
    fn examples_are_read_and_unknown_names_are_not() {
        for shipped in SHIPPED {
            assert!(!shipped.examples.is_empty(), "{}", shipped.name);
            for example in shipped.examples {
                let given: Value = serde_json::from_str(example).expect("an example is JSON");
                let read = (shipped.parse)(given.clone()).unwrap_or_else(|error| panic!("{}: {error}", shipped.name));
                for (key, value) in given.as_object().expect("an object") {
                    assert_eq!(&read[key], value, "{}: {key}", shipped.name);
                }
            }
            let wrong = (shipped.parse)(serde_json::json!({ "no-such-parameter": 1 }));
            assert!(wrong.is_err(), "{}", shipped.name);
        }
        assert!(find("faiss").is_some_and(|shipped| shipped.package == "faiss-cpu"));
        assert!(find("faisss").is_none());
    }
}
