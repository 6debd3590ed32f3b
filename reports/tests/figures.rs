//! Figures about training, codebooks, signals and costs: when there are any, and that crowded ones stay readable.

mod common;

use common::{record, render, run, trial};
use record::metric::{BITS_PER_PIXEL, CODEWORDS, GAP_TO_BOUND_DB, PSNR_DB, TRAINING_MSE};
use record::{Measured, Run, Trial, TrialRecord};

const EPOCHS: usize = 30;
const SERIES: [&str; 8] = [
    "VQ",
    "VQ reset",
    "VQ cosine",
    "VQ uniform start",
    "FSQ",
    "LFQ",
    "Gumbel",
    "Codes with quite a long name, annealed",
];

/// A method that learns one codebook; the first half of the series collapses.
fn learned(series: &str, codewords: usize, seed: u64) -> TrialRecord {
    let rank = SERIES.iter().position(|s| *s == series).unwrap_or(0);
    let bits = (codewords as f64).log2().ceil() as usize;
    let noise = 1.0 + 0.04 * (seed as f64 - 2.0) * (1.0 + (rank as f64).sin());
    let reached = if rank < 4 { (0.2 + 0.1 * rank as f64) * (64.0 / codewords as f64).sqrt() } else { 0.9 };
    let trial = trial(&format!("{series} {codewords}"), series, bits, seed);
    let mut record = record(trial, (0.9 - 0.05 * bits as f64) * (1.0 - 0.02 * rank as f64));
    let once = |metric: &str, value: f64| Measured::named(metric, value).expect("in the dictionary");
    record.values.retain(|v| v.metric != "usage");
    record.values.extend([
        once("codewords", codewords as f64),
        once("usage", (reached * noise).min(1.0)),
        once("perplexity", (0.7 * codewords as f64 * reached * noise).max(1.0)),
        once("model_bytes", (codewords * (rank + 1) * 64) as f64),
    ]);
    record.values.iter_mut().filter(|v| v.metric == "train_seconds").for_each(|v| v.value = (1 + rank) as f64);
    // Some stop early.
    for epoch in 0..EPOCHS - 2 * rank {
        let left = (-(epoch as f64) / (3.0 + rank as f64)).exp();
        let usage = (reached + (1.0 - reached) * left) * noise;
        let per_epoch = [
            ("training_mse", 16.0 * (0.3 + 0.4 * left) * noise),
            ("training_usage", usage.min(1.0)),
            ("training_perplexity", (0.7 * codewords as f64 * usage).max(1.0)),
            ("training_commitment_loss", left * noise + 0.01),
            ("training_reconstruction_loss", 3.0 * left * noise + 1.0),
            ("training_temperature", left - 0.5),
        ];
        record.values.extend(per_epoch.map(|(metric, value)| once(metric, value).repeat(epoch)));
    }
    record
}

fn run_of(records: Vec<TrialRecord>) -> Run {
    let mut run = run();
    run.info.trials = records.iter().map(|r| r.trial.clone()).collect();
    run.records = records;
    run
}

fn collapse() -> Run {
    let mut records = Vec::new();
    for series in SERIES {
        let sizes = if series == "FSQ" { [64, 240, 1000, 4375] } else { [64, 256, 1024, 4096] };
        for codewords in sizes {
            records.extend((1..=3).map(|seed| learned(series, codewords, seed)));
        }
    }
    run_of(records)
}

/// Names and texts of the figures of a run, without the name of the dataset.
fn figures(run: &Run) -> Vec<(String, String)> {
    let artifacts = render(std::slice::from_ref(run), &["svg".to_owned()]).expect("renders");
    let named = artifacts.into_iter().filter_map(|a| {
        let name = a.path.strip_prefix("figures/vectors_16-")?.strip_suffix(".svg")?.to_owned();
        Some((name, String::from_utf8(a.bytes).expect("text")))
    });
    named.collect()
}

/// Names of the figures of a run; each of them has a second width.
fn names(run: &Run) -> Vec<String> {
    let all: Vec<String> = figures(run).into_iter().map(|(name, _)| name).collect();
    let (wide, narrow): (Vec<String>, Vec<String>) = all.into_iter().partition(|name| name.ends_with("-wide"));
    assert_eq!(wide, narrow.iter().map(|name| format!("{name}-wide")).collect::<Vec<_>>());
    narrow
}

fn figure(run: &Run, name: &str) -> String {
    let found = figures(run).into_iter().find(|(n, _)| n == name);
    found.unwrap_or_else(|| panic!("{name}")).1
}

