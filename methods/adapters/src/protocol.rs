//! The messages of the protocol, as `docs/adapters.md` specifies them.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The version of the protocol.
pub const PROTOCOL: u32 = 1;

/// Longest line of a message.
pub(crate) const LONGEST_LINE: u64 = 1 << 20;

/// What an adapter can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Capability {
    /// Rows to codes.
    Encode,
    /// Codes to rows.
    Decode,
    /// Search over codes.
    Search,
    /// Search over rows that it stores in its own way.
    SearchBase,
    /// Write its model to a file.
    Save,
    /// Read its model from a file.
    Restore,
}

impl Capability {
    /// As messages name it.
    pub fn name(self) -> &'static str {
        match self {
            Capability::Encode => "encode",
            Capability::Decode => "decode",
            Capability::Search => "search",
            Capability::SearchBase => "search_base",
            Capability::Save => "save",
            Capability::Restore => "restore",
        }
    }
}

/// How vectors are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Metric {
    /// Euclidean distance.
    #[default]
    L2,
    /// Inner product.
    Ip,
}

/// The reply to `hello`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// The version of the protocol that it speaks.
    pub protocol: u32,
    /// Name of the library that computes.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its licence.
    #[serde(default)]
    pub licence: String,
    /// What it can do.
    pub capabilities: Vec<Capability>,
    /// What it can search by.
    #[serde(default)]
    pub metrics: Vec<Metric>,
    /// Whether equal seeds give equal codes.
    #[serde(default)]
    pub seedable: bool,
    /// Where it computes.
    #[serde(default = "cpu")]
    pub device: String,
    /// Bytes of a code of vectors with the dimension of the request. Plans show it, and codes are checked against it.
    #[serde(default)]
    pub code_bytes: Option<usize>,
}

fn cpu() -> String {
    "cpu".to_owned()
}

impl Hello {
    /// Whether it can do something.
    pub fn can(&self, capability: Capability) -> bool {
        self.capabilities.contains(&capability)
    }
}

/// A reply, whose `ok` is read later by what was asked.
#[derive(Debug, Deserialize)]
pub(crate) struct Reply {
    pub(crate) id: Option<u64>,
    #[serde(default)]
    pub(crate) ok: Option<Value>,
    #[serde(default)]
    pub(crate) error: Option<String>,
    #[serde(default)]
    pub(crate) param: Option<String>,
}

/// How often and how long work is measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Timing {
    /// Number of measurements.
    pub repeats: usize,
    /// Least seconds of each: short work is repeated until they have passed.
    pub min_seconds: f64,
}

/// How many single queries are measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Singles {
    /// At most this many.
    pub queries: usize,
    /// After 20 queries, no more once these seconds have passed.
    pub seconds: f64,
}

/// One measurement.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct Lap {
    /// How often the work was done.
    pub rounds: u64,
    /// The seconds that it took.
    pub seconds: f64,
}

/// What the replies to all verbs but `hello` may contain.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Done {
    #[serde(default)]
    pub(crate) seconds: Option<f64>,
    #[serde(default)]
    pub(crate) timing: Option<Vec<Lap>>,
    #[serde(default)]
    pub(crate) singles: Option<Vec<f64>>,
}
