//! The leaderboard as a LaTeX table (booktabs). Marks compare methods at about the same rate, and only where a test found
//! a difference.

use crate::differences::{DifferenceVerdict, Differences, Question, decided_by, groups};
use crate::machines::note;
use crate::summary::{DatasetSummary, Point};
use crate::table::{Column, columns};
use record::metric::Dictionary;
use std::collections::HashMap;

/// Maximum width of labels, as a fraction of the text width; longer labels are broken into lines.
const LABEL_WIDTH: &str = "0.32\\linewidth";

/// A complete `table` environment that compiles with every font encoding of LaTeX and is at most as wide as a line of
/// text: headings and labels are broken into lines, and a table that is still too wide is scaled.
pub fn table(dataset: &DatasetSummary, dictionary: &Dictionary, differences: &Differences) -> String {
    let columns: Vec<Column> = columns(dataset, dictionary).into_iter().filter(|c| c.essential).collect();
    let texts = columns.iter().flat_map(|column| dataset.points.iter().map(|point| column.cell(point).text));
    let error = if texts.into_iter().any(|text| text.contains('±')) {
        " $\\pm$: half of the 95\\% interval over seeds."
    } else {
        ""
    };
    let machines = note(dataset).map(|note| format!(" {}", escape(&note))).unwrap_or_default();
    let seeds = dataset.points.iter().map(|p| p.seed_count()).max().unwrap_or(0);
    let caption = format!(
        "Quantizers on {} ($d={}$, {} base vectors; mean of {} seed{}).{}",
        escape(&dataset.name),
        dataset.facts.dim,
        dataset.facts.base,
        seeds,
        if seeds == 1 { "" } else { "s" },
        legend(dataset, differences) + error + &machines
    );
    let titles: Vec<String> = columns.iter().map(|c| stacked(&c.title)).collect();
    let mut out = format!("Method & {} \\\\\n\\midrule\n", titles.join(" & "));
    let (groups, verdicts) = (groups(dataset), differences.verdicts(&dataset.name));
    let marks: Vec<HashMap<RowKey<'_>, CellMark>> =
        columns.iter().map(|column| marks(column, &groups, &verdicts)).collect();
    let mut last_series = None;
    for point in &dataset.points {
        if last_series.is_some_and(|series| series != &point.series) {
            out += "\\addlinespace\n";
        }
        last_series = Some(&point.series);
        let cells: Vec<String> = columns
            .iter()
            .zip(&marks)
            .map(|(column, marks)| {
                let text = escape(&column.cell(point).text);
                marks.get(&row(point)).copied().unwrap_or(CellMark::None).on(&text)
            })
            .collect();
        out += &format!("\\raggedright {} & {} \\\\\n", breakable(&point.label), cells.join(" & "));
    }
    let layout = format!("p{{{LABEL_WIDTH}}}{}", "r".repeat(columns.len()));
    fitted(&caption, &crate::file_name(&dataset.name), &layout, &out)
}

/// A `table` environment around rows; a table that is wider than a line of text is scaled. The caption is LaTeX.
pub(crate) fn fitted(caption: &str, label: &str, layout: &str, rows: &str) -> String {
    let mut out = String::from("% needs \\usepackage{booktabs,graphicx}\n\\begin{table}\n\\centering\n");
    out += &format!("\\caption{{{caption}}}\n\\label{{tab:{label}}}\n");
    out += "\\footnotesize\n\\setlength{\\tabcolsep}{4pt}\n\\sbox0{%\n";
    out += &format!("\\begin{{tabular}}{{{layout}}}\n\\toprule\n{rows}\\bottomrule\n\\end{{tabular}}}}%\n");
    out + "\\ifdim\\wd0>\\linewidth\\resizebox{\\linewidth}{!}{\\usebox0}\\else\\usebox0\\fi\n\\end{table}\n"
}

/// What the marks mean, or that there are none.
fn legend(dataset: &DatasetSummary, differences: &Differences) -> String {
    let mut about = differences.pairs.iter().filter(|pair| pair.dataset.as_deref() == Some(&dataset.name)).peekable();
    let words = if about.peek().is_none() {
        ""
    } else if about.all(|pair| pair.verdict() == DifferenceVerdict::NotTested) {
        " Differences are not tested: too few seeds."
    } else {
        " Bold: better than all others at about the same rate; underlined: second, better than the rest; \
         $\\approx$: no difference from the best seen (5\\%, Holm)."
    };
    words.to_owned()
}

