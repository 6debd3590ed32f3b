// Search by tables over codes of bytes or half bytes (Jégou, Douze and Schmid 2011, asymmetric distances), several queries at a time.
//
// score_q(i) = Σ_p table_qp[symbol p of code i]                                    (in f32, in the order of positions)
//
// Tables are in shared memory with the entries of two or four queries beside each other, so that one load serves all of them. Of half
// bytes 16 entries of two queries are just as wide as shared memory: lanes read them without ever waiting for each other, and faster than
// the sums of two entries for each value of a byte, of which 256 would lie across one another.

// Adds the entry of each query; `half` is where the entries of the second two queries begin, of half bytes.
template <int BITS, int Q>
DEVICE void add_entries(float (&sums)[Q], const float* tables, u32 entry, u32 half) {
    if constexpr (Q == 1) {
        sums[0] += tables[entry];
    } else if constexpr (Q == 2) {
        Floats2 e = ((const Floats2*)tables)[entry];
        sums[0] += e.x;
        sums[1] += e.y;
    } else if constexpr (BITS == 4) {
        Floats2 e = ((const Floats2*)tables)[entry], f = ((const Floats2*)(tables + half))[entry];
        sums[0] += e.x;
        sums[1] += e.y;
        sums[2] += f.x;
        sums[3] += f.y;
    } else {
        Floats4 e = ((const Floats4*)tables)[entry];
        sums[0] += e.x;
        sums[1] += e.y;
        sums[2] += e.z;
        sums[3] += e.w;
    }
}

// The k least scores of Q queries from number blockIdx.y·Q on, over the codes that fall to this block, into
// found[query][blockIdx.x]. Tables are queries×positions×2^BITS; those that do not fit into shared memory are read where they are.
template <int BITS, int Q, bool RESIDENT>
DEVICE void scan_codes(const u8* codes, u32 n, u32 code_size, u32 positions, const float* tables, u32 queries, u32 k, u32 capacity,
                       u64* limits, u64* found) {
    constexpr u32 ALPHABET = 1 << BITS, IN_WORD = 32 / BITS;
    SHARED(u8, memory);
    u32 first_query = blockIdx.y * Q, here = min((u32)Q, queries - first_query);
    Selection selection = empty_selection(memory, Q, k, capacity);
    // The last code of an odd number of half bytes names an entry of one more table, of zeros.
    u32 shared_positions = code_size * (8 / BITS), half = shared_positions * ALPHABET * 2;
    float* shared_tables = (float*)(memory + Q * selection_bytes(capacity));
    if constexpr (RESIDENT)
        for (u32 q = 0; q < Q; q++)
            for (u32 e = threadIdx.x; e < shared_positions * ALPHABET; e += SCAN_THREADS) {
                bool there = q < here && e < positions * ALPHABET;
                float entry = there ? tables[(u64)(first_query + q) * positions * ALPHABET + e] : 0.f;
                if (BITS == 4 && Q == 4)
                    shared_tables[q / 2 * half + e * 2 + q % 2] = entry;
                else
                    shared_tables[e * Q + q] = entry;
            }
    __syncthreads();
    offer_codes<Q>(selection, n, here, limits + first_query, [&](u32 i, u64(&keys)[Q]) {
        float sums[Q];
#pragma unroll
        for (int q = 0; q < Q; q++) sums[q] = 0;
        words_of(codes + (u64)i * code_size, code_size, [&](u32 w, u32 word) {
#pragma unroll
            for (u32 s = 0; s < IN_WORD; s++) {
                u32 p = w * IN_WORD + s, symbol = word >> (s * BITS) & (ALPHABET - 1);
                if constexpr (RESIDENT) {
                    // Only the last word can have less than four bytes, and only where no code has whole words.
                    if (code_size % 4 == 0 || p < shared_positions)
                        add_entries<BITS, Q>(sums, shared_tables, p * ALPHABET + symbol, half);
                } else if (p < positions) {
                    sums[0] += tables[((u64)first_query * positions + p) * ALPHABET + symbol];
                }
            }
        });
#pragma unroll
        for (int q = 0; q < Q; q++) keys[q] = key_of(sums[q], i);
    });
    write_least<Q>(selection, here, found + ((u64)first_query * gridDim.x + blockIdx.x) * k, (u64)gridDim.x * k, nullptr);
}

#define SCAN_PARAMETERS                                                                                                               \
    const u8 *codes, u32 n, u32 code_size, u32 positions, const float *tables, u32 queries, u32 k, u32 capacity, u64 *limits, u64 *found
#define SCAN_ARGUMENTS codes, n, code_size, positions, tables, queries, k, capacity, limits, found

KERNEL BOUNDED(512, 2) scan_bytes_by_1(SCAN_PARAMETERS) { scan_codes<8, 1, true>(SCAN_ARGUMENTS); }
KERNEL BOUNDED(512, 2) scan_bytes_by_2(SCAN_PARAMETERS) { scan_codes<8, 2, true>(SCAN_ARGUMENTS); }
KERNEL BOUNDED(512, 2) scan_bytes_by_4(SCAN_PARAMETERS) { scan_codes<8, 4, true>(SCAN_ARGUMENTS); }
KERNEL BOUNDED(512, 2) scan_bytes_far(SCAN_PARAMETERS) { scan_codes<8, 1, false>(SCAN_ARGUMENTS); }
KERNEL BOUNDED(512, 2) scan_nibbles_by_1(SCAN_PARAMETERS) { scan_codes<4, 1, true>(SCAN_ARGUMENTS); }
KERNEL BOUNDED(512, 2) scan_nibbles_by_2(SCAN_PARAMETERS) { scan_codes<4, 2, true>(SCAN_ARGUMENTS); }
KERNEL BOUNDED(512, 2) scan_nibbles_by_4(SCAN_PARAMETERS) { scan_codes<4, 4, true>(SCAN_ARGUMENTS); }
KERNEL BOUNDED(512, 2) scan_nibbles_far(SCAN_PARAMETERS) { scan_codes<4, 1, false>(SCAN_ARGUMENTS); }
