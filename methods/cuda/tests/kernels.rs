//! Kernels and their host sides against plain loops, on the host's emulation of a device.

mod common;

use common::device;
use cuda::{
    AssignPass, Codewords, CudaError, DeviceAffineMap, DeviceLayer, DeviceNetwork, DeviceRows, DeviceSumTables,
    GroupCodebooks, Terms, cell_sums, fill_random, fill_random_bytes, nearest_of_groups, peak_floats, peak_halves,
    products, random_bits, random_float, rows_at, spread_rows, total,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Values of some kind: plain, far from zero, one component a hundred times the others, many of them equal, tiny, huge,
/// tinier, in clusters far apart.
fn values(rng: &mut ChaCha8Rng, len: usize, dim: usize, kind: u8) -> Vec<f32> {
    (0..len)
        .map(|i| {
            let v = rng.random::<f32>() * 2.0 - 1.0;
            match kind {
                1 => v + 1e4,
                2 if i.is_multiple_of(dim) => v * 100.0,
                3 => (v * 1.5).round(),
                4 => v * 1e-12,
                5 => v * 1e12,
                6 => v * 1e-16,
                7 => v + 1e4 * (i / dim % 3) as f32,
                _ => v,
            }
        })
        .collect()
}

fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(x, y)| (f64::from(*x) - f64::from(*y)).powi(2)).sum()
}

/// By how much the distance of a nearest codeword may exceed the least, as a share of it: rounding of sums of `dim` squares in f32.
fn bound(dim: usize) -> f64 {
    (dim as f64 + 16.0) * f64::from(f32::EPSILON)
}

