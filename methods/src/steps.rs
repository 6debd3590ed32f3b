//! The timed steps: what quantizers spend their time on, at sizes that fill a large device, on inputs generated there.

mod fit;
mod limits;
mod outcome;
mod streams;

pub use limits::{DevicePeaks, StepWork, measure};
pub use outcome::{Note, StepFailure, Timing};

use cpu::{Isa, Nearest, Score};
use cuda::proofs::{distance, is_tie, stream_seed};
use cuda::{
    AssignPass, Buffer, Codes, Codewords, CudaError, Device, DeviceRows, DeviceSumTables, GroupCodebooks, SymbolWidth,
    cell_sums, fill_random, fill_random_bytes, pack_symbols, random_float, scan_tables,
};
use rayon::prelude::*;
use std::time::Instant;

/// One step.
pub struct Step {
    /// Its name, which torch_steps.py knows too.
    pub name: &'static str,
    /// Times it.
    pub run: fn(&StepContext<'_>) -> Result<Timing, StepFailure>,
}

/// All steps. To add one, add a line.
pub const STEPS: &[Step] = &[
    Step { name: "assign-4k", run: |setting| assign(setting, 4096) },
    Step { name: "assign-64k", run: |setting| assign(setting, 65_536) },
    Step { name: "pq16x8-encode", run: encode_in_groups },
    Step { name: "rvq8x8-beam5", run: encode_by_beam },
    Step { name: "cell-sums", run: sum_cells },
    Step { name: "kmeans-iteration", run: iterate },
    Step { name: "kmeans-fit", run: fit::kmeans },
    Step { name: "adc-scan", run: |setting| scan(setting, 1) },
    Step { name: "adc-scan-32", run: |setting| scan(setting, 32) },
    Step { name: "hamming-scan", run: streams::hamming_scan },
    Step { name: "scalar8-encode", run: streams::scalar_encode },
    Step { name: "scalar8-decode", run: streams::scalar_decode },
    Step { name: "pq16x8-decode", run: streams::product_decode },
    Step { name: "exact-10", run: streams::exact_search },
];

/// Components of all vectors.
const DIM: usize = 128;

/// Streams of random numbers: rows, codewords.
const ROWS: u64 = 1;
const CODEWORDS: u64 = 2;

/// Number of rows that are checked after each measurement.
const LOOKED_AT: usize = 64;

/// Rows that the processor takes for a k-means iteration, and its threads.
const PROCESSOR_ROWS: usize = 50_000;
const PROCESSOR_THREADS: usize = 2;

/// How to measure.
pub struct StepContext<'a> {
    /// On this device,
    pub device: &'a Device,
    /// beside this processor,
    pub isa: Isa,
    /// with values of this seed,
    pub seed: u64,
    /// sizes times this,
    pub scale: f64,
    /// and this many repeats after one warm-up.
    pub repeats: usize,
}

impl StepContext<'_> {
    /// Number of rows at this scale.
    pub fn rows(&self, n: usize) -> usize {
        ((n as f64 * self.scale) as usize).clamp(100, 1 << 31)
    }

    /// How much less of everything else, on what is far too small to be measured.
    pub fn shrink(&self) -> f64 {
        (100.0 * self.scale).min(1.0)
    }

    /// Number of codewords at this scale.
    pub fn codewords(&self, k: usize) -> usize {
        ((k as f64 * self.shrink()) as usize).max(16)
    }

    /// What work returns, and the seconds of each repeat.
    ///
    /// # Errors
    /// Those of the work.
    pub fn repeat<R>(&self, mut work: impl FnMut() -> Result<R, CudaError>) -> Result<(Vec<f64>, R), CudaError> {
        let mut last = work()?;
        let mut seconds = Vec::with_capacity(self.repeats);
        for _ in 0..self.repeats {
            let (done, taken) = self.device.timed(&mut work)?;
            last = done;
            seconds.push(taken);
        }
        Ok((seconds, last))
    }

    /// Rows made on the device.
    pub fn random_rows(&self, n: usize) -> Result<Buffer<f32>, CudaError> {
        let mut rows = self.device.room(n * DIM)?;
        fill_random(&mut rows, stream_seed(self.seed, ROWS))?;
        Ok(rows)
    }

    /// One of these rows, made again.
    pub fn row(&self, i: usize) -> Vec<f32> {
        let seed = stream_seed(self.seed, ROWS);
        (i * DIM..(i + 1) * DIM).map(|place| random_float(seed, place as u64)).collect()
    }

    /// As many values of codewords.
    pub fn random_codewords(&self, len: usize) -> Vec<f32> {
        let seed = stream_seed(self.seed, CODEWORDS);
        (0..len as u64).into_par_iter().map(|place| random_float(seed, place)).collect()
    }

    /// Some rows from all over, the first and the last among them.
    pub fn looked_at(&self, n: usize) -> Vec<usize> {
        let random = |i| (cuda::random_bits(self.seed, i) % n as u64) as usize;
        [0, n - 1].into_iter().chain((0..LOOKED_AT as u64 - 2).map(random)).collect()
    }
}

