//! The trained scalar quantizer: its grids, encoding and decoding.

use super::{Levels, Scalar, normalize};
use crate::algorithms::components::Components;
use crate::algorithms::levels::UniformLevels;
use crate::algorithms::side::write_side;
use crate::backend::{
    Backend, CodeRoom, DeviceCodes, DeviceMatrix, LevelGrid, MatrixRoom, ScalarCoder, UniformGrid, prepared,
};
use crate::contract::batch::{decode_rows, encode_rows};
use crate::{MethodError, Quantizer, State, Symbols};
use ndarray::Array2;
use std::sync::{Arc, OnceLock};

/// Levels in the form that encoding needs.
#[derive(Clone, Debug)]
pub(super) enum Grid {
    Uniform(UniformLevels),
    /// Ascending levels and the thresholds between them.
    Levels {
        levels: Vec<f32>,
        thresholds: Vec<f32>,
    },
}

impl Grid {
    pub(super) fn from_levels(levels: Vec<f32>) -> Grid {
        let thresholds = levels.windows(2).map(|pair| 0.5 * pair[0] + 0.5 * pair[1]).collect();
        Grid::Levels { levels, thresholds }
    }

    #[inline]
    fn encode(&self, x: f32, count: usize) -> u16 {
        match self {
            Grid::Uniform(grid) => encode_uniform(x, grid, count),
            Grid::Levels { thresholds, .. } => thresholds.partition_point(|&t| t < x) as u16,
        }
    }

    #[inline]
    fn decode(&self, symbol: u16) -> f32 {
        match self {
            Grid::Uniform(grid) => grid.offset + f32::from(symbol) * grid.step,
            Grid::Levels { levels, .. } => levels[usize::from(symbol)],
        }
    }

    fn model_size(&self) -> usize {
        match self {
            Grid::Uniform(_) => 8,
            // Thresholds are computed from the levels, or from offset and step.
            Grid::Levels { levels, .. } => 4 * levels.len(),
        }
    }
}

/// `clamp(round((x − offset)/step), 0, count−1)`; the conversion saturates and sends 0/0 to 0.
#[inline]
fn encode_uniform(x: f32, grid: &UniformLevels, count: usize) -> u16 {
    (((x - grid.offset) / grid.step + 0.5) as u16).min((count - 1) as u16)
}

/// A trained scalar quantizer. A code holds the side values of its blocks, if any (f32, little-endian: offset or mean
/// unless symmetric, then step or deviation), followed by the packed symbols.
pub(super) struct ScalarQuantizer {
    spec: Scalar,
    components: Components,
    /// One grid, or one per dimension; none where each vector brings its own uniform grid.
    grids: Vec<Grid>,
    /// Where codes are symbols and nothing else.
    coding: Option<ComponentGrid>,
    backend: Arc<dyn Backend>,
    /// That coding on the backend, once it has been used.
    prepared: OnceLock<Box<dyn ScalarCoder>>,
}

/// Codes that are one symbol per component and nothing else, as a backend is told of them.
enum ComponentGrid {
    Uniform(UniformGrid),
    Levels(LevelGrid),
}

impl ComponentGrid {
    /// By one grid, or one per dimension, all of a kind.
    fn of(spec: &Scalar, dim: usize, grids: &[Grid]) -> Option<ComponentGrid> {
        let grid = |j: usize| grids.get(if grids.len() == 1 { 0 } else { j });
        let pair = |j: usize| match grid(j)? {
            Grid::Uniform(grid) => Some((grid.offset, grid.step)),
            Grid::Levels { .. } => None,
        };
        if let Some(pairs) = (0..dim).map(pair).collect::<Option<Vec<_>>>() {
            let (offsets, steps) = pairs.into_iter().unzip();
            return Some(ComponentGrid::Uniform(UniformGrid { offsets, steps, bits: spec.bits }));
        }
        let lists = |grid: &Grid| match grid {
            Grid::Uniform(_) => None,
            // The symbol counts the thresholds below x: those whose next number up is at most x.
            Grid::Levels { levels, thresholds } => {
                Some((thresholds.iter().map(|t| t.next_up()).collect(), levels.clone()))
            }
        };
        let (thresholds, values) = grids.iter().map(lists).collect::<Option<Vec<_>>>()?.into_iter().unzip();
        (!grids.is_empty()).then_some(ComponentGrid::Levels(LevelGrid { thresholds, values, width: 1, symbols: dim }))
    }
}

impl ScalarQuantizer {
    pub(super) fn new(spec: Scalar, dim: usize, grids: Vec<Grid>, backend: Arc<dyn Backend>) -> ScalarQuantizer {
        let components = Components::new(dim, spec.bits, spec.side_values(dim), "dim");
        let coding = if components.side_bytes() == 0 { ComponentGrid::of(&spec, dim, &grids) } else { None };
        ScalarQuantizer { components, spec, coding, prepared: OnceLock::new(), grids, backend }
    }

    fn prepared(&self) -> Result<Option<&dyn ScalarCoder>, MethodError> {
        let Some(coding) = &self.coding else { return Ok(None) };
        let coder = prepared(&self.prepared, || match coding {
            ComponentGrid::Uniform(grid) => self.backend.uniform(grid),
            ComponentGrid::Levels(grid) => self.backend.levels(grid),
        })?;
        Ok(Some(&**coder))
    }

