//! `advise`: which code to use for given vectors, within limits on size, recall and time.

use crate::errors::Mistakes;
use crate::experiments_verb::{INTERRUPT, heed_interrupts};
use crate::model_file::{INTERRUPTED, Resources, check_target, write};
use ::advise::{AdviseError, Answer, Observer, Race, Request, search};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use datasets::{MetricSpace, Source, catalog};
use experiments::{Document, Seconds, Surroundings};
use indicatif::{ProgressBar, ProgressStyle};
use reports::advice::{FIGURES, Figure, Wish};
use serde_json::{Value, json};
use std::io::IsTerminal;
use std::path::{Path, PathBuf, absolute};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

#[derive(Args)]
#[command(
    after_help = "Give at least one limit. Within the limits, the code with the best recall is searched for; or, if recall is
limited and the bytes are not, the smallest code. `--best` names another figure.
  cargo xtask advise wordnet-minilm-384 --bytes 48
  cargo xtask advise vectors.npy --metric cosine --recall 0.9 --latency 1ms --time 5m
  cargo xtask advise '{ path: base.fvecs, queries: queries.fvecs }' --bytes 64 --recall 0.95 --yaml confirm.yaml

Exit codes: 0 a code meets the limits, 1 none does, 2 the request is wrong, 130 interrupted (the answer so far is printed).
METHODOLOGY.md says how codes race and how the figures are to be read."
)]
pub struct Arguments {
    /// Vectors: a file, a dataset of the catalog, or a mapping as in the list `datasets` of an experiment
    vectors: String,
    /// Most bytes per vector: code and side values, rounded up to whole bytes
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    bytes: Option<f64>,
    /// Least recall of search over codes: k-recall@k
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    recall: Option<f64>,
    /// Longest median time of a single query on one thread, such as 1ms
    #[arg(long, value_name = "DURATION")]
    latency: Option<Seconds>,
    /// Largest mean squared error, divided by the variance of the vectors
    #[arg(long, value_name = "NMSE", allow_negative_numbers = true)]
    distortion: Option<f64>,
    /// Least number of vectors encoded per second
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    encode_rate: Option<f64>,
    /// Longest time of one training, such as 30s
    #[arg(long, value_name = "DURATION")]
    fit_time: Option<Seconds>,
    /// The figure to make best within the limits
    #[arg(long, value_name = "FIGURE", value_parser = figures())]
    best: Option<Figure>,
    /// Neighbours k of each query
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    k: u32,
    /// How the vectors of a file are compared: l2, cosine or ip
    #[arg(long, value_parser = metric)]
    metric: Option<MetricSpace>,
    /// Try this method only; repeat the flag for several
    #[arg(long = "method", value_name = "NAME")]
    methods: Vec<String>,
    /// Use at most N training rows and N base rows
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rows: Option<u32>,
    /// Time for the search, such as 5m. When it is nearly up, the most promising codes are measured on all vectors
    #[arg(long, value_name = "DURATION")]
    time: Option<Seconds>,
    /// Seed of samples and training
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How often the best code is trained on a small sample, for what seeds add to the interval of its recall
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    seeds: u16,
    /// Format of the answer
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Write an experiment that would confirm the answer
    #[arg(long, value_name = "FILE")]
    yaml: Option<PathBuf>,
    #[command(flatten)]
    resources: Resources,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// The figures by their names.
fn figures() -> impl TypedValueParser<Value = Figure> {
    let named = |name: String| FIGURES.into_iter().find(|figure| figure.name() == name).ok_or("no such figure");
    PossibleValuesParser::new(FIGURES.map(Figure::name)).try_map(named)
}

fn metric(text: &str) -> Result<MetricSpace, String> {
    MetricSpace::of_name(text).ok_or_else(|| format!("unknown metric `{text}`; use l2, cosine or ip"))
}

pub fn run(arguments: Arguments, here: &Surroundings) -> Result<ExitCode, Mistakes> {
    let wish = wish(&arguments)?;
    for name in &arguments.methods {
        methods::registry::find(name)?;
    }
    if let Some(file) = &arguments.yaml {
        check_target(file)?;
    }
    let (written, source) = vectors(&arguments)?;
    let resolved = source.resolve(Path::new("."), &here.search)?;
    let data = resolved.load()?;
    heed_interrupts();
    let cx = arguments.resources.context(arguments.seed, &here.devices)?;
    let request = Request {
        data: &data,
        wish,
        k: arguments.k as usize,
        only: arguments.methods.clone(),
        rows: arguments.rows.map_or(usize::MAX, |rows| rows as usize),
        seed: arguments.seed,
        seeds: usize::from(arguments.seeds),
        time: arguments.time.map(Seconds::duration),
        backend: cx.backend.clone(),
        interrupt: &INTERRUPT,
    };
    let mut progress = RoundProgress::new(&request.wish);
    let found = arguments.resources.run(|| search(&request, &mut progress).map_err(Mistakes::from));
    progress.finish();
    let answer = match found {
        // Nothing is known yet.
        Err(_) if INTERRUPT.load(Ordering::SeqCst) => return Ok(ExitCode::from(INTERRUPTED)),
        found => found?,
    };
    if let Some(file) = &arguments.yaml {
        write(file, answer.to_experiment(&written).as_bytes())?;
    }
    match arguments.format {
        Format::Json => say!("{:#}", answer.to_json()),
        Format::Text => tell(&answer, &arguments, &source),
    }
    Ok(if INTERRUPT.load(Ordering::SeqCst) {
        ExitCode::from(INTERRUPTED)
    } else {
        ExitCode::from(u8::from(!answer.is_met))
    })
}

fn wish(arguments: &Arguments) -> Result<Wish, Mistakes> {
    let micros = |time: Option<Seconds>| time.map(|time| 1e6 * time.0);
    let given = [
        (Figure::Bytes, arguments.bytes),
        (Figure::Recall, arguments.recall),
        (Figure::Latency, micros(arguments.latency)),
        (Figure::Distortion, arguments.distortion),
        (Figure::EncodeRate, arguments.encode_rate),
        (Figure::FitTime, arguments.fit_time.map(|time| time.0)),
    ];
    let limits = given.into_iter().filter_map(|(figure, limit)| Some((figure, limit?))).collect();
    Wish::new(limits, arguments.best)
        .map_err(|error| Mistakes::new(error.to_string(), "give a limit, such as `--bytes 64` or `--recall 0.95`"))
}

/// The vectors as an experiment anywhere would write them, and where they come from.
fn vectors(arguments: &Arguments) -> Result<(Value, Source), Mistakes> {
    let text = &arguments.vectors;
    let metric = arguments.metric.map(|metric| metric.to_string());
    let document = Document::parse("VECTORS", text).ok().filter(|document| document.value().is_object());
    let mut written = match document {
        Some(document) => document.value().clone(),
        None if catalog::find(text).is_ok() => json!(text),
        None => {
            if !Path::new(text).exists() && Path::new(text).extension().is_none() {
                // More likely a misspelt name than a file.
                catalog::find(text)?;
            }
            json!({ "path": text })
        }
    };
    match (metric, written.as_object_mut()) {
        (Some(metric), Some(map)) => {
            map.insert("metric".into(), metric.into());
        }
        (Some(_), None) => {
            let message = format!("the metric of {text} is part of the dataset");
            return Err(Mistakes::new(message, "leave `--metric` out, or name a file"));
        }
        (None, _) => {}
    }
    let here = absolute(".").map_err(|error| {
        Mistakes::new(format!("cannot find the current folder: {error}"), "run this in a folder that exists")
    })?;
    Source::rebase(&mut written, &here);
    let source = Source::parse(&written)?;
    Ok((written, source))
}

/// Prints the answer, and how to go on.
fn tell(answer: &Answer, arguments: &Arguments, source: &Source) {
    say!("{}", answer.to_text().trim_end());
    if let Some(best) = answer.best() {
        let vectors = match source {
            Source::Named(name) => name.clone(),
            Source::File(file) => {
                file.train.as_ref().filter(|path| path.is_file()).unwrap_or(&file.path).display().to_string()
            }
            _ => "VECTORS".to_owned(),
        };
        let unit = match source {
            Source::File(_) if answer.metric == MetricSpace::Cosine.to_string() => {
                "; scale vectors to unit length before `fit` and `encode`, as was done here"
            }
            _ => "",
        };
        say!("\nbuild it:  cargo xtask fit '{}' '{vectors}' code.vqb{unit}", best.code.written.replace('\'', "'\\''"));
    }
    match &arguments.yaml {
        Some(file) => say!("confirm it:  cargo xtask experiments {}", file.display()),
        None => say!("confirm it:  add `--yaml FILE`, which writes an experiment with these codes"),
    }
}

/// Time between two lines of progress without a terminal.
const BETWEEN_LINES: Duration = Duration::from_secs(10);

/// Shows how the race goes.
struct RoundProgress<'a> {
    wish: &'a Wish,
    bar: Option<ProgressBar>,
    round: usize,
    codes: usize,
    told: Instant,
}

