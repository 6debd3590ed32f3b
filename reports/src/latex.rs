//! The leaderboard as a LaTeX table (booktabs). Bold is the best among several methods at one rate: across rates there is
//! no best.

use crate::summary::{DatasetSummary, Point};
use crate::table::{Column, columns};

/// A complete `table` environment.
pub fn table(dataset: &DatasetSummary) -> String {
    let columns: Vec<Column> = columns(dataset).into_iter().filter(|c| c.essential).collect();
    let seeds = dataset.points.iter().map(|p| p.seed_count()).max().unwrap_or(0);
    let mut out = String::from("% needs \\usepackage{booktabs}\n\\begin{table}\n\\centering\n");
    out += &format!(
        "\\caption{{Quantizers on {} ($d={}$, {} base vectors; mean of {} seed{}).}}\n",
        escape(&dataset.name),
        dataset.facts.dim,
        dataset.facts.base,
        seeds,
        if seeds == 1 { "" } else { "s" }
    );
    out += &format!("\\label{{tab:{}}}\n", crate::file_name(&dataset.name));
    out += &format!("\\begin{{tabular}}{{l{}}}\n\\toprule\n", "r".repeat(columns.len()));
    let titles: Vec<String> = columns.iter().map(|c| escape(&c.title)).collect();
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
        // The empty group keeps a label that begins with a bracket from being read as an option of the line before.
        out += &format!("{{}}{} & {} \\\\\n", escape(&point.label), cells.join(" & "));
    }
    out + "\\bottomrule\n\\end{tabular}\n\\end{table}\n"
}

/// Whether nothing else at the same rate reads as well or better.
fn is_best(column: &Column, point: &Point, dataset: &DatasetSummary) -> bool {
    let (Some(larger), Some(own)) = (column.larger_is_better, column.cell(point).estimate) else { return false };
    let rivals = dataset.points.iter().filter(|p| p.bits == point.bits && p.label != point.label);
    let mut rivals = rivals.map(|p| column.cell(p)).filter(|c| c.estimate.is_some()).peekable();
    let beaten = |value: f64| if larger { value < own.value } else { value > own.value };
    let text = column.cell(point).text;
    rivals.peek().is_some() && rivals.all(|c| c.estimate.is_some_and(|e| beaten(e.value)) && c.text != text)
}

fn escape(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => out.extend(['\\', c]),
            '~' => out += "\\textasciitilde{}",
            '^' => out += "\\textasciicircum{}",
            '\\' => out += "\\textbackslash{}",
            '<' => out += "\\textless{}",
            '>' => out += "\\textgreater{}",
            '|' => out += "\\textbar{}",
            '"' => out += "\\textquotedbl{}",
            '×' => out += "$\\times$",
            'µ' => out += "$\\mu$",
            '…' => out += "\\dots{}",
            '–' => out += "--",
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn special_characters_are_escaped() {
        assert_eq!(super::escape("a_b & 5% ×4 {x}"), "a\\_b \\& 5\\% $\\times$4 \\{x\\}");
    }
}
