// The thread grid of a device, played on the host: one block after another, its threads as fibers that take turns at barriers. The
// names are those of kernels/grid.cuh. It exists to test kernels where there is no device, not to be fast.
//
// Threads of a block run in ascending order in even blocks and in descending order in odd ones, so that a missing barrier shows; a
// barrier that not every thread reaches ends the process with a message.
#include <cmath>
#include <csetjmp>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <utility>
#include <vector>
#if !defined(__x86_64__) && !defined(__aarch64__)
#include <ucontext.h>
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;
typedef short i16;

#define KERNEL static void
#define DEVICE static inline
#define BOUNDED(threads, blocks)
#define SHARED(type, name) type* name = (type*)emulator::shared_memory
#define FULL_WARP 0xffffffffu
#define INFINITE __builtin_inff()

struct alignas(8) Floats2 { float x, y; };
struct alignas(16) Words4 { u32 x, y, z, w; };
struct alignas(16) Floats4 { float x, y, z, w; };
struct Place { u32 x, y, z; };
static Place threadIdx, blockIdx, blockDim, gridDim;

namespace emulator {

// Fibers take turns without a call of the system, and without jumps, which sanitizers take for an end of what they watch: on x86-64 and on
// AArch64 by exchanging stacks and the registers that a call keeps. Elsewhere they begin as contexts and go on by jumps.
#if defined(__x86_64__) || defined(__aarch64__)
#define EXCHANGED
extern "C" void exchange(void** from, void* to) __asm__("emulator_exchange");
#endif
#if defined(__x86_64__)
// What a fiber finds on its stack: six registers and the address to return to. Above them a caller would have pushed that address, so that
// the stack is 8 bytes off a multiple of 16 where a function begins.
static const size_t saved_words = 8, address_word = 6;
__asm__(
    ".text\n"
    "emulator_exchange:\n"
    "  pushq %rbp\n  pushq %rbx\n  pushq %r12\n  pushq %r13\n  pushq %r14\n  pushq %r15\n"
    "  movq %rsp, (%rdi)\n"
    "  movq %rsi, %rsp\n"
    "  popq %r15\n  popq %r14\n  popq %r13\n  popq %r12\n  popq %rbx\n  popq %rbp\n"
    "  ret\n");
#elif defined(__aarch64__)
// What a fiber finds on its stack: x29, the address to return to (x30), x19 to x28, and d8 to d15.
static const size_t saved_words = 20, address_word = 1;
__asm__(
    ".text\n"
    ".p2align 2\n"
    "emulator_exchange:\n"
    "  stp x29, x30, [sp, #-160]!\n"
    "  stp x19, x20, [sp, #16]\n  stp x21, x22, [sp, #32]\n  stp x23, x24, [sp, #48]\n"
    "  stp x25, x26, [sp, #64]\n  stp x27, x28, [sp, #80]\n"
    "  stp d8, d9, [sp, #96]\n  stp d10, d11, [sp, #112]\n  stp d12, d13, [sp, #128]\n  stp d14, d15, [sp, #144]\n"
    "  mov x9, sp\n"
    "  str x9, [x0]\n"
    "  mov sp, x1\n"
    "  ldp x19, x20, [sp, #16]\n  ldp x21, x22, [sp, #32]\n  ldp x23, x24, [sp, #48]\n"
    "  ldp x25, x26, [sp, #64]\n  ldp x27, x28, [sp, #80]\n"
    "  ldp d8, d9, [sp, #96]\n  ldp d10, d11, [sp, #112]\n  ldp d12, d13, [sp, #128]\n  ldp d14, d15, [sp, #144]\n"
    "  ldp x29, x30, [sp], #160\n"
    "  ret\n");
#endif

struct Fiber {
#if defined(EXCHANGED)
    void* here;
#else
    ucontext_t context;
    jmp_buf here;
    bool begun = false;
#endif
    std::vector<char> stack;
    const u32* waits_for = nullptr;
    u32 seen = 0;
    bool done = false;
    u32 warp_step = 0;
};

// A barrier: who has arrived, how often it has opened, and whether anyone voted for something on the way and when it opened last.
struct Barrier {
    u32 arrived = 0, opened = 0;
    bool vote = false, result = false;
};

// What lanes of a warp show each other, for two steps in turn: nobody is more than one step ahead.
struct Warp {
    Barrier barrier;
    unsigned char shown[2][32][64];
};

// Where they are, they stay: contexts may hold addresses within themselves.
static std::deque<Fiber> fibers;
static std::vector<Warp> warps;
static Barrier block_barrier;
static u32 current, threads;
static unsigned char* shared_memory;
static void (*body)(void**);
static void** arguments;

#if defined(EXCHANGED)
static void* scheduler_here;
#else
static jmp_buf scheduler_here;
#endif
#if defined(__SANITIZE_ADDRESS__)
static const void* scheduler_bottom;
static size_t scheduler_size;
#endif

[[noreturn]] static void fail(const char* what) {
    std::fprintf(stderr, "emulated kernel: %s (block %u,%u thread %u)\n", what, blockIdx.x, blockIdx.y, current);
    std::abort();
}

// Back to the scheduler, until it comes to this fiber again.
static void pause() {
#if defined(__SANITIZE_ADDRESS__)
    void* fake = nullptr;
    __sanitizer_start_switch_fiber(&fake, scheduler_bottom, scheduler_size);
#endif
#if defined(EXCHANGED)
    exchange(&fibers[current].here, scheduler_here);
#else
    if (!_setjmp(fibers[current].here)) _longjmp(scheduler_here, 1);
#endif
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fake, &scheduler_bottom, &scheduler_size);
#endif
}

