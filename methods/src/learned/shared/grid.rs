//! Quantizer on a grid: each latent component takes one of a few values, and the values of a group make one symbol.

use crate::algorithms::codebooks::symbol_bits;
use crate::algorithms::pack::SymbolLayout;
use crate::backend::{Backend, CodeRoom, DeviceCodes, DeviceMatrix, LevelGrid, MatrixRoom, ScalarCoder, prepared};
use crate::search::grid::GridSearcher;
use crate::{MethodError, Quantizer, SearchMetric, Searcher, State, Symbols};
use std::sync::{Arc, OnceLock};

/// How a component takes its values: by the number of thresholds that are at most the latent.
#[derive(Clone, Debug)]
pub(crate) struct Steps {
    /// Ascending.
    pub(crate) thresholds: Vec<f32>,
    /// One more than there are thresholds.
    pub(crate) values: Vec<f32>,
}

/// Groups of components on the same grid. The symbol of a group is `Σ_j digit_j·Π_{i<j} levels_i`.
pub(crate) struct GridQuantizer {
    grid: LevelGrid,
    layout: SymbolLayout,
    backend: Arc<dyn Backend>,
    /// The grid on the backend, once it has been used.
    coder: OnceLock<Box<dyn ScalarCoder>>,
}

impl GridQuantizer {
    /// `groups` groups of components that take their values so; the product of their numbers is at most 2^16.
    pub(crate) fn new(steps: Vec<Steps>, groups: usize, backend: Arc<dyn Backend>) -> GridQuantizer {
        let width = steps.len();
        let (thresholds, values) = steps.into_iter().map(|steps| (steps.thresholds, steps.values)).unzip();
        let grid = LevelGrid { thresholds, values, width, symbols: groups };
        let layout = SymbolLayout::uniform(groups, symbol_bits(grid.alphabet()));
        GridQuantizer { grid, layout, backend, coder: OnceLock::new() }
    }

    fn coder(&self) -> Result<&dyn ScalarCoder, MethodError> {
        Ok(&**prepared(&self.coder, || self.backend.levels(&self.grid))?)
    }
}

impl Quantizer for GridQuantizer {
    fn dim(&self) -> usize {
        self.grid.symbols * self.grid.width
    }

    fn code_bits(&self) -> usize {
        self.layout.bits()
    }

    fn model_size(&self) -> usize {
        0
    }

    fn backend(&self) -> &dyn Backend {
        &*self.backend
    }

    fn encode(&self, rows: &DeviceMatrix<'_>, codes: &mut CodeRoom<'_>) -> Result<(), MethodError> {
        self.coder()?.encode(rows, codes)
    }

    fn decode(&self, codes: &DeviceCodes<'_>, rows: &mut MatrixRoom<'_>) -> Result<(), MethodError> {
        self.coder()?.decode(codes, rows)
    }

    fn searcher(&self, metric: SearchMetric) -> Option<Box<dyn Searcher + '_>> {
        Some(Box::new(GridSearcher::new(&self.grid, &self.layout, metric)))
    }

    fn symbols(&self) -> Option<&dyn Symbols> {
        Some(self)
    }

    fn save(&self, _state: &mut State) {}
}

impl Symbols for GridQuantizer {
    fn alphabets(&self) -> Vec<usize> {
        vec![self.grid.alphabet(); self.grid.symbols]
    }

    fn position_name(&self, p: usize) -> String {
        if self.grid.symbols == 1 { "codebook".into() } else { format!("group {p}") }
    }

    fn unpack(&self, code: &[u8], symbols: &mut [u16]) -> Result<(), MethodError> {
        self.layout.unpack(code, symbols)
    }
}
