//! The race: every code is measured on a small sample, and what it would reach with all rows is forecast. Only codes that
//! may be better than the best one by more than the tolerance are measured on larger samples, and at last on all rows.
//! This is successive halving (Karnin, Koren and Somekh 2013; Jamieson and Talwalkar 2016), except that the number of
//! codes that stay follows from the forecasts. It knows codes by number only.

use crate::forecast::{Shift, forecast, half_between_codes, over_draws};
use crate::measure::Measured;
use reports::advice::{Figure, Figures, Wish};
use reports::statistics::normal_below;
use std::cmp::Ordering;
use std::f64::consts::TAU;

/// What is known of a code before it is measured. Codes have numbers in the order of their cost, the cheapest first.
#[derive(Clone, Debug, PartialEq)]
pub struct Entrant {
    /// Bytes of a code.
    pub bytes: usize,
    /// The same number for all codes that differ in their rate alone.
    pub kin: usize,
    /// The code of this size that is the same without its transform, if this one has a transform.
    pub plain: Option<usize>,
}

/// What is raced.
pub trait Bench {
    /// The share of all vectors that each round measures, in ascending order; the last is 1.
    fn shares(&self) -> Vec<f64>;

    /// Measures a code in a round, both by number.
    ///
    /// # Errors
    /// The code cannot be measured, or there is no more time.
    fn measure(&mut self, code: usize, round: usize) -> Result<Measured, Failure>;

    /// From now on, only the time of the whole search counts: the last codes are measured on all vectors.
    fn finish(&mut self) {}
}

/// Why a code has not been measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It failed, for this reason.
    Failed(String),
    /// The time is up, or the user has interrupted.
    Stopped,
}

/// Hears of the progress of a race.
pub trait Observer {
    /// A round begins with so many codes.
    fn begins(&mut self, round: usize, codes: usize);
    /// So many codes of this round are measured.
    fn measured(&mut self, done: usize);
    /// A round has ended.
    fn ends(&mut self, race: &Race);
}

/// Why a code left the race.
#[derive(Clone, Debug, PartialEq)]
pub enum Departure {
    /// It failed.
    Failed(String),
    /// Even the better end of its interval misses the limit on this figure.
    OutOfReach(Figure),
    /// Others promise more.
    Behind,
    /// It was not measured: without its transform it is far behind, or a smaller code meets all limits.
    NotNeeded,
}

/// The course of a race.
#[derive(Clone, Debug)]
pub struct Race {
    /// What each code has shown, round by round. A round that a code skipped has no recalls.
    pub measured: Vec<Vec<Measured>>,
    /// Which codes left, and why.
    pub left: Vec<Option<Departure>>,
    /// The codes that were measured on all vectors, the best first.
    pub finalists: Vec<usize>,
    /// Whether the race ended before its last round.
    pub stopped: bool,
    shares: Vec<f64>,
    /// Of each code, [`Entrant::kin`].
    kin: Vec<usize>,
}

/// What the race may miss of the objective: a code is measured again only if this is expected to gain more.
const TOLERANCE: f64 = 0.02;

/// Most codes that a round after the first measures, and most that are measured on all vectors.
const CONTENDERS: usize = 6;
const FINALISTS: usize = 3;

/// A code behind a transform is measured if it promises at least this share of the most promising one without.
const WORTH_A_TRANSFORM: f64 = 0.75;

/// If a code meets all limits with this probability, larger ones are not measured for a wish for the fewest bytes.
const SURE: f64 = 0.95;

/// Kinds of codes that are measured at the next size, for what a looser limit on bytes buys.
const LARGER_KIN: usize = 2;

impl Race {
    fn new(entrants: &[Entrant], shares: Vec<f64>) -> Race {
        let codes = entrants.len();
        let kin = entrants.iter().map(|entrant| entrant.kin).collect();
        Race { measured: vec![vec![]; codes], left: vec![None; codes], finalists: vec![], stopped: false, shares, kin }
    }

    /// Whether a code failed.
    pub fn has_failed(&self, code: usize) -> bool {
        matches!(self.left[code], Some(Departure::Failed(_)))
    }

    /// Whether a code was measured on all vectors.
    pub fn is_finalist(&self, code: usize) -> bool {
        self.measured[code].len() == self.shares.len()
    }

