//! What a report says of a known run: texts word for word, pages and pictures by what they must hold.

mod common;

use common::{all_formats, compare, record, render, results, run, text, trial};
use record::metric::{
    BITS_PER_PIXEL, CODEWORDS, KNN_ACCURACY_RETENTION, METRICS, NumberFormat, PSNR_DB, RECALL_K_AT_K,
    SEARCH_QUERIES_PER_SECOND,
};
use record::{DatasetFacts, Measured, Metric, PictureFacts, PictureFile, Run, SignalFacts, Status, Trial, TrialRecord};
use reports::compare::{Options, Tolerances, Verdict, compare_with};
use reports::render_with;

/// The tidy table as CSV.
fn tidy(run: &Run) -> String {
    let table = record::frame::results(run).and_then(|frame| record::frame::to_csv(&frame));
    String::from_utf8(table.expect("a table")).expect("text")
}

#[test]
fn markdown() {
    insta::assert_snapshot!("report.md", text(&run(), "report.md"));
}

#[test]
fn latex() {
    insta::assert_snapshot!("table.tex", text(&run(), "tables/vectors_16.tex"));
}

#[test]
fn more_accuracy_kept_than_there_was_is_shown_with_its_error() {
    let mut run = run();
    let kept = |record: &mut TrialRecord, value: f64| {
        let of = record.values.iter_mut().filter(|v| v.metric == KNN_ACCURACY_RETENTION.name);
        of.for_each(|v| v.value = value);
    };
    for record in run.records.iter_mut().filter(|r| r.trial.label == "PQ m=2") {
        kept(record, 1.0 + 0.01 * record.trial.seed as f64);
    }
    // Student's t with two degrees of freedom: 4.303 · 0.01 / √3.
    let tex = text(&run, "tables/vectors_16.tex");
    assert!(tex.contains("102.0\\% $\\pm$ 2.5\\%") && tex.contains("half of the 95\\% interval"), "{tex}");
    assert!(text(&run, "report.md").contains("102.0% ± 2.5%"));
    assert_eq!(tex.matches("\\pm$ ").count(), 1, "values below 100% have none");
}

#[test]
fn csv() {
    insta::assert_snapshot!("table.csv", text(&run(), "tables/vectors_16.csv"));
}

#[test]
fn what_was_left_out_and_found_is_said() {
    let mut run = run();
    run.info.skipped = vec!["pq m=5: it does not divide <12>".into()];
    run.info.experiment = serde_json::json!({ record::FOUND: ["a", "b", "c", "pq m=4: m=4 gives 32 bits"] });
    let markdown = text(&run, "report.md");
    assert!(markdown.contains("**Left out:** pq m=5: it does not divide"), "{markdown}");
    assert!(markdown.contains("**Found:** pq m=4: m=4 gives 32 bits"), "{markdown}");
    let page = text(&run, "index.html");
    assert!(page.contains("<strong>Left out: </strong>pq m=5: it does not divide &lt;12&gt;"));
    assert!(page.contains("<summary>Found: 4</summary>") && page.contains("<li>pq m=4: m=4 gives 32 bits</li>"));
}

#[test]
fn the_page_needs_nothing_else() {
    let page = text(&run(), "index.html");
    for outside in ["<link", "src=\"", "@import", "url(http", "<script src", "fetch(", "XMLHttpRequest"] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(page.contains("content=\"default-src 'none'; script-src 'unsafe-inline';"), "browsers are told so too");
    // Names of namespaces, and where a library is from, in its notice.
    let addresses: Vec<&str> = page.match_indices("://").map(|(i, _)| &page[i..(i + 40).min(page.len())]).collect();
    let known =
        |address: &&str| ["://www.w3.org/", "://github.com/timmywil/panzoom"].iter().any(|a| address.starts_with(a));
    assert!(addresses.iter().all(known), "{addresses:?}");
    for expected in [
        "What to look for.",
        "LBG &amp; co",
        "and &lt;more&gt;",
        "A Processor",
        "0123456789ab with uncommitted changes",
        "1 not run",
        "<svg",
    ] {
        assert!(page.contains(expected), "{expected}");
    }
    assert_eq!(page.matches("<svg").count(), 9, "all nine figures");
    // Each row of the leaderboard says where its numbers come from.
    let run = run();
    let of =
        |label: &str| run.info.trials.iter().filter(|t| t.label == label).map(|t| t.id.as_str()).collect::<Vec<_>>();
    let trials = of("PQ m=2").join(", ");
    let origin =
        format!("; run {}, trials {trials}, revision 0123456789abcdef with uncommitted changes\"", run.info.name);
    assert!(!trials.is_empty() && page.contains(&origin), "{origin}");
}

