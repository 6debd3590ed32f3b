//! Encoding, decoding and maps of rows on an NVIDIA device: prepared once and used many times.

use super::cpu_codes::Logits;
use super::cpu_sums::{SWEEPS, THROWN};
use super::cuda_backend::CudaBackend;
use super::{
    Backend, CodeDecoder, CodeRoom, DeviceCodes, DeviceMatrix, Join, MatrixRoom, RowEncoder, RowMap, RowScale,
    SumCoding, SumSearch,
};
use crate::MethodError;
use crate::algorithms::codebooks::check_symbols;
use crate::algorithms::pack::SymbolLayout;
use cuda::{Buffer, DeviceCodebooks, DeviceSumTables, GroupCodebooks, LevelScalars, Terms, UniformScalars};

/// Finds the symbol outside its alphabet that a kernel reported, and returns the same error as the CPU.
fn stranger(codes: &[u8], size: usize, layout: &SymbolLayout, alphabet: usize) -> MethodError {
    let mut symbols = vec![0u16; layout.positions()];
    let mut each = codes.chunks_exact(size);
    let found = each.try_for_each(|code| {
        layout.unpack(code, &mut symbols)?;
        check_symbols(&symbols, alphabet)
    });
    found.err().unwrap_or_else(|| MethodError::Broken("the device met a symbol that no code holds".into()))
}

/// DeviceCodebooks, or linear maps, of groups of components on a device.
pub(super) struct CudaGroups {
    pub(super) backend: CudaBackend,
    pub(super) books: GroupCodebooks,
    pub(super) m: usize,
    pub(super) bits: u8,
}

impl RowEncoder for CudaGroups {
    fn encode(&self, rows: &DeviceMatrix<'_>, codes: &mut CodeRoom<'_>) -> Result<(), MethodError> {
        let (rows, codes) = (self.backend.rows(rows), self.backend.code_place(codes));
        let mut encode = || {
            let mut symbols = self.backend.device().room(rows.count() * self.m)?;
            self.books.nearest(rows, &mut symbols)?;
            cuda::pack_symbols(&symbols, (rows.count(), self.m), self.bits.into(), codes)
        };
        encode().map_err(self.backend.failed("group_search"))
    }
}

/// Linear maps of groups of components that no device kernel supports.
pub(super) struct CudaLogitsOnHost {
    pub(super) backend: CudaBackend,
    pub(super) reference: Logits,
}

impl RowEncoder for CudaLogitsOnHost {
    fn encode(&self, rows: &DeviceMatrix<'_>, codes: &mut CodeRoom<'_>) -> Result<(), MethodError> {
        let rows = self.backend.download(rows)?;
        let size = codes.size();
        self.backend.fill_codes(codes, &mut |codes| {
            let rows = rows.as_standard_layout();
            let values = rows.as_slice().unwrap_or(&[]);
            let rows = DeviceMatrix::borrowed(values, rows.nrows(), rows.ncols());
            self.reference.encode(&rows, &mut CodeRoom::borrowed(codes, size))
        })
    }
}

/// DeviceCodebooks for decoding, on a device.
pub(super) struct CudaCodewords {
    pub(super) backend: CudaBackend,
    pub(super) books: DeviceCodebooks,
    pub(super) m: usize,
    pub(super) codewords: usize,
    pub(super) bits: u8,
    pub(super) join: Join,
}

impl CodeDecoder for CudaCodewords {
    fn decode(&self, codes: &DeviceCodes<'_>, rows: &mut MatrixRoom<'_>) -> Result<(), MethodError> {
        let (on_device, n, rows) = (self.backend.codes(codes), codes.count(), self.backend.place(rows));
        let mut decode = || {
            let mut symbols = self.backend.device().room(n * self.m)?;
            cuda::unpack_symbols(on_device, self.m, self.bits.into(), &mut symbols)?;
            match self.join {
                Join::Beside => self.books.decode_groups(&symbols, n, rows),
                Join::Added => self.books.decode_sums(&symbols, n, rows),
            }
        };
        match decode().map_err(self.backend.failed("codewords"))? {
            0 => Ok(()),
            _ => {
                let layout = SymbolLayout::uniform(self.m, self.bits);
                Err(stranger(&self.backend.download_codes(codes)?, codes.size(), &layout, self.codewords))
            }
        }
    }
}

/// A uniform grid on a device.
pub(super) struct CudaUniform {
    pub(super) backend: CudaBackend,
    pub(super) scalars: UniformScalars,
}

impl RowEncoder for CudaUniform {
    fn encode(&self, rows: &DeviceMatrix<'_>, codes: &mut CodeRoom<'_>) -> Result<(), MethodError> {
        let encoded = self.scalars.encode(self.backend.rows(rows), self.backend.code_place(codes));
        encoded.map_err(self.backend.failed("uniform"))
    }
}

impl CodeDecoder for CudaUniform {
    fn decode(&self, codes: &DeviceCodes<'_>, rows: &mut MatrixRoom<'_>) -> Result<(), MethodError> {
        let decoded = self.scalars.decode(self.backend.codes(codes), self.backend.place(rows));
        decoded.map_err(self.backend.failed("uniform"))
    }
}

