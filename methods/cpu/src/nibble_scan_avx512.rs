//! The search by tables of nibbles on AVX-512: sums, their comparison with the limit, and the exact sums of what is left.
//!
//! Entered only after an `Isa` of AVX-512 was given, and [`block`] after one with VNNI and VBMI. 64 look-ups take two instructions
//! (`cargo bench -p vqbench-cpu`).

use crate::lookup::TABLES;
use crate::nibble_scan::{AT_ONCE, BlockSums, GroupSet, Hit, LINES, Line, Slots, row_of_halves, words_of};
use crate::table_kernels::{GROUP, Levels, QUAD};
use crate::table_scan::SteppedTables;
use std::arch::x86_64::*;

/// Registers of sixteen sums in a group of rows.
const REGISTERS: usize = GROUP / 16;

/// Four tables of 16 entries are one register: one permutation looks up four symbols of sixteen rows, and one product with ones adds them up.
/// Two queries share the reads of symbols.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi,fma")]
pub(crate) fn block<const Q: usize>(
    symbols: &[u8],
    steps: [&[u8]; Q],
    to: [&mut BlockSums; Q],
    slots: [&mut Slots; Q],
) {
    let steps = steps.map(|steps| steps.as_chunks::<64>().0);
    let quads = steps[0].len();
    assert!(steps.iter().all(|steps| steps.len() == quads), "tables of one shape");
    let eight = (quads == 8).then(|| steps.map(|steps| steps.first_chunk::<8>().unwrap_or(&[[0; 64]; 8])));
    let mut least_of = [[_mm512_setzero_si512(); LINES]; Q];
    for (least, slots) in least_of.iter_mut().zip(&slots) {
        least.iter_mut().zip(&**slots).for_each(|(least, line)| *least = load_line(line));
    }
    let groups = symbols.as_chunks::<{ GROUP * QUAD }>().0.chunks_exact(quads).enumerate();
    for (group, symbols) in groups {
        let sums = match (symbols.first_chunk::<8>(), eight) {
            (Some(symbols), Some(steps)) => sums_of_eight(symbols, steps),
            _ => sums(symbols, steps),
        };
        for q in 0..Q {
            let mut least = _mm512_set1_epi16(-1);
            let (pairs, to) = (sums[q].as_chunks::<2>().0, &mut *to[q]);
            for (line, [a, b]) in to.sums[group].iter_mut().zip(pairs) {
                let packed = _mm512_packus_epi32(*a, *b);
                least = _mm512_min_epu16(least, packed);
                store_line(packed, line);
            }
            store_line(least, &mut to.least[group]);
            let slot = &mut least_of[q][group % LINES];
            *slot = _mm512_min_epu16(*slot, least);
        }
    }
    for (least, slots) in least_of.iter().zip(slots) {
        least.iter().zip(slots).for_each(|(least, line)| store_line(*least, line));
    }
}

/// The row of a group whose sum is at this place of the lines of [`block`]: packing takes four sums of each of two registers by turns.
#[inline]
pub(crate) fn row_of_sum(place: usize) -> usize {
    let (line, quarter, second, four) = (place / 32, place / 8 % 4, place / 4 % 2, place % 4);
    32 * line + 16 * second + 4 * quarter + four
}

/// The sums of a group for each query.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi,fma")]
#[inline]
fn sums<const Q: usize>(symbols: &[[u8; GROUP * QUAD]], steps: [&[[u8; 64]]; Q]) -> [[__m512i; REGISTERS]; Q] {
    let mut sums = [[_mm512_setzero_si512(); REGISTERS]; Q];
    for (quad, symbols) in symbols.iter().enumerate() {
        add_quad(&mut sums, symbols, steps.map(|steps| &steps[quad]));
    }
    sums
}

/// The same for eight quads, without a loop: the processor would guess wrongly at the end of each.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi,fma")]
#[inline]
fn sums_of_eight<const Q: usize>(
    symbols: &[[u8; GROUP * QUAD]; 8],
    steps: [&[[u8; 64]; 8]; Q],
) -> [[__m512i; REGISTERS]; Q] {
    let mut sums = [[_mm512_setzero_si512(); REGISTERS]; Q];
    add_quad(&mut sums, &symbols[0], steps.map(|steps| &steps[0]));
    add_quad(&mut sums, &symbols[1], steps.map(|steps| &steps[1]));
    add_quad(&mut sums, &symbols[2], steps.map(|steps| &steps[2]));
    add_quad(&mut sums, &symbols[3], steps.map(|steps| &steps[3]));
    add_quad(&mut sums, &symbols[4], steps.map(|steps| &steps[4]));
    add_quad(&mut sums, &symbols[5], steps.map(|steps| &steps[5]));
    add_quad(&mut sums, &symbols[6], steps.map(|steps| &steps[6]));
    add_quad(&mut sums, &symbols[7], steps.map(|steps| &steps[7]));
    sums
}

