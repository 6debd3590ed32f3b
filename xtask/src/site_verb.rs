//! `site`: makes a static site of submissions.

use crate::errors::Mistakes;
use clap::Args;
use record::{Generated, Unlisted, write_generated};
use site::{Submission, render};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Args)]
#[command(
    after_help = "The site has a page per dataset, method, class of machines and submission, a history over source revisions, and a page on \
bias. It needs no network and no server. A submission counts as reproduced if its verification.json passed, is about its very files, and was \
made by somebody else. A folder that is no submission, or does not hold together, is left out; the first page and this command say why.

Examples:
  cargo xtask site submissions public
  cargo xtask site submissions public --strict     # fails if one is left out, as for a pull request

Exit codes: 0 the site was written, 1 with --strict: a submission was left out, 2 the request is wrong."
)]
pub struct Arguments {
    /// Folder of submissions
    submissions: PathBuf,
    /// Folder of the site; files of others in it are kept
    out: PathBuf,
    /// End with exit code 1 if a submission is left out
    #[arg(long)]
    strict: bool,
}

pub fn run(arguments: Arguments) -> Result<ExitCode, Mistakes> {
    let root = &arguments.submissions;
    let unreadable = |error: std::io::Error| {
        Mistakes::new(format!("cannot read {}: {error}", root.display()), "name a folder of submissions")
    };
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(root).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // Files beside the submissions, such as a README, are none.
        if entry.file_type().map_err(unreadable)?.is_file() || name.starts_with('.') {
            continue;
        }
        folders.push((name, entry.path()));
    }
    folders.sort();
    let (mut submissions, mut left_out) = (Vec::new(), Vec::new());
    for (name, path) in folders {
        match Submission::open(&path) {
            Ok(submission) => submissions.push(submission),
            Err(error) => left_out.push((name, error.to_string().replace(&format!("{}/", root.display()), ""))),
        }
    }
    let site = render(submissions, left_out)?;
    let files: Vec<Generated<'_>> =
        site.files.iter().map(|file| Generated { path: &file.path, bytes: &file.bytes }).collect();
    write_generated(&arguments.out, &files, Unlisted::Keep)?;
    site.left_out.iter().for_each(|(name, reason)| say_foreign_aside!("left out: {name}: {reason}"));
    say!("site: {} ({} files)", arguments.out.join("index.html").display(), files.len());
    Ok(if arguments.strict && !site.left_out.is_empty() { ExitCode::from(1) } else { ExitCode::SUCCESS })
}
