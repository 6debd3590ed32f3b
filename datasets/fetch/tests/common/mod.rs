//! A server on the loopback that answers as a test says, and fetchers that lose no time.

#![allow(dead_code, reason = "each test binary uses some of it")]

use fetch::{FetchError, Fetched, Fetcher, Order, Settings, Share, Watch};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a client asked.
#[derive(Clone, Debug)]
pub struct Request {
    pub path: String,
    pub headers: HashMap<String, String>,
}

impl Request {
    /// First and last byte that it asks for.
    pub fn range(&self) -> Option<(usize, Option<usize>)> {
        let (first, last) = self.headers.get("range")?.strip_prefix("bytes=")?.split_once('-')?;
        Some((first.parse().expect("a number"), last.parse().ok()))
    }
}

/// What the server does.
pub enum Reply {
    /// Sends these bytes and closes the connection.
    Bytes(Vec<u8>),
    /// Sends these bytes and then nothing, until the server ends.
    Stall(Vec<u8>),
}

/// A server; it ends with this value.
pub struct Server {
    pub address: String,
    requests: Arc<Mutex<Vec<Request>>>,
    end: Option<Receiver<()>>,
    port: u16,
    stop: Arc<AtomicBool>,
}

impl Server {
    /// Answers requests, which are counted from 0, one after the other.
    pub fn new(mut answer: impl FnMut(usize, &Request) -> Reply + Send + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (ended, end) = channel();
        let (log, stopped) = (Arc::clone(&requests), Arc::clone(&stop));
        std::thread::spawn(move || {
            let mut held: Vec<TcpStream> = Vec::new();
            for stream in listener.incoming() {
                if stopped.load(std::sync::atomic::Ordering::SeqCst) {
                    break;
                }
                let mut stream = stream.expect("a connection");
                let next = |stream: &mut TcpStream| {
                    let request = read_request(stream)?;
                    let mut log = log.lock().expect("a log");
                    log.push(request.clone());
                    Some((log.len() - 1, request))
                };
                let Some((mut number, mut request)) = next(&mut stream) else { continue };
                if !request.path.contains('/') {
                    // A proxy is asked for a tunnel to a host, and then as that host.
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
                    let Some(through) = next(&mut stream) else { continue };
                    (number, request) = through;
                }
                match answer(number, &request) {
                    Reply::Bytes(bytes) => {
                        let _ = stream.write_all(&bytes);
                        let _ = stream.shutdown(std::net::Shutdown::Write);
                        // Until the client has read all: closing earlier could reset the connection.
                        let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
                        let _ = stream.read(&mut [0]);
                    }
                    Reply::Stall(bytes) => {
                        let _ = stream.write_all(&bytes);
                        held.push(stream);
                    }
                }
            }
            drop(held);
            let _ = ended.send(());
        });
        Server { address: format!("http://127.0.0.1:{port}"), requests, end: Some(end), port, stop }
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("a log").clone()
    }

    /// The ranges of all requests so far.
    pub fn ranges(&self) -> Vec<Option<(usize, Option<usize>)>> {
        self.requests().iter().map(Request::range).collect()
    }

    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, std::sync::atomic::Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(end) = self.end.take() {
            let _ = end.recv_timeout(Duration::from_secs(5));
        }
    }
}

fn read_request(stream: &mut TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    Some(Request { path, headers })
}

/// An answer with a status line, headers and a body.
pub fn answer(status: &str, headers: &[(&str, String)], body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 {status}\r\n");
    for (name, value) in headers {
        bytes.push_str(&format!("{name}: {value}\r\n"));
    }
    bytes.push_str("connection: close\r\n\r\n");
    [bytes.as_bytes(), body].concat()
}

