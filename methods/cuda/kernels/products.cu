// Products of all rows with all columns of a table, in f32: rotations, and scores where all of them are wanted.

// out[i][c] = finish(Σ_d (x_i − mean)_d·(y_c)_d, c), or of the sum of squared differences where DISTANCES, for n rows and k others of dim
// components. Tiles of 128×128, 256 threads with 8×8 of it each.
template <bool DISTANCES, class F>
DEVICE void all_pairs(const float* rows, u64 stride, u32 n, const float* mean, const float* others, u32 k, u32 dim, float* out,
                      u64 out_stride, F finish) {
    SHARED(float, memory);
    u32 tx = threadIdx.x % 16, ty = threadIdx.x / 16;
    u32 first_row = blockIdx.x * TILE_ROWS;
    for (u32 first = blockIdx.y * TILE_CODEWORDS; first < k; first += gridDim.y * TILE_CODEWORDS) {
        float sums[8][8];
        fill_tile<DISTANCES>(
            sums, memory, dim, mean,
            [&](u32, u32 r, u32 d, float mu) { return first_row + r < n ? rows[(first_row + r) * stride + d] - mu : 0.f; },
            [&](u32, u32 r, u32 d, float) { return first + r < k ? others[(u64)(first + r) * dim + d] : 0.f; });
#pragma unroll
        for (int i = 0; i < 8; i++) {
            u32 r = first_row + place_in_tile(i, ty);
#pragma unroll
            for (int j = 0; j < 8; j++) {
                u32 c = first + place_in_tile(j, tx);
                if (r < n && c < k) out[r * out_stride + c] = finish(sums[i][j], c);
            }
        }
    }
}

// out[i][c] = bias[c] + factor · (x_i − mean)·y_c; mean and bias may be left out.
KERNEL BOUNDED(256, 2) products(const float* rows, u64 stride, u32 n, const float* mean, const float* others, u32 k, u32 dim, float factor,
                                const float* bias, float* out, u64 out_stride) {
    all_pairs<false>(rows, stride, n, mean, others, k, dim, out, out_stride,
                     [&](float sum, u32 c) { return fmaf(factor, sum, bias ? bias[c] : 0.f); });
}

// out[i][c] = ‖x_i − y_c‖².
KERNEL BOUNDED(256, 2) distances(const float* rows, u64 stride, u32 n, const float* others, u32 k, u32 dim, float* out) {
    all_pairs<true>(rows, stride, n, nullptr, others, k, dim, out, k, [](float sum, u32) { return sum; });
}

// Of each group's `width` scores (group after group), the `count` least, ties by place: found[g][p] is the place of the p-th. Destroys the
// scores. One block per group.
KERNEL least_few(float* scores, u32 groups, u64 width, u32 count, u32* found) {
    SHARED(Found, room);
    for (u32 g = blockIdx.x; g < groups; g += gridDim.x) {
        float* here = scores + g * width;
        for (u32 p = 0; p < count; p++) {
            Found best = least_of_block(here, width, room);
            // If only NaN is left, any place will do.
            u32 id = best.id < width ? best.id : p;
            __syncthreads();
            if (threadIdx.x == 0) {
                found[(u64)g * count + p] = id;
                here[id] = __uint_as_float(0x7fc00000u);
            }
            __syncthreads();
        }
    }
}

// The distances ‖x_b − c‖² of what was found, where place b·k + c of group g stands for row b of the group and codeword c; then in their
// order, ties by place. One block per group.
KERNEL order_found(const float* rows, u64 stride, u32 group, const float* codebook, u32 k, u32 dim, u32 groups, u32 count, u32* found,
                   float* distances) {
    for (u32 g = blockIdx.x; g < groups; g += gridDim.x) {
        u32* here = found + (u64)g * count;
        float* distance = distances + (u64)g * count;
        u32 lane = threadIdx.x % WARP;
        for (u32 p = threadIdx.x / WARP; p < count; p += blockDim.x / WARP) {
            const float* row = rows + ((u64)g * group + here[p] / k) * stride;
            const float* codeword = codebook + (u64)(here[p] % k) * dim;
            float sum = warp_squared_distance(row, codeword, dim);
            if (lane == 0) distance[p] = sum;
        }
        __syncthreads();
        if (threadIdx.x == 0)
            for (u32 p = 1; p < count; p++) {
                Found moving = {distance[p], here[p]};
                u32 q = p;
                for (; q > 0 && better(moving.score, moving.id, Found{distance[q - 1], here[q - 1]}); q--) {
                    distance[q] = distance[q - 1];
                    here[q] = here[q - 1];
                }
                distance[q] = moving.score;
                here[q] = moving.id;
            }
        __syncthreads();
    }
}

// residuals[g·count + i] = x_b − y_c for the i-th place b·k + c of group g, row after row.
KERNEL subtract_chosen(const float* rows, u64 stride, u32 group, const float* others, u32 k, u32 dim, u32 groups, u32 count,
                       const u32* places, float* residuals) {
    u64 step = (u64)gridDim.x * blockDim.x, all = (u64)groups * count * dim;
    for (u64 e = (u64)blockIdx.x * blockDim.x + threadIdx.x; e < all; e += step) {
        u64 pick = e / dim;
        u32 j = (u32)(e % dim), place = places[pick];
        residuals[e] = rows[(pick / count * group + place / k) * stride + j] - others[(u64)(place % k) * dim + j];
    }
}
