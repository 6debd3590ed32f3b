//! Checks of the kernels that encode and decode: as in `proofs`.

use super::ProofContext;
use super::agreement::Agreement;
use super::inputs::{InputKind, values};
use crate::{Codes, CudaError, DeviceCodebooks, DeviceRows, UniformScalars};

/// Encoding and decoding on a uniform grid, compared with the formula.
pub fn uniform_codes(bench: &ProofContext<'_>) -> Result<Agreement, CudaError> {
    let mut found = Agreement::default();
    for (case, bits) in (900..).zip([8u32, 4, 5, 1]) {
        let (n, dim) = (bench.rows(5000), 67);
        let rows = values(bench.seed, case, n * dim, InputKind::Plain);
        let (offsets, steps): (Vec<f32>, Vec<f32>) =
            (0..dim).map(|j| (-2.0 - 0.01 * j as f32, 4.0 / f32::from(1u16 << bits))).unzip();
        let scalars = UniformScalars::new(bench.device, &offsets, &steps, bits)?;
        let there = bench.device.upload(&rows)?;
        let mut codes = bench.poisoned::<u8>(n * scalars.code_size())?;
        scalars.encode(DeviceRows::all(&there, dim), &mut codes)?;
        let mut decoded = bench.poisoned::<f32>(n * dim)?;
        scalars.decode(Codes::all(&codes, scalars.code_size()), &mut decoded)?;
        let (codes, decoded) = (codes.download()?, decoded.download()?);
        let most = (1u32 << bits) - 1;
        for (i, (row, code)) in rows.chunks_exact(dim).zip(codes.chunks_exact(scalars.code_size())).enumerate() {
            for (j, x) in row.iter().enumerate() {
                let symbol = (0..bits as usize).fold(0u32, |symbol, b| {
                    let bit = j * bits as usize + b;
                    symbol | u32::from(code[bit / 8] >> (bit % 8) & 1) << b
                });
                let expected = (((x - offsets[j]) / steps[j] + 0.5) as u32).min(most);
                let value = offsets[j] + steps[j] * symbol as f32;
                let what = || format!("{bits} bits, row {i}, component {j}: symbol {symbol} for {expected}");
                found.holds_if(
                    symbol == expected && (decoded[i * dim + j] - value).abs() <= 1e-6 * value.abs().max(1.0),
                    what,
                );
            }
        }
    }
    Ok(found)
}

/// Decoding by codebooks, with concatenated and with added codewords.
pub fn decoding(bench: &ProofContext<'_>) -> Result<Agreement, CudaError> {
    let mut found = Agreement::default();
    for (case, (m, k, size)) in (950..).zip([(16, 256, 8), (3, 37, 5), (4, 16, 6)]) {
        let n = bench.rows(5000);
        let books = values(bench.seed, case, m * k * size, InputKind::Plain);
        let split: Vec<&[f32]> = books.chunks_exact(k * size).collect();
        let symbols: Vec<u16> =
            (0..(n * m) as u64).map(|i| (crate::random_bits(bench.seed ^ case, i) % k as u64) as u16).collect();
        let (there, on_device) = (DeviceCodebooks::new(bench.device, &split, size)?, bench.device.upload(&symbols)?);
        let mut beside = bench.poisoned::<f32>(n * m * size)?;
        let mut added = bench.poisoned::<f32>(n * size)?;
        let strangers =
            there.decode_groups(&on_device, n, &mut beside)? + there.decode_sums(&on_device, n, &mut added)?;
        found.holds_if(strangers == 0, || format!("{strangers} symbols are called strange"));
        let (beside, added) = (beside.download()?, added.download()?);
        for i in 0..n {
            let mut sum = vec![0f64; size];
            for (j, book) in split.iter().enumerate() {
                let codeword = &book[usize::from(symbols[i * m + j]) * size..][..size];
                sum.iter_mut().zip(codeword).for_each(|(s, &v)| *s += f64::from(v));
                found.holds_if(beside[(i * m + j) * size..][..size] == *codeword, || format!("row {i}, group {j}"));
            }
            let near = |(a, b): (&f32, &f64)| (f64::from(*a) - b).abs() <= 1e-5 * m as f64;
            found.holds_if(added[i * size..][..size].iter().zip(&sum).all(near), || format!("the sum of row {i}"));
        }
    }
    Ok(found)
}
