//! Runs of the real executable: what they leave behind, and that nothing finished is lost whatever happens.

mod common;

use common::{output_text, write, xtask};
use record::{RunFolder, Status, TrialRecord};
use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

const SMALL: &str = "name: t
analysis: A small run.
seeds: [1, 2]
threads: 1
datasets: [{ synthetic: mixture, dim: 12, n: 400, queries: 20 }]
methods:
  - pq: { bits: 3, iterations: 4 }
    sweep: { m: [2, 4] }
  - scalar: { bits: 2 }
measure: { distortion: {}, utilization: {}, recall: { k: [1, 5], rerank: [0, 2] }, knn: { k: 3 }, linear_probe: {}, throughput: { min_time: 1ms, repeats: 3 } }
";

fn run(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = xtask(folder).args(["experiments", "e.yaml"]).args(arguments).output().expect("starts");
    (output.status.code(), output_text(&output, folder))
}

fn records(folder: &Path) -> Vec<TrialRecord> {
    RunFolder::new(folder.join("runs/t")).load().expect("a run").records
}

/// When each record was written.
fn written(folder: &Path) -> HashMap<String, SystemTime> {
    let entries = std::fs::read_dir(folder.join("runs/t/trials")).into_iter().flatten().flatten();
    entries
        .filter(|e| e.file_name().to_string_lossy().ends_with(".json"))
        .map(|e| {
            (e.file_name().to_string_lossy().into_owned(), e.metadata().and_then(|m| m.modified()).expect("a time"))
        })
        .collect()
}

#[test]
fn a_run_leaves_everything_it_promises() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "e.yaml", SMALL);
    let (code, text) = run(folder.path(), &[]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("t: 6 trials succeeded, 0 failed"), "{text}");
    let root = folder.path().join("runs/t");
    for file in [
        "experiment.yaml",
        "machine.json",
        "run.json",
        "results.csv",
        "results.parquet",
        "report/index.html",
        "report/report.md",
    ] {
        assert!(root.join(file).metadata().is_ok_and(|m| m.len() > 0), "{file}");
    }
    for kind in ["rate-distortion", "recall-rate", "recall-speed", "utilization", "throughput"] {
        for extension in ["svg", "png"] {
            assert!(
                root.join(format!("report/figures/mixture16-12-{kind}.{extension}")).is_file(),
                "{kind}.{extension}"
            );
        }
    }
    assert!(
        root.join("report/tables/mixture16-12.tex").is_file() && root.join("report/tables/mixture16-12.csv").is_file()
    );
    let leftovers: Vec<_> = walk(&root).into_iter().filter(|p| p.contains("partial")).collect();
    assert!(leftovers.is_empty(), "{leftovers:?}");

    // Every metric of the schema, with the columns that tell it from its siblings.
    for record in records(folder.path()) {
        let count = |metric: &str| record.values.iter().filter(|v| v.metric == metric).count();
        for metric in [
            "mse",
            "mse_std",
            "nmse",
            "sqnr_db",
            "cosine",
            "ip_bias",
            "ip_std",
            "train_nmse",
            "gaussian_bound_nmse",
            "gap_to_bound_db",
        ] {
            assert_eq!(count(metric), 1, "{metric}");
        }
        for metric in [
            "bits_per_vector",
            "bits_per_dim",
            "entropy_bits_per_vector",
            "model_bytes",
            "code_bytes",
            "train_seconds",
            "peak_rss_bytes",
        ] {
            assert_eq!(count(metric), 1, "{metric}");
        }
        for metric in ["recall_1_at_r", "recall_k_at_k", "recall_k_at_k_std"] {
            assert_eq!(count(metric), 4, "two k, two paths");
        }
        for metric in
            ["encode_vectors_per_second", "decode_vectors_per_second", "search_latency_p50_us", "search_latency_p99_us"]
        {
            assert_eq!(count(metric), 3, "{metric}: every repeat is kept");
        }
        let searched = |path: Option<usize>| {
            let timed = record.values.iter().filter(|v| v.metric == "search_queries_per_second");
            timed.filter(|v| v.path.as_deref().and_then(record::rerank_factor) == path).count()
        };
        assert_eq!((searched(None), searched(Some(4))), (3, 3), "every repeat, with re-ranking and without");
        assert_eq!((count("knn_accuracy"), count("knn_accuracy_retention")), (2, 1));
        for metric in ["probe_accuracy_retention", "probe_accuracy_retention_low", "probe_accuracy_retention_high"] {
            assert_eq!((count("probe_accuracy"), count(metric)), (2, 1), "{metric}");
        }
        let stages = record.values.iter().filter(|v| v.metric == "perplexity" && v.stage.is_some()).count();
        let positions =
            if record.trial.method == "pq" { record.trial.params["m"].as_u64().expect("m") as usize } else { 12 };
        assert_eq!((stages, count("usage")), (positions, positions + 1));
    }

    // Quality of one seed is the same whenever it is computed.
    let quality = |records: &[TrialRecord]| -> Vec<f64> {
        let is_quality = |m: &str| ["nmse", "recall_k_at_k", "perplexity", "knn_accuracy"].contains(&m);
        records.iter().flat_map(|r| &r.values).filter(|v| is_quality(&v.metric)).map(|v| v.value).collect()
    };
    let before = quality(&records(folder.path()));
    let (code, text) = run(folder.path(), &["--force"]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(quality(&records(folder.path())), before);

    // Rendering again needs no trial; two runs render together.
    std::fs::remove_dir_all(root.join("report")).expect("removes");
    let output = xtask(folder.path()).args(["report", "runs/t"]).output().expect("starts");
    assert!(output.status.success() && root.join("report/index.html").is_file());
}

