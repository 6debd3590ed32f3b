//! The section "Is the difference real?" of a report, as HTML and as Markdown.

use super::unit::Unit;
use super::{DifferenceVerdict, Differences, Pair};
use crate::number::significant;
use crate::statistics::{ALPHA, Test, least_visible};
use crate::words::WordTable;
use maud::{Markup, html as markup};
use std::collections::{BTreeMap, HashMap};

/// Heading of the section.
const TITLE: &str = "Is the difference real?";

/// The section in words, for both kinds of pages.
struct Section {
    paragraphs: Vec<String>,
    tables: Vec<WordTable>,
    notes: Vec<String>,
}

/// Tables of a page that are all shown unfolded.
const MOST_OPEN: usize = 4;

/// Rows of all tables of a page together. The tables of a report in CSV have all of them.
const MOST_ROWS: usize = 600;

const PAIRS: &[&str] = &["rate", "metric", "A", "B", "A − B", "95% interval", "test", "p (Holm)", "verdict"];
const SAVINGS: &[&str] = &["A", "B", "rate of B relative to A", "95% interval", "quality that both reach"];

/// The section as HTML; empty if nothing was compared.
pub fn html(differences: &Differences) -> Markup {
    let Some(mut section) = section(differences) else { return markup! {} };
    let mut room = MOST_ROWS;
    let mut cut = 0;
    for table in &mut section.tables {
        cut += table.rows.len().saturating_sub(room);
        table.rows.truncate(room);
        room -= table.rows.len();
    }
    section.tables.retain(|table| !table.rows.is_empty());
    markup! {
        section id="differences" {
            h2 { (TITLE) }
            @for text in &section.paragraphs { p.facts { (text) } }
            @for (i, table) in section.tables.iter().enumerate() {
                // Many tables are folded, so that a reader finds the one about a dataset.
                @if i > 0 && section.tables.len() > MOST_OPEN {
                    details { summary { (table.heading) } (table.html()) }
                } @else {
                    h3 { (table.heading) }
                    (table.html())
                }
            }
            @if cut > 0 {
                p.facts {
                    (cut) " further rows are left out, so that the page stays small."
                    @if differences.csv { " tables/differences.csv and tables/rate-savings.csv have them." }
                }
            }
            @if !section.notes.is_empty() {
                details { summary { "What was not compared" } ul { @for note in &section.notes { li { (note) } } } }
            }
        }
    }
}

/// The section as Markdown; empty if nothing was compared.
pub fn markdown(differences: &Differences, escape: fn(&str) -> String) -> String {
    let Some(section) = section(differences) else { return String::new() };
    let mut out = format!("\n## {TITLE}\n");
    for text in &section.paragraphs {
        out += &format!("\n{}\n", escape(text));
    }
    for table in &section.tables {
        out += &format!("\n### {}\n\n{}", escape(&table.heading), table.markdown(escape));
    }
    if !section.notes.is_empty() {
        out += "\nNot compared:\n\n";
        out.extend(section.notes.iter().map(|note| format!("- {}\n", escape(note))));
    }
    out
}

