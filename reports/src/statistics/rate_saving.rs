//! The rate that one method saves over another at equal distortion, averaged over the distortions that both reach
//! (Bjøntegaard 2001).

use super::Estimate;
use super::distributions::t_quantile;
use super::estimate::moments;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::fmt;

/// A rate–distortion curve, measured with several seeds.
#[derive(Clone, Debug, PartialEq)]
pub struct RateDistortionCurve {
    /// Bits per vector at each point, ascending.
    pub rates: Vec<f64>,
    /// Signal-to-noise ratio in dB, by seed and point.
    pub quality_db: Vec<Vec<f64>>,
}

/// The rate that curve B needs relative to curve A.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Saving {
    /// Rate of B over rate of A, minus 1, with its 95% interval; negative if B saves rate. The interval has zero width
    /// if both curves are the same for all seeds.
    pub rate: Estimate,
    /// Whether there is an interval: it needs at least two seeds of both curves.
    pub has_interval: bool,
    /// Lowest and highest quality that both curves reach, in dB.
    pub overlap_db: (f64, f64),
}

/// Why there is no rate saving.
#[derive(Clone, Debug, PartialEq)]
pub enum NoSaving {
    /// A curve has fewer than [`FEWEST_POINTS`] points.
    FewPoints,
    /// The quality of a curve does not rise with its rate.
    NotRising,
    /// The ranges of quality have no more than a point in common.
    Apart {
        /// Lowest and highest quality of curve A, in dB.
        a: (f64, f64),
        /// Lowest and highest quality of curve B, in dB.
        b: (f64, f64),
    },
}

impl fmt::Display for NoSaving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoSaving::FewPoints => write!(f, "a curve has fewer than {FEWEST_POINTS} rates"),
            NoSaving::NotRising => write!(f, "the distortion of a curve does not fall with the rate"),
            NoSaving::Apart { a, b } => write!(
                f,
                "the curves do not overlap: one covers {:.2} to {:.2} dB, the other {:.2} to {:.2} dB",
                a.0, a.1, b.0, b.1
            ),
        }
    }
}

/// Minimum number of points of a curve.
pub const FEWEST_POINTS: usize = 3;

/// Resamples of the seeds of a curve where there are too many to use all of them.
const RESAMPLES: usize = 1000;

/// Bjøntegaard's delta rate of curve B against curve A: exp of the mean difference of the logarithms of their rates
/// over the range of quality that both cover, minus 1. Between its points the logarithm of the rate is interpolated by
/// a piecewise cubic Hermite polynomial (PCHIP, Fritsch and Butland 1984), as in the test conditions of video coding
/// since HEVC.
///
/// The interval is that of a bootstrap over seeds: whole seeds of a curve are drawn with replacement, because the points
/// of a seed may depend on each other. With n seeds the variance of the resampled values is too small by (n−1)/n on
/// average, which is corrected; the interval is Student's, with the degrees of freedom of Welch and Satterthwaite. (The
/// percentiles of three resampled seeds would contain the true value far less often than in 95% of all cases.)
///
/// # Errors
/// Curves without a common range of quality, with too few points, or whose quality does not rise with the rate.
pub fn rate_saving(a: &RateDistortionCurve, b: &RateDistortionCurve) -> Result<Saving, NoSaving> {
    let means = [a, b].map(|curve| curve.mean(&(0..curve.quality_db.len()).collect::<Vec<_>>()));
    let (value, overlap_db) = log_ratio((&a.rates, &means[0]), (&b.rates, &means[1]))?;
    let varied = [
        variance(a, |quality| log_ratio((&a.rates, quality), (&b.rates, &means[1])).ok()),
        variance(b, |quality| log_ratio((&a.rates, &means[0]), (&b.rates, quality)).ok()),
    ];
    let half = match varied {
        [Some(first), Some(second)] => Some(half_width([first, second])),
        _ => None,
    };
    let shift = half.unwrap_or(0.0);
    let [value, low, high] = [value, value - shift, value + shift].map(|log| log.exp() - 1.0);
    let count = a.quality_db.len() + b.quality_db.len();
    Ok(Saving { rate: Estimate { value, low, high, count }, has_interval: half.is_some(), overlap_db })
}

