//! Compares our methods with another library at the same rate on the same rows, in distortion and recall.

use crate::ReportError;
use crate::markdown::escape;
use crate::number::significant;
use crate::values::{Series, Values, by_trial};
use polars::prelude::{CsvReadOptions, DataType, Field, PolarsError, PolarsResult, Schema, SerReader};
use record::contained;
use record::metric::{NMSE, RECALL_K_AT_K};
use record::{Ended, Metric, Results, Status, rerank_factor};
use std::collections::BTreeSet;
use std::io::Cursor;
use std::sync::Arc;

/// The result of the other library for one codec and dataset.
#[derive(Clone, Debug, PartialEq)]
pub struct Reference {
    /// Name of the dataset, as in the catalog of this project.
    pub dataset: String,
    /// Name of the codec, which is the label of a method of this project.
    pub codec: String,
    /// Bytes per vector.
    pub bytes: f64,
    /// Normalized MSE on the base rows.
    pub nmse: f64,
    /// 10-recall@10 of decoded base rows against raw queries.
    pub recall_10_at_10: f64,
}

/// The tolerances.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Allowance {
    /// Maximum of our normalized MSE divided by theirs.
    pub nmse_ratio: f64,
    /// Maximum of their recall minus ours.
    pub recall_loss: f64,
}

impl Default for Allowance {
    fn default() -> Allowance {
        Allowance { nmse_ratio: 1.005, recall_loss: 0.01 }
    }
}

/// The comparison of one codec on one dataset.
#[derive(Clone, Debug, PartialEq)]
pub struct ParityCell {
    /// Result of the other library, with dataset and codec.
    pub reference: Reference,
    /// Our normalized MSE, the mean over seeds.
    pub nmse: f64,
    /// Our 10-recall@10, the mean over seeds.
    pub recall: f64,
    /// Bits per vector.
    pub bits: usize,
    /// Number of seeds behind the means.
    pub seeds: usize,
}

impl ParityCell {
    fn ratio(&self) -> f64 {
        self.nmse / self.reference.nmse
    }

    fn gain(&self) -> f64 {
        self.recall - self.reference.recall_10_at_10
    }

    /// Whether both metrics are within the tolerances.
    pub fn holds(&self, allowance: Allowance) -> bool {
        self.ratio() <= allowance.nmse_ratio && self.gain() >= -allowance.recall_loss
    }
}

/// The comparison of both libraries.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parity {
    /// The cells, in the order of the reference.
    pub cells: Vec<ParityCell>,
    /// What could not be compared.
    pub missing: Vec<String>,
}

/// The columns of the reference table that are read.
const COLUMNS: [&str; 5] = ["dataset", "codec", "bytes", "nmse", "recall_10_at_10"];

/// Reads the reference table.
///
/// # Errors
/// A missing column, or a value of the wrong type.
pub fn read_references(csv_text: &str) -> Result<Vec<Reference>, String> {
    contained(|| {
        let read = || -> PolarsResult<Vec<Reference>> {
            let kind =
                |name: &str| if ["dataset", "codec"].contains(&name) { DataType::String } else { DataType::Float64 };
            let schema: Schema = COLUMNS.iter().map(|name| Field::new((*name).into(), kind(name))).collect();
            let table = CsvReadOptions::default()
                .with_schema_overwrite(Some(Arc::new(schema)))
                .with_columns(Some(COLUMNS.iter().map(|name| (*name).into()).collect()))
                .into_reader_with_file_handle(Cursor::new(csv_text.as_bytes().to_vec()))
                .finish()?;
            let text = |name: &str, row: usize| {
                Ok::<_, PolarsError>(table.column(name)?.str()?.get(row).unwrap_or_default().to_owned())
            };
            let number =
                |name: &str, row: usize| Ok::<_, PolarsError>(table.column(name)?.f64()?.get(row).unwrap_or(f64::NAN));
            let row = |row: usize| {
                Ok(Reference {
                    dataset: text("dataset", row)?,
                    codec: text("codec", row)?,
                    bytes: number("bytes", row)?,
                    nmse: number("nmse", row)?,
                    recall_10_at_10: number("recall_10_at_10", row)?,
                })
            };
            (0..table.height()).map(row).collect()
        };
        read().map_err(|error| error.to_string())
    })
}