/// Components and codewords in few words.
fn size(k: usize) -> String {
    format!("×{DIM}, K={k}")
}

/// The middle of some times.
fn middle(seconds: &[f64]) -> f64 {
    let mut seconds = seconds.to_vec();
    seconds.sort_by(f64::total_cmp);
    let (low, high) = (seconds.get(seconds.len().saturating_sub(1) / 2), seconds.get(seconds.len() / 2));
    low.zip(high).map_or(f64::NAN, |(low, high)| 0.5 * (low + high))
}

/// Checks the assignment of a few rows.
fn look(
    setting: &StepContext<'_>,
    n: usize,
    codewords: &[f32],
    part: std::ops::Range<usize>,
    chosen: impl Fn(usize) -> Result<usize, CudaError>,
) -> Result<(), StepFailure> {
    let size = part.len();
    let codeword = |c: usize| &codewords[c * size..][..size];
    for i in setting.looked_at(n) {
        let (row, there) = (&setting.row(i)[part.clone()], chosen(i)?);
        let count = codewords.len() / size;
        let here = (0..count).into_par_iter().map(|c| (distance(row, codeword(c)), c));
        let here = here.min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1))).map_or(0, |(_, c)| c);
        if there >= count || !(there == here || is_tie(row, codeword(there), codeword(here))) {
            return Err(StepFailure::Wrong(format!("row {i} of {n} has codeword {there} for {here}")));
        }
    }
    Ok(())
}

/// The nearest of `k` centroids for each row.
fn assign(setting: &StepContext<'_>, k: usize) -> Result<Timing, StepFailure> {
    let (n, k) = (setting.rows(10_000_000), setting.codewords(k));
    let rows = setting.random_rows(n)?;
    let codewords = setting.random_codewords(k * DIM);
    let book = Codewords::new(setting.device, &codewords, DIM, AssignPass::Auto)?;
    let mut nearest = setting.device.filled(n, 0xff)?;
    let (seconds, left) = setting.repeat(|| book.assign(DeviceRows::all(&rows, DIM), &mut nearest))?;
    look(setting, n, &codewords, 0..DIM, |i| one(&nearest, i))?;
    Ok(Timing {
        size: size(k),
        queries: None,
        n,
        dim: DIM,
        k,
        seconds,
        work: vec![StepWork::Halves(2.0 * (n * DIM) as f64 * k as f64)],
        input_bytes: 4.0 * (n * DIM) as f64,
        transfers: vec![],
        notes: vec![
            (Note::OpenShare, left.open as f64 / n as f64),
            (Note::SearchedShare, left.searched as f64 / n as f64),
        ],
    })
}

/// One of the values of a buffer of numbers.
fn one(numbers: &Buffer<u32>, i: usize) -> Result<usize, CudaError> {
    let mut value = [0u32];
    numbers.read(i, &mut value)?;
    Ok(value[0] as usize)
}

