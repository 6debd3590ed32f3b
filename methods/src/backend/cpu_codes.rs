//! Encoding and decoding on the CPU: nearest codewords, largest outputs, concatenated or added codewords.

use super::cpu_backend::{bytes, code_place, place, values, view};
use super::{AffineMap, CodeDecoder, CodeRoom, DeviceCodes, DeviceMatrix, Join, MatrixRoom, RowEncoder};
use crate::MethodError;
use crate::algorithms::codebooks::check_symbols;
use crate::algorithms::pack::SymbolLayout;
use crate::algorithms::products::{PackedMatrix, multiply_packed};
use crate::contract::batch;
use cpu::{Isa, Nearest};
use ndarray::{Array2, ArrayView2, s};
use rayon::prelude::*;

/// Rows per task when all groups of components are encoded: few enough for the second-level cache.
const GROUP_ROWS: usize = 240;

/// Maximum number of rows whose logits are in memory at a time.
const LOGIT_ROWS: usize = 256;

fn decode_each<S>(
    codes: &DeviceCodes<'_>,
    rows: &mut MatrixRoom<'_>,
    scratch: impl Fn() -> S + Sync,
    decode: impl Fn(&[u8], &mut [f32], &mut S) -> Result<(), MethodError> + Sync,
) -> Result<(), MethodError> {
    let dim = rows.ncols();
    batch::decode_on_host(bytes(codes), codes.size(), place(rows), dim, scratch, decode)
}

/// Codebooks of groups of components, in the layout of the scoring kernel.
pub(super) struct Groups {
    packed: Vec<Nearest>,
    /// Components per group.
    size: usize,
    layout: SymbolLayout,
}

impl Groups {
    pub(super) fn new(packed: Vec<Nearest>, size: usize, bits: u8) -> Groups {
        Groups { layout: SymbolLayout::uniform(packed.len(), bits), packed, size }
    }
}

impl RowEncoder for Groups {
    fn encode(&self, rows: &DeviceMatrix<'_>, codes: &mut CodeRoom<'_>) -> Result<(), MethodError> {
        let (m, size) = (self.packed.len(), self.layout.bytes());
        let (stride, values) = (rows.stride(), values(rows));
        code_place(codes).par_chunks_mut(GROUP_ROWS * size).enumerate().for_each_init(
            || (vec![0u16; GROUP_ROWS * m], vec![0u32; GROUP_ROWS]),
            |(symbols, nearest), (task, codes)| {
                let n = codes.len() / size;
                let rows = &values[task * GROUP_ROWS * stride..];
                let (symbols, nearest) = (&mut symbols[..n * m], &mut nearest[..n]);
                for (j, packed) in self.packed.iter().enumerate() {
                    packed.assign_here(&rows[j * self.size..], stride, nearest);
                    symbols.iter_mut().skip(j).step_by(m).zip(&*nearest).for_each(|(symbol, &c)| *symbol = c as u16);
                }
                for (code, symbols) in codes.chunks_exact_mut(size).zip(symbols.chunks_exact(m)) {
                    self.layout.pack(symbols, code);
                }
            },
        );
        Ok(())
    }
}

/// Linear maps of groups of components.
pub(super) struct Logits {
    /// Weights and bias of each.
    maps: Vec<(PackedMatrix, Array2<f32>)>,
    layout: SymbolLayout,
}

impl Logits {
    pub(super) fn new(isa: Isa, maps: &[AffineMap<'_>], bits: u8) -> Logits {
        let own = |map: &AffineMap<'_>| (PackedMatrix::new(isa, map.weights), map.bias.to_owned());
        Logits { maps: maps.iter().map(own).collect(), layout: SymbolLayout::uniform(maps.len(), bits) }
    }
}

impl RowEncoder for Logits {
    fn encode(&self, rows: &DeviceMatrix<'_>, codes: &mut CodeRoom<'_>) -> Result<(), MethodError> {
        let (m, size) = (self.maps.len(), self.layout.bytes());
        let group = rows.ncols() / m;
        let rows = view(rows);
        code_place(codes).par_chunks_mut(LOGIT_ROWS * size).enumerate().for_each(|(task, codes)| {
            let n = codes.len() / size;
            let rows = rows.slice(s![task * LOGIT_ROWS..task * LOGIT_ROWS + n, ..]);
            let mut symbols = vec![0u16; n * m];
            for (g, (weights, bias)) in self.maps.iter().enumerate() {
                let part = rows.slice(s![.., g * group..(g + 1) * group]);
                let logits = multiply_packed(part, weights) + bias;
                let symbols = symbols.iter_mut().skip(g).step_by(m);
                symbols.zip(largest(logits.view())).for_each(|(symbol, c)| *symbol = c as u16);
            }
            for (code, symbols) in codes.chunks_exact_mut(size).zip(symbols.chunks_exact(m)) {
                self.layout.pack(symbols, code);
            }
        });
        Ok(())
    }
}

/// Entries that are compared side by side.
const LANES: usize = 16;

/// Index of the largest entry of each row; ties go to the lower index. NaN is never the largest; a row without a number above −∞ gives 0.
pub(crate) fn largest(rows: ArrayView2<'_, f32>) -> Vec<u32> {
    let greater = |best: f32, x: f32| if x > best { x } else { best };
    // The largest value first, in lanes that do not wait for each other, and then its place.
    let of_slice = |row: &[f32]| {
        let (chunks, rest) = row.as_chunks::<LANES>();
        let mut best = [f32::NEG_INFINITY; LANES];
        for chunk in chunks {
            best.iter_mut().zip(chunk).for_each(|(best, &x)| *best = greater(*best, x));
        }
        let best = best.iter().chain(rest).fold(f32::NEG_INFINITY, |best, &x| greater(best, x));
        let place = if best > f32::NEG_INFINITY { row.iter().position(|&x| x == best) } else { None };
        place.unwrap_or(0) as u32
    };
    rows.outer_iter()
        .map(|row| match row.to_slice() {
            Some(row) => of_slice(row),
            None => of_slice(&row.to_vec()),
        })
        .collect()
}

/// Codebooks for decoding.
pub(super) struct CodewordDecoder {
    isa: Isa,
    /// One codebook after the other, `K·size` values each; none where there are `of_bytes`.
    books: Vec<f32>,
    size: usize,
    codewords: usize,
    layout: SymbolLayout,
    join: Join,
    /// Books of 256 codewords for the bytes of codes, if these select codewords that are concatenated.
    of_bytes: Option<Vec<Vec<f32>>>,
}

impl CodewordDecoder {
    pub(super) fn new(isa: Isa, codebooks: &[Array2<f32>], bits: u8, join: Join) -> CodewordDecoder {
        let (codewords, size) = codebooks.first().map_or((0, 0), Array2::dim);
        let books: Vec<Vec<f32>> = codebooks.iter().map(|book| book.iter().copied().collect()).collect();
        let layout = SymbolLayout::uniform(books.len(), bits);
        let of_bytes = match (join, layout.common_width(), codewords) {
            _ if size == 0 => None,
            (Join::Beside, Some(8), 256) => Some(books.clone()),
            (Join::Beside, Some(4), 16) if books.len().is_multiple_of(2) => Some(pairs_of_books(&books, size)),
            _ => None,
        };
        let books = if of_bytes.is_some() { Vec::new() } else { books.concat() };
        CodewordDecoder { isa, layout, books, size, codewords, join, of_bytes }
    }

