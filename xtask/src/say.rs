//! Words for the two output streams. A reader that stops listening (`… | head`) ends them quietly, not with a panic.

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
