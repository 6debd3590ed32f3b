// The emulated device as a library: memory, and launches by the name of a kernel. It is compiled after grid.hpp and the kernels, with the
// list of kernels as KERNELS(each).

struct Named {
    const char* name;
    void (*enter)(void**);
};

static const Named named[] = {
#define EACH(name) {#name, emulator::enter<name>},
    KERNELS(EACH)
#undef EACH
};

// Memory as a device gives it out: at multiples of 256 bytes and never clean. Nothing above the limit.
static u64 memory_limit = ~0ull, memory_used = 0;

extern "C" {

void* emulated_allocate(u64 bytes) {
    if (bytes > memory_limit - memory_used) return nullptr;
    // Exactly so long, with its length before it: what lies behind its end is for the sanitizer to watch.
    void* room = nullptr;
    if (posix_memalign(&room, 256, bytes + 256)) return nullptr;
    u64* start = (u64*)room;
    start[0] = bytes;
    std::memset((char*)start + 256, 0xee, bytes);
    memory_used += bytes;
    return (char*)start + 256;
}

void emulated_free(void* memory) {
    u64* start = (u64*)((char*)memory - 256);
    memory_used -= start[0];
    std::free(start);
}

// Of memory so long the first bytes are in use, and all others are out of bounds: the host gives out pieces of a few sizes, and keeps them. A
// word of memory may be read for one of its bytes.
void emulated_lend(void* memory, u64 used, u64 bytes) {
    used = (used + 3) / 4 * 4;
#if defined(__SANITIZE_ADDRESS__)
    __asan_unpoison_memory_region(memory, used);
    __asan_poison_memory_region((char*)memory + used, bytes - used);
#endif
    (void)bytes;
    std::memset(memory, 0xee, used);
}

void emulated_limit(u64 bytes) { memory_limit = bytes; }

u64 emulated_used() { return memory_used; }

// 0: played. 1: no kernel has this name.
int emulated_launch(const char* name, const u32* grid, u32 block, u32 shared_bytes, void** arguments) {
    for (const Named& kernel : named)
        if (!std::strcmp(kernel.name, name)) {
            emulator::play(kernel.enter, grid, block, shared_bytes, arguments);
            return 0;
        }
    return 1;
}
}
