//! `ci`: the checks of continuous integration other than tests, cheapest first. All of them run before it decides.

mod kernels;
mod left_out;
mod modules;
mod nvrtc;
mod outcome;

use crate::errors::Mistakes;
use crate::schema;
use crate::test::cargo;
use clap::Args;
use cpu::Isa;
use outcome::{CheckOutcome, CheckSummary};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

type CheckFn = fn() -> Result<CheckOutcome, Mistakes>;

/// Name and check.
const CHECKS: &[(&str, CheckFn)] = &[
    ("every source file opens with a //! line", module_headers),
    ("reports and records depend on no method", dependencies),
    ("unsafe code stays in the kernel crates, and clippy looks at each use there", unsafe_code),
    ("nothing outside methods/ names a method", method_names),
    ("modules of experiments use each other in one direction", || Ok(modules::circles(&sources()?).into())),
    ("the schema and the reference of keys are up to date", schema_is_current),
    ("formatting", || tool(&["fmt", "--all", "--check"])),
    ("clippy, warnings denied", || {
        tool(&["clippy", "--workspace", "--all-targets", "--release", "--", "-D", "warnings"])
    }),
    ("documentation, warnings denied", documentation),
    ("the CUDA kernels compile for sm_80, sm_90 and sm_100", kernels::compile),
    ("the CUDA kernels keep their laws under sanitizers", kernels::sanitized),
];

#[derive(Args)]
pub struct Arguments {
    /// Run only the checks whose name contains TEXT, such as CUDA
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    only: String,
}

pub fn run(arguments: Arguments) -> Result<ExitCode, Mistakes> {
    let mut checks = Vec::new();
    for (name, check) in CHECKS.iter().filter(|(name, _)| name.contains(&arguments.only)) {
        say_aside!("checking: {name}");
        checks.push((*name, check()?));
    }
    let sets: Vec<String> = Isa::available().iter().map(Isa::to_string).collect();
    let (system, processor) = (std::env::consts::OS, std::env::consts::ARCH);
    let machine = format!("{system} {processor} with the instruction sets {}", sets.join(", "));
    let summary = CheckSummary { machine, checks, left_out: left_out::left_out() };
    say!("{}", summary.text());
    let unwritten = |e| Mistakes::new(format!("cannot write the summary of the workflow's step: {e}"), "");
    summary.publish().map_err(unwritten)?;
    Ok(ExitCode::from(u8::from(summary.has_failed())))
}

fn tool(arguments: &[&str]) -> Result<CheckOutcome, Mistakes> {
    let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
    let problems = if cargo(&arguments)? { vec![] } else { vec![format!("`cargo {}` failed", arguments.join(" "))] };
    Ok(problems.into())
}

fn documentation() -> Result<CheckOutcome, Mistakes> {
    // Through the configuration, so that the environment of this process stays as it is.
    tool(&["--config", "build.rustdocflags=[\"-D\",\"warnings\"]", "doc", "--workspace", "--no-deps", "--release"])
}

fn schema_is_current() -> Result<CheckOutcome, Mistakes> {
    let stale = schema::stale().into_iter();
    let stale = stale.map(|path| format!("{} is out of date: run `cargo xtask schema`", path.display()));
    Ok(stale.collect::<Vec<_>>().into())
}

