//! `datasets convert`: writes the vectors of a file in another format, block by block.

use crate::errors::Mistakes;
use crate::model_file::{Budget, INTERRUPTED, Resources, check_target, summary};
use clap::Args;
use datasets::format::{self, OutputType};
use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;

const AFTER_HELP: &str = "\
Values become float32. IN is read in blocks, so it may be larger than the memory. OUT appears when it is complete; until then \
its name ends in .partial.

Examples: cargo xtask datasets convert sift.hdf5#test queries.fvecs
          cargo xtask datasets convert 'part-*.parquet' first.npy --rows 0..100000";

#[derive(Args)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// File of vectors in any format that experiments read; `#` names an array in it, and part-*.npy means several files
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// File to write: .npy, .safetensors, .parquet, .fvecs or .fbin
    #[arg(value_name = "OUT")]
    output: PathBuf,
    /// Only these rows, counted from 0 and without the end
    #[arg(long, value_name = "A..B", value_parser = range)]
    rows: Option<Range<usize>>,
    /// Replace OUT if it is there
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    budget: Budget,
    #[command(flatten)]
    resources: Resources,
}

fn range(text: &str) -> Result<Range<usize>, String> {
    let no_range = || format!("`{text}` is not a range of rows; write it like 0..1000");
    let (start, end) = text.split_once("..").ok_or_else(no_range)?;
    let number = |text: &str| text.trim().parse::<usize>().map_err(|_| no_range());
    let range = number(start)?..number(end)?;
    if range.is_empty() { Err(format!("the range {text} holds no row")) } else { Ok(range) }
}

pub fn run(arguments: Arguments) -> Result<ExitCode, Mistakes> {
    let Arguments { input, output, rows, force, budget, resources } = arguments;
    format::layout(&output, OutputType::F32, (0, 0))?;
    check_target(&output)?;
    if output.exists() && !force {
        return Err(Mistakes::new(format!("{} exists", output.display()), "choose another name, or add `--force`"));
    }
    let done = budget.code(&input, &output, &resources, |coding| coding.convert(rows))?;
    let Some(coded) = done else { return Ok(ExitCode::from(INTERRUPTED)) };
    say!("{}: {} vectors, {}", output.display(), coded.rows, summary(&coded));
    Ok(ExitCode::SUCCESS)
}
