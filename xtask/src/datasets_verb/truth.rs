//! `datasets truth`: computes the exact nearest neighbours of queries and writes them to a file.

use crate::errors::Mistakes;
use crate::model_file::{INTERRUPTED, check_target, interrupted, write};
use crate::progress::RowProgress;
use clap::Args;
use cpu::Neighbor;
use datasets::format::{self, Place, ids_to_ibin, ids_to_ivecs};
use datasets::truth::NeighborSearch;
use datasets::{BaseCheck, DatasetError, MetricSpace, Opened, Resolved, Source, catalog};
use experiments::Surroundings;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

/// Base rows that take at most this many bytes are held.
const HELD_BYTES: u64 = 1 << 30;

/// What ends a search before its last row.
enum Ended {
    Interrupted,
    Failed(DatasetError),
}

impl From<DatasetError> for Ended {
    fn from(error: DatasetError) -> Ended {
        Ended::Failed(error)
    }
}

const AFTER_HELP: &str = "\
Row numbers are those of the base rows, counted from 0, nearest first; the lower number wins a tie. An experiment takes \
OUT as `truth`. Base rows may be larger than memory: if they take more than 1 GiB, they are read twice.

Examples: cargo xtask datasets truth base.fvecs --queries query.fvecs -k 100 -o neighbours.ivecs
          cargo xtask datasets truth glove-100-angular.hdf5 -o neighbours.ibin";

#[derive(Args)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// File of base rows, or name of a dataset of the catalog
    #[arg(value_name = "DATASET")]
    dataset: String,
    /// File of queries [default: those of the dataset, or of an HDF5 file of ann-benchmarks]
    #[arg(long, value_name = "FILE")]
    queries: Option<PathBuf>,
    /// How vectors are compared: l2, cosine or ip [default: that of the dataset, otherwise l2]
    #[arg(long, value_parser = metric)]
    metric: Option<MetricSpace>,
    /// Neighbours of each query
    #[arg(short, long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    k: u32,
    /// File to write: .ivecs, or .ibin with distances as big-ann-benchmarks has them
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
}

fn metric(text: &str) -> Result<MetricSpace, String> {
    MetricSpace::of_name(text).ok_or_else(|| "use l2, cosine or ip".to_owned())
}

pub fn run(arguments: &Arguments, here: &Surroundings) -> Result<ExitCode, Mistakes> {
    let out = &arguments.out;
    let extension = out.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
    if !["ivecs", "ibin"].contains(&extension.as_str()) {
        return Err(Mistakes::new(format!("{} names no format of neighbours", out.display()), "write .ivecs or .ibin"));
    }
    check_target(out)?;
    let resolved = resolve(arguments, here)?;
    let data = resolved.open(HELD_BYTES)?;
    let k = arguments.k as usize;
    if k > data.base.nrows() {
        let message = format!("{k} neighbours are requested, and there are {} base rows", data.base.nrows());
        return Err(Mistakes::new(message, "use a smaller `-k`"));
    }
    let begun = Instant::now();
    let found = match neighbours(&data, &resolved, k, here) {
        Ok(found) => found,
        Err(Ended::Failed(error)) => return Err(error.into()),
        Err(Ended::Interrupted) => {
            say_aside!("interrupted: {} was not written", out.display());
            return Ok(ExitCode::from(INTERRUPTED));
        }
    };
    let ids: Vec<Vec<u32>> = found.iter().map(|row| row.iter().map(|n| n.id).collect()).collect();
    let bytes = if extension == "ibin" {
        let scores: Vec<f32> = found.iter().flatten().map(|n| n.score).collect();
        ids_to_ibin(&ids, &scores).map_err(|reason| Mistakes::new(reason, "write .ivecs"))?
    } else {
        ids_to_ivecs(&ids)
    };
    write(out, &bytes)?;
    say!(
        "{}: the {k} nearest of {} base rows for {} queries by {}, in {:.2} s",
        out.display(),
        data.base.nrows(),
        data.queries.nrows(),
        data.metric,
        begun.elapsed().as_secs_f64()
    );
    Ok(ExitCode::SUCCESS)
}

fn resolve(arguments: &Arguments, here: &Surroundings) -> Result<Resolved, Mistakes> {
    let Arguments { dataset, queries, metric, .. } = arguments;
    let path = Path::new(dataset);
    let named = queries.is_none() && !Place::of(path).file.is_file() && catalog::find(dataset).is_ok();
    if named && metric.is_some() {
        return Err(Mistakes::new("the catalog states the metric of its datasets", "leave out `--metric`"));
    }
    let written = if named {
        json!(dataset)
    } else {
        json!({ "path": dataset, "train": "base", "queries": queries, "metric": metric })
    };
    let source =
        Source::parse(&written).map_err(|error| Mistakes::new(error.message, error.help.unwrap_or_default()))?;
    let resolved = source.resolve(Path::new("."), &here.search)?;
    if !named && resolved.summary.base != format::shape(path)?.0 {
        return Err(Mistakes::new(format!("{dataset} holds no queries"), "give a file of them with `--queries`"));
    }
    Ok(resolved)
}

/// The neighbours of each query, in two passes over the base rows.
fn neighbours(data: &Opened, resolved: &Resolved, k: usize, here: &Surroundings) -> Result<Vec<Vec<Neighbor>>, Ended> {
    let (interrupt, n) = (interrupted(), data.base.nrows());
    let mut progress = RowProgress::new(2 * n);
    let mut reach = |done| {
        progress.reach(done);
        if interrupt() { Err(Ended::Interrupted) } else { Ok(()) }
    };
    let mut check = BaseCheck::new(data);
    let mut search = NeighborSearch::new(data.queries.view(), data.metric, k, here.devices.isa);
    data.base.blocks(|first, rows| {
        check.add(first, rows);
        search.select(first, rows);
        reach(first + rows.nrows())
    })?;
    check.finish(data, resolved)?;
    let mut ranking = search.into_ranking();
    data.base.blocks(|first, rows| {
        ranking.score(first, rows);
        reach(n + first + rows.nrows())
    })?;
    Ok(ranking.finish())
}
