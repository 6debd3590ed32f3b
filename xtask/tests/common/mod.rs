//! Running the real executable on files in a temporary folder.

use datasets::format::{self, OutputType};
use record::metric::NMSE;
use record::{DatasetFacts, Limits, Machine, Measured, RunFolder, RunInfo, SCHEMA, Status, Trial, TrialRecord};
use serde_json::json;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The executable, in `folder`, without what the environment might add.
pub fn xtask(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command
        .current_dir(folder)
        .env_remove("VQBENCH_DATA")
        .env("NO_COLOR", "1")
        .env("HOME", folder)
        .env_remove("XDG_CACHE_HOME");
    command
}

/// Writes a file and returns its path.
#[allow(dead_code)]
pub fn write(folder: &Path, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, content).expect("a temporary file");
    path
}

/// A run of two trials of one method, made on `machine`; their normalized errors are `nmse` and twice that.
#[allow(dead_code)]
pub fn write_run(root: &Path, machine: &Machine, datasets: &[DatasetFacts], nmse: f64) {
    let folder = RunFolder::new(root);
    let _lock = folder.prepare().expect("a folder");
    let record = |seed: u64| TrialRecord {
        schema: SCHEMA,
        trial: Trial {
            id: format!("a{seed}"),
            experiment: "e".into(),
            dataset: "d".into(),
            dim: 2,
            n: 3,
            metric_space: "l2".into(),
            method: "m".into(),
            family: None,
            params: json!({}),
            label: "Method".into(),
            series: "Method".into(),
            device: "cpu".into(),
            threads: 1,
            seed,
            bits_per_vector: 8,
        },
        status: Status::Ok,
        reason: None,
        cause: None,
        limits: Limits { timeout_seconds: 1.0, memory_bytes: None },
        machine: machine.clone(),
        wall_seconds: 0.5,
        recipe: None,
        codes_sha256: None,
        log: None,
        values: vec![Measured::new(&NMSE, nmse * seed as f64)],
    };
    let records = vec![record(1), record(2)];
    records.iter().for_each(|record| folder.save_trial(record).expect("saves"));
    let info = RunInfo {
        schema: SCHEMA,
        name: "e".into(),
        analysis: String::new(),
        experiment: json!({}),
        machine: Machine::default(),
        datasets: datasets.to_vec(),
        trials: records.into_iter().map(|record| record.trial).collect(),
        skipped: vec![],
    };
    folder.save_run(&info).expect("saves");
}

/// Both streams, with the folder's own path replaced; first as the system resolves it, since folders of temporary files may be behind a
/// link.
#[allow(dead_code)]
pub fn output_text(output: &Output, folder: &Path) -> String {
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let resolved = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    text.replace(&resolved.display().to_string(), "FOLDER").replace(&folder.display().to_string(), "FOLDER")
}

/// A small .npy of f32.
#[allow(dead_code)]
pub fn npy(rows: usize, columns: usize, values: impl Fn(usize, usize) -> f32) -> Vec<u8> {
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(
        (0..rows).flat_map(|i| (0..columns).map(move |j| (i, j))).flat_map(|(i, j)| values(i, j).to_le_bytes()),
    );
    bytes
}

/// `n` rows of `dim` values between −1 and 1, the same thousand over and over, as an fbin file.
#[allow(dead_code)]
pub fn write_rows(path: &Path, n: usize, dim: usize) {
    let layout = format::layout(path, OutputType::F32, (n, dim)).expect("a known format");
    let mut file = BufWriter::new(std::fs::File::create(path).expect("a file"));
    file.write_all(&layout.head).expect("writes");
    // A linear congruential generator does.
    let mut state = 1u32;
    let mut draw = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    let block: Vec<f32> = (0..1000 * dim).map(|_| draw()).collect();
    for start in (0..n).step_by(1000) {
        let rows = (n - start).min(1000);
        layout.write_vectors(start, &block[..rows * dim], dim, &mut file).expect("writes");
    }
    file.flush().expect("writes");
}
