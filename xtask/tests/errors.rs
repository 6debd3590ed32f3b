//! What a person sees who made a mistake: golden texts, exit code 2, and nothing half-written.
//!
//! `INSTA_UPDATE=always cargo xtask test` rewrites the texts after a deliberate change.

mod common;

use common::{npy, output_text, write, xtask};
use std::path::Path;

const HEAD: &str = "name: t
seeds: [1]
threads: 1
datasets: [{ synthetic: gaussian, dim: 12, n: 50, queries: 5 }]
measure: { distortion: {} }
";

/// Runs an experiment that must be refused, and returns what was said.
fn refused(folder: &Path, yaml: &str, arguments: &[&str]) -> String {
    write(folder, "e.yaml", yaml);
    let output = xtask(folder).args(["experiments", "e.yaml"]).args(arguments).output().expect("starts");
    let text = output_text(&output, folder);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(!folder.join("runs/t").exists(), "nothing is left behind: {text}");
    text
}

#[test]
fn mistakes_in_the_file() {
    let methods = |text: &str| format!("{HEAD}methods:\n{text}");
    let cases = [
        ("unknown top-level key", format!("{HEAD}metods: [{{ lbg: {{}} }}]\n")),
        ("unknown method", methods("  - pqq: { m: 4 }\n")),
        ("unknown parameter", methods("  - pq: { m: 4, bitz: 8 }\n")),
        ("wrong type", methods("  - pq: { m: four }\n")),
        ("negative number", methods("  - pq: { m: -4 }\n")),
        ("impossible value", methods("  - scalar: { bits: 9 }\n")),
        ("unknown variant", methods("  - scalar: { levels: lloydmax }\n")),
        ("missing parameter", methods("  - pq: { bits: 4 }\n")),
        ("m does not divide d", methods("  - pq: { m: 5 }\n")),
        ("a swept value does not fit", methods("  - pq: { bits: 4 }\n    sweep: { m: [3, 5] }\n")),
        ("unknown swept parameter", methods("  - pq: { m: 4 }\n    sweep: { bitz: [3, 5] }\n")),
        ("sweep over nothing", methods("  - pq: { m: 4 }\n    sweep: { bits: [] }\n")),
        ("the same method twice", methods("  - pq: { m: 4 }\n  - pq: { m: 4, bits: 8 }\n    label: again\n")),
        ("device of another name", format!("{HEAD}device: gpu\nmethods: [{{ lbg: {{}} }}]\n")),
        ("label names nothing", methods("  - pq: { m: 4 }\n    label: \"PQ {n}\"\n")),
        ("two methods in one entry", methods("  - pq: { m: 4 }\n    lbg: {}\n")),
        ("no method in an entry", methods("  - label: nothing\n")),
        ("broken YAML", format!("{HEAD}methods: [{{ lbg: {{}} \n")),
        ("duplicate key", format!("{HEAD}name: u\nmethods: [{{ lbg: {{}} }}]\n")),
        ("unknown measurement", HEAD.replace("distortion", "distorsion") + "methods: [{ lbg: {} }]\n"),
        (
            "unknown setting of a measurement",
            HEAD.replace("distortion: {}", "recall: { ks: [1] }") + "methods: [{ lbg: {} }]\n",
        ),
        ("no unit", format!("{HEAD}timeout: 600\nmethods: [{{ lbg: {{}} }}]\n")),
        ("unknown report format", format!("{HEAD}report: {{ formats: [html, gif] }}\nmethods: [{{ lbg: {{}} }}]\n")),
        ("name is a path", HEAD.replace("name: t", "name: ../t") + "methods: [{ lbg: {} }]\n"),
        ("empty seeds", HEAD.replace("[1]", "[]") + "methods: [{ lbg: {} }]\n"),
        ("a setting of another source", HEAD.replace("n: 50", "n: 50, rho: 0.5") + "methods: [{ lbg: {} }]\n"),
        ("not an experiment", "- just\n- a list\n".to_owned()),
        ("empty file", String::new()),
    ];
    let mut golden = String::new();
    for (name, yaml) in cases {
        let folder = tempfile::tempdir().expect("a folder");
        golden += &format!("=== {name}\n{}", refused(folder.path(), &yaml, &[]));
        assert!(!folder.path().join("runs").exists(), "{name}: nothing is written");
    }
    insta::assert_snapshot!("mistakes_in_the_file", golden);
}

