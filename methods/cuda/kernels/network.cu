// What is done to rows before, between and behind products (`products.cu`): their scale, a rectifier, the windows that a convolution sees,
// the sum of two branches.

// out_i = (x_i − centre)·factor, each operation rounded by itself; x_i itself where there is no centre. Row after row in `out`.
KERNEL standardize_rows(const float* rows, u64 stride, u32 n, u32 dim, const float* centre, float factor, float* out) {
    u64 step = (u64)gridDim.x * blockDim.x, count = (u64)n * dim;
    for (u64 e = (u64)blockIdx.x * blockDim.x + threadIdx.x; e < count; e += step) {
        float x = rows[e / dim * stride + e % dim];
        out[e] = centre ? __fmul_rn(__fadd_rn(x, -centre[e % dim]), factor) : x;
    }
}

// x_i = x_i·factor + centre, each operation rounded by itself.
KERNEL unstandardize_rows(float* rows, u64 count, u32 dim, const float* centre, float factor) {
    u64 step = (u64)gridDim.x * blockDim.x;
    for (u64 e = (u64)blockIdx.x * blockDim.x + threadIdx.x; e < count; e += step)
        rows[e] = __fadd_rn(__fmul_rn(rows[e], factor), centre[e % dim]);
}

// values[e] = max(values[e], 0).
KERNEL rectify_values(float* values, u64 count) {
    u64 step = (u64)gridDim.x * blockDim.x;
    for (u64 e = (u64)blockIdx.x * blockDim.x + threadIdx.x; e < count; e += step) values[e] = fmaxf(values[e], 0.f);
}

// values[e] += others[e].
KERNEL add_values(float* values, const float* others, u64 count) {
    u64 step = (u64)gridDim.x * blockDim.x;
    for (u64 e = (u64)blockIdx.x * blockDim.x + threadIdx.x; e < count; e += step) values[e] += others[e];
}

// out[i][e] = x_i[inputs[e]], 0 where that is `width`: beyond the edge. One row after another in `out`, `seen` values each.
KERNEL gather_windows(const float* rows, u64 stride, u32 n, u32 width, const u32* inputs, u32 seen, float* out) {
    u64 step = (u64)gridDim.x * blockDim.x, count = (u64)n * seen;
    for (u64 e = (u64)blockIdx.x * blockDim.x + threadIdx.x; e < count; e += step) {
        u32 input = inputs[e % seen];
        out[e] = input < width ? rows[e / seen * stride + input] : 0.f;
    }
}
