//! Trained quantizers as files, so that one trained here can be used anywhere.
//!
//! A model file is, in this order and little-endian throughout:
//!
//! | bytes | what |
//! |--|--|
//! | 8 | `VQBMODEL` |
//! | 4 | version of this layout, u32: 1 |
//! | 8 | length of the header, u64 |
//! | … | the header, JSON: `method`, `params` (complete), `dim`, and `arrays`: `name` and `shape` of each |
//! | … | the arrays in that order, f32, row-major, without gaps |
//! | 32 | SHA-256 of everything before |
//!
//! The parameters say which arrays there must be and of which shapes; a file with others is refused.
//!
//! ```
//! use methods::contract::model;
//! use methods::{Context, Quantizer, parse_text};
//! use ndarray::Array2;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let rows = Array2::from_shape_fn((200, 8), |(i, j)| ((i * (j + 3)) % 17) as f32);
//! let context = Context::cpu(1);
//! let method = parse_text("SQ4")?;
//! let quantizer = method.fit(rows.view(), &context)?;
//! let file = model::write(&*method, &*quantizer);
//!
//! let again = model::read(&file, &context)?.quantizer;
//! let encode = |quantizer: &dyn Quantizer| {
//!     let mut codes = vec![0; rows.nrows() * quantizer.code_size()];
//!     quantizer.encode_into(rows.view(), &mut codes).map(|()| codes)
//! };
//! assert_eq!(encode(&*again)?, encode(&*quantizer)?);
//! assert!(model::read(&file[1..], &context).is_err());
//! # Ok(())
//! # }
//! ```

use crate::contract::state::{NamedArray, State, StateError};
use crate::{Context, Method, MethodError, ParamError, Quantizer, registry};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use thiserror::Error;

const MAGIC: &[u8; 8] = b"VQBMODEL";
const VERSION: u32 = 1;
const CHECKSUM: usize = 32;

/// Upper bound on the components of a vector; a larger number means that the file is damaged.
const MAX_DIM: usize = 1 << 24;

/// A trained quantizer with the parameters it was trained with.
pub struct Model {
    /// The parameters.
    pub method: Box<dyn Method>,
    /// The trained quantizer.
    pub quantizer: Box<dyn Quantizer>,
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Model({:?}, dim {})", self.method, self.quantizer.dim())
    }
}

