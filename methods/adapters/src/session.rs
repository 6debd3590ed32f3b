//! A running adapter: each verb as a function, with every reply checked.

use crate::arrays::{self, MOST_CODE_BYTES};
use crate::checks::{UNACCOUNTED_SECONDS, Watch, check_ids, check_laps, check_singles};
use crate::error::AdapterError;
use crate::family::Member;
use crate::host::Host;
use crate::process::{BYE, Process, plain};
use crate::protocol::{Capability, Done, Hello, Lap, Metric, PROTOCOL, Reply, Singles, Timing};
use ndarray::{Array2, ArrayView2};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// Time to start and to say hello: imports of large libraries on a busy machine take long.
const HELLO: Duration = Duration::from_secs(180);

/// A running adapter. When it is dropped, its processes are killed and its scratch folder is removed.
#[derive(Debug)]
pub struct Session {
    // Dropped first: nothing writes into the folder while it is removed.
    process: Process,
    scratch: TempDir,
    threads: usize,
    patience: Option<Duration>,
    next: u64,
    hello: Option<Hello>,
    dim: usize,
    /// Bytes of a code, once it has written one or said so.
    code_bytes: Option<usize>,
    /// The rows that a search is over.
    held: usize,
}

/// What a search is over.
#[derive(Clone, Copy, Debug)]
pub enum Held<'a> {
    /// Codes of `size` bytes each.
    Codes(&'a [u8], usize),
    /// Vectors.
    Base(ArrayView2<'a, f32>),
    /// What the last search was over.
    Same,
}

/// What a search found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// Row numbers of each query, nearest first.
    pub ids: Vec<Vec<u32>>,
    /// Measurements, if they were asked for.
    pub laps: Vec<Lap>,
    /// Seconds of single queries, if they were asked for.
    pub singles: Vec<f64>,
}

impl Session {
    /// Starts an adapter that may use so many threads.
    ///
    /// # Errors
    /// It cannot be started; there is no place for a scratch folder.
    pub fn start(host: &Host, command: &[String], threads: usize) -> Result<Session, AdapterError> {
        let scratch = tempfile::Builder::new().prefix("vqbench-adapter-").tempdir();
        let scratch = scratch.map_err(|error| AdapterError::Scratch(error.to_string()))?;
        let process = Process::start(host, command, scratch.path(), threads)?;
        let patience = host.patience;
        Ok(Session { process, scratch, threads, patience, next: 0, hello: None, dim: 0, code_bytes: None, held: 0 })
    }

    /// Asks who it is and whether it accepts the parameters, for vectors of `dim` components if that is known.
    ///
    /// # Errors
    /// See [`AdapterError`].
    pub fn hello(&mut self, params: &Value, dim: Option<usize>) -> Result<Hello, AdapterError> {
        let verb = "hello";
        let mut request = json!({ "protocol": PROTOCOL, "params": params, "threads": self.threads });
        if let Some(dim) = dim {
            request["dim"] = json!(dim);
        }
        let reply = self.ask(verb, request, Some(HELLO))?;
        let wrong = |what: String| AdapterError::Protocol { verb, what };
        let mut hello: Hello = serde_json::from_value(reply).map_err(|error| {
            let needs = "`ok` needs `protocol`, `name`, `version` and `capabilities` as docs/adapters.md lists them";
            wrong(format!("{error}; {needs}"))
        })?;
        if hello.protocol != PROTOCOL {
            return Err(wrong(format!(
                "it speaks version {} of the protocol; this is version {PROTOCOL}",
                hello.protocol
            )));
        }
        // These stand in tables and on terminals.
        for text in [&mut hello.name, &mut hello.version, &mut hello.licence, &mut hello.device] {
            *text = plain(text, 100);
        }
        if hello.name.is_empty() || hello.version.is_empty() {
            return Err(wrong("`name` and `version` must say something".into()));
        }
        if let Some(bytes) = hello.code_bytes.filter(|bytes| !(1..=MOST_CODE_BYTES).contains(bytes)) {
            return Err(wrong(format!("`code_bytes` is {bytes}; 1 to {MOST_CODE_BYTES} are possible")));
        }
        self.code_bytes = hello.code_bytes.filter(|_| dim.is_some());
        self.hello = Some(hello.clone());
        Ok(hello)
    }

