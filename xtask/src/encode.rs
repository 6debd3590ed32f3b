//! `encode`: vectors to codes by a saved quantizer, block by block.

use crate::errors::Mistakes;
use crate::model_file::{Resources, check_target, failed, read_model};
use crate::stream::{Budget, Job, interrupted, unwritten};
use clap::Args;
use datasets::format::{self, Written};
use experiments::Surroundings;
use ndarray::ArrayView2;
use std::path::PathBuf;
use std::process::ExitCode;

const AFTER_HELP: &str = "\
Each row of OUT is one code: all its bits, padded to whole bytes. VECTORS are read in blocks, one ahead by a thread of its \
own, so that they may be larger than the memory. OUT appears when it is complete; until then it is written under a name that \
ends in .partial.

Example: cargo xtask encode pq.vqb vectors.npy codes.npy --memory 512MiB";

#[derive(Args)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// A saved quantizer
    model: PathBuf,
    /// Vectors: .npy, .fvecs, .bvecs, .fbin, .u8bin, .hdf5#dataset, .parquet#column
    vectors: PathBuf,
    /// Where to write the codes: .npy (uint8), .u8bin or .bvecs
    out: PathBuf,
    #[command(flatten)]
    budget: Budget,
    #[command(flatten)]
    resources: Resources,
}

pub fn run(arguments: Arguments, here: &Surroundings) -> Result<ExitCode, Mistakes> {
    let Arguments { model, vectors, out, budget, resources } = arguments;
    // A name that cannot be written to is told before the work.
    format::layout(&out, Written::U8, (0, 0))?;
    check_target(&out)?;
    let cx = resources.context(0, &here.devices)?;
    let quantizer = read_model(&model, &cx)?.quantizer;
    let (n, found) = format::shape(&vectors)?;
    let (dim, size) = (quantizer.dim(), quantizer.code_size());
    if found != dim {
        let message = format!("{} holds vectors of {found} components; the model is for {dim}", vectors.display());
        return Err(Mistakes::new(message, "encode vectors of the kind that the model was trained on"));
    }
    let layout = format::layout(&out, Written::U8, (n, size))?;
    let job = Job { input: &vectors, shape: (n, dim), output: &out, head: &layout.head, made_bytes: size };
    let mut codes = Vec::new();
    let done = resources.run(|| {
        budget.stream(&job, |block, file| {
            codes.resize(block.count * size, 0);
            let rows = ArrayView2::from_shape((block.count, dim), block.values);
            let rows = rows.map_err(|e| Mistakes::new(format!("{}: {e}", vectors.display()), ""))?;
            quantizer.encode_into(rows, &mut codes).map_err(failed(&vectors))?;
            layout.write_codes(&codes, size, file).map_err(unwritten(&out))
        })
    })?;
    let Some(summary) = done else { return Ok(interrupted(&out)) };
    say!("{}: {n} codes of {size} bytes, {}", out.display(), summary.words());
    Ok(ExitCode::SUCCESS)
}
