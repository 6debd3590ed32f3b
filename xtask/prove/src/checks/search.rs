//! Search: row numbers that can be, nearest first, and those that exhaustive scores of decoded rows say.

use super::Check;
use super::batches::COUNTS_OF_ROWS;
use crate::case::{Case, Checked, K, NEARLY_ALL, Stop, Usual, fail, skip};
use crate::rows::{Shape, below, mean_and_error, select};
use crate::subject::{Codes, Found, Held, Trained};
use methods::SearchMetric::{self, InnerProduct, L2};
use ndarray::{Array2, ArrayView1, Axis, concatenate, s};
use std::collections::HashSet;
use std::time::Instant;

/// The score of a row: less is nearer.
fn score(query: ArrayView1<'_, f32>, row: ArrayView1<'_, f32>, metric: SearchMetric) -> f64 {
    let pairs = query.into_iter().zip(row).map(|(q, x)| (f64::from(*q), f64::from(*x)));
    match metric {
        L2 => pairs.map(|(q, x)| (q - x).powi(2)).sum(),
        InnerProduct => -pairs.map(|(q, x)| q * x).sum::<f64>(),
    }
}

/// The numbers of the `k` nearest rows of each query.
pub fn exact(rows: &Array2<f32>, queries: &Array2<f32>, metric: SearchMetric, k: usize) -> Vec<Vec<usize>> {
    let nearest = |query: ArrayView1<'_, f32>| {
        let mut scores: Vec<(f64, usize)> =
            rows.outer_iter().enumerate().map(|(i, row)| (score(query, row, metric), i)).collect();
        let k = k.min(scores.len());
        if k < scores.len() {
            scores.select_nth_unstable_by(k, |a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        }
        scores.truncate(k);
        scores.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        scores.into_iter().map(|(_, i)| i).collect()
    };
    queries.outer_iter().map(nearest).collect()
}

/// Fails unless there are `k` numbers per query: of rows that there are, each at most once, then -1 where there are no more rows. An index that does
/// not look at `all` rows may find fewer.
///
/// # Errors
/// The failure.
pub fn proper(found: &Found, n: usize, k: usize, all: bool, did: &str, words: &str) -> Result<(), Stop> {
    for (q, ids) in found.iter().enumerate() {
        let rows: Vec<i64> = ids.iter().copied().take_while(|&id| id >= 0).collect();
        let unlike = |expected: &str| {
            fail(format!("{did}, k = {k}, {n} rows"), expected, format!("query {q} got {ids:?}"), words)
        };
        if ids.len() != k {
            unlike(&format!("{k} row numbers"))?;
        }
        if all && rows.len() != k.min(n) {
            unlike(&format!("{} rows, and -1 only after them", k.min(n)))?;
        }
        if rows.iter().any(|&id| id >= n as i64) || ids[rows.len()..].iter().any(|&id| id != -1) {
            unlike(&format!("row numbers below {n}, or -1"))?;
        }
        if rows.iter().collect::<HashSet<_>>().len() != rows.len() {
            unlike("each row at most once")?;
        }
    }
    Ok(())
}

/// How a search agrees with scores of decoded rows.
pub struct Agreement {
    /// The share of found rows that are among the nearest, up to rounding, at their place or before it.
    pub share: f64,
    /// The share of queries for which the nearest decoded row is found.
    pub first: f64,
    /// A query and a place that disagree.
    pub at: Option<(usize, usize)>,
}