static void arrive(Barrier& barrier, u32 expected, bool vote = false) {
    barrier.vote |= vote;
    if (++barrier.arrived == expected) {
        barrier.arrived = 0;
        barrier.result = barrier.vote;
        barrier.vote = false;
        barrier.opened++;
        return;
    }
    Fiber& fiber = fibers[current];
    fiber.waits_for = &barrier.opened;
    fiber.seen = barrier.opened;
    pause();
}

static void entry() {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(nullptr, &scheduler_bottom, &scheduler_size);
#endif
    // A fiber plays one thread after another.
    for (;;) {
        body(arguments);
        fibers[current].done = true;
        pause();
    }
}

// Prepares a fiber to begin with `entry`.
static void prepare(Fiber& fiber) {
#if defined(EXCHANGED)
    // As if it had paused where `entry` begins, with zeros in all registers.
    void** top = (void**)((uintptr_t)(fiber.stack.data() + fiber.stack.size()) & ~(uintptr_t)15);
    void** saved = top - saved_words;
    std::memset((void*)saved, 0, saved_words * sizeof(void*));
    saved[address_word] = (void*)entry;
    fiber.here = saved;
#else
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.data();
    fiber.context.uc_stack.ss_size = fiber.stack.size();
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, entry, 0);
#endif
}

// Lets a fiber go on until it pauses.
static void go_on(Fiber& fiber) {
#if defined(__SANITIZE_ADDRESS__)
    void* fake = nullptr;
    __sanitizer_start_switch_fiber(&fake, fiber.stack.data(), fiber.stack.size());
#endif
#if defined(EXCHANGED)
    exchange(&scheduler_here, fiber.here);
#else
    if (!_setjmp(scheduler_here)) {
        if (fiber.begun) _longjmp(fiber.here, 1);
        fiber.begun = true;
        setcontext(&fiber.context);
    }
#endif
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
}

static void run_block(bool backwards) {
    for (Fiber& fiber : fibers) {
        fiber.waits_for = nullptr;
        fiber.done = false;
        fiber.warp_step = 0;
    }
    for (Warp& warp : warps) warp.barrier = Barrier();
    block_barrier = Barrier();
    for (u32 left = threads; left > 0;) {
        bool moved = false;
        for (u32 t = 0; t < threads; t++) {
            current = backwards ? threads - 1 - t : t;
            Fiber& fiber = fibers[current];
            if (fiber.done || (fiber.waits_for && *fiber.waits_for == fiber.seen)) continue;
            fiber.waits_for = nullptr;
            moved = true;
            threadIdx = {current % blockDim.x, current / blockDim.x, 0};
            go_on(fiber);
            if (fiber.done) left--;
        }
        if (!moved) fail("threads wait for a barrier that others never reach");
    }
    if (block_barrier.arrived) fail("a block ended within a barrier");
}

