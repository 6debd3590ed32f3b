//! What a search has found: as text, as JSON, and as an experiment that would confirm it.

use crate::arms::Arm;
use experiments::document::to_yaml;
use reports::advice::{Choice, FIGURES, Figure, Figures, Wish};
use reports::advice::{chance, limits, miss, reach, relaxation};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// A code, by what an experiment or the command `fit` needs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CodeFacts {
    /// The method.
    pub method: String,
    /// Its parameters.
    pub params: Value,
    /// Both as one text: `pq: { m: 48 }`.
    pub written: String,
}

impl From<&Arm> for CodeFacts {
    fn from(arm: &Arm) -> CodeFacts {
        CodeFacts { method: arm.method.to_owned(), params: arm.params.clone(), written: arm.written() }
    }
}

/// Quantiles of the latency of single queries, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Latency {
    /// Half of the queries took at most this long.
    pub p50_us: f64,
    /// 95% of them.
    pub p95_us: f64,
    /// 99% of them.
    pub p99_us: f64,
    /// Queries that were timed.
    pub queries: usize,
}

impl Latency {
    /// The quantiles of ascending values; None of none.
    pub fn of(sorted: &[f64]) -> Option<Latency> {
        let at = |share: f64| sorted.get(((sorted.len() as f64 * share).ceil() as usize).max(1) - 1).copied();
        Some(Latency { p50_us: at(0.5)?, p95_us: at(0.95)?, p99_us: at(0.99)?, queries: sorted.len() })
    }
}

/// A code that was measured to the end, or as far as the search came.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The code.
    pub code: CodeFacts,
    /// What it reaches.
    pub figures: Figures,
    /// Its latency.
    pub latency: Option<Latency>,
    /// The base rows of the sample from which its figures are forecast; None if they were measured on all rows.
    pub sample: Option<usize>,
}

/// The result of a search.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Name of the vectors.
    pub dataset: String,
    /// Their components.
    pub dim: usize,
    /// How they are compared.
    pub metric: String,
    /// Training rows of the last round.
    pub train: usize,
    /// Base rows of the last round.
    pub base: usize,
    /// Queries that only the end has used.
    pub queries_held_out: usize,
    /// Neighbours of each query.
    pub k: usize,
    /// Seed of the search.
    pub seed: u64,
    /// How often the best code was trained on the first sample.
    pub seeds: usize,
    /// What was asked.
    pub wish: Wish,
    /// Codes that could have been tried.
    pub codes: usize,
    /// Codes that were.
    pub tried: usize,
    /// Codes that failed, with reasons.
    pub failed: Vec<(String, String)>,
    /// Codes that left because even the better end of their interval missed a limit.
    pub out_of_reach: Vec<(Figure, usize)>,
    /// Codes that left because others promised more.
    pub behind: usize,
    /// Codes that left unmeasured: the same without its transform was far behind, or a smaller one met all limits.
    pub not_needed: usize,
    /// Codes that the end of the time left unmeasured.
    pub untried: usize,
    /// The codes that were measured, those on all vectors first.
    pub candidates: Vec<Candidate>,
    /// What follows for the wish, by the numbers of the candidates.
    pub choice: Choice,
    /// Whether the best code meets all limits, by the queries held out.
    pub is_met: bool,
    /// How probable it is that the best code is the best of all that were tried.
    pub share_best: Option<f64>,
    /// The same among those of the last round.
    pub share_best_of_last: Option<f64>,
    /// Whether figures come from queries that the race has not used. Otherwise the search ended too early.
    pub held_out: bool,
    /// Whether the time was up, or the search was interrupted.
    pub stopped: bool,
    /// Seconds of the search.
    pub seconds: f64,
}

impl Answer {
    /// The code to use: the best one that meets the limits by the queries of the race.
    pub fn best(&self) -> Option<&Candidate> {
        self.choice.best.map(|at| &self.candidates[at])
    }

    /// That a code's figures are forecast, if they are.
    fn of_sample(&self, at: usize) -> String {
        let sample = self.candidates[at].sample.filter(|_| self.held_out);
        sample.map_or_else(String::new, |rows| format!(" (forecast from {rows} rows)"))
    }

    /// Number of codes that were measured on all rows.
    fn on_all(&self) -> usize {
        self.candidates.iter().filter(|candidate| candidate.sample.is_none()).count()
    }

