//! Fetches public datasets, and shows how far it is.

use crate::environment;
use crate::errors::Mistakes;
use crate::experiments_verb::{INTERRUPT, heed_interrupts};
use crate::progress::roughly;
use datasets::SearchPath;
use datasets::catalog::{self, CatalogEntry, write_bytes};
use experiments::Document;
use fetch::{Fetched, Fetcher, Order, Watch};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Fetches what an experiment names and this machine lacks, and checks what is here. Names that cannot be fetched are left to the checks
/// of the experiment.
///
/// # Errors
/// A dataset that cannot be fetched, or that is not the one that was recorded.
pub fn of_experiment(document: &Document, search: &SearchPath) -> Result<(), Mistakes> {
    // One dataset needs no list.
    let written = document.value().get("datasets");
    let datasets = written.map_or(&[][..], |one| one.as_array().map_or(std::slice::from_ref(one), Vec::as_slice));
    for name in datasets.iter().filter_map(|dataset| dataset.as_str()) {
        if let Ok(entry) = catalog::find(name)
            && !entry.downloads.is_empty()
        {
            if entry.is_here(search) { check(&entry, search)? } else { dataset(&entry)? }
        }
    }
    Ok(())
}

/// Checks that the files of a dataset, which are here, are those that `datasets.lock` records.
///
/// # Errors
/// A file that is not the recorded one.
pub fn check(entry: &CatalogEntry, search: &SearchPath) -> Result<(), Mistakes> {
    heed_interrupts();
    let fetcher = Fetcher::new(environment::fetching()?);
    let mut progress = ByteProgress::new();
    for order in Order::of(entry)? {
        if let Some(folder) = search.folders.iter().find(|folder| order.is_in(folder)) {
            let checked = fetcher.check(&order, folder, &INTERRUPT, &mut progress);
            progress.end();
            checked?;
        }
    }
    Ok(())
}

/// Fetches all files of a dataset.
///
/// # Errors
/// A dataset that is published nowhere, or a file that cannot be fetched.
pub fn dataset(entry: &CatalogEntry) -> Result<(), Mistakes> {
    if entry.downloads.is_empty() {
        let why = entry.local.as_deref().unwrap_or("it is a part of vqbench");
        let help = format!("if you have its files, name their folder in VQBENCH_DATA; source: {}", entry.source);
        return Err(Mistakes::new(format!("`{}` cannot be fetched: {why}", entry.name), help));
    }
    heed_interrupts();
    let fetcher = Fetcher::new(environment::fetching()?);
    let size = entry.download_size().unwrap_or_else(|| "an unknown number of bytes".to_owned());
    say_aside!("{}: {size} to {}", entry.name, fetcher.settings().folder.display());
    let mut progress = ByteProgress::new();
    for order in Order::of(entry)? {
        let fetched = fetcher.fetch(&order, &INTERRUPT, &mut progress);
        progress.end();
        match fetched? {
            Fetched::Here => say!("{}: here", order.to),
            Fetched::New { address, bytes, sha256, verified } => {
                let checked = if verified { "as known before" } else { "recorded in datasets.lock" };
                say!("{}: {}, SHA-256 {sha256} ({checked}), from {address}", order.to, write_bytes(bytes));
            }
        }
    }
    Ok(())
}

/// Time between lines without a terminal, and between changes of a bar.
const BETWEEN_LINES: Duration = Duration::from_secs(10);
const BETWEEN_CHANGES: Duration = Duration::from_millis(100);

/// Shows bytes, rate and remaining time: a bar on a terminal, otherwise a line at intervals.
struct ByteProgress {
    bar: Option<ProgressBar>,
    file: String,
    of: Option<u64>,
    /// Bytes that were here at the start, which say nothing about the rate.
    before: u64,
    begun: Instant,
    told: Instant,
}

impl ByteProgress {
    fn new() -> ByteProgress {
        let now = Instant::now();
        ByteProgress { bar: None, file: String::new(), of: None, before: 0, begun: now, told: now }
    }

    fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    /// `3.2 MB of 5.3 MB (60%), 1.1 MB/s, about 2 s left`
    fn state(&self, done: u64) -> String {
        let rate = done.saturating_sub(self.before) as f64 / self.begun.elapsed().as_secs_f64().max(1e-3);
        let share =
            self.of.map(|of| format!(" of {} ({:.0}%)", write_bytes(of), 100.0 * done as f64 / of.max(1) as f64));
        let left = self.of.filter(|_| rate > 0.0).map(|of| of.saturating_sub(done) as f64 / rate);
        let left = left.map_or_else(String::new, |seconds| format!(", {} left", roughly(seconds)));
        format!("{}{}, {}/s{left}", write_bytes(done), share.unwrap_or_default(), write_bytes(rate as u64))
    }
}

impl Watch for ByteProgress {
    fn begin(&mut self, file: &str, done: u64, of: Option<u64>) {
        self.end();
        let now = Instant::now();
        (self.file, self.of, self.before, self.begun, self.told) = (file.to_owned(), of, done, now, now);
        if std::io::stderr().is_terminal() {
            let template = if of.is_some() { "{bar:30} {wide_msg}" } else { "{spinner} {wide_msg}" };
            let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
            let bar = of.map_or_else(ProgressBar::no_length, ProgressBar::new).with_style(style).with_position(done);
            bar.set_message(file.to_owned());
            self.bar = Some(bar);
        }
    }

    fn reach(&mut self, done: u64) {
        let between = if self.bar.is_some() { BETWEEN_CHANGES } else { BETWEEN_LINES };
        if self.told.elapsed() < between {
            return;
        }
        self.told = Instant::now();
        let state = self.state(done);
        match &self.bar {
            Some(bar) => {
                bar.set_position(done);
                bar.set_message(format!("{state}  {}", self.file));
            }
            None => say_aside!("{}: {state}", self.file),
        }
    }

    fn note(&mut self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| say_foreign_aside!("{text}")),
            None => say_foreign_aside!("{text}"),
        }
    }
}