/// Compares what was found with the scores of decoded rows.
pub fn agreement(decoded: &Array2<f32>, queries: &Array2<f32>, found: &Found, metric: SearchMetric) -> Agreement {
    let (mut agree, mut all, mut first, mut at) = (0usize, 0usize, 0usize, None);
    for (q, (query, ids)) in queries.outer_iter().zip(found).enumerate() {
        let scores: Vec<f64> = decoded.outer_iter().map(|row| score(query, row, metric)).collect();
        let mut sorted = scores.clone();
        sorted.sort_by(f64::total_cmp);
        // Sums of f32 of this size round so.
        let size = scores.iter().fold(0f64, |a, s| a.max(s.abs())) + score(query, query, InnerProduct).abs();
        let rounding = 1e-5 * size;
        let mut best = false;
        for (place, &id) in ids.iter().enumerate().filter(|(_, id)| **id >= 0) {
            let Some(&own) = scores.get(id as usize) else { continue };
            all += 1;
            best |= own <= sorted[0] + rounding;
            if own <= sorted[place] + rounding {
                agree += 1;
            } else if at.is_none() {
                at = Some((q, place));
            }
        }
        first += usize::from(best);
    }
    Agreement { share: agree as f64 / all.max(1) as f64, first: first as f64 / queries.nrows().max(1) as f64, at }
}

/// Holds a search to scores of decoded rows: to all of them where it is exact, otherwise to most of the very nearest ones.
///
/// # Errors
/// A failure.
pub fn hold(
    case: &Case<'_>,
    trained: &dyn Trained,
    did: &str,
    decoded: &Array2<f32>,
    (queries, found): (&Array2<f32>, &Found),
    metric: SearchMetric,
    words: &str,
) -> Checked {
    let agreement = agreement(decoded, queries, found, metric);
    let like = || case.like.and_then(|_| case.usual_like(metric).ok()?.trained.estimates());
    let exact = case.is_exact();
    // Libraries may round the tables of a search to bytes.
    let like_exact = trained.estimates().is_none() && like() == Some(false);
    let place =
        || agreement.at.map_or(String::new(), |(q, place)| format!("; first at query {q}, place {}", place + 1));
    let did = format!("{did} by {}", name(metric));
    // What it says of itself is held to the letter; what was only seen, to what was seen.
    let least = if trained.estimates() == Some(false) { 1.0 } else { NEARLY_ALL };
    if exact && agreement.share < least || like_exact && (agreement.share < 0.75 || agreement.first < 0.75) {
        return fail(
            did,
            "the rows whose decoded forms are nearest",
            format!("{:.1}% of what was found is among them{}", 100.0 * agreement.share, place()),
            words,
        );
    }
    if agreement.first < 0.25 {
        return fail(
            did,
            "the row whose decoded form is the nearest, mostly",
            format!("it is among those found for {:.0}% of the queries", 100.0 * agreement.first),
            words,
        );
    }
    Ok(format!(
        "{} ({:.1}% agree)",
        if exact { "as decoded rows say" } else { "by estimates" },
        100.0 * agreement.share
    ))
}

/// A metric in words.
pub fn name(metric: SearchMetric) -> &'static str {
    match metric {
        L2 => "distance",
        InnerProduct => "inner product",
    }
}

/// Fails where two searches for the same differ by more than ties.
///
/// # Errors
/// The failure.
pub fn same_found(usual: &Usual<'_>, expected: &Found, found: &Found, did: &str) -> Result<(), Stop> {
    let (mut differ, mut all, mut at) = (0, 0, None);
    for (q, (a, b)) in expected.iter().zip(found).enumerate() {
        for (place, (&a, &b)) in a.iter().zip(b).enumerate() {
            all += 1;
            if a == b {
                continue;
            }
            let scores = usual.decoded().ok().and_then(|decoded| {
                let of = |id: i64| {
                    let row = usize::try_from(id).ok().filter(|&id| id < decoded.nrows())?;
                    Some(score(usual.queries.row(q), decoded.row(row), usual.metric))
                };
                Some((of(a)?, of(b)?))
            });
            if scores.is_some_and(|(a, b)| (a - b).abs() <= 1e-5 * (1.0 + a.abs())) {
                continue;
            }
            differ += 1;
            at = at.or(Some((q, place, a, b)));
        }
    }
    // An estimate may be summed in another order, or rounded to bytes; then near-ties change places.
    let allowed = if usual.trained.estimates() == Some(false) { 0 } else { all / 6 };
    if let Some((q, place, a, b)) = at.filter(|_| differ > allowed || expected.len() != found.len()) {
        return fail(
            format!("{did} by {}", name(usual.metric)),
            "the rows of before",
            format!("{differ} of {all} differ: query {q}, place {} is {b} instead of {a}", place + 1),
            format!("{}; queries: {}", usual.rows.words, usual.queries.words),
        );
    }
    Ok(())
}

