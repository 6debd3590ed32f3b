//! Successive halving: every code is measured on a small sample, the most promising ones on the next larger one, and so
//! on (Karnin, Koren and Somekh 2013; Jamieson and Talwalkar 2016). It knows codes by number only.

use crate::measure::Measured;
use reports::advice::{Figure, Figures, Wish};
use std::cmp::Ordering;

/// What is raced. Codes have numbers in the order of their cost, the cheapest first.
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
}

/// The course of a race.
#[derive(Clone, Debug)]
pub struct Race {
    /// What each code has shown, round by round.
    pub measured: Vec<Vec<Measured>>,
    /// Which codes left, and why.
    pub left: Vec<Option<Departure>>,
    /// The codes that were measured on all vectors.
    pub finalists: Vec<usize>,
    /// Whether the race ended before its last round.
    pub stopped: bool,
    shares: Vec<f64>,
}

/// Codes that reach the last round because they promise most. Others may reach it for what looser limits would buy.
const FINALISTS: usize = 3;

/// Codes that are kept for a looser limit alone are compared by their cost, if they promise at least this share of the
/// most promising one: what a looser limit buys need not be known to the last percent.
const NEARLY: f64 = 0.98;

impl Race {
    fn new(codes: usize, shares: Vec<f64>) -> Race {
        Race { measured: vec![vec![]; codes], left: vec![None; codes], finalists: vec![], stopped: false, shares }
    }

    /// What is known of a code by the largest sample that it was measured on; nothing if by none.
    pub fn figures(&self, code: usize) -> Figures {
        let Some((last, before)) = self.measured[code].split_last() else { return Figures::default() };
        last.figures(self.shares[before.len()])
    }

    /// The share of all vectors that each round measures.
    pub fn shares(&self) -> &[f64] {
        &self.shares
    }

    /// Number of codes that have been measured at all.
    pub fn tried(&self) -> usize {
        self.measured.iter().filter(|measured| !measured.is_empty()).count()
    }

    /// The given codes, the most promising first.
    fn ranked(&self, wish: &Wish, codes: &[usize]) -> Vec<usize> {
        self.promises(wish, codes).into_iter().map(|(_, code)| code).collect()
    }