/// A value of an attribute.
fn attribute<'a>(element: &'a str, name: &str) -> Option<&'a str> {
    let start = element.find(&format!(" {name}=\""))? + name.len() + 3;
    element[start..].split('"').next()
}

fn number(element: &str, name: &str) -> f64 {
    attribute(element, name).and_then(|v| v.parse().ok()).unwrap_or_else(|| panic!("{name} of {element}"))
}

/// Upright texts with their boxes: left, top, right, bottom. A text is taken to be at most 0.56 as wide as high for each letter.
fn texts(svg: &str) -> Vec<(String, [f64; 4])> {
    let elements = svg.split("<text").skip(1).filter(|e| !e.contains("rotate("));
    let boxed = elements.map(|element| {
        let content = element.split('>').nth(1).unwrap_or("").split('<').next().unwrap_or("").trim().to_owned();
        let (x, y, size) = (number(element, "x"), number(element, "y"), number(element, "font-size"));
        let width = 0.56 * size * content.chars().count() as f64;
        let left = match attribute(element, "text-anchor") {
            Some("middle") => x - width / 2.0,
            Some("end") => x - width,
            _ => x,
        };
        let top = match attribute(element, "dy") {
            Some("0.76em") => y,
            Some("0.5ex") => y - 0.4 * size,
            _ => y - 0.76 * size,
        };
        (content, [left, top, left + width, top + 0.8 * size])
    });
    boxed.collect()
}

/// Width and height of a figure.
fn view(svg: &str) -> (f64, f64) {
    let sides: Vec<f64> = attribute(svg, "viewBox").unwrap_or("").split(' ').filter_map(|v| v.parse().ok()).collect();
    (sides[2], sides[3])
}

/// Every line and marker lies inside the picture.
fn assert_inside(name: &str, svg: &str) {
    let (width, height) = view(svg);
    for element in svg.split('<').filter(|e| e.starts_with("poly")) {
        for point in attribute(element, "points").unwrap_or("").split_whitespace() {
            let (x, y) = point.split_once(',').expect("a pair");
            let (x, y): (f64, f64) = (x.parse().expect("a number"), y.parse().expect("a number"));
            assert!((0.0..=width).contains(&x) && (0.0..=height).contains(&y), "{name}: {point}");
        }
    }
}

/// Everything lies inside the picture, and no text on another.
fn assert_readable(name: &str, svg: &str) {
    assert_inside(name, svg);
    let (width, height) = view(svg);
    let texts = texts(svg);
    for (i, (text, [left, top, right, bottom])) in texts.iter().enumerate() {
        let inside = *left >= 0.0 && *right <= width && *top >= 0.0 && *bottom <= height;
        assert!(inside, "{name}: {text}");
        for (other, [l, t, r, b]) in &texts[i + 1..] {
            assert!(right <= l || r <= left || bottom <= t || b <= top, "{name}: {text:?} on {other:?}");
        }
    }
}

/// How many texts of a figure say this.
fn count(svg: &str, text: &str) -> usize {
    texts(svg).iter().filter(|(content, _)| content == text).count()
}

#[test]
fn a_crowded_collapse_stays_readable() {
    let run = collapse();
    let figures = figures(&run);
    for (name, svg) in figures.iter().filter(|(name, _)| name.contains("training") || name.contains("codewords")) {
        assert_readable(name, svg);
        for series in SERIES {
            assert_eq!(count(svg, series), 1, "{name}: {series} once in the legend");
        }
    }
    for name in ["training-usage", "training-perplexity", "training-mse"] {
        let svg = figure(&run, name);
        for panel in ["64 codewords", "240–256 codewords", "1000–1024 codewords", "4096–4375 codewords"] {
            assert_eq!(count(&svg, panel), 1, "{name}: {panel}");
        }
        assert_eq!(count(&svg, "epoch"), 2, "{name}: below each column");
        assert!(svg.matches("points=\"").count() > 4 * 8 * 3, "{name}: lines, bands and markers");
    }
    let losses = figure(&run, "training-losses");
    for panel in ["commitment loss", "reconstruction loss", "temperature"] {
        assert_eq!(count(&losses, panel), 1, "{panel}");
    }
}

/// Whether a figure is about the costs of training.
fn is_training_cost(name: &str) -> bool {
    name == "distortion-training" || name == "distortion-model"
}

