//! Checks of what packages depend on.

use crate::{CheckOutcome, InvariantError, Repository};
use std::path::Path;

/// What quantizes vectors or runs experiments.
const LIBRARIES: [&str; 8] =
    ["methods", "experiments", "datasets", "cpu", "cuda", "gradients", "device_check", "advise"];

/// Packages, and what they must not depend on: old results can be rendered again without building a quantizer.
const FORBIDDEN: [(&str, &[&str]); 3] =
    [("reports", &LIBRARIES), ("reports/site", &LIBRARIES), ("experiments/record", &LIBRARIES)];

/// Reports, the site and records depend on no method.
pub fn dependencies(repository: &Repository) -> Result<CheckOutcome, InvariantError> {
    let mut problems = Vec::new();
    for (package, forbidden) in FORBIDDEN {
        let manifest = repository.text(&Path::new(package).join("Cargo.toml"))?;
        let found = forbidden.iter().filter(|name| depends(&manifest, name));
        problems.extend(found.map(|name| format!("{package}/Cargo.toml depends on {name}")));
    }
    Ok(problems.into())
}

fn depends(manifest: &str, name: &str) -> bool {
    let named = |line: &str| line.trim_start().strip_prefix(name).is_some_and(|rest| rest.starts_with(['.', ' ', '=']));
    manifest.lines().any(|line| named(line) && !line.starts_with("name"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_is_seen_in_each_way_to_write_it() {
        let manifest = "[package]\nname = \"a\"\n[dependencies]\nmethods.workspace = true\ncpu = { path = \"cpu\" }\n";
        assert!(depends(manifest, "methods") && depends(manifest, "cpu"));
        assert!(!depends(manifest, "method") && !depends(manifest, "datasets"));
    }
}