impl<'a> RoundProgress<'a> {
    fn new(wish: &'a Wish) -> RoundProgress<'a> {
        RoundProgress { wish, bar: None, round: 0, codes: 0, told: Instant::now() }
    }

    fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Observer for RoundProgress<'_> {
    fn begins(&mut self, round: usize, codes: usize) {
        self.finish();
        (self.round, self.codes, self.told) = (round + 1, codes, Instant::now());
        if std::io::stderr().is_terminal() {
            let style = ProgressStyle::with_template("{prefix} {bar:30} {pos}/{len} codes, {eta} left")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            let bar = ProgressBar::new(codes as u64).with_style(style);
            bar.set_prefix(format!("round {}", self.round));
            self.bar = Some(bar);
        } else {
            say_aside!("round {}: {codes} {}", self.round, if codes == 1 { "code" } else { "codes" });
        }
    }

    fn measured(&mut self, done: usize) {
        match &self.bar {
            Some(bar) => bar.set_position(done as u64),
            None if self.told.elapsed() >= BETWEEN_LINES && done < self.codes => {
                say_aside!("round {}: {done} of {} codes", self.round, self.codes);
                self.told = Instant::now();
            }
            None => {}
        }
    }

    fn ends(&mut self, race: &Race) {
        self.finish();
        let left = race.left.iter().flatten().count();
        let mut text = format!("round {}: {} codes have left", self.round, left);
        for (figure, limit) in self.wish.limits().iter().filter(|(figure, _)| *figure != Figure::Bytes) {
            let wanted = ::advise::Departure::OutOfReach(*figure);
            let count = race.left.iter().flatten().filter(|reason| **reason == wanted).count();
            if count > 0 {
                text += &format!("; {count} of them cannot reach {}", figure.limit(*limit));
            }
        }
        say_aside!("{text}");
    }
}

impl From<AdviseError> for Mistakes {
    fn from(error: AdviseError) -> Mistakes {
        let help = match &error {
            AdviseError::NoCodes { .. } => "allow larger codes, or more methods",
            AdviseError::FewQueries { .. } => "give a file of `queries`, or more vectors",
            AdviseError::FewRows { .. } => "give more vectors, a larger `--rows`, or a smaller `--k`",
            AdviseError::AllFailed { .. } => "give more vectors, or try other methods",
            AdviseError::Nothing => "give it more `--time`",
        };
        Mistakes::new(error.to_string(), help)
    }
}