fn section(differences: &Differences) -> Option<Section> {
    if differences.pairs.is_empty() && differences.savings.is_empty() {
        return None;
    }
    let mut sight = Sight { tests: differences.tests, known: HashMap::new() };
    let mut section =
        Section { paragraphs: introduction(differences), tables: vec![], notes: differences.left_out.clone() };
    // A table of pairs of which none was tested says nothing that the leaderboard does not.
    let decided = |pair: &&Pair| pair.with_best && pair.verdict() != DifferenceVerdict::NotTested;
    let mut names: Vec<Option<&str>> = Vec::new();
    for pair in differences.pairs.iter().filter(decided) {
        if !names.contains(&pair.dataset.as_deref()) {
            names.push(pair.dataset.as_deref());
        }
    }
    // What holds over several datasets comes first.
    names.sort_by_key(|name| name.is_some());
    for name in names {
        let of = differences.pairs.iter().filter(|pair| pair.with_best && pair.dataset.as_deref() == name);
        let heading = name.map_or("Over several datasets".to_owned(), |name| format!("Pairs of methods on {name}"));
        let rows = of.map(|pair| cells(pair, &mut sight)).collect();
        section.tables.push(WordTable { heading, head: PAIRS, rows });
    }
    section.notes.extend(not_tested(differences));
    let mut savings: BTreeMap<&str, Vec<Vec<String>>> = BTreeMap::new();
    for row in &differences.savings {
        match &row.saving {
            Ok(saving) => {
                let percent =
                    |value: f64| format!("{}{:.1}%", if value < 0.0 { "−" } else { "+" }, 100.0 * value.abs());
                let interval = match saving.has_interval {
                    true => format!("{} to {}", percent(saving.rate.low), percent(saving.rate.high)),
                    false => "needs two seeds".to_owned(),
                };
                let (low, high) = saving.overlap_db;
                savings.entry(&row.dataset).or_default().push(vec![
                    row.a.clone(),
                    row.b.clone(),
                    percent(saving.rate.value),
                    interval,
                    format!("{low:.2} to {high:.2} dB"),
                ]);
            }
            Err(reason) => section.notes.push(format!("{}, rate of {} and {}: {reason}", row.dataset, row.a, row.b)),
        }
    }
    for (dataset, rows) in savings {
        section.tables.push(WordTable {
            heading: format!("Rate at equal distortion on {dataset}"),
            head: SAVINGS,
            rows,
        });
    }
    Some(section)
}

/// The smallest visible differences of a report. They depend on the number of pairs and on the test, apart from the
/// spread, and are computed once for each.
struct Sight {
    tests: usize,
    known: HashMap<(usize, bool), Option<f64>>,
}

impl Sight {
    /// The smallest difference that a comparison would have seen, in the unit of the difference.
    fn of(&mut self, pair: &Pair) -> Option<f64> {
        let (count, test) = (pair.count(), pair.comparison.test);
        let key = (count, test == Test::Student);
        let factor = *self.known.entry(key).or_insert_with(|| least_visible(count, self.tests, test));
        Some(factor? * pair.deviation?)
    }
}

fn introduction(differences: &Differences) -> Vec<String> {
    let mut out = Vec::new();
    if differences.tests > 0 {
        let (tests, plural) = (differences.tests, if differences.tests == 1 { "" } else { "s" });
        let all = if differences.csv { " (tables/differences.csv has all pairs)" } else { "" };
        out.push(format!(
            "Each row compares the best method at a rate with another one, seed by seed. Holm's correction covers the \
             {tests} test{plural} of this report, those of pairs without a row included{all}: if all methods were \
             equally good, at most {}% of such reports would name a difference. Each interval is for its own row alone. \
             “Would have been” means: in 80% of all repetitions.",
            100.0 * ALPHA
        ));
        out.extend(more_seeds(differences));
    } else if !differences.pairs.is_empty() {
        let most = differences.pairs.iter().map(Pair::count).max().unwrap_or(0);
        let random = differences.pairs.iter().any(|pair| pair.verdict() == DifferenceVerdict::NotTested);
        if random {
            out.push(format!(
                "No difference is tested: there {} at most {most} seed{} for each pair of methods, and a test needs at \
                 least {}. Differences may be noise.",
                if most == 1 { "is" } else { "are" },
                if most == 1 { "" } else { "s" },
                crate::statistics::FEWEST_SEEDS
            ));
        }
    }
    if differences.savings.iter().any(|row| row.saving.is_ok()) {
        out.push(
            "Rates at equal distortion are averages over the range of quality that both curves reach (Bjøntegaard's \
             delta rate); negative values mean that B needs fewer bits. Quality is −10·log10 of the normalized MSE. The \
             intervals are over seeds, each for its own pair alone."
                .to_owned(),
        );
    }
    if let Err(reason) = &differences.critical {
        out.push(format!("There is no diagram of critical differences over datasets: {reason}."));
    }
    out
}

