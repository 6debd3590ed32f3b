//! Distortions that theory or a published table fixes, reproduced on seeded samples. Tolerances are those of the
//! sources and are never widened to pass.

use methods::classical::lattice::LatticeName;
use methods::{Context, State, parse};
use ndarray::Array2;
use rand::seq::SliceRandom;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use serde_json::{Value, json};

const N: usize = 1 << 20;

fn gaussian(rng: &mut impl Rng) -> f32 {
    StandardNormal.sample(rng)
}

fn iid(n: usize, dim: usize, seed: u64, draw: fn(&mut ChaCha8Rng) -> f32) -> Array2<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    Array2::from_shape_fn((n, dim), |_| draw(&mut rng))
}

/// `dim` consecutive samples of a stationary AR(1) process of unit variance per row.
fn ar1(n: usize, dim: usize, rho: f64, seed: u64) -> Array2<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut x = f64::from(gaussian(&mut rng));
    Array2::from_shape_fn((n, dim), |_| {
        x = rho * x + (1.0 - rho * rho).sqrt() * f64::from(gaussian(&mut rng));
        x as f32
    })
}

/// MSE per dimension on rows not trained on.
fn test_mse(name: &str, params: Value, train: &Array2<f32>, test: &Array2<f32>) -> f64 {
    let method = parse(name, params).expect("parses");
    let quantizer = method.fit(train.view(), &Context::cpu(1)).expect("fits");
    let mut codes = vec![0; test.nrows() * quantizer.code_size()];
    quantizer.encode_into(test.view(), &mut codes).expect("encodes");
    let mut decoded = Array2::zeros(test.dim());
    quantizer.decode_into(&codes, decoded.view_mut()).expect("decodes");
    test.iter().zip(&decoded).map(|(x, y)| f64::from(x - y).powi(2)).sum::<f64>() / test.len() as f64
}

fn within(found: f64, expected: f64, tolerance: f64, what: &str) {
    assert!((found / expected - 1.0).abs() <= tolerance, "{what}: {found:.6e}, theory {expected:.6e}");
}

/// A source of unit variance by its density, without the noise of samples: trained on its quantiles, tested by an integral.
struct Source {
    name: &'static str,
    density: fn(f64) -> f64,
    /// Beyond this on either side there is nothing that matters.
    reach: f64,
}