#[test]
fn figures_appear_with_what_they_need_only() {
    // The golden run measured no course of training and no sizes of codebooks.
    assert_eq!(
        names(&run()),
        [
            "rate-distortion",
            "rate-gap",
            "recall-rate",
            "recall-speed",
            "seed-spread",
            "utilization",
            "throughput",
            "distortion-encoding",
            "spectrum"
        ]
    );
    let mut unbound = run();
    unbound.info.datasets.iter_mut().for_each(|facts| facts.bound.clear());
    unbound.records.iter_mut().for_each(|r| r.values.retain(|v| v.metric != GAP_TO_BOUND_DB.name));
    assert!(!names(&unbound).contains(&"rate-gap".to_owned()), "there is no bound to be distant from");
    let all = names(&collapse());
    for name in [
        "usage-codewords",
        "perplexity-codewords",
        "training-usage",
        "training-perplexity",
        "training-mse",
        "training-losses",
        "distortion-training",
        "distortion-model",
    ] {
        assert!(all.iter().any(|n| n == name), "{name}");
    }
    let without = |metrics: &[&str]| {
        let mut run = collapse();
        run.records.iter_mut().for_each(|r| r.values.retain(|v| !metrics.contains(&v.metric.as_str())));
        names(&run)
    };
    assert!(!without(&["train_seconds"]).iter().any(|n| is_training_cost(n)), "nobody asked for the cost");
    let mut classical = collapse();
    let of_learning = |v: &Measured| v.metric.starts_with("training_") && v.metric != "training_mse";
    classical.records.iter_mut().for_each(|r| r.values.retain(|v| !of_learning(v)));
    assert!(!names(&classical).iter().any(|n| is_training_cost(n)), "nothing learns");
    assert_eq!(count(&figure(&classical, "training-mse"), "iteration"), 2);
    assert!(!without(&["codewords"]).iter().any(|n| n.ends_with("-codewords")));
    // One size says nothing about sizes, and one epoch nothing about a course.
    let mut one = collapse();
    one.records.retain(|r| r.trial.label.ends_with(" 64"));
    assert!(!names(&one).iter().any(|n| n.ends_with("-codewords")));
    let mut short = collapse();
    short.records.iter_mut().for_each(|r| r.values.retain(|v| v.repeat.is_none_or(|epoch| epoch == 0)));
    assert!(!names(&short).iter().any(|n| n.starts_with("training-")), "{:?}", names(&short));
}

/// Methods below and above the Gaussian bound, some of them nearly alike at three rates, and one of many bits.
fn crowded() -> Run {
    let mut records = Vec::new();
    let mut add = |series: &str, bits: usize, nmse: f64, gap: f64| {
        for seed in 1..=2 {
            let mut record = record(trial(&format!("{series} {bits}"), series, bits, seed), nmse);
            record.values.iter_mut().filter(|v| v.metric == GAP_TO_BOUND_DB.name).for_each(|v| v.value = gap);
            records.push(record);
        }
    };
    for (i, series) in ["LBG", "PQ", "RVQ", "FSQ", "Gumbel"].into_iter().enumerate() {
        let i = i as f64;
        for (at, bits) in [(0.0, 32), (1.0, 64), (2.0, 128)] {
            add(series, bits, (0.7 - 0.1 * at) * (1.0 - 0.03 * i), 0.4 * at - 0.3 * i + 0.5);
        }
    }
    for (series, bits, nmse) in [("Binary", 4, 0.95), ("Scalar", 512, 0.12), ("Scalar", 1536, 0.01)] {
        add(series, bits, nmse, 5.0);
    }
    run_of(records)
}

#[test]
fn the_name_of_the_bound_crosses_no_curve() {
    for width in ["", "-wide"] {
        let svg = figure(&crowded(), &format!("rate-gap{width}"));
        let texts = texts(&svg);
        let (_, [left, top, right, bottom]) = texts.iter().find(|(text, _)| text == "Gaussian bound").expect("a name");
        let lines = svg.split('<').filter(|e| e.starts_with("polyline"));
        let points = |line: &str| -> Vec<(f64, f64)> {
            let pairs = attribute(line, "points").unwrap_or("").split_whitespace().map(str::to_owned);
            pairs
                .filter_map(|pair| {
                    pair.split_once(',').map(|(x, y)| (x.parse().unwrap_or(0.0), y.parse().unwrap_or(0.0)))
                })
                .collect()
        };
        // Grid lines are the only ones of that grey.
        for line in lines.filter(|line| !line.contains("#E6E6E6")) {
            for pair in points(line).windows(2) {
                let at = |i: i32| f64::from(i) / 1000.0;
                let between =
                    |i: i32| (pair[0].0 + at(i) * (pair[1].0 - pair[0].0), pair[0].1 + at(i) * (pair[1].1 - pair[0].1));
                let inside = |(x, y): (f64, f64)| *left < x && x < *right && *top < y && y < *bottom;
                assert!(!(0..=1000).map(between).any(inside), "{width}: {line}");
            }
        }
    }
}

