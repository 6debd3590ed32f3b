//! The text that opens a submission for people who look into its folder.

use crate::manifest::Manifest;
use crate::publish::classes;
use record::Run;
use std::collections::BTreeSet;

/// File name of the text.
pub const README: &str = "README.md";

/// The text.
pub fn of(manifest: &Manifest, run: &Run) -> String {
    let datasets: Vec<&str> = run.info.datasets.iter().map(|facts| facts.name.as_str()).collect();
    let machine = |of: fn(&record::Machine) -> String| -> String {
        let found: BTreeSet<String> = run.records.iter().map(|record| of(&record.machine)).collect();
        found.into_iter().collect::<Vec<_>>().join(", ")
    };
    let revisions = machine(|m| {
        let changed = if m.git_dirty == Some(true) { " with uncommitted changes" } else { "" };
        m.git_revision.as_ref().map_or("unknown".to_owned(), |revision| format!("{revision}{changed}"))
    });
    // Markdown passes markup on.
    let plain = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('|', "&#124;");
    let contact = manifest.contact.as_ref().map(|contact| format!(" ({})", plain(contact))).unwrap_or_default();
    format!(
        "# {id}

Submitted by {name}{contact} on {date}. Self-reported: nobody but the submitter vouches for these numbers until a
`verification.json` of somebody else stands beside this file.

| | |
|--|--|
| experiment | {experiment} |
| datasets | {datasets} |
| trials | {trials} |
| vqbench | version {version}, revision {revisions} |
| compiler | {compilers} |
| machine | {classes} |
| system | {systems} |

`experiment.yaml` is the experiment with every default filled in, `trials/` has one record per trial (with the SHA-256 of
its codes and everything that it takes to run it again), `results.parquet` has one row per measured value.
`submission.json` has the SHA-256 of every file.

    cargo xtask verify {id} --sample 20    # runs a random sample of the trials again
    cargo xtask report {id} --out report   # renders the report

The files of this folder are available under {licence}. The vectors are not part of it.
",
        id = manifest.id,
        name = plain(&manifest.name),
        date = manifest.date,
        experiment = plain(&manifest.experiment),
        datasets = plain(&datasets.join(", ")),
        trials = manifest.trials,
        version = manifest.version,
        compilers = plain(&machine(|m| m.rustc.clone())),
        systems = plain(&machine(|m| m.os.clone())),
        classes = plain(&classes(run).join("; ")),
        licence = plain(&manifest.licence),
    )
}
