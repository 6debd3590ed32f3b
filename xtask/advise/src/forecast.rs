//! What a measurement on a sample says about all rows. A code that was trained on few rows knows them by heart: it does
//! better on them than on others. With more rows both approach each other, so the values for all rows lie between.

use crate::measure::{Measured, Timings};
use crate::sample::GROWTH;
use reports::advice::{FIGURES, Figure, Figures};
use reports::statistics::{Estimate, of_sample};

/// By how much the recall falls, for each factor of [`GROWTH`] between a sample and all rows, because neighbours are
/// harder to tell apart among more rows; and half of the interval by which this varies. METHODOLOGY.md ("Which code to
/// use") says how this was measured.
const RECALL_FALL: f64 = 0.05;
const RECALL_PER_GROWTH: f64 = 0.1;

/// Half of the interval by which a forecast of the distortion errs, relative to it, for each factor of [`GROWTH`].
const DISTORTION_PER_GROWTH: f64 = 0.06;

/// Half of the interval by which the error of a forecast of the recall varies between codes, for each factor of
/// [`GROWTH`]. What all codes of a sample have in common does not count.
const RECALL_BETWEEN_CODES: f64 = 0.03;

/// Half of the interval of the value that training rows and others approach, relative to its distance from either.
const BY_HEART: f64 = 0.4;

/// The factor by which the growth of a time differs between two codes, for each factor of [`GROWTH`].
const TIME_BETWEEN_CODES: f64 = 1.5;

/// Factors of [`GROWTH`] between a share of the rows and all of them.
fn growths(share: f64) -> f64 {
    (1.0 / share).ln() / (GROWTH as f64).ln()
}

/// The value for all rows, of what was measured on other rows than those that the code was trained on, and on those; and
/// half of the interval by which it errs. On average over training samples, both are equally far from what they approach,
/// by an amount that falls about as the square root of the rows.
fn between(on_others: f64, on_training: Option<f64>, share: f64) -> (f64, f64) {
    let Some(on_training) = on_training.filter(|_| share < 1.0) else { return (on_others, 0.0) };
    let limit = 0.5 * (on_others + on_training);
    (limit + (on_others - limit) * share.sqrt(), BY_HEART * (on_others - limit).abs())
}

/// The figures of a code with all rows, if it was measured on a `share` of them. With all of them, these are the values
/// that were measured; otherwise intervals include what the other rows may change.
pub fn forecast(measured: &Measured, share: f64) -> Figures {
    let growths = growths(share);
    let mut figures = of_queries(measured, &measured.recalls);
    let recall = figures.get(Figure::Recall).map(|e| {
        let (expected, half) = between(e.value, measured.in_training, share);
        // Of a small recall at most four fifths are lost, so that such codes keep their order.
        let expected = (expected - RECALL_FALL * growths).max(0.2 * expected);
        widened(moved(e, expected - e.value), half.hypot(RECALL_PER_GROWTH * growths))
    });
    figures.set(Figure::Recall, recall);
    let distortion = figures.get(Figure::Distortion).map(|e| {
        let expected = between(e.value, measured.training_error, share).0;
        widened(moved(e, expected - e.value), half_between_codes(Figure::Distortion, expected, measured, share))
    });
    figures.set(Figure::Distortion, distortion);
    // With all rows, it takes at least as long, and at most as much longer as there are more rows.
    let grown = |e: Estimate| Estimate { value: e.value / share.sqrt(), high: e.high / share, ..e };
    for figure in [Figure::Latency, Figure::FitTime] {
        figures.set(figure, figures.get(figure).map(grown));
    }
    // Encoding a vector takes as long with all rows; a sample is too short to time it well.
    let well = 1.0 + growths;
    let rate = figures.get(Figure::EncodeRate).map(|e| Estimate { low: e.low / well, high: e.high * well, ..e });
    figures.set(Figure::EncodeRate, rate);
    figures
}

/// The figures that were measured, with the recall over some queries.
pub fn of_queries(measured: &Measured, recalls: &[f64]) -> Figures {
    let mut figures = Figures::default().with(Figure::Bytes, measured.bytes as f64);
    figures.set(Figure::Recall, over_draws(recalls));
    let distortion = measured.distortion.and_then(|(value, deviation)| of_sample(value, deviation, measured.rows));
    figures.set(Figure::Distortion, distortion);
    let Timings { latencies, encode_rate, fit_seconds } = &measured.timings;
    figures.set(Figure::Latency, median(latencies));
    figures.set(Figure::FitTime, exactly(*fit_seconds));
    figures.set(Figure::EncodeRate, exactly(*encode_rate));
    figures
}

