//! The peak of memory while a file passes through a quantizer that is several times larger than the budget.
//!
//! A file of its own: the system tells the peak of all child processes together, so there must be none that takes more.
#![cfg(target_os = "linux")]

mod common;

use common::{output_text, write_rows, xtask};
use datasets::format;
use nix::sys::resource::{UsageWho, getrusage};
use std::path::Path;

fn run(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = xtask(folder).args(arguments).output().expect("starts");
    (output.status.code(), output_text(&output, folder))
}

#[test]
fn memory_stays_below_its_budget_whatever_the_size_of_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    let (n, dim, budget) = (550_000, 96, 48usize << 20);
    write_rows(&here.join("v.fbin"), n, dim);
    write_rows(&here.join("few.fbin"), 300, dim);
    assert!(n * dim * 4 >= 4 * budget, "the file is several times larger");
    let (code, text) = run(here, &["fit", "PQ8x4", "few.fbin", "m.vqb"]);
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = run(here, &["encode", "m.vqb", "v.fbin", "c.npy", "--memory", "48MiB", "--threads", "2"]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(format::shape(&here.join("c.npy")).expect("codes"), (n, 4));
    std::fs::remove_file(here.join("v.fbin")).expect("makes room");
    let (code, text) = run(here, &["decode", "m.vqb", "c.npy", "d.npy", "--memory", "48MiB", "--threads", "2"]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(format::shape(&here.join("d.npy")).expect("vectors"), (n, dim));
    let peak = getrusage(UsageWho::RUSAGE_CHILDREN).expect("a usage").max_rss() as usize * 1024;
    assert!(peak > 4 << 20 && peak < budget, "{peak} bytes of {budget}");
}
