/* The vector shim, part 2, for AVX-512 F and DQ (FBP_VBYTES = 64). Contracts: see portable.h. */
#ifndef FBP_SIMD_AVX512_H
#define FBP_SIMD_AVX512_H

#include <immintrin.h>

static FBP_INLINE vec_f32 vx_fma_f32(vec_f32 a, vec_f32 b, vec_f32 c)
{
    return (vec_f32)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}
static FBP_INLINE vec_f64 vx_fma_f64(vec_f64 a, vec_f64 b, vec_f64 c)
{
    return (vec_f64)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
}

static FBP_INLINE vec_f32 vx_fma_in_place_f32(vec_f32 a, vec_f32 b, vec_f32 c)
{
    return vx_fma_f32(a, b, c);
}
static FBP_INLINE vec_f64 vx_fma_in_place_f64(vec_f64 a, vec_f64 b, vec_f64 c)
{
    return vx_fma_f64(a, b, c);
}

static FBP_INLINE vec_f32 vx_sqrt_f32(vec_f32 a)
{
    return (vec_f32)_mm512_sqrt_ps((__m512)a);
}
static FBP_INLINE vec_f64 vx_sqrt_f64(vec_f64 a)
{
    return (vec_f64)_mm512_sqrt_pd((__m512d)a);
}

/* By a table of 14 bits, one step of Goldschmidt's iteration and a last correction. The result is
 * that of the instruction for every float32 (tests/kernels/test_sqrt.py tries them all). Squares and
 * residuals of numbers below 2^-96 would underflow, and zero has no inverse. */
static FBP_INLINE vec_f32 vx_sqrt_undivided_f32(vec_f32 a)
{
    const __m512 half = _mm512_set1_ps(0.5f), x = (__m512)a;
    if (__builtin_expect(_mm512_cmp_ps_mask(x, _mm512_set1_ps(0x1p-96f), _CMP_NGE_UQ) != 0, 0)) {
        return vx_sqrt_f32(a);
    }
    const __m512 y = _mm512_rsqrt14_ps(x);
    __m512 root = _mm512_mul_ps(x, y), inverse = _mm512_mul_ps(y, half);
    const __m512 error = _mm512_fnmadd_ps(root, inverse, half);
    root = _mm512_fmadd_ps(root, error, root);
    inverse = _mm512_fmadd_ps(inverse, error, inverse);
    return (vec_f32)_mm512_fmadd_ps(_mm512_fnmadd_ps(root, root, x), inverse, root);
}
static FBP_INLINE vec_f64 vx_sqrt_undivided_f64(vec_f64 a)
{
    return vx_sqrt_f64(a);
}

static FBP_INLINE int vx_all_zero_f32(vec_f32 a)
{
    return _mm512_cmp_ps_mask((__m512)a, _mm512_setzero_ps(), _CMP_NEQ_UQ) == 0;
}
static FBP_INLINE int vx_all_zero_f64(vec_f64 a)
{
    return _mm512_cmp_pd_mask((__m512d)a, _mm512_setzero_pd(), _CMP_NEQ_UQ) == 0;
}

static FBP_INLINE vec_f32 vx_max_f32(vec_f32 a, vec_f32 b)
{
    return (vec_f32)_mm512_max_ps((__m512)a, (__m512)b);
}
static FBP_INLINE vec_f64 vx_max_f64(vec_f64 a, vec_f64 b)
{
    return (vec_f64)_mm512_max_pd((__m512d)a, (__m512d)b);
}

static FBP_INLINE vec_f32 vx_min_f32(vec_f32 a, vec_f32 b)
{
    return (vec_f32)_mm512_min_ps((__m512)a, (__m512)b);
}
static FBP_INLINE vec_f64 vx_min_f64(vec_f64 a, vec_f64 b)
{
    return (vec_f64)_mm512_min_pd((__m512d)a, (__m512d)b);
}

/* 0xCA is the truth table of (first & second) | (~first & third) */
static FBP_INLINE vec_f32 vx_select_f32(ivec_f32 mask, vec_f32 a, vec_f32 b)
{
    return (vec_f32)_mm512_ternarylogic_epi32((__m512i)mask, (__m512i)a, (__m512i)b, 0xCA);
}
static FBP_INLINE vec_f64 vx_select_f64(ivec_f64 mask, vec_f64 a, vec_f64 b)
{
    return (vec_f64)_mm512_ternarylogic_epi64((__m512i)mask, (__m512i)a, (__m512i)b, 0xCA);
}

static FBP_INLINE vec_f32 vx_select_sign_f32(vec_f32 x, vec_f32 a, vec_f32 b)
{
    return (vec_f32)_mm512_mask_blend_ps(_mm512_movepi32_mask((__m512i)x), (__m512)b, (__m512)a);
}
static FBP_INLINE vec_f64 vx_select_sign_f64(vec_f64 x, vec_f64 a, vec_f64 b)
{
    return (vec_f64)_mm512_mask_blend_pd(_mm512_movepi64_mask((__m512i)x), (__m512d)b, (__m512d)a);
}

static FBP_INLINE vec_f32 vx_ldexp_f32(vec_f32 a, vec_f32 n)
{
    return (vec_f32)_mm512_scalef_ps((__m512)a, (__m512)n);
}
static FBP_INLINE vec_f64 vx_ldexp_f64(vec_f64 a, vec_f64 n)
{
    return (vec_f64)_mm512_scalef_pd((__m512d)a, (__m512d)n);
}

static FBP_INLINE vec_f32 vx_load_n_f32(const float *p, int n)
{
    return (vec_f32)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1u), p);
}
static FBP_INLINE vec_f64 vx_load_n_f64(const double *p, int n)
{
    return (vec_f64)_mm512_maskz_loadu_pd((__mmask8)((1u << n) - 1u), p);
}

static FBP_INLINE void vx_store_n_f32(float *p, vec_f32 v, int n)
{
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1u), (__m512)v);
}
static FBP_INLINE void vx_store_n_f64(double *p, vec_f64 v, int n)
{
    _mm512_mask_storeu_pd(p, (__mmask8)((1u << n) - 1u), (__m512d)v);
}

#endif
