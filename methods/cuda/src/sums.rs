//! Searches over sums of codewords by tables (`kernels/sums.cu`).

use crate::assign::Centred;
use crate::codes::over;
use crate::device::{Buffer, Device, Launch, launch};
use crate::products::{Terms, products};
use crate::{CudaError, DeviceRows};

const THREADS: u32 = 128;

/// Bytes of shared memory for reductions in a block.
const ROOM: usize = 8 * 32;

/// Maximum bytes of shared memory for the partial codes of a beam, and for these together with its scores.
const KEPT_BYTES: usize = 32 << 10;
const BEAM_BYTES: usize = 64 << 10;

/// Maximum number of rows searched at a time.
const AT_ONCE: usize = 1 << 16;

/// Codebooks on a device, prepared for searches over their sums.
#[derive(Debug)]
pub struct DeviceSumTables {
    device: Device,
    m: usize,
    k: usize,
    /// Sum of the means of the codebooks.
    center: Buffer<f32>,
    /// Codewords minus the mean of their codebook, `m·k` of them, and their `‖c‖²`.
    centred: Buffer<f32>,
    norms: Buffer<f32>,
    /// `2·c·c'`, one slab of `k×k` per pair of codebooks.
    pairs: Buffer<f32>,
    whole: bool,
    /// The original codewords, for local search.
    codewords: Option<Buffer<f32>>,
}

impl DeviceSumTables {
    /// Prepares `m` contiguous codebooks of codewords of `dim` components. Local search needs `whole` tables.
    ///
    /// # Errors
    /// Out of device memory.
    ///
    /// # Panics
    /// If lengths do not match, or a symbol would not fit into 16 bits.
    pub fn new(
        device: &Device,
        codebooks: &[f32],
        m: usize,
        dim: usize,
        whole: bool,
    ) -> Result<DeviceSumTables, CudaError> {
        assert!(m > 0 && dim > 0 && codebooks.len().is_multiple_of(m * dim), "m codebooks of whole codewords");
        let k = codebooks.len() / (m * dim);
        assert!((1..=1 << 16).contains(&k), "1 to 65536 codewords per codebook");
        let mut center = vec![0f32; dim];
        let (mut centred, mut norms) = (Vec::with_capacity(codebooks.len()), Vec::with_capacity(m * k));
        for codebook in codebooks.chunks_exact(k * dim) {
            let codebook = Centred::new(codebook, dim);
            center.iter_mut().zip(&codebook.mean).for_each(|(c, m)| *c += m);
            centred.extend(codebook.codewords);
            norms.extend(codebook.half_norms.iter().map(|half| 2.0 * half));
        }
        let slabs = if whole { m * m } else { m * (m - 1) / 2 };
        let mut pairs = device.room(slabs * k * k)?;
        let mut slab = device.room(k * k)?;
        let all = device.upload(&centred)?;
        for i in 0..m {
            let over = device.upload(&centred[i * k * dim..][..k * dim])?;
            for j in (0..if whole { m } else { i }).filter(|&j| j != i) {
                let at = if whole { i * m + j } else { i * (i - 1) / 2 + j };
                products(DeviceRows::all(&all, dim).part(j * k, k), &over, 2.0, Terms::default(), &mut slab)?;
                pairs.copy_from(at * k * k, &slab)?;
            }
        }
        let (center, norms) = (device.upload(&center)?, device.upload(&norms)?);
        let codewords = if whole { Some(device.upload(codebooks)?) } else { None };
        Ok(DeviceSumTables { device: device.clone(), m, k, center, centred: all, norms, pairs, whole, codewords })
    }

    /// Number of rows at a time, from the bytes that each needs.
    fn at_once(&self, bytes_per_row: usize) -> Result<usize, CudaError> {
        Ok(((self.device.spare_bytes()? / 2) as usize / bytes_per_row.max(1)).clamp(1, AT_ONCE))
    }

    /// The table `u` of rows: `m·k` values per row.
    fn unary(&self, rows: DeviceRows<'_>, out: &mut Buffer<f32>) -> Result<(), CudaError> {
        let terms = Terms { mean: Some(&self.center), bias: Some(&self.norms) };
        products(rows, &self.centred, -2.0, terms, out)
    }

    /// The best code that a beam search finds for each row, `m` symbols per row.
    ///
    /// # Errors
    /// A device failure.
    ///
    /// # Panics
    /// If lengths do not match, or `beam` is 0.
    pub fn beam(&self, rows: DeviceRows<'_>, beam: usize, codes: &mut [u16]) -> Result<(), CudaError> {
        assert!(codes.len() == rows.count() * self.m, "a code per row");
        let found = self.device.room::<u16>(codes.len())?;
        self.beam_to(rows, beam, &found)?;
        found.read(0, codes)
    }