/// By how much the forecasts of codes in one round were wrong, in the mean, once they were measured on all rows: the
/// difference for the recall, the logarithm of the ratio for other figures; 0 for what is not known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shift([f64; FIGURES.len()]);

impl Shift {
    /// Over the codes that have both: forecast and measured. None of none.
    pub fn of(pairs: &[(Figures, Figures)]) -> Option<Shift> {
        let one = |figure: Figure| {
            let known =
                pairs.iter().filter_map(|(forecast, measured)| forecast.value(figure).zip(measured.value(figure)));
            let shifts: Vec<f64> = known
                .filter(|(a, b)| figure == Figure::Recall || (*a > 0.0 && *b > 0.0))
                .map(|(a, b)| if figure == Figure::Recall { b - a } else { (b / a).ln() })
                .collect();
            shifts.iter().sum::<f64>() / shifts.len().max(1) as f64
        };
        (!pairs.is_empty()).then(|| Shift(FIGURES.map(one)))
    }

    /// A forecast, corrected by what the forecasts of other codes of the round had in common. Its interval holds what
    /// differs between codes.
    pub fn corrected(&self, measured: &Measured, share: f64) -> Figures {
        let (growths, own) = (growths(share), of_queries(measured, &measured.recalls));
        let mut figures = forecast(measured, share);
        for figure in FIGURES.into_iter().filter(|figure| *figure != Figure::Bytes) {
            let (Some(e), Some(own)) = (figures.get(figure), own.get(figure)) else { continue };
            let shift = self.0[figure as usize];
            let corrected = match figure {
                Figure::Recall => {
                    let value = (e.value + shift).clamp(0.0, 1.0);
                    widened(moved(own, value - own.value), half_between_codes(figure, value, measured, share))
                }
                Figure::Distortion => {
                    let value = e.value * shift.exp();
                    widened(moved(own, value - own.value), half_between_codes(figure, value, measured, share))
                }
                _ => {
                    let (factor, value) = (TIME_BETWEEN_CODES.powf(growths), e.value * shift.exp());
                    let (low, high) = (own.low / own.value / factor, own.high / own.value * factor);
                    Estimate { value, low: value * low, high: value * high, ..e }
                }
            };
            figures.set(figure, Some(corrected));
        }
        figures
    }
}

/// Half of the interval by which the error of a forecast of `figure` varies between codes of the same sample. That of
/// queries does not count.
pub fn half_between_codes(figure: Figure, value: f64, measured: &Measured, share: f64) -> f64 {
    let mean = |values: &[f64]| over_draws(values).map(|e| e.value);
    let by_heart = |on_others: Option<f64>, on_training: Option<f64>| {
        on_others.map_or(0.0, |on_others| between(on_others, on_training, share).1)
    };
    let growths = growths(share);
    match figure {
        Figure::Bytes => 0.0,
        Figure::Recall => {
            (RECALL_BETWEEN_CODES * growths).hypot(by_heart(mean(&measured.recalls), measured.in_training))
        }
        Figure::Distortion => {
            let distortion = measured.distortion.map(|(value, _)| value);
            (DISTORTION_PER_GROWTH * growths * value).hypot(by_heart(distortion, measured.training_error))
        }
        _ => (TIME_BETWEEN_CODES.powf(growths) - 1.0) * value,
    }
}

fn exactly(value: f64) -> Option<Estimate> {
    (value > 0.0).then_some(Estimate { value, low: value, high: value, count: 1 })
}

fn moved(e: Estimate, by: f64) -> Estimate {
    Estimate { value: e.value + by, low: e.low + by, high: e.high + by, ..e }
}

/// With a second, independent error of this half width.
fn widened(e: Estimate, half: f64) -> Estimate {
    let own = e.high - e.value;
    Estimate { low: e.value - own.hypot(half), high: e.value + own.hypot(half), ..e }
}

