//! Side values of a code (norms, scales, factors), stored as little-endian f32 before the packed symbols.

use crate::MethodError;

/// Writes each value as four bytes.
pub(crate) fn write_side(side: &mut [u8], values: &[f32]) {
    side.chunks_exact_mut(4).zip(values).for_each(|(stored, value)| stored.copy_from_slice(&value.to_le_bytes()));
}

/// Reads the values back.
///
/// # Errors
/// A value that an encoder cannot have written.
pub(crate) fn read_side<const N: usize>(side: &[u8]) -> Result<[f32; N], MethodError> {
    let mut values = [0f32; N];
    for ((value, stored), position) in values.iter_mut().zip(side.as_chunks::<4>().0).zip(0..) {
        *value = f32::from_le_bytes(*stored);
        if !value.is_finite() {
            return Err(MethodError::Side { position, value: *value });
        }
    }
    Ok(values)
}

/// `direction ← (x−c)/‖x−c‖`; returns `‖x−c‖`. If that is zero, the direction is zero. Without a centre, `c` is the
/// origin.
pub(crate) fn unit_residual(row: &[f32], center: Option<&[f32]>, direction: &mut [f32]) -> f32 {
    let center = |j: usize| center.map_or(0.0, |center| f64::from(center[j]));
    let power: f64 = row.iter().enumerate().map(|(j, x)| (f64::from(*x) - center(j)).powi(2)).sum();
    let norm = power.sqrt();
    let scale = if norm > 0.0 { 1.0 / norm } else { 0.0 };
    for (j, (o, x)) in direction.iter_mut().zip(row).enumerate() {
        *o = ((f64::from(*x) - center(j)) * scale) as f32;
    }
    norm.min(f64::from(f32::MAX)) as f32
}