#[test]
fn mistakes_in_the_data() {
    let with = |dataset: &str| {
        format!(
            "name: t\nseeds: [1]\nthreads: 1\ndatasets:\n  - {dataset}\nmethods: [{{ lbg: {{ bits: 2 }} }}]\nmeasure: {{ distortion: {{}} }}\n"
        )
    };
    let cases = [
        ("unknown dataset", with("wordnet-minilm-348")),
        ("known but absent", with("siftsmall")),
        ("missing file", with("{ path: nowhere.npy }")),
        ("unknown format", with("{ path: x.docx }")),
        ("corrupt file", with("{ path: corrupt.npy }")),
        ("truncated file", with("{ path: short.npy }")),
        ("NaN in the data", with("{ path: nan.npy, split: { train: 0..20, base: 20..40, queries: 40..50 } }")),
        (
            "zero row under the cosine",
            with("{ path: zero.npy, metric: cosine, split: { train: 0..20, base: 20..40, queries: 40..50 } }"),
        ),
        ("split asks for too much", with("{ path: good.npy, split: { train: 100 } }")),
        ("overlapping ranges", with("{ path: good.npy, split: { train: 0..20, base: 10..30 } }")),
        ("misspelt key of a file", with("{ path: good.npy, metrik: l2 }")),
        ("a metric of another name", with("{ path: good.npy, metric: dot_product }")),
        ("labels for half of the rows", with("{ path: good.npy, queries: few.npy, labels: labels.npy }")),
        ("queries of another width", with("{ path: good.npy, queries: wide.npy }")),
        ("labels of another length", with("{ path: good.npy, labels: labels.npy }")),
        ("frames that take no time", with("{ path: good.npy, frames_per_second: 0 }")),
        ("no such folder of images", with("{ images: photos/, patch: 8 }")),
        ("a file that is not an image", with("{ images: [corrupt.npy, nan.npy, good.npy] }")),
        ("one image cannot be three parts", with("{ images: good.npy }")),
        ("misspelt key of images", with("{ images: photos/, patches: 8 }")),
        ("misspelt key of a split of images", with("{ images: photos/, split: { rows: 3 } }")),
        ("unknown synthetic source", with("{ synthetic: gausian, dim: 4, n: 10 }")),
        ("two datasets of one name", with("{ path: good.npy }\n  - { path: good.npy }")),
        ("a number", with("7")),
    ];
    let mut golden = String::new();
    for (name, yaml) in cases {
        let folder = tempfile::tempdir().expect("a folder");
        let value = |i: usize, j: usize| (i * 7 + j * 3) as f32 % 11.0 + 1.0;
        write(folder.path(), "good.npy", npy(50, 4, value));
        write(folder.path(), "wide.npy", npy(5, 6, value));
        write(folder.path(), "few.npy", npy(5, 4, value));
        write(folder.path(), "nan.npy", npy(50, 4, |i, j| if (i, j) == (33, 2) { f32::NAN } else { value(i, j) }));
        write(folder.path(), "zero.npy", npy(50, 4, |i, j| if i == 3 { 0.0 } else { value(i, j) }));
        let header = format!("{:<117}\n", "{'descr': '|u1', 'fortran_order': False, 'shape': (3,)}");
        let labels = [b"\x93NUMPY\x01\x00\x76\x00", header.as_bytes(), &[1, 2, 3]].concat();
        write(folder.path(), "labels.npy", labels);
        write(folder.path(), "corrupt.npy", "this is no array");
        let whole = npy(50, 4, value);
        write(folder.path(), "short.npy", &whole[..whole.len() - 100]);
        write(folder.path(), "x.docx", "words");
        golden += &format!("=== {name}\n{}", refused(folder.path(), &yaml, &[]));
    }
    insta::assert_snapshot!("mistakes_in_the_data", golden);
}

