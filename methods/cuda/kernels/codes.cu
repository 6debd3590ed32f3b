// Codes from rows and symbols, and back. Symbols are packed least significant bit first, in order, each code padded to whole bytes; eight
// symbols of b bits fill b bytes, so that a thread per eight writes and reads whole bytes.

// Calls use(row, place) for the places of this thread, out of `places` in each of n rows.
template <class F>
DEVICE void for_places(u32 n, u32 places, F use) {
    u64 step = (u64)gridDim.x * blockDim.x, e = (u64)blockIdx.x * blockDim.x + threadIdx.x;
    u64 row = e / places, row_step = step / places;
    u32 place = (u32)(e % places), place_step = (u32)(step % places);
    while (row < n) {
        use((u32)row, place);
        row += row_step;
        place += place_step;
        if (place >= places) {
            place -= places;
            row++;
        }
    }
}

// Eight symbols of up to 16 bits each, least significant first.
struct Eight {
    u64 low, high;
};

DEVICE void put_symbol(Eight& eight, u32 at, u64 symbol) {
    if (at < 64) {
        eight.low |= symbol << at;
        if (at > 48) eight.high |= symbol >> (64 - at);
    } else {
        eight.high |= symbol << (at - 64);
    }
}

DEVICE u32 take_symbol(const Eight& eight, u32 at, u32 bits) {
    u64 rest = at < 64 ? eight.low >> at | (at > 48 ? eight.high << (64 - at) : 0) : eight.high >> (at - 64);
    return (u32)rest & ((1u << bits) - 1);
}

// Up to 16 bytes, by accesses as wide as their alignment allows.
DEVICE void store_bytes(u8* to, u32 count, const Eight& eight) {
    u64 place = (u64)to | count;
    if (place % 8 == 0)
        for (u32 b = 0; b < count; b += 8) *(u64*)(to + b) = b < 8 ? eight.low : eight.high;
    else if (place % 4 == 0)
        for (u32 b = 0; b < count; b += 4) *(u32*)(to + b) = (u32)(b < 8 ? eight.low >> 8 * b : eight.high >> 8 * (b - 8));
    else
        for (u32 b = 0; b < count; b++) to[b] = (u8)(b < 8 ? eight.low >> 8 * b : eight.high >> 8 * (b - 8));
}

DEVICE Eight load_bytes(const u8* from, u32 count) {
    Eight eight = {0, 0};
    u64 place = (u64)from | count;
    u32 step = place % 8 == 0 ? 8 : place % 4 == 0 ? 4 : 1;
    for (u32 b = 0; b < count; b += step) {
        u64 part = step == 8 ? *(const u64*)(from + b) : step == 4 ? *(const u32*)(from + b) : from[b];
        if (b < 8)
            eight.low |= part << 8 * b;
        else
            eight.high |= part << 8 * (b - 8);
    }
    return eight;
}

DEVICE u64 code_size_of(u32 count, u32 bits) { return ((u64)count * bits + 7) / 8; }

// Packs n codes of `count` symbols of `bits` bits; symbols(row, first, here, out) gives up to eight symbols from number
// `first` on.
template <class F>
DEVICE void pack_codes(u32 n, u32 count, u32 bits, u8* codes, F symbols) {
    u64 size = code_size_of(count, bits);
    for_places(n, (count + 7) / 8, [&](u32 row, u32 place) {
        u32 here = min(8u, count - 8 * place), out[8];
        symbols(row, 8 * place, here, out);
        Eight eight = {0, 0};
#pragma unroll
        for (u32 s = 0; s < 8; s++)
            if (s < here) put_symbol(eight, s * bits, out[s]);
        store_bytes(codes + row * size + place * bits, (here * bits + 7) / 8, eight);
    });
}

// Calls use(row, first, here, symbols) for up to eight symbols from number `first` on.
template <class F>
DEVICE void unpack_codes(const u8* codes, u32 n, u32 count, u32 bits, F use) {
    u64 size = code_size_of(count, bits);
    for_places(n, (count + 7) / 8, [&](u32 row, u32 place) {
        u32 here = min(8u, count - 8 * place), symbols[8];
        Eight eight = load_bytes(codes + row * size + place * bits, (here * bits + 7) / 8);
#pragma unroll
        for (u32 s = 0; s < 8; s++) symbols[s] = take_symbol(eight, s * bits, bits);
        use(row, 8 * place, here, symbols);
    });
}

// Up to eight values; in one access if their alignment allows, since each thread accesses other memory sectors than the
// next.
DEVICE void load_values(const float* from, u32 here, float (&values)[8]) {
    if (here == 8 && (u64)from % 16 == 0) {
        Floats4 a = *(const Floats4*)from, b = *(const Floats4*)(from + 4);
        values[0] = a.x, values[1] = a.y, values[2] = a.z, values[3] = a.w;
        values[4] = b.x, values[5] = b.y, values[6] = b.z, values[7] = b.w;
    } else {
#pragma unroll
        for (u32 s = 0; s < 8; s++) values[s] = s < here ? from[s] : 0.f;
    }
}

