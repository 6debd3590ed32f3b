//! What is known of the relevance of rows to queries, and what readers have to know of it.

use serde::{Deserialize, Serialize};

/// Judgments of relevance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JudgmentFacts {
    /// Number of query rows with at least one relevant base row.
    pub judged: usize,
    /// Number of all query rows.
    pub queries: usize,
    /// Number of relevant rows that the split leaves out of the base rows.
    pub left_out: usize,
}

impl JudgmentFacts {
    /// Notes for readers of the figures.
    pub(crate) fn remarks(&self) -> Vec<String> {
        let JudgmentFacts { judged, queries, left_out } = self;
        let mut remarks = Vec::new();
        if judged < queries {
            remarks.push(format!(
                "{judged} of {queries} queries have a relevant base row by the judgments. nDCG, MRR and the recall of \
                 relevant rows are means over these."
            ));
        }
        if *left_out > 0 {
            remarks.push(format!(
                "{left_out} judged rows are relevant and not among the base rows, so that no search can find them; they \
                 count as if they did not exist. `train: base` makes all rows of `path` that are not queries base rows."
            ));
        }
        remarks
    }
}
