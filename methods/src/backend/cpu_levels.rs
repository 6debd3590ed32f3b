//! Encoding and decoding component by component on the CPU: uniform grids, and levels that are separated by thresholds.

use super::cpu_backend::{bytes, code_place, place, view};
use super::{CodeDecoder, CodeRoom, DeviceCodes, DeviceMatrix, LevelGrid, MatrixRoom, RowEncoder, UniformGrid};
use crate::MethodError;
use crate::algorithms::codebooks::{check_symbols, symbol_bits};
use crate::algorithms::pack::SymbolLayout;
use cpu::{Isa, Thresholds};
use rayon::prelude::*;

/// Rows per task.
const ROWS: usize = 1024;

/// Values whose digits are computed before they are packed: they stay in the first-level cache.
const VALUES: usize = 1 << 13;

/// Calls `encode(values, codes, digits)` for some rows without gaps and their codes at a time; `digits` has room for one digit per value.
fn encode_blocks(
    rows: &DeviceMatrix<'_>,
    codes: &mut CodeRoom<'_>,
    encode: impl Fn(&[f32], &mut [u8], &mut [u8]) + Sync,
) {
    let (size, dim) = (codes.size(), rows.ncols());
    let block = (VALUES / dim).max(1);
    let rows = view(rows);
    code_place(codes).par_chunks_mut(ROWS * size).enumerate().for_each_init(
        || (vec![0u8; block * dim], Vec::new()),
        |(digits, copy), (task, codes)| {
            for (b, codes) in codes.chunks_mut(block * size).enumerate() {
                let (first, count) = (task * ROWS + b * block, codes.len() / size);
                let rows = rows.slice(ndarray::s![first..first + count, ..]);
                let digits = &mut digits[..count * dim];
                match rows.to_slice() {
                    Some(values) => encode(values, codes, digits),
                    None => {
                        copy.clear();
                        copy.extend(rows.iter().copied());
                        encode(copy, codes, digits);
                    }
                }
            }
        },
    );
}

/// Calls `decode(codes, values, digits)` for some codes and their rows at a time.
fn decode_blocks(
    codes: &DeviceCodes<'_>,
    rows: &mut MatrixRoom<'_>,
    decode: impl Fn(&[u8], &mut [f32], &mut [u8]) -> Result<(), MethodError> + Sync,
) -> Result<(), MethodError> {
    let (size, dim) = (codes.size(), rows.ncols());
    let block = (VALUES / dim).max(1);
    let tasks = place(rows).par_chunks_mut(ROWS * dim).zip(bytes(codes).par_chunks(ROWS * size));
    tasks.try_for_each_init(
        || vec![0u8; block * dim],
        |digits, (rows, codes)| {
            let blocks = rows.chunks_mut(block * dim).zip(codes.chunks(block * size));
            blocks.into_iter().try_for_each(|(rows, codes)| {
                let digits = &mut digits[..rows.len()];
                decode(codes, rows, digits)
            })
        },
    )
}

/// Packs a digit of `bits` bits per component, row by row.
fn pack_rows(bits: u8, dim: usize, digits: &[u8], codes: &mut [u8]) {
    if bits == 8 {
        return codes.copy_from_slice(digits);
    }
    let size = (dim * usize::from(bits)).div_ceil(8);
    let rows = digits.chunks_exact(dim).zip(codes.chunks_exact_mut(size));
    rows.for_each(|(digits, code)| cpu::pack_bytes(bits, digits, code));
}

/// Unpacks what [`pack_rows`] has packed.
fn unpack_rows(bits: u8, dim: usize, codes: &[u8], digits: &mut [u8]) {
    if bits == 8 {
        return digits.copy_from_slice(codes);
    }
    let size = (dim * usize::from(bits)).div_ceil(8);
    let rows = digits.chunks_exact_mut(dim).zip(codes.chunks_exact(size));
    rows.for_each(|(digits, code)| cpu::unpack_bytes(bits, code, digits));
}

