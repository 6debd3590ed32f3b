//! The comparison as Markdown: a pure function of the measurements.

use super::limits::MachinePeaks;
use super::outcome::{RowComparison, RowEnd, RowOutcome, RowQuality, WorkAmount};
use super::rows::Stage;
use record::Machine;
use reports::number::{engineering, significant};
use reports::statistics::{middle, spread};

/// What all rows share.
#[derive(Clone, Debug)]
pub struct RunDescription {
    /// Where it ran.
    pub machine: Machine,
    /// Threads of each side.
    pub threads: usize,
    /// Version of FAISS, and what it was compiled for.
    pub peer: String,
    /// The peaks of the machine.
    pub limits: MachinePeaks,
    /// Fraction of the processor time of this many threads that was available, if the system reports it.
    pub processor_share: Option<f64>,
    /// Whether sizes are too small for a verdict.
    pub quick: bool,
}

/// A dataset and its size.
#[derive(Clone, Debug)]
pub struct Heading {
    /// Name.
    pub name: String,
    /// Base rows.
    pub n: usize,
    /// Components per vector.
    pub dim: usize,
    /// Queries.
    pub queries: usize,
}

const NOTES: &str = "\
Ours and FAISS in turn in one run, on the same rows and as many threads, after a warm-up: medians, ± half the distance between \
the fastest and the slowest repeat; in brackets the lowest and the highest ratio of two times taken one after the other.
The share of the limit is what a plain f32 computation (or the bytes that must pass) would take, over the time that it took \
and the peak above. A method that does less work than that, or whose codes fit the cache, can be above 100%.
Quality is the mean squared error per vector (mse, lower is better) or the share of the exact neighbours among those found \
(recall, higher is better). A row reaches its aim if it is as fast as the aim says, and its mse is at most 1.005 of theirs or \
its recall at most 0.01 below: codebooks start at random on both sides.
OPQ: theirs is the training of the rotation alone, ours with the codebooks. Exact search is judged by a plain scan of 50 queries.
";

/// With less of the processor than this, other programs disturb the measurement.
const UNDISTURBED: f64 = 0.9;

