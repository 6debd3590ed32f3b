//! A trained quantizer inside an outside program. What the program cannot do is missing, and times are those of its own clock.

use super::External;
use crate::backend::{Backend, CodeRoom, DeviceCodes, DeviceMatrix, MatrixRoom};
use crate::{Context, MethodError, Neighbor, Quantizer, SearchMetric, State, Symbols, TrainingRows, check_batch};
use adapters::{AdapterError, Capability, Found, Held, Lap, Metric, Session, Singles, Timing};
use ndarray::{Array2, ArrayView2, ArrayViewMut2, s};
use serde_json::Value;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a program can do. Everything else is missing from results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// Rows to codes.
    pub encode: bool,
    /// Codes to rows.
    pub decode: bool,
    /// Search over codes.
    pub search: bool,
    /// Search over rows that it stores in its own way.
    pub search_base: bool,
    /// Whether the size of its model can be measured.
    pub save: bool,
    /// Whether it can read its model again.
    pub restore: bool,
}

/// A trained quantizer inside an outside program.
pub struct Program {
    /// None after its end.
    session: Mutex<Option<Session>>,
    backend: Arc<dyn Backend>,
    dim: usize,
    code_size: usize,
    model_size: usize,
    fit_seconds: f64,
    abilities: Abilities,
    metrics: Vec<Metric>,
    metric: Metric,
    seedable: bool,
}

impl Program {
    pub(super) fn fit(method: &External, train: &TrainingRows<'_>, cx: &Context) -> Result<Program, MethodError> {
        let dim = train.ncols();
        let (mut session, mut program) = Program::start(method, dim, cx)?;
        let rows = train.host()?;
        program.fit_seconds = session.fit(rows, cx.seed, cx.programs.metric)?;
        program.learn_sizes(&mut session, rows)?;
        Ok(program.with(session))
    }

    /// A program that has read the model that [`Program::save_to`] wrote.
    ///
    /// # Errors
    /// See [`AdapterError`].
    pub fn restored(
        method: &External,
        path: &Path,
        sample: ArrayView2<'_, f32>,
        cx: &Context,
    ) -> Result<Program, MethodError> {
        let (mut session, mut program) = Program::start(method, sample.ncols(), cx)?;
        session.restore(path, sample.ncols(), cx.programs.metric)?;
        program.learn_sizes(&mut session, sample)?;
        Ok(program.with(session))
    }

    /// Starts the program; it must be the one that the plan has asked.
    fn start(method: &External, dim: usize, cx: &Context) -> Result<(Session, Program), MethodError> {
        let mut session =
            Session::start(&cx.programs, &cx.programs.command(&method.outside)?, rayon::current_num_threads())?;
        let hello = session.hello(&Value::Object(method.params.clone()), Some(dim))?;
        let now = cx.programs.identity(&method.outside, &hello)?;
        if let Some(planned) = &method.identity {
            let wrong = |what: String| AdapterError::Protocol { verb: "hello", what };
            if (&planned.name, &planned.version) != (&now.name, &now.version) {
                return Err(MethodError::Program(wrong(format!(
                    "it is {} {} now; it was {} {} when this run was planned",
                    now.name, now.version, planned.name, planned.version
                ))));
            }
            if planned.files_sha256 != now.files_sha256 {
                return Err(MethodError::Program(wrong("its files have changed since this run was planned".into())));
            }
        }
        let can = |capability| hello.can(capability);
        let abilities = Abilities {
            encode: can(Capability::Encode),
            decode: can(Capability::Encode) && can(Capability::Decode),
            search: can(Capability::Encode) && can(Capability::Search),
            search_base: can(Capability::SearchBase),
            save: can(Capability::Save),
            restore: can(Capability::Restore),
        };
        let program = Program {
            session: Mutex::new(None),
            backend: cx.backend.clone(),
            dim,
            code_size: 0,
            model_size: 0,
            fit_seconds: 0.0,
            abilities,
            metrics: hello.metrics.clone(),
            metric: cx.programs.metric,
            seedable: hello.seedable,
        };
        Ok((session, program))
    }

    /// What it can do.
    pub fn abilities(&self) -> Abilities {
        self.abilities
    }

    /// Whether equal seeds give equal codes.
    pub fn is_seedable(&self) -> bool {
        self.seedable
    }

    /// Seconds of training by its own clock.
    pub fn fit_seconds(&self) -> f64 {
        self.fit_seconds
    }

    /// Whether it can search by this metric itself: over codes or over its own rows, in the metric that it was trained for.
    pub fn can_search(&self, metric: SearchMetric) -> bool {
        (self.abilities.search || self.abilities.search_base) && self.searches_by(metric)
    }

    fn searches_by(&self, metric: SearchMetric) -> bool {
        let metric = match metric {
            SearchMetric::L2 => Metric::L2,
            SearchMetric::InnerProduct => Metric::Ip,
        };
        metric == self.metric && self.metrics.contains(&metric)
    }

    /// Codes of rows, and measurements of encoding them.
    ///
    /// # Errors
    /// See [`AdapterError`].
    pub fn time_encoding(&self, rows: ArrayView2<'_, f32>, timing: Timing) -> Result<(Vec<u8>, Vec<Lap>), MethodError> {
        self.ask(|session| session.encode(rows, Some(timing))).map(|(codes, _, laps)| (codes, laps))
    }

    /// Measurements of decoding codes, with the rows that they gave.
    ///
    /// # Errors
    /// See [`AdapterError`].
    pub fn time_decoding(&self, codes: &[u8], timing: Timing) -> Result<(Array2<f32>, Vec<Lap>), MethodError> {
        self.ask(|session| session.decode(codes, self.code_size, Some(timing)))
    }

