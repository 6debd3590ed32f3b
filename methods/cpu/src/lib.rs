//! CPU kernels: the few inner loops that every quantizer, metric and ground truth of the workspace spends its time in.
//!
//! A kernel is one generic body over registers of f32, instantiated once per instruction set ([`Isa`]) and entered
//! through one run-time dispatch per batch of rows. Where bytes do more per instruction than f32, a first pass over bytes with a bound
//! on its error leaves out what cannot win, and f32 decides the rest (`nearest`, `table_scan`).

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[macro_use]
mod operations;

mod adam;
mod additive;
mod aligned;
mod cells;
mod code_block;
mod codeword_sums;
mod columns;
mod dispatch;
mod distance;
mod eigen;
mod elementary;
mod factor;
mod hamming;
mod isa;
mod lanes;
mod lookup;
mod nearest;
mod nibble_scan;
#[cfg(target_arch = "x86_64")]
mod nibble_scan_avx2;
#[cfg(target_arch = "x86_64")]
mod nibble_scan_avx512;
mod pack;
mod paired_scan;
mod panels;
pub mod peak;
mod product;
mod range;
mod select;
mod shortlist;
mod sieve;
#[cfg(target_arch = "aarch64")]
mod sieve_neon;
#[cfg(target_arch = "x86_64")]
mod sieve_vnni;
mod table_kernels;
mod table_scan;
#[cfg(target_arch = "x86_64")]
mod table_scan_avx2;
#[cfg(target_arch = "x86_64")]
mod table_scan_avx512;
#[cfg(target_arch = "x86_64")]
mod table_scan_bytes_avx2;
#[cfg(target_arch = "x86_64")]
mod table_scan_bytes_avx512;
#[cfg(target_arch = "aarch64")]
mod table_scan_neon;
#[cfg(target_arch = "x86_64")]
mod table_scan_vbmi;
mod thresholds;
mod topk;
mod tridiagonal;
mod uniform;
#[cfg(target_arch = "x86_64")]
mod wide;

pub use adam::AdamStep;
pub use additive::{BeamScratch, MAX_DESCENT, SumTables, least_few};
pub use cells::cell_sums;
pub use code_block::CodeBlock;
pub use codeword_sums::sum_codewords;
pub use columns::{negated_products_with_columns, squared_distances_to_columns, tables_of_parts};
pub use distance::{negated_products, squared_distance, squared_distances};
pub use eigen::{Eigen, symmetric_eigen, symmetric_eigenvalues};
pub use elementary::{exp, ln};
pub use factor::{Entries, Factor, row_times_matrix};
pub use hamming::hamming;
pub use isa::Isa;
pub use lookup::{add_entries, scan_byte_tables, scan_tables};
pub use nearest::Nearest;
pub use pack::{pack_bytes, unpack_bytes};
pub use panels::{Panels, Score};
pub use product::{LeftFactor, Onto, RightFactor};
pub use range::{LARGEST_NORM, LEAST_DIFFERENCE, OutOfRange, check_range, rows_of_range_check};
pub use select::select_codewords;
pub use shortlist::Shortlist;
pub use table_scan::{ScanTables, SteppedTables, SymbolWidth, pairs_of_nibbles};
pub use thresholds::Thresholds;
pub use topk::{Neighbor, TopK, add_to_scores};
pub use uniform::{decode_uniform_bytes, encode_uniform_bytes};
