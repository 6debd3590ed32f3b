// The k least of a stream of scores, ties by id, without the stream ever being in memory; and the words of codes, for kernels that scan.
//
// A score and its id form one 64-bit key, ordered by score and then by id. For each of its queries a block collects
// keys below a bound. When its buffer is full, it sorts the keys and keeps the k least, the last of which is the new
// bound. Blocks share their bounds: k keys of one block are enough to know that no greater key is among the k least of
// all.

// Threads of a block that scans.
#define SCAN_THREADS 512

// Greater than any key.
#define NOTHING 0xffffffffffffffffull

// The key of a score. −0 counts as 0; NaN is never selected.
DEVICE u64 key_of(float score, u32 id) {
    u32 bits = __float_as_uint(score + 0.f);
    bits ^= bits >> 31 ? 0xffffffffu : 0x80000000u;
    return score == score ? (u64)bits << 32 | id : NOTHING;
}

DEVICE float score_of(u64 key) {
    u32 bits = (u32)(key >> 32);
    return __uint_as_float(bits ^ (bits >> 31 ? 0x80000000u : 0xffffffffu));
}

// What a block has gathered for some queries, in shared memory: `capacity` places each, a power of two above k.
struct Selection {
    u64* keys;
    u64* bounds;
    u32* counts;
    u32 k, capacity;
};

// Shared bytes of each query, a multiple of 16.
DEVICE u32 selection_bytes(u32 capacity) { return 8 * capacity + 16; }

// A barrier is needed before it is used.
DEVICE Selection empty_selection(void* room, u32 queries, u32 k, u32 capacity) {
    Selection selection;
    selection.keys = (u64*)room;
    selection.bounds = selection.keys + (u64)queries * capacity;
    selection.counts = (u32*)(selection.bounds + queries);
    selection.k = k;
    selection.capacity = capacity;
    for (u32 q = threadIdx.x; q < queries; q += blockDim.x) {
        selection.bounds[q] = NOTHING;
        selection.counts[q] = 0;
    }
    return selection;
}

// Sorts the keys of each query by themselves (Batcher 1968), and keeps the k least. Bounds are told to `limits`, one per query, unless
// null. For whole blocks, with a barrier before and after.
template <int Q>
DEVICE void keep_least(const Selection& selection, u64* limits) {
    u32 capacity = selection.capacity;
    u64* keys = selection.keys;
    for (u32 e = threadIdx.x; e < Q * capacity; e += blockDim.x)
        if (e % capacity >= selection.counts[e / capacity]) keys[e] = NOTHING;
    __syncthreads();
    for (u32 width = 2; width <= capacity; width *= 2)
        for (u32 step = width / 2; step > 0; step /= 2) {
            for (u32 e = threadIdx.x; e < Q * capacity / 2; e += blockDim.x) {
                u32 low = 2 * e - (e & (step - 1)), high = low + step;
                bool ascending = (low & (capacity - 1) & width) == 0;
                u64 a = keys[low], b = keys[high];
                if ((a > b) == ascending) {
                    keys[low] = b;
                    keys[high] = a;
                }
            }
            __syncthreads();
        }
    if (threadIdx.x < Q) {
        u32 q = threadIdx.x, k = selection.k;
        if (selection.counts[q] >= k) {
            selection.counts[q] = k;
            selection.bounds[q] = keys[q * capacity + k - 1];
            if (limits) atomicMin(&limits[q], selection.bounds[q]);
        }
    }
    __syncthreads();
}

// Offers keys of each thread, of which number e is for query e mod Q. For whole blocks of whole warps; has a barrier at its end.
template <int Q, int N>
DEVICE void offer(const Selection& selection, u64 (&keys)[N], u64* limits) {
    u32 lane = threadIdx.x % WARP;
    for (;;) {
        bool left = false;
#pragma unroll
        for (int e = 0; e < N; e++) {
            int q = e % Q;
            bool wanted = keys[e] < selection.bounds[q];
            u32 votes = __ballot_sync(FULL_WARP, wanted);
            if (votes) {
                int leader = __ffs(votes) - 1;
                u32 first = 0;
                if (lane == (u32)leader) first = atomicAdd(&selection.counts[q], (u32)__popc(votes));
                first = __shfl_sync(FULL_WARP, first, leader);
                u32 place = first + __popc(votes & ((1u << lane) - 1));
                if (wanted && place < selection.capacity) {
                    selection.keys[q * selection.capacity + place] = keys[e];
                    keys[e] = NOTHING;
                } else {
                    left |= wanted;
                }
            }
        }
        if (!__syncthreads_or(left)) return;
        keep_least<Q>(selection, limits);
    }
}