/// Product codes of 16 bytes: symbols of 16 groups, packed. As many rows as fit are on the device, and passed several times if needed.
fn encode_in_groups(setting: &StepContext<'_>) -> Result<Timing, StepFailure> {
    const GROUPS: usize = 16;
    const SIZE: usize = DIM / GROUPS;
    let (n, k) = (setting.rows(50_000_000), setting.codewords(256));
    let device = setting.device;
    let fitting = (device.spare_bytes()? / 2) as usize / (4 * DIM);
    let resident = n.min(fitting.max(1));
    let at_once = resident.min(1 << 22);
    let rows = setting.random_rows(resident)?;
    let all = DeviceRows::all(&rows, DIM);
    let codewords = setting.random_codewords(GROUPS * k * SIZE);
    let split: Vec<&[f32]> = codewords.chunks_exact(k * SIZE).collect();
    let books = GroupCodebooks::new(device, &split, SIZE)?;
    let mut symbols = device.filled::<u16>(at_once * GROUPS, 0xff)?;
    let mut codes = device.filled::<u8>(at_once * GROUPS, 0xff)?;
    let (seconds, ()) = setting.repeat(|| {
        let mut from = 0;
        for start in (0..n).step_by(at_once) {
            let part = all.part(from, at_once.min(n - start).min(resident - from));
            books.nearest(part, &mut symbols)?;
            pack_symbols(&symbols, (part.count(), GROUPS), 8, &mut codes)?;
            from = if from + 2 * at_once > resident { 0 } else { from + at_once };
        }
        Ok(())
    })?;
    // The first rows again, to see what became of them.
    let first = all.part(0, at_once);
    books.nearest(first, &mut symbols)?;
    pack_symbols(&symbols, (first.count(), GROUPS), 8, &mut codes)?;
    for g in [0, GROUPS - 1] {
        look(setting, first.count(), split[g], g * SIZE..(g + 1) * SIZE, |i| {
            let mut code = [0u8];
            codes.read(i * GROUPS + g, &mut code)?;
            Ok(code[0].into())
        })?;
    }
    let sent = at_once.min(1 << 19);
    let host = vec![1f32; sent * DIM];
    let mut piece = device.room(host.len())?;
    piece.write(0, &host)?;
    let ((), up) = device.timed(|| piece.write(0, &host))?;
    let mut back = vec![0u8; at_once * GROUPS];
    codes.read(0, &mut back)?;
    let ((), down) = device.timed(|| codes.read(0, &mut back))?;
    Ok(Timing {
        size: size(k),
        queries: None,
        n,
        dim: DIM,
        k,
        seconds,
        work: vec![StepWork::Floats(2.0 * (n * DIM) as f64 * k as f64)],
        input_bytes: 4.0 * (resident * DIM) as f64,
        transfers: vec![("upload", 4.0 * host.len() as f64, up), ("download", back.len() as f64, down)],
        notes: vec![],
    })
}

/// Residual codes of 8 bytes by a beam of 5. Codes come back to the host within the time.
fn encode_by_beam(setting: &StepContext<'_>) -> Result<Timing, StepFailure> {
    const STAGES: usize = 8;
    const BEAM: usize = 5;
    let (n, k) = (setting.rows(1_000_000), setting.codewords(256));
    let rows = setting.random_rows(n)?;
    // Later stages add less.
    let mut books = setting.random_codewords(STAGES * k * DIM);
    for (stage, book) in books.chunks_exact_mut(k * DIM).enumerate() {
        book.iter_mut().for_each(|v| *v *= 0.5 / (1.0 + stage as f32));
    }
    let tables = DeviceSumTables::new(setting.device, &books, STAGES, DIM, false)?;
    let mut codes = vec![u16::MAX; n * STAGES];
    let (seconds, ()) = setting.repeat(|| tables.beam(DeviceRows::all(&rows, DIM), BEAM, &mut codes))?;
    if let Some(place) = codes.iter().position(|&symbol| usize::from(symbol) >= k) {
        return Err(StepFailure::Wrong(format!("row {} has symbol {}", place / STAGES, codes[place])));
    }
    // Products of a row with all codewords, then sums of what is kept with what may follow.
    let sums: usize = (1..STAGES).map(|stage| (BEAM * k) * (stage + 1)).sum();
    Ok(Timing {
        size: size(k),
        queries: None,
        n,
        dim: DIM,
        k,
        seconds,
        work: vec![StepWork::Floats(n as f64 * (2 * STAGES * k * DIM + sums) as f64)],
        input_bytes: 4.0 * (n * DIM) as f64,
        transfers: vec![],
        notes: vec![],
    })
}