#[test]
fn figures_are_pictures_of_column_width_with_their_words() {
    let artifacts = render(&[run()], &all_formats()).expect("renders");
    let kinds = ["rate-distortion", "recall-rate", "recall-speed", "utilization", "throughput"];
    // One column of a paper and two, with their widths in points and in pixels.
    let columns = [("", 241.2, 1005), ("-wide", 496.8, 2070)];
    for (kind, (suffix, points, pixels)) in kinds.iter().flat_map(|kind| columns.map(|column| (kind, column))) {
        let find = |extension: &str| {
            let path = format!("figures/vectors_16-{kind}{suffix}.{extension}");
            artifacts.iter().find(|a| a.path == path).unwrap_or_else(|| panic!("{path}")).bytes.clone()
        };
        let svg = String::from_utf8(find("svg")).expect("text");
        assert!(svg.contains("PQ") && !svg.contains("vectors_16"), "{kind}: the caption names the dataset");
        assert!(svg.contains("#087DC0"), "{kind}: the colour of PQ");
        let png = find("png");
        assert!(png.starts_with(b"\x89PNG") && png.len() > 5_000, "{kind}");
        // 300 dots per inch in both directions, per metre.
        let resolution = [b"pHYs".as_slice(), &11_811u32.to_be_bytes(), &11_811u32.to_be_bytes(), &[1]].concat();
        assert!(png.windows(resolution.len()).any(|bytes| bytes == resolution), "{kind} states its resolution");
        let width = u32::from_be_bytes([png[16], png[17], png[18], png[19]]);
        assert_eq!(width, pixels, "{kind}{suffix}");
        assert!(svg.contains(&format!("width=\"{points}pt\"")), "{kind}{suffix}");
        // The view box has ten units where the figure has one, which is 0.6 points.
        for size in svg.split("font-size=\"").skip(1).filter_map(|rest| rest.split('"').next()?.parse::<f64>().ok()) {
            assert!(0.06 * size >= 7.0, "{kind}{suffix}: text of {:.1} points", 0.06 * size);
        }
        let pdf = find("pdf");
        let holds = |text: &str| pdf.windows(text.len()).any(|bytes| bytes == text.as_bytes());
        assert!(pdf.starts_with(b"%PDF-") && holds(&format!("/MediaBox [0 0 {points}")), "{kind}{suffix}");
        assert!(
            holds("+Inter-Regular") && holds("/FontFile3") && holds("/ToUnicode"),
            "{kind}{suffix}: embedded fonts"
        );
    }
    // Each point says what it is and where it comes from.
    let svg = text(&run(), "figures/vectors_16-rate-distortion.svg");
    let expected = "<title>PQ: normalized MSE 0.40000 (95% interval 0.39006 to 0.40994, n = 3); rate, bits per vector 16\nrun golden, trials ";
    assert!(svg.contains(expected), "{:?}", svg.lines().filter(|line| line.contains("<title>")).collect::<Vec<_>>());
    let bound = String::from_utf8(
        artifacts.iter().find(|a| a.path.ends_with("rate-distortion.svg")).expect("drawn").bytes.clone(),
    );
    assert!(bound.expect("text").contains("Gaussian bound"));
}

