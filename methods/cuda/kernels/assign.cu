// The nearest codeword of each row, by scores ½‖c‖² − x·c with rows and codewords relative to the mean of the codebook.
// The matrix of rows by codewords is never in memory.
//
// The first pass runs on tensor cores, in f16 with f32 sums. It finds the best and the second-best score of every row;
// a bound on the rounding to f16 says whether that decides. Undecided rows are listed. A second pass over the same
// scores lists the codewords that may be nearest to them, and direct f32 distances of these few decide. Rows with too
// many candidates are searched by direct distances to all codewords: f32 scores cancel if codewords are far from each
// other.
//
// |x·c − x̂·ĉ| ≤ ‖x‖·‖c − ĉ‖ + ‖ĉ‖·‖x − x̂‖                     (Cauchy and Schwarz; the norms of what rounding cut off are measured)

// norms[c] = ½‖c−μ‖², infinite from k on up to k_padded. One warp per codeword. Also the codeword in f16, times `scale`, `padded` values
// with zeros at the end; and the largest norm of what f16 cut off (bounds[0]) and of what it kept (bounds[1]), as bits of a positive f32,
// which are in the order of its values.
KERNEL prepare_codewords(const float* codewords, const float* mean, u32 k, u32 k_padded, u32 dim, u32 padded, float scale, float* norms,
                         u16* halves, u32* bounds) {
    u32 c = blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP;
    u32 lane = threadIdx.x % WARP;
    if (c < k_padded) {
        float norm = 0, kept = 0, lost = 0;
        for (u32 j = 2 * lane; j < padded; j += 2 * WARP) {
            float a = c < k && j < dim ? codewords[(u64)c * dim + j] - mean[j] : 0.f;
            float b = c < k && j + 1 < dim ? codewords[(u64)c * dim + j + 1] - mean[j + 1] : 0.f;
            norm += a * a + b * b;
            u32 both = two_halves(a * scale, b * scale);
            ((u32*)halves)[((u64)c * padded + j) / 2] = both;
            // On the scale of halves, where squares do not vanish.
            float ha = half_value((u16)both), hb = half_value((u16)(both >> 16)), da = a * scale - ha, db = b * scale - hb;
            kept += ha * ha + hb * hb;
            lost += da * da + db * db;
        }
        norm = warp_sum(norm);
        kept = warp_sum(kept);
        lost = warp_sum(lost);
        if (lane == 0) {
            norms[c] = c < k ? 0.5f * norm : INFINITE;
            if (c < k) {
                atomicMax(&bounds[0], __float_as_uint(sqrtf(lost) / scale));
                atomicMax(&bounds[1], __float_as_uint(sqrtf(kept) / scale));
            }
        }
    }
}

// Rows relative to the mean in f16, each times a power of two of its own; factors[i] turns a product of halves into x·c, margins[i] bounds
// how far any score of the row may be off. One warp per row.
KERNEL prepare_rows(const float* rows, u64 stride, u32 n, const float* mean, u32 dim, u32 padded, float codeword_scale, const u32* bounds,
                    u16* halves, float* factors, float* margins) {
    u32 i = blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP;
    u32 lane = threadIdx.x % WARP;
    if (i < n) {
        const float* row = rows + i * stride;
        float most = 0;
        for (u32 j = lane; j < dim; j += WARP) most = fmaxf(most, fabsf(row[j] - mean[j]));
        most = warp_max(most);
        // The power of two that brings the largest value to between 2^11 and 2^12, by its exponent.
        int exponent = (int)((__float_as_uint(most) >> 23) & 255);
        int shift = exponent == 0 ? 0 : 127 + 11 - exponent;
        shift = shift > 60 ? 60 : shift < -60 ? -60 : shift;
        float scale = __uint_as_float((u32)(127 + shift) << 23);
        // On the scale of halves, where squares do not vanish.
        float norm = 0, lost = 0;
        for (u32 j = 2 * lane; j < padded; j += 2 * WARP) {
            float a = j < dim ? (row[j] - mean[j]) * scale : 0.f;
            float b = j + 1 < dim ? (row[j + 1] - mean[j + 1]) * scale : 0.f;
            u32 both = two_halves(a, b);
            ((u32*)halves)[((u64)i * padded + j) / 2] = both;
            float da = a - half_value((u16)both), db = b - half_value((u16)(both >> 16));
            norm += a * a + b * b;
            lost += da * da + db * db;
        }
        norm = sqrtf(warp_sum(norm)) / scale;
        lost = sqrtf(warp_sum(lost)) / scale;
        if (lane == 0) {
            float cut = __uint_as_float(bounds[0]), kept = __uint_as_float(bounds[1]);
            factors[i] = -(1.f / scale) / codeword_scale;
            // What rounding to f16 changed, what sums in f32 may lose (2^-22 of all there is for each product, the half norm that sums begin
            // as among it: tensor cores cut off what lies below the greatest), and what the score itself is rounded by.
            float sums = (float)padded * 2.4e-7f * ((norm + lost) * kept + 0.5f * (kept + cut) * (kept + cut));
            float whole = 5e-7f * ((kept + cut) * (kept + cut) + norm * (kept + cut));
            margins[i] = 1.001f * (norm * cut + kept * lost) + sums + whole;
        }
    }
}

