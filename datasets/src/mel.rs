//! Log-mel frames of sound: short pieces of a recording, each as the logarithms of its energy in bands of frequency.
//!
//! A frame of `N` samples is weighted by a Hann window, `w[n] = (1 − cos(2πn/N))/2`, filled with zeros to the length of the
//! Fourier transform, and turned into the power spectrum `|X[k]|²`. Band `m` is a triangle over frequencies between the
//! `m`-th and the `m+2`-th of points that are equally far apart on the mel scale. A component is `ln(floor + Σ power·weight)`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::f64::consts::TAU;

/// How recordings become log-mel frames.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Mel {
    /// Number of frequency bands, which is the dimension of the vectors.
    #[schemars(range(min = 1, max = 1024))]
    pub bands: usize,
    /// Length of a frame in milliseconds.
    #[schemars(range(min = 0.1, max = 10000))]
    pub frame_ms: f64,
    /// Time from the start of one frame to the start of the next, in milliseconds. It sets the frames per second.
    #[schemars(range(min = 0.1, max = 10000))]
    pub hop_ms: f64,
    /// Length of the Fourier transform: a power of two, at least the samples of a frame. Default: the next power of two.
    pub fft: Option<usize>,
    /// Lower end of the lowest band in hertz.
    #[schemars(range(min = 0.0))]
    pub low_hz: f64,
    /// Upper end of the highest band in hertz. Default: half of the samples per second.
    pub high_hz: Option<f64>,
    /// The mel scale and the weights of the bands.
    pub scale: MelScale,
    /// Added to energies before the logarithm, so that silence is finite. Samples lie between -1 and 1.
    #[schemars(range(min = 1e-30, max = 1.0))]
    pub floor: f64,
}

/// A mel scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MelScale {
    /// Slaney's Auditory Toolbox, as librosa has it by default: linear below 1000 Hz, logarithmic above. Every triangle has
    /// area 1 (in hertz).
    Slaney,
    /// HTK's formula, 2595·log10(1 + f/700), with triangles of height 1.
    Htk,
}

impl Default for Mel {
    fn default() -> Mel {
        Mel {
            bands: 64,
            frame_ms: 25.0,
            hop_ms: 20.0,
            fft: None,
            low_hz: 0.0,
            high_hz: None,
            scale: MelScale::Slaney,
            floor: 1e-6,
        }
    }
}

/// Most samples of a frame or of its Fourier transform.
const MOST_SAMPLES: usize = 1 << 20;

/// Slaney's scale is linear, 200/3 Hz to the mel, up to this frequency.
const LINEAR_TO: f64 = 1000.0;
const LINEAR_HZ: f64 = 200.0 / 3.0;

impl MelScale {
    fn of_hertz(self, hertz: f64) -> f64 {
        match self {
            MelScale::Htk => 2595.0 * (1.0 + hertz / 700.0).log10(),
            MelScale::Slaney if hertz < LINEAR_TO => hertz / LINEAR_HZ,
            MelScale::Slaney => LINEAR_TO / LINEAR_HZ + (hertz / LINEAR_TO).ln() / slaney_step(),
        }
    }

    fn to_hertz(self, mel: f64) -> f64 {
        match self {
            MelScale::Htk => 700.0 * (10f64.powf(mel / 2595.0) - 1.0),
            MelScale::Slaney if mel < LINEAR_TO / LINEAR_HZ => mel * LINEAR_HZ,
            MelScale::Slaney => LINEAR_TO * ((mel - LINEAR_TO / LINEAR_HZ) * slaney_step()).exp(),
        }
    }
}

/// Above 1000 Hz, 27 mels of Slaney's scale are a factor of 6.4.
fn slaney_step() -> f64 {
    6.4f64.ln() / 27.0
}

/// Computes the frames of recordings of one rate.
#[derive(Clone, Debug)]
pub(crate) struct Frames {
    /// Samples of a frame, from one frame to the next, and of the Fourier transform.
    frame: usize,
    hop: usize,
    fft: Fft,
    window: Vec<f64>,
    /// For each band the first frequency of the transform in it, and the weights from there on.
    filters: Vec<(usize, Vec<f64>)>,
    floor: f64,
    rate: u32,
}

