//! Data within a page: as JSON, or packed.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::DeflateEncoder;
use maud::{Markup, PreEscaped, html};
use serde::Serialize;
use std::io::Write;

/// Data of more bytes than this is packed.
const PLAIN: usize = 150_000;

/// Data as it stands in a page.
pub struct Embedded {
    /// JSON, or JSON that is deflated and written in base64.
    text: String,
    packed: bool,
}

/// Data as text: plain JSON if it is short, otherwise packed.
pub fn embedded(data: &impl Serialize) -> Embedded {
    // Plain structures of numbers and texts: there is nothing that JSON cannot hold.
    let json = serde_json::to_string(data).unwrap_or_default();
    if json.len() <= PLAIN {
        // Within a script element, `</script>` and `<!--` would have a meaning.
        return Embedded { text: json.replace('<', "\\u003c"), packed: false };
    }
    Embedded { text: packed(json.as_bytes()), packed: true }
}

/// Bytes deflated, in base64.
pub fn packed(bytes: &[u8]) -> String {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    // Writing to a vector cannot fail.
    let deflated = encoder.write_all(bytes).and_then(|()| encoder.finish()).unwrap_or_default();
    STANDARD.encode(deflated)
}

impl Embedded {
    /// Its bytes in the page.
    pub fn len(&self) -> usize {
        self.text.len()
    }

    /// The element that holds it.
    pub fn element(&self, id: &str) -> Markup {
        let kind = if self.packed { "text/plain" } else { "application/json" };
        html! { script id=(id) type=(kind) { (PreEscaped(&self.text)) } }
    }
}

/// A value with this many significant digits.
pub fn rounded(value: f64, digits: usize) -> f64 {
    format!("{value:.*e}", digits - 1).parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::read::DeflateDecoder;
    use std::io::Read;

    #[test]
    fn long_data_is_packed_and_short_data_ends_no_element() {
        let short = embedded(&["</script><!-- é"]);
        assert_eq!(
            short.element("d").into_string(),
            "<script id=\"d\" type=\"application/json\">[\"\\u003c/script>\\u003c!-- é\"]</script>"
        );
        let numbers: Vec<usize> = (0..PLAIN).collect();
        let long = embedded(&numbers);
        assert!(long.packed && long.len() < 4 * PLAIN);
        let mut text = String::new();
        let bytes = STANDARD.decode(long.text).expect("base64");
        DeflateDecoder::new(&bytes[..]).read_to_string(&mut text).expect("deflated");
        assert_eq!(serde_json::from_str::<Vec<usize>>(&text).expect("JSON"), numbers);
    }

    #[test]
    fn numbers_keep_their_leading_digits() {
        assert_eq!([rounded(0.123_456, 3), rounded(-98_765.0, 2), rounded(0.0, 4)], [0.123, -99_000.0, 0.0]);
        assert!(rounded(f64::NAN, 3).is_nan());
    }
}