#[test]
fn time_is_drawn_against_what_varies() {
    // Three sizes of one set, five sizes of codebooks, two numbers of threads.
    let mut run = run();
    run.records.clear();
    let facts = run.info.datasets[0].clone();
    run.info.datasets.clear();
    for n in [1000, 10_000, 100_000] {
        let name = format!("vectors-{n}");
        run.info.datasets.push(DatasetFacts {
            train: n,
            base: n,
            name: name.clone(),
            fingerprint: name.clone(),
            ..facts.clone()
        });
        for (bits, threads) in [(4, 2), (6, 2), (8, 1), (8, 2), (10, 2), (12, 2)] {
            let label = format!("LBG {bits}, {threads} thread{}", if threads == 1 { "" } else { "s" });
            let mut record = record(Trial { dataset: name.clone(), n, threads, ..trial(&label, "LBG", bits, 1) }, 0.5);
            record.values.push(Measured::new(&CODEWORDS, f64::from(1 << bits)));
            run.records.push(record);
        }
    }
    run.info.trials = run.records.iter().map(|r| r.trial.clone()).collect();
    let artifacts = render(&[run.clone()], &all_formats()).expect("renders");
    let names: Vec<&str> =
        artifacts.iter().filter_map(|a| a.path.strip_prefix("figures/time-")?.strip_suffix("-wide.svg")).collect();
    let over = |what: &str, works: &[&str]| works.iter().map(|work| format!("{work}-{what}")).collect::<Vec<_>>();
    let all = ["training", "encoding", "search"];
    assert_eq!(names, [over("vectors", &all), over("codewords", &all[..2]), over("threads", &all)].concat());
    let text = |path: &str| {
        let found = artifacts.iter().find(|a| a.path == path).unwrap_or_else(|| panic!("{path}"));
        String::from_utf8(found.bytes.clone()).expect("text")
    };
    let threads = text("figures/time-training-threads.svg");
    assert!(threads.contains("LBG 8, vectors-1000") && !threads.contains("LBG 4"), "one number is no curve");
    assert!(text("figures/time-encoding-vectors.svg").contains("in proportion"));
    assert!(text("index.html").contains("Time of training against training vectors"));
    assert!(text("report.md").contains("](figures/time-search-threads.svg)"));
}

#[test]
fn rendering_is_reproducible_and_survives_empty_runs() {
    assert_eq!(render(&[run()], &all_formats()).expect("renders"), render(&[run()], &all_formats()).expect("renders"));
    let mut empty = run();
    empty.records.clear();
    let artifacts = render(&[empty.clone()], &all_formats()).expect("renders");
    assert!(artifacts.iter().any(|a| a.path == "index.html"));
    assert_eq!(tidy(&empty).lines().count(), 1, "the head alone");
}

#[test]
fn comparisons_find_what_is_worse() {
    let base = run();
    let quality_only = Options { speed: false, ..Options::default() };
    let same = compare(&base, &base, &Options::default());
    assert_eq!(
        (same.verdict(), same.regressions().count(), same.improvements().count()),
        (Verdict::NoRegression, 0, 0),
        "{same:?}"
    );

    let mut worse = run();
    let change = |run: &mut Run, metric: &str, factor: f64| {
        run.records[0].values.iter_mut().filter(|v| v.metric == metric).for_each(|v| v.value *= factor);
    };
    change(&mut worse, "nmse", 1.01);
    let found = compare(&base, &worse, &Options::default());
    assert_eq!(found.verdict(), Verdict::Regression);
    assert_eq!(found.regressions().next().map(|check| check.metric.as_str()), Some("nmse"));
    assert_eq!(compare(&worse, &base, &Options::default()).verdict(), Verdict::NoRegression, "better is fine");
    let lenient = Tolerances { quality: [("nmse".to_owned(), 0.02)].into(), ..Tolerances::default() };
    let leniently = Options { tolerances: lenient.clone(), ..Options::default() };
    assert_eq!(compare(&base, &worse, &leniently).verdict(), Verdict::NoRegression);

    let mut slow = run();
    for record in &mut slow.records {
        record.values.iter_mut().filter(|v| v.metric == "encode_vectors_per_second").for_each(|v| v.value *= 0.8);
    }
    assert_eq!(compare(&base, &slow, &Options::default()).verdict(), Verdict::Regression);
    assert_eq!(compare(&base, &slow, &quality_only).verdict(), Verdict::NoRegression, "quality only");
    slow.records.iter_mut().for_each(|r| r.machine.cpu = "Another".into());
    assert_eq!(compare(&base, &slow, &Options::default()).verdict(), Verdict::CannotTell, "another machine");

    let mut failed = run();
    failed.records[3].status = Status::Failed;
    assert_eq!(compare(&base, &failed, &Options::default()).verdict(), Verdict::Regression);
    let mut fewer = run();
    fewer.records.remove(0);
    assert_eq!(compare(&base, &fewer, &Options::default()).verdict(), Verdict::CannotTell);
    // One seed cannot tell noise from change: its speed is left out, its quality compared.
    let mut one = run();
    one.records.retain(|r| r.trial.seed == 1);
    let alone = compare(&one, &one, &Options::default());
    assert!(alone.verdict() == Verdict::NoRegression && !alone.notes.is_empty(), "{alone:?}");

    for (table, name, value) in
        [("quality", "nmes", 0.1), ("speed", "nmse", 0.1), ("quality", "nmse", -1.0), ("quality", "nmse", f64::NAN)]
    {
        let given = [(name.to_owned(), value)].into();
        let wrong = if table == "speed" {
            Tolerances { speed: given, ..Tolerances::default() }
        } else {
            Tolerances { quality: given, ..Tolerances::default() }
        };
        assert!(wrong.check().is_err(), "{table} {name} = {value}");
    }
    assert!(lenient.check().is_ok());
    let found = compare(&base, &worse, &Options::default());
    insta::assert_snapshot!("compare.md", found.to_markdown());
    let json: serde_json::Value = serde_json::from_str(&found.to_json().expect("JSON")).expect("JSON");
    assert_eq!(json["verdict"], "regression");
    let checks = json["checks"].as_array().expect("a list");
    assert_eq!(checks.iter().filter(|check| check["base"].is_number()).count(), found.compared());
    insta::assert_snapshot!(
        "compare.json",
        format!("{:#}", checks.iter().find(|c| c["change"] == "worse").expect("one"))
    );
}