    fn labelled(&self, at: usize) -> (&str, &Figures) {
        (self.candidates[at].code.written.as_str(), &self.candidates[at].figures)
    }

    /// The answer for people.
    pub fn to_text(&self) -> String {
        let mut out = format!(
            "{}: {}\n{} codes tried, {} of them on all {} training and {} base rows of {} components, {}-recall@{}, metric {}, in {:.1} s\n",
            self.dataset,
            limits(&self.wish),
            self.tried,
            self.on_all(),
            self.train,
            self.base,
            self.dim,
            self.k,
            self.k,
            self.metric,
            self.seconds
        );
        let mut line = |text: String| out += &format!("{text}\n");
        let limits = || self.wish.limits().iter().map(|(figure, limit)| (*figure, *limit));
        let relaxed = self.choice.relaxed.iter().map(|relaxed| {
            let found = relaxed.code.map(|at| self.labelled(at));
            let text = relaxation(relaxed.figure, relaxed.limit, &self.wish, found);
            (found.is_some(), text + &relaxed.code.map_or_else(String::new, |at| self.of_sample(at)))
        });
        match self.best() {
            Some(best) => {
                line(format!("\n  {}\n", best.code.written));
                line(reach(&best.figures));
                if let Some(latency) = best.latency {
                    line(format!(
                        "latency of single queries: half within {}, 95% within {}, 99% within {}",
                        Figure::Latency.show(latency.p50_us),
                        Figure::Latency.show(latency.p95_us),
                        Figure::Latency.show(latency.p99_us)
                    ));
                }
                line(self.source());
                if self.held_out && !self.is_met {
                    let missed: Vec<String> = limits()
                        .filter(|(figure, limit)| !best.figures.value(*figure).is_some_and(|v| figure.meets(v, *limit)))
                        .map(|(figure, limit)| figure.limit(limit))
                        .collect();
                    line(format!("It met the limits in the race, but misses {} here", missed.join(" and ")));
                }
                if let Some(share) = self.share_best {
                    line(chance(share, self.tried));
                }
                line(match self.choice.runner_up {
                    Some(at) => {
                        let (label, figures) = self.labelled(at);
                        format!("runner-up: {label}; {}{}", reach(figures), self.of_sample(at))
                    }
                    None => "runner-up: none within the limits".to_owned(),
                });
                relaxed.for_each(|(_, text)| line(text));
            }
            None => {
                line(format!(
                    "\nno code meets the limits: {} measured on all rows, the others are forecasts",
                    self.on_all()
                ));
                limits().zip(&self.choice.misses).for_each(|((figure, limit), (_, at))| {
                    let text = miss(figure, limit, at.map(|at| self.labelled(at)));
                    line(text + &at.map_or_else(String::new, |at| self.of_sample(at)));
                });
                relaxed.filter(|(found, _)| *found).for_each(|(_, text)| line(text));
                line(self.source());
            }
        }
        let mut why: Vec<String> = self
            .out_of_reach
            .iter()
            .filter_map(|(figure, count)| {
                let limit = limits().find(|(limited, _)| limited == figure)?.1;
                // Larger codes are tried only for what a step of bytes would buy.
                Some(match figure {
                    Figure::Bytes => format!("{} larger than {}", were(*count), figure.show(limit)),
                    _ => format!("{} unable to reach {}", were(*count), figure.limit(limit)),
                })
            })
            .collect();
        why.extend((self.behind > 0).then(|| format!("{} left because others promised more", self.behind)));
        why.extend((self.not_needed > 0).then(|| {
            format!("{} not measured, because a smaller or a simpler one made them pointless", were(self.not_needed))
        }));
        why.extend(
            self.failed
                .first()
                .map(|(code, reason)| format!("{} failed, the first of them {code}: {reason}", self.failed.len())),
        );
        if !why.is_empty() {
            line(format!("\n{}", why.join("; ")));
        }
        if self.stopped && self.untried > 0 {
            line(format!("{} not tried; the search was stopped", were(self.untried)));
        }
        out
    }

    /// Where the figures come from.
    fn source(&self) -> String {
        if !self.held_out {
            return "The search was stopped before any code was measured on all vectors: these are estimates from a sample, \
                    and too good, because the same queries chose the code"
                .to_owned();
        }
        let seeds = if self.seeds > 1 {
            format!("; the interval of the recall includes what {} seeds differ on a sample", self.seeds)
        } else {
            String::new()
        };
        format!("by {} queries that the race has not used{seeds}", self.queries_held_out)
    }

