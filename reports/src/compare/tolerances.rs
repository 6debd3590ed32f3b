//! How much worse the gate allows each metric to be.

use record::Metric;
use record::metric::{Dictionary, METRICS, Noise};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// How much worse a metric may be, as a fraction of its value. Entries here override the defaults.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tolerances {
    /// Tolerances of deterministic metrics, by name; the default is that of the dictionary of metrics.
    pub quality: BTreeMap<String, f64>,
    /// Tolerances of speed metrics, by name; the default is that of the dictionary, and is never below the noise floor.
    pub speed: BTreeMap<String, f64>,
}

impl Tolerances {
    /// Checks names and values.
    ///
    /// # Errors
    /// The JSON pointer of the wrong entry, what is wrong, and what is allowed.
    pub fn check(&self) -> Result<(), [String; 3]> {
        for (table, given, timed) in [("quality", &self.quality, false), ("speed", &self.speed, true)] {
            let names: Vec<&str> = gated(METRICS, timed).map(|(metric, _)| metric.name).collect();
            for (name, value) in given {
                if !names.contains(&name.as_str()) {
                    let message = format!("`{table}` has no metric `{name}`");
                    return Err([format!("/{table}/{name}"), message, format!("use one of {}", names.join(", "))]);
                }
                if !(0.0..f64::INFINITY).contains(value) {
                    let message = format!("`{name}: {value}` is not a tolerance");
                    return Err([format!("/{table}/{name}"), message, "write a fraction such as 0.05".into()]);
                }
            }
        }
        Ok(())
    }
}

/// The metrics of a dictionary that are compared, with their tolerances: the timed ones if `timed`, otherwise the
/// others.
pub(crate) fn gated(dictionary: &Dictionary, timed: bool) -> impl Iterator<Item = (&'static Metric, f64)> {
    let of_kind = dictionary.iter().filter(move |metric| (metric.noise == Noise::Timed) == timed);
    of_kind.filter_map(|metric| Some((*metric, metric.tolerance?)))
}
