//! How outside programs are started here, and what they say of themselves.

use crate::error::AdapterError;
use crate::protocol::{Hello, Metric};
use crate::session::Session;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The executable that becomes an adapter by [`crate::become_adapter`], with its arguments; `--` and the command follow them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launcher {
    /// The executable.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
}

/// How outside programs are started here. Clones share what is known of programs.
#[derive(Clone, Debug, Default)]
pub struct Host {
    /// What starts them; None to start them directly, with replies on standard output.
    pub launcher: Option<Launcher>,
    /// The folder that they start in, and that relative paths of commands start from.
    pub root: PathBuf,
    /// Whether what they write to standard error goes to standard error of this process too.
    pub echo: bool,
    /// Whether commands that a file names are refused, because a stranger wrote it.
    pub refuses_commands: bool,
    /// Whether this process starts one program and nothing else, and has called [`crate::adopt_orphans`]: then all its descendants
    /// belong to the program.
    pub sole: bool,
    /// How the vectors of the current work are compared.
    pub metric: Metric,
    /// Python with `venv`, to make the environments of the adapters that are shipped.
    pub python: PathBuf,
    /// Where these environments are kept; None if there is no place.
    pub environments: Option<PathBuf>,
    /// Programs that have said hello, by command. They stay for further questions.
    waiting: Arc<Mutex<HashMap<Vec<String>, Session>>>,
}

/// What a result of an outside program depends on, besides its parameters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Name of the library.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SHA-256 over the contents of the files of the command.
    pub files_sha256: String,
}

/// Longest file of a command whose content counts.
const MOST_FILE_BYTES: u64 = 1 << 32;

impl Host {
    /// The same host, in another folder.
    pub fn at(&self, root: &Path) -> Host {
        Host { root: root.to_owned(), ..self.clone() }
    }

    /// Asks a program who it is, with parameters and, if it is known, the dimension of vectors. The program stays for further
    /// questions until [`Host::dismiss`].
    ///
    /// # Errors
    /// It cannot be started, refuses the parameters, or breaks the protocol.
    pub fn hello(
        &self,
        command: &[String],
        files: &[String],
        params: &Value,
        dim: Option<usize>,
    ) -> Result<(Hello, Identity), AdapterError> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut session = match waiting.remove(command) {
            Some(session) => session,
            None => Session::start(self, command, 1)?,
        };
        let answer = session.hello(params, dim);
        if matches!(answer, Ok(_) | Err(AdapterError::Refused { .. })) {
            waiting.insert(command.to_vec(), session);
        }
        let hello = answer?;
        let files_sha256 = self.digest(command, files)?;
        let identity = Identity { name: hello.name.clone(), version: hello.version.clone(), files_sha256 };
        Ok((hello, identity))
    }

    /// Ends the programs that wait for questions.
    pub fn dismiss(&self) {
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        for (_, session) in waiting {
            // It has nothing to lose.
            let _ = session.bye();
        }
    }

    /// The digest of the files that a command names, and of further `files`: by their contents and not by where they are.
    ///
    /// # Errors
    /// A file of `files` that cannot be read.
    pub fn digest(&self, command: &[String], files: &[String]) -> Result<String, AdapterError> {
        let mut digest = Sha256::new();
        let mut add = |path: &Path, must: bool| -> Result<(), AdapterError> {
            let found = path.metadata().ok().filter(|found| found.is_file() && found.len() <= MOST_FILE_BYTES);
            let content = found.and_then(|_| std::fs::read(path).ok());
            match content {
                Some(content) => {
                    digest.update((content.len() as u64).to_le_bytes());
                    digest.update(&content);
                    Ok(())
                }
                None if must => Err(AdapterError::Start {
                    command: command.first().cloned().unwrap_or_default(),
                    reason: format!("{} is no file that can be read", path.display()),
                }),
                None => Ok(()),
            }
        };
        // What is found on the path belongs to the machine. Its version is in `hello`.
        for part in command {
            let path = self.root.join(part);
            if part.contains(std::path::is_separator) || path.extension().is_some() {
                add(&path, false)?;
            }
        }
        for file in files {
            add(&self.root.join(file), true)?;
        }
        Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}
