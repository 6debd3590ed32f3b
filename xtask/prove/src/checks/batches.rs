//! A code depends on its row alone: not on the number of rows, their order, or what was asked before.

use super::Check;
use crate::case::{Case, Checked, fail};
use crate::rows::{errors, first_values, select, shuffled};
use crate::subject::Codes;
use methods::SearchMetric::L2;
use ndarray::{Array2, s};

/// Numbers of rows at which blocks of vector instructions and of memory end, and one beside.
pub const COUNTS_OF_ROWS: [usize; 8] = [1, 7, 8, 9, 31, 33, 1000, 1025];

/// The first place at which codes differ from those expected.
fn differing(expected: &Codes, found: &Codes) -> Option<usize> {
    if expected.size != found.size || expected.rows() != found.rows() {
        return Some(found.rows().min(expected.rows()));
    }
    (0..expected.rows()).find(|&i| expected.row(i) != found.row(i))
}

/// Fails where codes or decoded rows are not those of the same rows in one batch. Libraries multiply few rows by other kernels than many, and so
/// round otherwise: a code that differs passes if it is as good, and a decoded row if it is the same up to rounding.
fn same(case: &Case<'_>, did: &str, order: &[usize]) -> Checked {
    let usual = case.usual(L2)?;
    let codes = usual.codes()?;
    let expected = codes.select(order.iter().copied());
    let rows = select(&usual.rows, order);
    let words = |i: usize| {
        let i = i.min(order.len() - 1);
        format!("{}, row {} {}", usual.rows.words, order[i], first_values(rows.row(i)))
    };
    let found = usual.trained.encode(rows.view())?;
    let unlike = |i: usize| {
        fail(
            format!("encoded {did}"),
            "the codes that these rows have among all",
            format!("code {i} of {} is {:02x?} instead of {:02x?}", order.len(), found.row(i), expected.row(i)),
            words(i),
        )
    };
    let rounding = case.subject.registered().is_none();
    if let Some(i) = differing(&expected, &found) {
        if !rounding || found.size != expected.size || found.rows() != expected.rows() {
            return unlike(i);
        }
        let all = errors(&usual.rows, usual.decoded()?);
        let near = 1e-4 * all.iter().sum::<f64>() / all.len() as f64;
        let (before, now) = (usual.trained.decode(&expected)?, usual.trained.decode(&found)?);
        let (before, now) = (errors(&rows, &before), errors(&rows, &now));
        if let Some(i) = (0..order.len()).find(|&i| (before[i] - now[i]).abs() > near) {
            return unlike(i);
        }
        let differ = (0..order.len()).filter(|&i| expected.row(i) != found.row(i));
        if let Some(i) = differ.clone().next().filter(|_| differ.count() > 1 + order.len() / 20) {
            // Side values may round everywhere; symbols at a tie seldom.
            let (a, b) = (usual.trained.decode(&expected)?, usual.trained.decode(&found)?);
            if !same_rows(&a, &b, rounding) {
                return unlike(i);
            }
        }
    }
    let decoded = usual.trained.decode(&expected)?;
    let among: Array2<f32> = select(usual.decoded()?, order);
    if !same_rows(&among, &decoded, rounding) {
        let i = (0..order.len().min(decoded.nrows()))
            .find(|&i| !same_rows(&select(&among, &[i]), &select(&decoded, &[i]), rounding));
        return fail(
            format!("decoded the codes of {did}"),
            "the rows that these codes have among all",
            format!("row {} of {} came out differently", i.unwrap_or(0), order.len()),
            words(i.unwrap_or(0)),
        );
    }
    Ok(String::new())
}

/// Whether decoded rows are the same, up to rounding if that may be.
pub fn same_rows(expected: &Array2<f32>, found: &Array2<f32>, rounding: bool) -> bool {
    let largest = expected.iter().fold(0f32, |a, v| a.max(v.abs()));
    let near = if rounding { 1e-5 * largest } else { 0.0 };
    expected.dim() == found.dim() && expected.iter().zip(found).all(|(a, b)| a == b || (a - b).abs() <= near)
}

/// Few rows and many.
pub const COUNTS: Check = Check {
    group: "batches",
    name: "numbers of rows",
    question: "The first and the last 1, 7, 8, 9, 31, 33, 1000 rows have the codes that they have among 1025",
    run: |case| {
        let n = case.usual(L2)?.rows.nrows();
        for count in COUNTS_OF_ROWS {
            same(case, &format!("the first {count} rows alone"), &(0..count).collect::<Vec<_>>())?;
            same(case, &format!("the last {count} rows alone"), &(n - count..n).collect::<Vec<_>>())?;
        }
        Ok("for 16 pieces of the rows".into())
    },
};

/// One row at a time.
pub const ALONE: Check = Check {
    group: "batches",
    name: "alone",
    question: "A row alone has the code that it has among others",
    run: |case| {
        let n = case.usual(L2)?.rows.nrows();
        for i in
            [1, 2, 8, 15, 16, 63, 64, 100, 255, 256, 511, 512, 513, 1000, 1023, 1024].into_iter().filter(|i| *i < n)
        {
            same(case, &format!("row {i} alone"), &[i])?;
        }
        Ok("for 16 rows".into())
    },
};

/// Rows in another order.
pub const ORDER: Check = Check {
    group: "batches",
    name: "order of rows",
    question: "Rows in another order have the same codes, in that order",
    run: |case| {
        let n = case.usual(L2)?.rows.nrows();
        same(case, "the rows in reverse order", &(0..n).rev().collect::<Vec<_>>())?;
        same(case, "the rows in a random order", &shuffled(n, case.seed_of(40)))?;
        Ok("reversed and shuffled".into())
    },
};

/// Equal rows.
pub const DUPLICATES: Check = Check {
    group: "batches",
    name: "equal rows",
    question: "Equal rows have equal codes, wherever they stand",
    run: |case| {
        let order: Vec<usize> = (0..700).map(|i| if i % 3 == 1 { i % 50 } else { 17 }).collect();
        same(case, "rows of which most are equal", &order)?;
        Ok("for 700 rows, most of them equal".into())
    },
};

/// Other rows in between.
pub const INTERLEAVED: Check = Check {
    group: "batches",
    name: "other rows in between",
    question: "What was encoded or decoded before changes nothing",
    run: |case| {
        let usual = case.usual(L2)?;
        let codes = usual.codes()?;
        let decoded = usual.decoded()?;
        let other = &usual.rows.rows * -3.0;
        let part = codes.select(0..100);
        usual.trained.encode(other.view())?;
        let first = usual.trained.decode(&part)?;
        if !same_rows(&decoded.slice(s![..100, ..]).to_owned(), &first, case.subject.registered().is_none()) {
            let i = (0..100.min(first.nrows())).find(|&i| first.row(i) != decoded.row(i)).unwrap_or(0);
            return fail(
                "encoded other rows, and then decoded 100 codes of before",
                "the rows that these codes had",
                format!("row {i} is {} instead of {}", first_values(first.row(i)), first_values(decoded.row(i))),
                &usual.rows.words,
            );
        }
        usual.trained.decode(&codes.select((0..900).rev()))?;
        let again = usual.trained.encode(usual.rows.view())?;
        match differing(codes, &again) {
            Some(i) => fail(
                "decoded other codes, and then encoded the rows of before",
                "the codes of before",
                format!("code {i} is {:02x?} instead of {:02x?}", again.row(i), codes.row(i)),
                &usual.rows.words,
            ),
            None => Ok("codes and decoded rows are those of before".into()),
        }
    },
};
