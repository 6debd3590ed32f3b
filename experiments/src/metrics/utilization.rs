//! How much of each codebook is in use?

use super::{Measure, MeasureEntry, Subject, params_of, parse_params};
use methods::MethodError;
use methods::contract::usage::Usage;
use methods::registry::schema_of;
use record::Measured;
use record::metric::{DEAD_CODES, PERPLEXITY, USAGE};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub const ENTRY: MeasureEntry = MeasureEntry {
    name: "utilization",
    summary: "Usage (share of codewords in use), perplexity and dead codewords, per position of the code and overall",
    always: false,
    schema: schema_of::<Utilization>,
    parse: parse_params::<Utilization>,
};

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Utilization {}

impl Measure for Utilization {
    fn params(&self) -> Value {
        params_of(self)
    }

    fn measure(&self, subject: &Subject<'_>) -> Result<Vec<Measured>, MethodError> {
        let Some(histograms) = subject.histograms()? else { return Ok(Vec::new()) };
        let usage = histograms.usage();
        let dead = |usage: &Usage| (usage.codewords - usage.used) as f64;
        let mut out = Vec::new();
        for (name, usage) in histograms.names.iter().zip(&usage) {
            out.push(Measured::new(&USAGE, usage.share()).stage(name));
            out.push(Measured::new(&PERPLEXITY, usage.perplexity()).stage(name));
            out.push(Measured::new(&DEAD_CODES, dead(usage)).stage(name));
        }
        let overall = Usage::overall(&usage);
        out.push(Measured::new(&USAGE, overall.share()));
        out.push(Measured::new(&PERPLEXITY, overall.perplexity()));
        out.push(Measured::new(&DEAD_CODES, dead(&overall)));
        Ok(out)
    }
}
