/* What the loops need besides kernels: floating-point mode, clock, barrier, fixed-order sums,
 * checks. */

#define _GNU_SOURCE 1 /* POSIX, madvise and dladdr */

#include <float.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#ifdef __linux__
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "fastbp/fastbp.h"

#ifdef _OPENMP
#include <dlfcn.h>
#include <omp.h>
#include <pthread.h>
#endif

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#if defined(__x86_64__)
enum { FLUSH_TO_ZERO = 0x8000, DENORMALS_ARE_ZERO = 0x0040 };

uint64_t fbp_denormals_flush(void)
{
    const unsigned saved = _mm_getcsr();
    _mm_setcsr(saved | FLUSH_TO_ZERO | DENORMALS_ARE_ZERO);
    return saved;
}

void fbp_denormals_restore(uint64_t saved)
{
    const unsigned mode = FLUSH_TO_ZERO | DENORMALS_ARE_ZERO;
    _mm_setcsr((_mm_getcsr() & ~mode) | ((unsigned)saved & mode));
}

static inline void relax(void)
{
    _mm_pause();
}
#elif defined(__aarch64__)
uint64_t fbp_denormals_flush(void)
{
    uint64_t saved;
    __asm__ volatile("mrs %0, fpcr" : "=r"(saved));
    __asm__ volatile("msr fpcr, %0" ::"r"(saved | (UINT64_C(1) << 24)));
    return saved;
}

void fbp_denormals_restore(uint64_t saved)
{
    __asm__ volatile("msr fpcr, %0" ::"r"(saved));
}

static inline void relax(void)
{
    __asm__ volatile("yield");
}
#else
uint64_t fbp_denormals_flush(void)
{
    return 0;
}

void fbp_denormals_restore(uint64_t saved)
{
    (void)saved;
}

static inline void relax(void) {}
#endif

double fbp_power(double beta, int64_t t)
{
    double power = 1.0;
    for (; t > 0; t >>= 1) {
        const double factors[] = {1.0, beta}; /* no branch: the bits of t could not be guessed */
        power *= factors[t & 1];
        beta *= beta;
    }
    return power;
}

double fbp_sum(const double *x, int64_t n)
{
    double lanes[FBP_SUM_LANES] = {0}, sum = 0;
    for (int64_t i = 0; i < n; i++) {
        lanes[i % FBP_SUM_LANES] += x[i];
    }
    for (int l = 0; l < FBP_SUM_LANES; l++) {
        sum += lanes[l];
    }
    return sum;
}

/* 1 if n elements, `stride` bytes apart, are at most as large as `largest`, as NaN is not: without
 * their signs, numbers of the same kind have the order of their bits */
static inline int within_f32(const char *x, ptrdiff_t stride, int64_t n, float largest)
{
    uint32_t limit, found = 0;
    memcpy(&limit, &largest, sizeof limit);
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, x + i * stride, sizeof bits);
        found |= (bits & INT32_MAX) > limit;
    }
    return !found;
}

static inline int within_f64(const char *x, ptrdiff_t stride, int64_t n, double largest)
{
    uint64_t limit, found = 0;
    memcpy(&limit, &largest, sizeof limit);
    for (int64_t i = 0; i < n; i++) {
        uint64_t bits;
        memcpy(&bits, x + i * stride, sizeof bits);
        found |= (bits & INT64_MAX) > limit;
    }
    return !found;
}

/* The constant strides let the compiler use vectors. */
static int finite_row(int dtype, const char *x, ptrdiff_t stride, int64_t n, double largest)
{
    enum { SINGLE = sizeof(float), DOUBLE = sizeof(double) };
    if (dtype == FBP_F32) {
        return stride == SINGLE ? within_f32(x, SINGLE, n, FLT_MAX)
                                : within_f32(x, stride, n, FLT_MAX);
    }
    return stride == DOUBLE ? within_f64(x, DOUBLE, n, largest) : within_f64(x, stride, n, largest);
}

int fbp_all_finite(const fbp_samples *s, int64_t n, int64_t n_in, double largest, int64_t *row,
                   int64_t *column)
{
    if (s->x_dtype != FBP_F32 && s->x_dtype != FBP_F64) {
        return 1;
    }
    for (int64_t r = 0; r < n; r++) {
        const char *const x = s->x + r * s->x_stride0;
        if (!finite_row(s->x_dtype, x, s->x_stride1, n_in, largest)) {
            int64_t c = 0;
            while (finite_row(s->x_dtype, x + c * s->x_stride1, s->x_stride1, 1, largest)) {
                c++;
            }
            *row = r;
            *column = c;
            return 0;
        }
    }
    return 1;
}

double fbp_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void fbp_prefer_huge_pages(void *memory, size_t size)
{
#ifdef MADV_HUGEPAGE
    (void)madvise(memory, size, MADV_HUGEPAGE); /* a wish: nothing depends on it */
#else
    (void)memory;
    (void)size;
#endif
}