    /// What a code reaches with all vectors, as far as is known: measured on them, or forecast from the largest sample that
    /// it was measured on, corrected by what the last codes have shown since: those that differ in their rate alone, or all
    /// if there are none. Nothing if it was not measured.
    pub fn figures(&self, code: usize) -> Figures {
        let Some((last, before)) = self.measured[code].split_last() else { return Figures::default() };
        let (round, share) = (before.len(), self.shares[before.len()]);
        let in_both =
            |other: &usize| share < 1.0 && self.is_finalist(*other) && !self.measured[*other][round].recalls.is_empty();
        let seen: Vec<usize> = (0..self.measured.len()).filter(in_both).collect();
        let of_kin: Vec<usize> = seen.iter().copied().filter(|other| self.kin[*other] == self.kin[code]).collect();
        let seen = if of_kin.is_empty() { seen } else { of_kin };
        let pair = |other: &usize| Some((forecast(&self.measured[*other][round], share), self.on_all(*other)?));
        let pairs: Vec<(Figures, Figures)> = seen.iter().filter_map(pair).collect();
        Shift::of(&pairs).map_or_else(|| forecast(last, share), |shift| shift.corrected(last, share))
    }

    /// The figures of a code that was measured on all vectors.
    fn on_all(&self, code: usize) -> Option<Figures> {
        self.measured[code].last().filter(|_| self.is_finalist(code)).map(|measured| forecast(measured, 1.0))
    }

    /// Number of codes that have been measured at all.
    pub fn tried(&self) -> usize {
        self.measured.iter().filter(|measured| !measured.is_empty()).count()
    }

    /// The given codes with what they promise, the most promising first.
    fn promises(&self, wish: &Wish, codes: &[usize]) -> Vec<(f64, usize)> {
        let objective = wish.objective();
        let known: Vec<(usize, Figures)> = codes.iter().map(|code| (*code, self.figures(*code))).collect();
        // The best objective among codes that can meet the limits, or among all if none can.
        let best = |of: &dyn Fn(&Figures) -> bool| {
            let values = known.iter().filter(|(_, figures)| of(figures)).filter_map(|(_, f)| f.value(objective));
            values.reduce(|a, b| if objective.larger_is_better() { a.max(b) } else { a.min(b) })
        };
        let best = best(&|figures| wish.out_of_reach(figures).is_none()).or_else(|| best(&|_| true)).unwrap_or(1.0);
        let mut ranked: Vec<(f64, &(usize, Figures))> =
            known.iter().map(|one| (wish.promise(&one.1, best), one)).collect();
        ranked.sort_by(|(a, (i, x)), (b, (j, y))| b.total_cmp(a).then_with(|| wish.order(x, y)).then_with(|| i.cmp(j)));
        ranked.into_iter().map(|(promise, (code, _))| (promise, *code)).collect()
    }

    /// What measuring `code` again is expected to gain over `leader`, relative to the objective of the leader: the
    /// probability that it meets the limits, times what it is then better by in the mean. A leader that misses the limits
    /// is worth nothing.
    fn gain(&self, wish: &Wish, code: usize, leader: usize) -> f64 {
        let (own, best) = (self.figures(code), self.figures(leader));
        let kept = if self.is_finalist(leader) { f64::from(u8::from(wish.is_met(&best))) } else { wish.chance(&best) };
        let objective = wish.objective();
        let better = match (own.value(objective), best.value(objective)) {
            (Some(a), Some(b)) if b.abs() > 0.0 => {
                let ahead = if objective.larger_is_better() { a - b } else { b - a };
                mean_above_zero(ahead / b.abs(), self.deviation(objective, code, leader, b) / b.abs())
            }
            _ => 0.0,
        };
        wish.chance(&own) * (1.0 - kept + kept * better)
    }

    /// The standard deviation of the difference between two codes in a figure with all vectors, of which `value` is about
    /// the size.
    fn deviation(&self, figure: Figure, a: usize, b: usize, value: f64) -> f64 {
        let round = self.measured[a].len().min(self.measured[b].len()).saturating_sub(1);
        let of_rows = |code: usize| {
            let Some((last, before)) = self.measured[code].split_last() else { return 0.0 };
            0.5 * half_between_codes(figure, value, last, self.shares[before.len()])
        };
        let of_queries = match (figure, self.measured[a].get(round), self.measured[b].get(round)) {
            (Figure::Recall, Some(a), Some(b)) => {
                let differences: Vec<f64> = a.recalls.iter().zip(&b.recalls).map(|(a, b)| a - b).collect();
                over_draws(&differences).map_or(0.0, |e| 0.5 * (e.high - e.value))
            }
            _ => 0.0,
        };
        of_rows(a).hypot(of_rows(b)).hypot(of_queries)
    }

