//! What a record keeps so that its trial can run again without the experiment file that it came from.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// What determines a trial beside its method, parameters, seed, device and threads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// The dataset as the experiment wrote it: its name in the catalog, or a mapping.
    pub dataset: Value,
    /// The folder that relative paths of the dataset start from; None if the dataset names no files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// Digest of the vectors and of their split.
    pub fingerprint: String,
    /// The measurements, with all their settings.
    pub measure: Map<String, Value>,
}

/// The digest of the codes of the base rows, in hexadecimal: the SHA-256 of all codes one after the other, in the order of
/// the rows. Each code has `code_bytes` bytes, as the method packs it; nothing stands between them, before or after.
pub fn digest_of_codes(codes: &[u8]) -> String {
    let mut digest = CodesDigest::default();
    digest.add(codes);
    digest.finish()
}

/// The digest of codes that come in parts, see [`digest_of_codes`].
#[derive(Clone, Debug, Default)]
pub struct CodesDigest(Sha256);

impl CodesDigest {
    /// The next codes.
    pub fn add(&mut self, codes: &[u8]) {
        self.0.update(codes);
    }

    /// The digest of all codes.
    pub fn finish(self) -> String {
        self.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_the_sha256_of_the_plain_codes() {
        // From `printf abc | sha256sum`.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest_of_codes(b"abc"), expected);
        let mut digest = CodesDigest::default();
        for part in [&b"a"[..], b"", b"bc"] {
            digest.add(part);
        }
        assert_eq!(digest.finish(), expected, "in parts");
        assert_ne!(digest_of_codes(b"acb"), expected, "the order of rows counts");
    }
}
