//! How evenly codewords are used: one definition for training curves and for measurements.

/// Usage of the codewords of one position of a code, or of several positions together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usage {
    /// Codewords that at least one row is assigned to.
    pub used: usize,
    /// All codewords.
    pub codewords: usize,
    /// Entropy in bits: `−Σ p·log2 p` with observed frequencies. With few rows per codeword it is too low.
    pub entropy_bits: f64,
}

impl Usage {
    /// Of one position: how often each codeword was chosen.
    pub fn of(counts: &[u32]) -> Usage {
        let total: f64 = counts.iter().map(|&count| f64::from(count)).sum();
        let shares = counts.iter().filter(|count| **count > 0).map(|&count| f64::from(count) / total);
        Usage {
            used: counts.iter().filter(|count| **count > 0).count(),
            codewords: counts.len(),
            entropy_bits: shares.map(|p| -p * p.log2()).sum(),
        }
    }

    /// Of several positions together: codewords pooled, and the mean entropy, which makes the perplexity a geometric mean.
    pub fn overall(positions: &[Usage]) -> Usage {
        Usage {
            used: positions.iter().map(|usage| usage.used).sum(),
            codewords: positions.iter().map(|usage| usage.codewords).sum(),
            entropy_bits: positions.iter().map(|usage| usage.entropy_bits).sum::<f64>() / positions.len().max(1) as f64,
        }
    }

    /// The share of codewords in use.
    pub fn share(&self) -> f64 {
        self.used as f64 / self.codewords.max(1) as f64
    }

    /// Perplexity, `2^entropy`: the number of codewords that would have this entropy at even usage.
    pub fn perplexity(&self) -> f64 {
        self.entropy_bits.exp2()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn use_of_known_histograms() {
        let even = Usage::of(&[5, 5, 5, 5]);
        assert_eq!((even.share(), even.entropy_bits, even.perplexity()), (1.0, 2.0, 4.0));
        let one = Usage::of(&[7, 0, 0, 0]);
        assert_eq!((one.share(), one.entropy_bits, one.perplexity()), (0.25, 0.0, 1.0));
        assert!((Usage::of(&[1, 3]).entropy_bits - 0.811_278).abs() < 1e-6);
        let none = Usage::of(&[0, 0]);
        assert_eq!((none.share(), none.perplexity()), (0.0, 1.0));
        let both = Usage::overall(&[even, one]);
        assert_eq!((both.used, both.codewords, both.perplexity()), (5, 8, 2.0));
        assert_eq!((Usage::overall(&[]).share(), Usage::overall(&[]).perplexity()), (0.0, 1.0));
    }
}
