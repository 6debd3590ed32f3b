//! Whether it is as good as our own implementation of the same codec, on the same rows.

use super::Check;
use crate::case::{Case, Checked, fail, skip};
use crate::rows::{Shape, below, errors, mean_and_error, power};
use crate::subject::Subject;
use methods::SearchMetric::{self, InnerProduct, L2};
use ndarray::Array2;

/// Seeds of our own method, whose spread says what chance does.
const SEEDS: u64 = 3;

/// Errors per row of other rows (`rows`) after training, summed over the components.
fn errors_of(
    case: &Case<'_>,
    subject: &dyn Subject,
    seed: u64,
    train: &Array2<f32>,
    rows: &Array2<f32>,
) -> Result<Vec<f64>, crate::Refusal> {
    let trained = subject.fit(train.view(), seed, L2)?;
    Ok(errors(rows, &case.coded(&*trained, rows)?))
}

/// Compares errors on rows of a shape that were not trained on, which are then `stretched`. It may lose more than ours by `tolerance`, by twice
/// the spread of ours over seeds, and by six standard errors of the mean difference over rows.
fn compare(case: &Case<'_>, shape: Shape, stretched: f32, tolerance: f64) -> Checked {
    let Some(like) = case.like else { return skip("no method of ours to compare with is known (`--like`)") };
    let train = case.draw(shape, 2000, 60 + shape as u64);
    let mut rows = case.draw(shape, 1025, 70 + shape as u64);
    rows.rows *= stretched;
    let found = errors_of(case, case.subject, case.seed, &train, &rows)?;
    let mut ours = Vec::new();
    for seed in 0..SEEDS {
        match errors_of(case, like, case.seed + seed, &train, &rows) {
            Ok(errors) => ours.push(errors),
            Err(refusal) => return skip(format!("our own method cannot be compared here: {refusal}")),
        }
    }
    let means: Vec<f64> = ours.iter().map(|errors| mean_and_error(errors).0).collect();
    let (least, most) = means.iter().fold((f64::INFINITY, 0f64), |(a, b), &m| (a.min(m), b.max(m)));
    let mean = means.iter().sum::<f64>() / means.len() as f64;
    let differences: Vec<f64> = found.iter().zip(&ours[0]).map(|(a, b)| a - b).collect();
    let (_, error) = mean_and_error(&differences);
    let (found, _) = mean_and_error(&found);
    // Below this f32 itself rounds.
    let rounding = 1e-11 * power(&rows);
    let allowed = mean * (1.0 + tolerance) + 2.0 * (most - least) + 6.0 * error.min(mean) + rounding;
    if !below(found, allowed) {
        let stretched = if stretched == 1.0 { String::new() } else { format!(", times {stretched}") };
        return fail(
            format!("trained on {} and coded other rows of the same kind{stretched}", train.words),
            format!("an error of at most {allowed:.4e} per row; ours is {mean:.4e} ({} seeds)", SEEDS),
            format!("it is {found:.4e}, {:.2} times ours", found / mean.max(f64::MIN_POSITIVE)),
            &rows.words,
        );
    }
    Ok(format!("error {found:.4e} per row, ours {mean:.4e}"))
}

macro_rules! shapes {
    ($($check:ident $shape:ident $name:literal $question:literal;)*) => { $(
        #[doc = $question]
        pub const $check: Check = Check {
            group: "parity",
            name: $name,
            question: $question,
            run: |case| compare(case, Shape::$shape, 1.0, if Shape::$shape == Shape::Clusters { 0.5 } else { case.tolerance }),
        };
    )* };
}

shapes! {
    GAUSSIAN Gaussian "parity: Gaussian" "On Gaussian rows it loses no more than our own implementation";
    OFF_CENTRE OffCentre "parity: off-centre" "On rows whose components lie at -100, 0, 100, 200 and 300 it loses no more than ours";
    SKEWED Skewed "parity: skewed" "On squares of Gaussians it loses no more than ours";
    FALLING Falling "parity: falling" "On components of deviations 1, 1/2, 1/3, … it loses no more than ours";
    CORRELATED Correlated "parity: correlated" "On components that follow each other it loses no more than ours";
    UNIFORM Uniform "parity: uniform" "On uniform rows it loses no more than ours";
    CLUSTERS Clusters "parity: clusters" "On eight clusters it loses at most half more than ours";
}

/// Rows outside of the trained range.
pub const OUTSIDE: Check = Check {
    group: "parity",
    name: "parity: outside",
    question: "On rows three times as long as those it was trained on, it loses no more than ours",
    run: |case| compare(case, Shape::Gaussian, 3.0, case.tolerance.max(0.1)),
};

/// True neighbours.
pub const RECALL_L2: Check = Check {
    group: "parity",
    name: "parity: recall, l2",
    question: "Its search finds as many true neighbours as ours",
    run: |case| recall(case, L2),
};

/// True neighbours by inner product.
pub const RECALL_IP: Check = Check {
    group: "parity",
    name: "parity: recall, ip",
    question: "Its search by inner product finds as many true neighbours as ours",
    run: |case| recall(case, InnerProduct),
};

fn recall(case: &Case<'_>, metric: SearchMetric) -> Checked {
    let usual = case.usual(metric)?;
    let found = usual.found()?;
    let ours = case.usual_like(metric)?;
    let Ok(our_found) = ours.found() else { return skip("ours has no search over codes") };
    let truth = super::search::exact(&usual.rows, &usual.queries, metric, crate::case::K);
    let share = |found: &[i64], truth: &[usize]| {
        truth.iter().filter(|&&i| found.contains(&(i as i64))).count() as f64 / truth.len() as f64
    };
    let (mut differences, mut mine, mut yours) = (Vec::new(), 0.0, 0.0);
    for ((found, ours), truth) in found.iter().zip(our_found).zip(&truth) {
        let (a, b) = (share(found, truth), share(ours, truth));
        differences.push(a - b);
        (mine, yours) = (mine + a, yours + b);
    }
    let n = differences.len().max(1) as f64;
    let (mean, error) = mean_and_error(&differences);
    // Two trainings of one codec differ by chance in which neighbours they find, beside what queries make of it.
    let allowed = 0.03 + 6.0 * error;
    if !below(-mean, allowed) {
        return fail(
            format!("searched {} rows for the {} nearest of {n} queries", usual.rows.nrows(), crate::case::K),
            format!("a recall of at least {:.3}; ours is {:.3}", yours / n - allowed, yours / n),
            format!("it is {:.3}", mine / n),
            format!("{}; queries: {}", usual.rows.words, usual.queries.words),
        );
    }
    Ok(format!("recall {:.3}, ours {:.3}", mine / n, yours / n))
}
