//! `encode`: encodes a file of vectors with a saved quantizer, block by block.

use crate::errors::Mistakes;
use crate::model_file::{Budget, INTERRUPTED, Resources, check_target, read_model, summary};
use clap::Args;
use datasets::format::{self, OutputType};
use experiments::Surroundings;
use std::path::PathBuf;
use std::process::ExitCode;

const AFTER_HELP: &str = "\
Each row of OUT is the code of one vector, padded to whole bytes. VECTORS are read in blocks, so they may be larger than the \
memory. OUT appears when it is complete; until then its name ends in .partial.

Example: cargo xtask encode pq.vqb vectors.npy codes.npy --memory 512MiB";

#[derive(Args)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// File of a saved quantizer
    model: PathBuf,
    /// File of vectors: .npy, .npz#array, .safetensors#tensor, .fvecs, .bvecs, .fbin, .u8bin, .f16bin, .idx, .hdf5#dataset, .parquet#column,
    /// .arrow#column, .csv, .tsv, .ndjson#key, .txt; all but .npz and .hdf5 also as .gz or .zst; part-*.npy for several
    vectors: PathBuf,
    /// File to write the codes to: .npy (uint8), .safetensors, .u8bin or .bvecs
    out: PathBuf,
    #[command(flatten)]
    budget: Budget,
    #[command(flatten)]
    resources: Resources,
}

pub fn run(arguments: Arguments, here: &Surroundings) -> Result<ExitCode, Mistakes> {
    let Arguments { model, vectors, out, budget, resources } = arguments;
    // A name that cannot be written to is told before the work.
    format::layout(&out, OutputType::U8, (0, 0))?;
    check_target(&out)?;
    let cx = resources.context(0, &here.devices)?;
    let quantizer = read_model(&model, &cx)?.quantizer;
    let size = quantizer.code_size();
    let done = budget.code(&vectors, &out, &resources, |coding| coding.encode(&*quantizer))?;
    let Some(coded) = done else { return Ok(ExitCode::from(INTERRUPTED)) };
    say!("{}: {} codes of {size} bytes, {}", out.display(), coded.rows, summary(&coded));
    Ok(ExitCode::SUCCESS)
}
