//! The panel "Which code?" of a page: the answers to all combinations of a few limits, computed here from the records of
//! the runs. The script of the page only looks up the one that the reader asks for.

use super::chance::{interval_draws, share_best};
use super::choice::{Wish, choose};
use super::figure::{Figure, Figures, rungs};
use super::words;
use crate::number::trim;
use crate::sampling::over_data;
use crate::statistics::Estimate;
use crate::summary::{DatasetSummary, Point, Which};
use maud::{Markup, PreEscaped, html};
use record::metric::{NMSE, RECALL_K_AT_K, SEARCH_LATENCY_P50_US};
use serde::Serialize;
use std::collections::HashMap;

/// Its styles.
pub(crate) const STYLE: &str = include_str!("advice.css");

/// Draws for the probability that a code is the best.
const DRAWS: usize = 400;

/// Codes that are drawn for a probability: those that promise most. The others are too far behind to matter.
const CONTENDERS: usize = 12;

/// Most limits of one figure that a reader can choose from.
const MOST_LIMITS: usize = 12;

/// Recalls to choose from.
const RECALLS: [f64; 9] = [0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0];

/// What the script reads.
#[derive(Serialize)]
struct Answers {
    /// The distinct answers.
    answers: Vec<Answer>,
    /// The number of the answer to each combination of limits. The last figure changes fastest; the first limit of each
    /// is none.
    grid: Vec<usize>,
}

/// An answer in sentences.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
struct Answer {
    /// The code to use, or why there is none.
    head: String,
    /// Everything else, a sentence each.
    lines: Vec<String>,
}

/// A field of the panel: a figure and the limits to choose from.
struct Field {
    figure: Figure,
    limits: Vec<f64>,
}

/// The panel for a dataset; `number` tells the panels of a page apart. Empty where there are no two codes to choose from.
pub(crate) fn panel(dataset: &DatasetSummary, number: usize) -> Markup {
    let Some(question) = Question::new(dataset) else { return html! {} };
    let answers = question.answers();
    let start: Vec<usize> = question.fields.iter().map(|field| field.start()).collect();
    let first = &answers.answers[answers.grid[question.place(&start)]];
    let Ok(data) = serde_json::to_string(&answers) else { return html! {} };
    html! {
        div.advice role="group" aria-label=(format!("Which code? on {}", dataset.name)) data-panel=(number) {
            h3 { "Which code?" }
            p.limits hidden {
                @for (field, start) in question.fields.iter().zip(&start) {
                    label { (field.title(question.k)) " "
                        select { option value="0" { "any" }
                            @for (at, limit) in field.limits.iter().enumerate() {
                                option value=(at + 1) selected[at + 1 == *start] { (field.figure.show(*limit)) }
                            }
                        }
                    } " "
                }
            }
            div.answer aria-live="polite" {
                p { strong { (first.head) } }
                ul { @for line in &first.lines { li { (line) } } }
            }
            p.hint { "From this page's trials alone. Intervals are 95% over seeds and queries; the probability takes the errors of different codes as independent."
                @if question.apart { " Latency is no limit here: it was measured on several classes of machines." }
            }
            // A `<` could end the element.
            script type="application/json" { (PreEscaped(data.replace('<', "\\u003c"))) }
        }
    }
}

impl Field {
    fn title(&self, k: Option<usize>) -> String {
        let bound = if self.figure.larger_is_better() { "at least" } else { "at most" };
        match (self.figure, k) {
            (Figure::Recall, Some(k)) => format!("{k}-recall@{k} {bound}"),
            (figure, _) => format!("{} {bound}", figure.word()),
        }
    }

    /// The limit that is chosen at first: a size in the middle, and none of anything else.
    fn start(&self) -> usize {
        if self.figure == Figure::Bytes { self.limits.len().div_ceil(2) } else { 0 }
    }
}

/// The codes of a dataset and what may be asked of them.
struct Question<'a> {
    points: &'a [Point],
    codes: Vec<Figures>,
    /// Recall, or distortion if no recall was measured.
    quality: Figure,
    k: Option<usize>,
    fields: Vec<Field>,
    /// Whether latencies are of several classes of machines, so that no limit of them chooses among codes.
    apart: bool,
}

