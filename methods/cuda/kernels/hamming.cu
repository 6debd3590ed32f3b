// Search by Hamming distance over codes of bits, several queries at a time.
//
// distance_q(i) = popcount(query_q ⊕ code_i)

// The k least distances of Q queries from number blockIdx.y·Q on, over the codes that fall to this block, into
// found[query][blockIdx.x]. Queries are as long as codes; those that do not fit into shared memory are read where they are.
template <int Q, bool RESIDENT>
DEVICE void scan_bits(const u8* codes, u32 n, u32 code_size, const u8* query_codes, u32 queries, u32 k, u32 capacity, u64* limits,
                      u64* found) {
    SHARED(u8, memory);
    u32 first_query = blockIdx.y * Q, here = min((u32)Q, queries - first_query);
    Selection selection = empty_selection(memory, Q, k, capacity);
    // Word after word, the queries beside each other.
    u32* shared_words = (u32*)(memory + Q * selection_bytes(capacity));
    if constexpr (RESIDENT) {
        u32 words = (code_size + 3) / 4;
        for (u32 e = threadIdx.x; e < words * Q; e += SCAN_THREADS) {
            u32 w = e / Q, q = e % Q, word = 0;
            for (u32 b = 0; b < 4; b++)
                if (q < here && 4 * w + b < code_size)
                    word |= (u32)query_codes[(u64)(first_query + q) * code_size + 4 * w + b] << (8 * b);
            shared_words[e] = word;
        }
    }
    __syncthreads();
    offer_codes<Q>(selection, n, here, limits + first_query, [&](u32 i, u64(&keys)[Q]) {
        u32 distances[Q];
#pragma unroll
        for (int q = 0; q < Q; q++) distances[q] = 0;
        words_of(codes + (u64)i * code_size, code_size, [&](u32 w, u32 word) {
            if constexpr (!RESIDENT) {
                const u8* query = query_codes + (u64)first_query * code_size;
                u32 other = 0;
                for (u32 b = 0; b < 4; b++)
                    if (4 * w + b < code_size) other |= (u32)query[4 * w + b] << (8 * b);
                distances[0] += __popc(word ^ other);
            } else if constexpr (Q == 4) {
                Words4 others = ((const Words4*)shared_words)[w];
                distances[0] += __popc(word ^ others.x);
                distances[1] += __popc(word ^ others.y);
                distances[2] += __popc(word ^ others.z);
                distances[3] += __popc(word ^ others.w);
            } else {
                distances[0] += __popc(word ^ shared_words[w]);
            }
        });
#pragma unroll
        for (int q = 0; q < Q; q++) keys[q] = (u64)distances[q] << 32 | i;
    });
    write_least<Q>(selection, here, found + ((u64)first_query * gridDim.x + blockIdx.x) * k, (u64)gridDim.x * k, nullptr);
}

#define HAMMING_PARAMETERS \
    const u8 *codes, u32 n, u32 code_size, const u8 *query_codes, u32 queries, u32 k, u32 capacity, u64 *limits, u64 *found
#define HAMMING_ARGUMENTS codes, n, code_size, query_codes, queries, k, capacity, limits, found

KERNEL BOUNDED(512, 2) hamming_by_1(HAMMING_PARAMETERS) { scan_bits<1, true>(HAMMING_ARGUMENTS); }
KERNEL BOUNDED(512, 2) hamming_by_4(HAMMING_PARAMETERS) { scan_bits<4, true>(HAMMING_ARGUMENTS); }
KERNEL BOUNDED(512, 2) hamming_far(HAMMING_PARAMETERS) { scan_bits<1, false>(HAMMING_ARGUMENTS); }
