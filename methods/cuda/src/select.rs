//! Selects the k smallest of many scores, as scan kernels do (`kernels/select.cuh`).

use crate::CudaError;
use crate::device::{Buffer, Device, Launch, launch};
use std::ops::Range;

/// Maximum `k`.
pub const MAX_K: usize = 1024;

/// Threads per block of selecting kernels; the same as in the kernels.
pub(crate) const THREADS: u32 = 512;

/// Maximum number of blocks per multiprocessor, limited by registers; the same as in the kernels.
const BESIDE: usize = 2;

/// Minimum capacity per query, so that sorts are rare.
const LEAST_CAPACITY: usize = 256;

/// Minimum number of codes per thread for which another block is worthwhile.
const CODES_PER_THREAD: usize = 4;

/// Number of waves of blocks: blocks of later waves start with good bounds.
const WAVES: usize = 4;

/// Number of blocks whose results are merged at a time, if there are more: a single merge would take longer than the
/// scan.
const MERGED: usize = 8;

/// Maximum number of blocks along the second axis of a grid.
const MOST_SECOND: usize = 65_535;

/// A found item and its score; smaller scores are nearer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SelectedRow<S> {
    /// Its score.
    pub score: S,
    /// Its index.
    pub id: u32,
}

/// The score in the upper half of a key.
pub(crate) trait ScoreBits: Sized {
    fn of_bits(bits: u32) -> Self;
}

impl ScoreBits for u32 {
    fn of_bits(bits: u32) -> u32 {
        bits
    }
}

impl ScoreBits for f32 {
    fn of_bits(bits: u32) -> f32 {
        f32::from_bits(bits ^ if bits >> 31 == 1 { 1 << 31 } else { u32::MAX })
    }
}

/// Lists of at most `k` items from the keys of a kernel, which has `k` keys per list and marks unused ones.
pub(crate) fn lists_of<S: ScoreBits>(keys: &[u64], k: usize) -> Vec<Vec<SelectedRow<S>>> {
    let neighbor = |&key: &u64| SelectedRow { score: S::of_bits((key >> 32) as u32), id: key as u32 };
    keys.chunks_exact(k).map(|keys| keys.iter().take_while(|&&key| key != u64::MAX).map(neighbor).collect()).collect()
}

/// Capacity of each query's selection in shared memory.
pub(crate) fn capacity(k: usize) -> usize {
    assert!((1..=MAX_K).contains(&k), "1 to {MAX_K} are found, not {k}");
    (2 * k).next_power_of_two().max(LEAST_CAPACITY)
}

/// Bytes of shared memory for the selections of this many queries.
pub(crate) fn selection_bytes(queries: usize, k: usize) -> usize {
    queries * (8 * capacity(k) + 16)
}

/// A scan of `n` codes by blocks that each process `beside` queries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scan {
    pub(crate) n: usize,
    pub(crate) queries: usize,
    pub(crate) k: usize,
    pub(crate) beside: usize,
    /// Bytes of shared memory per block.
    pub(crate) shared_bytes: usize,
    /// Bytes of memory per query, without the results.
    pub(crate) bytes_per_query: usize,
}