/// A uniform grid.
pub(super) struct Uniform {
    isa: Isa,
    grid: UniformGrid,
}

impl Uniform {
    pub(super) fn new(isa: Isa, grid: UniformGrid) -> Uniform {
        Uniform { isa, grid }
    }
}

impl RowEncoder for Uniform {
    fn encode(&self, rows: &DeviceMatrix<'_>, codes: &mut CodeRoom<'_>) -> Result<(), MethodError> {
        let UniformGrid { offsets, steps, bits } = &self.grid;
        let most = u8::MAX >> (8 - bits);
        encode_blocks(rows, codes, |values, codes, digits| {
            if *bits == 8 {
                return cpu::encode_uniform_bytes(self.isa, values, offsets, steps, codes);
            }
            cpu::encode_uniform_bytes(self.isa, values, offsets, steps, digits);
            digits.iter_mut().for_each(|digit| *digit = (*digit).min(most));
            pack_rows(*bits, offsets.len(), digits, codes);
        });
        Ok(())
    }
}

impl CodeDecoder for Uniform {
    fn decode(&self, codes: &DeviceCodes<'_>, rows: &mut MatrixRoom<'_>) -> Result<(), MethodError> {
        let UniformGrid { offsets, steps, bits } = &self.grid;
        decode_blocks(codes, rows, |codes, values, digits| {
            if *bits == 8 {
                cpu::decode_uniform_bytes(self.isa, codes, offsets, steps, values);
                return Ok(());
            }
            unpack_rows(*bits, offsets.len(), codes, digits);
            cpu::decode_uniform_bytes(self.isa, digits, offsets, steps, values);
            Ok(())
        })
    }
}

/// Levels that are separated by thresholds.
pub(super) struct LevelCoder {
    grid: LevelGrid,
    layout: SymbolLayout,
    thresholds: Thresholds,
    /// The values of each list, filled up to every digit that a byte can hold.
    values: Vec<[f32; 256]>,
}

impl LevelCoder {
    /// # Panics
    /// If a component has more than 256 levels.
    pub(super) fn new(isa: Isa, grid: LevelGrid) -> LevelCoder {
        let layout = SymbolLayout::uniform(grid.symbols, symbol_bits(grid.alphabet()));
        let thresholds = Thresholds::new(isa, &grid.thresholds);
        let fill = |list: &Vec<f32>| std::array::from_fn(|digit| list.get(digit).copied().unwrap_or(0.0));
        LevelCoder { layout, thresholds, values: grid.values.iter().map(fill).collect(), grid }
    }

    fn dim(&self) -> usize {
        self.grid.symbols * self.grid.width
    }

    /// Bits of a symbol.
    fn bits(&self) -> u8 {
        self.layout.common_width().unwrap_or(1)
    }

    /// Joins the digits of a symbol's components, most significant first: `s = (…(d_n)·L_{n−1} + d_{n−1})…)·L_1 + d_1`.
    fn join(&self, digits: &[u8], code: &mut [u8], symbols: &mut [u16]) {
        let LevelGrid { values, width, .. } = &self.grid;
        let period = values.len() / width;
        let lists = (0..symbols.len()).map(|p| &values[p % period * width..][..*width]);
        for ((symbol, digits), values) in symbols.iter_mut().zip(digits.chunks_exact(*width)).zip(lists) {
            let most_first = digits.iter().zip(values).rev();
            let joined = most_first.fold(0, |sum, (digit, values)| sum * values.len() + usize::from(*digit));
            *symbol = joined as u16;
        }
        self.layout.pack(symbols, code);
    }

