//! `encode`: vectors to codes by a saved quantizer.

use crate::errors::Mistakes;
use crate::model_file::{Resources, check_target, failed, read_model, read_vectors, write};
use clap::Args;
use datasets::format::codes_to_bytes;
use ndarray::Array2;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

#[derive(Args)]
#[command(after_help = "Each row of OUT is one code: all its bits, padded to whole bytes.
Example: cargo xtask encode pq.vqb vectors.npy codes.npy")]
pub struct Arguments {
    /// A saved quantizer
    model: PathBuf,
    /// Vectors: .npy, .fvecs, .bvecs, .fbin, .u8bin, .hdf5#dataset, .parquet#column
    vectors: PathBuf,
    /// Where to write the codes: .npy (uint8), .u8bin or .bvecs
    out: PathBuf,
    #[command(flatten)]
    resources: Resources,
}

pub fn run(arguments: Arguments) -> Result<ExitCode, Mistakes> {
    let Arguments { model, vectors, out, resources } = arguments;
    // A name that cannot be written to is told before the work.
    codes_to_bytes(&out, Array2::zeros((0, 0)).view())?;
    check_target(&out)?;
    let cx = resources.context(0)?;
    let quantizer = read_model(&model, &cx)?.quantizer;
    let rows = read_vectors(&vectors, Some(quantizer.dim()))?;
    let mut codes = Array2::<u8>::zeros((rows.nrows(), quantizer.code_size()));
    let start = Instant::now();
    resources.run(|| {
        let bytes = codes.as_slice_mut().unwrap_or_default();
        quantizer.encode_into(rows.view(), bytes).map_err(failed(&vectors))
    })?;
    let seconds = start.elapsed().as_secs_f64();
    write(&out, &codes_to_bytes(&out, codes.view())?)?;
    say!("{}: {} codes of {} bytes, in {seconds:.2} s", out.display(), codes.nrows(), codes.ncols());
    Ok(ExitCode::SUCCESS)
}
