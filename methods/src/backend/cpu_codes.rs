//! Encoding and decoding on the CPU: nearest codewords, largest outputs, concatenated or added codewords, levels.

use super::cpu_backend::{bytes, code_place, place, values, view};
use super::{
    AffineMap, CodeDecoder, CodeRoom, DeviceCodes, DeviceMatrix, Join, LevelGrid, MatrixRoom, RowEncoder, UniformGrid,
};
use crate::MethodError;
use crate::algorithms::codebooks::{check_symbols, symbol_bits};
use crate::algorithms::pack::SymbolLayout;
use crate::algorithms::products::{PackedMatrix, multiply_packed};
use crate::contract::batch;
use cpu::{Isa, Nearest};
use ndarray::{Array2, ArrayView2, s};
use rayon::prelude::*;

/// Rows per task when all groups of components are encoded: few enough for the second-level cache.
const GROUP_ROWS: usize = 240;

/// Rows per task when codes are whole bytes.
const BYTE_ROWS: usize = 1024;

/// Maximum number of rows whose logits are in memory at a time.
const LOGIT_ROWS: usize = 256;

fn encode_each<S>(
    rows: &DeviceMatrix<'_>,
    codes: &mut CodeRoom<'_>,
    scratch: impl Fn() -> S + Sync,
    encode: impl Fn(&[f32], &mut [u8], &mut S) + Sync,
) {
    let size = codes.size();
    batch::encode_on_host(view(rows), code_place(codes), size, scratch, encode);
}

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
    /// `K·size` values each.
    books: Vec<Vec<f32>>,
    size: usize,
    codewords: usize,
    layout: SymbolLayout,
    join: Join,
}

impl CodewordDecoder {
    pub(super) fn new(codebooks: &[Array2<f32>], bits: u8, join: Join) -> CodewordDecoder {
        let (codewords, size) = codebooks.first().map_or((0, 0), Array2::dim);
        let books: Vec<Vec<f32>> = codebooks.iter().map(|book| book.iter().copied().collect()).collect();
        CodewordDecoder { layout: SymbolLayout::uniform(books.len(), bits), books, size, codewords, join }
    }

