/* The vector shim, part 1: types and what the compiler's vector extensions give on every target.
 *
 * FBP_VBYTES (16, 32 or 64) is the vector's size. `vec` holds FBP_VBYTES / sizeof(real) lanes;
 * + - * / < > == & | ~ << work on whole vectors; comparisons give an `ivec` of all-ones or all-zero
 * lanes. What needs an instruction of its own (fma, sqrt, max, min, select, ldexp, partial load and
 * store) is in avx512.h, avx2.h or portable.h, one of which follows this file. */
#ifndef FBP_SIMD_VEC_H
#define FBP_SIMD_VEC_H

#include <stdint.h>
#include <string.h>

#include "names.h"

typedef float real_f32;
typedef double real_f64;
typedef int32_t ireal_f32;
typedef int64_t ireal_f64;
typedef float vec_f32 __attribute__((vector_size(FBP_VBYTES)));
typedef double vec_f64 __attribute__((vector_size(FBP_VBYTES)));
typedef int32_t ivec_f32 __attribute__((vector_size(FBP_VBYTES)));
typedef int64_t ivec_f64 __attribute__((vector_size(FBP_VBYTES)));
typedef float quad_f32 __attribute__((vector_size(16)));
typedef double quad_f64 __attribute__((vector_size(32)));
typedef float half_f32 __attribute__((vector_size(FBP_VBYTES / 2)));

/* lanes of a (0 .. 3) and b (4 .. 7) */
#if defined(__clang__) || __GNUC__ >= 12
#define FBP_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define FBP_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (FBP_CAT(index, FBP_SFX)){__VA_ARGS__})
typedef int32_t index_f32 __attribute__((vector_size(16)));
typedef int64_t index_f64 __attribute__((vector_size(32)));
#endif

#define FBP_SFX f32
#include "common.inc.h"
#undef FBP_SFX
#define FBP_SFX f64
#include "common.inc.h"
#undef FBP_SFX

/* float32 lanes as two vectors of float64 lanes and back (rounded to nearest): for functions that
 * float32 arithmetic cannot give within 2 ULP */
static FBP_INLINE void v_widen(vec_f32 x, vec_f64 *lo, vec_f64 *hi)
{
    half_f32 h[2];
    memcpy(h, &x, sizeof x);
    *lo = __builtin_convertvector(h[0], vec_f64);
    *hi = __builtin_convertvector(h[1], vec_f64);
}

static FBP_INLINE vec_f32 v_narrow(vec_f64 lo, vec_f64 hi)
{
    half_f32 h[2] = {__builtin_convertvector(lo, half_f32), __builtin_convertvector(hi, half_f32)};
    vec_f32 x;
    memcpy(&x, h, sizeof x);
    return x;
}

#endif
