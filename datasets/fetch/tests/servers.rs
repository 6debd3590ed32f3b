//! Servers that break off, stall, redirect, ignore ranges, corrupt, change their files, refuse, or send too much.

mod common;

use common::{Case, LENGTH, Reply, answer, content, fetch, files, order, proper, reason, sha256};
use fetch::{FetchError, Fetched, Fetcher, Order, Settings};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

fn new(case: &Case, path: &str, bytes: &[u8], verified: bool) -> Fetched {
    let (address, sha256) = (case.server.at(path), sha256(bytes));
    Fetched::New { address, bytes: bytes.len() as u64, sha256, verified }
}

#[test]
fn a_whole_file_is_fetched_once_and_recorded() {
    let bytes = content(LENGTH);
    let served = bytes.clone();
    let case = Case::new(move |_, request| Reply::Bytes(proper(&served, "1", request, LENGTH)));
    let (result, heard) = fetch(&case.settings(), &case.order);
    assert_eq!(result.expect("fetches"), new(&case, "/x/a.bin", &bytes, false));
    case.assert_whole(&bytes);
    assert_eq!(heard.begun[0], ("set/a.bin".to_owned(), 0, Some(LENGTH as u64)));
    assert_eq!(case.fetch().expect("is here"), Fetched::Here);
    assert_eq!(case.server.requests().len(), 1);
    assert_eq!(case.server.requests()[0].headers["accept-encoding"], "identity");
    let lock = std::fs::read_to_string(case.folder.path().join("datasets.lock")).expect("a record");
    assert!(lock.contains("path = \"set/a.bin\"\nbytes = 10000\n"), "{lock}");
    assert!(lock.contains(&format!("sha256 = \"{}\"\naddress = \"{}\"", sha256(&bytes), case.order.from[0])), "{lock}");
}

#[test]
fn a_connection_that_breaks_is_continued() {
    let bytes = content(LENGTH);
    let served = bytes.clone();
    let case = Case::new(move |number, request| {
        Reply::Bytes(proper(&served, "1", request, if number < 2 { 3000 } else { LENGTH }))
    });
    let (result, heard) = fetch(&case.settings(), &case.order);
    result.expect("fetches");
    case.assert_whole(&bytes);
    assert_eq!(case.server.ranges(), [None, Some((3000, None)), Some((6000, None))]);
    assert_eq!(case.server.requests()[1].headers["if-range"], "\"1\"");
    assert_eq!(heard.notes.len(), 2);
}

#[test]
fn a_server_that_always_breaks_off_is_given_up_and_continued_later() {
    let bytes = content(LENGTH);
    let served = bytes.clone();
    let case = Case::new(move |number, request| {
        Reply::Bytes(proper(&served, "1", request, if number < 4 { 1000 } else { LENGTH }))
    });
    let text = reason(case.fetch());
    assert!(text.ends_with("(after 4 tries)"), "{text}");
    case.assert_nothing();
    assert_eq!(case.part(), Some(4000));
    case.fetch().expect("continues");
    case.assert_whole(&bytes);
    assert_eq!(case.server.ranges()[4], Some((4000, None)));
}

#[test]
fn a_server_that_stalls_is_asked_again() {
    let bytes = content(LENGTH);
    let served = bytes.clone();
    let case = Case::new(move |number, request| match number {
        0 => Reply::Stall(proper(&served, "1", request, 2000)),
        1 => Reply::Stall(Vec::new()),
        _ => Reply::Bytes(proper(&served, "1", request, LENGTH)),
    });
    let short = Duration::from_millis(150);
    let settings = Settings { connect: short, stall: short, retries: 30, ..case.settings() };
    let (result, heard) = fetch(&settings, &case.order);
    result.expect("fetches");
    case.assert_whole(&bytes);
    // A slow machine may need more than three tries.
    assert_eq!(case.server.ranges()[..3], [None, Some((2000, None)), Some((2000, None))]);
    let address = &case.order.from[0];
    assert_eq!(
        heard.notes[..2],
        [
            format!("{address}: no byte came for 0.15 s; trying again in 1 s"),
            format!("{address}: no answer within 0.15 s; trying again in 1 s")
        ]
    );
}

