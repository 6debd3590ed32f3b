//! Places that are hard to find: links of HDF5 that lead in circles, and files whose names hold odd characters.

use datasets::format::{self, Blocks};
use std::path::{Path, PathBuf};

#[test]
fn links_that_lead_in_circles_are_not_followed_for_ever() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cycle.h5");
    let expected = ndarray::arr2(&[[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]);
    let part = |part: &str| PathBuf::from(format!("{}{part}", file.display()));
    for place in [part(""), part("#g/x")] {
        assert_eq!(format::read(&place).expect("the only array"), expected);
    }
    for name in ["a", "b", "me", "elsewhere", "g/self", "g/self/self/x", "root", "root/root/root/a"] {
        let error = format::read(&part(&format!("#{name}"))).expect_err(name).to_string();
        let expected = format!("it has no dataset `{name}`; its two-dimensional datasets are #g/x (3×2)");
        assert!(error.contains(&expected), "{error}");
    }
}

/// Only some systems allow all of these names.
#[cfg(unix)]
#[test]
fn names_of_files_may_hold_any_character() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let folder = tempfile::tempdir().expect("a folder");
    let bytes = [&2u32.to_le_bytes()[..], &1u32.to_le_bytes(), &[7, 8]].concat();
    let names: [&[u8]; 11] = [
        b"a\nb.u8bin",
        b"\x1b[2J.u8bin",
        b"[x].u8bin",
        b"a*b?.u8bin",
        b"a#b.u8bin",
        b" .u8bin",
        b"'\"`$(x).u8bin",
        b"-rf.u8bin",
        b"\xff\xfe.u8bin",
        "\u{202e}\u{0301}.u8bin".as_bytes(),
        b"a.u8bin\\..",
    ];
    for name in names {
        let path = folder.path().join(OsStr::from_bytes(name));
        std::fs::write(&path, &bytes).expect("writes");
        let shown = path.display();
        if name.ends_with(b".u8bin") {
            assert_eq!(format::read(&path).expect("reads"), ndarray::arr2(&[[7.0], [8.0]]), "{shown}");
            assert_eq!(Blocks::open(&path).expect("opens").shape(), (2, 1), "{shown}");
        }
        std::fs::write(&path, &bytes[..9]).expect("writes");
        assert!(format::read(&path).is_err(), "{shown}");
    }
}
