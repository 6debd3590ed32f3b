//! Encoding and decoding of symbols on a device, packing and unpacking (`kernels/codes.cu`).

use crate::device::{Argument, Buffer, Device, Launch, launch};
use crate::{CudaError, DeviceRows};

const THREADS: u32 = 256;

/// Maximum number of blocks per multiprocessor for elementwise kernels.
const BLOCKS: usize = 16;

/// Number of symbols that a thread packs.
const EIGHT: usize = 8;

/// Maximum width of a symbol, in bits.
const MAX_BITS: u32 = 16;

/// `count` contiguous codes of `size` bytes.
#[derive(Clone, Copy, Debug)]
pub struct Codes<'a> {
    bytes: &'a Buffer<u8>,
    first: usize,
    count: usize,
    size: usize,
}

impl<'a> Codes<'a> {
    /// The codes of a whole buffer.
    ///
    /// # Panics
    /// If the buffer is not whole codes, or has 2^32 or more.
    pub fn all(bytes: &'a Buffer<u8>, size: usize) -> Codes<'a> {
        assert!(size > 0 && bytes.len().is_multiple_of(size), "whole codes of {size} bytes");
        let count = bytes.len() / size;
        assert!(
            u32::try_from(count).is_ok() && u32::try_from(8 * size).is_ok(),
            "fewer than 2^32 codes, and bits of each"
        );
        Codes { bytes, first: 0, count, size }
    }

    /// At most `count` codes, starting with code `from`.
    pub fn part(&self, from: usize, count: usize) -> Codes<'a> {
        let from = from.min(self.count);
        Codes { first: self.first + from * self.size, count: count.min(self.count - from), ..*self }
    }

    /// Number of codes.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Bytes per code.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The buffer that contains the codes.
    pub fn buffer(&self) -> &'a Buffer<u8> {
        self.bytes
    }

    pub(crate) fn start(&self) -> Argument {
        self.bytes.at(self.first)
    }

    pub(crate) fn n(&self) -> u32 {
        self.count as u32
    }
}

/// Bytes per code, for this number of symbols of this number of bits.
fn code_size(positions: usize, bits: u32) -> usize {
    let all = positions as u64 * u64::from(bits);
    assert!((1..=u64::from(u32::MAX)).contains(&all), "codes of 1 to 2^32 bits");
    all.div_ceil(8) as usize
}

/// A launch whose threads share this number of elements.
pub(crate) fn over(device: &Device, places: usize) -> Launch {
    Launch::of(places.div_ceil(THREADS as usize).min(BLOCKS * device.facts().multiprocessors as usize), THREADS)
}

/// Packs `n×positions` symbols of 1 to 16 bits: in order, least significant bit first, each code padded to a whole
/// byte. Bits of a symbol above its width are dropped.
///
/// # Errors
/// A device failure.
///
/// # Panics
/// If the width is not 1 to 16, or lengths do not match.
pub fn pack_symbols(
    symbols: &Buffer<u16>,
    (n, positions): (usize, usize),
    bits: u32,
    codes: &mut Buffer<u8>,
) -> Result<(), CudaError> {
    assert!((1..=MAX_BITS).contains(&bits) && u32::try_from(n).is_ok(), "1 to 16 bits, fewer than 2^32 codes");
    let size = code_size(positions, bits);
    assert!(symbols.len() >= n * positions && codes.len() >= n * size, "{positions} symbols and {size} bytes per code");
    let device = symbols.device();
    // SAFETY: the lengths of both buffers were just asserted.
    unsafe {
        launch!(device, pack_symbols, over(device, n * positions.div_ceil(EIGHT));
            symbols, n as u32, positions as u32, bits, &*codes)
    }
}

