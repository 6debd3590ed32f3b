//! Words and commands as users type them into a shell.

use std::path::Path;

/// A word as a shell reads it back.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-,:=+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// The command that follows the run in a folder (`attach`), or cancels its tasks (`cancel`).
pub(crate) fn run_command(flag: &str, folder: &Path) -> String {
    format!("`cargo xtask experiments --{flag} {}`", quoted(&folder.display().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_words_back() {
        assert_eq!(quoted("/runs/a-b_c.1"), "/runs/a-b_c.1");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's"), "'it'\\''s'");
        assert_eq!(quoted(""), "''");
        assert_eq!(run_command("attach", Path::new("/a b")), "`cargo xtask experiments --attach '/a b'`");
    }
}
