//! Compares the race of `cargo xtask advise` with the full sweep of the same codes, on real vectors.
//!
//! ```sh
//! cargo run --release -p xtask -p vqbench-advise --example evaluate -- TABLE ROWS [--few] [-METHOD…] DATASET…
//! ```
//!
//! Every code of every case is measured once on every sample, the last of which has all rows (the sweep), with its
//! processor seconds. `TABLE` is the file that keeps this: what it holds is not measured again, so the command can be
//! stopped at any time. A race sees the same samples and seeds, so it is replayed from the table. For each case, the best
//! code of the sweep by the queries of the race is compared with the code that the race chooses, both by the queries held
//! out. The seconds of all that the race measured, and of the further seeds that its answer trains, are compared with those
//! of the sweep with one seed and with three. "best alone" is the share of a sweep with one seed that the best code takes:
//! no search that trains it on all rows can take less. One line of a Markdown table for each case; `docs/advise.md` holds
//! the result. `-NAME` leaves a method out; `--few` leaves all cases out but the two with codes of 8 bytes. `VQBENCH_DATA`
//! names the folder of vectors.

use advise::{
    Arm, Bench, Failure, Measured, Observer, Race, Samples, arms as arms_of, entrants, measure, of_queries, race,
};
use datasets::{SearchPath, Source};
use methods::backend::CpuBackend;
use methods::{Context, METHODS};
use reports::advice::{Figure, Figures, Wish, limits};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::sync::Arc;

/// Any error; it may come from another thread.
type Failed = Box<dyn Error + Send + Sync>;

/// Neighbours of each query.
const K: usize = 10;

/// Most that the objective, and each limit, may be missed by.
const TOLERANCE: f64 = 0.02;

/// Seeds that the answer looks at, and that an experiment trains every code with.
const SEEDS: f64 = 3.0;

/// A case: limits, and the figure to make best.
type Case = (Vec<(Figure, f64)>, Option<Figure>);

/// The cases, or a few of them.
fn cases(few: bool) -> Vec<Case> {
    let bytes = |most: f64| (Figure::Bytes, most);
    if few {
        return vec![(vec![bytes(8.0)], None), (vec![bytes(8.0)], Some(Figure::Distortion))];
    }
    vec![
        (vec![bytes(8.0)], None),
        (vec![bytes(16.0)], None),
        (vec![bytes(16.0)], Some(Figure::Distortion)),
        (vec![bytes(16.0), (Figure::Recall, 0.4)], Some(Figure::Bytes)),
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

/// A code on one sample.
#[derive(Clone, Serialize, Deserialize)]
struct Cell {
    dataset: String,
    rows: usize,
    code: String,
    round: usize,
    /// Processor seconds.
    seconds: f64,
    /// Why it failed, or what it has shown.
    outcome: Result<Measured, String>,
}

/// All that was measured, by dataset, rows, code and round.
type Table = HashMap<(String, usize, String, usize), Cell>;

fn key(cell: &Cell) -> (String, usize, String, usize) {
    (cell.dataset.clone(), cell.rows, cell.code.clone(), cell.round)
}

/// Reads a table. A last line that was cut off is left out.
fn read(path: &str) -> Result<Table, Failed> {
    let mut table = Table::new();
    if Path::new(path).exists() {
        for line in BufReader::new(File::open(path)?).lines() {
            if let Ok(cell) = serde_json::from_str::<Cell>(&line?) {
                table.insert(key(&cell), cell);
            }
        }
    }
    Ok(table)
}

/// Codes whose measurements are in a table.
struct Replayed<'a> {
    shares: Vec<f64>,
    /// The cells of each code, by round.
    cells: Vec<Vec<&'a Cell>>,
    seconds: f64,
}

impl Bench for Replayed<'_> {
    fn shares(&self) -> Vec<f64> {
        self.shares.clone()
    }

    fn measure(&mut self, code: usize, round: usize) -> Result<Measured, Failure> {
        let cell = self.cells[code][round];
        self.seconds += cell.seconds;
        cell.outcome.clone().map_err(Failure::Failed)
    }
}

