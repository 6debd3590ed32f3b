//! Words for standard output. A reader that stops listening (`… | head`) ends them quietly instead of with a panic.

/// Prints a line to standard output.
macro_rules! say {
    ($($words:tt)*) => {{
        use std::io::Write;
        let _ = writeln!(std::io::stdout(), $($words)*);
    }};
}