impl<'a> Question<'a> {
    fn new(dataset: &'a DatasetSummary) -> Option<Question<'a>> {
        let apart = dataset.timed_on().len() > 1;
        let k = dataset.shown_k(&RECALL_K_AT_K);
        let recall = Which { k, ..Which::metric(&RECALL_K_AT_K) };
        let of_point = |point: &Point| {
            let mut figures = match point.rate() {
                Some(bits) => Figures::default().with(Figure::Bytes, (bits / 8.0).ceil()),
                None => Figures::default(),
            };
            for (figure, which) in [
                (Figure::Recall, recall),
                (Figure::Latency, Which::metric(&SEARCH_LATENCY_P50_US)),
                (Figure::Distortion, Which::metric(&NMSE)),
            ] {
                if apart && figure == Figure::Latency {
                    continue;
                }
                figures.set(figure, point.estimate(which).map(|e| over_all(e, point, which, dataset)));
            }
            figures
        };
        let codes: Vec<Figures> = dataset.points.iter().map(of_point).collect();
        let quality = if k.is_some() { Figure::Recall } else { Figure::Distortion };
        if codes.iter().filter(|code| code.get(quality).is_some()).count() < 2 {
            return None;
        }
        let fields = [Figure::Bytes, quality, Figure::Latency]
            .into_iter()
            .map(|figure| Field { figure, limits: limits(figure, &codes) })
            .filter(|field| !field.limits.is_empty())
            .collect();
        Some(Question { points: &dataset.points, codes, quality, k, fields, apart })
    }

    /// The place of a combination in the grid.
    fn place(&self, chosen: &[usize]) -> usize {
        self.fields.iter().zip(chosen).fold(0, |at, (field, chosen)| at * (field.limits.len() + 1) + chosen)
    }

    fn answers(&self) -> Answers {
        let combinations: usize = self.fields.iter().map(|field| field.limits.len() + 1).product();
        let mut numbers: HashMap<Answer, usize> = HashMap::new();
        let mut drawn: HashMap<usize, Vec<Figures>> = HashMap::new();
        let mut answers = Vec::new();
        let mut grid = Vec::with_capacity(combinations);
        for combination in 0..combinations {
            let (mut rest, mut limits) = (combination, Vec::new());
            for field in self.fields.iter().rev() {
                let at = rest % (field.limits.len() + 1);
                rest /= field.limits.len() + 1;
                limits.extend(at.checked_sub(1).map(|at| (field.figure, field.limits[at])));
            }
            let answer = self.answer(limits, &mut drawn);
            let next = answers.len();
            let number = *numbers.entry(answer).or_insert_with_key(|answer| {
                answers.push(answer.clone());
                next
            });
            grid.push(number);
        }
        Answers { answers, grid }
    }

    fn answer(&self, limits: Vec<(Figure, f64)>, drawn: &mut HashMap<usize, Vec<Figures>>) -> Answer {
        let objective = Wish::usual_objective(&limits, self.quality);
        let Ok(wish) = Wish::new(limits, Some(objective)) else {
            return Answer { head: "Choose a limit.".to_owned(), lines: vec![] };
        };
        let choice = choose(&wish, &self.codes, |figure, limit| self.looser(figure, limit));
        let label = |at: usize| (self.points[at].label.as_str(), &self.codes[at]);
        let limits = wish.limits().iter();
        let relaxed = choice.relaxed.iter().map(|relaxed| {
            capitalized(&words::relaxation(relaxed.figure, relaxed.limit, &wish, relaxed.code.map(label)))
        });
        let Some(best) = choice.best else {
            let misses = limits.clone().zip(&choice.misses);
            let misses = misses.map(|((figure, limit), (_, at))| words::miss(*figure, *limit, at.map(label)));
            let mut lines: Vec<String> = misses.map(|line| capitalized(&line)).collect();
            let found = relaxed.zip(&choice.relaxed).filter(|(_, relaxed)| relaxed.code.is_some());
            lines.extend(found.map(|(line, _)| line));
            return Answer { head: "No code of these trials is within the limits.".to_owned(), lines };
        };
        let mut lines = vec![
            capitalized(&words::reach(&self.codes[best])) + ".",
            words::chance(self.share(&wish, best, drawn), self.codes.len()),
        ];
        lines.push(match choice.runner_up {
            Some(at) => format!("Runner-up: {}; {}.", self.points[at].label, words::reach(&self.codes[at])),
            None => "No other code is within the limits.".to_owned(),
        });
        lines.extend(relaxed);
        Answer { head: self.points[best].label.clone(), lines }
    }

    /// The next looser limit that a reader can choose: codes of a run lie at its sizes, not at those of a search.
    fn looser(&self, figure: Figure, limit: f64) -> f64 {
        let limits = self.fields.iter().filter(|field| field.figure == figure).flat_map(|field| &field.limits);
        let looser = limits.copied().filter(|other| figure.meets(limit, *other) && *other != limit);
        let nearest = |a: f64, b: f64| if figure.meets(a, b) { a } else { b };
        looser.reduce(nearest).unwrap_or_else(|| figure.relaxed(limit))
    }

    /// The probability that a code is the best, among those that promise most.
    fn share(&self, wish: &Wish, chosen: usize, drawn: &mut HashMap<usize, Vec<Figures>>) -> f64 {
        let objective = wish.objective();
        let values = self.codes.iter().filter(|code| wish.chance(code) > 0.0).filter_map(|code| code.value(objective));
        let better = |a: f64, b: f64| if objective.larger_is_better() { a.max(b) } else { a.min(b) };
        let Some(top) = values.reduce(better) else { return 0.0 };
        let mut order: Vec<(f64, usize)> =
            self.codes.iter().enumerate().map(|(at, code)| (wish.promise(code, top), at)).collect();
        order.retain(|(promise, at)| *promise > 0.0 && *at != chosen);
        order.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let contenders: Vec<usize> =
            [chosen].into_iter().chain(order.into_iter().map(|(_, at)| at)).take(CONTENDERS).collect();
        for at in &contenders {
            drawn.entry(*at).or_insert_with(|| interval_draws(&self.codes[*at], DRAWS, *at as u64));
        }
        share_best(wish, 0, DRAWS, |draw| contenders.iter().map(|at| drawn[at][draw].clone()).collect())
    }
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// An interval over seeds, widened by that over vectors or queries as if both errors were independent.
fn over_all(e: Estimate, point: &Point, which: Which<'_>, dataset: &DatasetSummary) -> Estimate {
    let Some(sampled) = over_data(point, which, &dataset.facts) else { return e };
    let joined = |a: f64, b: f64| (a - e.value).hypot(b - e.value);
    Estimate { low: e.value - joined(e.low, sampled.low), high: e.value + joined(e.high, sampled.high), ..e }
}

/// The limits of a figure to choose from: values that divide the codes.
fn limits(figure: Figure, codes: &[Figures]) -> Vec<f64> {
    let mut values: Vec<f64> = codes.iter().filter_map(|code| code.value(figure)).collect();
    values.sort_by(f64::total_cmp);
    values.dedup();
    let (Some(&least), Some(&most)) = (values.first(), values.last()) else { return vec![] };
    // Series in ascending order, from the first that some code meets to the first that all meet.
    let thin = |series: Vec<f64>| {
        let step = series.len().div_ceil(MOST_LIMITS).max(1);
        series.into_iter().rev().step_by(step).collect::<Vec<_>>().into_iter().rev().collect()
    };
    let up_to = |series: &mut dyn Iterator<Item = f64>| {
        let mut chosen = Vec::new();
        for value in series.skip_while(|value| *value < least) {
            chosen.push(value);
            if value >= most {
                break;
            }
        }
        thin(chosen)
    };
    match figure {
        Figure::Bytes if values.len() <= MOST_LIMITS => values,
        Figure::Bytes => up_to(&mut rungs().map(|rung| rung as f64)),
        Figure::Recall => {
            let reached = RECALLS.into_iter().filter(|recall| *recall <= most).count();
            RECALLS.into_iter().take(reached + 1).collect()
        }
        _ => up_to(&mut (-9..12).flat_map(|power| [1.0, 2.0, 5.0].map(|digit| nice(digit, power)))),
    }
}

/// A digit times a power of ten, without what rounding adds.
fn nice(digit: f64, power: i32) -> f64 {
    let value = digit * 10f64.powi(power);
    if power < -5 { value } else { trim(value).parse().unwrap_or(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_divide_the_codes() {
        let codes = |figure: Figure, values: &[f64]| -> Vec<Figures> {
            values.iter().map(|value| Figures::default().with(figure, *value)).collect()
        };
        let of = |figure: Figure, values: &[f64]| limits(figure, &codes(figure, values));
        assert_eq!(of(Figure::Bytes, &[8.0, 32.0, 8.0, 48.0]), [8.0, 32.0, 48.0]);
        assert_eq!(of(Figure::Latency, &[130.0, 900.0]), [200.0, 500.0, 1000.0]);
        assert_eq!(of(Figure::Recall, &[0.3, 0.75]), [0.5, 0.6, 0.7, 0.8], "one that none reaches");
        let many: Vec<f64> = (1..100).map(f64::from).collect();
        let sizes = of(Figure::Bytes, &many);
        assert!(sizes.len() <= MOST_LIMITS && sizes.last() == Some(&128.0), "{sizes:?}");
        assert!(of(Figure::Latency, &[]).is_empty());
    }
}