    /// Marks the codes that do not stay.
    fn dismiss(&mut self, wish: &Wish, alive: &[usize], staying: &[usize]) {
        for code in alive.iter().filter(|code| !staying.contains(code)) {
            let reason = wish.out_of_reach(&self.figures(*code)).map_or(Departure::Behind, Departure::OutOfReach);
            self.left[*code].get_or_insert(reason);
        }
    }

    /// Keeps what a measurement has shown; says whether the race may go on.
    fn note(&mut self, code: usize, round: usize, outcome: Result<Measured, Failure>) -> bool {
        match outcome {
            Ok(measured) => {
                self.measured[code].resize(round, Measured::default());
                self.measured[code].push(measured);
            }
            Err(Failure::Failed(reason)) => self.left[code] = Some(Departure::Failed(reason)),
            Err(Failure::Stopped) => self.stopped = true,
        }
        !self.stopped
    }

    /// Of the given codes, those that are still in the race.
    fn running(&self, codes: &[usize]) -> Vec<usize> {
        let runs = |code: &&usize| self.left[**code].is_none() && !self.measured[**code].is_empty();
        codes.iter().filter(runs).copied().collect()
    }
}

/// The mean of the positive part of a normal variable.
fn mean_above_zero(mean: f64, deviation: f64) -> f64 {
    if deviation <= 0.0 {
        return mean.max(0.0);
    }
    let z = mean / deviation;
    deviation * (-0.5 * z * z).exp() / TAU.sqrt() + mean * normal_below(z)
}

/// Races codes for a wish. If the time is up before, the most promising code goes to the last round at once.
pub fn race(wish: &Wish, entrants: &[Entrant], bench: &mut dyn Bench, observer: &mut dyn Observer) -> Race {
    let mut race = Race::new(entrants, bench.shares());
    let last = race.shares.len().saturating_sub(1);
    let mut alive = first_round(wish, entrants, &mut race, bench, observer);
    for round in 1..last {
        if race.stopped {
            break;
        }
        let staying = contenders(wish, &race, &alive);
        // A round of one code decides nothing.
        if staying.len() < 2 {
            break;
        }
        race.dismiss(wish, &alive, &staying);
        observer.begins(round, staying.len());
        for (done, &code) in staying.iter().enumerate() {
            let measured = bench.measure(code, round);
            if !race.note(code, round, measured) {
                break;
            }
            observer.measured(done + 1);
        }
        alive = race.running(&staying);
        observer.ends(&race);
    }
    bench.finish();
    last_round(wish, &mut race, bench, observer);
    larger_kin(wish, entrants, &mut race, bench);
    let mut finalists: Vec<usize> = (0..entrants.len()).filter(|code| race.is_finalist(*code)).collect();
    finalists.sort_by(|a, b| by_order(wish, &race, *a, *b));
    race.finalists = finalists;
    observer.ends(&race);
    race
}

/// Measures the codes on the first sample, and returns those that are in the race.
fn first_round(
    wish: &Wish,
    entrants: &[Entrant],
    race: &mut Race,
    bench: &mut dyn Bench,
    observer: &mut dyn Observer,
) -> Vec<usize> {
    let smallest = wish.objective() == Figure::Bytes;
    let within = |code: &usize| {
        let limit = wish.limits().iter().find(|(figure, _)| *figure == Figure::Bytes);
        limit.is_none_or(|(figure, limit)| figure.meets(entrants[*code].bytes as f64, *limit))
    };
    let (mut alive, larger): (Vec<usize>, Vec<usize>) = (0..entrants.len()).partition(within);
    if alive.is_empty() {
        alive.extend(&larger);
    } else {
        larger.into_iter().for_each(|code| race.left[code] = Some(Departure::OutOfReach(Figure::Bytes)));
    }
    // For the fewest bytes, the smallest come first; a code behind a transform always comes after the one without.
    alive
        .sort_by_key(|code| (if smallest { entrants[*code].bytes } else { 0 }, entrants[*code].plain.is_some(), *code));
    observer.begins(0, alive.len());
    for (done, &code) in alive.iter().enumerate() {
        let entrant = &entrants[code];
        let seen = race.running(&alive);
        let is_sure =
            |other: &usize| entrants[*other].bytes < entrant.bytes && wish.chance(&race.figures(*other)) >= SURE;
        let small_enough = smallest && seen.iter().any(is_sure);
        let is_behind = |plain: usize| {
            let promises = race.promises(wish, &seen);
            let own = promises.iter().find(|(_, code)| *code == plain);
            own.zip(promises.first()).is_some_and(|((own, _), (most, _))| *own < WORTH_A_TRANSFORM * most)
        };
        if small_enough || entrant.plain.is_some_and(is_behind) {
            race.left[code] = Some(Departure::NotNeeded);
        } else {
            let measured = bench.measure(code, 0);
            if !race.note(code, 0, measured) {
                break;
            }
        }
        observer.measured(done + 1);
    }
    let alive = race.running(&alive);
    observer.ends(race);
    alive
}