/// Small files that ask for much: each is refused at once, within little memory, by a mistake that names the bound.
#[cfg(target_os = "linux")]
#[test]
fn files_that_ask_for_too_much() {
    let numbers = |n: usize| (1..n).map(|i| i.to_string()).collect::<Vec<_>>().join(",");
    let good = "name: ok\nseeds: [1]\ndatasets:\n  - { synthetic: gaussian, dim: 4, n: 200 }\nmethods:\n  - scalar: { bits: 4 }\nmeasure: { distortion: {} }\n";
    let many = format!("  - fsq: {{ preset: 8 }}\n    sweep: {{ groups: [{}] }}", numbers(20_000));
    let cases = [
        ("too long a file", format!("z: [{}]\n{good}", vec!["0"; 2_000_000].join(",")), "at most 1MiB"),
        ("a wide line", format!("z: [{}]\n{good}", vec!["0"; 90_000].join(",")), "unknown key `z`"),
        ("a wide line, far out", format!("z: [{}{good}", vec!["0"; 90_000].join(",")), "this is not valid YAML"),
        (
            "a long label",
            good.replace("{ bits: 4 }", &format!("{{ bits: 4 }}\n    label: {}", "L".repeat(800_000))),
            "800000 characters, more than 200",
        ),
        (
            "a long name",
            good.replace("n: 200", &format!("n: 200, name: {}", "n".repeat(800_000))),
            "1 to 200 characters",
        ),
        ("a long text of another type", good.replace("bits: 4", &format!("bits: {}", "b".repeat(800_000))), "bits"),
        (
            "an alias of a long text",
            format!("x: &a \"{}\"\ny: [{}]\n{good}", "s".repeat(100_000), vec!["*a"; 90_000].join(",")),
            "more than 4MiB of text",
        ),
        (
            "a long key over many values",
            format!("? \"{}\"\n: [{}]\n{good}", "k".repeat(100_000), vec!["0"; 90_000].join(",")),
            "unknown key",
        ),
        (
            "very many trials",
            good.replace("[1]", &format!("[{}]", numbers(40_000))).replace("  - scalar: { bits: 4 }", &many),
            "799940001 trials, more than 100000",
        ),
    ];
    for (name, yaml, expected) in cases {
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path(), "e.yaml", yaml);
        // In KiB; the program itself and its threads' stacks are most of it.
        let command = "ulimit -v 600000; exec \"$0\" experiments e.yaml --dry-run";
        let program = xtask(folder.path()).get_program().to_owned();
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", command]).arg(program).current_dir(folder.path()).env("NO_COLOR", "1");
        let output = shell.output().expect("starts");
        let text = output_text(&output, folder.path());
        assert_eq!(output.status.code(), Some(2), "{name}: {}", text.chars().take(3000).collect::<String>());
        assert!(text.contains(expected) && text.len() < 6000, "{name}: {text}");
    }
}

/// What is waited for, or never ends, is refused by name wherever a file may be named.
#[cfg(unix)]
#[test]
fn what_is_not_a_regular_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    let pipes = std::process::Command::new("mkfifo").args([path.join("pipe.npy"), path.join("pipe")]).status();
    assert!(pipes.expect("starts").success());
    let _socket = std::os::unix::net::UnixListener::bind(path.join("socket.npy")).expect("a socket");
    std::os::unix::fs::symlink("/dev/zero", path.join("zero.npy")).expect("a link");
    std::os::unix::fs::symlink("/dev/zero", path.join("zero.png")).expect("a link");
    std::fs::create_dir(path.join("folder.npy")).expect("a folder");
    write(path, "good.npy", npy(50, 4, |i, j| (i * 7 + j * 3) as f32 % 11.0));
    for (dataset, kind) in [
        ("{ path: pipe.npy }", "a named pipe"),
        ("{ path: zero.npy }", "a device"),
        ("{ path: socket.npy }", "a socket"),
        ("{ path: folder.npy }", "a folder"),
        ("{ path: good.npy, queries: pipe.npy }", "a named pipe"),
        ("{ path: good.npy, train: zero.npy }", "a device"),
        ("{ path: good.npy, labels: pipe.npy }", "a named pipe"),
        ("{ images: [zero.png], train: zero.png, queries: zero.png }", "a device"),
    ] {
        let yaml =
            format!("name: t\ndatasets: [{dataset}]\nmethods: [{{ lbg: {{}} }}]\nmeasure: {{ distortion: {{}} }}\n");
        let text = refused(path, &yaml, &["--dry-run"]);
        assert!(text.contains(&format!("it is not a regular file but {kind}")), "{dataset}: {text}");
    }
    for arguments in [
        &["experiments", "pipe"][..],
        &["experiments", "/dev/zero"],
        &["fit", "pq: { m: 2 }", "pipe.npy", "m.vqb"],
        &["encode", "pipe", "good.npy", "c.npy"],
        &["compare", "t", "t", "--tolerances", "pipe"],
    ] {
        let output = xtask(path).args(arguments).output().expect("starts");
        let text = output_text(&output, path);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
        assert!(text.contains("it is not a regular file but"), "{arguments:?}: {text}");
    }
}

