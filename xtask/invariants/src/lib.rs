//! What must hold of this repository besides its tests: one list of checks, which `cargo xtask ci` runs.
//!
//! A check reads the sources and manifests below [`Repository::root`], or runs cargo there. It says what is wrong in lines of text, or
//! why it could not be made on this machine.

mod kernels;
mod left_out;
mod manifests;
mod modules;
mod nvrtc;
mod outcome;
mod process;
mod processors;
mod repository;
mod sources;
mod unsafe_code;

pub use left_out::left_out;
pub use outcome::{CheckOutcome, CheckSummary};
pub use process::last_words;
pub use repository::{InvariantError, Repository};

/// One thing that must hold.
pub struct Invariant {
    /// What must hold, as a phrase.
    pub name: &'static str,
    check: fn(&Repository) -> Result<CheckOutcome, InvariantError>,
}

impl Invariant {
    /// Checks it.
    ///
    /// # Errors
    /// A file of the repository cannot be read, or cargo cannot be started.
    pub fn check(&self, repository: &Repository) -> Result<CheckOutcome, InvariantError> {
        (self.check)(repository)
    }
}

/// All invariants, those first that are checked quickly.
pub const INVARIANTS: &[Invariant] = &[
    Invariant { name: "every source file opens with a //! line", check: sources::headers },
    Invariant { name: "reports and records depend on no method", check: manifests::dependencies },
    Invariant {
        name: "unsafe code stays in the kernel crates, and clippy looks at each use there",
        check: unsafe_code::confined,
    },
    Invariant { name: "nothing outside methods/ names a method", check: sources::method_names },
    Invariant { name: "modules of experiments use each other in one direction", check: modules::one_direction },
    Invariant { name: "the schema and the reference of keys are up to date", check: documents_are_current },
    Invariant { name: "formatting", check: |repository| repository.cargo_succeeds(&["fmt", "--all", "--check"]) },
    Invariant {
        name: "clippy, warnings denied",
        check: |repository| {
            repository.cargo_succeeds(&["clippy", "--workspace", "--all-targets", "--release", "--", "-D", "warnings"])
        },
    },
    Invariant { name: "the CPU kernels of x86-64 and of 64-bit ARM compile", check: processors::compile },
    Invariant { name: "documentation, warnings denied", check: documentation },
    Invariant {
        name: "no mutated input ends a reader",
        check: |repository| repository.cargo_succeeds(&["xtask", "fuzz"]),
    },
    Invariant {
        name: "the adapters that are shipped work, where they can be installed",
        check: |repository| repository.cargo_succeeds(&["xtask", "adapters", "check", "--all", "--install"]),
    },
    Invariant { name: "the CUDA kernels compile for sm_80, sm_90 and sm_100", check: kernels::compile },
    Invariant { name: "the CUDA kernels keep their laws under sanitizers", check: kernels::sanitized },
];

fn documents_are_current(repository: &Repository) -> Result<CheckOutcome, InvariantError> {
    let stale = (repository.stale_documents)().into_iter();
    let stale = stale.map(|path| format!("{} is out of date: run `cargo xtask schema`", path.display()));
    Ok(stale.collect::<Vec<_>>().into())
}

fn documentation(repository: &Repository) -> Result<CheckOutcome, InvariantError> {
    // Through the configuration, so that the environment of this process stays as it is.
    let flags = "build.rustdocflags=[\"-D\",\"warnings\"]";
    repository.cargo_succeeds(&["--config", flags, "doc", "--workspace", "--no-deps", "--release"])
}