/// Sums of the rows of each cell, and their number, back on the host.
fn sum_cells(setting: &StepContext<'_>) -> Result<Timing, StepFailure> {
    let (n, k) = (setting.rows(10_000_000), setting.codewords(4096));
    let rows = setting.random_rows(n)?;
    // What cells rows belong to is of no account to the time, as long as they are all over.
    let cells: Vec<u32> =
        (0..n as u64).into_par_iter().map(|i| (cuda::random_bits(setting.seed, i) % k as u64) as u32).collect();
    let nearest = setting.device.upload(&cells)?;
    let (seconds, sums) = setting.repeat(|| cell_sums(DeviceRows::all(&rows, DIM), &nearest, k))?;
    let mut counts = vec![0u32; k];
    cells.iter().for_each(|&cell| counts[cell as usize] += 1);
    if sums.counts != counts {
        return Err(StepFailure::Wrong("cells have other counts than rows were given to them".into()));
    }
    // One cell, summed again.
    let mut exact = vec![0f64; DIM];
    for i in (0..n).filter(|&i| cells[i] == 0) {
        exact.iter_mut().zip(setting.row(i)).for_each(|(sum, v)| *sum += f64::from(v));
    }
    let apart = sums.sums[..DIM].iter().zip(&exact).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    if apart > 1e-9 * n as f64 {
        return Err(StepFailure::Wrong(format!("the sum of a cell is {apart:e} off")));
    }
    Ok(Timing {
        size: size(k),
        queries: None,
        n,
        dim: DIM,
        k,
        seconds,
        work: vec![StepWork::Bytes(4.0 * (n * DIM + n) as f64)],
        input_bytes: 4.0 * (n * DIM) as f64,
        transfers: vec![],
        notes: vec![],
    })
}

/// A whole k-means iteration: prepare the centroids, assign, sum, and make new centroids on the host. The processor does the same with a
/// part of the rows.
fn iterate(setting: &StepContext<'_>) -> Result<Timing, StepFailure> {
    let (n, k) = (setting.rows(10_000_000), setting.codewords(4096));
    let rows = setting.random_rows(n)?;
    let all = DeviceRows::all(&rows, DIM);
    let centroids = setting.random_codewords(k * DIM);
    let mut nearest = setting.device.filled(n, 0xff)?;
    let (seconds, sums) = setting.repeat(|| {
        Codewords::new(setting.device, &centroids, DIM, AssignPass::Auto)?.assign(all, &mut nearest)?;
        let sums = cell_sums(all, &nearest, k)?;
        moved(&centroids, &sums.sums, sums.counts.iter().map(|&count| count as usize));
        Ok(sums)
    })?;
    let counted = sums.counts.iter().map(|&count| count as usize).sum::<usize>();
    if counted != n {
        return Err(StepFailure::Wrong(format!("cells have {counted} rows of {n}")));
    }
    let processor = processor_seconds(setting, &rows, &centroids)? * n as f64 / PROCESSOR_ROWS.min(n) as f64;
    let ratio = processor / middle(&seconds);
    Ok(Timing {
        size: size(k),
        queries: None,
        n,
        dim: DIM,
        k,
        seconds,
        work: vec![StepWork::Halves(2.0 * (n * DIM) as f64 * k as f64), StepWork::Bytes(4.0 * (n * DIM + n) as f64)],
        input_bytes: 4.0 * (n * DIM) as f64,
        transfers: vec![],
        notes: vec![(Note::CpuSeconds, processor), (Note::CpuSpeedRatio, ratio)],
    })
}

