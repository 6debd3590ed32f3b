//! Search over sums of codewords, one from each codebook. Inner products add up over codebooks; distances need the norm of the sum
//! besides, which is computed once for each code that is held.
//!
//! ```text
//! −q·x̂    = −Σ_s q·c_s
//! ‖q−x̂‖² = ‖q′‖² + ‖x̂′‖² − 2·Σ_s q′·c′_s,     c′_s = c_s − μ_s,  q′ = q − Σ_s μ_s,  x̂′ = Σ_s c′_s
//! ```
//!
//! `μ_s` is the mean of codebook `s`: far from the origin, the terms of the second line would cancel and leave rounding errors.

use super::lookup::fill;
use super::tables::Tables;
use super::wide::WideTables;
use crate::algorithms::codebooks::Codebooks;
use crate::algorithms::moments::mean;
use crate::backend::CodeLayout;
use crate::{MethodError, Quantizer, SearchMetric, Searcher};
use cpu::{Isa, ScanTables};
use ndarray::Array2;
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
        let factors = self.factors(codes, self.codebooks.layout.bytes())?;
        for (score, [offset, slope]) in scores.iter_mut().zip(factors) {
            *score = self.constant + (offset + slope * *score);
        }
        Ok(())
    }

    fn code_layout(&self) -> Option<CodeLayout> {
        let layout = self.tables.code_layout(&self.codebooks.layout)?;
        Some(CodeLayout { has_factors: self.centred.is_some(), ..layout })
    }

    fn factors(&self, codes: &[u8], _code_size: usize) -> Result<Vec<[f32; 2]>, MethodError> {
        match self.centred {
            None => Ok(Vec::new()),
            Some(CentredBooks { centre, .. }) => norms(self.quantizer, centre, codes),
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

/// Offset `‖x̂ − centre‖²` and slope 1 of each code.
pub(super) fn norms(quantizer: &dyn Quantizer, centre: &[f32], codes: &[u8]) -> Result<Vec<[f32; 2]>, MethodError> {
    let size = quantizer.code_size();
    let mut factors = Vec::with_capacity(codes.len() / size);
    let mut decoded = Array2::<f32>::zeros((ROWS.min(codes.len() / size), centre.len()));
    for codes in codes.chunks(ROWS * size) {
        let mut decoded = decoded.slice_mut(ndarray::s![..codes.len() / size, ..]);
        quantizer.decode_into(codes, decoded.view_mut())?;
        let norm = |row: ndarray::ArrayView1<'_, f32>| {
            row.iter().zip(centre).map(|(x, c)| f64::from(x - c).powi(2)).sum::<f64>() as f32
        };
        factors.extend(decoded.outer_iter().map(|row| [norm(row), 1.0]));
    }
    Ok(factors)
}
