//! Search over codes of a grid of few levels per component, where one symbol stands for several components.

use super::tables::Tables;
use super::wide::WideTables;
use crate::algorithms::pack::SymbolLayout;
use crate::backend::{CodeLayout, LevelGrid};
use crate::{MethodError, SearchMetric, Searcher};
use cpu::ScanTables;
use std::borrow::Cow;

/// Tables `t_p[s] = Σ_j (q_j − v_j)²` or `−Σ_j q_j·v_j` over the components `j` of symbol `p`, whose values for `s` are `v_j`.
pub(crate) struct GridSearcher<'a> {
    grid: &'a LevelGrid,
    layout: &'a SymbolLayout,
    metric: SearchMetric,
    tables: Tables,
}

impl<'a> GridSearcher<'a> {
    pub(crate) fn new(grid: &'a LevelGrid, layout: &'a SymbolLayout, metric: SearchMetric) -> GridSearcher<'a> {
        GridSearcher { grid, layout, metric, tables: Tables::new(grid.symbols, grid.alphabet()) }
    }
}

impl Searcher for GridSearcher<'_> {
    fn set_query(&mut self, query: &[f32]) {
        let LevelGrid { values, width, .. } = self.grid;
        let parts = query.chunks_exact(*width).zip(self.tables.tables_mut());
        for (p, (part, table)) in parts.enumerate() {
            // The first component moves fastest: each further one repeats what is there, once for each of its values.
            let mut filled = 1;
            table[0] = 0.0;
            for (i, q) in part.iter().enumerate() {
                let values = &values[(p * width + i) % values.len()];
                for (digit, v) in values.iter().enumerate().rev() {
                    let term = match self.metric {
                        SearchMetric::L2 => (q - v) * (q - v),
                        SearchMetric::InnerProduct => -q * v,
                    };
                    let (below, rest) = table.split_at_mut(filled);
                    match digit {
                        // Last, because the others are sums over it.
                        0 => below.iter_mut().for_each(|sum| *sum += term),
                        _ => {
                            let place = &mut rest[(digit - 1) * filled..][..filled];
                            place.iter_mut().zip(below).for_each(|(sum, below)| *sum = *below + term);
                        }
                    }
                }
                filled *= values.len();
            }
        }
    }

    fn score_into(&mut self, codes: &[u8], scores: &mut [f32]) -> Result<(), MethodError> {
        self.tables.scan(self.layout, codes, scores)
    }

    fn code_layout(&self) -> Option<CodeLayout> {
        self.tables.code_layout(self.layout)
    }

    fn laid_out<'c>(&self, codes: &'c [u8]) -> Result<Cow<'c, [u8]>, MethodError> {
        self.tables.laid_out(self.layout, codes)
    }

    fn scan_tables(&self) -> Option<ScanTables> {
        self.tables.scan_tables(self.layout, 0.0)
    }

    fn wide_symbols(&self, codes: &[u8]) -> Result<Option<Vec<u16>>, MethodError> {
        self.tables.wide_symbols(self.layout, codes)
    }

    fn wide_tables(&self) -> Option<WideTables<'_>> {
        self.tables.wide_tables(self.layout, 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithms::codebooks::symbol_bits;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_table_has_the_score_of_every_symbol(
            levels in prop::collection::vec(2usize..7, 1..5), symbols in 1usize..4, one_list in any::<bool>(),
            inner in any::<bool>(), seed in any::<u32>(),
        ) {
            let mix = |i: usize| (seed.wrapping_mul(2654435761).wrapping_add(i as u32 * 40503) >> 9) as f32 / 4e6 - 1.0;
            let width = levels.len();
            let period = if one_list { 1 } else { symbols };
            // Components of one place in a symbol have as many levels in every symbol.
            let count = |j: usize| levels[j % width];
            let values: Vec<Vec<f32>> =
                (0..period * width).map(|j| (0..count(j)).map(|l| mix(31 * j + l)).collect()).collect();
            let grid = LevelGrid { thresholds: Vec::new(), values, width, symbols };
            let layout = SymbolLayout::uniform(symbols, symbol_bits(grid.alphabet()));
            let metric = if inner { SearchMetric::InnerProduct } else { SearchMetric::L2 };
            let query: Vec<f32> = (0..symbols * width).map(|j| mix(1000 + j)).collect();
            let mut searcher = GridSearcher::new(&grid, &layout, metric);
            searcher.set_query(&query);
            for symbol in 0..grid.alphabet() {
                let mut code = vec![0; layout.bytes()];
                layout.pack(&vec![symbol as u16; symbols], &mut code);
                let mut score = [f32::NAN];
                searcher.score_into(&code, &mut score).expect("a code");
                let mut plain = 0f64;
                for p in 0..symbols {
                    let mut rest = symbol;
                    for i in 0..width {
                        let values = &grid.values[(p * width + i) % grid.values.len()];
                        let (q, v) = (f64::from(query[p * width + i]), f64::from(values[rest % values.len()]));
                        rest /= values.len();
                        plain += if inner { -q * v } else { (q - v).powi(2) };
                    }
                }
                prop_assert!((f64::from(score[0]) - plain).abs() < 1e-4, "{} for {}", score[0], plain);
            }
        }
    }
}
