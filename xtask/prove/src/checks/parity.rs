//! Whether it is as good as our own implementation of the same codec, on the same rows.

use super::Check;
use crate::case::{Case, Checked, K, fail, skip};
use crate::rows::{Sample, Shape, below, errors, mean_and_error, power};
use crate::subject::{Found, Held, Refusal, Subject};
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
) -> Result<Vec<f64>, Refusal> {
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

/// True neighbours of rows of uneven length, away from zero.
pub const RECALL_UNEVEN: Check = Check {
    group: "parity",
    name: "parity: recall, uneven rows",
    question: "Among rows of uneven length away from zero, its searches find as many true neighbours as ours",
    run: |case| {
        let Some(like) = case.like else { return skip("no method of ours to compare with is known (`--like`)") };
        let train = case.draw(Shape::Uneven, 2000, 80);
        let (rows, queries) = (case.draw(Shape::Uneven, 1025, 81), case.draw(Shape::Uneven, 300, 82));
        // By inner product all queries would want the same few rows, and so be no independent questions.
        let found = |subject: &dyn Subject, decodes: bool| {
            let trained = subject.fit(train.view(), case.seed, L2)?;
            if !(subject.codes() && subject.searches_codes()) {
                return trained.search(Held::Rows(rows.view()), queries.view(), K);
            }
            let codes = trained.encode(rows.view())?;
            match trained.search(Held::Codes(&codes), queries.view(), K) {
                Err(Refusal::Missing(_)) if decodes => {
                    Ok(numbers(super::search::exact(&trained.decode(&codes)?, &queries, L2, K)))
                }
                found => found,
            }
        };
        let mine = found(case.subject, false)?;
        let Ok(ours) = found(like, true) else { return skip("ours cannot be compared here") };
        recalls(&rows, &queries, L2, &mine, &ours, 0.06)
    },
};

/// Row numbers as searches give them.
fn numbers(found: Vec<Vec<usize>>) -> Found {
    found.into_iter().map(|ids| ids.into_iter().map(|id| id as i64).collect()).collect()
}

fn recall(case: &Case<'_>, metric: SearchMetric) -> Checked {
    let usual = case.usual(metric)?;
    let found = usual.found()?;
    let ours = case.usual_like(metric)?;
    // Where ours has no search over codes, it decodes them and compares.
    let our_found = match ours.found() {
        Ok(found) => found.clone(),
        Err(_) => numbers(super::search::exact(ours.decoded()?, &ours.queries, metric, K)),
    };
    recalls(&usual.rows, &usual.queries, metric, found, &our_found, 0.03)
}

/// Compares how many true neighbours two searches found.
fn recalls(
    rows: &Sample,
    queries: &Sample,
    metric: SearchMetric,
    found: &Found,
    ours: &Found,
    tolerance: f64,
) -> Checked {
    let truth = super::search::exact(rows, queries, metric, K);
    let share = |found: &[i64], truth: &[usize]| {
        truth.iter().filter(|&&i| found.contains(&(i as i64))).count() as f64 / truth.len() as f64
    };
    let (mut differences, mut mine, mut yours) = (Vec::new(), 0.0, 0.0);
    for ((found, ours), truth) in found.iter().zip(ours).zip(&truth) {
        let (a, b) = (share(found, truth), share(ours, truth));
        differences.push(a - b);
        (mine, yours) = (mine + a, yours + b);
    }
    let n = differences.len().max(1) as f64;
    let (mean, error) = mean_and_error(&differences);
    // Two trainings of one codec differ by chance in which neighbours they find, beside what queries make of it.
    let allowed = tolerance + 6.0 * error;
    if !below(-mean, allowed) {
        return fail(
            format!(
                "searched {} rows for the {K} nearest of {n} queries by {}",
                rows.nrows(),
                super::search::name(metric)
            ),
            format!("a recall of at least {:.3}; ours is {:.3}", yours / n - allowed, yours / n),
            format!("it is {:.3}", mine / n),
            format!("{}; queries: {}", rows.words, queries.words),
        );
    }
    Ok(format!("recall {:.3}, ours {:.3}", mine / n, yours / n))
}
