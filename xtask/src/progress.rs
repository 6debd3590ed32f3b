//! Shows the progress of a run: a bar with the remaining time on a terminal, otherwise one line per trial.

use experiments::Observer;
use indicatif::{ProgressBar, ProgressStyle};
use record::metric::PEAK_RSS_BYTES;
use record::{Preparation, Status, TrialLog, TrialRecord};
use reports::spent::Work;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Shows progress on standard error.
pub struct Progress {
    bar: Option<ProgressBar>,
    /// The rows of the dataset that is being prepared.
    rows: Option<RowProgress>,
    terminal: bool,
    done: usize,
    total: usize,
    /// What the trials of each dataset took, in order.
    spent: Vec<SpentOn>,
}

struct SpentOn {
    dataset: String,
    logs: Vec<TrialLog>,
    peaks: Vec<f64>,
}

impl Progress {
    /// Detects whether standard error is a terminal.
    pub fn new() -> Progress {
        Progress {
            bar: None,
            rows: None,
            terminal: std::io::stderr().is_terminal(),
            done: 0,
            total: 0,
            spent: Vec::new(),
        }
    }

    /// Prints a line above the bar.
    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| say_aside!("{text}")),
            None => say_aside!("{text}"),
        }
    }

    /// Removes the bar, and says where the time of trials went.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        for SpentOn { dataset, logs, peaks } in &self.spent {
            let work = Work::of_trials(&logs.iter().collect::<Vec<_>>(), peaks.iter().copied());
            if !work.phases.is_empty() {
                say_aside!("{} of {dataset} took {}", work.name, work.line());
            }
        }
    }

    /// Keeps what a trial took.
    fn note(&mut self, record: &TrialRecord) {
        let Some(log) = &record.log else { return };
        let dataset = &record.trial.dataset;
        let at = self.spent.iter().position(|spent| &spent.dataset == dataset).unwrap_or_else(|| {
            self.spent.push(SpentOn { dataset: dataset.clone(), logs: Vec::new(), peaks: Vec::new() });
            self.spent.len() - 1
        });
        self.spent[at].logs.push(TrialLog { phases: log.phases.clone(), ..TrialLog::default() });
        let peaks = record.values.iter().filter(|value| value.metric == PEAK_RSS_BYTES.name).map(|value| value.value);
        self.spent[at].peaks.extend(peaks);
    }
}

/// Interval of progress lines without a terminal.
const BETWEEN_LINES: Duration = Duration::from_secs(10);

/// Shows how many rows of a file are done: a bar on a terminal, otherwise a line at intervals.
pub struct RowProgress {
    bar: Option<ProgressBar>,
    done: usize,
    total: usize,
    begun: Instant,
    told: Instant,
}

impl RowProgress {
    /// Starts at 0 of `total` rows.
    pub fn new(total: usize) -> RowProgress {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{bar:30} {human_pos}/{human_len} rows, {per_sec}, {eta} left")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::new(total as u64).with_style(style)
        });
        let now = Instant::now();
        RowProgress { bar, done: 0, total, begun: now, told: now }
    }

    /// So many are done.
    pub fn reach(&mut self, rows: usize) {
        self.done = rows;
        match &self.bar {
            Some(bar) => bar.set_position(self.done as u64),
            None if self.told.elapsed() >= BETWEEN_LINES && self.done < self.total => {
                let (done, total) = (self.done as f64, self.total as f64);
                let left = self.begun.elapsed().as_secs_f64() * (total - done) / done;
                say_aside!(
                    "{} of {} rows ({:.0}%), {} left",
                    self.done,
                    self.total,
                    100.0 * done / total,
                    roughly(left)
                );
                self.told = Instant::now();
            }
            None => {}
        }
    }
}

