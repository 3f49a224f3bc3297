/* The normal distribution's Phi(x) = (1 + erf(x / sqrt 2)) / 2 and x Phi(x), the GELU. float32
 * lanes are computed in float64 with shorter polynomials (`full` = 0), float64 lanes with those of
 * float64 (`full` = 1); `full` is a constant wherever it is passed. */
#ifndef FBP_KERNELS_NORMAL_H
#define FBP_KERNELS_NORMAL_H

#define FBP_POLYNOMIAL_FOR(full, x, name)                                                          \
    ((full) ? vx_polynomial_f64((x), fbp_##name##_f64, FBP_LENGTH(fbp_##name##_f64), 0)            \
            : vx_polynomial_f64((x), fbp_##name##_f32, FBP_LENGTH(fbp_##name##_f32), 0))

/* high + low with more bits than one float64 has */
typedef struct {
    vec_f64 high, low;
} fbp_pair;

static FBP_INLINE fbp_pair fbp_pair_product(fbp_pair a, fbp_pair b)
{
    const vec_f64 a_upper = vx_upper_half_f64(a.high);
    const vec_f64 b_upper = vx_upper_half_f64(b.high);
    const vec_f64 a_rest = (a.high - a_upper) + a.low;
    const vec_f64 b_rest = (b.high - b_upper) + b.low;
    return (fbp_pair){a_upper * b_upper, vx_fma_f64(a_upper, b_rest, a_rest * b.high)};
}

/* e^(-t^2/2) for 0 <= t <= 40 */
static FBP_INLINE vx_scaled_f64 fbp_gaussian(vec_f64 t, int full)
{
    /* The square must be exact: that of a float32 is, else t^2 = high^2 + (t - high) (t + high). */
    const vec_f64 high = full ? vx_upper_half_f64(t) : t;
    vec_f64 n;
    vec_f64 r = vx_exp_reduce_f64(high * high * -0.5, &n);
    if (full) {
        r += (t - high) * (t + high) * -0.5;
    }
    const vec_f64 p = vx_fma_f64(r * r, FBP_POLYNOMIAL_FOR(full, r, exp), r);
    const vec_f64 sum = p + 1.0;
    return (vx_scaled_f64){sum, p - (sum - 1.0), n};
}

/* Phi(-t) e^(t^2/2), for float32 lanes, 0 <= t <= 16; `guess` is 1 / (t + 3) in float32, which one
 * step of Newton's makes good enough: dividing in float64 would take three times as long */
static FBP_INLINE vec_f64 fbp_scaled_tail_short(vec_f64 t, vec_f64 guess)
{
    const vec_f64 reciprocal = vx_fma_f64(1.0 - (t + 3.0) * guess, guess, guess);
    const vec_f64 y = vx_fma_f64(vx_set1_f64(-6.0), reciprocal, vx_set1_f64(1.0));
    return reciprocal * FBP_POLYNOMIAL_FOR(0, y, tail);
}

/* the same for float64 lanes, 0 <= t <= 40 */
static FBP_INLINE fbp_pair fbp_scaled_tail_full(vec_f64 t)
{
    const vec_f64 none = {0};
    const vx_quotient_f64 q = vx_divide_f64(vx_set1_f64(1.0), none, vx_set1_f64(-5.0), t, none);
    const vec_f64 y = (1.0 - 10.0 * q.high) - 10.0 * q.low;
    const vec_f64 constant = vx_set1_f64(fbp_tail_f64[0]);
    const vec_f64 rest =
        y * vx_polynomial_f64(y, fbp_tail_f64 + 1, FBP_LENGTH(fbp_tail_f64) - 1, 5);
    const vec_f64 sum = constant + rest;
    return fbp_pair_product((fbp_pair){q.high, q.low}, (fbp_pair){sum, rest - (sum - constant)});
}

/* x Phi(x), and its derivative Phi(x) + x phi(x); guess: see fbp_scaled_tail_short */
static FBP_INLINE vec_f64 fbp_gelu(vec_f64 x, int full, vec_f64 guess, vec_f64 *slope)
{
    const vec_f64 t = vx_min_f64(vx_set1_f64(full ? 40.0 : 16.0), vx_abs_f64(x));
    const vec_f64 inverse_sqrt_2pi = vx_set1_f64(0.39894228040143267794);
    const vx_scaled_f64 gaussian = fbp_gaussian(t, full);
    fbp_pair tail = {{0}, {0}}; /* of Phi, without 2^n */
    if (full) {
        tail = fbp_pair_product(fbp_scaled_tail_full(t), (fbp_pair){gaussian.high, gaussian.low});
    } else {
        tail.high = fbp_scaled_tail_short(t, guess) * gaussian.high;
    }
    const vec_f64 sum = vx_ldexp_f64(tail.high + tail.low, gaussian.n);
    const vec_f64 density = vx_ldexp_f64(gaussian.high, gaussian.n) * inverse_sqrt_2pi;
    *slope = vx_fma_f64(vx_copysign_f64(t, x), density, vx_select_sign_f64(x, sum, 1.0 - sum));
    const vec_f64 negative = vx_ldexp_f64(vx_fma_f64(t, tail.high, t * tail.low), gaussian.n);
    return vx_select_sign_f64(x, vx_negated_abs_f64(negative), vx_fma_f64(-t, sum, x));
}

static FBP_INLINE vec_f64 vx_gelu_f64(vec_f64 x, vec_f64 *slope)
{
    return fbp_gelu(x, 1, x /* unused */, slope);
}

static FBP_INLINE vec_f32 vx_gelu_f32(vec_f32 x, vec_f32 *slope)
{
    const vec_f32 t = vx_min_f32(vx_set1_f32(16.0f), vx_abs_f32(x));
    vec_f64 lo, hi, guess_lo, guess_hi, slope_lo, slope_hi;
    v_widen(x, &lo, &hi);
    v_widen(1.0f / (t + 3.0f), &guess_lo, &guess_hi);
    lo = fbp_gelu(lo, 0, guess_lo, &slope_lo);
    hi = fbp_gelu(hi, 0, guess_hi, &slope_hi);
    *slope = v_narrow(slope_lo, slope_hi);
    return v_narrow(lo, hi);
}

#define v_gelu FBP_CAT(vx_gelu, FBP_SFX)

#endif
