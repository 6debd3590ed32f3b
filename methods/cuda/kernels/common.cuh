// What several kernels need: reductions over a warp, orders of scores.

#define WARP 32

// Numbers of threads that lanes of a warp hold, added up; every lane gets the sum.
DEVICE float warp_sum(float value) {
    for (int step = WARP / 2; step > 0; step /= 2) value += __shfl_xor_sync(FULL_WARP, value, step);
    return value;
}

DEVICE float warp_max(float value) {
    for (int step = WARP / 2; step > 0; step /= 2) value = fmaxf(value, __shfl_xor_sync(FULL_WARP, value, step));
    return value;
}

// A score and its index. Less is better; ties go to the lower index; NaN never wins.
struct Found {
    float score;
    u32 id;
};

DEVICE bool better(float score, u32 id, const Found& than) { return score < than.score || (score == than.score && id < than.id); }

DEVICE Found best_of_warp(Found found) {
    for (int step = WARP / 2; step > 0; step /= 2) {
        float score = __shfl_xor_sync(FULL_WARP, found.score, step);
        u32 id = __shfl_xor_sync(FULL_WARP, found.id, step);
        if (better(score, id, found)) {
            found.score = score;
            found.id = id;
        }
    }
    return found;
}

// The best of a block of up to 1024 threads, returned to all of them. `room` holds one entry per warp; a barrier is
// needed before it is reused.
DEVICE Found best_of_block(Found found, Found* room) {
    found = best_of_warp(found);
    if (threadIdx.x % WARP == 0) room[threadIdx.x / WARP] = found;
    __syncthreads();
    u32 warps = (blockDim.x + WARP - 1) / WARP;
    found.score = INFINITE;
    found.id = 0xffffffffu;
    for (u32 w = 0; w < warps; w++)
        if (better(room[w].score, room[w].id, found)) found = room[w];
    return found;
}

// SplitMix64 (Steele, Lea and Flood 2014).
DEVICE u64 split_mix(u64& state) {
    state += 0x9e3779b97f4a7c15ull;
    u64 z = state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

// The least of `count` scores (the first on ties), returned to all threads of a block; see `best_of_block`.
DEVICE Found least_of_block(const float* scores, u64 count, Found* room) {
    Found best = {INFINITE, 0xffffffffu};
    for (u32 e = threadIdx.x; e < count; e += blockDim.x)
        if (better(scores[e], e, best)) {
            best.score = scores[e];
            best.id = e;
        }
    return best_of_block(best, room);
}

// ‖a − b‖², summed directly by the lanes of a warp; every lane gets it.
DEVICE float warp_squared_distance(const float* a, const float* b, u32 dim) {
    float sum = 0;
    for (u32 j = threadIdx.x % WARP; j < dim; j += WARP) {
        float d = a[j] - b[j];
        sum = fmaf(d, d, sum);
    }
    return warp_sum(sum);
}
