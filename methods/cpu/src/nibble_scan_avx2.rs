//! The search by tables of nibbles on AVX2: rounding of tables, comparison of sums with the limit, and the exact sums of what is left.
//!
//! Entered only after an `Isa` of AVX2 was given. Plain loops take several times as long, since they ask for each code whether its sum is within the
//! limit (`cargo bench -p vqbench-cpu`).

use crate::lookup::TABLES;
use crate::nibble_scan::{AT_ONCE, BlockSums, GroupSet, Hit, Slots, row_of_halves, words_of};
use crate::table_kernels::{GROUP, Levels, QUAD};
use crate::table_scan::SteppedTables;
use crate::table_scan_avx2::load_line;
use std::arch::x86_64::*;

/// Groups with such sums are found first: asking one after the other takes guesses. Sums lie as [`row_of_halves`] says.
#[target_feature(enable = "avx2,fma")]
pub(crate) fn take_within(sums: &BlockSums, groups: usize, highest: u16, first_id: u32, hits: &mut Vec<Hit>) {
    let limit = _mm256_set1_epi16(highest.cast_signed());
    let within = |sums: __m256i| _mm256_cmpeq_epi16(_mm256_min_epu16(sums, limit), sums);
    let mut some_within = GroupSet::default();
    for (group, least) in sums.least.iter().take(groups).enumerate() {
        let [a, b] = load_line(least);
        some_within.put(group, _mm256_movemask_epi8(within(_mm256_min_epu16(a, b))) != 0);
    }
    for group in some_within {
        let lines = &sums.sums[group];
        let first_id = first_id + (group * GROUP) as u32;
        let mut bits = 0u128;
        for (l, line) in lines.iter().enumerate() {
            let [a, b] = load_line(line);
            // Packing takes eight of each by turns.
            let bytes = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi16(within(a), within(b)));
            bits |= u128::from(_mm256_movemask_epi8(bytes).cast_unsigned()) << (32 * l);
        }
        while bits != 0 {
            let place = bits.trailing_zeros() as usize;
            bits &= bits - 1;
            hits.push(Hit { sum: lines[place / 32].0[place % 32], id: first_id + row_of_halves(place) as u32 });
        }
    }
}

