//! Where the time of a run went: the phases of preparing a dataset and of its trials, in wall-clock and processor seconds.
//! Their ratio is the number of threads that were busy: a phase on one thread stands out.

use crate::machines::{Classes, called};
use crate::number::{bytes, significant};
use crate::summary::DatasetSummary;
use maud::{Markup, html};
use record::metric::PEAK_RSS_BYTES;
use record::{Phase, Preparation, Results, TrialLog};
use std::collections::BTreeMap;

/// Phases that are shown at most of one piece of work: a record may come from a stranger.
const MOST_PHASES: usize = 100;

/// A piece of work with its phases.
#[derive(Clone, Debug, PartialEq)]
pub struct Work {
    /// What it is: `preparing`, or how many trials.
    pub name: String,
    /// Its phases in order, by name.
    pub phases: Vec<Spent>,
    /// Largest peak of resident memory of its processes in bytes, if it is known.
    pub peak_bytes: Option<f64>,
}

/// The time of a phase, or of several together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spent {
    /// Name of the phase.
    pub phase: String,
    /// Wall-clock seconds.
    pub seconds: f64,
    /// Processor seconds.
    pub processor_seconds: f64,
}

impl Spent {
    /// The mean number of threads that were busy.
    pub fn threads(&self) -> f64 {
        if self.seconds > 0.0 { self.processor_seconds / self.seconds } else { 0.0 }
    }

    /// `12.3 s, 1.8 threads busy`.
    pub fn line(&self) -> String {
        format!("{} s, {} threads busy", significant(self.seconds, 3), significant(self.threads(), 2))
    }

    fn add(&mut self, other: &Spent) {
        self.seconds += other.seconds;
        self.processor_seconds += other.processor_seconds;
    }
}

impl Work {
    fn new<'a>(name: &str, phases: impl Iterator<Item = &'a Phase>, peak_bytes: Option<f64>) -> Work {
        let mut work = Work { name: name.to_owned(), phases: Vec::new(), peak_bytes };
        phases.for_each(|phase| work.add(phase));
        work
    }

    /// Preparing a dataset.
    pub fn of_preparation(preparation: &Preparation) -> Work {
        let peak = preparation.peak_rss_bytes.map(|bytes| bytes as f64);
        Work::new("preparing", preparation.phases.iter(), peak)
    }

    /// Several trials together, by their logs and the peak memory of each.
    pub fn of_trials(logs: &[&TrialLog], peaks: impl Iterator<Item = f64>) -> Work {
        let name = if logs.len() == 1 { "1 trial".to_owned() } else { format!("{} trials", logs.len()) };
        Work::new(&name, logs.iter().flat_map(|log| &log.phases), peaks.reduce(f64::max))
    }

    /// All phases together.
    pub fn total(&self) -> Spent {
        let mut total = Spent { phase: "together".to_owned(), ..Spent::default() };
        self.phases.iter().for_each(|phase| total.add(phase));
        total
    }

    /// Adds a phase to the one of its name.
    fn add(&mut self, phase: &Phase) {
        let Some(processor_seconds) = phase.processor_seconds else { return };
        let spent = Spent { phase: phase.name.clone(), seconds: phase.seconds, processor_seconds };
        match self.phases.iter().position(|known| known.phase == spent.phase) {
            Some(known) => self.phases[known].add(&spent),
            None if self.phases.len() < MOST_PHASES => self.phases.push(spent),
            None => {}
        }
    }

    /// One line: `12.3 s, 1.8 threads busy, peak memory 870 MiB: load 0.5 s (1.0), …`.
    pub fn line(&self) -> String {
        let one = |spent: &Spent| {
            format!("{} {} s ({})", spent.phase, significant(spent.seconds, 3), significant(spent.threads(), 2))
        };
        let total = self.total();
        let phases: Vec<String> = self.phases.iter().map(one).collect();
        let peak = self.peak_bytes.map(|peak| format!(", peak memory {}", bytes(peak))).unwrap_or_default();
        format!("{}{peak}: {}", total.line(), phases.join(", "))
    }
}

/// What preparing a dataset took, and all of its trials together that have ended, on each class of machines. Work without known
/// phases is left out.
pub fn of(runs: &[Results], dataset: &DatasetSummary) -> Vec<Work> {
    let classes = Classes::of(runs);
    let ended = runs.iter().flat_map(|run| &run.ended).filter(|ended| ended.trial.dataset == dataset.name);
    let mut logs: BTreeMap<usize, Vec<&TrialLog>> = BTreeMap::new();
    for ended in ended {
        let number = dataset.number(&classes.name(&ended.machine));
        logs.entry(number).or_default().extend(&ended.log);
    }
    let of_class = |(number, logs): (usize, Vec<&TrialLog>)| {
        let seeds = dataset.points.iter().flat_map(|point| (0..point.seed_count()).map(move |seed| (point, seed)));
        let here = seeds.filter(|(point, seed)| dataset.number(&point.machines[*seed]) == number);
        let measured = here.flat_map(|(point, seed)| point.values(seed, &PEAK_RSS_BYTES)).flat_map(|s| &s.values);
        let mut work = Work::of_trials(&logs, measured.copied());
        if classes.several() {
            work.name += &format!(" on {}", called(number));
        }
        work
    };
    let preparing = dataset.facts.preparation.as_ref().map(Work::of_preparation);
    preparing.into_iter().chain(logs.into_iter().map(of_class)).filter(|work| !work.phases.is_empty()).collect()
}

