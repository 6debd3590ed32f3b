//! `decode`: codes back to vectors by a saved quantizer, block by block.

use crate::errors::Mistakes;
use crate::model_file::{Resources, check_target, failed, read_model};
use crate::stream::{Budget, Job, interrupted, unwritten};
use clap::Args;
use datasets::format::{self, Written};
use experiments::Surroundings;
use ndarray::ArrayViewMut2;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Args)]
#[command(after_help = "CODES are read in blocks, and OUT appears when it is complete, as with `encode`.

Example: cargo xtask decode pq.vqb codes.npy decoded.npy")]
pub struct Arguments {
    /// The quantizer that wrote the codes
    model: PathBuf,
    /// Codes, as `encode` writes them: .npy (uint8), .u8bin or .bvecs
    codes: PathBuf,
    /// Where to write the vectors: .npy (float32), .fvecs or .fbin
    out: PathBuf,
    #[command(flatten)]
    budget: Budget,
    #[command(flatten)]
    resources: Resources,
}

pub fn run(arguments: Arguments, here: &Surroundings) -> Result<ExitCode, Mistakes> {
    let Arguments { model, codes, out, budget, resources } = arguments;
    format::layout(&out, Written::F32, (0, 0))?;
    check_target(&out)?;
    let cx = resources.context(0, &here.devices)?;
    let quantizer = read_model(&model, &cx)?.quantizer;
    let (n, found) = format::shape(&codes)?;
    let (dim, size) = (quantizer.dim(), quantizer.code_size());
    let wrong = |message: String| Mistakes::new(message, "name codes that `encode` wrote with the same model");
    if found != size {
        return Err(wrong(format!(
            "{} holds codes of {found} bytes; those of this model have {size}",
            codes.display()
        )));
    }
    let layout = format::layout(&out, Written::F32, (n, dim))?;
    let made_bytes = size + 4 * dim;
    let job = Job { input: &codes, shape: (n, size), output: &out, head: &layout.head, made_bytes };
    let (mut bytes, mut decoded) = (Vec::new(), Vec::new());
    let done = resources.run(|| {
        budget.stream(&job, |block, file| {
            bytes.clear();
            bytes.extend(block.values.iter().map(|v| *v as u8));
            if block.values.iter().zip(&bytes).any(|(value, byte)| *value != f32::from(*byte)) {
                let message = format!("{} holds values that are no bytes", codes.display());
                return Err(Mistakes::new(message, "codes are whole numbers from 0 to 255"));
            }
            decoded.resize(block.count * dim, 0.0);
            let rows = ArrayViewMut2::from_shape((block.count, dim), &mut decoded);
            let rows = rows.map_err(|e| Mistakes::new(format!("{}: {e}", codes.display()), ""))?;
            quantizer.decode_into(&bytes, rows).map_err(failed(&codes))?;
            if let Some((at, value)) = decoded.iter().enumerate().find(|(_, v)| !v.is_finite()) {
                let code = block.first + at / dim;
                return Err(wrong(format!(
                    "code {code} of {} decodes to {value}, which is no vector",
                    codes.display()
                )));
            }
            layout.write_vectors(&decoded, dim, file).map_err(unwritten(&out))
        })
    })?;
    let Some(summary) = done else { return Ok(interrupted(&out)) };
    say!("{}: {n} vectors of {dim} components, {}", out.display(), summary.words());
    Ok(ExitCode::SUCCESS)
}
