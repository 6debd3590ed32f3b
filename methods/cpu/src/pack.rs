//! Symbols of up to a byte, packed and unpacked eight at a time in one register of the processor.
//!
//! ```text
//! v = Σ_i s_i·2^(8i)  →  pairs  →  quads  →  Σ_i s_i·2^(bits·i)
//! ```
//!
//! Eight symbols of `bits` bits are `bits` whole bytes, so that eight begin at a whole byte whatever their width.

/// Packs symbols of `bits` bits each, least significant bit first; bits of a symbol above its width are dropped.
///
/// # Panics
/// If `bits` is not 1 to 8, or `code` does not have the bytes of all symbols.
pub fn pack_bytes(bits: u8, symbols: &[u8], code: &mut [u8]) {
    assert!((1..=8).contains(&bits), "symbols of 1 to 8 bits");
    assert_eq!(code.len(), (symbols.len() * usize::from(bits)).div_ceil(8), "the bytes of all symbols");
    let width = usize::from(bits);
    let mask = u64::MAX / 255 * ((1 << bits) - 1);
    let (eights, rest) = symbols.as_chunks::<8>();
    let (whole, last) = code.split_at_mut(eights.len() * width);
    for (eight, bytes) in eights.iter().zip(whole.chunks_exact_mut(width)) {
        bytes.copy_from_slice(&joined(bits, u64::from_le_bytes(*eight) & mask).to_le_bytes()[..width]);
    }
    if !rest.is_empty() {
        let mut eight = [0u8; 8];
        eight[..rest.len()].copy_from_slice(rest);
        let bytes = joined(bits, u64::from_le_bytes(eight) & mask).to_le_bytes();
        last.copy_from_slice(&bytes[..last.len()]);
    }
}

/// Unpacks symbols of `bits` bits each.
///
/// # Panics
/// As [`pack_bytes`].
pub fn unpack_bytes(bits: u8, code: &[u8], symbols: &mut [u8]) {
    assert!((1..=8).contains(&bits), "symbols of 1 to 8 bits");
    assert_eq!(code.len(), (symbols.len() * usize::from(bits)).div_ceil(8), "the bytes of all symbols");
    let width = usize::from(bits);
    let (eights, rest) = symbols.as_chunks_mut::<8>();
    let (whole, last) = code.split_at(eights.len() * width);
    let read = |bytes: &[u8]| {
        let mut word = [0u8; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        spread(bits, u64::from_le_bytes(word)).to_le_bytes()
    };
    eights.iter_mut().zip(whole.chunks_exact(width)).for_each(|(eight, bytes)| *eight = read(bytes));
    if !rest.is_empty() {
        rest.copy_from_slice(&read(last)[..rest.len()]);
    }
}

const BYTES: u64 = 0x00ff_00ff_00ff_00ff;
const PAIRS: u64 = 0x0000_ffff_0000_ffff;
const QUADS: u64 = 0x0000_0000_ffff_ffff;

/// Eight symbols, each in a byte of its own, side by side.
#[inline]
fn joined(bits: u8, v: u64) -> u64 {
    let v = (v & BYTES) | (v >> 8 & BYTES) << bits;
    let v = (v & PAIRS) | (v >> 16 & PAIRS) << (2 * bits);
    (v & QUADS) | (v >> 32) << (4 * bits)
}

/// The inverse of [`joined`]; what stands above the eight symbols is dropped.
#[inline]
fn spread(bits: u8, v: u64) -> u64 {
    let low = |count: u8| (1u64 << (bits * count)) - 1;
    let quads = (v & low(4)) | (v >> (4 * bits) & low(4)) << 32;
    let pairs = low(2) | low(2) << 32;
    let pairs = (quads & pairs) | (quads >> (2 * bits) & pairs) << 16;
    let ones = low(1) | low(1) << 16 | low(1) << 32 | low(1) << 48;
    (pairs & ones) | (pairs >> bits & ones) << 8
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn packs_bit_by_bit_and_back(bits in 1u8..=8, symbols in prop::collection::vec(any::<u8>(), 0..60)) {
            let one_bits: Vec<bool> = symbols.iter().flat_map(|s| (0..bits).map(move |b| s >> b & 1 == 1)).collect();
            let plain: Vec<u8> =
                one_bits.chunks(8).map(|byte| byte.iter().enumerate().fold(0, |v, (b, &on)| v | u8::from(on) << b)).collect();
            let mut code = vec![0xaa; plain.len()];
            pack_bytes(bits, &symbols, &mut code);
            prop_assert_eq!(&code, &plain);
            // Whatever stands behind the last symbol is ignored.
            if let Some(last) = code.last_mut() {
                let used = (symbols.len() * usize::from(bits) + 7) % 8 + 1;
                *last |= (0xffu16 << used) as u8;
            }
            let mut back = vec![0x55; symbols.len()];
            unpack_bytes(bits, &code, &mut back);
            let kept: Vec<u8> = symbols.iter().map(|s| s & (0xff >> (8 - bits))).collect();
            prop_assert_eq!(back, kept);
        }
    }
}
