//! `fit`: trains a quantizer outside an experiment.

use crate::errors::Mistakes;
use crate::model_file::{Resources, check_target, failed, read_vectors, write};
use clap::Args;
use datasets::{SearchPath, Source, catalog};
use experiments::{Document, Surroundings};
use methods::algorithms::moments;
use methods::{Method, ParamError};
use ndarray::Array2;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

#[derive(Args)]
#[command(after_help = "METHOD is written as in the list `methods` of an experiment, or as a FAISS factory string:
  cargo xtask fit 'pq: { m: 48 }' vectors.npy pq.vqb
  cargo xtask fit OPQ16,PQ16x8 wordnet-minilm-384 opq.vqb")]
pub struct Arguments {
    /// Method with its parameters
    method: String,
    /// Vectors to train on: a file, or a dataset of the catalog, whose training rows are used
    vectors: String,
    /// File to save the quantizer to
    model: PathBuf,
    /// Seed of the training
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    resources: Resources,
}

pub fn run(arguments: Arguments, here: &Surroundings) -> Result<ExitCode, Mistakes> {
    let Arguments { method, vectors, model, seed, resources } = arguments;
    let method = read_method(&method)?;
    check_target(&model)?;
    let cx = resources.context(seed, &here.devices)?;
    let rows = training_rows(&vectors, &here.search)?;
    method.check(rows.ncols())?;
    let start = Instant::now();
    let path = Path::new(&vectors);
    let (quantizer, error) = resources.run(|| {
        let quantizer = method.fit(rows.view(), &cx).map_err(failed(path))?;
        let mut codes = vec![0; rows.nrows() * quantizer.code_size()];
        quantizer.encode_into(rows.view(), &mut codes).map_err(failed(path))?;
        let mut decoded = Array2::zeros(rows.dim());
        quantizer.decode_into(&codes, decoded.view_mut()).map_err(failed(path))?;
        let errors = rows.iter().zip(&decoded).map(|(x, y)| (f64::from(*x) - f64::from(*y)).powi(2));
        Ok((quantizer, errors.sum::<f64>() / rows.nrows() as f64))
    })?;
    let seconds = start.elapsed().as_secs_f64();
    write(&model, &methods::contract::model::write(&*method, &*quantizer))?;
    let variance = moments::variance(rows.view(), &moments::mean(rows.view()));
    say!(
        "{}: {}, trained on {} rows of {} components in {seconds:.1} s",
        model.display(),
        method.name(),
        rows.nrows(),
        rows.ncols()
    );
    say!(
        "{} bits per vector in {} bytes, {} bytes of model; normalized MSE {:.4} on the training rows",
        quantizer.code_bits(),
        quantizer.code_size(),
        quantizer.model_size(),
        if variance > 0.0 { error / variance } else { 0.0 }
    );
    Ok(ExitCode::SUCCESS)
}

/// A method as an experiment writes it, or as one text.
pub fn read_method(text: &str) -> Result<Box<dyn Method>, Mistakes> {
    let document = Document::parse("METHOD", text)?;
    let entry = document.value().as_object().filter(|entry| entry.len() == 1).and_then(|entry| entry.iter().next());
    Ok(match (entry, document.value()) {
        (Some((name, params)), _) => methods::parse(name, params.clone())?,
        (None, Value::String(text)) => methods::parse_text(text.trim())?,
        _ => {
            let message = format!("`{text}` is not a method");
            let help = "write a method as in an experiment, such as 'pq: { m: 48 }', or a FAISS factory string";
            return Err(ParamError { param: None, message, help: Some(help.into()) }.into());
        }
    })
}

/// The rows of a file, or the training rows of a dataset.
fn training_rows(vectors: &str, search: &SearchPath) -> Result<Array2<f32>, Mistakes> {
    if catalog::find(vectors).is_ok() {
        let resolved = Source::Named(vectors.to_owned()).resolve(Path::new("."), search)?;
        return Ok(resolved.load()?.train);
    }
    let path = Path::new(vectors);
    if !path.exists() && path.extension().is_none() {
        // More likely a misspelt name than a file.
        catalog::find(vectors)?;
    }
    read_vectors(path)
}