    /// Adds up codewords, some rows at a time.
    fn add(&self, codes: &DeviceCodes<'_>, rows: &mut MatrixRoom<'_>) -> Result<(), MethodError> {
        let (m, bytes_of_code) = (self.layout.positions(), codes.size());
        let parts = place(rows).par_chunks_mut(ADDED_ROWS * self.size);
        parts.zip(bytes(codes).par_chunks(ADDED_ROWS * bytes_of_code)).try_for_each_init(
            || vec![0u16; ADDED_ROWS * m],
            |symbols, (rows, codes)| {
                let symbols = &mut symbols[..rows.len() / self.size * m];
                for (code, symbols) in codes.chunks_exact(bytes_of_code).zip(symbols.chunks_exact_mut(m)) {
                    self.layout.unpack(code, symbols)?;
                    check_symbols(symbols, self.codewords)?;
                }
                cpu::sum_codewords(self.isa, &self.books, self.codewords, self.size, symbols, rows);
                Ok(())
            },
        )
    }
}

/// For each two books of 16 codewords, one of 256 pairs of these.
fn pairs_of_books(books: &[Vec<f32>], size: usize) -> Vec<Vec<f32>> {
    let of_pair = |pair: &[Vec<f32>]| {
        let codewords = |symbol: usize| {
            let (low, high) = (symbol & 15, symbol >> 4);
            [&pair[0][low * size..][..size], &pair[1][high * size..][..size]].concat()
        };
        (0..256).flat_map(codewords).collect()
    };
    books.chunks_exact(2).map(of_pair).collect()
}

/// Rows whose codewords are copied by one task.
const BYTE_ROWS: usize = 1024;

/// Rows whose codewords are added up at a time.
const ADDED_ROWS: usize = 256;

impl CodeDecoder for CodewordDecoder {
    fn decode(&self, codes: &DeviceCodes<'_>, rows: &mut MatrixRoom<'_>) -> Result<(), MethodError> {
        if self.join == Join::Added {
            return self.add(codes, rows);
        }
        if let Some(books) = &self.of_bytes {
            // They need no unpacking and no check: every byte selects a codeword.
            let (size, dim) = (codes.size(), rows.ncols());
            assert_eq!(bytes(codes).len() / size.max(1) * dim, place(rows).len(), "one row per code");
            let tasks = place(rows).par_chunks_mut(BYTE_ROWS * dim).zip(bytes(codes).par_chunks(BYTE_ROWS * size));
            let part = dim / books.len();
            tasks.for_each(|(rows, codes)| cpu::select_codewords(self.isa, books, part, codes, rows));
            return Ok(());
        }
        decode_each(
            codes,
            rows,
            || vec![0u16; self.layout.positions()],
            |code, row, symbols| {
                self.layout.unpack(code, symbols)?;
                check_symbols(symbols, self.codewords)?;
                let books = self.books.chunks_exact(self.codewords * self.size);
                for ((part, &symbol), book) in row.chunks_exact_mut(self.size).zip(&*symbols).zip(books) {
                    part.copy_from_slice(&book[usize::from(symbol) * self.size..][..self.size]);
                }
                Ok(())
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn the_largest_entry_is_that_of_a_plain_loop() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut draw =
            || [f32::NAN, f32::NEG_INFINITY, -2.0, 0.0, 1.0, 1.0, 3.0, f32::INFINITY][rng.random_range(0..8)];
        for columns in (1..40).chain([256, 300]) {
            let rows = Array2::from_shape_fn((30, columns), |_| draw());
            let plain = |row: ndarray::ArrayView1<'_, f32>| {
                let start = (0, f32::NEG_INFINITY);
                row.iter().enumerate().fold(start, |best, (i, &x)| if x > best.1 { (i, x) } else { best }).0 as u32
            };
            let expected: Vec<u32> = rows.outer_iter().map(plain).collect();
            assert_eq!(largest(rows.view()), expected);
            let transposed = rows.t().as_standard_layout().into_owned();
            assert_eq!(largest(transposed.t()), expected, "columns that are not beside each other");
        }
    }
}
