//! An error in a request: what is wrong, where, and what would be right.

use miette::{Diagnostic, LabeledSpan, MietteError, MietteSpanContents, SourceCode, SourceSpan, SpanContents};
use std::fmt::Display;
use std::ops::Range;
use thiserror::Error;

/// A text whose places a fault can point at.
pub trait Located {
    /// Its name in messages.
    fn name(&self) -> &str;

    /// The text itself.
    fn text(&self) -> &str;

    /// The bytes of the value that a JSON pointer names: of its key if the value is a container.
    fn locate(&self, pointer: &str) -> Range<usize>;

    /// The file that holds these bytes of a text that consists of several: its name, its text, and the bytes in it.
    fn source(&self, bytes: Range<usize>) -> (&str, &str, Range<usize>) {
        (self.name(), self.text(), bytes)
    }
}

/// An error that its author can mend by editing one place.
#[derive(Clone, Debug, Error)]
#[error("{message}")]
pub struct Fault {
    message: String,
    help: Option<String>,
    place: Option<Box<Excerpt>>,
}

/// Maximum number of bytes shown of a message or a help. They quote user input, which may have any length.
const MAX_WORDS: usize = 1000;

impl Fault {
    /// A fault without a place in a file.
    pub fn new(message: impl Into<String>, help: impl Into<String>) -> Fault {
        // An empty help means no help.
        let help = Some(help.into()).filter(|help| !help.is_empty());
        Fault { message: shorten(message.into()), help: help.map(shorten), place: None }
    }

    /// A fault at a place in a document, named by JSON pointer: at the key if the value is a container.
    pub fn at(document: &dyn Located, pointer: &str, message: impl Into<String>, help: Option<String>) -> Fault {
        Fault::at_bytes(document, document.locate(pointer), message, help)
    }

    /// A fault at a range of bytes of a document.
    pub fn at_bytes(
        document: &dyn Located,
        bytes: Range<usize>,
        message: impl Into<String>,
        help: Option<String>,
    ) -> Fault {
        let place = Some(Box::new(Excerpt::new(document, bytes)));
        Fault { place, ..Fault::new(message, help.unwrap_or_default()) }
    }
}

/// Removes the middle of a text that is too long.
fn shorten(text: String) -> String {
    if text.len() <= MAX_WORDS {
        return text;
    }
    let begin = text.floor_char_boundary(MAX_WORDS / 2);
    let end = text.ceil_char_boundary(text.len() - MAX_WORDS / 2);
    format!("{} … {}", &text[..begin], &text[end..])
}

impl Diagnostic for Fault {
    fn help(&self) -> Option<Box<dyn Display + '_>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.place.as_ref().map(|place| &**place as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let place = self.place.as_ref()?;
        Some(Box::new(std::iter::once(LabeledSpan::new_with_span(None, place.span))))
    }
}

/// The lines around a location, cut to the width of a screen: the renderer pads by line width, and a line of a file may
/// have any width.
#[derive(Clone, Debug)]
struct Excerpt {
    name: String,
    text: String,
    /// The place, in bytes of the excerpt.
    span: SourceSpan,
    /// Number of the excerpt's first line in the document, from 0.
    first_line: usize,
    /// Number of bytes that were cut before the location.
    cut: usize,
}

/// Maximum number of bytes shown of a line, and of bytes before the location.
const MAX_LINE: usize = 160;
const BEFORE: usize = 40;

/// Lines before and after the line where the place begins.
const AROUND: usize = 2;

/// Marks a cut in a line.
const GAP: &str = "…";

impl Excerpt {
    fn new(document: &dyn Located, bytes: Range<usize>) -> Excerpt {
        let (name, text, bytes) = document.source(bytes);
        let start = text.floor_char_boundary(bytes.start.min(text.len()));
        let line_start = |at: usize| text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let own = line_start(start);
        let first = (0..AROUND).fold(own, |at, _| line_start(at.saturating_sub(1)));
        let own_end = text[start..].find('\n').map_or(text.len(), |newline| start + newline);

        let mut shown: String = text[first..own].split_inclusive('\n').map(cut_end).collect();
        let (line, column) = (&text[own..own_end], start - own);
        let far = line.len() > MAX_LINE && column > 2 * BEFORE;
        let from = if far { line.floor_char_boundary(column - BEFORE) } else { 0 };
        let to = line.floor_char_boundary((from + MAX_LINE).min(line.len()));
        let gap = |is_there: bool| if is_there { GAP } else { "" };
        shown += gap(from > 0);
        let cut = from.saturating_sub(gap(from > 0).len());
        let begin = shown.len() + column - from;
        // A location of several lines is marked to the end of its first line.
        let length = bytes.end.min(own + to).saturating_sub(start);
        shown += &line[from..to];
        shown += gap(to < line.len());
        // What follows begins with the end of this line.
        shown.extend(text[own_end..].split_inclusive('\n').take(1 + AROUND).map(cut_end));
        Excerpt {
            name: name.to_owned(),
            text: shown,
            span: (begin, length).into(),
            first_line: text[..first].matches('\n').count(),
            cut,
        }
    }
}

/// A line cut to the width, with its line ending.
fn cut_end(line: &str) -> String {
    if line.len() <= MAX_LINE {
        return line.to_owned();
    }
    let end = if line.ends_with('\n') { "\n" } else { "" };
    format!("{}{GAP}{end}", &line[..line.floor_char_boundary(MAX_LINE)])
}

impl SourceCode for Excerpt {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        lines_before: usize,
        lines_after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let found = self.text.as_str().read_span(span, lines_before, lines_after)?;
        // A position is asked for without the lines around it.
        let column = found.column() + if lines_before == 0 { self.cut } else { 0 };
        Ok(Box::new(MietteSpanContents::new_named(
            self.name.clone(),
            found.data(),
            *found.span(),
            self.first_line + found.line(),
            column,
            found.line_count(),
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Document;

    #[test]
    fn of_a_line_of_any_width_the_surroundings_of_the_place_are_kept() {
        let text = format!("name: t\nlong: [{}]\nlast: {}\n", vec!["é1"; 90_000].join(","), "x".repeat(100_000));
        let document = Document::parse("t.yaml", &text).expect("valid");
        for i in [0, 1, 30, 31, 89_999] {
            let bytes = document.locate(&format!("/long/{i}"));
            let place = Excerpt::new(&document, bytes.clone());
            assert!(place.text.len() < 4 * MAX_LINE, "{}", place.text.len());
            let found = place.read_span(&place.span, 0, 0).expect("within");
            assert_eq!((found.data(), found.line()), ("é1".as_bytes(), 1), "{i}");
            let line_start = text.find("long").expect("is there");
            assert_eq!(found.column(), bytes.start - line_start, "{i}");
        }
        let whole = Excerpt::new(&document, document.locate("/last"));
        assert!(whole.span.len() <= MAX_LINE && whole.text.ends_with("…\n"), "{whole:?}");
        let end = Excerpt::new(&document, text.len()..text.len());
        assert_eq!((end.first_line, end.span.offset()), (1, end.text.len()));
    }

    #[test]
    fn words_of_any_length_are_shortened_in_their_middle() {
        let fault = Fault::new(format!("`{}` is unknown", "é".repeat(1_000_000)), "x".repeat(1_000_000));
        let (message, help) = (fault.to_string(), fault.help.expect("is there"));
        assert!(message.len() < 2 * MAX_WORDS && help.len() < 2 * MAX_WORDS);
        assert!(message.starts_with("`é") && message.ends_with("é` is unknown"), "{message}");
    }
}
