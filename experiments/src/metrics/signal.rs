//! What are rate and distortion in the units of the images or the sound that vectors are pieces of?

use super::pass::{Accumulate, Outline, Pass, TASK_ROWS};
use super::{Ability, Measure, MeasureEntry, Subject, params_of, parse_params};
use crate::pictures::CropSettings;
use datasets::signal::eight_bits;
use datasets::{MetricSpace, Picture, Signal};
use methods::MethodError;
use methods::registry::schema_of;
use ndarray::{ArrayView2, Axis};
use rayon::prelude::*;
use record::Measured;
use record::metric::{BITS_PER_PIXEL, BITS_PER_SECOND, LOG_MEL_RMSE, PSNR_DB};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub const ENTRY: MeasureEntry = MeasureEntry {
    name: "signal",
    summary: "For images: bits per pixel, PSNR, and examples in the report; for frames of sound: bits per second, RMSE of log-mel values",
    always: false,
    schema: schema_of::<SignalMeasure>,
    parse: parse_params::<SignalMeasure>,
};

/// Base pictures that get values of their own, at most: a table of thousands per trial helps nobody.
const OWN_VALUES: usize = 100;

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct SignalMeasure {
    /// Number of base images, counted from the first, whose reconstructions the report shows. They come from the trials
    /// of the first seed. 0 switches these images off.
    #[schemars(range(min = 0, max = 100))]
    pictures: usize,
    /// Height and width in pixels of the central crop that the report shows of each image.
    #[schemars(range(min = 8, max = 4096))]
    crop: usize,
}

impl Default for SignalMeasure {
    fn default() -> SignalMeasure {
        SignalMeasure { pictures: 2, crop: 256 }
    }
}

impl Measure for SignalMeasure {
    fn params(&self) -> Value {
        params_of(self)
    }

    fn needs(&self) -> &'static [Ability] {
        &[Ability::Decode]
    }

    fn needs_signal(&self) -> bool {
        true
    }

    fn pictures(&self) -> Option<CropSettings> {
        (self.pictures > 0).then_some(CropSettings { count: self.pictures, crop: self.crop })
    }

    fn watch(&self, outline: &Outline<'_>, pass: &mut Pass) {
        match outline.signal {
            Some(Signal::Images { patch, pictures, .. }) => {
                pass.want(|| PictureErrors::new(pictures, *patch));
            }
            // Rows of unit length are no longer log-mel values.
            Some(Signal::Frames { .. }) if outline.metric != MetricSpace::Cosine => {
                pass.want(FrameErrors::default);
            }
            _ => {}
        }
    }

    fn measure(&self, subject: &Subject<'_>) -> Result<Vec<Measured>, MethodError> {
        let bits = subject.quantizer.code_bits() as f64;
        Ok(match &subject.data.signal {
            None => Vec::new(),
            Some(Signal::Images { patch, pictures, .. }) => {
                subject.sum::<PictureErrors>()?.measured(bits, *patch, pictures)
            }
            Some(Signal::Frames { per_second }) => {
                let mut out = vec![Measured::new(&BITS_PER_SECOND, bits * per_second)];
                if subject.data.metric != MetricSpace::Cosine {
                    out.push(Measured::new(&LOG_MEL_RMSE, subject.sum::<FrameErrors>()?.rmse()));
                }
                out
            }
        })
    }
}

/// Squared errors of 8-bit values, by picture. Integers, so that their sum does not depend on the order.
struct PictureErrors {
    /// The first row after each picture, and the sum of its errors.
    pictures: Vec<(usize, u64)>,
    /// Rows so far.
    rows: usize,
    /// Values of a row.
    dim: usize,
}

impl PictureErrors {
    fn new(pictures: &[Picture], patch: usize) -> PictureErrors {
        let ends = pictures.iter().map(|picture| (picture.rows(patch).end, 0));
        PictureErrors { pictures: ends.collect(), rows: 0, dim: 0 }
    }

    fn measured(&self, bits: f64, patch: usize, pictures: &[Picture]) -> Vec<Measured> {
        let mut out = vec![Measured::new(&BITS_PER_PIXEL, bits / (patch * patch) as f64)];
        let all = self.pictures.iter().map(|(_, errors)| errors).sum();
        out.extend(psnr_db(all, self.rows * self.dim).map(|value| Measured::new(&PSNR_DB, value)));
        if pictures.len() <= OWN_VALUES {
            let own = |(picture, (_, errors)): (&Picture, &(usize, u64))| {
                let value = psnr_db(*errors, picture.rows(patch).len() * self.dim)?;
                Some(Measured::new(&PSNR_DB, value).stage(&picture.name))
            };
            out.extend(pictures.iter().zip(&self.pictures).filter_map(own));
        }
        out
    }
}

