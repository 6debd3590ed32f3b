//! The leaderboard: which columns there are, and what each says of a point. Pages, LaTeX and CSV share it.

use crate::ReportError;
use crate::number::{bytes, engineering, significant};
use crate::stats::Estimate;
use crate::summary::{DatasetSummary, Path, Point, Which};
use record::rerank_path;
use record::table::csv_text;

/// A cell: what is shown, and the number to sort by.
pub struct Cell {
    /// As shown.
    pub text: String,
    /// The estimate behind it.
    pub estimate: Option<Estimate>,
}

/// Finds a column's value of a point.
type Find = Box<dyn Fn(&Point) -> Option<Estimate>>;

/// A column of the leaderboard.
pub struct Column {
    /// Heading.
    pub title: String,
    /// What it means, for a tooltip.
    pub meaning: &'static str,
    /// Name in CSV.
    pub key: String,
    /// Whether larger is better; none when neither is.
    pub larger_is_better: Option<bool>,
    /// Whether it belongs into a narrow table for a paper.
    pub essential: bool,
    estimate: Find,
    show: fn(f64) -> String,
}

impl Column {
    /// The cell of a point; a dash where nothing was measured.
    pub fn cell(&self, point: &Point) -> Cell {
        let estimate = (self.estimate)(point);
        Cell { text: estimate.map_or_else(|| "–".to_owned(), |e| (self.show)(e.value)), estimate }
    }
}

fn percent(value: f64) -> String {
    format!("{:.1}%", 100.0 * value)
}

fn decibel(value: f64) -> String {
    format!("{value:.2}")
}