/// Numbers that can be.
pub const NUMBERS: Check = Check {
    group: "search",
    name: "row numbers",
    question: "A search of 1 to 1025 rows gives k different row numbers, or all rows where k is larger",
    run: |case| {
        let usual = case.usual(case.searched())?;
        for n in COUNTS_OF_ROWS {
            let codes: Codes;
            let rows = usual.rows.slice(s![..n, ..]);
            let held = match usual.held()? {
                Held::Codes(all) => {
                    codes = all.select(0..n);
                    Held::Codes(&codes)
                }
                Held::Rows(_) => Held::Rows(rows),
            };
            for k in [1, 10, n, n + 5] {
                let found = usual.trained.search(held, usual.queries.slice(s![..7, ..]), k)?;
                if found.len() != 7 {
                    return fail("asked 7 queries", "7 answers", format!("{} came", found.len()), &usual.rows.words);
                }
                proper(&found, n, k, matches!(held, Held::Codes(_)), "searched", &usual.rows.words)?;
            }
        }
        Ok("for 8 numbers of rows and 4 of neighbours each".into())
    },
};

/// Exhaustive scores.
fn exhaustive(case: &Case<'_>, metric: SearchMetric) -> Checked {
    let usual = case.usual(metric)?;
    let found = usual.found()?;
    proper(found, usual.rows.nrows(), K, case.subject.searches_codes(), "searched", &usual.rows.words)?;
    if let Held::Rows(_) = usual.held()? {
        return skip("it stores vectors in its own way, which cannot be decoded");
    }
    let words = format!("{}, {}; queries: {}", usual.train.words, usual.rows.words, usual.queries.words);
    hold(case, &*usual.trained, "searched codes", usual.decoded()?, (&usual.queries.rows, found), metric, &words)
}

/// Distances.
pub const EXACT_L2: Check = Check {
    group: "search",
    name: "against decoded rows, l2",
    question: "A search by distance finds the rows whose decoded forms are nearest; one by estimates mostly does",
    run: |case| exhaustive(case, L2),
};

/// Inner products.
pub const EXACT_IP: Check = Check {
    group: "search",
    name: "against decoded rows, ip",
    question: "A search by inner product finds the rows whose decoded forms have the largest; one by estimates mostly does",
    run: |case| exhaustive(case, InnerProduct),
};

/// True neighbours: not far fewer than decoded rows would find.
fn recall(case: &Case<'_>, metric: SearchMetric) -> Checked {
    let usual = case.usual(metric)?;
    let found = usual.found()?;
    let truth = exact(&usual.rows, &usual.queries, metric, K);
    let share =
        |ids: &[i64], truth: &[usize]| truth.iter().filter(|&&i| ids.contains(&(i as i64))).count() as f64 / K as f64;
    let shares: Vec<f64> = found.iter().zip(&truth).map(|(ids, truth)| share(ids, truth)).collect();
    let (recall, error) = mean_and_error(&shares);
    let (floor, words) = match usual.held()? {
        // What it stores may have one bit per component. Chance finds one in a hundred.
        Held::Rows(_) => (0.1, "a tenth of them".to_owned()),
        Held::Codes(_) => {
            let by_decoded = exact(usual.decoded()?, &usual.queries, metric, K);
            let hits = by_decoded.iter().zip(&truth).map(|(ids, t)| t.iter().filter(|i| ids.contains(i)).count());
            let possible = hits.sum::<usize>() as f64 / (K * truth.len()) as f64;
            (0.5 * possible, format!("half of the {possible:.3} that decoded rows would find"))
        }
    };
    if !below(floor - 6.0 * error, recall) {
        return fail(
            format!("searched for the {K} true neighbours of 300 queries by {}", name(metric)),
            words,
            format!("recall is {recall:.3}"),
            format!("{}; queries: {}", usual.rows.words, usual.queries.words),
        );
    }
    Ok(format!("recall {recall:.3}"))
}

