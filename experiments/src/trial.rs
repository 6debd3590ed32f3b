//! One trial, in a process of its own: fit, encode, decode, measure. Reads a request, writes its progress and its
//! result as lines of JSON.

use crate::facts::{MAX_FACTS, Truth};
use crate::in_turn::{Step, Turns};
use crate::machine;
use crate::memory::Demand;
use crate::metrics::pass::{Outline, Pass};
use crate::metrics::{self, MEASURES, SharedResults, Subject};
use crate::pictures;
use crate::plan::SOURCES;
use crate::surroundings::Surroundings;
use adapters::AdapterError;
use cpu::Isa;
use datasets::{DatasetError, MetricSpace, Opened, Seen, Source, format};
use methods::{Context, MethodError, Quantizer};
use ndarray::{Array2, s};
use record::{Cause, CodesDigest, DatasetFacts, Limits, Machine, Measured, Trial, read_regular};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::io::{BufRead, BufReader, Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

/// The request of the parent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    /// The trial.
    pub trial: Trial,
    /// Fingerprint of the sources that its id stands for; empty if any will do.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sources: String,
    /// The dataset as written.
    pub dataset: Value,
    /// Folder that relative paths start from.
    pub root: PathBuf,
    /// The files and arrays of the dataset as the parent found them. If unchanged, they are not read for their digests again.
    #[serde(default)]
    pub seen: Seen,
    /// Facts of the dataset.
    pub facts: PathBuf,
    /// File with the exact neighbours of its queries (ivecs), if a measurement needs them.
    pub truth: Option<PathBuf>,
    /// File to save the trained quantizer to, if it is kept.
    #[serde(default)]
    pub model: Option<PathBuf>,
    /// Which images to save, and where, if they are kept.
    #[serde(default)]
    pub pictures: Option<pictures::Wanted>,
    /// Measurements with their settings.
    pub measure: Map<String, Value>,
    /// Limits to run under.
    pub limits: Limits,
    /// Instruction set of the CPU kernels, by name. Default: that of the child's own surroundings.
    #[serde(default)]
    pub instruction_set: Option<String>,
    /// Whether it takes turns with another trial. Then the request is one line, and lines that give it the turn follow.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_turn: bool,
}

/// What a trial gives.
struct Finished {
    codes_sha256: String,
    values: Vec<Measured>,
}

/// The messages of the child, one per line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Message {
    /// It has entered a phase.
    Phase(String),
    /// The machine that it runs on, without the revision of the sources. It says so at the start, and again once it has a GPU.
    Machine(Machine),
    /// The processor seconds that it has taken so far. It says so before it enters a phase, and at the end.
    Spent(f64),
    /// It gives the turn back, and asks for it for this step.
    Turn(Step),
    /// The digest of the codes of the base rows. It comes before the values.
    Codes(String),
    /// It has finished.
    Values(Vec<Measured>),
    /// It has failed.
    Failed(Failure),
}

/// Why a trial failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The reason as text.
    pub reason: String,
    /// The cause, if it is known.
    pub cause: Cause,
}

impl From<DatasetError> for Failure {
    fn from(error: DatasetError) -> Failure {
        because(Cause::Files)(error)
    }
}

/// Adds a cause to the text of an error.
fn because<E: std::fmt::Display>(cause: Cause) -> impl Fn(E) -> Failure {
    move |error| Failure { reason: error.to_string(), cause }
}

/// A failure of a method or a measurement in the given step.
fn at_step(step: &str) -> impl Fn(MethodError) -> Failure + '_ {
    move |error| {
        let cause = match error {
            MethodError::Backend(_) => Cause::Device,
            MethodError::Program(AdapterError::Start { .. } | AdapterError::Scratch(_)) => Cause::Start,
            MethodError::Unread(_) => Cause::Files,
            _ => Cause::Trial,
        };
        Failure { reason: format!("{step}: {error}"), cause }
    }
}

