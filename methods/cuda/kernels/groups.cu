// The nearest codeword in each group of components, for codes of many short codebooks. Components of a group stay in registers, four rows
// a thread; codewords pass through shared memory, a chunk at a time. Of a run of codewords only the least score is kept, which is one
// operation for each; which of the best run it was is found at the end. A row whose next score is within what rounding may have changed
// goes through all codewords once more, by distances.

#define GROUP_THREADS 128
#define GROUP_ROWS 4
#define GROUP_TILE (GROUP_THREADS * GROUP_ROWS)
#define RUN 4

// symbols[i][g] = argmin_c ½‖c‖² − x·c over the codewords of group g = blockIdx.y, all relative to the group's mean. Codebooks are
// groups×k×D and already centred, with norms ½‖c‖² of groups×k. `codewords` are the same as they were before, to decide by distances;
// nullptr where scores are what counts. largest[g] is the largest ‖c‖² of a group.
//
// What rounding may have changed of a score: (D + 16)·u·(‖x‖² + 2·max‖c‖²) with u = 2^-24, as in `Panels::margin` of the processor.
template <int D>
DEVICE void nearest_in_group(const float* rows, u64 stride, u32 n, const float* codebooks, const float* means, const float* norms,
                             const float* codewords, const float* largest, u32 k, u32 chunk, u32 groups, u16* symbols) {
    SHARED(float, memory);
    // A chunk of codewords begins at 16 bytes, its norms behind it.
    float* chunk_norms = memory + (chunk * D + 3) / 4 * 4;
    u32 group = blockIdx.y, first = blockIdx.x * GROUP_TILE + threadIdx.x;
    const float* codebook = codebooks + (u64)group * k * D;
    float x[GROUP_ROWS][D], best[GROUP_ROWS], next[GROUP_ROWS];
    u32 run[GROUP_ROWS];
    auto score_of = [&](int r, const float (&codeword)[D], float norm) {
        float score = norm;
#pragma unroll
        for (int j = 0; j < D; j++) score = fmaf(-x[r][j], codeword[j], score);
        return score;
    };
#pragma unroll
    for (int r = 0; r < GROUP_ROWS; r++) {
        u32 i = first + r * GROUP_THREADS;
        best[r] = next[r] = INFINITE;
        run[r] = 0;
#pragma unroll
        for (int j = 0; j < D; j++) x[r][j] = i < n ? rows[i * stride + group * D + j] - means[group * D + j] : 0.f;
    }
    for (u32 from = 0; from < k; from += chunk) {
        u32 here = min(chunk, k - from);
        __syncthreads();
        // The last run ends with codewords that are infinitely far.
        u32 whole = (here + RUN - 1) / RUN * RUN;
        for (u32 e = threadIdx.x; e < whole * D; e += GROUP_THREADS) memory[e] = e < here * D ? codebook[from * D + e] : 0.f;
        for (u32 e = threadIdx.x; e < whole; e += GROUP_THREADS) chunk_norms[e] = e < here ? norms[(u64)group * k + from + e] : INFINITE;
        __syncthreads();
        for (u32 c = 0; c < whole; c += RUN) {
            float least[GROUP_ROWS];
#pragma unroll
            for (int r = 0; r < GROUP_ROWS; r++) least[r] = INFINITE;
#pragma unroll
            for (int p = 0; p < RUN; p++) {
                float codeword[D];
                if (D % 4 == 0) {
#pragma unroll
                    for (int j = 0; j < D; j += 4) {
                        Floats4 part = *(const Floats4*)(memory + (c + p) * D + j);
                        codeword[j] = part.x;
                        codeword[(j + 1) % D] = part.y;
                        codeword[(j + 2) % D] = part.z;
                        codeword[(j + 3) % D] = part.w;
                    }
                } else {
#pragma unroll
                    for (int j = 0; j < D; j++) codeword[j] = memory[(c + p) * D + j];
                }
                float norm = chunk_norms[c + p];
#pragma unroll
                for (int r = 0; r < GROUP_ROWS; r++) least[r] = fminf(least[r], score_of(r, codeword, norm));
            }
#pragma unroll
            for (int r = 0; r < GROUP_ROWS; r++) {
                next[r] = fminf(next[r], fmaxf(best[r], least[r]));
                if (least[r] < best[r]) {
                    best[r] = least[r];
                    run[r] = from + c;
                }
            }
        }
    }
#pragma unroll
    for (int r = 0; r < GROUP_ROWS; r++) {
        // The same scores again, since they are computed in the same way; the first among equals.
        u32 i = first + r * GROUP_THREADS, id = 0;
        bool found = false;
        for (int p = 0; p < RUN; p++) {
            u32 c = run[r] + p;
            if (c >= k) continue;
            float codeword[D];
#pragma unroll
            for (int j = 0; j < D; j++) codeword[j] = codebook[c * D + j];
            float score = score_of(r, codeword, norms[(u64)group * k + c]);
            if (!found && score == best[r]) {
                id = c;
                found = true;
            } else {
                next[r] = fminf(next[r], score);
            }
        }
        float square = 0;
#pragma unroll
        for (int j = 0; j < D; j++) square = fmaf(x[r][j], x[r][j], square);
        // The last term bounds the loss by gradual underflow.
        float margin = (float)(D + 16) * 5.9604645e-8f * (square + 2.f * largest[group]) + (float)D * 2.8e-45f;
        // Also if a score is NaN.
        if (codewords && i < n && !(next[r] - best[r] > 2.f * margin)) {
            const float* row = rows + i * stride + group * D;
            Found nearest = {INFINITE, 0xffffffffu};
            for (u32 c = 0; c < k; c++) {
                const float* codeword = codewords + ((u64)group * k + c) * D;
                float distance = 0;
#pragma unroll
                for (int j = 0; j < D; j++) distance = fmaf(row[j] - codeword[j], row[j] - codeword[j], distance);
                if (better(distance, c, nearest)) {
                    nearest.score = distance;
                    nearest.id = c;
                }
            }
            id = nearest.id < k ? nearest.id : 0;
        }
        if (i < n) symbols[(u64)i * groups + group] = (u16)id;
    }
}

