//! How much of the codebook is in use?

use super::{Measure, MeasureEntry, Subject, entropy_bits, params_of, parse_params};
use methods::MethodError;
use methods::spec::schema_of;
use record::Measured;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub const ENTRY: MeasureEntry = MeasureEntry {
    name: "utilization",
    summary: "Share of codewords in use, perplexity and dead codewords, per position of the code and overall",
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
        let Some(histograms) = subject.histograms() else { return Ok(Vec::new()) };
        let mut out = Vec::new();
        let (mut used, mut size, mut entropy) = (0, 0, 0.0);
        for (name, counts) in histograms.names.iter().zip(&histograms.counts) {
            let hit = counts.iter().filter(|&&c| c > 0).count();
            let bits = entropy_bits(counts);
            out.push(Measured::new("usage", hit as f64 / counts.len() as f64, "1").stage(name));
            out.push(Measured::new("perplexity", bits.exp2(), "1").stage(name));
            out.push(Measured::new("dead_codes", (counts.len() - hit) as f64, "1").stage(name));
            used += hit;
            size += counts.len();
            entropy += bits;
        }
        // Overall: codewords of all positions pooled; perplexity as the geometric mean over positions.
        let positions = histograms.counts.len().max(1) as f64;
        out.push(Measured::new("usage", used as f64 / size.max(1) as f64, "1"));
        out.push(Measured::new("perplexity", (entropy / positions).exp2(), "1"));
        out.push(Measured::new("dead_codes", (size - used) as f64, "1"));
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entropy_of_known_histograms() {
        assert_eq!(entropy_bits(&[5, 5, 5, 5]), 2.0);
        assert_eq!(entropy_bits(&[7, 0, 0]), 0.0);
        assert!((entropy_bits(&[1, 3]) - 0.811_278).abs() < 1e-6);
        assert_eq!(entropy_bits(&[0, 0]), 0.0);
    }
}
