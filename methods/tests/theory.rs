//! Distortions that theory or a published table fixes, reproduced on seeded samples. Tolerances are those of the
//! sources and are never widened to pass.

use methods::{Context, parse};
use ndarray::Array2;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use serde_json::{Value, json};

const N: usize = 1 << 20;

fn gaussian(rng: &mut impl Rng) -> f32 {
    StandardNormal.sample(rng)
}

/// Unit variance: scale 1/√2, by inversion of the distribution function.
fn laplacian(rng: &mut impl Rng) -> f32 {
    let u: f64 = rng.random::<f64>() - 0.5;
    (-u.signum() * (1.0 - 2.0 * u.abs()).max(f64::MIN_POSITIVE).ln() / std::f64::consts::SQRT_2) as f32
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

fn check_scalar(draw: fn(&mut ChaCha8Rng) -> f32, params: Value, expected: &[f64], what: &str) {
    let (train, test) = (iid(N, 1, 11, draw), iid(N, 1, 12, draw));
    for (bits, &expected) in (1..).zip(expected) {
        let mut params = params.clone();
        params["bits"] = json!(bits);
        within(test_mse("scalar", params, &train, &test), expected, 0.01, &format!("{what}, {bits} bits"));
    }
}

#[test]
fn lloyd_max_levels_of_a_gaussian() {
    let table = &[0.363380, 0.117482, 0.0345478, 0.00950101, 0.00250467, 6.44240e-4, 1.63478e-4];
    check_scalar(gaussian, json!({"levels": "lloyd-max", "scope": "tensor"}), table, "Gaussian, Lloyd–Max");
}

#[test]
fn optimal_uniform_levels_of_a_gaussian() {
    let table = &[0.363380, 0.118846, 0.0374397, 0.0115429, 0.00349521, 1.04005e-3, 3.04333e-4, 8.76862e-5];
    let params = json!({"levels": "uniform", "scope": "tensor", "symmetric": true});
    check_scalar(gaussian, params, table, "Gaussian, uniform, symmetric");
    check_scalar(gaussian, json!({"levels": "uniform", "scope": "dimension"}), table, "Gaussian, uniform, affine");
}

#[test]
fn lloyd_max_levels_of_a_laplacian() {
    let table = &[0.5, 0.176195, 0.0544760, 0.0153725, 0.00410218, 1.06095e-3];
    check_scalar(laplacian, json!({"levels": "lloyd-max", "scope": "dimension"}), table, "Laplacian, Lloyd–Max");
}

#[test]
fn optimal_uniform_levels_of_a_laplacian() {
    let table = &[0.5, 0.196302, 0.0717478, 0.0253510, 0.00871322, 2.91343e-3];
    let params = json!({"levels": "uniform", "scope": "tensor", "symmetric": true});
    check_scalar(laplacian, params, table, "Laplacian, uniform");
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

#[test]
fn pq_of_an_iid_gaussian() {
    for (dsub, bits, expected) in [(2usize, 4, 0.1079), (2, 8, 0.0079), (4, 8, 0.0973)] {
        let n = 100_000;
        let params = json!({"m": 2, "bits": bits, "iterations": 100});
        let found = test_mse("pq", params, &iid(n, 2 * dsub, 31, gaussian), &iid(n, 2 * dsub, 32, gaussian));
        within(found, expected, 0.01, &format!("PQ, dsub={dsub}, K=2^{bits}"));
    }
}