    /// Trains on rows. Returns the seconds by its own clock.
    ///
    /// # Errors
    /// See [`AdapterError`].
    pub fn fit(&mut self, rows: ArrayView2<'_, f32>, seed: u64, metric: Metric) -> Result<f64, AdapterError> {
        let verb = "fit";
        self.dim = rows.ncols();
        let input = self.put(|path| arrays::write_vectors(path, rows))?;
        let watch = Watch::start(&self.members());
        let done = self.request(verb, json!({ "rows": name(&input), "seed": seed, "metric": metric }))?;
        let outside =
            watch.stop(&self.members(), self.threads).map_err(|what| AdapterError::Protocol { verb, what })?;
        remove(&input);
        let wrong = |what: String| AdapterError::Protocol { verb, what };
        let seconds = done.seconds.filter(|seconds| seconds.is_finite() && *seconds >= 0.0);
        let seconds = seconds.ok_or_else(|| wrong("the reply needs `seconds`, the time of training".into()))?;
        if seconds > outside {
            return Err(wrong(format!(
                "it says that training took {seconds} s, but its reply came after {outside:.3} s"
            )));
        }
        if outside - seconds > seconds + UNACCOUNTED_SECONDS {
            return Err(wrong(format!("it says that training took {seconds} s, but its reply took {outside:.1} s")));
        }
        self.held = 0;
        Ok(seconds)
    }

    /// Encodes rows. Returns the codes one after the other, the bytes of each, and measurements if they are asked for.
    ///
    /// # Errors
    /// See [`AdapterError`].
    pub fn encode(
        &mut self,
        rows: ArrayView2<'_, f32>,
        timing: Option<Timing>,
    ) -> Result<(Vec<u8>, usize, Vec<Lap>), AdapterError> {
        let verb = "encode";
        self.needs(Capability::Encode, "encode")?;
        let (input, output) = (self.put(|path| arrays::write_vectors(path, rows))?, self.file());
        let request = json!({ "rows": name(&input), "out": name(&output) });
        let (_, laps) = self.timed(verb, request, timing)?;
        let found = arrays::read::<u8>(&output, rows.nrows(), self.code_bytes);
        remove(&input);
        remove(&output);
        let (size, codes) = found.map_err(|what| AdapterError::Protocol { verb, what })?;
        if rows.nrows() > 0 {
            self.code_bytes = Some(size);
        }
        Ok((codes, size, laps))
    }

