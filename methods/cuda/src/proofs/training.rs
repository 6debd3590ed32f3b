//! Checks what training needs besides assignments: initial rows of k-means, totals, networks.

use super::ProofContext;
use super::agreement::Agreement;
use super::inputs::{InputKind, TIE, distance, values};
use crate::{CudaError, DeviceAffineMap, DeviceLayer, DeviceNetwork, DeviceRows, rows_at, spread_rows, total};

/// k-means++: the point that chose a row is in that row's interval of the cumulative distances, computed in f64.
pub fn starts(bench: &ProofContext<'_>) -> Result<Agreement, CudaError> {
    let mut found = Agreement::default();
    // With 300,000 rows there are more blocks than threads that choose one.
    for (case, (n, dim, k)) in (700u64..).zip([(30_000, 128, 40), (300_000, 3, 30), (5000, 17, 30), (1, 4, 2)]) {
        let n = bench.rows(n);
        // Integers, so that every distance is exact and only totals are rounded.
        let rows: Vec<f32> =
            values(bench.seed, case, n * dim, InputKind::Plain).iter().map(|v| (4.0 * v).round()).collect();
        let points: Vec<f64> =
            (0..k).map(|i| crate::random_bits(bench.seed ^ case, i) as f64 / (u64::MAX as f64 + 1.0)).collect();
        let row = |i: usize| &rows[i * dim..][..dim];
        let there = bench.device.upload(&rows)?;
        let view = DeviceRows::all(&there, dim);
        let chosen: Vec<usize> = spread_rows::<CudaError>(view, n / 2, &points, || Ok(()))?;
        let mut distances = vec![f64::INFINITY; n];
        for (c, &chosen_row) in chosen.iter().enumerate() {
            found.holds_if(c > 0 || chosen_row == n / 2, || format!("{n}×{dim}: begins with row {chosen_row}"));
            if c > 0 {
                let sum: f64 = distances.iter().sum();
                let before: f64 = distances[..chosen_row].iter().sum();
                let (point, slack) = (points[c - 1] * sum, 1e-12 * sum);
                let within = before - slack <= point && point <= before + distances[chosen_row] + slack;
                found.holds_if(within && distances[chosen_row] > 0.0, || {
                    format!("{n}×{dim}: start {c} is row {chosen_row}, from {before} of {sum}, for {point}")
                });
            }
            let last = row(chosen_row);
            distances.iter_mut().enumerate().for_each(|(i, d)| *d = d.min(distance(row(i), last)));
        }
        let ended = distances.iter().all(|&d| d == 0.0);
        found.holds_if(chosen.len() == points.len() + 1 || ended, || {
            format!("{n}×{dim}: {} starts for {}", chosen.len(), points.len() + 1)
        });
        let gathered = rows_at(view, &chosen)?;
        for (&i, there) in chosen.iter().zip(gathered.chunks_exact(dim)) {
            found.holds_if(there == row(i), || format!("{n}×{dim}: row {i} comes back as another"));
        }
        let (sum, exact) = (total(&there, rows.len())?, rows.iter().map(|&v| f64::from(v)).sum::<f64>());
        found.holds_if(sum == exact, || format!("{} values: a total of {sum} for {exact}", rows.len()));
    }
    Ok(found)
}

/// Networks of maps, windows and rectifiers, compared with sums in f64.
pub fn networks(bench: &ProofContext<'_>) -> Result<Agreement, CudaError> {
    let mut found = Agreement::default();
    for (case, (n, dim, hidden, outputs)) in (800u64..).zip([(5000, 384, 256, 64), (3000, 48, 33, 7), (1, 1, 1, 1)]) {
        let n = bench.rows(n);
        let of = |stream: u64, len| values(bench.seed, 16 * case + stream, len, InputKind::Plain);
        let (rows, straight, straight_bias) = (of(0, n * dim), of(1, outputs * dim), of(2, outputs));
        // Windows of two adjacent inputs; the second input of the last window does not exist.
        let inputs: Vec<u32> = (0..dim as u32).flat_map(|j| [j, j + 1]).collect();
        let (of_window, window_bias) = (of(3, 2), of(4, 1));
        let (first, first_bias) = (of(5, hidden * dim), of(6, hidden));
        let (second, second_bias) = (of(7, outputs * hidden), of(8, outputs));
        let map = |weights: &[f32], bias: &[f32]| DeviceAffineMap::new(bench.device, weights, bias);
        let network = DeviceNetwork::new(
            map(&straight, &straight_bias)?,
            vec![
                DeviceLayer::Windows { inputs: bench.device.upload(&inputs)?, map: map(&of_window, &window_bias)? },
                DeviceLayer::Rectifier,
                DeviceLayer::Affine(map(&first, &first_bias)?),
                DeviceLayer::Rectifier,
                DeviceLayer::Affine(map(&second, &second_bias)?),
            ],
        );
        let there = bench.device.upload(&rows)?;
        let mut out = bench.poisoned(n * outputs)?;
        network.apply(DeviceRows::all(&there, dim), &mut out)?;
        let out = out.download()?;
        for (i, row) in rows.chunks_exact(dim).enumerate() {
            let row: Vec<f64> = row.iter().map(|&v| v.into()).collect();
            let seen: Vec<f64> = inputs.iter().map(|&j| row.get(j as usize).copied().unwrap_or(0.0)).collect();
            let (features, _) = affine(&seen, &of_window, &window_bias);
            let (hidden_values, _) = affine(&rectified(features), &first, &first_bias);
            let (correction, size) = affine(&rectified(hidden_values), &second, &second_bias);
            let (direct, own) = affine(&row, &straight, &straight_bias);
            for c in 0..outputs {
                let (exact, found_there) = (direct[c] + correction[c], f64::from(out[i * outputs + c]));
                let near = (found_there - exact).abs() <= 10.0 * TIE * (size[c] + own[c] + 1.0);
                found.holds_if(near, || format!("{n}×{dim}, row {i}, output {c}: {found_there} for {exact}"));
            }
        }
    }
    Ok(found)
}

fn rectified(values: Vec<f64>) -> Vec<f64> {
    values.into_iter().map(|v| v.max(0.0)).collect()
}

/// `x·weights + bias` of every part of `x` that is as long as the weights of an output, and the sums of the magnitudes
/// of the terms.
fn affine(x: &[f64], weights: &[f32], bias: &[f32]) -> (Vec<f64>, Vec<f64>) {
    let inputs = weights.len() / bias.len();
    let of = |(part, (w, b)): (&[f64], (&[f32], &f32))| {
        let products = || part.iter().zip(w).map(|(x, &w)| x * f64::from(w));
        (f64::from(*b) + products().sum::<f64>(), f64::from(b.abs()) + products().map(f64::abs).sum::<f64>())
    };
    let each =
        x.chunks_exact(inputs).flat_map(|part| weights.chunks_exact(inputs).zip(bias).map(move |wb| of((part, wb))));
    each.unzip()
}
