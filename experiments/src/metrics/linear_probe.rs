//! How accurate is a linear classifier that is trained on decoded vectors?

use super::retention::{RetentionMetrics, mean, retention};
use super::{Ability, Measure, MeasureEntry, Subject, params_of, parse_params, unread};
use crate::logistic::Logistic;
use methods::registry::schema_of;
use methods::{MethodError, ParamError};
use ndarray::{Array2, ArrayView2};
use rand::SeedableRng;
use rand::seq::index;
use rand_chacha::ChaCha8Rng;
use record::Measured;
use record::metric::{
    PROBE_ACCURACY, PROBE_ACCURACY_RETENTION, PROBE_ACCURACY_RETENTION_HIGH, PROBE_ACCURACY_RETENTION_LOW,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub const ENTRY: MeasureEntry = MeasureEntry {
    name: "linear_probe",
    summary: "Accuracy of logistic regression that is trained on decoded base rows and tested on decoded query rows, and its ratio to the accuracy on raw vectors; only if asked for",
    always: false,
    schema: schema_of::<LinearProbe>,
    parse: parse_params::<LinearProbe>,
};

/// Most weights of a classifier: its memory grows with components times classes.
const MAX_WEIGHTS: usize = 8_000_000;

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct LinearProbe {
    /// Maximum number of base rows to train on. If there are more, a random sample is taken, the same for every method.
    /// More rows make the classifier better and the measurement slower.
    #[schemars(range(min = 2, max = 10_000_000))]
    rows: usize,
    /// Weight λ of the penalty λ/2·‖W‖² beside the mean loss of the rows; for n rows, `C` of scikit-learn is 1/(λ·n). Raise
    /// it if the classifier overfits.
    #[schemars(range(min = 1e-6, max = 1e6))]
    penalty: f64,
}

impl Default for LinearProbe {
    fn default() -> LinearProbe {
        LinearProbe { rows: 10_000, penalty: 0.003 }
    }
}

impl Measure for LinearProbe {
    fn params(&self) -> Value {
        params_of(self)
    }

    fn needs(&self) -> &'static [Ability] {
        &[Ability::Decode]
    }

    fn needs_labels(&self) -> bool {
        true
    }

    fn measure(&self, subject: &Subject<'_>) -> Result<Vec<Measured>, MethodError> {
        let Some(labels) = &subject.data.labels else { return Ok(Vec::new()) };
        let chosen = sample(labels.base.len(), self.rows);
        let (classes, known) = classes(&labels.base, &chosen);
        let weights = known.len().saturating_mul(subject.data.dim() + 1);
        if weights > MAX_WEIGHTS {
            return Err(refused(format!(
                "a classifier of {} classes needs {weights} weights; {MAX_WEIGHTS} are possible: use fewer classes, or leave \
                 `linear_probe` out",
                known.len()
            )));
        }
        if known.len() < 2 {
            return Err(refused("all rows to train on are of one class, which leaves nothing to learn".to_owned()));
        }
        let queries = subject.data.queries.view();
        let right = |classifier: &Logistic, rows: ArrayView2<'_, f32>| -> Vec<f64> {
            let predicted = classifier.predict(rows).into_iter().map(|class| known[class]);
            predicted.zip(&labels.queries).map(|(found, label)| f64::from(found == *label)).collect()
        };
        let fit = |rows: &Array2<f32>, start: Option<&Logistic>| {
            Logistic::fit(rows.view(), &classes, known.len(), self.penalty, start)
        };
        let raw = fit(&base_rows(subject, &chosen)?, None);
        // From the weights for raw vectors, since those for decoded ones are near.
        let coded = fit(&decoded_rows(subject, &chosen)?, Some(&raw));
        if !(raw.converged && coded.converged) {
            // Into the log of the trial.
            eprintln!("linear_probe: the search for weights ended before its tolerance; a larger `penalty` helps");
        }
        let raw = right(&raw, queries);
        let coded = right(&coded, decoded(subject, queries)?.view());
        let mut out = vec![
            Measured::new(&PROBE_ACCURACY, mean(&raw)).path("raw"),
            Measured::new(&PROBE_ACCURACY, mean(&coded)).path(DECODED),
        ];
        let kept = RetentionMetrics {
            value: &PROBE_ACCURACY_RETENTION,
            low: &PROBE_ACCURACY_RETENTION_LOW,
            high: &PROBE_ACCURACY_RETENTION_HIGH,
        };
        let found = retention(&raw, &coded).into_iter().flat_map(|found| kept.measured(found));
        out.extend(found.map(|value| value.path(DECODED)));
        Ok(out)
    }
}

/// Path of values that decoded vectors give.
const DECODED: &str = "decode";

fn refused(message: String) -> MethodError {
    MethodError::Param(ParamError { param: None, message, help: None })
}

/// At most `most` of `n` rows, in ascending order.
fn sample(n: usize, most: usize) -> Vec<usize> {
    if n <= most {
        return (0..n).collect();
    }
    let mut rows = index::sample(&mut ChaCha8Rng::seed_from_u64(0), n, most).into_vec();
    rows.sort_unstable();
    rows
}

/// The class of each chosen row, counted from 0, and the label of each class.
fn classes(labels: &[u32], chosen: &[usize]) -> (Vec<usize>, Vec<u32>) {
    let mut known: Vec<u32> = chosen.iter().map(|&row| labels[row]).collect();
    known.sort_unstable();
    known.dedup();
    let class = |&row: &usize| known.binary_search(&labels[row]).unwrap_or_default();
    (chosen.iter().map(class).collect(), known)
}

/// Some base rows.
fn base_rows(subject: &Subject<'_>, chosen: &[usize]) -> Result<Array2<f32>, MethodError> {
    subject.data.base.rows(&chosen.iter().map(|&row| row as u32).collect::<Vec<_>>()).map_err(unread)
}

/// Some base rows, decoded from their codes.
fn decoded_rows(subject: &Subject<'_>, chosen: &[usize]) -> Result<Array2<f32>, MethodError> {
    let size = subject.quantizer.code_size();
    let codes: Vec<u8> = chosen.iter().flat_map(|&row| &subject.codes[row * size..][..size]).copied().collect();
    let mut rows = Array2::zeros((chosen.len(), subject.data.dim()));
    subject.quantizer.decode_into(&codes, rows.view_mut())?;
    Ok(rows)
}

/// Rows as they are after encoding and decoding.
fn decoded(subject: &Subject<'_>, rows: ArrayView2<'_, f32>) -> Result<Array2<f32>, MethodError> {
    let mut codes = vec![0; rows.nrows() * subject.quantizer.code_size()];
    subject.quantizer.encode_into(rows, &mut codes)?;
    let mut out = Array2::zeros(rows.dim());
    subject.quantizer.decode_into(&codes, out.view_mut())?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_the_same_each_time_and_classes_follow_their_labels() {
        assert_eq!(sample(3, 5), [0, 1, 2]);
        let rows = sample(1000, 100);
        assert!(rows.len() == 100 && rows.windows(2).all(|pair| pair[0] < pair[1]) && rows[99] < 1000);
        assert_eq!(sample(1000, 100), rows);
        assert_eq!(classes(&[9, 4, 9, 7], &[0, 2, 3]), (vec![1, 1, 0], vec![7, 9]));
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        for (key, value) in [("rows", serde_json::json!(1)), ("penalty", serde_json::json!(0))] {
            let error = (ENTRY.parse)(serde_json::json!({ key: value })).expect_err("out of range");
            assert_eq!(error.param.as_deref(), Some(key));
        }
    }
}