impl RateDistortionCurve {
    /// Whether it can be compared with another one.
    ///
    /// # Errors
    /// Too few points, or a mean quality that does not rise with the rate.
    pub fn check(&self) -> Result<(), NoSaving> {
        let seeds: Vec<usize> = (0..self.quality_db.len()).collect();
        Hermite::new((&self.rates, &self.mean(&seeds))).map(|_| ())
    }

    /// Mean quality of the given seeds at each point.
    fn mean(&self, seeds: &[usize]) -> Vec<f64> {
        let at = |point: usize| {
            seeds.iter().filter_map(|&seed| self.quality_db[seed].get(point)).sum::<f64>() / seeds.len() as f64
        };
        (0..self.rates.len()).map(at).collect()
    }
}

/// Bootstrapped variance of a value that depends on the seeds of a curve, corrected for their number, with its degrees
/// of freedom. None with a single seed, or if more than a twentieth of the resamples has no value.
fn variance(curve: &RateDistortionCurve, of: impl Fn(&[f64]) -> Option<(f64, (f64, f64))>) -> Option<(f64, f64)> {
    let n = curve.quality_db.len();
    if n < 2 {
        return None;
    }
    let all = u32::try_from(n).ok().and_then(|power| n.checked_pow(power)).filter(|all| *all <= RESAMPLES);
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut draw = |number: usize| -> Vec<usize> {
        match all {
            // All resamples: the digits of their number in base n.
            Some(_) => (0..n)
                .scan(number, |rest, _| {
                    let digit = *rest % n;
                    *rest /= n;
                    Some(digit)
                })
                .collect(),
            None => (0..n).map(|_| rng.random_range(0..n)).collect(),
        }
    };
    let count = all.unwrap_or(RESAMPLES);
    let values: Vec<f64> =
        (0..count).filter_map(|number| of(&curve.mean(&draw(number)))).map(|(value, _)| value).collect();
    if values.len() * 20 < count * 19 {
        return None;
    }
    let (_, squares) = moments(&values);
    let seeds = n as f64;
    Some((squares / values.len() as f64 * seeds / (seeds - 1.0), seeds - 1.0))
}

/// Half the width of Student's 95% interval for a difference, from the variances of both sides and their degrees of
/// freedom.
fn half_width(sides: [(f64, f64); 2]) -> f64 {
    let total: f64 = sides.iter().map(|(variance, _)| variance).sum();
    let df = total * total / sides.iter().map(|(variance, df)| variance * variance / df).sum::<f64>();
    if total > 0.0 && df.is_finite() { t_quantile(0.975, df) * total.sqrt() } else { 0.0 }
}

/// Mean difference of the logarithms of the rates, B minus A, and the common range of quality. Curves are pairs of
/// rates and qualities.
fn log_ratio(a: (&[f64], &[f64]), b: (&[f64], &[f64])) -> Result<(f64, (f64, f64)), NoSaving> {
    let [a, b] = [Hermite::new(a)?, Hermite::new(b)?];
    let (low, high) = (a.range().0.max(b.range().0), a.range().1.min(b.range().1));
    if low >= high {
        return Err(NoSaving::Apart { a: a.range(), b: b.range() });
    }
    let mean = |curve: &Hermite| (curve.integral(high) - curve.integral(low)) / (high - low);
    Ok((mean(&b) - mean(&a), (low, high)))
}

/// A piecewise cubic Hermite polynomial: the logarithm of the rate over quality in dB.
struct Hermite {
    x: Vec<f64>,
    y: Vec<f64>,
    slopes: Vec<f64>,
}

