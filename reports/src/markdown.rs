//! The report as Markdown, for repositories and pull requests.

use crate::pictures;
use crate::summary::DatasetSummary;
use crate::table::columns;
use crate::{Drawn, title};
use record::{Machine, Run};

/// The whole report; figures are linked from `figures/`, pictures from `pictures/`.
pub fn page(runs: &[Run], datasets: &[DatasetSummary], figures: &[Drawn], pictures: &[pictures::Row<'_>]) -> String {
    let mut out = format!("# {}\n", title(runs));
    for run in runs.iter().filter(|r| !r.info.analysis.is_empty()) {
        out += &format!("\n{}\n", run.info.analysis);
    }
    let shown = |about: Option<&str>| -> String {
        let chosen = figures.iter().filter(|figure| figure.dataset.as_deref() == about);
        chosen.map(|figure| format!("\n![{0}](figures/{1}.svg)\n\n{0}\n", figure.caption, figure.name)).collect()
    };
    out += &shown(None);
    for dataset in datasets {
        let f = &dataset.facts;
        out += &format!(
            "\n## {}\n\n{} training, {} base, {} query vectors, d={}, metric {}.\n\n",
            dataset.name, f.train, f.base, f.queries, f.dim, f.metric_space
        );
        if dataset.points.is_empty() {
            out += "No trial on these vectors has succeeded.\n";
            continue;
        }
        out += &leaderboard(dataset);
        out += &shown(Some(&dataset.name));
        out += &pictures::markdown(pictures, &dataset.name, escape);
    }
    let failures: Vec<_> = runs.iter().flat_map(Run::failures).collect();
    if !failures.is_empty() {
        out += "\n## Trials that did not succeed\n\n| dataset | method | seed | status | reason |\n|--|--|--|--|--|\n";
        for record in failures {
            let t = &record.trial;
            let reason = escape(record.reason.as_deref().unwrap_or(""));
            out += &format!(
                "| {} | {} | {} | {} | {reason} |\n",
                escape(&t.dataset),
                escape(&t.label),
                t.seed,
                record.status.as_str()
            );
        }
    }
    for run in runs {
        if run.missing() > 0 {
            out += &format!(
                "\n{} of the {} trials of {} have not been run.\n",
                run.missing(),
                run.info.trials.len(),
                run.info.name
            );
        }
        out += "\n---\n";
        for found in run.machines() {
            out += &format!("{}: {}\n\n", run.info.name, machine(found));
        }
    }
    out
}

fn leaderboard(dataset: &DatasetSummary) -> String {
    let columns = columns(dataset);
    let titles: Vec<String> = columns.iter().map(|c| escape(&c.title)).collect();
    let mut out = format!("| method | {} |\n|:--|{}\n", titles.join(" | "), "--:|".repeat(columns.len()));
    for point in &dataset.points {
        let cells: Vec<String> = columns.iter().map(|c| escape(&c.cell(point).text)).collect();
        out += &format!("| {} | {} |\n", escape(&point.label), cells.join(" | "));
    }
    out
}

/// One line that says where a run took place.
pub fn machine(m: &Machine) -> String {
    let revision = match (&m.git_revision, m.git_dirty) {
        (Some(revision), Some(true)) => {
            format!(", revision {} with uncommitted changes", &revision[..revision.len().min(12)])
        }
        (Some(revision), _) => format!(", revision {}", &revision[..revision.len().min(12)]),
        (None, _) => String::new(),
    };
    format!(
        "{}, {} cores, {}, {} memory{}, {}, {}, vqbench {}{revision}",
        m.cpu,
        m.cores,
        m.simd,
        crate::number::bytes(m.memory_bytes as f64),
        m.gpu.as_ref().map(|gpu| format!(", {gpu}")).unwrap_or_default(),
        m.os,
        m.rustc,
        m.version
    )
}

/// Keeps what a label says from being read as Markdown, HTML or the end of a cell.
fn escape(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '|' | '<' | '[' | '*' | '`' | '\\' => out.extend(['\\', c]),
            '\n' => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