#[test]
fn an_interrupted_fetch_keeps_what_is_here() {
    let bytes = content(3 << 20);
    let served = bytes.clone();
    let cancel = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&cancel);
    let case = Case::new(move |number, request| {
        if number == 0 {
            stop.store(true, Ordering::SeqCst);
        }
        Reply::Bytes(proper(&served, "1", request, served.len()))
    });
    let fetcher = Fetcher::new(case.settings());
    let result = fetcher.fetch(&case.order, &cancel, &mut common::Heard::default());
    let Err(FetchError::Interrupted { file, kept }) = result else { panic!("{result:?}") };
    assert_eq!((file.as_str(), Some(kept)), ("set/a.bin", case.part()));
    case.assert_nothing();
    cancel.store(false, Ordering::SeqCst);
    fetcher.fetch(&case.order, &cancel, &mut common::Heard::default()).expect("continues");
    case.assert_whole(&bytes);
}

#[test]
fn the_check_of_a_digest_can_be_interrupted() {
    /// Interrupts as soon as the digest is computed.
    struct Interrupting<'a>(&'a AtomicBool);

    impl fetch::Watch for Interrupting<'_> {
        fn begin(&mut self, file: &str, _done: u64, _of: Option<u64>) {
            self.0.store(file.starts_with("checking"), Ordering::SeqCst);
        }

        fn reach(&mut self, _done: u64) {}

        fn note(&mut self, _text: &str) {}
    }

    let bytes = content(LENGTH);
    let served = bytes.clone();
    let case = Case::new(move |_, request| Reply::Bytes(proper(&served, "1", request, LENGTH)));
    let cancel = AtomicBool::new(false);
    let fetcher = Fetcher::new(case.settings());
    let result = fetcher.fetch(&case.order, &cancel, &mut Interrupting(&cancel));
    assert!(matches!(result, Err(FetchError::Interrupted { kept, .. }) if kept == LENGTH as u64), "{result:?}");
    case.assert_nothing();
    case.fetch().expect("continues");
    case.assert_whole(&bytes);
    assert_eq!(case.server.requests().len(), 1, "all of it was here");
    let result = fetcher.fetch(&case.order, &cancel, &mut Interrupting(&cancel));
    assert!(matches!(result, Err(FetchError::Interrupted { .. })), "{result:?}");
}

#[test]
fn redirects_are_followed_and_circles_named() {
    let bytes = content(LENGTH);
    let served = bytes.clone();
    let case = Case::new(move |_, request| {
        let to = |place: &str| Reply::Bytes(answer("302 Found", &[("location", place.to_owned())], b""));
        match request.path.as_str() {
            "/x/a.bin" => to("b"),
            "/x/b" => to("/c?d=e"),
            "/c?d=e" => Reply::Bytes(proper(&served, "1", request, LENGTH)),
            "/circle" => to("/circle/b"),
            "/circle/b" => to("/circle"),
            "/away" => to("ftp://127.0.0.1/a"),
            "/nowhere" => Reply::Bytes(answer("302 Found", &[], b"")),
            path => to(&format!("{path}x")),
        }
    });
    case.fetch().expect("fetches");
    case.assert_whole(&bytes);
    let at = |path: &str| {
        let order = Order { to: "set/other.bin".into(), ..order(&[case.server.at(path)]) };
        let text = reason(fetch(&case.settings(), &order).0).replace(&case.server.address, "");
        assert_eq!(files(case.folder.path()), ["set/a.bin"], "{path}");
        text
    };
    assert_eq!(at("/circle"), "its redirects go in a circle: /circle → /circle/b → /circle");
    assert_eq!(at("/away"), "it leads to ftp://127.0.0.1/a, which is neither http nor https");
    assert_eq!(at("/nowhere"), "/nowhere redirects to nowhere");
    assert_eq!(at("/far"), "it has more than 10 redirects");
}

#[test]
fn a_server_without_ranges_sends_all_again() {
    let bytes = content(LENGTH);
    let served = bytes.clone();
    let case = Case::new(move |number, _| {
        let headers = [("content-length", LENGTH.to_string()), ("etag", "\"1\"".to_owned())];
        Reply::Bytes(answer("200 OK", &headers, &served[..if number == 0 { 4000 } else { LENGTH }]))
    });
    case.fetch().expect("fetches");
    case.assert_whole(&bytes);
    assert_eq!(case.server.ranges(), [None, Some((4000, None))]);
}

