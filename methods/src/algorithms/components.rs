//! Layout of codes with one symbol of equal width per component after the side values, for methods that treat
//! components alike.

use crate::algorithms::pack::SymbolLayout;
use crate::{MethodError, Symbols};

/// The symbols of a code that holds `side_values` f32 first, then one symbol per position.
pub(crate) struct Components {
    /// How the symbols are packed.
    pub(crate) layout: SymbolLayout,
    side_values: usize,
    bits: u8,
    name: &'static str,
}

impl Components {
    /// `count` symbols of `bits` bits, called `name` and a number, behind `side_values` values.
    pub(crate) fn new(count: usize, bits: u8, side_values: usize, name: &'static str) -> Components {
        Components { layout: SymbolLayout::uniform(count, bits), side_values, bits, name }
    }

    /// Bytes before the symbols.
    pub(crate) fn side_bytes(&self) -> usize {
        4 * self.side_values
    }

    /// Bits of a code.
    pub(crate) fn code_bits(&self) -> usize {
        self.layout.bits() + 32 * self.side_values
    }
}

impl Symbols for Components {
    fn alphabets(&self) -> Vec<usize> {
        vec![1 << self.bits; self.layout.positions()]
    }

    fn position_name(&self, p: usize) -> String {
        format!("{} {p}", self.name)
    }

    fn unpack(&self, code: &[u8], symbols: &mut [u16]) -> Result<(), MethodError> {
        let size = self.side_bytes() + self.layout.bytes();
        if code.len() != size {
            return Err(MethodError::CodeLength { expected: size, found: code.len() });
        }
        self.layout.unpack(&code[self.side_bytes()..], symbols)
    }

    fn side_bits(&self) -> usize {
        32 * self.side_values
    }
}
