//! Data at the edges: each gives a right result or a clear refusal, never a NaN and never a broken process.

use super::Check;
use super::coding::components;
use super::distortion::edge;
use crate::case::{Case, Checked, Stop, fail, skip};
use crate::rows::{Sample, Shape, below, errors, first_values, mean_and_error, power, variance};
use crate::subject::{Codes, Held, Refusal};
use methods::SearchMetric::L2;
use methods::laws::gaussian;
use ndarray::{Array2, s};

/// Trains on and codes edge data, and compares the mean error with a limit.
fn at_most(case: &Case<'_>, sample: &Sample, limit: f64, expected: &str) -> Checked {
    let decoded = edge(case, sample)?;
    let (found, _) = mean_and_error(&errors(sample, &decoded));
    if !below(found, limit) {
        return fail(
            format!("trained on, encoded and decoded {}", sample.words),
            format!("{expected} ({limit:.3e} per row)"),
            format!(
                "the error is {found:.3e}, as with row 0 {}, which became {}",
                first_values(sample.row(0)),
                first_values(decoded.row(0))
            ),
            &sample.words,
        );
    }
    Ok(format!("error {found:.3e} per row, {limit:.3e} are allowed"))
}

/// The limit where our own method is known: ten times its error; otherwise the squared length of rows.
fn like_or_power(case: &Case<'_>, sample: &Sample) -> (f64, &'static str) {
    let all = power(sample);
    let ours = case.like.and_then(|like| {
        let trained = like.fit(sample.view(), case.seed, L2).ok()?;
        let decoded = case.coded(&*trained, sample).ok()?;
        Some(mean_and_error(&errors(sample, &decoded)).0)
    });
    match ours {
        Some(ours) => (10.0 * ours + 1e-4 * all, "an error of at most ten times ours"),
        None => (all * (1.0 + 1e-6), "an error of at most the squared length of rows"),
    }
}

/// All rows are one.
pub const CONSTANT: Check = Check {
    group: "edges",
    name: "constant rows",
    question: "300 equal rows: nothing is divided by their variance of zero",
    run: |case| {
        let mut notes = Vec::new();
        for (rows, words) in [
            (Array2::from_shape_fn((300, case.dim), |(_, j)| 0.75 - 0.25 * (j % 4) as f32), "of 0.75, 0.5, 0.25, 0, …"),
            (Array2::from_elem((300, case.dim), 0.75), "of 0.75 in every component"),
            (Array2::zeros((300, case.dim)), "of zeros"),
        ] {
            let sample = Sample { rows, words: format!("300 × {} equal rows {words}", case.dim) };
            let (limit, expected) = like_or_power(case, &sample);
            match at_most(case, &sample, limit + 1e-9, expected) {
                Ok(note) => notes.push(format!("{words}: {note}")),
                Err(Stop::Skipped(why)) => notes.push(format!("{words}: {why}")),
                Err(failed) => return Err(failed),
            }
        }
        Ok(notes.join("; "))
    },
};

/// One component is constant.
pub const CONSTANT_COLUMN: Check = Check {
    group: "edges",
    name: "constant component",
    question: "One component is always 5, another always 0: the others are coded, and these stay near",
    run: |case| {
        if case.dim < 4 {
            return skip("needs four components");
        }
        let mut sample = case.draw(Shape::Gaussian, 2000, 100);
        sample.rows.column_mut(1).fill(5.0);
        sample.rows.column_mut(case.dim - 1).fill(0.0);
        sample.words += ", component 1 always 5, the last always 0";
        // A scale that all components share is wider for one of them at 5.
        let (limit, expected) = like_or_power(case, &sample);
        at_most(case, &sample, limit, expected)
    },
};

/// One row.
pub const ONE_ROW: Check = Check {
    group: "edges",
    name: "one training row",
    question: "Training on one row gives a quantizer of this row, or a clear refusal",
    run: |case| {
        let sample = case.draw(Shape::Gaussian, 1, 101);
        let (limit, expected) = like_or_power(case, &sample);
        at_most(case, &sample, limit, expected)
    },
};

/// Fewer rows than codewords.
pub const FEW_ROWS: Check = Check {
    group: "edges",
    name: "few training rows",
    question: "Training on 2, 7 and 20 rows gives a quantizer of these, or a clear refusal",
    run: |case| {
        let mut notes = Vec::new();
        for n in [2, 7, 20] {
            let sample = case.draw(Shape::Gaussian, n, 102 + n as u64);
            // Of more rows than codewords, some share one, and which is a matter of chance.
            let (limit, expected) = match n {
                20 => (variance(&sample), "an error below the variance"),
                _ => like_or_power(case, &sample),
            };
            match at_most(case, &sample, limit, expected) {
                Ok(note) => notes.push(format!("{n} rows: {note}")),
                Err(Stop::Skipped(why)) => notes.push(format!("{n} rows: {why}")),
                Err(failed) => return Err(failed),
            }
        }
        Ok(notes.join("; "))
    },
};

