//! The laws are no formality: where a step of an algorithm is wrong, they say so.

use methods::additive::rvq::Rvq;
use methods::backend::{Assignment, Backend, CellSums, CpuBackend, DeviceMatrix, GroupSearch, SumSearch};
use methods::laws::{Bench, gaussian, training_distortion_never_grows};
use methods::{Cancel, Context, Method, MethodError, Neighbor, Seen};
use ndarray::{Array2, ArrayView2};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// The processor, with centroids that lie too far out by half.
#[derive(Debug)]
struct Misled(CpuBackend);

impl Backend for Misled {
    fn isa(&self) -> cpu::Isa {
        self.0.isa()
    }

    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn upload(&self, rows: ArrayView2<'_, f32>) -> Result<DeviceMatrix, MethodError> {
        self.0.upload(rows)
    }

    fn download(&self, matrix: &DeviceMatrix) -> Result<Array2<f32>, MethodError> {
        self.0.download(matrix)
    }

    fn rows_at(&self, matrix: &DeviceMatrix, numbers: &[usize]) -> Result<Array2<f32>, MethodError> {
        self.0.rows_at(matrix, numbers)
    }

    fn assign(&self, rows: &DeviceMatrix, codebook: ArrayView2<'_, f32>) -> Result<Assignment, MethodError> {
        self.0.assign(rows, codebook)
    }

    fn spread_rows(
        &self,
        rows: &DeviceMatrix,
        first: usize,
        points: &[f64],
        cancel: &Cancel,
    ) -> Result<Vec<usize>, MethodError> {
        self.0.spread_rows(rows, first, points, cancel)
    }

    fn nearest(&self, rows: &DeviceMatrix, codebook: ArrayView2<'_, f32>) -> Result<Vec<u32>, MethodError> {
        self.0.nearest(rows, codebook)
    }

    fn group_search(&self, codebooks: &[Array2<f32>]) -> Result<Box<dyn GroupSearch>, MethodError> {
        self.0.group_search(codebooks)
    }

    fn nearest_of_groups(
        &self,
        rows: &DeviceMatrix,
        group: usize,
        codebook: ArrayView2<'_, f32>,
        count: usize,
    ) -> Result<Vec<Neighbor>, MethodError> {
        self.0.nearest_of_groups(rows, group, codebook, count)
    }

    fn sum_search(&self, codebooks: &[Array2<f32>], local: bool) -> Result<Box<dyn SumSearch>, MethodError> {
        self.0.sum_search(codebooks, local)
    }

    fn cell_sums(&self, rows: &DeviceMatrix, nearest: &[u32], k: usize) -> Result<CellSums, MethodError> {
        let CellSums { sums, counts } = self.0.cell_sums(rows, nearest, k)?;
        Ok(CellSums { sums: sums * 1.5, counts })
    }
}

#[test]
fn wrong_centroids_break_the_law_that_distortion_never_grows() {
    let misled = || Bench::on(Arc::new(Misled(CpuBackend::detect())));
    for chosen in
        [(|name| name == "lbg") as fn(&str) -> bool, |name| name == "kmeans", |name| name == "pq", |name| name == "opq"]
    {
        training_distortion_never_grows(&Bench::default().only(chosen));
        let bench = misled().only(chosen);
        let kept = catch_unwind(AssertUnwindSafe(|| training_distortion_never_grows(&bench)));
        let name = bench.entries().next().expect("it is registered").name;
        let words = kept.expect_err(name).downcast::<String>().expect("words");
        assert!(words.starts_with(name) && words.contains("mse grows"), "{words}");
    }
}

/// A round of refitting that is turned down is written down all the same, and marked.
#[test]
fn a_refit_that_is_not_kept_is_seen() {
    let train = gaussian(600, 12, 1);
    let method = Rvq { stages: 4, bits: 3, beam: 1, iterations: 10, refit: 100 };
    let quantizer = method.fit(train.view(), &Context::cpu(1)).expect("fits");
    let [curve] = quantizer.curves() else { panic!("one curve") };
    let numbers: Vec<usize> = curve.points.iter().map(|p| p.iteration).collect();
    assert!(numbers.iter().copied().eq(0..numbers.len()), "{numbers:?}");
    let (last, before) = curve.points.split_last().expect("points");
    assert!(last.seen == Seen::Rejected && before.iter().all(|p| p.seen == Seen::AllRows), "{curve:?}");
    let kept = before.last().expect("a stage at least");
    assert!(last.value >= kept.value && (5..4 + 100).contains(&numbers.len()), "{curve:?}");
}
