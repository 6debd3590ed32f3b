//! The one registration point: every method, with what is known about it before any instance exists.
//!
//! YAML, the JSON schema, `xtask methods`, the conformance suite and the documents take the methods from here.

mod family;
mod rate;

use crate::additive::{lsq, rvq};
use crate::classical::{binary, flat, kmeans, lattice, lbg, scalar, vq};
use crate::external;
use crate::factory;
use crate::learned::{fsq, gumbel, lfq, qat, rvqvae, simvq, vqvae};
use crate::product::{opq, pq};
use crate::rotated::{rabitq, turboquant};
use crate::transform::{self, Transform, Transformed};
use crate::{Method, ParamError};
pub use family::Family;
pub use rate::{AtRate, RateParam};
use schemars::{JsonSchema, Schema};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use strict::nearest_name;
pub use strict::schema_of;

/// Every method. To add one: its file beside those that it is most like, its `mod` line there, its line here.
pub static METHODS: &[MethodEntry] = &[
    scalar::ENTRY,
    binary::ENTRY,
    lbg::ENTRY,
    kmeans::ENTRY,
    vq::ENTRY,
    pq::ENTRY,
    opq::ENTRY,
    rvq::ENTRY,
    lsq::ENTRY,
    rabitq::ENTRY,
    turboquant::ENTRY,
    lattice::ENTRY,
    flat::ENTRY,
    qat::ENTRY,
    fsq::ENTRY,
    gumbel::ENTRY,
    vqvae::ENTRY,
    rvqvae::ENTRY,
    simvq::ENTRY,
    lfq::ENTRY,
    factory::ENTRY,
];

/// Methods that outside programs compute: any, and those whose adapters are shipped.
pub static PROGRAMS: &[MethodEntry] = &[
    external::ENTRY,
    external::shipped::<0>(),
    external::shipped::<1>(),
    external::shipped::<2>(),
    external::shipped::<3>(),
    external::shipped::<4>(),
    external::shipped::<5>(),
    external::shipped::<6>(),
];

/// Every adapter that is shipped is a method.
const _: () = assert!(PROGRAMS.len() == 1 + adapters::SHIPPED.len());

/// Every name that may stand in an experiment: [`METHODS`], then [`PROGRAMS`].
pub fn entries() -> impl Iterator<Item = &'static MethodEntry> + Clone {
    METHODS.iter().chain(PROGRAMS)
}

/// A law of [`crate::laws`] that does not apply to a method, either in general or with certain parameters.
#[derive(Clone, Copy, Debug)]
pub struct Exemption {
    /// Name of the law.
    pub law: &'static str,
    /// The law does not apply to methods that have these parameters (a JSON object); `{}` matches all.
    pub with: &'static str,
    /// The reason.
    pub why: &'static str,
}

impl Exemption {
    /// Whether the law does not apply to this method.
    ///
    /// # Panics
    /// When [`Exemption::with`] is not a JSON object.
    pub fn covers(&self, method: &dyn Method) -> bool {
        let with: serde_json::Map<String, Value> = match serde_json::from_str(self.with) {
            Ok(with) => with,
            Err(error) => panic!("`{}` is not a JSON object: {error}", self.with),
        };
        let params = method.params();
        with.iter().all(|(key, value)| params.get(key) == Some(value))
    }
}

/// What a search for the best code tries of a method, at every rate that it looks at (`cargo xtask advise`).
#[derive(Clone, Copy, Debug)]
pub struct Tries {
    /// Parameter objects (JSON) that are tried, without those that set the rate: `{}` for the defaults, and others that
    /// make a better code for some vectors. Empty if all of its codes are also those of another entry.
    pub params: &'static [&'static str],
    /// Whether each of them is also tried behind transforms. False if the method does not depend on the axes, or turns
    /// them itself.
    pub transforms: bool,
}

/// What is known about a method by name.
pub struct MethodEntry {
    /// Name in YAML.
    pub name: &'static str,
    /// What kind of quantizer it is; None if it is a notation for methods of several families.
    pub family: Option<Family>,
    /// One line for listings.
    pub summary: &'static str,
    /// The papers.
    pub paper: &'static str,
    /// Bits per vector, as a formula in its parameters.
    pub rate: &'static str,
    /// The parameters that [`MethodEntry::at_rate`] may search for a given rate, by preference: the first one that the
    /// user leaves open is searched, and the others keep what is written or their defaults. Empty if the rate follows
    /// from the dimension alone.
    pub rate_params: &'static [RateParam],
    /// Cost of fitting and encoding, as formulas.
    pub cost: &'static str,
    /// Parameter objects (JSON) for dimensions divisible by 12. The first is a good start for users; tests run all of
    /// them.
    pub examples: &'static [&'static str],
    /// What a search for the best code tries of it.
    pub tries: Tries,
    /// The laws that do not apply, with reasons.
    pub exempt: &'static [Exemption],
    /// Schema of the parameters, with descriptions and defaults.
    pub schema: fn() -> Schema,
    /// Reads the parameters.
    pub parse: fn(Value) -> Result<Box<dyn Method>, ParamError>,
}