    /// Decodes codes of `size` bytes each. Returns the rows, and measurements if they are asked for.
    ///
    /// # Errors
    /// See [`AdapterError`].
    pub fn decode(
        &mut self,
        codes: &[u8],
        size: usize,
        timing: Option<Timing>,
    ) -> Result<(Array2<f32>, Vec<Lap>), AdapterError> {
        let verb = "decode";
        self.needs(Capability::Decode, "decode")?;
        let count = codes.len() / size.max(1);
        let (input, output) = (self.put(|path| arrays::write_codes(path, codes, size))?, self.file());
        let request = json!({ "codes": name(&input), "out": name(&output) });
        let (_, laps) = self.timed(verb, request, timing)?;
        let found = arrays::read::<f32>(&output, count, Some(self.dim));
        remove(&input);
        remove(&output);
        let wrong = |what: String| AdapterError::Protocol { verb, what };
        let (_, values) = found.map_err(wrong)?;
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            let (row, column) = (at / self.dim.max(1), at % self.dim.max(1));
            return Err(wrong(format!(
                "code {row} decodes to {} in component {column}; finite values are needed",
                values[at]
            )));
        }
        let rows = Array2::from_shape_vec((count, self.dim), values);
        Ok((rows.map_err(|error| wrong(error.to_string()))?, laps))
    }

    /// Finds the `k` nearest rows of each query.
    ///
    /// # Errors
    /// See [`AdapterError`].
    pub fn search(
        &mut self,
        held: Held<'_>,
        queries: ArrayView2<'_, f32>,
        k: usize,
        timing: Option<Timing>,
        singles: Option<Singles>,
    ) -> Result<Found, AdapterError> {
        let verb = "search";
        let mut request = Map::new();
        let mut files = Vec::new();
        match held {
            Held::Codes(codes, size) => {
                self.needs(Capability::Search, "search codes")?;
                let file = self.put(|path| arrays::write_codes(path, codes, size))?;
                request.insert("codes".into(), json!(name(&file)));
                files.push(file);
                self.held = codes.len() / size.max(1);
            }
            Held::Base(rows) => {
                self.needs(Capability::SearchBase, "search rows that it stores itself")?;
                let file = self.put(|path| arrays::write_vectors(path, rows))?;
                request.insert("base".into(), json!(name(&file)));
                files.push(file);
                self.held = rows.nrows();
            }
            Held::Same => {}
        }
        let (input, output) = (self.put(|path| arrays::write_vectors(path, queries))?, self.file());
        request.insert("queries".into(), json!(name(&input)));
        request.insert("k".into(), json!(k));
        request.insert("out".into(), json!(name(&output)));
        if let Some(singles) = singles {
            request.insert("singles".into(), json!(singles));
        }
        let (done, laps) = self.timed(verb, Value::Object(request), timing)?;
        let found = arrays::read::<i64>(&output, queries.nrows(), Some(k));
        files.extend([input, output]);
        files.iter().for_each(|file| remove(file));
        let wrong = |what: String| AdapterError::Protocol { verb, what };
        let (_, ids) = found.map_err(wrong)?;
        let of_query = |(query, row): (usize, &[i64])| check_ids(row, self.held, query).map_err(wrong);
        let ids = ids.chunks_exact(k.max(1)).enumerate().map(of_query).collect::<Result<Vec<_>, _>>()?;
        let singles = match singles {
            None => Vec::new(),
            Some(asked) => check_singles(done.singles.unwrap_or_default(), asked, queries.nrows()).map_err(wrong)?,
        };
        Ok(Found { ids, laps, singles })
    }

    /// Bytes of the file that it saves: its model, and for [`Capability::SearchBase`] also the rows that it holds.
    ///
    /// # Errors
    /// See [`AdapterError`].
    pub fn saved_bytes(&mut self) -> Result<u64, AdapterError> {
        let file = self.save()?;
        let bytes = arrays::file_bytes(&file);
        remove(&file);
        bytes.map_err(|what| AdapterError::Protocol { verb: "save", what })
    }

    /// Saves to a file outside of its scratch folder.
    ///
    /// # Errors
    /// See [`AdapterError`].
    pub fn save_to(&mut self, path: &Path) -> Result<(), AdapterError> {
        let file = self.save()?;
        let copied = arrays::copy_out(&file, path);
        remove(&file);
        copied.map_err(|what| AdapterError::Protocol { verb: "save", what })
    }

    fn save(&mut self) -> Result<PathBuf, AdapterError> {
        self.needs(Capability::Save, "save its model")?;
        let file = self.file();
        self.request("save", json!({ "out": name(&file) }))?;
        Ok(file)
    }

    /// Reads what [`Session::save_to`] wrote, for vectors of `dim` components.
    ///
    /// # Errors
    /// See [`AdapterError`].
    pub fn restore(&mut self, path: &Path, dim: usize, metric: Metric) -> Result<(), AdapterError> {
        self.needs(Capability::Restore, "restore a model")?;
        let file = self.file();
        arrays::copy_in(path, &file).map_err(AdapterError::Scratch)?;
        self.dim = dim;
        self.request("restore", json!({ "model": name(&file), "metric": metric }))?;
        remove(&file);
        self.held = 0;
        Ok(())
    }

    /// Asks it to end, and waits.
    ///
    /// # Errors
    /// It does not end, or leaves processes behind.
    pub fn bye(mut self) -> Result<(), AdapterError> {
        match self.ask(BYE, json!({}), Some(Duration::from_secs(10))) {
            // It may end at once.
            Ok(_) | Err(AdapterError::Ended { .. }) => self.process.close(),
            Err(error) => Err(error),
        }
    }

    /// What it said of itself.
    pub fn who(&self) -> Option<&Hello> {
        self.hello.as_ref()
    }

    /// Bytes of a code, once it is known.
    pub fn code_bytes(&self) -> Option<usize> {
        self.code_bytes
    }

    /// Its processes.
    pub fn members(&self) -> Vec<Member> {
        self.process.members()
    }

    fn needs(&self, capability: Capability, what: &'static str) -> Result<(), AdapterError> {
        match &self.hello {
            Some(hello) if hello.can(capability) => Ok(()),
            Some(hello) => {
                let known: Vec<&str> = hello.capabilities.iter().map(|capability| capability.name()).collect();
                Err(AdapterError::Unable { name: hello.name.clone(), what, known: known.join(", ") })
            }
            None => Err(AdapterError::Protocol { verb: "hello", what: "`hello` must come first".into() }),
        }
    }

    /// A new name in the scratch folder.
    fn file(&mut self) -> PathBuf {
        self.next += 1;
        self.scratch.path().join(format!("{}.npy", self.next))
    }

    fn put(&mut self, write: impl FnOnce(&Path) -> std::io::Result<()>) -> Result<PathBuf, AdapterError> {
        let path = self.file();
        write(&path).map_err(|error| AdapterError::Scratch(format!("{}: {error}", path.display())))?;
        Ok(path)
    }

    /// A request whose work may be measured.
    fn timed(
        &mut self,
        verb: &'static str,
        mut request: Value,
        timing: Option<Timing>,
    ) -> Result<(Done, Vec<Lap>), AdapterError> {
        let Some(timing) = timing else { return Ok((self.request(verb, request)?, Vec::new())) };
        request["timing"] = json!(timing);
        let watch = Watch::start(&self.members());
        let mut done = self.request(verb, request)?;
        let outside =
            watch.stop(&self.members(), self.threads).map_err(|what| AdapterError::Protocol { verb, what })?;
        let laps = done.timing.take().unwrap_or_default();
        let singles: f64 = done.singles.iter().flatten().sum();
        check_laps(&laps, timing, outside, singles).map_err(|what| AdapterError::Protocol { verb, what })?;
        Ok((done, laps))
    }

    fn request(&mut self, verb: &'static str, request: Value) -> Result<Done, AdapterError> {
        let reply = self.ask(verb, request, self.patience)?;
        let wrong = |error: serde_json::Error| AdapterError::Protocol { verb, what: format!("its reply: {error}") };
        serde_json::from_value(reply).map_err(wrong)
    }

    fn ask(&mut self, verb: &'static str, request: Value, patience: Option<Duration>) -> Result<Value, AdapterError> {
        self.next += 1;
        let id = self.next;
        let mut line = Map::from_iter([("id".to_owned(), json!(id)), ("verb".to_owned(), json!(verb))]);
        if let Value::Object(request) = request {
            line.extend(request);
        }
        let answer = self.process.ask(verb, &Value::Object(line).to_string(), patience)?;
        let text = String::from_utf8_lossy(&answer);
        let wrong = |what: String| AdapterError::Protocol { verb, what };
        let reply: Reply = serde_json::from_str(&text).map_err(|_| {
            wrong(format!("`{}` is no reply; it must be an object with `id` and `ok` or `error`", plain(&text, 80)))
        })?;
        if reply.id != Some(id) {
            let found = reply.id.map_or_else(|| "no request".to_owned(), |id| format!("request {id}"));
            return Err(wrong(format!("it replied to {found}; request {id} waits for a reply")));
        }
        match (reply.ok, reply.error) {
            (_, Some(message)) => {
                let param = reply.param.map(|param| plain(&param, 100));
                Err(AdapterError::Refused { verb, message: plain(&message, 500), param })
            }
            (Some(ok @ Value::Object(_)), None) => Ok(ok),
            _ => Err(wrong("its reply has neither `ok` (an object) nor `error` (a text)".into())),
        }
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn remove(path: &Path) {
    let _ = std::fs::remove_file(path);
}
