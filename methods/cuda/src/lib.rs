//! CUDA kernels: the operations of the CPU kernels, on the device that is present at run time.
//!
//! The driver and the compiler are located when a device is opened, so that one binary runs everywhere and reports what
//! is missing. Kernels are source text (`kernels/`), compiled for the device and cached on disk. The same source is
//! compiled as C++ with a thin emulation of the thread grid ([`emulator`]), so that kernels and their host code are
//! tested on machines without a GPU.

mod assign;
mod cells;
mod codes;
mod device;
mod driver;
pub mod emulator;
mod error;
mod exact;
mod groups;
mod hamming;
mod kmeans;
mod network;
mod nvidia;
mod nvrtc;
mod peak;
mod products;
mod program;
pub mod proofs;
mod random;
mod rows;
mod scan;
mod select;
mod sums;
mod toolkit;

pub use assign::{AssignPass, Codewords, Undecided};
pub use cells::{CountedSums, cell_sums};
pub use codes::{Codes, DeviceCodebooks, LevelScalars, UniformScalars, pack_symbols, unpack_symbols};
pub use cpu::SymbolWidth;
pub use device::{Buffer, Device, Traffic, Value};
pub use driver::Facts;
pub use error::CudaError;
pub use exact::{Base, MAX_DIM, Proximity};
pub use groups::GroupCodebooks;
pub use hamming::scan_hamming;
pub use kmeans::{rows_at, spread_rows, total};
pub use network::{DeviceAffineMap, DeviceLayer, DeviceNetwork, standardize, unstandardize};
pub use nvrtc::{NVRTC_VARIABLE, version as nvrtc_version};
pub use peak::{peak_floats, peak_halves};
pub use products::{Chosen, Terms, continuations, nearest_of_groups, products};
pub use program::{ARCHITECTURES, compile};
pub use random::{fill_random, fill_random_bytes, random_bits, random_float};
pub use rows::DeviceRows;
pub use toolkit::Toolkit;

pub use scan::scan_tables;
pub use select::{MAX_K, SelectedRow};
pub use sums::DeviceSumTables;