/// By distance.
pub const RECALL_L2: Check = Check {
    group: "search",
    name: "true neighbours, l2",
    question: "A search by distance finds at least half of the true neighbours that decoded rows would find",
    run: |case| recall(case, L2),
};

/// By inner product.
pub const RECALL_IP: Check = Check {
    group: "search",
    name: "true neighbours, ip",
    question: "A search by inner product finds at least half of the true neighbours that decoded rows would find",
    run: |case| recall(case, InnerProduct),
};

/// A row finds itself.
pub const SELF: Check = Check {
    group: "search",
    name: "a row finds itself",
    question: "A query that is a decoded row finds this row, also at the ends of blocks",
    run: |case| {
        let usual = case.usual(case.searched())?;
        let Held::Codes(codes) = usual.held()? else { return skip("it cannot search codes") };
        let places = [0, 7, 8, 31, 32, 127, 128, 255, 256, 511, 512, 1023, 1024];
        let decoded = usual.decoded()?;
        let queries = select(decoded, &places);
        if case.searched() == InnerProduct {
            return skip("by inner product, longer rows may come first");
        }
        let found = usual.trained.search(Held::Codes(codes), queries.view(), K)?;
        let mut missing = Vec::new();
        for (ids, &place) in found.iter().zip(&places) {
            let same = |id: &i64| {
                usize::try_from(*id).is_ok_and(|id| id < decoded.nrows() && decoded.row(id) == decoded.row(place))
            };
            if !ids.iter().any(same) {
                missing.push(place);
            }
        }
        // An estimate may miss one.
        let allowed = if case.is_exact() { 0 } else { 3 };
        if missing.len() > allowed {
            let came = format!("rows {missing:?} do not find themselves among {K}");
            return fail("searched for decoded rows", "each finds itself", came, &usual.rows.words);
        }
        Ok(format!("{} of {} rows", places.len() - missing.len(), places.len()))
    },
};

/// Fewer are the first of more.
pub const PREFIX: Check = Check {
    group: "search",
    name: "fewer neighbours",
    question: "The 1 and 10 nearest are the first of the 100 nearest",
    run: |case| {
        let usual = case.usual(case.searched())?;
        let many = usual.trained.search(usual.held()?, usual.queries.view(), 100)?;
        for k in [1, K] {
            let few = usual.trained.search(usual.held()?, usual.queries.view(), k)?;
            let first: Found = many.iter().map(|ids| ids.iter().copied().take(k).collect()).collect();
            if !matches!(usual.held()?, Held::Codes(_)) {
                continue;
            }
            let did = format!("searched for {k} neighbours instead of 100,");
            if case.is_exact() {
                same_found(usual, &first, &few, &did)?;
                continue;
            }
            // Scores that are estimates, such as distances of bits, tie, and ties may be broken differently for each k. But the nearest row
            // stands near the front.
            let in_front = |(few, many): (&Vec<i64>, &Vec<i64>)| many.iter().take(50).any(|id| few.first() == Some(id));
            let share = few.iter().zip(&many).filter(|both| in_front(*both)).count() as f64 / many.len().max(1) as f64;
            if share < 0.8 {
                let came = format!("so it is for {:.0}% of the queries", 100.0 * share);
                return fail(did, "the first row is among the first 50 of 100, mostly", came, &usual.rows.words);
            }
        }
        Ok("for 300 queries".into())
    },
};

