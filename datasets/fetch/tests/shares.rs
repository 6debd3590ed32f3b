//! Parts of files: ranges of bytes, and the first rows of large files; and what comes through a proxy.

mod common;

use common::{Case, LENGTH, Reply, answer, content, fetch, files, order, proper, reason};
use fetch::{FetchError, Order, Share};

#[test]
fn a_range_of_bytes_is_fetched_alone() {
    let bytes = content(LENGTH);
    let served = bytes.clone();
    let mut case = Case::new(move |number, request| match request.path.as_str() {
        "/x/a.bin" => Reply::Bytes(proper(&served, "1", request, if number == 0 { 500 } else { LENGTH })),
        _ => Reply::Bytes(answer("200 OK", &[("content-length", LENGTH.to_string())], &served)),
    });
    case.order.share = Share::Range { start: 2000, end: 5000 };
    case.fetch().expect("fetches");
    case.assert_whole(&bytes[2000..5000]);
    assert_eq!(case.server.ranges(), [Some((2000, Some(4999))), Some((2500, Some(4999)))]);

    case.order.to = "set/b.bin".to_owned();
    case.order.share = Share::Range { start: 2000, end: 11_000 };
    assert_eq!(reason(case.fetch()), "it has 10000 bytes; bytes 2000 to 11000 are wanted");
    case.order.share = Share::Range { start: 2000, end: 3000 };
    case.order.from = vec![case.server.at("/y")];
    assert_eq!(reason(case.fetch()), "it does not serve a part of a file");
    assert_eq!(files(case.folder.path()), ["set/a.bin"]);
}

/// A file of `rows` rows of three bytes, with its header.
fn big_ann(rows: u32) -> Vec<u8> {
    [&rows.to_le_bytes()[..], &3u32.to_le_bytes(), &content(rows as usize * 3)].concat()
}

#[test]
fn the_first_rows_of_a_large_file_are_fetched_without_the_others() {
    let whole = big_ann(3000);
    let expected = [&1000u32.to_le_bytes()[..], &whole[4..8 + 3000]].concat();
    let served = whole.clone();
    let mut case = Case::new(move |number, request| match request.path.as_str() {
        "/x/a.bin" => Reply::Bytes(proper(&served, "1", request, if number == 0 { 5 } else { 9000 })),
        // Without ranges, as many bytes as are wanted are read of the whole file.
        _ => Reply::Bytes(answer("200 OK", &[("content-length", served.len().to_string())], &served)),
    });
    let share = Share::Rows { rows: 1000, dim: 3, bytes: 3008 };
    case.order = Order { share, to: "set/a.u8bin".into(), ..case.order };
    case.fetch().expect("fetches");
    case.assert_whole(&expected);
    assert_eq!(case.server.ranges(), [Some((0, Some(3007))), Some((5, Some(3007)))]);
    let shape = datasets::format::shape(&case.folder.path().join("set/a.u8bin"));
    assert_eq!(shape.expect("a file of big-ann"), (1000, 3));

    case.order.to = "set/b.u8bin".into();
    case.order.from = vec![case.server.at("/without/ranges")];
    case.fetch().expect("fetches");
    assert_eq!(case.file(), Some(expected));

    for (rows, dim, what) in [(3001, 3, "at least 3001 of 3"), (1000, 4, "at least 1000 of 4")] {
        case.order.to = "set/c.u8bin".into();
        case.order.share = Share::Rows { rows, dim, bytes: 3008 };
        assert_eq!(reason(case.fetch()), format!("its header states 3000 rows of 3 components; {what} are wanted"));
        case.assert_nothing();
    }
}

#[test]
fn a_proxy_is_asked_for_a_tunnel() {
    let bytes = content(LENGTH);
    let served = bytes.clone();
    let case = Case::new(move |_, request| Reply::Bytes(proper(&served, "1", request, LENGTH)));
    let mut settings = case.settings();
    settings.proxies.http = Some(case.server.address.clone());
    let order = Order { to: "set/b.bin".into(), ..order(&["http://datasets.invalid/a.bin".to_owned()]) };
    let (result, _) = fetch(&settings, &order);
    result.expect("fetches");
    let paths: Vec<String> = case.server.requests().into_iter().map(|request| request.path).collect();
    assert_eq!(paths, ["datasets.invalid:80", "/a.bin"]);
    settings.proxies.none = ".invalid".into();
    let order = Order { to: "set/c.bin".into(), ..order };
    let (result, _) = fetch(&settings, &order);
    assert!(matches!(result, Err(FetchError::Failed { .. })), "{result:?}");
    assert_eq!(case.server.requests().len(), 2, "the proxy is not asked");
}