    /// Concatenates the codewords of whole-byte symbols, which need no unpacking and no range check.
    fn select_bytes(&self, codes: &DeviceCodes<'_>, rows: &mut MatrixRoom<'_>) -> Result<(), MethodError> {
        let books: Vec<&[f32]> = self.books.iter().map(Vec::as_slice).collect();
        let size = self.size;
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
}

impl CodeDecoder for CodewordDecoder {
    fn decode(&self, codes: &DeviceCodes<'_>, rows: &mut MatrixRoom<'_>) -> Result<(), MethodError> {
        if self.join == Join::Beside && self.layout.common_width() == Some(8) && self.codewords == 256 {
            return self.select_bytes(codes, rows);
        }
        let codeword = |book: usize, symbol: u16| &self.books[book][usize::from(symbol) * self.size..][..self.size];
        decode_each(
            codes,
            rows,
            || vec![0u16; self.books.len()],
            |code, row, symbols| {
                self.layout.unpack(code, symbols)?;
                check_symbols(symbols, self.codewords)?;
                match self.join {
                    Join::Beside => {
                        let parts = row.chunks_exact_mut(self.size).zip(&*symbols).enumerate();
                        parts.for_each(|(p, (part, &symbol))| part.copy_from_slice(codeword(p, symbol)));
                    }
                    Join::Added => {
                        row.fill(0.0);
                        for (p, &symbol) in symbols.iter().enumerate() {
                            row.iter_mut().zip(codeword(p, symbol)).for_each(|(x, y)| *x += y);
                        }
                    }
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

/// A uniform grid.
pub(super) struct Uniform {
    isa: Isa,
    grid: UniformGrid,
    layout: SymbolLayout,
}

impl Uniform {
    pub(super) fn new(isa: Isa, grid: UniformGrid) -> Uniform {
        Uniform { isa, layout: SymbolLayout::uniform(grid.offsets.len(), grid.bits), grid }
    }
}

impl RowEncoder for Uniform {
    fn encode(&self, rows: &DeviceMatrix<'_>, codes: &mut CodeRoom<'_>) -> Result<(), MethodError> {
        let UniformGrid { offsets, steps, bits } = &self.grid;
        let dim = offsets.len();
        if *bits == 8 && rows.stride() == dim {
            let tasks = code_place(codes).par_chunks_mut(BYTE_ROWS * dim);
            let tasks = tasks.zip(values(rows).par_chunks(BYTE_ROWS * dim));
            // The stride may leave values after the last row.
            tasks.for_each(|(codes, rows)| {
                cpu::encode_uniform_bytes(self.isa, &rows[..codes.len()], offsets, steps, codes);
            });
            return Ok(());
        }
        let most = ((1u32 << bits) - 1) as u16;
        encode_each(
            rows,
            codes,
            || vec![0u16; dim],
            |row, code, symbols| {
                for (((symbol, x), offset), step) in symbols.iter_mut().zip(row).zip(offsets).zip(steps) {
                    // The conversion saturates and maps 0/0 to 0.
                    *symbol = (((x - offset) / step + 0.5) as u16).min(most);
                }
                self.layout.pack(symbols, code);
            },
        );
        Ok(())
    }
}

impl CodeDecoder for Uniform {
    fn decode(&self, codes: &DeviceCodes<'_>, rows: &mut MatrixRoom<'_>) -> Result<(), MethodError> {
        let UniformGrid { offsets, steps, bits } = &self.grid;
        let dim = offsets.len();
        if *bits == 8 {
            let tasks = place(rows).par_chunks_mut(BYTE_ROWS * dim).zip(bytes(codes).par_chunks(BYTE_ROWS * dim));
            tasks.for_each(|(rows, codes)| cpu::decode_uniform_bytes(self.isa, codes, offsets, steps, rows));
            return Ok(());
        }
        decode_each(
            codes,
            rows,
            || vec![0u16; dim],
            |code, row, symbols| {
                self.layout.unpack(code, symbols)?;
                for (((x, symbol), offset), step) in row.iter_mut().zip(symbols).zip(offsets).zip(steps) {
                    *x = offset + f32::from(*symbol) * step;
                }
                Ok(())
            },
        )
    }
}

/// LevelCoder that are separated by thresholds.
pub(super) struct LevelCoder {
    grid: LevelGrid,
    layout: SymbolLayout,
}

impl LevelCoder {
    pub(super) fn new(grid: LevelGrid) -> LevelCoder {
        LevelCoder { layout: SymbolLayout::uniform(grid.symbols, symbol_bits(grid.alphabet())), grid }
    }
}

impl RowEncoder for LevelCoder {
    fn encode(&self, rows: &DeviceMatrix<'_>, codes: &mut CodeRoom<'_>) -> Result<(), MethodError> {
        let LevelGrid { thresholds, values, width, symbols } = &self.grid;
        // The lists repeat after this number of symbols.
        let period = values.len() / width;
        encode_each(
            rows,
            codes,
            || vec![0u16; *symbols],
            |row, code, symbols| {
                for (row, symbols) in row.chunks(period * width).zip(symbols.chunks_mut(period)) {
                    let lists = thresholds.chunks_exact(*width).zip(values.chunks_exact(*width));
                    for ((part, symbol), (thresholds, values)) in row.chunks_exact(*width).zip(symbols).zip(lists) {
                        // Most significant digit first: s = (…(d_n)·L_{n−1} + d_{n−1})…)·L_1 + d_1.
                        let digits = part.iter().zip(thresholds).zip(values).rev();
                        *symbol = digits.fold(0, |sum, ((x, thresholds), values)| {
                            sum * values.len() + thresholds.partition_point(|t| t <= x)
                        }) as u16;
                    }
                }
                self.layout.pack(symbols, code);
            },
        );
        Ok(())
    }
}

impl CodeDecoder for LevelCoder {
    fn decode(&self, codes: &DeviceCodes<'_>, rows: &mut MatrixRoom<'_>) -> Result<(), MethodError> {
        let LevelGrid { values, width, symbols, .. } = &self.grid;
        let (period, alphabet) = (values.len() / width, self.grid.alphabet());
        decode_each(
            codes,
            rows,
            || vec![0u16; *symbols],
            |code, row, symbols| {
                self.layout.unpack(code, symbols)?;
                check_symbols(symbols, alphabet)?;
                for (row, symbols) in row.chunks_mut(period * width).zip(symbols.chunks(period)) {
                    let lists = values.chunks_exact(*width);
                    for ((part, &symbol), values) in row.chunks_exact_mut(*width).zip(symbols).zip(lists) {
                        let mut rest = usize::from(symbol);
                        if let ([x], [values]) = (&mut *part, values) {
                            *x = values[rest];
                            continue;
                        }
                        for (x, values) in part.iter_mut().zip(values) {
                            *x = values[rest % values.len()];
                            rest /= values.len();
                        }
                    }
                }
                Ok(())
            },
        )
    }
}
