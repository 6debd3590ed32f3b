//! Outside programs as quantizers: the protocol of `docs/adapters.md`, the process that speaks it, and the checks of what it replies.
//!
//! A [`Session`] is a running adapter. Each of its functions is one verb: it writes arrays to the scratch folder, sends a
//! request, waits for the reply and checks everything that came back. A [`Host`] says how programs are started here.

mod arrays;
mod checks;
mod environment;
mod error;
mod family;
mod host;
mod process;
mod protocol;
mod session;
mod shipped;
mod smoke;

pub use arrays::{ArrayKind, count_values};
pub use environment::Environment;
pub use error::AdapterError;
pub use family::{Member, Sign, adopt_orphans, end_family, family};
pub use host::{Host, Identity, Launcher, Outside};
#[cfg(unix)]
pub use process::become_adapter;
pub use process::{REPLY_VARIABLE, SCRATCH_VARIABLE};
pub use protocol::{Capability, Hello, Lap, Metric, PROTOCOL, Singles, Timing};
pub use session::{Found, Held, Session};
pub use shipped::{CLIENT, SHIPPED, Shipped, find};
pub use smoke::{Checked, check};
