//! Random kills of what carries out a run on a real Slurm: no finished trial gets lost, none is recorded twice, and the table is
//! that of an undisturbed run. `cargo run --release -p xtask --example kills -- 1000` does more of it, and kills daemons too.
#![cfg(unix)]

#[path = "common/kills.rs"]
mod kills;
#[path = "common/quality.rs"]
mod quality;
#[path = "common/slurm.rs"]
mod slurm;

use kills::{EXPERIMENT, Plan, Victim, disturb};
use slurm::Cluster;
use std::path::Path;

#[test]
fn no_kill_loses_or_repeats_a_finished_trial() {
    let Some(mut cluster) = Cluster::start_or_skip() else { return };
    let folder = cluster.folder().join("runs");
    std::fs::create_dir(&folder).expect("a folder");
    let plan = Plan {
        program: Path::new(env!("CARGO_BIN_EXE_xtask")),
        folder: &folder,
        experiment: EXPERIMENT,
        kills: 20,
        of_a_run: 20,
        seed: 1,
        victims: &[Victim::Trial, Victim::Task, Victim::Follower, Victim::Cancelled],
    };
    let counts = disturb(&plan, &mut cluster).unwrap_or_else(|error| panic!("{error}"));
    assert!(counts.is_clean(), "{counts}");
}