/// The mean of independent draws with its 95% interval. One draw has none.
pub fn over_draws(values: &[f64]) -> Option<Estimate> {
    let n = values.len();
    if n == 0 {
        return None;
    }
    let mean = values.iter().sum::<f64>() / n as f64;
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    let deviation = if n > 1 { (squares / (n - 1) as f64).sqrt() } else { 0.0 };
    of_sample(mean, deviation, n).or(Some(Estimate { value: mean, low: mean, high: mean, count: n }))
}

/// The median of ascending values, with the interval between the order statistics that contain it with at least 95%.
fn median(sorted: &[f64]) -> Option<Estimate> {
    let n = sorted.len();
    let half = 0.98 * (n as f64).sqrt();
    let at = |place: f64| sorted.get((place.max(0.0) as usize).min(n.saturating_sub(1))).copied();
    let middle = n as f64 / 2.0;
    let (value, low, high) = (at(middle)?, at((middle - half).floor())?, at((middle + half).ceil())?);
    Some(Estimate { value, low, high, count: n })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timed(recall: f64) -> Measured {
        let timings = Timings { latencies: vec![10.0; 100], encode_rate: 1000.0, fit_seconds: 2.0 };
        Measured { bytes: 8, recalls: vec![recall; 50], timings, rows: 100, ..Measured::default() }
    }

    fn ends(figures: &Figures, figure: Figure) -> [f64; 3] {
        let e = figures.get(figure).expect("known");
        [e.low, e.value, e.high].map(|end| (1e9 * end).round() / 1e9)
    }

    #[test]
    fn a_sample_bounds_what_all_rows_take() {
        let measured = timed(0.5);
        let figures = forecast(&measured, 1.0 / 16.0);
        assert_eq!(ends(&figures, Figure::Latency), [10.0, 40.0, 160.0]);
        assert_eq!(ends(&figures, Figure::FitTime), [2.0, 8.0, 32.0]);
        assert_eq!(ends(&figures, Figure::Recall), [0.2, 0.4, 0.6], "it falls, and nothing is known of training rows");
        assert_eq!(figures.get(Figure::Distortion), None, "not asked for");
        let all = forecast(&measured, 1.0);
        assert_eq!(ends(&all, Figure::Recall), [0.5, 0.5, 0.5]);
    }

    /// On a sixteenth of the rows, a quarter of the distance to the value between both is left.
    #[test]
    fn what_a_code_knows_by_heart_says_what_more_rows_change() {
        let mut measured = timed(0.3);
        measured.in_training = Some(0.8);
        measured.distortion = Some((0.6, 0.0));
        measured.training_error = Some(0.2);
        let figures = forecast(&measured, 1.0 / 16.0);
        assert_eq!(ends(&figures, Figure::Recall)[1], 0.3875, "0.55 - 0.25 / 4 - 0.1");
        assert_eq!(ends(&figures, Figure::Distortion)[1], 0.45, "0.4 + 0.2 / 4");
        let heartless = forecast(&Measured { in_training: Some(0.3), ..measured.clone() }, 1.0 / 16.0);
        assert_eq!(ends(&heartless, Figure::Recall)[1], 0.2);
        assert_eq!(ends(&forecast(&measured, 1.0), Figure::Distortion)[1], 0.6, "nothing is left to say");
    }

    #[test]
    fn what_one_code_has_shown_on_all_rows_corrects_the_others() {
        let share = 0.25;
        let (seen, other) = (timed(0.6), timed(0.5));
        let mut all = timed(0.58);
        all.timings.fit_seconds = 8.0;
        let shift = Shift::of(&[(forecast(&seen, share), forecast(&all, 1.0))]).expect("a pair");
        let corrected = shift.corrected(&other, share);
        assert_eq!(ends(&corrected, Figure::Recall), [0.45, 0.48, 0.51], "two hundredths lower, as the other");
        assert_eq!(ends(&corrected, Figure::FitTime)[1], 8.0, "four times as long, as the other");
        assert_eq!(ends(&corrected, Figure::Bytes), [8.0, 8.0, 8.0]);
        assert_eq!(Shift::of(&[]), None);
    }

    #[test]
    fn the_median_has_the_interval_of_its_order_statistics() {
        let values: Vec<f64> = (0..100).map(f64::from).collect();
        let e = median(&values).expect("values");
        assert_eq!((e.low, e.value, e.high), (40.0, 50.0, 60.0));
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]).map(|e| (e.low, e.high)), Some((3.0, 3.0)));
    }
}
