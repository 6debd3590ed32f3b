//! The laws are no formality: where a step of an algorithm is wrong, they say so.

use cpu::Isa;
use methods::additive::rvq::Rvq;
use methods::backend::{
    AffineMap, Assignment, Backend, BitScan, BranchLayer, CellSums, CodeDecoder, CodeLayout, CodeRoom, Continuations,
    CpuBackend, DeviceCodes, DeviceMatrix, Fill, Join, LevelGrid, MatrixRoom, RowEncoder, RowMap, RowScale,
    ScalarCoder, SumSearch, TableScan, UniformGrid, WriteCodes, WriteRows,
};
use methods::laws::{Bench, gaussian, training_distortion_never_grows};
use methods::{Cancel, Context, Method, MethodError, Neighbor, SearchMetric, Seen};
use ndarray::{Array2, ArrayView2, CowArray, Ix2};
use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// The processor, with centroids that lie too far out by half.
#[derive(Debug)]
struct Misled(CpuBackend);

impl Backend for Misled {
    fn cell_sums(&self, rows: &DeviceMatrix<'_>, nearest: &[u32], k: usize) -> Result<CellSums, MethodError> {
        let CellSums { sums, counts } = self.0.cell_sums(rows, nearest, k)?;
        Ok(CellSums { sums: sums * 1.5, counts })
    }

    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn isa(&self) -> Isa {
        self.0.isa()
    }

    fn rows_at_once(&self, bytes_per_row: usize) -> Result<usize, MethodError> {
        self.0.rows_at_once(bytes_per_row)
    }