/// The best of several codes by the queries of the race, and its figures by those held out.
fn best(wish: &Wish, codes: &[(String, Measured)]) -> Option<(String, Figures)> {
    let in_race: Vec<Figures> = codes.iter().map(|(_, measured)| of_queries(measured, &measured.recalls)).collect();
    let at = wish.best(&in_race)?;
    Some((codes[at].0.clone(), of_queries(&codes[at].1, &codes[at].1.held_out)))
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
    let [path, rows, names @ ..] = &arguments[..] else {
        return Err("usage: evaluate TABLE ROWS [--few] [-METHOD…] DATASET…".into());
    };
    let rows: usize = rows.parse()?;
    let (without, names): (Vec<&String>, Vec<&String>) = names.iter().partition(|name| name.starts_with('-'));
    let few = without.iter().any(|option| *option == "--few");
    let tried = METHODS.iter().map(|entry| entry.name.to_owned());
    let tried: Vec<String> = tried.filter(|name| !without.iter().any(|left| left[1..] == *name)).collect();
    let mut search = SearchPath::of_source_tree();
    search.folders.extend(std::env::var_os("VQBENCH_DATA").iter().flat_map(std::env::split_paths));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    let mut table = read(path)?;
    let mut file = File::options().create(true).append(true).open(path)?;
    let wishes: Vec<Wish> =
        cases(few).into_iter().map(|(limits, best)| Wish::new(limits, best)).collect::<Result<_, _>>()?;
    println!(
        "| vectors | wish | best of the sweep | chosen by the race | worse by | advice s | sweep s | share of its time | with three seeds | best alone | codes |"
    );
    println!("|--|--|--|--|--|--|--|--|--|--|--|");
    let (mut near, mut quick, mut quick_seeds, mut count) = (0, 0, 0, 0);
    for name in names {
        let data = Source::Named(name.clone()).resolve(Path::new("."), &search)?.load()?;
        let cx = Context::on(Arc::new(CpuBackend::detect()), 1);
        let samples = pool.install(|| Samples::draw(&data, K, rows, 1, &*cx.backend));
        let shares: Vec<f64> = samples.stages.iter().map(|stage| stage.share).collect();
        let last = shares.len() - 1;
        // The figures that any case needs; latencies are measured in the last round alone.
        let everything = Wish::new(vec![(Figure::Bytes, 1e9)], Some(Figure::Distortion))?;
        for wish in &wishes {
            let mut arms = arms_of(wish, data.dim(), &tried);
            arms.sort_by(|a, b| a.cost(data.dim()).total_cmp(&b.cost(data.dim())));
            for (round, stage) in samples.stages.iter().enumerate() {
                for arm in &arms {
                    let mut cell = Cell {
                        dataset: name.clone(),
                        rows,
                        code: arm.written(),
                        round,
                        seconds: 0.0,
                        outcome: Err(String::new()),
                    };
                    if table.contains_key(&key(&cell)) {
                        continue;
                    }
                    let begin = processor_seconds();
                    let measured = pool.install(|| measure(arm, stage, &samples, &everything, round == last, &cx));
                    cell.seconds = processor_seconds() - begin;
                    cell.outcome = measured.map_err(|error| error.to_string());
                    eprintln!("{name}: {}, round {round}: {:.1} s", cell.code, cell.seconds);
                    let mut line = serde_json::to_vec(&cell)?;
                    line.push(b'\n');
                    file.write_all(&line)?;
                    table.insert(key(&cell), cell);
                }
            }
            let cell = |arm: &Arm, round: usize| &table[&(name.clone(), rows, arm.written(), round)];
            let cells: Vec<Vec<&Cell>> =
                arms.iter().map(|arm| (0..=last).map(|round| cell(arm, round)).collect()).collect();
            let sweep_seconds: f64 = cells.iter().map(|rounds| rounds[last].seconds).sum();
            let measured = |cell: &Cell| Some((cell.code.clone(), cell.outcome.clone().ok()?));
            let sweep: Vec<(String, Measured)> = cells.iter().filter_map(|rounds| measured(rounds[last])).collect();
            let mut replayed = Replayed { shares: shares.clone(), cells, seconds: 0.0 };
            let raced = race(wish, &entrants(&arms), &mut replayed, &mut Quiet);
            let finalists: Vec<(String, Measured)> =
                raced.finalists.iter().filter_map(|code| measured(replayed.cells[*code][last])).collect();
            let (Some((wanted, target)), Some((chosen, found))) = (best(wish, &sweep), best(wish, &finalists)) else {
                println!("| {name} | {} | no code meets the limits | | | | | | | {} |", limits(wish), arms.len());
                continue;
            };
            let regret = regret(wish, &found, &target);
            let seconds_of = |code: &str, round: usize| -> f64 {
                replayed
                    .cells
                    .iter()
                    .map(|rounds| rounds[round])
                    .filter(|cell| cell.code == code)
                    .map(|cell| cell.seconds)
                    .sum()
            };
            // The answer trains its code with further seeds on the first sample.
            let advice_seconds = replayed.seconds + (SEEDS - 1.0) * seconds_of(&chosen, 0);
            let share = advice_seconds / sweep_seconds;
            count += 1;
            near += usize::from(regret <= TOLERANCE);
            quick += usize::from(share <= 0.1);
            quick_seeds += usize::from(share <= 0.1 * SEEDS);
            let show = |written: &str, figures: &Figures| {
                let figures = [Figure::Bytes, Figure::Recall, Figure::Distortion]
                    .map(|f| figures.value(f).map_or_else(String::new, |v| f.show(v)));
                format!("`{written}`: {}", figures.join(", "))
            };
            println!(
                "| {name} | {} | {} | {} | {:.1}% | {advice_seconds:.1} | {sweep_seconds:.1} | {:.0}% | {:.1}% | {:.0}% | {} |",
                limits(wish),
                show(&wanted, &target),
                if wanted == chosen { "the same".to_owned() } else { show(&chosen, &found) },
                100.0 * regret,
                100.0 * share,
                100.0 * share / SEEDS,
                100.0 * seconds_of(&wanted, last) / sweep_seconds,
                arms.len()
            );
        }
    }
    println!(
        "\n{near} of {count} cases within 2% of the sweep's best; {quick} of {count} in at most 10% of its time, {quick_seeds} if the sweep trains every code with three seeds"
    );
    Ok(())
}