    /// The inverse of [`LevelCoder::join`].
    fn divide(&self, code: &[u8], digits: &mut [u8], symbols: &mut [u16]) -> Result<(), MethodError> {
        let LevelGrid { values, width, .. } = &self.grid;
        let period = values.len() / width;
        self.layout.unpack(code, symbols)?;
        check_symbols(symbols, self.grid.alphabet())?;
        let lists = (0..symbols.len()).map(|p| &values[p % period * width..][..*width]);
        for ((symbol, digits), values) in symbols.iter().zip(digits.chunks_exact_mut(*width)).zip(lists) {
            let mut rest = usize::from(*symbol);
            for (digit, values) in digits.iter_mut().zip(values) {
                *digit = (rest % values.len()) as u8;
                rest /= values.len();
            }
        }
        Ok(())
    }
}

impl RowEncoder for LevelCoder {
    fn encode(&self, rows: &DeviceMatrix<'_>, codes: &mut CodeRoom<'_>) -> Result<(), MethodError> {
        let dim = self.dim();
        encode_blocks(rows, codes, |values, codes, digits| {
            self.thresholds.digits(values, dim, digits);
            if self.grid.width == 1 {
                return pack_rows(self.bits(), dim, digits, codes);
            }
            let mut symbols = vec![0u16; self.grid.symbols];
            let size = self.layout.bytes();
            for (digits, code) in digits.chunks_exact(dim).zip(codes.chunks_exact_mut(size)) {
                self.join(digits, code, &mut symbols);
            }
        });
        Ok(())
    }
}

