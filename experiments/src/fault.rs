//! A mistake in a request: what is wrong, where it stands, what would be right.

use crate::document::Document;
use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode, SourceSpan};
use std::fmt::Display;
use std::ops::Range;
use thiserror::Error;

/// An error that its author can mend by editing one place.
#[derive(Clone, Debug, Error)]
#[error("{message}")]
pub struct Fault {
    message: String,
    help: Option<String>,
    place: Option<Box<(NamedSource<String>, SourceSpan)>>,
}

impl Fault {
    /// A fault without a place in a file.
    pub fn new(message: impl Into<String>, help: impl Into<String>) -> Fault {
        // An empty help is none.
        Fault { message: message.into(), help: Some(help.into()).filter(|help| !help.is_empty()), place: None }
    }

    /// A fault at a place in a document, named by JSON pointer: at the key if the value is a container.
    pub fn at(document: &Document, pointer: &str, message: impl Into<String>, help: Option<String>) -> Fault {
        Fault::at_bytes(document, document.locate(pointer), message, help)
    }

    /// A fault at a range of bytes of a document.
    pub fn at_bytes(
        document: &Document,
        bytes: Range<usize>,
        message: impl Into<String>,
        help: Option<String>,
    ) -> Fault {
        let source = NamedSource::new(document.name(), document.text().to_owned());
        Fault { message: message.into(), help, place: Some(Box::new((source, bytes.into()))) }
    }
}

impl Diagnostic for Fault {
    fn help(&self) -> Option<Box<dyn Display + '_>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.place.as_ref().map(|place| &place.0 as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let place = self.place.as_ref()?;
        Some(Box::new(std::iter::once(LabeledSpan::new_with_span(None, place.1))))
    }
}