/// Reads one [`Request`] from `input` and answers on `output`. Every failure is an answer too.
///
/// # Errors
/// The answer cannot be written.
pub fn run(input: impl Read + Send, output: impl Write + Send, surroundings: &Surroundings) -> std::io::Result<()> {
    follow_parent();
    // A single line without a backtrace: under a memory limit, collecting a backtrace would need memory that is not
    // available, while holding the lock that reporting the failure needs.
    std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
    // The folder that a run was started from may have been deleted; libraries that read settings there
    // may panic.
    if std::env::current_dir().is_err() {
        let _ = std::env::set_current_dir(std::env::temp_dir());
    }
    let (mut input, output) = (BufReader::new(input), Mutex::new(output));
    // Starts a new line, in case a library has written before.
    let say = |message: &Message| {
        let line = serde_json::to_string(message)?;
        let mut output = output.lock().unwrap_or_else(|e| e.into_inner());
        output.write_all(format!("\n{line}\n").as_bytes())?;
        output.flush()
    };
    let say_spent = || {
        if let Some(seconds) = machine::processor_seconds() {
            let _ = say(&Message::Spent(seconds));
        }
    };
    let answer = read_request(&mut input).map_err(because(Cause::Trial)).and_then(|request| {
        if !request.sources.is_empty() && request.sources != SOURCES {
            let reason =
                "the program has been built anew since this run began, and would not compute the same".to_owned();
            return Err(Failure { reason, cause: Cause::Start });
        }
        confine(&request.limits);
        let input = Mutex::new(input);
        let ask = |step: &Step| {
            // Where nobody hands out turns any more, nobody waits for this trial either.
            if say(&Message::Turn(step.clone())).is_ok() {
                let _ = input.lock().unwrap_or_else(|e| e.into_inner()).read_line(&mut String::new());
            }
        };
        let turns = if request.in_turn { Turns::new(&ask) } else { Turns::default() };
        perform(&request, surroundings, &turns, &|message| {
            if let Message::Phase(_) = message {
                say_spent();
            }
            let _ = say(message);
        })
    });
    say_spent();
    match answer {
        Ok(Finished { codes_sha256, values }) => {
            say(&Message::Codes(codes_sha256))?;
            say(&Message::Values(values))
        }
        Err(failure) => say(&Message::Failed(failure)),
    }
}

/// Reads the request: all of the input, or its first line if the trial takes turns.
fn read_request(input: &mut impl BufRead) -> Result<Request, String> {
    let mut text = String::new();
    input.read_line(&mut text).map_err(|error| error.to_string())?;
    match serde_json::from_str::<Request>(&text) {
        Ok(request) if request.in_turn => Ok(request),
        _ => {
            input.read_to_string(&mut text).map_err(|error| error.to_string())?;
            serde_json::from_str(&text).map_err(|error| error.to_string())
        }
    }
}

/// Makes this process end with its parent, before anything else is done, and what outside programs leave behind its own.
fn follow_parent() {
    adapters::adopt_orphans();
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL);
}

/// What of the program itself is in memory, which the system's limit of data does not count.
#[cfg(target_os = "linux")]
const PROGRAM_BYTES: u64 = 32 << 20;

