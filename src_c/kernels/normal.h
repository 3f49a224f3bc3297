/* The normal distribution's Phi(x) = (1 + erf(x / sqrt 2)) / 2 and x Phi(x), the GELU. float32
 * lanes are computed in float64 with shorter polynomials (`full` = 0), float64 lanes with those of
 * float64 (`full` = 1); `full` is a constant wherever it is passed. */
#ifndef FBP_KERNELS_NORMAL_H
#define FBP_KERNELS_NORMAL_H

#define FBP_POLYNOMIAL_FOR(full, x, name) \
    ((full) ? vx_horner_f64((x), fbp_##name##_f64, FBP_LENGTH(fbp_##name##_f64)) \
            : vx_horner_f64((x), fbp_##name##_f32, FBP_LENGTH(fbp_##name##_f32)))

/* e^(-t^2/2) = *upper * result, as v_exp_halves, for 0 <= t <= 40 */
static FBP_INLINE vec_f64 fbp_gaussian(vec_f64 t, int full, vec_f64 *upper)
{
    /* The square must be exact: that of a float32 is, else t^2 = high^2 + (t - high) (t + high). */
    const vec_f64 high = full ? vx_upper_half_f64(t) : t;
    vec_f64 n, half;
    vec_f64 r = vx_exp_reduce_f64(high * high * -0.5, &n);
    if (full) {
        r += (t - high) * (t + high) * -0.5;
    }
    const vec_f64 p = vx_fma_f64(r * r, FBP_POLYNOMIAL_FOR(full, r, exp), r);
    const vec_f64 rest = vx_pow2_halves_f64(n, &half);
    *upper = (1.0 + p) * half;
    return rest;
}

/* Phi(-t) e^(t^2/2) for 0 <= t <= the bound of the polynomial */
static FBP_INLINE vec_f64 fbp_scaled_tail(vec_f64 t, int full)
{
    const double centre = full ? 5.0 : 3.0;
    const vec_f64 reciprocal = 1.0 / (t + centre);
    const vec_f64 y = vx_fma_f64(vx_set1_f64(-2.0 * centre), reciprocal, vx_set1_f64(1.0));
    return reciprocal * FBP_POLYNOMIAL_FOR(full, y, tail);
}

/* x Phi(x), and its derivative Phi(x) + x phi(x) */
static FBP_INLINE vec_f64 fbp_gelu(vec_f64 x, int full, vec_f64 *slope)
{
    const vec_f64 t = vx_min_f64(vx_set1_f64(full ? 40.0 : 16.0), vx_abs_f64(x));
    const vec_f64 bounded = vx_copysign_f64(t, x);
    vec_f64 upper;
    const vec_f64 rest = fbp_gaussian(t, full, &upper);
    const vec_f64 scaled_tail = fbp_scaled_tail(t, full) * upper;
    const vec_f64 tail = scaled_tail * rest;
    const ivec_f64 negative = (ivec_f64)(x < 0.0);
    const vec_f64 inverse_sqrt_2pi = vx_set1_f64(0.39894228040143267794);
    *slope = vx_fma_f64(bounded * inverse_sqrt_2pi, upper * rest,
                        vx_select_f64(negative, tail, 1.0 - tail));
    return vx_select_f64(negative, bounded * scaled_tail * rest, vx_fma_f64(-bounded, tail, x));
}

static FBP_INLINE vec_f64 vx_gelu_f64(vec_f64 x, vec_f64 *slope)
{
    return fbp_gelu(x, 1, slope);
}

static FBP_INLINE vec_f32 vx_gelu_f32(vec_f32 x, vec_f32 *slope)
{
    vec_f64 lo, hi, slope_lo, slope_hi;
    v_widen(x, &lo, &hi);
    lo = fbp_gelu(lo, 0, &slope_lo);
    hi = fbp_gelu(hi, 0, &slope_hi);
    *slope = v_narrow(slope_lo, slope_hi);
    return v_narrow(lo, hi);
}

#define v_gelu FBP_CAT(vx_gelu, FBP_SFX)

#endif
