//! Search over sums of codewords, one from each codebook. Inner products add up over codebooks; distances need the norm of the sum
//! besides, which is computed once for each code that is held.
//!
//! ```text
//! −q·x̂    = −Σ_s q·c_s
//! ‖q−x̂‖² = ‖q′‖² + ‖x̂′‖² − 2·Σ_s q′·c′_s,     c′_s = c_s − μ_s,  q′ = q − Σ_s μ_s,  x̂′ = Σ_s c′_s
//! ```
//!
//! `μ_s` is the mean of codebook `s`: far from the origin, the terms of the second line would cancel and leave rounding errors. They still
//! do where clusters lie far from their common mean; [`factors_by_norms`] notices that.

use super::lookup::fill;
use super::tables::Tables;
use super::wide::WideTables;
use crate::algorithms::codebooks::Codebooks;
use crate::algorithms::moments::mean;
use crate::backend::CodeLayout;
use crate::{MethodError, Quantizer, SearchMetric, Searcher};
use cpu::{Isa, ScanTables};
use ndarray::{Array2, ArrayViewMut2};
use rayon::prelude::*;
use std::borrow::Cow;

/// Codes decoded at a time for their norms.
const ROWS: usize = 1 << 13;

/// Codebooks around the origin.
pub(crate) struct CentredBooks {
    /// `c − μ_s` of each codebook, transposed, as query tables are computed from them.
    columns: Vec<Vec<f32>>,
    /// `Σ_s μ_s`.
    centre: Vec<f32>,
}

impl CentredBooks {
    pub(crate) fn new(codebooks: &Codebooks) -> CentredBooks {
        let means: Vec<Vec<f64>> = codebooks.books.iter().map(|book| mean(book.view())).collect();
        let around = |(book, mean): (&Array2<f32>, &Vec<f64>)| -> Vec<f32> {
            let columns = book.columns().into_iter().zip(mean);
            columns.flat_map(|(column, mean)| column.into_iter().map(move |v| (f64::from(*v) - mean) as f32)).collect()
        };
        let columns = codebooks.books.iter().zip(&means).map(around).collect();
        let centre = (0..codebooks.dsub()).map(|j| means.iter().map(|mean| mean[j]).sum::<f64>() as f32).collect();
        CentredBooks { columns, centre }
    }
}

/// Tables of whole vectors for sums of codewords, one table per codebook.
pub(crate) struct AdditiveSearcher<'a> {
    quantizer: &'a dyn Quantizer,
    codebooks: &'a Codebooks,
    /// For distances.
    centred: Option<&'a CentredBooks>,
    isa: Isa,
    tables: Tables,
    constant: f32,
}

impl<'a> AdditiveSearcher<'a> {
    /// By inner products, or by distances if there are codebooks around the origin. `quantizer` decodes the sums of `codebooks`.
    pub(crate) fn new(
        quantizer: &'a dyn Quantizer,
        codebooks: &'a Codebooks,
        centred: Option<&'a CentredBooks>,
        isa: Isa,
    ) -> AdditiveSearcher<'a> {
        let tables = Tables::new(codebooks.books.len(), codebooks.codewords());
        AdditiveSearcher { quantizer, codebooks, centred, isa, tables, constant: 0.0 }
    }
}

impl Searcher for AdditiveSearcher<'_> {
    fn set_query(&mut self, query: &[f32]) {
        let (columns, twice) = match self.centred {
            None => (self.codebooks.columns(), query.to_vec()),
            Some(CentredBooks { columns, centre }) => {
                let around: Vec<f32> = query.iter().zip(centre).map(|(q, c)| q - c).collect();
                self.constant = square(&around);
                (&columns[..], around.iter().map(|q| 2.0 * q).collect())
            }
        };
        for (columns, table) in columns.iter().zip(self.tables.tables_mut()) {
            fill(self.isa, &twice, columns, SearchMetric::InnerProduct, table);
        }
    }

    fn score_into(&mut self, codes: &[u8], scores: &mut [f32]) -> Result<(), MethodError> {
        self.tables.scan(&self.codebooks.layout, codes, scores)?;
        let Some(CentredBooks { centre, .. }) = self.centred else { return Ok(()) };
        for (score, norm) in scores.iter_mut().zip(norms(self.quantizer, centre, codes)?) {
            *score = self.constant + (norm + *score);
        }
        Ok(())
    }

    fn code_layout(&self) -> Option<CodeLayout> {
        let layout = self.tables.code_layout(&self.codebooks.layout)?;
        Some(CodeLayout { has_factors: self.centred.is_some(), ..layout })
    }

    fn factors(&self, codes: &[u8], _code_size: usize) -> Result<Option<Vec<[f32; 2]>>, MethodError> {
        match self.centred {
            None => Ok(Some(Vec::new())),
            Some(CentredBooks { centre, .. }) => factors_by_norms(self.quantizer, self.isa, centre, codes),
        }
    }

    fn laid_out<'c>(&self, codes: &'c [u8]) -> Result<Cow<'c, [u8]>, MethodError> {
        self.tables.laid_out(&self.codebooks.layout, codes)
    }

    fn scan_tables(&self) -> Option<ScanTables> {
        self.tables.scan_tables(&self.codebooks.layout, self.constant)
    }

    fn wide_symbols(&self, codes: &[u8]) -> Result<Option<Vec<u16>>, MethodError> {
        self.tables.wide_symbols(&self.codebooks.layout, codes)
    }

    fn wide_tables(&self) -> Option<WideTables<'_>> {
        self.tables.wide_tables(&self.codebooks.layout, self.constant)
    }
}

