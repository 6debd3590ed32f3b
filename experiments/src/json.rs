//! Plain data as JSON text.

use serde::Serialize;

/// Plain data as JSON. An empty string would be read as a damaged file, or as a missing request.
pub(crate) fn plain_json(data: &impl Serialize) -> String {
    match serde_json::to_string(data) {
        Ok(text) => text,
        Err(error) => unreachable!("structs of names and numbers are JSON: {error}"),
    }
}
