//! Facts of a dataset that come from its files: rows that were left out, and neighbours that came with the vectors.

use serde::{Deserialize, Serialize};

/// Rows that were left out of a part.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DroppedFacts {
    /// The part: `training`, `base` or `query`.
    pub part: String,
    /// Its number of rows before.
    pub of: usize,
    /// Rows with a NaN or an infinity.
    pub non_finite: usize,
    /// Rows of zeros only.
    pub zeros: usize,
    /// Rows that equal an earlier one.
    pub duplicates: usize,
}

impl DroppedFacts {
    /// `3 of 100 base rows (2 of zeros, 1 duplicate)`.
    pub(crate) fn remark(&self) -> String {
        let duplicates = if self.duplicates == 1 { "duplicate" } else { "duplicates" };
        let kinds = [(self.non_finite, "not finite"), (self.zeros, "of zeros"), (self.duplicates, duplicates)];
        let words = kinds.iter().filter(|(count, _)| *count > 0).map(|(count, kind)| format!("{count} {kind}"));
        let count = self.non_finite + self.zeros + self.duplicates;
        format!("{count} of {} {} rows ({})", self.of, self.part, words.collect::<Vec<_>>().join(", "))
    }
}

/// Neighbours that came with vectors, and what became of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FileTruthFacts {
    /// Name of their file.
    pub file: String,
    /// Number of queries in the sample that was checked.
    pub queries: usize,
    /// Share of the neighbours in the sample that are nearest by the dataset's metric.
    pub agreement: f64,
    /// Another metric by which they are nearest; None if they are nearest by the dataset's, or no metric fits.
    pub explained_by: Option<String>,
    /// Whether results use them.
    pub used: bool,
    /// Why results do not use them, to follow "because"; None if they do, or if they contradict the vectors.
    pub unused_because: Option<String>,
}

impl FileTruthFacts {
    pub(crate) fn remark(&self, metric: &str) -> String {
        // Records of older versions do not name the file.
        let file = if self.file.is_empty() { "the file" } else { &self.file };
        let percent = 100.0 * self.agreement;
        if self.used {
            let sample = self.queries;
            return format!(
                "Results use the neighbours in {file}. Of those of {sample} queries, {percent:.1}% were found to be true \
                 nearest neighbours."
            );
        }
        let own = "The results use neighbours that vqbench has computed itself.";
        if let Some(reason) = &self.unused_because {
            return format!("The neighbours in {file} are not used, because {reason}. {own}");
        }
        let but = self.explained_by.as_ref().map_or_else(String::new, |metric| format!(" They fit metric {metric}."));
        format!(
            "The neighbours in {file} do not fit metric {metric}: of a sample, {percent:.0}% are true nearest neighbours.{but} \
             {own}"
        )
    }
}