/// Levels that are separated by thresholds, on a device.
pub(super) struct CudaLevels {
    pub(super) backend: CudaBackend,
    pub(super) scalars: LevelScalars,
    pub(super) positions: usize,
    pub(super) alphabet: usize,
}

impl RowEncoder for CudaLevels {
    fn encode(&self, rows: &DeviceMatrix<'_>, codes: &mut CodeRoom<'_>) -> Result<(), MethodError> {
        let encoded = self.scalars.encode(self.backend.rows(rows), self.backend.code_place(codes));
        encoded.map_err(self.backend.failed("levels"))
    }
}

impl CodeDecoder for CudaLevels {
    fn decode(&self, codes: &DeviceCodes<'_>, rows: &mut MatrixRoom<'_>) -> Result<(), MethodError> {
        let decoded = self.scalars.decode(self.backend.codes(codes), self.backend.place(rows));
        match decoded.map_err(self.backend.failed("levels"))? {
            0 => Ok(()),
            _ => {
                let bits = crate::algorithms::codebooks::symbol_bits(self.alphabet);
                let layout = SymbolLayout::uniform(self.positions, bits);
                Err(stranger(&self.backend.download_codes(codes)?, codes.size(), &layout, self.alphabet))
            }
        }
    }
}

/// `x·A` on a device.
pub(super) struct CudaProduct {
    pub(super) backend: CudaBackend,
    /// The columns of `A`, contiguous.
    pub(super) others: Buffer<f32>,
    pub(super) outputs: usize,
}

impl RowMap for CudaProduct {
    fn outputs(&self) -> usize {
        self.outputs
    }

    fn apply(&self, rows: &DeviceMatrix<'_>, images: &mut MatrixRoom<'_>) -> Result<(), MethodError> {
        let (rows, images) = (self.backend.rows(rows), self.backend.place(images));
        cuda::products(rows, &self.others, 1.0, Terms::default(), images).map_err(self.backend.failed("product"))
    }
}

/// A centre and a factor on a device.
pub(super) struct CudaScale {
    pub(super) backend: CudaBackend,
    pub(super) centre: Buffer<f32>,
    pub(super) factor: f32,
    pub(super) back: f32,
}

impl RowScale for CudaScale {
    fn forward(&self, rows: &DeviceMatrix<'_>) -> Result<DeviceMatrix<'static>, MethodError> {
        let (n, dim) = (rows.nrows(), rows.ncols());
        let mut out = self.backend.room(n, dim)?;
        let rows = self.backend.rows(rows);
        let scaled = cuda::standardize(rows, Some(&self.centre), self.factor, self.backend.place(&mut out));
        scaled.map_err(self.backend.failed("scale"))?;
        Ok(out.into_matrix())
    }

    fn back(&self, rows: &mut MatrixRoom<'_>) -> Result<(), MethodError> {
        let n = rows.nrows();
        let scaled = cuda::unstandardize(self.backend.place(rows), n, &self.centre, self.back);
        scaled.map_err(self.backend.failed("scale"))
    }
}

/// A network on a device.
pub(super) struct CudaNetwork {
    pub(super) backend: CudaBackend,
    pub(super) network: cuda::DeviceNetwork,
}

impl RowMap for CudaNetwork {
    fn outputs(&self) -> usize {
        self.network.dim().1
    }

    fn bytes_per_row(&self) -> usize {
        self.network.bytes_per_row()
    }

    fn apply(&self, rows: &DeviceMatrix<'_>, images: &mut MatrixRoom<'_>) -> Result<(), MethodError> {
        let applied = self.network.apply(self.backend.rows(rows), self.backend.place(images));
        applied.map_err(self.backend.failed("network"))
    }
}

/// Searches over sums of codewords on a device.
pub(super) struct CudaSums {
    pub(super) backend: CudaBackend,
    pub(super) tables: DeviceSumTables,
    pub(super) m: usize,
}

impl SumSearch for CudaSums {
    fn beam(&self, rows: &DeviceMatrix<'_>, beam: usize, codes: &mut [u16]) -> Result<(), MethodError> {
        self.tables.beam(self.backend.rows(rows), beam, codes).map_err(self.backend.failed("sum_search"))
    }

    fn improve(&self, rows: &DeviceMatrix<'_>, rounds: usize, seed: u64, codes: &mut [u16]) -> Result<(), MethodError> {
        let improved = self.tables.improve(self.backend.rows(rows), (rounds, SWEEPS, THROWN), seed, codes);
        improved.map_err(self.backend.failed("sum_search"))
    }

    fn encode(&self, rows: &DeviceMatrix<'_>, how: SumCoding, codes: &mut CodeRoom<'_>) -> Result<(), MethodError> {
        let (rows, codes) = (self.backend.rows(rows), self.backend.code_place(codes));
        let local = how.local.map(|(rounds, seed)| ((rounds, SWEEPS, THROWN), seed));
        let mut encode = || {
            let symbols = self.tables.search(rows, how.beam, local)?;
            cuda::pack_symbols(&symbols, (rows.count(), self.m), how.bits.into(), codes)
        };
        encode().map_err(self.backend.failed("sum_search"))
    }
}
