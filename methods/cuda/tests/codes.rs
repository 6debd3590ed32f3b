//! Codes against plain loops, on the host's emulation of a device.

mod common;

use common::device;
use cuda::{Codes, DeviceCodebooks, DeviceRows, LevelScalars, UniformScalars, pack_symbols, unpack_symbols};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The definition, bit by bit.
fn plain_pack(symbols: &[u16], bits: u32) -> Vec<u8> {
    let bits: Vec<bool> = symbols.iter().flat_map(|&s| (0..bits).map(move |b| s >> b & 1 == 1)).collect();
    bits.chunks(8).map(|byte| byte.iter().enumerate().fold(0, |v, (b, &on)| v | u8::from(on) << b)).collect()
}

#[test]
fn symbols_are_packed_bit_by_bit_and_come_back() {
    let Some((device, _alone)) = device() else { return };
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for bits in 1..=16 {
        for (n, positions) in [(0, 3), (1, 1), (5, 8), (37, 7), (9, 64), (50, 13), (3, 301)] {
            let symbols: Vec<u16> = (0..n * positions).map(|_| rng.random()).collect();
            let expected: Vec<u8> = symbols.chunks_exact(positions).flat_map(|row| plain_pack(row, bits)).collect();
            let on_device = device.upload(&symbols).expect("uploads");
            // One byte more, to see that nothing is written there.
            let mut codes = device.filled::<u8>(expected.len() + 1, 0xaa).expect("room");
            pack_symbols(&on_device, (n, positions), bits, &mut codes).expect("packs");
            let found = codes.download().expect("reads");
            assert_eq!(
                (&found[..expected.len()], found[expected.len()]),
                (&expected[..], 0xaa),
                "{n}×{positions}, {bits} bits"
            );
            let codes = device.upload(&expected).expect("uploads");
            let codes = Codes::all(&codes, (positions * bits as usize).div_ceil(8));
            let mut back = device.filled::<u16>(n * positions + 1, 0xaa).expect("room");
            unpack_symbols(codes, positions, bits, &mut back).expect("unpacks");
            let mask = ((1u32 << bits) - 1) as u16;
            let expected: Vec<u16> = symbols.iter().map(|s| s & mask).chain([0xaaaa]).collect();
            assert_eq!(back.download().expect("reads"), expected, "{n}×{positions}, {bits} bits");
        }
    }
}

#[test]
fn uniform_levels_are_those_of_a_loop() {
    let Some((device, _alone)) = device() else { return };
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    for bits in 1..=8 {
        for (n, dim, stride) in [(0, 4, 4), (1, 1, 1), (40, 8, 8), (31, 13, 15), (20, 64, 64), (7, 100, 101)] {
            let most = ((1u32 << bits) - 1) as f32;
            let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, -0.0, 0.5, 1.5];
            let rows: Vec<f32> = (0..n * stride)
                .map(|_| match rng.random_range(0..10usize) {
                    9 => odd[rng.random_range(0..odd.len())],
                    _ => (rng.random::<f32>() * 1.4 - 0.2) * most,
                })
                .collect();
            let offsets: Vec<f32> = (0..dim).map(|_| rng.random_range(-1..2) as f32 * 0.5).collect();
            let steps: Vec<f32> = (0..dim).map(|j| if j % 7 == 3 { 0.0 } else { 0.5 + rng.random::<f32>() }).collect();
            let scalars = UniformScalars::new(&device, &offsets, &steps, bits).expect("prepares");
            let on_device = device.upload(&rows).expect("uploads");
            let mut codes = device.filled::<u8>(n * scalars.code_size(), 0xaa).expect("room");
            scalars.encode(DeviceRows::new(&on_device, 0, stride, n, dim), &mut codes).expect("encodes");
            let level = |i: usize, j: usize| {
                // The conversion saturates and sends what is no number to 0.
                (((rows[i * stride + j] - offsets[j]) / steps[j] + 0.5) as u16).min((1 << bits) - 1)
            };
            let levels: Vec<Vec<u16>> = (0..n).map(|i| (0..dim).map(|j| level(i, j)).collect()).collect();
            let expected: Vec<u8> = levels.iter().flat_map(|row| plain_pack(row, bits)).collect();
            assert_eq!(codes.download().expect("reads"), expected, "{n}×{dim}, {bits} bits");
            let mut back = device.filled::<f32>(n * dim, 0xff).expect("room");
            scalars.decode(Codes::all(&codes, scalars.code_size()), &mut back).expect("decodes");
            let expected: Vec<f32> =
                levels.iter().flat_map(|row| (0..dim).map(|j| offsets[j] + steps[j] * f32::from(row[j]))).collect();
            assert_eq!(back.download().expect("reads"), expected, "{n}×{dim}, {bits} bits");
        }
    }
}

