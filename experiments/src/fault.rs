//! A mistake in a request: what is wrong, where it stands, what would be right.

use crate::document::Document;
use miette::{Diagnostic, NamedSource, SourceSpan};
use thiserror::Error;

/// An error that its author can mend by editing one place.
#[derive(Clone, Debug, Error, Diagnostic)]
#[error("{message}")]
pub struct Fault {
    message: String,
    #[help]
    help: Option<String>,
    #[source_code]
    source_code: Option<NamedSource<String>>,
    #[label]
    span: Option<SourceSpan>,
}

impl Fault {
    /// A fault without a place in a file.
    pub fn new(message: impl Into<String>, help: impl Into<String>) -> Fault {
        Fault { message: message.into(), help: Some(help.into()), source_code: None, span: None }
    }

    /// A fault at a place in a document, named by JSON pointer: at the key if the value is a container.
    pub fn at(document: &Document, pointer: &str, message: impl Into<String>, help: Option<String>) -> Fault {
        Fault::at_bytes(document, document.locate(pointer), message, help)
    }

    /// A fault at a range of bytes of a document.
    pub fn at_bytes(
        document: &Document,
        bytes: std::ops::Range<usize>,
        message: impl Into<String>,
        help: Option<String>,
    ) -> Fault {
        Fault {
            message: message.into(),
            help,
            source_code: Some(NamedSource::new(document.name(), document.text().to_owned())),
            span: Some(bytes.into()),
        }
    }
}
