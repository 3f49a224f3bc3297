/* Which kinds of bf16 products were compiled in, and which of them this machine can run. */

#define _DEFAULT_SOURCE 1 /* syscall */
#include "fastbp/fastbp.h"

#ifdef FBP_HAVE_AMX
extern const fbp_bf16 fbp_bf16_amx;
#endif
#ifdef FBP_HAVE_AVX512_BF16
extern const fbp_bf16 fbp_bf16_avx512;
#endif

static const fbp_bf16 *const TABLES[] = {
#ifdef FBP_HAVE_AMX
    &fbp_bf16_amx,
#endif
#ifdef FBP_HAVE_AVX512_BF16
    &fbp_bf16_avx512,
#endif
    NULL,
};

const fbp_bf16 *fbp_bf16_at(int i)
{
    return i >= 0 && i < (int)(sizeof TABLES / sizeof TABLES[0]) ? TABLES[i] : NULL;
}

#if defined FBP_HAVE_AMX || defined FBP_HAVE_AVX512_BF16
#include <cpuid.h>

enum { AVX512_BF16 = 1u << 5, AMX_BF16 = 1u << 22, AMX_TILE = 1u << 24 };

/* A register of cpuid's leaf 7: eax (0) of subleaf 1, edx (3) of subleaf 0 */
static unsigned leaf_7(unsigned subleaf, int which)
{
    unsigned r[4] = {0};
    return __get_cpuid_count(7, subleaf, &r[0], &r[1], &r[2], &r[3]) ? r[which] : 0;
}

/* Both kinds convert with AVX-512; the operating system must save its registers. */
static int has_avx512_bf16(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           (leaf_7(1, 0) & AVX512_BF16);
}
#endif

#ifdef FBP_HAVE_AMX
#ifdef __linux__
#include <sys/syscall.h>
#include <unistd.h>

/* Linux saves the 8 KiB of tiles only for processes that have asked for it. */
static int may_use_tiles(void)
{
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
}
#else
static int may_use_tiles(void)
{
    return 0;
}
#endif
#endif

int fbp_bf16_supported(const fbp_bf16 *table)
{
#ifdef FBP_HAVE_AMX
    if (table == &fbp_bf16_amx) {
        const unsigned wanted = AMX_BF16 | AMX_TILE;
        return has_avx512_bf16() && (leaf_7(0, 3) & wanted) == wanted && may_use_tiles();
    }
#endif
#ifdef FBP_HAVE_AVX512_BF16
    if (table == &fbp_bf16_avx512) {
        return has_avx512_bf16();
    }
#endif
    (void)table;
    return 0;
}