/* Sleep while *word is `value`. A thread that yielded instead would lose its turn on a core that it
 * shares with another process; one that wakes up gets the core at once. */
#ifdef __linux__
static void sleep_while(unsigned *word, unsigned value)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void wake_all(unsigned *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}
#else
static void sleep_while(unsigned *word, unsigned value)
{
    (void)word;
    (void)value;
    sched_yield();
}

static void wake_all(unsigned *word)
{
    (void)word;
}
#endif

/* Spins for tens of microseconds, then sleeps. */
double fbp_barrier_wait(fbp_barrier *barrier, int team)
{
    /* A pause takes up to 140 cycles, as long as a cache line takes from core to core: the first
     * microsecond or so goes without. */
    enum { EAGER = 400, SPINS = 1400 };
    if (team == 1) {
        return 0.0;
    }
    const unsigned generation = __atomic_load_n(&barrier->generation, __ATOMIC_ACQUIRE);
    if (__atomic_add_fetch(&barrier->arrived, 1, __ATOMIC_ACQ_REL) == (unsigned)team) {
        __atomic_store_n(&barrier->arrived, 0, __ATOMIC_RELAXED);
        /* in this order in all threads: who begins to sleep now is seen, or sees the generation */
        __atomic_store_n(&barrier->generation, generation + 1, __ATOMIC_SEQ_CST);
        if (__atomic_load_n(&barrier->sleepers, __ATOMIC_SEQ_CST)) {
            wake_all(&barrier->generation);
        }
        return 0.0;
    }
    double since = 0.0;
    for (int spins = 0; __atomic_load_n(&barrier->generation, __ATOMIC_ACQUIRE) == generation;) {
        if (spins < EAGER) {
            spins++;
        } else if (spins < SPINS) {
            since = spins++ == EAGER ? fbp_seconds() : since;
            relax();
        } else {
            __atomic_add_fetch(&barrier->sleepers, 1, __ATOMIC_SEQ_CST);
            sleep_while(&barrier->generation, generation);
            __atomic_sub_fetch(&barrier->sleepers, 1, __ATOMIC_SEQ_CST);
        }
    }
    return since > 0.0 ? fbp_seconds() - since : 0.0;
}

void fbp_raise_flag(int *flag)
{
    __atomic_store_n(flag, 1, __ATOMIC_RELAXED);
}

const char *fbp_compiler(void)
{
#ifdef __clang__
    return "clang " __clang_version__;
#else
    return "gcc " __VERSION__;
#endif
}

#ifdef _OPENMP
int fbp_openmp_version(void)
{
    return _OPENMP;
}

int fbp_openmp_threads(void)
{
    return omp_get_max_threads();
}

int fbp_team_size(void)
{
    return omp_get_num_threads();
}

static void *wait_for_gate(void *gate)
{
    pthread_mutex_lock(gate);
    pthread_mutex_unlock(gate);
    return NULL;
}

int fbp_possible_threads(int n)
{
    pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER; /* all of them live until it opens */
    pthread_t *const threads = n > 1 ? calloc((size_t)n - 1, sizeof *threads) : NULL;
    int started = 0;
    if (!threads) {
        return 1;
    }
    pthread_mutex_lock(&gate);
    while (started < n - 1 && !pthread_create(&threads[started], NULL, wait_for_gate, &gate)) {
        started++;
    }
    pthread_mutex_unlock(&gate);
    for (int i = 0; i < started; i++) {
        pthread_join(threads[i], NULL);
    }
    pthread_mutex_destroy(&gate);
    free(threads);
    return 1 + started;
}

/* Of libomp, the OpenMP of clang and Intel; gcc's programs run on it too where it is loaded first */
extern int __kmpc_global_thread_num(void *) __attribute__((weak));

static int on_libomp(void)
{
    int (*const of_libomp)(void *) = __kmpc_global_thread_num;
    int (*const in_use)(void) = omp_get_max_threads;
    Dl_info libomp, openmp;
    return of_libomp && dladdr((void *)of_libomp, &libomp) && dladdr((void *)in_use, &openmp) &&
           libomp.dli_fbase == openmp.dli_fbase;
}

/* The team's threads do not come along into a child; libgomp would wait for them there. Given back
 * before the fork, they are started anew on both sides when next needed. libomp sees to forks by
 * itself; a child that had given its threads back would end there, or its parent wait for ever. */
static void before_fork(void)
{
    if (!omp_in_parallel()) {
        omp_pause_resource_all(omp_pause_hard);
    }
}

int fbp_survive_fork(void)
{
    return on_libomp() ? 0 : pthread_atfork(before_fork, NULL, NULL);
}
#else
int fbp_openmp_version(void)
{
    return 0;
}

int fbp_openmp_threads(void)
{
    return 1;
}

int fbp_team_size(void)
{
    return 1;
}

int fbp_possible_threads(int n)
{
    (void)n;
    return 1;
}

int fbp_survive_fork(void)
{
    return 0;
}
#endif
