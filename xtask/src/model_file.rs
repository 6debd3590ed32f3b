//! Shared by the verbs for saved quantizers: reading models and vectors, threads, results.

use crate::errors::Mistakes;
use crate::progress::RowProgress;
use clap::Args;
use datasets::format::Blocks;
use datasets::regular;
use experiments::ByteSize;
use experiments::coding::{Coded, Coding, CodingError, mebibytes};
use methods::backend::Devices;
use methods::{Context, MethodError, Model};
use ndarray::Array2;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// How much memory to take.
#[derive(Args, Clone, Copy)]
pub struct Budget {
    /// Memory limit of this process, such as 512MiB or 2GB; files may be larger
    #[arg(long, value_name = "SIZE", default_value = "1GiB")]
    memory: ByteSize,
}

/// The exit code of what Ctrl-C has ended.
pub const INTERRUPTED: u8 = 130;

/// Set by Ctrl-C and by the end of a session.
static INTERRUPT: AtomicBool = AtomicBool::new(false);

/// From now on, Ctrl-C does not end the process; the function tells whether it came.
pub fn interrupted() -> impl Fn() -> bool {
    // Whoever cannot install it was here before.
    let _ = ctrlc::set_handler(|| INTERRUPT.store(true, Ordering::SeqCst));
    || INTERRUPT.load(Ordering::SeqCst)
}

impl Budget {
    /// Encodes or decodes a file within the budget; None if it was interrupted, which is said here.
    pub fn code(
        self,
        input: &Path,
        output: &Path,
        resources: &Resources,
        work: impl FnOnce(Coding<'_>) -> Result<Coded, CodingError> + Send,
    ) -> Result<Option<Coded>, Mistakes> {
        let _ = interrupted();
        let mut bar = None;
        let mut progress = |done, total| bar.get_or_insert_with(|| RowProgress::new(total)).reach(done);
        let coding = Coding { input, output, memory: self.memory, interrupt: &INTERRUPT, progress: &mut progress };
        let end = resources.run(|| Ok(work(coding)))?;
        drop(bar);
        match end {
            Ok(coded) => Ok(Some(coded)),
            Err(interrupted @ CodingError::Interrupted { .. }) => {
                say_aside!("{interrupted}");
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// How long it took, and how much memory.
pub fn summary(coded: &Coded) -> String {
    let rate = coded.rows as f64 / coded.seconds.max(1e-9);
    let peak =
        coded.peak_bytes.map_or_else(String::new, |bytes| format!(", in at most {} of memory", mebibytes(bytes)));
    format!("in {:.2} s ({rate:.0} per second){peak}", coded.seconds)
}

/// Device and threads.
#[derive(Args)]
pub struct Resources {
    /// Threads [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Device: cpu, cuda or auto
    #[arg(long, default_value = "auto")]
    device: String,
}

impl Resources {
    /// A context on the device, with `seed`.
    pub fn context(&self, seed: u64, devices: &Devices) -> Result<Context, Mistakes> {
        let backend = devices.open(&self.device).map_err(|e| Mistakes::new(e.reason, e.help))?;
        Ok(Context::on(backend, seed))
    }

    /// Runs `work` on a pool of the given number of threads.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> Result<T, Mistakes> + Send) -> Result<T, Mistakes> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(self.threads.map_or(0, usize::from)).build();
        pool.map_err(|e| Mistakes::new(format!("threads could not be started: {e}"), "use fewer `--threads`"))?
            .install(work)
    }
}

/// Reads a saved quantizer.
pub fn read_model(path: &Path, cx: &Context) -> Result<Model, Mistakes> {
    let help = "name a file that `cargo xtask fit` or an experiment with `keep_models: true` has written";
    let file = regular::read(path, u64::MAX)
        .map_err(|e| Mistakes::new(format!("cannot read {}: {e}", path.display()), help))?;
    methods::contract::model::read(&file, cx).map_err(|e| Mistakes::new(format!("{}: {e}", path.display()), help))
}

/// Reads vectors to train on.
pub fn read_vectors(path: &Path) -> Result<Array2<f32>, Mistakes> {
    let mut blocks = Blocks::open(path)?;
    let shape = blocks.shape();
    let mut values = Vec::new();
    blocks.next(shape.0, &mut values)?;
    Array2::from_shape_vec(shape, values).map_err(|e| Mistakes::new(format!("{}: {e}", path.display()), ""))
}

/// An error of a method while it processes a file.
pub fn failed(path: &Path) -> impl Fn(MethodError) -> Mistakes {
    move |error| CodingError::Method { path: path.to_owned(), error }.into()
}

/// Checks that a result can be written, before the work for it is done.
pub fn check_target(path: &Path) -> Result<(), Mistakes> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if path.is_dir() {
        let message = format!("{} is a folder", path.display());
        return Err(Mistakes::new(message, "name a file to write to"));
    }
    if !folder.is_dir() {
        let message = format!("cannot write {}: there is no folder {}", path.display(), folder.display());
        return Err(Mistakes::new(message, "make the folder first"));
    }
    Ok(())
}

/// Writes a result atomically: it is never incomplete.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), Mistakes> {
    record::write_atomically(path, bytes)
        .map_err(|error| Mistakes::new(error.to_string(), "write to another folder, or make room in this one"))
}