/// Limits the data memory of this process, so that its peak stays below the limit.
fn confine(limits: &Limits) {
    #[cfg(target_os = "linux")]
    if let Some(bytes) = limits.memory_bytes {
        use nix::sys::resource::{Resource, setrlimit};
        let data = bytes - PROGRAM_BYTES.min(bytes / 2);
        let _ = setrlimit(Resource::RLIMIT_DATA, data, data);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = limits;
}

fn perform(
    request: &Request,
    surroundings: &Surroundings,
    turns: &Turns<'_>,
    say: &(dyn Fn(&Message) + Sync),
) -> Result<Finished, Failure> {
    // A phase begins when the trial has the turn.
    let phase = |number: usize, name: &str| {
        turns.phase(number, name);
        say(&Message::Phase(name.to_owned()));
    };
    let trial = &request.trial;
    let mut devices = surroundings.devices.clone();
    if let Some(name) = &request.instruction_set {
        devices.isa = Isa::named(name).map_err(because(Cause::Device))?;
    }
    let machine = machine::own(devices.isa);
    say(&Message::Machine(machine.clone()));
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(trial.threads)
        .build()
        .map_err(|e| because(Cause::Start)(format!("threads could not be started: {e}")))?;
    pool.install(|| {
        phase(0, "load");
        let source = Source::parse(&request.dataset).map_err(because(Cause::Trial))?;
        // The parent has read these files before: where they are wrong now, they have changed.
        let resolved = source
            .resolve_knowing(&request.root, &surroundings.search, &request.seen)
            .map_err(because(Cause::Files))?;
        let mut measures = Vec::new();
        for (place, entry) in MEASURES.iter().enumerate() {
            let settings = request.measure.get(entry.name);
            if settings.is_some() || entry.always {
                let settings = settings.cloned().unwrap_or_default();
                let measure = metrics::parse(entry.name, settings).map_err(because(Cause::Trial))?;
                measures.push((place, entry.name, measure));
            }
        }
        let method = methods::parse(&trial.method, trial.params.clone()).map_err(because(Cause::Trial))?;
        let demand = Demand::of_trial(
            &resolved,
            // A program has told the plan, and tells its trial once there are codes.
            method.code_bits(resolved.summary.dim).max(trial.bits_per_vector),
            measures.iter().map(|(.., measure)| measure.bytes_per_row()).sum(),
            measures.iter().any(|(.., measure)| measure.seconds() > 0.0),
        );
        // The parent has checked all rows before.
        let data = resolved.open(demand.held_bytes(request.limits.memory_bytes)).map_err(because(Cause::Files))?;
        let facts: DatasetFacts = read_facts(&request.facts).map_err(because(Cause::Files))?;
        let changed =
            || because(Cause::Files)(format!("the vectors of {} have changed since this run began", trial.dataset));
        if resolved.summary.fingerprint != facts.fingerprint {
            return Err(changed());
        }
        let truth = match &request.truth {
            Some(path) => read_truth(path, &data).map_err(because(Cause::Files))?,
            None => Truth::new(),
        };
        let backend = devices.open(&trial.device).map_err(because(Cause::Device))?;
        if let Some(gpu) = backend.device_name() {
            say(&Message::Machine(Machine { gpu: Some(gpu), ..machine }));
        }
        let cx = Context {
            programs: programs(request, surroundings, data.metric),
            ..Context::on(backend.clone(), trial.seed)
        };

        phase(1, "fit");
        let start = Instant::now();
        let quantizer = method.fit(data.train.view(), &cx).map_err(at_step("fit"))?;
        backend.synchronize().map_err(at_step("fit"))?;
        let fit_seconds = start.elapsed().as_secs_f64();
        measures.retain(|(.., measure)| metrics::is_able(&*quantizer, measure.needs(), data.metric));
        // An outside program keeps its model itself.
        if let Some(path) = request.model.as_ref().filter(|_| quantizer.program().is_none()) {
            save_model(path, &methods::contract::model::write(&*method, &*quantizer)).map_err(because(Cause::Files))?;
        }

        let outline = Outline {
            queries: data.queries.view(),
            metric: data.metric,
            signal: data.signal.as_ref(),
            backend: &*backend,
        };
        let mut pass = Pass::default();
        measures.iter().for_each(|(.., measure)| measure.watch(&outline, &mut pass));

        phase(2, "encode");
        let encodes = quantizer.program().is_none_or(|program| program.abilities().encode);
        let mut digest = CodesDigest::default();
        let codes = if encodes { pass_over(&data, &*quantizer, &mut pass, &mut digest)? } else { Vec::new() };

        let subject = Subject {
            data: &data,
            facts: &facts,
            truth: &truth,
            method: &*method,
            quantizer: &*quantizer,
            codes: &codes,
            pass: &pass,
            backend: &*backend,
            fit_seconds,
            search_depth: measures.iter().map(|(.., m)| m.search_depth()).max().unwrap_or(0).min(data.base.nrows()),
            shared: SharedResults::default(),
            turns,
        };
        let mut values = Vec::new();
        for (place, name, measure) in &measures {
            phase(3 + place, name);
            values.extend(measure.measure(&subject).map_err(at_step(name))?);
        }
        if let Some(v) = values.iter().find(|v| !v.value.is_finite()) {
            let reason = format!("{} is {}, which is not finite", v.metric, v.value);
            return Err(because(Cause::Trial)(reason));
        }
        let decodes = quantizer.program().is_none_or(|program| program.abilities().decode);
        if let Some(wanted) = request.pictures.as_ref().filter(|_| decodes) {
            phase(3 + MEASURES.len(), "pictures");
            let base = |rows: Range<usize>| data.base.range(rows).map_err(|e| e.to_string());
            let decode = |rows: Range<usize>| decoded(&*quantizer, &codes, rows).map_err(|e| e.to_string());
            pictures::save(wanted, data.signal.as_ref(), &base, &decode).map_err(because(Cause::Files))?;
        }
        // Their files may have changed after they were resolved.
        if !resolved.seen.is_unchanged() {
            let again = source.resolve_knowing(&request.root, &surroundings.search, &resolved.seen);
            if again.map_err(because(Cause::Files))?.summary.fingerprint != facts.fingerprint {
                return Err(changed());
            }
        }
        if let Some(program) = quantizer.program() {
            phase(4 + MEASURES.len(), "bye");
            program.end().map_err(at_step("bye"))?;
        }
        Ok(Finished { codes_sha256: digest.finish(), values })
    })
}

/// How outside programs are started for this trial.
fn programs(request: &Request, surroundings: &Surroundings, metric: MetricSpace) -> adapters::Host {
    let mut programs = surroundings.programs.at(&request.root);
    programs.metric = if metric == MetricSpace::Ip { adapters::Metric::Ip } else { adapters::Metric::L2 };
    programs.echo = true;
    programs.patience = None;
    programs.sole = true;
    programs
}

/// Encodes the base rows block by block, and decodes each block for what is added up. Returns the codes, which it adds to
/// `digest`.
fn pass_over(
    data: &Opened,
    quantizer: &dyn Quantizer,
    pass: &mut Pass,
    digest: &mut CodesDigest,
) -> Result<Vec<u8>, Failure> {
    let size = quantizer.code_size();
    let most = machine::available_memory_bytes();
    let bytes = data.base.nrows().checked_mul(size).filter(|bytes| *bytes as u64 <= most);
    let Some(bytes) = bytes else {
        let reason = format!("codes of {size} bytes for {} rows do not fit into memory", data.base.nrows());
        return Err(because(Cause::Trial)(reason));
    };
    let mut codes = vec![0u8; bytes];
    let mut decoded = Array2::<f32>::zeros((0, data.dim()));
    data.base.blocks(|first, block| {
        let codes = &mut codes[first * size..(first + block.nrows()) * size];
        quantizer.encode_into(block, codes).map_err(at_step("encode"))?;
        let codes = &*codes;
        let add = || {
            if !pass.is_empty() {
                // The first block is the largest.
                if decoded.nrows() < block.nrows() {
                    decoded = Array2::zeros(block.dim());
                }
                let mut decoded = decoded.slice_mut(s![..block.nrows(), ..]);
                quantizer.decode_into(codes, decoded.view_mut()).map_err(at_step("decode"))?;
                pass.add(block, decoded.view());
            }
            Ok::<_, Failure>(())
        };
        // A digest is a chain and takes one thread; the others decode meanwhile.
        rayon::join(add, || digest.add(codes)).0
    })?;
    Ok(codes)
}

/// What the codes of a range of rows decode to.
fn decoded(quantizer: &dyn Quantizer, codes: &[u8], rows: Range<usize>) -> Result<Array2<f32>, MethodError> {
    let size = quantizer.code_size();
    let mut decoded = Array2::zeros((rows.len(), quantizer.dim()));
    quantizer.decode_into(&codes[rows.start * size..rows.end * size], decoded.view_mut())?;
    Ok(decoded)
}

fn save_model(path: &Path, file: &[u8]) -> Result<(), String> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    }
    record::write_atomically(path, file).map_err(|e| e.to_string())
}

/// Reads the exact neighbours. They are used as row numbers, so a file of another dataset must not exceed the number of
/// rows.
fn read_truth(path: &Path, data: &Opened) -> Result<Truth, String> {
    let ids = format::read_ids(path).map_err(|e| e.to_string())?;
    let rows = data.base.nrows();
    if ids.nrows() != data.queries.nrows() || ids.iter().any(|&id| id as usize >= rows) {
        return Err(format!("{} holds no neighbours of these queries; delete it", path.display()));
    }
    Ok(ids.outer_iter().map(|row| row.to_vec()).collect())
}

fn read_facts(path: &Path) -> Result<DatasetFacts, String> {
    let text = read_regular(path, MAX_FACTS).map_err(|e| format!("{}: {e}", path.display()))?;
    serde_json::from_slice(&text).map_err(|e| format!("{}: {e}", path.display()))
}
