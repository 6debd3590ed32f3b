// Searches for the sum of codewords, one from each of m codebooks, that is nearest to a row, by tables: with u_i[c] = ‖c‖² − 2·x·c and
// g_ij[c', c] = 2·c·c',
//
// ‖x − Σ_i c_i‖² = ‖x‖² + Σ_i u_i[c_i] + Σ_{i<j} g_ij[c_i, c_j]
//
// `pairs` holds slab after slab of k×k: where `whole`, slab i·m + j has the rows of codebook j over codebook i; otherwise only j < i, in
// slab i·(i−1)/2 + j. `unary` has m×k values per row. One block per row.

DEVICE u64 pair_row(u32 i, u32 j, u32 symbol, u32 m, u32 k, u32 whole) {
    u64 slab = whole ? (u64)i * m + j : (u64)i * (i - 1) / 2 + j;
    return (slab * k + symbol) * k;
}

// Beam search over the codebooks in order: of all continuations of the partial codes kept, the `beam` with the least error stay, the
// first of equals. Each block has beam·k scores, in shared memory where `scratch` is null; where `far`, all that is kept is behind them in
// `scratch` too.
KERNEL search_beam(const float* unary, const float* pairs, u32 n, u32 m, u32 k, u32 beam, u32 whole, float* scratch, u32 far, u16* codes) {
    SHARED(Found, room);
    // 32 places of reductions; kept partial codes and the next ones; their scores; all scores of a step.
    u64 each = (u64)beam * k + (far ? (u64)beam * (m + 2) : 0);
    float* own = scratch ? scratch + blockIdx.x * each : nullptr;
    u16* kept = far ? (u16*)(own + (u64)beam * k) : (u16*)(room + 32);
    u16* next = kept + beam * m;
    float* kept_scores = far ? own + (u64)beam * (k + m) : (float*)(room + 32 + (beam * m * 4 + 7) / 8);
    float* next_scores = kept_scores + beam;
    float* scores = scratch ? own : next_scores + beam;
    for (u32 row = blockIdx.x; row < n; row += gridDim.x) {
        const float* u = unary + (u64)row * m * k;
        u32 width = 1;
        if (threadIdx.x == 0) kept_scores[0] = 0;
        __syncthreads();
        for (u32 i = 0; i < m; i++) {
            for (u32 b = 0; b < width; b++)
                for (u32 c = threadIdx.x; c < k; c += blockDim.x) {
                    float score = kept_scores[b] + u[i * k + c];
                    for (u32 j = 0; j < i; j++) score += pairs[pair_row(i, j, kept[b * m + j], m, k, whole) + c];
                    scores[b * k + c] = score;
                }
            __syncthreads();
            u32 all = width * k, stay = beam < all ? beam : all;
            for (u32 p = 0; p < stay; p++) {
                Found best = least_of_block(scores, all, room);
                u32 id = best.id < all ? best.id : p;
                __syncthreads();
                if (threadIdx.x == 0) {
                    next_scores[p] = best.score;
                    scores[id] = __uint_as_float(0x7fc00000u);
                }
                for (u32 j = threadIdx.x; j < i; j += blockDim.x) next[p * m + j] = kept[id / k * m + j];
                if (threadIdx.x == 0) next[p * m + i] = (u16)(id % k);
                __syncthreads();
            }
            width = stay;
            for (u32 e = threadIdx.x; e < width * m; e += blockDim.x) kept[e] = next[e];
            for (u32 e = threadIdx.x; e < width; e += blockDim.x) kept_scores[e] = next_scores[e];
            __syncthreads();
        }
        for (u32 j = threadIdx.x; j < m; j += blockDim.x) codes[(u64)row * m + j] = kept[j];
        __syncthreads();
    }
}

// Lets each symbol in turn take its best value for the others as they are, up to `sweeps` times or until nothing changes.
DEVICE void descend(const float* u, const float* pairs, u32 m, u32 k, u32 sweeps, u16* code, Found* room) {
    for (u32 sweep = 0; sweep < sweeps; sweep++) {
        bool changed = false;
        for (u32 i = 0; i < m; i++) {
            Found best = {INFINITE, 0xffffffffu};
            for (u32 c = threadIdx.x; c < k; c += blockDim.x) {
                float score = u[i * k + c];
                for (u32 j = 0; j < m; j++)
                    if (j != i) score += pairs[pair_row(i, j, code[j], m, k, 1) + c];
                if (better(score, c, best)) {
                    best.score = score;
                    best.id = c;
                }
            }
            best = best_of_block(best, room);
            u16 found = (u16)(best.id < k ? best.id : 0);
            changed |= found != code[i];
            __syncthreads();
            if (threadIdx.x == 0) code[i] = found;
            __syncthreads();
        }
        if (!changed) return;
    }
}

