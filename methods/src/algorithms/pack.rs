//! Bit-packing of symbols: least significant bit first, positions in order, each row padded to a whole byte.

use crate::MethodError;

/// The widths of a code's symbols, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SymbolLayout {
    widths: Vec<u8>,
    bits: usize,
    /// The width that all symbols share, if they do.
    common: Option<u8>,
}

/// The widest symbol, in bits.
pub const MAX_BITS: u8 = 16;

impl SymbolLayout {
    /// Symbols of the given widths, each 1 to 16 bits.
    ///
    /// # Panics
    /// When a width is 0 or above [`MAX_BITS`].
    pub fn new(widths: Vec<u8>) -> SymbolLayout {
        assert!(widths.iter().all(|&w| (1..=MAX_BITS).contains(&w)), "symbols are 1 to {MAX_BITS} bits wide");
        let bits = widths.iter().map(|&w| usize::from(w)).sum();
        let common = widths.first().copied().filter(|first| widths.iter().all(|w| w == first));
        SymbolLayout { widths, bits, common }
    }

    /// `count` symbols of `bits` bits.
    pub fn uniform(count: usize, bits: u8) -> SymbolLayout {
        SymbolLayout::new(vec![bits; count])
    }

    /// Number of symbols.
    pub fn positions(&self) -> usize {
        self.widths.len()
    }

    /// Bits of all symbols together.
    pub fn bits(&self) -> usize {
        self.bits
    }

    /// Bytes of a row.
    pub fn bytes(&self) -> usize {
        self.bits.div_ceil(8)
    }

    /// The width of the symbols, if all have the same.
    pub fn common_width(&self) -> Option<u8> {
        self.common
    }

    /// Packs one symbol per position into `code` ([`SymbolLayout::bytes`] bytes).
    ///
    /// # Panics
    /// If a length is wrong. Bits of a symbol above its width are dropped.
    pub fn pack(&self, symbols: &[u16], code: &mut [u8]) {
        assert_eq!((symbols.len(), code.len()), (self.positions(), self.bytes()), "symbols and bytes of one row");
        match self.common {
            Some(8) => code.iter_mut().zip(symbols).for_each(|(byte, &symbol)| *byte = symbol as u8),
            Some(width @ (1 | 2 | 4)) => pack_within_bytes(width, symbols, code),
            _ => self.pack_any(symbols, code),
        }
    }

    /// Packs symbols of any widths.
    fn pack_any(&self, symbols: &[u16], code: &mut [u8]) {
        let (mut buffer, mut filled, mut out) = (0u32, 0u32, code.iter_mut());
        let mut emit = |byte: u32| {
            if let Some(slot) = out.next() {
                *slot = byte as u8;
            }
        };
        for (&symbol, &width) in symbols.iter().zip(&self.widths) {
            buffer |= (u32::from(symbol) & ((1 << width) - 1)) << filled;
            filled += u32::from(width);
            while filled >= 8 {
                emit(buffer & 0xff);
                buffer >>= 8;
                filled -= 8;
            }
        }
        if filled > 0 {
            emit(buffer & 0xff);
        }
    }

    /// Unpacks one row.
    ///
    /// # Errors
    /// A code of the wrong length.
    ///
    /// # Panics
    /// If `symbols` does not have one entry per position.
    pub fn unpack(&self, code: &[u8], symbols: &mut [u16]) -> Result<(), MethodError> {
        assert_eq!(symbols.len(), self.positions(), "one symbol per position");
        if code.len() != self.bytes() {
            return Err(MethodError::CodeLength { expected: self.bytes(), found: code.len() });
        }
        match self.common {
            Some(8) => symbols.iter_mut().zip(code).for_each(|(symbol, &byte)| *symbol = u16::from(byte)),
            Some(1) => unpack_within_bytes::<1>(code, symbols),
            Some(2) => unpack_within_bytes::<2>(code, symbols),
            Some(4) => unpack_within_bytes::<4>(code, symbols),
            Some(width) => unpack_common(width, code, symbols),
            None => self.unpack_any(code, symbols),
        }
        Ok(())
    }

    /// Unpacks symbols of any widths.
    fn unpack_any(&self, code: &[u8], symbols: &mut [u16]) {
        let (mut buffer, mut filled, mut bytes) = (0u32, 0u32, code.iter());
        for (symbol, &width) in symbols.iter_mut().zip(&self.widths) {
            let width = u32::from(width);
            while filled < width {
                buffer |= u32::from(bytes.next().copied().unwrap_or(0)) << filled;
                filled += 8;
            }
            *symbol = (buffer & ((1 << width) - 1)) as u16;
            buffer >>= width;
            filled -= width;
        }
    }
}

