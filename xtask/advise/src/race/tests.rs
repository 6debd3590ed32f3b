//! Races of simulated codes, whose true figures are known.

use super::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Codes with a known recall and size; a sample shows the recall with an error of queries and one of the sample.
struct Simulated {
    codes: Vec<(usize, f64)>,
    rng: ChaCha8Rng,
    spent: f64,
    measured: Vec<(usize, usize)>,
    stop_after: usize,
}

/// Entrants that have nothing to do with each other.
fn strangers(codes: &[(usize, f64)]) -> Vec<Entrant> {
    codes.iter().enumerate().map(|(kin, (bytes, _))| Entrant { bytes: *bytes, kin, plain: None }).collect()
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
        self.measured.push((code, round));
        // Smaller samples make worse codebooks, and differ more.
        let growths = (1.0 / share).ln() / 4f64.ln();
        let of_sample = growths * (0.03 * (self.rng.random::<f64>() - 0.5) - 0.04);
        let recalls = (0..200).map(|_| recall + of_sample + 0.3 * (self.rng.random::<f64>() - 0.5)).collect();
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
    Simulated { codes: (0..100).map(code).collect(), rng, spent: 0.0, measured: vec![], stop_after: usize::MAX }
}

/// The winner of a race and the best code of all, by the true values.
fn outcome(wish: &Wish, seed: u64) -> (Figures, Figures, f64) {
    let mut bench = simulated(seed);
    let race = race(wish, &strangers(&bench.codes), &mut bench, &mut Quiet);
    let truth = |code: usize| {
        let (bytes, recall) = bench.codes[code];
        Figures::default().with(Figure::Bytes, bytes as f64).with(Figure::Recall, recall)
    };
    let all: Vec<Figures> = (0..bench.codes.len()).map(truth).collect();
    let best = wish.best(&all).expect("codes");
    (truth(race.finalists[0]), all[best].clone(), bench.spent / bench.codes.len() as f64)
}

#[test]
fn the_best_recall_within_a_limit_is_found_in_a_sixteenth_of_the_time() {
    let wish = Wish::new(vec![(Figure::Bytes, 32.0)], None).expect("a wish");
    let (mut near, mut most) = (0, 0.0f64);
    for seed in 0..100 {
        let (won, best, spent) = outcome(&wish, seed);
        most = most.max(spent);
        assert!(won.value(Figure::Bytes).is_some_and(|bytes| bytes <= 32.0), "the limit holds");
        near += usize::from(won.value(Figure::Recall) >= best.value(Figure::Recall).map(|best| 0.98 * best));
    }
    assert!(near >= 95 && most < 0.06, "{near} of 100 within 2% of the best, in at most {most} of the time");
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
        let mut bench = simulated(3);
        let race = race(&wish, &strangers(&bench.codes), &mut bench, &mut Quiet);
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
    let race = race(&wish, &strangers(&bench.codes), &mut bench, &mut Quiet);
    assert_eq!(race.left[7], Some(Departure::Failed("it has no recall".into())));
    assert_eq!(race.left[8], Some(Departure::OutOfReach(Figure::Bytes)));
    assert_eq!(race.left[9], Some(Departure::OutOfReach(Figure::Recall)));
    assert_eq!(race.measured[8].len(), 0, "its size is known");
    assert!(race.left.contains(&Some(Departure::Behind)));
}

#[test]
fn if_no_code_meets_the_limits_the_nearest_are_in_the_last_round() {
    let wish = Wish::new(vec![(Figure::Bytes, 16.0), (Figure::Recall, 0.99)], None).expect("a wish");
    let mut bench = simulated(6);
    let race = race(&wish, &strangers(&bench.codes), &mut bench, &mut Quiet);
    let recall = |code: &usize| bench.codes[*code].1;
    let within = |code: &usize| bench.codes[*code].0 <= 16;
    let best = (0..100).filter(within).map(|code| recall(&code)).fold(0.0, f64::max);
    let found = race.finalists.iter().filter(|code| within(code)).map(recall).fold(0.0, f64::max);
    assert!(found > best - 0.05, "{found} of {best}");
}

#[test]
fn a_race_that_is_stopped_ends_with_the_best_so_far() {
    let wish = Wish::new(vec![(Figure::Bytes, 32.0)], None).expect("a wish");
    let run = |seed: u64, stop_after: usize| {
        let mut bench = Simulated { stop_after, ..simulated(seed) };
        (race(&wish, &strangers(&bench.codes), &mut bench, &mut Quiet), bench.measured)
    };
    // A race that has a second round.
    let seed = (0..100).find(|seed| run(*seed, usize::MAX).1.iter().any(|(_, round)| *round == 1));
    let seed = seed.expect("a race of three rounds");
    let within = simulated(seed).codes.iter().filter(|(bytes, _)| *bytes <= 32).count();
    // In the first round, and in the second.
    for stop_after in [20, within] {
        let (race, measured) = run(seed, stop_after);
        assert!(race.stopped && !race.finalists.is_empty());
        assert!(race.finalists.iter().all(|code| race.measured[*code].len() == 3));
        assert!(measured.iter().all(|(_, round)| *round != 1));
        assert_eq!(race.tried(), stop_after);
    }
    let mut bench = simulated(7);
    bench.stop_after = 0;
    let race = race(&wish, &strangers(&bench.codes), &mut bench, &mut Quiet);
    assert!(race.finalists.is_empty() && race.tried() == 0);
}

