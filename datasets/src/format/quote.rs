//! Text from files as messages show it: without control characters, and cut.

/// Maximum number of characters of a field that a message shows.
const MOST_SHOWN: usize = 40;

/// Maximum number of characters of a name that a message shows: people write names after `#`, so that real ones must not
/// be cut.
const MOST_OF_NAME: usize = 80;

/// Maximum number of characters of a message about a file, which may be put together from many names.
const MOST_OF_MESSAGE: usize = 4000;

/// Maximum number of dimensions that a message shows.
pub const MOST_DIMENSIONS: usize = 8;

/// At most `most` characters, with those escaped that a terminal would obey or not show.
fn cut(text: &str, most: usize) -> String {
    let mut shown = String::new();
    for (i, c) in text.chars().enumerate() {
        if i == most {
            shown.push('…');
            break;
        }
        match c {
            '\'' | '"' | '\\' => shown.push(c),
            _ => shown.extend(c.escape_debug()),
        }
    }
    shown
}

/// A field.
pub fn shown(text: &str) -> String {
    let text = text.trim();
    if text.is_empty() { "empty".to_owned() } else { format!("`{}`", cut(text, MOST_SHOWN)) }
}

/// The name of an array, a column or a type.
pub fn name(text: &str) -> String {
    cut(text, MOST_OF_NAME)
}

/// A whole message.
pub fn message(text: &str) -> String {
    cut(text, MOST_OF_MESSAGE)
}

/// A shape, as `[5, 3]`.
pub fn shape(shape: &[u64]) -> String {
    match shape.get(..MOST_DIMENSIONS).filter(|first| first.len() < shape.len()) {
        Some(first) => format!("{first:?} and {} more dimensions", shape.len() - MOST_DIMENSIONS),
        None => format!("{shape:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_a_file_is_long_or_obeyed_by_a_terminal() {
        assert_eq!(shown(&"é".repeat(50)), format!("`{}…`", "é".repeat(40)));
        assert_eq!(shown(" a\"b\\c'd "), "`a\"b\\c'd`");
        assert_eq!(shown("\u{1b}[31m\u{7}\nred"), "`\\u{1b}[31m\\u{7}\\nred`");
        assert_eq!(shown(" \t"), "empty");
        assert_eq!(name(&"n".repeat(81)), format!("{}…", "n".repeat(80)));
        assert_eq!(shape(&[5, 3]), "[5, 3]");
        assert_eq!(shape(&[1; 64]), "[1, 1, 1, 1, 1, 1, 1, 1] and 56 more dimensions");
        assert_eq!(message(&"m".repeat(9000)).chars().count(), 4001);
    }
}