fn walk(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            found.extend(walk(&entry.path()));
        } else {
            found.push(entry.path().display().to_string());
        }
    }
    found
}

#[test]
fn finished_trials_are_not_run_again_unless_asked() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "e.yaml", SMALL);
    let (code, text) = run(folder.path(), &["--filter", "scalar"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("2 trials succeeded, 0 failed, 4 not run"), "{text}");
    let first = written(folder.path());
    assert_eq!(first.len(), 2);
    let (code, text) = run(folder.path(), &[]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("4 trials to run, 2 ended before and are kept"), "{text}");
    let second = written(folder.path());
    assert!(first.iter().all(|(name, time)| second[name] == *time), "earlier records are untouched");
    // Another label is another name, not another result.
    write(
        folder.path(),
        "e.yaml",
        SMALL.replace("- scalar: { bits: 2 }", "- scalar: { bits: 2 }\n    label: two bits"),
    );
    let (_, text) = run(folder.path(), &[]);
    assert!(text.contains("0 trials to run, 6 ended before"), "{text}");
    assert!(records(folder.path()).iter().any(|r| r.trial.label == "two bits"));
    let (_, text) = run(folder.path(), &["--force", "--filter", "two bits"]);
    assert!(text.contains("2 trials to run"), "{text}");
}

#[test]
fn failures_and_timeouts_are_rows_with_their_reason_and_end_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    // The 2^15 codewords on 40,000 × 64 take seconds; everything else is done in milliseconds.
    write(
        folder.path(),
        "e.yaml",
        "name: t\nseeds: [1]\nthreads: 1\ntimeout: 2s\ndatasets: [{ synthetic: gaussian, dim: 64, n: 40000, queries: 10 }]\nmethods: [{ lbg: { bits: 15, tolerance: 0 } }, { scalar: { bits: 1, scope: tensor } }]\nmeasure: { utilization: {} }\n",
    );
    let (code, text) = run(folder.path(), &[]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("TIMEOUT: it was still running after 2s"), "{text}");
    let statuses: Vec<Status> = records(folder.path()).iter().map(|r| r.status).collect();
    assert_eq!(statuses, [Status::Timeout, Status::Ok]);
    let page = std::fs::read_to_string(folder.path().join("runs/t/report/index.html")).expect("a page");
    assert!(page.contains("Failed trials") && page.contains("it was still running after 2s"));
    let table = std::fs::read_to_string(folder.path().join("runs/t/results.csv")).expect("a table");
    assert!(
        table.lines().any(|l| l.contains(",timeout,") && l.contains("it was still running after 2s, its `timeout`")),
        "{table}"
    );
    // The same limits give the same end: it is kept. Other limits give it another chance.
    let (_, text) = run(folder.path(), &[]);
    assert!(text.contains("0 trials to run, 2 ended before"), "{text}");
    let (_, text) = run(folder.path(), &["--timeout", "1900ms"]);
    assert!(text.contains("1 trial to run, 1 ended before"), "{text}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_trial_out_of_memory_aborts_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    // 200,000 × 64 floats are 49 MiB. With two blocks of base rows these are just below the limit, with the program above it.
    write(
        folder.path(),
        "e.yaml",
        "name: t\nseeds: [1]\nthreads: 1\nmemory: 92MiB\ndatasets: [{ synthetic: gaussian, dim: 64, n: 200000, queries: 10 }, { synthetic: gaussian, dim: 8, n: 100, queries: 10 }]\nmethods: [{ lbg: { bits: 2 } }]\nmeasure: { utilization: {} }\n",
    );
    let (code, text) = run(folder.path(), &[]);
    assert_eq!(code, Some(1), "{text}");
    let records = records(folder.path());
    assert_eq!(records.iter().map(|r| r.status).collect::<Vec<_>>(), [Status::Failed, Status::Ok]);
    let reason = records[0].reason.as_deref().unwrap_or("");
    assert!(reason.starts_with("out of memory under the limit of 92MiB: memory allocation of"), "{reason}");
}