    fn encode_row(&self, row: &[f32], code: &mut [u8], symbols: &mut [u16]) {
        let count = self.spec.level_count();
        let (side, packed) = code.split_at_mut(self.components.side_bytes());
        let size = self.spec.block(self.dim()).unwrap_or(self.dim());
        let values = self.spec.values_per_block();
        let blocks = row.chunks(size).zip(symbols.chunks_mut(size)).zip(side.chunks_exact_mut(4 * values));
        for ((row, symbols), side) in blocks {
            let scale = self.spec.own_scale(row);
            // The offset of a symmetric grid follows from its step.
            write_side(side, &[scale.offset, scale.step][2 - values..]);
            let scale = self.scale_of(side);
            for (symbol, &x) in symbols.iter_mut().zip(row) {
                *symbol = match self.grids.first() {
                    Some(grid) => grid.encode(normalize(x, &scale), count),
                    None => encode_uniform(x, &scale, count),
                };
            }
        }
        self.components.layout.pack(symbols, packed);
    }

    /// Reads the scale of a block from its side bytes.
    fn scale_of(&self, side: &[u8]) -> UniformLevels {
        let (values, _) = side.as_chunks::<4>();
        match *values {
            [offset, step] => UniformLevels { offset: f32::from_le_bytes(offset), step: f32::from_le_bytes(step) },
            [step] => {
                let step = f32::from_le_bytes(step);
                let levels_start = -0.5 * step * (self.spec.level_count() - 1) as f32;
                UniformLevels { offset: if self.grids.is_empty() { levels_start } else { 0.0 }, step }
            }
            _ => UniformLevels { offset: 0.0, step: 0.0 },
        }
    }

    fn decode_row(&self, code: &[u8], row: &mut [f32], symbols: &mut [u16]) -> Result<(), MethodError> {
        let (side, packed) = code.split_at(self.components.side_bytes());
        self.components.layout.unpack(packed, symbols)?;
        let size = self.spec.block(self.dim()).unwrap_or(self.dim());
        let values = self.spec.values_per_block();
        for ((row, symbols), side) in row.chunks_mut(size).zip(symbols.chunks(size)).zip(side.chunks_exact(4 * values))
        {
            let scale = self.scale_of(side);
            if let Some((position, value)) =
                [scale.offset, scale.step].into_iter().enumerate().find(|(_, v)| !v.is_finite())
            {
                return Err(MethodError::Side { position, value });
            }
            for (x, &symbol) in row.iter_mut().zip(symbols) {
                let unit = self.grids.first().map_or(f32::from(symbol), |grid| grid.decode(symbol));
                *x = (scale.offset + unit * scale.step).clamp(f32::MIN, f32::MAX);
            }
        }
        Ok(())
    }
}

impl Quantizer for ScalarQuantizer {
    fn dim(&self) -> usize {
        self.components.layout.positions()
    }

    fn code_bits(&self) -> usize {
        self.components.code_bits()
    }

    fn model_size(&self) -> usize {
        let thresholds = if matches!(self.spec.levels, Levels::UniformThreshold(_)) { 8 * self.grids.len() } else { 0 };
        self.grids.iter().map(Grid::model_size).sum::<usize>() + thresholds
    }

    fn backend(&self) -> &dyn Backend {
        &*self.backend
    }

    fn encode(&self, rows: &DeviceMatrix<'_>, codes: &mut CodeRoom<'_>) -> Result<(), MethodError> {
        match self.prepared()? {
            Some(coder) => coder.encode(rows, codes),
            None => {
                let scratch = || vec![0; self.dim()];
                encode_rows(&*self.backend, rows, codes, scratch, |r, c, s| self.encode_row(r, c, s))
            }
        }
    }

    fn decode(&self, codes: &DeviceCodes<'_>, rows: &mut MatrixRoom<'_>) -> Result<(), MethodError> {
        match self.prepared()? {
            Some(coder) => coder.decode(codes, rows),
            None => {
                let scratch = || vec![0; self.dim()];
                decode_rows(&*self.backend, codes, rows, scratch, |c, r, s| self.decode_row(c, r, s))
            }
        }
    }

    fn symbols(&self) -> Option<&dyn Symbols> {
        Some(&self.components)
    }

    fn save(&self, state: &mut State) {
        if self.spec.levels == Levels::Uniform {
            let pair = |grid: &Grid| match grid {
                Grid::Uniform(UniformLevels { offset, step }) => [*offset, *step],
                Grid::Levels { .. } => [0.0; 2],
            };
            let grids = Array2::from_shape_fn((self.grids.len(), 2), |(i, j)| pair(&self.grids[i])[j]);
            return state.put_matrix("offset and step", grids.view());
        }
        let of_grid = |grid: &Grid| match grid {
            Grid::Levels { levels, thresholds } => (levels.clone(), thresholds.clone()),
            Grid::Uniform(_) => Default::default(),
        };
        let (levels, thresholds): (Vec<Vec<f32>>, Vec<Vec<f32>>) = self.grids.iter().map(of_grid).unzip();
        let count = self.spec.level_count();
        let shape = (self.grids.len(), count);
        state.put_matrix("levels", Array2::from_shape_fn(shape, |(i, j)| levels[i][j]).view());
        if let Levels::UniformThreshold(_) = self.spec.levels {
            let shape = (self.grids.len(), count - 1);
            state.put_matrix("thresholds", Array2::from_shape_fn(shape, |(i, j)| thresholds[i][j]).view());
        }
    }
}
