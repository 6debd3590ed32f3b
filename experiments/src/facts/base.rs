//! Facts of the base rows, which are read in two passes and never all in memory: mean and candidates for neighbours in
//! the first, covariance and exact scores in the second.

use super::Truth;
use crate::clock::PhaseClock;
use crate::spectrum::MAX_SPECTRUM_DIM;
use cpu::Isa;
use datasets::profile::{Profile, Profiler};
use datasets::truth::{NeighborRanking, NeighborSearch};
use datasets::{BaseCheck, DatasetError, Opened, Resolved};
use methods::algorithms::moments;
use ndarray::{ArrayView2, s};
use rayon::prelude::*;

/// What the base rows tell.
pub(super) struct BaseFacts {
    /// `mean ‖x−mean‖²`.
    pub(super) variance: f64,
    /// The eigenvalues of the covariance, largest first; none in very high dimension.
    pub(super) spectrum: Vec<f64>,
    /// The exact neighbours of the queries, if they were searched for.
    pub(super) truth: Option<Truth>,
    /// What the rows are like; None if there are none.
    pub(super) profile: Option<Profile>,
}

/// The neighbours of the queries that are looked for.
pub(super) struct Wanted {
    /// How many of each query.
    pub(super) depth: usize,
    /// The rows among which they are, by query, if they are known.
    pub(super) among: Option<Vec<Vec<u32>>>,
}

/// Reads the base rows and checks them. Looks for neighbours of the queries if some are wanted.
/// `clock` is told the phases. `progress` is called with the number of rows read so far, and of all that are to be read.
pub(super) fn read<E: From<DatasetError>>(
    data: &Opened,
    resolved: &Resolved,
    wanted: Option<Wanted>,
    isa: Isa,
    clock: &mut PhaseClock,
    progress: &mut dyn FnMut(usize, usize) -> Result<(), E>,
) -> Result<BaseFacts, E> {
    let (n, dim) = (data.base.nrows(), data.dim());
    let mut check = BaseCheck::new(data);
    let mut profiler = Profiler::new(dim, Some(data.queries.view()));
    let mut sums = vec![0f64; dim];
    let (mut search, mut ranking) = (None, None);
    match wanted {
        Some(Wanted { depth, among: Some(among) }) => {
            ranking = Some(NeighborRanking::new(data.queries.view(), data.metric, depth.min(n), among));
        }
        Some(Wanted { depth, among: None }) => {
            search = Some(NeighborSearch::new(data.queries.view(), data.metric, depth.min(n), isa));
        }
        None => {}
    }
    clock.enter("first pass");
    data.base.blocks(|first, rows| {
        // Side by side: what one of them does on one thread, others use the remaining threads for.
        rayon::scope(|scope| {
            scope.spawn(|_| check.add(first, rows));
            scope.spawn(|_| profiler.add(rows));
            scope.spawn(|_| add_to_sums(rows, &mut sums));
            if let Some(search) = &mut search {
                search.select(first, rows);
            }
        });
        progress(first + rows.nrows(), 2 * n)
    })?;
    check.finish(data, resolved)?;
    clock.enter("profile");
    let profile = profiler.finish(isa);

    let mean = moments::mean_of_sums(sums, n);
    ranking = ranking.or(search.map(NeighborSearch::into_ranking));
    clock.enter("second pass");
    let mut squares = 0.0;
    let mut covariance = (dim <= MAX_SPECTRUM_DIM).then(|| moments::CovarianceSum::new(n, &mean));
    data.base.blocks(|first, rows| {
        let spread = || match &mut covariance {
            Some(covariance) => covariance.add(rows),
            None => moments::add_to_squares(rows, &mean, &mut squares),
        };
        rayon::join(spread, || ranking.iter_mut().for_each(|ranking| ranking.score(first, rows)));
        progress(n + first + rows.nrows(), 2 * n)
    })?;
    clock.enter("spectrum");
    let ids = |row: Vec<cpu::Neighbor>| row.into_iter().map(|neighbor| neighbor.id).collect();
    let truth = ranking.map(|ranking| ranking.finish().into_iter().map(ids).collect());
    let (variance, spectrum) = match covariance.map(moments::CovarianceSum::finish) {
        Some(covariance) => (covariance.diag().sum(), moments::eigenvalues(isa, covariance)),
        None => (squares / n.max(1) as f64, Vec::new()),
    };
    Ok(BaseFacts { variance, spectrum, truth, profile })
}

/// Components whose sums are one task.
const COLUMNS: usize = 32;

/// Adds rows to the sums of their components, each in the order of the rows.
fn add_to_sums(rows: ArrayView2<'_, f32>, sums: &mut [f64]) {
    sums.par_chunks_mut(COLUMNS).enumerate().for_each(|(i, sums)| {
        moments::add_to_sums(rows.slice(s![.., i * COLUMNS..i * COLUMNS + sums.len()]), sums);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use datasets::{BaseRows, MetricSpace, SearchPath, Source};
    use ndarray::Array2;
    use std::path::Path;

    #[test]
    fn the_spectrum_of_scaled_axes_is_their_variances() {
        let written = serde_json::json!({ "synthetic": "gaussian", "dim": 3, "n": 64, "queries": 2 });
        let source = Source::parse(&written).expect("a source");
        let resolved = source.resolve(Path::new("."), &SearchPath::default()).expect("resolves");
        // Each axis takes ±its scale equally often, independently of the others.
        let rows = Array2::from_shape_fn((64, 3), |(i, j)| {
            let sign = if i >> j & 1 == 0 { 1.0 } else { -1.0 };
            10.0 + sign * [1.0f32, 3.0, 2.0][j]
        });
        let data =
            Opened { base: BaseRows::from(rows), metric: MetricSpace::L2, ..resolved.open(u64::MAX).expect("draws") };
        let mut last = (0, 0);
        let mut progress = |done, all| {
            last = (done, all);
            Ok::<_, DatasetError>(())
        };
        let mut clock = PhaseClock::begin("load");
        let wanted = Some(Wanted { depth: 1, among: None });
        let facts = read(&data, &resolved, wanted, Isa::widest(), &mut clock, &mut progress).expect("reads");
        let phases: Vec<String> = clock.end().into_iter().map(|phase| phase.name).collect();
        assert_eq!(phases, ["load", "first pass", "profile", "second pass", "spectrum"]);
        assert!((facts.variance - 14.0).abs() < 1e-9, "{}", facts.variance);
        for (found, expected) in facts.spectrum.iter().zip([9.0, 4.0, 1.0]) {
            assert!((found - expected).abs() < 1e-9, "{:?}", facts.spectrum);
        }
        assert_eq!((facts.truth.map(|truth| truth.len()), last), (Some(2), (128, 128)));
    }
}
