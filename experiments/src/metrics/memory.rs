//! How much memory did the trial use, on the host and on the device?

use super::{Measure, MeasureEntry, Subject, params_of, parse_params};
use crate::machine;
use methods::MethodError;
use methods::registry::schema_of;
use record::Measured;
use record::metric::{PEAK_DEVICE_BYTES, PEAK_RSS_BYTES};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub const ENTRY: MeasureEntry = MeasureEntry {
    name: "memory",
    summary: "Peak resident memory of the trial's process, data included, and of an outside program; on a GPU also the peak of allocated GPU memory",
    always: true,
    schema: schema_of::<MemoryMeasure>,
    parse: parse_params::<MemoryMeasure>,
};

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct MemoryMeasure {}

impl Measure for MemoryMeasure {
    fn params(&self) -> Value {
        params_of(self)
    }

    fn measure(&self, subject: &Subject<'_>) -> Result<Vec<Measured>, MethodError> {
        // An outside program computes in processes of its own.
        let program = subject.quantizer.program().map_or(Some(0), |program| program.peak_bytes());
        let here = (&PEAK_RSS_BYTES, machine::peak_rss_bytes().zip(program).map(|(bytes, program)| bytes + program));
        let there = (&PEAK_DEVICE_BYTES, subject.backend.peak_device_bytes());
        let known = [here, there].into_iter().filter_map(|(metric, bytes)| Some((metric, bytes?)));
        Ok(known.map(|(metric, bytes)| Measured::new(metric, bytes as f64)).collect())
    }
}
