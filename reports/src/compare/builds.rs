//! Compares the speed of two builds whose trials ran in turn, with the baseline twice: what the baseline differs from
//! itself is the noise that a difference of the builds must exceed.
//!
//! For each timing and each seed, let b₁ and b₂ be the logarithms of the medians of the two runs of the baseline, and n
//! that of the new build. The difference of the builds is d = n − (b₁ + b₂)/2. If each process varies by σ, then d varies by
//! σ·√(3/2), and a = b₂ − b₁ by σ·√2. So the root mean square of a, over all methods and seeds, estimates σ·√2 with as many
//! degrees of freedom. The mean of d over the seeds of a method, divided by its standard error, has Student's t
//! distribution. Holm's correction (1979) bounds the probability of a false alarm over all timings together.
//!
//! Another program can disturb a few processes so much that equal builds seem to differ. So a loss only raises a suspicion
//! at first. The suspected methods run again in new processes, and only what is slower both times is a regression.

use super::outcome::{Change, Check, Comparison, Speed};
use super::timings::{Builds, Sides, Squares, What, squares};
use super::{Options, compare_with, gated, ratio_text};
use crate::ReportError;
use crate::number::significant;
use crate::statistics::{Estimate, above, adjusted, t_above, t95};
use record::metric::METRICS;
use std::collections::BTreeMap;

/// The nominal probability of a false alarm, over all timings that run again.
const FALSE_ALARMS: f64 = 0.05;

/// The nominal probability of a false suspicion, over all timings. It costs only a second run of the suspected methods.
const FALSE_SUSPICIONS: f64 = 0.2;

/// Minimum number of differences of the baseline from itself that the noise is estimated from.
const MIN_DIFFERENCES: usize = 4;

/// One timing: how the builds differ in it, seed by seed.
struct BuildTiming {
    what: What,
    /// The means of the logarithms.
    base: f64,
    new: f64,
    /// Number of processes of the new build.
    processes: usize,
}

/// The noise of a metric.
struct ProcessNoise {
    /// Standard deviation of the logarithm of a process.
    sigma: f64,
    /// Degrees of freedom.
    df: usize,
    /// Two-sided 95% quantile of Student's t.
    t95: f64,
    /// The t that the largest of all losses must reach to count.
    needed: f64,
}

/// A comparison whose losses of speed are suspicions until [`Suspicions::confirm`] has judged a second run of the
/// suspected methods.
pub struct Suspicions {
    comparison: Comparison,
    /// The timings that it comes from; empty if speed was not compared.
    sides: Sides,
}

/// Compares quality exactly, and speed relative to the difference of the baseline from itself.
///
/// # Errors
/// Frames without the required columns.
pub fn suspect(builds: &Builds<'_>, options: &Options) -> Result<Suspicions, ReportError> {
    let mut comparison = compare_with(builds.base, builds.new, &Options { speed: false, ..options.clone() }, METRICS)?;
    comparison.speed = Speed::InTurn;
    let mut sides = Sides::default();
    if options.speed {
        sides = Sides::of(builds)?;
        judge(&sides, squares([&sides]), options, FALSE_SUSPICIONS, &mut comparison);
    }
    Ok(Suspicions { comparison, sides })
}

impl Suspicions {
    /// The suspected losses of speed.
    pub fn suspected(&self) -> impl Iterator<Item = &Check> {
        self.comparison.suspicions()
    }

