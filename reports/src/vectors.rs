//! What the vectors of a dataset are like, as a table: for pages, for Markdown and for the terminal.

use crate::figure;
use crate::number::significant;
use crate::{ReportError, pdf, png};
use maud::{Markup, html};
use record::{DatasetFacts, VectorFacts};

/// A line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The quantity.
    pub name: &'static str,
    /// Its value.
    pub value: String,
    /// What it means.
    pub meaning: &'static str,
}

/// Several values, as `0.1 / 0.2 / 0.3`.
fn joined<T>(values: impl IntoIterator<Item = T>, show: impl Fn(T) -> String) -> String {
    values.into_iter().map(show).collect::<Vec<_>>().join(" / ")
}

/// The lines that are known of a dataset; none for records of versions that did not store them.
pub fn table(facts: &DatasetFacts) -> Vec<Line> {
    let Some(vectors) = &facts.vectors else { return Vec::new() };
    let VectorFacts { norms, zeros, copies, copies_estimated, off_centre, variances, constant, .. } = vectors;
    let three = |value: f64| significant(value, 3);
    let mut lines = Vec::new();
    let mut line =
        |name, value: Option<String>, meaning| lines.extend(value.map(|value| Line { name, value, meaning }));
    line("norm", Some(joined(*norms, |norm| significant(norm, 4))), "smallest / median / largest");
    let far = vectors.far.as_ref().map_or_else(
        || "0".to_owned(),
        |far| format!("{}, first {}, up to {} times the median", far.count, far.first, three(far.factor)),
    );
    line("rows with a far norm", Some(far), "at least 10 times the median norm");
    line("off-centre", off_centre.map(three), "norm of the mean over the root of the variance");
    line("variance of a component", Some(joined(*variances, three)), "smallest / median / largest");
    let of_all = |count: usize| format!("{count} of {}", facts.dim);
    line("constant components", Some(of_all(*constant)), "the same value in all base rows");
    line("zero rows", Some(zeros.to_string()), "base rows of zeros");
    let about = if *copies_estimated { "about " } else { "" };
    line("copies", Some(format!("{about}{copies}")), "base rows that equal an earlier one");
    let effective = facts.effective_dimension().map(|dimension| format!("{} of {}", three(dimension), facts.dim));
    line("effective dimension", effective, "of the spectrum: (Σλ)²/Σλ²");
    let shares = [0.5, 0.9, 0.99].map(|share| facts.components_with(share));
    let shares = shares.iter().all(Option::is_some).then(|| joined(shares.into_iter().flatten(), |n| n.to_string()));
    line("principal components", shares, "that have 50% / 90% / 99% of the variance");
    let intrinsic = vectors.intrinsic_dimension.map(three);
    line("intrinsic dimension", intrinsic, "Levina and Bickel (2004), 20 neighbours, on a sample");
    let queries = vectors.queries.as_ref();
    let ratio = queries.and_then(|queries| queries.ratio).map(three);
    line("distance of queries", ratio, "median distance to the nearest base row, over that between base rows");
    let far = queries.and_then(|queries| queries.far).map(|far| format!("{:.0}%", 100.0 * far));
    line(
        "far queries",
        far,
        "farther from the base rows than 95% of these are from their nearest other one; 5% if alike",
    );
    let copies = queries.map(|queries| format!("{} of {}", queries.copies, facts.queries));
    line("copies among queries", copies, "queries that equal a base row");
    lines
}

/// The table of a page, behind a heading that opens it.
pub(crate) fn html(facts: &DatasetFacts) -> Markup {
    let lines = table(facts);
    html! {
        @if !lines.is_empty() {
            details.vectors {
                summary { "What the vectors are like" }
                table { tbody { @for line in &lines { tr {
                    th scope="row" { (line.name) } td { (line.value) } td.meaning { (line.meaning) }
                } } } }
            }
        }
    }
}

/// The table of a page in Markdown.
pub(crate) fn markdown(facts: &DatasetFacts, escape: impl Fn(&str) -> String) -> String {
    let lines = table(facts);
    if lines.is_empty() {
        return String::new();
    }
    let row = |line: &Line| format!("| {} | {} | {} |\n", line.name, escape(&line.value), escape(line.meaning));
    format!("| the vectors | | |\n|:--|--:|:--|\n{}\n", lines.iter().map(row).collect::<String>())
}

/// The table as text, with a title for each line.
pub fn text(facts: &DatasetFacts) -> String {
    let lines = table(facts);
    let width = |of: fn(&Line) -> usize| lines.iter().map(of).max().unwrap_or(0);
    let (name, value) = (width(|line| line.name.chars().count()), width(|line| line.value.chars().count()));
    let (name, value) = (name.min(40), value.min(60));
    lines.iter().map(|line| format!("{:<name$}  {:<value$}  {}\n", line.name, line.value, line.meaning)).collect()
}

/// Extensions of the files that [`spectrum`] writes.
pub const PICTURES: [&str; 3] = ["svg", "png", "pdf"];

/// The spectrum as a picture in one of the formats [`PICTURES`]; None without a spectrum, or for another format.
///
/// # Errors
/// A figure that cannot be drawn.
pub fn spectrum(facts: &DatasetFacts, format: &str) -> Result<Option<Vec<u8>>, ReportError> {
    let Some(svg) = figure::spectrum(facts)? else { return Ok(None) };
    Ok(match format {
        "svg" => Some(svg.into_bytes()),
        "png" => Some(png::render("spectrum", &svg)?),
        "pdf" => Some(pdf::render("spectrum", &svg)?),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use record::{OutlierFacts, QueryFacts};

    #[test]
    fn what_is_known_is_shown_and_nothing_else() {
        assert_eq!(table(&DatasetFacts::default()), []);
        let vectors = VectorFacts {
            norms: [0.5, 1.0, 20.0],
            far: Some(OutlierFacts { count: 1, first: "row 3 of x.npy".into(), factor: 20.0, from: 10.0 }),
            copies: 12,
            copies_estimated: true,
            off_centre: Some(0.25),
            variances: [0.0, 0.001, 0.5],
            constant: 1,
            intrinsic_dimension: None,
            queries: Some(QueryFacts { copies: 2, ratio: Some(1.5), far: Some(0.2) }),
            ..VectorFacts::default()
        };
        let facts = DatasetFacts {
            dim: 4,
            queries: 30,
            spectrum: vec![3.0, 1.0, 0.0, 0.0],
            vectors: Some(vectors),
            ..DatasetFacts::default()
        };
        insta::assert_snapshot!(text(&facts));
        assert!(spectrum(&facts, "svg").expect("draws").is_some_and(|svg| svg.starts_with(b"<svg")));
        assert!(spectrum(&facts, "png").expect("draws").is_some_and(|png| png.starts_with(b"\x89PNG")));
        assert_eq!(spectrum(&facts, "gif").expect("no such format"), None);
        assert_eq!(spectrum(&DatasetFacts::default(), "svg").expect("nothing to draw"), None);
    }
}