/// The same iteration on the processor, over the first rows.
fn processor_seconds(setting: &StepContext<'_>, rows: &Buffer<f32>, centroids: &[f32]) -> Result<f64, StepFailure> {
    let n = PROCESSOR_ROWS.min(rows.len() / DIM);
    let k = centroids.len() / DIM;
    let mut values = vec![0f32; n * DIM];
    rows.read(0, &mut values)?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(PROCESSOR_THREADS).build();
    let pool = pool.map_err(|e| StepFailure::Wrong(format!("threads could not be started: {e}")))?;
    let work = || {
        let start = Instant::now();
        let mut nearest = vec![0u32; n];
        Nearest::new(setting.isa, centroids.to_vec(), DIM, Score::HalfDistance).assign(
            &values,
            DIM,
            &mut nearest,
            None,
        );
        let (sums, counts) = cpu::cell_sums(setting.isa, &values, DIM, DIM, &nearest, k);
        std::hint::black_box(moved(centroids, &sums, counts.into_iter()));
        start.elapsed().as_secs_f64()
    };
    let seconds: Vec<f64> = pool.install(|| (0..=setting.repeats.min(5)).map(|_| work()).collect());
    Ok(middle(&seconds[1..]))
}

/// Centroids in the middle of their rows; those without rows stay.
fn moved(centroids: &[f32], sums: &[f64], counts: impl Iterator<Item = usize>) -> Vec<f32> {
    let mut moved = centroids.to_vec();
    for ((centroid, sum), count) in moved.chunks_exact_mut(DIM).zip(sums.chunks_exact(DIM)).zip(counts) {
        if count > 0 {
            centroid.iter_mut().zip(sum).for_each(|(c, s)| *c = (s / count as f64) as f32);
        }
    }
    moved
}

/// The ten nearest of 100M codes of 16 bytes, by the tables of several queries. Copying the results back is part of the
/// time.
fn scan(setting: &StepContext<'_>, queries: usize) -> Result<Timing, StepFailure> {
    const POSITIONS: usize = 16;
    let n = setting.rows(100_000_000);
    let mut bytes = setting.device.room(n * POSITIONS)?;
    let seed = stream_seed(setting.seed, ROWS);
    fill_random_bytes(&mut bytes, seed)?;
    let tables = setting.random_codewords(queries * POSITIONS * 256);
    let codes = Codes::all(&bytes, POSITIONS);
    let (seconds, lists) = setting.repeat(|| scan_tables(codes, SymbolWidth::Byte, POSITIONS, &tables, 10))?;
    // What was found has the score it says, and no code looked at has a lower one.
    let score = |i: u64| {
        let words = [cuda::random_bits(seed, 2 * i), cuda::random_bits(seed, 2 * i + 1)];
        let code = words.into_iter().flat_map(u64::to_le_bytes);
        code.enumerate().fold(0f32, |sum, (p, symbol)| sum + tables[p * 256 + usize::from(symbol)])
    };
    // An empty list would pass all that follows.
    let Some(list) = lists.first().filter(|list| list.len() == n.min(10)) else {
        return Err(StepFailure::Wrong(format!("a scan for 10 of {n} codes found {:?}", lists.first().map(Vec::len))));
    };
    for found in list {
        if u64::from(found.id) >= n as u64 || score(found.id.into()) != found.score {
            return Err(StepFailure::Wrong(format!("code {} has not the score {}", found.id, found.score)));
        }
    }
    let last = list.last().map_or(f32::NEG_INFINITY, |found| found.score);
    let seen = n.min(1_000_000) as u64;
    let missed =
        (0..seen).into_par_iter().filter(|&i| score(i) < last && list.iter().all(|found| u64::from(found.id) != i));
    if let Some(i) = missed.find_any(|_| true) {
        return Err(StepFailure::Wrong(format!("code {i} is among the ten least and was not found")));
    }
    Ok(Timing {
        size: format!(" codes of {POSITIONS} bytes, {queries} queries").replace(" 1 queries", " 1 query"),
        queries: None,
        n,
        dim: POSITIONS,
        k: queries,
        seconds,
        work: vec![StepWork::Bytes((n * POSITIONS) as f64)],
        input_bytes: (n * POSITIONS) as f64,
        transfers: vec![],
        notes: vec![],
    })
}
