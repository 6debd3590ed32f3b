//! Mutations of real input: what damage, truncation and malice do to files, drawn at random and the same in every run.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Most bytes of a mutation.
const MOST: usize = 1 << 16;

/// Bytes from either end in which half of the changes lie: headers and tables of contents.
const ENDS: usize = 128;

/// Numbers that readers get wrong: around the limits of types, and those whose products overflow.
const NUMBERS: [u64; 17] = [
    0,
    1,
    2,
    0x7f,
    0x80,
    0xff,
    0x100,
    0x7fff,
    0xffff,
    0x1_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0x5555_5555_5555_5556,
    0x7fff_ffff_ffff_ffff,
    0xffff_ffff_ffff_ffff,
];

/// What stands in texts: numbers at and beyond limits, brackets, quotes, words that mean something somewhere.
const WORDS: [&str; 48] = [
    "0",
    "-1",
    "1e400",
    "-0",
    "9223372036854775807",
    "18446744073709551616",
    "4294967296",
    "1e-46",
    "NaN",
    "nan",
    "inf",
    "-Infinity",
    ".inf",
    "null",
    "~",
    "true",
    "",
    "\"",
    "'",
    "\\",
    "\\u0000",
    "\\ud800",
    "\u{0}",
    "\u{feff}",
    "\u{202e}",
    "é",
    "\r\n",
    "\n",
    "\t",
    "  ",
    ",",
    ";",
    ":",
    ": ",
    "- ",
    "[",
    "]",
    "{",
    "}",
    "[[[[[[[[",
    "{{{{{{{{",
    "(((((",
    "&a ",
    "*a",
    "<<: *a",
    "!!binary ",
    "../../../etc/passwd",
    "#",
];

/// The mutation of a number: one of the seeds with a few changes.
pub fn mutated(seeds: &[Vec<u8>], seed: u64, case: u64) -> Vec<u8> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(case);
    let draw = |rng: &mut ChaCha8Rng| match seeds.len() {
        0 => Vec::new(),
        n => seeds[rng.random_range(0..n)].clone(),
    };
    let mut bytes = draw(&mut rng);
    let mut changes = 1;
    while changes < 8 && rng.random() {
        changes += 1;
    }
    for _ in 0..changes {
        change(&mut bytes, &draw(&mut rng), &mut rng);
        bytes.truncate(MOST);
    }
    bytes
}

/// A place in some bytes, half of the time near one of their ends.
fn place(length: usize, rng: &mut ChaCha8Rng) -> usize {
    let near = ENDS.min(length);
    match rng.random_range(0..4) {
        0 => rng.random_range(0..=near),
        1 => length - rng.random_range(0..=near),
        _ => rng.random_range(0..=length),
    }
}

fn change(bytes: &mut Vec<u8>, other: &[u8], rng: &mut ChaCha8Rng) {
    let at = place(bytes.len(), rng);
    let end = (at + rng.random_range(1..=16)).min(bytes.len());
    match rng.random_range(0..13) {
        0 => bytes[at..].iter_mut().take(1).for_each(|byte| *byte ^= 1 << rng.random_range(0..8)),
        1 => bytes[at..].iter_mut().take(1).for_each(|byte| *byte = [0, 1, 0x7f, 0x80, 0xff][rng.random_range(0..5)]),
        2 => bytes[at..end].iter_mut().for_each(|byte| *byte = rng.random()),
        3 => {
            let fill = [0, 0xff, b'9', b' '][rng.random_range(0..4)];
            bytes[at..end].iter_mut().for_each(|byte| *byte = fill);
        }
        4 => number(&mut bytes[at..], rng),
        5 => bytes.truncate(at),
        6 => drop(bytes.drain(at..end)),
        7 => {
            let more: Vec<u8> = (at..end).map(|_| rng.random()).collect();
            drop(bytes.splice(at..at, more));
        }
        8 => {
            // The start of one file and the end of another.
            let from = place(other.len(), rng);
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
        9 => {
            let to = place(bytes.len(), rng);
            let part = bytes[at.min(to)..at.max(to)].to_vec();
            drop(bytes.splice(at..at, part));
        }
        10 => digits(bytes, at, rng),
        11 => {
            let word = WORDS[rng.random_range(0..WORDS.len())].bytes();
            drop(bytes.splice(at..if rng.random() { at } else { end }, word));
        }
        _ => {
            // Many copies of a few bytes.
            let part = bytes[at..end].to_vec();
            let times = 1 << rng.random_range(1..12);
            drop(bytes.splice(at..at, part.repeat(times).into_iter().take(MOST)));
        }
    }
}

/// Writes a number over the bytes, in a width and an order that files have; or changes the one that stands there a little.
fn number(bytes: &mut [u8], rng: &mut ChaCha8Rng) {
    let width = [1, 2, 4, 8][rng.random_range(0..4)].min(bytes.len());
    let little: bool = rng.random();
    let mut value = NUMBERS[rng.random_range(0..NUMBERS.len())];
    if rng.random() {
        let old = bytes[..width].iter().enumerate();
        let shift = |at: usize| 8 * if little { at } else { width - 1 - at };
        value = old.map(|(at, &byte)| u64::from(byte) << shift(at)).sum::<u64>();
        value = value.wrapping_add(rng.random_range(0..33)).wrapping_sub(16);
    }
    let encoded = value.to_le_bytes();
    for at in 0..width {
        bytes[at] = encoded[if little { at } else { width - 1 - at }];
    }
}

/// Replaces the number in a text that follows a place.
fn digits(bytes: &mut Vec<u8>, at: usize, rng: &mut ChaCha8Rng) {
    let Some(start) = bytes[at..].iter().position(u8::is_ascii_digit).map(|found| at + found) else { return };
    let length = bytes[start..].iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(bytes.len() - start);
    let value = NUMBERS[rng.random_range(0..NUMBERS.len())].to_string();
    drop(bytes.splice(start..start + length, value.into_bytes()));
}
