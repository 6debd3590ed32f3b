//! Searches depend on the query and the rows alone: not on other queries, on rows held before, or on the order of rows.

use super::Check;
use super::search::{hold, proper, same_found};
use crate::case::{Case, K, Usual, fail, skip};
use crate::rows::{select, shuffled};
use crate::subject::{Found, Held, Refusal};
use methods::SearchMetric::{self, InnerProduct, L2};
use ndarray::s;
use std::collections::HashSet;

/// The usual data with what a search finds in them now; None if it cannot search by this metric. Other rows may have been held since an
/// earlier search, and an index of rows may follow from chance.
fn asked_anew<'c, 's>(case: &'c Case<'s>, metric: SearchMetric) -> Result<Option<(&'c Usual<'s>, Found)>, Refusal> {
    let usual = case.usual(metric);
    let found = usual.and_then(|usual| Ok((usual, usual.trained.search(usual.held()?, usual.queries.view(), K)?)));
    match found {
        Err(Refusal::Missing(_)) => Ok(None),
        found => found.map(Some),
    }
}

/// Queries alone.
pub const ONE_BY_ONE: Check = Check {
    group: "search",
    name: "queries alone",
    question: "A query alone finds what it finds among 300, by either metric",
    run: |case| {
        let mut by = Vec::new();
        for metric in [L2, InnerProduct] {
            let Some((usual, found)) = asked_anew(case, metric)? else { continue };
            by.push(super::search::name(metric));
            let mut alone = Found::new();
            let mut expected = Found::new();
            for q in (0..300).step_by(13).chain([299]) {
                let query = usual.queries.slice(s![q..=q, ..]);
                let ids = usual.trained.search(usual.held()?, query, K)?;
                alone.extend(ids);
                expected.push(found[q].clone());
            }
            for (a, b) in expected.iter().zip(&alone) {
                let common: HashSet<&i64> = a.iter().collect();
                if b.iter().filter(|id| common.contains(id)).count() + 1 < K {
                    return fail(
                        format!("searched for one query alone by {}", super::search::name(metric)),
                        format!("what it finds among others: {a:?}"),
                        format!("{b:?}"),
                        format!("{}; queries: {}", usual.rows.words, usual.queries.words),
                    );
                }
            }
        }
        if by.is_empty() { skip("it cannot search") } else { Ok(format!("for 25 queries, by {}", by.join(" and "))) }
    },
};

/// Other rows in between.
pub const OTHER_ROWS: Check = Check {
    group: "search",
    name: "other rows held",
    question: "After a search of other and fewer rows, nothing is left of the ones before",
    run: |case| {
        let usual = case.usual(case.searched())?;
        let found = usual.found()?;
        let Held::Codes(codes) = usual.held()? else { return skip("it cannot search codes") };
        let order: Vec<usize> = (0..100).rev().collect();
        let fewer = codes.select(order.iter().copied());
        let few = usual.trained.search(Held::Codes(&fewer), usual.queries.view(), K)?;
        proper(&few, 100, K, true, "searched 100 rows after 1025", &usual.rows.words)?;
        let decoded = select(usual.decoded()?, &order);
        let words = format!("the first 100 of {}, reversed", usual.rows.words);
        let queries = &usual.queries.rows;
        hold(
            case,
            &*usual.trained,
            "searched 100 rows after 1025",
            &decoded,
            (queries, &few),
            case.searched(),
            &words,
        )?;
        let again = usual.trained.search(Held::Codes(codes), usual.queries.view(), K)?;
        same_found(usual, found, &again, "searched other rows, and then those of before,")?;
        Ok("100 rows, then all again".into())
    },
};

/// Rows in another order.
pub const PERMUTED: Check = Check {
    group: "search",
    name: "rows in another order",
    question: "Of rows in another order, the same rows are found",
    run: |case| {
        let usual = case.usual(case.searched())?;
        let found = usual.found()?;
        let Held::Codes(codes) = usual.held()? else { return skip("it cannot search codes") };
        let order = shuffled(codes.rows(), case.seed_of(150));
        let permuted = codes.select(order.iter().copied());
        let there = usual.trained.search(Held::Codes(&permuted), usual.queries.view(), K)?;
        proper(&there, codes.rows(), K, true, "searched", &usual.rows.words)?;
        let back: Found = there
            .iter()
            .map(|ids| ids.iter().map(|&id| order.get(id as usize).map_or(-1, |&i| i as i64)).collect())
            .collect();
        if case.is_exact() {
            let decoded = select(usual.decoded()?, &order);
            let words = format!("{}, shuffled with seed {}", usual.rows.words, case.seed_of(150));
            let asked = (&usual.queries.rows, &there);
            return hold(
                case,
                &*usual.trained,
                "searched the same codes in another order",
                &decoded,
                asked,
                case.searched(),
                &words,
            );
        }
        // Ties go by row number, which changes: few codes have many.
        let different: HashSet<&[u8]> = (0..codes.rows()).map(|i| codes.row(i)).collect();
        if different.len() < 1000 {
            return skip("too many rows have the same code");
        }
        let (mut common, mut all) = (0, 0);
        for (a, b) in found.iter().zip(&back) {
            let set: HashSet<&i64> = a.iter().collect();
            common += b.iter().filter(|id| set.contains(id)).count();
            all += a.len();
        }
        // Distances of bits tie too.
        if common < all / 4 {
            return fail(
                "searched the same codes in another order",
                "the same rows but for ties",
                format!("{common} of {all} are the same"),
                &usual.rows.words,
            );
        }
        Ok(format!("{common} of {all} are the same"))
    },
};

/// Other questions in between.
pub const INTERLEAVED: Check = Check {
    group: "search",
    name: "other queries in between",
    question: "After other queries, other k and other requests, a search finds what it found before",
    run: |case| {
        let mut by = Vec::new();
        for metric in [L2, InnerProduct] {
            let Some((usual, found)) = asked_anew(case, metric)? else { continue };
            by.push(super::search::name(metric));
            let other = &usual.queries.rows * -2.0 + 1.0;
            usual.trained.search(usual.held()?, other.view(), 3)?;
            let again = usual.trained.search(usual.held()?, usual.queries.view(), K)?;
            same_found(usual, &found, &again, "searched for other queries, and then for those of before,")?;
            if case.subject.codes() {
                usual.trained.encode(usual.queries.view())?;
                let again = usual.trained.search(usual.held()?, usual.queries.view(), K)?;
                same_found(usual, &found, &again, "encoded other rows, and then searched,")?;
            }
        }
        if by.is_empty() { skip("it cannot search") } else { Ok(format!("by {}", by.join(" and "))) }
    },
};