/// The columns that some point of the dataset has values for.
pub fn columns(dataset: &DatasetSummary) -> Vec<Column> {
    let quality = |title: &str, meaning, key: &str, better, essential, which: fn() -> Which<'static>, show| Column {
        title: title.to_owned(),
        meaning,
        key: key.to_owned(),
        larger_is_better: better,
        essential,
        estimate: Box::new(move |p: &Point| p.quality(which())),
        show,
    };
    let timing = |title: &str, meaning, metric: &'static str, better, show| Column {
        title: title.to_owned(),
        meaning,
        key: metric.to_owned(),
        larger_is_better: Some(better),
        essential: false,
        estimate: Box::new(move |p: &Point| p.timing(Which::metric(metric))),
        show,
    };
    let mut columns = vec![
        quality(
            "bits/vector",
            "all bits stored per vector",
            "bits_per_vector",
            None,
            true,
            || Which::metric("bits_per_vector"),
            |v| format!("{v:.0}"),
        ),
        quality(
            "bits/dim",
            "bits per vector over the dimension",
            "bits_per_dim",
            None,
            false,
            || Which::metric("bits_per_dim"),
            |v| significant(v, 3),
        ),
        quality(
            "entropy bits",
            "bits per vector if each symbol were entropy-coded by its own frequencies",
            "entropy_bits_per_vector",
            None,
            false,
            || Which::metric("entropy_bits_per_vector"),
            |v| format!("{v:.0}"),
        ),
        quality(
            "NMSE",
            "squared error over the variance, on base rows not trained on",
            "nmse",
            Some(false),
            true,
            || Which::metric("nmse"),
            |v| significant(v, 4),
        ),
        quality(
            "SQNR dB",
            "signal-to-quantization-noise ratio",
            "sqnr_db",
            Some(true),
            false,
            || Which::metric("sqnr_db"),
            decibel,
        ),
        quality(
            "gap dB",
            "distance of the NMSE from the Gaussian bound at this rate; negative is below it",
            "gap_to_bound_db",
            Some(false),
            true,
            || Which::metric("gap_to_bound_db"),
            decibel,
        ),
    ];
    columns.extend([
        quality(
            "bits/pixel",
            "bits per vector over the pixels of a patch",
            "bits_per_pixel",
            None,
            true,
            || Which::metric("bits_per_pixel"),
            |v| significant(v, 3),
        ),
        quality(
            "PSNR dB",
            "peak signal-to-noise ratio over all base pictures, of values rounded to 8 bits",
            "psnr_db",
            Some(true),
            true,
            || Which::metric("psnr_db"),
            decibel,
        ),
        quality(
            "bits/s",
            "bits per second of sound",
            "bits_per_second",
            None,
            true,
            || Which::metric("bits_per_second"),
            engineering,
        ),
        quality(
            "log-mel RMSE",
            "root of the mean squared error per log-mel value, in the units of the data",
            "log_mel_rmse",
            Some(false),
            true,
            || Which::metric("log_mel_rmse"),
            |v| significant(v, 3),
        ),
    ]);
    if let Some(k) = dataset.recall_k() {
        // Without a path: over the method's own search.
        let recall = |title: String, key: String, path: Option<String>, essential: bool| Column {
            title,
            meaning: "share of the true k nearest neighbours among the k returned",
            key,
            larger_is_better: Some(true),
            essential,
            estimate: Box::new(move |p: &Point| {
                let path = path.as_deref().map_or(Path::Native, Path::Named);
                p.quality(Which { metric: "recall_k_at_k", k: Some(k), path })
            }),
            show: percent,
        };
        columns.push(recall(format!("{k}-recall@{k}"), format!("recall_{k}_at_{k}"), None, true));
        let factors = dataset.rerank_factors("recall_k_at_k");
        for factor in &factors {
            let path = rerank_path(*factor);
            let (title, key) = (format!("… re-ranked ×{factor}"), format!("recall_{k}_at_{k}_{path}"));
            columns.push(recall(title, key, Some(path), Some(factor) == factors.last()));
        }
    }
    let reranked = dataset.rerank_factors("search_queries_per_second").into_iter().map(|factor| {
        let path = rerank_path(factor);
        Column {
            title: format!("… re-ranked ×{factor}"),
            meaning: "queries answered per second when that many candidates per neighbour are fetched over codes and ordered by \
                      their raw vectors",
            key: format!("search_queries_per_second_{path}"),
            larger_is_better: Some(true),
            essential: false,
            estimate: Box::new(move |p: &Point| {
                p.timing(Which { path: Path::Named(&path), ..Which::metric("search_queries_per_second") })
            }),
            show: engineering,
        }
    });
    let reranked: Vec<Column> = reranked.collect();
    columns.extend([
        quality(
            "k-NN kept",
            "k-NN label accuracy over codes, as a share of that on raw vectors",
            "knn_accuracy_retention",
            Some(true),
            true,
            || Which::metric("knn_accuracy_retention"),
            percent,
        ),
        quality(
            "usage",
            "share of codewords hit at least once",
            "usage",
            Some(true),
            false,
            || Which::metric("usage"),
            percent,
        ),
        timing("train s", "seconds to fit", "train_seconds", false, |v| significant(v, 3)),
        timing("encode/s", "vectors encoded per second", "encode_vectors_per_second", true, engineering),
        timing("decode/s", "vectors decoded per second", "decode_vectors_per_second", true, engineering),
        timing(
            "queries/s",
            "queries answered per second over all base codes",
            "search_queries_per_second",
            true,
            engineering,
        ),
    ]);
    columns.extend(reranked);
    columns.extend([
        timing("p50 µs", "median latency of a single query on one thread", "search_latency_p50_us", false, |v| {
            significant(v, 3)
        }),
        quality(
            "model",
            "bytes shared by all vectors: codebooks, levels",
            "model_bytes",
            Some(false),
            false,
            || Which::metric("model_bytes"),
            bytes,
        ),
        quality(
            "peak memory",
            "peak resident memory of the trial's process, data included",
            "peak_rss_bytes",
            Some(false),
            false,
            || Which::metric("peak_rss_bytes"),
            bytes,
        ),
        quality(
            "peak GPU memory",
            "peak of the device's memory in use by the trial",
            "peak_device_bytes",
            Some(false),
            false,
            || Which::metric("peak_device_bytes"),
            bytes,
        ),
    ]);
    columns.retain(|column| dataset.points.iter().any(|p| (column.estimate)(p).is_some()));
    columns
}

/// The leaderboard as CSV: each value with its interval.
///
/// # Errors
/// The CSV library refuses.
pub fn to_csv(dataset: &DatasetSummary) -> Result<Vec<u8>, ReportError> {
    let columns = columns(dataset);
    let refuse = |e: csv::Error| ReportError::Table(e.to_string());
    let mut writer = csv::Writer::from_writer(Vec::new());
    let mut head: Vec<String> = ["label", "series", "device", "threads", "seeds"].map(str::to_owned).to_vec();
    for column in &columns {
        head.extend([column.key.clone(), format!("{}_low", column.key), format!("{}_high", column.key)]);
    }
    writer.write_record(&head).map_err(refuse)?;
    for point in &dataset.points {
        let mut row = vec![
            csv_text(&point.label).into_owned(),
            csv_text(&point.series).into_owned(),
            csv_text(&point.device).into_owned(),
            point.threads.to_string(),
            point.seed_count().to_string(),
        ];
        for column in &columns {
            match column.cell(point).estimate {
                Some(e) => row.extend([e.value, e.low, e.high].map(|v| v.to_string())),
                None => row.extend([const { String::new() }; 3]),
            }
        }
        writer.write_record(&row).map_err(refuse)?;
    }
    writer.into_inner().map_err(|e| ReportError::Table(e.to_string()))
}