impl Hermite {
    fn new((rates, quality): (&[f64], &[f64])) -> Result<Hermite, NoSaving> {
        if rates.len() < FEWEST_POINTS || rates.len() != quality.len() {
            return Err(NoSaving::FewPoints);
        }
        let rises = |values: &[f64]| values.windows(2).all(|pair| pair[0] < pair[1]);
        if !rises(quality) || !rises(rates) || rates[0] <= 0.0 || !quality.iter().all(|q| q.is_finite()) {
            return Err(NoSaving::NotRising);
        }
        let (x, y): (Vec<f64>, Vec<f64>) = (quality.to_vec(), rates.iter().map(|rate| rate.ln()).collect());
        let slopes = slopes(&x, &y);
        Ok(Hermite { x, y, slopes })
    }

    fn range(&self) -> (f64, f64) {
        (self.x[0], self.x[self.x.len() - 1])
    }

    /// The integral from the first point to `to`, which is in the range.
    fn integral(&self, to: f64) -> f64 {
        let mut sum = 0.0;
        for i in 0..self.x.len() - 1 {
            let h = self.x[i + 1] - self.x[i];
            let t = ((to - self.x[i]) / h).clamp(0.0, 1.0);
            // Integrals of the four basis polynomials 2t³−3t²+1, t³−2t²+t, −2t³+3t², t³−t².
            let (t2, t3, t4) = (t * t, t * t * t, t * t * t * t);
            let basis = [t4 / 2.0 - t3 + t, t4 / 4.0 - 2.0 * t3 / 3.0 + t2 / 2.0, t3 - t4 / 2.0, t4 / 4.0 - t3 / 3.0];
            let of = [self.y[i], h * self.slopes[i], self.y[i + 1], h * self.slopes[i + 1]];
            sum += h * basis.iter().zip(of).map(|(basis, value)| basis * value).sum::<f64>();
        }
        sum
    }
}