/// `‖v‖²`.
pub(super) fn square(v: &[f32]) -> f32 {
    v.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() as f32
}

/// Rows whose nearest others say how near rows are to each other.
const PROBES: usize = 16;

/// How large the squared distance of near rows must be beside the rounding of norms, which otherwise changes their order.
const RESOLVED: f32 = 8.0;

/// Calls `see` for the decoded rows of codes, one after the other, block by block.
fn decode_blocks(quantizer: &dyn Quantizer, codes: &[u8], mut see: impl FnMut(&[f32])) -> Result<(), MethodError> {
    let (size, dim) = (quantizer.code_size(), quantizer.dim());
    let mut decoded = vec![0f32; ROWS.min(codes.len() / size) * dim];
    for codes in codes.chunks(ROWS * size) {
        let count = codes.len() / size;
        let decoded = &mut decoded[..count * dim];
        let rows = ArrayViewMut2::from_shape((count, dim), &mut *decoded);
        quantizer.decode_into(codes, rows.map_err(|e| MethodError::Broken(e.to_string()))?)?;
        see(decoded);
    }
    Ok(())
}

/// `‖x̂ − centre‖²` of each code.
pub(super) fn norms(quantizer: &dyn Quantizer, centre: &[f32], codes: &[u8]) -> Result<Vec<f32>, MethodError> {
    let mut norms = Vec::with_capacity(codes.len() / quantizer.code_size());
    decode_blocks(quantizer, codes, |rows| {
        norms.par_extend(rows.par_chunks_exact(centre.len()).map(|row| norm(row, centre)));
    })?;
    Ok(norms)
}

fn norm(row: &[f32], centre: &[f32]) -> f32 {
    row.iter().zip(centre).map(|(x, c)| f64::from(x - c).powi(2)).sum::<f64>() as f32
}

/// Offset `‖x̂ − centre‖²` and slope 1 of each code. None if these norms are so large beside the distances of decoded rows to their nearest
/// others that their rounding hides which is nearer: where clusters lie far apart, for instance.
pub(super) fn factors_by_norms(
    quantizer: &dyn Quantizer,
    isa: Isa,
    centre: &[f32],
    codes: &[u8],
) -> Result<Option<Vec<[f32; 2]>>, MethodError> {
    let size = quantizer.code_size();
    let count = codes.len() / size;
    let some: Vec<u8> = codes.chunks_exact(size).step_by(count.div_ceil(PROBES).max(1)).flatten().copied().collect();
    let mut probes = Vec::new();
    decode_blocks(quantizer, &some, |rows| probes.extend_from_slice(rows))?;
    // Of each of them, the square of the distance to the nearest row that is another one.
    let mut nearest = vec![f32::INFINITY; some.len() / size];
    let mut factors = Vec::with_capacity(count);
    decode_blocks(quantizer, codes, |rows| {
        factors.par_extend(rows.par_chunks_exact(centre.len()).map(|row| [norm(row, centre), 1.0]));
        let probes = probes.par_chunks_exact(centre.len());
        probes.zip(&mut nearest).for_each_init(Vec::new, |distances: &mut Vec<f32>, (probe, nearest)| {
            distances.resize(rows.len() / centre.len(), 0.0);
            cpu::squared_distances(isa, probe, rows, distances);
            *nearest = distances.iter().filter(|d| **d > 0.0).fold(*nearest, |least, d| least.min(*d));
        });
    })?;
    let largest = factors.iter().fold(0f32, |largest, [norm, _]| largest.max(*norm));
    nearest.retain(|distance| distance.is_finite());
    nearest.sort_unstable_by(f32::total_cmp);
    // A quarter of the rows may be near copies of others. Where all rows are equal, there is nothing to tell apart.
    let near = nearest.get(nearest.len() / 4).copied().unwrap_or(f32::INFINITY);
    Ok((RESOLVED * f32::EPSILON * largest <= near).then_some(factors))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::laws::{encode, gaussian};
    use crate::{Context, parse};

    #[test]
    fn norms_serve_only_where_they_tell_near_rows_apart() {
        for (rows, apart, serve) in [(700, 0.0, true), (700, 30.0, true), (700, 1e4, false), (1, 1e6, true)] {
            let mut base = gaussian(rows, 12, 1);
            base.outer_iter_mut().enumerate().for_each(|(i, mut row)| row += if i % 2 == 0 { apart } else { -apart });
            let method = parse("rvq", serde_json::json!({ "stages": 3, "bits": 4, "iterations": 3 })).expect("parses");
            let quantizer = method.fit(base.view(), &Context::cpu(1)).expect("fits");
            let codes = encode(&*quantizer, base.view());
            let centre = vec![0.25; 12];
            for isa in Isa::available() {
                let found = factors_by_norms(&*quantizer, isa, &centre, &codes).expect("decodes");
                assert_eq!(found.is_some(), serve, "{rows} rows, {apart} apart");
                let norms = norms(&*quantizer, &centre, &codes).expect("decodes");
                assert!(found.is_none_or(|factors| factors.iter().copied().eq(norms.iter().map(|norm| [*norm, 1.0]))));
            }
            let none = factors_by_norms(&*quantizer, Isa::widest(), &centre, &[]).expect("decodes");
            assert_eq!(none, Some(Vec::new()), "no codes");
        }
    }
}