#[test]
fn a_file_that_changes_between_two_tries_starts_again() {
    let (old, new) = (content(LENGTH), content(LENGTH).into_iter().rev().collect::<Vec<u8>>());
    let expected = new.clone();
    let served = old.clone();
    let case = Case::new(move |number, request| match number {
        0 => Reply::Bytes(proper(&served, "old", request, 4000)),
        _ => Reply::Bytes(proper(&new, "new", request, LENGTH)),
    });
    case.fetch().expect("fetches");
    case.assert_whole(&expected);

    // A server that ignores `If-Range`: the tag of the part tells.
    let (served, later) = (old, expected.clone());
    let case = Case::new(move |number, request| {
        let mut request = request.clone();
        request.headers.remove("if-range");
        match number {
            0 => Reply::Bytes(proper(&served, "old", &request, 4000)),
            _ => Reply::Bytes(proper(&later, "new", &request, LENGTH)),
        }
    });
    let (result, heard) = fetch(&case.settings(), &case.order);
    result.expect("fetches");
    case.assert_whole(&expected);
    assert_eq!(case.server.ranges(), [None, Some((4000, None)), None]);
    assert!(heard.notes[1].contains("the file has changed"), "{:?}", heard.notes);
}

#[test]
fn a_server_that_changes_its_file_every_time_is_given_up() {
    // More than a MiB comes each time.
    let length = 3 << 20;
    let bytes = content(length);
    let served = bytes.clone();
    let case = Case::new(move |number, request| {
        let mut request = request.clone();
        request.headers.remove("if-range");
        Reply::Bytes(proper(&served, &number.to_string(), &request, 2 << 20))
    });
    let text = reason(case.fetch());
    assert!(text.starts_with("the connection broke") && text.ends_with("(after 4 tries)"), "{text}");
    let rest = Some((2 << 20, None));
    assert_eq!(case.server.ranges(), [None, rest, None, rest, None]);
    case.assert_nothing();
}

#[test]
fn without_a_tag_only_a_known_digest_lets_a_file_continue() {
    let bytes = content(LENGTH);
    let serve = |served: Vec<u8>| {
        move |number: usize, request: &common::Request| {
            let first = request.range().map_or(0, |(first, _)| first);
            let body = &served[first..];
            let mut headers = vec![("content-length", body.len().to_string())];
            if first > 0 {
                headers.push(("content-range", format!("bytes {first}-{}/{LENGTH}", LENGTH - 1)));
            }
            let status = if first > 0 { "206 Partial Content" } else { "200 OK" };
            Reply::Bytes(answer(status, &headers, &body[..if number == 0 { 4000 } else { body.len() }]))
        }
    };
    let case = Case::new(serve(bytes.clone()));
    case.fetch().expect("fetches");
    assert_eq!(case.server.ranges(), [None, None]);
    case.assert_whole(&bytes);

    let mut case = Case::new(serve(bytes.clone()));
    case.order.sha256 = Some(sha256(&bytes));
    case.fetch().expect("fetches");
    assert_eq!(case.server.ranges(), [None, Some((4000, None))]);
    case.assert_whole(&bytes);
}

#[test]
fn a_corrupted_file_is_refused_and_a_mirror_asked() {
    let bytes = content(LENGTH);
    let served = bytes.clone();
    let mut case = Case::new(move |_, request| {
        let mut bytes = served.clone();
        if request.path == "/x/a.bin" {
            bytes[5000] ^= 1;
        }
        Reply::Bytes(proper(&bytes, "1", request, LENGTH))
    });
    case.order.sha256 = Some(sha256(&bytes));
    let mut wrong = bytes.clone();
    wrong[5000] ^= 1;
    assert_eq!(
        reason(case.fetch()),
        format!("its SHA-256 is {}; the catalog states {}", sha256(&wrong), sha256(&bytes))
    );
    case.assert_nothing();
    assert_eq!(files(case.folder.path()), Vec::<String>::new());
    case.order.from.push(case.server.at("/y/a.bin"));
    assert_eq!(case.fetch().expect("the second address"), new(&case, "/y/a.bin", &bytes, true));
    case.assert_whole(&bytes);
}

#[test]
fn what_was_recorded_must_come_again() {
    let bytes = content(LENGTH);
    let (served, changed) = (bytes.clone(), content(LENGTH + 1));
    let case = Case::new(move |number, request| match number {
        1 => Reply::Bytes(proper(&changed, "2", request, LENGTH + 1)),
        _ => Reply::Bytes(proper(&served, "1", request, LENGTH)),
    });
    case.fetch().expect("fetches");
    let path = case.folder.path().join(&case.order.to);
    std::fs::remove_file(&path).expect("removes");
    let text = reason(case.fetch());
    let lock = case.folder.path().join("datasets.lock");
    let start = format!("its SHA-256 is {}; {} records (", sha256(&content(LENGTH + 1)), lock.display());
    assert!(text.starts_with(&start) && text.ends_with(&sha256(&bytes)), "{text}");
    case.assert_nothing();
    assert_eq!(case.fetch().expect("the first content"), new(&case, "/x/a.bin", &bytes, true));
    case.assert_whole(&bytes);
}

