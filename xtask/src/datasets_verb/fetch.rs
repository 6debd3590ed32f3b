//! `datasets fetch`: brings public datasets of the catalog to this machine.

use crate::errors::Mistakes;
use crate::fetching;
use clap::Args;
use datasets::catalog::{self, CatalogEntry, parse_rows, write_rows};
use datasets::{DatasetError, SearchPath};
use std::borrow::Cow;

#[derive(Args)]
#[command(
    after_help = "Interrupted or failed, the same command continues where it stopped. Files are put into the cache: \
`vqbench/datasets` below XDG_CACHE_HOME, or below the folder of the system for caches. `datasets.lock` in it records the address, size, \
SHA-256 and time of what was fetched; what is fetched again must be the same. If the current folder has a `datasets.lock` (it may be \
empty), that is used too: commit it, and others get the same vectors.

HTTPS_PROXY, HTTP_PROXY and NO_PROXY name proxies. VQBENCH_MIRROR names mirrors, separated by spaces, which are asked first: they hold \
the file of https://HOST/PATH at MIRROR/HOST/PATH."
)]
pub struct Arguments {
    /// Names of datasets
    #[arg(required = true)]
    names: Vec<String>,
    /// Fetch only the first rows, such as 10M, of a large set in the format of big-ann-benchmarks. `bigann --rows 10M` is the same as
    /// `bigann-10m`, which is its name in experiments
    #[arg(long, value_name = "N", value_parser = parse_rows)]
    rows: Option<usize>,
}

pub fn run(arguments: &Arguments, search: &SearchPath) -> Result<(), Mistakes> {
    let find = |name: &String| -> Result<Cow<'static, CatalogEntry>, Mistakes> {
        let entry = catalog::find(name)?;
        match arguments.rows {
            None => Ok(entry),
            Some(rows) => cut(&entry, rows).map(Cow::Owned),
        }
    };
    // All names are checked before the first is fetched.
    let entries = arguments.names.iter().map(find).collect::<Result<Vec<_>, _>>()?;
    for entry in entries {
        if entry.embedded {
            say!("{} is a part of vqbench", entry.name);
            continue;
        }
        if entry.is_here(search) {
            fetching::check(&entry, search)?;
            let file = entry.files().next();
            let place = file.and_then(|file| entry.locate(file, search).ok()).map(|found| found.path);
            say!("{} is here: {}", entry.name, place.map_or_else(String::new, |path| path.display().to_string()));
            continue;
        }
        fetching::dataset(&entry)?;
        if let Some(Err(DatasetError::Absent { file, .. })) =
            entry.files().map(|file| entry.locate(file, search)).find(Result::is_err)
        {
            let message = format!("{} was fetched, but `{file}` is not among its files", entry.name);
            return Err(Mistakes::new(message, "this is a bug in vqbench: please report it"));
        }
        say!("{} is here: use it as `datasets: [{}]`", entry.name, entry.name);
    }
    Ok(())
}

/// The first rows of a dataset.
fn cut(entry: &CatalogEntry, rows: usize) -> Result<CatalogEntry, Mistakes> {
    entry.slice(rows).ok_or_else(|| {
        let name = &entry.name;
        match entry.n.filter(|_| entry.can_be_cut()) {
            Some(n) => Mistakes::new(
                format!("`{name}` has {} rows; {} are requested", write_rows(n), write_rows(rows)),
                "give fewer rows, or leave out `--rows` for all of them",
            ),
            None => Mistakes::new(
                format!("`{name}` can only be fetched as a whole"),
                "leave out `--rows`; `split:` in an experiment uses fewer rows",
            ),
        }
    })
}
