//! Searches against plain loops, on the host's emulation of a device.

mod common;

use common::device;
use cuda::{Base, Codes, DeviceRows, Proximity, SelectedRow, SymbolWidth, scan_hamming, scan_tables};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The `k` least of all scores by a sort.
fn least<S: PartialOrd + Copy>(scores: impl Iterator<Item = S>, k: usize) -> Vec<SelectedRow<S>> {
    let numbered = scores.enumerate().map(|(i, score)| SelectedRow { score, id: i as u32 });
    let mut all: Vec<SelectedRow<S>> = numbered.filter(|n| n.score.partial_cmp(&n.score).is_some()).collect();
    all.sort_by(|a, b| a.score.partial_cmp(&b.score).expect("numbers").then(a.id.cmp(&b.id)));
    all.truncate(k);
    all
}

fn bytes(rng: &mut ChaCha8Rng, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    rng.fill_bytes(&mut bytes);
    bytes
}

#[test]
fn a_scan_by_tables_finds_what_a_sort_finds() {
    let Some((device, _alone)) = device() else { return };
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    // Codes, positions, queries, k: of every alignment, many blocks, and tables that do not fit beside each other, or not at all.
    let shapes = [
        (SymbolWidth::Byte, 0, 4, 3, 5),
        (SymbolWidth::Byte, 700, 1, 1, 1),
        (SymbolWidth::Byte, 1500, 16, 9, 2),
        (SymbolWidth::Byte, 19_000, 2, 1, 40),
        (SymbolWidth::Byte, 900, 12, 2, 100),
        (SymbolWidth::Byte, 600, 7, 3, 700),
        (SymbolWidth::Byte, 300, 64, 4, 20),
        (SymbolWidth::Byte, 300, 101, 2, 9),
        (SymbolWidth::Byte, 100, 170, 2, 9),
        (SymbolWidth::Nibble, 2500, 11, 40, 3),
        (SymbolWidth::Nibble, 1300, 9, 2, 1024),
        (SymbolWidth::Nibble, 1300, 32, 1, 4),
        (SymbolWidth::Nibble, 600, 1, 3, 300),
        (SymbolWidth::Nibble, 100, 2601, 2, 7),
    ];
    for (width, n, positions, queries, k) in shapes {
        for kind in 0..3 {
            let (size, alphabet) = (width.bytes(positions), width.alphabet());
            let codes = bytes(&mut rng, n * size);
            let mut tables: Vec<f32> = (0..queries * positions * alphabet)
                .map(|_| match kind {
                    // Many ties, of both signs.
                    0 => rng.random_range(-1..2) as f32,
                    1 => rng.random::<f32>() - 0.5,
                    _ => rng.random::<f32>() * 100.0,
                })
                .collect();
            if kind == 2 {
                for (entry, value) in
                    [f32::NAN, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::MAX].into_iter().enumerate()
                {
                    tables[entry * 3] = value;
                }
            }
            let on_device = device.upload(&codes).expect("uploads");
            let found = scan_tables(Codes::all(&on_device, size), width, positions, &tables, k).expect("scans");
            assert_eq!(found.len(), queries);
            for (q, found) in found.iter().enumerate() {
                let table = &tables[q * positions * alphabet..][..positions * alphabet];
                let symbol = |code: &[u8], p: usize| match width {
                    SymbolWidth::Nibble => code[p / 2] >> (p % 2 * 4) & 15,
                    SymbolWidth::Byte => code[p],
                };
                let score = |code: &[u8]| {
                    (0..positions).fold(0f32, |sum, p| sum + table[p * alphabet + usize::from(symbol(code, p))])
                };
                let expected = least(codes.chunks_exact(size).map(score), k);
                assert!(
                    *found == expected,
                    "{width:?}, {n}×{positions}, kind {kind}, query {q} of {queries}, {k} least"
                );
            }
        }
    }
}

#[test]
fn a_scan_of_a_part_counts_from_its_start() {
    let Some((device, _alone)) = device() else { return };
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let (n, size) = (900, 5);
    let (codes, tables) = (bytes(&mut rng, n * size), (0..256 * 5).map(|_| rng.random()).collect::<Vec<f32>>());
    let on_device = device.upload(&codes).expect("uploads");
    let part = Codes::all(&on_device, size).part(3, 600);
    let found = scan_tables(part, SymbolWidth::Byte, size, &tables, 40).expect("scans");
    let alone = device.upload(&codes[3 * size..603 * size]).expect("uploads");
    let expected = scan_tables(Codes::all(&alone, size), SymbolWidth::Byte, size, &tables, 40).expect("scans");
    assert_eq!(found, expected);
    assert!(scan_tables(part, SymbolWidth::Byte, size, &tables, 0).expect("scans")[0].is_empty());
    assert!(scan_tables(part, SymbolWidth::Byte, size, &[], 3).expect("scans").is_empty());
}

