//! What verbs fetch from elsewhere: where the user keeps it, and what the programs that fetch it last said.

use std::path::{Path, PathBuf};
use std::process::Output;

/// The part of the user's cache that is ours; none where the user has none.
pub fn cache_folder() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || std::env::var_os("HOME").or_else(|| std::env::var_os("USERPROFILE"));
    let cache = cache.or_else(|| home().map(|home| Path::new(&home).join(".cache")));
    cache.map(|cache| cache.join("vqbench"))
}

/// The last line that a program said, of errors if there are any.
pub fn last_words(output: &Output) -> String {
    let said = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let line = |marked: bool| {
            let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
            lines().rfind(|line| !marked || line.to_lowercase().starts_with("error")).map(str::to_owned)
        };
        line(true).or_else(|| line(false))
    };
    said(&output.stderr).or_else(|| said(&output.stdout)).unwrap_or_else(|| output.status.to_string())
}
