//! The dictionary of metrics: for everything that can be measured, its unit, its meaning, and how it is shown and
//! compared.
//!
//! Measurements refer to an entry of [`METRICS`], and pages, tables, figures and the regression gate read that entry.
//! To add a metric, add an entry here and write it in a measurement; its column, its comparison in the gate and its row
//! in the documents follow from the entry.

/// Which values of a metric are better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Larger values.
    Higher,
    /// Smaller values.
    Lower,
    /// Neither larger nor smaller ones.
    Neither,
}

impl Direction {
    /// One word, for lists.
    pub fn as_str(self) -> &'static str {
        match self {
            Direction::Higher => "higher",
            Direction::Lower => "lower",
            Direction::Neither => "neither",
        }
    }
}

/// Whether the same trial measures the same value each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noise {
    /// Deterministic: the same seed gives the same value. Reports show the mean over seeds.
    Exact,
    /// Varies somewhat, as memory in use does. Reports show the mean over seeds; no gate compares it.
    Varies,
    /// A time or a speed, measured in several repeats. Reports take the median of the repeats of each seed and show the
    /// geometric mean over seeds; the gate compares statistically.
    Timed,
}

impl Noise {
    /// One word, for lists.
    pub fn as_str(self) -> &'static str {
        match self {
            Noise::Exact => "exact",
            Noise::Varies => "varies",
            Noise::Timed => "timed",
        }
    }
}

/// Number format of a value in reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberFormat {
    /// With this many significant digits.
    Significant(usize),
    /// With this many decimals.
    Decimals(usize),
    /// As a percentage with one decimal; the value is a fraction.
    Percent,
    /// Three significant digits with the suffix k, M or G.
    Engineering,
    /// Three significant digits with the unit KiB, MiB or GiB.
    Bytes,
}

/// The column of a metric in the leaderboard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaderboardColumn {
    /// Heading; `{k}` is replaced by the number of neighbours.
    pub title: &'static str,
    /// Whether it is part of the narrow table for papers.
    pub essential: bool,
}

/// A metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// Name in the tidy table. A name that ends in `*` matches all names with that prefix that have no entry of their
    /// own.
    pub name: &'static str,
    /// Unit; `1` for plain ratios and counts.
    pub unit: &'static str,
    /// Meaning, in one line.
    pub meaning: &'static str,
    /// Which values are better.
    pub direction: Direction,
    /// Whether it is deterministic, variable or timed.
    pub noise: Noise,
    /// Minimum and maximum possible value. Intervals are clipped to this range.
    pub range: (f64, f64),
    /// Number format.
    pub format: NumberFormat,
    /// Its column in the leaderboard; None if it has none. Columns are in the order of the dictionary.
    pub column: Option<LeaderboardColumn>,
    /// Title of its axis in figures.
    axis: Option<&'static str>,
    /// How much worse the gate allows it to be, as a fraction of its value; `None` if the gate ignores it.
    pub tolerance: Option<f64>,
}

/// Suffix of the name of an entry that stands for several metrics.
const FAMILY: char = '*';

impl Metric {
    /// A deterministic value of any sign, without a column and ignored by the gate.
    pub const fn new(name: &'static str, unit: &'static str, meaning: &'static str) -> Metric {
        Metric {
            name,
            unit,
            meaning,
            direction: Direction::Neither,
            noise: Noise::Exact,
            range: (f64::NEG_INFINITY, f64::INFINITY),
            format: NumberFormat::Significant(4),
            column: None,
            axis: None,
            tolerance: None,
        }
    }

    /// Larger values are better.
    pub const fn higher(self) -> Metric {
        Metric { direction: Direction::Higher, ..self }
    }

    /// Smaller values are better.
    pub const fn lower(self) -> Metric {
        Metric { direction: Direction::Lower, ..self }
    }

    /// It varies from run to run.
    pub const fn varies(self) -> Metric {
        Metric { noise: Noise::Varies, ..self }
    }

    /// It is a time or a speed.
    pub const fn timed(self) -> Metric {
        Metric { noise: Noise::Timed, ..self }
    }

    /// It is in this range.
    pub const fn within(self, low: f64, high: f64) -> Metric {
        Metric { range: (low, high), ..self }
    }