#[test]
fn curves_that_crowd_are_enlarged_beside_their_distance_to_the_bound() {
    let mut run = crowded();
    // The line of the bound would take the place.
    run.info.datasets[0].bound.clear();
    let (narrow, wide) = (figure(&run, "rate-distortion"), figure(&run, "rate-distortion-wide"));
    assert_readable("rate-distortion", &narrow);
    assert_readable("rate-distortion-wide", &wide);
    assert_eq!((count(&narrow, "64"), count(&wide, "64")), (2, 2), "in the inset; on the axis of each panel");
    assert_eq!(count(&wide, "gap to the Gaussian bound, dB"), 1);
    assert!(common::text(&run, "report.md").contains("the inset enlarges"));
    let apart = common::text(&common::run(), "report.md");
    assert!(!apart.contains("inset enlarges") && apart.contains("In the figure for two columns"));
}

#[test]
fn levels_of_components_are_no_codebooks() {
    // Sixteen components at 1 to 8 bits each.
    let scalar = |bits: usize| {
        let mut record = record(trial(&format!("Scalar {bits}"), "Scalar", 16 * bits, 1), 0.5f64.powi(bits as i32));
        record.values.push(Measured::new(&CODEWORDS, f64::from(1 << bits)));
        record
    };
    assert!(!names(&run_of([1, 2, 4, 8].map(scalar).into())).iter().any(|n| n.ends_with("-codewords")));
}

#[test]
fn codes_of_equal_codebooks_are_told_by_their_rate() {
    // As a product quantizer with more and more codebooks of one size, and a classical one that only iterates.
    let mut records = Vec::new();
    for bits in [32, 64, 128] {
        for series in ["PQ", "RVQ"] {
            let mut record = record(trial(&format!("{series} {bits}"), series, bits, 1), 0.5);
            record.values.push(Measured::new(&CODEWORDS, 256.0));
            record.values.extend((0..12).map(|i| Measured::new(&TRAINING_MSE, 8.0 / (i + 1) as f64).repeat(i)));
            records.push(record);
        }
    }
    let run = run_of(records);
    let svg = figure(&run, "training-mse-wide");
    for panel in ["32 bits", "64 bits", "128 bits"] {
        assert_eq!(count(&svg, panel), 1, "{panel}");
    }
    assert_eq!(count(&svg, "iteration"), 2, "the axis stands below the last panel of each column");
    assert_readable("training-mse", &svg);
    assert!(!names(&run).iter().any(|n| n == "training-usage" || is_training_cost(n)));
}

/// A value over a sample, or of an attempt that was not kept, is in the table; the figure shows the way that was gone.
#[test]
fn marked_values_of_training_are_not_drawn() {
    let svg = |marked: bool| {
        let mut record = record(trial("PQ", "PQ", 64, 1), 0.5);
        record.values.push(Measured::new(&CODEWORDS, 256.0));
        let seen = |i: usize| Measured::new(&TRAINING_MSE, 8.0 / (i + 1) as f64).repeat(i);
        record.values.extend((3..12).map(seen));
        if marked {
            record.values.extend((0..3).map(|i| seen(i).path("sample")));
            record.values.push(seen(20).path("rejected"));
        }
        figure(&run_of(vec![record]), "training-mse")
    };
    assert_eq!(svg(true), svg(false));
}

#[test]
fn two_small_codebooks_stand_beside_one_of_their_rate() {
    let mut records: Vec<TrialRecord> = [64, 256].map(|codewords| learned("VQ", codewords, 1)).into();
    for (bits, codewords) in [(6, 8.0), (8, 16.0)] {
        let mut record = record(trial(&format!("PQ {bits}"), "PQ", bits, 1), 0.5);
        record.values.push(Measured::new(&CODEWORDS, codewords));
        record.values.extend((0..9).map(|i| Measured::new(&TRAINING_MSE, 8.0 / (i + 1) as f64).repeat(i)));
        records.push(record);
    }
    let run = run_of(records);
    let svg = figure(&run, "training-mse-wide");
    assert_eq!((count(&svg, "6 bits"), count(&svg, "8 bits"), count(&svg, "epoch or iteration")), (1, 1, 2));
    assert_eq!(count(&figure(&run, "training-usage"), "256 codewords"), 1, "of those that have codebooks alike");
    assert_eq!(count(&figure(&run, "usage-codewords"), "PQ, 2 codebooks"), 1);
}