/// The mark of a value among those of other methods at about the same rate.
#[derive(Clone, Copy, PartialEq)]
enum CellMark {
    /// Better than every other.
    Best,
    /// The second, better than every one after it.
    Second,
    /// No difference from the best was seen.
    Tied,
    None,
}

impl CellMark {
    fn on(self, text: &str) -> String {
        match self {
            CellMark::Best => format!("\\textbf{{{text}}}"),
            CellMark::Second => format!("\\underline{{{text}}}"),
            CellMark::Tied => format!("{text}\\rlap{{$^{{\\approx}}$}}"),
            CellMark::None => text.to_owned(),
        }
    }
}

/// What identifies a row in marks: device, label and rate. Its number of threads does not change its quality.
type RowKey<'a> = (&'a str, &'a str, usize);

fn row(point: &Point) -> RowKey<'_> {
    (&point.device, &point.label, point.bits)
}

/// The marks of a column, from the tests of differences.
fn marks<'a>(
    column: &Column,
    groups: &[Vec<&'a Point>],
    verdicts: &HashMap<Question<'_>, DifferenceVerdict>,
) -> HashMap<RowKey<'a>, CellMark> {
    let mut marks = HashMap::new();
    let (Some(metric), Some(larger)) = (decided_by(column), column.metric.larger_is_better()) else {
        return marks;
    };
    let k = if metric.name == column.metric.name { column.k } else { None };
    for group in groups {
        let measured = |point: &&'a Point| {
            let cell = column.cell(point);
            Some((*point, cell.estimate?.value, cell.text))
        };
        let mut order: Vec<(&Point, f64, String)> = group.iter().filter_map(measured).collect();
        order.sort_by(|a, b| if larger { b.1.total_cmp(&a.1) } else { a.1.total_cmp(&b.1) });
        let verdict = |at: usize, other: usize| {
            verdicts.get(&(metric.name, k, &order[at].0.label[..], &order[other].0.label[..])).copied()
        };
        // A reader who sees two equal numbers must not find one of them marked.
        let beats =
            |at: usize, other: usize| verdict(at, other) == Some(DifferenceVerdict::A) && order[at].2 != order[other].2;
        let beats_the_rest = |at: usize| at + 1 < order.len() && (at + 1..order.len()).all(|other| beats(at, other));
        let tied = |at: usize| verdict(0, at) == Some(DifferenceVerdict::Same);
        let best = beats_the_rest(0);
        for (at, (point, ..)) in order.iter().enumerate() {
            let mark = match at {
                0 if best => CellMark::Best,
                0 if (1..order.len()).any(tied) => CellMark::Tied,
                1 if best && beats_the_rest(1) => CellMark::Second,
                at if at > 0 && tied(at) => CellMark::Tied,
                _ => CellMark::None,
            };
            marks.insert(row(point), mark);
        }
    }
    marks
}

/// A heading with one word per line.
fn stacked(title: &str) -> String {
    let words: Vec<String> = title.replace('/', "/ ").split_whitespace().map(escape).collect();
    if words.len() == 1 { words.concat() } else { format!("\\shortstack[r]{{{}}}", words.join("\\\\")) }
}

/// A label that may also be broken after punctuation, because labels made of parameters have no spaces.
pub(crate) fn breakable(label: &str) -> String {
    let mut out = String::new();
    for piece in label.split_inclusive([',', ':', '=', ';', '/', '_', '-']) {
        out += &escape(piece);
        if piece.len() < label.len() && !piece.ends_with(char::is_alphanumeric) {
            out += "\\allowbreak{}";
        }
    }
    out.strip_suffix("\\allowbreak{}").map(str::to_owned).unwrap_or(out)
}

/// Accented letters that every font encoding of LaTeX has; each other letter is missing from some encoding.
const LETTERS: &str = "ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜÝàáâãäåæçèéêëìíîïñòóôõöøùúûüýÿßŒœŠšŽžČčĆćŃńŚśŹźŻżŁłĚěŘřŮůŐőŰű";