impl MethodEntry {
    /// Whether outside programs compute it.
    pub fn is_program(&self) -> bool {
        PROGRAMS.iter().any(|entry| entry.name == self.name)
    }

    /// Schema of everything that may be written under the name of the method: its parameters and a transform.
    pub fn params_schema(&self) -> Schema {
        let mut schema = (self.schema)();
        if self.is_program() {
            return schema;
        }
        if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
            let mut transform = schema_of::<Transform>().to_value();
            if let Some(transform) = transform.as_object_mut() {
                transform.shift_remove("$schema");
                transform.shift_remove("title");
            }
            properties.insert(transform::KEY.to_owned(), transform);
        }
        schema
    }
}

/// Reads a method by name, with a transform before it if the parameters name one.
///
/// # Errors
/// An unknown name, with the nearest known one; an unknown, missing or ill-typed parameter.
pub fn parse(name: &str, params: Value) -> Result<Box<dyn Method>, ParamError> {
    let mut params = params;
    let entry = find(name)?;
    // A transform would compute here, where the clock of the program does not see it.
    if entry.is_program() {
        return (entry.parse)(params);
    }
    strict::check_keys(&params, &entry.params_schema())?;
    let transform = Transform::take(entry.name, &mut params)?;
    let inner = (entry.parse)(params)?;
    Ok(match transform {
        Some(transform) => Box::new(Transformed { transform, inner }),
        None => inner,
    })
}

/// Reads a method that is written as one string: its name, with default parameters, or a FAISS factory string.
///
/// # Errors
/// Neither of the two; a method that has parameters without default.
///
/// ```
/// let method = methods::parse_text("OPQ16,PQ16x8")?;
/// assert_eq!((method.name(), method.code_bits(128)), ("opq", 128));
/// assert!(method.check(100).is_err(), "16 does not divide 100");
///
/// let error = methods::parse_text("rabitk").err().and_then(|error| error.help);
/// assert!(error.is_some_and(|help| help.contains("rabitq")));
/// # Ok::<(), methods::ParamError>(())
/// ```
pub fn parse_text(text: &str) -> Result<Box<dyn Method>, ParamError> {
    // Names of methods are lower case; factory strings have capitals.
    if text.contains(|c: char| c.is_ascii_uppercase()) {
        return parse(factory::ENTRY.name, Value::String(text.to_owned()));
    }
    parse(find(text)?.name, Value::Null)
}

/// Finds a method by name.
///
/// # Errors
/// An unknown name, with the nearest known one.
pub fn find(name: &str) -> Result<&'static MethodEntry, ParamError> {
    entries().find(|entry| entry.name == name).ok_or_else(|| ParamError {
        param: None,
        message: format!("unknown method `{name}`"),
        help: Some(nearest_name(name, entries().map(|entry| entry.name), "methods")),
    })
}

/// The family of a method by its name; None for a name that is unknown or that stands for methods of several families.
pub fn family_of(name: &str) -> Option<Family> {
    entries().find(|entry| entry.name == name)?.family
}

/// Reads a parameter struct; for [`MethodEntry::parse`].
///
/// # Errors
/// An unknown, missing or ill-typed parameter.
pub fn parse_params<T: Method + JsonSchema + DeserializeOwned + 'static>(
    params: Value,
) -> Result<Box<dyn Method>, ParamError> {
    let params = if params.is_null() { Value::Object(serde_json::Map::new()) } else { params };
    Ok(Box::new(strict::from_value::<T>(params)?))
}

/// A parameter struct as JSON; for [`Method::params`].
///
/// # Panics
/// If it cannot be represented, such as a map whose keys are not strings. Such a struct is a bug.
pub fn params_of<T: Serialize>(params: &T) -> Value {
    match serde_json::to_value(params) {
        Ok(value) => value,
        Err(error) => panic!("parameters are plain data: {error}"),
    }
}
