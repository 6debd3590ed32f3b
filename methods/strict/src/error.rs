//! An error in a key or its value, with what would be right.

use thiserror::Error;

/// A key or value that is wrong for every dimension, or for the given vectors.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct ParamError {
    /// The wrong key, if there is one: a `/`-separated path.
    pub param: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
}

impl ParamError {
    /// An error of one parameter.
    pub fn new(param: &str, message: impl Into<String>, help: impl Into<String>) -> ParamError {
        ParamError { param: Some(param.into()), message: message.into(), help: Some(help.into()) }
    }

    /// Checks that a number lies in a closed range.
    ///
    /// # Errors
    /// The number is outside the range; the error states the range.
    pub fn in_range<T: PartialOrd + std::fmt::Display>(
        param: &str,
        value: T,
        low: T,
        high: T,
    ) -> Result<(), ParamError> {
        if value >= low && value <= high {
            return Ok(());
        }
        Err(ParamError::new(param, format!("`{param}: {value}` is out of range"), format!("use {low} to {high}")))
    }
}