impl Frames {
    /// Prepares frames of recordings with `rate` samples per second.
    ///
    /// # Errors
    /// Settings that are out of range or do not fit the rate; the message says what would fit.
    pub(crate) fn new(mel: &Mel, rate: u32) -> Result<Frames, String> {
        let samples = |key: &str, ms: f64| {
            let count = (ms * f64::from(rate) / 1000.0).round();
            if (1.0..=MOST_SAMPLES as f64).contains(&count) {
                return Ok(count as usize);
            }
            Err(format!("`{key}: {ms}` is out of range at {rate} samples per second; use a number such as 20"))
        };
        let (frame, hop) = (samples("frame_ms", mel.frame_ms)?, samples("hop_ms", mel.hop_ms)?);
        if !(1..=1024).contains(&mel.bands) {
            return Err(format!("`bands: {}` is out of range; use 1 to 1024, such as 64", mel.bands));
        }
        if !(mel.floor.is_finite() && mel.floor > 0.0) {
            return Err(format!("`floor: {}` must be a positive number, such as 1e-6", mel.floor));
        }
        let length = mel.fft.unwrap_or_else(|| frame.next_power_of_two());
        if !length.is_power_of_two() || length < frame.max(2) || length > MOST_SAMPLES {
            return Err(format!(
                "`fft: {length}` must be a power of two from {} to {MOST_SAMPLES}",
                frame.max(2).next_power_of_two()
            ));
        }
        let nyquist = f64::from(rate) / 2.0;
        let high = mel.high_hz.unwrap_or(nyquist);
        if !(mel.low_hz >= 0.0 && mel.low_hz < high && high <= nyquist) {
            return Err(format!(
                "bands from {} to {high} Hz do not fit; at {rate} samples per second they lie between 0 and {nyquist} Hz",
                mel.low_hz
            ));
        }
        let filters = filters(mel.scale, mel.bands, mel.low_hz..high, length, f64::from(rate));
        if let Some(empty) = filters.iter().position(|(_, weights)| weights.is_empty()) {
            return Err(format!(
                "band {empty} of {} is narrower than the steps of the Fourier transform; use fewer `bands`, or a larger `fft` \
                 than {length}",
                mel.bands
            ));
        }
        let window = (0..frame).map(|n| 0.5 - 0.5 * (TAU * n as f64 / frame as f64).cos()).collect();
        Ok(Frames { frame, hop, fft: Fft::new(length), window, filters, floor: mel.floor, rate })
    }

    /// Frames per second.
    pub(crate) fn per_second(&self) -> f64 {
        f64::from(self.rate) / self.hop as f64
    }

    /// Samples of a frame.
    pub(crate) fn samples(&self) -> usize {
        self.frame
    }

    /// Number of whole frames in a recording of `samples` samples.
    pub(crate) fn count(&self, samples: usize) -> usize {
        if samples < self.frame { 0 } else { (samples - self.frame) / self.hop + 1 }
    }

    /// The components of frame `at`, appended to `out`.
    pub(crate) fn append(&self, sound: &[f32], at: usize, out: &mut Vec<f32>) {
        let piece = &sound[at * self.hop..][..self.frame];
        let mut values = vec![(0.0, 0.0); self.fft.length];
        for ((value, &sample), weight) in values.iter_mut().zip(piece).zip(&self.window) {
            value.0 = f64::from(sample) * weight;
        }
        self.fft.transform(&mut values);
        out.extend(self.filters.iter().map(|(first, weights)| {
            let power = values[*first..].iter().map(|(re, im)| re * re + im * im);
            let energy: f64 = weights.iter().zip(power).map(|(weight, power)| weight * power).sum();
            (energy + self.floor).ln() as f32
        }));
    }
}

/// The weights of each band at the frequencies of the transform.
fn filters(
    scale: MelScale,
    bands: usize,
    hertz: std::ops::Range<f64>,
    length: usize,
    rate: f64,
) -> Vec<(usize, Vec<f64>)> {
    let (low, high) = (scale.of_hertz(hertz.start), scale.of_hertz(hertz.end));
    let point = |i: usize| scale.to_hertz(low + (high - low) * i as f64 / (bands + 1) as f64);
    let band = |m: usize| {
        let (left, centre, right) = (point(m), point(m + 1), point(m + 2));
        let area = match scale {
            MelScale::Slaney => 2.0 / (right - left),
            MelScale::Htk => 1.0,
        };
        let weight = |k: usize| {
            let f = k as f64 * rate / length as f64;
            area * ((f - left) / (centre - left)).min((right - f) / (right - centre)).max(0.0)
        };
        let first = (0..=length / 2).find(|&k| weight(k) > 0.0).unwrap_or(0);
        (first, (first..=length / 2).map(weight).take_while(|&weight| weight > 0.0).collect())
    };
    (0..bands).map(band).collect()
}

/// A Fourier transform of a power of two, in place (Cooley and Tukey 1965).
#[derive(Clone, Debug)]
struct Fft {
    length: usize,
    /// `exp(−2πik/length)` for the first half of k.
    roots: Vec<(f64, f64)>,
}

impl Fft {
    fn new(length: usize) -> Fft {
        let root = |k: usize| (-TAU * k as f64 / length as f64).sin_cos();
        let roots = (0..length / 2).map(root).map(|(sin, cos)| (cos, sin)).collect();
        Fft { length, roots }
    }

