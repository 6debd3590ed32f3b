// k-means besides assignments and sums of cells: totals of distances, and initial rows by k-means++ (Arthur and
// Vassilvitskii 2007). Totals are taken in f64, in an order that depends only on their number.

// Values of one block, and its threads.
#define TOTAL_VALUES 1024
#define TOTAL_THREADS 256

// No row.
#define NO_ROW 0xffffffffu

// The sum over the threads of a block, for thread 0. `room` holds one value per thread; a barrier is needed before it
// is reused.
DEVICE double block_total(double part, double* room) {
    room[threadIdx.x] = part;
    for (u32 step = TOTAL_THREADS / 2; step > 0; step /= 2) {
        __syncthreads();
        if (threadIdx.x < step) room[threadIdx.x] += room[threadIdx.x + step];
    }
    return room[0];
}

// totals[b] = the sum of the b-th 1024 values.
KERNEL BOUNDED(256, 4) total_values(const float* values, u64 n, double* totals) {
    SHARED(double, room);
    u64 first = (u64)blockIdx.x * TOTAL_VALUES;
    double part = 0;
    for (u32 e = threadIdx.x; e < TOTAL_VALUES; e += TOTAL_THREADS)
        if (first + e < n) part += values[first + e];
    double total = block_total(part, room);
    if (threadIdx.x == 0) totals[blockIdx.x] = total;
}

// distances[i] = min(distances[i], ‖x_i − x_r‖²) for the row r = chosen[c], or that alone where c = 0; totals as above. A row is read by
// 2^shift threads beside each other. Nothing changes where no row was chosen.
KERNEL BOUNDED(256, 4) nearer_to_chosen(const float* rows, u64 stride, u32 n, u32 dim, u32 shift, const u32* chosen, u32 c, float* distances,
                                        double* totals) {
    SHARED(double, room);
    u32 r = chosen[c];
    const float* codeword = rows + (r < n ? r : 0) * stride;
    u32 width = 1u << shift, lane = threadIdx.x & (width - 1);
    u64 first = (u64)blockIdx.x * TOTAL_VALUES;
    double part = 0;
    for (u32 e = threadIdx.x >> shift; e < TOTAL_VALUES; e += TOTAL_THREADS >> shift) {
        u64 i = first + e;
        float sum = 0;
        if (i < n)
            for (u32 j = lane; j < dim; j += width) {
                float d = rows[i * stride + j] - codeword[j];
                sum = fmaf(d, d, sum);
            }
        for (u32 step = width / 2; step > 0; step /= 2) sum += __shfl_xor_sync(FULL_WARP, sum, step);
        if (i < n && lane == 0 && r < n) {
            float before = c == 0 ? INFINITE : distances[i];
            float now = sum < before ? sum : before;
            distances[i] = now;
            part += now;
        }
    }
    double total = block_total(part, room);
    if (threadIdx.x == 0 && r < n) totals[blockIdx.x] = total;
}

// The stretch that `point` falls into, of `count` stretches laid end to end, for thread 0; `point` is then relative to its start. Where
// rounding has brought it beyond the end, the last stretch of any length. Threads add up their share first, so that thread 0 looks at few.
// `room` as above. For whole blocks.
template <class T>
DEVICE u32 stretch_of(const T* lengths, u32 count, double& point, double share, double* room) {
    u32 each = (count + TOTAL_THREADS - 1) / TOTAL_THREADS, from = threadIdx.x * each;
    double part = 0;
    for (u32 e = from; e < from + each && e < count; e++) part += lengths[e];
    __syncthreads();
    room[threadIdx.x] = part;
    __syncthreads();
    u32 found = NO_ROW;
    if (threadIdx.x == 0) {
        if (share >= 0) {
            double total = 0;
            for (u32 t = 0; t < TOTAL_THREADS; t++) total += room[t];
            point = share * total;
        }
        u32 last = NO_ROW;
        for (u32 t = 0; t < TOTAL_THREADS && found == NO_ROW; t++) {
            if (room[t] > 0) last = t;
            if (point < room[t]) found = t;
            else point -= room[t];
        }
        u32 group = found == NO_ROW ? last : found;
        if (group != NO_ROW) {
            bool beyond = found == NO_ROW;
            found = NO_ROW;
            last = NO_ROW;
            for (u32 e = group * each; e < (group + 1) * each && e < count && found == NO_ROW; e++) {
                double length = lengths[e];
                if (length > 0) last = e;
                if (!beyond && point < length) found = e;
                else if (!beyond) point -= length;
            }
            if (found == NO_ROW) found = last;
        }
    }
    return found;
}

// chosen[c + 1] = the row into whose stretch points[c] of all distances falls; no row where there are no distances left, and from there
// on. One block.
KERNEL BOUNDED(256, 1) choose_row(const double* totals, const float* distances, u32 n, const double* points, u32 c, u32* chosen) {
    SHARED(double, room);
    double* shared_point = room + TOTAL_THREADS;
    u32* shared_block = (u32*)(shared_point + 1);
    u32 blocks = (u32)(((u64)n + TOTAL_VALUES - 1) / TOTAL_VALUES);
    double point = 0;
    u32 block = stretch_of(totals, blocks, point, points[c], room);
    if (threadIdx.x == 0) {
        *shared_point = point;
        *shared_block = chosen[c] < n ? block : NO_ROW;
    }
    __syncthreads();
    block = *shared_block;
    point = *shared_point;
    u32 first = block == NO_ROW ? 0 : block * TOTAL_VALUES;
    u32 row = stretch_of(distances + first, block == NO_ROW ? 0 : min((u32)TOTAL_VALUES, n - first), point, -1.0, room);
    if (threadIdx.x == 0) chosen[c + 1] = row == NO_ROW ? NO_ROW : first + row;
}

// out[p] = row numbers[p]. One warp per row.
KERNEL gather_rows(const float* rows, u64 stride, u32 n, u32 dim, const u32* numbers, u32 count, float* out) {
    u32 p = blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP;
    if (p < count && numbers[p] < n)
        for (u32 j = threadIdx.x % WARP; j < dim; j += WARP) out[(u64)p * dim + j] = rows[numbers[p] * stride + j];
}
