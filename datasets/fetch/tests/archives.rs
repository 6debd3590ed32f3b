//! Archives are unpacked within limits, and give their files names only when all of them are right.

mod common;

use common::{Reply, Server, content, fetch, files, order, proper, settings};
use datasets::catalog::Unpacking;
use fetch::{FetchError, Fetched, Order};
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};
use std::io::Write;
use std::path::Path;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::fast());
    out.write_all(bytes).expect("memory");
    out.finish().expect("memory")
}

fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        // Not through `set_path`, which refuses what an archive from outside may hold.
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        out.append(&header, *bytes).expect("memory");
    }
    out.into_inner().expect("memory")
}

fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut out, mut table) = (Vec::new(), Vec::new());
    for (name, bytes) in files {
        let mut packed = DeflateEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(bytes).expect("memory");
        let packed = packed.finish().expect("memory");
        let mut sum = flate2::Crc::new();
        sum.update(bytes);
        let common = [
            &[20, 0, 0, 0, 8, 0, 0, 0, 0, 0][..],
            &sum.sum().to_le_bytes(),
            &(packed.len() as u32).to_le_bytes(),
            &(bytes.len() as u32).to_le_bytes(),
            &(name.len() as u16).to_le_bytes(),
            &[0, 0],
        ]
        .concat();
        let at = (out.len() as u32).to_le_bytes();
        table.extend([b"PK\x01\x02\x14\x00", &common[..], &[0; 10], &at, name.as_bytes()].concat());
        out.extend([b"PK\x03\x04", &common[..], name.as_bytes(), &packed].concat());
    }
    let (start, count) = (out.len() as u32, files.len() as u16);
    let length = (table.len() as u32).to_le_bytes();
    let counts = [count.to_le_bytes(), count.to_le_bytes()].concat();
    out.extend([&table[..], b"PK\x05\x06\0\0\0\0", &counts, &length, &start.to_le_bytes(), &[0, 0]].concat());
    out
}

/// Serves one archive and unpacks these members of it.
fn unpack(folder: &Path, bytes: Vec<u8>, packing: Unpacking, members: &[&str]) -> Result<Fetched, FetchError> {
    let server = Server::new(move |_, request| Reply::Bytes(proper(&bytes, "1", request, bytes.len())));
    let order = Order {
        to: if packing == Unpacking::Gzip { "set/a.bin.gz".into() } else { "set/a.archive".into() },
        unpack: Some(packing),
        members: members.iter().map(|member| (*member).to_owned()).collect(),
        ..order(&[server.at("/a")])
    };
    fetch(&settings(folder), &order).0
}