    fn upload<'a>(&self, rows: ArrayView2<'a, f32>) -> Result<DeviceMatrix<'a>, MethodError> {
        self.0.upload(rows)
    }

    fn upload_owned(&self, rows: Array2<f32>) -> Result<DeviceMatrix<'static>, MethodError> {
        self.0.upload_owned(rows)
    }

    fn download<'m>(&self, matrix: &'m DeviceMatrix<'_>) -> Result<CowArray<'m, f32, Ix2>, MethodError> {
        self.0.download(matrix)
    }

    fn rows_at(&self, matrix: &DeviceMatrix<'_>, numbers: &[usize]) -> Result<Array2<f32>, MethodError> {
        self.0.rows_at(matrix, numbers)
    }

    fn upload_codes<'a>(&self, codes: &'a [u8], size: usize) -> Result<DeviceCodes<'a>, MethodError> {
        self.0.upload_codes(codes, size)
    }

    fn download_codes<'c>(&self, codes: &'c DeviceCodes<'_>) -> Result<Cow<'c, [u8]>, MethodError> {
        self.0.download_codes(codes)
    }

    fn room(&self, rows: usize, columns: usize) -> Result<MatrixRoom<'static>, MethodError> {
        self.0.room(rows, columns)
    }

    fn write_rows(&self, host: &mut [f32], columns: usize, write: WriteRows<'_>) -> Result<(), MethodError> {
        self.0.write_rows(host, columns, write)
    }

    fn write_codes(&self, host: &mut [u8], size: usize, write: WriteCodes<'_>) -> Result<(), MethodError> {
        self.0.write_codes(host, size, write)
    }

    fn fill_rows(&self, rows: &mut MatrixRoom<'_>, fill: Fill<'_, f32>) -> Result<(), MethodError> {
        self.0.fill_rows(rows, fill)
    }

    fn fill_codes(&self, codes: &mut CodeRoom<'_>, fill: Fill<'_, u8>) -> Result<(), MethodError> {
        self.0.fill_codes(codes, fill)
    }

    fn assign(&self, rows: &DeviceMatrix<'_>, codebook: ArrayView2<'_, f32>) -> Result<Assignment, MethodError> {
        self.0.assign(rows, codebook)
    }

    fn spread_rows(
        &self,
        rows: &DeviceMatrix<'_>,
        first: usize,
        points: &[f64],
        cancel: &Cancel,
    ) -> Result<Vec<usize>, MethodError> {
        self.0.spread_rows(rows, first, points, cancel)
    }

    fn nearest(&self, rows: &DeviceMatrix<'_>, codebook: ArrayView2<'_, f32>) -> Result<Vec<u32>, MethodError> {
        self.0.nearest(rows, codebook)
    }

    fn table_scan<'a>(
        &self,
        codes: Cow<'a, [u8]>,
        layout: CodeLayout,
        factors: Vec<[f32; 2]>,
    ) -> Result<Box<dyn TableScan + 'a>, MethodError> {
        self.0.table_scan(codes, layout, factors)
    }

    fn bit_scan<'a>(&self, codes: &'a [u8], size: usize) -> Result<Box<dyn BitScan + 'a>, MethodError> {
        self.0.bit_scan(codes, size)
    }

    fn base_rows_at_once(&self, dim: usize, queries: usize) -> usize {
        self.0.base_rows_at_once(dim, queries)
    }

    fn nearest_rows(
        &self,
        base: &DeviceMatrix<'_>,
        queries: &DeviceMatrix<'_>,
        metric: SearchMetric,
        k: usize,
    ) -> Result<Vec<Vec<Neighbor>>, MethodError> {
        self.0.nearest_rows(base, queries, metric, k)
    }

    fn continuations(
        &self,
        rows: &DeviceMatrix<'_>,
        group: usize,
        codebook: ArrayView2<'_, f32>,
        count: usize,
    ) -> Result<Continuations, MethodError> {
        self.0.continuations(rows, group, codebook, count)
    }

    fn sum_search(&self, codebooks: &[Array2<f32>], local: bool) -> Result<Box<dyn SumSearch>, MethodError> {
        self.0.sum_search(codebooks, local)
    }

    fn group_search(&self, codebooks: &[Array2<f32>], bits: u8) -> Result<Box<dyn RowEncoder>, MethodError> {
        self.0.group_search(codebooks, bits)
    }

    fn logit_search(&self, maps: &[AffineMap<'_>], bits: u8) -> Result<Box<dyn RowEncoder>, MethodError> {
        self.0.logit_search(maps, bits)
    }

    fn codewords(&self, codebooks: &[Array2<f32>], bits: u8, join: Join) -> Result<Box<dyn CodeDecoder>, MethodError> {
        self.0.codewords(codebooks, bits, join)
    }

    fn uniform(&self, grid: &UniformGrid) -> Result<Box<dyn ScalarCoder>, MethodError> {
        self.0.uniform(grid)
    }

    fn levels(&self, grid: &LevelGrid) -> Result<Box<dyn ScalarCoder>, MethodError> {
        self.0.levels(grid)
    }

    fn product(&self, matrix: ArrayView2<'_, f32>) -> Result<Box<dyn RowMap>, MethodError> {
        self.0.product(matrix)
    }

    fn network(&self, straight: AffineMap<'_>, branch: &[BranchLayer<'_>]) -> Result<Box<dyn RowMap>, MethodError> {
        self.0.network(straight, branch)
    }

    fn scale(&self, centre: &[f32], factor: f32, back: f32) -> Result<Box<dyn RowScale>, MethodError> {
        self.0.scale(centre, factor, back)
    }

    fn copy(&self, rows: &DeviceMatrix<'_>, to: &mut MatrixRoom<'_>) -> Result<(), MethodError> {
        self.0.copy(rows, to)
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
    let method = Rvq { stages: 4, bits: 3, beam: 1, iterations: 10, refit: 100, shrink: false };
    let quantizer = method.fit(train.view(), &Context::cpu(1)).expect("fits");
    let [curve] = quantizer.curves() else { panic!("one curve") };
    let numbers: Vec<usize> = curve.points.iter().map(|p| p.iteration).collect();
    assert!(numbers.iter().copied().eq(0..numbers.len()), "{numbers:?}");
    let (last, before) = curve.points.split_last().expect("points");
    assert!(last.seen == Seen::Rejected && before.iter().all(|p| p.seen == Seen::AllRows), "{curve:?}");
    let kept = before.last().expect("a stage at least");
    assert!(last.value >= kept.value && (5..4 + 100).contains(&numbers.len()), "{curve:?}");
}
