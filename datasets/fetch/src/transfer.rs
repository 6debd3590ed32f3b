//! Brings the bytes of one file from one address, in as many tries as it takes.

use crate::connection::{Answer, Failure, ask};
use crate::fetcher::Watch;
use crate::part::{Origin, Part};
use crate::{FetchError, Order, Settings, Share, address};
use std::io::{ErrorKind, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A try that brings this many bytes more than were ever here is not counted as a failed one.
const PROGRESS: u64 = 1 << 20;

/// Time between two looks at whether to stop.
const GLANCE: Duration = Duration::from_millis(50);

/// Why the bytes did not come.
pub enum Stop {
    /// The address does not give the file.
    Failed(String),
    /// The caller wants to stop.
    Interrupted,
    /// This machine cannot keep the file.
    Fatal(FetchError),
}

impl From<FetchError> for Stop {
    fn from(error: FetchError) -> Stop {
        Stop::Fatal(error)
    }
}

/// Why one try ended.
enum Trouble {
    Failure(Failure),
    Stop(Stop),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Trouble {
        Trouble::Failure(failure)
    }
}

impl From<FetchError> for Trouble {
    fn from(error: FetchError) -> Trouble {
        Trouble::Stop(Stop::Fatal(error))
    }
}

fn lasting(reason: impl Into<String>) -> Trouble {
    Trouble::Failure(Failure::Lasting(reason.into()))
}

/// The transfer of one file.
pub struct Transfer<'a> {
    pub settings: &'a Settings,
    pub order: &'a Order,
    /// Whether the digest of the file is known, so that a wrong file cannot pass for the right one.
    pub verified: bool,
    pub cancel: &'a AtomicBool,
    pub watch: &'a mut dyn Watch,
}

/// What an answer promises.
struct Promise {
    /// Bytes that the incomplete file will have; None if nobody says.
    goal: Option<u64>,
    /// Whether more bytes may follow, which are not wanted.
    open_ended: bool,
}

