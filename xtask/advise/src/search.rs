//! A whole search: codes, samples, the race within the time, and what its end says.

use crate::answer::{Answer, Candidate, CodeFacts, Latency};
use crate::arms::{Arm, arms, entrants};
use crate::forecast::of_queries;
use crate::measure::{Measured, measure, over_queries_and_seeds};
use crate::race::{Bench, Departure, Failure, Observer, Race, race};
use crate::sample::Samples;
use datasets::Dataset;
use methods::backend::Backend;
use methods::{Cancel, Context, MethodError};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use reports::advice::{Choice, Figure, Figures, Wish, choose, interval_draws, share_best};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use thiserror::Error;

/// What is searched for, in which vectors, with which means.
pub struct Request<'a> {
    /// The vectors.
    pub data: &'a Dataset,
    /// The wish.
    pub wish: Wish,
    /// Neighbours of each query, for recall and latency.
    pub k: usize,
    /// The methods to try, by name; all if empty.
    pub only: Vec<String>,
    /// Most training rows and base rows, each.
    pub rows: usize,
    /// Seed of samples and training.
    pub seed: u64,
    /// How often the best code is trained on the first sample, with a seed of its own each time, for what training varies.
    pub seeds: usize,
    /// The time for everything.
    pub time: Option<Duration>,
    /// Where it computes.
    pub backend: Arc<dyn Backend>,
    /// Ends the search soon after it is set.
    pub interrupt: &'a AtomicBool,
}

/// A search that cannot be made.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum AdviseError {
    /// No method has a code within the limit on bytes.
    #[error("none of the methods has a code of {limit} for vectors of {dim} components")]
    NoCodes {
        /// Components of a vector.
        dim: usize,
        /// The limit.
        limit: String,
    },
    /// Too few queries to hold some out.
    #[error("there are {found} queries; at least {FEWEST_QUERIES} are needed, half of which are held out for the end")]
    FewQueries {
        /// Queries found.
        found: usize,
    },
    /// Fewer rows than neighbours.
    #[error("there are {found} base rows, from which {k} neighbours of each query are wanted")]
    FewRows {
        /// Base rows found.
        found: usize,
        /// Neighbours of each query.
        k: usize,
    },
    /// Every code failed.
    #[error("none of the {codes} codes could be measured; the first failed: {reason}")]
    AllFailed {
        /// Codes tried.
        codes: usize,
        /// Why the first failed.
        reason: String,
    },
    /// It was interrupted before anything was known.
    #[error("the search was stopped before any code was measured")]
    Nothing,
}

/// Queries without which no interval says anything.
const FEWEST_QUERIES: usize = 20;

/// The share of the time after which the race ends and the last codes are measured on all vectors.
const RACE_SHARE: f64 = 0.7;

/// Resamples of queries for the probability that the best code is the best.
const RESAMPLES: usize = 1000;

/// The vectors and codes of a search, as a race sees them.
struct Vectors<'a> {
    arms: &'a [Arm],
    samples: &'a Samples,
    wish: &'a Wish,
    /// For the rounds before the last, and for the last.
    contexts: [Context; 2],
    last_lap: bool,
}

impl Vectors<'_> {
    fn measure_with(&self, arm: usize, round: usize, seed: u64) -> Result<Measured, Failure> {
        let cx = Context { seed, ..self.contexts[usize::from(self.last_lap)].clone() };
        let Some(stage) = self.samples.stages.get(round) else {
            return Err(Failure::Failed(format!("there is no round {round}")));
        };
        let fully = round + 1 == self.samples.stages.len();
        let measured =
            cx.cancel.check().and_then(|()| measure(&self.arms[arm], stage, self.samples, self.wish, fully, &cx));
        measured.map_err(|error| match error {
            MethodError::Cancelled => Failure::Stopped,
            error => Failure::Failed(error.to_string()),
        })
    }
}