const GAUSSIAN: Source =
    Source { name: "Gaussian", density: |x| (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt(), reach: 9.0 };
const LAPLACIAN: Source = Source {
    name: "Laplacian",
    density: |x| (-std::f64::consts::SQRT_2 * x.abs()).exp() / std::f64::consts::SQRT_2,
    reach: 20.0,
};

/// Cells of the integrals.
const CELLS: usize = 1 << 20;

impl Source {
    fn grid(&self) -> impl Iterator<Item = f64> + use<> {
        let (reach, width) = (self.reach, 2.0 * self.reach / CELLS as f64);
        (0..CELLS).map(move |i| -reach + (i as f64 + 0.5) * width)
    }

    /// Mass of each cell of the grid.
    fn weights(&self) -> Vec<f64> {
        let width = 2.0 * self.reach / CELLS as f64;
        self.grid().map(|x| (self.density)(x) * width).collect()
    }

    /// `N` values that stand for equal shares of the mass, in no order.
    fn quantiles(&self) -> Array2<f32> {
        let (weights, width) = (self.weights(), 2.0 * self.reach / CELLS as f64);
        let total: f64 = weights.iter().sum();
        let (mut below, mut cell) = (0.0, 0);
        let mut values: Vec<f32> = (0..N)
            .map(|i| {
                let target = total * (i as f64 + 0.5) / N as f64;
                while below + weights[cell] < target {
                    below += weights[cell];
                    cell += 1;
                }
                (-self.reach + (cell as f64 + (target - below) / weights[cell]) * width) as f32
            })
            .collect();
        values.shuffle(&mut ChaCha8Rng::seed_from_u64(1));
        Array2::from_shape_vec((N, 1), values).expect("one column")
    }

    /// What a scalar quantizer with these parameters makes of the source.
    fn measure(&self, params: Value, train: &Array2<f32>) -> Measured {
        let method = parse("scalar", params).expect("parses");
        let quantizer = method.fit(train.view(), &Context::cpu(1)).expect("fits");
        let rows = Array2::from_shape_vec((CELLS, 1), self.grid().map(|x| x as f32).collect()).expect("one column");
        let mut codes = vec![0; CELLS];
        quantizer.encode_into(rows.view(), &mut codes).expect("encodes");
        let mut decoded = Array2::zeros(rows.dim());
        quantizer.decode_into(&codes, decoded.view_mut()).expect("decodes");
        let (mut mse, mut masses) = (0.0, vec![0f64; 256]);
        for (((x, y), code), weight) in rows.iter().zip(&decoded).zip(&codes).zip(self.weights()) {
            mse += weight * f64::from(x - y).powi(2);
            masses[usize::from(*code)] += weight;
        }
        let entropy_bits = masses.iter().filter(|p| **p > 0.0).map(|p| -p * p.log2()).sum();
        let mut state = State::default();
        quantizer.save(&mut state);
        Measured { mse, entropy_bits, state: state.arrays().next().expect("an array").values.clone() }
    }

    /// Holds the MSE at 1 bit, 2 bits, … to the table; gives back what was measured.
    fn check(&self, params: &Value, table: &[f64]) -> Vec<Measured> {
        let train = self.quantiles();
        let measured = (1..).zip(table).map(|(bits, &expected)| {
            let mut params = params.clone();
            params["bits"] = json!(bits);
            let found = self.measure(params.clone(), &train);
            within(found.mse, expected, 0.01, &format!("{}, {params}", self.name));
            found
        });
        measured.collect()
    }
}

/// A scalar quantizer at work on a source.
struct Measured {
    mse: f64,
    entropy_bits: f64,
    /// Its first array: levels, or offset and step.
    state: Vec<f32>,
}

#[test]
fn lloyd_max_levels_of_a_gaussian() {
    let table = [0.363380, 0.117482, 0.0345478, 0.00950101, 0.00250467, 6.44240e-4, 1.63478e-4, 4.11851e-5];
    let found = GAUSSIAN.check(&json!({"levels": "lloyd-max", "scope": "tensor"}), &table);
    let sqnr_db = [4.396, 9.300, 14.616, 20.222, 26.012, 31.910, 37.865, 43.853];
    let entropies = [1.0000, 1.9111, 2.8249, 3.7653, 4.7298, 5.7101, 6.6996, 7.6941];
    for ((found, db), bits) in found.iter().zip(sqnr_db).zip(entropies) {
        let found_db = -10.0 * found.mse.log10();
        assert!((found_db - db).abs() < 0.044, "1% of the MSE are .044 dB: {found_db} for {db}");
        assert!((found.entropy_bits - bits).abs() < 0.01, "{} bits for {bits}", found.entropy_bits);
    }
    for (found, expected) in
        [(&found[1].state, &[0.452780, 1.510418][..]), (&found[2].state, &[0.245094, 0.756005, 1.343909, 2.151946])]
    {
        let (low, high) = found.split_at(expected.len());
        for ((low, high), expected) in low.iter().rev().zip(high).zip(expected) {
            assert!((high - expected).abs() < 2e-3 && (low + expected).abs() < 2e-3, "{found:?}");
        }
    }
    // The limit of Panter and Dite: N²·D → √3·π/2.
    within(256f64.powi(2) * found[7].mse, 2.72070, 0.015, "Panter–Dite, Gaussian");
}

#[test]
fn optimal_uniform_levels_of_a_gaussian() {
    let table = [0.363380, 0.118846, 0.0374397, 0.0115429, 0.00349521, 1.04005e-3, 3.04333e-4, 8.76862e-5];
    let symmetric = json!({"levels": "uniform", "scope": "tensor", "symmetric": true});
    for params in [symmetric, json!({"levels": "uniform", "scope": "dimension"})] {
        let found = GAUSSIAN.check(&params, &table);
        for (found, step) in found.iter().zip([1.595769, 0.995687, 0.586019, 0.335201, 0.188139]) {
            within(found.state[1].into(), step, 0.01, "step, Gaussian");
        }
    }
}

#[test]
fn lloyd_max_levels_of_a_laplacian() {
    let table = [0.5, 0.176195, 0.0544760, 0.0153725, 0.00410218, 1.06095e-3, 2.69874e-4, 6.80617e-5];
    let found = LAPLACIAN.check(&json!({"levels": "lloyd-max", "scope": "dimension"}), &table);
    within(256f64.powi(2) * found[7].mse, 4.5, 0.02, "Panter–Dite, Laplacian");
}

#[test]
fn optimal_uniform_levels_of_a_laplacian() {
    let table = [0.5, 0.196302, 0.0717478, 0.0253510, 0.00871322, 2.91343e-3, 9.48597e-4, 3.01420e-4];
    let params = json!({"levels": "uniform", "scope": "tensor", "symmetric": true});
    let found = LAPLACIAN.check(&params, &table);
    for (found, step) in found.iter().zip([std::f64::consts::SQRT_2, 1.087393, 0.730933, 0.460995]) {
        within(found.state[1].into(), step, 0.01, "step, Laplacian");
    }
}

/// Once symbols are entropy-coded, evenly spaced thresholds come within 1.44 dB of the bound at 1 bit, 1.53 dB at 2 bits, and
/// πe/6 = 1.53293 dB in the limit (Gish and Pierce 1968).
#[test]
fn entropy_coded_uniform_thresholds_of_a_gaussian() {
    let train = GAUSSIAN.quantiles();
    let at = |step: f64| {
        GAUSSIAN.measure(json!({"bits": 8, "scope": "tensor", "levels": {"uniform-threshold": step}}), &train)
    };
    for (rate, mse, gap_db) in [(1.0, 0.34834, 1.441), (2.0, 0.088941, 1.532), (5.0, 0.0, 1.53293)] {
        // Entropy falls as cells grow.
        let (mut low, mut high) = (0.05, 4.0);
        while high - low > 1e-4 {
            let middle: f64 = 0.5 * (low + high);
            if at(middle).entropy_bits > rate { low = middle } else { high = middle }
        }
        let found = at(high);
        let gap = 10.0 * (found.mse * 4f64.powf(found.entropy_bits)).log10();
        assert!((gap - gap_db).abs() < 0.005, "{rate} bits: {gap} dB, expected {gap_db}");
        if mse > 0.0 {
            within(found.mse, mse, 0.002, "entropy-coded, Gaussian");
        }
    }
}

/// Fixed-rate high resolution: `G·2π·((k+2)/k)^((k+2)/2)` above D(R), with `G` measured.
#[test]
fn lattices_stand_where_high_resolution_theory_puts_them() {
    let mut rng = ChaCha8Rng::seed_from_u64(41);
    let scalar = 1.0 / 12.0;
    let mut moments = vec![(1usize, scalar, 4.347)];
    for (kind, gap_db) in [(LatticeName::A2, 3.043), (LatticeName::D4, 2.107), (LatticeName::E8, 1.381)] {
        let k = kind.dim();
        let (mut sum, n) = (0.0, 200_000);
        let mut point = vec![0.0; k];
        for _ in 0..n {
            let x: Vec<f64> = (0..k).map(|_| 100.0 * rng.random::<f64>()).collect();
            kind.nearest(&x, &mut point);
            sum += x.iter().zip(&point).map(|(x, p)| (x - p).powi(2)).sum::<f64>();
        }
        moments.push((k, sum / f64::from(n) / (k as f64 * kind.volume().powf(2.0 / k as f64)), gap_db));
    }
    for (k, moment, gap_db) in moments {
        let dim = k as f64;
        let gap = moment * 2.0 * std::f64::consts::PI * ((dim + 2.0) / dim).powf(0.5 * (dim + 2.0));
        let found = 10.0 * gap.log10();
        assert!((found - gap_db).abs() < 0.015, "k={k}: {found} dB, expected {gap_db}");
    }
    // Z: a fine uniform grid on a uniform source has step²/12.
    let rows = Array2::from_shape_fn((N, 1), |(i, _)| (i as f32 + 0.5) / N as f32);
    let found = test_mse("scalar", json!({"bits": 5, "scope": "tensor", "range": "mse"}), &rows, &rows);
    within(found, 0.083333 / 1024.0, 1e-3, "second moment of Z");
}

/// Unit vectors behind a random rotation, at 128 components: normalized MSE of RaBitQ decoded either way, and of TurboQuant.
#[test]
fn rotation_based_codes_of_unit_vectors() {
    let mut rows = iid(12_000, 128, 51, gaussian);
    for mut row in rows.outer_iter_mut() {
        let norm = row.dot(&row).sqrt();
        row /= norm;
    }
    let nmse = |name: &str, params: Value| 128.0 * test_mse(name, params, &rows, &rows);
    let table = [
        (1, 0.3612, 0.5689, 0.3616),
        (2, 0.1162, 0.1318, 0.1164),
        (3, 0.0352, 0.0365, 0.0341),
        (4, 0.00993, 0.01004, 0.00932),
    ];
    for (bits, optimal, unbiased, turbo) in table {
        within(nmse("rabitq", json!({"bits": bits})), optimal, 0.01, "RaBitQ, least MSE");
        within(nmse("rabitq", json!({"bits": bits, "decode": "unbiased"})), unbiased, 0.01, "RaBitQ, unbiased");
        within(nmse("turboquant", json!({"bits": bits})), turbo, 0.01, "TurboQuant");
    }
}

/// Signal-to-noise ratio against the power of the very test rows: the power of correlated samples varies by itself.
fn snr_db(params: Value, train: &Array2<f32>, test: &Array2<f32>) -> f64 {
    let power = test.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / test.len() as f64;
    10.0 * (power / test_mse("lbg", params, train, test)).log10()
}

#[test]
fn lbg_at_one_bit_per_dimension() {
    for (k, iid_db, ar1_db) in [(1usize, 4.40, 4.40), (2, 4.40, 7.88), (3, 4.49, 9.38)] {
        let n = 600_000 / k;
        let params = json!({"bits": k, "tolerance": 1e-5});
        let db = snr_db(params.clone(), &iid(n, k, 21, gaussian), &iid(n, k, 22, gaussian));
        assert!((db - iid_db).abs() <= 0.05, "iid Gaussian, k={k}: {db:.3} dB, expected {iid_db}");
        let db = snr_db(params, &ar1(n, k, 0.9, 23), &ar1(n, k, 0.9, 24));
        assert!((db - ar1_db).abs() <= 0.05, "AR(1), k={k}: {db:.3} dB, expected {ar1_db}");
    }
}

/// By splitting alone the same codebooks end up to .08 dB below k-means from ten starts.
#[test]
fn lbg_ends_where_the_best_of_ten_starts_of_k_means_ends() {
    let n = 10_000;
    for (source, rows) in [("iid Gaussian", iid(n, 4, 61, gaussian)), ("AR(1)", ar1(n, 4, 0.9, 62))] {
        let error = |name: &str, params: Value| test_mse(name, params, &rows, &rows);
        for bits in [4, 6, 8] {
            let lbg = error("lbg", json!({"bits": bits}));
            let best_of_ten = error("kmeans", json!({"codewords": 1 << bits, "restarts": 10}));
            let behind_db = 10.0 * (lbg / best_of_ten).log10();
            assert!(behind_db <= 0.02, "{source}, {bits} bits: {behind_db:.3} dB behind");
            let classical = error("lbg", json!({"bits": bits, "moves": 0}));
            assert!(lbg < classical, "{source}, {bits} bits: {lbg} with moves, {classical} without");
        }
    }
}

#[test]
fn pq_of_an_iid_gaussian() {
    for (dsub, bits, expected) in [(2usize, 4, 0.1079), (2, 8, 0.0079), (4, 8, 0.0973)] {
        let n = 100_000;
        let params = json!({"m": 2, "bits": bits, "iterations": 100});
        let found = test_mse("pq", params, &iid(n, 2 * dsub, 31, gaussian), &iid(n, 2 * dsub, 32, gaussian));
        within(found, expected, 0.01, &format!("PQ, dsub={dsub}, K=2^{bits}"));
    }
}
