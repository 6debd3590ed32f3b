//! Prints to the two output streams. If the reader has stopped (`… | head`), the program ends quietly and without a
//! panic.

/// Prints a line to standard error.
macro_rules! say_aside {
    ($($words:tt)*) => {{
        use std::io::Write;
        let _ = writeln!(std::io::stderr(), $($words)*);
    }};
}

/// Prints a line to standard output.
macro_rules! say {
    ($($words:tt)*) => {{
        use std::io::Write;
        let _ = writeln!(std::io::stdout(), $($words)*);
    }};
}

/// Prints a line that may hold texts of strangers to standard output, without anything that a terminal would obey.
macro_rules! say_foreign {
    ($($words:tt)*) => { say!("{}", $crate::say::visible_line(&format!($($words)*))) };
}

/// The same to standard error.
macro_rules! say_foreign_aside {
    ($($words:tt)*) => { say_aside!("{}", $crate::say::visible_line(&format!($($words)*))) };
}

/// A text whose control characters, except for ends of lines, are replaced by `�`. Some of them move the cursor, hide text
/// or change the title of a terminal. So do the marks that change the direction of text.
pub fn visible(text: &str) -> String {
    let turns =
        |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}');
    text.chars().map(|c| if (c.is_control() && c != '\n') || turns(c) { '\u{fffd}' } else { c }).collect()
}

/// The same on one line: an end of a line is replaced too, so that no text can pass for a line of ours.
pub fn visible_line(text: &str) -> String {
    visible(text).replace('\n', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::{visible, visible_line};

    #[test]
    fn terminals_get_no_orders_from_strangers() {
        assert_eq!(visible("pq m=4 · Ünï\nnext"), "pq m=4 · Ünï\nnext");
        assert_eq!(visible_line("label\nverified: all"), "label�verified: all");
        assert_eq!(visible("a\u{1b}[2Jb\rc\u{9b}d\u{202e}e\t"), "a�[2Jb�c�d�e�");
    }
}