// Scores of 128 rows against all codewords, 128 at a time, by four warps of 64 rows × 64 codewords each. Stages of 32 components are
// copied ahead; rows stay in shared memory where `resident`. All `n` rows, of which it writes the best codeword, or lists in `open` those
// whose next best is too near, with the score up to which a codeword may be the nearest in place of their margin; or, `LISTING`, the first
// n rows that are listed in `open`, of which it lists the codewords up to that score: counts[e] of them for open[e], of which the first
// CANDIDATES have a place.
//
// A sum starts as the half norm of its codeword, on the scale of its row's products. The greatest sum is then the least
// score, and one comparison per codeword shows that no codeword of a tile comes near the best so far. Only other tiles
// are examined in detail.
#define STAGE 32
#define STAGE_STRIDE 40
#define STAGES 3
#define HALF_THREADS 128
#define CANDIDATES 32
template <bool LISTING>
DEVICE void score_halves(const u16* rows, u32 n, const u16* codewords, const float* norms, u32 k_padded, u32 padded, u32 resident,
                         const float* factors, float* margins, u32* nearest, u32* open, u32* open_count, u32* candidates, u32* counts) {
    SHARED(u16, memory);
    // Codeword stages, then either row stages or all components of the rows, then one result per row and half of the codewords.
    u32 row_stride = resident ? padded + 8 : STAGE_STRIDE;
    u16* codeword_stages = memory;
    u16* row_stages = codeword_stages + STAGES * TILE_CODEWORDS * STAGE_STRIDE;
    u32 row_values = resident ? TILE_ROWS * row_stride : STAGES * TILE_ROWS * STAGE_STRIDE;
    float* best_scores = (float*)(row_stages + row_values);
    float* next_scores = best_scores + 2 * TILE_ROWS;
    u32* best_ids = (u32*)(next_scores + 2 * TILE_ROWS);

    u32 thread = threadIdx.x, lane = thread % WARP, warp = thread / WARP;
    u32 warp_row = warp % 2 * 64, warp_codeword = warp / 2 * 64;
    u32 steps = padded / STAGE, tiles = k_padded / TILE_CODEWORDS;
    u32 total = steps * tiles;
    for (u32 first_row = blockIdx.x * TILE_ROWS; first_row < n; first_row += gridDim.x * TILE_ROWS) {
        __syncthreads();
        // The number of a row of the tile; rows behind the last repeat an existing one.
        auto number = [&](u32 r) { return first_row + r >= n ? 0 : LISTING ? open[first_row + r] : first_row + r; };
        if (resident) {
            u32 pieces = padded / 8;
            for (u32 p = thread; p < TILE_ROWS * pieces; p += HALF_THREADS) {
                u32 r = p / pieces, j = p % pieces * 8;
                copy_ahead(row_stages + r * row_stride + j, rows + (u64)number(r) * padded + j, first_row + r < n);
            }
        }
        // Stage s holds components (s mod steps)·32 … of codeword tile s / steps.
        auto fetch = [&](u32 s) {
            if (s < total) {
                u16* codeword_stage = codeword_stages + s % STAGES * (TILE_CODEWORDS * STAGE_STRIDE);
                u32 from = s % steps * STAGE, codeword = s / steps * TILE_CODEWORDS;
                for (u32 p = thread; p < TILE_CODEWORDS * (STAGE / 8); p += HALF_THREADS) {
                    u32 r = p / (STAGE / 8), j = p % (STAGE / 8) * 8;
                    copy_ahead(codeword_stage + r * STAGE_STRIDE + j, codewords + (u64)(codeword + r) * padded + from + j, true);
                }
                if (!resident) {
                    u16* row_stage = row_stages + s % STAGES * (TILE_ROWS * STAGE_STRIDE);
                    for (u32 p = thread; p < TILE_ROWS * (STAGE / 8); p += HALF_THREADS) {
                        u32 r = p / (STAGE / 8), j = p % (STAGE / 8) * 8;
                        copy_ahead(row_stage + r * STAGE_STRIDE + j, rows + (u64)number(r) * padded + from + j, first_row + r < n);
                    }
                }
            }
            copies_end();
        };

        // Each thread sees 8 rows of the tile (2 of each 16): their two greatest sums so far, below what a sum is of no account (as far below
        // the greatest of the row as near ties reach), and what brings half norms to the scale of sums.
        float best[8], next[8], bar[8], scale[8];
        u32 id[8];
        auto row_of = [&](int q) { return warp_row + q / 2 * 16 + q % 2 * 8 + lane / 4; };
#pragma unroll
        for (int q = 0; q < 8; q++) {
            bool there = first_row + row_of(q) < n;
            u32 row = number(row_of(q));
            scale[q] = there ? 1.f / factors[row] : 0.f;
            best[q] = next[q] = -INFINITE;
            id[q] = 0;
            bar[q] = !LISTING ? -INFINITE : there ? margins[row] * scale[q] : INFINITE;
        }
        float sums[4][8][4];

        for (u32 s = 0; s + 1 < STAGES; s++) fetch(s);
        for (u32 s = 0; s < total; s++) {
            copies_wait<STAGES - 2>();
            __syncthreads();
            fetch(s + STAGES - 1);
            u32 first = s / steps * TILE_CODEWORDS + warp_codeword + lane % 4 * 2;
            if (s % steps == 0) {
#pragma unroll
                for (int t = 0; t < 8; t++) {
                    Floats2 norm = *(const Floats2*)(norms + first + t * 8);
#pragma unroll
                    for (int q = 0; q < 8; q++) {
                        sums[q / 2][t][q % 2 * 2] = norm.x * scale[q];
                        sums[q / 2][t][q % 2 * 2 + 1] = norm.y * scale[q];
                    }
                }
            }
            const u16* codeword_stage = codeword_stages + s % STAGES * (TILE_CODEWORDS * STAGE_STRIDE);
            const u16* row_stage = resident ? row_stages + s % steps * STAGE : row_stages + s % STAGES * (TILE_ROWS * STAGE_STRIDE);
#pragma unroll
            for (int part = 0; part < STAGE; part += 16) {
                u32 a[4][4];
#pragma unroll
                for (int t = 0; t < 4; t++)
                    load_matrices(a[t], row_stage + (warp_row + t * 16 + lane % 16) * row_stride + part + lane / 16 * 8);
#pragma unroll
                for (int t = 0; t < 8; t += 2) {
                    u32 b[4];
                    load_matrices(b, codeword_stage + (warp_codeword + t * 8 + lane % 8 + lane / 16 * 8) * STAGE_STRIDE + part +
                                         lane / 8 % 2 * 8);
#pragma unroll
                    for (int r = 0; r < 4; r++) {
                        multiply_add(sums[r][t], a[r], b[0], b[1]);
                        multiply_add(sums[r][t + 1], a[r], b[2], b[3]);
                    }
                }
            }
            if (s % steps == steps - 1) {
#pragma unroll
                for (int q = 0; q < 8; q++) {
                    float most = -INFINITE;
#pragma unroll
                    for (int t = 0; t < 8; t++) most = fmaxf(most, fmaxf(sums[q / 2][t][q % 2 * 2], sums[q / 2][t][q % 2 * 2 + 1]));
                    if constexpr (LISTING) {
                        if (most >= bar[q]) {
                            u32 slot = first_row + row_of(q);
#pragma unroll
                            for (int e = 0; e < 16; e++)
                                if (sums[q / 2][e / 2][q % 2 * 2 + e % 2] >= bar[q]) {
                                    u32 place = atomicAdd(&counts[slot], 1u);
                                    if (place < CANDIDATES) candidates[(u64)slot * CANDIDATES + place] = first + e / 2 * 8 + e % 2;
                                }
                        }
                    } else if (__ballot_sync(FULL_WARP, most >= bar[q])) {
#pragma unroll
                        for (int t = 0; t < 8; t++) {
#pragma unroll
                            for (int v = 0; v < 2; v++) {
                                float sum = sums[q / 2][t][q % 2 * 2 + v];
                                next[q] = fmaxf(next[q], fminf(sum, best[q]));
                                if (sum > best[q]) {
                                    best[q] = sum;
                                    id[q] = first + t * 8 + v;
                                }
                            }
                        }
                        // Four lanes share a row. Twice the margin is a tie; a tenth of it is more than what rounding takes here.
                        float greatest = fmaxf(best[q], __shfl_xor_sync(FULL_WARP, best[q], 1));
                        greatest = fmaxf(greatest, __shfl_xor_sync(FULL_WARP, greatest, 2));
                        u32 row = first_row + row_of(q);
                        bar[q] = greatest + 2.2f * (row < n ? margins[row] : 0.f) * scale[q];
                    }
                }
            }
        }
        if constexpr (!LISTING) {
            // Four lanes share a row, then the two halves of the codewords.
#pragma unroll
            for (int q = 0; q < 8; q++) {
#pragma unroll
                for (int step = 1; step < 4; step *= 2) {
                    float other = __shfl_xor_sync(FULL_WARP, best[q], step), other_next = __shfl_xor_sync(FULL_WARP, next[q], step);
                    u32 other_id = __shfl_xor_sync(FULL_WARP, id[q], step);
                    next[q] = fmaxf(fmaxf(next[q], other_next), fminf(best[q], other));
                    if (other > best[q]) {
                        best[q] = other;
                        id[q] = other_id;
                    }
                }
                if (lane % 4 == 0) {
                    u32 row = first_row + row_of(q), place = warp / 2 * TILE_ROWS + row_of(q);
                    float factor = row < n ? factors[row] : 0.f;
                    best_scores[place] = best[q] * factor;
                    next_scores[place] = next[q] * factor;
                    best_ids[place] = id[q];
                }
            }
            __syncthreads();
            u32 row = first_row + thread;
            if (row < n) {
                u32 other = thread + TILE_ROWS;
                bool second = best_scores[other] < best_scores[thread];
                float least = fminf(best_scores[thread], best_scores[other]), greater = fmaxf(best_scores[thread], best_scores[other]);
                float after = fminf(greater, fminf(next_scores[thread], next_scores[other]));
                nearest[row] = best_ids[second ? other : thread];
                // Also if a score is NaN.
                if (!(after - least > 2.f * margins[row])) {
                    open[atomicAdd(open_count, 1u)] = row;
                    // As above: what is within twice the margin, and somewhat more for rounding here.
                    margins[row] = least + 2.2f * margins[row];
                }
            }
        }
    }
}

