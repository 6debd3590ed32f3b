// Values generated on the device: measurements need far more of them than is worth transferring. Value i depends only
// on the seed and i, so that the host can generate any of them again (src/random.rs).

// 64 random bits of number i.
DEVICE u64 random_bits(u64 seed, u64 i) {
    u64 state = seed + i * 0x9e3779b97f4a7c15ull;
    return split_mix(state);
}

// Sums of four uniform numbers of 16 bits, shifted and scaled to mean 0 and variance 1: near enough to normal, and exact in f32.
KERNEL random_floats(float* values, u64 n, u64 seed) {
    u64 step = (u64)gridDim.x * blockDim.x;
    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step) {
        u64 bits = random_bits(seed, i);
        int sum = (int)(bits & 0xffff) + (int)(bits >> 16 & 0xffff) + (int)(bits >> 32 & 0xffff) + (int)(bits >> 48);
        values[i] = (float)(sum - 2 * 0xffff) * 2.6428998e-5f;
    }
}

// Random bytes, eight of each number, the lowest first.
KERNEL random_bytes(u8* bytes, u64 n, u64 seed) {
    u64 step = (u64)gridDim.x * blockDim.x;
    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < (n + 7) / 8; i += step) {
        u64 bits = random_bits(seed, i);
        if (8 * i + 8 <= n)
            ((u64*)bytes)[i] = bits;
        else
            for (u64 b = 8 * i; b < n; b++) bytes[b] = (u8)(bits >> (b % 8 * 8));
    }
}