/// Unpacks the output of [`pack_symbols`]: `positions` symbols per code.
///
/// # Errors
/// A device failure.
///
/// # Panics
/// If the width is not 1 to 16, or lengths do not match.
pub fn unpack_symbols(
    codes: Codes<'_>,
    positions: usize,
    bits: u32,
    symbols: &mut Buffer<u16>,
) -> Result<(), CudaError> {
    assert!((1..=MAX_BITS).contains(&bits), "1 to 16 bits");
    assert!(codes.size() == code_size(positions, bits), "codes of {positions} symbols of {bits} bits");
    assert!(symbols.len() >= codes.count() * positions, "{positions} symbols per code");
    let device = codes.buffer().device();
    // SAFETY: the lengths of both buffers were just asserted.
    unsafe {
        launch!(device, unpack_symbols, over(device, codes.count() * positions.div_ceil(EIGHT));
            codes.start(), codes.n(), positions as u32, bits, &*symbols)
    }
}

/// A uniform grid for each component, on a device.
#[derive(Debug)]
pub struct UniformScalars {
    device: Device,
    offsets: Buffer<f32>,
    steps: Buffer<f32>,
    dim: usize,
    bits: u32,
}

impl UniformScalars {
    /// `2^bits` levels per component, starting at its offset, with its step; 1 to 8 bits.
    ///
    /// # Errors
    /// Out of device memory.
    ///
    /// # Panics
    /// If the number of bits is not 1 to 8, or there is not one step per offset.
    pub fn new(device: &Device, offsets: &[f32], steps: &[f32], bits: u32) -> Result<UniformScalars, CudaError> {
        assert!((1..=8).contains(&bits) && offsets.len() == steps.len(), "1 to 8 bits, a step per offset");
        code_size(offsets.len(), bits);
        let (dim, offsets, steps) = (offsets.len(), device.upload(offsets)?, device.upload(steps)?);
        Ok(UniformScalars { device: device.clone(), offsets, steps, dim, bits })
    }

    /// Bytes per code.
    pub fn code_size(&self) -> usize {
        code_size(self.dim, self.bits)
    }

    /// Writes `clamp(⌊(x_j − offset_j)/step_j + ½⌋, 0, 2^bits − 1)` for all components; `0/0` becomes 0.
    ///
    /// # Errors
    /// A device failure.
    ///
    /// # Panics
    /// If dimensions or lengths do not match.
    pub fn encode(&self, rows: DeviceRows<'_>, codes: &mut Buffer<u8>) -> Result<(), CudaError> {
        assert!(rows.dim() == self.dim && codes.len() >= rows.count() * self.code_size(), "a code per row");
        // SAFETY: there is a code for each row, and an offset and a step for each component.
        unsafe {
            launch!(self.device, encode_uniform, over(&self.device, rows.count() * self.dim.div_ceil(EIGHT));
                rows.start(), rows.stride(), rows.n(), self.dim as u32, &self.offsets, &self.steps, self.bits, &*codes)
        }
    }

    /// Writes `offset_j + step_j·code_j`, row by row.
    ///
    /// # Errors
    /// A device failure.
    ///
    /// # Panics
    /// If lengths do not match.
    pub fn decode(&self, codes: Codes<'_>, rows: &mut Buffer<f32>) -> Result<(), CudaError> {
        assert!(codes.size() == self.code_size() && rows.len() >= codes.count() * self.dim, "a row per code");
        // SAFETY: there is a row for each code, and an offset and a step for each component.
        unsafe {
            launch!(self.device, decode_uniform, over(&self.device, codes.count() * self.dim.div_ceil(EIGHT));
                codes.start(), codes.n(), self.dim as u32, &self.offsets, &self.steps, self.bits, &*rows)
        }
    }
}

/// Levels separated by thresholds, on a device: the digit of a component is the number of its thresholds that are at
/// most `x`; the symbol of `width` components is `Σ_j digit_j·Π_{i<j} L_i`.
#[derive(Debug)]
pub struct LevelScalars {
    device: Device,
    /// Offsets of the values of each component, and the total number of values.
    first: Buffer<u32>,
    thresholds: Buffer<f32>,
    values: Buffer<f32>,
    lists: usize,
    width: usize,
    positions: usize,
    alphabet: usize,
}

