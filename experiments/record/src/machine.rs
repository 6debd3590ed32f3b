//! The machine that a trial ran on, and when speeds of two machines compare.

use serde::{Deserialize, Serialize};

/// The machine and the software of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Processor model.
    pub cpu: String,
    /// Number of logical cores.
    pub cores: usize,
    /// Instruction set of the CPU kernels.
    pub simd: String,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// GPU model, if one is used.
    pub gpu: Option<String>,
    /// Operating system and version.
    pub os: String,
    /// Compiler of the program.
    pub rustc: String,
    /// Version of vqbench.
    pub version: String,
    /// Revision of the source tree; None if unknown.
    pub git_revision: Option<String>,
    /// Whether the source tree had uncommitted changes.
    pub git_dirty: Option<bool>,
}

impl Machine {
    /// Whether speeds measured on both machines are comparable.
    pub fn is_like(&self, other: &Machine) -> bool {
        (&self.cpu, self.cores, &self.simd, &self.gpu) == (&other.cpu, other.cores, &other.simd, &other.gpu)
    }

    /// The class of a machine, within which speeds are compared, in words: processor, cores, instruction set and GPU.
    pub fn class(&self) -> String {
        let gpu = self.gpu.as_ref().map(|gpu| format!(", {gpu}")).unwrap_or_default();
        let cores = if self.cores == 1 { "1 core".to_owned() } else { format!("{} cores", self.cores) };
        format!("{}, {cores}, {}{gpu}", self.cpu, self.simd)
    }
}