/// The whole page.
pub fn to_markdown(setting: &RunDescription, headings: &[Heading], outcomes: &[RowOutcome]) -> String {
    let RunDescription { machine, threads, peer, limits, processor_share, quick } = setting;
    let mut out = format!(
        "# Beside FAISS\n\n{}, {} threads on each side, {}; {peer}.\nPeaks in this run: {}FLOP/s of f32 multiply-adds, {}B/s of \
         reads.\n",
        if machine.cpu.is_empty() { "an unknown processor" } else { &machine.cpu },
        threads,
        machine.simd,
        engineering(limits.flops),
        engineering(limits.bytes),
    );
    if let Some(share) = processor_share.filter(|share| *share < UNDISTURBED) {
        out += &format!(
            "\n**Other programs were at work**: of the processor time that {threads} threads can have, {:.0}% was to be had when \
             the peaks were measured. Peaks are too low and times too long, FAISS's more so, because its threads wait for each \
             other. Measure again on a quiet machine.\n",
            100.0 * share
        );
    }
    if *quick {
        out += "\nA quick look at few rows: these figures say nothing about speed.\n";
    }
    for heading in headings {
        let Heading { name, n, dim, queries } = heading;
        out += &format!("\n## {name}: {n} rows, d={dim}, {queries} queries\n\n");
        out += "| work | ours | FAISS | ours / FAISS | aim | rate, ours / FAISS | of the limit | quality, ours / FAISS | |\n";
        out += "|--|--:|--:|--:|--:|--:|--:|--:|--|\n";
        let of_dataset = || outcomes.iter().filter(|outcome| &outcome.dataset == name);
        for outcome in of_dataset() {
            if let RowEnd::Measured(comparison) = &outcome.end {
                out += &line(outcome, comparison, *limits, *quick);
            }
        }
        for outcome in of_dataset() {
            match &outcome.end {
                RowEnd::Skipped(reason) => out += &format!("\nleft out: {}: {reason}\n", outcome.name),
                RowEnd::Failed(reason) => out += &format!("\n**failed**: {}: {}\n", outcome.name, one_line(reason)),
                RowEnd::Measured(_) => {}
            }
        }
    }
    out + "\n" + NOTES
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn line(outcome: &RowOutcome, comparison: &RowComparison, limits: MachinePeaks, quick: bool) -> String {
    let RowComparison { ours, theirs, items, work, quality, .. } = comparison;
    let speed = |seconds: &[f64]| {
        let middle = middle(seconds);
        let text = match outcome.stage {
            Stage::Train => format!("{} s", significant(middle, 3)),
            Stage::Encode | Stage::Decode => format!("{}vec/s", spaced(items / middle)),
            Stage::Search => format!("{}q/s", spaced(items / middle)),
        };
        if seconds.len() > 1 { format!("{text} ±{:.0}%", 100.0 * spread(seconds)) } else { text }
    };
    let rates = [ours, theirs].map(|seconds| work.amount() / middle(seconds));
    let (scale, unit) = match work {
        WorkAmount::Flops(_) => (1e9, "GFLOP/s"),
        WorkAmount::Bytes(_) => (1e9, "GB/s"),
    };
    let [our_rate, their_rate] = rates.map(|rate| significant(rate / scale, 3));
    let [our_share, their_share] = rates.map(|rate| format!("{:.0}%", 100.0 * rate / work.limit(limits)));
    let (low, high) = comparison.ratio_range();
    let ratio = format!("{:.2}", comparison.ratio());
    let ratio = if ours.len() > 1 { format!("**{ratio}** ({low:.2}–{high:.2})") } else { format!("**{ratio}**") };
    let quality_text = match quality {
        RowQuality::Distortion([a, b]) => format!("mse {} / {}", significant(*a, 4), significant(*b, 4)),
        RowQuality::Overlap([a, b]) => format!("recall {a:.4} / {b:.4}"),
    };
    let verdict = match (quick, comparison.ratio() >= outcome.aim, quality.holds()) {
        (true, ..) => "",
        (_, true, true) => "reached",
        (_, false, true) => "slower than the aim",
        (_, true, false) => "quality below",
        (_, false, false) => "slower than the aim, quality below",
    };
    format!(
        "| {} | {} | {} | {ratio} | ≥ {} | {our_rate} / {their_rate} {unit} | {our_share} / {their_share} | {quality_text} | \
         {verdict} |\n",
        outcome.name,
        speed(ours),
        speed(theirs),
        outcome.aim,
    )
}

/// With k, M or G and a space before the unit.
fn spaced(value: f64) -> String {
    let text = engineering(value);
    if text.ends_with(char::is_alphabetic) { text } else { text + " " }
}

/// Number of rows that reach their aim, of those measured, and number of failed rows.
pub fn summary(outcomes: &[RowOutcome]) -> String {
    let (mut measured, mut reached, mut failed, mut skipped) = (0, 0, 0, 0);
    for outcome in outcomes {
        match &outcome.end {
            RowEnd::Measured(comparison) => {
                measured += 1;
                reached += usize::from(comparison.reaches(outcome.aim));
            }
            RowEnd::Failed(_) => failed += 1,
            RowEnd::Skipped(_) => skipped += 1,
        }
    }
    format!("{measured} rows measured, {reached} of them reach their aim; {failed} failed, {skipped} left out")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_shows_both_sides_and_what_is_short() {
        let setting = RunDescription {
            machine: Machine { cpu: "A Processor".into(), simd: "avx512".into(), ..Machine::default() },
            threads: 2,
            peer: "FAISS 1.15.1 (AVX512)".into(),
            limits: MachinePeaks { flops: 496e9, bytes: 35e9 },
            processor_share: Some(0.42),
            quick: false,
        };
        let comparison = |ours: &[f64], theirs: &[f64], items: f64, work: WorkAmount, quality: RowQuality| {
            RowEnd::Measured(RowComparison {
                ours: ours.into(),
                theirs: theirs.into(),
                items,
                work,
                quality,
                path: None,
            })
        };
        let outcome =
            |name: &str, stage, aim, end| RowOutcome { dataset: "u".into(), name: name.into(), stage, aim, end };
        let same = RowQuality::Distortion([9.531, 9.53]);
        let outcomes = [
            outcome(
                "kmeans",
                Stage::Train,
                1.5,
                comparison(&[1.0, 1.1, 1.2], &[2.0, 2.2, 2.1], 1e5, WorkAmount::Flops(3e11), same),
            ),
            outcome("decode", Stage::Decode, 1.0, comparison(&[0.01], &[0.007], 1e5, WorkAmount::Bytes(5.28e7), same)),
            outcome(
                "search",
                Stage::Search,
                2.0,
                comparison(&[0.1, 0.1], &[0.3, 0.3], 1e3, WorkAmount::Bytes(1e10), RowQuality::Overlap([0.31, 0.33])),
            ),
            outcome("fast scan", Stage::Search, 1.2, RowEnd::Skipped("d=100 is not divisible by 32".into())),
            outcome("lsq", Stage::Train, 3.0, RowEnd::Failed("the peer ended before\nit answered".into())),
        ];
        let heading = Heading { name: "u".into(), n: 100_000, dim: 128, queries: 1000 };
        let golden = to_markdown(&setting, &[heading], &outcomes) + "\n" + &summary(&outcomes);
        insta::assert_snapshot!(golden);
    }
}