/// Titles of the columns.
const TITLES: [&str; 4] = ["phase", "seconds", "processor seconds", "threads busy"];

/// The cells of a row.
fn cells(spent: &Spent) -> [String; 4] {
    let three = |value: f64| significant(value, 3);
    [spent.phase.clone(), three(spent.seconds), three(spent.processor_seconds), significant(spent.threads(), 2)]
}

/// The last row of a piece of work: everything together, with its peak memory.
fn total(work: &Work) -> [String; 4] {
    let [_, seconds, processor, threads] = cells(&work.total());
    let peak = work.peak_bytes.map(|peak| format!(", peak memory {}", bytes(peak))).unwrap_or_default();
    [format!("{} together{peak}", work.name), seconds, processor, threads]
}

/// The section of a page, with a table for each dataset behind its name; empty if nothing is known.
pub(crate) fn html(runs: &[Results], datasets: &[DatasetSummary]) -> Markup {
    let known: Vec<(&str, Vec<Work>)> = datasets
        .iter()
        .map(|dataset| (dataset.name.as_str(), of(runs, dataset)))
        .filter(|(_, all)| !all.is_empty())
        .collect();
    html! {
        @if !known.is_empty() {
            section id="time" {
                h2 { "Where the time went" }
                p.facts { "Seconds of wall-clock and processor time in each phase. Their ratio is the number of threads that were busy." }
                @for (name, all) in &known { details.vectors { summary { (name) } (table(all)) } }
            }
        }
    }
}

fn table(all: &[Work]) -> Markup {
    let row = |first: &str, [phase, rest @ ..]: [String; 4]| {
        html! { tr { th scope="row" { (first) (phase) } @for cell in &rest { td { (cell) } } } }
    };
    html! {
        table {
            thead { tr { @for title in TITLES { th scope="col" { (title) } } } }
            tbody { @for work in all {
                @for spent in &work.phases { (row(&format!("{}: ", work.name), cells(spent))) }
                (row("", total(work)))
            } }
        }
    }
}

/// The table of a page in Markdown.
pub(crate) fn markdown(all: &[Work], escape: impl Fn(&str) -> String) -> String {
    if all.is_empty() {
        return String::new();
    }
    let row = |first: &str, [phase, rest @ ..]: [String; 4]| {
        format!("| {first}{} | {} |\n", escape(&phase), rest.join(" | "))
    };
    let rows = all.iter().flat_map(|work| {
        let first = format!("{}: ", work.name);
        let phases = work.phases.iter().map(|spent| row(&first, cells(spent))).collect::<Vec<_>>();
        phases.into_iter().chain([row("", total(work))])
    });
    let [_, titles @ ..] = TITLES;
    format!("| where the time went | {} |\n|:--|--:|--:|--:|\n{}\n", titles.join(" | "), rows.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phase(name: &str, seconds: f64, processor_seconds: Option<f64>) -> Phase {
        Phase { name: name.to_owned(), seconds, processor_seconds }
    }

    fn works() -> Vec<Work> {
        let phases = vec![phase("digest", 2.0, Some(2.5))];
        let preparing = Work::of_preparation(&Preparation { phases, peak_rss_bytes: Some(3 << 20) });
        let log = |phases: [Phase; 2]| TrialLog { phases: phases.into(), ..TrialLog::default() };
        let first = log([phase("load", 0.5, Some(0.5)), phase("fit", 4.0, Some(7.0))]);
        let second = log([phase("load", 1.5, Some(1.5)), phase("fit", 9.0, None)]);
        vec![preparing, Work::of_trials(&[&first, &second], std::iter::empty())]
    }

    #[test]
    fn phases_of_one_name_are_added_and_those_without_processor_seconds_left_out() {
        let all = works();
        assert_eq!(all[0].line(), "2.00 s, 1.2 threads busy, peak memory 3.00 MiB: digest 2.00 s (1.2)");
        assert_eq!(all[1].line(), "6.00 s, 1.5 threads busy: load 2.00 s (1.0), fit 4.00 s (1.8)");
        let text = markdown(&all, |text| text.replace('i', "!"));
        let expected = "\
| where the time went | seconds | processor seconds | threads busy |
|:--|--:|--:|--:|
| preparing: d!gest | 2.00 | 2.50 | 1.2 |
| prepar!ng together, peak memory 3.00 M!B | 2.00 | 2.50 | 1.2 |
| 2 trials: load | 2.00 | 2.00 | 1.0 |
| 2 trials: f!t | 4.00 | 7.00 | 1.8 |
| 2 tr!als together | 6.00 | 9.00 | 1.5 |

";
        assert_eq!(text, expected);
        assert_eq!(markdown(&[], str::to_owned), "");
        assert_eq!(html(&[], &[]).0, "");
        assert!(
            table(&all).0.contains("<th scope=\"row\">preparing: digest</th><td>2.00</td><td>2.50</td>"),
            "{}",
            table(&all).0
        );
    }

    #[test]
    fn a_log_of_a_stranger_takes_little_room() {
        let phases = (0..10_000).map(|i| phase(&i.to_string(), f64::MAX, Some(f64::MAX))).collect();
        let work = Work::of_trials(&[&TrialLog { phases, ..TrialLog::default() }], std::iter::empty());
        assert_eq!(work.phases.len(), MOST_PHASES);
        assert!(markdown(&[work], str::to_owned).len() < 100_000);
    }
}
