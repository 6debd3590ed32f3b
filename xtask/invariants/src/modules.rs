//! Whether the modules of a crate use each other in one direction: files that go round in a circle can only be read and moved together.

use crate::{CheckOutcome, InvariantError, Repository};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Folders of the crates that are held to it.
const CRATES: [&str; 1] = ["experiments/src"];

/// Which modules use which.
type Uses = BTreeMap<String, BTreeSet<String>>;

/// No module of [`CRATES`] uses one that uses it. A module and those below it count as one, since these are its parts.
pub fn one_direction(repository: &Repository) -> Result<CheckOutcome, InvariantError> {
    let sources = repository.sources()?;
    let mut problems = Vec::new();
    for folder in CRATES {
        let files = sources.iter().filter_map(|(path, text)| Some((path.strip_prefix(folder).ok()?, text.as_str())));
        let circle = circle(&uses(&files.collect::<Vec<_>>()));
        problems.extend(circle.map(|circle| format!("{folder}: modules use each other in a circle: {circle}")));
    }
    Ok(problems.into())
}

/// Who uses whom among the modules right below the root of a crate. `files` are its sources by their paths from there.
fn uses(files: &[(&Path, &str)]) -> Uses {
    let module = |path: &Path| path.components().next().map(|first| name_of(Path::new(&first)));
    let root = files.iter().find(|(path, _)| *path == Path::new("lib.rs")).map_or("", |(_, text)| text);
    let mut uses: Uses = files.iter().filter_map(|(path, _)| Some((module(path)?, BTreeSet::new()))).collect();
    uses.remove("lib");
    // What the root hands on is used of the module that it comes from.
    let handed_on: BTreeMap<&str, &str> = root
        .split("pub use ")
        .skip(1)
        .filter_map(|rest| rest.split(';').next()?.split_once("::"))
        .flat_map(|(from, names)| words(names).map(move |name| (name, from)))
        .collect();
    for (path, text) in files.iter().filter(|(path, _)| *path != Path::new("lib.rs")) {
        let Some(user) = module(path) else { continue };
        // Tests may use everything.
        let code: String = text.split("#[cfg(test)]").next().unwrap_or("").lines().map(without_comment).collect();
        let up = "super::".repeat(path.components().count());
        let of_root = ["crate::", up.as_str()].into_iter().flat_map(|prefix| code.split(prefix).skip(1));
        for name in of_root.flat_map(first_names) {
            let used = if uses.contains_key(name) { Some(name) } else { handed_on.get(name).copied() };
            let used = used.filter(|used| *used != user && uses.contains_key(*used)).map(str::to_owned);
            uses.entry(user.clone()).or_default().extend(used);
        }
    }
    uses
}

fn name_of(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn without_comment(line: &str) -> String {
    format!("{}\n", line.split("//").next().unwrap_or(""))
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// The first names of the paths that follow: of `a::b` one, of `{a::{b, c}, d}` two.
fn first_names(text: &str) -> Vec<&str> {
    let Some(list) = text.strip_prefix('{') else { return words(text).take(1).collect() };
    let (mut depth, mut begin, mut names) = (0usize, 0, Vec::new());
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                names.extend(words(&list[begin..at]).next());
                begin = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    names
}

/// A way from a module back to it, if there is one.
fn circle(uses: &Uses) -> Option<String> {
    fn visit<'a>(
        name: &'a str,
        uses: &'a Uses,
        way: &mut Vec<&'a str>,
        done: &mut BTreeSet<&'a str>,
    ) -> Option<String> {
        if let Some(start) = way.iter().position(|before| *before == name) {
            return Some(way[start..].iter().chain([&name]).copied().collect::<Vec<_>>().join(" → "));
        }
        if done.contains(name) {
            return None;
        }
        way.push(name);
        let found = uses.get(name).into_iter().flatten().find_map(|next| visit(next, uses, way, done));
        way.pop();
        done.insert(name);
        found
    }
    let mut done = BTreeSet::new();
    uses.keys().find_map(|name| visit(name, uses, &mut Vec::new(), &mut done))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn circles_are_found_through_lists_parents_and_what_the_root_hands_on() {
        let of = |files: &[(&'static str, &'static str)]| {
            let files: Vec<(&Path, &str)> = files.iter().map(|(path, text)| (Path::new(*path), *text)).collect();
            circle(&uses(&files))
        };
        let root = ("lib.rs", "mod a;\nmod b;\npub use c::{C, D};\n");
        assert_eq!(of(&[root, ("a.rs", "use crate::{b::{X, Y}, d};"), ("b.rs", ""), ("c.rs", "use crate::a;")]), None);
        let circle = of(&[
            root,
            ("a.rs", "use crate::{\n    b::X,\n};"),
            ("b/x.rs", "use crate::D;"),
            ("c.rs", "super::a::f()"),
        ]);
        assert_eq!(circle.as_deref(), Some("a → b → c → a"));
        // Parts of one module, words in comments, and tests.
        let parts = [root, ("a.rs", "use crate::b;"), ("a/p.rs", "use super::X; use crate::a::Y;")];
        let free = ("b.rs", "// crate::a\n#[cfg(test)]\nmod tests { use crate::a; }");
        assert_eq!(of(&[&parts[..], &[free]].concat()), None);
        assert_eq!(
            of(&[root, ("a/p.rs", "super::super::b::f()"), ("b.rs", "use crate::a;")]).as_deref(),
            Some("a → b → a")
        );
    }
}
