//! Does search over codes find what people judged relevant?

use super::retention::{RetentionMetrics, mean, retention};
use super::{Ability, Measure, MeasureEntry, Subject, params_of, parse_params};
use datasets::judgments::Relevant;
use methods::MethodError;
use methods::registry::schema_of;
use record::metric::{
    MRR, MRR_RETENTION, MRR_RETENTION_HIGH, MRR_RETENTION_LOW, NDCG, NDCG_RETENTION, NDCG_RETENTION_HIGH,
    NDCG_RETENTION_LOW, RELEVANT_RECALL, RELEVANT_RECALL_RETENTION, RELEVANT_RECALL_RETENTION_HIGH,
    RELEVANT_RECALL_RETENTION_LOW,
};
use record::{Measured, Metric};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub const ENTRY: MeasureEntry = MeasureEntry {
    name: "retrieval",
    summary: "nDCG@k, MRR@k and recall of relevant rows by search over codes, from judgments of relevance, and their ratio to those of raw vectors",
    always: false,
    schema: schema_of::<Retrieval>,
    parse: parse_params::<Retrieval>,
};

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Retrieval {
    /// Numbers of results k; each gives nDCG@k.
    #[schemars(inner(range(min = 1, max = 10000)))]
    ndcg: Vec<usize>,
    /// Numbers of results k; each gives MRR@k, the mean over queries of 1 over the rank of the first relevant result.
    #[schemars(inner(range(min = 1, max = 10000)))]
    mrr: Vec<usize>,
    /// Numbers of results k; each gives the share of the relevant rows that are among them.
    #[schemars(inner(range(min = 1, max = 10000)))]
    recall: Vec<usize>,
}

impl Default for Retrieval {
    fn default() -> Retrieval {
        Retrieval { ndcg: vec![10], mrr: vec![10], recall: vec![100] }
    }
}

/// A score of one query, from its first `k` results and what is relevant to it.
type Score = fn(&[u32], &[Relevant], usize) -> f64;

struct Kind {
    score: Score,
    metric: &'static Metric,
    kept: RetentionMetrics,
}

static NDCG_KIND: Kind = Kind {
    score: ndcg,
    metric: &NDCG,
    kept: RetentionMetrics { value: &NDCG_RETENTION, low: &NDCG_RETENTION_LOW, high: &NDCG_RETENTION_HIGH },
};
static MRR_KIND: Kind = Kind {
    score: reciprocal_rank,
    metric: &MRR,
    kept: RetentionMetrics { value: &MRR_RETENTION, low: &MRR_RETENTION_LOW, high: &MRR_RETENTION_HIGH },
};
static RECALL_KIND: Kind = Kind {
    score: recall,
    metric: &RELEVANT_RECALL,
    kept: RetentionMetrics {
        value: &RELEVANT_RECALL_RETENTION,
        low: &RELEVANT_RECALL_RETENTION_LOW,
        high: &RELEVANT_RECALL_RETENTION_HIGH,
    },
};

impl Retrieval {
    fn scores(&self) -> impl Iterator<Item = (&'static Kind, usize)> {
        let of = |kind: &'static Kind, depths: &[usize]| depths.iter().map(|&k| (kind, k)).collect::<Vec<_>>();
        [of(&NDCG_KIND, &self.ndcg), of(&MRR_KIND, &self.mrr), of(&RECALL_KIND, &self.recall)].into_iter().flatten()
    }

    fn depth(&self) -> usize {
        self.scores().map(|(_, k)| k).max().unwrap_or(0)
    }
}

impl Measure for Retrieval {
    fn params(&self) -> Value {
        params_of(self)
    }