#[test]
fn a_missing_file_names_all_addresses() {
    let mut case = Case::new(|_, request| {
        let status = if request.path.starts_with("/m/") { "404 Not Found" } else { "410 Gone" };
        Reply::Bytes(answer(status, &[("content-length", "0".to_owned())], b""))
    });
    case.order.from.push("http://127.0.0.1:1/a.bin".to_owned());
    let host = case.server.address.replace("http://", "");
    let settings = Settings { mirrors: vec![case.server.at("/m/")], retries: 0, ..case.settings() };
    let (result, _) = fetch(&settings, &case.order);
    let text = result.expect_err("nowhere").to_string();
    let address = &case.server.address;
    let expected = format!(
        "set/a.bin could not be fetched:\n  {address}/m/{host}/x/a.bin: 404 Not Found\n  \
         {address}/m/127.0.0.1:1/a.bin: 404 Not Found\n  {address}/x/a.bin: 410 Gone\n  http://127.0.0.1:1/a.bin: its host refuses the connection"
    );
    assert_eq!(text, expected);
    assert_eq!(files(case.folder.path()), Vec::<String>::new());
}

#[test]
fn a_busy_server_is_asked_again_when_it_says() {
    let bytes = content(LENGTH);
    let served = bytes.clone();
    let case = Case::new(move |number, request| match number {
        0 => Reply::Bytes(answer("429 Too Many Requests", &[("retry-after", "0".to_owned())], b"")),
        1 => Reply::Bytes(answer("503 Service Unavailable", &[], b"")),
        _ => Reply::Bytes(proper(&served, "1", request, LENGTH)),
    });
    let (result, heard) = fetch(&case.settings(), &case.order);
    result.expect("fetches");
    case.assert_whole(&bytes);
    let address = &case.order.from[0];
    assert_eq!(heard.notes[0], format!("{address}: 429 Too Many Requests; trying again in 0 s"));
    assert_eq!(heard.notes[1], format!("{address}: 503 Service Unavailable; trying again in 1 s"));

    let case = Case::new(|_, _| Reply::Bytes(answer("503 Service Unavailable", &[], b"")));
    assert_eq!(reason(case.fetch()), "503 Service Unavailable (after 4 tries)");
    assert_eq!(case.server.requests().len(), 4);

    let case =
        Case::new(|_, _| Reply::Bytes(answer("429 Too Many Requests", &[("retry-after", "3600".to_owned())], b"")));
    assert_eq!(reason(case.fetch()), "429 Too Many Requests; it asks to wait 3600 s");
    assert_eq!(case.server.requests().len(), 1);
}

#[test]
fn a_server_that_sends_more_than_it_said_is_refused() {
    // Without a length at the start, chunks go beyond what the first answer stated.
    let bytes = content(LENGTH);
    let chunked = |first: usize, body: &[u8]| {
        let headers = [
            ("transfer-encoding", "chunked".to_owned()),
            ("content-range", format!("bytes {first}-{}/{LENGTH}", LENGTH - 1)),
            ("etag", "\"1\"".to_owned()),
        ];
        let body = [format!("{:x}\r\n", body.len()).as_bytes(), body, b"\r\n0\r\n\r\n"].concat();
        answer("206 Partial Content", &headers, &body)
    };
    let served = bytes.clone();
    let case = Case::new(move |number, request| match number {
        0 => Reply::Bytes(proper(&served, "1", request, 4000)),
        _ => Reply::Bytes(chunked(4000, &[&served[4000..], b"more"].concat())),
    });
    assert_eq!(reason(case.fetch()), "it sends more than 10000 bytes");
    assert_eq!(files(case.folder.path()), Vec::<String>::new());

    // A part that is longer than what was asked.
    let served = bytes.clone();
    let case = Case::new(move |number, request| match number {
        0 => Reply::Bytes(proper(&served, "1", request, 4000)),
        _ => {
            let headers = [
                ("content-length", "6004".to_owned()),
                ("content-range", format!("bytes 4000-{}/{LENGTH}", LENGTH - 1)),
                ("etag", "\"1\"".to_owned()),
            ];
            Reply::Bytes(answer("206 Partial Content", &headers, &[&served[4000..], b"more"].concat()))
        }
    });
    assert_eq!(reason(case.fetch()), "it sends 6004 bytes where 6000 were asked");
    case.assert_nothing();

    // More than the catalog states, with and without a length.
    let served = bytes.clone();
    let mut case = Case::new(move |_, request| match request.path.as_str() {
        "/x/a.bin" => Reply::Bytes(proper(&served, "1", request, LENGTH)),
        _ => {
            let body = [format!("{LENGTH:x}\r\n").as_bytes(), &served, b"\r\n0\r\n\r\n"].concat();
            Reply::Bytes(answer("200 OK", &[("transfer-encoding", "chunked".to_owned())], &body))
        }
    });
    case.order.bytes = Some(9000);
    assert_eq!(reason(case.fetch()), "it has 10000 bytes; the catalog states 9000");
    case.order.from = vec![case.server.at("/chunks")];
    assert_eq!(reason(case.fetch()), "it sends more than 9000 bytes");
    assert_eq!(files(case.folder.path()), Vec::<String>::new());

    // Bytes after the end of a message are of no message: they are not read.
    let served = bytes.clone();
    let case = Case::new(move |_, request| {
        let mut bytes = proper(&served, "1", request, LENGTH);
        bytes.extend_from_slice(b"more");
        Reply::Bytes(bytes)
    });
    case.fetch().expect("fetches");
    case.assert_whole(&bytes);
}