impl Drop for RowProgress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// `about 8 s`, `about 3 min`, `about 2.5 h`: as much precision as an estimate deserves.
pub fn roughly(seconds: f64) -> String {
    match seconds {
        s if s < 0.95 => "under 1 s".to_owned(),
        s if s < 90.0 => format!("about {s:.0} s"),
        s if s < 5400.0 => format!("about {:.0} min", s / 60.0),
        s => format!("about {:.1} h", s / 3600.0),
    }
}

/// `1 trial`, `2 trials`.
pub fn trials(count: usize) -> String {
    if count == 1 { "1 trial".to_owned() } else { format!("{count} trials") }
}

/// Three significant digits, however small the value.
fn three_digits(value: f64) -> String {
    if value != 0.0 && value.abs() < 1e-3 { format!("{value:.2e}") } else { format!("{value:.4}") }
}

/// One-line summary of a record.
fn headline(record: &TrialRecord) -> String {
    let value = |metric: &str, k: Option<usize>| {
        record
            .values
            .iter()
            .find(|v| v.metric == metric && v.stage.is_none() && (k.is_none() || v.k == k))
            .map(|v| v.value)
    };
    let mut words = Vec::new();
    if let Some(nmse) = value("nmse", None) {
        words.push(format!("nmse {}", three_digits(nmse)));
    }
    if let Some(recall) = value("recall_k_at_k", Some(10)) {
        words.push(format!("10-recall@10 {recall:.3}"));
    }
    words.join(", ")
}

impl Observer for Progress {
    fn preparing(&mut self, dataset: &str) {
        self.rows = None;
        self.line(&format!("preparing {dataset}: checking values, exact neighbours, Gaussian bound"));
    }

    fn prepared(&mut self, _: &str, done: usize, all: usize) {
        self.rows.get_or_insert_with(|| RowProgress::new(all)).reach(done);
        if done == all {
            self.rows = None;
        }
    }

    fn has_prepared(&mut self, dataset: &str, preparation: &Preparation) {
        self.rows = None;
        self.line(&format!("preparing {dataset} took {}", Work::of_preparation(preparation).line()));
    }

    fn remark(&mut self, dataset: &str, remark: &str) {
        self.line(&format!("note on {dataset}: {remark}"));
    }

    fn begin(&mut self, to_run: usize, reused: usize, estimated_seconds: f64) {
        self.total = to_run;
        let reuse = if reused > 0 { format!(", {reused} ended before and are kept") } else { String::new() };
        let estimate = if to_run > 0 { format!(", {}", roughly(estimated_seconds)) } else { String::new() };
        self.line(&format!("{} to run{reuse}{estimate}", trials(to_run)));
        if self.terminal && to_run > 0 {
            let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {prefix}  {wide_msg}")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            let bar = ProgressBar::new(to_run as u64).with_style(style);
            bar.set_prefix(format!("{} left", roughly(estimated_seconds)));
            self.bar = Some(bar);
        }
    }

    fn waiting(&mut self, words: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(words.to_owned()),
            None => self.line(words),
        }
    }

    fn phase(&mut self, trial: &str, phase: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{trial}: {phase}"));
        }
    }

    fn ended(&mut self, trial: &str, record: &TrialRecord, remaining_seconds: f64) {
        self.done += 1;
        self.note(record);
        let width = self.total.to_string().len();
        let result = match (&record.reason, record.status) {
            (None, _) => headline(record),
            (Some(reason), Status::Timeout) => format!("TIMEOUT: {reason}"),
            (Some(reason), _) => format!("FAILED: {reason}"),
        };
        let left =
            if self.done < self.total { format!(", {} left", roughly(remaining_seconds)) } else { String::new() };
        let line =
            format!("[{:>width$}/{}] {} · {result} ({:.1} s{left})", self.done, self.total, trial, record.wall_seconds);
        if let Some(bar) = &self.bar {
            bar.set_position(self.done as u64);
            // On a terminal the bar shows progress; only failures get a line of their own.
            if record.status == Status::Ok {
                bar.set_prefix(format!("{} left", roughly(remaining_seconds)));
                return;
            }
        }
        self.line(&line);
    }
}