impl Scan {
    /// The `k` smallest of each query, ascending. `start` submits the kernel for a range of queries, with their limits
    /// and space for the `k` results of each block.
    pub(crate) fn run<S: ScoreBits>(
        self,
        device: &Device,
        start: impl Fn(Range<usize>, Launch, &Buffer<u64>, &Buffer<u64>) -> Result<(), CudaError>,
    ) -> Result<Vec<Vec<SelectedRow<S>>>, CudaError> {
        let Scan { n, queries, k, beside, .. } = self;
        if n == 0 || k == 0 || queries == 0 {
            return Ok((0..queries).map(|_| Vec::new()).collect());
        }
        let facts = device.facts();
        let beside_each_other = (facts.shared_bytes as usize / self.shared_bytes).clamp(1, BESIDE);
        let resident = facts.multiprocessors as usize * beside_each_other;
        let most = n.div_ceil(CODES_PER_THREAD * THREADS as usize);
        let blocks = (WAVES * resident).div_ceil(queries.div_ceil(beside)).clamp(1, most);
        // Round the number of blocks up to whole groups; blocks after the last code find nothing.
        let (blocks, groups) = match blocks > MERGED {
            true => (blocks.next_multiple_of(MERGED), blocks.div_ceil(MERGED)),
            false => (blocks, 0),
        };
        let per_query = self.bytes_per_query + 8 * (blocks + groups + 1) * k + 8;
        let room = (device.spare_bytes()? / 2) as usize / per_query / beside * beside;
        let at_once = room.clamp(beside, MOST_SECOND * beside).min(queries);
        let limits = device.room::<u64>(at_once)?;
        let found = device.room::<u64>(at_once * blocks * k)?;
        let of_groups = device.room::<u64>(at_once * groups * k)?;
        let merged = device.room::<u64>(if blocks > 1 { at_once * k } else { 0 })?;
        let mut keys = vec![0u64; at_once * k];
        let mut lists = Vec::with_capacity(queries);
        for from in (0..queries).step_by(at_once) {
            let here = at_once.min(queries - from);
            limits.fill(0xff)?;
            let launch = Launch::of(blocks, THREADS).by(here.div_ceil(beside)).shared(self.shared_bytes);
            start(from..from + here, launch, &limits, &found)?;
            let least = match (blocks, groups) {
                (1, _) => &found,
                (_, 0) => merge(device, &found, (here, blocks * k), k, &merged)?,
                _ => {
                    let of_groups = merge(device, &found, (here * groups, MERGED * k), k, &of_groups)?;
                    merge(device, of_groups, (here, groups * k), k, &merged)?
                }
            };
            least.read(0, &mut keys[..here * k])?;
            lists.extend(lists_of(&keys[..here * k], k));
        }
        Ok(lists)
    }
}

/// Writes the `k` smallest of the `count` keys of each list.
fn merge<'a>(
    device: &Device,
    keys: &Buffer<u64>,
    (lists, count): (usize, usize),
    k: usize,
    least: &'a Buffer<u64>,
) -> Result<&'a Buffer<u64>, CudaError> {
    assert!(keys.len() >= lists * count && least.len() >= lists * k, "keys of each list, a place for the least");
    // SAFETY: the lengths were just asserted.
    unsafe {
        launch!(device, merge_keys, Launch::of(lists, THREADS).shared(selection_bytes(1, k));
            keys, lists as u32, count as u64, k as u32, capacity(k) as u32, least)?;
    }
    Ok(least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_in_the_order_of_scores_and_back() {
        let key = |score: f32, id: u32| {
            let bits = (score + 0.0).to_bits();
            u64::from(bits ^ if bits >> 31 == 1 { u32::MAX } else { 1 << 31 }) << 32 | u64::from(id)
        };
        let scores = [f32::NEG_INFINITY, f32::MIN, -1.5, -1e-40, 0.0, 1e-40, 2.0, f32::MAX, f32::INFINITY];
        let mut keys: Vec<u64> = scores.iter().flat_map(|&s| [key(s, 3), key(s, u32::MAX)]).collect();
        assert!(keys.is_sorted() && keys.iter().all(|&key| key < u64::MAX));
        keys.push(u64::MAX);
        keys.resize(20, u64::MAX);
        let lists = lists_of::<f32>(&keys, 20);
        let expected = scores.iter().flat_map(|&score| [3, u32::MAX].map(|id| SelectedRow { score, id }));
        assert_eq!(lists, [expected.collect::<Vec<_>>()]);
        assert_eq!(lists_of::<u32>(&[7 << 32 | 9, u64::MAX], 2), [[SelectedRow { score: 7, id: 9 }]]);
    }

    #[test]
    fn there_is_room_for_twice_as_many() {
        assert_eq!([1, 128, 129, 1024].map(capacity), [256, 256, 512, 2048]);
    }
}
