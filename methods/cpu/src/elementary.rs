//! Powers and logarithms of many values at once. The polynomials are those of Cephes (Moshier 1989), within two units of
//! the last place; multiplication and addition round separately, so that every set gives the same to the last bit.

use crate::dispatch::{Kernel, dispatch};
use crate::isa::Isa;
use crate::lanes::Lanes;

/// Replaces each value by `e^x`; by 0 where that is below the least normal number, which would cost a hundred times as much.
pub fn exp(isa: Isa, values: &mut [f32]) {
    dispatch(isa, Exp(values));
}

/// Replaces each value by `ln x`: `−∞` for zero, NaN for what is negative.
pub fn ln(isa: Isa, values: &mut [f32]) {
    dispatch(isa, Ln(values));
}

struct Exp<'a>(&'a mut [f32]);

impl Kernel for Exp<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        for x in self.0 {
            *x = exp_of(*x);
        }
    }
}

struct Ln<'a>(&'a mut [f32]);

impl Kernel for Ln<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        for x in self.0 {
            *x = ln_of(*x);
        }
    }
}

/// `ln 2` in two parts; a whole number of up to nine bits times the first is exact.
const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];

/// Added to a small number and taken away again, it leaves the nearest whole number; its lowest bits are that number.
const ROUNDER: f32 = 12_582_912.0;

/// The logarithm of the least normal number, rounded up.
const LEAST: f32 = -87.336_54;

/// `2^n` for `n` from −126 to 127.
#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits(n.wrapping_add(127).cast_unsigned() << 23)
}

/// `e^x = 2^n·e^r` with `|r| ≤ ln 2/2`.
#[inline(always)]
fn exp_of(x: f32) -> f32 {
    // Above this bound all powers are infinite; NaN stays NaN.
    let x = if x > 89.0 { 89.0 } else { x };
    let is_nothing = x < LEAST;
    let x = if is_nothing { 0.0 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUNDER;
    let whole = shifted - ROUNDER;
    let n = shifted.to_bits().cast_signed().wrapping_sub(ROUNDER.to_bits().cast_signed());
    let r = x - whole * LN_2[0] - whole * LN_2[1];
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_2e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    let p = p * (r * r) + r + 1.0;
    // In two factors, since the power itself may be out of range.
    let half = n >> 1;
    let power = p * power_of_two(half) * power_of_two(n.wrapping_sub(half));
    if is_nothing { 0.0 } else { power }
}

/// `ln x = e·ln 2 + ln m` with `√½ ≤ m < √2`.
#[inline(always)]
fn ln_of(x: f32) -> f32 {
    const SQRT_HALF: i32 = 0x3f35_04f3;
    const TINY: f32 = f32::MIN_POSITIVE;
    // Numbers that are not normal, brought into range.
    let (scaled, less) = if x < TINY { (x * 8_388_608.0, 23.0) } else { (x, 0.0) };
    let bits = scaled.to_bits().cast_signed();
    let e = bits.wrapping_sub(SQRT_HALF) >> 23;
    let f = f32::from_bits(bits.wrapping_sub(e << 23).cast_unsigned()) - 1.0;
    let e = e as f32 - less;
    let square = f * f;
    let p = 7.037_683_6e-2;
    let p = p * f - 1.151_461e-1;
    let p = p * f + 1.167_699_8e-1;
    let p = p * f - 1.242_014_1e-1;
    let p = p * f + 1.424_932_3e-1;
    let p = p * f - 1.666_805_7e-1;
    let p = p * f + 2.000_071_4e-1;
    let p = p * f - 2.499_999_4e-1;
    let p = p * f + 3.333_333e-1;
    let ln = f + (p * f * square + e * LN_2[1] - 0.5 * square) + e * LN_2[0];
    let ln = if x == 0.0 { f32::NEG_INFINITY } else { ln };
    let ln = if x == f32::INFINITY { x } else { ln };
    if x < 0.0 || x.is_nan() { f32::NAN } else { ln }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of every size, and all bit patterns of a coarse grid.
    fn values() -> Vec<f32> {
        let grid = (0..1u32 << 20).map(|i| f32::from_bits(i << 12 | 0x5a5));
        let usual = (-200_000..200_000).map(|i| i as f32 * 5.3e-4);
        let near_one = (0..20_000u32).map(|i| f32::from_bits(1f32.to_bits() - 10_000 + i));
        grid.chain(usual)
            .chain(near_one)
            .chain([0.0, -0.0, 1e-45, f32::MIN_POSITIVE, f32::INFINITY, f32::MAX])
            .collect()
    }

    /// Two units of the last place; nothing is as good as what is not a normal number.
    fn near(found: f32, exact: f64) -> bool {
        let unit = f64::from(f32::EPSILON) * exact.abs();
        let beyond = exact.abs() > f64::from(f32::MAX) * (1.0 - 1e-6);
        (f64::from(found) - exact).abs() <= 2.0 * unit
            || (found == 0.0 && exact.abs() < 1.176e-38)
            || (beyond && found.abs() > 3.3e38 && exact.signum() == f64::from(found.signum()))
    }

    #[test]
    fn every_set_gives_powers_and_logarithms_to_two_units_of_the_last_place() {
        let values = values();
        type Function = (fn(Isa, &mut [f32]), fn(f64) -> f64);
        let functions: [Function; 2] = [(exp, f64::exp), (ln, f64::ln)];
        for (i, (function, exact)) in functions.into_iter().enumerate() {
            let mut of_sets: Vec<Vec<u32>> = Vec::new();
            for isa in Isa::available() {
                let mut found = values.clone();
                function(isa, &mut found);
                for (x, y) in values.iter().zip(&found) {
                    let exact = exact(f64::from(*x));
                    let right = if exact.is_nan() {
                        y.is_nan()
                    } else if exact.is_infinite() {
                        f64::from(*y) == exact
                    } else {
                        near(*y, exact)
                    };
                    assert!(right, "{isa}, function {i} at {x:e}: {y:e} for {exact:e}");
                }
                of_sets.push(found.iter().map(|y| if y.is_nan() { 0 } else { y.to_bits() }).collect());
            }
            assert!(of_sets.windows(2).all(|pair| pair[0] == pair[1]), "function {i}");
        }
    }
}