/// The share of the variance that coding loses on the usual rows.
fn usual_share(case: &Case<'_>) -> Result<f64, Refusal> {
    let usual = case.usual(L2)?;
    Ok(mean_and_error(&errors(&usual.rows, usual.decoded()?)).0 / variance(&usual.rows))
}

/// The same data in another unit, far from 1.
fn unit(case: &Case<'_>, unit: f32) -> Checked {
    let mut sample = case.draw(Shape::Gaussian, 1000, 110);
    sample.rows *= unit;
    sample.words += &format!(", times {unit:e}");
    // Formats of 16 bits have steps of a percent and less near their ends.
    let limit = (1.25 * usual_share(case)?).max(1e-3) * variance(&sample);
    at_most(case, &sample, limit, "an error of about the same share of the variance as in any unit")
}

/// Small values.
pub const TINY: Check = Check {
    group: "edges",
    name: "tiny values",
    question: "Rows times 1e-6: coded like others, or refused",
    run: |case| unit(case, 1e-6),
};

/// Values beyond the range of float16.
pub const LARGE: Check = Check {
    group: "edges",
    name: "large values",
    question: "Rows times 1e5, beyond the range of float16: coded like others, or refused",
    run: |case| unit(case, 1e5),
};

/// Values whose squares f32 hardly holds.
pub const HUGE: Check = Check {
    group: "edges",
    name: "huge values",
    question: "Rows times 1e15: coded like others, or refused",
    run: |case| unit(case, 1e15),
};

/// Zero vectors.
pub const ZERO_ROWS: Check = Check {
    group: "edges",
    name: "zero vectors",
    question: "Zero rows among others, in training and after it, and a zero query: finite rows near zero, and a search",
    run: |case| {
        let mut sample = case.draw(Shape::Gaussian, 1000, 111);
        sample.rows.slice_mut(s![..;10, ..]).fill(0.0);
        sample.words += ", every tenth row zero";
        zeros(case, &sample, &(0..1000).step_by(10).collect::<Vec<_>>())
    },
};

/// Unit vectors, as cosine similarity needs them, and what became of zero ones.
pub const COSINE: Check = Check {
    group: "edges",
    name: "unit vectors",
    question: "Rows of length 1 with zero vectors among them, as a search by cosine similarity makes them",
    run: |case| {
        let mut sample = case.draw(Shape::Gaussian, 1000, 112);
        sample.scale_to_unit();
        sample.rows.slice_mut(s![5..;100, ..]).fill(0.0);
        sample.words += ", rows 5, 105, … zero";
        zeros(case, &sample, &(5..1000).step_by(100).collect::<Vec<_>>())
    },
};

/// Trains on rows with zero ones among them, and looks at what these become, with others and alone, and at a search for them.
fn zeros(case: &Case<'_>, sample: &Sample, zero: &[usize]) -> Checked {
    let trained = match case.fit(sample.view()) {
        Ok(trained) => trained,
        Err(refusal @ Refusal::Error { .. }) => return skip(format!("it refuses to be trained on them: {refusal}")),
        Err(other) => return Err(other.into()),
    };
    let all = case.coded(&*trained, sample).map(Some).or_else(|refusal| match refusal {
        Refusal::Missing(_) => Ok(None),
        other => Err(other),
    })?;
    if let Some(decoded) = &all {
        let lengths: Vec<f64> = sample.outer_iter().map(|row| f64::from(row.dot(&row)).sqrt()).collect();
        let longest = lengths.iter().fold(0f64, |a, &b| a.max(b));
        let alone = case.coded(&*trained, &Array2::zeros((1, case.dim)))?;
        let rows = zero.iter().map(|&i| (i, decoded.row(i))).chain([(zero[0], alone.row(0))]);
        for (i, row) in rows {
            let length = row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
            // One bit per component has no level near zero.
            if !below(length, 2.0 * longest) {
                return fail(
                    "encoded and decoded a zero vector",
                    "a finite row, at most twice as long as the longest row",
                    format!("row {i} became {}", first_values(row)),
                    &sample.words,
                );
            }
        }
        let nmse = mean_and_error(&errors(sample, decoded)).0 / variance(sample);
        let limit = (1.5 * usual_share(case)?).max(1.0);
        if !below(nmse, limit) {
            let came = format!("it is {nmse:.3} of it");
            return fail(
                "encoded and decoded",
                format!("an error of at most {limit:.2} of the variance"),
                came,
                &sample.words,
            );
        }
    }
    let mut queries = gaussian(3, case.dim, case.seed_of(113));
    queries.row_mut(1).fill(0.0);
    let codes;
    let held = if case.subject.codes() {
        codes = trained.encode(sample.view())?;
        Held::Codes(&codes)
    } else {
        Held::Rows(sample.view())
    };
    match trained.search(held, queries.view(), 20) {
        Err(Refusal::Missing(_)) => Ok("decoded; there is no search".into()),
        Err(Refusal::Error { message, .. }) if case.unit => skip(format!("refused, which is fine: {message}")),
        Err(refusal) => Err(refusal.into()),
        Ok(found) => {
            super::search::proper(
                &found,
                sample.nrows(),
                20,
                case.subject.codes(),
                "a query of zeros among others",
                &sample.words,
            )?;
            Ok("decoded and found".into())
        }
    }
}

