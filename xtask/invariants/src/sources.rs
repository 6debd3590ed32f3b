//! Checks of the text of source files.

use crate::{CheckOutcome, InvariantError, Repository};
use std::path::PathBuf;

/// Every source file says why it exists.
pub fn headers(repository: &Repository) -> Result<CheckOutcome, InvariantError> {
    let without = repository.sources()?.into_iter().filter(|(_, text)| !text.starts_with("//! "));
    let without = without.map(|(path, _)| format!("{} does not say why it exists", path.display()));
    Ok(without.collect::<Vec<_>>().into())
}

/// A method's name as a string outside methods/ would be a second registration.
pub fn method_names(repository: &Repository) -> Result<CheckOutcome, InvariantError> {
    Ok(named(&repository.sources()?, &repository.methods).into())
}

fn named(sources: &[(PathBuf, String)], methods: &[&str]) -> Vec<String> {
    let mut problems = Vec::new();
    for (path, text) in sources {
        // A proof knows figures of single codecs, and compares codecs of its own with them.
        let product = !path.starts_with("methods")
            && !path.starts_with("xtask/prove")
            && !path.components().any(|c| c.as_os_str() == "tests");
        let code = text.split("#[cfg(test)]").next().unwrap_or("");
        for name in methods.iter().filter(|_| product) {
            if code.contains(&format!("\"{name}\"")) {
                problems.push(format!("{} names the method {name}", path.display()));
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_may_be_named_by_its_family_and_by_tests_alone() {
        let file = |path: &str, text: &str| (PathBuf::from(path), text.to_owned());
        let found = named(
            &[
                file("methods/src/a.rs", "\"toy\""),
                file("xtask/tests/a.rs", "\"toy\""),
                file("xtask/prove/src/a.rs", "\"toy\""),
                file("xtask/src/a.rs", "\"toys\"\n#[cfg(test)]\nmod tests { \"toy\" }"),
                file("xtask/src/b.rs", "f(\"toy\")"),
            ],
            &["toy"],
        );
        assert_eq!(found, ["xtask/src/b.rs names the method toy"]);
    }
}
