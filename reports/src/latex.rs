//! The leaderboard as a LaTeX table (booktabs), the best of each column in bold.

use crate::summary::DatasetSummary;
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
    let best: Vec<Option<f64>> = columns.iter().map(|c| best(c, dataset)).collect();
    let mut last_series = None;
    for point in &dataset.points {
        if last_series.is_some_and(|series| series != &point.series) {
            out += "\\addlinespace\n";
        }
        last_series = Some(&point.series);
        let cells: Vec<String> = columns
            .iter()
            .zip(&best)
            .map(|(column, best)| {
                let cell = column.cell(point);
                let text = escape(&cell.text);
                if cell.estimate.map(|e| e.value) == *best && best.is_some() {
                    format!("\\textbf{{{text}}}")
                } else {
                    text
                }
            })
            .collect();
        out += &format!("{} & {} \\\\\n", escape(&point.label), cells.join(" & "));
    }
    out + "\\bottomrule\n\\end{tabular}\n\\end{table}\n"
}

fn best(column: &Column, dataset: &DatasetSummary) -> Option<f64> {
    let larger = column.larger_is_better?;
    let values = dataset.points.iter().filter_map(|p| column.cell(p).estimate).map(|e| e.value);
    values.max_by(|a, b| if larger { a.total_cmp(b) } else { b.total_cmp(a) })
}

fn escape(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => out.extend(['\\', c]),
            '~' => out += "\\textasciitilde{}",
            '^' => out += "\\textasciicircum{}",
            '\\' => out += "\\textbackslash{}",
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