#[test]
fn the_nearest_codeword_is_found_whatever_decides_first() {
    let Some((device, _alone)) = device() else { return };
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let shapes = [
        (1, 1, 1),
        (5, 3, 2),
        (130, 70, 17),
        (300, 130, 33),
        (129, 257, 40),
        (40, 140, 300),
        (257, 64, 16),
        (130, 1200, 20),
    ];
    for (n, k, dim) in shapes {
        for kind in 0..8 {
            let stride = dim + usize::from(kind) % 3;
            let rows = values(&mut rng, (n + 1) * stride, stride, kind);
            let codewords = values(&mut rng, k * dim, dim, kind);
            let first = usize::from(kind) % 2;
            let on_device = device.upload(&rows).expect("uploads");
            let view = DeviceRows::new(&on_device, first, stride, n, dim);
            for pass in [AssignPass::Floats, AssignPass::Halves, AssignPass::Auto] {
                let book = Codewords::new(&device, &codewords, dim, pass).expect("prepares");
                let mut nearest = device.filled(n, 0xff).expect("room");
                book.assign(view, &mut nearest).expect("assigns");
                let mut distances = device.filled(n, 0xff).expect("room");
                book.distances(view, &nearest, &mut distances).expect("measures");
                let (nearest, distances) = (nearest.download().expect("reads"), distances.download().expect("reads"));
                for i in 0..n {
                    let x = &rows[first + i * stride..][..dim];
                    let all: Vec<f64> = codewords.chunks_exact(dim).map(|c| squared_distance(x, c)).collect();
                    let best = all.iter().copied().fold(f64::INFINITY, f64::min);
                    let found = all[nearest[i] as usize];
                    assert!(
                        found <= best * (1.0 + bound(dim)),
                        "{pass:?} {n}×{dim}, {k}, kind {kind}, row {i}: {found} for {best}"
                    );
                    assert!((f64::from(distances[i]) - found).abs() <= bound(dim) * found, "{pass:?}: its distance");
                    if found == best {
                        let lowest = all.iter().position(|d| *d == best).expect("it is one of them");
                        // Codewords that are the same stand for each other by the lowest number.
                        if codewords[lowest * dim..][..dim] == codewords[nearest[i] as usize * dim..][..dim] {
                            assert_eq!(nearest[i] as usize, lowest, "the lowest of equals");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn tensor_cores_leave_few_rows_open_where_codewords_lie_apart() {
    let Some((device, _alone)) = device() else { return };
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let (n, k, dim) = (400, 128, 32);
    let rows = values(&mut rng, n * dim, dim, 0);
    let codewords = values(&mut rng, k * dim, dim, 0);
    let on_device = device.upload(&rows).expect("uploads");
    let book = Codewords::new(&device, &codewords, dim, AssignPass::Halves).expect("prepares");
    let left = book.assign(DeviceRows::all(&on_device, dim), &mut device.room(n).expect("room")).expect("assigns");
    assert!(left.open < n / 8 && left.searched == 0, "{left:?} of {n}");
    // Codewords that are all the same decide nothing.
    let same: Vec<f32> = codewords[..dim].iter().copied().cycle().take(k * dim).collect();
    let book = Codewords::new(&device, &same, dim, AssignPass::Halves).expect("prepares");
    let mut nearest = device.filled(n, 0xff).expect("room");
    let left = book.assign(DeviceRows::all(&on_device, dim), &mut nearest).expect("assigns");
    assert_eq!((left.open, left.searched), (n, n), "all are equal");
    assert!(nearest.download().expect("reads").iter().all(|&c| c == 0));
}

/// Rows between twins among the codewords are open; their few candidates are compared in f32, and no other codeword is looked at again.
#[test]
fn candidates_decide_what_tensor_cores_leave_open() {
    let Some((device, _alone)) = device() else { return };
    let mut rng = ChaCha8Rng::seed_from_u64(24);
    let (n, k, dim) = (400, 300, 33);
    let mut codewords = values(&mut rng, k * dim, dim, 0);
    for c in 290..k {
        // Twins of the first ones, which f16 cannot tell from them.
        let twin: Vec<f32> = codewords[(c - 290) * dim..][..dim].iter().map(|v| v * (1.0 + 1e-5)).collect();
        codewords[c * dim..][..dim].copy_from_slice(&twin);
    }
    let home = |i: usize| if i.is_multiple_of(10) { i / 10 % 10 } else { 10 + i % 280 };
    let rows: Vec<f32> = (0..n)
        .flat_map(|i| codewords[home(i) * dim..][..dim].to_vec())
        .map(|v| v * 1.000_004 + 1e-3 * (rng.random::<f32>() - 0.5))
        .collect();
    let on_device = device.upload(&rows).expect("uploads");
    let book = Codewords::new(&device, &codewords, dim, AssignPass::Halves).expect("prepares");
    let mut nearest = device.filled(n, 0xff).expect("room");
    let left = book.assign(DeviceRows::all(&on_device, dim), &mut nearest).expect("assigns");
    assert_eq!((left.open, left.searched), (n / 10, 0), "one row in ten lies between twins");
    for (i, &found) in nearest.download().expect("reads").iter().enumerate() {
        let distance = |c: usize| squared_distance(&rows[i * dim..][..dim], &codewords[c * dim..][..dim]);
        let best = (0..k).map(distance).fold(f64::INFINITY, f64::min);
        assert!(distance(found as usize) <= best * (1.0 + bound(dim)), "row {i}");
    }
}

#[test]
fn cell_sums_are_those_of_f64_and_the_same_every_time() {
    let Some((device, _alone)) = device() else { return };
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    for (n, k, dim, kind) in [(1, 1, 1, 0), (1000, 7, 5, 0), (700, 256, 8, 1), (900, 300, 48, 5), (300, 20, 3, 4)] {
        let rows = values(&mut rng, n * dim, dim, kind);
        let cells: Vec<u32> = (0..n).map(|_| rng.random_range(0..k as u32)).collect();
        let (on_device, nearest) = (device.upload(&rows).expect("uploads"), device.upload(&cells).expect("uploads"));
        let found = cell_sums(DeviceRows::all(&on_device, dim), &nearest, k).expect("sums");
        let largest = rows.iter().fold(0f64, |m, v| m.max(f64::from(v.abs())));
        let (mut sums, mut counts) = (vec![0f64; k * dim], vec![0u32; k]);
        for (row, &c) in rows.chunks_exact(dim).zip(&cells) {
            counts[c as usize] += 1;
            sums[c as usize * dim..][..dim].iter_mut().zip(row).for_each(|(s, &v)| *s += f64::from(v));
        }
        assert_eq!(found.counts, counts);
        for (a, b) in found.sums.iter().zip(&sums) {
            assert!((a - b).abs() <= 1e-10 * largest * n as f64, "{a} for {b}");
        }
        assert_eq!(cell_sums(DeviceRows::all(&on_device, dim), &nearest, k).expect("sums"), found);
    }
}

#[test]
fn each_group_finds_its_nearest() {
    let Some((device, _alone)) = device() else { return };
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    for (n, groups, size, k) in [
        (1, 1, 1, 2),
        (600, 3, 2, 16),
        (513, 2, 3, 5),
        (100, 2, 4, 256),
        (70, 5, 6, 37),
        (520, 2, 8, 1030),
        (40, 2, 12, 64),
        (30, 2, 16, 700),
        (30, 1, 24, 100),
        (30, 2, 32, 300),
        (150, 3, 5, 20),
        (200, 2, 40, 90),
    ] {
        let dim = groups * size;
        // Near zero, far from it, and in clusters far apart.
        let kind = [7, 1, 0][groups % 3];
        let rows = values(&mut rng, n * dim, dim, kind);
        let books: Vec<Vec<f32>> = (0..groups).map(|_| values(&mut rng, k * size, size, kind)).collect();
        let on_device = device.upload(&rows).expect("uploads");
        let books_on_device =
            GroupCodebooks::new(&device, &books.iter().map(Vec::as_slice).collect::<Vec<_>>(), size).expect("prepares");
        let mut symbols = device.filled(n * groups, 0xff).expect("room");
        books_on_device.nearest(DeviceRows::all(&on_device, dim), &mut symbols).expect("finds");
        let symbols = symbols.download().expect("reads");
        for i in 0..n {
            for (g, book) in books.iter().enumerate() {
                let x = &rows[i * dim + g * size..][..size];
                let score = |c: usize| squared_distance(x, &book[c * size..][..size]);
                let best = (0..k).map(score).fold(f64::INFINITY, f64::min);
                let found = score(symbols[i * groups + g].into());
                assert!(
                    found <= best * (1.0 + bound(size)),
                    "{groups}×{size}, {k}: row {i}, group {g}: {found} for {best}"
                );
            }
        }
    }
}

#[test]
fn products_are_those_of_a_loop() {
    let Some((device, _alone)) = device() else { return };
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    for (n, k, dim) in [(1, 1, 1), (130, 129, 17), (5, 300, 40), (257, 3, 16)] {
        let (rows, others) = (values(&mut rng, n * dim, dim, 0), values(&mut rng, k * dim, dim, 0));
        let (mean, bias) = (values(&mut rng, dim, dim, 0), values(&mut rng, k, k, 0));
        let upload = |values: &[f32]| device.upload(values).expect("uploads");
        let (on_device, others_there) = (upload(&rows), upload(&others));
        for with in [false, true] {
            let (mean_there, bias_there) = (upload(&mean), upload(&bias));
            let mut out = device.filled(n * k, 0xff).expect("room");
            let terms = Terms { mean: with.then_some(&mean_there), bias: with.then_some(&bias_there) };
            products(DeviceRows::all(&on_device, dim), &others_there, -2.0, terms, &mut out).expect("multiplies");
            for (place, found) in out.download().expect("reads").into_iter().enumerate() {
                let (i, c) = (place / k, place % k);
                let sum: f64 = (0..dim)
                    .map(|j| {
                        let x = f64::from(rows[i * dim + j]) - if with { f64::from(mean[j]) } else { 0.0 };
                        x * f64::from(others[c * dim + j])
                    })
                    .sum();
                let exact = -2.0 * sum + if with { f64::from(bias[c]) } else { 0.0 };
                assert!((f64::from(found) - exact).abs() < 1e-5 * dim as f64, "{n}×{k}×{dim}: {found} for {exact}");
            }
        }
    }
}

#[test]
fn the_nearest_of_groups_are_those_of_a_sort() {
    let Some((device, _alone)) = device() else { return };
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    for (groups, group, k, count) in [(0, 1, 3, 2), (5, 1, 20, 4), (40, 5, 17, 6), (3, 70, 3, 300)] {
        let dim = 4;
        let mut draw = |n: usize| (0..n).map(|_| rng.random_range(0i32..4) as f32).collect::<Vec<f32>>();
        let (rows, book) = (draw(groups * group * dim), draw(k * dim));
        let on_device = device.upload(&rows).expect("uploads");
        let (places, distances) =
            nearest_of_groups(&device, DeviceRows::all(&on_device, dim), group, &book, count).expect("finds");
        let count = count.min(group * k);
        assert_eq!(places.len(), groups * count);
        for g in 0..groups {
            let score = |place: usize| {
                squared_distance(&rows[(g * group + place / k) * dim..][..dim], &book[place % k * dim..][..dim])
            };
            let mut all: Vec<f64> = (0..group * k).map(score).collect();
            all.sort_by(f64::total_cmp);
            let mut seen = std::collections::BTreeSet::new();
            for p in 0..count {
                let (place, distance) = (places[g * count + p] as usize, f64::from(distances[g * count + p]));
                assert_eq!(
                    (score(place), distance),
                    (all[p], all[p]),
                    "{groups}×{group}, {k}, {count}: group {g}, {p}"
                );
                assert!(seen.insert(place), "each place once");
            }
        }
    }
}

/// The code that a beam search ends with by its definition, for a row and `m` codebooks of `k` codewords.
fn beam_by_hand(row: &[f32], books: &[f32], (m, k): (usize, usize), beam: usize) -> Vec<usize> {
    let dim = row.len();
    let codeword = |j: usize, c: usize| books[(j * k + c) * dim..][..dim].iter().map(|&v| f64::from(v));
    // What a partial code scores leaves out what later codebooks' means will add.
    let mean = |j: usize, d: usize| (0..k).map(|c| f64::from(books[(j * k + c) * dim + d])).sum::<f64>() / k as f64;
    let means: Vec<Vec<f64>> = (0..m).map(|j| (0..dim).map(|d| mean(j, d)).collect()).collect();
    let partial = |code: &[usize]| {
        let mut left: Vec<f64> = row.iter().map(|&v| v.into()).collect();
        for (j, mean) in means.iter().enumerate() {
            match code.get(j) {
                Some(&c) => left.iter_mut().zip(codeword(j, c)).for_each(|(l, v)| *l -= v),
                None => left.iter_mut().zip(mean).for_each(|(l, v)| *l -= v),
            }
        }
        left.iter().map(|v| v * v).sum::<f64>()
    };
    let mut kept: Vec<Vec<usize>> = vec![vec![]];
    for _ in 0..m {
        let longer = kept.iter().flat_map(|code| (0..k).map(|c| code.iter().copied().chain([c]).collect()));
        let mut next: Vec<(f64, Vec<usize>)> = longer.map(|code: Vec<usize>| (partial(&code), code)).collect();
        next.sort_by(|a, b| a.0.total_cmp(&b.0));
        kept = next.into_iter().take(beam).map(|(_, code)| code).collect();
    }
    kept.swap_remove(0)
}

/// With a beam that keeps everything the best of all codes is found; a narrow one is what its definition says, step by step.
#[test]
fn a_beam_search_keeps_the_best_partial_codes() {
    let Some((device, _alone)) = device() else { return };
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let dim = 5;
    // In shared memory; scores in scratch; all in scratch.
    for (n, m, k, beams) in [(30, 3, 6, vec![1, 4, 36]), (5, 2, 700, vec![30]), (1, 40, 3, vec![256])] {
        let (rows, books) = (values(&mut rng, n * dim, dim, 0), values(&mut rng, m * k * dim, dim, 0));
        let on_device = device.upload(&rows).expect("uploads");
        let error = |row: &[f32], code: &[usize]| {
            let mut left: Vec<f64> = row.iter().map(|&v| v.into()).collect();
            for (j, &c) in code.iter().enumerate() {
                left.iter_mut().zip(&books[(j * k + c) * dim..][..dim]).for_each(|(l, &v)| *l -= f64::from(v));
            }
            left.iter().map(|v| v * v).sum::<f64>()
        };
        for whole in [false, true] {
            let tables = DeviceSumTables::new(&device, &books, m, dim, whole).expect("prepares");
            for &beam in &beams {
                let mut codes = vec![u16::MAX; n * m];
                tables.beam(DeviceRows::all(&on_device, dim), beam, &mut codes).expect("searches");
                for (row, code) in rows.chunks_exact(dim).zip(codes.chunks_exact(m)) {
                    let code: Vec<usize> = code.iter().map(|&c| c.into()).collect();
                    let (found, by_hand) = (error(row, &code), error(row, &beam_by_hand(row, &books, (m, k), beam)));
                    assert!(found <= by_hand + 1e-4, "{m}×{k}, beam {beam}: {found} for {by_hand}");
                }
            }
        }
    }
}

#[test]
fn a_local_search_finds_the_best_code_where_all_can_be_tried() {
    let Some((device, _alone)) = device() else { return };
    let mut rng = ChaCha8Rng::seed_from_u64(8);
    let (n, m, k, dim) = (40, 3, 6, 5);
    let (rows, books) = (values(&mut rng, n * dim, dim, 0), values(&mut rng, m * k * dim, dim, 0));
    let on_device = device.upload(&rows).expect("uploads");
    let error = |i: usize, code: &[u16]| {
        let mut left: Vec<f64> = rows[i * dim..][..dim].iter().map(|&v| v.into()).collect();
        for (j, &c) in code.iter().enumerate() {
            left.iter_mut().zip(&books[(j * k + usize::from(c)) * dim..][..dim]).for_each(|(l, &v)| *l -= f64::from(v));
        }
        left.iter().map(|v| v * v).sum::<f64>()
    };
    let tables = DeviceSumTables::new(&device, &books, m, dim, true).expect("prepares");
    let mut codes = vec![0u16; n * m];
    tables.improve(DeviceRows::all(&on_device, dim), (60, 4, 4), 7, &mut codes).expect("searches");
    for (i, code) in codes.chunks_exact(m).enumerate() {
        let all = (0..216u16).map(|c| error(i, &[c % 6, c / 6 % 6, c / 36]));
        let best = all.fold(f64::INFINITY, f64::min);
        assert!(error(i, code) <= best + 1e-5, "row {i}: {} of {best}", error(i, code));
    }
    let mut again = vec![0u16; n * m];
    tables.improve(DeviceRows::all(&on_device, dim).part(0, 7), (60, 4, 4), 7, &mut again[..7 * m]).expect("searches");
    assert_eq!(again[..7 * m], codes[..7 * m], "what is found for a row does not depend on those beside it");
}

#[test]
fn memory_is_counted_and_its_end_is_an_error() {
    let Some((device, _alone)) = device() else { return };
    device.forget_peak();
    let before = device.peak_bytes();
    let buffer = device.upload(&[1f32; 10_000]).expect("uploads");
    drop(device.room::<u8>(5).expect("room"));
    assert_eq!(device.peak_bytes() - before, 40_448 + 512);
    drop(buffer);
    device.forget_peak();
    assert_eq!(device.peak_bytes(), before);
    let error = device.room::<f64>(1 << 30).expect_err("8 GiB of 1");
    assert!(error.to_string().starts_with("the device is out of memory: 8589934592 bytes more were needed"), "{error}");
    // What is kept for reuse is given back before that is said.
    let most = device.spare_bytes().expect("known") as usize;
    drop(device.room::<u8>(most / 2).expect("room"));
    drop(device.room::<u8>(most).expect("room"));
}

#[test]
fn random_values_are_those_that_the_host_makes() {
    let Some((device, _alone)) = device() else { return };
    for (n, seed) in [(1, 0), (7, 1), (8, 2), (10_000, u64::MAX), (300_001, 3)] {
        let mut values = device.filled(n, 0xff).expect("room");
        fill_random(&mut values, seed).expect("fills");
        let values = values.download().expect("reads");
        assert!(values.iter().enumerate().all(|(i, &v)| v == random_float(seed, i as u64)), "{n} of {seed}");
        let mut bytes = device.filled(n + 3, 0xff).expect("room");
        fill_random_bytes(&mut bytes, seed).expect("fills");
        let expected = (0..).flat_map(|i| random_bits(seed, i).to_le_bytes());
        assert!(bytes.download().expect("reads").into_iter().eq(expected.take(n + 3)), "{n} of {seed}");
    }
    let moment = |power| (0..100_000).map(|i| f64::from(random_float(9, i)).powi(power)).sum::<f64>() / 1e5;
    assert!(moment(1).abs() < 0.01 && (moment(2) - 1.0).abs() < 0.02, "{} {}", moment(1), moment(2));
}

#[test]
fn peaks_say_how_much_they_did() {
    let Some((device, _alone)) = device() else { return };
    // 64 blocks of 256 threads.
    assert_eq!(peak_floats(&device, 3).expect("runs"), 64.0 * 256.0 * 3.0 * 32.0);
    assert_eq!(peak_halves(&device, 3).expect("runs"), 64.0 * 8.0 * 3.0 * 8.0 * 4096.0);
}

#[test]
fn totals_are_those_of_f64_and_the_same_every_time() {
    let Some((device, _alone)) = device() else { return };
    let mut rng = ChaCha8Rng::seed_from_u64(21);
    for n in [0, 1, 1023, 1024, 1025, 70_000] {
        let values = values(&mut rng, n, 7, 2);
        let on_device = device.upload(&values).expect("uploads");
        for count in [n / 2, n] {
            let expected: f64 = values[..count].iter().map(|&v| f64::from(v)).sum();
            let found = total(&on_device, count).expect("adds up");
            assert!((found - expected).abs() <= 1e-9 * n as f64, "{found} for {expected}");
            assert_eq!(found, total(&on_device, count).expect("adds up"));
        }
    }
}

/// k-means++ as it is written: distances to all rows chosen so far, laid end to end.
fn spread_by_hand(rows: &[&[f32]], first: usize, points: &[f64]) -> Vec<usize> {
    let mut chosen = vec![first];
    for point in points {
        let distance = |row: &&[f32]| {
            let to = |&r: &usize| squared_distance(row, rows[r]);
            chosen.iter().map(to).fold(f64::INFINITY, f64::min)
        };
        let distances: Vec<f64> = rows.iter().map(distance).collect();
        let mut left = point * distances.iter().sum::<f64>();
        let falls_into = |d: &f64| {
            let here = left < *d;
            left -= d;
            here
        };
        match distances.iter().position(falls_into) {
            Some(row) => chosen.push(row),
            None => break,
        }
    }
    chosen
}

#[test]
fn rows_to_start_from_are_those_whose_stretch_a_point_falls_into() {
    let Some((device, _alone)) = device() else { return };
    let mut rng = ChaCha8Rng::seed_from_u64(22);
    for (n, dim, stride, k) in [(1, 1, 1, 3), (9, 2, 3, 12), (1500, 3, 3, 20), (2100, 40, 41, 9), (5000, 8, 8, 30)] {
        // Whole numbers, of which no sum is rounded.
        let rows: Vec<f32> = (0..n * stride).map(|_| rng.random_range(-9i32..=9) as f32).collect();
        let points: Vec<f64> = (1..k).map(|_| rng.random()).collect();
        let first = rng.random_range(0..n);
        let on_device = device.upload(&rows).expect("uploads");
        let view = DeviceRows::new(&on_device, 0, stride, n, dim);
        let here: Vec<&[f32]> = rows.chunks_exact(stride).map(|row| &row[..dim]).collect();
        let mut asked = 0;
        let found: Result<_, CudaError> = spread_rows(view, first, &points, || {
            asked += 1;
            Ok(())
        });
        let found = found.expect("chooses");
        assert_eq!(found, spread_by_hand(&here, first, &points), "{n}×{dim}");
        assert!(asked > 0 && (n < k || found.len() == k), "{n} rows, of which {} were chosen", found.len());
        let gathered = rows_at(view, &found).expect("reads");
        let expected: Vec<f32> = found.iter().flat_map(|&row| here[row].iter().copied()).collect();
        assert_eq!(gathered, expected);
    }
    let rows = device.upload(&[1f32; 8]).expect("uploads");
    let stopped = CudaError::Driver { call: "a test".into(), message: "no more".into() };
    let found: Result<Vec<usize>, CudaError> =
        spread_rows(DeviceRows::all(&rows, 2), 0, &[0.5], || Err(stopped.clone()));
    assert_eq!(found, Err(stopped), "who is asked may say no");
    let none = spread_rows::<CudaError>(DeviceRows::all(&rows, 2), 2, &[0.0, 0.9], || Ok(()));
    assert_eq!(none.expect("chooses"), [2], "all rows are where the first is");
}

#[test]
fn a_network_is_its_maps_one_after_the_other() {
    let Some((device, _alone)) = device() else { return };
    let mut rng = ChaCha8Rng::seed_from_u64(23);
    // x·weights + bias of every row; weights are those of one output after the other.
    let affine = |x: &[f32], weights: &[f32], bias: &[f32]| -> Vec<f32> {
        let inputs = weights.len() / bias.len();
        let of_row = |row: &[f32]| -> Vec<f32> {
            let dot = |w: &[f32]| row.iter().zip(w).map(|(x, w)| x * w).sum::<f32>();
            weights.chunks_exact(inputs).zip(bias).map(|(w, b)| dot(w) + b).collect()
        };
        x.chunks_exact(inputs).flat_map(of_row).collect()
    };
    let map = |inputs: usize, outputs: usize, rng: &mut ChaCha8Rng| {
        (values(rng, inputs * outputs, inputs, 0), values(rng, outputs, 1, 0))
    };
    for n in [1, 37, 200] {
        let (dim, stride) = (6, 7);
        let rows = values(&mut rng, n * stride, stride, 0);
        let straight = map(dim, 5, &mut rng);
        // Four windows of three inputs, some of them beyond the edge; then everything.
        let inputs: Vec<u32> = vec![6, 0, 1, 1, 2, 3, 3, 4, 5, 5, 6, 6];
        let (windows, last) = (map(3, 2, &mut rng), map(8, 5, &mut rng));
        let on_device =
            |(weights, bias): &(Vec<f32>, Vec<f32>)| DeviceAffineMap::new(&device, weights, bias).expect("uploads");
        let branch = vec![
            DeviceLayer::Windows { inputs: device.upload(&inputs).expect("uploads"), map: on_device(&windows) },
            DeviceLayer::Rectifier,
            DeviceLayer::Affine(on_device(&last)),
        ];
        let network = DeviceNetwork::new(on_device(&straight), branch);
        assert_eq!((network.dim(), network.bytes_per_row()), ((6, 5), 4 * (6 + 12 + 8)));
        let there = device.upload(&rows).expect("uploads");
        let mut out = device.filled(n * 5, 0xff).expect("room");
        network.apply(DeviceRows::new(&there, 0, stride, n, dim), &mut out).expect("applies");
        let dense: Vec<f32> = rows.chunks_exact(stride).flat_map(|row| row[..dim].to_vec()).collect();
        let see = |row: &[f32]| inputs.iter().map(|&i| row.get(i as usize).copied().unwrap_or(0.0)).collect::<Vec<_>>();
        let seen: Vec<f32> = dense.chunks_exact(dim).flat_map(see).collect();
        let features: Vec<f32> = affine(&seen, &windows.0, &windows.1).into_iter().map(|v| v.max(0.0)).collect();
        let correction = affine(&features, &last.0, &last.1);
        let expected = affine(&dense, &straight.0, &straight.1).into_iter().zip(correction).map(|(a, b)| a + b);
        for (found, expected) in out.download().expect("reads").into_iter().zip(expected) {
            assert!((found - expected).abs() < 1e-5, "{found} for {expected}");
        }
        let alone = DeviceNetwork::new(on_device(&straight), Vec::new());
        alone.apply(DeviceRows::new(&there, 0, stride, n, dim), &mut out).expect("applies");
        let straight = affine(&dense, &straight.0, &straight.1);
        assert!(out.download().expect("reads").iter().zip(straight).all(|(a, b)| (a - b).abs() < 1e-5));
    }
}

#[test]
fn the_largest_logit_of_each_group_is_found() {
    let Some((device, _alone)) = device() else { return };
    let mut rng = ChaCha8Rng::seed_from_u64(25);
    for (n, groups, size, k) in [(300, 3, 4, 17), (40, 1, 8, 300), (7, 5, 1, 2)] {
        let rows = values(&mut rng, n * groups * size, size, 0);
        let (weights, biases) = (values(&mut rng, groups * k * size, size, 0), values(&mut rng, groups * k, k, 0));
        let split: Vec<&[f32]> = weights.chunks_exact(k * size).collect();
        let split_biases: Vec<&[f32]> = biases.chunks_exact(k).collect();
        let books = GroupCodebooks::with_biases(&device, &split, &split_biases, size).expect("prepares");
        let there = device.upload(&rows).expect("uploads");
        let mut symbols = device.filled::<u16>(n * groups, 0xff).expect("room");
        books.expect("has a kernel").nearest(DeviceRows::all(&there, groups * size), &mut symbols).expect("finds");
        for (place, symbol) in symbols.download().expect("reads").into_iter().enumerate() {
            let (row, g) = (&rows[place * size..][..size], place % groups);
            let logit = |c: usize| -> f64 {
                let products =
                    row.iter().zip(&split[g][c * size..][..size]).map(|(x, w)| f64::from(*x) * f64::from(*w));
                products.sum::<f64>() + f64::from(split_biases[g][c])
            };
            let largest = (0..k).map(logit).fold(f64::NEG_INFINITY, f64::max);
            assert!(usize::from(symbol) < k && logit(symbol.into()) >= largest - 1e-5, "place {place}");
        }
    }
    assert!(GroupCodebooks::with_biases(&device, &[&[1.0; 5]], &[&[0.0]], 5).expect("no failure").is_none());
}
