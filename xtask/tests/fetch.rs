//! Public datasets on the command line: fetched, listed, used and removed, from a mirror on the loopback.

mod common;

use common::{write, xtask};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// Serves files by their paths, whole or in parts.
struct Mirror {
    address: String,
    files: Arc<Mutex<HashMap<String, Vec<u8>>>>,
}

impl Mirror {
    fn new() -> Mirror {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let files: Arc<Mutex<HashMap<String, Vec<u8>>>> = Arc::default();
        let served = Arc::clone(&files);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                let lines: Vec<String> =
                    BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
                let path = lines.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
                let range = lines.iter().find_map(|line| {
                    let (first, last) = line
                        .to_lowercase()
                        .strip_prefix("range: bytes=")?
                        .split_once('-')
                        .map(|(a, b)| (a.parse::<usize>().expect("a number"), b.parse::<usize>().ok()))?;
                    Some((first, last))
                });
                let answer = match served.lock().expect("files").get(path) {
                    None => b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_vec(),
                    Some(bytes) => {
                        let (first, last) = range.unwrap_or((0, None));
                        let end = last.map_or(bytes.len(), |last| (last + 1).min(bytes.len()));
                        let head = format!(
                            "HTTP/1.1 206 Partial Content\r\ncontent-length: {}\r\ncontent-range: bytes {first}-{}/{}\r\n",
                            end - first,
                            end - 1,
                            bytes.len()
                        );
                        let whole = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n", bytes.len());
                        let head = if range.is_some() { head } else { whole };
                        [head.as_bytes(), b"connection: close\r\n\r\n", &bytes[first..end]].concat()
                    }
                };
                let _ = stream.write_all(&answer);
            }
        });
        Mirror { address, files }
    }

    fn put(&self, path: &str, bytes: Vec<u8>) {
        self.files.lock().expect("files").insert(path.to_owned(), bytes);
    }

    /// Runs a command; returns its exit code and what it says, without what differs from run to run.
    fn run(&self, folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
        let mut command = xtask(folder);
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"] {
            command.env_remove(name);
        }
        let output = command.args(arguments).env("VQBENCH_MIRROR", &self.address).output().expect("starts");
        let text = [&output.stdout[..], &output.stderr].concat();
        let text = String::from_utf8_lossy(&text).replace(&self.address, "MIRROR");
        let here = folder.canonicalize().expect("a folder");
        let text = text.replace(&here.display().to_string(), "HOME").replace(&folder.display().to_string(), "HOME");
        (output.status.code(), text)
    }
}

/// Rows of 96 components, as big-ann-benchmarks writes them; the header may state more rows.
fn fbin(stated: u32, rows: usize, factor: f32) -> Vec<u8> {
    let value = |i: usize| ((i * 7919 % 1009) as f32 * factor).to_le_bytes();
    let values: Vec<u8> = (0..rows * 96).flat_map(value).collect();
    [&stated.to_le_bytes()[..], &96u32.to_le_bytes(), &values].concat()
}

const DEEP: &str = "/storage.yandexcloud.net/yandex-research/ann-datasets/DEEP";

fn mirror() -> Mirror {
    let mirror = Mirror::new();
    mirror.put(&format!("{DEEP}/base.1B.fbin"), fbin(1_000_000_000, 1500, 1.0));
    mirror.put(&format!("{DEEP}/query.public.10K.fbin"), fbin(20, 20, 1.5));
    mirror
}

/// The lines that contain a text.
fn lines_with<'a>(text: &'a str, part: &str) -> Vec<&'a str> {
    text.lines().filter(|line| line.contains(part)).collect()
}

