//! Whether what an adapter says can be true: times by its own clock against ours, processor time against threads, row numbers
//! against rows.

use crate::family::Member;
use crate::protocol::{Lap, Singles, Timing};
use std::collections::HashSet;
use std::time::Instant;

/// Seconds beyond its own clock that an adapter may take for a timed request: to read and write files, and to warm up.
pub(crate) const UNACCOUNTED_SECONDS: f64 = 10.0;

/// Measures a request from outside: time, and the processor time of all processes of the adapter.
pub(crate) struct Watch {
    begin: Instant,
    processor_seconds: f64,
}

impl Watch {
    /// `members` are its processes now.
    pub(crate) fn start(members: &[Member]) -> Watch {
        Watch { begin: Instant::now(), processor_seconds: processor_seconds(members) }
    }

    /// The seconds that passed.
    pub(crate) fn stop(self, members: &[Member], threads: usize) -> Result<f64, String> {
        let outside = self.begin.elapsed().as_secs_f64();
        check_processor_seconds(processor_seconds(members) - self.processor_seconds, outside, threads).map(|()| outside)
    }
}

/// Whether so much processor time may pass in so many seconds.
fn check_processor_seconds(used: f64, outside: f64, threads: usize) -> Result<(), String> {
    // Processor time is counted in hundredths of a second, for each thread.
    let allowed = 1.1 * outside * threads as f64 + 0.05 * (threads + 1) as f64;
    if used <= allowed {
        return Ok(());
    }
    let limit = if threads == 1 { "1 thread allows".into() } else { format!("{threads} threads allow") };
    Err(format!("it used {used:.2} s of processor time in {outside:.2} s, more than {limit}"))
}

fn processor_seconds(members: &[Member]) -> f64 {
    members.iter().map(|member| member.processor_seconds).sum()
}

/// Whether measurements can be true. `singles` are further seconds that were measured in the same request.
pub(crate) fn check_laps(laps: &[Lap], timing: Timing, outside: f64, singles: f64) -> Result<(), String> {
    if laps.len() != timing.repeats {
        return Err(format!("`timing` has {} measurements; {} were asked for", laps.len(), timing.repeats));
    }
    if let Some(lap) = laps.iter().find(|lap| !(lap.seconds.is_finite() && lap.seconds >= 0.0 && lap.rounds > 0)) {
        return Err(format!("`timing` has {} rounds in {} s", lap.rounds, lap.seconds));
    }
    let inside = laps.iter().map(|lap| lap.seconds).sum::<f64>() + singles;
    if inside > outside {
        return Err(format!("its clock shows {inside:.4} s, but its reply came after {outside:.4} s"));
    }
    let all = |seconds: f64| laps.iter().all(|lap| lap.seconds == seconds);
    let coarse = match laps.iter().find(|lap| lap.seconds == 0.0).or(laps.first()) {
        Some(lap) if laps.len() > 2 && all(lap.seconds) => Some((lap, "every repeat")),
        Some(lap) if lap.seconds == 0.0 => Some((lap, "a repeat")),
        _ => None,
    };
    if let Some((lap, which)) = coarse {
        return Err(format!(
            "its clock is too coarse: it shows {} s for {which}; use a monotonic clock of nanoseconds",
            lap.seconds
        ));
    }
    if let Some(lap) = laps.iter().find(|lap| lap.seconds < 0.99 * timing.min_seconds) {
        return Err(format!(
            "it measured for {} s; the work must be repeated for {} s",
            lap.seconds, timing.min_seconds
        ));
    }
    let round = laps.iter().map(|lap| lap.seconds / lap.rounds as f64).fold(0.0, f64::max);
    if outside > 2.0 * (inside + round) + UNACCOUNTED_SECONDS {
        return Err(format!(
            "its clock shows {inside:.2} s, but its reply took {outside:.2} s: the work that it measured is not all that it did"
        ));
    }
    Ok(())
}

/// Whether the times of single queries can be true.
pub(crate) fn check_singles(singles: Vec<f64>, asked: Singles, queries: usize) -> Result<Vec<f64>, String> {
    let most = asked.queries.min(queries);
    if singles.is_empty() && most > 0 || singles.len() > most {
        return Err(format!("`singles` has {} times; 1 to {most} were asked for", singles.len()));
    }
    if let Some(wrong) = singles.iter().find(|seconds| !(seconds.is_finite() && **seconds >= 0.0)) {
        return Err(format!("`singles` has a time of {wrong} s"));
    }
    let different: HashSet<u64> = singles.iter().map(|seconds| seconds.to_bits()).collect();
    if singles.len() >= 10 && different.len() < 3 {
        return Err(format!(
            "its clock is too coarse: {} single queries took {} different times; use a monotonic clock of nanoseconds",
            singles.len(),
            different.len()
        ));
    }
    Ok(singles)
}

