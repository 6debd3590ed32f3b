// The k nearest of a base for each query, exactly: by the scores that f32 gives directly,
//
// ‖x − q‖² or −x·q                                                   (one warp each, in the order of its lanes)
//
// Rows that cannot be among them are left out by products in tiles, the rest are scored directly and selected, a stretch of the base after
// the other. With D the k-th score so far, x and q relative to any vector μ, and rounding of u = 2^-24 at each of dim operations, a row
// scores above D if
//
// ½‖x‖² − x·q + ½‖q‖² − w·‖x‖·‖q‖ − a·(½‖x‖² + ½‖q‖²) > ½D·(1 + b)            (w, a, b from dim: see exact.rs)
//
// and for products −x·q − w·‖x‖·‖q‖ > D, without μ. What depends on x or q alone is kept per row: `halves` and `norms`, and per query
// `limits` holds the right side less what the left has of q. So a tile costs no more than its products.

// mean[j] = the mean of the finite values among up to `samples` rows, evenly spread.
KERNEL sample_mean(const float* rows, u64 stride, u32 n, u32 dim, u32 samples, float* mean) {
    u32 j = blockIdx.x * blockDim.x + threadIdx.x;
    if (j < dim) {
        double sum = 0;
        u32 count = 0;
        for (u32 s = 0; s < samples; s++) {
            float x = rows[(u64)s * n / samples * stride + j];
            if (fabsf(x) < INFINITE) {
                sum += (double)x;
                count++;
            }
        }
        mean[j] = count ? (float)(sum / count) : 0.f;
    }
}

// halves[i] = half_factor·½‖x_i − mean‖², norms[i] ≥ norm_factor·‖x_i − mean‖. One warp per row. Where squares leave the range of f32 the
// norm is no number, and nothing is left out by it.
KERNEL row_terms(const float* rows, u64 stride, u32 n, const float* mean, u32 dim, float half_factor, float norm_factor, float* halves,
                 float* norms) {
    u32 i = blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP;
    u32 lane = threadIdx.x % WARP;
    if (i < n) {
        float sum = 0, most = 0;
        for (u32 j = lane; j < dim; j += WARP) {
            float x = rows[i * stride + j] - (mean ? mean[j] : 0.f);
            sum = fmaf(x, x, sum);
            most = fmaxf(most, fabsf(x));
        }
        sum = warp_sum(sum);
        most = warp_max(most);
        if (lane == 0) {
            // Squares of the smallest values may be lost.
            float norm = sum < 1e-30f ? fmaxf(sqrtf(sum), most * sqrtf((float)dim)) * 1.001f : sqrtf(sum);
            halves[i] = half_factor > 0.f ? half_factor * 0.5f * sum : 0.f;
            norms[i] = norm < 1e18f ? norm * norm_factor : __uint_as_float(0x7fc00000u);
        }
    }
}

// lists[q][…] = those of n rows that may score below the limit of query q, in any order, counted from `first`; counts[q] is their number.
// Tiles of 128 queries × 128 rows, 256 threads with 8×8 of it each.
KERNEL BOUNDED(256, 2) list_near(const float* queries, u64 query_stride, u32 query_count, const float* rows, u64 stride, u32 first, u32 n,
                                 const float* mean, u32 dim, const float* halves, const float* norms, const float* weights,
                                 const float* limits, u32* lists, u64 room, u32* counts) {
    SHARED(float, memory);
    u32 tx = threadIdx.x % 16, ty = threadIdx.x / 16;
    u32 first_row = blockIdx.x * TILE_ROWS, first_query = blockIdx.y * TILE_ROWS;
    float sums[8][8];
    fill_tile<false>(
        sums, memory, dim, mean,
        [&](u32, u32 r, u32 d, float mu) { return first_query + r < query_count ? queries[(first_query + r) * query_stride + d] - mu : 0.f; },
        [&](u32, u32 r, u32 d, float mu) { return first_row + r < n ? rows[(first_row + r) * stride + d] - mu : 0.f; });
    float half[8], norm[8];
#pragma unroll
    for (int j = 0; j < 8; j++) {
        u32 x = first_row + place_in_tile(j, tx);
        half[j] = x < n ? halves[x] : 0.f;
        norm[j] = x < n ? norms[x] : 0.f;
    }
#pragma unroll
    for (int i = 0; i < 8; i++) {
        u32 q = first_query + place_in_tile(i, ty);
        if (q < query_count) {
            float weight = weights[q], limit = limits[q];
#pragma unroll
            for (int j = 0; j < 8; j++) {
                u32 x = first_row + place_in_tile(j, tx);
                // Also where something is no number.
                if (x < n && !(fmaf(-norm[j], weight, half[j] - sums[i][j]) > limit)) lists[q * room + atomicAdd(&counts[q], 1u)] = first + x;
            }
        }
    }
}

// Scores rows directly, those listed or the `room` rows from number `first` on, and keeps the k least with those that least[q] holds; then
// sets the limit of the query, and its count to 0. One block per query.
KERNEL BOUNDED(512, 2) score_near(const float* queries, u64 query_stride, u32 query_count, const float* rows, u64 stride, u32 first,
                                  u32 dim, u32 squared, const u32* lists, u64 room, u32* counts, u32 k, u32 capacity, const float* halves,
                                  float limit_factor, float least_limit, u64* least, float* limits) {
    SHARED(u64, memory);
    u32 lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
    for (u32 q = blockIdx.x; q < query_count; q += gridDim.x) {
        u32 count = lists ? counts[q] : (u32)room;
        __syncthreads();
        if (count == 0) continue;
        Selection selection = empty_selection(memory, 1, k, capacity);
        __syncthreads();
        for (u32 from = 0; from < k; from += blockDim.x) {
            u64 key[1] = {from + threadIdx.x < k ? least[(u64)q * k + from + threadIdx.x] : NOTHING};
            offer<1>(selection, key, nullptr);
        }
        const float* query = queries + q * query_stride;
        for (u32 from = 0; from < count; from += blockDim.x) {
            u64 key[1] = {NOTHING};
            for (u32 l = 0; l < WARP; l++) {
                u32 e = from + l * warps + warp;
                if (e < count) {
                    u32 id = lists ? lists[q * room + e] : first + e;
                    const float* row = rows + id * stride;
                    float sum = 0;
                    for (u32 j = lane; j < dim; j += WARP) {
                        float d = squared ? row[j] - query[j] : 0.f;
                        sum = squared ? fmaf(d, d, sum) : fmaf(row[j], query[j], sum);
                    }
                    sum = warp_sum(sum);
                    if (lane == l) key[0] = key_of(squared ? sum : -sum, id);
                }
            }
            offer<1>(selection, key, nullptr);
        }
        write_least<1>(selection, 1, least + (u64)q * k, k, nullptr);
        if (threadIdx.x == 0) {
            float limit = INFINITE;
            if (selection.counts[0] >= k) {
                float score = score_of(selection.keys[k - 1]);
                limit = squared ? score * 0.5f * limit_factor + least_limit - halves[q] : score + least_limit;
            }
            limits[q] = limit;
            counts[q] = 0;
        }
    }
}
