/* Preloaded: one of the compiled core's allocations fails, the others are those of the C library. */

#define _GNU_SOURCE 1

#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

static long calls, fails = -1; /* fails: the call that does, from 0 on; -1: none */

void fail_allocation(long call)
{
    calls = 0;
    fails = call;
}

long allocations(void)
{
    return calls;
}

static int refused(const void *caller)
{
    Dl_info in;
    return dladdr(caller, &in) && strstr(in.dli_fname, "/_engine.") && calls++ == fails;
}

void *calloc(size_t count, size_t size)
{
    extern void *__libc_calloc(size_t, size_t);
    return refused(__builtin_return_address(0)) ? NULL : __libc_calloc(count, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    extern void *__libc_memalign(size_t, size_t);
    return refused(__builtin_return_address(0)) ? NULL : __libc_memalign(alignment, size);
}