/// Replacements for characters that are LaTeX commands or lack a glyph. Characters in neither list are written as their
/// code point.
const REPLACEMENTS: &[(char, &str)] = &[
    ('~', "\\textasciitilde{}"),
    ('^', "\\textasciicircum{}"),
    ('\\', "\\textbackslash{}"),
    ('<', "$<$"),
    ('>', "$>$"),
    ('|', "$|$"),
    ('"', "''"),
    ('×', "$\\times$"),
    ('·', "$\\cdot$"),
    ('±', "$\\pm$"),
    ('−', "$-$"),
    ('≤', "$\\leq$"),
    ('≥', "$\\geq$"),
    ('≈', "$\\approx$"),
    ('≠', "$\\neq$"),
    ('→', "$\\to$"),
    ('∞', "$\\infty$"),
    ('√', "$\\surd$"),
    ('°', "$^\\circ$"),
    ('²', "$^2$"),
    ('³', "$^3$"),
    ('…', "\\dots{}"),
    ('–', "--"),
    ('—', "---"),
    ('‘', "`"),
    ('’', "'"),
    ('“', "``"),
    ('”', "''"),
    ('\u{a0}', "~"),
    ('µ', "$\\mu$"),
    ('α', "$\\alpha$"),
    ('β', "$\\beta$"),
    ('γ', "$\\gamma$"),
    ('δ', "$\\delta$"),
    ('ε', "$\\epsilon$"),
    ('η', "$\\eta$"),
    ('θ', "$\\theta$"),
    ('κ', "$\\kappa$"),
    ('λ', "$\\lambda$"),
    ('μ', "$\\mu$"),
    ('ν', "$\\nu$"),
    ('π', "$\\pi$"),
    ('ρ', "$\\rho$"),
    ('σ', "$\\sigma$"),
    ('τ', "$\\tau$"),
    ('φ', "$\\phi$"),
    ('χ', "$\\chi$"),
    ('ψ', "$\\psi$"),
    ('ω', "$\\omega$"),
    ('Δ', "$\\Delta$"),
    ('Σ', "$\\Sigma$"),
    ('Ω', "$\\Omega$"),
];

pub(crate) fn escape(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        let replacement = REPLACEMENTS.iter().find(|(from, _)| *from == c).map(|(_, to)| *to);
        match (c, replacement) {
            (_, Some(to)) => out += to,
            ('&' | '%' | '$' | '#' | '_' | '{' | '}', _) => out.extend(['\\', c]),
            (c, _) if c.is_control() => out.push(' '),
            (c, _) if c.is_ascii() || LETTERS.contains(c) => out.push(c),
            (c, _) => out += &format!("[U+{:04X}]", u32::from(c)),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_characters_are_escaped() {
        assert_eq!(escape("a_b & 5% ×4 {x}"), "a\\_b \\& 5\\% $\\times$4 \\{x\\}");
        assert_eq!(escape("\"quoted\" µ ≤ é"), "''quoted'' $\\mu$ $\\leq$ é");
        assert_eq!(escape("漢 ð\u{7}"), "[U+6F22] [U+00F0] ");
    }

    /// All commands are defined here or by LaTeX itself, without another font encoding.
    #[test]
    fn no_text_needs_a_font_encoding_of_its_own() {
        let all: String = (0..0x3000).filter_map(char::from_u32).collect();
        let text = escape(&all);
        assert!(text.chars().all(|c| (' '..='~').contains(&c) || LETTERS.contains(c)));
        assert!(!text.contains("textquotedbl") && !text.contains("textmu"));
    }

    #[test]
    fn headings_are_stacked_and_long_labels_can_be_broken() {
        assert_eq!(stacked("NMSE"), "NMSE");
        assert_eq!(stacked("bits/vector"), "\\shortstack[r]{bits/\\\\vector}");
        let label = r#"fsq levels=[5,5] training={"epochs":2}"#;
        let expected =
            "fsq levels=\\allowbreak{}[5,\\allowbreak{}5] training=\\allowbreak{}\\{''epochs'':\\allowbreak{}2\\}";
        assert_eq!(breakable(label), expected);
        assert_eq!(breakable("PQ m=2"), "PQ m=\\allowbreak{}2");
        assert_eq!(breakable("plain"), "plain");
    }
}
