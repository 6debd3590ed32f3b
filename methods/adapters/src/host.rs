//! How outside programs are started here, and what they say of themselves.

use crate::environment::Environment;
use crate::error::AdapterError;
use crate::process::plain;
use crate::protocol::{Hello, Metric};
use crate::session::Session;
use crate::shipped::{CLIENT, Shipped};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

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
    /// Most time that a program may take to train, encode, decode or search; None if something else limits it.
    pub patience: Option<Duration>,
    /// How the vectors of the current work are compared.
    pub metric: Metric,
    /// Python with `venv`, to make the environments of the adapters that are shipped.
    pub python: PathBuf,
    /// Where these environments are kept; None if there is no place.
    pub environments: Option<PathBuf>,
    /// Told what takes long: an environment that is made for the first time.
    pub notify: Option<fn(&str)>,
    /// Programs that have said hello, by command. They stay for further questions.
    waiting: Arc<Mutex<HashMap<Vec<String>, Waiting>>>,
}

/// What became of a program that was asked.
#[derive(Debug)]
enum Waiting {
    /// It waits for further questions.
    Here(Box<Session>),
    /// It did not answer in time, and would not another time.
    Silent(AdapterError),
}

/// An outside program: one that a file names, or one that is shipped.
#[derive(Clone, Debug)]
pub enum Outside {
    /// A command, and further files that its results depend on.
    Command {
        /// The program and its arguments.
        command: Vec<String>,
        /// The files.
        files: Vec<String>,
    },
    /// An adapter that is shipped.
    Shipped(&'static Shipped),
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

impl Host {
    /// The same host, in another folder.
    pub fn at(&self, root: &Path) -> Host {
        Host { root: root.to_owned(), ..self.clone() }
    }

    /// The command that starts a program here. The environment of a shipped adapter is made first if there is none.
    ///
    /// # Errors
    /// A stranger's command where they are refused; an environment that cannot be made.
    pub fn command(&self, outside: &Outside) -> Result<Vec<String>, AdapterError> {
        match outside {
            Outside::Command { command, .. } if self.refuses_commands => {
                Err(AdapterError::Forbidden { command: plain(&command.join(" "), 200) })
            }
            Outside::Command { command, .. } => Ok(command.clone()),
            Outside::Shipped(shipped) => {
                let cache = self.environments.as_deref().ok_or_else(|| AdapterError::Environment {
                    message: format!("there is no folder for the Python environment of `{}`", shipped.name),
                    help: "set XDG_CACHE_HOME or HOME to a full path".into(),
                })?;
                if self.refuses_commands && !Environment::of(shipped, cache).is_complete(shipped) {
                    return Err(AdapterError::Environment {
                        message: format!("the library of `{}` is not installed", shipped.name),
                        help: format!("`cargo xtask adapters install {}` fetches it", shipped.name),
                    });
                }
                let notify = &mut |text: &str| self.notify.iter().for_each(|notify| notify(text));
                Environment::ready(shipped, &self.python, cache, notify)
            }
        }
    }

    /// Asks a program what it is, with parameters and, if it is known, the dimension of vectors. The program stays for further
    /// questions until [`Host::dismiss`].
    ///
    /// # Errors
    /// It cannot be started, refuses the parameters, or breaks the protocol.
    pub fn hello(&self, outside: &Outside, params: &Value, dim: Option<usize>) -> Result<Hello, AdapterError> {
        let command = self.command(outside)?;
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut session = match waiting.remove(&command) {
            Some(Waiting::Here(session)) => session,
            Some(Waiting::Silent(error)) => {
                waiting.insert(command, Waiting::Silent(error.clone()));
                return Err(error);
            }
            None => Box::new(Session::start(self, &command, 1)?),
        };
        let answer = session.hello(params, dim);
        match &answer {
            Ok(_) | Err(AdapterError::Refused { .. } | AdapterError::TooLong { .. }) => {
                waiting.insert(command, Waiting::Here(session));
            }
            Err(error @ AdapterError::Silent { .. }) => {
                waiting.insert(command, Waiting::Silent(error.clone()));
            }
            Err(_) => {}
        }
        answer
    }

    /// What results of a program depend on, by what it has said.
    ///
    /// # Errors
    /// A file of [`Outside::Command`] that cannot be read.
    pub fn identity(&self, outside: &Outside, hello: &Hello) -> Result<Identity, AdapterError> {
        let files_sha256 = self.digest(outside)?;
        Ok(Identity { name: hello.name.clone(), version: hello.version.clone(), files_sha256 })
    }

    /// Ends the programs that wait for questions.
    pub fn dismiss(&self) {
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        for (_, program) in waiting {
            if let Waiting::Here(session) = program {
                // It has nothing to lose.
                let _ = session.bye();
            }
        }
    }

    /// The digest of the files of a program: by their contents and not by where they are.
    fn digest(&self, outside: &Outside) -> Result<String, AdapterError> {
        let mut digest = Sha256::new();
        match outside {
            Outside::Shipped(shipped) => {
                for text in [CLIENT, shipped.adapter, shipped.requirements] {
                    digest.update((text.len() as u64).to_le_bytes());
                    digest.update(text);
                }
            }
            Outside::Command { command, files } => {
                for (place, part) in command.iter().enumerate() {
                    // What is found on the path belongs to the machine. Its version is in `hello`.
                    if place == 0 && !part.contains(std::path::is_separator) {
                        continue;
                    }
                    let value = part.split_once('=').map(|(_, value)| value);
                    for file in std::iter::once(part.as_str()).chain(value) {
                        self.add(file, &mut digest);
                    }
                }
                for file in files {
                    if !self.add(file, &mut digest) {
                        let command = command.first().cloned().unwrap_or_default();
                        let reason = format!("{file} is no file that can be read");
                        return Err(AdapterError::Start { command, reason });
                    }
                }
            }
        }
        Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Adds the content of a file. Returns whether there is such a file.
    fn add(&self, file: &str, digest: &mut Sha256) -> bool {
        let path = self.root.join(file);
        let Some(found) = path.metadata().ok().filter(std::fs::Metadata::is_file) else { return false };
        let Ok(mut content) = std::fs::File::open(path) else { return false };
        digest.update(found.len().to_le_bytes());
        // In blocks: files of weights are large.
        let mut block = vec![0u8; 1 << 20];
        loop {
            match content.read(&mut block) {
                Ok(0) => return true,
                Ok(count) => digest.update(&block[..count]),
                Err(_) => return false,
            }
        }
    }
}