/// Starts a run and waits until it has finished `count` trials.
#[cfg(unix)]
fn start_and_wait(folder: &Path, count: usize) -> std::process::Child {
    let child = xtask(folder)
        .args(["experiments", "e.yaml"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts");
    let patience = Instant::now() + Duration::from_secs(60);
    while written(folder).len() < count {
        assert!(Instant::now() < patience, "no trial has ended");
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

#[cfg(unix)]
const LONGER: &str = "name: t
seeds: [1, 2, 3, 4, 5, 6]
threads: 1
datasets: [{ synthetic: gaussian, dim: 32, n: 4000, queries: 20 }]
methods: [{ pq: { m: 4, bits: 6 } }, { lbg: { bits: 6 } }]
measure: { distortion: {}, throughput: { min_time: 10ms, repeats: 2 } }
";

#[cfg(unix)]
#[test]
fn a_killed_run_continues_where_it_stopped() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "e.yaml", LONGER);
    let mut child = start_and_wait(folder.path(), 3);
    child.kill().expect("kill -9");
    child.wait().expect("dies");
    let before = written(folder.path());
    assert!((3..12).contains(&before.len()), "{}", before.len());
    let (code, text) = run(folder.path(), &[]);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains(&format!("{} trials to run, {} ended before and are kept", 12 - before.len(), before.len())),
        "{text}"
    );
    let after = written(folder.path());
    assert!(before.iter().all(|(name, time)| after[name] == *time), "nothing finished is repeated");
    assert_eq!((after.len(), records(folder.path()).len()), (12, 12));
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_cleanly_with_a_report_and_resumes() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "e.yaml", LONGER);
    let child = start_and_wait(folder.path(), 2);
    let interrupt = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill");
    assert!(interrupt.success());
    let output = child.wait_with_output().expect("ends");
    assert_eq!(output.status.code(), Some(1), "it ends by itself, not by the signal");
    let done = written(folder.path()).len();
    assert!((2..12).contains(&done), "{done}");
    assert!(records(folder.path()).iter().all(|r| r.status == Status::Ok), "the trial cut short left no row");
    assert!(folder.path().join("runs/t/report/index.html").is_file());
    let (code, text) = run(folder.path(), &[]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains(&format!("{done} ended before and are kept")), "{text}");
}

#[test]
fn one_run_at_a_time_in_a_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "e.yaml", SMALL);
    let run_folder = RunFolder::new(folder.path().join("runs/t"));
    let lock = run_folder.prepare().expect("fresh");
    let (code, text) = run(folder.path(), &[]);
    assert_eq!(code, Some(2));
    assert!(text.contains("another process runs or follows"), "{text}");
    drop(lock);
    assert_eq!(run(folder.path(), &["--filter", "scalar"]).0, Some(0));
}

