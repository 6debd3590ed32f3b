//! TEXMEX `.fvecs`, `.bvecs`, `.ivecs`: each row is its dimension (i32, little-endian) and that many values.

use super::{Format, OpenFile, read_exact};
use ndarray::Array2;

pub struct Vecs {
    name: &'static str,
    extensions: &'static [&'static str],
    value_bytes: usize,
    decode: fn(&[u8]) -> f32,
}

pub const FVECS: Vecs = Vecs {
    name: "fvecs",
    extensions: &["fvecs"],
    value_bytes: 4,
    decode: |b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]),
};
pub const BVECS: Vecs = Vecs { name: "bvecs", extensions: &["bvecs"], value_bytes: 1, decode: |b| f32::from(b[0]) };
pub const IVECS: Vecs = Vecs {
    name: "ivecs",
    extensions: &["ivecs"],
    value_bytes: 4,
    decode: |b| i32::from_le_bytes([b[0], b[1], b[2], b[3]]) as f32,
};

impl Vecs {
    fn dimension(file: &mut OpenFile) -> Result<usize, String> {
        let mut bytes = [0; 4];
        read_exact(file, &mut bytes)?;
        let dim = i32::from_le_bytes(bytes);
        usize::try_from(dim).ok().filter(|&d| d > 0).ok_or_else(|| format!("a row claims {dim} components"))
    }

    fn shape_from(&self, dim: usize, length: u64) -> Result<(usize, usize), String> {
        let row_bytes = (4 + dim * self.value_bytes) as u64;
        if !length.is_multiple_of(row_bytes) {
            return Err(format!(
                "{length} bytes are no whole number of rows of {dim} components ({row_bytes} bytes each)"
            ));
        }
        Ok(((length / row_bytes) as usize, dim))
    }
}

impl Format for Vecs {
    fn name(&self) -> &'static str {
        self.name
    }

    fn extensions(&self) -> &'static [&'static str] {
        self.extensions
    }

    fn shape(&self, file: &mut OpenFile) -> Result<(usize, usize), String> {
        self.shape_from(Self::dimension(file)?, file.length)
    }

    fn read(&self, file: &mut OpenFile) -> Result<Array2<f32>, String> {
        self.rows(file, self.decode)
    }
}

/// Row numbers: ivecs whose values are not negative. They stay integers, since f32 is exact only up to 2^24.
pub fn read_ids(file: &mut OpenFile) -> Result<Array2<u32>, String> {
    let ids = IVECS.rows(file, |b| i32::from_le_bytes([b[0], b[1], b[2], b[3]]))?;
    match ids.iter().find(|id| **id < 0) {
        Some(id) => Err(format!("{id} is no row number")),
        None => Ok(ids.mapv(i32::cast_unsigned)),
    }
}

impl Vecs {
    fn rows<T>(&self, file: &mut OpenFile, decode: fn(&[u8]) -> T) -> Result<Array2<T>, String> {
        let first = Self::dimension(file)?;
        let (n, dim) = self.shape_from(first, file.length)?;
        let mut row = vec![0u8; dim * self.value_bytes];
        let mut values = Vec::with_capacity(n * dim);
        for i in 0..n {
            let found = if i == 0 { dim } else { Self::dimension(file)? };
            if found != dim {
                return Err(format!("row {i} has {found} components, row 0 has {dim}"));
            }
            read_exact(file, &mut row)?;
            values.extend(row.chunks_exact(self.value_bytes).map(decode));
        }
        Array2::from_shape_vec((n, dim), values).map_err(|e| e.to_string())
    }
}