// What the lanes of a warp show; valid until the lane's next step but one.
template <class T>
struct Shown {
    unsigned char (*lanes)[64];
    T operator[](u32 lane) const {
        T value;
        std::memcpy(&value, lanes[lane], sizeof(T));
        return value;
    }
};

// Shows `value` to the warp.
template <class T>
static Shown<T> show(const T& value) {
    static_assert(sizeof(T) <= 64, "room of a lane");
    Warp& warp = warps[current / 32];
    Fiber& fiber = fibers[current];
    u32 side = fiber.warp_step++ % 2;
    std::memcpy(warp.shown[side][current % 32], &value, sizeof(T));
    u32 lanes = threads - current / 32 * 32;
    arrive(warp.barrier, lanes < 32 ? lanes : 32);
    return Shown<T>{warp.shown[side]};
}

template <class... A, size_t... I>
static void call(void (*kernel)(A...), void** arguments, std::index_sequence<I...>) {
    kernel(*(std::remove_reference_t<A>*)arguments[I]...);
}

template <auto kernel, class... A>
static void unpack(void (*)(A...), void** arguments) {
    call<A...>(kernel, arguments, std::index_sequence_for<A...>());
}

template <auto kernel>
static void enter(void** arguments) {
    unpack<kernel>(kernel, arguments);
}

// Plays a whole grid.
static void play(void (*kernel)(void**), const u32 grid[3], u32 block, u32 shared_bytes, void** with) {
    // A stack per fiber, kept; sanitizers want larger ones.
#if defined(__SANITIZE_ADDRESS__)
    const size_t stack = 512 << 10;
#else
    const size_t stack = 32 << 10;
#endif
    threads = block;
    while (fibers.size() < block) {
        Fiber& fiber = fibers.emplace_back();
        fiber.stack.resize(stack);
        prepare(fiber);
    }
    warps.resize((block + 31) / 32);
    body = kernel;
    arguments = with;
    blockDim = {block, 1, 1};
    gridDim = {grid[0], grid[1], grid[2]};
    for (u32 z = 0; z < grid[2]; z++)
        for (u32 y = 0; y < grid[1]; y++)
            for (u32 x = 0; x < grid[0]; x++) {
                blockIdx = {x, y, z};
                // Exactly as large as asked for, and never clean.
                void* room = nullptr;
                if (shared_bytes && posix_memalign(&room, 16, shared_bytes)) fail("no memory");
                shared_memory = (unsigned char*)room;
                if (room) std::memset(room, 0xee, shared_bytes);
                run_block((x + y + z) % 2 == 1);
                std::free(shared_memory);
            }
}

}  // namespace emulator

static inline void __syncthreads() { emulator::arrive(emulator::block_barrier, emulator::threads); }
static inline int __syncthreads_or(int vote) {
    emulator::arrive(emulator::block_barrier, emulator::threads, vote != 0);
    return emulator::block_barrier.result;
}
static inline void __syncwarp(u32 = FULL_WARP) { emulator::show(0); }
template <class T>
static inline T __shfl_xor_sync(u32, T value, int mask) {
    return emulator::show(value)[(emulator::current % 32) ^ (u32)mask];
}
template <class T>
static inline T __shfl_sync(u32, T value, int lane) {
    return emulator::show(value)[lane & 31];
}
template <class T>
static inline T __shfl_up_sync(u32, T value, u32 by) {
    u32 lane = emulator::current % 32;
    return emulator::show(value)[lane < by ? lane : lane - by];
}
static inline u32 __ballot_sync(u32, bool vote) {
    emulator::Shown<bool> all = emulator::show(vote);
    u32 bits = 0;
    for (u32 l = 0; l < 32; l++) bits |= (u32)all[l] << l;
    return bits;
}

