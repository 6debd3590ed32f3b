//! Critical differences: which methods differ over many datasets.
//!
//! Here a dataset is one observation, however many seeds it has: the question is what to expect of another dataset.

use crate::figure::side_by_side::{by_rate, range};
use crate::statistics::{ALPHA, adjusted, fewest_pairs, friedman, signed_rank};
use crate::summary::{DatasetSummary, Point, Which};
use record::metric::NMSE;
use std::collections::{BTreeMap, BTreeSet};

/// Fewest methods of a diagram.
const FEWEST_METHODS: usize = 3;

/// Methods ranked over datasets.
pub struct Diagram {
    /// Their rate, in words.
    pub rate: String,
    /// Number of datasets.
    pub datasets: usize,
    /// Labels with their mean ranks, the best first.
    pub methods: Vec<(String, f64)>,
    /// First and last index of methods between which no difference was seen, at least two methods each.
    pub alike: Vec<(usize, usize)>,
    /// p-value of Friedman's test.
    pub p: f64,
}

/// The diagrams of a report, one for each rate with enough methods on enough datasets.
///
/// # Errors
/// Why there is none, in words.
pub fn diagrams(datasets: &[DatasetSummary]) -> Result<Vec<Diagram>, String> {
    let owner: BTreeMap<*const Point, usize> = datasets
        .iter()
        .enumerate()
        .flat_map(|(at, d)| d.points.iter().map(move |p| (std::ptr::from_ref(p), at)))
        .collect();
    let points: Vec<&Point> = datasets.iter().flat_map(|dataset| &dataset.points).collect();
    let mut found = Vec::new();
    // The most methods, and the number of their datasets, at any rate.
    let mut nearest = (0, 0);
    for group in by_rate(&points) {
        let mut losses: BTreeMap<(&str, &str), BTreeMap<usize, f64>> = BTreeMap::new();
        for point in &group {
            let (Some(estimate), Some(&dataset)) =
                (point.estimate(Which::metric(&NMSE)), owner.get(&std::ptr::from_ref(*point)))
            else {
                continue;
            };
            losses.entry((&point.label, &point.device)).or_default().entry(dataset).or_insert(estimate.value);
        }
        let measured: BTreeSet<usize> = losses.values().flat_map(|values| values.keys().copied()).collect();
        // Methods that some dataset lacks would shift the ranks of the others.
        losses.retain(|_, values| values.len() == measured.len());
        let (methods, count) = (losses.len(), measured.len());
        nearest = nearest.max((methods, count));
        if methods < FEWEST_METHODS || count < fewest_pairs(methods * (methods - 1) / 2, ALPHA) {
            continue;
        }
        let names: Vec<String> = losses.keys().map(|(label, _)| (*label).to_owned()).collect();
        let rows: Vec<Vec<f64>> =
            measured.iter().map(|at| losses.values().map(|values| values[at]).collect()).collect();
        let rate = range(group.iter().map(|point| point.bits as f64), "bit");
        found.extend(diagram(rate, &names, &rows));
    }
    let needed = fewest_pairs(FEWEST_METHODS * (FEWEST_METHODS - 1) / 2, ALPHA);
    let plural = |n: usize| if n == 1 { "" } else { "s" };
    if found.is_empty() {
        let (methods, count) = nearest;
        return Err(format!(
            "it needs at least {FEWEST_METHODS} methods at one rate on at least {needed} datasets, and more datasets for \
             more methods; here {methods} method{} ran on {count} dataset{}",
            plural(methods),
            plural(count)
        ));
    }
    Ok(found)
}

/// The diagram of methods with these losses, `rows[dataset][method]`; None if all methods tie everywhere.
fn diagram(rate: String, names: &[String], rows: &[Vec<f64>]) -> Option<Diagram> {
    let test = friedman(rows)?;
    let mut order: Vec<usize> = (0..names.len()).collect();
    order.sort_by(|&a, &b| test.mean_ranks[a].total_cmp(&test.mean_ranks[b]));
    let pairs: Vec<(usize, usize)> = (0..order.len()).flat_map(|b| (0..b).map(move |a| (a, b))).collect();
    let p_of = |&(a, b): &(usize, usize)| {
        // Decibels, so that a dataset that is hard to code does not decide alone.
        let ratio = |row: &Vec<f64>| 10.0 * (row[order[a]] / row[order[b]]).log10();
        let differences: Vec<f64> = rows.iter().map(ratio).filter(|d| !d.is_nan()).collect();
        signed_rank(&differences).p
    };
    let differ: Vec<bool> = adjusted(&pairs.iter().map(p_of).collect::<Vec<_>>())
        .into_iter()
        .map(|p| test.p <= ALPHA && p <= ALPHA)
        .collect();
    let same = |first: usize, last: usize| {
        let inside = |&(a, b): &(usize, usize)| first <= a && b <= last;
        pairs.iter().zip(&differ).all(|(pair, differ)| !inside(pair) || !differ)
    };
    let mut alike: Vec<(usize, usize)> = Vec::new();
    for first in 0..order.len() {
        let last = (first..order.len()).rev().find(|&last| same(first, last)).unwrap_or(first);
        if last > first && alike.iter().all(|&(_, known)| known < last) {
            alike.push((first, last));
        }
    }
    let methods = order.iter().map(|&at| (names[at].clone(), test.mean_ranks[at])).collect();
    Some(Diagram { rate, datasets: rows.len(), methods, alike, p: test.p })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|i| format!("method {i}")).collect()
    }

    #[test]
    fn methods_that_always_win_stand_apart() {
        // Method 1 is far better on all eight datasets; 0 and 2 take turns.
        let rows: Vec<Vec<f64>> =
            (0..8).map(|i| vec![0.5 + 0.01 * f64::from(i % 2), 0.1, 0.505 + 0.001 * f64::from(i)]).collect();
        let found = diagram("64 bits".into(), &names(3), &rows).expect("a diagram");
        assert_eq!((found.methods[0].0.as_str(), found.methods[0].1), ("method 1", 1.0));
        assert_eq!(found.alike, [(1, 2)]);
        assert!(found.p < 0.05 && found.datasets == 8);
    }

    #[test]
    fn methods_that_take_turns_are_alike() {
        let rows: Vec<Vec<f64>> =
            (0..9).map(|i| (0..3).map(|j| 0.1 + 0.01 * f64::from((i + j) % 3)).collect()).collect();
        let found = diagram("64 bits".into(), &names(3), &rows).expect("a diagram");
        assert_eq!(found.alike, [(0, 2)]);
        assert!(diagram("64 bits".into(), &names(3), &vec![vec![0.1; 3]; 9]).is_none(), "ties everywhere");
    }

    #[test]
    fn without_datasets_there_is_a_reason() {
        let reason = diagrams(&[]).err().expect("a reason");
        assert!(reason.contains("at least 3 methods at one rate on at least 7 datasets"), "{reason}");
    }
}
