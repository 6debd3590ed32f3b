//! Why a program that was to fetch something failed: the last line of what it said.

use std::process::Output;

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