impl Accumulate for PictureErrors {
    fn add(&mut self, base: ArrayView2<'_, f32>, decoded: ArrayView2<'_, f32>) {
        let of_row = |row: usize| -> u64 {
            let pairs = base.row(row).into_iter().zip(decoded.row(row));
            pairs.map(|(&x, &y)| u64::from(eight_bits(x).abs_diff(eight_bits(y))).pow(2)).sum()
        };
        let errors: Vec<u64> = (0..base.nrows()).into_par_iter().map(of_row).collect();
        let mut at = self.pictures.partition_point(|(end, _)| *end <= self.rows);
        for (row, errors) in (self.rows..).zip(errors) {
            while self.pictures.get(at).is_some_and(|(end, _)| *end <= row) {
                at += 1;
            }
            if let Some((_, sum)) = self.pictures.get_mut(at) {
                *sum += errors;
            }
        }
        self.rows += base.nrows();
        self.dim = base.ncols();
    }
}

/// Squared errors of the values of frames.
#[derive(Default)]
struct FrameErrors {
    sum: f64,
    values: usize,
}

impl FrameErrors {
    /// Root of the mean squared error per component.
    fn rmse(&self) -> f64 {
        (self.sum / self.values as f64).sqrt()
    }
}

impl Accumulate for FrameErrors {
    fn add(&mut self, base: ArrayView2<'_, f32>, decoded: ArrayView2<'_, f32>) {
        let tasks = base.axis_chunks_iter(Axis(0), TASK_ROWS).zip(decoded.axis_chunks_iter(Axis(0), TASK_ROWS));
        let tasks: Vec<_> = tasks.collect();
        let one = |(rows, decoded): (ArrayView2<'_, f32>, ArrayView2<'_, f32>)| -> f64 {
            rows.iter().zip(&decoded).map(|(&x, &y)| (f64::from(x) - f64::from(y)).powi(2)).sum()
        };
        let parts: Vec<f64> = tasks.into_par_iter().map(one).collect();
        parts.into_iter().for_each(|part| self.sum += part);
        self.values += base.len();
    }
}

/// `10·log10(255²/MSE)` of 8-bit values; None if nothing differs, because it is infinite.
fn psnr_db(squared_error: u64, values: usize) -> Option<f64> {
    (squared_error > 0).then(|| 10.0 * (255.0 * 255.0 * values as f64 / squared_error as f64).log10())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{arr2, s};

    #[test]
    fn psnr_is_of_rounded_values_pooled_and_per_picture() {
        // Two pictures of one 1×1 patch and of two.
        let base = arr2(&[[0.0, 10.0, 255.0], [5.0, 5.0, 5.0], [7.0, 7.0, 7.0]]);
        let decoded = arr2(&[[-40.0, 10.4, 300.0], [6.0, 5.0, 5.0], [7.0, 10.0, 7.0]]);
        let picture = |name: &str, width, first_row| Picture { name: name.into(), width, height: 1, first_row };
        let pictures = [picture("same", 1, 0), picture("other", 2, 1)];
        let mut errors = PictureErrors::new(&pictures, 1);
        // The second picture lies in two blocks.
        for rows in [s![..2, ..], s![2.., ..]] {
            errors.add(base.slice(rows), decoded.slice(rows));
        }
        let found = errors.measured(6.0, 1, &pictures);
        let values: Vec<_> = found.iter().map(|v| (&v.metric[..], v.stage.as_deref(), v.value)).collect();
        let psnr = |mse: f64| 10.0 * (65025.0 / mse).log10();
        // What lies beyond 0 to 255 or within half a step is no error; a picture without errors has no finite PSNR.
        let expected = [
            ("bits_per_pixel", None, 6.0),
            ("psnr_db", None, psnr(10.0 / 9.0)),
            ("psnr_db", Some("other"), psnr(10.0 / 6.0)),
        ];
        assert_eq!(values.len(), expected.len(), "{values:?}");
        for (found, expected) in values.iter().zip(expected) {
            assert_eq!((found.0, found.1), (expected.0, expected.1));
            assert!((found.2 - expected.2).abs() < 1e-9, "{found:?}, not {expected:?}");
        }
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        for (key, value) in [("pictures", 101), ("crop", 7), ("crop", 5000)] {
            let error = (ENTRY.parse)(serde_json::json!({ key: value })).expect_err("out of range");
            assert_eq!(error.param.as_deref(), Some(key));
        }
        assert!((ENTRY.parse)(serde_json::json!({ "pictures": 0 })).expect("parses").pictures().is_none());
    }

    #[test]
    fn rmse_is_per_component() {
        let mut errors = FrameErrors::default();
        errors.add(arr2(&[[1.0, 2.0], [3.0, 4.0]]).view(), arr2(&[[1.0, 2.0], [3.0, 6.0]]).view());
        assert!((errors.rmse() - 1.0).abs() < 1e-12, "{}", errors.rmse());
    }
}
