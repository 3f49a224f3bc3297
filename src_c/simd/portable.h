/* The vector shim, part 2, in plain C, for any FBP_VBYTES: the generic table. The loops
 * over lanes have constant length; compilers turn them into what vector instructions the target
 * has.
 *
 *   v_fma(a, b, c)      a b + c, rounded once where the target has FMA; elsewhere (x86-64 without
 *                       FMA) rounded twice, the one place where bits may differ
 *   v_fma_in_place(a, b, c)  the same, for sums that are to stay in their registers
 *   v_sqrt(a)           correctly rounded
 *   v_sqrt_undivided(a) the same for finite a >= 0, without the unit that divides where there is
 *                       another way; not finite for others
 *   v_all_zero(a)       1 if every lane is 0 or -0
 *   v_max(a, b)         a > b ? a : b   (b when either is NaN);  v_min(a, b)  a < b ? a : b
 *   v_select(m, a, b)   a where the lane of m is all ones, b where it is zero
 *   v_select_sign(x, a, b)  a where the sign bit of x is set, b elsewhere
 *   v_ldexp(a, n)       a 2^n rounded once, for integers |n| < 1200 (f32: 200) and normal a 2^(n/2)
 *   v_load_n(p, n)      lanes 0 .. n-1 from p, zero in the rest; 0 <= n <= VL; touches no memory
 *                       beyond p[n-1];  v_store_n likewise */
#ifndef FBP_SIMD_PORTABLE_H
#define FBP_SIMD_PORTABLE_H

#include <math.h>

#ifdef __FP_FAST_FMAF
#define fbp_fma_f32(a, b, c) __builtin_fmaf(a, b, c)
#else
#define fbp_fma_f32(a, b, c) ((a) * (b) + (c))
#endif
#ifdef __FP_FAST_FMA
#define fbp_fma_f64(a, b, c) __builtin_fma(a, b, c)
#else
#define fbp_fma_f64(a, b, c) ((a) * (b) + (c))
#endif
#define fbp_sqrt_f32 sqrtf
#define fbp_sqrt_f64 sqrt

#define FBP_SFX f32
#include "portable.inc.h"
#undef FBP_SFX
#define FBP_SFX f64
#include "portable.inc.h"
#undef FBP_SFX

#endif