/// What more seeds would show, if the fewest seeds of a test are few.
fn more_seeds(differences: &Differences) -> Option<String> {
    let students = differences.pairs.iter().filter(|pair| pair.comparison.test == Test::Student);
    let seeds = students.map(Pair::count).min()?;
    let factor = |seeds: usize| least_visible(seeds, differences.tests, Test::Student);
    let more = seeds + 2;
    let ratio = factor(seeds)? / factor(more)?;
    (ratio > 1.5).then(|| {
        format!(
            "With {seeds} seeds only differences far larger than the spread over seeds are seen. With {more} seeds they \
             could be {ratio:.1} times smaller."
        )
    })
}

/// The row of a pair.
fn cells(pair: &Pair, sight: &mut Sight) -> Vec<String> {
    let unit = pair.unit;
    let interval = match pair.interval() {
        Some(_) if pair.comparison.test == Test::Exact => "exact".to_owned(),
        Some((low, high)) => unit.interval(low, high),
        None => "–".to_owned(),
    };
    vec![
        pair.rate.clone(),
        pair.title.clone(),
        pair.a.clone(),
        pair.b.clone(),
        unit.signed(pair.comparison.difference.value),
        interval,
        match pair.comparison.test {
            Test::Exact | Test::TooFew { .. } => test_name(pair.comparison.test).to_owned(),
            test if pair.datasets > 1 => {
                format!("{}, {} pairs on {} datasets", test_name(test), pair.count(), pair.datasets)
            }
            test => format!("{}, {} seeds", test_name(test), pair.count()),
        },
        pair.adjusted.map_or("–".to_owned(), p_value),
        words(pair, sight),
    ]
}

/// Name of a test.
pub(super) fn test_name(test: Test) -> &'static str {
    match test {
        Test::Exact => "none: no seed differs",
        Test::Student => "paired t",
        Test::SignedRank { exact: true } => "signed rank",
        Test::SignedRank { exact: false } => "signed rank (normal approximation)",
        Test::TooFew { .. } => "none",
    }
}

fn p_value(p: f64) -> String {
    if p < 0.001 { "<0.001".to_owned() } else { format!("{p:.3}") }
}

/// The verdict in words.
fn words(pair: &Pair, sight: &mut Sight) -> String {
    match (pair.verdict(), pair.comparison.test) {
        (DifferenceVerdict::A, _) => "A is better".to_owned(),
        (DifferenceVerdict::B, _) => "B is better".to_owned(),
        (DifferenceVerdict::NotTested, Test::TooFew { needed }) => {
            format!(
                "not tested: {} pair{}, a test needs {needed}",
                pair.count(),
                if pair.count() == 1 { "" } else { "s" }
            )
        }
        (DifferenceVerdict::Same, Test::Exact) => "equal for every seed".to_owned(),
        _ => match sight.of(pair).filter(|visible| *visible > 0.0) {
            Some(visible) if pair.unit == Unit::Points && visible > 100.0 => {
                "no difference seen; with so few seeds none could have been".to_owned()
            }
            Some(visible) => format!("no difference seen; a difference of {} would have been", pair.unit.size(visible)),
            None => "no difference seen".to_owned(),
        },
    }
}

/// One note for each set of comparisons that had too few pairs.
fn not_tested(differences: &Differences) -> Vec<String> {
    if differences.tests == 0 {
        return Vec::new();
    }
    let mut counted: BTreeMap<(String, usize, usize), usize> = BTreeMap::new();
    for pair in &differences.pairs {
        if let Test::TooFew { needed } = pair.comparison.test {
            let place = pair.dataset.clone().unwrap_or_else(|| "several datasets".to_owned());
            *counted.entry((place, pair.count(), needed)).or_default() += 1;
        }
    }
    let note = |((place, has, needed), count): ((String, usize, usize), usize)| {
        let (pairs, plural) = (significant(count as f64, 4), if has == 1 { "" } else { "s" });
        format!("{place}: {pairs} comparisons with {has} independent pair{plural}, where a test needs {needed}")
    };
    counted.into_iter().map(note).collect()
}

impl Pair {
    /// The interval of the difference; None if there is none.
    pub(super) fn interval(&self) -> Option<(f64, f64)> {
        let difference = self.comparison.difference;
        let bare = matches!(self.comparison.test, Test::TooFew { .. }) && difference.low == difference.high;
        (!bare).then_some((difference.low, difference.high))
    }
}