/// Equal rows.
pub const COPIES: Check = Check {
    group: "search",
    name: "copies",
    question: "Of rows that are there three times, all three are found, each once",
    run: |case| {
        let usual = case.usual(case.searched())?;
        let part = usual.rows.slice(s![..100, ..]);
        let Ok(rows) = concatenate(Axis(0), &[part, part, part]) else { return skip("rows do not fit") };
        let codes;
        let held = match usual.held()? {
            Held::Codes(_) => {
                codes = usual.trained.encode(rows.view())?;
                Held::Codes(&codes)
            }
            Held::Rows(_) => Held::Rows(rows.view()),
        };
        let queries = usual.queries.slice(s![..50, ..]).to_owned();
        let found = usual.trained.search(held, queries.view(), 30)?;
        let words = format!("the first 100 of {}, three times", usual.rows.words);
        proper(&found, 300, 30, matches!(held, Held::Codes(_)), "searched", &words)?;
        let whole =
            |ids: &[i64]| (0..100).filter(|row| [0, 100, 200].iter().all(|copy| ids.contains(&(row + copy)))).count();
        if let Held::Codes(codes) = held {
            // Whatever the scores are, those of equal codes are equal.
            if let Some(q) = found.iter().position(|ids| whole(ids) < 3) {
                let came = format!("query {q} got {:?}", found[q]);
                return fail("searched rows that are there three times", "all three of a row, mostly", came, words);
            }
            let decoded = usual.trained.decode(codes)?;
            return hold(
                case,
                &*usual.trained,
                "searched rows with copies",
                &decoded,
                (&queries, &found),
                case.searched(),
                &words,
            );
        }
        Ok("30 rows each".into())
    },
};

/// More rows than 16 bits count.
pub const MANY_ROWS: Check = Check {
    group: "search",
    name: "many rows",
    question: "Among 66,000 rows, more than 16 bits count, it finds those that decoded rows say",
    run: |case| {
        let usual = case.usual(case.searched())?;
        let start = Instant::now();
        if case.subject.codes() {
            usual.trained.encode(usual.rows.view())?;
            if start.elapsed().as_secs_f64() > 0.25 {
                return skip("it encodes too slowly for this");
            }
        }
        let rows = case.draw(Shape::Gaussian, 66_000, 140);
        let mut places = vec![0, 255, 256, 4095, 4096, 8191, 16_384, 32_767, 32_768, 65_535];
        let beyond = places.len();
        places.extend((65_536..66_000).step_by(29));
        let codes;
        let held = match usual.held()? {
            Held::Codes(_) => {
                codes = usual.trained.encode(rows.view())?;
                Held::Codes(&codes)
            }
            Held::Rows(_) => Held::Rows(rows.view()),
        };
        let (queries, decoded) = match held {
            Held::Codes(codes) => {
                let decoded = usual.trained.decode(codes)?;
                (select(&decoded, &places), decoded)
            }
            Held::Rows(_) => (select(&rows, &places), rows.rows.clone()),
        };
        let found = usual.trained.search(held, queries.view(), K)?;
        proper(&found, rows.nrows(), K, matches!(held, Held::Codes(_)), "searched", &rows.words)?;
        if let Held::Rows(_) = held {
            return Ok("row numbers are right".into());
        }
        let hits: Vec<bool> = found
            .iter()
            .zip(&places)
            .map(|(ids, &place)| ids.iter().any(|&id| decoded.row(id as usize) == decoded.row(place)))
            .collect();
        let share = |hits: &[bool]| hits.iter().filter(|hit| **hit).count() as f64 / hits.len() as f64;
        let (before, after) = (share(&hits[..beyond]), share(&hits[beyond..]));
        if after < 0.5 * before {
            return fail(
                "searched for decoded rows beyond number 65,535",
                format!("that they are found as often as those before ({:.0}%)", 100.0 * before),
                format!("{:.0}% are", 100.0 * after),
                &rows.words,
            );
        }
        hold(
            case,
            &*usual.trained,
            "searched for decoded rows at the ends of blocks",
            &decoded,
            (&queries, &found),
            case.searched(),
            &rows.words,
        )
    },
};
