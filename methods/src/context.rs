//! Everything outside its parameters that a fit may depend on: seed, threads, backend, cancellation.

use crate::MethodError;
use crate::backend::{Backend, CpuBackend};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A flag that asks long work to stop at its next convenient point.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Asks to stop.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Stops the caller when asked to.
    ///
    /// # Errors
    /// [`MethodError::Cancelled`].
    pub fn check(&self) -> Result<(), MethodError> {
        if self.0.load(Ordering::Relaxed) { Err(MethodError::Cancelled) } else { Ok(()) }
    }
}

/// Passed to every fit. No method reads a global instead.
#[derive(Clone)]
pub struct Context {
    /// Decides every random choice of the fit.
    pub seed: u64,
    /// Where the heavy operations run. A trained quantizer keeps it for encoding.
    pub backend: Arc<dyn Backend>,
    /// Asked at every iteration.
    pub cancel: Cancel,
}

impl Context {
    /// A context on the CPU, with the widest instruction set found.
    pub fn cpu(seed: u64) -> Context {
        Context { seed, backend: Arc::new(CpuBackend::detect()), cancel: Cancel::default() }
    }

    /// A generator for one purpose: streams of different numbers are independent, so that sub-problems can be
    /// solved in any order and on any number of threads.
    pub fn rng(&self, stream: u64) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(stream);
        rng
    }
}