/// The suites and cases of a JUnit file, as a CI service reads them.
#[test]
fn junit_counts_what_it_lists_and_escapes_every_text() {
    let base = run();
    let mut worse = run();
    worse.records[0].values.iter_mut().filter(|v| v.metric == "nmse").for_each(|v| v.value *= 1.01);
    worse.records.remove(5);
    // Labels with everything that XML treats specially, in both runs.
    let mut named = base.clone();
    for run in [&mut named, &mut worse] {
        run.records.iter_mut().take(2).for_each(|record| record.trial.label.push_str(" <&\"'\u{1}>"));
    }
    let found = compare(&named, &worse, &Options::default());
    let xml = found.to_junit();
    let document = resvg::usvg::roxmltree::Document::parse(&xml).expect("well-formed XML");
    let nodes = |name: &str| document.descendants().filter(|node| node.has_tag_name(name)).count();
    assert_eq!(nodes("testcase"), found.checks.len() + found.unknown.len() + found.notes.len());
    assert_eq!((nodes("failure"), nodes("error")), (found.regressions().count(), found.unknown.len()));
    let root = document.root_element();
    let sum = |attribute: &str| -> usize {
        let suites = document.descendants().filter(|node| node.has_tag_name("testsuite"));
        suites.filter_map(|suite| suite.attribute(attribute)?.parse::<usize>().ok()).sum()
    };
    for (attribute, count) in [
        ("tests", nodes("testcase")),
        ("failures", nodes("failure")),
        ("errors", nodes("error")),
        ("skipped", nodes("skipped")),
    ] {
        assert_eq!(root.attribute(attribute), Some(count.to_string().as_str()), "{attribute}");
        assert_eq!(sum(attribute), count, "{attribute} of the suites");
    }
    assert!(xml.contains("&lt;&amp;") && nodes("failure") > 0 && nodes("error") > 0, "{xml}");
}

#[test]
fn services_that_track_values_get_every_gated_one_with_its_direction() {
    let bencher: serde_json::Value = serde_json::from_str(&text(&run(), "bencher.json")).expect("JSON");
    let of = |subject: &str, measure: &str| bencher[subject][measure].clone();
    let nmse = of("vectors_16 · PQ m=2", "nmse");
    assert!(
        nmse["lower_value"].as_f64() <= nmse["value"].as_f64()
            && nmse["value"].as_f64() <= nmse["upper_value"].as_f64()
    );
    assert!(of("vectors_16 · PQ m=2", "recall-k-at-k-k10-adc")["value"].is_number(), "{bencher:#}");
    let entries = |path: &str| -> Vec<serde_json::Value> { serde_json::from_str(&text(&run(), path)).expect("JSON") };
    let (smaller, bigger) =
        (entries("benchmark-action/smaller-is-better.json"), entries("benchmark-action/bigger-is-better.json"));
    let names = |entries: &[serde_json::Value], metric: &str| {
        entries.iter().filter(|e| e["name"].as_str().is_some_and(|name| name.contains(metric))).count()
    };
    assert!(names(&smaller, "nmse") > 0 && names(&bigger, "nmse") == 0);
    assert!(names(&smaller, "recall") == 0 && names(&bigger, "recall_k_at_k k10") > 0);
    let values: usize =
        bencher.as_object().expect("an object").values().map(|b| b.as_object().map_or(0, |m| m.len())).sum();
    assert_eq!(values, smaller.len() + bigger.len());
    insta::assert_snapshot!("benchmark-action.json", format!("{:#}", bigger[0]));
}