impl LevelScalars {
    /// `positions` symbols of `width` components each. Component `j` uses list `j` modulo the number of lists, which is
    /// a multiple of `width`. Each list has one threshold fewer than values.
    ///
    /// # Errors
    /// Out of device memory.
    ///
    /// # Panics
    /// If counts do not match, a component has no value, symbols differ in their alphabet, or an alphabet is larger
    /// than 2^16.
    pub fn new(
        device: &Device,
        thresholds: &[Vec<f32>],
        values: &[Vec<f32>],
        width: usize,
        positions: usize,
    ) -> Result<LevelScalars, CudaError> {
        let fit = |(thresholds, values): (&Vec<f32>, &Vec<f32>)| thresholds.len() + 1 == values.len();
        assert!(
            thresholds.len() == values.len() && thresholds.iter().zip(values).all(fit),
            "a threshold between values"
        );
        assert!(width > 0 && positions > 0 && !values.is_empty(), "symbols of components");
        assert!(
            values.len().is_multiple_of(width) && (width * positions).is_multiple_of(values.len()),
            "whole symbols"
        );
        let of = |values: &[Vec<f32>]| values.iter().try_fold(1usize, |all, values| all.checked_mul(values.len()));
        let alphabet = of(&values[..width]).filter(|&alphabet| (1..=1 << MAX_BITS).contains(&alphabet)).unwrap_or(0);
        assert!(alphabet > 0 && values.chunks(width).all(|v| of(v) == Some(alphabet)), "one alphabet of up to 2^16");
        code_size(positions, symbol_bits(alphabet));
        let ends = values.iter().scan(0, |end, values| {
            *end += values.len() as u32;
            Some(*end)
        });
        let first: Vec<u32> = std::iter::once(0).chain(ends).collect();
        Ok(LevelScalars {
            device: device.clone(),
            first: device.upload(&first)?,
            thresholds: device.upload(&thresholds.concat())?,
            values: device.upload(&values.concat())?,
            lists: values.len(),
            width,
            positions,
            alphabet,
        })
    }

    /// Components per row.
    pub fn dim(&self) -> usize {
        self.positions * self.width
    }

    /// Bytes per code.
    pub fn code_size(&self) -> usize {
        code_size(self.positions, symbol_bits(self.alphabet))
    }

    /// Writes the code of each row; NaN gets the first level.
    ///
    /// # Errors
    /// A device failure.
    ///
    /// # Panics
    /// If dimensions or lengths do not match.
    pub fn encode(&self, rows: DeviceRows<'_>, codes: &mut Buffer<u8>) -> Result<(), CudaError> {
        assert!(rows.dim() == self.dim() && codes.len() >= rows.count() * self.code_size(), "a code per row");
        // SAFETY: there is a code for each row, and `first` has the offsets of the thresholds.
        unsafe {
            launch!(self.device, encode_levels, over(&self.device, rows.count() * self.positions.div_ceil(EIGHT));
                rows.start(), rows.stride(), rows.n(), self.positions as u32, self.width as u32, self.lists as u32, &self.first,
                &self.thresholds, symbol_bits(self.alphabet), &*codes)
        }
    }

    /// Writes the values of the digits, row by row. Returns the number of symbols outside the alphabet; their
    /// components are NaN.
    ///
    /// # Errors
    /// A device failure.
    ///
    /// # Panics
    /// If lengths do not match.
    pub fn decode(&self, codes: Codes<'_>, rows: &mut Buffer<f32>) -> Result<usize, CudaError> {
        assert!(codes.size() == self.code_size() && rows.len() >= codes.count() * self.dim(), "a row per code");
        let strangers = self.device.filled::<u32>(1, 0)?;
        // SAFETY: there is a row for each code, and `first` has the offsets of the values.
        unsafe {
            launch!(self.device, decode_levels, over(&self.device, codes.count() * self.positions);
                codes.start(), codes.n(), self.positions as u32, self.width as u32, self.lists as u32, &self.first, &self.values,
                self.alphabet as u32, symbol_bits(self.alphabet), &*rows, &strangers)?;
        }
        // If the alphabet is a power of two, every bit pattern is a symbol.
        if self.alphabet.is_power_of_two() && self.alphabet > 1 {
            return Ok(0);
        }
        Ok(strangers.download()?[0] as usize)
    }
}

