//! Kills at random what carries out runs on a real Slurm, and counts what got lost: `cargo run --release -p xtask --example
//! kills -- KILLS [SEED [KILLS_OF_A_RUN [0]]]`; with the 0, the daemons of Slurm stay alive. Exit code 1 if a finished trial got lost, was recorded twice, or if a table differs
//! from that of an undisturbed run.

#[cfg(unix)]
#[path = "../tests/common/kills.rs"]
mod kills;
#[cfg(unix)]
#[path = "../tests/common/quality.rs"]
mod quality;
#[cfg(unix)]
#[path = "../tests/common/slurm.rs"]
mod slurm;

#[cfg(unix)]
fn main() -> std::process::ExitCode {
    use kills::{ALL, EXPERIMENT, Plan, WITHOUT_DAEMONS, disturb};
    use std::process::ExitCode;

    let numbers: Vec<u64> = std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    let number = |at: usize, default: u64| numbers.get(at).copied().unwrap_or(default);
    // Beside the examples, where cargo puts it.
    let program = std::env::current_exe().ok().and_then(|own| Some(own.parent()?.parent()?.join("xtask")));
    let Some(program) = program.filter(|program| program.is_file()) else {
        eprintln!("first build the program: `cargo build --release -p xtask`");
        return ExitCode::from(2);
    };
    let mut cluster = match slurm::Cluster::start() {
        Ok(cluster) => cluster,
        Err(reason) => {
            eprintln!("{reason}");
            return ExitCode::from(2);
        }
    };
    let folder = match tempfile::Builder::new().prefix("vqbench-kills-").disable_cleanup(true).tempdir() {
        Ok(folder) => folder,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    println!("runs and what their followers say: {}", folder.path().display());
    let plan = Plan {
        program: &program,
        folder: folder.path(),
        experiment: EXPERIMENT,
        kills: number(0, 100) as usize,
        of_a_run: number(2, 30) as usize,
        seed: number(1, 1),
        victims: if number(3, 1) == 0 { &ALL[..WITHOUT_DAEMONS] } else { &ALL },
    };
    match disturb(&plan, &mut cluster) {
        Ok(counts) => {
            print!("{counts}");
            ExitCode::from(u8::from(!counts.is_clean()))
        }
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::from(1)
        }
    }
}

#[cfg(not(unix))]
fn main() {
    eprintln!("Slurm runs on Linux");
}
