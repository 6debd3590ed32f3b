//! `ci`: what continuous integration checks beside the tests, in the order of cost; all are run, then judged.

mod kernels;
mod nvrtc;

use crate::errors::Mistakes;
use crate::schema;
use crate::test::{cargo, cargo_with};
use clap::Args;
use cpu::{ISA_VARIABLE, Isa};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

type Check = fn() -> Result<Vec<String>, Mistakes>;

/// Name and check; a check returns what is wrong, one line each.
const CHECKS: &[(&str, Check)] = &[
    ("every source file opens with a //! line", module_headers),
    ("reports and records depend on no method", dependencies),
    ("unsafe code stays in the kernel crates, each use with its SAFETY line", unsafe_code),
    ("nothing outside methods/ names a method", method_names),
    ("the schema and the reference of keys are up to date", schema_is_current),
    ("formatting", || tool(&["fmt", "--all", "--check"])),
    ("clippy, warnings denied", || {
        tool(&["clippy", "--workspace", "--all-targets", "--release", "--", "-D", "warnings"])
    }),
    ("documentation, warnings denied", documentation),
    ("the CUDA kernels compile for sm_80, sm_90 and sm_100", kernels::compile),
    ("the CUDA kernels keep their laws under sanitizers", kernels::sanitized),
    ("the methods keep their laws on every narrower instruction set", narrower_sets),
];

#[derive(Args)]
pub struct Arguments {
    /// Only the checks whose name contains TEXT, such as CUDA
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    only: String,
}

pub fn run(arguments: Arguments) -> Result<ExitCode, Mistakes> {
    let (mut passed, mut failed) = (0, 0);
    for (name, check) in CHECKS.iter().filter(|(name, _)| name.contains(&arguments.only)) {
        say_aside!("checking: {name}");
        let problems = check()?;
        for problem in &problems {
            say_aside!("  {problem}");
        }
        *(if problems.is_empty() { &mut passed } else { &mut failed }) += 1;
    }
    say!("{passed} checks passed, {failed} failed");
    Ok(ExitCode::from(u8::from(failed > 0)))
}

/// The tests that reach the kernels through methods, datasets and experiments, on each instruction set that this processor would
/// not choose by itself. (The kernels' own tests walk through all of them.)
fn narrower_sets() -> Result<Vec<String>, Mistakes> {
    let packages = ["-p", "vqbench-methods", "-p", "vqbench-datasets", "-p", "vqbench-experiments"];
    let arguments = ["test", "--release", "--lib", "--test", "conformance"].into_iter().chain(packages);
    let arguments: Vec<String> = arguments.map(str::to_owned).collect();
    let mut problems = Vec::new();
    for isa in Isa::available().into_iter().skip(1) {
        say_aside!("  {isa}");
        if !cargo_with(&arguments, &[(ISA_VARIABLE, &isa.to_string())])? {
            problems.push(format!("`{ISA_VARIABLE}={isa} cargo {}` failed", arguments.join(" ")));
        }
    }
    Ok(problems)
}

fn tool(arguments: &[&str]) -> Result<Vec<String>, Mistakes> {
    let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
    Ok(if cargo(&arguments)? { vec![] } else { vec![format!("`cargo {}` failed", arguments.join(" "))] })
}

fn documentation() -> Result<Vec<String>, Mistakes> {
    // Through the configuration, so that the environment of this process stays as it is.
    tool(&["--config", "build.rustdocflags=[\"-D\",\"warnings\"]", "doc", "--workspace", "--no-deps", "--release"])
}

fn schema_is_current() -> Result<Vec<String>, Mistakes> {
    let stale = schema::stale().into_iter();
    Ok(stale.map(|path| format!("{} is out of date: run `cargo xtask schema`", path.display())).collect())
}

/// Every Rust source file of the workspace, relative to its root, with its text.
fn sources() -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, root: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if path.is_dir() && !["target", "runs"].contains(&&*name) && !name.starts_with('.') {
                walk(&path, root, found);
            } else if path.extension().is_some_and(|e| e == "rs")
                && let (Ok(relative), Ok(text)) = (path.strip_prefix(root), fs::read_to_string(&path))
            {
                found.push((relative.to_owned(), text));
            }
        }
    }
    let root = crate::source_tree();
    let mut found = Vec::new();
    walk(&root, &root, &mut found);
    found.sort();
    found
}

fn module_headers() -> Result<Vec<String>, Mistakes> {
    let without = sources().into_iter().filter(|(_, text)| !text.starts_with("//! "));
    Ok(without.map(|(path, _)| format!("{} does not say why it exists", path.display())).collect())
}

fn dependencies() -> Result<Vec<String>, Mistakes> {
    let mut problems = Vec::new();
    for (package, forbidden) in [
        ("reports", &["methods", "experiments", "datasets", "cpu"][..]),
        ("experiments/record", &["methods", "experiments", "datasets", "cpu"]),
    ] {
        let text = fs::read_to_string(crate::source_tree().join(package).join("Cargo.toml")).unwrap_or_default();
        for name in forbidden {
            let named =
                |line: &str| line.trim_start().strip_prefix(name).is_some_and(|rest| rest.starts_with(['.', ' ', '=']));
            if text.is_empty() || text.lines().any(|line| named(line) && !line.starts_with("name")) {
                problems.push(format!("{package}/Cargo.toml depends on {name}"));
            }
        }
    }
    Ok(problems)
}

fn unsafe_code() -> Result<Vec<String>, Mistakes> {
    let mut problems = Vec::new();
    for (path, text) in sources() {
        let allowed = path.starts_with("methods/cpu") || path.starts_with("methods/cuda");
        let lines: Vec<&str> = text.lines().collect();
        for (i, line) in lines.iter().enumerate() {
            // The word as code opens a block or a function; this file speaks of it only in text.
            let opens =
                ["unsafe {", "unsafe fn", "unsafe impl"].iter().any(|form| line.contains(form)) && !line.contains('"');
            // A function may state its conditions for callers, or how it keeps those of what it implements.
            let function = line.contains(concat!("unsafe ", "fn"));
            let after = if function { (i + 14).min(lines.len()) } else { i };
            let excused = lines[i.saturating_sub(6)..after]
                .iter()
                .any(|l| l.contains("// SAFETY:") || (function && l.contains("# Safety")));
            if opens && !(allowed && excused) {
                problems.push(format!("{}:{}: {}", path.display(), i + 1, line.trim()));
            }
        }
        if !allowed && text.contains(concat!("allow(", "unsafe_code")) {
            problems.push(format!("{} allows unsafe code", path.display()));
        }
    }
    Ok(problems)
}

/// A method's name as a string outside methods/ would be a second registration.
fn method_names() -> Result<Vec<String>, Mistakes> {
    let mut problems = Vec::new();
    for (path, text) in sources() {
        let product = !path.starts_with("methods") && !path.components().any(|c| c.as_os_str() == "tests");
        let code = text.split("#[cfg(test)]").next().unwrap_or("");
        for entry in methods::METHODS.iter().filter(|_| product) {
            if code.contains(&format!("\"{}\"", entry.name)) {
                problems.push(format!("{} names the method {}", path.display(), entry.name));
            }
        }
    }
    Ok(problems)
}
