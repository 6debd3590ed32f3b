// Tiles of products, or of squared distances, in f32: 128 rows with 128 others, by 256 threads with 8×8 of them each. What the two are, and what becomes of the
// products, is the kernel's.

#define TILE_ROWS 128
#define TILE_CODEWORDS 128
#define DEPTH 16
#define TILE_STRIDE 132

// Where in the tile the i-th of a thread's eight lies: rows go by ty = threadIdx.x / 16, others by tx = threadIdx.x % 16.
DEVICE u32 place_in_tile(u32 i, u32 t) { return i / 4 * 64 + t * 4 + i % 4; }

// sums[i][j] = Σ_d row(…, d)·other(…, d) over `dim` components, or Σ_d (row(…, d) − other(…, d))² where DISTANCES: twice the work, and
// nothing that cancels. row(i, r, d, mu) is component d of the r-th row of the tile, of which this
// thread reads the i-th of eight; mu is mean[d], or 0 without a mean. `memory` has room for 2·DEPTH·TILE_STRIDE values, and every thread
// of the block comes here.
template <bool DISTANCES, class R, class O>
DEVICE void fill_tile(float (&sums)[8][8], float* memory, u32 dim, const float* mean, R row, O other) {
    float* row_tile = memory;
    float* other_tile = row_tile + DEPTH * TILE_STRIDE;
    u32 tx = threadIdx.x % 16, ty = threadIdx.x / 16;
    for (int i = 0; i < 8; i++)
        for (int j = 0; j < 8; j++) sums[i][j] = 0;
    for (u32 from = 0; from < dim; from += DEPTH) {
        u32 d = from + tx;
        float mu = mean && d < dim ? mean[d] : 0.f;
        __syncthreads();
#pragma unroll
        for (int i = 0; i < 8; i++) {
            u32 r = ty + i * 16;
            row_tile[tx * TILE_STRIDE + r] = d < dim ? row(i, r, d, mu) : 0.f;
            other_tile[tx * TILE_STRIDE + r] = d < dim ? other(i, r, d, mu) : 0.f;
        }
        __syncthreads();
#pragma unroll
        for (int p = 0; p < DEPTH; p++) {
            const Floats4* x = (const Floats4*)(row_tile + p * TILE_STRIDE);
            const Floats4* y = (const Floats4*)(other_tile + p * TILE_STRIDE);
            Floats4 x0 = x[ty], x1 = x[16 + ty], y0 = y[tx], y1 = y[16 + tx];
            float a[8] = {x0.x, x0.y, x0.z, x0.w, x1.x, x1.y, x1.z, x1.w};
            float b[8] = {y0.x, y0.y, y0.z, y0.w, y1.x, y1.y, y1.z, y1.w};
#pragma unroll
            for (int i = 0; i < 8; i++)
#pragma unroll
                for (int j = 0; j < 8; j++) {
                    float difference = a[i] - b[j];
                    sums[i][j] = DISTANCES ? fmaf(difference, difference, sums[i][j]) : fmaf(a[i], b[j], sums[i][j]);
                }
        }
    }
}