#[test]
fn every_re_ranked_search_is_shown_with_its_recall_and_its_speed() {
    let mut run = run();
    for record in run.records.iter_mut().filter(|r| r.status == Status::Ok) {
        record.values.push(Measured::new(&RECALL_K_AT_K, 0.77).k(10).path("rerank2"));
        for (path, speed) in [("rerank2", 321.0), ("rerank4", 123.0)] {
            record.values.push(Measured::new(&SEARCH_QUERIES_PER_SECOND, speed).k(10).path(path).repeat(0));
        }
    }
    let page = text(&run, "report.md");
    let rows: Vec<&str> =
        page.lines().filter(|line| line.starts_with("| PQ m=2 |") || line.starts_with("| method |")).collect();
    let cells: Vec<Vec<&str>> = rows.iter().map(|row| row.split('|').map(str::trim).collect()).collect();
    let find = |title: &str| -> Vec<&str> {
        let at = cells[0].iter().enumerate().filter(|(_, cell)| **cell == title);
        at.map(|(i, _)| cells[1][i]).collect()
    };
    assert_eq!(find("10-recall@10"), ["60.0%"]);
    assert_eq!((find("… re-ranked ×2"), find("… re-ranked ×4")), (vec!["77.0%", "321"], vec!["80.0%", "123"]));
    assert!(matches!(find("queries/s")[..], ["627" | "628"]), "of the method's own search alone");
    let csv = text(&run, "tables/vectors_16.csv");
    assert!(csv.contains("recall_10_at_10_rerank2") && csv.contains("search_queries_per_second_rerank4"));
    assert!(text(&run, "tables/vectors_16.tex").matches("re-ranked").count() == 1, "a paper has no room for all");
    assert!(text(&run, "figures/vectors_16-recall-speed.svg").contains("4× candidates re-ranked"));

    // A slower re-ranked search is a regression of its own.
    let mut slow = run.clone();
    for record in &mut slow.records {
        let reranked =
            record.values.iter_mut().filter(|v| v.metric.starts_with("search") && v.path.as_deref() == Some("rerank2"));
        reranked.for_each(|v| v.value *= 0.5);
    }
    let found = compare(&run, &slow, &Options::default());
    let metrics: Vec<&str> = found.regressions().map(|f| f.metric.as_str()).collect();
    assert_eq!(metrics, ["search_queries_per_second, re-ranked ×2"; 4]);
}

/// What names and texts of a record say is shown and does nothing: no HTML, no heading, no formula, no LaTeX command.
#[test]
fn words_of_a_record_stay_words() {
    let hostile = "=<img src=x> \"[l](http://x)\" \\input{/etc/passwd} | é 漢\n# h";
    let mut run = run();
    run.info.name = hostile.into();
    run.info.analysis = format!("# A heading?\n\n{hostile}");
    run.info.datasets[0].name = hostile.into();
    for record in &mut run.records {
        let revision = "äöüäöüäöüäöüäöüäöü";
        record.machine.git_revision = Some(revision.into());
        record.machine.cpu = hostile.into();
        record.trial.dataset = hostile.into();
        record.trial.label = format!("{hostile} {}", record.trial.label);
    }
    run.info.trials = run.records.iter().map(|r| r.trial.clone()).collect();
    let artifacts = render(std::slice::from_ref(&run), &all_formats()).expect("renders");
    let find = |end: &str| {
        let found = artifacts.iter().find(|a| a.path.ends_with(end)).unwrap_or_else(|| panic!("{end}"));
        String::from_utf8(found.bytes.clone()).expect("text")
    };
    let page = find("report.md");
    let plain = |mark: &str| page.match_indices(mark).filter(|(at, _)| !page[..*at].ends_with('\\')).count();
    assert_eq!((plain("<img"), plain("[l]("), plain("\\input")), (0, 0, 0), "{page}");
    assert!(
        !page.contains("\n# A heading") && !page.contains("\n# h") && page.contains("\n\\# A heading?\n"),
        "{page}"
    );
    assert!(!find("index.html").contains("<img src=x>"));
    let tex = find(".tex");
    assert!(!tex.contains("\\input{/") && !tex.contains("textquotedbl") && tex.contains("[U+6F22]"), "{tex}");
    let rows: Vec<&str> = tex.lines().filter(|line| line.starts_with("\\raggedright")).collect();
    assert_eq!(rows.len(), 4);
    assert!(rows.iter().all(|row| row.replace("\\&", "").matches('&').count() == 6), "{tex}");
    for csv in [find(".csv"), tidy(&run)] {
        assert!(csv.contains("'=<img") && !csv.contains(",=") && !csv.contains("\"=") && !csv.contains("\n="), "{csv}");
    }
}

