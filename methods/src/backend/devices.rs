//! The hardware of a process, and the backends that it opens by name.

use super::{Backend, CpuBackend, CudaBackend, Unavailable};
use cpu::Isa;
use std::sync::Arc;

/// The hardware that a process uses. The entry point chooses it and passes it down; no code below detects hardware
/// itself.
#[derive(Clone, Debug)]
pub struct Devices {
    /// The instruction set of the CPU kernels.
    pub isa: Isa,
    /// Where to find the parts of CUDA.
    pub toolkit: cuda::Toolkit,
}

impl Default for Devices {
    /// The widest instruction set of this CPU.
    fn default() -> Devices {
        Devices { isa: Isa::widest(), toolkit: cuda::Toolkit::default() }
    }
}

impl Devices {
    /// Opens a device by its name in experiments: `cpu`, `cuda`, or `auto` for the best one that is present.
    ///
    /// # Errors
    /// A device that is missing, or that this version cannot use.
    pub fn open(&self, device: &str) -> Result<Arc<dyn Backend>, Unavailable> {
        let isa = self.isa;
        match device {
            "cpu" => Ok(Arc::new(CpuBackend::new(isa))),
            "cuda" => Ok(Arc::new(CudaBackend::open(isa, &self.toolkit)?)),
            "auto" => match CudaBackend::open(isa, &self.toolkit) {
                Ok(backend) => Ok(Arc::new(backend)),
                Err(_) => Ok(Arc::new(CpuBackend::new(isa))),
            },
            other => {
                Err(Unavailable { reason: format!("`{other}` is not a device"), help: "use cpu, cuda or auto".into() })
            }
        }
    }
}