#[test]
fn several_curves_of_a_series_at_one_size_have_names_of_their_own() {
    let mut records = Vec::new();
    for (variant, bits) in [("slow", 8), ("fast", 8)] {
        let mut record = learned("VQ", 256, 1);
        record.trial = Trial { params: serde_json::json!({ "variant": variant }), ..record.trial };
        record.trial.label = format!("VQ {variant}");
        assert_eq!(record.trial.bits_per_vector, bits);
        records.push(record);
    }
    let svg = figure(&run_of(records), "training-usage");
    assert_eq!((count(&svg, "VQ slow"), count(&svg, "VQ fast"), count(&svg, "VQ")), (1, 1, 0));
}

#[test]
fn costs_are_compared_at_equal_rate() {
    let mut records = Vec::new();
    for bits in [32, 64, 128] {
        for series in SERIES {
            for seed in 1..=3 {
                let mut record = learned(series, 256, seed);
                record.trial = trial(&format!("{series} {bits} bits"), series, bits, seed);
                records.push(record);
            }
        }
    }
    let run = run_of(records);
    for name in ["distortion-training", "distortion-model"] {
        let svg = figure(&run, name);
        assert_readable(name, &svg);
        for panel in ["32 bits", "64 bits", "128 bits"] {
            assert_eq!(count(&svg, panel), 1, "{name}: {panel}");
        }
        assert_eq!(count(&svg, "Pareto front"), 1, "{name}: in the legend");
    }
    // A method alone at its rate compares to nothing; where all are, they stand together.
    let (mut lonely, mut scattered) = (run.clone(), run);
    lonely.records.push(record(trial("Scalar 9 bits", "Scalar", 9, 1), 0.9));
    assert_eq!(count(&figure(&lonely, "distortion-training"), "Scalar"), 0);
    assert!(common::text(&lonely, "report.md").contains("One point is left out"));
    for (i, record) in scattered.records.iter_mut().enumerate() {
        record.trial.bits_per_vector = 8 << (i / 3);
    }
    assert_eq!(count(&figure(&scattered, "distortion-training"), "8–67108864 bits"), 1);
}

#[test]
fn signals_are_drawn_as_a_whole_and_not_by_part() {
    let mut records = Vec::new();
    for (bits, psnr) in [(16, 24.0), (32, 28.5), (64, 33.0)] {
        let mut record = record(trial(&format!("PQ {bits}"), "PQ", bits, 1), 0.1);
        record.values.extend([
            Measured::new(&PSNR_DB, psnr),
            Measured::new(&BITS_PER_PIXEL, bits as f64 / 64.0),
            Measured::new(&PSNR_DB, -1e9).stage("picture 7"),
        ]);
        records.push(record);
    }
    let run = run_of(records);
    let svg = figure(&run, "psnr-rate");
    assert_readable("psnr-rate", &svg);
    assert_eq!((count(&svg, "25"), count(&svg, "0.5"), count(&svg, "1")), (1, 1, 1), "ticks of both axes");
    assert!(!names(&run).iter().any(|n| n == "log-mel-rate"));
    let table = common::text(&run, "tables/vectors_16.csv");
    assert!(table.contains("psnr_db,") && table.contains("bits_per_pixel,") && !table.contains("log_mel_rmse"));
    assert!(table.contains(",28.5,"), "{table}");
}

#[test]
fn no_value_is_too_odd_to_be_drawn() {
    let odd = [0.0, -1.0, f64::NAN, f64::INFINITY, f64::MAX, f64::MIN_POSITIVE, -f64::MAX];
    for (i, value) in odd.into_iter().enumerate() {
        let mut run = collapse();
        for record in &mut run.records {
            record.values.iter_mut().skip(i).step_by(3).for_each(|v| v.value = value);
        }
        run.info.datasets[0].variance = value;
        figures(&run).iter().for_each(|(name, svg)| assert_inside(name, svg));
        run.records.iter_mut().for_each(|r| r.values.iter_mut().for_each(|v| v.value = value));
        figures(&run).iter().for_each(|(name, svg)| assert_inside(name, svg));
    }
    // Numbers of epochs that nobody wrote take no memory.
    let mut run = collapse();
    run.records.iter_mut().for_each(|r| r.values.iter_mut().for_each(|v| v.repeat = v.repeat.map(|i| usize::MAX - i)));
    assert!(!names(&run).iter().any(|n| n.starts_with("training-")));
}

#[test]
fn captions_say_what_is_seen() {
    let page = common::text(&collapse(), "report.md");
    let captions: Vec<&str> = page.lines().filter(|line| line.starts_with("![")).collect();
    insta::assert_snapshot!("captions", captions.join("\n"));
}
