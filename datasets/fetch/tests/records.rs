//! What `datasets.lock` records is what is here, or an error says so.

mod common;

use common::{Case, LENGTH, Reply, content, fetch, proper, sha256};
use fetch::{FetchError, Fetched, Fetcher, Settings};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// A server of one file of these bytes, and settings with the record of a project.
fn case(bytes: &[u8]) -> (Case, Settings, PathBuf) {
    let served = bytes.to_vec();
    let case = Case::new(move |_, request| Reply::Bytes(proper(&served, "1", request, served.len())));
    let project = case.folder.path().join("project.lock");
    let mut settings = case.settings();
    settings.locks.push(project.clone());
    (case, settings, project)
}

/// A record of one file.
fn record(lock: &Path, path: &str, sha256: &str) {
    let text = format!(
        "[[file]]\npath = \"{path}\"\nbytes = 1\nsha256 = \"{sha256}\"\naddress = \"http://a/b\"\ndate = \"today\"\n"
    );
    std::fs::write(lock, text).expect("writes");
}

#[test]
fn a_file_that_is_here_must_be_the_one_of_the_project() {
    let bytes = content(LENGTH);
    let (case, settings, project) = case(&bytes);
    fetch(&settings, &case.order).0.expect("fetches");
    assert!(!project.exists(), "only the first record is made");

    record(&project, "set/a.bin", "00");
    let error = fetch(&settings, &case.order).0.expect_err("another file").to_string();
    let found = sha256(&bytes);
    let expected =
        format!("set/a.bin is here, but not as {} records it: its SHA-256 is {found}, not 00", project.display());
    assert_eq!(error, expected);

    // An empty record learns what is here.
    std::fs::write(&project, "").expect("writes");
    assert_eq!(fetch(&settings, &case.order).0.expect("is here"), Fetched::Here);
    assert!(std::fs::read_to_string(&project).expect("a record").contains(&found));

    // The bytes count, not what was once recorded.
    std::fs::write(&project, "").expect("writes");
    std::fs::write(case.folder.path().join("set/a.bin"), b"something else").expect("writes");
    let error = fetch(&settings, &case.order).0.expect_err("it was changed");
    assert!(matches!(error, FetchError::Differs { recorded, .. } if recorded == found));
    assert_eq!(std::fs::read_to_string(&project).expect("a record"), "", "what is wrong is not spread");
}

#[test]
fn a_file_in_another_folder_is_compared_too() {
    let (case, settings, project) = case(b"");
    let other = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(other.path().join("set")).expect("a folder");
    std::fs::write(other.path().join("set/a.bin"), b"mine").expect("writes");
    let check = |order: &fetch::Order| {
        let mut heard = common::Heard::default();
        let fetcher = Fetcher::new(settings.clone());
        (fetcher.check(order, other.path(), &AtomicBool::new(false), &mut heard), heard)
    };
    check(&case.order).0.expect("nothing is recorded");
    record(&project, "set/a.bin", &sha256(b"mine"));
    check(&case.order).0.expect("the same");
    record(&project, "set/a.bin", "00");
    assert!(matches!(check(&case.order).0, Err(FetchError::Differs { .. })));

    // Of what somebody unpacked there is no digest.
    let archive = fetch::Order {
        to: "set/a.bin.gz".into(),
        unpack: Some(datasets::catalog::Unpacking::Gzip),
        ..case.order.clone()
    };
    record(&project, "set/a.bin.gz", "00");
    let (result, heard) = check(&archive);
    result.expect("it cannot be compared");
    assert!(heard.notes[0].contains("cannot be compared"), "{:?}", heard.notes);
    let here = Fetcher::new(settings.clone()).check(
        &archive,
        case.folder.path(),
        &AtomicBool::new(false),
        &mut common::Heard::default(),
    );
    assert!(matches!(here, Err(FetchError::Unrecorded { .. })), "{here:?}");
}

#[test]
fn no_file_has_its_name_before_it_is_recorded() {
    let bytes = content(LENGTH);
    let served = bytes.clone();
    let folder = tempfile::tempdir().expect("a folder");
    let blocked = folder.path().join("blocked");
    let place = blocked.clone();
    let case = Case::new(move |_, request| {
        // From now on, the record cannot be written: its folder is a file.
        std::fs::write(&place, "").expect("writes");
        Reply::Bytes(proper(&served, "1", request, LENGTH))
    });
    let settings = Settings { locks: vec![blocked.join("datasets.lock")], ..case.settings() };
    let failed = fetch(&settings, &case.order).0;
    assert!(matches!(failed, Err(FetchError::Lock { .. })), "{failed:?}");
    case.assert_nothing();
    assert_eq!(case.part(), Some(LENGTH as u64), "nothing is lost");
    case.fetch().expect("continues");
    assert_eq!(case.file(), Some(bytes));
}