#[test]
fn a_scan_of_bits_finds_what_a_sort_finds() {
    let Some((device, _alone)) = device() else { return };
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let shapes = [
        (0, 8, 2, 3),
        (5000, 32, 5, 30),
        (900, 1, 1, 10),
        (700, 13, 4, 700),
        (2000, 12, 6, 2),
        (300, 6, 3, 1024),
        (20, 50_001, 5, 7),
        (5, 200_003, 2, 3),
    ];
    for (n, size, queries, k) in shapes {
        // Some codes are the same, some one bit apart.
        let (few, mut query_codes) = (bytes(&mut rng, 9 * size), bytes(&mut rng, queries * size));
        query_codes[..size].copy_from_slice(&few[..size]);
        let mut codes = bytes(&mut rng, n * size);
        for code in codes.chunks_exact_mut(size).step_by(2) {
            code.copy_from_slice(&few[rng.random_range(0..9usize) * size..][..size]);
            code[rng.random_range(0..size)] ^= rng.random_range(0u8..2);
        }
        let on_device = device.upload(&codes).expect("uploads");
        let found = scan_hamming(Codes::all(&on_device, size), &query_codes, k).expect("scans");
        assert_eq!(found.len(), queries);
        for (q, (found, query)) in found.iter().zip(query_codes.chunks_exact(size)).enumerate() {
            let distance = |code: &[u8]| code.iter().zip(query).map(|(a, b)| (a ^ b).count_ones()).sum::<u32>();
            let expected = least(codes.chunks_exact(size).map(distance), k);
            assert!(*found == expected, "{n}×{size}, query {q} of {queries}, {k} least");
        }
    }
}

/// Sums in the order of a warp: 32 lanes, then halves of them.
fn in_order_of_lanes(terms: impl Iterator<Item = (f32, f32)>) -> f32 {
    let mut lanes = [0f32; 32];
    terms.enumerate().for_each(|(j, (a, b))| lanes[j % 32] = a.mul_add(b, lanes[j % 32]));
    for step in [16, 8, 4, 2, 1] {
        lanes = std::array::from_fn(|lane| lanes[lane] + lanes[lane ^ step]);
    }
    lanes[0]
}

#[test]
fn the_nearest_of_a_base_are_those_of_direct_scores() {
    let Some((device, _alone)) = device() else { return };
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    // Rows, components, queries, k; kinds of values: plain, far from zero, whole numbers with many ties, tiny, huge, all rows the same,
    // some that are no number.
    let shapes = [
        (0, 3, 2, 4, 0..1),
        (50, 5, 3, 60, 0..7),
        (900, 17, 3, 10, 0..7),
        (300, 40, 130, 1, 1..2),
        (2200, 3, 1, 1024, 2..3),
    ];
    for (n, dim, queries, k, kinds) in shapes {
        for kind in kinds {
            let mut value = |i: usize| {
                let v = rng.random::<f32>() * 2.0 - 1.0;
                match kind {
                    1 => v + 1e4,
                    2 => (v * 1.5).round(),
                    3 => v * 1e-22,
                    4 => v * 3e18,
                    5 => (i % dim) as f32,
                    6 if i.is_multiple_of(97) => [f32::NAN, f32::INFINITY, f32::MAX][i % 3],
                    _ => v,
                }
            };
            let stride = dim + kind % 2;
            let rows: Vec<f32> = (0..n * stride).map(&mut value).collect();
            let asked: Vec<f32> = (0..queries * dim).map(&mut value).collect();
            let (rows_there, asked_there) =
                (device.upload(&rows).expect("uploads"), device.upload(&asked).expect("uploads"));
            for proximity in [Proximity::SquaredDistance, Proximity::InnerProduct] {
                let base = Base::new(DeviceRows::new(&rows_there, 0, stride, n, dim), proximity).expect("prepares");
                let found = base.nearest(DeviceRows::all(&asked_there, dim), k).expect("searches");
                assert_eq!(found.len(), queries);
                for (q, (found, query)) in found.iter().zip(asked.chunks_exact(dim)).enumerate() {
                    let score = |i: usize| {
                        let pairs = rows[i * stride..][..dim].iter().zip(query);
                        match proximity {
                            Proximity::SquaredDistance => in_order_of_lanes(pairs.map(|(x, y)| x - y).map(|d| (d, d))),
                            Proximity::InnerProduct => -in_order_of_lanes(pairs.map(|(x, y)| (*x, *y))),
                        }
                    };
                    let expected = least((0..n).map(score), k);
                    assert!(
                        *found == expected,
                        "{proximity:?}, {n}×{dim}, kind {kind}, query {q} of {queries}, {k} nearest"
                    );
                }
            }
        }
    }
}

#[test]
fn what_is_found_does_not_depend_on_the_memory_left() {
    let Some((device, _alone)) = device() else { return };
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let (n, size, queries, k) = (700, 2, 61, 3);
    let codes = device.upload(&bytes(&mut rng, n * size)).expect("uploads");
    let query_codes = bytes(&mut rng, queries * size);
    let tables: Vec<f32> = (0..queries * 256 * size).map(|_| rng.random()).collect();
    let rows = device.upload(&(0..n * 5).map(|_| rng.random()).collect::<Vec<f32>>()).expect("uploads");
    let base = Base::new(DeviceRows::all(&rows, 5), Proximity::SquaredDistance).expect("prepares");
    let all = || {
        let codes = Codes::all(&codes, size);
        (
            scan_tables(codes, SymbolWidth::Byte, size, &tables, k).expect("scans"),
            scan_hamming(codes, &query_codes, k).expect("scans"),
            base.nearest(DeviceRows::all(&rows, 5).part(0, 9), k).expect("searches"),
        )
    };
    let found = all();
    let spare = device.spare_bytes().expect("known") as usize;
    let _taken = device.room::<u8>(spare - (8 << 10)).expect("room");
    assert!(all() == found);
}
