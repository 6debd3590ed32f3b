//! Compares the race of `cargo xtask advise` with the full sweep of the same codes, on real vectors.
//!
//! ```sh
//! cargo run --release -p xtask -p vqbench-advise --example evaluate -- ROWS [-METHOD…] DATASET…
//! ```
//!
//! For each dataset, every code of every case is measured once on all rows (the sweep). For each case, the best code of
//! the sweep by the queries of the race is compared with the code that the race chooses, both by the queries held out,
//! and the processor seconds of the race with those of all codes of the case in the sweep. One line of a Markdown table
//! for each case; `docs/advise.md` holds the result. `-NAME` leaves a method out. `VQBENCH_DATA` names the folder of vectors.

use advise::{Arm, Bench, Failure, Measured, Observer, Race, Samples, arms as arms_of, measure, race};
use datasets::{SearchPath, Source};
use methods::backend::CpuBackend;
use methods::{Context, METHODS};
use reports::advice::{Figure, Figures, Wish};
use std::collections::HashMap;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;

/// Any error; it may come from another thread.
type Failed = Box<dyn Error + Send + Sync>;

/// Neighbours of each query.
const K: usize = 10;

/// Most that the objective, and each limit, may be missed by.
const TOLERANCE: f64 = 0.02;

/// A case: limits, and the figure to make best.
type Case = (Vec<(Figure, f64)>, Option<Figure>);

/// Bytes of the codes that every case tries: more than the first number, at most the second.
const SIZES: (usize, usize) = (8, 16);

/// The cases.
fn cases() -> Vec<Case> {
    let limit = (Figure::Bytes, SIZES.1 as f64);
    vec![
        (vec![limit], None),
        (vec![limit], Some(Figure::Distortion)),
        (vec![limit, (Figure::Recall, 0.4)], Some(Figure::Bytes)),
    ]
}

/// Seconds that this process has spent on processors: what other programs do at the same time does not count.
#[cfg(unix)]
fn processor_seconds() -> f64 {
    use nix::sys::resource::{UsageWho, getrusage};
    let usage = getrusage(UsageWho::RUSAGE_SELF);
    usage.map_or(f64::NAN, |usage| {
        [usage.user_time(), usage.system_time()]
            .iter()
            .map(|time| time.tv_sec() as f64 + 1e-6 * time.tv_usec() as f64)
            .sum()
    })
}

/// Seconds, where the system does not say how much of them this process has had.
#[cfg(not(unix))]
fn processor_seconds() -> f64 {
    static BEGIN: std::sync::LazyLock<std::time::Instant> = std::sync::LazyLock::new(std::time::Instant::now);
    BEGIN.elapsed().as_secs_f64()
}

struct Quiet;

impl Observer for Quiet {
    fn begins(&mut self, _: usize, _: usize) {}
    fn measured(&mut self, _: usize) {}
    fn ends(&mut self, _: &Race) {}
}

struct Vectors<'a> {
    arms: &'a [Arm],
    samples: &'a Samples,
    wish: &'a Wish,
    cx: Context,
}

impl Bench for Vectors<'_> {
    fn shares(&self) -> Vec<f64> {
        self.samples.stages.iter().map(|stage| stage.share).collect()
    }

    fn measure(&mut self, code: usize, round: usize) -> Result<Measured, Failure> {
        let stage = &self.samples.stages[round];
        let fully = round + 1 == self.samples.stages.len();
        measure(&self.arms[code], stage, self.samples, self.wish, fully, &self.cx)
            .map_err(|error| Failure::Failed(error.to_string()))
    }
}

/// The best of several codes by the queries of the race, and its figures by those held out.
fn best(wish: &Wish, codes: &[(String, Measured)]) -> Option<(String, Figures)> {
    let in_race: Vec<Figures> = codes.iter().map(|(_, measured)| measured.figures(1.0)).collect();
    let at = wish.best(&in_race)?;
    Some((codes[at].0.clone(), codes[at].1.figures_held_out()))
}

/// How much worse `a` is than `b`: in the objective, relative to that of `b`, and in any limit that `b` meets.
fn regret(wish: &Wish, a: &Figures, b: &Figures) -> f64 {
    let worse = |figure: Figure, a: f64, b: f64| {
        if figure.larger_is_better() { (b - a) / b } else { (a - b) / b }
    };
    let objective = wish.objective();
    let (Some(own), Some(other)) = (a.value(objective), b.value(objective)) else { return f64::INFINITY };
    let mut most = worse(objective, own, other).max(0.0);
    for &(figure, limit) in wish.limits() {
        let (Some(own), Some(other)) = (a.value(figure), b.value(figure)) else { return f64::INFINITY };
        if !figure.meets(own, limit) {
            // A limit that the sweep's best misses by as much is missed by no fault of the race.
            let target = if figure.meets(other, limit) { limit } else { other };
            most = most.max(worse(figure, own, target));
        }
    }
    most
}