/// Number of bits of a symbol from an alphabet of this size.
fn symbol_bits(alphabet: usize) -> u32 {
    alphabet.next_power_of_two().trailing_zeros().max(1)
}

/// Codebooks on a device, for decoding.
#[derive(Debug)]
pub struct DeviceCodebooks {
    device: Device,
    all: Buffer<f32>,
    m: usize,
    k: usize,
    size: usize,
}

impl DeviceCodebooks {
    /// Codebooks of shape `k×size`, one per symbol of a code.
    ///
    /// # Errors
    /// Out of device memory.
    ///
    /// # Panics
    /// If there is no codebook, or the codebooks are not whole and of one length.
    pub fn new(device: &Device, codebooks: &[&[f32]], size: usize) -> Result<DeviceCodebooks, CudaError> {
        assert!(!codebooks.is_empty() && size > 0, "codebooks of codewords");
        let k = codebooks[0].len() / size;
        assert!(k > 0 && codebooks.iter().all(|book| book.len() == k * size), "codebooks of one shape");
        assert!(
            u32::try_from(codebooks.len() * size).is_ok() && u32::try_from(k).is_ok(),
            "fewer than 2^32 components"
        );
        let all = device.upload(&codebooks.concat())?;
        Ok(DeviceCodebooks { device: device.clone(), all, m: codebooks.len(), k, size })
    }

    /// Writes the concatenated codewords of `n` codes, one symbol per codebook, row by row. Returns the number of
    /// symbols that are not the index of a codeword; their components are NaN.
    ///
    /// # Errors
    /// A device failure.
    ///
    /// # Panics
    /// If lengths do not match.
    pub fn decode_groups(&self, symbols: &Buffer<u16>, n: usize, rows: &mut Buffer<f32>) -> Result<usize, CudaError> {
        let kernels = ["select_codewords_by_1", "select_codewords_by_2", "select_codewords_by_4"];
        self.decode(kernels, symbols, n, self.m * self.size, rows)
    }

    /// Writes the sums of the codewords of `n` codes, one symbol per codebook, row by row. Returns the number of
    /// symbols that are not the index of a codeword; their rows are NaN.
    ///
    /// # Errors
    /// A device failure.
    ///
    /// # Panics
    /// If lengths do not match.
    pub fn decode_sums(&self, symbols: &Buffer<u16>, n: usize, rows: &mut Buffer<f32>) -> Result<usize, CudaError> {
        let kernels = ["sum_codewords_by_1", "sum_codewords_by_2", "sum_codewords_by_4"];
        self.decode(kernels, symbols, n, self.size, rows)
    }

    fn decode(
        &self,
        kernels: [&str; 3],
        symbols: &Buffer<u16>,
        n: usize,
        dim: usize,
        rows: &mut Buffer<f32>,
    ) -> Result<usize, CudaError> {
        assert!(u32::try_from(n).is_ok() && symbols.len() >= n * self.m, "a symbol per code and codebook");
        assert!(rows.len() >= n * dim, "a row of {dim} per code");
        let (kernel, values) = match self.size {
            size if size.is_multiple_of(4) => (kernels[2], 4),
            size if size.is_multiple_of(2) => (kernels[1], 2),
            _ => (kernels[0], 1),
        };
        let strangers = self.device.filled::<u32>(1, 0)?;
        let arguments = [
            Argument::from(symbols),
            Argument::from(n as u32),
            Argument::from(self.m as u32),
            Argument::from(&self.all),
            Argument::from(self.k as u32),
            Argument::from(self.size as u32),
            Argument::from(&*rows),
            Argument::from(&strangers),
        ];
        // SAFETY: there are symbols and a row for each code; symbols that are not the index of a codeword are not read
        // from the codebook.
        unsafe { self.device.launch(kernel, over(&self.device, n * (dim / values)), &arguments)? };
        Ok(strangers.download()?[0] as usize)
    }
}
