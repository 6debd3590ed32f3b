//! `datasets prune`: what was fetched, and how to be rid of it.

use crate::environment;
use crate::errors::Mistakes;
use clap::Args;
use datasets::catalog::{self, CatalogEntry, Download, parse_rows, write_bytes, write_rows};
use fetch::cache::{self, Held};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, IsTerminal};
use std::path::{Path, PathBuf};

#[derive(Args)]
#[command(
    after_help = "Without names and flags, this shows what was fetched. `datasets.lock` is never removed: what is fetched again must be \
the same. Delete the lines of a file in it to accept another content."
)]
pub struct Arguments {
    /// Datasets to remove
    #[arg(conflicts_with_all = ["all", "leftovers", "others"])]
    names: Vec<String>,
    /// Remove all datasets that were fetched, and what is left of fetches that did not end
    #[arg(long)]
    all: bool,
    /// Remove the files of the folder that belong to no dataset of the catalog
    #[arg(long)]
    others: bool,
    /// Remove what is left of fetches that did not end; they will start from the beginning
    #[arg(long)]
    leftovers: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Group of files that did not arrive.
const LEFTOVERS: &str = "left of fetches that did not end";

/// Group of files that no dataset of the catalog has.
const OTHERS: &str = "of no dataset of the catalog";

pub fn run(arguments: &Arguments) -> Result<(), Mistakes> {
    let folder = environment::fetching()?.folder;
    let wrong = |(path, error): (PathBuf, std::io::Error)| {
        Mistakes::new(format!("{}: {error}", path.display()), "check that you may read and write it")
    };
    let held = cache::held(&folder).map_err(wrong)?;
    let groups = grouped(&held);
    if arguments.names.is_empty() && !arguments.all && !arguments.leftovers && !arguments.others {
        return show(&folder, &groups);
    }
    for name in &arguments.names {
        if !groups.keys().any(|group| group.split(", ").any(|owner| owner == name)) {
            catalog::find(name)?;
            return Err(Mistakes::new(
                format!("`{name}` was not fetched"),
                "`cargo xtask datasets prune` shows what was",
            ));
        }
    }
    let (in_use, chosen): (Vec<Held>, Vec<Held>) = groups
        .into_iter()
        .filter(|(group, _)| is_chosen(group, arguments))
        .flat_map(|(_, files)| files)
        .partition(|file| file.in_use);
    for file in &in_use {
        say!("{}  is being fetched, and stays", file.path);
    }
    let size = write_bytes(chosen.iter().map(|file| file.bytes).sum());
    if chosen.is_empty() {
        say!("there is nothing to remove");
        return Ok(());
    }
    for file in &chosen {
        say!("{}  {}", file.path, write_bytes(file.bytes));
    }
    if !arguments.yes && !agreed(&format!("remove these {} files ({size})? [y/N] ", chosen.len()))? {
        say!("nothing was removed");
        return Ok(());
    }
    cache::remove(&folder, &chosen).map_err(wrong)?;
    say!("removed {} files, {size}", chosen.len());
    Ok(())
}

fn show(folder: &Path, groups: &BTreeMap<String, Vec<Held>>) -> Result<(), Mistakes> {
    let bytes = |files: &[Held]| files.iter().map(|file| file.bytes).sum::<u64>();
    let width = groups.keys().map(String::len).max().unwrap_or(0);
    for (group, files) in groups {
        say!("{group:<width$}  {:>9}", write_bytes(bytes(files)));
    }
    let all: u64 = groups.values().map(|files| bytes(files)).sum();
    say!(
        "{} in {}; `prune NAME`, `prune --leftovers`, `prune --others` and `prune --all` remove",
        write_bytes(all),
        folder.display()
    );
    Ok(())
}

/// Asks on a terminal.
fn agreed(question: &str) -> Result<bool, Mistakes> {
    if !std::io::stdin().is_terminal() {
        return Err(Mistakes::new("nobody is here to ask whether to remove them", "add `--yes`"));
    }
    say_aside!("{question}");
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    Ok(read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// The files by the datasets that they belong to, which share some.
fn grouped(held: &[Held]) -> BTreeMap<String, Vec<Held>> {
    let mut groups: BTreeMap<String, Vec<Held>> = BTreeMap::new();
    let all = candidates(held);
    for file in held {
        let owners: Vec<String> = owners(&file.path, &all).into_iter().collect();
        let group = match (file.leftover, owners.is_empty()) {
            (true, _) => LEFTOVERS.to_owned(),
            (false, true) => OTHERS.to_owned(),
            (false, false) => owners.join(", "),
        };
        groups.entry(group).or_default().push(file.clone());
    }
    groups
}

/// The names of the datasets that a file belongs to: only those of which all is here, if there are such.
fn owners(path: &str, all: &[Candidate]) -> BTreeSet<String> {
    let of: Vec<&Candidate> = all.iter().filter(|one| one.paths.iter().any(|known| covers(known, path))).collect();
    let wholes: BTreeSet<String> = of.iter().filter(|one| one.whole).map(|one| one.name.clone()).collect();
    if wholes.is_empty() { of.iter().map(|one| one.name.clone()).collect() } else { wholes }
}

/// A dataset that files may belong to.
struct Candidate {
    name: String,
    /// What its downloads give.
    paths: Vec<String>,
    /// Whether all of it is here.
    whole: bool,
}

/// Whether a path of a download is that of a file, or of a folder that holds it.
fn covers(known: &str, path: &str) -> bool {
    known == path || (known.ends_with('/') && path.starts_with(known))
}

/// All datasets, and the first rows of large ones that are here.
fn candidates(held: &[Held]) -> Vec<Candidate> {
    let mut all = catalog::entries().to_vec();
    for entry in catalog::entries().iter().filter(|entry| entry.can_be_cut()) {
        let Some(n) = entry.n else { continue };
        for download in entry.downloads.iter().filter(|download| download.cut) {
            let Some((start, end)) = download.to.split_once(&write_rows(n)) else { continue };
            let rows = held.iter().filter_map(|file| file.path.strip_prefix(start)?.strip_suffix(end));
            all.extend(rows.filter_map(|rows| entry.slice(parse_rows(rows).ok()?)));
        }
    }
    let candidate = |entry: CatalogEntry| {
        let paths: Vec<String> = entry.downloads.iter().flat_map(Download::paths).collect();
        let is_here = |path: &String| held.iter().any(|file| !file.leftover && covers(path, &file.path));
        Candidate { whole: paths.iter().all(is_here), name: entry.name, paths }
    };
    all.into_iter().map(candidate).collect()
}

/// Whether a group is to be removed: all datasets, or those that are all named; other files only if they are asked for.
fn is_chosen(group: &str, arguments: &Arguments) -> bool {
    if group == OTHERS {
        return arguments.others;
    }
    if group == LEFTOVERS {
        return arguments.all || arguments.leftovers;
    }
    if arguments.all {
        return true;
    }
    !arguments.names.is_empty() && group.split(", ").all(|owner| arguments.names.iter().any(|name| name == owner))
}
