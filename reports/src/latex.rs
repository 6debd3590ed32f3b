//! The leaderboard as a LaTeX table (booktabs). Bold marks the best of several methods at the same rate, since methods
//! at different rates are not comparable.

use crate::summary::{DatasetSummary, Point};
use crate::table::{Column, columns};
use record::metric::Dictionary;

/// Maximum width of labels, as a fraction of the text width; longer labels are broken into lines.
const LABEL_WIDTH: &str = "0.32\\linewidth";

/// A complete `table` environment that compiles with every font encoding of LaTeX and is at most as wide as a line of
/// text: headings and labels are broken into lines, and a table that is still too wide is scaled.
pub fn table(dataset: &DatasetSummary, dictionary: &Dictionary) -> String {
    let columns: Vec<Column> = columns(dataset, dictionary).into_iter().filter(|c| c.essential).collect();
    let seeds = dataset.points.iter().map(|p| p.seed_count()).max().unwrap_or(0);
    let mut out = String::from("% needs \\usepackage{booktabs,graphicx}\n\\begin{table}\n\\centering\n");
    out += &format!(
        "\\caption{{Quantizers on {} ($d={}$, {} base vectors; mean of {} seed{}).}}\n",
        escape(&dataset.name),
        dataset.facts.dim,
        dataset.facts.base,
        seeds,
        if seeds == 1 { "" } else { "s" }
    );
    out += &format!("\\label{{tab:{}}}\n", crate::file_name(&dataset.name));
    out += "\\footnotesize\n\\setlength{\\tabcolsep}{4pt}\n\\sbox0{%\n";
    out += &format!("\\begin{{tabular}}{{p{{{LABEL_WIDTH}}}{}}}\n\\toprule\n", "r".repeat(columns.len()));
    let titles: Vec<String> = columns.iter().map(|c| stacked(&c.title)).collect();
    out += &format!("Method & {} \\\\\n\\midrule\n", titles.join(" & "));
    let mut last_series = None;
    for point in &dataset.points {
        if last_series.is_some_and(|series| series != &point.series) {
            out += "\\addlinespace\n";
        }
        last_series = Some(&point.series);
        let cells: Vec<String> = columns
            .iter()
            .map(|column| {
                let text = escape(&column.cell(point).text);
                if is_best(column, point, dataset) { format!("\\textbf{{{text}}}") } else { text }
            })
            .collect();
        out += &format!("\\raggedright {} & {} \\\\\n", breakable(&point.label), cells.join(" & "));
    }
    out += "\\bottomrule\n\\end{tabular}}%\n";
    out + "\\ifdim\\wd0>\\linewidth\\resizebox{\\linewidth}{!}{\\usebox0}\\else\\usebox0\\fi\n\\end{table}\n"
}

/// Whether all other points at the same rate are worse, also as displayed; false if there are none.
fn is_best(column: &Column, point: &Point, dataset: &DatasetSummary) -> bool {
    let (Some(larger), Some(own)) = (column.metric.larger_is_better(), column.cell(point).estimate) else {
        return false;
    };
    let rivals = dataset.points.iter().filter(|p| p.bits == point.bits && p.label != point.label);
    let mut rivals = rivals.map(|p| column.cell(p)).filter(|c| c.estimate.is_some()).peekable();
    let beaten = |value: f64| if larger { value < own.value } else { value > own.value };
    let text = column.cell(point).text;
    rivals.peek().is_some() && rivals.all(|c| c.estimate.is_some_and(|e| beaten(e.value)) && c.text != text)
}

/// A heading with one word per line.
fn stacked(title: &str) -> String {
    let words: Vec<String> = title.replace('/', "/ ").split_whitespace().map(escape).collect();
    if words.len() == 1 { words.concat() } else { format!("\\shortstack[r]{{{}}}", words.join("\\\\")) }
}

/// A label that may also be broken after punctuation, because labels made of parameters have no spaces.
fn breakable(label: &str) -> String {
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

fn escape(text: &str) -> String {
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