fn main() -> Result<(), Failed> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [rows, names @ ..] = &arguments[..] else {
        return Err("usage: evaluate ROWS [-METHOD…] DATASET…".into());
    };
    let rows: usize = rows.parse()?;
    let (without, names): (Vec<&String>, Vec<&String>) = names.iter().partition(|name| name.starts_with('-'));
    let tried = METHODS.iter().map(|entry| entry.name.to_owned());
    let tried: Vec<String> = tried.filter(|name| !without.iter().any(|left| left[1..] == *name)).collect();
    let mut search = SearchPath::of_source_tree();
    search.folders.extend(std::env::var_os("VQBENCH_DATA").iter().flat_map(std::env::split_paths));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    println!(
        "| vectors | wish | best of the sweep | chosen by the race | worse by | race s | sweep s | share of its time | codes |"
    );
    println!("|--|--|--|--|--|--|--|--|--|");
    let (mut near, mut quick, mut count) = (0, 0, 0);
    for name in names {
        let data = Source::Named(name.clone()).resolve(Path::new("."), &search)?.load()?;
        pool.install(|| -> Result<(), Failed> {
            let cx = Context::on(Arc::new(CpuBackend::detect()), 1);
            let samples = Samples::draw(&data, K, rows, 1, &*cx.backend);
            let last = samples.stages.len() - 1;
            let wishes: Vec<Wish> =
                cases().into_iter().map(|(limits, best)| Wish::new(limits, best)).collect::<Result<_, _>>()?;
            // Every code, measured once with everything that any case needs.
            let mut swept: HashMap<String, (Measured, f64)> = HashMap::new();
            let mut arms: Vec<Arm> = Vec::new();
            for arm in wishes.iter().flat_map(|wish| arms_of(wish, data.dim(), &tried)) {
                if arm.bytes > SIZES.0 && arm.bytes <= SIZES.1 && !arms.contains(&arm) {
                    arms.push(arm);
                }
            }
            for (at, wish) in wishes.iter().enumerate() {
                let (mut sweep, mut sweep_seconds) = (Vec::new(), 0.0);
                for arm in &arms {
                    let written = arm.written();
                    if !swept.contains_key(&written) {
                        let begin = processor_seconds();
                        match measure(arm, &samples.stages[last], &samples, wish, true, &cx) {
                            Ok(measured) => {
                                swept.insert(written.clone(), (measured, processor_seconds() - begin));
                            }
                            Err(error) => eprintln!("{name}: {written} failed: {error}"),
                        }
                    }
                    if let Some((measured, seconds)) = swept.get(&written) {
                        sweep.push((written, measured.clone()));
                        sweep_seconds += seconds;
                    }
                }
                let begin = processor_seconds();
                let mut vectors = Vectors { arms: &arms, samples: &samples, wish, cx: cx.clone() };
                let raced = race(wish, arms.len(), &mut vectors, &mut Quiet);
                let race_seconds = processor_seconds() - begin;
                let finalists: Vec<(String, Measured)> = raced
                    .finalists
                    .iter()
                    .filter_map(|code| Some((arms[*code].written(), raced.measured[*code].last()?.clone())))
                    .collect();
                let (Some((wanted, target)), Some((chosen, found))) = (best(wish, &sweep), best(wish, &finalists))
                else {
                    return Err(format!("{name}: case {at} has no codes").into());
                };
                let (regret, share) = (regret(wish, &found, &target), race_seconds / sweep_seconds);
                count += 1;
                near += usize::from(regret <= TOLERANCE);
                quick += usize::from(share <= 0.1);
                let show = |written: &str, figures: &Figures| {
                    let figures = [Figure::Bytes, Figure::Recall]
                        .map(|f| figures.value(f).map_or_else(String::new, |v| f.show(v)));
                    format!("`{written}`: {}", figures.join(", "))
                };
                println!(
                    "| {name} | {} | {} | {} | {:.1}% | {race_seconds:.1} | {sweep_seconds:.1} | {:.0}% | {} |",
                    reports::advice::limits(wish),
                    show(&wanted, &target),
                    if wanted == chosen { "the same".to_owned() } else { show(&chosen, &found) },
                    100.0 * regret,
                    100.0 * share,
                    arms.len()
                );
            }
            Ok(())
        })?;
    }
    println!("\n{near} of {count} cases within 2% of the sweep's best; {quick} of {count} in at most 10% of its time");
    Ok(())
}
