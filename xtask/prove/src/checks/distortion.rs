//! How much codes lose, by itself: against the mean, against the bound, at other scales and places.

use super::Check;
use crate::case::{Case, Stop, fail, skip};
use crate::rows::{Sample, Shape, below, errors, mean_and_error, power, select, variance};
use crate::subject::{Refusal, Trained};
use methods::SearchMetric::L2;
use ndarray::Array2;

/// Mean squared error per row, relative to the variance.
fn share(case: &Case<'_>, trained: &dyn Trained, rows: &Array2<f32>) -> Result<f64, Refusal> {
    let decoded = case.coded(trained, rows)?;
    Ok(mean_and_error(&errors(rows, &decoded)).0 / variance(rows))
}

/// Better than nothing.
pub const BEATS_THE_MEAN: Check = Check {
    group: "distortion",
    name: "better than the mean",
    question: "Coding loses less than replacing every row by the mean of all",
    run: |case| {
        let mut notes = Vec::new();
        for shape in [Shape::Gaussian, Shape::Skewed, Shape::Correlated] {
            let train = case.draw(shape, 2000, 50);
            let trained = case.fit(train.view())?;
            let found = share(case, &*trained, &train)?;
            let bits = 8.0 * trained.encode(train.view())?.size as f64 / case.dim as f64;
            // Two levels at the ends of a range, or around zero, may be worse than the mean.
            let limit = if bits < 1.5 { 1.5 } else { 1.0 };
            if bits < 1.5 && shape == Shape::Skewed {
                continue;
            }
            if !below(found, limit) {
                let came = format!("{found:.4} of the variance");
                let expected = format!("an error of at most {limit} of the variance");
                return fail("trained, encoded and decoded", expected, came, &train.words);
            }
            notes.push(format!("{} {found:.4}", shape.name()));
        }
        Ok(format!("shares of the variance: {}", notes.join(", ")))
    },
};

/// Shannon's bound.
pub const BOUND: Check = Check {
    group: "distortion",
    name: "rate–distortion bound",
    question: "On Gaussian rows that it has not seen, it loses no less than the rate–distortion bound allows",
    run: |case| {
        let usual = case.usual(L2)?;
        let (rows, decoded) = (&usual.rows, usual.decoded()?);
        let bits = 8.0 * usual.codes()?.size as f64 / case.dim as f64;
        let (found, _) = mean_and_error(&errors(rows, decoded));
        let values = rows.len() as f64;
        // The error of a code is at least that of the bound times a mean of squares of Gaussians, whose standard error is
        // the root of 2 over their number.
        let bound = 4f64.powf(-bits) * case.dim as f64;
        let allowed = bound * (1.0 - 6.0 * (2.0 / values).sqrt());
        // f32 itself holds no more than 24 bits.
        if found < allowed && bits < 20.0 {
            return fail(
                format!("encoded and decoded at {bits:.2} bits per component"),
                format!("an error of at least {bound:.3e} per row: no code of this length can lose less on average"),
                format!("it is {found:.3e}; so what is decoded does not follow from the codes and the model alone"),
                &rows.words,
            );
        }
        Ok(format!("{:.1} dB above the bound at {bits:.2} bits per component", 10.0 * (found / bound).log10()))
    },
};

/// Another unit.
pub const SCALE: Check = Check {
    group: "distortion",
    name: "unit of the data",
    question: "Rows in another unit (times 2^10, times 2^-10) lose the same share of their variance",
    run: |case| {
        let base = case.draw(Shape::Gaussian, 2000, 51);
        let at = |unit: f32| -> Result<f64, Refusal> {
            let rows = &base.rows * unit;
            share(case, &*case.fit(rows.view())?, &rows)
        };
        let usual = at(1.0)?;
        for power in [10, -10] {
            let found = at(2f32.powi(power))?;
            if !below(found, usual * 1.25 + 1e-7) {
                return fail(
                    format!("trained on, encoded and decoded rows times 2^{power}"),
                    format!("an error of about {usual:.4e} of the variance, as with the rows themselves"),
                    format!("it is {found:.4e}"),
                    &base.words,
                );
            }
        }
        Ok(format!("{usual:.4} of the variance in each unit, within a quarter"))
    },
};

/// Far from zero.
pub const OFFSET: Check = Check {
    group: "distortion",
    name: "away from zero",
    question: "Rows ten deviations from zero are decoded nearer than zero is",
    run: |case| {
        let base = case.draw(Shape::Gaussian, 2000, 52);
        let rows = &base.rows + 10.0;
        let trained = case.fit(rows.view())?;
        let (found, _) = mean_and_error(&errors(&rows, &case.coded(&*trained, &rows)?));
        let zero = power(&rows);
        // One bit per component with one magnitude for all does not do better than this, and nothing should do worse.
        if !below(found, 0.5 * zero) {
            let came = format!("it is {:.3} of it", found / zero);
            let words = format!("{}, plus 10", base.words);
            return fail("trained, encoded and decoded", "an error far below the squared length of rows", came, words);
        }
        Ok(format!("{:.4} of the variance", found / variance(&rows)))
    },
};

/// Training rows in order.
pub const SORTED_TRAINING_ROWS: Check = Check {
    group: "distortion",
    name: "order of training rows",
    question: "Training on sorted rows is as good as on the same rows shuffled",
    run: |case| {
        let drawn = case.draw(Shape::Common, 2000, 53);
        let mut order: Vec<(f32, usize)> = drawn.outer_iter().map(|row| row.sum()).zip(0..).collect();
        order.sort_by(|a, b| a.0.total_cmp(&b.0));
        let sorted: Vec<usize> = order.into_iter().map(|(_, i)| i).collect();
        let of = |rows: Array2<f32>| -> Result<f64, Refusal> { share(case, &*case.fit(rows.view())?, &drawn.rows) };
        let shuffled = of(select(&drawn, &crate::rows::shuffled(2000, case.seed_of(54))))?;
        let sorted = of(select(&drawn, &sorted))?;
        // Starts of k-means follow the order of rows, and end a few percent apart.
        if !below(sorted, 1.4 * shuffled + 1e-6) {
            return fail(
                "trained on rows sorted by their sum, and coded all of them",
                format!("an error near {shuffled:.3e} of the variance, that of training on the same rows shuffled"),
                format!("it is {sorted:.3e}"),
                &drawn.words,
            );
        }
        Ok(format!("{sorted:.3e} sorted, {shuffled:.3e} shuffled"))
    },
};

/// Trains and codes edge data: a clear refusal is as good as a right result.
///
/// # Errors
/// A failure where it breaks, or gives values that are not finite; skipped where it refuses.
pub fn edge(case: &Case<'_>, sample: &Sample) -> Result<Array2<f32>, Stop> {
    let coded = case.fit(sample.view()).and_then(|trained| case.coded(&*trained, sample));
    match coded {
        Err(Refusal::Error { verb, message }) => skip(format!("refused, which is fine: {verb}: {message}")),
        Err(other) => Err(other.into()),
        Ok(decoded) => match decoded.outer_iter().position(|row| row.iter().any(|v| !v.is_finite())) {
            Some(i) => fail(
                "trained, encoded and decoded",
                "finite values, or a clear error",
                format!("row {i} decodes to {}", crate::rows::first_values(decoded.row(i))),
                &sample.words,
            ),
            None => Ok(decoded),
        },
    }
}