/// The run with every trial a second time, in another place: on a device or with a number of threads.
fn in_two_places(change: impl Fn(&mut Trial)) -> Run {
    let mut run = run();
    let mut again = run.records.clone();
    again.iter_mut().for_each(|record| change(&mut record.trial));
    run.records.extend(again);
    run.info.trials = run.records.iter().map(|r| r.trial.clone()).collect();
    run
}

#[test]
fn trials_that_differ_in_threads_or_device_alone_are_all_compared() {
    let two: [fn(&mut Trial); 2] = [|trial| trial.threads = 8, |trial| trial.device = "cuda".into()];
    for change in two {
        let base = in_two_places(change);
        let same = compare(&base, &base, &Options::default());
        assert_eq!(
            (same.verdict(), same.compared()),
            (Verdict::NoRegression, 2 * compare(&run(), &run(), &Options::default()).compared())
        );
        // One of each pair alone is worse, in quality and in speed; whichever it is.
        for which in [0, base.records.len() / 2] {
            for metric in ["nmse", "encode_vectors_per_second"] {
                let mut worse = base.clone();
                let label = base.records[which].trial.label.clone();
                for record in worse.records[which..].iter_mut().take(13).filter(|r| r.trial.label == label) {
                    let values = record.values.iter_mut().filter(|v| v.metric == metric);
                    values.for_each(|v| v.value *= if metric == "nmse" { 1.01 } else { 0.8 });
                }
                let found = compare(&base, &worse, &Options::default());
                assert_eq!(found.verdict(), Verdict::Regression, "{which} {metric}");
                let place = &base.records[which].trial;
                let named = format!("{label} · {}, {} threads", place.device, place.threads);
                assert!(found.regressions().all(|f| f.subject.contains(&named)), "{:?}", found.checks);
            }
        }
    }
}

#[test]
fn quality_is_compared_across_numbers_of_threads_and_speed_is_not() {
    let mut other = run();
    other.records.iter_mut().for_each(|record| record.trial.threads = 64);
    let found = compare(&run(), &other, &Options { speed: false, ..Options::default() });
    assert_eq!((found.verdict(), found.compared() > 0), (Verdict::NoRegression, true), "{found:?}");
    assert_eq!(compare(&run(), &other, &Options::default()).verdict(), Verdict::CannotTell);
}

#[test]
fn other_parameters_under_the_same_label_are_named_and_compared_on_request() {
    let base = run();
    let mut other = run();
    for record in other.records.iter_mut().filter(|r| r.trial.label == "PQ m=2") {
        record.trial.params = serde_json::json!({ "bits": 12, "init": "rows" });
    }
    let found = compare(&base, &other, &Options::default());
    assert_eq!(found.verdict(), Verdict::CannotTell);
    let expected = "vectors_16 · PQ m=2 · seed 1 has other parameters in the new run: bits was 16, is 12; init was nothing, is \
                    \"rows\"; `--by-label` compares them all the same";
    assert!(found.unknown.contains(&expected.to_owned()), "{:?}", found.unknown);
    let by_label = Options { by_label: true, ..Options::default() };
    assert_eq!(compare(&base, &other, &by_label).verdict(), Verdict::NoRegression);
    other.records.iter_mut().flat_map(|r| &mut r.values).filter(|v| v.metric == "nmse").for_each(|v| v.value *= 2.0);
    assert_eq!(compare(&base, &other, &by_label).verdict(), Verdict::Regression);
}

