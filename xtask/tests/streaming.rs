//! Encoding and decoding block by block: the same codes as at once, within the memory that was allowed, and never half a
//! file under the name of the result. And a search within the memory of its experiment.
mod common;

use common::{npy, output_text, write_rows, xtask};
use datasets::format;
use methods::Context;
use ndarray::Array2;
use std::path::Path;

fn run(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = xtask(folder).args(arguments).output().expect("starts");
    (output.status.code(), output_text(&output, folder))
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder").flatten();
    let mut names: Vec<String> = entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    names
}

#[test]
fn codes_are_those_of_all_rows_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    // Several blocks: the first have 2^18 values.
    let (n, dim) = (75_000, 12);
    write_rows(&here.join("v.fbin"), n, dim);
    write_rows(&here.join("few.fbin"), 500, dim);
    let rows = format::read(&here.join("v.fbin")).expect("reads");
    for method in ["PQ3x4", "rabitq: { bits: 2 }", "scalar: { bits: 3, scope: vector }"] {
        let (code, text) = run(here, &["fit", method, "few.fbin", "m.vqb"]);
        assert_eq!(code, Some(0), "{method}: {text}");
        let backend = methods::backend::Devices::default().open("cpu").expect("a processor");
        let cx = Context::on(backend, 0);
        let model =
            methods::contract::model::read(&std::fs::read(here.join("m.vqb")).expect("a model"), &cx).expect("reads");
        let size = model.quantizer.code_size();
        let mut codes = vec![0; n * size];
        model.quantizer.encode_into(rows.view(), &mut codes).expect("encodes");
        let mut decoded = Array2::zeros((n, dim));
        model.quantizer.decode_into(&codes, decoded.view_mut()).expect("decodes");
        for (memory, threads) in [("48MiB", "1"), ("64MB", "2"), ("2GiB", "3")] {
            let limits = ["--memory", memory, "--threads", threads];
            let (code, text) = run(here, &[&["encode", "m.vqb", "v.fbin", "c.u8bin"], &limits[..]].concat());
            assert_eq!(code, Some(0), "{method}: {text}");
            assert_eq!(std::fs::read(here.join("c.u8bin")).expect("codes")[8..], codes, "{method} in {memory}");
            let (code, text) = run(here, &[&["decode", "m.vqb", "c.u8bin", "d.fvecs"], &limits[..]].concat());
            assert_eq!(code, Some(0), "{method}: {text}");
            assert_eq!(format::read(&here.join("d.fvecs")).expect("reads"), decoded, "{method} in {memory}");
        }
    }
    assert_eq!(names(here), ["c.u8bin", "d.fvecs", "few.fbin", "m.vqb", "v.fbin"]);
}

#[test]
fn nothing_half_done_is_left_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    write_rows(&here.join("few.fbin"), 300, 4);
    assert_eq!(run(here, &["fit", "PQ2x3", "few.fbin", "m.vqb"]).0, Some(0));
    // The value that is not finite stands beyond the first blocks.
    let bad = npy(200_000, 4, |i, j| if (i, j) == (180_000, 2) { f32::NAN } else { 0.5 });
    std::fs::write(here.join("bad.npy"), bad).expect("writes");
    let (code, text) = run(here, &["encode", "m.vqb", "bad.npy", "c.npy"]);
    assert!(code == Some(2) && text.contains("row 180000 has the value NaN in column 2"), "{text}");
    let (code, text) = run(here, &["encode", "m.vqb", "few.fbin", "c.npy", "--memory", "3MiB"]);
    assert!(code == Some(2) && text.contains("is too little") && text.contains("give at least `--memory"), "{text}");
    let (code, text) = run(here, &["encode", "m.vqb", "few.fbin", "c.npy", "--memory", "512"]);
    assert!(code == Some(2) && text.contains("write it like 512MiB or 2GiB"), "{text}");
    let values = format!("{:<117}\n", "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1)}");
    let float = [b"\x93NUMPY\x01\x00\x76\x00", values.as_bytes(), &1.5f32.to_le_bytes()].concat();
    std::fs::write(here.join("float.npy"), float).expect("writes");
    let (code, text) = run(here, &["decode", "m.vqb", "float.npy", "d.npy"]);
    assert!(code == Some(2) && text.contains("holds values that are not bytes"), "{text}");
    assert_eq!(names(here), ["bad.npy", "few.fbin", "float.npy", "m.vqb"]);
    // What a killed process left is in nobody's way.
    std::fs::write(here.join("c.npy.1.partial"), "half").expect("writes");
    let (code, text) = run(here, &["encode", "m.vqb", "few.fbin", "c.npy"]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(names(here), ["bad.npy", "c.npy", "few.fbin", "float.npy", "m.vqb"]);
}

#[cfg(unix)]
#[test]
fn a_run_that_is_stopped_leaves_what_was_there_before() {
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    write_rows(&here.join("few.fbin"), 600, 96);
    write_rows(&here.join("v.fbin"), 300_000, 96);
    assert_eq!(run(here, &["fit", "rvq: { stages: 4, bits: 8, beam: 4 }", "few.fbin", "m.vqb"]).0, Some(0));
    std::fs::write(here.join("c.npy"), "before").expect("writes");
    for signal in [Signal::SIGINT, Signal::SIGKILL] {
        let mut child = xtask(here).args(["encode", "m.vqb", "v.fbin", "c.npy"]).spawn().expect("starts");
        while !names(here).iter().any(|name| name.ends_with(".partial")) {
            assert!(child.try_wait().expect("a child").is_none(), "it is at work for seconds");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        kill(Pid::from_raw(child.id() as i32), signal).expect("is there");
        let status = child.wait().expect("ends");
        assert_eq!(status.code(), (signal == Signal::SIGINT).then_some(130));
        assert_eq!(std::fs::read(here.join("c.npy")).expect("reads"), b"before");
        let partial = names(here).iter().filter(|name| name.ends_with(".partial")).count();
        assert_eq!(partial, usize::from(signal == Signal::SIGKILL), "a signal that can be heard cleans up");
    }
}

/// A trial whose base rows must be held has less room for decoded ones: its search decodes them again for each batch of queries.
#[test]
#[cfg(target_os = "linux")]
fn a_timed_search_holds_no_rows_for_which_there_is_no_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    // 73 MiB of rows. They fit twice, as decoding is timed; not also packed for a search.
    write_rows(&here.join("v.fbin"), 200_000, 96);
    let experiment = |memory: &str| {
        let text = format!(
            "name: t\nmemory: {memory}\nseeds: [1]\nthreads: 2\n\
             datasets: [{{ path: v.fbin, split: {{ train: 500, queries: 20, numpy_seed: 1 }} }}]\n\
             methods: [{{ scalar: {{ bits: 8 }} }}]\n\
             measure: {{ throughput: {{ min_time: 1ms, repeats: 1, rerank: [] }} }}\n"
        );
        std::fs::write(here.join("e.yaml"), text).expect("writes");
        let (code, text) = run(here, &["experiments", "e.yaml", "--no-report", "--force"]);
        assert_eq!(code, Some(0), "{text}");
        let records = record::RunFolder::new(here.join("runs/t")).load().expect("a run").records;
        let [trial] = &records[..] else { panic!("one trial: {text}") };
        assert_eq!(trial.reason, None, "{memory}: {text}");
        let held = trial.values.iter().find(|value| value.metric == "search_bytes").expect("a search");
        held.value
    };
    assert_eq!(experiment("272MiB"), 0.0);
    assert!(experiment("2GiB") > 4.0 * 96.0 * 199_000.0);
}