// Writes the k least keys of each of the first `queries`, ascending, with nothing behind the last: `stride` places per query. For whole
// blocks; a barrier is needed before the selection is used anew.
template <int Q>
DEVICE void write_least(const Selection& selection, u32 queries, u64* out, u64 stride, u64* limits) {
    keep_least<Q>(selection, limits);
    for (u32 q = 0; q < queries; q++)
        for (u32 e = threadIdx.x; e < selection.k; e += blockDim.x) out[q * stride + e] = selection.keys[q * selection.capacity + e];
}

// least[q] = the k least of the `count` keys of list q, ascending. One block per list.
KERNEL BOUNDED(512, 2) merge_keys(const u64* keys, u32 lists, u64 count, u32 k, u32 capacity, u64* least) {
    SHARED(u64, memory);
    for (u32 q = blockIdx.x; q < lists; q += gridDim.x) {
        __syncthreads();
        Selection selection = empty_selection(memory, 1, k, capacity);
        __syncthreads();
        for (u64 from = 0; from < count; from += blockDim.x) {
            u64 e = from + threadIdx.x;
            u64 key[1] = {e < count ? keys[q * count + e] : NOTHING};
            offer<1>(selection, key, nullptr);
        }
        write_least<1>(selection, 1, least + (u64)q * k, k, nullptr);
    }
}

// Calls use(w, word) for each four bytes of a code, of which those behind its end are 0, by loads as wide as its place allows. Reads no
// word of memory that the code has no byte in.
template <class F>
DEVICE void words_of(const u8* code, u32 size, F use) {
    u64 place = (u64)code | size;
    if (place % 16 == 0) {
        for (u32 w = 0; w < size / 4; w += 4) {
            Words4 words = *(const Words4*)(code + 4 * w);
            use(w, words.x);
            use(w + 1, words.y);
            use(w + 2, words.z);
            use(w + 3, words.w);
        }
    } else if (place % 4 == 0) {
        for (u32 w = 0; w < size / 4; w++) use(w, ((const u32*)code)[w]);
    } else {
        u32 before = (u32)((u64)code % 4);
        const u32* words = (const u32*)(code - before);
        u32 low = words[0];
        for (u32 w = 0; 4 * w < size; w++) {
            u32 left = size - 4 * w;
            u32 high = left + before > 4 ? words[w + 1] : 0;
            u32 word = __funnelshift_r(low, high, 8 * before);
            use(w, left < 4 ? word & ((1u << 8 * left) - 1) : word);
            low = high;
        }
    }
}

// Offers the n codes that fall to this block, several per thread at a time, so that their loads overlap and barriers are few:
// keys_of(i, keys) says what code i has for each of the Q queries, of which `here` are real. `limits` are those of the queries. For whole
// blocks.
template <int Q, class F>
DEVICE void offer_codes(const Selection& selection, u32 n, u32 here, u64* limits, F keys_of) {
    constexpr u32 CODES = Q < 4 ? 4 / Q : 1;
    for (u64 from = (u64)blockIdx.x * blockDim.x * CODES; from < n; from += (u64)gridDim.x * blockDim.x * CODES) {
        u64 limit[Q], keys[CODES * Q];
#pragma unroll
        for (u32 q = 0; q < Q; q++) limit[q] = q < here ? *(volatile u64*)&limits[q] : 0;
#pragma unroll
        for (u32 c = 0; c < CODES; c++) {
            u64 i = from + c * blockDim.x + threadIdx.x, of_code[Q];
            if (i < n) keys_of((u32)i, of_code);
#pragma unroll
            for (u32 q = 0; q < Q; q++) keys[c * Q + q] = i < n && of_code[q] < limit[q] ? of_code[q] : NOTHING;
        }
        offer<Q>(selection, keys, limits);
    }
}
