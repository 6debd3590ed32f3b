//! Python environments of the adapters that are shipped: made on demand from PyPI, and kept in the user's cache.

use crate::error::AdapterError;
use crate::shipped::{CLIENT, Shipped};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The folder of an adapter in a cache. Its name contains a digest of the pinned packages, so that other pins make another folder.
#[derive(Clone, Debug, PartialEq)]
pub struct Environment {
    name: &'static str,
    folder: PathBuf,
}

/// The file whose presence says that an environment is complete. It holds what is installed.
const COMPLETE: &str = "requirements.txt";

/// Prints the version of Python.
const PROBE: &str = "import sys; print('%d.%d' % sys.version_info[:2])";

impl Environment {
    /// The environment of an adapter below the folder `cache`, made or not.
    pub fn of(shipped: &Shipped, cache: &Path) -> Environment {
        let key = digest(&[shipped.requirements]);
        Environment { name: shipped.name, folder: cache.join(format!("{}-{key}", shipped.name)) }
    }

    /// The command that starts an adapter: full paths of an interpreter and of the program. Makes the environment first if it is not
    /// there: with the interpreter `base_python`, from PyPI. `notify` is told what takes long.
    ///
    /// # Errors
    /// No Python that fits; packages that cannot be fetched or installed; a cache that cannot be written.
    pub fn ready(
        shipped: &Shipped,
        base_python: &Path,
        cache: &Path,
        notify: &mut dyn FnMut(&str),
    ) -> Result<Vec<String>, AdapterError> {
        if let Some(reason) = shipped.refusal() {
            let message = format!("the adapter `{}` cannot run here: {reason}", shipped.name);
            return Err(AdapterError::Environment { message, help: "leave its methods out on this machine".into() });
        }
        let environment = Environment::of(shipped, cache);
        let folder = &environment.folder;
        fs::create_dir_all(folder).map_err(|error| unwritable(folder, &error))?;
        // The full path: the adapter starts in another folder.
        let folder = fs::canonicalize(folder).map_err(|error| unwritable(folder, &error))?;
        let environment = Environment { folder, ..environment };
        // Two programs at once make it one after the other; the second finds it there.
        let _lock = environment.lock()?;
        let python = environment.python();
        if !(environment.is_complete(shipped) && python.is_file()) {
            notify(&format!(
                "creating a Python environment with {} {} in {}",
                shipped.package,
                shipped.version(),
                environment.folder.display()
            ));
            environment.make(shipped, base_python)?;
        }
        let program = environment.write_program(shipped)?;
        // Without the variables of the user's own Python, which would change what is imported.
        let command = [python.as_os_str(), "-E".as_ref(), program.as_os_str()];
        Ok(command.map(|part| part.to_string_lossy().into_owned()).to_vec())
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether all packages are installed.
    pub fn is_complete(&self, shipped: &Shipped) -> bool {
        fs::read_to_string(self.folder.join(COMPLETE)).is_ok_and(|text| text == shipped.requirements)
    }

    /// Bytes that it takes; 0 if there is none.
    pub fn bytes(&self) -> u64 {
        bytes_of(&self.folder)
    }

    /// Removes it, and those of other pinned versions of the adapter. Returns the number of bytes that became free.
    ///
    /// # Errors
    /// A folder that cannot be removed.
    pub fn remove(&self) -> Result<u64, AdapterError> {
        let Some(cache) = self.folder.parent() else { return Ok(0) };
        let mut freed = 0;
        for entry in fs::read_dir(cache).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let key = name.strip_prefix(self.name).and_then(|rest| rest.strip_prefix('-'));
            let is_key = |key: &str| key.len() == KEY && key.bytes().all(|byte| byte.is_ascii_hexdigit());
            if !key.is_some_and(is_key) || !entry.path().is_dir() {
                continue;
            }
            let old = Environment { name: self.name, folder: entry.path() };
            let _lock = old.lock()?;
            let bytes = old.bytes();
            fs::remove_dir_all(&old.folder).map_err(|error| unwritable(&old.folder, &error))?;
            // The lock stays: another program may wait for it.
            freed += bytes;
        }
        Ok(freed)
    }

    fn python(&self) -> PathBuf {
        self.folder.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" })
    }

    fn lock(&self) -> Result<File, AdapterError> {
        let path = self.folder.with_extension("lock");
        let lock = File::create(&path).map_err(|error| unwritable(&path, &error))?;
        lock.lock().map_err(|error| unwritable(&path, &error))?;
        Ok(lock)
    }