#[test]
fn a_report_of_two_runs_shows_both() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["a", "b"] {
        write(folder.path(), "e.yaml", SMALL.replace("name: t", &format!("name: {name}")));
        assert_eq!(run(folder.path(), &["--filter", "scalar"]).0, Some(0));
    }
    let output = xtask(folder.path())
        .args(["report", "runs/a", "runs/b", "--out", "both", "--format", "markdown"])
        .output()
        .expect("starts");
    assert!(output.status.success(), "{}", output_text(&output, folder.path()));
    let text = std::fs::read_to_string(folder.path().join("both/report.md")).expect("a report");
    assert!(
        text.contains("# a + b") && text.contains("| scalar \\[a] |") && text.contains("| scalar \\[b] |"),
        "{text}"
    );
}

/// A folder of somebody else, with files where a report has its own, is left as it was; `report` says so, or writes beside them.
#[test]
fn a_report_never_touches_the_files_of_others() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "e.yaml", SMALL);
    assert_eq!(run(folder.path(), &["--filter", "scalar"]).0, Some(0));
    let report = |out: &str, formats: &[&str]| {
        let mut command = xtask(folder.path());
        command.args(["report", "runs/t", "--out", out]);
        for format in formats {
            command.args(["--format", format]);
        }
        let output = command.output().expect("starts");
        (output.status.code(), output_text(&output, folder.path()))
    };
    let thesis = folder.path().join("thesis");
    let theirs = ["figures/chapter-1.svg", "tables/results.tex", "pictures/me.png", "index.html"];
    for name in theirs {
        std::fs::create_dir_all(thesis.join(name).parent().expect("a folder")).expect("a folder");
        std::fs::write(thesis.join(name), "years of work").expect("writes");
    }
    let untouched = || theirs.iter().all(|n| std::fs::read(thesis.join(n)).is_ok_and(|text| text == b"years of work"));
    let (code, text) = report("thesis", &[]);
    assert!(code == Some(2) && text.contains("thesis/index.html exists, and vqbench did not write it"), "{text}");
    assert!(untouched() && walk(&thesis).len() == theirs.len(), "nothing was begun");
    // Without a file of that name it goes beside them, and the next report takes away its own alone.
    let (code, text) = report("thesis", &["markdown", "csv"]);
    assert!(code == Some(0) && !text.contains("index.html"), "{text}");
    assert!(untouched() && thesis.join("report.md").is_file() && thesis.join("tables/mixture16-12.csv").is_file());
    assert_eq!(report("thesis", &["csv"]).0, Some(0));
    assert!(untouched() && !thesis.join("report.md").exists() && thesis.join("tables/mixture16-12.csv").is_file());
    #[cfg(unix)]
    {
        std::fs::create_dir(folder.path().join("out")).expect("a folder");
        std::os::unix::fs::symlink(thesis.join("figures"), folder.path().join("out/figures")).expect("links");
        let (code, text) = report("out", &[]);
        assert!(code == Some(2) && text.contains("out/figures: it is a symbolic link"), "{text}");
        // The report folder of a run may not lead elsewhere either.
        std::fs::remove_dir_all(folder.path().join("runs/t/report")).expect("removes");
        std::os::unix::fs::symlink(&thesis, folder.path().join("runs/t/report")).expect("links");
        let output = xtask(folder.path()).args(["report", "runs/t"]).output().expect("starts");
        assert_eq!(output.status.code(), Some(2), "{}", output_text(&output, folder.path()));
        assert!(untouched());
    }
}