/// The row numbers of a query, without the -1 at their end.
pub(crate) fn check_ids(row: &[i64], held: usize, query: usize) -> Result<Vec<u32>, String> {
    let found: Vec<i64> = row.iter().copied().take_while(|id| *id != -1).collect();
    if let Some(id) = row[found.len()..].iter().find(|id| **id != -1) {
        return Err(format!("query {query} has the row {id} after -1; -1 stands only at the end"));
    }
    if let Some(id) = found.iter().find(|id| **id < 0 || **id >= held as i64) {
        return Err(format!("query {query} has the row {id}; rows are numbered from 0 to {}", held as i64 - 1));
    }
    let mut seen = HashSet::with_capacity(found.len());
    if let Some(id) = found.iter().find(|id| !seen.insert(**id)) {
        return Err(format!("query {query} has the row {id} twice; each row is found at most once"));
    }
    Ok(found.into_iter().map(|id| id as u32).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn laps(seconds: &[f64]) -> Vec<Lap> {
        seconds.iter().map(|seconds| Lap { rounds: 3, seconds: *seconds }).collect()
    }

    #[test]
    fn laps_must_fit_into_the_time_that_passed() {
        let timing = Timing { repeats: 3, min_seconds: 0.2 };
        let check = |seconds: &[f64], outside, singles| check_laps(&laps(seconds), timing, outside, singles);
        let honest = [0.21, 0.22, 0.23];
        assert_eq!(check(&honest, 0.7, 0.03), Ok(()));
        assert_eq!(check(&honest, 10.5, 0.0), Ok(()), "a library may warm up for long");
        let refused = |found: Result<(), String>| found.expect_err("refused");
        assert_eq!(refused(check(&honest, 0.6, 0.0)), "its clock shows 0.6600 s, but its reply came after 0.6000 s");
        assert_eq!(refused(check(&honest, 0.66, 0.1)), "its clock shows 0.7600 s, but its reply came after 0.6600 s");
        assert_eq!(
            refused(check(&honest, 20.0, 0.0)),
            "its clock shows 0.66 s, but its reply took 20.00 s: the work that it measured is not all that it did"
        );
        assert_eq!(
            refused(check(&[0.21, 0.0, 0.21], 1.0, 0.0)),
            "its clock is too coarse: it shows 0 s for a repeat; use a monotonic clock of nanoseconds"
        );
        assert_eq!(
            refused(check(&[0.21; 3], 1.0, 0.0)),
            "its clock is too coarse: it shows 0.21 s for every repeat; use a monotonic clock of nanoseconds"
        );
        assert_eq!(
            refused(check(&[0.21, 0.05, 0.22], 1.0, 0.0)),
            "it measured for 0.05 s; the work must be repeated for 0.2 s"
        );
        assert_eq!(refused(check(&[0.21], 1.0, 0.0)), "`timing` has 1 measurements; 3 were asked for");
        assert_eq!(refused(check(&[0.2, -0.1, 0.3], 1.0, 0.0)), "`timing` has 3 rounds in -0.1 s");
        assert_eq!(refused(check(&[0.2, f64::NAN, 0.3], 1.0, 0.0)), "`timing` has 3 rounds in NaN s");
    }

    #[test]
    fn processor_time_must_fit_the_threads() {
        // Ticks of a hundredth of a second decide nothing in a short request.
        assert_eq!(check_processor_seconds(0.09, 0.001, 1), Ok(()));
        assert_eq!(check_processor_seconds(2.0, 1.0, 2), Ok(()));
        assert_eq!(
            check_processor_seconds(2.0, 1.0, 1),
            Err("it used 2.00 s of processor time in 1.00 s, more than 1 thread allows".into())
        );
        assert_eq!(
            check_processor_seconds(3.0, 1.0, 2),
            Err("it used 3.00 s of processor time in 1.00 s, more than 2 threads allow".into())
        );
    }

    #[test]
    fn single_queries_must_be_those_that_were_asked_for() {
        let asked = Singles { queries: 20, seconds: 0.1 };
        let times: Vec<f64> = (1..=20).map(|i| f64::from(i) * 1e-5).collect();
        assert_eq!(check_singles(times.clone(), asked, 100), Ok(times.clone()));
        assert!(check_singles(times.clone(), asked, 19).is_err(), "more than there are");
        assert!(check_singles(vec![], asked, 100).is_err() && check_singles(vec![], asked, 0).is_ok());
        assert!(check_singles(vec![f64::INFINITY], asked, 100).is_err());
        // A clock of milliseconds shows 0 or 0.001.
        let coarse = (0..20).map(|i| f64::from(i % 2) * 1e-3).collect();
        assert!(
            check_singles(coarse, asked, 100)
                .is_err_and(|what| what.contains("20 single queries took 2 different times"))
        );
    }
}
