// Operations of small networks between their products (`products.cu`): a rectifier, the windows of a convolution, the
// sum of two branches.

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
