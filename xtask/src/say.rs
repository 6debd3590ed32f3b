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