    fn needs(&self) -> &'static [Ability] {
        &[Ability::Search]
    }

    fn truth_depth(&self) -> usize {
        self.depth()
    }

    fn search_depth(&self) -> usize {
        self.depth()
    }

    fn needs_judgments(&self) -> bool {
        true
    }

    fn measure(&self, subject: &Subject<'_>) -> Result<Vec<Measured>, MethodError> {
        let Some(judgments) = &subject.data.judgments else { return Ok(Vec::new()) };
        let search = subject.found()?;
        let found: Vec<Vec<u32>> = search.neighbors.iter().map(|row| row.iter().map(|n| n.id).collect()).collect();
        let mut out = Vec::new();
        for (kind, k) in self.scores() {
            // Of queries without a relevant base row, no search is better than another.
            let of = |results: &[Vec<u32>]| -> Vec<f64> {
                let queries = results.iter().zip(&judgments.relevant).filter(|(_, relevant)| !relevant.is_empty());
                queries.map(|(results, relevant)| (kind.score)(results, relevant, k)).collect()
            };
            let (raw, coded) = (of(subject.truth), of(&found));
            out.push(Measured::new(kind.metric, mean(&raw)).k(k).path("raw"));
            out.push(Measured::new(kind.metric, mean(&coded)).k(k).path(search.path));
            let kept = retention(&raw, &coded).into_iter().flat_map(|found| kind.kept.measured(found));
            out.extend(kept.map(|value| value.k(k).path(search.path)));
        }
        Ok(out)
    }
}

/// The grade of a row; 0 if it is not relevant.
fn grade(relevant: &[Relevant], row: u32) -> u32 {
    relevant.binary_search_by_key(&row, |relevant| relevant.row).map_or(0, |at| relevant[at].grade)
}

/// `Σ grade / log2(rank + 1)` over ranks from 1.
fn dcg(grades: impl Iterator<Item = u32>) -> f64 {
    grades.zip(2u32..).map(|(grade, next)| f64::from(grade) / f64::from(next).log2()).sum()
}

/// nDCG@k with the grades themselves as gains.
fn ndcg(results: &[u32], relevant: &[Relevant], k: usize) -> f64 {
    let mut best: Vec<u32> = relevant.iter().map(|relevant| relevant.grade).collect();
    best.sort_unstable_by(|a, b| b.cmp(a));
    dcg(results.iter().take(k).map(|&row| grade(relevant, row))) / dcg(best.into_iter().take(k))
}

fn reciprocal_rank(results: &[u32], relevant: &[Relevant], k: usize) -> f64 {
    let first = results.iter().take(k).position(|&row| grade(relevant, row) > 0);
    first.map_or(0.0, |at| 1.0 / (at + 1) as f64)
}

fn recall(results: &[u32], relevant: &[Relevant], k: usize) -> f64 {
    results.iter().take(k).filter(|&&row| grade(relevant, row) > 0).count() as f64 / relevant.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_those_of_the_definitions_and_of_trec_eval() {
        let relevant = [(1, 3), (4, 1), (7, 2), (9, 1)].map(|(row, grade)| Relevant { row, grade });
        let results = [5, 7, 1, 0, 9, 2, 4];
        let log = |x: f64| x.log2();
        let gain = 2.0 / log(3.0) + 3.0 / log(4.0);
        let best = 3.0 / log(2.0) + 2.0 / log(3.0) + 1.0 / log(4.0);
        assert!((ndcg(&results, &relevant, 3) - gain / best).abs() < 1e-12);
        // `ndcg_cut_3` and `ndcg_cut_5` of trec_eval (pytrec_eval-terrier 0.5.11) for the same ranking.
        assert!((ndcg(&results, &relevant, 3) - 0.579_996_008_492).abs() < 1e-9);
        assert!((ndcg(&results, &relevant, 5) - 0.606_391_997_057).abs() < 1e-9);
        assert_eq!(reciprocal_rank(&results, &relevant, 10), 0.5);
        assert_eq!(reciprocal_rank(&results, &relevant, 1), 0.0);
        assert_eq!(recall(&results, &relevant, 5), 0.75);
        assert_eq!(recall(&results, &relevant, 100), 1.0);
        assert_eq!(ndcg(&[1, 7, 4, 9], &relevant, 10), 1.0, "the best order");
    }
}
