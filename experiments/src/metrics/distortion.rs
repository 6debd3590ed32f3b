//! How far are decoded vectors from the originals, on rows not trained on?

use super::inner_products::InnerProducts;
use super::pass::{Accumulate, Outline, Pass, TASK_ROWS};
use super::{Ability, Measure, MeasureEntry, Subject, params_of, parse_params};
use datasets::gaussian_bound;
use methods::MethodError;
use methods::algorithms::moments;
use methods::registry::schema_of;
use ndarray::{Array2, ArrayView2, Axis, s};
use rayon::prelude::*;
use record::Measured;
use record::metric::{
    COSINE, GAP_TO_BOUND_DB, GAUSSIAN_BOUND_NMSE, IP_BIAS, IP_STD, MSE, MSE_STD, NMSE, SQNR_DB, TRAIN_NMSE,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub const ENTRY: MeasureEntry = MeasureEntry {
    name: "distortion",
    summary: "MSE, normalized MSE, SQNR, cosine; bias and standard deviation of inner products; the Gaussian bound and the gap to it",
    always: false,
    schema: schema_of::<Distortion>,
    parse: parse_params::<Distortion>,
};

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Distortion {}

/// Sums over rows and their decoded form.
#[derive(Default)]
struct Sums {
    squared_error: f64,
    /// Sum of the squares of the squared errors.
    fourth: f64,
    power: f64,
    cosine: f64,
}

impl Measure for Distortion {
    fn params(&self) -> Value {
        params_of(self)
    }

    fn needs(&self) -> &'static [Ability] {
        &[Ability::Decode]
    }

    fn watch(&self, outline: &Outline<'_>, pass: &mut Pass) {
        pass.want(Sums::default);
        pass.want(|| InnerProducts::new(outline));
    }

    fn measure(&self, subject: &Subject<'_>) -> Result<Vec<Measured>, MethodError> {
        let n = subject.data.base.nrows() as f64;
        let sums: &Sums = subject.sum()?;
        let mse = sums.squared_error / n;
        let mut out = vec![Measured::new(&MSE, mse), Measured::new(&COSINE, sums.cosine / n)];
        if n > 1.0 {
            let deviations = (sums.fourth - n * mse * mse).max(0.0);
            out.push(Measured::new(&MSE_STD, (deviations / (n - 1.0)).sqrt()));
        }
        if sums.squared_error > 0.0 && sums.power > 0.0 {
            out.push(Measured::new(&SQNR_DB, 10.0 * (sums.power / sums.squared_error).log10()));
        }
        let variance = subject.facts.variance;
        if variance > 0.0 {
            let nmse = mse / variance;
            out.push(Measured::new(&NMSE, nmse));
            if let Some(bound) = gaussian_bound::at_rate(&subject.facts.spectrum, subject.quantizer.code_bits() as f64)
            {
                out.push(Measured::new(&GAUSSIAN_BOUND_NMSE, bound));
                if nmse > 0.0 {
                    out.push(Measured::new(&GAP_TO_BOUND_DB, 10.0 * (nmse / bound).log10()));
                }
            }
        }
        let (bias, deviation) = subject.sum::<InnerProducts>()?.bias_and_deviation();
        out.push(Measured::new(&IP_BIAS, bias));
        out.push(Measured::new(&IP_STD, deviation));
        if let Some(train_nmse) = train_nmse(subject)? {
            out.push(Measured::new(&TRAIN_NMSE, train_nmse));
        }
        Ok(out)
    }
}

impl Accumulate for Sums {
    fn add(&mut self, rows: ArrayView2<'_, f32>, decoded: ArrayView2<'_, f32>) {
        let tasks = rows.axis_chunks_iter(Axis(0), TASK_ROWS).zip(decoded.axis_chunks_iter(Axis(0), TASK_ROWS));
        let tasks: Vec<_> = tasks.collect();
        let one = |(rows, decoded): (ArrayView2<'_, f32>, ArrayView2<'_, f32>)| {
            let mut sums = Sums::default();
            for (x, y) in rows.outer_iter().zip(decoded.outer_iter()) {
                let (mut error, mut xx, mut yy, mut xy) = (0f64, 0f64, 0f64, 0f64);
                for (&x, &y) in x.iter().zip(y) {
                    let (x, y) = (f64::from(x), f64::from(y));
                    error += (x - y) * (x - y);
                    xx += x * x;
                    yy += y * y;
                    xy += x * y;
                }
                sums.squared_error += error;
                sums.fourth += error * error;
                sums.power += xx;
                // A vector decoded to zero has no direction: it counts as orthogonal.
                sums.cosine += if xx > 0.0 && yy > 0.0 { xy / (xx * yy).sqrt() } else { 0.0 };
            }
            sums
        };
        let parts: Vec<Sums> = tasks.into_par_iter().map(one).collect();
        for part in parts {
            self.squared_error += part.squared_error;
            self.fourth += part.fourth;
            self.power += part.power;
            self.cosine += part.cosine;
        }
    }
}

/// Distortion on the training rows over their own variance: a far lower value than `nmse` means overfitting.
fn train_nmse(subject: &Subject<'_>) -> Result<Option<f64>, MethodError> {
    let train = subject.data.train.view();
    let quantizer = subject.quantizer;
    let mut squared_error = 0.0;
    // In blocks, so that the decoded training rows are never all in memory.
    for start in (0..train.nrows()).step_by(16 * TASK_ROWS) {
        let block = train.slice(s![start..(start + 16 * TASK_ROWS).min(train.nrows()), ..]);
        let mut codes = vec![0u8; block.nrows() * quantizer.code_size()];
        quantizer.encode_into(block, &mut codes)?;
        let mut decoded = Array2::zeros(block.dim());
        quantizer.decode_into(&codes, decoded.view_mut())?;
        let mut sums = Sums::default();
        sums.add(block, decoded.view());
        squared_error += sums.squared_error;
    }
    let variance = moments::variance(train, &moments::mean(train));
    Ok((variance > 0.0).then(|| squared_error / train.nrows() as f64 / variance))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn sums_by_hand() {
        // Squared errors of 1 and 9, with mean 5 and standard deviation √32.
        let mut sums = Sums::default();
        sums.add(array![[0f32, 0.0], [0.0, 0.0]].view(), array![[1f32, 0.0], [0.0, 3.0]].view());
        assert_eq!((sums.squared_error, sums.fourth, sums.power), (10.0, 82.0, 0.0));
    }
}
