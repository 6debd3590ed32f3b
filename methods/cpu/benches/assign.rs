//! Throughput of the nearest-vector kernel for each instruction set: `cargo bench -p vqbench-cpu`.
//!
//! The gain over the portable path is what justifies the `unsafe` entries of `panels.rs` and `lanes.rs`.

use cpu::{Isa, Panels, Score};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::time::Instant;

const REPEATS: usize = 7;

fn main() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool");
    println!("one thread, median of {REPEATS}; GFLOP/s counts 2·n·k·d\n");
    println!("{:>7} {:>6} {:>5}  {:<9} {:>9} {:>9}", "n", "k", "d", "set", "GFLOP/s", "portable×");
    for (n, k, d) in [(10_000, 256, 8), (10_000, 256, 384), (4_000, 4096, 128)] {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut random = |count: usize| -> Vec<f32> { (0..count).map(|_| rng.random::<f32>()).collect() };
        let (rows, vectors) = (random(n * d), random(k * d));
        let mut sets = Isa::available();
        sets.reverse();
        let mut portable = None;
        for isa in sets {
            let panels = Panels::new(isa, &vectors, d, Score::HalfDistance);
            let mut nearest = vec![0u32; n];
            let mut seconds: Vec<f64> = (0..=REPEATS)
                .map(|_| {
                    let start = Instant::now();
                    pool.install(|| panels.assign(&rows, d, &mut nearest));
                    start.elapsed().as_secs_f64()
                })
                .skip(1)
                .collect();
            seconds.sort_by(f64::total_cmp);
            let rate = 2.0 * (n * k * d) as f64 / seconds[REPEATS / 2] / 1e9;
            let gain = rate / *portable.get_or_insert(rate);
            println!("{n:>7} {k:>6} {d:>5}  {:<9} {rate:>9.1} {gain:>9.1}", isa.to_string());
        }
    }
}