/// What is missing differs from machine to machine; that it is said, with its place and a way out, does not.
#[test]
fn a_gpu_that_is_not_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let methods = "methods: [{ lbg: {} }]\n";
    for (yaml, arguments, place) in [
        (format!("{HEAD}device: cuda\n{methods}"), &[][..], "device: cuda"),
        (format!("{HEAD}device: [cpu, cuda]\n{methods}"), &[], "device: [cpu, cuda]"),
        (format!("{HEAD}{methods}"), &["--device", "cuda"], ""),
    ] {
        write(folder.path(), "e.yaml", &yaml);
        let mut command = xtask(folder.path());
        let output = command.args(["experiments", "e.yaml"]).args(arguments).env("CUDA_VISIBLE_DEVICES", "").output();
        let output = output.expect("starts");
        let text = output_text(&output, folder.path());
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains("there is no") && text.contains("use `device: cpu`") && text.contains(place), "{text}");
        assert!(!folder.path().join("runs/t").exists(), "nothing is left behind: {text}");
    }
}

#[test]
fn mistakes_on_the_command_line() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "file", "in the way");
    std::fs::create_dir(folder.path().join("thesis")).expect("a folder");
    write(folder.path(), "thesis/chapter1.tex", "years of work");
    let good = format!("{HEAD}methods: [{{ lbg: {{ bits: 2 }} }}]\n");
    let mut golden = String::new();
    for (name, arguments) in [
        ("an output folder that cannot be made", ["--out", "file/run"]),
        ("an output folder of somebody else", ["--out", "thesis"]),
    ] {
        golden += &format!("=== {name}\n{}", refused(folder.path(), &good, &arguments));
    }
    for (name, arguments) in [
        ("no such experiment", &["experiments", "nowhere.yaml"][..]),
        ("no such method", &["methods", "pqq"]),
        ("no such dataset", &["datasets", "show", "siftsmal"]),
        ("no run", &["report", "thesis"]),
        ("unknown verb", &["experiment"]),
        ("bad duration", &["experiments", "e.yaml", "--timeout", "10"]),
    ] {
        let output = xtask(folder.path()).args(arguments).output().expect("starts");
        assert_eq!(output.status.code(), Some(2), "{name}");
        golden += &format!("=== {name}\n{}", output_text(&output, folder.path()));
    }
    insta::assert_snapshot!("mistakes_on_the_command_line", golden);
    assert_eq!(std::fs::read_dir(folder.path().join("thesis")).expect("a folder").count(), 1, "nothing was added");
}

#[test]
fn dry_run_and_listings() {
    let folder = tempfile::tempdir().expect("a folder");
    write(
        folder.path(),
        "e.yaml",
        format!(
            "{HEAD}methods:\n  - pq: {{ bits: 4 }}\n    sweep: {{ m: [3, 4] }}\n    label: \"PQ m={{m}}\"\n  - scalar: {{ bits: 2 }}\n"
        ),
    );
    let mut golden = String::new();
    for arguments in [
        &["experiments", "e.yaml", "--dry-run"][..],
        &["experiments", "e.yaml", "--dry-run", "--filter", "pq m=4", "--seed", "5", "--seed", "6"],
        &["methods"],
        &["methods", "scalar"],
        &["methods", "pq"],
        &["datasets"],
    ] {
        let output = xtask(folder.path()).args(arguments).output().expect("starts");
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        golden += &format!("=== {}\n{}", arguments.join(" "), output_text(&output, folder.path()));
    }
    assert!(!folder.path().join("runs").exists(), "nothing is written");
    insta::assert_snapshot!("dry_run_and_listings", golden);
}