/// Every Rust source file of the workspace, relative to its root, with its text.
fn sources() -> Result<Vec<(PathBuf, String)>, Mistakes> {
    fn walk(folder: &Path, root: &Path, found: &mut Vec<(PathBuf, String)>) -> Result<(), Mistakes> {
        let unreadable =
            |e: std::io::Error| Mistakes::new(format!("cannot list {}: {e}", folder.display()), "check the folder");
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
    let root = crate::source_tree();
    let mut found = Vec::new();
    walk(&root, &root, &mut found)?;
    found.sort();
    Ok(found)
}

fn module_headers() -> Result<CheckOutcome, Mistakes> {
    let without = sources()?.into_iter().filter(|(_, text)| !text.starts_with("//! "));
    let without = without.map(|(path, _)| format!("{} does not say why it exists", path.display()));
    Ok(without.collect::<Vec<_>>().into())
}

fn dependencies() -> Result<CheckOutcome, Mistakes> {
    let mut problems = Vec::new();
    for (package, forbidden) in [
        ("reports", &["methods", "experiments", "datasets", "cpu"][..]),
        ("experiments/record", &["methods", "experiments", "datasets", "cpu"]),
    ] {
        let text = read(&crate::source_tree().join(package).join("Cargo.toml"))?;
        for name in forbidden {
            let named =
                |line: &str| line.trim_start().strip_prefix(name).is_some_and(|rest| rest.starts_with(['.', ' ', '=']));
            if text.lines().any(|line| named(line) && !line.starts_with("name")) {
                problems.push(format!("{package}/Cargo.toml depends on {name}"));
            }
        }
    }
    Ok(problems.into())
}

/// The packages that may contain unsafe code, and what their lints must deny: clippy then ensures that each use is a
/// single operation with a safety comment. All other packages use the lints of the workspace, which deny unsafe code.
const UNSAFE_PACKAGES: [&str; 2] = ["methods/cpu", "methods/cuda"];
const UNSAFE_LINTS: [(&str, &str); 3] = [
    ("rust", "unsafe_op_in_unsafe_fn"),
    ("clippy", "undocumented_unsafe_blocks"),
    ("clippy", "multiple_unsafe_ops_per_block"),
];

fn unsafe_code() -> Result<CheckOutcome, Mistakes> {
    let workspace = manifest(Path::new(""))?;
    let members = workspace["workspace"]["members"].as_array().into_iter().flatten().filter_map(|m| m.as_str());
    let mut problems = unsafe_lints(".", &workspace["workspace"]["lints"], true);
    for member in members {
        problems.extend(unsafe_lints(member, &manifest(Path::new(member))?["lints"], false));
    }
    problems.extend(sources()?.iter().filter_map(|(path, text)| allows_unsafe(path, text)));
    Ok(problems.into())
}

/// Problems with the lints of a package or of the workspace.
fn unsafe_lints(package: &str, lints: &toml::Value, workspace: bool) -> Vec<String> {
    let level = |group: &str, lint: &str| lints.get(group).and_then(|group| group.get(lint)).and_then(|l| l.as_str());
    let mut problems = Vec::new();
    if workspace && !matches!(level("rust", "unsafe_code"), Some("deny" | "forbid")) {
        problems.push("the workspace does not deny `unsafe_code`".to_owned());
    }
    if UNSAFE_PACKAGES.contains(&package) || workspace {
        let missing = UNSAFE_LINTS.iter().filter(|(group, lint)| level(group, lint) != Some("deny"));
        problems.extend(missing.map(|(_, lint)| format!("{package}/Cargo.toml does not deny `{lint}`")));
    } else if lints.get("workspace").and_then(toml::Value::as_bool) != Some(true) {
        problems.push(format!("{package}/Cargo.toml does not take the lints of the workspace"));
    }
    problems
}

/// Finds a file that allows what its package denies.
fn allows_unsafe(path: &Path, text: &str) -> Option<String> {
    let may = UNSAFE_PACKAGES.iter().any(|package| path.starts_with(package));
    let lints = UNSAFE_LINTS.iter().map(|(_, lint)| *lint).chain((!may).then_some("unsafe_code"));
    let taken_back = |lint: &&str| {
        let mut levels = ["allow", "warn", "expect"].iter();
        levels
            .any(|level| text.contains(&format!("{level}({lint}")) || text.contains(&format!("{level}(clippy::{lint}")))
    };
    lints.into_iter().find(taken_back).map(|lint| format!("{} takes back `{lint}`", path.display()))
}

fn manifest(package: &Path) -> Result<toml::Value, Mistakes> {
    let path = crate::source_tree().join(package).join("Cargo.toml");
    let text = read(&path)?;
    let table = toml::from_str::<toml::Table>(&text);
    let table = table.map_err(|e| Mistakes::new(format!("{}: {e}", path.display()), "fix the manifest"))?;
    Ok(toml::Value::Table(table))
}

fn read(path: &Path) -> Result<String, Mistakes> {
    let unreadable =
        |e: std::io::Error| Mistakes::new(format!("cannot read {}: {e}", path.display()), "check the file");
    fs::read_to_string(path).map_err(unreadable)
}

/// A method's name as a string outside methods/ would be a second registration.
fn method_names() -> Result<CheckOutcome, Mistakes> {
    let mut problems = Vec::new();
    for (path, text) in sources()? {
        let product = !path.starts_with("methods") && !path.components().any(|c| c.as_os_str() == "tests");
        let code = text.split("#[cfg(test)]").next().unwrap_or("");
        for entry in methods::METHODS.iter().filter(|_| product) {
            if code.contains(&format!("\"{}\"", entry.name)) {
                problems.push(format!("{} names the method {}", path.display(), entry.name));
            }
        }
    }
    Ok(problems.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_code_is_where_it_may_be() {
        assert_eq!(unsafe_code().map_err(|_| "unreadable").expect("reads"), CheckOutcome::default());
    }

    #[test]
    fn the_workflow_of_github_runs_the_same_commands() {
        let commands = |file: &str, prefix: &str| -> Vec<String> {
            let text = read(&crate::source_tree().join(file)).map_err(|_| file).expect("reads");
            let commands = text.lines().filter_map(|line| line.trim().strip_prefix(prefix));
            commands.filter(|command| command.starts_with("cargo xtask")).map(str::to_owned).collect()
        };
        let here = commands(".ci/run", "");
        assert_eq!(here.len(), 2);
        assert_eq!(commands(".github/workflows/ci.yml", "run: "), here);
    }

    #[test]
    fn packages_that_do_not_deny_it_and_files_that_take_it_back_are_told() {
        let lints = |text: &str| toml::Value::Table(toml::from_str(text).expect("toml"));
        assert_eq!(unsafe_lints("reports", &lints("workspace = true"), false), Vec::<String>::new());
        assert_eq!(unsafe_lints("reports", &lints("rust = { unsafe_code = 'allow' }"), false).len(), 1);
        let documented = "rust = { unsafe_op_in_unsafe_fn = 'deny' }\nclippy = { undocumented_unsafe_blocks = 'deny' }";
        let problems = unsafe_lints("methods/cpu", &lints(documented), false);
        assert_eq!(problems, ["methods/cpu/Cargo.toml does not deny `multiple_unsafe_ops_per_block`"]);
        assert_eq!(unsafe_lints(".", &lints(documented), true).len(), 2);
        // In pieces, so that this file does not contain it itself; a quotation mark on the line changes nothing.
        let allow = |lint: &str| format!("#![{}({lint})] // \"\n", "allow");
        let told = |path: &str, lint: &str| allows_unsafe(Path::new(path), &allow(lint)).is_some();
        assert!(told("xtask/src/a.rs", "unsafe_code") && !told("methods/cpu/src/a.rs", "unsafe_code"));
        assert!(told("methods/cpu/src/a.rs", "clippy::undocumented_unsafe_blocks"));
    }
}