/// See [`crate::nibble_scan::kth_of_slots`].
#[target_feature(enable = "avx2,fma")]
pub(crate) fn kth_of_slots(slots: &Slots, k: usize, most: u16) -> u16 {
    let [[a, b], [c, d], [e, f], [g, h]] =
        [load_line(&slots[0]), load_line(&slots[1]), load_line(&slots[2]), load_line(&slots[3])];
    let min = |a, b| _mm256_min_epu16(a, b);
    let least = min(min(min(a, b), min(c, d)), min(min(e, f), min(g, h)));
    let least = _mm_min_epu16(_mm256_castsi256_si128(least), _mm256_extracti128_si256::<1>(least));
    let (mut from, mut to) = (_mm_extract_epi16::<0>(_mm_minpos_epu16(least)) as u16, most);
    let count_to = |sum: u16| -> usize {
        let sum = _mm256_set1_epi16(sum.cast_signed());
        // Minus one where a sum is within.
        let of = |sums| _mm256_cmpeq_epi16(min(sums, sum), sums);
        let add = |a, b| _mm256_add_epi16(a, b);
        let counts = add(add(add(of(a), of(b)), add(of(c), of(d))), add(add(of(e), of(f)), add(of(g), of(h))));
        let counts = _mm256_sad_epu8(_mm256_abs_epi16(counts), _mm256_setzero_si256());
        let counts = _mm_add_epi64(_mm256_castsi256_si128(counts), _mm256_extracti128_si256::<1>(counts));
        (_mm_cvtsi128_si32(counts) + _mm_extract_epi32::<2>(counts)) as usize
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

/// A table of 16 entries is two registers, which a permutation each looks up for eight codes. Of an index it takes the lowest three bits.
#[target_feature(enable = "avx2,fma")]
pub(crate) fn sums_of_codes(
    entries: &[f32],
    codes: &[u8],
    size: usize,
    ids: &[u32; AT_ONCE],
    sums: &mut [f32; AT_ONCE],
) {
    const EIGHTS: usize = AT_ONCE / 8;
    let (mut sum, mut part) = ([_mm256_setzero_ps(); EIGHTS], [_mm256_set1_ps(-0.0); EIGHTS]);
    let tables = entries.as_chunks::<16>().0;
    let mut of_ids = [codes; AT_ONCE];
    for (code, id) in of_ids.iter_mut().zip(ids) {
        *code = &codes[*id as usize * size..][..size];
    }
    // Four bytes of each code are eight symbols.
    for (word, tables) in tables.chunks(8).enumerate() {
        let words_of_codes = words_of(&of_ids, word);
        let mut words = [_mm256_setzero_si256(); EIGHTS];
        for (words, of_codes) in words.iter_mut().zip(words_of_codes.as_chunks::<8>().0) {
            // SAFETY: eight words.
            *words = unsafe { _mm256_loadu_si256(of_codes.as_ptr().cast()) };
        }
        for (byte, pair) in tables.chunks(2).enumerate() {
            let is_last = (4 * word + byte + 1).is_multiple_of(TABLES);
            for e in 0..EIGHTS {
                let mut found = look_up(&pair[0], words[e]);
                if let Some(high) = pair.get(1) {
                    found = _mm256_add_ps(found, look_up(high, _mm256_srli_epi32::<4>(words[e])));
                }
                words[e] = _mm256_srli_epi32::<8>(words[e]);
                part[e] = _mm256_add_ps(part[e], found);
                if is_last {
                    sum[e] = _mm256_add_ps(sum[e], part[e]);
                    part[e] = _mm256_set1_ps(-0.0);
                }
            }
        }
    }
    for ((sums, sum), part) in sums.as_chunks_mut::<8>().0.iter_mut().zip(sum).zip(part) {
        let sum = _mm256_add_ps(sum, part);
        // SAFETY: `sums` holds a register.
        unsafe { _mm256_storeu_ps(sums.as_mut_ptr(), sum) };
    }
}

/// Least and greatest entries of eight tables at a time, then a table at a time.
#[target_feature(enable = "avx2,fma")]
pub(crate) fn round_nibbles(stepped: &mut SteppedTables<'_>, levels: Levels) {
    let tables = stepped.tables().entries().as_chunks::<16>().0;
    let (infinity, zero) = (_mm256_set1_ps(f32::INFINITY), _mm256_setzero_ps());
    let (mut low, mut range, mut largest) = (zero, zero, zero);
    let mut leasts = Vec::with_capacity(tables.len().next_multiple_of(8));
    for tables in tables.chunks(8) {
        let (mut of_least, mut of_most) = ([zero; 8], [zero; 8]);
        for ((least, most), table) in of_least.iter_mut().zip(&mut of_most).zip(tables) {
            let [a, b] = load(table);
            // NaN is neither.
            *least = _mm256_min_ps(b, _mm256_min_ps(a, infinity));
            let minus_infinity = _mm256_sub_ps(zero, infinity);
            *most = _mm256_max_ps(b, _mm256_max_ps(a, minus_infinity));
        }
        let least = of_each(of_least, |a, b| _mm256_min_ps(a, b));
        let most = of_each(of_most, |a, b| _mm256_max_ps(a, b));
        low = _mm256_add_ps(low, least);
        // NaN is no range.
        let mut ranges = _mm256_max_ps(_mm256_sub_ps(most, least), zero);
        if levels.tables == QUAD {
            ranges = _mm256_add_ps(ranges, _mm256_permute_ps::<0b10_11_00_01>(ranges));
            ranges = _mm256_add_ps(ranges, _mm256_permute_ps::<0b01_00_11_10>(ranges));
        }
        range = _mm256_max_ps(range, ranges);
        let sign = _mm256_set1_ps(-0.0);
        largest = _mm256_add_ps(largest, _mm256_max_ps(_mm256_andnot_ps(sign, most), _mm256_andnot_ps(sign, least)));
        leasts.extend_from_slice(&values(least));
    }
    let range = values(range).into_iter().fold(0.0, f32::max);
    let [low, largest] = [values(low), values(largest)].map(|sums| sums.into_iter().sum());
    let levels = f32::from(levels.most);
    let inverse = _mm256_set1_ps(stepped.set_step(levels, low, range, largest));
    let levels = _mm256_set1_ps(levels);
    let steps_of = |entries: __m256, least: __m256| {
        let place = _mm256_mul_ps(_mm256_sub_ps(entries, least), inverse);
        // NaN gets zero.
        _mm256_cvttps_epi32(_mm256_min_ps(_mm256_max_ps(place, zero), levels))
    };
    for ((table, steps), least) in tables.iter().zip(stepped.steps_mut().as_chunks_mut::<16>().0).zip(leasts) {
        let (least, [a, b]) = (_mm256_set1_ps(least), load(table));
        // Packing takes four of each by turns.
        let packed = _mm256_packus_epi32(steps_of(a, least), steps_of(b, least));
        let packed = _mm256_permute4x64_epi64::<0b11_01_10_00>(packed);
        let bytes = _mm_packus_epi16(_mm256_castsi256_si128(packed), _mm256_extracti128_si256::<1>(packed));
        // SAFETY: sixteen bytes.
        unsafe { _mm_storeu_si128(steps.as_mut_ptr().cast(), bytes) };
    }
}

/// What `join` makes of the lanes of each of eight registers, one lane for each: halves of two registers are joined in one.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn of_each(of: [__m256; 8], join: impl Fn(__m256, __m256) -> __m256) -> __m256 {
    let mut twos = [of[0]; 4];
    for (two, pair) in twos.iter_mut().zip(of.as_chunks::<2>().0) {
        *two = join(_mm256_unpacklo_ps(pair[0], pair[1]), _mm256_unpackhi_ps(pair[0], pair[1]));
    }
    let mut fours = [of[0]; 2];
    for (four, pair) in fours.iter_mut().zip(twos.as_chunks::<2>().0) {
        let (a, b) = (_mm256_castps_pd(pair[0]), _mm256_castps_pd(pair[1]));
        *four = join(_mm256_castpd_ps(_mm256_unpacklo_pd(a, b)), _mm256_castpd_ps(_mm256_unpackhi_pd(a, b)));
    }
    let (low, high) =
        (_mm256_permute2f128_ps::<0x20>(fours[0], fours[1]), _mm256_permute2f128_ps::<0x31>(fours[0], fours[1]));
    join(low, high)
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn values(register: __m256) -> [f32; 8] {
    let mut values = [0f32; 8];
    // SAFETY: eight values.
    unsafe { _mm256_storeu_ps(values.as_mut_ptr(), register) };
    values
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn load(table: &[f32; 16]) -> [__m256; 2] {
    let halves = table.as_chunks::<8>().0;
    // SAFETY: eight values.
    let low = unsafe { _mm256_loadu_ps(halves[0].as_ptr()) };
    // SAFETY: as above.
    let high = unsafe { _mm256_loadu_ps(halves[1].as_ptr()) };
    [low, high]
}

/// The entries that the lowest four bits select.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn look_up(table: &[f32; 16], symbols: __m256i) -> __m256 {
    let [low, high] = load(table);
    let (low, high) = (_mm256_permutevar8x32_ps(low, symbols), _mm256_permutevar8x32_ps(high, symbols));
    // The fourth bit becomes the sign, which chooses.
    _mm256_blendv_ps(low, high, _mm256_castsi256_ps(_mm256_slli_epi32::<28>(symbols)))
}
