//! Checks CUDA kernels without a device: NVRTC compiles them, and sanitizers find no error in them when they run on the
//! host.

use crate::{CheckOutcome, InvariantError, Repository, nvrtc};
use cuda::NVRTC_VARIABLE;
use cuda::emulator::{Compiler, SANITIZE_VARIABLE};
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// What compiled code for each architecture is left to: a test of the kernels' crate, which says so where it finds no NVRTC. Of the whole
/// workspace, as in `cargo xtask test`: of one package alone, cargo would choose other features and build again.
const COMPILING: [&str; 7] =
    ["test", "--release", "--workspace", "--lib", "kernels_compile_for_all_architectures", "--", "--nocapture"];

/// The tests that run kernels on the emulator.
const EMULATED: [&str; 4] = ["kernels", "scan", "codes", "steps"];

/// What the compiler of the emulator watches for.
const SANITIZERS: &str = "address,undefined";

/// The libraries that a process must begin with for that.
const RUNTIMES: [&str; 2] = ["libasan.so", "libubsan.so"];

/// Leaks are Rust's and the test's own; who overflowed what is worth its stack.
const OPTIONS: [&str; 2] =
    ["ASAN_OPTIONS=detect_leaks=0:detect_stack_use_after_return=0", "UBSAN_OPTIONS=print_stacktrace=1"];

/// Compiles the kernels by the NVRTC of this machine, or by the one of PyPI.
pub fn compile(repository: &Repository) -> Result<CheckOutcome, InvariantError> {
    let output = repository.cargo_output(&COMPILING, &[])?;
    let Some(reason) = skipped(&output) else { return Ok(judged(&output, repository)) };
    if repository.nvrtc_is_named {
        return Ok(vec![reason].into());
    }
    let library = match nvrtc::from_pypi(repository) {
        Ok(library) => library,
        Err(reason) => return Ok(CheckOutcome::skipped(reason)),
    };
    let output = repository.cargo_output(&COMPILING, &[(NVRTC_VARIABLE, &library.to_string_lossy())])?;
    Ok(match skipped(&output) {
        Some(reason) => CheckOutcome::skipped(reason),
        None => judged(&output, repository),
    })
}

/// What the test says when there is no NVRTC.
fn skipped(output: &Output) -> Option<String> {
    let text = String::from_utf8_lossy(&output.stderr);
    text.lines().find_map(|line| Some(line.split_once("skipped: ")?.1.to_owned()))
}

/// Passing means that the one test has run.
fn judged(output: &Output, repository: &Repository) -> CheckOutcome {
    let text = String::from_utf8_lossy(&output.stdout);
    if output.status.success() && text.contains("1 passed") {
        return CheckOutcome::default();
    }
    (repository.show)(&format!("{}{}", text, String::from_utf8_lossy(&output.stderr)));
    vec![format!("`cargo {}` failed", COMPILING.join(" "))].into()
}

/// Runs the tests of the kernels on an emulator that is compiled with sanitizers.
pub fn sanitized(repository: &Repository) -> Result<CheckOutcome, InvariantError> {
    let preload = match runtimes(&repository.compiler) {
        Ok(paths) => format!("LD_PRELOAD={}", paths.join(":")),
        Err(reason) => return Ok(CheckOutcome::skipped(reason)),
    };
    // Only the tests begin with these libraries; cargo and the compilers do not.
    let runner: Vec<&str> = ["env", &preload].into_iter().chain(OPTIONS).collect();
    let runner = format!("target.\"cfg(all())\".runner={runner:?}");
    let tests = EMULATED.iter().flat_map(|test| ["--test", test]);
    let arguments = ["--config", &runner, "test", "--release", "--workspace"].into_iter().chain(tests);
    let arguments: Vec<String> = arguments.map(str::to_owned).collect();
    let fine = repository.cargo(&arguments, &[(SANITIZE_VARIABLE, SANITIZERS)])?;
    let command = format!("{}={SANITIZERS} cargo {}", SANITIZE_VARIABLE, arguments.join(" "));
    Ok(if fine { vec![] } else { vec![format!("`{command}` failed")] }.into())
}

/// The sanitizers' libraries, as the C++ compiler knows them; or why there are none.
fn runtimes(compiler: &Compiler) -> Result<Vec<String>, String> {
    if !cfg!(target_os = "linux") {
        return Err("sanitizers are loaded into the tests in the way of Linux".into());
    }
    compiler.find().map_err(|e| e.to_string())?;
    let compiler = &compiler.program;
    let path = |name: &&str| {
        let output = Command::new(compiler).arg(format!("-print-file-name={name}")).stdin(Stdio::null()).output();
        let output = output.map_err(|_| format!("there is no C++ compiler here (`{compiler}`)"))?;
        let path = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        // What it does not know it repeats.
        match Path::new(&path).is_absolute() {
            true => Ok(path),
            false => Err(format!("`{compiler}` comes without {name}")),
        }
    };
    RUNTIMES.iter().map(path).collect()
}
