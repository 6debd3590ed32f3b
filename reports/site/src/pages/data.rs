//! What the pages are about: every point of every submission, and the datasets, methods and machine classes among them.

use crate::folder::Submission;
use crate::manifest::{Manifest, slug};
use crate::verification::Verification;
use record::{Ended, Results, sha256};
use reports::ReportError;
use reports::summary::{DatasetSummary, Point, summarize};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// A submission without its records.
pub struct Entry {
    /// Its manifest.
    pub manifest: Manifest,
    /// Source revisions, short, in order.
    pub revisions: Vec<String>,
    /// Classes of machines, in order.
    pub classes: Vec<String>,
    /// The verification that makes it reproduced.
    pub reproduced: Option<Verification>,
    /// The verification beside it, whatever it says.
    pub verification: Option<Verification>,
    /// Whether that is about these very files, and not about earlier ones.
    pub is_current: bool,
}

/// Where a point comes from.
#[derive(Clone)]
pub struct Source {
    /// Index of its submission.
    pub submission: usize,
    /// Classes of the machines that its trials ran on, in order.
    pub classes: Vec<String>,
    /// Source revision, short.
    pub revision: String,
    /// Method, parameters and device: what two submissions must share to be about the same. Labels are free text.
    pub configuration: String,
}

/// A dataset with the points of all submissions.
pub struct Dataset {
    /// All points, those of one curve together, by ascending rate.
    pub summary: DatasetSummary,
    /// Where each point comes from.
    pub sources: Vec<Source>,
    /// Path of its page.
    pub path: String,
}

/// Everything that the pages show.
pub struct Board {
    /// The submissions, newest first.
    pub submissions: Vec<Entry>,
    /// The datasets, by name.
    pub datasets: Vec<Dataset>,
    /// The methods by name, with the path of their page.
    pub methods: BTreeMap<String, String>,
    /// The classes of machines by name, with the path of their page.
    pub classes: BTreeMap<String, String>,
}

/// A path for something of any name: readable, and unique by a digest of the whole name.
pub fn path_of(folder: &str, name: &str, whole: &str) -> String {
    format!("{folder}/{}-{}.html", slug(name), &sha256(whole.as_bytes())[..8])
}

/// A revision as people write it.
pub fn short(ended: &Ended) -> String {
    let machine = &ended.machine;
    let changed = if machine.git_dirty == Some(true) { "+" } else { "" };
    match &machine.git_revision {
        Some(revision) => format!("{}{changed}", revision.chars().take(10).collect::<String>()),
        None => format!("version {}", machine.version),
    }
}

/// Submissions that are left out, each with the reason.
type LeftOut = Vec<(String, String)>;

impl Board {
    /// Gathers the points of all submissions.
    pub fn new(mut submissions: Vec<Submission>, mut left_out: LeftOut) -> Result<(Board, LeftOut), ReportError> {
        let order = |s: &Submission| (s.manifest.date.clone(), s.manifest.id.clone());
        submissions.sort_by_key(|submission| std::cmp::Reverse(order(submission)));
        let mut board =
            Board { submissions: vec![], datasets: vec![], methods: BTreeMap::new(), classes: BTreeMap::new() };
        for submission in submissions {
            let (id, run) = (submission.manifest.id.clone(), submission.run.clone());
            // Its run is summarized alone, so that a submission that cannot be read leaves the others as they are.
            let read = Results::of(&run).map_err(ReportError::Table).and_then(|results| {
                let summaries = summarize(std::slice::from_ref(&results))?;
                Ok((results, summaries))
            });
            match read {
                Ok((results, summaries)) => board.add(submission, &results, summaries),
                Err(error) => left_out.push((id, error.to_string())),
            }
        }
        board.sort();
        left_out.sort();
        Ok((board, left_out))
    }

    fn add(&mut self, submission: Submission, results: &Results, summaries: Vec<DatasetSummary>) {
        let number = self.submissions.len();
        let ended: HashMap<&str, &Ended> = results.ended.iter().map(|e| (e.trial.id.as_str(), e)).collect();
        let (mut revisions, mut classes) = (Vec::new(), Vec::new());
        for summary in summaries {
            let fingerprint = &summary.facts.fingerprint;
            let at = self.datasets.iter().position(|d| d.summary.facts.fingerprint == *fingerprint);
            let at = at.unwrap_or_else(|| {
                let path = path_of("datasets", &summary.name, fingerprint);
                let (name, facts) = (summary.name.clone(), summary.facts.clone());
                let summary = DatasetSummary { name, facts, points: vec![], machines: vec![] };
                self.datasets.push(Dataset { summary, sources: vec![], path });
                self.datasets.len() - 1
            });
            for mut point in summary.points {
                // Between submissions, only what a record says of its own machine counts.
                let of = |id: &String| ended.get(id.as_str()).map_or(Arc::from(""), |e| e.machine.class().into());
                point.machines = point.trials.iter().map(of).collect();
                let of_point: BTreeSet<&str> = point.machines.iter().map(|class| &**class).collect();
                let of_point: Vec<String> = of_point.into_iter().map(str::to_owned).collect();
                let Some(first) = point.trials.first().and_then(|id| ended.get(id.as_str())) else { continue };
                let trial = &first.trial;
                let source = Source {
                    submission: number,
                    classes: of_point,
                    revision: short(first),
                    configuration: format!("{} {} on {}", trial.method, trial.params, trial.device),
                };
                let of_classes = source.classes.iter().map(|class| (true, class));
                for (is_class, text) in of_classes.chain([(false, &source.revision)]) {
                    let list = if is_class { &mut classes } else { &mut revisions };
                    if !list.contains(text) {
                        list.push(text.clone());
                    }
                }
                self.methods
                    .entry(point.method.clone())
                    .or_insert_with(|| path_of("methods", &point.method, &point.method));
                for class in &source.classes {
                    self.classes.entry(class.clone()).or_insert_with(|| path_of("machines", class, class));
                }
                let dataset = &mut self.datasets[at].summary;
                for class in &point.machines {
                    if !dataset.machines.contains(class) {
                        dataset.machines.push(class.clone());
                    }
                }
                self.datasets[at].summary.points.push(point);
                self.datasets[at].sources.push(source);
            }
        }
        let reproduced = submission.reproduced().cloned();
        let Submission { manifest, verification, digest, .. } = submission;
        let is_current = verification.as_ref().is_some_and(|found| found.manifest_sha256 == digest);
        self.submissions.push(Entry { manifest, revisions, classes, reproduced, verification, is_current });
    }

    /// Puts the points of one curve together, by ascending rate; those of earlier submissions come last.
    fn sort(&mut self) {
        for dataset in &mut self.datasets {
            let points = std::mem::take(&mut dataset.summary.points);
            let mut both: Vec<(Point, Source)> = points.into_iter().zip(std::mem::take(&mut dataset.sources)).collect();
            both.sort_by(|(a, x), (b, y)| {
                let key =
                    |p: &Point, s: &Source| (p.method.clone(), p.series.clone(), p.bits, p.label.clone(), s.submission);
                key(a, x).cmp(&key(b, y))
            });
            (dataset.summary.points, dataset.sources) = both.into_iter().unzip();
        }
        self.datasets.retain(|dataset| !dataset.summary.points.is_empty());
        self.datasets.sort_by(|a, b| (&a.summary.name, &a.path).cmp(&(&b.summary.name, &b.path)));
    }
}
