//! Fetches the public datasets of the catalog.
//!
//! A [`Fetcher`] carries out [`Order`]s: it asks the addresses of a file in turn, continues where an earlier call stopped,
//! and gives a file its name only when all of it is here and has the right digest. Bytes arrive in `NAME.part`; `NAME.part.json`
//! says what they are the start of. Nothing here reads the environment: proxies, mirrors and the folder are in [`Settings`].

mod address;
pub mod cache;
mod connection;
mod digest;
mod error;
mod fetcher;
mod lock;
mod order;
mod part;
mod proxies;
mod transfer;
mod unpack;

pub use address::shown as shown_address;
pub use error::{FetchError, Tried};
pub use fetcher::{Fetched, Fetcher, Watch};
pub use order::{Order, Share};
pub use proxies::Proxies;

use std::path::PathBuf;
use std::time::Duration;

/// How files are fetched, and where they are put.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The folder of datasets.
    pub folder: PathBuf,
    /// Files that record what was fetched. The first is made if there is none; of the others, those that exist are used.
    pub locks: Vec<PathBuf>,
    /// Addresses of mirrors, which are asked first. A mirror holds the file of `https://HOST/PATH` at `MIRROR/HOST/PATH`.
    pub mirrors: Vec<String>,
    /// Proxies to go through.
    pub proxies: Proxies,
    /// Longest time until a connection stands, and until its first answer.
    pub connect: Duration,
    /// Longest time without a byte.
    pub stall: Duration,
    /// How often an address is asked again after a failure that may pass. A try that brings a MiB more than
    /// were ever here is not counted.
    pub retries: u32,
    /// Wait before it is asked again, unless the server says how long; doubled each time.
    pub backoff: Duration,
    /// Longest wait that a server may ask for.
    pub longest_wait: Duration,
    /// Most redirects from an address to its file.
    pub redirects: usize,
    /// Most bytes of a file whose size is not known before.
    pub most_bytes: u64,
}

impl Settings {
    /// The usual times and limits, without proxies and mirrors.
    pub fn new(folder: PathBuf) -> Settings {
        Settings {
            locks: vec![folder.join("datasets.lock")],
            folder,
            mirrors: Vec::new(),
            proxies: Proxies::default(),
            connect: Duration::from_secs(30),
            stall: Duration::from_secs(30),
            retries: 5,
            backoff: Duration::from_secs(1),
            longest_wait: Duration::from_secs(120),
            redirects: 10,
            most_bytes: 64 << 30,
        }
    }
}