impl Bench for Vectors<'_> {
    fn shares(&self) -> Vec<f64> {
        self.samples.stages.iter().map(|stage| stage.share).collect()
    }

    fn measure(&mut self, code: usize, round: usize) -> Result<Measured, Failure> {
        self.measure_with(code, round, self.contexts[0].seed)
    }

    fn finish(&mut self) {
        self.last_lap = true;
    }
}

/// Searches on the current thread pool.
///
/// # Errors
/// Nothing to search, or nothing found.
pub fn search(request: &Request<'_>, observer: &mut dyn Observer) -> Result<Answer, AdviseError> {
    let begin = Instant::now();
    let (data, k) = (request.data, request.k);
    if data.queries.nrows() < FEWEST_QUERIES {
        return Err(AdviseError::FewQueries { found: data.queries.nrows() });
    }
    let rows = data.base.nrows().min(request.rows);
    if rows < k {
        return Err(AdviseError::FewRows { found: rows, k });
    }
    let mut arms = arms(&request.wish, data.dim(), &request.only);
    if arms.is_empty() {
        let bytes = request.wish.limits().iter().find(|(figure, _)| *figure == Figure::Bytes);
        let limit =
            bytes.map_or_else(|| "any size".to_owned(), |(figure, limit)| format!("at most {}", figure.show(*limit)));
        return Err(AdviseError::NoCodes { dim: data.dim(), limit });
    }
    // The cheap ones first, so that most are known when the time is up.
    arms.sort_by(|a, b| a.cost(data.dim()).total_cmp(&b.cost(data.dim())));
    let samples = Samples::draw(data, k, request.rows, request.seed, &*request.backend);
    let cancels = [Cancel::default(), Cancel::default()];
    let context =
        |cancel: &Cancel| Context { cancel: cancel.clone(), ..Context::on(request.backend.clone(), request.seed) };
    let mut vectors = Vectors {
        arms: &arms,
        samples: &samples,
        wish: &request.wish,
        contexts: [context(&cancels[0]), context(&cancels[1])],
        last_lap: false,
    };
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| watch(request, begin, &cancels, &done));
        let _ended = Ended(&done);
        let race = race(&request.wish, &entrants(&arms), &mut vectors, observer);
        conclude(request, &vectors, race, begin)
    })
}

