//! Bit-packing of symbols: least significant bit first, positions in order, each row padded to a whole byte.

use crate::MethodError;

/// The widths of a code's symbols, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    widths: Vec<u8>,
    bits: usize,
}

/// The widest symbol, in bits.
pub const MAX_BITS: u8 = 16;

impl Layout {
    /// Symbols of the given widths, each 1 to 16 bits.
    ///
    /// # Panics
    /// When a width is 0 or above [`MAX_BITS`].
    pub fn new(widths: Vec<u8>) -> Layout {
        assert!(widths.iter().all(|&w| (1..=MAX_BITS).contains(&w)), "symbols are 1 to {MAX_BITS} bits wide");
        let bits = widths.iter().map(|&w| usize::from(w)).sum();
        Layout { widths, bits }
    }

    /// `count` symbols of `bits` bits.
    pub fn uniform(count: usize, bits: u8) -> Layout {
        Layout::new(vec![bits; count])
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

    /// The width that all symbols share, if they do.
    pub fn common_width(&self) -> Option<u8> {
        let first = *self.widths.first()?;
        self.widths.iter().all(|&w| w == first).then_some(first)
    }

    /// Packs one symbol per position into `code` ([`Layout::bytes`] bytes).
    ///
    /// # Panics
    /// When a length is off. Bits of a symbol above its width are dropped.
    pub fn pack(&self, symbols: &[u16], code: &mut [u8]) {
        assert_eq!((symbols.len(), code.len()), (self.positions(), self.bytes()), "symbols and bytes of one row");
        if self.common_width() == Some(8) {
            code.iter_mut().zip(symbols).for_each(|(byte, &symbol)| *byte = symbol as u8);
            return;
        }
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
    /// When `symbols` has not one entry per position.
    pub fn unpack(&self, code: &[u8], symbols: &mut [u16]) -> Result<(), MethodError> {
        assert_eq!(symbols.len(), self.positions(), "one symbol per position");
        if code.len() != self.bytes() {
            return Err(MethodError::CodeLength { expected: self.bytes(), found: code.len() });
        }
        if self.common_width() == Some(8) {
            symbols.iter_mut().zip(code).for_each(|(symbol, &byte)| *symbol = u16::from(byte));
            return Ok(());
        }
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
        Ok(())
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
            let layout = Layout::new(widths.clone());
            let mut code = vec![0xaa; layout.bytes()];
            layout.pack(&symbols, &mut code);
            prop_assert_eq!(&code, &plain_pack(&widths, &symbols));
            prop_assert_eq!(code.len(), widths.iter().map(|&w| usize::from(w)).sum::<usize>().div_ceil(8));
            let mut back = vec![0; symbols.len()];
            layout.unpack(&code, &mut back).expect("right length");
            prop_assert_eq!(back, symbols);
        }
    }

    #[test]
    fn a_code_of_the_wrong_length_is_an_error() {
        let layout = Layout::uniform(3, 5);
        assert_eq!(layout.bytes(), 2);
        let error = layout.unpack(&[0; 3], &mut [0; 3]).expect_err("too long");
        assert_eq!(error, MethodError::CodeLength { expected: 2, found: 3 });
    }
}
