//! Unsafe code occurs only in the kernel crates, whose lints let clippy look at each use.

use crate::{CheckOutcome, InvariantError, Repository};
use std::path::Path;

/// The packages that may contain unsafe code, and what their lints must deny: clippy then ensures that each use is a
/// single operation with a safety comment. All other packages use the lints of the workspace, which deny unsafe code.
const UNSAFE_PACKAGES: [&str; 2] = ["methods/cpu", "methods/cuda"];
const UNSAFE_LINTS: [(&str, &str); 3] = [
    ("rust", "unsafe_op_in_unsafe_fn"),
    ("clippy", "undocumented_unsafe_blocks"),
    ("clippy", "multiple_unsafe_ops_per_block"),
];

/// Every package denies what it must, and no file allows it again.
pub fn confined(repository: &Repository) -> Result<CheckOutcome, InvariantError> {
    let workspace = repository.manifest(Path::new(""))?;
    let members = workspace["workspace"]["members"].as_array().into_iter().flatten().filter_map(|m| m.as_str());
    let mut problems = unsafe_lints(".", &workspace["workspace"]["lints"], true);
    for member in members {
        problems.extend(unsafe_lints(member, &repository.manifest(Path::new(member))?["lints"], false));
    }
    problems.extend(repository.sources()?.iter().filter_map(|(path, text)| allows_unsafe(path, text)));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::tests::this;

    #[test]
    fn unsafe_code_is_where_it_may_be() {
        assert_eq!(confined(&this()).expect("reads"), CheckOutcome::default());
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