impl Transfer<'_> {
    /// Adds bytes of `address` until the file is complete.
    pub fn run(&mut self, address: &str, part: &mut Part) -> Result<(), Stop> {
        let (mut failures, mut best) = (0, part.length());
        loop {
            if self.cancel.load(Ordering::SeqCst) {
                return Err(Stop::Interrupted);
            }
            let losses = part.losses();
            let (reason, wait) = match self.attempt(address, part) {
                Ok(()) => return Ok(()),
                Err(Trouble::Stop(stop)) => return Err(stop),
                Err(Trouble::Failure(Failure::Unreachable(reason))) if part.length() > 0 => (reason, None),
                Err(Trouble::Failure(Failure::Lasting(reason) | Failure::Unreachable(reason))) => {
                    return Err(Stop::Failed(reason));
                }
                Err(Trouble::Failure(Failure::Passing { reason, wait })) => (reason, wait),
            };
            // A server that changes its file again and again brings many bytes, and never all of them.
            let advanced = part.length() >= best + PROGRESS && part.losses() == losses;
            best = best.max(part.length());
            failures = if advanced { 0 } else { failures + 1 };
            if failures > self.settings.retries {
                return Err(Stop::Failed(format!("{reason} (after {failures} tries)")));
            }
            let backoff = || self.settings.backoff.saturating_mul(1 << failures.saturating_sub(1).min(16));
            let wait = wait.unwrap_or_else(backoff);
            if wait > self.settings.longest_wait {
                return Err(Stop::Failed(format!("{reason}; it asks to wait {} s", wait.as_secs())));
            }
            let shown = address::shown(address);
            self.watch.note(&format!("{shown}: {reason}; trying again in {:.0} s", wait.as_secs_f64().ceil()));
            self.sleep(wait)?;
        }
    }

    fn sleep(&self, wait: Duration) -> Result<(), Stop> {
        let begun = Instant::now();
        while let Some(left) = wait.checked_sub(begun.elapsed()).filter(|left| !left.is_zero()) {
            if self.cancel.load(Ordering::SeqCst) {
                return Err(Stop::Interrupted);
            }
            std::thread::sleep(left.min(GLANCE));
        }
        Ok(())
    }

    fn attempt(&mut self, address: &str, part: &mut Part) -> Result<(), Trouble> {
        let (start, end) = self.order.share.extent();
        let is_same = |origin: &Origin| origin.address == address::shown(address);
        // With a known digest, the rest of a file may come from anywhere that has as many bytes.
        let known = part.origin().filter(|origin| self.verified || is_same(origin));
        let foreign = known.is_some_and(|origin| !is_same(origin));
        let same = |origin: &&Origin| self.verified || origin.etag.is_some() || origin.modified.is_some();
        let offset = if known.is_some_and(|origin| same(&origin)) { part.length() } else { 0 };
        let whole = end.map(|end| end - start).or_else(|| known.and_then(|origin| origin.total)).or(self.order.bytes);
        if offset > 0 && whole == Some(offset) {
            return self.check_head(part);
        }
        let mut headers = vec![("accept-encoding", "identity".to_owned())];
        let ranged = offset > 0 || end.is_some();
        if ranged {
            let last = end.map_or_else(String::new, |end| (end - 1).to_string());
            headers.push(("range", format!("bytes={}-{last}", start + offset)));
        }
        if let Some(tag) = known.filter(|_| offset > 0 && !foreign).and_then(Origin::if_range) {
            headers.push(("if-range", tag));
        }
        let answer = ask(self.settings, address, &headers)?;
        let page =
            || answer.header("content-type").is_some_and(|kind| kind.to_ascii_lowercase().starts_with("text/html"));
        // Otherwise the page of a login or an error would be recorded as what the file must be from now on.
        if !self.verified && self.order.bytes.is_none() && matches!(answer.status, 200 | 206) && page() {
            return Err(lasting("it sends a web page, and neither digest nor size of the file are known"));
        }
        let promise = match answer.status {
            200 => self.whole(address, &answer, part)?,
            206 if ranged => self.partial(address, &answer, offset, part)?,
            206 => return Err(lasting("it sends a part where all was asked")),
            416 if offset > 0 && foreign => return Err(lasting("it has fewer bytes than are here")),
            416 if offset > 0 => {
                part.restart(None)?;
                return Err(Failure::passing("the file has become shorter").into());
            }
            _ => return Err(answer.failure().into()),
        };
        if promise.goal.is_none() && !answer.ends_visibly() && !self.verified {
            return Err(lasting(
                "it does not say how many bytes it sends, so a broken file could pass for a whole one",
            ));
        }
        self.watch.begin(&self.order.to, part.length(), promise.goal);
        self.copy(answer, &promise, part)
    }

    /// What an answer says of its content.
    fn origin(address: &str, answer: &Answer, total: Option<u64>) -> Origin {
        let (etag, modified) = (answer.header("etag"), answer.header("last-modified"));
        Origin { address: address::shown(address), total, etag, modified }
    }

    /// Checks the size of the whole file.
    fn check_total(&self, total: u64) -> Result<(), Trouble> {
        let (start, end) = self.order.share.extent();
        match (self.order.bytes, end) {
            (_, Some(end)) if total < end => {
                Err(lasting(format!("it has {total} bytes; bytes {start} to {end} are wanted")))
            }
            (Some(bytes), None) if total != bytes => {
                Err(lasting(format!("it has {total} bytes; the catalog states {bytes}")))
            }
            (None, None) if total > self.settings.most_bytes => {
                Err(lasting(format!("it has {total} bytes; the limit is {}", self.settings.most_bytes)))
            }
            _ => Ok(()),
        }
    }

    /// An answer with the whole file: the server knows no ranges, or the file has changed.
    fn whole(&mut self, address: &str, answer: &Answer, part: &mut Part) -> Result<Promise, Trouble> {
        let total = answer.content_length();
        total.map_or(Ok(()), |total| self.check_total(total))?;
        let (start, end) = self.order.share.extent();
        if start > 0 {
            return Err(lasting("it does not serve a part of a file"));
        }
        if part.length() > 0 {
            self.watch.note(&format!("{}: it sends the file from its start again", address::shown(address)));
        }
        part.restart(Some(Self::origin(address, answer, total)))?;
        Ok(Promise { goal: end.or(total).or(self.order.bytes), open_ended: end.is_some() })
    }

    /// An answer with a part of the file.
    fn partial(&mut self, address: &str, answer: &Answer, offset: u64, part: &mut Part) -> Result<Promise, Trouble> {
        let (start, end) = self.order.share.extent();
        let range = answer.header("content-range").and_then(|text| content_range(&text));
        let Some((first, last, total)) = range.filter(|(first, ..)| *first == start + offset) else {
            return Err(lasting(format!("it sends other bytes than those from {}", start + offset)));
        };
        let origin = Self::origin(address, answer, total);
        let before = part.origin().filter(|_| offset > 0);
        if before.is_some_and(|before| before.address != origin.address && !before.same_total(&origin)) {
            return Err(lasting("it has another number of bytes than the file that is partly here"));
        }
        if before.is_some_and(|before| before.address == origin.address && !before.agrees(&origin)) {
            part.restart(None)?;
            return Err(Failure::passing("the file has changed").into());
        }
        total.map_or(Ok(()), |total| self.check_total(total))?;
        let most = end.or(self.order.bytes).unwrap_or(self.settings.most_bytes);
        if total.is_none() && last >= most {
            return Err(lasting(format!("it has at least {} bytes; the limit is {most}", last.saturating_add(1))));
        }
        let promised = (last + 1).saturating_sub(first);
        let wanted = end.or(total).map(|end| end.saturating_sub(first));
        let sent = answer.content_length().unwrap_or(promised);
        if sent > promised || wanted.is_some_and(|wanted| promised > wanted) {
            let wanted = wanted.unwrap_or(promised).min(promised);
            return Err(lasting(format!("it sends {} bytes where {wanted} were asked", sent.max(promised))));
        }
        if offset == 0 {
            part.restart(Some(origin))?;
        }
        let goal = end.or(total).map(|end| end - start).or(self.order.bytes).unwrap_or(offset + promised);
        Ok(Promise { goal: Some(goal), open_ended: false })
    }

    fn copy(&mut self, answer: Answer, promise: &Promise, part: &mut Part) -> Result<(), Trouble> {
        let mut reader = answer.into_reader();
        let mut buffer = vec![0; 1 << 16];
        let mut head_is_checked = false;
        let most = promise.goal.unwrap_or(self.settings.most_bytes);
        while promise.goal.is_none_or(|goal| part.length() < goal) || !promise.open_ended {
            if self.cancel.load(Ordering::SeqCst) {
                return Err(Trouble::Stop(Stop::Interrupted));
            }
            let count = match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if is_timeout(&error) => {
                    let stall = self.settings.stall.as_secs_f64();
                    return Err(Failure::passing(format!("no byte came for {stall} s")).into());
                }
                Err(error) => {
                    let here = part.length();
                    return Err(Failure::passing(format!("the connection broke after {here} bytes: {error}")).into());
                }
            };
            let mut bytes = &buffer[..count];
            let room = most.saturating_sub(part.length());
            if bytes.len() as u64 > room {
                if !promise.open_ended {
                    part.restart(None)?;
                    return Err(lasting(format!("it sends more than {most} bytes")));
                }
                bytes = &bytes[..room as usize];
            }
            part.append(bytes)?;
            self.watch.reach(part.length());
            if !head_is_checked && part.length() >= 8 {
                self.check_head(part)?;
                head_is_checked = true;
            }
        }
        match promise.goal.filter(|&goal| part.length() < goal) {
            None => self.check_head(part),
            Some(goal) => {
                Err(Failure::passing(format!("the connection ended after {} of {goal} bytes", part.length())).into())
            }
        }
    }

    /// Checks the numbers of rows and columns of a file that is cut.
    fn check_head(&self, part: &mut Part) -> Result<(), Trouble> {
        let Share::Rows { rows, dim, .. } = self.order.share else { return Ok(()) };
        let Some(head) = part.head()? else { return Err(lasting("it has no header of eight bytes")) };
        let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (found_rows, found_dim) = (number(0), number(4));
        if found_rows >= rows && found_dim == dim {
            return Ok(());
        }
        part.restart(None)?;
        Err(lasting(format!(
            "its header states {found_rows} rows of {found_dim} components; at least {rows} of {dim} are wanted"
        )))
    }
}

fn is_timeout(error: &std::io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<ureq::Error>());
    error.kind() == ErrorKind::TimedOut || matches!(inner, Some(ureq::Error::Timeout(_)))
}

/// First byte, last byte and size of the whole file in a `Content-Range`.
fn content_range(text: &str) -> Option<(u64, u64, Option<u64>)> {
    let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    let total = if total.trim() == "*" { None } else { Some(total.trim().parse().ok()?) };
    (first <= last && last < u64::MAX).then_some((first, last, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read() {
        assert_eq!(content_range("bytes 5-9/10"), Some((5, 9, Some(10))));
        assert_eq!(content_range(" bytes 0-0/*"), Some((0, 0, None)));
        for text in ["bytes */10", "bytes 9-5/10", "items 0-1/2", "bytes 0-18446744073709551615/*", "bytes 0-1", ""] {
            assert_eq!(content_range(text), None, "{text}");
        }
    }
}