/// The most promising code, and those that may be better than it by more than the tolerance.
fn contenders(wish: &Wish, race: &Race, alive: &[usize]) -> Vec<usize> {
    let ranked: Vec<usize> = race.promises(wish, alive).into_iter().map(|(_, code)| code).collect();
    let Some((&leader, others)) = ranked.split_first() else { return vec![] };
    let mut gains: Vec<(f64, usize)> = others.iter().map(|code| (race.gain(wish, *code, leader), *code)).collect();
    gains.retain(|(gain, _)| *gain > TOLERANCE);
    gains.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    let mut staying: Vec<usize> =
        [leader].into_iter().chain(gains.into_iter().map(|(_, code)| code)).take(CONTENDERS).collect();
    staying.sort_unstable();
    staying
}

/// Measures codes on all vectors, the most promising first, until no other is expected to gain more than the tolerance.
fn last_round(wish: &Wish, race: &mut Race, bench: &mut dyn Bench, observer: &mut dyn Observer) {
    let last = race.shares.len().saturating_sub(1);
    let mut stopped = false;
    loop {
        // A code that was behind may come back, once others have shown what more rows change.
        let runs = |code: &usize| !race.measured[*code].is_empty() && !race.has_failed(*code);
        let running: Vec<usize> = (0..race.measured.len()).filter(runs).collect();
        let (mut finalists, others): (Vec<usize>, Vec<usize>) =
            running.iter().copied().partition(|code| race.is_finalist(*code));
        finalists.sort_by(|a, b| by_order(wish, race, *a, *b));
        race.finalists = finalists;
        let next = race.promises(wish, &others).into_iter().map(|(_, code)| code);
        let next = match race.finalists.first() {
            None => next.collect::<Vec<_>>().first().copied(),
            Some(_) if race.finalists.len() >= FINALISTS => None,
            Some(&best) => {
                let gains = next.map(|code| (race.gain(wish, code, best), code)).filter(|(gain, _)| *gain > TOLERANCE);
                // The first of equals is the most promising.
                gains.reduce(|a, b| if b.0 > a.0 { b } else { a }).map(|(_, code)| code)
            }
        };
        let Some(code) = next.filter(|_| !stopped) else {
            if !stopped {
                let staying = race.finalists.clone();
                race.dismiss(wish, &running, &staying);
            }
            return;
        };
        observer.begins(last, race.finalists.len() + 1);
        race.left[code] = None;
        let measured = bench.measure(code, last);
        stopped = measured == Err(Failure::Stopped);
        race.note(code, last, measured);
        observer.measured(race.finalists.len() + 1);
    }
}

/// Measures what a looser limit on bytes would allow on the first sample: the codes of the next size that differ in their
/// rate alone from the most promising ones.
fn larger_kin(wish: &Wish, entrants: &[Entrant], race: &mut Race, bench: &mut dyn Bench) {
    // Fewer bytes are not bought with more, unless no code meets the limits.
    let is_met = race.finalists.first().is_some_and(|best| wish.is_met(&race.figures(*best)));
    if race.stopped || (wish.objective() == Figure::Bytes && is_met) {
        return;
    }
    let looser = wish.relaxed(Figure::relaxed).find(|(figure, ..)| *figure == Figure::Bytes);
    let Some((_, limit, looser)) = looser else { return };
    let tried: Vec<usize> = (0..entrants.len()).filter(|code| !race.measured[*code].is_empty()).collect();
    let mut kin: Vec<usize> = Vec::new();
    for (_, code) in race.promises(&looser, &tried) {
        if kin.len() < LARGER_KIN && !kin.contains(&entrants[code].kin) {
            kin.push(entrants[code].kin);
        }
    }
    for (code, entrant) in entrants.iter().enumerate() {
        let wanted = kin.contains(&entrant.kin) && Figure::Bytes.meets(entrant.bytes as f64, limit);
        if wanted && race.measured[code].is_empty() && race.left[code] == Some(Departure::OutOfReach(Figure::Bytes)) {
            let measured = bench.measure(code, 0);
            if !race.note(code, 0, measured) {
                return;
            }
        }
    }
}

/// The better code first, by what is known of it.
fn by_order(wish: &Wish, race: &Race, a: usize, b: usize) -> Ordering {
    wish.order(&race.figures(a), &race.figures(b)).then(a.cmp(&b))
}

#[cfg(test)]
mod tests;
