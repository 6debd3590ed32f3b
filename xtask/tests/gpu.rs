//! `gpu-check` as a person meets it: without a device, with a wrong request, and from end to end on an emulated device.

mod common;

use common::{output_text, write, xtask};
use std::path::Path;

/// Where the device is compiled, for all tests.
const EMULATOR: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/gpu-check");

#[test]
fn without_a_device_it_says_so_with_exit_code_2() {
    let folder = tempfile::tempdir().expect("a folder");
    // Where there is one it is hidden.
    let output = xtask(folder.path()).arg("gpu-check").env("CUDA_VISIBLE_DEVICES", "").output().expect("starts");
    let said = output_text(&output, folder.path());
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.starts_with("error: ") && !said.contains("device: cpu"), "{said}");
    assert!(!folder.path().join("runs").exists(), "nothing is left behind");
}

#[test]
fn a_wrong_request_is_refused_with_exit_code_2() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "torch.csv", "step,n\n");
    for (arguments, reason) in [
        (["--scale", "0"], "a number above 0, at most 10"),
        (["--repeats", "0"], "0 is not in 1..=1000"),
        (["--torch", "none.csv"], "cannot read none.csv"),
        (["--torch", "torch.csv"], "torch.csv: line 1 is not `step,n,dim,k,device,repeat,seconds`"),
    ] {
        let output = xtask(folder.path()).arg("gpu-check").args(arguments).output().expect("starts");
        let said = output_text(&output, folder.path());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(reason), "{arguments:?}: {said}");
    }
}

#[test]
fn everything_is_proven_and_timed_on_an_emulated_device() {
    let folder = tempfile::tempdir().expect("a folder");
    let torch = "step,n,dim,k,device,repeat,seconds\nassign-4k,100,128,16,cpu,0,1000\n";
    write(folder.path(), "torch.csv", torch);
    let mut command = xtask(folder.path());
    command.args(["gpu-check", "--scale", "0.00001", "--repeats", "2", "--seed", "7", "--torch", "torch.csv"]);
    let output = command.args(["--out", "out", "--emulated", EMULATOR]).output().expect("starts");
    let said = output_text(&output, folder.path());
    if said.contains("there is no C++ compiler") {
        eprintln!("skipped: {said}");
        return;
    }
    assert_eq!(output.status.code(), Some(0), "{said}");
    let read = |name: &str| std::fs::read_to_string(folder.path().join("out").join(name)).expect(name);
    let (page, table, script) = (read("gpu.md"), read("results.csv"), read("torch_steps.py"));
    assert!(page.contains("| assignment-tensor-cores |") && page.contains("| law: more bits never hurt |"), "{page}");
    assert!(!page.contains("**wrong**") && !page.contains("**failed**"), "{page}");
    let steps: Vec<&str> = page.lines().filter(|line| line.contains("the input fits the cache")).collect();
    for step in &steps {
        let name = step.split('|').nth(1).expect("a name").trim();
        assert!(script.contains(&format!("\"{name}\": ")), "torch_steps.py has {name}");
        assert!(table.contains(&format!(",{name},")), "the table has {name}");
    }
    assert_eq!(
        steps.len(),
        script.lines().filter(|line| line.starts_with("    \"") && line.contains("\": ")).count(),
        "as many steps on both sides"
    );
    assert!(table.lines().any(|line| line.contains(",peer_speed_ratio,,,torch,")), "{table}");
    // Another one does not write over what is not its own.
    let foreign = folder.path().join("foreign");
    std::fs::create_dir(&foreign).expect("a folder");
    write(&foreign, "note.txt", "mine");
    let output = again(folder.path(), "foreign");
    assert_eq!(output.0, Some(2), "{}", output.1);
}

/// The least that can be checked, into another folder.
fn again(folder: &Path, out: &str) -> (Option<i32>, String) {
    let mut command = xtask(folder);
    command.args(["gpu-check", "--only", "scan-of-bits", "--out", out, "--emulated", EMULATOR]);
    let output = command.output().expect("starts");
    (output.status.code(), output_text(&output, folder))
}
