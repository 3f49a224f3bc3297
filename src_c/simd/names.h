/* One kernel source, two dtypes: every name below stands for the variant of the dtype that FBP_SFX
 * names (f32 or f64) at the point of use. Kernel sources therefore say `vec`, `real`, `v_fma` and
 * are included once per dtype. */
#ifndef FBP_SIMD_NAMES_H
#define FBP_SIMD_NAMES_H

#define FBP_CAT_(a, b) a##_##b
#define FBP_CAT(a, b) FBP_CAT_(a, b)

/* name of a kernel: FBP_K(dense_fwd) is fbp_dense_fwd_f32_avx2 */
#define FBP_K(name) FBP_CAT(FBP_CAT(fbp_##name, FBP_SFX), FBP_ISA)

#define real FBP_CAT(real, FBP_SFX)
#define ireal FBP_CAT(ireal, FBP_SFX)
#define vec FBP_CAT(vec, FBP_SFX)
#define ivec FBP_CAT(ivec, FBP_SFX)
#define quad FBP_CAT(quad, FBP_SFX)
#define VL ((int)(FBP_VBYTES / sizeof(real)))

/* a constant that differs between dtypes */
#define FBP_BY_DTYPE(f32, f64) ((real)(sizeof(real) == sizeof(float) ? (f32) : (f64)))
#define FBP_MANTISSA (sizeof(real) == sizeof(float) ? 23 : 52)
#define FBP_BIAS FBP_BY_DTYPE(127, 1023)
/* adding it to a small number leaves that, rounded to an integer, in the low bits */
#define FBP_SHIFTER FBP_BY_DTYPE(0x1.8p23, 0x1.8p52)

#define v_set1 FBP_CAT(vx_set1, FBP_SFX)
#define v_load FBP_CAT(vx_load, FBP_SFX)
#define v_store FBP_CAT(vx_store, FBP_SFX)
#define v_load_n FBP_CAT(vx_load_n, FBP_SFX)
#define v_store_n FBP_CAT(vx_store_n, FBP_SFX)
#define v_fma FBP_CAT(vx_fma, FBP_SFX)
#define v_fma_in_place FBP_CAT(vx_fma_in_place, FBP_SFX)
#define v_sqrt FBP_CAT(vx_sqrt, FBP_SFX)
#define v_sqrt_undivided FBP_CAT(vx_sqrt_undivided, FBP_SFX)
#define v_all_zero FBP_CAT(vx_all_zero, FBP_SFX)
#define v_max FBP_CAT(vx_max, FBP_SFX)
#define v_min FBP_CAT(vx_min, FBP_SFX)
#define v_abs FBP_CAT(vx_abs, FBP_SFX)
#define v_select FBP_CAT(vx_select, FBP_SFX)
#define v_copysign FBP_CAT(vx_copysign, FBP_SFX)
#define v_select_sign FBP_CAT(vx_select_sign, FBP_SFX)
#define v_pow2 FBP_CAT(vx_pow2, FBP_SFX)
#define v_ldexp FBP_CAT(vx_ldexp, FBP_SFX)

#define FBP_INLINE inline __attribute__((always_inline))

#endif
