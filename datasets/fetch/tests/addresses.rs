//! What has arrived survives hosts that cannot be reached, and continues from other addresses where a digest vouches for it.

mod common;

use common::{Case, LENGTH, Reply, Server, answer, content, fetch, proper, reason, sha256};
use fetch::{FetchError, Fetched, Order, Settings};

/// Sends 4000 bytes of `first` from `/x/`, and then says that there is no such file; `second` is at `/y/`.
fn two_addresses(first: Vec<u8>, second: Vec<u8>) -> Case {
    let mut case = Case::new(move |number, request| match (request.path.as_str(), number) {
        ("/x/a.bin", 0) => Reply::Bytes(proper(&first, "x", request, 4000)),
        ("/x/a.bin", _) => Reply::Bytes(answer("404 Not Found", &[("content-length", "0".to_owned())], b"")),
        _ => Reply::Bytes(proper(&second, "y", request, LENGTH)),
    });
    case.order.from.push(case.server.at("/y/a.bin"));
    case
}

#[test]
fn a_host_that_is_lost_is_asked_again_once_bytes_are_here() {
    let bytes = content(LENGTH);
    let served = bytes.clone();
    let case = Case::new(move |_, request| Reply::Bytes(proper(&served, "1", request, 1000)));
    let settings = Settings { retries: 1, ..case.settings() };
    let failed = fetch(&settings, &case.order).0;
    assert!(reason(failed).ends_with("(after 2 tries)"));
    assert_eq!(case.part(), Some(2000));

    // Its host is gone: the next call asks it again, and keeps the bytes.
    let Case { folder, server, order } = case;
    drop(server);
    let failed = fetch(&settings, &order).0;
    assert_eq!(reason(failed), "its host refuses the connection (after 2 tries)");
    assert_eq!(std::fs::metadata(folder.path().join("set/a.bin.part")).expect("a file").len(), 2000);

    // Without bytes, it is given up at once.
    std::fs::remove_file(folder.path().join("set/a.bin.part")).expect("removes");
    assert_eq!(reason(fetch(&settings, &order).0), "its host refuses the connection");
}

#[test]
fn the_address_that_bytes_are_here_of_is_asked_first() {
    let bytes = content(LENGTH);
    let served = bytes.clone();
    let server = Server::new(move |number, request| match request.path.as_str() {
        "/y/a.bin" => Reply::Bytes(proper(&served, "1", request, if number == 0 { 4000 } else { LENGTH })),
        _ => panic!("{} is asked", request.path),
    });
    let folder = tempfile::tempdir().expect("a folder");
    let settings = Settings { retries: 0, ..common::settings(folder.path()) };
    let of = |paths: &[&str]| common::order(&paths.iter().map(|path| server.at(path)).collect::<Vec<_>>());
    assert!(reason(fetch(&settings, &of(&["/y/a.bin"])).0).contains("the connection broke"));
    fetch(&settings, &of(&["/x/a.bin", "/y/a.bin"])).0.expect("continues");
    assert_eq!(server.ranges(), [None, Some((4000, None))]);
}

#[test]
fn with_a_digest_a_file_continues_from_another_address() {
    let bytes = content(LENGTH);
    let mut case = two_addresses(bytes.clone(), bytes.clone());
    case.order.sha256 = Some(sha256(&bytes));
    let fetched = case.fetch().expect("fetches");
    assert!(matches!(fetched, Fetched::New { address, .. } if address.ends_with("/y/a.bin")));
    case.assert_whole(&bytes);
    assert_eq!(case.server.ranges(), [None, Some((4000, None)), Some((4000, None))]);
    assert!(!case.server.requests()[2].headers.contains_key("if-range"), "the tag is of another server");

    // Without a digest, nothing says that it is the same file.
    let case = two_addresses(bytes.clone(), bytes.clone());
    case.fetch().expect("fetches");
    case.assert_whole(&bytes);
    assert_eq!(case.server.ranges(), [None, Some((4000, None)), None]);
}

#[test]
fn bytes_of_two_addresses_that_do_not_fit_are_fetched_again_from_one() {
    let bytes = content(LENGTH);
    let mut damaged = bytes.clone();
    damaged[10] ^= 1;
    let mut case = two_addresses(damaged, bytes.clone());
    case.order.sha256 = Some(sha256(&bytes));
    case.fetch().expect("fetches");
    case.assert_whole(&bytes);
    assert_eq!(case.server.ranges(), [None, Some((4000, None)), Some((4000, None)), None]);

    // A file of another size is not added to what is here.
    let mut case = two_addresses(content(LENGTH), content(LENGTH + 1));
    case.order.sha256 = Some("00".to_owned());
    let Err(FetchError::Failed { tried, .. }) = case.fetch() else { panic!("it is fetched") };
    assert_eq!(tried[1].reason, "it has another number of bytes than the file that is partly here");
    assert_eq!(case.part(), Some(4000), "what is here is not lost");
}

#[test]
fn a_password_of_a_mirror_is_neither_shown_nor_stored() {
    let bytes = content(LENGTH);
    let served = bytes.clone();
    let case = Case::new(move |number, request| match number {
        0 => Reply::Bytes(proper(&served, "1", request, 4000)),
        1 => Reply::Bytes(answer("404 Not Found", &[("content-length", "0".to_owned())], b"")),
        _ => Reply::Bytes(proper(&served, "1", request, LENGTH)),
    });
    let mirror = case.server.address.replace("http://", "http://user:secret@");
    let order = Order { from: vec!["https://datasets.invalid/a.bin".to_owned()], ..case.order.clone() };
    let settings = Settings { mirrors: vec![mirror], retries: 1, ..case.settings() };
    let mut texts = Vec::new();
    for _ in 0..2 {
        let (result, heard) = fetch(&settings, &order);
        texts.push(format!("{heard:?}"));
        texts.push(result.map_or_else(|error| error.to_string(), |fetched| format!("{fetched:?}")));
        for file in ["datasets.lock", "set/a.bin.part.json"] {
            texts.extend(std::fs::read_to_string(case.folder.path().join(file)));
        }
    }
    case.assert_whole(&bytes);
    let host = case.server.address.replace("http://", "");
    assert_eq!(texts.len(), 6, "{texts:?}");
    let shown = texts.iter().filter(|text| text.contains(&host)).count();
    assert!(shown == 5 && !texts.concat().contains("secret"), "{texts:?}");
    // It continued what the same address had begun.
    assert_eq!(case.server.ranges(), [None, Some((4000, None)), Some((4000, None))]);
}