#[test]
fn the_first_rows_of_a_public_set_are_fetched_used_and_removed() {
    let (folder, mirror) = (tempfile::tempdir().expect("a folder"), mirror());
    let folder = folder.path();
    let run = |arguments: &[&str]| mirror.run(folder, arguments);
    let yaml = "name: t\nseeds: [1]\nthreads: 1\ndatasets: [deep1b-1k]\nmethods: [{ scalar: { bits: 2 } }]\nmeasure: { distortion: {} }\n";
    write(folder, "e.yaml", yaml);

    // Nothing is fetched unasked; the error says how to ask.
    let (code, text) = run(&["experiments", "e.yaml"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("cargo xtask datasets fetch deep1b-1k"), "{text}");
    assert!(!folder.join(".cache").exists());

    let (code, text) = run(&["experiments", "e.yaml", "--fetch", "--no-report"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("t: 1 trial succeeded"), "{text}");
    let data = folder.join(".cache/vqbench/datasets/deep1b");
    let base = std::fs::read(data.join("base.1K.fbin")).expect("the first rows");
    assert_eq!(base, fbin(1000, 1000, 1.0));
    assert!(!data.join("base.1B.fbin").exists());

    let (code, text) = run(&["datasets", "fetch", "deep1b", "--rows", "1k"]);
    let here = "deep1b-1k is here: HOME/.cache/vqbench/datasets/deep1b/base.1K.fbin\n";
    assert_eq!((code, text.as_str()), (Some(0), here));
    let (_, text) = run(&["datasets", "show", "deep1b-1k"]);
    assert!(text.contains("1000 training, 1000 base and 20 query rows"), "{text}");

    let (code, text) = run(&["datasets", "prune"]);
    assert_eq!(code, Some(0));
    let all = "deep1b-1k     392 kB\n392 kB in HOME/.cache/vqbench/datasets; `prune NAME`, `prune --leftovers`, `prune --others` and `prune --all` remove\n";
    assert_eq!(text, all);
    let (code, text) = run(&["datasets", "prune", "deep1b-1k"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("add `--yes`") && data.join("base.1K.fbin").exists(), "{text}");
    let (code, text) = run(&["datasets", "prune", "deep1b-1k", "--yes"]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(lines_with(&text, "removed"), ["removed 2 files, 392 kB"]);
    assert!(!data.exists());

    // Neither what somebody else put there nor what another process fetches now is removed.
    for name in ["mine/notes.txt", "siftsmall/a.part", "glove/b.part"] {
        let path = folder.join(".cache/vqbench/datasets").join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, "12345").expect("writes");
    }
    let part = std::fs::File::open(folder.join(".cache/vqbench/datasets/glove/b.part")).expect("opens");
    part.lock().expect("locks");
    let (code, text) = run(&["datasets", "prune", "--all", "--yes"]);
    let expected = "glove/b.part  is being fetched, and stays\nsiftsmall/a.part  5 bytes\nremoved 1 files, 5 bytes\n";
    assert_eq!((code, text.as_str()), (Some(0), expected));
    drop(part);
    let (code, text) = run(&["datasets", "prune", "--all", "--others", "--yes"]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(lines_with(&text, "removed"), ["removed 2 files, 10 bytes"]);

    // What was fetched before must come again.
    mirror.put(&format!("{DEEP}/base.1B.fbin"), fbin(1_000_000_000, 1500, 2.0));
    let (code, text) = run(&["datasets", "fetch", "deep1b-1k"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("deep1b/base.1K.fbin could not be fetched"), "{text}");
    assert!(!data.join("base.1K.fbin").exists());
}

#[test]
fn a_project_says_which_vectors_it_means() {
    let (folder, mirror) = (tempfile::tempdir().expect("a folder"), mirror());
    let lock = write(folder.path(), "datasets.lock", "");
    let (code, text) = mirror.run(folder.path(), &["datasets", "fetch", "deep1b-1k", "deep1b-1200"]);
    assert_eq!(code, Some(0), "{text}");
    let recorded = std::fs::read_to_string(&lock).expect("a record");
    for path in ["deep1b/base.1K.fbin", "deep1b/base.1200.fbin", "deep1b/query.public.10K.fbin"] {
        assert_eq!(lines_with(&recorded, path).len(), 1, "{recorded}");
    }
    // Files that are here must be those of the project; nobody asks without `--fetch`.
    let yaml = "name: t\nseeds: [1]\nthreads: 1\ndatasets: [deep1b-1k]\nmethods: [{ scalar: { bits: 2 } }]\nmeasure: { distortion: {} }\n";
    write(folder.path(), "e.yaml", yaml);
    let digest = recorded.lines().find_map(|line| line.strip_prefix("sha256 = ")).expect("a digest");
    write(folder.path(), "datasets.lock", recorded.replace(digest, "\"00\""));
    for arguments in [&["datasets", "fetch", "deep1b-1k"][..], &["experiments", "e.yaml", "--fetch", "--no-report"]] {
        let (code, text) = mirror.run(folder.path(), arguments);
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains("is here, but not as datasets.lock records it"), "{text}");
    }
    let (code, text) = mirror.run(folder.path(), &["experiments", "e.yaml", "--dry-run"]);
    assert_eq!(code, Some(0), "{text}");
    write(folder.path(), "datasets.lock", &recorded);
    let (code, text) = mirror.run(folder.path(), &["datasets", "fetch", "deep1b-1k"]);
    assert_eq!(code, Some(0), "{text}");

    // Another machine with the same project, where the mirror has something else.
    let other = tempfile::tempdir().expect("a folder");
    write(other.path(), "datasets.lock", &recorded);
    mirror.put(&format!("{DEEP}/base.1B.fbin"), fbin(1_000_000_000, 1500, 2.0));
    let (code, text) = mirror.run(other.path(), &["datasets", "fetch", "deep1b-1k"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("datasets.lock records ("), "{text}");
}

#[test]
fn what_cannot_be_fetched_is_said() {
    let (folder, mirror) = (tempfile::tempdir().expect("a folder"), Mirror::new());
    let mut golden = String::new();
    for arguments in [
        &["fetch", "wordnet-minilm-384"][..],
        &["fetch", "digits-64"],
        &["fetch", "siftsmal"],
        &["fetch", "siftsmall", "--rows", "1k"],
        &["fetch", "bigann", "--rows", "2B"],
        &["fetch", "bigann", "--rows", "many"],
        &["fetch", "bigann-1", "nothing-1k"],
        &["show", "siftsmall", "--figure", "a.svg"],
        &["prune", "siftsmall", "--yes"],
        &["prune", "--all"],
        &["prune"],
    ] {
        let (code, text) = mirror.run(folder.path(), &[&["datasets"], arguments].concat());
        golden += &format!("=== datasets {} ({})\n{text}", arguments.join(" "), code.unwrap_or(-1));
    }
    assert!(!folder.path().join(".cache").exists(), "nothing was fetched");
    insta::assert_snapshot!("what_cannot_be_fetched", golden);
}
