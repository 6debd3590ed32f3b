//! One request: it follows redirects, and returns the answer that is not one.

use crate::{Settings, address};
use std::io::{ErrorKind, Read};
use std::time::{Duration, SystemTime};
use ureq::http::{HeaderMap, Response};
use ureq::{Agent, Body, Proxy};

/// Why a request failed.
#[derive(Debug)]
pub enum Failure {
    /// It may pass: ask again, after this time if the server says how long.
    Passing {
        /// What went wrong.
        reason: String,
        /// What the server asks for.
        wait: Option<Duration>,
    },
    /// Its host cannot be reached, which may pass: ask again if something of the file is here already.
    Unreachable(String),
    /// It will not pass.
    Lasting(String),
}

impl Failure {
    /// A failure that may pass, without a time.
    pub fn passing(reason: impl Into<String>) -> Failure {
        Failure::Passing { reason: reason.into(), wait: None }
    }
}

/// An answer that is not a redirect.
pub struct Answer {
    pub status: u16,
    headers: HeaderMap,
    body: Body,
}

impl Answer {
    /// The first value of a header, if it is text.
    pub fn header(&self, name: &str) -> Option<String> {
        self.headers.get(name)?.to_str().ok().map(|value| value.trim().to_owned())
    }

    /// Bytes of its content, as it states them.
    pub fn content_length(&self) -> Option<u64> {
        self.header("content-length")?.parse().ok()
    }

    /// Whether the end of its content can be told from a connection that broke.
    pub fn ends_visibly(&self) -> bool {
        let chunked =
            self.header("transfer-encoding").is_some_and(|coding| coding.to_ascii_lowercase().contains("chunked"));
        chunked || self.content_length().is_some()
    }

    /// The failure that its status means, if it is one.
    pub fn failure(&self) -> Failure {
        let name = ureq::http::StatusCode::from_u16(self.status).ok().and_then(|status| status.canonical_reason());
        let reason = name.map_or_else(|| format!("status {}", self.status), |name| format!("{} {name}", self.status));
        match self.status {
            408 | 425 | 429 | 500 | 502 | 503 | 504 => {
                Failure::Passing { reason, wait: self.header("retry-after").and_then(|text| retry_after(&text)) }
            }
            _ => Failure::Lasting(reason),
        }
    }

    /// Its content.
    pub fn into_reader(self) -> impl Read {
        self.body.into_with_config().limit(u64::MAX).reader()
    }
}

/// The wait that a `Retry-After` asks for: a number of seconds or a time.
fn retry_after(text: &str) -> Option<Duration> {
    match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => {
            let until = httpdate::parse_http_date(text).ok()?;
            Some(until.duration_since(SystemTime::now()).unwrap_or_default())
        }
    }
}

const NO_HOST: &str = "its host is not found";

/// Asks an address.
///
/// # Errors
/// No connection, a redirect that leads nowhere, too many redirects or a circle of them.
pub fn ask(settings: &Settings, address: &str, headers: &[(&str, String)]) -> Result<Answer, Failure> {
    let mut visited = vec![address.to_owned()];
    loop {
        let at = visited.last().map_or(address, String::as_str);
        let response = ask_once(settings, at, headers)?;
        if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
            let status = response.status().as_u16();
            let (parts, body) = response.into_parts();
            return Ok(Answer { status, headers: parts.headers, body });
        }
        let location = response.headers().get("location").and_then(|value| value.to_str().ok());
        let location =
            location.ok_or_else(|| Failure::Lasting(format!("{} redirects to nowhere", address::shown(at))))?;
        let to = address::redirected(at, location).map_err(Failure::Lasting)?;
        let circle = visited.contains(&to);
        visited.push(to);
        if circle {
            let visited: Vec<String> = visited.iter().map(|address| address::shown(address)).collect();
            return Err(Failure::Lasting(format!("its redirects go in a circle: {}", visited.join(" → "))));
        }
        if visited.len() > settings.redirects + 1 {
            return Err(Failure::Lasting(format!("it has more than {} redirects", settings.redirects)));
        }
    }
}

fn ask_once(settings: &Settings, address: &str, headers: &[(&str, String)]) -> Result<Response<Body>, Failure> {
    let proxy = settings.proxies.of(address).map(Proxy::new).transpose();
    let proxy = proxy.map_err(|_| Failure::Lasting("the address of the proxy is not usable".to_owned()))?;
    let agent: Agent = Agent::config_builder()
        .proxy(proxy)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_resolve(Some(settings.connect))
        .timeout_connect(Some(settings.connect))
        .timeout_recv_response(Some(settings.connect))
        .timeout_per_read(Some(settings.stall))
        .user_agent(concat!("vqbench/", env!("CARGO_PKG_VERSION")))
        .build()
        .into();
    let mut request = agent.get(address);
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    // The address may be a part of the message.
    let text = |error: &ureq::Error| error.to_string().replace(address, &address::shown(address));
    request.call().map_err(|error| match error {
        ureq::Error::BadUri(_) | ureq::Error::Http(_) | ureq::Error::Tls(_) | ureq::Error::Rustls(_) => {
            Failure::Lasting(text(&error))
        }
        ureq::Error::HostNotFound => Failure::Unreachable(NO_HOST.to_owned()),
        // The system has no kind for it.
        ureq::Error::Io(error) if error.to_string().contains("lookup address") => {
            Failure::Unreachable(NO_HOST.to_owned())
        }
        ureq::Error::Io(error) if error.kind() == ErrorKind::ConnectionRefused => {
            Failure::Unreachable("its host refuses the connection".to_owned())
        }
        ureq::Error::Timeout(_) => Failure::passing(format!("no answer within {} s", settings.connect.as_secs_f64())),
        error => Failure::passing(text(&error)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_seconds_or_times() {
        assert_eq!(retry_after("7"), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        let soon = SystemTime::now() + Duration::from_secs(100);
        let wait = retry_after(&httpdate::fmt_http_date(soon)).expect("a wait");
        assert!((90..=100).contains(&wait.as_secs()), "{wait:?}");
        assert_eq!(retry_after("soon"), None);
    }
}
