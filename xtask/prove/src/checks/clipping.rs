//! Rows outside of the range that was trained on: they are clipped to the nearest code, and never wrap around.

use super::Check;
use crate::case::{Case, Checked, fail, skip};
use crate::rows::{errors, first_values};
use crate::subject::Refusal;
use methods::SearchMetric::L2;
use ndarray::{Array2, s};

/// Rows a little outside.
pub const OUTSIDE: Check = Check {
    group: "clipping",
    name: "a little outside",
    question: "Rows up to 20 times as long as those trained on get codes on their own side",
    run: |case| outside(case, &[1.5, 2.0, 3.0, 5.0, 10.0, 20.0]),
};

/// Rows far outside.
pub const FAR_OUTSIDE: Check = Check {
    group: "clipping",
    name: "far outside",
    question: "Rows a thousand to 10^12 times as long get codes on their own side, or are refused",
    run: |case| outside(case, &[1e3, 1e6, 1e10, 1e12]),
};

/// Encodes rows that are stretched, and compares their errors with those that the codes of the other trained rows would have.
fn outside(case: &Case<'_>, stretches: &[f32]) -> Checked {
    let usual = case.usual(L2)?;
    let decoded = usual.decoded()?;
    let mut notes = Vec::new();
    // Beside such rows, f32 does not see in sums of squares by what codewords differ. Codes of single values need no sums.
    let known = case.subject.registered().or_else(|| case.like.and_then(|like| like.registered()));
    let scalar = known.is_some_and(|(name, _)| name == "scalar");
    for &stretch in stretches {
        let rows: Array2<f32> = usual.rows.slice(s![..100, ..]).to_owned() * stretch;
        let found = match case.coded(&*usual.trained, &rows) {
            Ok(found) => found,
            Err(Refusal::Error { .. }) => {
                notes.push(format!("×{stretch:e} refused"));
                continue;
            }
            Err(other) => return Err(other.into()),
        };
        let own = errors(&rows, &found);
        let mut beaten = Vec::new();
        for (i, row) in rows.outer_iter().enumerate() {
            if found.row(i).iter().any(|v| !v.is_finite()) {
                return fail(
                    format!("encoded and decoded rows times {stretch:e}"),
                    "finite values, or a refusal",
                    format!("row {i} became {}", first_values(found.row(i))),
                    &usual.rows.words,
                );
            }
            if stretch > 1e4 && !scalar {
                continue;
            }
            // How many of the codes of usual rows are nearer: none for a nearest codeword, about half for one by chance.
            let nearer = decoded.outer_iter().filter(|other| {
                let error: f64 = row.iter().zip(other).map(|(x, y)| (f64::from(*x) - f64::from(*y)).powi(2)).sum();
                error < own[i]
            });
            if nearer.count() > decoded.nrows() / 5 {
                beaten.push(i);
            }
        }
        if let Some(&i) = beaten.first().filter(|_| beaten.len() > 5) {
            return fail(
                format!("encoded and decoded 100 rows times {stretch:e}"),
                "that few codes of usual rows are nearer to such a row than its own code",
                format!("for {} of 100 rows more than a fifth of the other codes are nearer", beaten.len()),
                format!(
                    "{}, row {i}: {} became {}",
                    usual.rows.words,
                    first_values(rows.row(i)),
                    first_values(found.row(i))
                ),
            );
        }
    }
    if notes.len() == stretches.len() { skip("all such rows are refused") } else { Ok(notes.join(", ")) }
}