/// Codes whose figures on every sample are given.
struct Given {
    shares: Vec<f64>,
    /// Of each code, in each round: the recall, and that on its training rows.
    recalls: Vec<Vec<(f64, f64)>>,
    bytes: Vec<usize>,
    measured: Vec<(usize, usize)>,
}

impl Bench for Given {
    fn shares(&self) -> Vec<f64> {
        self.shares.clone()
    }

    fn measure(&mut self, code: usize, round: usize) -> Result<Measured, Failure> {
        self.measured.push((code, round));
        let (recall, in_training) = self.recalls[code][round];
        let in_training = (self.shares[round] < 1.0).then_some(in_training);
        // Queries differ by as much as those of a real set.
        let recalls = (0..500).map(|q| recall + if q % 2 == 0 { 0.1 } else { -0.1 }).collect();
        Ok(Measured { bytes: self.bytes[code], recalls, in_training, ..Measured::default() })
    }
}

/// On wordnet-minilm-384, `rvq` is far behind on a sample, because it learns its rows by heart, and ahead with all rows.
#[test]
fn a_code_that_knows_its_rows_by_heart_is_not_dismissed() {
    let recalls = vec![
        vec![(0.44, 0.57), (0.47, 0.50), (0.42, 0.0)],
        vec![(0.40, 0.60), (0.44, 0.53), (0.43, 0.0)],
        vec![(0.32, 0.80), (0.46, 0.61), (0.45, 0.0)],
        vec![(0.32, 0.33), (0.30, 0.31), (0.29, 0.0)],
    ];
    let mut bench = Given { shares: vec![1.0 / 16.0, 0.25, 1.0], recalls, bytes: vec![8; 4], measured: vec![] };
    let wish = Wish::new(vec![(Figure::Bytes, 8.0)], None).expect("a wish");
    let entrants: Vec<Entrant> = (0..4).map(|kin| Entrant { bytes: 8, kin, plain: None }).collect();
    let race = race(&wish, &entrants, &mut bench, &mut Quiet);
    assert_eq!(race.finalists, [2], "one code is measured on all rows: the best");
    assert_eq!(race.measured[3].len(), 1, "it has nothing to gain from more rows");
}

/// A code that is larger than allowed is measured only where it may say what a looser limit buys, and a transform only where
/// the code without it is not far behind.
#[test]
fn what_cannot_matter_is_not_measured() {
    let one = |recall: f64| vec![(recall, recall), (recall, recall)];
    let bytes = vec![8, 8, 8, 8, 12, 12];
    let recalls = [0.6, 0.2, 0.61, 0.9, 0.7, 0.3].map(one).to_vec();
    let plain = [None, None, Some(0), Some(1), None, None];
    let kin = [0, 1, 2, 3, 0, 1];
    let entrants: Vec<Entrant> =
        (0..6).map(|code| Entrant { bytes: bytes[code], kin: kin[code], plain: plain[code] }).collect();
    let mut bench = Given { shares: vec![0.25, 1.0], recalls, bytes, measured: vec![] };
    let wish = Wish::new(vec![(Figure::Bytes, 8.0)], None).expect("a wish");
    let race = race(&wish, &entrants, &mut bench, &mut Quiet);
    assert_eq!(race.left[3], Some(Departure::NotNeeded), "its plain code has a third of the recall of the best");
    assert_eq!(race.left[5], Some(Departure::OutOfReach(Figure::Bytes)));
    let sampled: Vec<usize> = bench.measured.iter().filter(|(_, round)| *round == 0).map(|(code, _)| *code).collect();
    assert_eq!(sampled, [0, 1, 2, 4], "the larger one of a kind that leads comes last");
    assert!(race.finalists.iter().all(|code| [0, 2].contains(code)), "{:?}", race.finalists);
}

/// A wish for the fewest bytes: once a small code surely meets the limit, larger ones are not measured.
#[test]
fn larger_codes_than_one_that_surely_serves_are_not_measured() {
    let bytes = vec![16, 8, 4, 24];
    let recalls = vec![vec![(0.99, 0.99); 2], vec![(0.9, 0.9); 2], vec![(0.1, 0.1); 2], vec![(0.99, 0.99); 2]];
    let entrants: Vec<Entrant> =
        bytes.iter().enumerate().map(|(kin, bytes)| Entrant { bytes: *bytes, kin, plain: None }).collect();
    let mut bench = Given { shares: vec![0.25, 1.0], recalls, bytes, measured: vec![] };
    let wish = Wish::new(vec![(Figure::Recall, 0.5)], None).expect("a wish");
    let race = race(&wish, &entrants, &mut bench, &mut Quiet);
    assert_eq!(bench.measured, [(2, 0), (1, 0), (1, 1)], "the smallest first");
    assert_eq!(race.finalists, [1]);
    assert_eq!([&race.left[0], &race.left[3]], [&Some(Departure::NotNeeded); 2]);
}