    /// The answer for programs.
    pub fn to_json(&self) -> Value {
        let of = |at: usize| {
            let Candidate { code, figures, latency, sample } = &self.candidates[at];
            let known = FIGURES.into_iter().filter_map(|figure| {
                let e = figures.get(figure)?;
                let clip = |value: f64| figure.metric().clip(value);
                let value =
                    json!({ "value": e.value, "low": clip(e.low), "high": clip(e.high), "unit": figure.metric().unit });
                Some((figure.name().to_owned(), value))
            });
            json!({
                "method": code.method, "params": code.params, "written": code.written,
                "figures": known.collect::<Map<_, _>>(), "latency": latency, "forecast_from_rows": sample,
            })
        };
        let item = |figure: Figure, limit: f64, code: Option<usize>| json!({ "figure": figure, "limit": limit, "code": code.map(of) });
        let relaxed = self.choice.relaxed.iter().map(|relaxed| item(relaxed.figure, relaxed.limit, relaxed.code));
        let misses = self.wish.limits().iter().zip(&self.choice.misses);
        let misses = misses.map(|((figure, limit), (_, code))| item(*figure, *limit, *code));
        let limits = self.wish.limits().iter().map(|(figure, limit)| (figure.name().to_owned(), json!(limit)));
        json!({
            "dataset": self.dataset, "dim": self.dim, "metric": self.metric,
            "training_rows": self.train, "base_rows": self.base, "queries_held_out": self.queries_held_out,
            "k": self.k, "seed": self.seed, "seeds": self.seeds,
            "limits": limits.collect::<Map<_, _>>(), "objective": self.wish.objective(),
            "meets_limits": self.is_met, "held_out": self.held_out, "stopped": self.stopped,
            "best": self.choice.best.map(of),
            "probability_best": self.share_best,
            "probability_best_of_last_round": self.share_best_of_last,
            "runner_up": self.choice.runner_up.map(of),
            "relaxed": relaxed.collect::<Vec<_>>(),
            "nearest_misses": misses.collect::<Vec<_>>(),
            "codes": self.codes, "tried": self.tried,
            "failed": self.failed.iter().map(|(code, reason)| json!({ "code": code, "reason": reason })).collect::<Vec<_>>(),
            "out_of_reach": self.out_of_reach.iter().map(|(figure, count)| json!({ "figure": figure, "codes": count })).collect::<Vec<_>>(),
            "behind": self.behind, "not_needed": self.not_needed, "seconds": self.seconds,
        })
    }

    /// An experiment that measures the codes of the answer with all vectors and three seeds. `dataset` is the dataset as
    /// an experiment writes it.
    pub fn to_experiment(&self, dataset: &Value) -> String {
        let Choice { best, runner_up, relaxed, misses } = &self.choice;
        let named = relaxed.iter().map(|relaxed| relaxed.code).chain(misses.iter().map(|(_, code)| *code)).flatten();
        let mut codes: Vec<usize> = best.iter().chain(runner_up).copied().chain(named).collect();
        let mut seen = vec![];
        codes.retain(|at| {
            !seen.contains(at) && {
                seen.push(*at);
                true
            }
        });
        let method = |at: &usize| {
            let code = &self.candidates[*at].code;
            Value::Object(Map::from_iter([(code.method.clone(), code.params.clone())]))
        };
        let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
        let name: String = self.dataset.chars().map(plain).take(80).collect();
        to_yaml(&json!({
            "name": format!("advice-{name}"),
            "analysis": format!("Does the advice hold? It asked for {}.", limits(&self.wish)),
            "seeds": (0..3).map(|more| self.seed.wrapping_add(more)).collect::<Vec<u64>>(),
            "datasets": [dataset],
            "methods": codes.iter().map(method).collect::<Vec<_>>(),
            "measure": {
                "distortion": {},
                "recall": { "k": [self.k], "rerank": [0] },
                "throughput": { "k": self.k, "rerank": [] },
            },
        }))
    }
}
/// The beginning of a sentence about some codes.
fn were(count: usize) -> String {
    if count == 1 { "1 code was".to_owned() } else { format!("{count} codes were") }
}