#define GROUP_PARAMETERS                                                                                                              \
    const float *rows, u64 stride, u32 n, const float *codebooks, const float *means, const float *norms, const float *codewords,     \
        const float *largest, u32 k, u32 chunk, u32 groups, u16 *symbols
#define GROUP_ARGUMENTS rows, stride, n, codebooks, means, norms, codewords, largest, k, chunk, groups, symbols

KERNEL BOUNDED(128, 4) nearest_in_groups_of_1(GROUP_PARAMETERS) { nearest_in_group<1>(GROUP_ARGUMENTS); }
KERNEL BOUNDED(128, 4) nearest_in_groups_of_2(GROUP_PARAMETERS) { nearest_in_group<2>(GROUP_ARGUMENTS); }
KERNEL BOUNDED(128, 4) nearest_in_groups_of_3(GROUP_PARAMETERS) { nearest_in_group<3>(GROUP_ARGUMENTS); }
KERNEL BOUNDED(128, 4) nearest_in_groups_of_4(GROUP_PARAMETERS) { nearest_in_group<4>(GROUP_ARGUMENTS); }
KERNEL BOUNDED(128, 4) nearest_in_groups_of_6(GROUP_PARAMETERS) { nearest_in_group<6>(GROUP_ARGUMENTS); }
KERNEL BOUNDED(128, 4) nearest_in_groups_of_8(GROUP_PARAMETERS) { nearest_in_group<8>(GROUP_ARGUMENTS); }
KERNEL BOUNDED(128, 4) nearest_in_groups_of_12(GROUP_PARAMETERS) { nearest_in_group<12>(GROUP_ARGUMENTS); }
KERNEL BOUNDED(128, 4) nearest_in_groups_of_16(GROUP_PARAMETERS) { nearest_in_group<16>(GROUP_ARGUMENTS); }
KERNEL BOUNDED(128, 2) nearest_in_groups_of_24(GROUP_PARAMETERS) { nearest_in_group<24>(GROUP_ARGUMENTS); }
KERNEL BOUNDED(128, 2) nearest_in_groups_of_32(GROUP_PARAMETERS) { nearest_in_group<32>(GROUP_ARGUMENTS); }

// For groups of other sizes, whose nearest codewords were found one group at a time: puts them into their place.
KERNEL place_symbols(const u32* nearest, u32 n, u32 group, u32 groups, u16* symbols) {
    u32 i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) symbols[(u64)i * groups + group] = (u16)nearest[i];
}