#[test]
fn an_answer_without_a_length_needs_a_digest() {
    let bytes = content(LENGTH);
    let served = bytes.clone();
    let mut case = Case::new(move |_, _| Reply::Bytes(answer("200 OK", &[], &served)));
    let text = reason(case.fetch());
    assert_eq!(text, "it does not say how many bytes it sends, so a broken file could pass for a whole one");
    case.assert_nothing();
    case.order.sha256 = Some(sha256(&bytes));
    case.fetch().expect("fetches");
    case.assert_whole(&bytes);
}

#[test]
fn a_file_beyond_the_limit_is_not_begun() {
    let case = Case::new(|_, _| Reply::Bytes(answer("200 OK", &[("content-length", u64::MAX.to_string())], b"xxxx")));
    let text = reason(case.fetch());
    assert_eq!(text, format!("it has {} bytes; the limit is {}", u64::MAX, 64u64 << 30));
    assert_eq!(files(case.folder.path()), Vec::<String>::new());

    // A part of a file whose size is not said.
    let bytes = content(LENGTH);
    for (stated, limit) in [(None, 20_000), (Some(15_000), 15_000)] {
        let served = bytes.clone();
        let mut case = Case::new(move |number, _| {
            let mut headers = vec![("etag", "\"1\"".to_owned())];
            if number == 0 {
                headers.push(("transfer-encoding", "chunked".to_owned()));
                let body = [format!("{LENGTH:x}\r\n").as_bytes(), &served[..]].concat();
                return Reply::Bytes(answer("200 OK", &headers, &body));
            }
            headers.push(("content-range", format!("bytes {LENGTH}-20000/*")));
            Reply::Bytes(answer("206 Partial Content", &headers, &[0; 10_001]))
        });
        case.order.bytes = stated;
        let settings = Settings { most_bytes: 20_000, ..case.settings() };
        let text = reason(fetch(&settings, &case.order).0);
        assert_eq!(text, format!("it has at least 20001 bytes; the limit is {limit}"));
        assert_eq!(case.part(), Some(LENGTH as u64), "nothing is added");
    }
}

#[test]
fn a_web_page_is_not_recorded_as_a_file() {
    let page = b"<html>Log in</html>";
    let mut case = Case::new(|_, _| {
        let headers = [("content-length", page.len().to_string()), ("content-type", "Text/HTML; charset=x".to_owned())];
        Reply::Bytes(answer("200 OK", &headers, page))
    });
    let text = reason(case.fetch());
    assert_eq!(text, "it sends a web page, and neither digest nor size of the file are known");
    assert_eq!(files(case.folder.path()), Vec::<String>::new());
    // Some servers say so of every file: then size and digest decide.
    case.order.bytes = Some(page.len() as u64);
    case.fetch().expect("it has the right size");
    case.assert_whole(page);
}

#[test]
fn two_processes_do_not_write_one_file() {
    let case = Case::new(|_, _| Reply::Bytes(Vec::new()));
    std::fs::create_dir(case.folder.path().join("set")).expect("a folder");
    let part = std::fs::File::create(case.folder.path().join("set/a.bin.part")).expect("a file");
    part.lock().expect("locks");
    assert!(matches!(case.fetch(), Err(FetchError::Busy { path }) if path.ends_with("set/a.bin.part")));
    assert!(case.server.requests().is_empty());
}
