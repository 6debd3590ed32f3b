//! Renders records as reports: pure functions that return bytes. Depends on the result schema and on no method, so that
//! old results can be rendered again without building a quantizer.

pub mod advice;
pub mod compare;
mod differences;
mod figure;
mod html;
pub mod in_turn;
pub mod junit;
mod latex;
mod machines;
mod markdown;
pub mod number;
mod pareto;
mod pdf;
mod pictures;
mod png;
pub mod provenance;
pub mod query;
pub mod rerun;
mod sampling;
pub mod spent;
pub mod statistics;
pub mod summary;
pub mod table;
mod tracking;
mod values;
pub mod vectors;
pub mod verify;
mod words;
pub mod yaml;

pub use figure::style::REGULAR as FONT;
pub use figure::{PageFigure, page_figures};
pub use html::STYLE;

use figure::style::Column;
use polars::prelude::PolarsError;
use rayon::prelude::*;
use record::Results;
use record::metric::{Dictionary, METRICS};
use summary::summarize;
use thiserror::Error;

/// Report formats by name, as in `report: { formats: […] }`.
pub const FORMATS: [&str; 9] = ["html", "svg", "png", "pdf", "markdown", "latex", "csv", "bencher", "benchmark-action"];

/// A file of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// Path relative to the report folder.
    pub path: String,
    /// Content.
    pub bytes: Vec<u8>,
}

/// A report that could not be rendered.
#[derive(Debug, Error)]
pub enum ReportError {
    /// A figure could not be drawn.
    #[error("the figure {name} could not be drawn: {reason}")]
    Figure {
        /// Its file name.
        name: String,
        /// The error of the drawing library.
        reason: String,
    },
    /// A table could not be read or written.
    #[error("the table of results: {0}")]
    Table(String),
    /// A file could not be written as JSON.
    #[error("JSON could not be written: {0}")]
    Json(#[from] serde_json::Error),
}

impl From<PolarsError> for ReportError {
    fn from(error: PolarsError) -> ReportError {
        ReportError::Table(error.to_string())
    }
}

/// A drawn figure.
pub(crate) struct Drawn {
    /// File name without extension.
    name: String,
    /// Name of the dataset it is about; None if it covers all datasets.
    dataset: Option<String>,
    /// Caption of one or two sentences.
    caption: String,
    /// The figure as SVG, at each width.
    widths: Vec<(Column, String)>,
    /// The width that pages show.
    shown: Column,
}

impl Drawn {
    /// File name without extension, at a width.
    fn file(&self, column: Column) -> String {
        format!("{}{}", self.name, column.suffix())
    }

    /// The figure as pages show it.
    fn page_svg(&self) -> &str {
        self.widths.iter().find(|(column, _)| *column == self.shown).map_or("", |(_, svg)| svg)
    }
}

/// Converts a figure, given its file name and its SVG, to another format.
type Convert = fn(&str, &str) -> Result<Vec<u8>, ReportError>;

/// Renders a common report of several runs in the given formats.
///
/// # Errors
/// A figure that cannot be drawn.
pub fn render(runs: &[Results], formats: &[String]) -> Result<Vec<Artifact>, ReportError> {
    render_with(runs, formats, METRICS)
}

/// As `render`, with a dictionary of metrics other than that of this program.
///
/// # Errors
/// A figure that cannot be drawn.
pub fn render_with(
    runs: &[Results],
    formats: &[String],
    dictionary: &Dictionary,
) -> Result<Vec<Artifact>, ReportError> {
    let wanted = |format: &str| formats.iter().any(|f| f == format);
    let datasets = summarize(runs)?;
    let mut differences = differences::compare_all(&datasets, dictionary);
    differences.csv = wanted("csv");
    let pairs = in_turn::compare(runs, dictionary)?;
    let figures = figure::draw_all(&datasets, &pairs)?;
    let pictures = pictures::gather(runs, &datasets);
    let mut artifacts = Vec::new();
    let files: Vec<(String, &str)> = figures
        .iter()
        .flat_map(|drawn| drawn.widths.iter().map(|(column, svg)| (drawn.file(*column), svg.as_str())))
        .collect();
    if wanted("svg") || wanted("markdown") {
        let file = |(name, svg): &(String, &str)| (format!("figures/{name}.svg"), svg.as_bytes().to_vec());
        artifacts.extend(files.iter().map(file).map(|(path, bytes)| Artifact { path, bytes }));
    }
    let converted: [(&str, Convert); 2] = [("png", png::render), ("pdf", pdf::render)];
    for (format, convert) in converted.into_iter().filter(|(format, _)| wanted(format)) {
        // Rendering pixels takes longer than everything else together.
        let file = |(name, svg): &(String, &str)| {
            Ok(Artifact { path: format!("figures/{name}.{format}"), bytes: convert(name, svg)? })
        };
        artifacts.extend(files.par_iter().map(file).collect::<Result<Vec<_>, ReportError>>()?);
    }
    for dataset in &datasets {
        let name = file_name(&dataset.name);
        if wanted("latex") {
            artifacts.push(Artifact {
                path: format!("tables/{name}.tex"),
                bytes: latex::table(dataset, dictionary, &differences).into_bytes(),
            });
        }
        if wanted("csv") {
            artifacts.push(Artifact { path: format!("tables/{name}.csv"), bytes: table::to_csv(dataset, dictionary)? });
        }
    }
    if wanted("csv") && !(differences.pairs.is_empty() && differences.savings.is_empty()) {
        let (pairs, savings) = differences::to_csv(&differences)?;
        artifacts.push(Artifact { path: "tables/differences.csv".into(), bytes: pairs });
        artifacts.push(Artifact { path: "tables/rate-savings.csv".into(), bytes: savings });
    }
    if wanted("csv") && !pairs.is_empty() {
        artifacts.push(Artifact { path: "tables/in-turn.csv".into(), bytes: in_turn::to_csv(&pairs)? });
    }
    if wanted("latex") && !pairs.is_empty() {
        artifacts.push(Artifact { path: "tables/in-turn.tex".into(), bytes: in_turn::to_latex(&pairs).into_bytes() });
    }
    if wanted("bencher") {
        artifacts.push(tracking::bencher(&datasets, dictionary)?);
    }
    if wanted("benchmark-action") {
        artifacts.extend(tracking::benchmark_action(&datasets, dictionary)?);
    }
    if wanted("markdown") {
        artifacts.extend(pictures::artifacts(&pictures));
        let page = markdown::page(runs, &datasets, &figures, &pictures, (&pairs, &differences), dictionary);
        artifacts.push(Artifact { path: "report.md".into(), bytes: page.into_bytes() });
    }
    if wanted("html") {
        let files: Vec<&str> = ["svg", "png", "pdf"].into_iter().filter(|f| wanted(f)).collect();
        artifacts.push(Artifact {
            path: "index.html".into(),
            bytes: html::page(runs, &datasets, &figures, &pictures, &files, (&pairs, &differences), dictionary)
                .into_bytes(),
        });
    }
    let bytes = provenance::Provenance::new(runs, formats).to_json()?;
    artifacts.push(Artifact { path: provenance::FILE.into(), bytes });
    Ok(artifacts)
}

/// The name of a dataset as part of a file name.
pub(crate) fn file_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' }).collect()
}

/// Names of the experiments, for titles.
pub(crate) fn title(runs: &[Results]) -> String {
    runs.iter().map(|r| r.info.name.as_str()).collect::<Vec<_>>().join(" + ")
}
