//! Does search over codes find the true neighbours?

use super::retention::mean;
use super::{Ability, Measure, MeasureEntry, Subject, params_of, parse_params};
use crate::facts::Truth;
use crate::search::{by_scores, k_recalls, rerank_all};
use cpu::Neighbor;
use methods::MethodError;
use methods::registry::schema_of;
use record::metric::{RECALL_1_AT_R, RECALL_K_AT_K, RECALL_K_AT_K_STD};
use record::{Measured, rerank_path};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub const ENTRY: MeasureEntry = MeasureEntry {
    name: "recall",
    summary: "1-recall@R and k-recall@k of search over codes, with and without re-ranking by raw vectors",
    always: false,
    schema: schema_of::<Recall>,
    parse: parse_params::<Recall>,
};

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Recall {
    /// Numbers of neighbours k; each gives 1-recall@k and k-recall@k.
    #[schemars(length(min = 1), inner(range(min = 1, max = 10000)))]
    k: Vec<usize>,
    /// Re-ranking factors. A factor f fetches f·k candidates over codes and orders them by their raw vectors; 0 means
    /// no re-ranking.
    #[schemars(length(min = 1), inner(range(min = 0, max = 1000)))]
    rerank: Vec<usize>,
}

impl Default for Recall {
    fn default() -> Recall {
        Recall { k: vec![1, 10, 100], rerank: vec![0, 4] }
    }
}

impl Measure for Recall {
    fn params(&self) -> Value {
        params_of(self)
    }

    fn needs(&self) -> &'static [Ability] {
        &[Ability::Search]
    }

    fn truth_depth(&self) -> usize {
        self.k.iter().copied().max().unwrap_or(0)
    }

    fn search_depth(&self) -> usize {
        self.truth_depth() * self.rerank.iter().copied().max().unwrap_or(0).max(1)
    }

    fn measure(&self, subject: &Subject<'_>) -> Result<Vec<Measured>, MethodError> {
        let rows = subject.data.base.nrows();
        let found = subject.found()?;
        let mut out = Vec::new();
        for &factor in &self.rerank {
            let path = if factor == 0 { found.path.to_owned() } else { rerank_path(factor) };
            // A k larger than the number of rows is skipped.
            for &k in self.k.iter().filter(|k| **k <= rows) {
                let returned: Truth = if factor == 0 {
                    found.neighbors.iter().map(|row| row.iter().take(k).map(|n| n.id).collect()).collect()
                } else {
                    reranked(subject, &found.neighbors, k * factor, k)?
                };
                out.push(Measured::new(&RECALL_1_AT_R, one_recall(subject.truth, &returned)).k(k).path(&path));
                let shares = k_recalls(subject.truth, &returned, k);
                let recall = mean(&shares);
                out.push(Measured::new(&RECALL_K_AT_K, recall).k(k).path(&path));
                if shares.len() > 1 {
                    let deviations: f64 = shares.iter().map(|share| (share - recall).powi(2)).sum();
                    let deviation = (deviations / (shares.len() - 1) as f64).sqrt();
                    out.push(Measured::new(&RECALL_K_AT_K_STD, deviation).k(k).path(&path));
                }
            }
        }
        Ok(out)
    }
}

/// The `k` nearest of the first `depth` candidates of each query, by their raw vectors.
fn reranked(subject: &Subject<'_>, candidates: &[Vec<Neighbor>], depth: usize, k: usize) -> Result<Truth, MethodError> {
    let data = subject.data;
    match data.base.held() {
        Some(base) => Ok(rerank_all(data.queries.view(), base, data.metric, candidates, depth, k)),
        None => Ok(by_scores(candidates, subject.exact_scores()?, depth, k)),
    }
}

/// 1-recall@R: how often the true nearest neighbour is among those returned.
fn one_recall(truth: &Truth, returned: &Truth) -> f64 {
    let hits = truth.iter().zip(returned).filter(|(t, r)| t.first().is_some_and(|nearest| r.contains(nearest))).count();
    hits as f64 / truth.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_recalls_by_hand() {
        let truth = vec![vec![1, 2, 3, 4], vec![9, 8, 7, 6]];
        let returned = vec![vec![2, 1], vec![5, 7]];
        assert_eq!(one_recall(&truth, &returned), 0.5, "1 is returned, 9 is not");
        assert_eq!(k_recalls(&truth, &returned, 2), [1.0, 0.0], "{{1,2}} of {{1,2}}, nothing of {{9,8}}");
        assert_eq!(mean(&k_recalls(&truth, &truth, 4)), 1.0);
        assert_eq!(mean(&[]), 0.0);
    }

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        for (params, key) in [
            (serde_json::json!({"k": []}), "k"),
            (serde_json::json!({"k": [0, 1]}), "k"),
            (serde_json::json!({"rerank": []}), "rerank"),
            (serde_json::json!({"k": [1_000_000]}), "k"),
        ] {
            assert_eq!(parse_params::<Recall>(params).err().and_then(|e| e.param).as_deref(), Some(key));
        }
    }
}
