//! Search over codes that an NVIDIA device holds.

use super::{BitQuery, BitScan, CodeLayout, CudaBackend, TableScan};
use crate::{MethodError, Neighbor};
use cpu::ScanTables;
use cuda::{Buffer, Codes};

/// Maximum number of queries whose tables are on the device at a time.
const QUERIES: usize = 256;

/// Codes on a device that are searched by tables.
pub(super) struct CudaTableScan<'a> {
    pub(super) backend: CudaBackend,
    pub(super) codes: Buffer<u8>,
    pub(super) layout: CodeLayout,
    /// For more neighbours than the device selects.
    pub(super) on_host: Box<dyn TableScan + 'a>,
}

impl TableScan for CudaTableScan<'_> {
    fn top_k(&self, tables: &[ScanTables], k: usize) -> Result<Vec<Vec<Neighbor>>, MethodError> {
        if !(1..=cuda::MAX_K).contains(&k) {
            return self.on_host.top_k(tables, k);
        }
        let mut all = Vec::with_capacity(tables.len());
        for tables in tables.chunks(QUERIES) {
            let CodeLayout { width, positions, .. } = self.layout;
            let entries: Vec<f32> = tables.iter().flat_map(|tables| tables.entries().iter().copied()).collect();
            let codes = Codes::all(&self.codes, self.layout.bytes());
            let found = cuda::scan_tables(codes, width, positions, &entries, k);
            let found = found.map_err(self.backend.failed("table_scan"))?;
            all.extend(found.into_iter().zip(tables).map(|(found, tables)| {
                let neighbor = |n: cuda::SelectedRow<f32>| Neighbor { score: n.score, id: n.id };
                let mut found: Vec<Neighbor> = found.into_iter().map(neighbor).collect();
                cpu::add_to_scores(tables.constant(), &mut found);
                found
            }));
        }
        Ok(all)
    }

    /// The device holds the codes themselves.
    fn bytes(&self) -> usize {
        self.on_host.bytes()
    }
}

/// Codes on a device that are compared by their bits.
pub(super) struct CudaBitScan<'a> {
    pub(super) backend: CudaBackend,
    pub(super) codes: Buffer<u8>,
    pub(super) size: usize,
    /// For more neighbours than the device selects.
    pub(super) on_host: Box<dyn BitScan + 'a>,
}

impl BitScan for CudaBitScan<'_> {
    fn top_k(&self, queries: &[BitQuery], k: usize) -> Result<Vec<Vec<Neighbor>>, MethodError> {
        if !(1..=cuda::MAX_K).contains(&k) {
            return self.on_host.top_k(queries, k);
        }
        let codes: Vec<u8> = queries.iter().flat_map(|query| query.code.iter().copied()).collect();
        let found = cuda::scan_hamming(Codes::all(&self.codes, self.size), &codes, k);
        let found = found.map_err(self.backend.failed("bit_scan"))?;
        let of_query = |(found, query): (Vec<cuda::SelectedRow<u32>>, &BitQuery)| -> Vec<Neighbor> {
            let scored =
                |n: cuda::SelectedRow<u32>| Neighbor { score: query.offset + query.slope * n.score as f32, id: n.id };
            found.into_iter().map(scored).collect()
        };
        Ok(found.into_iter().zip(queries).map(of_query).collect())
    }
}
