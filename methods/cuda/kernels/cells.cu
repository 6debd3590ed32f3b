// Sums of the rows of each cell, in 64-bit integers: their order does not matter, so a sum is the same every time, in
// whatever order the device does its atomic additions. With n rows below 2^e in magnitude, a step of 2^(e + ⌈log2 n⌉ −
// 62) cannot overflow.

// A row is read by 2^shift adjacent threads.

// The largest magnitude of all values, as the bits of a positive f32, which are in the order of its values.
KERNEL largest_magnitude(const float* rows, u64 stride, u32 n, u32 dim, u32 shift, u32* bits) {
    float most = 0;
    u32 lane = threadIdx.x & ((1u << shift) - 1);
    u64 step = ((u64)gridDim.x * blockDim.x) >> shift;
    for (u64 i = ((u64)blockIdx.x * blockDim.x + threadIdx.x) >> shift; i < n; i += step)
        for (u32 j = lane; j < dim; j += 1u << shift) most = fmaxf(most, fabsf(rows[i * stride + j]));
    most = warp_max(most);
    if (threadIdx.x % WARP == 0) atomicMax(bits, __float_as_uint(most));
}

// sums[c][j] += round(x[i][j]·scale) over all rows i with nearest[i] = c; counts[c] is their number. In shared memory first, where the
// sums of all cells have room there.
KERNEL sum_cells(const float* rows, u64 stride, u32 n, u32 dim, u32 shift, const u32* nearest, double scale, u32 k, u32 in_shared, u64* sums,
                 u32* counts) {
    SHARED(u64, memory);
    u32* shared_counts = (u32*)(memory + (u64)k * dim);
    u64* to = sums;
    u32* to_counts = counts;
    if (in_shared) {
        for (u32 e = threadIdx.x; e < k * dim; e += blockDim.x) memory[e] = 0;
        for (u32 e = threadIdx.x; e < k; e += blockDim.x) shared_counts[e] = 0;
        to = memory;
        to_counts = shared_counts;
        __syncthreads();
    }
    u32 lane = threadIdx.x & ((1u << shift) - 1);
    u64 step = ((u64)gridDim.x * blockDim.x) >> shift;
    for (u64 i = ((u64)blockIdx.x * blockDim.x + threadIdx.x) >> shift; i < n; i += step) {
        u32 c = nearest[i];
        // Rows without a cell are skipped.
        if (c >= k) continue;
        for (u32 j = lane; j < dim; j += 1u << shift)
            atomicAdd(&to[(u64)c * dim + j], (u64)__double2ll_rn((double)rows[i * stride + j] * scale));
        if (lane == 0) atomicAdd(&to_counts[c], 1u);
    }
    if (in_shared) {
        __syncthreads();
        for (u32 e = threadIdx.x; e < k * dim; e += blockDim.x)
            if (memory[e]) atomicAdd(&sums[e], memory[e]);
        for (u32 e = threadIdx.x; e < k; e += blockDim.x)
            if (shared_counts[e]) atomicAdd(&counts[e], shared_counts[e]);
    }
}