DEVICE void store_values(float* to, u32 here, const float (&values)[8]) {
    if (here == 8 && (u64)to % 16 == 0) {
        *(Floats4*)to = Floats4{values[0], values[1], values[2], values[3]};
        *(Floats4*)(to + 4) = Floats4{values[4], values[5], values[6], values[7]};
    } else {
#pragma unroll
        for (u32 s = 0; s < 8; s++)
            if (s < here) to[s] = values[s];
    }
}

// The integer below a level, at most `most`; 0 for negative values and NaN.
DEVICE u32 level_at(float level, u32 most) { return level > 0.f ? level < (float)most ? (u32)level : most : 0; }

// code_j = clamp(⌊(x_j − offset_j)/step_j + ½⌋, 0, 2^bits − 1), where 0/0 becomes 0.
KERNEL encode_uniform(const float* rows, u64 stride, u32 n, u32 dim, const float* offsets, const float* steps, u32 bits, u8* codes) {
    pack_codes(n, dim, bits, codes, [&](u32 row, u32 first, u32 here, u32(&symbols)[8]) {
        float x[8], offset[8], step[8];
        load_values(rows + row * stride + first, here, x);
        load_values(offsets + first, here, offset);
        load_values(steps + first, here, step);
#pragma unroll
        for (u32 s = 0; s < 8; s++) symbols[s] = level_at((x[s] - offset[s]) / step[s] + 0.5f, (1u << bits) - 1);
    });
}

// x_j = offset_j + step_j·code_j, each operation rounded by itself.
KERNEL decode_uniform(const u8* codes, u32 n, u32 dim, const float* offsets, const float* steps, u32 bits, float* rows) {
    unpack_codes(codes, n, dim, bits, [&](u32 row, u32 first, u32 here, const u32(&symbols)[8]) {
        float x[8], offset[8], step[8];
        load_values(offsets + first, here, offset);
        load_values(steps + first, here, step);
#pragma unroll
        for (u32 s = 0; s < 8; s++) x[s] = __fadd_rn(offset[s], __fmul_rn(step[s], (float)symbols[s]));
        store_values(rows + (u64)row * dim + first, here, x);
    });
}

// Bits of a symbol above its width are dropped.
KERNEL pack_symbols(const u16* symbols, u32 n, u32 count, u32 bits, u8* codes) {
    pack_codes(n, count, bits, codes, [&](u32 row, u32 first, u32 here, u32(&out)[8]) {
        const u16* from = symbols + (u64)row * count + first;
        u32 mask = (1u << bits) - 1;
        if (here == 8 && (u64)from % 16 == 0) {
            Words4 w = *(const Words4*)from;
            u32 pairs[4] = {w.x, w.y, w.z, w.w};
#pragma unroll
            for (u32 s = 0; s < 8; s++) out[s] = pairs[s / 2] >> s % 2 * 16 & mask;
        } else {
#pragma unroll
            for (u32 s = 0; s < 8; s++) out[s] = s < here ? from[s] & mask : 0;
        }
    });
}

KERNEL unpack_symbols(const u8* codes, u32 n, u32 count, u32 bits, u16* symbols) {
    unpack_codes(codes, n, count, bits, [&](u32 row, u32 first, u32 here, const u32(&in)[8]) {
        u16* to = symbols + (u64)row * count + first;
        if (here == 8 && (u64)to % 16 == 0) {
            *(Words4*)to = Words4{in[0] | in[1] << 16, in[2] | in[3] << 16, in[4] | in[5] << 16, in[6] | in[7] << 16};
        } else {
#pragma unroll
            for (u32 s = 0; s < 8; s++)
                if (s < here) to[s] = (u16)in[s];
        }
    });
}

// Levels told apart by thresholds: of each component j
//
// digit_j = how many of its thresholds are at most x_j, 0 for NaN
//
// and the symbol of `width` components Σ_j digit_j·Π_{i<j} L_i. Component j has list l = j mod `lists`: its values are those from first[l]
// on up to first[l + 1], L of them, its thresholds those from first[l] − l on, L − 1 of them, ascending.
KERNEL encode_levels(const float* rows, u64 stride, u32 n, u32 positions, u32 width, u32 lists, const u32* first,
                     const float* thresholds, u32 bits, u8* codes) {
    pack_codes(n, positions, bits, codes, [&](u32 row, u32 position, u32 here, u32(&symbols)[8]) {
        for (u32 s = 0; s < 8; s++) {
            u32 symbol = 0, from = (position + s) * width;
            const float* x = rows + row * stride;
            for (u32 j = from + width; s < here && j-- > from;) {
                u32 l = j % lists, levels = first[l + 1] - first[l], low = 0, high = levels - 1;
                const float* t = thresholds + (first[l] - l);
                while (low < high) {
                    u32 middle = (low + high) / 2;
                    if (t[middle] <= x[j])
                        low = middle + 1;
                    else
                        high = middle;
                }
                symbol = symbol * levels + low;
            }
            symbols[s] = symbol;
        }
    });
}