/// Says that a search has ended, also when it ends by a panic: the thread that watches the time would wait for it.
struct Ended<'a>(&'a AtomicBool);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Cancels the race, and then everything, when the time is up, and both when the search is interrupted.
fn watch(request: &Request<'_>, begin: Instant, cancels: &[Cancel; 2], done: &AtomicBool) {
    while !done.load(Ordering::SeqCst) {
        let interrupted = request.interrupt.load(Ordering::SeqCst);
        let limits = request.time.map(|time| [time.mul_f64(RACE_SHARE), time]);
        for (at, cancel) in cancels.iter().enumerate() {
            if interrupted || limits.is_some_and(|limits| begin.elapsed() > limits[at]) {
                cancel.cancel();
            }
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Chooses among the codes, judges the best by the queries held out, and sums up.
fn conclude(request: &Request<'_>, vectors: &Vectors<'_>, race: Race, begin: Instant) -> Result<Answer, AdviseError> {
    let (wish, last) = (&request.wish, vectors.samples.stages.len() - 1);
    // Those that were measured on all vectors come first. Without any, those that are known best stand in.
    let held_out = !race.finalists.is_empty();
    let mut codes = if held_out { race.finalists.clone() } else { furthest(&race) };
    let firm = codes.len();
    let forecasts = (0..race.measured.len()).filter(|code| {
        held_out && !race.measured[*code].is_empty() && !race.is_finalist(*code) && !race.has_failed(*code)
    });
    codes.extend(forecasts);
    if codes.is_empty() {
        let failed = race.left.iter().find_map(|left| match left {
            Some(Departure::Failed(reason)) => Some(reason.clone()),
            _ => None,
        });
        return Err(match failed.filter(|_| !race.stopped) {
            Some(reason) => AdviseError::AllFailed { codes: vectors.arms.len(), reason },
            None => AdviseError::Nothing,
        });
    }
    let in_race: Vec<Figures> = codes.iter().map(|code| race.figures(*code)).collect();
    let mut choice = choose_among(wish, &in_race, firm);
    let figures_at_end = |code: usize| match race.measured[code].last().filter(|_| race.is_finalist(code)) {
        Some(measured) => of_queries(measured, &measured.held_out),
        None => race.figures(code),
    };
    let mut figures: Vec<Figures> = codes.iter().map(|code| figures_at_end(*code)).collect();
    let mut seeds = 1;
    if let Some(best) = choice.best.filter(|_| held_out) {
        let mut recalls: Vec<Vec<f64>> = race.measured[codes[best]].iter().take(1).map(|m| m.recalls.clone()).collect();
        // A round that the best code skipped, when the time was up, tells nothing.
        recalls.retain(|recalls| !recalls.is_empty());
        for seed in (1..request.seeds as u64).map(|more| request.seed.wrapping_add(more)) {
            let Ok(measured) = vectors.measure_with(codes[best], 0, seed) else { break };
            recalls.push(measured.recalls);
        }
        seeds = recalls.len().max(1);
        let held_out = race.measured[codes[best]].last().map_or(&[][..], |measured| &measured.held_out);
        figures[best].set(Figure::Recall, over_queries_and_seeds(held_out, &recalls));
        drop_gains_that_do_not_hold(wish, &mut choice, &figures, best);
    }
    let shares = choice.best.filter(|_| held_out).map(|best| {
        let share = |codes: &[usize]| share_of_best(wish, &race, codes, best, request.seed);
        (share(&codes[..firm]), share(&codes))
    });
    let reasons = race.left.iter().zip(vectors.arms).filter_map(|(left, arm)| match left {
        Some(Departure::Failed(reason)) => Some((arm.written(), reason.clone())),
        _ => None,
    });
    let count = |wanted: &Departure| race.left.iter().flatten().filter(|left| *left == wanted).count();
    let out_of_reach = wish.limits().iter().map(|(figure, _)| (*figure, count(&Departure::OutOfReach(*figure))));
    let candidate = |(code, figures): (&usize, Figures)| {
        let measured = race.measured[*code].last();
        Candidate {
            code: CodeFacts::from(&vectors.arms[*code]),
            latency: measured
                .filter(|_| race.is_finalist(*code))
                .and_then(|measured| Latency::of(&measured.timings.latencies)),
            sample: measured.filter(|_| !race.is_finalist(*code)).map(|measured| measured.rows),
            figures,
        }
    };
    let stage = &vectors.samples.stages[last];
    Ok(Answer {
        dataset: request.data.name.clone(),
        dim: request.data.dim(),
        metric: request.data.metric.to_string(),
        train: stage.train.nrows(),
        base: stage.base.nrows(),
        queries_held_out: stage.held_out.as_ref().map_or(0, |(queries, _)| queries.nrows()),
        k: request.k,
        seed: request.seed,
        seeds,
        wish: wish.clone(),
        codes: vectors.arms.len(),
        tried: race.tried(),
        failed: reasons.collect(),
        out_of_reach: out_of_reach.filter(|(_, count)| *count > 0).collect(),
        behind: count(&Departure::Behind),
        not_needed: count(&Departure::NotNeeded),
        untried: race.left.iter().zip(&race.measured).filter(|(left, m)| left.is_none() && m.is_empty()).count(),
        is_met: choice.best.is_some_and(|best| wish.is_met(&figures[best])),
        candidates: codes.iter().zip(figures).map(candidate).collect(),
        choice,
        share_best: shares.map(|(_, all)| all),
        share_best_of_last: shares.map(|(last, _)| last),
        held_out,
        stopped: race.stopped,
        seconds: begin.elapsed().as_secs_f64(),
    })
}

/// The codes that were measured in the latest round that any reached, without those that failed.
fn furthest(race: &Race) -> Vec<usize> {
    let runs = || (0..race.measured.len()).filter(|code| !race.has_failed(*code));
    let rounds = runs().map(|code| race.measured[code].len()).max().unwrap_or(0);
    runs().filter(|code| rounds > 0 && race.measured[*code].len() == rounds).collect()
}

/// Chooses among codes, of which the first `firm` were measured on all vectors: the best one is one of those. What looser
/// limits buy, the runner-up, and what comes nearest to a limit may be any.
fn choose_among(wish: &Wish, codes: &[Figures], firm: usize) -> Choice {
    let own = choose(wish, &codes[..firm], Figure::relaxed);
    let mut choice = choose(wish, codes, Figure::relaxed);
    match own.best {
        Some(best) if choice.best != Some(best) => {
            choice.runner_up = choice.best;
            choice.best = Some(best);
        }
        Some(_) => {}
        // A forecast that meets the limits is no answer.
        None => {
            let nearest =
                codes.iter().map(|figures| if wish.is_met(figures) { Figures::default() } else { figures.clone() });
            choice = Choice { relaxed: choice.relaxed, ..choose(wish, &nearest.collect::<Vec<_>>(), Figure::relaxed) };
        }
    }
    choice
}

/// What a looser limit buys must show on the queries held out too.
fn drop_gains_that_do_not_hold(wish: &Wish, choice: &mut Choice, figures: &[Figures], best: usize) {
    let objective = wish.objective();
    let gains = |at: &usize| {
        let pair = figures[*at].value(objective).zip(figures[best].value(objective));
        pair.is_some_and(|(a, b)| if objective.larger_is_better() { a > b } else { a < b })
    };
    for relaxed in &mut choice.relaxed {
        relaxed.code = relaxed.code.filter(gains);
    }
}

/// Draws query numbers with replacement.
fn resample(rng: &mut ChaCha8Rng, count: usize) -> Vec<usize> {
    (0..count).map(|_| rng.random_range(0..count)).collect()
}

/// The mean over the drawn queries. Recall is then known, for this draw.
fn with_recall(figures: &Figures, recalls: &[f64], drawn: &[usize]) -> Figures {
    let mean = drawn.iter().map(|q| recalls[*q]).sum::<f64>() / drawn.len().max(1) as f64;
    figures.clone().with(Figure::Recall, mean)
}

/// The share of draws in which none of the codes is better than the best one, by its number among them. Codes that were
/// measured on all vectors share resampled queries, of those held out. Others are drawn from the intervals of their
/// forecasts.
fn share_of_best(wish: &Wish, race: &Race, codes: &[usize], best: usize, seed: u64) -> f64 {
    enum Known<'a> {
        Measured(&'a [f64], Box<Figures>),
        Forecast(Vec<Figures>),
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let known = |code: &usize| match race.measured[*code].last().filter(|_| race.is_finalist(*code)) {
        Some(measured) => Known::Measured(&measured.held_out, Box::new(of_queries(measured, &measured.held_out))),
        None => Known::Forecast(interval_draws(&race.figures(*code), RESAMPLES, *code as u64)),
    };
    let all: Vec<Known<'_>> = codes.iter().map(known).collect();
    let queries = race.measured[codes[best]].last().map_or(0, |measured| measured.held_out.len());
    share_best(wish, best, RESAMPLES, |draw| {
        let drawn = resample(&mut rng, queries);
        let one = |known: &Known<'_>| match known {
            Known::Measured(recalls, figures) => with_recall(figures, recalls, &drawn),
            Known::Forecast(draws) => draws[draw].clone(),
        };
        all.iter().map(one).collect()
    })
}