    /// The code of lowest cost among those that promise about as much as the most promising one.
    fn cheapest_of_the_best(&self, wish: &Wish, codes: &[usize]) -> Option<usize> {
        let ranked = self.promises(wish, codes);
        let most = ranked.first()?.0;
        ranked.into_iter().filter(|(promise, _)| *promise >= most * NEARLY).map(|(_, code)| code).min()
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

    /// The codes that stay, of those that are in the race: `count` that promise most, and for each limit the one that
    /// would promise most if the limit was looser. If probably no code meets all limits, also the one that comes nearest
    /// to each.
    fn staying(&self, wish: &Wish, alive: &[usize], count: usize) -> Vec<usize> {
        let ranked = self.ranked(wish, alive);
        let can = |code: &usize| wish.out_of_reach(&self.figures(*code)).is_none();
        let mut staying: Vec<usize> = ranked.iter().copied().filter(can).take(count).collect();
        let probable = ranked.iter().any(|code| wish.chance(&self.figures(*code)) >= 0.5);
        let mut also = |wish: &Wish| {
            if let Some(code) = self.cheapest_of_the_best(wish, alive).filter(|code| !staying.contains(code)) {
                staying.push(code);
            }
        };
        wish.relaxed(Figure::relaxed).for_each(|(_, _, looser)| also(&looser));
        if !probable {
            wish.without_each().for_each(|(_, _, others)| also(&others));
        }
        staying.sort_unstable();
        staying
    }

    /// Marks the codes that do not stay.
    fn dismiss(&mut self, wish: &Wish, alive: &[usize], staying: &[usize]) {
        for code in alive.iter().filter(|code| !staying.contains(code)) {
            let reason = wish.out_of_reach(&self.figures(*code)).map_or(Departure::Behind, Departure::OutOfReach);
            self.left[*code].get_or_insert(reason);
        }
    }
}

/// Races `codes` codes for a wish. The number of codes falls by the same factor from round to round, to a few in the
/// last. If the time is up before, those that promise most go to the last round at once.
pub fn race(wish: &Wish, codes: usize, bench: &mut dyn Bench, observer: &mut dyn Observer) -> Race {
    let shares = bench.shares();
    let rounds = shares.len();
    let mut race = Race::new(codes, shares);
    let mut alive: Vec<usize> = (0..codes).collect();
    for round in 0..rounds {
        if round + 1 == rounds {
            bench.finish();
        }
        observer.begins(round, alive.len());
        let mut done = 0;
        for &code in &alive {
            match bench.measure(code, round) {
                Ok(measured) => race.measured[code].push(measured),
                Err(Failure::Failed(reason)) => race.left[code] = Some(Departure::Failed(reason)),
                Err(Failure::Stopped) => {
                    race.stopped = true;
                    break;
                }
            }
            done += 1;
            observer.measured(done);
        }
        alive.retain(|code| race.left[*code].is_none() && !race.measured[*code].is_empty());
        if race.stopped || round + 1 == rounds {
            break;
        }
        let count =
            (codes as f64 * (FINALISTS as f64 / codes as f64).powf((round + 1) as f64 / (rounds - 1) as f64)).ceil();
        let staying = race.staying(wish, &alive, (count as usize).max(FINALISTS));
        race.dismiss(wish, &alive, &staying);
        alive = staying;
        observer.ends(&race);
    }
    if race.stopped && rounds > 1 && alive.iter().all(|code| race.measured[*code].len() < rounds) {
        // Not all of this round were measured: the last codes are found among what is known.
        let staying = race.staying(wish, &alive, FINALISTS);
        race.dismiss(wish, &alive, &staying);
        alive = staying;
        bench.finish();
        observer.begins(rounds - 1, alive.len());
        let mut ranked = race.ranked(wish, &alive);
        ranked.truncate(alive.len());
        for code in ranked {
            match bench.measure(code, rounds - 1) {
                Ok(measured) => {
                    // Rounds that were left out are not known.
                    race.measured[code].resize(rounds - 1, Measured::default());
                    race.measured[code].push(measured);
                }
                Err(Failure::Failed(reason)) => race.left[code] = Some(Departure::Failed(reason)),
                Err(Failure::Stopped) => break,
            }
        }
    }
    race.finalists = (0..codes).filter(|code| race.measured[*code].len() == rounds).collect();
    let mut finalists = std::mem::take(&mut race.finalists);
    finalists.sort_by(|a, b| by_order(wish, &race, *a, *b));
    race.finalists = finalists;
    observer.ends(&race);
    race
}

/// The better code first, by what is known of it.
fn by_order(wish: &Wish, race: &Race, a: usize, b: usize) -> Ordering {
    wish.order(&race.figures(a), &race.figures(b)).then(a.cmp(&b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// Codes with a known recall and size; a sample shows the recall with an error of queries and one of the sample.
    struct Simulated {
        codes: Vec<(usize, f64)>,
        rng: ChaCha8Rng,
        spent: f64,
        stop_after: usize,
    }

    impl Bench for Simulated {
        fn shares(&self) -> Vec<f64> {
            vec![1.0 / 16.0, 0.25, 1.0]
        }

        fn measure(&mut self, code: usize, round: usize) -> Result<Measured, Failure> {
            if self.stop_after == 0 && round < 2 {
                return Err(Failure::Stopped);
            }
            self.stop_after = self.stop_after.saturating_sub(1);
            let (bytes, recall) = self.codes[code];
            if recall < 0.0 {
                return Err(Failure::Failed("it has no recall".into()));
            }
            let share = self.shares()[round];
            self.spent += share;
            // Smaller samples make worse codebooks, and differ more.
            let growths = (1.0 / share).ln() / 4f64.ln();
            let of_sample = growths * (0.03 * (self.rng.random::<f64>() - 0.5) - 0.04);
            let queries = (200.0 * share.sqrt()) as usize;
            let recalls = (0..queries).map(|_| recall + of_sample + 0.3 * (self.rng.random::<f64>() - 0.5)).collect();
            Ok(Measured { bytes, recalls, ..Measured::default() })
        }
    }

    struct Quiet;

    impl Observer for Quiet {
        fn begins(&mut self, _: usize, _: usize) {}
        fn measured(&mut self, _: usize) {}
        fn ends(&mut self, _: &Race) {}
    }

    fn simulated(seed: u64) -> Simulated {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let code = |_| (rng.random_range(1..9usize) * 8, 0.2 + 0.7 * rng.random::<f64>());
        Simulated { codes: (0..100).map(code).collect(), rng, spent: 0.0, stop_after: usize::MAX }
    }

    /// The winner of a race and the best code of all, by the true values.
    fn outcome(wish: &Wish, seed: u64) -> (Figures, Figures, f64) {
        let mut bench = simulated(seed);
        let race = race(wish, bench.codes.len(), &mut bench, &mut Quiet);
        let truth = |code: usize| {
            let (bytes, recall) = bench.codes[code];
            Figures::default().with(Figure::Bytes, bytes as f64).with(Figure::Recall, recall)
        };
        let all: Vec<Figures> = (0..bench.codes.len()).map(truth).collect();
        let best = wish.best(&all).expect("codes");
        (truth(race.finalists[0]), all[best].clone(), bench.spent / bench.codes.len() as f64)
    }

    #[test]
    fn the_best_recall_within_a_limit_is_found_in_a_seventh_of_the_time() {
        let wish = Wish::new(vec![(Figure::Bytes, 32.0)], None).expect("a wish");
        let mut near = 0;
        for seed in 0..100 {
            let (won, best, spent) = outcome(&wish, seed);
            assert!(spent < 0.16, "{spent}");
            assert!(won.value(Figure::Bytes).is_some_and(|bytes| bytes <= 32.0), "the limit holds");
            near += usize::from(won.value(Figure::Recall) >= best.value(Figure::Recall).map(|best| 0.98 * best));
        }
        assert!(near >= 93, "{near} of 100 within 2% of the best");
    }

    #[test]
    fn the_smallest_code_with_a_recall_is_found() {
        let wish = Wish::new(vec![(Figure::Recall, 0.7)], None).expect("a wish");
        let mut same = 0;
        for seed in 0..100 {
            let (won, best, _) = outcome(&wish, seed);
            // The true recall may be below the limit by what 200 queries cannot see.
            assert!(won.value(Figure::Recall).is_some_and(|recall| recall > 0.67), "{won:?}");
            same += usize::from(won.value(Figure::Bytes) <= best.value(Figure::Bytes));
        }
        assert!(same >= 90, "{same} of 100 as small as the best");
    }

    #[test]
    fn the_same_seed_gives_the_same_race() {
        let wish = Wish::new(vec![(Figure::Bytes, 32.0)], None).expect("a wish");
        let run = || {
            let race = race(&wish, 100, &mut simulated(3), &mut Quiet);
            (race.finalists, race.left)
        };
        assert_eq!(run(), run());
    }

    #[test]
    fn codes_that_cannot_meet_a_limit_or_fail_leave_and_say_why() {
        let wish = Wish::new(vec![(Figure::Bytes, 32.0), (Figure::Recall, 0.8)], None).expect("a wish");
        let mut bench = simulated(5);
        bench.codes[7] = (8, -1.0);
        bench.codes[8] = (512, 0.5);
        bench.codes[9] = (8, 0.2);
        let race = race(&wish, 100, &mut bench, &mut Quiet);
        assert_eq!(race.left[7], Some(Departure::Failed("it has no recall".into())));
        assert_eq!(race.left[8], Some(Departure::OutOfReach(Figure::Bytes)));
        assert_eq!(race.left[9], Some(Departure::OutOfReach(Figure::Recall)));
        assert_eq!(race.measured[8].len(), 1, "after the first round");
        assert!(race.left.contains(&Some(Departure::Behind)));
    }

    #[test]
    fn if_no_code_meets_the_limits_the_nearest_are_in_the_last_round() {
        let wish = Wish::new(vec![(Figure::Bytes, 16.0), (Figure::Recall, 0.99)], None).expect("a wish");
        let mut bench = simulated(6);
        let race = race(&wish, 100, &mut bench, &mut Quiet);
        let recall = |code: &usize| bench.codes[*code].1;
        let within = |code: &usize| bench.codes[*code].0 <= 16;
        let best = (0..100).filter(within).map(|code| recall(&code)).fold(0.0, f64::max);
        let found = race.finalists.iter().filter(|code| within(code)).map(recall).fold(0.0, f64::max);
        assert!(found > best - 0.05, "{found} of {best}");
    }

    #[test]
    fn a_race_that_is_stopped_ends_with_the_best_so_far() {
        let wish = Wish::new(vec![(Figure::Bytes, 32.0)], None).expect("a wish");
        for stop_after in [20, 110] {
            let mut bench = simulated(7);
            bench.stop_after = stop_after;
            let race = race(&wish, 100, &mut bench, &mut Quiet);
            assert!(race.stopped && !race.finalists.is_empty());
            assert!(race.finalists.iter().all(|code| race.measured[*code].len() == 3));
            assert_eq!(race.tried(), stop_after.min(100));
        }
        let mut bench = simulated(7);
        bench.stop_after = 0;
        let race = race(&wish, 100, &mut bench, &mut Quiet);
        assert!(race.finalists.is_empty() && race.tried() == 0);
    }
}