/// Slopes at the points that keep the polynomial monotone where the data are (Fritsch and Butland 1984): inside, the
/// weighted harmonic mean of the slopes of both neighbouring pieces; at the ends, a parabola through three points,
/// limited to three times the slope of the piece. There are at least three points.
fn slopes(x: &[f64], y: &[f64]) -> Vec<f64> {
    let h: Vec<f64> = x.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let pieces: Vec<f64> = y.windows(2).zip(&h).map(|(pair, h)| (pair[1] - pair[0]) / h).collect();
    let inside = |i: usize| {
        let (before, after) = (pieces[i - 1], pieces[i]);
        if before * after <= 0.0 {
            return 0.0;
        }
        let (w1, w2) = (2.0 * h[i] + h[i - 1], h[i] + 2.0 * h[i - 1]);
        (w1 + w2) / (w1 / before + w2 / after)
    };
    let end = |h: [f64; 2], pieces: [f64; 2]| {
        let slope = ((2.0 * h[0] + h[1]) * pieces[0] - h[0] * pieces[1]) / (h[0] + h[1]);
        if slope * pieces[0] <= 0.0 {
            0.0
        } else if pieces[0] * pieces[1] <= 0.0 && slope.abs() > 3.0 * pieces[0].abs() {
            3.0 * pieces[0]
        } else {
            slope
        }
    };
    let last = h.len() - 1;
    let mut out = vec![end([h[0], h[1]], [pieces[0], pieces[1]])];
    out.extend((1..=last).map(inside));
    out.push(end([h[last], h[last - 1]], [pieces[last], pieces[last - 1]]));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(rates: &[f64], quality: &[f64]) -> RateDistortionCurve {
        RateDistortionCurve { rates: rates.to_vec(), quality_db: vec![quality.to_vec()] }
    }

    /// Two public examples of video coding, whose savings were computed with scipy 1.17 (`PchipInterpolator` of the
    /// natural logarithm of the rate, `integrate` over the common range), and a curve with three points.
    #[test]
    fn savings_are_those_of_scipy() {
        let examples = [
            (
                curve(&[85.95, 157.11, 309.58, 686.76], &[31.42, 34.24, 37.18, 40.28]),
                curve(&[112.75, 204.93, 407.8, 893.34], &[31.24, 34.17, 37.21, 40.39]),
                0.313_798_782_023_975,
            ),
            (
                curve(&[1358.24, 2486.44, 4593.60, 9487.76], &[34.851, 36.845, 38.615, 40.037]),
                curve(&[1356.24, 2451.52, 4469.00, 9787.80], &[34.987, 36.970, 38.651, 40.121]),
                -0.044_174_853_505_891,
            ),
            (
                curve(&[32.0, 64.0, 128.0], &[4.0, 7.5, 14.2]),
                curve(&[32.0, 48.0, 128.0], &[5.1, 6.1, 14.9]),
                -0.004_227_604_150_817,
            ),
        ];
        for (a, b, expected) in examples {
            let expected: f64 = expected;
            let found = rate_saving(&a, &b).expect("overlapping curves");
            assert!((found.rate.value - expected).abs() < 1e-9, "{} for {expected}", found.rate.value);
            assert!(!found.has_interval, "one seed has no interval");
            // Exchanging the curves inverts the ratio.
            let back = rate_saving(&b, &a).expect("overlapping curves").rate.value;
            assert!(((1.0 + back) * (1.0 + expected) - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn half_the_rate_is_half_the_rate() {
        let twice = curve(&[32.0, 64.0, 128.0, 256.0], &[3.0, 6.0, 10.0, 20.0]);
        let once = curve(&[16.0, 32.0, 64.0, 128.0], &[3.0, 6.0, 10.0, 20.0]);
        assert!((rate_saving(&twice, &once).expect("overlapping").rate.value + 0.5).abs() < 1e-12);
    }

    #[test]
    fn refusals_say_why() {
        let a = curve(&[1.0, 2.0, 4.0], &[1.0, 2.0, 3.0]);
        let above = curve(&[1.0, 2.0, 4.0], &[3.0, 4.0, 5.0]);
        let falling = curve(&[1.0, 2.0, 4.0], &[1.0, 0.5, 3.0]);
        let lossless = curve(&[1.0, 2.0, 4.0], &[1.0, 2.0, f64::INFINITY]);
        let short = curve(&[1.0, 2.0], &[1.0, 2.0]);
        let refused = |b: &RateDistortionCurve| rate_saving(&a, b).expect_err("refused").to_string();
        assert_eq!(refused(&above), "the curves do not overlap: one covers 1.00 to 3.00 dB, the other 3.00 to 5.00 dB");
        assert_eq!(refused(&falling), "the distortion of a curve does not fall with the rate");
        assert_eq!(refused(&lossless), refused(&falling));
        assert_eq!(refused(&short), "a curve has fewer than 3 rates");
        assert_eq!(refused(&RateDistortionCurve { rates: vec![], quality_db: vec![] }), refused(&short));
    }

    #[test]
    fn equal_seeds_have_no_width_and_many_seeds_are_resampled() {
        let same = RateDistortionCurve { rates: vec![1.0, 2.0, 4.0], quality_db: vec![vec![1.0, 2.0, 3.0]; 3] };
        let found = rate_saving(&same, &same).expect("overlapping");
        assert_eq!((found.rate.low, found.rate.high, found.has_interval), (0.0, 0.0, true));
        let shifted = |n: usize| RateDistortionCurve {
            rates: vec![1.0, 2.0, 4.0],
            quality_db: (0..n).map(|seed| [1.0, 2.0, 3.0].map(|q| q + 0.1 * seed as f64 / n as f64).to_vec()).collect(),
        };
        let (few, many) = (rate_saving(&same, &shifted(4)), rate_saving(&same, &shifted(12)));
        let width = |saving: Result<Saving, NoSaving>| saving.map(|s| s.rate.high - s.rate.low).expect("overlapping");
        assert!(width(few) > width(many.clone()) && width(many.clone()) > 0.0);
        assert_eq!(many, rate_saving(&same, &shifted(12)), "the resamples are the same each time");
    }
}
