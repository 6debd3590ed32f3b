// The peak of a device, for comparison with kernels: multiply-adds on registers alone. Sums are written, so that the
// compiler cannot drop any work.

// 16 chains of multiply-adds a thread: 32·rounds operations, and one value written.
#define PEAK_CHAINS 16
KERNEL BOUNDED(256, 4) peak_floats(u32 rounds, float factor, float* sums) {
    u32 thread = blockIdx.x * blockDim.x + threadIdx.x;
    float chain[PEAK_CHAINS];
#pragma unroll
    for (int c = 0; c < PEAK_CHAINS; c++) chain[c] = (float)(thread % 64 + c) * 0.01f;
    for (u32 round = 0; round < rounds; round++)
#pragma unroll
        for (int c = 0; c < PEAK_CHAINS; c++) chain[c] = fmaf(chain[c], factor, 0.5f);
    float sum = 0;
#pragma unroll
    for (int c = 0; c < PEAK_CHAINS; c++) sum += chain[c];
    sums[thread] = sum;
}

// 8 tiles of 16×8 a warp, each of products of depth 16 by the instruction that assignment uses: 8·4096·rounds operations.
#define PEAK_TILES 8
KERNEL BOUNDED(256, 2) peak_halves(u32 rounds, float* sums) {
    u32 thread = blockIdx.x * blockDim.x + threadIdx.x;
    float tile[PEAK_TILES][4];
    u32 a[4], b[PEAK_TILES][2];
    for (int p = 0; p < 4; p++) a[p] = two_halves((float)(thread % 7) * 0.01f, (float)(p + 1) * -0.02f);
#pragma unroll
    for (int t = 0; t < PEAK_TILES; t++) {
        for (int p = 0; p < 2; p++) b[t][p] = two_halves((float)(t + 1) * 0.03f, (float)(thread % 5) * -0.01f);
        for (int v = 0; v < 4; v++) tile[t][v] = 0;
    }
    for (u32 round = 0; round < rounds; round++)
#pragma unroll
        for (int t = 0; t < PEAK_TILES; t++) multiply_add(tile[t], a, b[t][0], b[t][1]);
    float sum = 0;
#pragma unroll
    for (int t = 0; t < PEAK_TILES; t++)
        for (int v = 0; v < 4; v++) sum += tile[t][v];
    sums[thread] = sum;
}
