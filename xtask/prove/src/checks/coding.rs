//! Encoding and decoding, on Gaussian rows: shapes, and whether codes are those that lose least.

use super::Check;
use crate::case::{Checked, fail, skip};
use crate::rows::{errors, first_values, power, variance};
use crate::subject::Codes;
use methods::SearchMetric::L2;
use std::collections::HashSet;

/// Shapes and values.
pub const SHAPES: Check = Check {
    group: "coding",
    name: "shapes",
    question: "There is one code per row, all of one length; codes decode to finite rows of the right shape",
    run: |case| {
        let usual = case.usual(L2)?;
        let codes = usual.codes()?;
        if codes.size == 0 || codes.rows() != usual.rows.nrows() {
            let came = format!("{} codes of {} bytes", codes.rows(), codes.size);
            return fail("encoded", format!("{} codes", usual.rows.nrows()), came, &usual.rows.words);
        }
        let decoded = usual.decoded()?;
        if decoded.dim() != usual.rows.dim() {
            let (expected, came) = (format!("{:?}", usual.rows.dim()), format!("{:?}", decoded.dim()));
            return fail("decoded", expected, came, &usual.rows.words);
        }
        if let Some(i) = decoded.outer_iter().position(|row| row.iter().any(|v| !v.is_finite())) {
            let came = format!("row {i} is {}", first_values(decoded.row(i)));
            return fail("encoded and decoded", "finite values", came, &usual.rows.words);
        }
        Ok(format!("{} bytes per row", codes.size))
    },
};

/// The same question gets the same answer.
pub const REPEATS: Check = Check {
    group: "coding",
    name: "repeats",
    question: "Asked twice, it gives the same codes and the same decoded rows",
    run: |case| {
        let usual = case.usual(L2)?;
        let codes = usual.codes()?;
        for ask in ["at once", "after decoding"] {
            let again = usual.trained.encode(usual.rows.view())?;
            if &again != codes {
                let differ = (0..codes.rows()).filter(|&i| codes.row(i) != again.row(i)).count();
                let came = format!("{differ} of {} codes differ", codes.rows());
                return fail(format!("encoded the same rows again, {ask}"), "the same codes", came, &usual.rows.words);
            }
            let decoded = usual.decoded()?;
            let again = usual.trained.decode(codes)?;
            if again != *decoded {
                return fail("decoded the same codes again", "the same rows", "others came", &usual.rows.words);
            }
        }
        Ok("codes and decoded rows are the same".into())
    },
};

/// Every component is coded.
pub const COMPONENTS: Check = Check {
    group: "coding",
    name: "components",
    question: "No component is left out: each is decoded better than by its mean",
    run: |case| {
        let usual = case.usual(L2)?;
        components(usual.codes()?, &usual.rows.rows, usual.decoded()?, &usual.rows.words)
    },
};

/// Whether each component loses less than its variance. On data without structure, a component that is left out loses all of it;
/// one that is coded, as part of any group, loses no more than the rest does. Few codewords, and codes of few latent values, need not reach all components.
pub fn components(codes: &Codes, rows: &ndarray::Array2<f32>, decoded: &ndarray::Array2<f32>, words: &str) -> Checked {
    let share = |j: usize| {
        let (column, found) = (rows.column(j), decoded.column(j));
        let mean = column.iter().map(|v| f64::from(*v)).sum::<f64>() / column.len() as f64;
        let variance: f64 = column.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum();
        let error: f64 = column.iter().zip(found).map(|(x, y)| (f64::from(*x) - f64::from(*y)).powi(2)).sum();
        error / variance
    };
    let shares: Vec<f64> = (0..rows.ncols()).map(share).collect();
    let usual = shares.iter().sum::<f64>() / shares.len() as f64;
    let (worst, most) =
        shares.iter().enumerate().fold((0, 0.0), |worst, (j, &share)| if share > worst.1 { (j, share) } else { worst });
    let different: HashSet<&[u8]> = (0..codes.rows()).map(|i| codes.row(i)).collect();
    let spread = different.len() >= (1usize << rows.ncols().min(20)).min(codes.rows() / 2);
    if spread && usual < 0.5 && most > 0.97 {
        return fail(
            format!("encoded and decoded Gaussian rows of {} components", rows.ncols()),
            "an error below the variance in each component",
            format!("in component {worst} it is {most:.3} of the variance; the mean over components is {usual:.4}"),
            words,
        );
    }
    Ok(format!("the worst component loses {most:.4} of its variance"))
}

