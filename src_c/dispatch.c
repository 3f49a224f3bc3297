/* The names of codes; which kernel tables exist, and which of them this machine can run.
 *
 * __builtin_cpu_supports of gcc and clang reads cpuid and, for AVX and AVX-512, the state that
 * the operating system saves (xgetbv), so a table is offered only where its registers survive a
 * context switch. */

#include "fastbp/fastbp.h"

extern const fbp_isa fbp_isa_generic;
#ifdef FBP_HAVE_AVX2
extern const fbp_isa fbp_isa_avx2;
#endif
#ifdef FBP_HAVE_AVX512
extern const fbp_isa fbp_isa_avx512;
#endif

static const fbp_isa *const TABLES[] = {
#ifdef FBP_HAVE_AVX512
    &fbp_isa_avx512,
#endif
#ifdef FBP_HAVE_AVX2
    &fbp_isa_avx2,
#endif
    &fbp_isa_generic,
};

enum { N_TABLES = sizeof TABLES / sizeof TABLES[0] };

const fbp_isa *fbp_isa_at(int i)
{
    return i >= 0 && i < N_TABLES ? TABLES[i] : NULL;
}

int fbp_isa_supported(const fbp_isa *isa)
{
#ifdef FBP_HAVE_AVX512
    if (isa == &fbp_isa_avx512) {
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    }
#endif
#ifdef FBP_HAVE_AVX2
    if (isa == &fbp_isa_avx2) {
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    }
#endif
    return isa == &fbp_isa_generic;
}

#define FBP_NAME(code, name) name,
static const char *const ACTIVATION_NAMES[] = {FBP_ACTIVATIONS(FBP_NAME)};
static const char *const LOSS_NAMES[] = {FBP_LOSSES(FBP_NAME)};
static const char *const OPTIMIZER_NAMES[] = {FBP_OPTIMIZERS(FBP_NAME)};
static const char *const DTYPE_NAMES[] = {FBP_DTYPES(FBP_NAME)};

const char *fbp_activation_name(int code)
{
    return ACTIVATION_NAMES[code];
}

const char *fbp_loss_name(int code)
{
    return LOSS_NAMES[code];
}

const char *fbp_optimizer_name(int code)
{
    return OPTIMIZER_NAMES[code];
}

const char *fbp_dtype_name(int code)
{
    return DTYPE_NAMES[code];
}
