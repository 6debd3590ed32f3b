//! The static site: pages of files that refer to each other, without a network and without scripts.

mod bias;
mod data;
mod dataset;
mod frame;
mod index;
mod machine;
mod method;
mod rows;
mod submission;

use crate::folder::Submission;
use data::Board;
use reports::{Artifact, FONT, ReportError, STYLE};

/// A site, ready to be written.
#[derive(Clone, Debug)]
pub struct Site {
    /// Its files, by paths relative to its folder.
    pub files: Vec<Artifact>,
    /// Submissions that are not part of it: each folder with the reason.
    pub left_out: Vec<(String, String)>,
}

/// What the site needs beyond the looks of a report.
const MORE_STYLE: &str = include_str!("site.css");

/// Renders the site of these submissions. `left_out` are folders that are none, each with the reason; what turns out to be
/// unusable here joins them.
///
/// # Errors
/// A figure that cannot be drawn.
pub fn render(submissions: Vec<Submission>, left_out: Vec<(String, String)>) -> Result<Site, ReportError> {
    let (board, left_out) = Board::new(submissions, left_out)?;
    let mut files = vec![
        page("index.html", index::page(&board, &left_out)),
        page("bias.html", bias::page(&board)),
        style(),
        Artifact { path: "inter.otf".to_owned(), bytes: FONT.to_vec() },
    ];
    files.extend(board.submissions.iter().map(|s| page(&submission::path(s), submission::page(&board, s))));
    for dataset in &board.datasets {
        files.push(page(&dataset.path, dataset::page(&board, dataset)?));
    }
    files.extend(board.methods.iter().map(|(name, path)| page(path, method::page(&board, name))));
    files.extend(board.classes.iter().map(|(name, path)| page(path, machine::page(&board, name))));
    Ok(Site { files, left_out })
}

fn page(path: &str, text: String) -> Artifact {
    Artifact { path: path.to_owned(), bytes: text.into_bytes() }
}

/// The looks of all pages.
fn style() -> Artifact {
    let font = "@font-face{font-family:Inter;src:url(inter.otf) format('opentype')}\n";
    Artifact { path: "style.css".to_owned(), bytes: format!("{font}{STYLE}{MORE_STYLE}").into_bytes() }
}
