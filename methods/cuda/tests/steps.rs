//! What lies between the steps of a quantizer that stays on the device, against plain loops: scales, residuals, searches in one go.

mod common;

use common::device;
use cuda::{DeviceRows, DeviceSumTables, continuations, standardize, unstandardize};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn draw(rng: &mut ChaCha8Rng, n: usize) -> Vec<f32> {
    (0..n).map(|_| rng.random::<f32>() * 3.0 - 1.0).collect()
}

#[test]
fn scales_are_those_of_a_loop_bit_for_bit() {
    let Some((device, _alone)) = device() else { return };
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for (n, dim, stride) in [(0, 3, 3), (1, 1, 1), (40, 7, 9), (300, 16, 16)] {
        let (rows, centre, factor) = (draw(&mut rng, n * stride), draw(&mut rng, dim), 0.37f32);
        let (on_device, on_device_centre) =
            (device.upload(&rows).expect("uploads"), device.upload(&centre).expect("uploads"));
        let window = DeviceRows::new(&on_device, 0, stride, n, dim);
        let each = || (0..n).flat_map(|i| rows[i * stride..][..dim].iter().zip(&centre));
        let mut out = device.filled::<f32>(n * dim + 1, 0xff).expect("room");
        standardize(window, None, 1.0, &mut out).expect("copies");
        assert_eq!(out.download().expect("reads")[..n * dim], each().map(|(x, _)| *x).collect::<Vec<f32>>());
        standardize(window, Some(&on_device_centre), factor, &mut out).expect("scales");
        let expected: Vec<f32> = each().map(|(x, c)| (x - c) * factor).collect();
        assert_eq!(out.download().expect("reads")[..n * dim], expected);
        unstandardize(&mut out, n, &on_device_centre, factor).expect("scales");
        let expected: Vec<f32> = expected.iter().zip(each()).map(|(x, (_, c))| x * factor + c).collect();
        let found = out.download().expect("reads");
        assert_eq!(found[..n * dim], expected);
        assert!(found[n * dim].is_nan(), "nothing behind them is written");
    }
}

#[test]
fn continuations_leave_what_their_codewords_leave() {
    let Some((device, _alone)) = device() else { return };
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    for (groups, group, k, count) in [(0, 1, 3, 2), (5, 1, 20, 4), (40, 5, 17, 6), (3, 70, 3, 300)] {
        let dim = 4;
        let (rows, book) = (draw(&mut rng, groups * group * dim), draw(&mut rng, k * dim));
        let on_device = device.upload(&rows).expect("uploads");
        let found = continuations(&device, DeviceRows::all(&on_device, dim), group, &book, count).expect("finds");
        let ((places, _), residuals) = found;
        let count = count.min(group * k);
        assert_eq!(places.len(), groups * count);
        let left = places.iter().enumerate().flat_map(|(i, &place)| {
            let (row, codeword) = (i / count * group + place as usize / k, place as usize % k);
            rows[row * dim..][..dim].iter().zip(&book[codeword * dim..][..dim]).map(|(x, c)| x - c)
        });
        assert_eq!(residuals.download().expect("reads"), left.collect::<Vec<f32>>());
    }
}

/// The search in one go is its two parts in turn, and keeps of both codes of a row that which errs less.
#[test]
fn a_search_in_one_go_never_errs_more_than_its_beam() {
    let Some((device, _alone)) = device() else { return };
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let (n, m, k, dim) = (50, 3, 6, 5);
    let (rows, books) = (draw(&mut rng, n * dim), draw(&mut rng, m * k * dim));
    let on_device = device.upload(&rows).expect("uploads");
    let rows_there = DeviceRows::all(&on_device, dim);
    let error = |i: usize, code: &[u16]| {
        let mut left: Vec<f32> = rows[i * dim..][..dim].to_vec();
        for (p, &c) in code.iter().enumerate() {
            left.iter_mut().zip(&books[(p * k + usize::from(c)) * dim..][..dim]).for_each(|(l, v)| *l -= v);
        }
        left.iter().map(|v| f64::from(v * v)).sum::<f64>()
    };
    let tables = DeviceSumTables::new(&device, &books, m, dim, true).expect("prepares");
    let mut beam = vec![0u16; n * m];
    tables.beam(rows_there, 2, &mut beam).expect("searches");
    let alone = tables.search(rows_there, 2, None).expect("searches").download().expect("reads");
    assert_eq!(alone, beam);
    let mut improved = beam.clone();
    tables.improve(rows_there, (4, 4, 4), 7, &mut improved).expect("searches");
    let found = tables.search(rows_there, 2, Some(((4, 4, 4), 7))).expect("searches").download().expect("reads");
    for (i, found) in found.chunks_exact(m).enumerate() {
        let (beam, improved) = (&beam[i * m..][..m], &improved[i * m..][..m]);
        let kept = if error(i, improved) > error(i, beam) { beam } else { improved };
        assert_eq!(found, kept, "row {i}");
    }
}