    fn beam_to(&self, rows: DeviceRows<'_>, beam: usize, found: &Buffer<u16>) -> Result<(), CudaError> {
        let (m, k) = (self.m, self.k);
        assert!(beam > 0 && found.len() >= rows.count() * m, "a beam, a code per row");
        let kept = (beam * m * 4).next_multiple_of(8) + 8 * beam;
        let scores = 4 * beam * k;
        let far = kept > KEPT_BYTES;
        let in_shared = !far && kept + scores <= BEAM_BYTES;
        let per_block = beam * k + if far { beam * (m + 2) } else { 0 };
        let at_once = self.at_once(4 * m * k)?;
        let blocks = self.device.facts().multiprocessors as usize * 16;
        let scratch = match in_shared {
            true => None,
            false => Some(self.device.room::<f32>(blocks * per_block)?),
        };
        let mut unary = self.device.room(at_once.min(rows.count()) * m * k)?;
        for from in (0..rows.count()).step_by(at_once) {
            let rows = rows.part(from, at_once);
            self.unary(rows, &mut unary)?;
            let blocks = if in_shared { rows.count() } else { rows.count().min(blocks) };
            let shared = ROOM + if far { 0 } else { kept } + if in_shared { scores } else { 0 };
            let launch = Launch::of(blocks, THREADS).shared(shared);
            // SAFETY: tables and rows have the lengths that the kernel reads, and each block has its scratch memory.
            unsafe {
                launch!(self.device, search_beam, launch;
                    &unary, &self.pairs, rows.n(), m as u32, k as u32, beam as u32, u32::from(self.whole),
                    scratch.as_ref(), u32::from(far), found.at(from * m))?;
            }
        }
        Ok(())
    }

    /// Improves codes by `rounds` of iterated local search. Each round replaces `thrown` symbols at random and sweeps
    /// over all symbols at most `sweeps` times. No code becomes worse.
    ///
    /// # Errors
    /// A device failure.
    ///
    /// # Panics
    /// If lengths do not match, a symbol is not the index of a codeword, or the tables are not whole.
    pub fn improve(
        &self,
        rows: DeviceRows<'_>,
        how: (usize, usize, usize),
        seed: u64,
        codes: &mut [u16],
    ) -> Result<(), CudaError> {
        assert!(codes.len() == rows.count() * self.m, "a code per row");
        assert!(codes.iter().all(|&c| usize::from(c) < self.k), "symbols name codewords");
        let found = self.device.upload(codes)?;
        self.improve_on(rows, how, seed, &found)?;
        found.read(0, codes)
    }

    /// As [`DeviceSumTables::improve`], in place on the device. All symbols in `found` must be indices of codewords.
    fn improve_on(
        &self,
        rows: DeviceRows<'_>,
        (rounds, sweeps, thrown): (usize, usize, usize),
        seed: u64,
        found: &Buffer<u16>,
    ) -> Result<(), CudaError> {
        let (m, k) = (self.m, self.k);
        assert!(self.whole && found.len() >= rows.count() * m, "whole tables, a code per row");
        let at_once = self.at_once(4 * m * k)?;
        let mut unary = self.device.room(at_once.min(rows.count()) * m * k)?;
        for from in (0..rows.count()).step_by(at_once) {
            let rows = rows.part(from, at_once);
            self.unary(rows, &mut unary)?;
            let launch =
                Launch::of(rows.count(), THREADS).shared(8 * THREADS as usize + ROOM + (4 * m).next_multiple_of(8));
            // SAFETY: tables and rows have the lengths that the kernel reads; symbols are indices of codewords.
            unsafe {
                launch!(self.device, search_locally, launch;
                    &unary, &self.pairs, rows.n(), m as u32, k as u32, rounds as u32, sweeps as u32, thrown as u32, seed,
                    found.at(from * m))?;
            }
        }
        Ok(())
    }

    /// The codes of [`DeviceSumTables::beam`], improved as by [`DeviceSumTables::improve`] with the settings and the seed in
    /// `local`, if any. An improved code is kept only if its error, computed by a plain sum, is not larger. `m` symbols
    /// per row, which stay on the device.
    ///
    /// # Errors
    /// A device failure.
    ///
    /// # Panics
    /// If `beam` is 0, or there is a local search and the tables are not whole.
    pub fn search(
        &self,
        rows: DeviceRows<'_>,
        beam: usize,
        local: Option<((usize, usize, usize), u64)>,
    ) -> Result<Buffer<u16>, CudaError> {
        let found = self.device.room::<u16>(rows.count() * self.m)?;
        self.beam_to(rows, beam, &found)?;
        if let (Some((how, seed)), Some(codewords)) = (local, &self.codewords) {
            let mut before = self.device.room::<u16>(found.len())?;
            before.copy_from(0, &found)?;
            self.improve_on(rows, how, seed, &found)?;
            // SAFETY: there are codes for each row, and their symbols are indices of codewords.
            unsafe {
                launch!(self.device, keep_nearer_sums, over(&self.device, rows.count());
                    rows.start(), rows.stride(), rows.n(), rows.dim() as u32, codewords, self.m as u32, self.k as u32,
                    &before, &found)?;
            }
        }
        Ok(found)
    }
}
