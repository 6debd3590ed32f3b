//! `parity`: compares our methods with those of FAISS, at the same rate on the same rows.

use crate::errors::Mistakes;
use clap::Args;
use record::{RunFolder, write_atomically};
use reports::parity::{Allowance, compare, read_references};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Args)]
#[command(after_help = "Run the experiments of experiments/parity first, then pass their run folders:
  cargo xtask experiments experiments/parity/*.yaml
  cargo xtask parity runs/parity-*")]
pub struct Arguments {
    /// Run folders of the experiments in experiments/parity
    #[arg(required = true)]
    runs: Vec<PathBuf>,
    /// CSV file with the figures of the other library: dataset, codec, bytes, nmse, recall_10_at_10 [default: experiments/parity/faiss.csv]
    #[arg(long, value_name = "FILE")]
    reference: Option<PathBuf>,
    /// Also write the table as Markdown
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

pub fn run(arguments: Arguments) -> Result<ExitCode, Mistakes> {
    let path = arguments.reference.unwrap_or_else(|| crate::source_tree().join("experiments/parity/faiss.csv"));
    let help = "a reference is a CSV table with the columns dataset, codec, bytes, nmse and recall_10_at_10";
    let text = datasets::regular::read_text(&path)
        .map_err(|e| Mistakes::new(format!("cannot read {}: {e}", path.display()), help))?;
    let references = read_references(&text).map_err(|e| Mistakes::new(format!("{}: {e}", path.display()), help))?;
    let runs = arguments.runs.iter().map(|run| RunFolder::new(run).results()).collect::<Result<Vec<_>, _>>()?;
    let parity = compare(&runs, &references)?;
    if parity.cells.is_empty() && parity.missing.is_empty() {
        let help = format!("run an experiment on a dataset that {} has", path.display());
        return Err(Mistakes::new("these runs share no dataset with the reference", help));
    }
    let allowance = Allowance::default();
    let text = parity.to_markdown("FAISS", allowance);
    say!("{}", text.trim_end());
    if let Some(path) = &arguments.markdown {
        write_atomically(path, text.as_bytes())?;
    }
    Ok(ExitCode::from(u8::from(!parity.holds(allowance))))
}
