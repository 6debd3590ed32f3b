//! The repository under check: where it is, what the checks need of its surroundings, and the ways to read it and to run cargo in it.

use crate::CheckOutcome;
use cuda::emulator::Compiler;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The repository, and what the checks need to know of the machine. Nothing here is read from the environment.
pub struct Repository {
    /// Its root folder.
    pub root: PathBuf,
    /// The program `cargo`.
    pub cargo: OsString,
    /// The C++ compiler of the emulated device.
    pub compiler: Compiler,
    /// Where fetched programs are kept. None if there is no such folder.
    pub cache: Option<PathBuf>,
    /// Whether the user named the library of NVRTC; then no other is fetched.
    pub nvrtc_is_named: bool,
    /// The names of all methods.
    pub methods: Vec<&'static str>,
    /// The generated documents that are not what this build would write.
    pub stale_documents: fn() -> Vec<PathBuf>,
    /// Shows what a check does or what a failed command printed.
    pub show: fn(&str),
}

/// Why a check could not be made at all.
#[derive(Debug, thiserror::Error)]
pub enum InvariantError {
    /// A file or folder of the repository cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        error: std::io::Error,
    },
    /// A manifest is not TOML.
    #[error("{}: {error}", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong with it.
        error: toml::de::Error,
    },
    /// Cargo does not start.
    #[error("cargo could not be started: {0}")]
    Cargo(#[source] std::io::Error),
}

impl Repository {
    /// The text of a file, by its path from the root.
    pub(crate) fn text(&self, path: &Path) -> Result<String, InvariantError> {
        read(&self.root.join(path))
    }

    /// The manifest of a package, by its folder from the root.
    pub(crate) fn manifest(&self, package: &Path) -> Result<toml::Value, InvariantError> {
        let path = self.root.join(package).join("Cargo.toml");
        match toml::from_str::<toml::Table>(&read(&path)?) {
            Ok(table) => Ok(toml::Value::Table(table)),
            Err(error) => Err(InvariantError::Manifest { path, error }),
        }
    }

    /// Every Rust source file with its text, by its path from the root.
    pub(crate) fn sources(&self) -> Result<Vec<(PathBuf, String)>, InvariantError> {
        let mut found = Vec::new();
        walk(&self.root, &self.root, &mut found)?;
        found.sort();
        Ok(found)
    }

    /// Runs cargo in the root with additional environment variables. Returns whether it succeeded.
    ///
    /// # Errors
    /// Cargo does not start.
    pub fn cargo(&self, arguments: &[String], variables: &[(&str, &str)]) -> Result<bool, InvariantError> {
        let status = self.command(arguments, variables).status();
        status.map(|status| status.success()).map_err(InvariantError::Cargo)
    }

    /// The same, but captures the output.
    pub(crate) fn cargo_output(
        &self,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Result<Output, InvariantError> {
        self.command(&owned(arguments), variables).output().map_err(InvariantError::Cargo)
    }

    /// Passes if cargo succeeds.
    pub(crate) fn cargo_succeeds(&self, arguments: &[&str]) -> Result<CheckOutcome, InvariantError> {
        let failed = || vec![format!("`cargo {}` failed", arguments.join(" "))];
        Ok(if self.cargo(&owned(arguments), &[])? { vec![] } else { failed() }.into())
    }

    fn command(&self, arguments: &[String], variables: &[(&str, &str)]) -> Command {
        let mut command = Command::new(&self.cargo);
        command.args(arguments).current_dir(&self.root).envs(variables.iter().copied());
        command
    }
}

fn owned(arguments: &[&str]) -> Vec<String> {
    arguments.iter().map(|&argument| argument.to_owned()).collect()
}

fn read(path: &Path) -> Result<String, InvariantError> {
    fs::read_to_string(path).map_err(|error| InvariantError::Unreadable { path: path.to_owned(), error })
}

/// Adds the Rust files below a folder, except what builds and runs have written.
fn walk(folder: &Path, root: &Path, found: &mut Vec<(PathBuf, String)>) -> Result<(), InvariantError> {
    let unreadable = |error: std::io::Error| InvariantError::Unreadable { path: folder.to_owned(), error };
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if path.is_dir() {
            if !["target", "runs"].contains(&&*name) && !name.starts_with('.') {
                walk(&path, root, found)?;
            }
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = read(&path)?;
            found.push((path.strip_prefix(root).unwrap_or(&path).to_owned(), text));
        }
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// This repository, without any surroundings.
    pub(crate) fn this() -> Repository {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        Repository {
            root: package.ancestors().nth(2).unwrap_or(package).to_owned(),
            cargo: "cargo".into(),
            compiler: Compiler::default(),
            cache: None,
            nvrtc_is_named: false,
            methods: vec![],
            stale_documents: Vec::new,
            show: |_| {},
        }
    }

    #[test]
    fn sources_are_found_and_what_is_missing_is_named() {
        let sources = this().sources().expect("reads");
        let here = Path::new("xtask/invariants/src/repository.rs");
        assert!(sources.iter().any(|(path, text)| path == here && text.starts_with("//! The repository under check")));
        let error = this().manifest(Path::new("no-package")).expect_err("missing").to_string();
        assert!(error.contains("cannot read") && error.contains("no-package"), "{error}");
    }

    #[test]
    fn the_workflow_of_github_runs_the_same_commands() {
        let commands = |file: &str, prefix: &str| -> Vec<String> {
            let text = this().text(Path::new(file)).expect("reads");
            let commands = text.lines().filter_map(|line| line.trim().strip_prefix(prefix));
            commands.filter(|command| command.starts_with("cargo xtask")).map(str::to_owned).collect()
        };
        let here = commands(".ci/run", "");
        assert_eq!(here.len(), 2);
        assert_eq!(commands(".github/workflows/ci.yml", "run: "), here);
    }
}