KERNEL BOUNDED(HALF_THREADS, 2) assign_halves(const u16* rows, u32 n, const u16* codewords, const float* norms, u32 k_padded, u32 padded,
                                              u32 resident, const float* factors, float* margins, u32* nearest, u32* open,
                                              u32* open_count) {
    score_halves<false>(rows, n, codewords, norms, k_padded, padded, resident, factors, margins, nearest, open, open_count, nullptr, nullptr);
}

// For as many of the rows in `open` as have places for candidates.
KERNEL BOUNDED(HALF_THREADS, 2) list_candidates(const u16* rows, const u16* codewords, const float* norms, u32 k_padded, u32 padded,
                                                u32 resident, const float* factors, float* margins, u32* open, u32* open_count, u32 places,
                                                u32* candidates, u32* counts) {
    score_halves<true>(rows, min(*open_count, places), codewords, norms, k_padded, padded, resident, factors, margins, nullptr, open,
                       open_count, candidates, counts);
}

// The nearest of the candidates of each row in `open`; rows without any, or with more than have a place, are listed in `rest`. One
// warp per row.
KERNEL decide_candidates(const float* rows, u64 stride, u32 dim, const float* codewords, u32 k, const u32* open, const u32* open_count, u32 places, const u32* candidates, const u32* counts, u32* nearest,
                         u32* rest, u32* rest_count) {
    u32 lane = threadIdx.x % WARP, warps = gridDim.x * (blockDim.x / WARP);
    for (u32 slot = blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP; slot < *open_count; slot += warps) {
        u32 i = open[slot], count = slot < places ? counts[slot] : 0;
        if (count == 0 || count > CANDIDATES) {
            if (lane == 0) rest[atomicAdd(rest_count, 1u)] = i;
            continue;
        }
        const float* row = rows + i * stride;
        Found best = {INFINITE, 0xffffffffu};
        for (u32 p = 0; p < count; p++) {
            u32 c = candidates[(u64)slot * CANDIDATES + p];
            if (c >= k) continue;
            float distance = warp_squared_distance(row, codewords + (u64)c * dim, dim);
            if (better(distance, c, best)) {
                best.score = distance;
                best.id = c;
            }
        }
        if (lane == 0) nearest[i] = best.id < k ? best.id : 0;
    }
}

