//! Three lattices: nearest points, and points as integer coordinates (Conway and Sloane 1982).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A lattice: a regular pattern of points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LatticeName {
    /// The hexagonal lattice; one point codes 2 components. Its normalized second moment is 0.0801875. This measures
    /// the squared error at high rates; a uniform scalar quantizer has 1/12 = 0.0833.
    A2,
    /// Vectors of 4 integers with an even sum; one point codes 4 components. Its normalized second moment is 0.0766032
    /// (uniform scalar quantizer: 0.0833).
    D4,
    /// The Gosset lattice; one point codes 8 components. Its normalized second moment is 0.0716821 (uniform scalar
    /// quantizer: 0.0833).
    E8,
}

/// √3.
const ROOT3: f64 = 1.732_050_807_568_877_2;

/// Largest number of components per point.
pub const MAX_DIM: usize = 8;

impl LatticeName {
    /// Components per point.
    pub fn dim(self) -> usize {
        match self {
            LatticeName::A2 => 2,
            LatticeName::D4 => 4,
            LatticeName::E8 => 8,
        }
    }

    /// Volume of a cell.
    pub fn volume(self) -> f64 {
        match self {
            LatticeName::A2 => 0.5 * ROOT3,
            LatticeName::D4 => 2.0,
            LatticeName::E8 => 1.0,
        }
    }

    /// The point nearest to `x` ([`LatticeName::dim`] components).
    pub fn nearest(self, x: &[f64], point: &mut [f64]) {
        match self {
            LatticeName::D4 => nearest_even(x, 0.0, point),
            // D8 and D8 moved by ½ in every component.
            LatticeName::E8 => nearer_of(x, point, |shift, point| nearest_even(x, 0.5 * shift, point)),
            // A rectangular lattice and a copy shifted by half of both sides.
            LatticeName::A2 => nearer_of(x, point, |shift, point| {
                for ((p, v), side) in point.iter_mut().zip(x).zip([1.0, ROOT3]) {
                    *p = side * ((v / side - 0.5 * shift).round() + 0.5 * shift);
                }
            }),
        }
    }

    /// The integers `z` with `point = Σ z_i·b_i`. The basis is `2e_0, e_1−e_0, …, e_{k−1}−e_{k−2}` for D4; the same, but
    /// `(½, …, ½)` for the last, for E8; `(1, 0)` and `(½, √3/2)` for A2.
    pub fn coordinates(self, point: &[f64], z: &mut [i64]) {
        let k = self.dim();
        if self == LatticeName::A2 {
            let up = (point[1] / (0.5 * ROOT3)).round();
            (z[0], z[1]) = ((point[0] - 0.5 * up).round() as i64, up as i64);
            return;
        }
        // Solved from the last component down: x_i = z_i − z_{i+1} + half·z_{k−1}, with 2·z_0 for z_0.
        let mut half = 0.0;
        let mut above = 0i64;
        for i in (0..k).rev() {
            let left = point[i] - half + above as f64;
            if self == LatticeName::E8 && i == k - 1 {
                z[i] = (2.0 * left).round() as i64;
                half = 0.5 * z[i] as f64;
                continue;
            }
            z[i] = if i == 0 { (0.5 * left).round() as i64 } else { left.round() as i64 };
            above = z[i];
        }
    }

    /// The point with these coordinates.
    pub fn point(self, z: &[i64], point: &mut [f64]) {
        let k = self.dim();
        if self == LatticeName::A2 {
            (point[0], point[1]) = (z[0] as f64 + 0.5 * z[1] as f64, 0.5 * ROOT3 * z[1] as f64);
            return;
        }
        let glue = self == LatticeName::E8;
        let half = if glue { 0.5 * z[k - 1] as f64 } else { 0.0 };
        let last = if glue { k - 1 } else { k };
        for i in 0..k {
            let own = match i {
                0 => 2 * z[0],
                i if i < last => z[i],
                _ => 0,
            };
            let above = if i + 1 < last { z[i + 1] } else { 0 };
            point[i] = (own - above) as f64 + half;
        }
    }
}

