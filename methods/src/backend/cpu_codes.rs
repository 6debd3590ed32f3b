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
    maps: Vec<(Array2<f32>, Array2<f32>, PackedMatrix)>,
    layout: SymbolLayout,
}

impl Logits {
    pub(super) fn new(isa: Isa, maps: &[AffineMap<'_>], bits: u8) -> Logits {
        let own =
            |map: &AffineMap<'_>| (map.weights.to_owned(), map.bias.to_owned(), PackedMatrix::new(isa, map.weights));
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
            for (g, (weights, bias, packed)) in self.maps.iter().enumerate() {
                let part = rows.slice(s![.., g * group..(g + 1) * group]);
                let logits = multiply_packed(part, weights.view(), packed) + bias;
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

/// Index of the largest entry of each row; ties go to the lower index.
pub(crate) fn largest(rows: ArrayView2<'_, f32>) -> Vec<u32> {
    let of_row = |row: ndarray::ArrayView1<'_, f32>| {
        let best =
            row.iter().enumerate().fold((0, f32::NEG_INFINITY), |best, (i, &x)| if x > best.1 { (i, x) } else { best });
        best.0 as u32
    };
    rows.outer_iter().map(of_row).collect()
}

/// Codebooks for decoding.
pub(super) struct CodewordDecoder {
    isa: Isa,
    /// One codebook after the other, `K·size` values each.
    books: Vec<f32>,
    size: usize,
    codewords: usize,
    layout: SymbolLayout,
    join: Join,
}

impl CodewordDecoder {
    pub(super) fn new(isa: Isa, codebooks: &[Array2<f32>], bits: u8, join: Join) -> CodewordDecoder {
        let (codewords, size) = codebooks.first().map_or((0, 0), Array2::dim);
        let books: Vec<f32> = codebooks.iter().flat_map(|book| book.iter().copied()).collect();
        CodewordDecoder { isa, layout: SymbolLayout::uniform(codebooks.len(), bits), books, size, codewords, join }
    }

    /// Concatenates the codewords of whole-byte symbols, which need no unpacking and no range check.
    fn select_bytes(&self, codes: &DeviceCodes<'_>, rows: &mut MatrixRoom<'_>) -> Result<(), MethodError> {
        let size = self.size;
        let books: Vec<&[f32]> = self.books.chunks_exact(self.codewords * size).collect();
        decode_each(
            codes,
            rows,
            || (),
            |code, row, ()| {
                match size {
                    2 => select::<2>(&books, code, row),
                    4 => select::<4>(&books, code, row),
                    6 => select::<6>(&books, code, row),
                    8 => select::<8>(&books, code, row),
                    12 => select::<12>(&books, code, row),
                    16 => select::<16>(&books, code, row),
                    24 => select::<24>(&books, code, row),
                    32 => select::<32>(&books, code, row),
                    _ => {
                        for ((part, book), &symbol) in row.chunks_exact_mut(size).zip(&books).zip(code) {
                            part.copy_from_slice(&book[usize::from(symbol) * size..][..size]);
                        }
                    }
                }
                Ok(())
            },
        )
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

/// Rows whose codewords are added up at a time.
const ADDED_ROWS: usize = 256;

impl CodeDecoder for CodewordDecoder {
    fn decode(&self, codes: &DeviceCodes<'_>, rows: &mut MatrixRoom<'_>) -> Result<(), MethodError> {
        if self.join == Join::Added {
            return self.add(codes, rows);
        }
        if self.layout.common_width() == Some(8) && self.codewords == 256 {
            return self.select_bytes(codes, rows);
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

/// Concatenates the codewords of whole-byte symbols; the codeword length is a compile-time constant.
fn select<const D: usize>(books: &[&[f32]], code: &[u8], row: &mut [f32]) {
    for ((part, book), &symbol) in row.as_chunks_mut::<D>().0.iter_mut().zip(books).zip(code) {
        *part = book.as_chunks::<D>().0[usize::from(symbol)];
    }
}