/// Decoded rows lie in the middle of their cells.
pub const BIAS: Check = Check {
    group: "coding",
    name: "bias",
    question: "Errors are centred: on rows around zero, decoded rows are not shifted",
    run: |case| {
        let usual = case.usual(L2)?;
        let (rows, decoded) = (&usual.rows.rows, usual.decoded()?);
        let n = rows.nrows() as f64;
        let (mut worst, mut at) = (0.0f64, 0);
        for j in 0..case.dim {
            let differences: Vec<f64> =
                rows.column(j).iter().zip(decoded.column(j)).map(|(x, y)| f64::from(*x) - f64::from(*y)).collect();
            let mean = differences.iter().sum::<f64>() / n;
            let size = (differences.iter().map(|d| d * d).sum::<f64>() / n).sqrt();
            if size > 0.0 && (mean / size).abs() > worst.abs() {
                (worst, at) = (mean / size, j);
            }
        }
        // Rounding down instead of to the nearest gives .87; errors that are centred give .03 (one over the root of 1025).
        if worst.abs() > 0.45 {
            let came = format!("in component {at} the mean error is {:.2} of the size of errors", worst.abs());
            return fail("encoded and decoded", "a mean error far below the size of errors", came, &usual.rows.words);
        }
        Ok(format!("the mean error is at most {:.2} of the size of errors", worst.abs()))
    },
};

/// Codes are not worse than those of other rows.
pub const OWN_CODE: Check = Check {
    group: "coding",
    name: "own code",
    question: "The code of a row decodes nearer to it than codes of other rows do",
    run: |case| {
        let usual = case.usual(L2)?;
        let (rows, decoded) = (&usual.rows.rows, usual.decoded()?);
        let own = errors(rows, decoded);
        let mut worse = Vec::new();
        for (i, row) in rows.outer_iter().enumerate().take(300) {
            let nearer = decoded.outer_iter().any(|other| {
                let error: f64 = row.iter().zip(other).map(|(x, y)| (f64::from(*x) - f64::from(*y)).powi(2)).sum();
                error < own[i] * 0.999
            });
            if nearer {
                worse.push(i);
            }
        }
        // Of a nearest codeword there is none that is nearer; greedy searches and rotated signs miss it at times.
        let allowed = if case.like.is_some_and(|like| like.nearest()) || case.subject.nearest() { 3 } else { 150 };
        match worse.first() {
            Some(i) if worse.len() > allowed => fail(
                "compared each of 300 decoded rows with what all other codes decode to",
                format!("at most {allowed} rows for which another code is nearer"),
                format!("there are {}", worse.len()),
                format!("{}, row {i} {}", usual.rows.words, first_values(rows.row(*i))),
            ),
            _ => Ok(format!("another code is nearer for {} of 300 rows", worse.len())),
        }
    },
};

/// A decoded row is coded without much further loss.
pub const AGAIN: Check = Check {
    group: "coding",
    name: "coded again",
    question: "Coding a decoded row again loses no more than the first time",
    run: |case| {
        let usual = case.usual(L2)?;
        let once = usual.decoded()?;
        let twice = case.coded(&*usual.trained, once)?;
        let mean = |errors: Vec<f64>| errors.iter().sum::<f64>() / errors.len() as f64;
        let (first, second) = (mean(errors(&usual.rows, once)), mean(errors(once, &twice)));
        if second > first * 1.0001 + 1e-9 * power(&usual.rows) {
            let came = format!("it is {second:.3e}");
            let expected = format!("a further error of at most {first:.3e}, that of the first time");
            return fail("encoded decoded rows", expected, came, &usual.rows.words);
        }
        Ok(format!("{first:.3e} the first time, {second:.3e} the second"))
    },
};

/// A codeword is its own nearest codeword.
pub const AGAIN_THE_SAME: Check = Check {
    group: "coding",
    name: "a codeword is its own",
    question: "Where codes are nearest codewords, a decoded row decodes to itself when it is coded again",
    run: |case| {
        if !case.subject.nearest() && !case.like.is_some_and(|like| like.nearest()) {
            return skip("codes of this codec need not be nearest codewords, or it is not known");
        }
        let usual = case.usual(L2)?;
        let once = usual.decoded()?;
        let twice = case.coded(&*usual.trained, once)?;
        let near = 1e-6 * variance(&usual.rows).max(1e-12);
        let changed: Vec<usize> =
            errors(once, &twice).iter().enumerate().filter(|(_, error)| **error > near).map(|(i, _)| i).collect();
        match changed.first() {
            Some(i) => fail(
                "encoded and decoded rows that had been decoded",
                "the same rows",
                format!("{} of {} changed", changed.len(), once.nrows()),
                format!(
                    "{}, row {i}: {} became {}",
                    usual.rows.words,
                    first_values(once.row(*i)),
                    first_values(twice.row(*i))
                ),
            ),
            None => Ok("all decoded rows stay as they are".into()),
        }
    },
};
