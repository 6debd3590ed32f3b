//! What the tests leave out on a machine that lacks something, asked in the way in which the tests ask. A test that passes cannot say it:
//! `cargo test` shows nothing of what it printed.

use cuda::emulator::Compiler;
use cuda::{Device, Toolkit};
use std::process::Command;

/// The browsers that tests use.
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// What is left out, and why. `compiler` is the C++ compiler of the emulated device, and `data` tells whether folders of data sets are
/// given.
pub fn left_out(compiler: &Compiler, data: bool) -> Vec<(&'static str, String)> {
    let mut all = Vec::new();
    if let Err(error) = Device::open(0, &Toolkit::default()) {
        all.push((
            "the laws of the methods on a GPU, which are kept on the emulated device instead",
            error.to_string(),
        ));
    }
    if let Err(error) = compiler.find() {
        all.push(("all tests on the emulated device", error.to_string()));
    }
    if !cfg!(target_os = "linux") {
        all.push((
            "limits of memory, and the peak of memory that `encode` and `decode` reach",
            format!("{} neither sets nor tells them", std::env::consts::OS),
        ));
    }
    if !cfg!(unix) {
        let reason = format!("{} has neither of them", std::env::consts::OS);
        all.push(("signals, links and scripts that play a peer", reason));
    }
    if Command::new("bash").arg("--version").output().is_err() {
        all.push(("completions in bash", "there is no bash".to_owned()));
    }
    if !BROWSERS
        .iter()
        .any(|name| Command::new(name).arg("--version").output().is_ok_and(|found| found.status.success()))
    {
        all.push(("the page of a report in a browser", format!("there is none of {}", BROWSERS.join(", "))));
    }
    if !data {
        all.push(("reading the data sets of the catalog that are not embedded", "VQBENCH_DATA is not set".to_owned()));
    }
    all
}
