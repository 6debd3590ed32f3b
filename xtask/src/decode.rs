//! `decode`: codes back to vectors by a saved quantizer.

use crate::errors::Mistakes;
use crate::model_file::{Resources, check_target, failed, read_model, write};
use clap::Args;
use datasets::format::{self, vectors_to_bytes};
use ndarray::Array2;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

#[derive(Args)]
#[command(after_help = "Example: cargo xtask decode pq.vqb codes.npy decoded.npy")]
pub struct Arguments {
    /// The quantizer that wrote the codes
    model: PathBuf,
    /// Codes, as `encode` writes them: .npy (uint8), .u8bin or .bvecs
    codes: PathBuf,
    /// Where to write the vectors: .npy (float32), .fvecs or .fbin
    out: PathBuf,
    #[command(flatten)]
    resources: Resources,
}

pub fn run(arguments: Arguments) -> Result<ExitCode, Mistakes> {
    let Arguments { model, codes, out, resources } = arguments;
    vectors_to_bytes(&out, Array2::zeros((0, 0)).view())?;
    check_target(&out)?;
    let cx = resources.context(0)?;
    let quantizer = read_model(&model, &cx)?.quantizer;
    let (n, found) = format::shape(&codes)?;
    let size = quantizer.code_size();
    if found != size {
        let message = format!("{} holds codes of {found} bytes; those of this model have {size}", codes.display());
        return Err(Mistakes::new(message, "name codes that `encode` wrote with the same model"));
    }
    let values = format::read(&codes)?;
    let bytes: Vec<u8> = values.iter().map(|v| *v as u8).collect();
    if values.iter().zip(&bytes).any(|(value, byte)| *value != f32::from(*byte)) {
        let message = format!("{} holds values that are no bytes", codes.display());
        return Err(Mistakes::new(message, "codes are whole numbers from 0 to 255"));
    }
    let mut rows = Array2::<f32>::zeros((n, quantizer.dim()));
    let start = Instant::now();
    resources.run(|| quantizer.decode_into(&bytes, rows.view_mut()).map_err(failed(&codes)))?;
    if let Some(((row, _), value)) = rows.indexed_iter().find(|(_, v)| !v.is_finite()) {
        let message = format!("code {row} of {} decodes to {value}, which is no vector", codes.display());
        return Err(Mistakes::new(message, "name codes that `encode` wrote with the same model"));
    }
    let seconds = start.elapsed().as_secs_f64();
    write(&out, &vectors_to_bytes(&out, rows.view())?)?;
    say!("{}: {n} vectors of {} components, in {seconds:.2} s", out.display(), rows.ncols());
    Ok(ExitCode::SUCCESS)
}
