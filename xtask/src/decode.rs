//! `decode`: decodes a file of codes with a saved quantizer, block by block.

use crate::errors::Mistakes;
use crate::model_file::{Budget, INTERRUPTED, Resources, check_target, read_model, summary};
use clap::Args;
use datasets::format::{self, OutputType};
use experiments::Surroundings;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Args)]
#[command(
    after_help = "CODES are read in blocks, so they may be larger than the memory. OUT appears when it is complete.

Example: cargo xtask decode pq.vqb codes.npy decoded.npy"
)]
pub struct Arguments {
    /// File of the quantizer that wrote the codes
    model: PathBuf,
    /// File of codes, as `encode` writes them: .npy (uint8), .safetensors, .u8bin or .bvecs
    codes: PathBuf,
    /// File to write the vectors to: .npy (float32), .safetensors, .parquet, .fvecs or .fbin
    out: PathBuf,
    #[command(flatten)]
    budget: Budget,
    #[command(flatten)]
    resources: Resources,
}

pub fn run(arguments: Arguments, here: &Surroundings) -> Result<ExitCode, Mistakes> {
    let Arguments { model, codes, out, budget, resources } = arguments;
    format::layout(&out, OutputType::F32, (0, 0))?;
    check_target(&out)?;
    let cx = resources.context(0, &here.devices)?;
    let quantizer = read_model(&model, &cx)?.quantizer;
    let dim = quantizer.dim();
    let done = budget.code(&codes, &out, &resources, |coding| coding.decode(&*quantizer))?;
    let Some(coded) = done else { return Ok(ExitCode::from(INTERRUPTED)) };
    say!("{}: {} vectors of {dim} components, {}", out.display(), coded.rows, summary(&coded));
    Ok(ExitCode::SUCCESS)
}