/// Nearest point of even sum to `x − shift`, shifted back: round all components; if the sum is odd, round the component
/// that was nearest to a tie the other way.
fn nearest_even(x: &[f64], shift: f64, point: &mut [f64]) {
    let (mut sum, mut worst, mut at, mut toward) = (0i64, -1.0, 0, 1.0);
    for (i, (p, v)) in point.iter_mut().zip(x).enumerate() {
        let moved = v - shift;
        let rounded = moved.round();
        let error = moved - rounded;
        if error.abs() > worst {
            (worst, at, toward) = (error.abs(), i, if error < 0.0 { -1.0 } else { 1.0 });
        }
        sum += rounded as i64;
        *p = rounded + shift;
    }
    if sum % 2 != 0 {
        point[at] += toward;
    }
}

/// The nearer to `x` of the two points that `find` gives for the shifts 0 and 1.
fn nearer_of(x: &[f64], point: &mut [f64], find: impl Fn(f64, &mut [f64])) {
    let mut other = [0f64; MAX_DIM];
    let other = &mut other[..point.len()];
    find(0.0, point);
    find(1.0, other);
    if squared_distance(x, other) < squared_distance(x, point) {
        point.copy_from_slice(other);
    }
}

pub(super) fn squared_distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| (x - y).powi(2)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    const KINDS: [LatticeName; 3] = [LatticeName::A2, LatticeName::D4, LatticeName::E8];

    #[test]
    fn coordinates_and_points_are_each_others_inverse() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for kind in KINDS {
            for _ in 0..500 {
                let z: Vec<i64> = (0..kind.dim()).map(|_| rng.random_range(-9..10)).collect();
                let (mut point, mut back) = (vec![0.0; kind.dim()], vec![0; kind.dim()]);
                kind.point(&z, &mut point);
                kind.coordinates(&point, &mut back);
                assert_eq!(back, z, "{kind:?}");
                let mut nearest = vec![0.0; kind.dim()];
                kind.nearest(&point, &mut nearest);
                assert!(squared_distance(&point, &nearest) < 1e-20, "{kind:?}: a point is its own nearest");
            }
        }
    }

    /// Against all points with coordinates around those found.
    #[test]
    fn no_point_around_is_nearer_than_the_nearest() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        for kind in KINDS {
            let k = kind.dim();
            for _ in 0..20 {
                let x: Vec<f64> = (0..k).map(|_| 6.0 * rng.random::<f64>() - 3.0).collect();
                let (mut point, mut z, mut other) = (vec![0.0; k], vec![0; k], vec![0.0; k]);
                kind.nearest(&x, &mut point);
                kind.coordinates(&point, &mut z);
                let least = squared_distance(&x, &point);
                for step in 0..3usize.pow(k as u32) {
                    let near: Vec<i64> = (0..k).map(|i| z[i] + (step / 3usize.pow(i as u32) % 3) as i64 - 1).collect();
                    kind.point(&near, &mut other);
                    assert!(squared_distance(&x, &other) >= least - 1e-12, "{kind:?}");
                }
            }
        }
    }

    /// `G = E‖x − λ‖²/(k·V^(2/k))` over a cell: the published second moments.
    #[test]
    fn second_moments_are_the_published_ones() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        for (kind, expected) in
            [(LatticeName::A2, 0.0801875), (LatticeName::D4, 0.0766032), (LatticeName::E8, 0.0716821)]
        {
            let k = kind.dim();
            let (mut sum, n) = (0.0, 400_000);
            let mut point = vec![0.0; k];
            for _ in 0..n {
                let x: Vec<f64> = (0..k).map(|_| 1000.0 * rng.random::<f64>()).collect();
                kind.nearest(&x, &mut point);
                sum += squared_distance(&x, &point);
            }
            let found = sum / f64::from(n) / (k as f64 * kind.volume().powf(2.0 / k as f64));
            assert!((found / expected - 1.0).abs() < 2e-3, "{kind:?}: {found}, published {expected}");
        }
    }
}