#[test]
fn compare_is_a_gate() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "e.yaml", SMALL);
    assert_eq!(run(folder.path(), &["--filter", "pq", "--out", "base"]).0, Some(0));
    let compare = |arguments: &[&str]| {
        let output = xtask(folder.path()).arg("compare").args(arguments).output().expect("starts");
        (output.status.code(), output_text(&output, folder.path()))
    };
    let (code, text) = compare(&["base", "base", "--markdown", "verdict.md"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(std::fs::read_to_string(folder.path().join("verdict.md")).is_ok_and(|t| t.contains("no regression")));
    // A worse quantizer under the same parameters: the distortion of one record is raised by hand.
    copy(&folder.path().join("base"), &folder.path().join("worse"));
    let worse = RunFolder::new(folder.path().join("worse"));
    let mut record = worse.load().expect("a run").records.remove(0);
    record.values.iter_mut().filter(|v| v.metric == "nmse").for_each(|v| v.value *= 1.01);
    worse.save_trial(&record).expect("saves");
    let (code, text) = compare(&["base", "worse", "--quality-only"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("regression") && text.contains("nmse"), "{text}");
    write(folder.path(), "lenient.yaml", "quality:\n  nmse: 0.02\n");
    let lenient =
        ["base", "worse", "--quality-only", "--tolerances", "lenient.yaml", "--json", "v.json", "--junit", "v.xml"];
    assert_eq!(compare(&lenient).0, Some(0));
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect("written");
    assert!(read("v.json").contains("\"verdict\": \"no_regression\"") && read("v.xml").contains("failures=\"0\""));
    for (yaml, expected) in [
        ("quality:\n  nmes: 0.02\n", "`quality` has no metric `nmes`"),
        ("quality:\n  nmse: -1\n", "`nmse: -1` is not a tolerance"),
        ("qualty:\n  nmse: 0.1\n", "unknown key `qualty`"),
        ("quality: 3\n", "wrong.yaml:1"),
    ] {
        write(folder.path(), "wrong.yaml", yaml);
        let (code, text) = compare(&["base", "worse", "--tolerances", "wrong.yaml"]);
        assert!(code == Some(2) && text.contains(expected), "{yaml}: {text}");
        assert!(text.contains("wrong.yaml:"), "the error points at a line: {text}");
    }
    // The same gate after a run: the exit code is that of the comparison.
    let gated = |baseline: &str, more: &[&str]| {
        run(
            folder.path(),
            &[&["--filter", "pq", "--out", "next", "--quality-only", "--baseline", baseline], more].concat(),
        )
    };
    let (code, text) = gated("worse", &["--json", "n.json"]);
    assert!(code == Some(0) && text.contains("no regression") && read("n.json").contains("better"), "{text}");
    let mut better = RunFolder::new(folder.path().join("base")).load().expect("a run").records.remove(0);
    better.values.iter_mut().filter(|v| v.metric == "nmse").for_each(|v| v.value *= 0.9);
    copy(&folder.path().join("base"), &folder.path().join("better"));
    RunFolder::new(folder.path().join("better")).save_trial(&better).expect("saves");
    assert_eq!(gated("better", &[]).0, Some(1));
    let (code, text) = run(folder.path(), &["--quality-only"]);
    assert!(code == Some(2) && text.contains("there is no baseline"), "{text}");
    let (code, text) = gated("nowhere", &["--force"]);
    assert!(code == Some(2) && text.contains("not a run folder"), "{text}");
    std::fs::remove_file(worse.trial_file(&record.trial.id)).expect("removes");
    assert_eq!(compare(&["base", "worse", "--quality-only"]).0, Some(2), "a missing trial cannot be judged");
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copies");
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_memory_limit_too_small_for_anything_ends_the_trial_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    write(
        folder.path(),
        "e.yaml",
        "name: t\nseeds: [1]\nthreads: 1\nmemory: 1MiB\ntimeout: 1m\ndatasets: [{ synthetic: gaussian, dim: 8, n: 100, queries: 10 }]\nmethods: [{ lbg: { bits: 2 } }]\nmeasure: { utilization: {} }\n",
    );
    let (code, text) = run(folder.path(), &[]);
    assert_eq!(code, Some(1), "{text}");
    assert_eq!(records(folder.path())[0].status, Status::Failed, "not a time-out: {text}");
}

/// A picture of 24×16 pixels in which everything differs, and is different for each `seed`.
fn picture(path: &Path, seed: u32) {
    let file = std::fs::File::create(path).expect("a file");
    let mut encoder = png::Encoder::new(file, 24, 16);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let pixels: Vec<u8> = (0..24 * 16 * 3u32).map(|i| (i * i * (seed + 3) / 7 + i * 11 + seed * 40) as u8).collect();
    encoder.write_header().and_then(|mut writer| writer.write_image_data(&pixels)).expect("encodes");
}

const PICTURES: &str = "name: t
seeds: [1, 2]
threads: 1
datasets: [{ images: photos/, patch: 4, name: photos, split: { train: 0..3, base: 3..6, queries: 6..7 } }]
methods: [{ lbg: { bits: 3 } }, { scalar: { bits: 8 } }]
measure: { signal: { crop: 8 } }
";

#[test]
fn pictures_are_kept_of_the_first_seed_and_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("photos")).expect("a folder");
    (0..7).for_each(|seed| picture(&folder.path().join(format!("photos/p{seed}.png")), seed));
    write(folder.path(), "e.yaml", PICTURES);
    let (code, text) = run(folder.path(), &[]);
    assert_eq!(code, Some(0), "{text}");
    let root = folder.path().join("runs/t");
    let kept = || {
        let mut kept = walk(&root.join("pictures"));
        kept.sort_unstable();
        kept
    };
    let all = kept();
    assert_eq!(all.len(), 6, "two originals, and two of each method: {all:?}");
    assert!(
        root.join("pictures/original/photos/p3.png").is_file()
            && root.join("pictures/original/photos/p4.png").is_file()
    );
    for record in records(folder.path()) {
        let count = |metric: &str| record.values.iter().filter(|v| v.metric == metric).count();
        assert_eq!(count("bits_per_pixel"), 1);
        let first = record.trial.seed == 1;
        assert_eq!(root.join("pictures").join(&record.trial.id).is_dir(), first, "{}", record.trial.label);
        if record.trial.method == "lbg" {
            assert_eq!(count("psnr_db"), 4, "of all three base pictures, and of each");
        }
    }
    let page = |name: &str| std::fs::read_to_string(root.join("report").join(name)).expect("a page");
    assert_eq!(page("index.html").matches("data:image/png;base64,").count(), 6);
    assert_eq!(std::fs::read_dir(root.join("report/pictures")).expect("a folder").count(), 6);

    // Nothing runs again, unless a picture is gone.
    let before = written(folder.path());
    run(folder.path(), &[]);
    assert_eq!(written(folder.path()), before);
    let gone = records(folder.path()).into_iter().find(|r| r.trial.seed == 1).expect("a trial").trial.id;
    std::fs::remove_dir_all(root.join("pictures").join(&gone)).expect("removes");
    run(folder.path(), &[]);
    let after = written(folder.path());
    let again: Vec<&String> =
        after.iter().filter(|(name, time)| before.get(*name) != Some(*time)).map(|(n, _)| n).collect();
    assert_eq!(again, [&format!("{gone}.json")]);
    assert_eq!(kept(), all);

    // A run without pictures has a page all the same.
    std::fs::remove_dir_all(root.join("pictures")).expect("removes");
    let output = xtask(folder.path()).args(["report", "runs/t"]).output().expect("starts");
    assert!(output.status.success(), "{}", output_text(&output, folder.path()));
    assert!(!page("index.html").contains("data:image/png") && !root.join("report/pictures").exists());
}

/// Nothing of a run depends on the folder that it was started from, once it goes on: not the learned methods either, whose library
/// looks for settings there.
#[cfg(unix)]
#[test]
fn a_run_outlives_the_folder_it_was_started_from() {
    const LEARNED: &str = "name: t
seeds: [1]
threads: 1
datasets: [{ synthetic: mixture, dim: 4, n: 200, queries: 5 }]
methods: [fsq: { levels: [3, 3], training: { epochs: 1 } }]
measure: { distortion: {} }
";
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "e.yaml", LEARNED);
    let gone = folder.path().join("gone");
    std::fs::create_dir(&gone).expect("a folder to leave");
    let executable = xtask(folder.path()).get_program().to_owned();
    let script = r#"cd "$1" && rmdir "$1" && exec "$2" experiments "$3" --out "$4""#;
    let mut command = std::process::Command::new("sh");
    command.args(["-c", script, "sh"]).arg(&gone).arg(executable);
    let output = command.arg(folder.path().join("e.yaml")).arg(folder.path().join("out")).output().expect("starts");
    let text = output_text(&output, folder.path());
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("t: 1 trial succeeded, 0 failed") || text.contains("1 trials succeeded, 0 failed"), "{text}");
}