    /// Replaces real and imaginary parts by those of `X[k] = Σ x[n]·exp(−2πikn/length)`.
    fn transform(&self, values: &mut [(f64, f64)]) {
        let bits = self.length.trailing_zeros();
        for i in 0..self.length {
            let j = i.reverse_bits() >> (usize::BITS - bits);
            if i < j {
                values.swap(i, j);
            }
        }
        let mut half = 1;
        while half < self.length {
            let step = self.length / (2 * half);
            for block in values.chunks_exact_mut(2 * half) {
                let (left, right) = block.split_at_mut(half);
                for (k, (a, b)) in left.iter_mut().zip(right).enumerate() {
                    let (cos, sin) = self.roots[k * step];
                    let turned = (b.0 * cos - b.1 * sin, b.0 * sin + b.1 * cos);
                    (*a, *b) = ((a.0 + turned.0, a.1 + turned.1), (a.0 - turned.0, a.1 - turned.1));
                }
            }
            half *= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transform_is_its_definition() {
        for length in [2, 4, 16, 64] {
            let values: Vec<(f64, f64)> = (0..length).map(|n| ((n * n % 7) as f64, (n % 3) as f64 - 1.0)).collect();
            let mut found = values.clone();
            Fft::new(length).transform(&mut found);
            for (k, found) in found.iter().enumerate() {
                let mut expected = (0.0, 0.0);
                for (n, value) in values.iter().enumerate() {
                    let (sin, cos) = (-TAU * (k * n) as f64 / length as f64).sin_cos();
                    expected.0 += value.0 * cos - value.1 * sin;
                    expected.1 += value.0 * sin + value.1 * cos;
                }
                assert!((found.0 - expected.0).abs() < 1e-9 && (found.1 - expected.1).abs() < 1e-9, "{length} {k}");
            }
        }
    }

    #[test]
    fn scales_are_inverses_and_meet_their_landmarks() {
        for scale in [MelScale::Slaney, MelScale::Htk] {
            for hertz in [0.0, 50.0, 999.0, 1000.0, 4000.0, 22_050.0] {
                assert!((scale.to_hertz(scale.of_hertz(hertz)) - hertz).abs() < 1e-6, "{scale:?} {hertz}");
            }
        }
        assert!((MelScale::Slaney.of_hertz(1000.0) - 15.0).abs() < 1e-12);
        assert!((MelScale::Slaney.of_hertz(6400.0) - 42.0).abs() < 1e-12);
        assert!((MelScale::Htk.of_hertz(1000.0) - 999.985_537).abs() < 1e-6);
    }

    #[test]
    fn a_tone_is_loudest_in_its_band_and_silence_is_the_floor() {
        let frames = Frames::new(&Mel::default(), 8000).expect("fits");
        assert_eq!((frames.count(199), frames.count(200), frames.count(359), frames.count(360)), (0, 1, 1, 2));
        assert_eq!(frames.per_second(), 50.0);
        let tone: Vec<f32> = (0..400).map(|n| (TAU * 1000.0 * f64::from(n) / 8000.0).sin() as f32).collect();
        let mut rows = Vec::new();
        frames.append(&tone, 1, &mut rows);
        frames.append(&[0.0; 400], 0, &mut rows);
        let (tone, silence) = rows.split_at(64);
        let loudest = (0..64).max_by(|&a, &b| tone[a].total_cmp(&tone[b])).expect("bands");
        let mel = MelScale::Slaney;
        let centre = mel.to_hertz(mel.of_hertz(4000.0) * (loudest + 1) as f64 / 65.0);
        assert!((centre - 1000.0).abs() < 40.0, "{centre}");
        assert!(silence.iter().all(|&v| v == 1e-6f64.ln() as f32));
    }

    #[test]
    fn settings_that_do_not_fit_are_refused() {
        let with = |change: fn(&mut Mel)| {
            let mut mel = Mel::default();
            change(&mut mel);
            Frames::new(&mel, 8000).expect_err("refused")
        };
        assert!(with(|mel| mel.frame_ms = 0.0).contains("`frame_ms: 0` is out of range"));
        assert!(with(|mel| mel.hop_ms = f64::NAN).contains("`hop_ms: NaN`"));
        assert!(with(|mel| mel.bands = 0).contains("use 1 to 1024"));
        assert!(with(|mel| mel.fft = Some(200)).contains("must be a power of two from 256"));
        assert!(with(|mel| mel.high_hz = Some(5000.0)).contains("between 0 and 4000 Hz"));
        assert!(with(|mel| mel.low_hz = -1.0).contains("do not fit"));
        assert!(with(|mel| mel.bands = 500).contains("use fewer `bands`, or a larger `fft` than 256"));
        assert!(with(|mel| mel.floor = 0.0).contains("must be a positive number"));
    }
}
