//! Environments are made once, completely or not at all, and say what is missing. A script stands for Python and pip.

#![cfg(unix)]

use adapters::{AdapterError, CLIENT, Environment, Shipped, find};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Behaves like Python where environments are made: reports the version in the file `version`, copies itself as the interpreter of an
/// environment, notes each call of pip in the file `calls`, and fails it if there is a file `offline`.
const PYTHON: &str = r#"#!/bin/sh
here=HERE
case "$1 $2" in
"-c "*) cat "$here/version" ;;
"-m venv") mkdir -p "$4/bin" && cp "$0" "$4/bin/python" ;;
"-m pip")
    echo "$@" >> "$here/calls"
    if [ -e "$here/offline" ]; then
        echo "WARNING: retrying" >&2
        echo "ERROR: no route to the index" >&2
        echo "and more" >&2
        exit 1
    fi
    sleep 0.2 ;;
esac
"#;

struct Machine {
    folder: tempfile::TempDir,
}

impl Machine {
    fn new(version: &str) -> Machine {
        let folder = tempfile::tempdir().expect("a folder");
        let machine = Machine { folder };
        std::fs::write(machine.path("version"), version).expect("written");
        let script = PYTHON.replace("HERE", &machine.folder.path().to_string_lossy());
        std::fs::write(machine.path("python"), script).expect("written");
        std::fs::set_permissions(machine.path("python"), PermissionsExt::from_mode(0o755)).expect("runs");
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn ready(&self, shipped: &Shipped, told: &mut Vec<String>) -> Result<Vec<String>, AdapterError> {
        let mut tell = |words: &str| told.push(words.to_owned());
        Environment::ready(shipped, &self.path("python"), &self.path("cache"), &mut tell)
    }

    fn installs(&self) -> usize {
        std::fs::read_to_string(self.path("calls")).unwrap_or_default().lines().count()
    }
}

fn faiss() -> &'static Shipped {
    find("faiss").expect("it is shipped")
}

#[test]
fn an_environment_is_made_once_and_has_its_program_beside_it() {
    let (machine, mut told) = (Machine::new("3.12"), Vec::new());
    let command = machine.ready(faiss(), &mut told).expect("it is made");
    assert_eq!(machine.ready(faiss(), &mut told).as_ref(), Ok(&command));
    assert_eq!((machine.installs(), told.len()), (1, 1), "{told:?}");
    assert!(told[0].contains("faiss-cpu 1."), "{told:?}");
    let calls = std::fs::read_to_string(machine.path("calls")).expect("called");
    assert!(calls.contains("--only-binary :all:"), "nothing is built or run while it is installed: {calls}");
    let (python, program) = (Path::new(&command[0]), Path::new(&command[2]));
    assert!(python.is_absolute() && python.is_file() && program.is_absolute(), "{command:?}");
    assert_eq!(std::fs::read_to_string(program).expect("read"), faiss().adapter);
    assert_eq!(std::fs::read_to_string(program.with_file_name("vqbench.py")).expect("read"), CLIENT);
    // A program that was changed by hand is not the one that is shipped.
    std::fs::write(program, "print()").expect("written");
    machine.ready(faiss(), &mut told).expect("it is there");
    assert_eq!(std::fs::read_to_string(program).expect("read"), faiss().adapter);

    let environment = Environment::of(faiss(), &machine.path("cache"));
    assert!(environment.is_complete(faiss()) && environment.bytes() > 0);
    let other = machine.path("cache").join("faiss-notes");
    std::fs::create_dir(&other).expect("made");
    assert!(environment.remove().expect("removed") > 0);
    assert!(!environment.is_complete(faiss()) && other.is_dir(), "only environments are removed");
    assert_eq!(environment.remove(), Ok(0));
}

#[test]
fn two_at_once_install_once() {
    let machine = Machine::new("3.13");
    let commands: Vec<_> = std::thread::scope(|scope| {
        let start = || scope.spawn(|| machine.ready(faiss(), &mut Vec::new()));
        let both = [start(), start()];
        both.map(|thread| thread.join().expect("ends")).into_iter().collect()
    });
    assert!(commands[0].is_ok() && commands[0] == commands[1], "{commands:?}");
    assert_eq!(machine.installs(), 1);
}

#[test]
fn what_failed_is_told_and_tried_again_later() {
    let (machine, mut told) = (Machine::new("3.12"), Vec::new());
    std::fs::write(machine.path("offline"), "").expect("written");
    let error = machine.ready(faiss(), &mut told).expect_err("there is no index");
    assert!(error.to_string().contains("could not install faiss-cpu"), "{error}");
    assert!(error.to_string().ends_with("ERROR: no route to the index"), "{error}");
    assert!(error.help().is_some_and(|help| help.contains("PIP_INDEX_URL")), "{error:?}");
    assert!(!Environment::of(faiss(), &machine.path("cache")).is_complete(faiss()));
    std::fs::remove_file(machine.path("offline")).expect("removed");
    assert!(machine.ready(faiss(), &mut told).is_ok());
    assert_eq!(machine.installs(), 2);
}

#[test]
fn a_python_that_does_not_fit_is_named() {
    let refused = |version: &str| {
        let machine = Machine::new(version);
        let error = machine.ready(faiss(), &mut Vec::new()).expect_err("it does not fit");
        assert_eq!(machine.installs(), 0);
        (error.to_string(), error.help().unwrap_or_default().to_owned())
    };
    let (message, help) = refused("3.9");
    assert!(message.ends_with("is Python 3.9; faiss-cpu needs 3.10 or later"), "{message}");
    assert!(help.contains("--python PATH"), "{help}");
    let (message, _) = refused("Ruby");
    assert!(message.contains("does not behave like Python"), "{message}");
    let none = Path::new("/nowhere/python");
    let folder = tempfile::tempdir().expect("a folder");
    let error = Environment::ready(faiss(), none, folder.path(), &mut |_| ()).expect_err("there is none");
    assert!(error.to_string().contains("cannot run `/nowhere/python`"), "{error}");
}
