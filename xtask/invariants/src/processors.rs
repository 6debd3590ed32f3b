//! The CPU kernels of the processors that this is not: tests run only those of this one, so clippy at least compiles the others.

use crate::process::last_words;
use crate::{CheckOutcome, InvariantError, Repository};

/// The target of the other processors.
const TARGET: &str =
    if cfg!(target_arch = "aarch64") { "x86_64-unknown-linux-gnu" } else { "aarch64-unknown-linux-gnu" };

/// What looks at the kernels for another processor; nothing is linked, so no other compiler is needed.
const LOOKING: [&str; 8] = ["clippy", "--release", "--package", "vqbench-cpu", "--target", TARGET, "--", "-Dwarnings"];

/// Compiles the CPU kernels for the target, if its standard library is installed.
pub fn compile(repository: &Repository) -> Result<CheckOutcome, InvariantError> {
    let output = repository.cargo_output(&LOOKING, &[])?;
    if output.status.success() {
        return Ok(CheckOutcome::default());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    if is_missing(&said) {
        let how = format!("the target {TARGET} is not installed: `rustup target add {TARGET}`");
        return Ok(CheckOutcome::skipped(how));
    }
    (repository.show)(&said);
    Ok(vec![format!("`cargo {}` failed: {}", LOOKING.join(" "), last_words(&output))].into())
}

/// Whether the compiler said that it has no standard library for the target.
fn is_missing(said: &str) -> bool {
    said.contains(&format!("the `{TARGET}` target may not be installed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_that_is_not_installed_is_no_failure() {
        let said =
            "error[E0463]: can't find crate for `std`\n  |\n  = note: the `TARGET` target may not be installed\n";
        assert!(is_missing(&said.replace("TARGET", TARGET)));
        assert!(!is_missing("error: unused variable: `x`\n") && !is_missing(said));
    }
}
