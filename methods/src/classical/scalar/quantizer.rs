//! The trained scalar quantizer: its grids, encoding and decoding.

use super::{Levels, Scalar, normalize};
use crate::algorithms::components::Components;
use crate::algorithms::levels::UniformLevels;
use crate::algorithms::side::write_side;
use crate::backend::{Backend, UniformGrid};
use crate::contract::batch::{decode_rows, encode_rows};
use crate::{MethodError, Quantizer, State, Symbols, check_batch};
use ndarray::{Array2, ArrayView2, ArrayViewMut2};
use rayon::prelude::*;
use std::sync::Arc;

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
    /// One grid, or one per dimension; none if each vector has its own uniform grid.
    grids: Vec<Grid>,
    /// The grid of each component, if codes hold only symbols of uniform grids.
    uniform: Option<UniformGrid>,
    backend: Arc<dyn Backend>,
}

/// Rows per task if symbols are whole bytes.
const BYTE_ROWS: usize = 1024;

impl ScalarQuantizer {
    pub(super) fn new(spec: Scalar, dim: usize, grids: Vec<Grid>, backend: Arc<dyn Backend>) -> ScalarQuantizer {
        let components = Components::new(dim, spec.bits, spec.side_values(dim), "dim");
        let pair = |j: usize| match grids.get(if grids.len() == 1 { 0 } else { j }) {
            Some(Grid::Uniform(grid)) => Some((grid.offset, grid.step)),
            _ => None,
        };
        let plain = spec.bits <= 8 && spec.level_count() == 1 << spec.bits && components.side_bytes() == 0;
        let pairs = if plain { (0..dim).map(pair).collect::<Option<Vec<_>>>() } else { None };
        let uniform = pairs.map(|pairs| {
            let (offsets, steps) = pairs.into_iter().unzip();
            UniformGrid { offsets, steps, bits: spec.bits }
        });
        ScalarQuantizer { components, spec, uniform, grids, backend }
    }

    fn grid(&self, j: usize) -> &Grid {
        if self.grids.len() == 1 { &self.grids[0] } else { &self.grids[j] }
    }

    fn encode_row(&self, row: &[f32], code: &mut [u8], symbols: &mut [u16]) {
        let count = self.spec.level_count();
        let (side, packed) = code.split_at_mut(self.components.side_bytes());
        if let Some(size) = self.spec.block(self.dim()) {
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
        } else if let [grid] = &self.grids[..] {
            symbols.iter_mut().zip(row).for_each(|(symbol, &x)| *symbol = grid.encode(x, count));
        } else {
            symbols.iter_mut().zip(row).zip(&self.grids).for_each(|((s, &x), grid)| *s = grid.encode(x, count));
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
        if let Some(size) = self.spec.block(self.dim()) {
            let values = self.spec.values_per_block();
            for ((row, symbols), side) in
                row.chunks_mut(size).zip(symbols.chunks(size)).zip(side.chunks_exact(4 * values))
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
        } else {
            row.iter_mut().zip(&*symbols).enumerate().for_each(|(j, (x, &s))| *x = self.grid(j).decode(s));
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

    fn encode_into(&self, rows: ArrayView2<'_, f32>, codes: &mut [u8]) -> Result<(), MethodError> {
        let dim = self.dim();
        check_batch(dim, self.code_size(), rows.dim(), codes.len())?;
        if let Some(grid) = &self.uniform
            && self.backend.encode_uniform(rows, grid, codes)?
        {
            return Ok(());
        }
        if let (Some(UniformGrid { offsets, steps, bits: 8 }), Some(values)) = (&self.uniform, rows.as_slice()) {
            let tasks = codes.par_chunks_mut(BYTE_ROWS * dim).zip(values.par_chunks(BYTE_ROWS * dim));
            let isa = self.backend.isa();
            tasks.for_each(|(codes, rows)| cpu::encode_uniform_bytes(isa, rows, offsets, steps, codes));
            return Ok(());
        }
        encode_rows(dim, self.code_size(), rows, codes, || vec![0; dim], |r, c, s| self.encode_row(r, c, s))
    }

    fn decode_into(&self, codes: &[u8], mut rows: ArrayViewMut2<'_, f32>) -> Result<(), MethodError> {
        let dim = self.dim();
        check_batch(dim, self.code_size(), rows.dim(), codes.len())?;
        if let (Some(grid), Some(values)) = (&self.uniform, rows.as_slice_mut())
            && self.backend.decode_uniform(codes, grid, values)?
        {
            return Ok(());
        }
        if let (Some(UniformGrid { offsets, steps, bits: 8 }), Some(values)) = (&self.uniform, rows.as_slice_mut()) {
            let tasks = values.par_chunks_mut(BYTE_ROWS * dim).zip(codes.par_chunks(BYTE_ROWS * dim));
            let isa = self.backend.isa();
            tasks.for_each(|(rows, codes)| cpu::decode_uniform_bytes(isa, codes, offsets, steps, rows));
            return Ok(());
        }
        decode_rows(dim, self.code_size(), codes, rows, || vec![0; dim], |c, r, s| self.decode_row(c, r, s))
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
