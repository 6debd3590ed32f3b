//! The report as Markdown, for repositories and pull requests.

use crate::differences::{self, Differences};
use crate::in_turn::{self, PairReport};
use crate::machines;
use crate::pictures;
use crate::summary::DatasetSummary;
use crate::table::columns;
use crate::{Drawn, spent, title, vectors};
use record::metric::Dictionary;
use record::{Machine, Results};

/// The whole report; links to figures in `figures/` and pictures in `pictures/`.
pub fn page(
    runs: &[Results],
    datasets: &[DatasetSummary],
    figures: &[Drawn],
    pictures: &[pictures::PictureRow<'_>],
    (pairs, differences): (&[PairReport], &Differences),
    dictionary: &Dictionary,
) -> String {
    let mut out = format!("# {}\n", escape(&title(runs)));
    for run in runs.iter().filter(|r| !r.info.analysis.is_empty()) {
        out += &format!("\n{}\n", paragraphs(&run.info.analysis));
    }
    for reason in runs.iter().flat_map(|run| &run.info.skipped) {
        out += &format!("\n**Left out:** {}\n", escape(reason));
    }
    for line in runs.iter().flat_map(|run| run.info.found()) {
        out += &format!("\n**Found:** {}\n", escape(line));
    }
    let shown = |about: Option<&str>| -> String {
        let chosen = figures.iter().filter(|figure| figure.dataset.as_deref() == about);
        let lines = |figure: &Drawn| {
            let (alt, file) = (escape(&figure.caption).replace(']', "\\]"), figure.file(figure.shown));
            format!("\n![{alt}](figures/{file}.svg)\n\n{}\n", paragraphs(&figure.caption))
        };
        chosen.map(lines).collect()
    };
    out += &shown(None);
    for dataset in datasets {
        let f = &dataset.facts;
        out += &format!(
            "\n## {}\n\n{} training, {} base, {} query vectors, d={}, metric {}.\n\n",
            escape(&dataset.name),
            f.train,
            f.base,
            f.queries,
            f.dim,
            escape(&f.metric_space)
        );
        for remark in f.remarks() {
            out += &format!("**Note:** {}\n\n", escape(&remark));
        }
        out += &vectors::markdown(f, escape);
        out += &spent::markdown(&spent::of(runs, dataset), escape);
        if dataset.points.is_empty() {
            out += "No trial on these vectors has succeeded.\n";
            continue;
        }
        if let Some(note) = machines::note(dataset) {
            out += &format!("**Note:** {}\n\n", escape(&note));
        }
        out += &leaderboard(dataset, dictionary);
        out += &shown(Some(&dataset.name));
        out += &pictures::markdown(pictures, &dataset.name, escape);
    }
    out += &in_turn::markdown(pairs, escape);
    out += &differences::markdown(differences, escape);
    let failures: Vec<_> = runs.iter().flat_map(Results::failures).collect();
    if !failures.is_empty() {
        out += "\n## Failed trials\n\n| dataset | method | seed | status | reason |\n|--|--|--|--|--|\n";
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
    out += &machines::markdown(runs, escape);
    for run in runs {
        if run.missing() > 0 {
            out += &format!(
                "\n{} of the {} trials of {} have not been run.\n",
                run.missing(),
                run.info.trials.len(),
                escape(&run.info.name)
            );
        }
        out += "\n---\n";
        for found in run.machines() {
            out += &format!("{}\n\n", paragraphs(&format!("{}: {}", run.info.name, machine(found))));
        }
    }
    out
}

fn leaderboard(dataset: &DatasetSummary, dictionary: &Dictionary) -> String {
    let columns = columns(dataset, dictionary);
    let titles: Vec<String> = columns.iter().map(|c| escape(&c.title)).collect();
    let mut out = format!("| method | {} |\n|:--|{}\n", titles.join(" | "), "--:|".repeat(columns.len()));
    for point in &dataset.points {
        let cells: Vec<String> = columns.iter().map(|c| escape(&c.cell(point).text)).collect();
        out += &format!("| {} | {} |\n", escape(&point.label), cells.join(" | "));
    }
    out
}

/// One line about the machine of a run.
pub fn machine(m: &Machine) -> String {
    // The revision in a record may be any text.
    let short = |revision: &String| revision.chars().take(12).collect::<String>();
    let changed = if m.git_dirty == Some(true) { " with uncommitted changes" } else { "" };
    let revision = m.git_revision.as_ref().map(|revision| format!(", revision {}{changed}", short(revision)));
    let revision = revision.unwrap_or_default();
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

/// Escapes a text so that it is not interpreted as Markdown, as HTML or as the end of a cell, within a line.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::new();
    let mut before = ' ';
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let next = rest.peek().copied().unwrap_or(' ');
        match c {
            '|' | '<' | '[' | '*' | '`' | '\\' | '~' | '$' => out.extend(['\\', c]),
            // Within a word it has no special meaning.
            '_' if !(before.is_alphanumeric() && next.is_alphanumeric()) => out.extend(['\\', c]),
            '&' if next == '#' || next.is_ascii_alphabetic() => out.extend(['\\', c]),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
        before = c;
    }
    out
}

/// Escapes a text of one or more paragraphs: [`escape`], and line starts that would begin a heading, a list, a
/// quotation or a rule.
fn paragraphs(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let joined = lines.split(|line| line.is_empty()).filter(|lines| !lines.is_empty()).map(|lines| lines.join(" "));
    let one = |text: String| {
        let number = text.trim_start_matches(|c: char| c.is_ascii_digit());
        let listed = number.len() < text.len() && number.starts_with(['.', ')']);
        if text.starts_with(['#', '>', '-', '+', '=']) {
            format!("\\{}", escape(&text))
        } else if listed {
            let digits = &text[..text.len() - number.len()];
            format!("{digits}\\{}", escape(number))
        } else {
            escape(&text)
        }
    };
    joined.map(one).collect::<Vec<_>>().join("\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        for (text, expected) in [
            (
                "a_b [x](y) <img> *b* `c` \\ | ~~d~~ $e$",
                "a_b \\[x](y) \\<img> \\*b\\* \\`c\\` \\\\ \\| \\~\\~d\\~\\~ \\$e\\$",
            ),
            ("_so_ & co, AT&T &lt; &#60;", "\\_so\\_ & co, AT\\&T \\&lt; \\&#60;"),
            ("two\nlines\r", "two lines "),
        ] {
            assert_eq!(escape(text), expected);
        }
        for (text, expected) in [
            ("# no heading\n\n- no list\ngoes on\n\n\n> none", "\\# no heading\n\n\\- no list goes on\n\n\\> none"),
            ("1. no list\n\n2024 is a year", "1\\. no list\n\n2024 is a year"),
            ("two sentences.\nOf one paragraph.\n", "two sentences. Of one paragraph."),
            ("---", "\\---"),
            ("", ""),
        ] {
            assert_eq!(paragraphs(text), expected);
        }
    }

    #[test]
    fn a_revision_may_be_any_text() {
        let of = |revision: &str, dirty| {
            machine(&Machine { git_revision: Some(revision.into()), git_dirty: dirty, ..Machine::default() })
        };
        assert!(of("0123456789abcdef", Some(true)).ends_with("revision 0123456789ab with uncommitted changes"));
        assert!(of("äöüäöüäöüäöüäöü", None).ends_with("revision äöüäöüäöüäöü"));
    }
}