fn archive_reason(result: Result<Fetched, FetchError>) -> String {
    match result {
        Err(FetchError::Archive { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_wanted_files_of_an_archive_are_kept() {
    let (a, b) = (content(70_000), content(5));
    let all: [(&str, &[u8]); 5] = [
        ("x/a.fvecs", &a),
        ("x/not.txt", b"no"),
        ("./x/sounds/b.wav", &b),
        ("x/sounds/c/d.wav", b""),
        ("x/e.fvecs", &b),
    ];
    for packing in [Unpacking::Tar, Unpacking::TarGz, Unpacking::Zip] {
        let folder = tempfile::tempdir().expect("a folder");
        let bytes = match packing {
            Unpacking::Tar => tar(&all),
            Unpacking::TarGz => gzip(&tar(&all)),
            _ => zip(&all),
        };
        let result = unpack(folder.path(), bytes.clone(), packing, &["x/a.fvecs", "x/sounds/", "x/e.fvecs"]);
        assert!(matches!(result, Ok(Fetched::New { bytes: stored, .. }) if stored == bytes.len() as u64), "{result:?}");
        let expected = ["set/x/a.fvecs", "set/x/e.fvecs", "set/x/sounds/b.wav", "set/x/sounds/c/d.wav"];
        assert_eq!(files(folder.path()), expected, "{packing:?}");
        assert_eq!(std::fs::read(folder.path().join("set/x/a.fvecs")).expect("reads"), a);
        let again = unpack(folder.path(), Vec::new(), packing, &["x/a.fvecs", "x/sounds/"]);
        assert_eq!(again.expect("is here"), Fetched::Here);
    }
    let folder = tempfile::tempdir().expect("a folder");
    unpack(folder.path(), gzip(&a), Unpacking::Gzip, &[]).expect("fetches");
    assert_eq!(files(folder.path()), ["set/a.bin"]);
    assert_eq!(std::fs::read(folder.path().join("set/a.bin")).expect("reads"), a);
}

#[test]
fn an_archive_that_lacks_a_file_leaves_none() {
    let all: [(&str, &[u8]); 2] = [("x/a", b"1"), ("x/b", b"2")];
    for (packing, bytes) in [(Unpacking::TarGz, gzip(&tar(&all))), (Unpacking::Zip, zip(&all))] {
        let folder = tempfile::tempdir().expect("a folder");
        let reason = archive_reason(unpack(folder.path(), bytes, packing, &["x/a", "x/c"]));
        assert_eq!(reason, "it holds no file `x/c`");
        assert_eq!(files(folder.path()), Vec::<String>::new());
    }
}

#[test]
fn paths_that_lead_elsewhere_are_not_followed() {
    let all: [(&str, &[u8]); 4] =
        [("x/../../up.wav", b"1"), ("/x/abs.wav", b"2"), ("x/a\\b.wav", b"3"), ("x/good.wav", b"4")];
    for (packing, bytes) in [(Unpacking::Tar, tar(&all)), (Unpacking::Zip, zip(&all))] {
        let outer = tempfile::tempdir().expect("a folder");
        let folder = outer.path().join("inner");
        unpack(&folder, bytes, packing, &["x/"]).expect("fetches");
        assert_eq!(files(outer.path()), ["inner/datasets.lock", "inner/set/x/good.wav"], "{packing:?}");
    }
    // A link is no file.
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_path("x/a").expect("a path");
    header.set_link_name("/etc/hostname").expect("a path");
    header.set_size(0);
    header.set_cksum();
    let mut out = tar::Builder::new(Vec::new());
    out.append(&header, &[][..]).expect("memory");
    let folder = tempfile::tempdir().expect("a folder");
    let reason = archive_reason(unpack(folder.path(), out.into_inner().expect("memory"), Unpacking::Tar, &["x/a"]));
    assert_eq!(reason, "it holds no file `x/a`");
}

#[test]
fn damaged_archives_and_bombs_are_refused() {
    let all: [(&str, &[u8]); 1] = [("x/a", &content(9000))];
    let whole = tar(&all);
    let cut = |bytes: &[u8]| bytes[..bytes.len() / 2].to_vec();
    let mut flipped = zip(&all);
    flipped[60] ^= 1;
    let bomb = gzip(&vec![0; (65 << 20) + 1]);
    let cases = [
        (Unpacking::Tar, cut(&whole)),
        (Unpacking::TarGz, cut(&gzip(&whole))),
        (Unpacking::TarGz, b"no archive".to_vec()),
        (Unpacking::Zip, cut(&zip(&all))),
        (Unpacking::Zip, flipped),
        (Unpacking::Gzip, cut(&gzip(&whole))),
        (Unpacking::Gzip, bomb),
    ];
    for (number, (packing, bytes)) in cases.into_iter().enumerate() {
        let folder = tempfile::tempdir().expect("a folder");
        let reason = archive_reason(unpack(
            folder.path(),
            bytes,
            packing,
            if packing == Unpacking::Gzip { &[] } else { &["x/a"] },
        ));
        if number == 6 {
            assert!(reason.starts_with("it unpacks to more than"), "{reason}");
        }
        assert_eq!(files(folder.path()), Vec::<String>::new(), "case {number}: {reason}");
    }
}