// Fibers take turns only at barriers, so that plain operations are atomic.
template <class T>
static inline T atomicAdd(T* at, T value) { T before = *at; *at = before + value; return before; }
template <class T>
static inline T atomicMax(T* at, T value) { T before = *at; if (value > before) *at = value; return before; }
template <class T>
static inline T atomicMin(T* at, T value) { T before = *at; if (value < before) *at = value; return before; }
template <class T>
static inline T atomicOr(T* at, T value) { T before = *at; *at = before | value; return before; }

static inline u32 __float_as_uint(float v) { u32 b; std::memcpy(&b, &v, 4); return b; }
static inline float __uint_as_float(u32 b) { float v; std::memcpy(&v, &b, 4); return v; }
static inline int __popc(u32 v) { return __builtin_popcount(v); }
static inline int __popcll(u64 v) { return __builtin_popcountll(v); }
static inline int __ffs(u32 v) { return __builtin_ffs((int)v); }
static inline int __clz(u32 v) { return v ? __builtin_clz(v) : 32; }
static inline u32 __funnelshift_r(u32 low, u32 high, u32 shift) { return (u32)(((u64)high << 32 | low) >> (shift & 31)); }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline u32 __umulhi(u32 a, u32 b) { return (u32)((u64)a * b >> 32); }
static inline i64 __float2ll_rn(float v) { return std::llrintf(v); }
static inline i64 __double2ll_rn(double v) { return std::llrint(v); }
template <class T>
static inline T min(T a, T b) { return b < a ? b : a; }
template <class T>
static inline T max(T a, T b) { return a < b ? b : a; }

static inline float half_value(u16 bits) { _Float16 h; std::memcpy(&h, &bits, 2); return (float)h; }
static inline u16 half_bits(float v) { _Float16 h = (_Float16)v; u16 b; std::memcpy(&b, &h, 2); return b; }
static inline u32 two_halves(float low, float high) { return half_bits(low) | (u32)half_bits(high) << 16; }

static inline void load_matrices(u32 (&out)[4], const u16* row) {
    emulator::Shown<const u16*> rows = emulator::show(row);
    const u16* mine[4];
    u32 lane = emulator::current % 32;
    for (u32 j = 0; j < 4; j++) mine[j] = rows[j * 8 + lane / 4];
    for (u32 j = 0; j < 4; j++) {
        if ((uintptr_t)mine[j] % 16) emulator::fail("a row of a matrix does not begin at 16 bytes");
        out[j] = mine[j][lane % 4 * 2] | (u32)mine[j][lane % 4 * 2 + 1] << 16;
    }
    // Nobody writes there before all have read.
    emulator::show(0);
}

static inline void multiply_add(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    struct Both { u32 a[4], b[2]; } both = {{a[0], a[1], a[2], a[3]}, {b0, b1}};
    emulator::Shown<Both> shown = emulator::show(both);
    Both all[32];
    for (u32 l = 0; l < 32; l++) all[l] = shown[l];
    u32 lane = emulator::current % 32;
    auto half = [](u32 pair, u32 which) { return half_value((u16)(pair >> (which * 16))); };
    for (u32 v = 0; v < 4; v++) {
        u32 row = lane / 4 + v / 2 * 8, column = lane % 4 * 2 + v % 2;
        float sum = 0;
        for (u32 k = 0; k < 16; k++) {
            float x = half(all[row % 8 * 4 + k % 8 / 2].a[row / 8 + k / 8 * 2], k % 2);
            float y = half(all[column * 4 + k % 8 / 2].b[k / 8], k % 2);
            sum += x * y;
        }
        c[v] += sum;
    }
}

static inline void copy_ahead(void* shared, const void* global, bool there) {
    if ((uintptr_t)shared % 16 || (uintptr_t)global % 16) emulator::fail("a copy ahead does not begin at 16 bytes");
    there ? (void)std::memcpy(shared, global, 16) : (void)std::memset(shared, 0, 16);
}
static inline void copies_end() {}
template <int pending>
static inline void copies_wait() {}