/// Why a file is not a model.
#[derive(Debug, Error)]
pub enum ModelError {
    /// The file is not a model.
    #[error("this is not a vqbench model: it does not begin with `VQBMODEL`")]
    Foreign,
    /// The file was written by a later version.
    #[error("this model has layout {0}; this version of vqbench reads layout {VERSION}")]
    Version(u32),
    /// The file is shorter than its header states.
    #[error("this model is truncated: it has {found} bytes, and its header states {expected}")]
    Truncated {
        /// Bytes that the header states.
        expected: u64,
        /// Bytes found.
        found: u64,
    },
    /// The checksum does not match the content.
    #[error("this model is damaged: its checksum does not match its content")]
    Checksum,
    /// A header that cannot be read.
    #[error("the header of this model is malformed: {0}")]
    Header(String),
    /// A method or parameters that this version does not know.
    #[error("this model cannot be used here: {0}")]
    Param(#[from] ParamError),
    /// Arrays that do not fit the parameters.
    #[error("this model does not fit its own parameters: {0}")]
    State(#[from] StateError),
    /// A failure of the backend while restoring.
    #[error(transparent)]
    Method(#[from] MethodError),
}

#[derive(Serialize, Deserialize)]
struct Header {
    method: String,
    params: Value,
    dim: usize,
    arrays: Vec<ArrayHeader>,
}

#[derive(Serialize, Deserialize)]
struct ArrayHeader {
    name: String,
    shape: Vec<usize>,
}

/// The file of a trained quantizer.
pub fn write(method: &dyn Method, quantizer: &dyn Quantizer) -> Vec<u8> {
    let mut state = State::default();
    quantizer.save(&mut state);
    let arrays = state.arrays().map(|a| ArrayHeader { name: a.name.clone(), shape: a.shape.clone() }).collect();
    let header = Header { method: method.name().into(), params: method.params(), dim: quantizer.dim(), arrays };
    let header = match serde_json::to_vec(&header) {
        Ok(header) => header,
        Err(error) => unreachable!("names, numbers and a JSON value are JSON: {error}"),
    };
    let mut file = Vec::new();
    file.extend(MAGIC);
    file.extend(VERSION.to_le_bytes());
    file.extend((header.len() as u64).to_le_bytes());
    file.extend(&header);
    for array in state.arrays() {
        file.extend(array.values.iter().flat_map(|v| v.to_le_bytes()));
    }
    let checksum = Sha256::digest(&file);
    file.extend(checksum);
    file
}

/// Reads the file of a trained quantizer. Nothing in it is trusted: every length is checked before memory is allocated
/// for it.
///
/// # Errors
/// The file is not a model, is damaged, or has a method or parameters that this version does not know.
pub fn read(file: &[u8], cx: &Context) -> Result<Model, ModelError> {
    let found = file.len() as u64;
    let rest = file.strip_prefix(MAGIC).ok_or(ModelError::Foreign)?;
    let truncated = |expected: u64| ModelError::Truncated { expected, found };
    let smallest = (MAGIC.len() + 12 + CHECKSUM) as u64;
    let (version, rest) = rest.split_first_chunk::<4>().ok_or_else(|| truncated(smallest))?;
    match u32::from_le_bytes(*version) {
        VERSION => (),
        other => return Err(ModelError::Version(other)),
    }
    let (length, rest) = rest.split_first_chunk::<8>().ok_or_else(|| truncated(smallest))?;
    let length = u64::from_le_bytes(*length);
    let content = rest.len().checked_sub(CHECKSUM).ok_or_else(|| truncated(smallest))?;
    if length > content as u64 {
        return Err(truncated(smallest.saturating_add(length)));
    }
    let (covered, checksum) = file.split_at(file.len() - CHECKSUM);
    let intact = *Sha256::digest(covered) == *checksum;
    let (header, mut values) = rest[..content].split_at(length as usize);
    let header: Header = match serde_json::from_slice(header) {
        Ok(header) => header,
        // If the checksum is wrong too, damage is the more likely reason.
        Err(_) if !intact => return Err(ModelError::Checksum),
        Err(error) => return Err(ModelError::Header(error.to_string())),
    };
    let lengths: Option<Vec<usize>> = header
        .arrays
        .iter()
        .map(|array| array.shape.iter().try_fold(1usize, |n, &axis| n.checked_mul(axis))?.checked_mul(4))
        .collect();
    let lengths = lengths.and_then(|l| Some((l.iter().try_fold(0usize, |sum, &n| sum.checked_add(n))?, l)));
    let lengths = match (lengths, intact) {
        (Some((total, _)), _) if total > values.len() => {
            return Err(truncated(smallest.saturating_add(length).saturating_add(total as u64)));
        }
        (Some((total, lengths)), true) if total == values.len() => lengths,
        (_, true) => return Err(ModelError::Header("its arrays are not what the file holds".into())),
        (_, false) => return Err(ModelError::Checksum),
    };
    let mut arrays = Vec::with_capacity(header.arrays.len());
    for (array, length) in header.arrays.into_iter().zip(lengths) {
        let (bytes, after) = values.split_at(length);
        let (floats, _) = bytes.as_chunks::<4>();
        let values_here = floats.iter().map(|&v| f32::from_le_bytes(v)).collect();
        arrays.push(NamedArray { name: array.name, shape: array.shape, values: values_here });
        values = after;
    }
    if header.dim == 0 || header.dim > MAX_DIM {
        return Err(ModelError::Header(format!("vectors of {} components", header.dim)));
    }
    let method = registry::parse(&header.method, header.params)?;
    method.check(header.dim)?;
    let mut state = State::from_arrays(arrays);
    let quantizer = method.restore(header.dim, &mut state, cx)?;
    state.finish()?;
    Ok(Model { method, quantizer })
}
