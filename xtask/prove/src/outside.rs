//! Outside programs as subjects, by the protocol of `docs/adapters.md`.

use crate::subject::{self, Codes, Refusal, Subject, Trained};
use adapters::{AdapterError, Capability, Held, Hello, Host, Metric, Session};
use methods::SearchMetric;
use ndarray::{Array2, ArrayView2};
use serde_json::Value;
use std::cell::{Cell, RefCell};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;

/// Threads that a program may use.
const THREADS: usize = 2;

/// A program with its parameters. Processes that are done with a training are used for the next one.
pub struct Outside {
    host: Host,
    command: Vec<String>,
    params: Value,
    hello: Hello,
    idle: RefCell<Vec<(Session, Option<usize>)>>,
    /// Where models are kept.
    folder: tempfile::TempDir,
    models: Cell<usize>,
}

fn refusal(verb: &'static str, error: AdapterError) -> Refusal {
    match error {
        AdapterError::Refused { message, .. } => Refusal::Error { verb, message },
        AdapterError::Unable { what, .. } => Refusal::Missing(what),
        other => Refusal::Broken { verb, message: other.to_string() },
    }
}

fn metric_of(metric: SearchMetric) -> Metric {
    match metric {
        SearchMetric::L2 => Metric::L2,
        SearchMetric::InnerProduct => Metric::Ip,
    }
}

impl Outside {
    /// Starts a program and asks it who it is.
    ///
    /// # Errors
    /// It cannot be started, refuses its parameters, or breaks the protocol.
    pub fn new(host: Host, command: Vec<String>, params: Value) -> Result<Outside, AdapterError> {
        let mut session = Session::start(&host, &command, THREADS)?;
        let hello = session.hello(&params, None)?;
        let folder = tempfile::tempdir().map_err(|error| AdapterError::Scratch(error.to_string()))?;
        let idle = RefCell::new(vec![(session, None)]);
        Ok(Outside { host, command, params, hello, idle, folder, models: Cell::new(0) })
    }

    /// What it said of itself.
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    fn fresh(&self) -> Result<Session, Refusal> {
        Session::start(&self.host, &self.command, THREADS).map_err(|error| refusal("hello", error))
    }

    /// A process that has said hello for vectors of `dim` components; a new one if `fresh`.
    fn ready(&self, dim: usize, fresh: bool) -> Result<Session, Refusal> {
        let idle = if fresh { None } else { self.idle.borrow_mut().pop() };
        let (mut session, said) = match idle {
            Some(idle) => idle,
            None => (self.fresh()?, None),
        };
        if said != Some(dim) {
            match session.hello(&self.params, Some(dim)) {
                Ok(_) => {}
                Err(error @ AdapterError::Refused { .. }) => {
                    self.idle.borrow_mut().push((session, None));
                    return Err(refusal("hello", error));
                }
                Err(error) => return Err(refusal("hello", error)),
            }
        }
        Ok(session)
    }

    fn fit_in(
        &self,
        fresh: bool,
        rows: ArrayView2<'_, f32>,
        seed: u64,
        metric: SearchMetric,
    ) -> Result<Box<dyn Trained + '_>, Refusal> {
        self.searches_by(metric)?;
        let mut session = self.ready(rows.ncols(), fresh)?;
        let mut fitted = session.fit(rows, seed, metric_of(metric));
        let mut searches = true;
        // Some search distances between rows of length 1 alone; their codes can be looked at all the same.
        if metric == SearchMetric::L2
            && self.hello.metrics.contains(&Metric::Ip)
            && let Err(AdapterError::Refused { .. }) = fitted
        {
            fitted = session.fit(rows, seed, Metric::Ip);
            searches = false;
        }
        match fitted {
            Ok(_) => Ok(self.trained(session, rows.ncols(), searches)),
            Err(error @ AdapterError::Refused { .. }) => {
                self.idle.borrow_mut().push((session, Some(rows.ncols())));
                Err(refusal("fit", error))
            }
            Err(error) => Err(refusal("fit", error)),
        }
    }

    /// Inner products are asked for only where it can search by them. Without any search, it is trained for distances.
    fn searches_by(&self, metric: SearchMetric) -> Result<(), Refusal> {
        if metric == SearchMetric::InnerProduct && !self.hello.metrics.contains(&Metric::Ip) {
            return Err(Refusal::Missing("search by inner product"));
        }
        Ok(())
    }

    fn trained(&self, session: Session, dim: usize, searches: bool) -> Box<dyn Trained + '_> {
        Box::new(InUse { session: RefCell::new(Some(session)), dim, of: self, searches, held: Cell::new(None) })
    }

    fn model_path(&self) -> PathBuf {
        self.models.set(self.models.get() + 1);
        self.folder.path().join(format!("model-{}", self.models.get()))
    }
}

impl Subject for Outside {
    fn name(&self) -> String {
        let Hello { name, version, .. } = &self.hello;
        format!("{name} {version} {}", self.params)
    }

    fn accepts(&self, dim: usize) -> Result<(), String> {
        match self.ready(dim, false) {
            Ok(session) => {
                self.idle.borrow_mut().push((session, Some(dim)));
                Ok(())
            }
            Err(refusal) => Err(refusal.to_string()),
        }
    }

    fn seedable(&self) -> bool {
        self.hello.seedable
    }