// x_j = the value of digit_j. NaN where the symbol is not below `alphabet`, the product of all L; `strangers` counts those.
// A thread per symbol.
KERNEL decode_levels(const u8* codes, u32 n, u32 positions, u32 width, u32 lists, const u32* first, const float* values, u32 alphabet,
                     u32 bits, float* rows, u32* strangers) {
    u64 size = code_size_of(positions, bits);
    for_places(n, positions, [&](u32 row, u32 position) {
        u64 at = (u64)position * bits;
        u32 shift = (u32)(at % 8);
        const u8* from = codes + row * size + at / 8;
        u32 rest = 0;
        for (u32 b = 0; 8 * b < shift + bits; b++) rest |= (u32)from[b] << 8 * b;
        rest = rest >> shift & ((1u << bits) - 1);
        bool stranger = rest >= alphabet;
        if (stranger) atomicAdd(strangers, 1u);
        float* x = rows + ((u64)row * positions + position) * width;
        for (u32 j = 0; j < width; j++) {
            u32 l = (position * width + j) % lists, levels = first[l + 1] - first[l];
            x[j] = stranger ? __uint_as_float(0x7fc00000u) : values[first[l] + rest % levels];
            rest /= levels;
        }
    });
}

template <int V>
struct alignas(4 * V) Piece {
    float values[V];
};

// rows[i][g·size …] = the codeword of group g that symbols[i][g] names: codebooks are groups×k×size. No number where there is none, which
// `strangers` counts. A thread per V components.
template <int V>
DEVICE void select_codewords(const u16* symbols, u32 n, u32 groups, const float* codebooks, u32 k, u32 size, float* rows, u32* strangers) {
    u32 of_group = size / V, places = groups * of_group;
    for_places(n, places, [&](u32 row, u32 place) {
        u32 group = place / of_group, part = place % of_group, symbol = symbols[(u64)row * groups + group];
        Piece<V> piece;
        if (symbol < k) {
            piece = ((const Piece<V>*)codebooks)[((u64)group * k + symbol) * of_group + part];
        } else {
            for (int v = 0; v < V; v++) piece.values[v] = __uint_as_float(0x7fc00000u);
            if (part == 0) atomicAdd(strangers, 1u);
        }
        ((Piece<V>*)rows)[(u64)row * places + place] = piece;
    });
}

// rows[i] = Σ_p the codeword of codebook p that symbols[i][p] names, in f32, in their order: codebooks are m×k×dim. As above otherwise.
template <int V>
DEVICE void sum_codewords(const u16* symbols, u32 n, u32 m, const float* codebooks, u32 k, u32 dim, float* rows, u32* strangers) {
    u32 places = dim / V;
    for_places(n, places, [&](u32 row, u32 place) {
        Piece<V> sum;
        for (int v = 0; v < V; v++) sum.values[v] = 0;
        for (u32 p = 0; p < m; p++) {
            u32 symbol = symbols[(u64)row * m + p];
            if (symbol < k) {
                Piece<V> piece = ((const Piece<V>*)codebooks)[((u64)p * k + symbol) * places + place];
                for (int v = 0; v < V; v++) sum.values[v] += piece.values[v];
            } else {
                for (int v = 0; v < V; v++) sum.values[v] = __uint_as_float(0x7fc00000u);
                if (place == 0) atomicAdd(strangers, 1u);
            }
        }
        ((Piece<V>*)rows)[(u64)row * places + place] = sum;
    });
}

#define DECODE_PARAMETERS const u16 *symbols, u32 n, u32 m, const float *codebooks, u32 k, u32 size, float *rows, u32 *strangers
#define DECODE_ARGUMENTS symbols, n, m, codebooks, k, size, rows, strangers

KERNEL select_codewords_by_1(DECODE_PARAMETERS) { select_codewords<1>(DECODE_ARGUMENTS); }
KERNEL select_codewords_by_2(DECODE_PARAMETERS) { select_codewords<2>(DECODE_ARGUMENTS); }
KERNEL select_codewords_by_4(DECODE_PARAMETERS) { select_codewords<4>(DECODE_ARGUMENTS); }
KERNEL sum_codewords_by_1(DECODE_PARAMETERS) { sum_codewords<1>(DECODE_ARGUMENTS); }
KERNEL sum_codewords_by_2(DECODE_PARAMETERS) { sum_codewords<2>(DECODE_ARGUMENTS); }
KERNEL sum_codewords_by_4(DECODE_PARAMETERS) { sum_codewords<4>(DECODE_ARGUMENTS); }
