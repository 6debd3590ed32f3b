// The machine as kernels see it. The emulator defines the same names for the host (emulator/grid.hpp), so that the text
// of the kernels is the same for both.
//
// A block's shared memory is always sized at launch (SHARED), and no thread leaves a kernel before its block's last barrier.

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;
typedef short i16;

#define KERNEL extern "C" __global__ void
#define DEVICE static __device__ __forceinline__
#define BOUNDED(threads, blocks) __launch_bounds__(threads, blocks)
#define SHARED(type, name) type* name = (type*)shared_memory
#define FULL_WARP 0xffffffffu
#define INFINITE __int_as_float(0x7f800000)

extern __shared__ __align__(16) unsigned char shared_memory[];

struct __align__(8) Floats2 { float x, y; };
struct __align__(16) Words4 { u32 x, y, z, w; };
struct __align__(16) Floats4 { float x, y, z, w; };

// Two values as f16, the first in the lower half.
DEVICE u32 two_halves(float low, float high) {
    u32 both;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
    return both;
}

// The value of an f16.
DEVICE float half_value(u16 bits) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
}

// Four 8×8 matrices of f16: lane i names the start of row i%8 of matrix i/8, and receives from row lane/4 of each matrix the two
// values from column 2·(lane%4) on.
DEVICE void load_matrices(u32 (&out)[4], const u16* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"((u32)__cvta_generic_to_shared(row)));
}

// c += a·b for a warp: a 16×16 and b 16×8 in f16, c 16×8 in f32. Lane l has of c the rows l/4 and l/4 + 8, columns 2·(l%4) and the next.
DEVICE void multiply_add(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Begins to copy 16 bytes into shared memory; zeros where there is nothing to copy.
DEVICE void copy_ahead(void* shared, const void* global, bool there) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 :
                 : "r"((u32)__cvta_generic_to_shared(shared)), "l"(global), "r"(there ? 16 : 0)
                 : "memory");
}

// Ends a group of copies; waits until at most `pending` groups are under way.
DEVICE void copies_end() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int pending>
DEVICE void copies_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory"); }
