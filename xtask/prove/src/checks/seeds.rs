//! What the seed decides.

use super::Check;
use crate::case::{fail, skip};
use crate::rows::{below, errors, mean_and_error};
use methods::SearchMetric::L2;

/// The same seed.
pub const SAME: Check = Check {
    group: "seeds",
    name: "same seed",
    question: "Trained twice with the same seed, in two processes, it gives the same codes",
    run: |case| {
        if !case.subject.seedable() {
            return skip("it does not say that the seed decides everything (`seedable`)");
        }
        let usual = case.usual(L2)?;
        for times in ["once more", "a second time"] {
            let again = case.subject.fit_afresh(usual.train.view(), case.seed, L2)?;
            if &again.encode(usual.rows.view())? != usual.codes()? {
                return fail(
                    format!("trained {times} with seed {}", case.seed),
                    "the same codes",
                    "others came",
                    format!("{}, then {}", usual.train.words, usual.rows.words),
                );
            }
        }
        Ok("three trainings give the same codes".into())
    },
};

/// Other seeds.
pub const OTHER: Check = Check {
    group: "seeds",
    name: "other seeds",
    question: "With any seed, the distortion is about the same",
    run: |case| {
        let usual = case.usual(L2)?;
        let (first, _) = mean_and_error(&errors(&usual.rows, usual.decoded()?));
        let mut all = vec![first];
        for seed in [case.seed + 1, 0, 123_456_789] {
            let trained = case.subject.fit(usual.train.view(), seed, L2)?;
            let (found, _) = mean_and_error(&errors(&usual.rows, &case.coded(&*trained, &usual.rows)?));
            // Trainings of one codec from different starts differ by a few percent at most on such rows.
            let least = all.iter().fold(found, |a, &b| a.min(b));
            let most = all.iter().fold(found, |a, &b| a.max(b));
            if !below(most, 1.25 * least + 1e-12) {
                return fail(
                    format!("trained with seed {seed}"),
                    format!("an error within a quarter of {first:.4e} per row, that of seed {}", case.seed),
                    format!("it is {found:.4e}"),
                    &usual.train.words,
                );
            }
            all.push(found);
        }
        Ok(format!(
            "errors {:.4e} to {:.4e}",
            all.iter().fold(first, |a, &b| a.min(b)),
            all.iter().fold(first, |a, &b| a.max(b))
        ))
    },
};
