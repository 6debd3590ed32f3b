//! Pairs of trials that computed in turn: which trials they are, what is aimed at, and the turns that each of them had.

use crate::RunInfo;
use serde::{Deserialize, Serialize};

/// Maximum number of turns that a record keeps.
pub const MOST_TURNS: usize = 4096;

/// The key of [`RunInfo::experiment`] with the pairs of the plan, as a list of [`TurnPair`].
pub const PAIRED: &str = "paired";

/// A pair of methods whose trials compute in turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TurnPair {
    /// Its name.
    pub name: String,
    /// What ours must reach.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aims: Vec<Aim>,
    /// The trials, by their ids: ours and theirs, of the same dataset, device, number of threads and seed.
    pub trials: Vec<(String, String)>,
}

/// How good one side of a pair must be in a metric, compared with the other side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Aim {
    /// Name of the metric.
    pub metric: String,
    /// Number of neighbours of a metric of searches; None for the one that tables show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub k: Option<usize>,
    /// How many times as good ours must be at least: ours / theirs, or theirs / ours where less is better.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
    /// How much better ours must be at least, in the unit of the metric: ours − theirs, or theirs − ours where less is
    /// better.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub difference: Option<f64>,
}

/// A side of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The method that is judged.
    Ours,
    /// The one it is compared with.
    Theirs,
}

impl Side {
    /// The name in records and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Side::Ours => "ours",
            Side::Theirs => "theirs",
        }
    }
}

/// What the record of a trial says of the pair that it ran in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InTurn {
    /// Name of the pair.
    pub pair: String,
    /// Its side.
    pub side: Side,
    /// What identifies the other side: the id that its trial would have without a pair.
    pub with: String,
    /// The attempt that it ran in; equal on both sides if they took turns with each other. Empty in older records.
    #[serde(default)]
    pub attempt: String,
    /// The turns that it had, in order, at most [`MOST_TURNS`].
    #[serde(default)]
    pub turns: Vec<Turn>,
}

/// A turn: the trial computed, and that of the other side waited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// What it computed first: a phase, or a timing with the number of its repeat.
    pub step: String,
    /// Its number among the turns of both sides, counted from 0.
    pub number: usize,
}

impl RunInfo {
    /// The pairs of its plan; none where the plan has none or they cannot be read.
    pub fn pairs(&self) -> Vec<TurnPair> {
        self.experiment.get(PAIRED).and_then(|pairs| TurnPair::list(pairs).ok()).unwrap_or_default()
    }
}

impl TurnPair {
    fn list(value: &serde_json::Value) -> Result<Vec<TurnPair>, serde_json::Error> {
        Vec::deserialize(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::info;
    use serde_json::json;

    #[test]
    fn pairs_stand_in_the_plan_and_anything_else_there_is_none() {
        let mut info = info(&["a1", "b2"]);
        assert!(info.pairs().is_empty());
        let aim = Aim { metric: "nmse".into(), k: None, ratio: Some(0.995), difference: None };
        let pair = TurnPair { name: "PQ".into(), aims: vec![aim], trials: vec![("a1".into(), "b2".into())] };
        info.experiment = json!({ PAIRED: [pair.clone()] });
        assert_eq!(info.experiment[PAIRED][0]["aims"], json!([{ "metric": "nmse", "ratio": 0.995 }]));
        assert_eq!(info.pairs(), [pair]);
        for wrong in [json!("PQ"), json!([{ "name": 1 }]), json!({})] {
            info.experiment[PAIRED] = wrong;
            assert!(info.pairs().is_empty());
        }
    }
}