/// Adds the steps of four positions.
#[allow(clippy::needless_range_loop, reason = "the registers of a row are those of all queries")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi,fma")]
#[inline]
fn add_quad<const Q: usize>(sums: &mut [[__m512i; REGISTERS]; Q], symbols: &[u8; GROUP * QUAD], steps: [&[u8; 64]; Q]) {
    let ones = _mm512_set1_epi8(1);
    let mut tables = [ones; Q];
    for (table, steps) in tables.iter_mut().zip(steps) {
        // SAFETY: a whole register.
        *table = unsafe { _mm512_loadu_si512(steps.as_ptr().cast()) };
    }
    for r in 0..REGISTERS {
        // SAFETY: `symbols` holds `REGISTERS` registers.
        let index = unsafe { _mm512_loadu_si512(symbols.as_ptr().wrapping_add(64 * r).cast()) };
        for q in 0..Q {
            sums[q][r] = _mm512_dpbusd_epi32(sums[q][r], _mm512_permutexvar_epi8(index, tables[q]), ones);
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
#[inline]
pub(crate) fn load_line(line: &Line) -> __m512i {
    // SAFETY: a line is a register.
    unsafe { _mm512_loadu_si512(line.0.as_ptr().cast()) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
#[inline]
pub(crate) fn store_line(value: __m512i, line: &mut Line) {
    // SAFETY: a line is a register.
    unsafe { _mm512_storeu_si512(line.0.as_mut_ptr().cast(), value) }
}

/// Groups with such sums are found first: asking one after the other takes guesses. Sums lie as [`row_of_sum`] says if they are
/// packed, otherwise as [`row_of_halves`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
pub(crate) fn take_within<const PACKED: bool>(
    sums: &BlockSums,
    groups: usize,
    highest: u16,
    first_id: u32,
    hits: &mut Vec<Hit>,
) {
    let limit = _mm512_set1_epi16(highest.cast_signed());
    let mut some_within = GroupSet::default();
    for (group, least) in sums.least.iter().take(groups).enumerate() {
        some_within.put(group, _mm512_cmple_epu16_mask(load_line(least), limit) != 0);
    }
    for group in some_within {
        let lines = &sums.sums[group];
        let first_id = first_id + (group * GROUP) as u32;
        let mut bits = 0u128;
        for (l, line) in lines.iter().enumerate() {
            bits |= u128::from(_mm512_cmple_epu16_mask(load_line(line), limit)) << (32 * l);
        }
        while bits != 0 {
            let place = bits.trailing_zeros() as usize;
            bits &= bits - 1;
            let row = if PACKED { row_of_sum(place) } else { row_of_halves(place) };
            hits.push(Hit { sum: lines[place / 32].0[place % 32], id: first_id + row as u32 });
        }
    }
}

/// See [`crate::nibble_scan::kth_of_slots`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
pub(crate) fn kth_of_slots(slots: &Slots, k: usize, most: u16) -> u16 {
    let lines = slots.each_ref().map(|line| load_line(line));
    let [a, b, c, d] = lines;
    let least = _mm512_min_epu16(_mm512_min_epu16(a, b), _mm512_min_epu16(c, d));
    let half = _mm256_min_epu16(_mm512_castsi512_si256(least), _mm512_extracti64x4_epi64::<1>(least));
    let quarter = _mm_min_epu16(_mm256_castsi256_si128(half), _mm256_extracti128_si256::<1>(half));
    let (mut from, mut to) = (_mm_extract_epi16::<0>(_mm_minpos_epu16(quarter)) as u16, most);
    let count_to = |sum: u16| -> usize {
        let sum = _mm512_set1_epi16(sum.cast_signed());
        lines.iter().map(|line| _mm512_cmple_epu16_mask(*line, sum).count_ones() as usize).sum()
    };
    let mut count = count_to(to);
    while from < to && count > k + k / 4 {
        let middle = from + (to - from) / 2;
        let below = count_to(middle);
        let enough = below >= k;
        from = if enough { from } else { middle + 1 };
        to = if enough { middle } else { to };
        count = if enough { below } else { count };
    }
    to
}

/// A table of 16 entries is a register, which a permutation looks up for sixteen codes. Of an index it takes the lowest four bits.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
pub(crate) fn sums_of_codes(
    entries: &[f32],
    codes: &[u8],
    size: usize,
    ids: &[u32; AT_ONCE],
    sums: &mut [f32; AT_ONCE],
) {
    let (mut sum, mut part) = (_mm512_setzero_ps(), _mm512_set1_ps(-0.0));
    let tables = entries.as_chunks::<16>().0;
    let mut of_ids = [codes; AT_ONCE];
    for (code, id) in of_ids.iter_mut().zip(ids) {
        *code = &codes[*id as usize * size..][..size];
    }
    // Four bytes of each code are eight symbols.
    for (word, tables) in tables.chunks(8).enumerate() {
        // SAFETY: sixteen words.
        let mut words = unsafe { _mm512_loadu_si512(words_of(&of_ids, word).as_ptr().cast()) };
        for (byte, pair) in tables.chunks(2).enumerate() {
            let mut found = _mm512_permutexvar_ps(words, load(&pair[0]));
            if let Some(high) = pair.get(1) {
                found = _mm512_add_ps(found, _mm512_permutexvar_ps(_mm512_srli_epi32::<4>(words), load(high)));
            }
            words = _mm512_srli_epi32::<8>(words);
            part = _mm512_add_ps(part, found);
            if (4 * word + byte + 1).is_multiple_of(TABLES) {
                sum = _mm512_add_ps(sum, part);
                part = _mm512_set1_ps(-0.0);
            }
        }
    }
    sum = _mm512_add_ps(sum, part);
    // SAFETY: `sums` holds a register.
    unsafe { _mm512_storeu_ps(sums.as_mut_ptr(), sum) };
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
#[inline]
fn load(table: &[f32; 16]) -> __m512 {
    // SAFETY: sixteen values.
    unsafe { _mm512_loadu_ps(table.as_ptr()) }
}

/// Least and greatest entries of sixteen tables at a time, then a table at a time.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
pub(crate) fn round_nibbles(stepped: &mut SteppedTables<'_>, levels: Levels) {
    let tables = stepped.tables().entries().as_chunks::<16>().0;
    let (infinity, zero) = (_mm512_set1_ps(f32::INFINITY), _mm512_setzero_ps());
    let (mut low, mut range, mut largest) = (zero, zero, zero);
    let mut leasts = Vec::with_capacity(tables.len().next_multiple_of(16));
    for tables in tables.chunks(16) {
        let (mut of_least, mut of_most) = ([zero; 16], [zero; 16]);
        for ((least, most), table) in of_least.iter_mut().zip(&mut of_most).zip(tables) {
            // NaN is neither.
            *least = _mm512_min_ps(load(table), infinity);
            *most = _mm512_max_ps(load(table), _mm512_sub_ps(zero, infinity));
        }
        let (least, most) =
            (of_each(of_least, |a, b| _mm512_min_ps(a, b)), of_each(of_most, |a, b| _mm512_max_ps(a, b)));
        low = _mm512_add_ps(low, least);
        // NaN is no range.
        let mut ranges = _mm512_max_ps(_mm512_sub_ps(most, least), zero);
        if levels.tables == QUAD {
            ranges = _mm512_add_ps(ranges, _mm512_permute_ps::<0b10_11_00_01>(ranges));
            ranges = _mm512_add_ps(ranges, _mm512_permute_ps::<0b01_00_11_10>(ranges));
        }
        range = _mm512_max_ps(range, ranges);
        largest = _mm512_add_ps(largest, _mm512_max_ps(_mm512_abs_ps(most), _mm512_abs_ps(least)));
        let mut values = [0f32; 16];
        // SAFETY: sixteen values.
        unsafe { _mm512_storeu_ps(values.as_mut_ptr(), least) };
        leasts.extend_from_slice(&values);
    }
    let [low, range, largest] = [_mm512_reduce_add_ps(low), _mm512_reduce_max_ps(range), _mm512_reduce_add_ps(largest)];
    let levels = f32::from(levels.most);
    let inverse = _mm512_set1_ps(stepped.set_step(levels, low, range, largest));
    let levels = _mm512_set1_ps(levels);
    for ((table, steps), least) in tables.iter().zip(stepped.steps_mut().as_chunks_mut::<16>().0).zip(leasts) {
        let place = _mm512_mul_ps(_mm512_sub_ps(load(table), _mm512_set1_ps(least)), inverse);
        // NaN gets zero.
        let place = _mm512_min_ps(_mm512_max_ps(place, zero), levels);
        let rounded = _mm512_cvtepi32_epi8(_mm512_cvttps_epi32(place));
        // SAFETY: sixteen bytes.
        unsafe { _mm_storeu_si128(steps.as_mut_ptr().cast(), rounded) };
    }
}

/// What `join` makes of the lanes of each of sixteen registers, one lane for each: halves of two registers are joined in one.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
#[inline]
fn of_each(values: [__m512; 16], join: impl Fn(__m512, __m512) -> __m512) -> __m512 {
    let mut twos = [values[0]; 8];
    for (two, pair) in twos.iter_mut().zip(values.as_chunks::<2>().0) {
        *two = join(_mm512_unpacklo_ps(pair[0], pair[1]), _mm512_unpackhi_ps(pair[0], pair[1]));
    }
    let mut fours = [values[0]; 4];
    for (four, pair) in fours.iter_mut().zip(twos.as_chunks::<2>().0) {
        let (a, b) = (_mm512_castps_pd(pair[0]), _mm512_castps_pd(pair[1]));
        *four = join(_mm512_castpd_ps(_mm512_unpacklo_pd(a, b)), _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)));
    }
    let quarters = |a, b| join(_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xdd>(a, b));
    quarters(quarters(fours[0], fours[1]), quarters(fours[2], fours[3]))
}
