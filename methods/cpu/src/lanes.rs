//! Registers of f32 for each instruction set, with the few operations that the kernels need.
//!
//! Arrays of plain f32 were tried first: the compiler kept a 6×32 tile of them in memory and multiplied one by one,
//! at a twentieth of the speed of these registers (10,000×8 to 256 codewords, AVX-512).

/// A register of f32, and one of equally many u32.
pub(crate) trait Lanes: Copy {
    /// Values per register.
    const N: usize;
    /// A register of as many u32.
    type Index: Copy;
    /// A register of i16 of the same set.
    type Short: ShortLanes;

    /// All lanes alike.
    fn splat(value: f32) -> Self;
    /// From the first `N` values of a slice.
    fn load(values: &[f32]) -> Self;
    /// Into the first `N` values of a slice.
    fn store(self, values: &mut [f32]);
    /// `self·a + b`; fused where the set can.
    fn mul_add(self, a: Self, b: Self) -> Self;
    /// `self − other`.
    fn sub(self, other: Self) -> Self;
    /// `self + other`.
    fn add(self, other: Self) -> Self;
    /// Loads fewer than `N` values; the rest is zero.
    fn load_few(values: &[f32]) -> Self;
    /// The sum of all lanes, by halves: lane `l` with `l + N/2`, then with `l + N/4`, and so on.
    fn sum(self) -> f32;
    /// The smaller in each lane; `other` where either is NaN.
    fn min(self, other: Self) -> Self;
    /// The greater in each lane; `other` where either is NaN.
    fn max(self, other: Self) -> Self;
    /// The smallest of all lanes, none of which is NaN.
    #[inline(always)]
    fn least(self) -> f32 {
        let mut values = [f32::INFINITY; 16];
        self.store(&mut values);
        values.into_iter().fold(f32::INFINITY, f32::min)
    }
    /// One bit per lane: whether `self` is smaller than `bound`.
    fn below(self, bound: Self) -> u32;
    /// Adds eight values to eight sums in f64.
    #[inline(always)]
    fn add_eight(values: &[f32; 8], sums: &mut [f64; 8]) {
        for l in 0..8 {
            sums[l] += f64::from(values[l]);
        }
    }
    /// Prefetches the cache line of the first value of a slice.
    fn prefetch<T>(values: &[T]);
    /// All lanes alike.
    fn splat_index(value: u32) -> Self::Index;
    /// One more in every lane.
    fn next_index(index: Self::Index) -> Self::Index;
    /// Into the first `N` values of a slice.
    fn store_index(index: Self::Index, values: &mut [u32]);
    /// Where `self` is smaller than `best`, replaces `best` by it and `best_index` by `index`.
    fn keep_smaller(self, best: &mut Self, best_index: &mut Self::Index, index: Self::Index);
}

/// One register of i16.
pub(crate) trait ShortLanes: Copy {
    /// Values per register.
    const N: usize;

    /// All lanes alike.
    fn splat(value: i16) -> Self;
    /// From the first `N` values of a slice.
    fn load(values: &[i16]) -> Self;
    /// `self + other`, saturating.
    fn add(self, other: Self) -> Self;
    /// The smaller in each lane.
    fn min(self, other: Self) -> Self;
    /// The smallest of all lanes.
    fn least(self) -> i16;
    /// The first lane in which both are equal; at least `N` if there is none.
    fn first_equal(self, other: Self) -> usize;
}

/// Eight i16 without a particular instruction set.
#[derive(Clone, Copy)]
pub(crate) struct PortableShort([i16; 8]);

impl ShortLanes for PortableShort {
    const N: usize = 8;

    #[inline(always)]
    fn splat(value: i16) -> Self {
        PortableShort([value; 8])
    }

    #[inline(always)]
    fn load(values: &[i16]) -> Self {
        PortableShort(std::array::from_fn(|l| values[l]))
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        PortableShort(std::array::from_fn(|l| self.0[l].saturating_add(other.0[l])))
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        PortableShort(std::array::from_fn(|l| self.0[l].min(other.0[l])))
    }

    #[inline(always)]
    fn least(self) -> i16 {
        self.0.into_iter().fold(i16::MAX, i16::min)
    }

    #[inline(always)]
    fn first_equal(self, other: Self) -> usize {
        (0..8).find(|&l| self.0[l] == other.0[l]).unwrap_or(8)
    }
}

/// Four values without a particular instruction set.
#[derive(Clone, Copy)]
pub(crate) struct Portable([f32; 4]);

impl Lanes for Portable {
    const N: usize = 4;
    type Index = [u32; 4];
    type Short = PortableShort;

    #[inline(always)]
    fn splat(value: f32) -> Self {
        Portable([value; 4])
    }

    #[inline(always)]
    fn load(values: &[f32]) -> Self {
        Portable([values[0], values[1], values[2], values[3]])
    }

    #[inline(always)]
    fn store(self, values: &mut [f32]) {
        values[..4].copy_from_slice(&self.0);
    }

    #[inline(always)]
    fn mul_add(self, a: Self, b: Self) -> Self {
        Portable(std::array::from_fn(|l| self.0[l] * a.0[l] + b.0[l]))
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Portable(std::array::from_fn(|l| self.0[l] - other.0[l]))
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Portable(std::array::from_fn(|l| self.0[l] + other.0[l]))
    }

    #[inline(always)]
    fn load_few(values: &[f32]) -> Self {
        Portable(std::array::from_fn(|l| values.get(l).copied().unwrap_or(0.0)))
    }

    #[inline(always)]
    fn sum(self) -> f32 {
        (self.0[0] + self.0[2]) + (self.0[1] + self.0[3])
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        Portable(std::array::from_fn(|l| if self.0[l] < other.0[l] { self.0[l] } else { other.0[l] }))
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        Portable(std::array::from_fn(|l| if self.0[l] > other.0[l] { self.0[l] } else { other.0[l] }))
    }

    fn below(self, bound: Self) -> u32 {
        (0..4).map(|l| u32::from(self.0[l] < bound.0[l]) << l).sum()
    }

    #[inline(always)]
    fn prefetch<T>(_values: &[T]) {}

    #[inline(always)]
    fn splat_index(value: u32) -> [u32; 4] {
        [value; 4]
    }

    #[inline(always)]
    fn next_index(index: [u32; 4]) -> [u32; 4] {
        index.map(|i| i + 1)
    }

    #[inline(always)]
    fn store_index(index: [u32; 4], values: &mut [u32]) {
        values[..4].copy_from_slice(&index);
    }

    #[inline(always)]
    fn keep_smaller(self, best: &mut Self, best_index: &mut [u32; 4], index: [u32; 4]) {
        for l in 0..4 {
            let closer = self.0[l] < best.0[l];
            best.0[l] = if closer { self.0[l] } else { best.0[l] };
            best_index[l] = if closer { index[l] } else { best_index[l] };
        }
    }
}

#[cfg(target_arch = "aarch64")]
pub(crate) use neon::Neon;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512};

#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "x86_64")]
mod x86;