/// The gate says how blind it was: a loss of the size that it states trips it, a slightly smaller one does not.
#[test]
fn the_smallest_visible_loss_is_the_one_at_which_the_gate_trips() {
    let mut base = run();
    // Processes apart by some percent.
    for record in &mut base.records {
        let pace = [1.0, 0.97, 1.02, 1.04][record.trial.seed as usize % 4];
        record.values.iter_mut().filter(|v| v.repeat.is_some()).for_each(|v| v.value *= pace);
    }
    let found = compare(&base, &base, &Options::default());
    assert!(found.to_markdown().contains("The smallest loss of speed that could have been seen, over 12 timings"));
    for (metric, larger_is_better) in [("encode_vectors_per_second", true), ("train_seconds", false)] {
        let visible = found.checks.iter().find(|v| v.metric == metric && v.subject.contains("PQ m=2")).expect("timed");
        let smallest = visible.smallest.expect("a timing");
        assert!(smallest > 0.08, "three processes apart by 3% see no loss of 8%: {visible:?}");
        for (share, expected) in [(1.001, Verdict::Regression), (0.999, Verdict::NoRegression)] {
            let loss = share * smallest;
            let factor = if larger_is_better { 1.0 - loss } else { 1.0 + loss };
            let mut slow = base.clone();
            for record in slow.records.iter_mut().filter(|r| r.trial.label == "PQ m=2") {
                record.values.iter_mut().filter(|v| v.metric == metric).for_each(|v| v.value *= factor);
            }
            assert_eq!(compare(&base, &slow, &Options::default()).verdict(), expected, "{metric} {loss}");
        }
    }
}

/// The run as one on two pictures: PQ at two rates and the originals are there, one reconstruction is exact.
fn pictured() -> Run {
    let mut run = run();
    let picture = |name: &str, first_row| PictureFacts { name: name.into(), width: 40, height: 40, first_row };
    let pictures = vec![picture("cliff", 0), picture("sea & <sky>", 100)];
    run.info.datasets[0].signal = Some(SignalFacts::Images { patch: 4, channels: 1, pictures });
    for record in run.records.iter_mut().filter(|r| r.status == Status::Ok) {
        let bits = record.trial.bits_per_vector as f64;
        record.values.push(Measured::new(&BITS_PER_PIXEL, bits / 16.0));
        record.values.push(Measured::new(&PSNR_DB, bits));
        record.values.push(Measured::new(&PSNR_DB, bits + record.trial.seed as f64).stage("cliff"));
    }
    // A header of 40×30 pixels, and something that tells one picture from another.
    let png = |what: &str| [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x28\0\0\0\x1e", what.as_bytes()].concat();
    let file = |trial: Option<&str>, name: &str| PictureFile {
        dataset: "vectors_16".into(),
        trial: trial.map(str::to_owned),
        name: name.into(),
        png: png(&format!("{trial:?} {name}")),
    };
    for trial in [None, Some("PQm=4-1"), Some("PQm=2-1"), Some("PQm=4-2"), Some("Scalar4bit-1")] {
        run.pictures.extend([file(trial, "cliff"), file(trial, "sea & <sky>")]);
    }
    run
}

#[test]
fn pictures_stand_beside_their_original_by_rising_rate() {
    let artifacts = render(&[pictured()], &all_formats()).expect("renders");
    let text = |path: &str| {
        let found = artifacts.iter().find(|a| a.path == path).unwrap_or_else(|| panic!("{path}"));
        String::from_utf8(found.bytes.clone()).expect("text")
    };
    let (page, markdown) = (text("index.html"), text("report.md"));
    assert_eq!(page.matches("data:image/png;base64,").count(), 8, "two rows of the original and three methods");
    let places: Vec<Option<usize>> = [
        "alt=\"cliff: original\"",
        "alt=\"cliff: PQ m=2, 1.00 bits/pixel, 17.00 dB\"",
        "alt=\"cliff: PQ m=4, 2.00 bits/pixel, 33.00 dB\"",
        "alt=\"cliff: Scalar 4 bit, 4.00 bits/pixel, 65.00 dB\"",
        "alt=\"sea &amp; &lt;sky&gt;: original\"",
        "alt=\"sea &amp; &lt;sky&gt;: PQ m=2, 1.00 bits/pixel, exact\"",
    ]
    .map(|alt| page.find(alt))
    .to_vec();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?}");
    assert!(page.contains("<img width=\"40\" height=\"30\""));
    assert!(
        markdown.contains("| PQ m=2 | 1.00 | 17.00 dB | ![cliff: PQ m=2, 1.00 bits/pixel, 17.00 dB](pictures/"),
        "{markdown}"
    );
    let links: Vec<&str> = markdown.split("](pictures/").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    assert_eq!(links.len(), 8);
    for link in links {
        assert!(artifacts.iter().any(|a| a.path == format!("pictures/{link}")), "{link}");
    }
    assert!(page.contains("PSNR dB") && page.contains("bits/pixel</button>"), "columns of the leaderboard");
    // Two runs with the same pictures share the rows; a run without pictures has none.
    let mut other = pictured();
    other.info.name = "other".into();
    let page = |runs: &[Run]| {
        let artifacts = render(runs, &["html".to_owned()]).expect("renders");
        String::from_utf8(artifacts[0].bytes.clone()).expect("text")
    };
    assert_eq!(page(&[pictured(), other.clone()]).matches("data:image/png;base64,").count(), 14);
    other.pictures.clear();
    assert!(!page(&[other]).contains("class=\"pictures\""));
}