/// Compares runs with the reference, for the datasets of the runs.
///
/// # Errors
/// Frames without the required columns.
pub fn compare(runs: &[Results], references: &[Reference]) -> Result<Parity, ReportError> {
    let measured = by_trial(runs, |metric| [NMSE.name, RECALL_K_AT_K.name].contains(&metric))?;
    // A trial that several runs share counts once.
    let mut seen = BTreeSet::new();
    let all = runs.iter().zip(&measured).flat_map(|(run, measured)| run.ended.iter().zip(measured));
    let records: Vec<(&Ended, &Values)> = all.filter(|(e, _)| seen.insert(e.trial.id.as_str())).collect();
    let covered: BTreeSet<&str> = records.iter().map(|(e, _)| e.trial.dataset.as_str()).collect();
    let mut parity = Parity::default();
    for reference in references.iter().filter(|r| covered.contains(r.dataset.as_str())) {
        let mine: Vec<&(&Ended, &Values)> = records
            .iter()
            .filter(|(e, _)| e.trial.dataset == reference.dataset && e.trial.label == reference.codec)
            .collect();
        let name = format!("{}, {}", reference.dataset, reference.codec);
        if let Some(failed) = mine.iter().map(|(ended, _)| ended).find(|e| e.status != Status::Ok) {
            let reason = failed.reason.as_deref().unwrap_or("no reason was recorded");
            parity.missing.push(format!("{name}: seed {} did not succeed: {reason}", failed.trial.seed));
            continue;
        }
        let mean = |metric: &Metric, k: Option<usize>| -> Option<f64> {
            let of_trial = |(_, values): &&(&Ended, &Values)| {
                let meant = |series: &&Series| {
                    let own = series.path.as_deref().and_then(rerank_factor).is_none();
                    series.k == k && series.stage.is_none() && own
                };
                values.of(metric.name).iter().find(meant)?.values.first().copied()
            };
            let values: Option<Vec<f64>> = mine.iter().map(of_trial).collect();
            values.filter(|v| !v.is_empty()).map(|v| v.iter().sum::<f64>() / v.len() as f64)
        };
        match (mean(&NMSE, None), mean(&RECALL_K_AT_K, Some(10)), mine.first()) {
            (Some(nmse), Some(recall), Some((first, _)))
                if first.trial.bits_per_vector as f64 == 8.0 * reference.bytes =>
            {
                let (bits, seeds) = (first.trial.bits_per_vector, mine.len());
                parity.cells.push(ParityCell { reference: reference.clone(), nmse, recall, bits, seeds });
            }
            (Some(_), Some(_), Some((first, _))) => parity.missing.push(format!(
                "{name}: {} bits here, {} there",
                first.trial.bits_per_vector,
                8.0 * reference.bytes
            )),
            (_, _, Some(_)) => parity.missing.push(format!("{name}: the run has no nmse or no 10-recall@10")),
            (_, _, None) => parity.missing.push(format!("{name}: the run has no method of that label")),
        }
    }
    Ok(parity)
}

impl Parity {
    /// Whether all comparisons pass and none is missing.
    pub fn holds(&self, allowance: Allowance) -> bool {
        !self.cells.is_empty() && self.missing.is_empty() && self.cells.iter().all(|cell| cell.holds(allowance))
    }

    /// The comparison as Markdown; `there` is the name of the other library.
    pub fn to_markdown(&self, there: &str, allowance: Allowance) -> String {
        let mut out = format!(
            "| dataset | codec | bits | nmse | {there} | ratio | 10-recall@10 | {there} | gain | |\n|--|--|--:|--:|--:|--:|--:|--:|--:|--|\n"
        );
        for cell in &self.cells {
            let Reference { dataset, codec, nmse, recall_10_at_10, .. } = &cell.reference;
            let (dataset, codec) = (escape(dataset), escape(codec));
            out += &format!(
                "| {dataset} | {codec} | {} | {} | {} | {:.3} | {:.4} | {:.4} | {:+.4} | {} |\n",
                cell.bits,
                significant(cell.nmse, 4),
                significant(*nmse, 4),
                cell.ratio(),
                cell.recall,
                recall_10_at_10,
                cell.gain(),
                if cell.holds(allowance) { "" } else { "**short**" },
            );
        }
        for missing in &self.missing {
            out += &format!("\nnot compared: {}\n", escape(missing));
        }
        let seeds = self.cells.iter().map(|cell| cell.seeds).min().unwrap_or(0);
        let short = self.cells.iter().filter(|cell| !cell.holds(allowance)).count();
        out + &format!(
            "\n{} cells, means over {seeds} seed{} here; {short} short of the aim: nmse at most {} of theirs, recall at most {} below.\n",
            self.cells.len(),
            if seeds == 1 { "" } else { "s" },
            allowance.nmse_ratio,
            allowance.recall_loss
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_holds_up_to_its_allowance() {
        let text =
            "dataset,codec,bytes,mse,nmse,recall_1_at_1,recall_1_at_10,recall_10_at_10\nd,PQ8x8,8,2.0,0.2,.1,.2,0.5\n";
        let reference = read_references(text).expect("a table").remove(0);
        let cell = |nmse, recall| ParityCell { reference: reference.clone(), nmse, recall, bits: 64, seeds: 1 };
        let allowance = Allowance::default();
        assert!(cell(0.2009, 0.4901).holds(allowance));
        assert!(!cell(0.2012, 0.6).holds(allowance), "distortion");
        assert!(!cell(0.1, 0.489).holds(allowance), "recall");
        let parity = Parity { cells: vec![cell(0.1, 0.489)], missing: vec!["d, SQ8: gone".into()] };
        assert!(!parity.holds(allowance));
        let text = parity.to_markdown("FAISS", allowance);
        assert!(
            text.contains("| d | PQ8x8 | 64 | 0.1000 | 0.2000 | 0.500 | 0.4890 | 0.5000 | -0.0110 | **short** |"),
            "{text}"
        );
        assert!(text.contains("not compared: d, SQ8: gone"));
        assert!(read_references("dataset,codec\nx,y\n").is_err());
    }
}
