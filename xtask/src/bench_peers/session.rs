//! Keeps a peer running: starts it on demand, tells it which vectors to load, and restarts it after it died.

use super::peer::{Peer, PeerError, text};
use super::rows::Row;
use cpu::Isa;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// The peer, running or not.
pub struct PeerSession<'a> {
    /// The interpreter.
    pub python: PathBuf,
    /// Where its script is, and the vectors.
    pub folder: PathBuf,
    /// Threads, as many as on our side.
    pub threads: usize,
    /// Time limit of an answer.
    pub limit: Duration,
    /// Set to stop.
    pub interrupt: &'a AtomicBool,
    peer: Option<Peer>,
    loaded: bool,
}

/// Name of the peer's script.
pub const SCRIPT: &str = "faiss_peer.py";

/// The peer's script.
pub const SCRIPT_TEXT: &str = include_str!("../../peers/faiss_peer.py");

/// What the peer reports about itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Greeting {
    /// Version of FAISS.
    pub version: String,
    /// What it was compiled for.
    pub options: String,
}

impl<'a> PeerSession<'a> {
    /// Nothing is started yet. `folder` holds the script.
    pub fn new(
        python: PathBuf,
        folder: PathBuf,
        threads: usize,
        limit: Duration,
        interrupt: &'a AtomicBool,
    ) -> PeerSession<'a> {
        PeerSession { python, folder, threads, limit, interrupt, peer: None, loaded: false }
    }

    /// Starts the peer, if it is not running.
    ///
    /// # Errors
    /// Any [`PeerError`].
    pub fn greet(&mut self) -> Result<Greeting, PeerError> {
        if self.peer.is_none() {
            let mut command = Command::new(&self.python);
            command.arg(self.folder.join(SCRIPT)).env("OMP_NUM_THREADS", self.threads.to_string());
            // OpenBLAS mistakes some virtual machines with AVX-512 for processors without it, which halves the speed of
            // FAISS's k-means.
            if Isa::named("avx512").is_ok() && std::env::var_os("OPENBLAS_CORETYPE").is_none() {
                command.env("OPENBLAS_CORETYPE", "SkylakeX");
            }
            self.peer = Some(Peer::start(command, self.limit)?);
            self.loaded = false;
        }
        let answer = self.ask(&json!({ "op": "hello", "threads": self.threads }))?;
        Ok(Greeting { version: text(&answer, "faiss")?, options: text(&answer, "options")? })
    }

    /// The vectors in the folder have changed.
    pub fn forget(&mut self) {
        self.loaded = false;
    }

    /// Makes the peer ready to be timed on a row.
    ///
    /// # Errors
    /// Any [`PeerError`].
    pub fn prepare(&mut self, row: &Row) -> Result<(), PeerError> {
        if self.peer.is_none() {
            self.greet()?;
        }
        if !self.loaded {
            let part = |name: &str| self.folder.join(name).with_extension("npy");
            self.ask(&json!({
                "op": "load", "train": part("train"), "base": part("base"), "queries": part("queries"),
            }))?;
            self.loaded = true;
        }
        // In Python, the number of all rows is None.
        let count = |n: usize| n.min(1 << 40);
        self.ask(&json!({
            "op": "prepare", "codec": row.faiss, "stage": row.stage.as_str(), "train_rows": count(row.train),
            "rows": count(row.rows), "k": row.k,
        }))?;
        Ok(())
    }

    /// Sends a request to a running peer; a peer that cannot continue is dropped.
    ///
    /// # Errors
    /// Any [`PeerError`].
    pub fn ask(&mut self, request: &Value) -> Result<Value, PeerError> {
        let peer = self.peer.as_mut().ok_or_else(|| PeerError::Ended(String::new()))?;
        let answer = peer.ask(request, self.interrupt);
        if answer.as_ref().is_err_and(|error| !error.leaves_it_alive()) {
            self.peer = None;
        }
        answer
    }
}