/// What a correct server answers, of which `sent` bytes arrive.
pub fn proper(content: &[u8], tag: &str, request: &Request, sent: usize) -> Vec<u8> {
    let tag = format!("\"{tag}\"");
    let unchanged = request.headers.get("if-range").is_none_or(|known| *known == tag);
    match request.range().filter(|_| unchanged) {
        Some((first, last)) => {
            let last = last.unwrap_or(content.len() - 1).min(content.len() - 1);
            let body = &content[first..=last];
            let headers = [
                ("content-length", body.len().to_string()),
                ("content-range", format!("bytes {first}-{last}/{}", content.len())),
                ("etag", tag),
            ];
            answer("206 Partial Content", &headers, &body[..sent.min(body.len())])
        }
        None => {
            let headers = [("content-length", content.len().to_string()), ("etag", tag)];
            answer("200 OK", &headers, &content[..sent.min(content.len())])
        }
    }
}

/// Bytes that differ at every place.
pub fn content(length: usize) -> Vec<u8> {
    let mut state = 7u32;
    let mut draw = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(|_| draw()).collect()
}

pub fn sha256(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Settings that lose no time.
pub fn settings(folder: &Path) -> Settings {
    Settings {
        stall: Duration::from_secs(10),
        connect: Duration::from_secs(10),
        backoff: Duration::from_millis(1),
        retries: 3,
        ..Settings::new(folder.to_owned())
    }
}

pub fn order(from: &[String]) -> Order {
    Order {
        from: from.to_vec(),
        to: "set/a.bin".to_owned(),
        bytes: None,
        sha256: None,
        share: Share::Whole,
        unpack: None,
        members: Vec::new(),
    }
}

/// Remembers what it hears.
#[derive(Debug, Default)]
pub struct Heard {
    pub begun: Vec<(String, u64, Option<u64>)>,
    pub notes: Vec<String>,
}

impl Watch for Heard {
    fn begin(&mut self, file: &str, done: u64, of: Option<u64>) {
        self.begun.push((file.to_owned(), done, of));
    }

    fn reach(&mut self, _done: u64) {}

    fn note(&mut self, text: &str) {
        self.notes.push(text.to_owned());
    }
}

/// Fetches, and says what was heard.
pub fn fetch(settings: &Settings, order: &Order) -> (Result<Fetched, FetchError>, Heard) {
    let mut heard = Heard::default();
    let result = Fetcher::new(settings.clone()).fetch(order, &AtomicBool::new(false), &mut heard);
    (result, heard)
}

/// The reason of the only address that was tried.
pub fn reason(result: Result<Fetched, FetchError>) -> String {
    match result {
        Err(FetchError::Failed { tried, .. }) if tried.len() == 1 => tried[0].reason.clone(),
        other => panic!("{other:?}"),
    }
}

/// The files below a folder and their content, without `datasets.lock`.
pub fn files(folder: &Path) -> Vec<String> {
    let held = fetch::cache::held(folder).expect("a folder");
    held.into_iter().map(|file| file.path).filter(|path| path != "datasets.lock").collect()
}

/// Bytes of most files.
pub const LENGTH: usize = 10_000;

/// A folder, and an order of one file at the server.
pub struct Case {
    pub folder: tempfile::TempDir,
    pub server: Server,
    pub order: Order,
}

impl Case {
    pub fn new(answer: impl FnMut(usize, &Request) -> Reply + Send + 'static) -> Case {
        let server = Server::new(answer);
        let order = order(&[server.at("/x/a.bin")]);
        Case { folder: tempfile::tempdir().expect("a folder"), server, order }
    }

    pub fn settings(&self) -> Settings {
        settings(self.folder.path())
    }

    pub fn fetch(&self) -> Result<Fetched, FetchError> {
        fetch(&self.settings(), &self.order).0
    }

    /// What is under the final name.
    pub fn file(&self) -> Option<Vec<u8>> {
        std::fs::read(self.folder.path().join(&self.order.to)).ok()
    }

    /// What has arrived of a file that is not complete.
    pub fn part(&self) -> Option<u64> {
        self.folder.path().join(format!("{}.part", self.order.to)).metadata().ok().map(|found| found.len())
    }

    /// Asserts that the file is right, and that nothing else is left.
    pub fn assert_whole(&self, expected: &[u8]) {
        assert_eq!(self.file().as_deref(), Some(expected));
        assert_eq!(files(self.folder.path()), std::slice::from_ref(&self.order.to));
    }

    /// Asserts that no file is under the final name.
    pub fn assert_nothing(&self) {
        assert_eq!(self.file(), None);
    }
}