    /// Judges the suspicions by further rounds of the suspected methods: a loss of speed stays a regression if these
    /// show it too. The noise is that of the further rounds or that of all rounds, whichever is larger: another program
    /// may have started or ended in between. Without any suspicion, no further round is needed.
    ///
    /// # Errors
    /// Frames without the required columns.
    pub fn confirm(self, further: &[Builds<'_>], options: &Options) -> Result<Comparison, ReportError> {
        if self.suspected().next().is_none() {
            return Ok(self.comparison);
        }
        let further = further.iter().map(Sides::of).collect::<Result<Vec<_>, _>>()?;
        Ok(confirmed(self.comparison, &self.sides, &Sides::joined(further), options))
    }
}

fn confirmed(mut first: Comparison, before: &Sides, further: &Sides, options: &Options) -> Comparison {
    let suspected: Vec<(String, String)> =
        first.suspicions().map(|check| (check.subject.clone(), check.metric.clone())).collect();
    let mut second = Comparison::default();
    let wanted = |what: &What| suspected.contains(&(what.subject(), what.metric_text()));
    let mut noise = squares([before, further]);
    for (metric, (sum, count)) in squares([further]) {
        let all = noise.get(metric).is_some_and(|(all, of)| all / *of as f64 >= sum / count as f64);
        if !all && count >= MIN_DIFFERENCES {
            noise.insert(metric, (sum, count));
        }
    }
    judge(&further.clone().keep(wanted), noise, options, FALSE_ALARMS, &mut second);
    for check in &mut first.checks {
        if check.ratio.is_none() || check.change != Change::Worse {
            continue;
        }
        let same = |other: &&Check| (&other.subject, &other.metric) == (&check.subject, &check.metric);
        match second.checks.iter().find(same) {
            Some(again) if again.change == Change::Worse => {
                check.detail = format!("{}; again: {}", check.detail, again.detail);
            }
            Some(again) => {
                check.change = Change::None;
                first.notes.push(format!(
                    "{}: {} seemed slower ({}), but not when it ran again ({})",
                    check.subject, check.metric, check.detail, again.detail
                ));
            }
            None => {
                check.change = Change::None;
                first.unknown.push(format!("{}: {} seemed slower, and did not run again", check.subject, check.metric));
            }
        }
    }
    first
}

impl Comparison {
    /// Losses of speed.
    fn suspicions(&self) -> impl Iterator<Item = &Check> {
        self.regressions().filter(|check| check.ratio.is_some())
    }
}

fn judge(sides: &Sides, squares: Squares, options: &Options, alarms: f64, out: &mut Comparison) {
    let mut timings: Vec<BuildTiming> = Vec::new();
    for (key, first) in &sides.base {
        let (what, seed, _) = key;
        let (Some(second), Some(fresh)) = (sides.again.get(key), sides.new.get(key)) else {
            out.unknown.push(format!(
                "{} · seed {seed}: {} is not in all three runs",
                what.subject(),
                what.metric_text()
            ));
            continue;
        };
        if timings.last().is_none_or(|timing| timing.what != *what) {
            timings.push(BuildTiming { what: what.clone(), base: 0.0, new: 0.0, processes: 0 });
        }
        if let Some(timing) = timings.last_mut() {
            timing.base += 0.5 * (first + second);
            timing.new += fresh;
            timing.processes += 1;
        }
    }
    let all = timings.len();
    let known = squares.into_iter().filter(|(_, (_, count))| *count >= MIN_DIFFERENCES);
    let noise: BTreeMap<&str, ProcessNoise> = known
        .map(|(metric, (sum, df))| {
            // The difference of two processes varies by σ·√2.
            let sigma = (0.5 * sum / df as f64).sqrt();
            (metric, ProcessNoise { sigma, df, t95: t95(df), needed: t_above(alarms / all.max(1) as f64, df) })
        })
        .collect();
    let mut tests: Vec<(Check, f64)> = Vec::new();
    for timing in timings {
        let Some(noise) = noise.get(timing.what.metric) else {
            out.notes.push(format!(
                "{}: {} has fewer than {MIN_DIFFERENCES} pairs of runs of the baseline, too few to know its noise",
                timing.what.subject(),
                timing.what.metric_text()
            ));
            continue;
        };
        tests.extend(test(timing, noise, options));
    }
    alarm(&mut tests, alarms);
    out.checks.extend(tests.into_iter().map(|(check, _)| check));
}

/// The check of one timing, not yet judged, and the probability of such a loss if the builds are equal.
fn test(timing: BuildTiming, noise: &ProcessNoise, options: &Options) -> Option<(Check, f64)> {
    let BuildTiming { what, base, new, processes } = timing;
    let (metric, usual) = gated(METRICS, true).find(|(metric, _)| metric.name == what.metric)?;
    let larger_is_better = metric.larger_is_better() == Some(true);
    let tolerance = options.tolerances.speed.get(metric.name).copied().unwrap_or(usual);
    let n = processes as f64;
    let (base, new) = (base / n, new / n);
    // n − (b₁ + b₂)/2 varies by σ·√(3/2).
    let error = noise.sigma * (1.5 / n).sqrt();
    let difference = new - base;
    let half = noise.t95 * error;
    let [value, low, high] = [difference, difference - half, difference + half].map(f64::exp);
    // Positive if the new build is slower.
    let loss = if larger_is_better { -difference } else { difference };
    // Without any noise, every difference is certain.
    let probability = if error > 0.0 { above(loss / error, noise.df) } else { f64::from(u8::from(loss <= 0.0)) };
    let needed = noise.needed * error;
    let smallest = if larger_is_better { 1.0 - (-needed).exp() } else { needed.exp() - 1.0 };
    let ratio = Estimate { value, low, high, count: processes };
    let check = Check {
        subject: what.subject(),
        metric: what.metric_text(),
        dataset: what.dataset,
        label: what.label,
        device: what.device,
        threads: what.threads,
        change: Change::None,
        base: Some(base.exp()),
        new: Some(new.exp()),
        ratio: Some(ratio),
        tolerance,
        smallest: Some(smallest.max(tolerance)),
        detail: ratio_text(ratio, tolerance),
    };
    Some((check, probability))
}

/// Judges all checks together by Holm's step-down procedure, for losses and for gains. A change must also be larger
/// than its tolerance.
fn alarm(tests: &mut [(Check, f64)], alarms: f64) {
    let found = |probability: fn(f64) -> f64, alarms: f64| -> Vec<bool> {
        let all: Vec<f64> = tests.iter().map(|(_, of_loss)| probability(*of_loss)).collect();
        adjusted(&all).into_iter().map(|adjusted| adjusted <= alarms).collect()
    };
    let worse = found(|of_loss| of_loss, alarms);
    let better = found(|of_loss| 1.0 - of_loss, alarms.min(FALSE_ALARMS));
    for (at, (check, probability)) in tests.iter_mut().enumerate() {
        let Some(ratio) = check.ratio else { continue };
        let beyond = (ratio.value - 1.0).abs() > check.tolerance;
        check.detail += &format!(", p = {}", significant(*probability, 2));
        check.change = match (beyond, worse[at], better[at]) {
            (true, true, _) => Change::Worse,
            (true, _, true) => Change::Better,
            _ => Change::None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::super::timings::Logarithms;
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    const METHODS: usize = 20;
    const METRICS: [&str; 3] = ["train_seconds", "encode_vectors_per_second", "search_queries_per_second"];

    fn what(label: &str, metric: &'static str, reranked: Option<usize>) -> What {
        What { dataset: "d".into(), label: label.into(), device: "cpu".into(), threads: 1, metric, reranked }
    }

    /// Processes with log-normal noise. If `disturbed`, another program slows one in twenty of them by up to 20%. The
    /// new build takes `slowdown` times as long for all timings of method 0.
    fn run(seeds: u64, slowdown: f64, (sigma, disturbed): (f64, bool), rng: &mut ChaCha8Rng) -> Sides {
        let mut sides = Sides::default();
        for method in 0..METHODS {
            for metric in METRICS {
                let direction = if metric == "train_seconds" { 1.0 } else { -1.0 };
                for seed in 0..seeds {
                    for (side, logarithms) in
                        [&mut sides.base, &mut sides.again, &mut sides.new].into_iter().enumerate()
                    {
                        // Box and Muller's normal variate.
                        let (u, v): (f64, f64) = (1.0 - rng.random::<f64>(), rng.random());
                        let mut time = sigma * (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos();
                        if disturbed && rng.random::<f64>() < 0.05 {
                            time += 0.2 * rng.random::<f64>();
                        }
                        if side == 2 && method == 0 {
                            time += slowdown.ln();
                        }
                        let what = what(&method.to_string(), metric, None);
                        logarithms.insert((what, seed, 0), 5.0 + direction * time);
                    }
                }
            }
        }
        sides
    }

    /// What disturbs a comparison besides the noise of 3%.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Disturbance {
        None,
        /// Another program slows one process in twenty.
        Bursts,
        /// Another program starts between the stages and triples the noise.
        Change,
    }

    /// Both stages.
    fn simulated(seeds: u64, slowdown: f64, disturbance: Disturbance, rng: &mut ChaCha8Rng) -> Comparison {
        let options = Options::default();
        let mut first = Comparison::default();
        let bursts = disturbance == Disturbance::Bursts;
        let before = run(seeds, slowdown, (0.03, bursts), rng);
        judge(&before, squares([&before]), &options, FALSE_SUSPICIONS, &mut first);
        let suspected: Vec<String> = first.suspicions().map(|check| check.subject.clone()).collect();
        if suspected.is_empty() {
            return first;
        }
        let sigma = if disturbance == Disturbance::Change { 0.09 } else { 0.03 };
        let further = (0..2).map(|_| run(seeds, slowdown, (sigma, bursts), rng));
        let further = further.map(|sides| sides.keep(|what| suspected.contains(&what.subject()))).collect();
        confirmed(first, &before, &Sides::joined(further), &options)
    }

    /// Shares of 300 comparisons in which a regression is found at all, and in all timings of method 0.
    fn shares(seeds: u64, slowdown: f64, disturbance: Disturbance) -> (f64, f64) {
        let mut rng = ChaCha8Rng::seed_from_u64(seeds);
        let (mut any, mut every) = (0u32, 0u32);
        for _ in 0..300 {
            let found = simulated(seeds, slowdown, disturbance, &mut rng);
            any += u32::from(found.regressions().next().is_some());
            every += u32::from(found.regressions().filter(|check| check.label == "0").count() == METRICS.len());
        }
        (f64::from(any) / 300.0, f64::from(every) / 300.0)
    }

    #[test]
    fn equal_builds_rarely_alarm_and_a_slowdown_of_ten_percent_is_found() {
        use Disturbance::*;
        for (seeds, disturbance) in [(3, None), (3, Bursts), (3, Change), (5, None), (5, Bursts), (5, Change)] {
            let (false_alarms, _) = shares(seeds, 1.0, disturbance);
            let (found, everywhere) = shares(seeds, 1.1, disturbance);
            println!(
                "{seeds} seeds, {disturbance:?}: false alarms {false_alarms}, found {found}, everywhere {everywhere}"
            );
            assert!(false_alarms <= 0.05, "{seeds} seeds, {disturbance:?}: {false_alarms}");
            assert!(found >= 0.95 || disturbance == Change, "{seeds} seeds, {disturbance:?}: {found}");
            assert!(everywhere >= 0.95 || seeds < 5 || disturbance != None, "{everywhere}");
        }
    }

    #[test]
    fn a_timing_that_one_run_lacks_is_named() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let all = simulated(2, 1.0, Disturbance::None, &mut rng);
        assert_eq!((all.checks.len(), all.unknown.len()), (METHODS * METRICS.len(), 0));
        let what = what("m", METRICS[0], Some(4));
        let one: Logarithms = [((what, 1, 0), 0.0)].into();
        let sides = Sides { base: one.clone(), again: one.clone(), new: Logarithms::new() };
        let mut out = Comparison::default();
        judge(&sides, squares([&sides]), &Options::default(), FALSE_ALARMS, &mut out);
        assert_eq!(
            out.unknown,
            ["d · m · cpu, 1 thread · seed 1: train_seconds, re-ranked ×4 is not in all three runs"]
        );
        let mut out = Comparison::default();
        let sides = Sides { new: one, ..sides };
        judge(&sides, squares([&sides]), &Options::default(), FALSE_ALARMS, &mut out);
        assert!(out.checks.is_empty() && out.notes[0].contains("fewer than 4 pairs"), "{out:?}");
    }

    #[test]
    fn a_suspicion_that_did_not_run_again_leaves_the_verdict_open() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut first = Comparison::default();
        let before = run(5, 1.5, (0.03, false), &mut rng);
        judge(&before, squares([&before]), &Options::default(), FALSE_SUSPICIONS, &mut first);
        assert_eq!(first.suspicions().count(), METRICS.len());
        let of = |check: &Check| (check.label.clone(), check.device.clone(), check.threads);
        assert!(first.suspicions().all(|check| of(check) == ("0".into(), "cpu".into(), 1)), "{first:?}");
        let open = confirmed(first.clone(), &before, &Sides::default(), &Options::default());
        assert_eq!((open.verdict(), open.unknown.len()), (super::super::Verdict::CannotTell, METRICS.len()));
        let cleared = confirmed(first, &before, &run(5, 1.0, (0.03, false), &mut rng), &Options::default());
        assert_eq!((cleared.verdict(), cleared.notes.len()), (super::super::Verdict::NoRegression, METRICS.len()));
    }
}
