//! What vectors are like, as facts of a run and as those of a file that no experiment has used yet.

use crate::spectrum::spectrum;
use cpu::Isa;
use datasets::outliers::{FAR, LongRows};
use datasets::profile::Profile;
use record::{DatasetFacts, LISTED, OutlierFacts, QueryFacts, VectorFacts};

/// The facts in a profile; `place` names a row.
pub(crate) fn facts(profile: &Profile, place: impl Fn(usize) -> String) -> VectorFacts {
    let far = |LongRows { count, first, factor }| OutlierFacts { count, first: place(first), factor, from: FAR };
    let mut variances = profile.variances.clone();
    variances.sort_by(f64::total_cmp);
    let at = |place: usize| variances.get(place).copied().unwrap_or(0.0);
    let last = variances.len().saturating_sub(1);
    VectorFacts {
        norms: profile.norms,
        far: profile.far.map(far),
        zeros: profile.zeros,
        copies: profile.copies,
        copies_estimated: !profile.copies_counted,
        off_centre: profile.off_centre(),
        variances: [at(0), at(variances.len() / 2), at(last)],
        constant: profile.constant.len(),
        first_constant: profile.constant.iter().copied().take(LISTED).collect(),
        intrinsic_dimension: profile.intrinsic_dimension,
        sample: profile.sample.nrows(),
        queries: profile.queries.map(|queries| QueryFacts {
            copies: queries.copies,
            ratio: queries.nearness.map(|nearness| nearness.ratio),
            far: queries.nearness.map(|nearness| nearness.far),
        }),
    }
}

/// The facts of rows that are described outside a run, all of them base rows: with the spectrum of the sample of a
/// profile, on the current thread pool. `queries` is the number of queries, `place` names a row.
pub fn describe(
    name: &str,
    profile: &Profile,
    queries: usize,
    isa: Isa,
    place: impl Fn(usize) -> String,
) -> DatasetFacts {
    DatasetFacts {
        name: name.to_owned(),
        dim: profile.mean.len(),
        base: profile.rows,
        queries,
        variance: profile.variance(),
        spectrum: spectrum(isa, profile.sample.view()),
        vectors: Some(facts(profile, place)),
        ..DatasetFacts::default()
    }
}