impl CodeDecoder for LevelCoder {
    fn decode(&self, codes: &DeviceCodes<'_>, rows: &mut MatrixRoom<'_>) -> Result<(), MethodError> {
        let dim = self.dim();
        // A power of two needs no check: no symbol lies outside.
        let plain = self.grid.width == 1 && self.grid.alphabet().is_power_of_two() && self.grid.alphabet() > 1;
        decode_blocks(codes, rows, |codes, values, digits| {
            if plain {
                unpack_rows(self.bits(), dim, codes, digits);
            } else {
                let mut symbols = vec![0u16; self.grid.symbols];
                let size = self.layout.bytes();
                for (digits, code) in digits.chunks_exact_mut(dim).zip(codes.chunks_exact(size)) {
                    self.divide(code, digits, &mut symbols)?;
                }
            }
            for (row, digits) in values.chunks_exact_mut(dim).zip(digits.chunks_exact(dim)) {
                if let [list] = &self.values[..] {
                    row.iter_mut().zip(digits).for_each(|(x, digit)| *x = list[usize::from(*digit)]);
                    continue;
                }
                let lists = self.values.len();
                for (row, digits) in row.chunks_mut(lists).zip(digits.chunks(lists)) {
                    let each = row.iter_mut().zip(digits).zip(&self.values);
                    each.for_each(|((x, digit), list)| *x = list[usize::from(*digit)]);
                }
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hostile() -> impl Strategy<Value = f32> {
        prop_oneof![10 => -3f32..3.0, 1 => Just(f32::NAN), 1 => Just(f32::INFINITY), 1 => Just(f32::MIN), 1 => Just(0.0), 1 => Just(-0.0)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn levels_are_coded_as_defined(
            counts in prop::collection::vec(2usize..7, 1..4), many in prop_oneof![Just(2usize), Just(3), Just(16), Just(100), Just(256)],
            symbols in 1usize..40, one_list in any::<bool>(), single in any::<bool>(), n in 1usize..9, gap in 0usize..3,
            raw in prop::collection::vec(hostile(), 400..401), seed in any::<u32>(),
        ) {
            let counts = if single { vec![many] } else { counts };
            let width = counts.len();
            let mix = |i: usize| (seed.wrapping_mul(2654435761).wrapping_add(i as u32 * 40503) >> 9) as f32 / 1.4e6 - 3.0;
            let lists = width * if one_list { 1 } else { symbols };
            let ascending = |j: usize, count: usize| {
                let mut list: Vec<f32> = (0..count).map(|l| mix(300 * j + l)).collect();
                list.sort_unstable_by(f32::total_cmp);
                list
            };
            let grid = LevelGrid {
                thresholds: (0..lists).map(|j| ascending(j, counts[j % width] - 1)).collect(),
                values: (0..lists).map(|j| ascending(j + 5000, counts[j % width])).collect(),
                width,
                symbols,
            };
            let (dim, stride) = (symbols * width, symbols * width + gap);
            let rows: Vec<f32> = (0..n * stride).map(|i| raw[(i * 7 + seed as usize % 13) % raw.len()]).collect();
            let layout = SymbolLayout::uniform(symbols, symbol_bits(grid.alphabet()));
            let (mut plain, mut decoded) = (vec![0u8; n * layout.bytes()], vec![0f32; n * dim]);
            for (i, code) in plain.chunks_exact_mut(layout.bytes()).enumerate() {
                let mut of_row = vec![0u16; symbols];
                for (p, symbol) in of_row.iter_mut().enumerate() {
                    let mut place = 1;
                    for c in p * width..(p + 1) * width {
                        let (x, j) = (rows[i * stride + c], c % lists);
                        let digit = grid.thresholds[j].iter().filter(|t| **t <= x).count();
                        *symbol += (digit * place) as u16;
                        place *= grid.values[j].len();
                        decoded[i * dim + c] = grid.values[j][digit];
                    }
                }
                layout.pack(&of_row, code);
            }
            let matrix = DeviceMatrix::borrowed(&rows, n, stride).columns(0..dim);
            for isa in Isa::available() {
                let coder = LevelCoder::new(isa, grid.clone());
                let mut codes = vec![0xaa; plain.len()];
                coder.encode(&matrix, &mut CodeRoom::borrowed(&mut codes, layout.bytes())).expect("encodes");
                prop_assert_eq!(&codes, &plain);
                let mut back = vec![f32::NAN; n * dim];
                let codes = DeviceCodes::borrowed(&codes, layout.bytes());
                coder.decode(&codes, &mut MatrixRoom::borrowed(&mut back, n, dim)).expect("decodes");
                prop_assert_eq!(&back, &decoded);
            }
        }

        #[test]
        fn uniform_grids_are_coded_as_defined(
            bits in 1u8..=8, dim in 1usize..50, n in 1usize..9, gap in 0usize..3, step in prop_oneof![9 => 0.01f32..1.0, 1 => Just(0.0)],
            raw in prop::collection::vec(hostile(), 300..301),
        ) {
            let grid = UniformGrid { offsets: (0..dim).map(|j| -1.0 + 0.01 * j as f32).collect(), steps: vec![step; dim], bits };
            let stride = dim + gap;
            let rows: Vec<f32> = (0..n * stride).map(|i| raw[i * 7 % raw.len()]).collect();
            let layout = SymbolLayout::uniform(dim, bits);
            let most = ((1u32 << bits) - 1) as u16;
            let (mut plain, mut decoded) = (vec![0u8; n * layout.bytes()], vec![0f32; n * dim]);
            for (i, code) in plain.chunks_exact_mut(layout.bytes()).enumerate() {
                let symbol = |j: usize| (((rows[i * stride + j] - grid.offsets[j]) / step + 0.5) as u16).min(most);
                let symbols: Vec<u16> = (0..dim).map(symbol).collect();
                (0..dim).for_each(|j| decoded[i * dim + j] = grid.offsets[j] + f32::from(symbols[j]) * step);
                layout.pack(&symbols, code);
            }
            let matrix = DeviceMatrix::borrowed(&rows, n, stride).columns(0..dim);
            for isa in Isa::available() {
                let coder = Uniform::new(isa, grid.clone());
                let mut codes = vec![0xaa; plain.len()];
                coder.encode(&matrix, &mut CodeRoom::borrowed(&mut codes, layout.bytes())).expect("encodes");
                prop_assert_eq!(&codes, &plain);
                let mut back = vec![f32::NAN; n * dim];
                let codes = DeviceCodes::borrowed(&codes, layout.bytes());
                coder.decode(&codes, &mut MatrixRoom::borrowed(&mut back, n, dim)).expect("decodes");
                prop_assert_eq!(&back, &decoded);
            }
        }
    }
}