#[test]
fn levels_are_those_that_thresholds_tell_apart() {
    let Some((device, _alone)) = device() else { return };
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    // Levels of each list, components and number of symbols.
    for (levels, width, positions) in [
        (&[8usize, 6, 5][..], 3, 1),
        (&[2], 1, 13),
        (&[7, 5, 5, 5, 5], 5, 3),
        (&[256, 256], 2, 9),
        (&[3], 1, 17),
        (&[4, 4, 4, 4, 4], 1, 10),
        (&[2, 3, 3, 2], 2, 6),
        (&[1, 4], 2, 3),
    ] {
        let alphabet = levels[..width].iter().product::<usize>();
        let bits = alphabet.next_power_of_two().trailing_zeros().max(1);
        let mut sorted = |count: usize| {
            let mut values: Vec<f32> = (0..count).map(|_| rng.random_range(-40i32..40) as f32 / 16.0).collect();
            values.sort_by(f32::total_cmp);
            values
        };
        let thresholds: Vec<Vec<f32>> = levels.iter().map(|&l| sorted(l - 1)).collect();
        let values: Vec<Vec<f32>> = levels.iter().map(|&l| sorted(l)).collect();
        let scalars = LevelScalars::new(&device, &thresholds, &values, width, positions).expect("prepares");
        let (dim, n) = (scalars.dim(), 60);
        assert_eq!((dim, scalars.code_size()), (positions * width, (positions * bits as usize).div_ceil(8)));
        // Many of them are thresholds themselves.
        let mut rows: Vec<f32> = (0..n * dim).map(|_| rng.random_range(-45i32..45) as f32 / 16.0).collect();
        for (x, odd) in rows.iter_mut().zip([f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 99.0, -99.0, -0.0]) {
            *x = odd;
        }
        let on_device = device.upload(&rows).expect("uploads");
        let mut codes = device.filled::<u8>(n * scalars.code_size(), 0xaa).expect("room");
        scalars.encode(DeviceRows::all(&on_device, dim), &mut codes).expect("encodes");
        let mut symbols = device.filled::<u16>(n * positions, 0xff).expect("room");
        unpack_symbols(Codes::all(&codes, scalars.code_size()), positions, bits, &mut symbols).expect("unpacks");
        let symbols = symbols.download().expect("reads");
        let mut back = device.filled::<f32>(n * dim, 0xff).expect("room");
        assert_eq!(scalars.decode(Codes::all(&codes, scalars.code_size()), &mut back).expect("decodes"), 0);
        let back = back.download().expect("reads");
        for (row, (rows, back)) in rows.chunks_exact(dim).zip(back.chunks_exact(dim)).enumerate() {
            for (position, &symbol) in symbols[row * positions..][..positions].iter().enumerate() {
                let mut rest = usize::from(symbol);
                for j in position * width..(position + 1) * width {
                    let list = j % levels.len();
                    let digit = rest % levels[list];
                    rest /= levels[list];
                    assert_eq!(digit, thresholds[list].iter().filter(|&&t| t <= rows[j]).count(), "{levels:?}");
                    assert_eq!(back[j], values[list][digit], "{levels:?}");
                }
                assert_eq!(rest, 0, "symbols stay below {alphabet}");
            }
        }
    }
    // Six values take three bits, of which two are of no value.
    let (thresholds, values) = ([vec![0.0], vec![0.0, 1.0]], [vec![-1.0, 0.0], vec![-1.0, 0.0, 1.0]]);
    let scalars = LevelScalars::new(&device, &thresholds, &values, 2, 3).expect("prepares");
    let codes = device.upload(&plain_pack(&[5, 6, 7], 3)).expect("uploads");
    let mut back = device.filled::<f32>(6, 0).expect("room");
    assert_eq!(scalars.decode(Codes::all(&codes, 2), &mut back).expect("decodes"), 2);
    let back = back.download().expect("reads");
    assert_eq!(back[..2], [0.0, 1.0]);
    assert!(back[2..].iter().all(|x| x.is_nan()));
}

#[test]
fn codewords_stand_beside_each_other_or_are_added_up() {
    let Some((device, _alone)) = device() else { return };
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    for (n, m, k, size) in
        [(0, 2, 3, 4), (50, 3, 5, 1), (40, 4, 16, 6), (30, 5, 300, 8), (21, 1, 7, 13), (300, 2, 2, 4)]
    {
        let books: Vec<Vec<f32>> = (0..m).map(|_| (0..k * size).map(|_| rng.random()).collect()).collect();
        let mut symbols: Vec<u16> = (0..n * m).map(|_| rng.random_range(0..k as u16)).collect();
        let on_device = DeviceCodebooks::new(&device, &books.iter().map(Vec::as_slice).collect::<Vec<_>>(), size)
            .expect("prepares");
        let word = |p: usize, symbol: u16| match usize::from(symbol) < k {
            true => books[p][usize::from(symbol) * size..][..size].to_vec(),
            false => vec![f32::NAN; size],
        };
        for strangers in [0, n.min(2)] {
            // Those of rows apart, at the last codebook.
            (0..strangers).for_each(|i| symbols[i * m + m - 1] = (k + i) as u16);
            let there = device.upload(&symbols).expect("uploads");
            let codes: Vec<&[u16]> = symbols.chunks_exact(m).collect();
            let beside = codes.iter().flat_map(|code| code.iter().enumerate().flat_map(|(p, &s)| word(p, s)));
            let mut rows = device.filled::<f32>(n * m * size, 0).expect("room");
            assert_eq!(on_device.decode_groups(&there, n, &mut rows).expect("decodes"), strangers);
            let bits = |rows: Vec<f32>| rows.into_iter().map(f32::to_bits).collect::<Vec<u32>>();
            assert_eq!(bits(rows.download().expect("reads")), bits(beside.collect()), "{n}×{m}, {k}×{size}");
            let sums = codes.iter().flat_map(|code| {
                let mut sum = vec![0f32; size];
                for (p, &s) in code.iter().enumerate() {
                    sum.iter_mut().zip(word(p, s)).for_each(|(x, y)| *x += y);
                }
                sum
            });
            let mut rows = device.filled::<f32>(n * size, 0).expect("room");
            assert_eq!(on_device.decode_sums(&there, n, &mut rows).expect("decodes"), strangers);
            assert_eq!(bits(rows.download().expect("reads")), bits(sums.collect()), "{n}×{m}, {k}×{size}");
        }
    }
}
