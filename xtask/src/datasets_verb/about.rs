//! What the catalog says of a dataset: files, digests, addresses, source, licence and split.

use crate::errors::Mistakes;
use datasets::catalog::{CatalogEntry, FileEntry};
use datasets::{Resolved, SearchPath, Source, catalog};
use methods::registry::params_of;
use std::path::Path;

/// A text without its quotes.
fn plain(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Where it can be fetched.
fn addresses(entry: &CatalogEntry) {
    if let Some(why) = &entry.local {
        say!("fetch    not possible: {why}\n");
    }
    if entry.downloads.is_empty() {
        return;
    }
    say!("fetch    {}", entry.download_size().unwrap_or_else(|| "of unknown size".to_owned()));
    for download in &entry.downloads {
        for address in &download.from {
            let only = match (download.range, download.cut, entry.n) {
                (Some((start, end)), ..) => format!(" (bytes {start} to {end})"),
                (None, true, Some(n)) => format!(" (the first {n} rows)"),
                _ => String::new(),
            };
            say!("  {address}{only}");
        }
    }
    say!("");
}

/// A file, its digest and where it is.
fn file(entry: &CatalogEntry, file: &FileEntry, search: &SearchPath) {
    let place =
        entry.locate(file, search).map_or_else(|_| "not found".to_owned(), |found| found.path.display().to_string());
    let others: Vec<&str> = file.or.iter().map(|other| other.path.as_str()).collect();
    let or = if others.is_empty() { String::new() } else { format!(" (or {})", others.join(", ")) };
    let fetched =
        entry.downloads.iter().find(|one| one.unpack.is_none() && file.path.split('#').next() == Some(&one.to));
    let sha256 = file.sha256.as_deref().or_else(|| fetched?.sha256.as_deref());
    say!("{}{or}\n  sha256 {}\n  {place}", file.path, sha256.unwrap_or("recorded when it is fetched"));
}

/// Prints it. Returns the dataset; None if it cannot be used here, which is printed too.
///
/// # Errors
/// A name that is not in the catalog.
pub fn about(name: &str, search: &SearchPath) -> Result<Option<Resolved>, Mistakes> {
    let entry = catalog::find(name)?;
    say!("{}\n{}\n", entry.name, entry.summary);
    say!("metric   {}\ndim      {}\nlicence  {}\nsource   {}\n", entry.metric, entry.dim, entry.licence, entry.source);
    addresses(&entry);
    entry.files().for_each(|part| file(&entry, part, search));
    match Source::Named(name.to_owned()).resolve(Path::new("."), search) {
        Ok(resolved) => {
            let s = &resolved.summary;
            let (written, unit) = match (&entry.images, &entry.sound) {
                (Some(set), _) => (params_of(&set.split), " (images)"),
                (None, Some(set)) => (params_of(&set.split), " (recordings)"),
                (None, None) => (params_of(&entry.split), ""),
            };
            if !unit.is_empty() || entry.split != datasets::Split::default() {
                let keys =
                    written.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null() && **value != 0);
                let words: Vec<String> = keys.map(|(key, value)| format!("{key} {}", plain(value))).collect();
                say!("\nsplit    {}{unit}", words.join(", "));
            }
            let known =
                entry.files().any(|file| file.sha256.is_some() || file.or.iter().any(|other| other.sha256.is_some()));
            let digests = if known { "; digests match" } else { "" };
            say!("\n{} training, {} base and {} query rows{digests}", s.train, s.base, s.queries);
            Ok(Some(resolved))
        }
        Err(error) => {
            say!("\nnot usable: {error}\n{}", error.help().unwrap_or_default());
            Ok(None)
        }
    }
}
