//! Figures of small sets by hand, and of random ones whose figures are known.

use super::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

fn gaussian(seed: u64, rows: usize, dim: usize) -> Array2<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    Array2::from_shape_fn((rows, dim), |_| StandardNormal.sample(&mut rng))
}

/// The profile of rows, in blocks.
fn of(rows: ArrayView2<'_, f32>, queries: Option<ArrayView2<'_, f32>>, isa: Isa) -> Option<Profile> {
    let mut profiler = Profiler::new(rows.ncols(), queries);
    rows.axis_chunks_iter(Axis(0), 8192).for_each(|block| profiler.add(block));
    profiler.finish(isa)
}

#[test]
fn figures_of_a_few_rows_by_hand() {
    let rows = ndarray::arr2(&[[3.0f32, 4.0, 7.0], [0.0, 0.0, 7.0], [3.0, 4.0, 7.0], [6.0, 8.0, 7.0]]);
    let queries = ndarray::arr2(&[[0.0f32, 0.0, 7.0], [3.0, 4.0, 7.0], [3.0, 4.0, 7.0], [1.0, 1.0, 1.0]]);
    let found = of(rows.view(), Some(queries.view()), Isa::widest()).expect("rows");
    assert_eq!((found.rows, found.zeros, found.copies, found.copies_counted), (4, 0, 1, true));
    assert_eq!((found.mean.as_slice(), found.constant.as_slice()), ([3.0, 4.0, 7.0].as_slice(), [2].as_slice()));
    assert_eq!(found.variances, [4.5, 8.0, 0.0]);
    assert_eq!(found.variance(), 12.5);
    assert_eq!(found.off_centre(), Some((74.0f64 / 12.5).sqrt()));
    assert_eq!(found.norms, [7.0, 74f64.sqrt(), 149f64.sqrt()]);
    assert_eq!(found.far, None);
    // Too few rows for an estimate.
    assert_eq!(found.intrinsic_dimension, None);
    assert_eq!(found.queries, Some(QueryProfile { copies: 3, nearness: None }));
    assert_eq!(found.sample, rows);
    assert_eq!(of(Array2::zeros((0, 3)).view(), None, Isa::widest()), None);
    let zeros = of(Array2::zeros((40, 2)).view(), None, Isa::widest()).expect("rows");
    assert_eq!((zeros.zeros, zeros.copies, zeros.off_centre(), zeros.intrinsic_dimension), (40, 39, None, None));
}

#[test]
fn rows_far_from_zero_keep_their_spread() {
    let rows = gaussian(1, 2000, 3).mapv(|v| 1e4 + v);
    let found = of(rows.view(), None, Isa::widest()).expect("rows");
    assert!(found.variances.iter().all(|v| (v - 1.0).abs() < 0.1), "{:?}", found.variances);
    let off = found.off_centre().expect("they differ");
    assert!((off / 1e4 - 1.0).abs() < 0.05, "{off}");
}

#[test]
fn blocks_change_nothing() {
    let (rows, queries) = (gaussian(2, 20_000, 5), gaussian(3, 100, 5));
    let whole = of(rows.view(), Some(queries.view()), Isa::widest());
    let mut profiler = Profiler::new(5, Some(queries.view()));
    rows.axis_chunks_iter(Axis(0), 777).for_each(|block| profiler.add(block));
    assert_eq!(profiler.finish(Isa::widest()), whole);
    assert_eq!(whole.expect("rows").sample.nrows(), 16_384, "a sample of many rows");
}

/// Rows of `inner` independent components, mapped into more by a fixed matrix.
fn embedded(inner: usize) -> Array2<f32> {
    gaussian(4, 5000, inner).dot(&gaussian(5, inner, 64))
}

#[test]
fn the_intrinsic_dimension_of_a_gaussian_in_more_dimensions_is_found() {
    // The estimate is too low in many dimensions, since rows at the margin have neighbours on one side only.
    for (inner, low, high) in [(1, 0.95, 1.05), (2, 1.9, 2.1), (5, 4.5, 5.1), (10, 7.8, 9.5)] {
        let rows = embedded(inner);
        let found = of(rows.view(), None, Isa::widest()).expect("rows").intrinsic_dimension.expect("an estimate");
        assert!((low..high).contains(&found), "{inner} dimensions: {found}");
    }
    // Copies have no distance, and do not count as neighbours.
    let mut rows = embedded(2);
    for i in 0..2000 {
        let copy = rows.row(i).to_owned();
        rows.row_mut(i + 2000).assign(&copy);
    }
    let found = of(rows.view(), None, Isa::widest()).expect("rows");
    assert_eq!(found.copies, 2000);
    assert!(found.intrinsic_dimension.is_some_and(|d| (1.9..2.1).contains(&d)), "{:?}", found.intrinsic_dimension);
}

#[test]
fn queries_of_another_distribution_are_told_apart() {
    let rows = gaussian(6, 3000, 8);
    let of = |queries: Array2<f32>| {
        let found = of(rows.view(), Some(queries.view()), Isa::widest()).expect("rows");
        found.queries.and_then(|queries| queries.nearness).expect("enough rows")
    };
    let alike = of(gaussian(7, 1500, 8));
    assert!((0.93..1.07).contains(&alike.ratio) && alike.far < 0.08, "{alike:?}");
    let apart = of(gaussian(7, 1500, 8).mapv(|v| v + 3.0));
    assert!(apart.ratio > 3.0 && apart.far > 0.95, "{apart:?}");
    let copies = of(rows.slice(ndarray::s![..500, ..]).to_owned());
    assert_eq!((copies.ratio, copies.far), (0.0, 0.0));
}

#[test]
fn no_values_are_too_odd_for_a_profile() {
    for (rows, dim) in [(1, 1), (50, 1), (50, 7)] {
        for value in [0.0f32, 1e-45, 1e-20, f32::MAX, -f32::MAX] {
            let rows = Array2::from_shape_fn((rows, dim), |(i, j)| if (i + j) % 3 == 0 { value } else { -value });
            let found = of(rows.view(), Some(rows.view()), Isa::widest()).expect("rows");
            assert!(found.norms.iter().chain(&found.mean).chain(&found.variances).all(|v| v.is_finite()), "{found:?}");
        }
    }
}
