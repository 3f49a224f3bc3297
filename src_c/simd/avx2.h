/* The vector shim, part 2, for AVX2 + FMA (FBP_VBYTES = 32). Contracts: see portable.h. */
#ifndef FBP_SIMD_AVX2_H
#define FBP_SIMD_AVX2_H

#include <immintrin.h>

static FBP_INLINE vec_f32 vx_fma_f32(vec_f32 a, vec_f32 b, vec_f32 c)
{
    return (vec_f32)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}
static FBP_INLINE vec_f64 vx_fma_f64(vec_f64 a, vec_f64 b, vec_f64 c)
{
    return (vec_f64)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
}

/* By name, as compilers else move the sums of a tile, which fill the registers, to and fro. */
static FBP_INLINE vec_f32 vx_fma_in_place_f32(vec_f32 a, vec_f32 b, vec_f32 c)
{
    __asm__("vfmadd231ps %2, %1, %0" : "+x"(c) : "x"(a), "x"(b));
    return c;
}
static FBP_INLINE vec_f64 vx_fma_in_place_f64(vec_f64 a, vec_f64 b, vec_f64 c)
{
    __asm__("vfmadd231pd %2, %1, %0" : "+x"(c) : "x"(a), "x"(b));
    return c;
}

static FBP_INLINE vec_f32 vx_sqrt_f32(vec_f32 a)
{
    return (vec_f32)_mm256_sqrt_ps((__m256)a);
}
static FBP_INLINE vec_f64 vx_sqrt_f64(vec_f64 a)
{
    return (vec_f64)_mm256_sqrt_pd((__m256d)a);
}

static FBP_INLINE vec_f32 vx_sqrt_undivided_f32(vec_f32 a)
{
    return vx_sqrt_f32(a);
}
static FBP_INLINE vec_f64 vx_sqrt_undivided_f64(vec_f64 a)
{
    return vx_sqrt_f64(a);
}

static FBP_INLINE int vx_all_zero_f32(vec_f32 a)
{
    return _mm256_movemask_ps(_mm256_cmp_ps((__m256)a, _mm256_setzero_ps(), _CMP_NEQ_UQ)) == 0;
}
static FBP_INLINE int vx_all_zero_f64(vec_f64 a)
{
    return _mm256_movemask_pd(_mm256_cmp_pd((__m256d)a, _mm256_setzero_pd(), _CMP_NEQ_UQ)) == 0;
}

static FBP_INLINE vec_f32 vx_max_f32(vec_f32 a, vec_f32 b)
{
    return (vec_f32)_mm256_max_ps((__m256)a, (__m256)b);
}
static FBP_INLINE vec_f64 vx_max_f64(vec_f64 a, vec_f64 b)
{
    return (vec_f64)_mm256_max_pd((__m256d)a, (__m256d)b);
}

static FBP_INLINE vec_f32 vx_min_f32(vec_f32 a, vec_f32 b)
{
    return (vec_f32)_mm256_min_ps((__m256)a, (__m256)b);
}
static FBP_INLINE vec_f64 vx_min_f64(vec_f64 a, vec_f64 b)
{
    return (vec_f64)_mm256_min_pd((__m256d)a, (__m256d)b);
}

static FBP_INLINE vec_f32 vx_select_f32(ivec_f32 mask, vec_f32 a, vec_f32 b)
{
    return (vec_f32)_mm256_blendv_ps((__m256)b, (__m256)a, (__m256)mask);
}
static FBP_INLINE vec_f64 vx_select_f64(ivec_f64 mask, vec_f64 a, vec_f64 b)
{
    return (vec_f64)_mm256_blendv_pd((__m256d)b, (__m256d)a, (__m256d)mask);
}

/* the instruction looks at nothing but the sign bit of its mask */
static FBP_INLINE vec_f32 vx_select_sign_f32(vec_f32 x, vec_f32 a, vec_f32 b)
{
    return vx_select_f32((ivec_f32)x, a, b);
}
static FBP_INLINE vec_f64 vx_select_sign_f64(vec_f64 x, vec_f64 a, vec_f64 b)
{
    return vx_select_f64((ivec_f64)x, a, b);
}

static FBP_INLINE vec_f32 vx_ldexp_f32(vec_f32 a, vec_f32 n)
{
    return vx_ldexp_by_products_f32(a, n);
}
static FBP_INLINE vec_f64 vx_ldexp_f64(vec_f64 a, vec_f64 n)
{
    return vx_ldexp_by_products_f64(a, n);
}

static FBP_INLINE ivec_f32 vx_first_f32(int n)
{
    return (ivec_f32){0, 1, 2, 3, 4, 5, 6, 7} < n;
}
static FBP_INLINE ivec_f64 vx_first_f64(int n)
{
    return (ivec_f64){0, 1, 2, 3} < (int64_t)n;
}

/* Only where n is known to the compiler there is a choice: a loop is not to branch for each load. */
static FBP_INLINE vec_f32 vx_load_n_f32(const float *p, int n)
{
    const int whole = __builtin_constant_p(n) && n >= 8;
    return whole ? vx_load_f32(p) : (vec_f32)_mm256_maskload_ps(p, (__m256i)vx_first_f32(n));
}
static FBP_INLINE vec_f64 vx_load_n_f64(const double *p, int n)
{
    const int whole = __builtin_constant_p(n) && n >= 4;
    return whole ? vx_load_f64(p) : (vec_f64)_mm256_maskload_pd(p, (__m256i)vx_first_f64(n));
}

/* In halves, not by the instruction for masked stores: on AMD's Zen 3 that one takes as long as eight
 * plain stores. */
static FBP_INLINE void vx_store_n_f32(float *p, vec_f32 v, int n)
{
    if (n >= 8) {
        vx_store_f32(p, v);
        return;
    }
    __m128 half = _mm256_castps256_ps128((__m256)v);
    if (n & 4) {
        _mm_storeu_ps(p, half);
        half = _mm256_extractf128_ps((__m256)v, 1);
        p += 4;
    }
    if (n & 2) {
        _mm_storel_pi((__m64 *)p, half);
        half = _mm_movehl_ps(half, half);
        p += 2;
    }
    if (n & 1) {
        _mm_store_ss(p, half);
    }
}
static FBP_INLINE void vx_store_n_f64(double *p, vec_f64 v, int n)
{
    if (n >= 4) {
        vx_store_f64(p, v);
        return;
    }
    __m128d half = _mm256_castpd256_pd128((__m256d)v);
    if (n & 2) {
        _mm_storeu_pd(p, half);
        half = _mm256_extractf128_pd((__m256d)v, 1);
        p += 2;
    }
    if (n & 1) {
        _mm_store_sd(p, half);
    }
}

#endif