// ‖x − x̂‖² − ‖x‖² in f64, the same for all threads.
DEVICE double sum_error(const float* u, const float* pairs, u32 m, u32 k, const u16* code, double* room) {
    double sum = 0;
    for (u32 e = threadIdx.x; e < m * m; e += blockDim.x) {
        u32 i = e / m, j = e % m;
        if (i == j) sum += (double)u[i * k + code[i]];
        if (j < i) sum += (double)pairs[pair_row(i, j, code[j], m, k, 1) + code[i]];
    }
    room[threadIdx.x] = sum;
    __syncthreads();
    for (u32 step = blockDim.x / 2; step > 0; step /= 2) {
        if (threadIdx.x < step) room[threadIdx.x] += room[threadIdx.x + step];
        __syncthreads();
    }
    sum = room[0];
    __syncthreads();
    return sum;
}

// Iterated local search: descent, then `rounds` times a few symbols thrown anew and descent, of which what is better is kept. The random
// numbers of a row depend on `seed` and its code alone. Blocks of a power of two of threads.
KERNEL search_locally(const float* unary, const float* pairs, u32 n, u32 m, u32 k, u32 rounds, u32 sweeps, u32 thrown, u64 seed, u16* codes) {
    SHARED(double, sums);
    Found* room = (Found*)(sums + blockDim.x);
    u16* code = (u16*)(room + 32);
    u16* trial = code + m;
    for (u32 row = blockIdx.x; row < n; row += gridDim.x) {
        const float* u = unary + (u64)row * m * k;
        u64 random = seed;
        for (u32 j = 0; j < m; j++) {
            u64 state = random ^ codes[(u64)row * m + j];
            random = split_mix(state);
        }
        __syncthreads();
        for (u32 j = threadIdx.x; j < m; j += blockDim.x) code[j] = codes[(u64)row * m + j];
        __syncthreads();
        descend(u, pairs, m, k, sweeps, code, room);
        double best = sum_error(u, pairs, m, k, code, sums);
        for (u32 round = 0; round < rounds; round++) {
            for (u32 j = threadIdx.x; j < m; j += blockDim.x) trial[j] = code[j];
            __syncthreads();
            for (u32 t = 0; t < thrown; t++) {
                u32 at = (u32)((split_mix(random) >> 32) * m >> 32);
                u32 symbol = (u32)((split_mix(random) >> 32) * k >> 32);
                if (threadIdx.x == 0) trial[at] = (u16)symbol;
            }
            __syncthreads();
            descend(u, pairs, m, k, sweeps, trial, room);
            double error = sum_error(u, pairs, m, k, trial, sums);
            if (error < best) {
                best = error;
                for (u32 j = threadIdx.x; j < m; j += blockDim.x) code[j] = trial[j];
            }
            __syncthreads();
        }
        for (u32 j = threadIdx.x; j < m; j += blockDim.x) codes[(u64)row * m + j] = code[j];
        __syncthreads();
    }
}

// Puts back the code of each row that errs more than the one before it: ‖x − Σ_p c_p‖² of both, where codebooks are m×k×dim. A thread per
// row.
KERNEL keep_nearer_sums(const float* rows, u64 stride, u32 n, u32 dim, const float* codebooks, u32 m, u32 k, const u16* before,
                        u16* codes) {
    u64 step = (u64)gridDim.x * blockDim.x;
    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step) {
        const u16* old = before + i * m;
        u16* now = codes + i * m;
        bool same = true;
        for (u32 p = 0; p < m; p++) same = same && old[p] == now[p];
        double was = 0, is = 0;
        for (u32 j = 0; !same && j < dim; j++) {
            float a = rows[i * stride + j], b = a;
            for (u32 p = 0; p < m; p++) {
                a -= codebooks[((u64)p * k + old[p]) * dim + j];
                b -= codebooks[((u64)p * k + now[p]) * dim + j];
            }
            was += (double)__fmul_rn(a, a);
            is += (double)__fmul_rn(b, b);
        }
        for (u32 p = 0; is > was && p < m; p++) now[p] = old[p];
    }
}