/// Codes that no encoder wrote.
pub const ANY_CODE: Check = Check {
    group: "edges",
    name: "any code",
    question: "Codes of zeros, of ones and of other bytes decode to finite rows or are refused, and change nothing",
    run: |case| {
        let usual = case.usual(L2)?;
        let codes = usual.codes()?;
        let mut notes = Vec::new();
        for fill in [0x00u8, 0xff, 0x5a] {
            let any = Codes { size: codes.size, bytes: vec![fill; codes.size * 3] };
            match usual.trained.decode(&any) {
                Ok(rows) => {
                    // Whatever bytes stand where a scale is, are a scale: bytes of ones are a NaN of f32.
                    let finite = rows.iter().all(|v| v.is_finite());
                    notes.push(format!("{fill:02x}: {}", if finite { "finite" } else { "not finite" }));
                    if fill == 0 && !finite {
                        let came = format!("it is {}", first_values(rows.row(0)));
                        return fail("decoded a code of zero bytes", "a finite row, or a refusal", came, "");
                    }
                }
                Err(Refusal::Error { .. }) => notes.push(format!("{fill:02x}: refused")),
                Err(other) => return Err(other.into()),
            }
        }
        if usual.trained.decode(codes)? != usual.decoded()? {
            return fail(
                "decoded codes of its own after foreign ones",
                "the rows of before",
                "others came",
                &usual.rows.words,
            );
        }
        Ok(notes.join(", "))
    },
};

/// Other dimensions.
pub const OTHER_DIMS: Check = Check {
    group: "edges",
    name: "other dimensions",
    question: "Vectors of 1 to 257 components, where it takes them: every component is coded, and the last rows too",
    run: |case| {
        let mut taken = Vec::new();
        for dim in [1, 2, 3, 4, 7, 8, 12, 17, 31, 33, 48, 100, 128, 257] {
            if dim == case.dim || case.subject.accepts(dim).is_err() {
                continue;
            }
            let train = Shape::Gaussian.draw(600, dim, case.seed_of(114));
            let trained = match case.fit(train.view()) {
                Ok(trained) => trained,
                Err(Refusal::Error { .. }) => continue,
                Err(other) => return Err(other.into()),
            };
            let codes = trained.encode(train.view())?;
            let decoded = trained.decode(&codes)?;
            if decoded.dim() != train.dim() || decoded.iter().any(|v| !v.is_finite()) {
                let came = format!("{:?}, or values that are not finite", decoded.dim());
                return fail("encoded and decoded", format!("finite rows, {:?}", train.dim()), came, &train.words);
            }
            components(&codes, &train.rows, &decoded, &train.words)?;
            let last = trained.decode(&trained.encode(train.slice(s![597.., ..]))?)?;
            let (among, own) = (decoded.slice(s![597.., ..]).to_owned(), train.slice(s![597.., ..]).to_owned());
            // A tie may go the other way in another batch, where both codes are as good.
            let (before, now) = (errors(&own, &among), errors(&own, &last));
            let near = 1e-4 * mean_and_error(&errors(&train, &decoded)).0;
            if before.iter().zip(&now).any(|(a, b)| !below((a - b).abs(), near)) {
                return fail(
                    "encoded the last three rows alone",
                    "codes as good as those among all",
                    "worse or better ones came",
                    &train.words,
                );
            }
            taken.push(dim.to_string());
        }
        if taken.is_empty() { skip("it takes no other dimension") } else { Ok(format!("taken: {}", taken.join(", "))) }
    },
};
