//! Context of a fit: everything that a result may depend on besides the parameters (seed, backend, cancellation).

use crate::MethodError;
use crate::backend::{Backend, CpuBackend};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A flag that asks long-running work to stop at its next check.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Asks to stop.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Returns an error if a stop was requested.
    ///
    /// # Errors
    /// [`MethodError::Cancelled`].
    pub fn check(&self) -> Result<(), MethodError> {
        if self.0.load(Ordering::Relaxed) { Err(MethodError::Cancelled) } else { Ok(()) }
    }
}

/// Names a stream of random numbers by its use. Streams are independent, so sub-problems can be solved in any order and
/// on any number of threads. A fit draws from each stream in one place only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// The `n`-th part of a fit: a group, a stage, a start or a size; 0 if there is only one.
    Part(u32),
    /// Noise in the `n`-th iteration.
    Noise(u32),
    /// Initial weights of networks.
    Networks,
    /// The `n`-th shard of rows, counted through all of training.
    Shard(u32),
    /// Initial codewords of the `n`-th learned codebook.
    LearnedCodebook(u32),
    /// The order of rows.
    Order,
    /// Updates after a step that use no gradients.
    AfterStep,
    /// A rotation.
    Rotation,
}

impl Stream {
    /// The number of the stream: its kind in the upper half, its index in the lower.
    fn number(self) -> u64 {
        let (kind, n) = match self {
            Stream::Part(n) => (0, n),
            Stream::Noise(n) => (1, n),
            Stream::Networks => (1 << 8, 0),
            Stream::Shard(n) => (1 << 9, n),
            Stream::LearnedCodebook(n) => (1 << 10, n),
            Stream::Order => (1 << 11, 0),
            Stream::AfterStep => (1 << 12, 0),
            Stream::Rotation => (u64::from(u32::MAX), u32::MAX),
        };
        kind << 32 | u64::from(n)
    }
}

/// Who draws random numbers. Streams of the same name differ between drawers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Drawer {
    /// A method.
    #[default]
    Method,
    /// A transform before it.
    Transform,
}

/// The random streams of a fit: who draws and, on request, a log of all draws.
#[derive(Clone, Debug, Default)]
pub struct Streams {
    drawer: Drawer,
    drawn: Option<Arc<Mutex<DrawLog>>>,
}

/// Who drew from which stream, in order of time.
type DrawLog = Vec<(Drawer, Stream)>;

impl Streams {
    /// Streams that log all draws, for tests.
    pub fn remembered() -> Streams {
        Streams { drawer: Drawer::default(), drawn: Some(Arc::default()) }
    }

    /// The log of draws, in order of time; empty unless created by [`Streams::remembered`].
    pub fn drawn(&self) -> Vec<(Drawer, Stream)> {
        let drawn = self.drawn.as_ref().map(|drawn| drawn.lock().unwrap_or_else(PoisonError::into_inner).clone());
        drawn.into_iter().flatten().collect()
    }
}

/// Passed to every fit. No method reads a global instead.
///
/// ```
/// use methods::Context;
/// use methods::backend::{Backend, Devices};
///
/// // On a GPU where there is one, with seed 7.
/// let backend = Devices::default().open("auto")?;
/// println!("{}", backend.name());
/// let context = Context::on(backend, 7);
///
/// // A fit ends soon after its context is cancelled from another thread.
/// let cancel = context.cancel.clone();
/// cancel.cancel();
/// assert!(context.cancel.check().is_err());
/// # Ok::<(), methods::backend::Unavailable>(())
/// ```
#[derive(Clone)]
pub struct Context {
    /// Decides every random choice of the fit.
    pub seed: u64,
    /// Where the heavy operations run. A trained quantizer keeps it for encoding.
    pub backend: Arc<dyn Backend>,
    /// Checked at every iteration.
    pub cancel: Cancel,
    /// Who draws random numbers.
    pub streams: Streams,
    /// How outside programs are started.
    pub programs: adapters::Host,
}

impl Context {
    /// A context on the CPU, with the widest instruction set found.
    pub fn cpu(seed: u64) -> Context {
        Context::on(Arc::new(CpuBackend::detect()), seed)
    }

    /// A context on a backend.
    pub fn on(backend: Arc<dyn Backend>, seed: u64) -> Context {
        let programs = adapters::Host::default();
        Context { seed, backend, cancel: Cancel::default(), streams: Streams::default(), programs }
    }

    /// The context of a transform, whose random numbers differ from those of the method behind it.
    pub fn for_transform(&self) -> Context {
        let streams = Streams { drawer: Drawer::Transform, ..self.streams.clone() };
        Context { streams, ..self.clone() }
    }

    /// The random generator of a stream.
    pub fn rng(&self, stream: Stream) -> ChaCha8Rng {
        let Streams { drawer, drawn } = &self.streams;
        if let Some(drawn) = drawn {
            drawn.lock().unwrap_or_else(PoisonError::into_inner).push((*drawer, stream));
        }
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        // No two stream numbers differ in this bit alone.
        let of_drawer = match drawer {
            Drawer::Method => 0,
            Drawer::Transform => 1 << 62,
        };
        rng.set_stream(of_drawer ^ stream.number());
        rng
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt;
    use std::collections::HashSet;

    #[test]
    fn no_two_streams_are_one() {
        let numbered: [fn(u32) -> Stream; 4] = [Stream::Part, Stream::Noise, Stream::Shard, Stream::LearnedCodebook];
        let alone = [Stream::Networks, Stream::Order, Stream::AfterStep, Stream::Rotation];
        let ends = numbered.into_iter().flat_map(|stream| [0, 1, u32::MAX].map(stream));
        let streams: Vec<Stream> = ends.chain(alone).collect();
        let cx = Context::cpu(1);
        let contexts = [&cx, &cx.for_transform()];
        let draws = contexts.iter().flat_map(|cx| streams.iter().map(|&stream| cx.rng(stream).random::<u64>()));
        assert_eq!(draws.collect::<HashSet<_>>().len(), 2 * streams.len());
    }

    /// `transform: opq` trains its own codebooks, with its own random numbers.
    #[test]
    fn a_transform_draws_nothing_that_the_method_behind_it_draws() {
        let rows = crate::laws::gaussian(200, 12, 1);
        let drawn = |params: serde_json::Value| {
            let cx = Context { streams: Streams::remembered(), ..Context::cpu(1) };
            crate::parse("pq", params).expect("parses").fit(rows.view(), &cx).expect("fits");
            cx.streams.drawn()
        };
        let alone = drawn(serde_json::json!({ "m": 3, "bits": 4 }));
        let both = drawn(serde_json::json!({ "m": 3, "bits": 4, "transform": "opq" }));
        let by = |drawer: Drawer| -> HashSet<Stream> { both.iter().filter(|d| d.0 == drawer).map(|d| d.1).collect() };
        assert_eq!(alone.len(), 3);
        assert_eq!(by(Drawer::Method), alone.iter().map(|d| d.1).collect());
        assert_eq!(both.iter().filter(|d| d.0 == Drawer::Method).count(), 3, "each once");
        assert!(by(Drawer::Transform).contains(&Stream::Rotation));
        let (method, transform) = (Context::cpu(1), Context::cpu(1).for_transform());
        let first = |cx: &Context| cx.rng(Stream::Part(0)).random::<u64>();
        assert_ne!(first(&method), first(&transform));
    }
}
