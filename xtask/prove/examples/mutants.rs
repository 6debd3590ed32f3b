//! How good the checks are: all mutants of the reference codecs must be found out, and nothing that is right may be accused.
//!
//! `mutants` tries every mutant of every codec; `mutants right 12` the six right codecs with 12 seeds each; `mutants own 2` all methods
//! of this build with all their examples and 2 seeds each. Words after these choose codecs or methods; of mutants, they may also be names of
//! mistakes, after the codec and a slash (`pq/wraps`).

use methods::{METHODS, parse};
use prove::reference::{InProcess, codecs, mutations::MUTATIONS};
use prove::{Options, Own, Subject, prove};
use serde_json::Value;
use std::time::{Duration, Instant};

/// On a busy machine a proof takes longer.
const LIMIT: Duration = Duration::from_secs(1200);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    std::panic::set_hook(Box::new(|_| {}));
    let seeds = arguments.get(1).and_then(|n| n.parse().ok()).unwrap_or(1);
    let chosen = |name: &str| arguments.len() < 3 || arguments[2..].iter().any(|word| name.contains(word.as_str()));
    match arguments.first().map(String::as_str) {
        Some("right") => {
            for (params, name, like) in
                codecs().into_iter().filter(|(params, ..)| chosen(params["codec"].as_str().unwrap_or("")))
            {
                let like = Own(parse(name, like).expect("a method"));
                let runs = (1..=seeds).map(|seed| run(&InProcess::new(params.clone()), Some(&like), seed));
                tell(&params.to_string(), &runs.collect::<Vec<_>>());
            }
        }
        Some("own") => {
            for entry in METHODS.iter().filter(|entry| chosen(entry.name)) {
                for example in entry.examples {
                    let params: Value = serde_json::from_str(example).expect("JSON");
                    let own = Own(parse(entry.name, params).expect("a method"));
                    let runs = (1..=seeds).map(|seed| run(&own, None, seed));
                    tell(&format!("{} {example}", entry.name), &runs.collect::<Vec<_>>());
                }
            }
        }
        _ => mutants(&|name| chosen(name)),
    }
}

/// Failures of one run, and how long it took.
fn run(subject: &dyn Subject, like: Option<&dyn Subject>, seed: u64) -> (Vec<String>, f64) {
    let start = Instant::now();
    let options = Options { seed, limit: LIMIT, ..Options::default() };
    let failures = match prove(subject, like, &options, &mut |_, _| {}) {
        Ok(report) => report
            .outcomes
            .iter()
            .filter_map(|outcome| match &outcome.verdict {
                prove::Verdict::Failed(failure) => Some(format!("seed {seed}, {}: {failure}", outcome.name)),
                prove::Verdict::Skipped(why) if why.starts_with("no time") => {
                    Some(format!("seed {seed}, {}: {why}", outcome.name))
                }
                _ => None,
            })
            .collect(),
        Err(error) => vec![format!("seed {seed}: {error}")],
    };
    (failures, start.elapsed().as_secs_f64())
}

fn tell(name: &str, runs: &[(Vec<String>, f64)]) {
    let failures: Vec<&String> = runs.iter().flat_map(|(failures, _)| failures).collect();
    let seconds: f64 = runs.iter().map(|(_, seconds)| seconds).sum();
    println!("{name}: {} runs, {} failures, {seconds:.1} s", runs.len(), failures.len());
    failures.iter().for_each(|failure| println!("    {failure}"));
}

fn mutants(chosen: &dyn Fn(&str) -> bool) {
    let (mut killed, mut all, mut alive) = (0, 0, Vec::new());
    for (params, name, like) in codecs() {
        let codec = params["codec"].as_str().unwrap_or_default().to_owned();
        let like = Own(parse(name, like).expect("a method"));
        let start = Instant::now();
        for (at, mutation) in MUTATIONS.iter().enumerate().filter(|(_, m)| m.codecs.contains(&&*codec)) {
            if !chosen(&format!("{codec}/{}", mutation.key)) {
                continue;
            }
            let mut params = params.clone();
            params["mutation"] = (at + 1).into();
            let options = Options { until_first_failure: true, limit: LIMIT, ..Options::default() };
            let report = prove(&InProcess::new(params), Some(&like), &options, &mut |_, _| {});
            all += 1;
            match report {
                Ok(report) => match report.failures().next() {
                    Some((outcome, _)) => {
                        killed += 1;
                        println!("killed  {codec:10} {:3} {:28} by {}", at + 1, mutation.key, outcome.name);
                    }
                    None => alive.push(format!("{codec:10} {:3} {}: {}", at + 1, mutation.key, mutation.words)),
                },
                Err(error) => {
                    killed += 1;
                    println!("killed  {codec:10} {:3} {:28} at once: {error}", at + 1, mutation.key);
                }
            }
        }
        println!("{codec}: {:.1} s", start.elapsed().as_secs_f64());
    }
    println!("\n{killed} of {all} mutants were found out. Not found out:");
    alive.iter().for_each(|mutant| println!("    {mutant}"));
}