/// [`SymbolLayout::pack`] for widths that divide 8, so that no symbol lies in two bytes.
fn pack_within_bytes(width: u8, symbols: &[u16], code: &mut [u8]) {
    let mask = (1u16 << width) - 1;
    for (byte, symbols) in code.iter_mut().zip(symbols.chunks(usize::from(8 / width))) {
        let joined = symbols.iter().rev().fold(0u16, |joined, &symbol| joined << width | symbol & mask);
        *byte = joined as u8;
    }
}

/// [`SymbolLayout::unpack`] for widths that divide 8. The width is known when compiled, so the compiler unrolls the loop over a byte.
fn unpack_within_bytes<const WIDTH: u32>(code: &[u8], symbols: &mut [u16]) {
    let mask = (1u16 << WIDTH) - 1;
    for (symbols, &byte) in symbols.chunks_mut((8 / WIDTH) as usize).zip(code) {
        let mut rest = u16::from(byte);
        for symbol in symbols {
            *symbol = rest & mask;
            rest >>= WIDTH;
        }
    }
}

/// [`SymbolLayout::unpack`] for symbols of one width: each lies within four bytes, and none waits for the one before.
fn unpack_common(width: u8, code: &[u8], symbols: &mut [u16]) {
    let mask = (1u32 << width) - 1;
    for (i, symbol) in symbols.iter_mut().enumerate() {
        let bit = i * usize::from(width);
        let bytes = &code[bit / 8..];
        let word = match bytes.first_chunk::<4>() {
            Some(bytes) => u32::from_le_bytes(*bytes),
            None => bytes.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte)),
        };
        *symbol = (word >> (bit % 8) & mask) as u16;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, bit by bit.
    fn plain_pack(widths: &[u8], symbols: &[u16]) -> Vec<u8> {
        let bits: Vec<bool> =
            symbols.iter().zip(widths).flat_map(|(&s, &w)| (0..w).map(move |b| s >> b & 1 == 1)).collect();
        bits.chunks(8).map(|byte| byte.iter().enumerate().fold(0, |v, (b, &on)| v | u8::from(on) << b)).collect()
    }

    proptest! {
        #[test]
        fn packs_as_defined_and_back(row in prop::collection::vec((1u8..=16, any::<u16>()), 1..50)) {
            let widths: Vec<u8> = row.iter().map(|&(w, _)| w).collect();
            let symbols: Vec<u16> = row.iter().map(|&(w, s)| if w == 16 { s } else { s & ((1 << w) - 1) }).collect();
            let layout = SymbolLayout::new(widths.clone());
            let mut code = vec![0xaa; layout.bytes()];
            layout.pack(&symbols, &mut code);
            prop_assert_eq!(&code, &plain_pack(&widths, &symbols));
            prop_assert_eq!(code.len(), widths.iter().map(|&w| usize::from(w)).sum::<usize>().div_ceil(8));
            let mut back = vec![0; symbols.len()];
            layout.unpack(&code, &mut back).expect("right length");
            prop_assert_eq!(back, symbols);
        }

        #[test]
        fn symbols_of_one_width_take_the_same_bytes(width in 1u8..=16, symbols in prop::collection::vec(any::<u16>(), 1..70)) {
            let layout = SymbolLayout::uniform(symbols.len(), width);
            let (mut fast, mut any) = (vec![0xaa; layout.bytes()], vec![0x55; layout.bytes()]);
            layout.pack(&symbols, &mut fast);
            layout.pack_any(&symbols, &mut any);
            prop_assert_eq!(&fast, &any);
            let (mut back, mut plain) = (vec![1; symbols.len()], vec![2; symbols.len()]);
            layout.unpack(&fast, &mut back).expect("right length");
            layout.unpack_any(&fast, &mut plain);
            prop_assert_eq!(back, plain);
        }
    }

    #[test]
    fn a_code_of_the_wrong_length_is_an_error() {
        let layout = SymbolLayout::uniform(3, 5);
        assert_eq!(layout.bytes(), 2);
        let error = layout.unpack(&[0; 3], &mut [0; 3]).expect_err("too long");
        assert_eq!(error, MethodError::CodeLength { expected: 2, found: 3 });
    }
}