    /// It is at least this value.
    pub const fn at_least(self, low: f64) -> Metric {
        self.within(low, f64::INFINITY)
    }

    /// It is a fraction between 0 and 1, shown as a percentage.
    pub const fn share(self) -> Metric {
        self.within(0.0, 1.0).shown(NumberFormat::Percent)
    }

    /// Sets the number format.
    pub const fn shown(self, format: NumberFormat) -> Metric {
        Metric { format, ..self }
    }

    /// Adds a column to the leaderboard, with this heading.
    pub const fn column(self, title: &'static str) -> Metric {
        Metric { column: Some(LeaderboardColumn { title, essential: false }), ..self }
    }

    /// Adds a column to the leaderboard and to the narrow table for papers.
    pub const fn essential_column(self, title: &'static str) -> Metric {
        Metric { column: Some(LeaderboardColumn { title, essential: true }), ..self }
    }

    /// Sets the title of its axis.
    pub const fn titled(self, axis: &'static str) -> Metric {
        Metric { axis: Some(axis), ..self }
    }

    /// Lets the gate compare it, with this fraction as the tolerance.
    pub const fn gated(self, tolerance: f64) -> Metric {
        Metric { tolerance: Some(tolerance), ..self }
    }

    /// Title of its axis in figures: that of the entry, or else its name with its unit.
    pub fn axis(&self) -> String {
        match self.axis {
            Some(title) => title.to_owned(),
            None if self.unit == "1" => self.name.replace('_', " "),
            None => format!("{}, {}", self.name.replace('_', " "), self.unit),
        }
    }

    /// Whether larger values are better; `None` if neither larger nor smaller values are.
    pub fn larger_is_better(&self) -> Option<bool> {
        match self.direction {
            Direction::Higher => Some(true),
            Direction::Lower => Some(false),
            Direction::Neither => None,
        }
    }

    /// Prefix of the names in a family; `None` if this is a single metric.
    pub fn family(&self) -> Option<&'static str> {
        self.name.strip_suffix(FAMILY)
    }

    /// Clips a value to its range.
    pub fn clip(&self, value: f64) -> f64 {
        value.max(self.range.0).min(self.range.1)
    }

    /// Its range as text.
    pub fn range_text(&self) -> String {
        match self.range {
            (f64::NEG_INFINITY, f64::INFINITY) => "any".to_owned(),
            (low, f64::INFINITY) => format!("at least {low}"),
            (f64::NEG_INFINITY, high) => format!("at most {high}"),
            (low, high) => format!("{low} to {high}"),
        }
    }
}

/// A dictionary's entries. Functions that read one take it as a parameter, so that tests can extend it.
pub type Dictionary = [&'static Metric];

/// The entry of a metric by its name, or else that of its family; returns `None` if there is neither.
pub fn find_in(dictionary: &Dictionary, name: &str) -> Option<&'static Metric> {
    let own = dictionary.iter().find(|metric| metric.name == name && metric.family().is_none());
    let family = || dictionary.iter().find(|m| m.family().is_some_and(|start| name.starts_with(start)));
    own.or_else(family).copied()
}

/// Calls [`find_in`] with the dictionary of this program.
pub fn find(name: &str) -> Option<&'static Metric> {
    find_in(METRICS, name)
}

/// Declares metrics and lists them: handle, name, unit, meaning, and further properties.
macro_rules! metrics {
    ($($handle:ident = $name:literal, $unit:literal, $meaning:literal $(, . $part:ident ( $($argument:expr),* ))*;)+) => {
        $(
            #[doc = $meaning]
            pub static $handle: Metric = Metric::new($name, $unit, $meaning)$(.$part($($argument),*))*;
        )+

        /// Every metric, in the order of the leaderboard.
        pub static METRICS: &Dictionary = &[$(&$handle),+];
    };
}

/// Tolerance of the gate for deterministic metrics: rounding errors of f64.
const ROUNDING: f64 = 1e-6;

/// Tolerance of the gate for a classifier that is trained until its gradient is small: one row in a thousand may change.
const PROBE: f64 = 1e-3;

