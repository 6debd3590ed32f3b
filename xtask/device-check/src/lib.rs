//! What a check of a device found, as a page and as records. `cargo xtask gpu-check` makes the proofs and takes the times; everything
//! here is a pure function of them.

mod table;
mod tidy;
mod torch;

pub use table::{DeviceRun, Findings, heading, proof_line, times, to_markdown};
pub use tidy::{EXPERIMENT, run};
pub use torch::{Torch, TorchError};
