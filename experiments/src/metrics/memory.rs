//! How much memory did the whole trial take?

use super::{Measure, MeasureEntry, Subject, params_of, parse_params};
use crate::machine;
use methods::MethodError;
use methods::spec::schema_of;
use record::Measured;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub const ENTRY: MeasureEntry = MeasureEntry {
    name: "memory",
    summary: "Peak resident memory of the trial's process, data included",
    always: true,
    schema: schema_of::<Memory>,
    parse: parse_params::<Memory>,
};

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Memory {}

impl Measure for Memory {
    fn params(&self) -> Value {
        params_of(self)
    }

    fn measure(&self, _subject: &Subject<'_>) -> Result<Vec<Measured>, MethodError> {
        let bytes = machine::peak_rss_bytes();
        Ok(bytes.map(|bytes| Measured::new("peak_rss_bytes", bytes as f64, "B")).into_iter().collect())
    }
}