    fn codes(&self) -> bool {
        self.hello.can(Capability::Encode)
    }

    fn searches_codes(&self) -> bool {
        self.hello.can(Capability::Search)
    }

    fn fit(
        &self,
        rows: ArrayView2<'_, f32>,
        seed: u64,
        metric: SearchMetric,
    ) -> Result<Box<dyn Trained + '_>, Refusal> {
        self.fit_in(false, rows, seed, metric)
    }

    fn fit_afresh(
        &self,
        rows: ArrayView2<'_, f32>,
        seed: u64,
        metric: SearchMetric,
    ) -> Result<Box<dyn Trained + '_>, Refusal> {
        self.fit_in(true, rows, seed, metric)
    }

    fn restore(&self, model: &[u8], dim: usize, metric: SearchMetric) -> Result<Box<dyn Trained + '_>, Refusal> {
        self.searches_by(metric)?;
        let mut session = self.ready(dim, true)?;
        let path = self.model_path();
        let broken = |error: std::io::Error| Refusal::Broken { verb: "restore", message: error.to_string() };
        std::fs::write(&path, model).map_err(broken)?;
        let restored = session.restore(&path, dim, metric_of(metric));
        // Large models would add up.
        let _ = std::fs::remove_file(&path);
        restored.map_err(|error| refusal("restore", error))?;
        Ok(self.trained(session, dim, true))
    }

    fn at_bits(&self, bits: u64) -> Option<Box<dyn Subject>> {
        let mut params = self.params.clone();
        params.get("bits")?.as_u64()?;
        params["bits"] = bits.into();
        let other = Outside::new(self.host.clone(), self.command.clone(), params).ok()?;
        Some(Box::new(other))
    }
}

struct InUse<'s> {
    /// None after it broke.
    session: RefCell<Option<Session>>,
    dim: usize,
    of: &'s Outside,
    /// Whether it was trained for the metric that was asked for.
    searches: bool,
    /// A digest of what its searches are over.
    held: Cell<Option<u64>>,
}

impl InUse<'_> {
    fn ask<T>(
        &self,
        verb: &'static str,
        ask: impl FnOnce(&mut Session) -> Result<T, AdapterError>,
    ) -> Result<T, Refusal> {
        let mut session = self.session.borrow_mut();
        let Some(running) = session.as_mut() else {
            return Err(Refusal::Broken { verb, message: "its process has ended before".into() });
        };
        ask(running).map_err(|error| {
            // After a wrong reply it still answers.
            if !matches!(
                error,
                AdapterError::Refused { .. } | AdapterError::Unable { .. } | AdapterError::Protocol { .. }
            ) {
                *session = None;
            }
            refusal(verb, error)
        })
    }
}

impl Drop for InUse<'_> {
    fn drop(&mut self) {
        let session = self.session.take();
        self.of.idle.borrow_mut().extend(session.map(|session| (session, Some(self.dim))));
    }
}

impl Trained for InUse<'_> {
    fn encode(&self, rows: ArrayView2<'_, f32>) -> Result<Codes, Refusal> {
        let (bytes, size, _) = self.ask("encode", |session| session.encode(rows, None))?;
        Ok(Codes { size, bytes })
    }

    fn decode(&self, codes: &Codes) -> Result<Array2<f32>, Refusal> {
        match self.ask("decode", |session| session.decode(&codes.bytes, codes.size, None)) {
            Ok((rows, _)) => Ok(rows),
            // The session refuses such values for results; checks look at them.
            Err(Refusal::Broken { message, .. }) if message.contains("finite values are needed") => {
                Ok(Array2::from_elem((codes.rows(), self.dim), f32::NAN))
            }
            Err(refusal) => Err(refusal),
        }
    }

    fn search(
        &self,
        held: subject::Held<'_>,
        queries: ArrayView2<'_, f32>,
        k: usize,
    ) -> Result<subject::Found, Refusal> {
        if !self.searches {
            return Err(Refusal::Missing(subject::ANY_LENGTH));
        }
        let mut digest = DefaultHasher::new();
        let held = match held {
            subject::Held::Codes(codes) => {
                codes.bytes.hash(&mut digest);
                Held::Codes(&codes.bytes, codes.size)
            }
            subject::Held::Rows(rows) => {
                rows.iter().for_each(|value| value.to_bits().hash(&mut digest));
                Held::Base(rows)
            }
        };
        // What stays in place is not sent again.
        let digest = Some(digest.finish());
        let held = if self.held.replace(digest) == digest { Held::Same } else { held };
        let asked = self.ask("search", |session| session.search(held, queries, k, None, None));
        let found = asked.inspect_err(|_| self.held.set(None))?;
        let padded = found.ids.into_iter().map(|ids| {
            let mut ids: Vec<i64> = ids.into_iter().map(i64::from).collect();
            ids.resize(k.max(ids.len()), -1);
            ids
        });
        Ok(padded.collect())
    }

    fn save(&self) -> Result<Vec<u8>, Refusal> {
        let path = self.of.model_path();
        self.ask("save", |session| session.save_to(&path))?;
        let bytes = std::fs::read(&path);
        let _ = std::fs::remove_file(&path);
        bytes.map_err(|error| Refusal::Broken { verb: "save", message: error.to_string() })
    }
}
