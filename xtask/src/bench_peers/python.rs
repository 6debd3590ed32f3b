//! Finds a Python with the pinned peer: the user's own if it has the peer, otherwise an environment that is created
//! from PyPI and kept in the user's cache.

use crate::environment;
use crate::errors::Mistakes;
use invariants::last_words;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What is installed, in pip's notation.
const REQUIREMENTS: &str = include_str!("../../peers/requirements.txt");

/// Oldest Python that the pinned packages run on.
const OLDEST: &str = "3.10";

/// Prints the version of Python, then that of the peer if it can be imported.
const PROBE: &str = "import sys
print('%d.%d' % sys.version_info[:2])
try:
    import faiss, numpy
    print(faiss.__version__)
except ImportError:
    print('none')";

/// The version of FAISS that is compared with.
pub fn pinned_version() -> &'static str {
    let version = REQUIREMENTS.lines().find_map(|line| line.strip_prefix("faiss-cpu=="));
    version.unwrap_or_default()
}

/// Path of an interpreter that has the pinned peer: `base` if it does, otherwise that of an environment made with it.
///
/// # Errors
/// What is missing, and how to get it.
pub fn interpreter(base: &Path) -> Result<PathBuf, Mistakes> {
    if probe(base)? == pinned_version() {
        return Ok(base.to_owned());
    }
    let environment = cache_folder()?.join(format!("faiss-cpu-{}", pinned_version()));
    let python = environment.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
    let made = environment.join("requirements.txt");
    fs::create_dir_all(&environment).map_err(|e| unwritable(&environment, &e))?;
    // Two of these commands at once make it one after the other; the second finds it there.
    let lock = environment.with_extension("lock");
    let lock = File::create(&lock).map_err(|e| unwritable(&lock, &e))?;
    lock.lock().map_err(|e| unwritable(&environment, &e))?;
    let current = || fs::read_to_string(&made).is_ok_and(|text| text == REQUIREMENTS);
    if current() && probe(&python).is_ok_and(|version| version == pinned_version()) {
        return Ok(python);
    }
    say_aside!("creating a Python environment with faiss-cpu {} in {}", pinned_version(), environment.display());
    make(base, &environment)?;
    let partial = environment.join("requirements.partial");
    fs::write(&partial, REQUIREMENTS).map_err(|e| unwritable(&partial, &e))?;
    install(&python, &partial)?;
    let found = probe(&python)?;
    if found != pinned_version() {
        let message = format!("FAISS was installed but cannot be used: version {found} was found");
        let help = format!("delete {} and try again", environment.display());
        return Err(Mistakes::new(message, help));
    }
    fs::rename(&partial, &made).map_err(|e| unwritable(&made, &e))?;
    Ok(python)
}

/// The version of FAISS that an interpreter has, `none` if it has none.
fn probe(python: &Path) -> Result<String, Mistakes> {
    let help = format!("install Python {OLDEST} or later with its `venv` module, or name it with `--python PATH`");
    let output = Command::new(python).args(["-c", PROBE]).stdin(Stdio::null()).output().map_err(|error| {
        Mistakes::new(format!("comparing with FAISS needs Python: cannot run `{}`: {error}", python.display()), &*help)
    })?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines = text.lines();
    let version = lines.next().and_then(|line| line.split_once('.'));
    let Some((major, minor)) = version.and_then(|(a, b)| Some((a.parse::<u32>().ok()?, b.parse::<u32>().ok()?))) else {
        let message = format!("`{}` does not behave like Python: {}", python.display(), last_words(&output));
        return Err(Mistakes::new(message, help));
    };
    if (major, minor) < (3, 10) {
        let message = format!("`{}` is Python {major}.{minor}; FAISS needs {OLDEST} or later", python.display());
        return Err(Mistakes::new(message, help));
    }
    Ok(lines.next().unwrap_or("none").trim().to_owned())
}

/// Makes an empty environment.
fn make(base: &Path, environment: &Path) -> Result<(), Mistakes> {
    let output = Command::new(base).args(["-m", "venv", "--clear"]).arg(environment).stdin(Stdio::null()).output();
    let output = output.map_err(|e| Mistakes::new(format!("cannot run `{}`: {e}", base.display()), ""))?;
    if output.status.success() {
        return Ok(());
    }
    let message = format!("`{} -m venv` failed: {}", base.display(), last_words(&output));
    let help = "install Python's `venv` module (on Debian and Ubuntu: apt install python3-venv), or name another Python with \
                `--python PATH`";
    Err(Mistakes::new(message, help))
}

/// Installs what is pinned.
fn install(python: &Path, requirements: &Path) -> Result<(), Mistakes> {
    let pip = ["-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--only-binary", ":all:"];
    let patience = ["--retries", "2", "--timeout", "20", "--requirement"];
    let output = Command::new(python).args(pip).args(patience).arg(requirements).stdin(Stdio::null()).output();
    let output = output.map_err(|e| Mistakes::new(format!("cannot run `{}`: {e}", python.display()), ""))?;
    if output.status.success() {
        return Ok(());
    }
    let message = format!("pip could not install faiss-cpu {}: {}", pinned_version(), last_words(&output));
    let help = format!(
        "this needs the network once, to reach PyPI (PIP_INDEX_URL names a mirror); or name a Python that has the package with \
         `--python PATH`, made elsewhere by `pip install faiss-cpu=={} numpy`",
        pinned_version()
    );
    Err(Mistakes::new(message, help))
}

/// Where environments are kept.
fn cache_folder() -> Result<PathBuf, Mistakes> {
    environment::cache().map(|cache| cache.join("peers")).ok_or_else(|| {
        Mistakes::new(
            "there is no folder for a Python environment",
            "set HOME or XDG_CACHE_HOME, or name a Python that has FAISS with `--python PATH`",
        )
    })
}

fn unwritable(path: &Path, error: &std::io::Error) -> Mistakes {
    Mistakes::new(
        format!("cannot write {}: {error}", path.display()),
        "make the folder writable, or set XDG_CACHE_HOME to another",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_pinned_in_one_place() {
        assert!(pinned_version().split('.').count() == 3, "{}", pinned_version());
        assert!(REQUIREMENTS.lines().all(|line| line.contains("==")), "every package is pinned");
    }
}