    /// Makes codes or rows what the next searches are over.
    ///
    /// # Errors
    /// See [`AdapterError`].
    pub fn hold(&self, held: Held<'_>) -> Result<(), MethodError> {
        // Some libraries search for at least one query, and some divide by its norm.
        let query = Array2::from_elem((1, self.dim), 1.0);
        self.ask(|session| session.search(held, query.view(), 1, None, None)).map(drop)
    }

    /// The `k` nearest rows of each query, over what it holds. The score of a neighbour is its place.
    ///
    /// # Errors
    /// See [`AdapterError`].
    pub fn search(&self, queries: ArrayView2<'_, f32>, k: usize) -> Result<Vec<Vec<Neighbor>>, MethodError> {
        let found = self.ask(|session| session.search(Held::Same, queries, k, None, None))?;
        let neighbors =
            |ids: Vec<u32>| ids.into_iter().enumerate().map(|(place, id)| Neighbor { id, score: place as f32 });
        Ok(found.ids.into_iter().map(|ids| neighbors(ids).collect()).collect())
    }

    /// Measurements of a search over what is held, and of single queries.
    ///
    /// # Errors
    /// See [`AdapterError`].
    pub fn time_search(
        &self,
        queries: ArrayView2<'_, f32>,
        k: usize,
        timing: Timing,
        singles: Option<Singles>,
    ) -> Result<Found, MethodError> {
        self.ask(|session| session.search(Held::Same, queries, k, Some(timing), singles))
    }

    /// Bytes of what it saves now: its model and, if it holds rows in its own way, these.
    ///
    /// # Errors
    /// See [`AdapterError`].
    pub fn saved_bytes(&self) -> Result<u64, MethodError> {
        self.ask(Session::saved_bytes)
    }

    /// Saves its model to a file.
    ///
    /// # Errors
    /// See [`AdapterError`].
    pub fn save_to(&self, path: &Path) -> Result<(), MethodError> {
        self.ask(|session| session.save_to(path))
    }

    /// Peak memory of its processes, in bytes; None if they cannot be seen.
    pub fn peak_bytes(&self) -> Option<u64> {
        let members = self.guard().as_ref().map(Session::members).filter(|members| !members.is_empty())?;
        Some(members.iter().map(|member| member.peak_bytes).sum())
    }

    /// Asks it to end. A quantizer that is used afterwards gives errors.
    ///
    /// # Errors
    /// It does not end, or leaves processes behind.
    pub fn end(&self) -> Result<(), MethodError> {
        let session = self.guard().take();
        Ok(session.map_or(Ok(()), Session::bye)?)
    }

    /// Measures the bytes of a code and of the model.
    fn learn_sizes(&mut self, session: &mut Session, rows: ArrayView2<'_, f32>) -> Result<(), AdapterError> {
        if self.abilities.encode && rows.nrows() > 0 {
            self.code_size = session.encode(rows.slice(s![..1, ..]), None)?.1;
        }
        if self.abilities.save {
            self.model_size = session.saved_bytes()? as usize;
        }
        Ok(())
    }

    fn with(self, session: Session) -> Program {
        Program { session: Mutex::new(Some(session)), ..self }
    }

    fn guard(&self) -> MutexGuard<'_, Option<Session>> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the session for something.
    fn ask<T>(&self, ask: impl FnOnce(&mut Session) -> Result<T, AdapterError>) -> Result<T, MethodError> {
        let mut guard = self.guard();
        let session = guard.as_mut().ok_or_else(|| MethodError::Broken("a program was asked after its end".into()))?;
        Ok(ask(session)?)
    }
}

impl Quantizer for Program {
    fn dim(&self) -> usize {
        self.dim
    }

    fn code_bits(&self) -> usize {
        8 * self.code_size
    }

    fn model_size(&self) -> usize {
        self.model_size
    }

    fn backend(&self) -> &dyn Backend {
        &*self.backend
    }

    fn encode(&self, rows: &DeviceMatrix<'_>, codes: &mut CodeRoom<'_>) -> Result<(), MethodError> {
        let rows = self.backend.download(rows)?;
        self.backend.fill_codes(codes, &mut |codes| self.encode_into(rows.view(), codes))
    }

    fn decode(&self, codes: &DeviceCodes<'_>, rows: &mut MatrixRoom<'_>) -> Result<(), MethodError> {
        let (codes, dim) = (self.backend.download_codes(codes)?, self.dim);
        self.backend.fill_rows(rows, &mut |values| {
            let shape = (values.len() / dim.max(1), dim);
            let rows = ArrayViewMut2::from_shape(shape, values).map_err(|e| MethodError::Broken(e.to_string()))?;
            self.decode_into(&codes, rows)
        })
    }

    fn encode_into(&self, rows: ArrayView2<'_, f32>, codes: &mut [u8]) -> Result<(), MethodError> {
        check_batch(self.dim, self.code_size, rows.dim(), codes.len())?;
        if rows.nrows() > 0 {
            codes.copy_from_slice(&self.ask(|session| session.encode(rows, None))?.0);
        }
        Ok(())
    }

    fn decode_into(&self, codes: &[u8], mut rows: ArrayViewMut2<'_, f32>) -> Result<(), MethodError> {
        check_batch(self.dim, self.code_size, rows.dim(), codes.len())?;
        if rows.nrows() > 0 {
            rows.assign(&self.ask(|session| session.decode(codes, self.code_size, None))?.0);
        }
        Ok(())
    }

    fn symbols(&self) -> Option<&dyn Symbols> {
        None
    }

    fn save(&self, _state: &mut State) {}

    fn program(&self) -> Option<&Program> {
        Some(self)
    }
}
