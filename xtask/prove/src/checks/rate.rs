//! More bits never hurt.

use super::Check;
use crate::case::{fail, skip};
use crate::rows::{Shape, below, errors, mean_and_error};
use methods::SearchMetric::L2;

/// A parameter `bits`.
pub const MONOTONE: Check = Check {
    group: "rate",
    name: "more bits",
    question: "With more bits per symbol the distortion falls",
    run: |case| {
        let train = case.draw(Shape::Gaussian, 3000, 130);
        let rows = case.draw(Shape::Gaussian, 1000, 131);
        let mut found: Vec<(u64, f64)> = Vec::new();
        for bits in 1..=6 {
            let Some(subject) = case.subject.at_bits(bits) else { continue };
            if subject.accepts(case.dim).is_err() {
                continue;
            }
            let Ok(trained) = subject.fit(train.view(), case.seed, L2) else { continue };
            let decoded = trained.decode(&trained.encode(rows.view())?)?;
            let (error, _) = mean_and_error(&errors(&rows, &decoded));
            if let Some((fewer, before)) = found.last()
                && !below(error, before * 1.01)
            {
                return fail(
                    format!("trained with {bits} bits instead of {fewer}"),
                    format!("an error of at most {before:.4e} per row"),
                    format!("it is {error:.4e}"),
                    format!("{}, then {}", train.words, rows.words),
                );
            }
            found.push((bits, error));
        }
        if found.len() < 2 {
            return skip("no parameter `bits` sets its rate");
        }
        let all: Vec<String> = found.iter().map(|(bits, error)| format!("{bits}: {error:.3e}")).collect();
        Ok(format!("error per row by bits: {}", all.join(", ")))
    },
};