/// Tolerance of the gate for timings; it is larger if the processes of one run differ by more.
const PACE: f64 = 0.05;

metrics! {
    // Rate.
    BITS_PER_VECTOR = "bits_per_vector", "bit", "all bits stored per vector",
        .lower(), .at_least(0.0), .shown(NumberFormat::Decimals(0)), .essential_column("bits/vector"),
        .titled("rate, bits per vector"), .gated(ROUNDING);
    BITS_PER_DIM = "bits_per_dim", "bit", "bits per vector divided by the dimension",
        .lower(), .at_least(0.0), .shown(NumberFormat::Significant(3)), .column("bits/dim"), .titled("rate, bits per dimension");
    ENTROPY_BITS_PER_VECTOR = "entropy_bits_per_vector", "bit",
        "bits per vector if each symbol were entropy-coded by its own frequencies",
        .lower(), .at_least(0.0), .shown(NumberFormat::Decimals(0)), .column("entropy bits"), .titled("entropy, bits per vector");
    CODE_BYTES = "code_bytes", "B", "size of one code, rounded up to whole bytes",
        .lower(), .at_least(0.0), .shown(NumberFormat::Bytes), .column("bytes/vector");
    CODEWORDS = "codewords", "1", "codewords of the largest codebook",
        .at_least(0.0), .shown(NumberFormat::Decimals(0)), .titled("codewords of a codebook");

    // Distortion.
    NMSE = "nmse", "1", "mean squared error divided by the variance of the base rows",
        .lower(), .at_least(0.0), .essential_column("NMSE"), .titled("normalized MSE"), .gated(ROUNDING);
    MSE = "mse", "1", "mean squared error per vector, in the squared unit of the data",
        .lower(), .at_least(0.0), .titled("MSE"), .gated(ROUNDING);
    MSE_STD = "mse_std", "1", "standard deviation of the squared error over the base rows, in the squared unit of the data",
        .at_least(0.0);
    COSINE = "cosine", "1", "mean cosine between a vector and its decoded vector",
        .higher(), .within(-1.0, 1.0), .gated(ROUNDING);
    SQNR_DB = "sqnr_db", "dB", "signal-to-quantization-noise ratio",
        .higher(), .shown(NumberFormat::Decimals(2)), .column("SQNR dB"), .titled("SQNR, dB");
    GAP_TO_BOUND_DB = "gap_to_bound_db", "dB",
        "NMSE relative to the Gaussian bound at the same rate; negative values are below the bound",
        .lower(), .shown(NumberFormat::Decimals(2)), .essential_column("gap dB"), .titled("gap to the Gaussian bound, dB");
    GAUSSIAN_BOUND_NMSE = "gaussian_bound_nmse", "1", "NMSE of the Gaussian bound at this rate", .at_least(0.0);
    IP_BIAS = "ip_bias", "1", "mean error of inner products between queries and decoded base rows";
    IP_STD = "ip_std", "1", "standard deviation of the errors of inner products between queries and decoded base rows",
        .lower(), .at_least(0.0);
    VECTOR_ERROR = "vector_error", "1",
        "squared error of a vector divided by the variance of the base rows, at a quantile of the base rows (`repeat` 0 to 8: 1, 5, 10, 25, 50, 75, 90, 95, 99%)",
        .at_least(0.0), .titled("squared error / variance");
    DIMENSION_ERROR = "dimension_error", "1",
        "squared error in a group of dimensions divided by their variance (`repeat`: the group, the largest variance first)",
        .at_least(0.0), .titled("squared error / variance");
    BASE_NORM = "base_norm", "1", "mean norm of a group of base rows (`repeat`: the group, the shortest rows first)",
        .at_least(0.0), .titled("norm of the vector");
    IP_BIAS_BY_NORM = "ip_bias_by_norm", "1",
        "mean error of inner products between queries and the decoded rows of a group by norm (`repeat`: the group, the shortest rows first)",
        .titled("mean error of inner products");
    IP_STD_BY_NORM = "ip_std_by_norm", "1",
        "standard deviation of the errors of inner products between queries and the decoded rows of a group by norm (`repeat`: the group, the shortest rows first)",
        .at_least(0.0), .titled("standard deviation of the error");
    TRAIN_NMSE = "train_nmse", "1", "mean squared error of the training rows divided by their variance", .lower(), .at_least(0.0);

    // Pictures and sound.
    BITS_PER_PIXEL = "bits_per_pixel", "bit/pixel", "bits per vector divided by the number of pixels of a patch",
        .lower(), .at_least(0.0), .shown(NumberFormat::Significant(3)), .essential_column("bits/pixel"),
        .titled("rate, bits per pixel");
    PSNR_DB = "psnr_db", "dB", "peak signal-to-noise ratio over all base pictures, of values rounded to 8 bits",
        .higher(), .shown(NumberFormat::Decimals(2)), .essential_column("PSNR dB"), .titled("PSNR, dB");
    BITS_PER_SECOND = "bits_per_second", "bit/s", "bits per second of sound",
        .lower(), .at_least(0.0), .shown(NumberFormat::Engineering), .essential_column("bits/s"), .titled("rate, bits per second");
    LOG_MEL_RMSE = "log_mel_rmse", "1",
        "root of the mean squared error per log-mel value, in the units of the data",
        .lower(), .at_least(0.0), .shown(NumberFormat::Significant(3)), .essential_column("log-mel RMSE"),
        .titled("RMSE of log-mel spectra");

    // Retrieval.
    RECALL_1_AT_R = "recall_1_at_r", "1", "share of queries whose true nearest neighbour is among the R returned (`k` is R)",
        .higher(), .share(), .gated(ROUNDING);
    RECALL_K_AT_K = "recall_k_at_k", "1", "share of the true k nearest neighbours among the k returned",
        .higher(), .share(), .essential_column("{k}-recall@{k}"), .titled("{k}-recall@{k}"), .gated(ROUNDING);
    RECALL_K_AT_K_STD = "recall_k_at_k_std", "1", "standard deviation over queries of the share of the true k nearest neighbours among the k returned",
        .at_least(0.0);
    KNN_ACCURACY = "knn_accuracy", "1", "accuracy of predicting a query's class by majority vote of its k nearest base rows",
        .higher(), .share(), .gated(ROUNDING);
    KNN_ACCURACY_RETENTION = "knn_accuracy_retention", "1",
        "k-NN accuracy on codes divided by k-NN accuracy on raw vectors",
        .higher(), .at_least(0.0), .shown(NumberFormat::Percent), .essential_column("k-NN kept");
    NDCG = "ndcg", "1", "nDCG of the first k results by judgments of relevance, with grades as gains, as a mean over queries",
        .higher(), .within(0.0, 1.0), .essential_column("nDCG@{k}"), .titled("nDCG@{k}"), .gated(ROUNDING);
    NDCG_RETENTION = "ndcg_retention", "1", "nDCG of search over codes divided by that of raw vectors",
        .higher(), .at_least(0.0), .shown(NumberFormat::Percent), .column("nDCG@{k} kept");
    NDCG_RETENTION_LOW = "ndcg_retention_low", "1", "lower end of the 95% interval of ndcg_retention over queries",
        .at_least(0.0), .shown(NumberFormat::Percent);
    NDCG_RETENTION_HIGH = "ndcg_retention_high", "1", "upper end of the 95% interval of ndcg_retention over queries",
        .at_least(0.0), .shown(NumberFormat::Percent);
    MRR = "mrr", "1", "1 over the rank of the first relevant row among the first k results, 0 without one, as a mean over queries",
        .higher(), .within(0.0, 1.0), .column("MRR@{k}"), .titled("MRR@{k}"), .gated(ROUNDING);
    MRR_RETENTION = "mrr_retention", "1", "MRR of search over codes divided by that of raw vectors",
        .higher(), .at_least(0.0), .shown(NumberFormat::Percent), .column("MRR@{k} kept");
    MRR_RETENTION_LOW = "mrr_retention_low", "1", "lower end of the 95% interval of mrr_retention over queries",
        .at_least(0.0), .shown(NumberFormat::Percent);
    MRR_RETENTION_HIGH = "mrr_retention_high", "1", "upper end of the 95% interval of mrr_retention over queries",
        .at_least(0.0), .shown(NumberFormat::Percent);
    RELEVANT_RECALL = "relevant_recall", "1", "share of the relevant rows that are among the first k results, as a mean over queries",
        .higher(), .share(), .column("relevant in {k}"), .titled("relevant rows in {k} results"), .gated(ROUNDING);
    RELEVANT_RECALL_RETENTION = "relevant_recall_retention", "1", "recall of relevant rows of search over codes divided by that of raw vectors",
        .higher(), .at_least(0.0), .shown(NumberFormat::Percent), .column("relevant in {k} kept");
    RELEVANT_RECALL_RETENTION_LOW = "relevant_recall_retention_low", "1", "lower end of the 95% interval of relevant_recall_retention over queries",
        .at_least(0.0), .shown(NumberFormat::Percent);
    RELEVANT_RECALL_RETENTION_HIGH = "relevant_recall_retention_high", "1", "upper end of the 95% interval of relevant_recall_retention over queries",
        .at_least(0.0), .shown(NumberFormat::Percent);
    PROBE_ACCURACY = "probe_accuracy", "1", "accuracy on the query rows of logistic regression that was trained on base rows",
        .higher(), .share(), .column("probe accuracy"), .titled("accuracy of a linear probe"), .gated(PROBE);
    PROBE_ACCURACY_RETENTION = "probe_accuracy_retention", "1",
        "accuracy of logistic regression on decoded vectors divided by that on raw vectors",
        .higher(), .at_least(0.0), .shown(NumberFormat::Percent), .essential_column("probe kept");
    PROBE_ACCURACY_RETENTION_LOW = "probe_accuracy_retention_low", "1", "lower end of the 95% interval of probe_accuracy_retention over query rows",
        .at_least(0.0), .shown(NumberFormat::Percent);
    PROBE_ACCURACY_RETENTION_HIGH = "probe_accuracy_retention_high", "1", "upper end of the 95% interval of probe_accuracy_retention over query rows",
        .at_least(0.0), .shown(NumberFormat::Percent);

    // Codebooks.
    USAGE = "usage", "1", "share of codewords that at least one base row is assigned to",
        .higher(), .share(), .column("usage"), .titled("codewords in use"), .gated(ROUNDING);
    PERPLEXITY = "perplexity", "1", "perplexity of the codewords that base rows go to; at most the size of the codebook",
        .higher(), .at_least(1.0), .titled("perplexity");
    CODEWORD_FREQUENCY = "codeword_frequency", "1",
        "share of the base rows that go to a codeword, by its rank among the codewords of its codebook, as a mean over the codebooks of the largest size (`repeat`: the rank)",
        .share(), .shown(NumberFormat::Significant(3)), .titled("share of the vectors");
    DEAD_CODES = "dead_codes", "1", "codewords that no base row is assigned to",
        .lower(), .at_least(0.0), .shown(NumberFormat::Decimals(0));

    // Time.
    TRAIN_SECONDS = "train_seconds", "s", "seconds to train the quantizer once",
        .lower(), .timed(), .at_least(0.0), .shown(NumberFormat::Significant(3)), .column("train s"), .titled("training, s"),
        .gated(PACE);
    ENCODE_VECTORS_PER_SECOND = "encode_vectors_per_second", "1/s", "vectors encoded per second",
        .higher(), .timed(), .at_least(0.0), .shown(NumberFormat::Engineering), .column("encode/s"), .titled("encoded vectors/s"),
        .gated(PACE);
    DECODE_VECTORS_PER_SECOND = "decode_vectors_per_second", "1/s", "vectors decoded per second",
        .higher(), .timed(), .at_least(0.0), .shown(NumberFormat::Engineering), .column("decode/s"), .titled("decoded vectors/s"),
        .gated(PACE);
    SEARCH_QUERIES_PER_SECOND = "search_queries_per_second", "1/s", "queries answered per second over all base codes",
        .higher(), .timed(), .at_least(0.0), .shown(NumberFormat::Engineering), .column("queries/s"), .titled("queries/s"),
        .gated(PACE);
    SEARCH_LATENCY_P50_US = "search_latency_p50_us", "µs", "median latency of a single query on one thread",
        .lower(), .timed(), .at_least(0.0), .shown(NumberFormat::Significant(3)), .column("p50 µs"), .gated(PACE);
    SEARCH_LATENCY_P95_US = "search_latency_p95_us", "µs", "latency of a single query that 95% stay below",
        .lower(), .timed(), .at_least(0.0), .shown(NumberFormat::Significant(3));
    SEARCH_LATENCY_P99_US = "search_latency_p99_us", "µs", "latency of a single query that 99% stay below",
        .lower(), .timed(), .at_least(0.0), .shown(NumberFormat::Significant(3));
    ENCODE_LIMIT_SHARE = "encode_limit_share", "1", "encoding speed as a share of what reading and arithmetic of this machine allow",
        .higher(), .timed(), .at_least(0.0), .shown(NumberFormat::Percent), .column("encode limit");
    DECODE_LIMIT_SHARE = "decode_limit_share", "1", "decoding speed as a share of what reading and arithmetic of this machine allow",
        .higher(), .timed(), .at_least(0.0), .shown(NumberFormat::Percent), .column("decode limit");
    SEARCH_LIMIT_SHARE = "search_limit_share", "1", "search speed as a share of what arithmetic of this machine allows",
        .higher(), .timed(), .at_least(0.0), .shown(NumberFormat::Percent), .column("search limit");
    LATENCY_LIMIT_SHARE = "latency_limit_share", "1", "speed of a single query as a share of what reading and arithmetic of one thread allow",
        .higher(), .timed(), .at_least(0.0), .shown(NumberFormat::Percent), .column("query limit");

    // Memory.
    SEARCH_BYTES = "search_bytes", "B", "bytes that a search holds besides the codes: norms, codes laid out anew, decoded rows",
        .lower(), .at_least(0.0), .shown(NumberFormat::Bytes);
    MODEL_BYTES = "model_bytes", "B", "bytes shared by all vectors: codebooks, levels, rotations, networks",
        .lower(), .at_least(0.0), .shown(NumberFormat::Bytes), .column("model"), .titled("bytes of the model"), .gated(ROUNDING);
    PEAK_RSS_BYTES = "peak_rss_bytes", "B", "peak resident memory of the trial's process, data included",
        .lower(), .varies(), .at_least(0.0), .shown(NumberFormat::Bytes), .column("peak memory");
    PEAK_DEVICE_BYTES = "peak_device_bytes", "B", "peak GPU memory allocated by the trial",
        .lower(), .varies(), .at_least(0.0), .shown(NumberFormat::Bytes), .column("peak GPU memory");

    // Training, per iteration or epoch.
    TRAINING_MSE = "training_mse", "1", "mean squared error of the training rows at each iteration or epoch",
        .lower(), .at_least(0.0), .titled("MSE / variance");
    TRAINING_USAGE = "training_usage", "1", "share of codewords that at least one training row is assigned to, at each epoch",
        .higher(), .share(), .titled("codewords in use");
    TRAINING_PERPLEXITY = "training_perplexity", "1", "perplexity of the codewords that training rows are assigned to, at each epoch",
        .higher(), .at_least(1.0), .titled("perplexity");
    TRAINING = "training_*", "1", "what else training writes at each epoch: the losses of a method, its temperature";

    // Compared with another library and with the limits of a machine (`gpu-check`).
    LIMIT_SHARE = "limit_share", "1", "speed divided by the measured peak of the machine", .higher(), .timed(), .at_least(0.0);
    LIMIT_PER_SECOND = "limit_per_second", "FLOP/s or B/s", "peak of the machine, measured in this run",
        .varies(), .at_least(0.0), .shown(NumberFormat::Engineering);
    PEER_SPEED_RATIO = "peer_speed_ratio", "1", "our speed over that of the peer", .higher(), .varies(), .at_least(0.0);
    STEP_SECONDS = "step_seconds", "s", "seconds of one step of a quantizer on the GPU", .lower(), .timed(), .at_least(0.0);
    STEP_VECTORS_PER_SECOND = "step_vectors_per_second", "1/s", "vectors per second of one step of a quantizer on the GPU",
        .higher(), .timed(), .at_least(0.0), .shown(NumberFormat::Engineering);
    TRANSFER_BYTES_PER_SECOND = "transfer_bytes_per_second", "B/s", "bytes per second over the bus to or from the GPU",
        .higher(), .varies(), .at_least(0.0), .shown(NumberFormat::Engineering);
    COMPARED = "compared", "1", "answers of the GPU that were compared with those of the CPU", .at_least(0.0),
        .shown(NumberFormat::Decimals(0));
    NEAR_TIES = "near_ties", "1", "answers that differ where f64 finds a near-tie", .lower(), .at_least(0.0),
        .shown(NumberFormat::Decimals(0));
    WRONG = "wrong", "1", "answers that differ and are no near-tie", .lower(), .at_least(0.0), .shown(NumberFormat::Decimals(0));
    DISTORTION_EXCESS = "distortion_excess", "1", "distortion on the GPU over that on the CPU, less 1", .lower();
    MSE_EXCESS = "mse_excess", "1", "difference of the mean squared error on the GPU from that on the CPU, as a share";
    CPU_SECONDS = "cpu_seconds", "s", "seconds of the same work on the CPU", .lower(), .varies(), .at_least(0.0);
    CPU_SPEED_RATIO = "cpu_speed_ratio", "1", "speed on the GPU over that on the CPU", .higher(), .varies(), .at_least(0.0);
    OPEN_SHARE = "open_share", "1", "share of rows that the fast pass of an assignment left undecided", .lower(), .share();
    SEARCHED_SHARE = "searched_share", "1", "share of rows that were searched in full precision", .lower(), .share();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Measured;

    #[test]
    fn every_entry_says_what_it_has_to() {
        for (i, metric) in METRICS.iter().enumerate() {
            let name = metric.name;
            let plain = name.trim_end_matches(FAMILY);
            assert!(plain.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'), "{name}");
            assert!(METRICS[..i].iter().all(|other| other.name != name), "{name} stands twice");
            assert!(!metric.unit.is_empty() && !metric.meaning.is_empty(), "{name}");
            assert!(!metric.meaning.ends_with('.') && !metric.meaning.contains('|'), "{name}: a piece of a sentence");
            assert!(metric.range.0 < metric.range.1, "{name}");
            if let Some(tolerance) = metric.tolerance {
                assert!(tolerance > 0.0 && metric.larger_is_better().is_some(), "{name}: a gate has a direction");
                assert_ne!(metric.noise, Noise::Varies, "{name}: a gate on noise");
            }
        }
    }

    #[test]
    fn names_are_found_and_families_come_last() {
        assert_eq!(find("training_mse"), Some(&TRAINING_MSE));
        assert_eq!(find("training_kl_loss"), Some(&TRAINING));
        assert_eq!(find("training_*"), Some(&TRAINING), "as any other name that begins so");
        assert_eq!((find("nmes"), find("")), (None, None));
        static EXTRA: Metric = Metric::new("extra", "1", "of a test").lower();
        assert_eq!(find_in(&[&NMSE, &EXTRA], "extra"), Some(&EXTRA));
    }

    #[test]
    fn values_take_name_and_unit_from_the_dictionary() {
        let of = |name: &str| Measured::named(name, 0.5).map(|v| (v.metric, v.unit));
        assert_eq!(of("sqnr_db"), Some(("sqnr_db".to_owned(), "dB".to_owned())));
        assert_eq!(of("training_kl_loss"), Some(("training_kl_loss".to_owned(), "1".to_owned())));
        assert_eq!(of("nmes"), None);
        assert_eq!(Measured::of_family(&TRAINING, "mse", 0.5).metric, TRAINING_MSE.name);
    }

    #[test]
    fn values_are_cut_to_the_range() {
        assert_eq!((USAGE.clip(1.2), USAGE.clip(-0.1), USAGE.clip(0.5)), (1.0, 0.0, 0.5));
        assert_eq!((NMSE.clip(-1.0), NMSE.clip(7.0), SQNR_DB.clip(-7.0)), (0.0, 7.0, -7.0));
        let texts = [&USAGE, &NMSE, &SQNR_DB].map(Metric::range_text);
        assert_eq!(texts, ["0 to 1", "at least 0", "any"]);
    }
}
