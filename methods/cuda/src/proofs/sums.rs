//! Searches over sums of codewords in f64, step by step, to distinguish a wrong code from one that differs because of a
//! near-tie.

use super::inputs::{TIE, mean};

/// Codebooks minus their means, and the sum of the means: the values that searches compute with.
pub struct Books {
    m: usize,
    k: usize,
    dim: usize,
    codewords: Vec<f64>,
    center: Vec<f64>,
}

impl Books {
    /// From `m` contiguous codebooks of `k` codewords.
    pub fn new(codebooks: &[f32], m: usize, dim: usize) -> Books {
        let k = codebooks.len() / (m * dim);
        let (mut codewords, mut center) = (Vec::with_capacity(codebooks.len()), vec![0f64; dim]);
        for book in codebooks.chunks_exact(k * dim) {
            let mean = mean(book, dim);
            center.iter_mut().zip(&mean).for_each(|(c, m)| *c += m);
            codewords.extend(book.chunks_exact(dim).flat_map(|c| c.iter().zip(&mean)).map(|(v, m)| f64::from(*v) - m));
        }
        Books { m, k, dim, codewords, center }
    }

    fn codeword(&self, book: usize, symbol: usize) -> &[f64] {
        &self.codewords[(book * self.k + symbol) * self.dim..][..self.dim]
    }

    fn centred(&self, row: &[f32]) -> Vec<f64> {
        row.iter().zip(&self.center).map(|(v, c)| f64::from(*v) - c).collect()
    }

    /// The residual of a row.
    fn rest(&self, row: &[f32], code: &[u16]) -> Vec<f64> {
        let mut rest = self.centred(row);
        for (book, &symbol) in code.iter().enumerate() {
            rest.iter_mut().zip(self.codeword(book, symbol.into())).for_each(|(r, c)| *r -= c);
        }
        rest
    }

    /// `‖x − Σ c‖²`.
    pub fn error(&self, row: &[f32], code: &[u16]) -> f64 {
        squares(&self.rest(row, code))
    }

    /// Differences below this are near-ties: tables hold squares of everything that is added and subtracted on the way.
    fn tolerance(&self, row: &[f32]) -> f64 {
        let largest = |book| (0..self.k).map(|c| squares(self.codeword(book, c))).fold(0.0, f64::max);
        TIE * (squares(&self.centred(row)) + (0..self.m).map(largest).sum::<f64>())
    }

    /// Whether a beam search meets a near-tie where it decides which partial codes to keep.
    pub fn beam_meets_a_tie(&self, row: &[f32], beam: usize) -> bool {
        let tolerance = self.tolerance(row);
        let mut kept: Vec<Vec<u16>> = vec![vec![]];
        for book in 0..self.m {
            let mut next: Vec<(f64, Vec<u16>)> = Vec::with_capacity(kept.len() * self.k);
            for code in &kept {
                let rest = self.rest(row, code);
                for symbol in 0..self.k {
                    let error = rest.iter().zip(self.codeword(book, symbol)).map(|(r, c)| (r - c).powi(2)).sum();
                    next.push((error, code.iter().copied().chain([symbol as u16]).collect()));
                }
            }
            next.sort_by(|a, b| a.0.total_cmp(&b.0));
            // The last step keeps one code.
            let stay = if book + 1 == self.m { 1 } else { beam };
            if next.get(stay).is_some_and(|out| out.0 - next[stay - 1].0 <= tolerance) {
                return true;
            }
            next.truncate(stay);
            kept = next.into_iter().map(|(_, code)| code).collect();
        }
        false
    }

    /// Whether a descent from this code meets a near-tie.
    pub fn descent_meets_a_tie(&self, row: &[f32], code: &[u16], sweeps: usize) -> bool {
        let tolerance = self.tolerance(row);
        let mut code = code.to_vec();
        for _ in 0..sweeps {
            let before = code.clone();
            for book in 0..self.m {
                let mut rest = self.rest(row, &code);
                rest.iter_mut().zip(self.codeword(book, code[book].into())).for_each(|(r, c)| *r += c);
                let error =
                    |c: usize| rest.iter().zip(self.codeword(book, c)).map(|(r, c)| (r - c).powi(2)).sum::<f64>();
                let mut errors: Vec<(f64, usize)> = (0..self.k).map(|c| (error(c), c)).collect();
                errors.sort_by(|a, b| a.0.total_cmp(&b.0));
                if errors.get(1).is_some_and(|next| next.0 - errors[0].0 <= tolerance) {
                    return true;
                }
                code[book] = errors[0].1 as u16;
            }
            if code == before {
                break;
            }
        }
        false
    }
}

fn squares(values: &[f64]) -> f64 {
    values.iter().map(|v| v * v).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tie_is_met_where_two_ways_are_as_good() {
        // Two codebooks of two codewords in one dimension.
        let books = Books::new(&[0.0, 8.0, 0.0, 1.0], 2, 1);
        assert!((books.error(&[9.0], &[1, 1])).abs() < 1e-12 && (books.error(&[9.0], &[0, 1]) - 64.0).abs() < 1e-12);
        assert!(!books.beam_meets_a_tie(&[8.9], 1));
        // Between 8 and 9.
        assert!(books.beam_meets_a_tie(&[8.5], 1));
        // Between the first two, by what their means leave: 0.5 for the second codebook.
        assert!(books.beam_meets_a_tie(&[4.5], 1) && !books.beam_meets_a_tie(&[4.7], 2));
        assert!(books.descent_meets_a_tie(&[8.5], &[0, 0], 4) && !books.descent_meets_a_tie(&[8.9], &[0, 0], 4));
    }
}
