//! Timed steps that pass over their input once, and are limited by memory bandwidth.

use super::{DIM, StepContext, StepFailure, StepWork, Timing};
use cuda::{
    Base, Codes, DeviceCodebooks, DeviceRows, Proximity, UniformScalars, fill_random, fill_random_bytes, scan_hamming,
};

/// Vectors of scalar codes.
const N: usize = 20_000_000;

/// Codes of one byte per component.
pub fn scalar_encode(setting: &StepContext<'_>) -> Result<Timing, StepFailure> {
    let n = setting.rows(N);
    let rows = setting.random_rows(n)?;
    let scalars = grid(setting)?;
    let mut codes = setting.device.filled::<u8>(n * DIM, 0xff)?;
    let (seconds, ()) = setting.repeat(|| scalars.encode(DeviceRows::all(&rows, DIM), &mut codes))?;
    for i in setting.looked_at(n) {
        let mut code = [0u8; DIM];
        codes.read(i * DIM, &mut code)?;
        let expected = setting.row(i).into_iter().map(|x| (((x - LOW) / STEP + 0.5) as u32).min(255) as u8);
        if !expected.eq(code) {
            return Err(StepFailure::Wrong(format!("row {i} has another code")));
        }
    }
    Ok(timing(format!("×{DIM} to bytes"), n, seconds, 5 * n * DIM, 4 * n * DIM))
}

/// And back.
pub fn scalar_decode(setting: &StepContext<'_>) -> Result<Timing, StepFailure> {
    let n = setting.rows(N);
    let mut codes = setting.device.room::<u8>(n * DIM)?;
    fill_random_bytes(&mut codes, setting.seed)?;
    let scalars = grid(setting)?;
    let mut rows = setting.device.filled::<f32>(n * DIM, 0xff)?;
    let (seconds, ()) = setting.repeat(|| scalars.decode(Codes::all(&codes, DIM), &mut rows))?;
    for i in setting.looked_at(n) {
        let (mut code, mut row) = ([0u8; DIM], [0f32; DIM]);
        codes.read(i * DIM, &mut code)?;
        rows.read(i * DIM, &mut row)?;
        if !row.iter().zip(code).all(|(x, c)| (x - (LOW + STEP * f32::from(c))).abs() < 1e-5) {
            return Err(StepFailure::Wrong(format!("code {i} stands for another row")));
        }
    }
    Ok(timing(format!("×{DIM} from bytes"), n, seconds, 5 * n * DIM, n * DIM))
}

/// The lowest level and the step of the grid.
const LOW: f32 = -4.0;
const STEP: f32 = 8.0 / 255.0;

fn grid(setting: &StepContext<'_>) -> Result<UniformScalars, StepFailure> {
    Ok(UniformScalars::new(setting.device, &[LOW; DIM], &[STEP; DIM], 8)?)
}

/// Vectors from symbols of 16 groups of 256 codewords.
pub fn product_decode(setting: &StepContext<'_>) -> Result<Timing, StepFailure> {
    const GROUPS: usize = 16;
    let (n, k) = (setting.rows(N), 256);
    let symbols: Vec<u16> =
        (0..(n * GROUPS) as u64).map(|i| (cuda::random_bits(setting.seed, i) % k as u64) as u16).collect();
    let there = setting.device.upload(&symbols)?;
    let codewords = setting.random_codewords(k * DIM);
    let split: Vec<&[f32]> = codewords.chunks_exact(k * DIM / GROUPS).collect();
    let books = DeviceCodebooks::new(setting.device, &split, DIM / GROUPS)?;
    let mut rows = setting.device.filled::<f32>(n * DIM, 0xff)?;
    let (seconds, _) = setting.repeat(|| books.decode_groups(&there, n, &mut rows))?;
    for i in setting.looked_at(n) {
        let mut row = [0f32; DIM];
        rows.read(i * DIM, &mut row)?;
        for (g, (part, book)) in row.chunks_exact(DIM / GROUPS).zip(&split).enumerate() {
            if part != &book[usize::from(symbols[i * GROUPS + g]) * DIM / GROUPS..][..DIM / GROUPS] {
                return Err(StepFailure::Wrong(format!("row {i}, group {g} is not its codeword")));
            }
        }
    }
    let bytes = n * (4 * DIM + 2 * GROUPS);
    Ok(timing(format!("×{DIM} of 16 groups"), n, seconds, bytes, 2 * n * GROUPS))
}

/// The ten nearest of 100M codes of 128 bits for one query.
pub fn hamming_scan(setting: &StepContext<'_>) -> Result<Timing, StepFailure> {
    const SIZE: usize = 16;
    let n = setting.rows(100_000_000);
    let mut bytes = setting.device.room::<u8>(n * SIZE)?;
    fill_random_bytes(&mut bytes, setting.seed)?;
    let query: Vec<u8> = (0..SIZE as u64).map(|i| cuda::random_bits(setting.seed ^ 1, i) as u8).collect();
    let (seconds, lists) = setting.repeat(|| scan_hamming(Codes::all(&bytes, SIZE), &query, 10))?;
    for found in lists.iter().flatten() {
        let mut code = [0u8; SIZE];
        bytes.read(found.id as usize * SIZE, &mut code)?;
        let differing = code.iter().zip(&query).map(|(a, b)| (a ^ b).count_ones()).sum::<u32>();
        if differing != found.score {
            return Err(StepFailure::Wrong(format!(
                "code {} differs in {differing} bits, not {}",
                found.id, found.score
            )));
        }
    }
    Ok(timing(" codes of 128 bits, 1 query".into(), n, seconds, n * SIZE, n * SIZE))
}

/// The ten nearest of 1M vectors for 10,000 queries.
pub fn exact_search(setting: &StepContext<'_>) -> Result<Timing, StepFailure> {
    let (n, queries) = (setting.rows(1_000_000), setting.rows(10_000));
    let base = setting.random_rows(n)?;
    let mut asked = setting.device.room(queries * DIM)?;
    fill_random(&mut asked, setting.seed ^ 2)?;
    let rows = Base::new(DeviceRows::all(&base, DIM), Proximity::SquaredDistance)?;
    let (seconds, lists) = setting.repeat(|| rows.nearest(DeviceRows::all(&asked, DIM), 10))?;
    let mut query = vec![0f32; DIM];
    asked.read(0, &mut query)?;
    for found in lists.first().into_iter().flatten() {
        let exact = cuda::proofs::distance(&setting.row(found.id as usize), &query);
        if (exact - f64::from(found.score)).abs() > 1e-4 * exact {
            return Err(StepFailure::Wrong(format!("row {} is at {exact}, not {}", found.id, found.score)));
        }
    }
    let work = vec![StepWork::Floats(2.0 * (n * DIM) as f64 * queries as f64)];
    let timing = timing(format!("×{DIM}"), n, seconds, 0, 4 * n * DIM);
    Ok(Timing { queries: Some(queries), k: queries, work, ..timing })
}

/// Work that passes this many bytes through memory.
fn timing(size: String, n: usize, seconds: Vec<f64>, bytes: usize, input_bytes: usize) -> Timing {
    let (work, input_bytes) = (vec![StepWork::Bytes(bytes as f64)], input_bytes as f64);
    Timing { size, n, dim: DIM, k: 1, seconds, work, input_bytes, ..Timing::default() }
}
