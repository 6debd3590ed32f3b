//! `datasets show`: what the vectors of a dataset or of a file are like, before any experiment uses them.

use super::about::about;
use crate::errors::Mistakes;
use crate::progress::RowProgress;
use clap::Args;
use cpu::Isa;
use datasets::format::{self, Blocks};
use datasets::profile::Profiler;
use datasets::{BaseCheck, DatasetError, Part, Resolved, catalog};
use experiments::{Surroundings, vectors};
use ndarray::ArrayView2;
use record::{DatasetFacts, write_atomically};
use reports::vectors::{PICTURES, spectrum, text};
use std::path::{Path, PathBuf};

#[derive(Args)]
pub struct Show {
    /// Name of a dataset, or a file of vectors such as words.npy or set.hdf5#test
    name: PathBuf,
    /// File of queries, to compare with the vectors of a file
    #[arg(long, value_name = "FILE")]
    queries: Option<PathBuf>,
    /// Write the spectrum as a picture to FILE, which ends in .svg, .png or .pdf
    #[arg(long, value_name = "FILE")]
    figure: Option<PathBuf>,
}

/// What helps if a picture was asked for and cannot be drawn.
const NO_FIGURE: &str = "the lines above say why; `cargo xtask datasets fetch` fetches public datasets";

/// Bytes of the rows that are read at a time.
const BLOCK_BYTES: usize = 16 << 20;

pub fn run(show: &Show, here: &Surroundings) -> Result<(), Mistakes> {
    let picture = show.figure.as_deref().map(|path| picture_format(path).map(|format| (path, format))).transpose()?;
    let isa = here.devices.isa;
    let name = show.name.to_string_lossy();
    let facts = if is_file(&show.name) {
        Some(of_file(&show.name, show.queries.as_deref(), isa)?)
    } else {
        if show.queries.is_some() {
            return Err(Mistakes::new("`--queries` is for a file of vectors", "a dataset has queries of its own"));
        }
        match about(&name, &here.search)? {
            Some(resolved) => of_dataset(&name, &resolved, isa)?,
            None => None,
        }
    };
    let Some(facts) = facts else {
        let absent =
            || Mistakes::new(format!("`{name}` cannot be used here, so there is no spectrum to draw"), NO_FIGURE);
        return picture.map_or(Ok(()), |_| Err(absent()));
    };
    say!("");
    text(&facts).lines().for_each(|line| say_foreign!("{line}"));
    for remark in facts.remarks() {
        say!("");
        say_foreign!("note: {remark}");
    }
    let Some((path, format)) = picture else { return Ok(()) };
    let drawn = spectrum(&facts, format).map_err(|error| Mistakes::new(error.to_string(), ""))?;
    let Some(drawn) = drawn else {
        return Err(Mistakes::new(
            "there is no spectrum to draw",
            "it needs at least 2 and at most 2048 components that vary",
        ));
    };
    write_atomically(path, &drawn)?;
    say!("");
    say_foreign!("spectrum: {}", path.display());
    Ok(())
}

/// Whether a name is that of a file and not of a dataset.
fn is_file(path: &Path) -> bool {
    let name = path.to_string_lossy();
    catalog::find(&name).is_err() && (name.contains(['.', '/', '\\', '#', '*']) || path.exists())
}

/// The format of a picture by the name of its file.
fn picture_format(path: &Path) -> Result<&'static str, Mistakes> {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
    let format = PICTURES.into_iter().find(|format| extension.as_deref() == Some(format));
    let unknown = || format!("{} is no name of a picture", path.display());
    format.ok_or_else(|| Mistakes::new(unknown(), "let it end in .svg, .png or .pdf"))
}

/// The facts of the base rows and queries of a dataset of the catalog; None if there are no rows.
fn of_dataset(name: &str, resolved: &Resolved, isa: Isa) -> Result<Option<DatasetFacts>, Mistakes> {
    // Nothing is held: the rows are read once.
    let data = resolved.open(0)?;
    let (mut check, mut progress) = (BaseCheck::new(&data), RowProgress::new(data.base.nrows()));
    let mut profiler = Profiler::new(data.dim(), Some(data.queries.view()));
    data.base.blocks(|first, rows| {
        check.add(first, rows);
        profiler.add(rows);
        progress.reach(first + rows.nrows());
        Ok::<_, DatasetError>(())
    })?;
    drop(progress);
    check.finish(&data, resolved)?;
    let place = |row| resolved.place(Part::Base, row);
    let profile = profiler.finish(isa);
    Ok(profile.map(|profile| vectors::describe(name, &profile, data.queries.nrows(), isa, place)))
}

/// The facts of all rows of a file, read in blocks.
fn of_file(path: &Path, queries: Option<&Path>, isa: Isa) -> Result<DatasetFacts, Mistakes> {
    let mut blocks = Blocks::open(path)?;
    let (n, dim) = blocks.shape();
    let queries = queries.map(format::read).transpose()?;
    if let Some(found) = queries.as_ref().map(|queries| queries.ncols()).filter(|found| *found != dim) {
        let reason = format!("the queries have {found} components, the vectors {dim}");
        return Err(Mistakes::new(reason, "give queries of the same vectors"));
    }
    say_foreign!("{}: {n} vectors of {dim} components", path.display());
    let mut profiler = Profiler::new(dim, queries.as_ref().map(|queries| queries.view()));
    let (rows, mut block, mut done) = ((BLOCK_BYTES / 4 / dim).max(1), Vec::new(), 0);
    let mut progress = RowProgress::new(n);
    loop {
        let count = blocks.next(rows, &mut block)?;
        let Ok(view) = ArrayView2::from_shape((count, dim), &block) else { break };
        if count == 0 {
            break;
        }
        profiler.add(view);
        done += count;
        progress.reach(done);
    }
    drop(progress);
    let Some(profile) = profiler.finish(isa) else {
        return Err(Mistakes::new("there are no rows to describe", "give a file with at least one row"));
    };
    let name = format!("{}", path.display());
    let place = |row: usize| format!("row {row} of {name}");
    Ok(vectors::describe(&name, &profile, queries.map_or(0, |queries| queries.nrows()), isa, place))
}