// The nearest codewords by direct distances in f32, for any dimension: all rows, or the `list_count` rows that are listed. 256 threads with 8 rows × 8 codewords each.
KERNEL BOUNDED(256, 2) assign_floats(const float* rows, u64 stride, u32 n, const u32* list, const u32* list_count, const float* codewords,
                                     u32 k, u32 dim, u32* nearest) {
    SHARED(float, memory);
    float* scores = memory + 2 * DEPTH * TILE_STRIDE;
    u32* ids = (u32*)(scores + 16 * TILE_ROWS);
    u32 thread = threadIdx.x, tx = thread % 16, ty = thread / 16;
    u32 count = list ? *list_count : n;
    for (u64 start = (u64)blockIdx.x * TILE_ROWS; start < count; start += (u64)gridDim.x * TILE_ROWS) {
        u32 first_row = (u32)start;
        u64 starts[8];
        for (int i = 0; i < 8; i++) {
            u32 r = first_row + ty + i * 16;
            starts[i] = r < count ? (list ? list[r] : r) * stride : 0;
        }
        float best[8];
        u32 id[8];
        for (int i = 0; i < 8; i++) {
            best[i] = INFINITE;
            id[i] = 0;
        }
        for (u32 first = 0; first < k; first += TILE_CODEWORDS) {
            float sums[8][8];
            fill_tile<true>(
                sums, memory, dim, nullptr,
                [&](u32 i, u32 r, u32 d, float) { return first_row + r < count ? rows[starts[i] + d] : 0.f; },
                [&](u32, u32 r, u32 d, float) { return first + r < k ? codewords[(u64)(first + r) * dim + d] : 0.f; });
#pragma unroll
            for (int j = 0; j < 8; j++) {
                u32 c = first + place_in_tile(j, tx);
#pragma unroll
                for (int i = 0; i < 8; i++) {
                    if (c < k && sums[i][j] < best[i]) {
                        best[i] = sums[i][j];
                        id[i] = c;
                    }
                }
            }
        }
        __syncthreads();
        for (int i = 0; i < 8; i++) {
            u32 r = place_in_tile(i, ty);
            scores[tx * TILE_ROWS + r] = best[i];
            ids[tx * TILE_ROWS + r] = id[i];
        }
        __syncthreads();
        if (thread < TILE_ROWS && first_row + thread < count) {
            Found found = {INFINITE, 0xffffffffu};
            for (u32 t = 0; t < 16; t++)
                if (better(scores[t * TILE_ROWS + thread], ids[t * TILE_ROWS + thread], found)) {
                    found.score = scores[t * TILE_ROWS + thread];
                    found.id = ids[t * TILE_ROWS + thread];
                }
            u32 r = first_row + thread;
            nearest[list ? list[r] : r] = found.id < k ? found.id : 0;
        }
        __syncthreads();
    }
}

// distances[i] = ‖x_i − c_nearest[i]‖², summed directly: the score that assignment orders by cancels. One warp per row.
KERNEL distances_to(const float* rows, u64 stride, u32 n, u32 dim, const float* codewords, u32 k, const u32* nearest, float* distances) {
    u32 i = blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP;
    u32 lane = threadIdx.x % WARP;
    if (i < n) {
        const float* row = rows + i * stride;
        // A row without a codeword has distance 0.
        bool there = nearest[i] < k;
        const float* codeword = codewords + (u64)(there ? nearest[i] : 0) * dim;
        float sum = warp_squared_distance(row, codeword, dim);
        if (lane == 0) distances[i] = there ? sum : INFINITE;
    }
}
