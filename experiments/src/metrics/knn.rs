//! How accurate is k-NN classification over codes?

use super::{Ability, Measure, MeasureEntry, Subject, params_of, parse_params};
use crate::facts::Truth;
use datasets::Labels;
use methods::MethodError;
use methods::registry::schema_of;
use record::Measured;
use record::metric::{KNN_ACCURACY, KNN_ACCURACY_RETENTION};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The registration of this measurement.
pub const ENTRY: MeasureEntry = MeasureEntry {
    name: "knn",
    summary: "Accuracy of k-nearest-neighbour classification over codes, and its ratio to the accuracy on raw vectors",
    always: false,
    schema: schema_of::<Knn>,
    parse: parse_params::<Knn>,
};

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Knn {
    /// Number of neighbours that vote on the class of a query.
    #[schemars(range(min = 1, max = 10000))]
    k: usize,
}

impl Default for Knn {
    fn default() -> Knn {
        Knn { k: 10 }
    }
}

impl Measure for Knn {
    fn params(&self) -> Value {
        params_of(self)
    }

    fn needs(&self) -> &'static [Ability] {
        &[Ability::Search]
    }

    fn truth_depth(&self) -> usize {
        self.k
    }

    fn needs_labels(&self) -> bool {
        true
    }

    fn search_depth(&self) -> usize {
        self.k
    }

    fn measure(&self, subject: &Subject<'_>) -> Result<Vec<Measured>, MethodError> {
        let Some(labels) = &subject.data.labels else { return Ok(Vec::new()) };
        let search = subject.found()?;
        let found: Truth = search.neighbors.iter().map(|row| row.iter().take(self.k).map(|n| n.id).collect()).collect();
        let raw = accuracy(subject.truth, labels, self.k);
        let coded = accuracy(&found, labels, self.k);
        let mut out = vec![
            Measured::new(&KNN_ACCURACY, raw).k(self.k).path("raw"),
            Measured::new(&KNN_ACCURACY, coded).k(self.k).path(search.path),
        ];
        if raw > 0.0 {
            out.push(Measured::new(&KNN_ACCURACY_RETENTION, coded / raw).k(self.k).path(search.path));
        }
        Ok(out)
    }
}

/// Share of queries whose class is the most frequent one among their first `k` neighbours; among equally frequent
/// classes, the one of the nearest neighbour.
pub fn accuracy(neighbors: &Truth, labels: &Labels, k: usize) -> f64 {
    let right =
        neighbors.iter().zip(&labels.queries).filter(|(row, label)| vote(row, &labels.base, k) == Some(**label));
    right.count() as f64 / neighbors.len().max(1) as f64
}

fn vote(neighbors: &[u32], labels: &[u32], k: usize) -> Option<u32> {
    let classes: Vec<u32> = neighbors.iter().take(k).map(|&id| labels[id as usize]).collect();
    let votes = |class: u32| classes.iter().filter(|&&c| c == class).count();
    // The first of the classes with the most votes, in order of nearness.
    let most = classes.iter().map(|&class| votes(class)).max()?;
    classes.iter().copied().find(|&class| votes(class) == most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_majority_wins_and_ties_go_to_the_nearest() {
        let labels = [0, 1, 1, 2, 2];
        assert_eq!(vote(&[0, 1, 2], &labels, 3), Some(1));
        assert_eq!(vote(&[3, 1, 4, 2], &labels, 4), Some(2));
        assert_eq!(vote(&[0, 1, 2], &labels, 1), Some(0));
        assert_eq!(vote(&[], &labels, 3), None);
        let all = Labels { base: labels.to_vec(), queries: vec![1, 0] };
        assert_eq!(accuracy(&vec![vec![1, 2, 3], vec![3, 4, 0]], &all, 3), 0.5);
    }
}