    fn make(&self, shipped: &Shipped, base: &Path) -> Result<(), AdapterError> {
        check_python(shipped, base)?;
        let output = run(Command::new(base).args(["-m", "venv", "--clear"]).arg(&self.folder), base)?;
        if !output.status.success() {
            return Err(AdapterError::Environment {
                message: format!("`{} -m venv` failed: {}", base.display(), last_words(&output)),
                help: "install Python's `venv` module (on Debian and Ubuntu: apt install python3-venv), or name another Python with \
                       `--python PATH`"
                    .into(),
            });
        }
        let partial = self.folder.join("requirements.partial");
        fs::write(&partial, shipped.requirements).map_err(|error| unwritable(&partial, &error))?;
        let python = self.python();
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--no-cache-dir"]);
        pip.args(["--only-binary", ":all:", "--retries", "2", "--timeout", "20", "--requirement"]).arg(&partial);
        let output = run(&mut pip, &python)?;
        if !output.status.success() {
            return Err(AdapterError::Environment {
                message: format!(
                    "pip could not install {} {}: {}",
                    shipped.package,
                    shipped.version(),
                    last_words(&output)
                ),
                help: format!(
                    "this needs the network once, to reach PyPI (PIP_INDEX_URL names a mirror), and a Python that {} has packages for \
                     (`--python PATH` names another)",
                    shipped.package
                ),
            });
        }
        let complete = self.folder.join(COMPLETE);
        fs::rename(&partial, &complete).map_err(|error| unwritable(&complete, &error))
    }

    /// Writes the program and the client beside each other, into a folder of their own: a program of another version that runs now keeps its
    /// files.
    fn write_program(&self, shipped: &Shipped) -> Result<PathBuf, AdapterError> {
        let folder = self.folder.join(format!("adapter-{}", digest(&[shipped.adapter, CLIENT])));
        fs::create_dir_all(&folder).map_err(|error| unwritable(&folder, &error))?;
        for (name, text) in [("vqbench.py", CLIENT), ("adapter.py", shipped.adapter)] {
            let path = folder.join(name);
            if fs::read_to_string(&path).is_ok_and(|found| found == text) {
                continue;
            }
            let partial = path.with_extension("partial");
            fs::write(&partial, text).map_err(|error| unwritable(&partial, &error))?;
            fs::rename(&partial, &path).map_err(|error| unwritable(&path, &error))?;
        }
        Ok(folder.join("adapter.py"))
    }
}

/// Characters of a digest in the name of a folder.
const KEY: usize = 12;

/// The start of the SHA-256 of texts.
fn digest(texts: &[&str]) -> String {
    let mut digest = Sha256::new();
    for text in texts {
        digest.update((text.len() as u64).to_le_bytes());
        digest.update(text);
    }
    let bytes = digest.finalize();
    bytes.iter().take(KEY / 2).map(|byte| format!("{byte:02x}")).collect()
}

/// Refuses what is no Python, and a Python that is too old for the library.
fn check_python(shipped: &Shipped, base: &Path) -> Result<(), AdapterError> {
    let (major, minor) = shipped.oldest_python;
    let help =
        format!("install Python {major}.{minor} or later with its `venv` module, or name one with `--python PATH`");
    let refuse = |message: String| AdapterError::Environment { message, help: help.clone() };
    let output = Command::new(base).args(["-c", PROBE]).stdin(Stdio::null()).output();
    let output = output.map_err(|error| {
        refuse(format!("the adapter `{}` needs Python: cannot run `{}`: {error}", shipped.name, base.display()))
    })?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let version = text.split_once('.').and_then(|(a, b)| Some((a.parse::<u32>().ok()?, b.parse::<u32>().ok()?)));
    match version {
        None => Err(refuse(format!("`{}` does not behave like Python: {}", base.display(), last_words(&output)))),
        Some(found) if found < shipped.oldest_python => Err(refuse(format!(
            "`{}` is Python {text}; {} needs {major}.{minor} or later",
            base.display(),
            shipped.package
        ))),
        Some(_) => Ok(()),
    }
}

fn run(command: &mut Command, program: &Path) -> Result<Output, AdapterError> {
    // Not the user's own settings of Python, which may point to other packages.
    command.env_remove("PYTHONPATH").env_remove("PYTHONHOME").stdin(Stdio::null());
    command.output().map_err(|error| AdapterError::Environment {
        message: format!("cannot run `{}`: {error}", program.display()),
        help: "name a Python with `--python PATH`".into(),
    })
}

/// The last line that a program said, of errors if there are any.
fn last_words(output: &Output) -> String {
    let said = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
        let marked = lines().rfind(|line| line.to_lowercase().starts_with("error")).map(str::to_owned);
        marked.or_else(|| lines().next_back().map(str::to_owned))
    };
    let words = said(&output.stderr).or_else(|| said(&output.stdout));
    crate::process::plain(&words.unwrap_or_else(|| output.status.to_string()), 500)
}

/// Bytes of the files of a folder and of those below; symbolic links are not followed.
fn bytes_of(folder: &Path) -> u64 {
    let of_entry = |entry: fs::DirEntry| match entry.metadata() {
        Ok(found) if found.is_dir() => bytes_of(&entry.path()),
        Ok(found) => found.len(),
        Err(_) => 0,
    };
    fs::read_dir(folder).into_iter().flatten().flatten().map(of_entry).sum()
}

fn unwritable(path: &Path, error: &std::io::Error) -> AdapterError {
    AdapterError::Environment {
        message: format!("cannot write {}: {error}", path.display()),
        help: "make the folder writable, or set XDG_CACHE_HOME to another".into(),
    }
}
