//! How did training progress?

use super::{Measure, MeasureEntry, Subject, params_of, parse_params};
use methods::MethodError;
use methods::registry::schema_of;
use record::Measured;
use record::metric::TRAINING;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The registration of this measurement.
pub const ENTRY: MeasureEntry = MeasureEntry {
    name: "training",
    summary: "Training curves: one row per iteration or epoch, numbered in the column `repeat`, for methods that iterate. The column `path` marks values over a sample of the rows (`sample`) and results that were discarded (`rejected`)",
    always: false,
    schema: schema_of::<TrainingMeasure>,
    parse: parse_params::<TrainingMeasure>,
};

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TrainingMeasure {}

impl Measure for TrainingMeasure {
    fn params(&self) -> Value {
        params_of(self)
    }

    fn measure(&self, subject: &Subject<'_>) -> Result<Vec<Measured>, MethodError> {
        let curves = subject.quantizer.curves().iter();
        let rows = curves.flat_map(|curve| {
            curve.points.iter().map(move |point| {
                let value = Measured::of_family(&TRAINING, curve.name, point.value);
                value.repeat(point.iteration).maybe_path(point.seen.mark())
            })
        });
        Ok(rows.collect())
    }
}
