//! `datasets`: lists the catalog, says which of its files are on this machine, shows what vectors are like, and works on
//! files of vectors.

mod convert;
mod show;
mod truth;

use crate::errors::Mistakes;
use clap::{Args, Subcommand};
use datasets::{SearchPath, Source, catalog};
use experiments::Surroundings;
use methods::registry::params_of;
use std::path::Path;
use std::process::ExitCode;

#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Subcommand)]
enum Action {
    /// List the datasets of the catalog, and say which are on this machine (the default)
    List,
    /// Show what the vectors of a dataset or a file are like; of a dataset, its files, digests, source, licence and split too
    Show(show::Show),
    /// Write the vectors of a file in another format
    Convert(convert::Arguments),
    /// Compute the exact nearest neighbours of queries, and write them to a file
    Truth(truth::Arguments),
}

pub fn run(arguments: Arguments, here: &Surroundings) -> Result<ExitCode, Mistakes> {
    match arguments.action.unwrap_or(Action::List) {
        Action::List => list(&here.search),
        Action::Show(show) => show::run(&show, here, |name| about(name, &here.search))?,
        Action::Convert(arguments) => return convert::run(arguments),
        Action::Truth(arguments) => return truth::run(&arguments, here),
    }
    Ok(ExitCode::SUCCESS)
}

fn list(search: &SearchPath) {
    let width = catalog::entries().iter().map(|e| e.name.len()).max().unwrap_or(0);
    for entry in catalog::entries() {
        let here = entry.files().all(|file| entry.locate(file, search).is_ok());
        let state = match (entry.embedded, here) {
            (true, true) => "embedded",
            (_, true) => "here",
            (_, false) => "not here",
        };
        say!(
            "{:<width$}  {:<8}  d={:<4} {:<6}  {}",
            entry.name,
            state,
            entry.dim,
            entry.metric.to_string(),
            entry.summary
        );
    }
    say!(
        "\nrandom sources: gaussian, laplacian, ar1, sphere, mixture, such as {{ synthetic: gaussian, dim: 16, n: 100000 }}"
    );
    say!(
        "own files: {{ path: vectors.npy }}, or .npz#array, .safetensors#tensor, .fvecs, .bvecs, .fbin, .u8bin, .i8bin, .f16bin, .idx, .hdf5#dataset, \
         .parquet#column, .arrow#column, .csv, .tsv, .ndjson#key, .txt; all but .npz and .hdf5 also as .gz or .zst; part-*.parquet"
    );
    say!(
        "your images: {{ images: folder/, patch: 8 }}, .webp and .png, split by whole images; a single one: {{ path: photo.png#8 }}"
    );
}

/// A text without its quotes.
fn plain(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// What the catalog says of a dataset.
fn about(name: &str, search: &SearchPath) -> Result<(), Mistakes> {
    let entry =
        catalog::find(name).map_err(|error| Mistakes::new(error.to_string(), error.help().unwrap_or_default()))?;
    say!("{}\n{}\n", entry.name, entry.summary);
    say!("metric   {}\ndim      {}\nlicence  {}\nsource   {}\n", entry.metric, entry.dim, entry.licence, entry.source);
    for file in entry.files() {
        let place = entry
            .locate(file, search)
            .map_or_else(|_| "not found".to_owned(), |found| found.path.display().to_string());
        say!("{}\n  sha256 {}\n  {place}", file.path, file.sha256.as_deref().unwrap_or("not known"));
    }
    match Source::Named(name.to_owned()).resolve(Path::new("."), search) {
        Ok(resolved) => {
            let s = resolved.summary;
            let written = match &entry.images {
                Some(set) => params_of(&set.split),
                None => params_of(&entry.split),
            };
            if entry.images.is_some() || entry.split != datasets::Split::default() {
                let keys =
                    written.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null() && **value != 0);
                let words: Vec<String> = keys.map(|(key, value)| format!("{key} {}", plain(value))).collect();
                let unit = if entry.images.is_some() { " (images)" } else { "" };
                say!("\nsplit    {}{unit}", words.join(", "));
            }
            say!("\n{} training, {} base and {} query rows; digests match", s.train, s.base, s.queries);
        }
        Err(error) => say!("\nnot usable: {error}\n{}", error.help().unwrap_or_default()),
    }
    Ok(())
}