/// A metric that the dictionary of this program does not have, with a column and a place in the gate.
static RIPPLE: Metric = Metric::new("ripple", "1", "largest error over the mean error")
    .lower()
    .within(0.0, 10.0)
    .shown(NumberFormat::Decimals(1))
    .essential_column("ripple")
    .gated(0.01);

#[test]
fn a_metric_needs_its_entry_and_its_measurement_and_nothing_else() {
    let dictionary: Vec<&'static Metric> = METRICS.iter().copied().chain([&RIPPLE]).collect();
    let mut run = run();
    for record in run.records.iter_mut().filter(|r| r.status == Status::Ok) {
        record.values.push(Measured::new(&RIPPLE, 2.0 + 0.1 * record.trial.seed as f64));
    }
    let artifacts = render_with(&[results(&run)], &all_formats(), &dictionary).expect("renders");
    let find = |path: &str| {
        let found = artifacts.iter().find(|a| a.path == path).unwrap_or_else(|| panic!("{path}"));
        String::from_utf8(found.bytes.clone()).expect("text")
    };
    let page = find("index.html");
    assert!(page.contains("title=\"largest error over the mean error\"><button type=\"button\">ripple</button>"));
    assert!(find("report.md").contains(" | ripple |"));
    assert!(find("tables/vectors_16.tex").contains("ripple"));
    assert!(
        find("tables/vectors_16.csv")
            .lines()
            .next()
            .is_some_and(|head| head.ends_with("ripple,ripple_low,ripple_high"))
    );
    // Three seeds leave a wide interval, which ends where the range does.
    let mut wide = run.clone();
    for record in &mut wide.records {
        record
            .values
            .iter_mut()
            .filter(|v| v.metric == "ripple")
            .for_each(|v| v.value = 5.0 * record.trial.seed as f64 % 11.0);
    }
    let artifacts = render_with(&[results(&wide)], &all_formats(), &dictionary).expect("renders");
    let csv =
        artifacts.iter().find(|a| a.path.ends_with(".csv")).map(|a| String::from_utf8_lossy(&a.bytes).into_owned());
    assert!(csv.is_some_and(|csv| csv.lines().any(|line| line.ends_with(",0,10"))), "cut to the range");
    let mut worse = run.clone();
    for record in &mut worse.records {
        record.values.iter_mut().filter(|v| v.metric == "ripple").for_each(|v| v.value *= 1.02);
    }
    let found = compare_with(&results(&run), &results(&worse), &Options::default(), &dictionary).expect("frames");
    assert_eq!(found.verdict(), Verdict::Regression);
    assert!(found.regressions().all(|f| f.metric == "ripple"), "{:?}", found.checks);
    assert_eq!(compare(&run, &worse, &Options::default()).verdict(), Verdict::NoRegression, "without the entry");
    let table = tidy(&run);
    assert!(table.contains(",ripple,"), "the tidy table has whatever was measured");
}
