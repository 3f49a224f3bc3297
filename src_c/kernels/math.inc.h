/* Included by vmath.h once per dtype: elementary functions of vectors.
 *
 * Each is one sequence of operations on every instruction set, and where a product must be exact it
 * is so with and without FMA. NaN gives NaN; results may be denormal. Where a bound is applied to x,
 * the bound is the first operand of v_max or v_min, which then pass NaN on. */

#define FBP_BY_DTYPE(f32, f64) ((real)(sizeof(real) == sizeof(float) ? (f32) : (f64)))
#define FBP_LENGTH(table) ((int)(sizeof(table) / sizeof((table)[0])))
/* v_horner of the dtype's table: FBP_POLYNOMIAL(x, exp) uses fbp_exp_f32 or fbp_exp_f64 */
#define FBP_POLYNOMIAL(x, name) FBP_POLYNOMIAL_OF(x, FBP_CAT(fbp_##name, FBP_SFX))
#define FBP_POLYNOMIAL_OF(x, table) v_horner((x), (table), FBP_LENGTH(table))

#define FBP_MANTISSA (sizeof(real) == sizeof(float) ? 23 : 52)
#define FBP_BIAS FBP_BY_DTYPE(127, 1023)
/* adding it to a small number leaves that, rounded to an integer, in the low bits */
#define FBP_SHIFTER FBP_BY_DTYPE(0x1.8p23, 0x1.8p52)
/* a bound past which e^x is 0 even when multiplied by x */
#define FBP_EXP_LOWEST FBP_BY_DTYPE(-120, -760)
/* a bound past which e^x overflows, and 2^(n-1) of its n does not */
#define FBP_EXP_HIGHEST FBP_BY_DTYPE(88.9, 709.9)

#define v_negated_abs FBP_CAT(vx_negated_abs, FBP_SFX)
#define v_upper_half FBP_CAT(vx_upper_half, FBP_SFX)
#define v_horner FBP_CAT(vx_horner, FBP_SFX)
#define v_quotient FBP_CAT(vx_quotient, FBP_SFX)
#define v_pow2 FBP_CAT(vx_pow2, FBP_SFX)
#define v_pow2_halves FBP_CAT(vx_pow2_halves, FBP_SFX)
#define v_exp_reduce FBP_CAT(vx_exp_reduce, FBP_SFX)
#define v_expm1_reduced FBP_CAT(vx_expm1_reduced, FBP_SFX)
#define v_exp_halves FBP_CAT(vx_exp_halves, FBP_SFX)
#define v_expm1_parts FBP_CAT(vx_expm1_parts, FBP_SFX)
#define v_exp FBP_CAT(vx_exp, FBP_SFX)
#define v_expm1 FBP_CAT(vx_expm1, FBP_SFX)
#define v_log FBP_CAT(vx_log, FBP_SFX)
#define v_log1p FBP_CAT(vx_log1p, FBP_SFX)
#define v_tanh FBP_CAT(vx_tanh, FBP_SFX)
#define v_sigmoid_tail FBP_CAT(vx_sigmoid_tail, FBP_SFX)
#define v_sigmoid FBP_CAT(vx_sigmoid, FBP_SFX)
#define v_softplus FBP_CAT(vx_softplus, FBP_SFX)

static FBP_INLINE vec v_negated_abs(vec x)
{
    return (vec)((ivec)x | FBP_CAT(vx_sign_bit, FBP_SFX)());
}

/* x with the lower half of its significand cleared: products of two such numbers are exact */
static FBP_INLINE vec v_upper_half(vec x)
{
    const ireal mask = (ireal)(sizeof(real) == sizeof(float) ? -(1LL << 12) : -(1LL << 27));
    return (vec)((ivec)x & mask);
}

/* c[0] + c[1] x + ... + c[n-1] x^(n-1) */
static FBP_INLINE vec v_horner(vec x, const double *c, int n)
{
    vec y = v_set1((real)c[n - 1]);
#pragma GCC unroll 32
    for (int i = n - 2; i >= 0; i--) {
        y = v_fma(y, x, v_set1((real)c[i]));
    }
    return y;
}

/* num / (c + b) as if the sum were exact, within 0.51 ULP, for c = 1 or 2 and -1 <= b <= 4;
 * *reciprocal is 1 / (c + b) within 2 ULP */
static FBP_INLINE vec v_quotient(vec num, vec c, vec b, vec *reciprocal)
{
    const vec den = c + b;
    const vec den_hi = v_upper_half(den);
    const vec den_lo = b - (den_hi - c);
    *reciprocal = (real)1 / den;
    const vec q = v_upper_half(num * *reciprocal);
    const vec rest = v_fma(-q, den_lo, v_fma(-q, den_hi, num));
    return v_fma(rest, *reciprocal, q);
}

/* 2^n for integers n that are exponents of normal numbers */
static FBP_INLINE vec v_pow2(vec n)
{
    return (vec)((ivec)(n + (FBP_SHIFTER + FBP_BIAS)) << FBP_MANTISSA);
}

/* 2^n = *half * result: a product with 2^n is scaled by *half and then by the result, so that it
 * is rounded once even if 2^n or the product is denormal or overflows */
static FBP_INLINE vec v_pow2_halves(vec n, vec *half)
{
    const vec m = v_fma(n, v_set1((real)0.5), v_set1(FBP_SHIFTER)) - FBP_SHIFTER;
    *half = v_pow2(m);
    return v_pow2(n - m);
}

/* x - n ln 2, at most ln 2 / 2 in size, and the integer n */
static FBP_INLINE vec v_exp_reduce(vec x, vec *n)
{
    const vec log2_e = v_set1((real)1.44269504088896340736);
    const vec ln2_hi = v_set1(FBP_BY_DTYPE(FBP_LN2_F32_HI, FBP_LN2_F64_HI));
    const vec ln2_lo = v_set1(FBP_BY_DTYPE(FBP_LN2_F32_LO, FBP_LN2_F64_LO));
    *n = v_fma(x, log2_e, v_set1(FBP_SHIFTER)) - FBP_SHIFTER;
    return v_fma(-*n, ln2_lo, v_fma(-*n, ln2_hi, x));
}

/* e^r - 1 for |r| <= ln 2 / 2 */
static FBP_INLINE vec v_expm1_reduced(vec r)
{
    return v_fma(r * r, FBP_POLYNOMIAL(r, exp), r);
}

/* e^x = *upper * result for FBP_EXP_LOWEST <= x <= FBP_EXP_HIGHEST, *upper being normal and the
 * result a power of two (see v_pow2_halves) */
static FBP_INLINE vec v_exp_halves(vec x, vec *upper)
{
    vec n, half;
    const vec p = v_expm1_reduced(v_exp_reduce(x, &n));
    const vec rest = v_pow2_halves(n, &half);
    *upper = ((real)1 + p) * half;
    return rest;
}

static FBP_INLINE vec v_exp(vec x)
{
    vec upper;
    x = v_min(v_set1(FBP_EXP_HIGHEST), v_max(v_set1(FBP_EXP_LOWEST), x));
    const vec rest = v_exp_halves(x, &upper);
    return upper * rest;
}

/* e^x - 1 = result + *low, the latter below half an ULP of the former, for x <= 0 */
static FBP_INLINE vec v_expm1_parts(vec x, vec *low)
{
    vec n;
    x = v_max(v_set1((real)-60), x); /* there the result is -1 already */
    const vec p = v_expm1_reduced(v_exp_reduce(x, &n));
    const vec scale = v_pow2(n);
    const vec whole = scale - (real)1;
    const vec part = p * scale;
    const vec high = whole + part;
    *low = part - (high - whole);
    return high;
}

static FBP_INLINE vec v_expm1(vec x)
{
    vec n;
    const vec bounded = v_min(v_set1(FBP_EXP_HIGHEST), v_max(v_set1((real)-60), x));
    const vec p = v_expm1_reduced(v_exp_reduce(bounded, &n));
    const vec half_scale = v_pow2(n - (real)1); /* half, so that it exists where e^x overflows */
    const vec half = v_fma(p, half_scale, half_scale - (real)0.5);
    return v_copysign(v_select((ivec)(n == (real)0), p, half + half), x);
}

/* log x for normal x > 0: x = 2^n (1 + f), log(1 + f) = f - (f^2/2 - s (f^2/2 + R(s^2))) with
 * s = f / (2 + f), as in FreeBSD's msun */
static FBP_INLINE vec v_log(vec x)
{
    const ivec sqrt_half = (ivec)v_set1((real)0.70710678118654752440);
    const ivec n_bits = ((ivec)x - sqrt_half) >> FBP_MANTISSA;
    const vec f = (vec)((ivec)x - (n_bits << FBP_MANTISSA)) - (real)1;
    const vec n = __builtin_convertvector(n_bits, vec);
    const vec s = f / (f + (real)2);
    const vec z = s * s;
    const vec half_square = f * f * (real)0.5;
    const vec ln2_hi = v_set1(FBP_BY_DTYPE(FBP_LN2_F32_HI, FBP_LN2_F64_HI));
    const vec ln2_lo = v_set1(FBP_BY_DTYPE(FBP_LN2_F32_LO, FBP_LN2_F64_LO));
    const vec tail = v_fma(s, v_fma(z, FBP_POLYNOMIAL(z, log), half_square), n * ln2_lo);
    return v_fma(n, ln2_hi, f - (half_square - tail));
}

/* log(1 + u) for 0 <= u <= 1 */
static FBP_INLINE vec v_log1p(vec u)
{
    return v_fma(u * u, FBP_POLYNOMIAL(u, log1p), u);
}

static FBP_INLINE vec v_tanh(vec x)
{
    vec low, reciprocal;
    const vec m = v_expm1_parts((real)2 * v_negated_abs(x), &low);
    return v_copysign(v_quotient(-m, v_set1((real)2), m, &reciprocal), x);
}

/* sigma(-|x|) = result * *scale, *scale being a power of two (see v_pow2_halves);
 * *other is sigma(|x|) within 2 ULP */
static FBP_INLINE vec v_sigmoid_tail(vec x, vec *scale, vec *other)
{
    vec upper;
    const vec bounded = v_max(v_set1(FBP_EXP_LOWEST), v_negated_abs(x));
    *scale = v_exp_halves(bounded, &upper);
    return v_quotient(upper, v_set1((real)1), upper * *scale, other);
}

static FBP_INLINE vec v_sigmoid(vec x)
{
    vec scale, other;
    const vec tail = v_sigmoid_tail(x, &scale, &other) * scale;
    return v_select((ivec)(x < (real)0), tail, (real)1 - tail);
}

/* log(1 + e^x); *slope is its derivative, sigma(x), within 4 ULP */
static FBP_INLINE vec v_softplus(vec x, vec *slope)
{
    const vec e = v_exp(v_negated_abs(x));
    const vec reciprocal = (real)1 / (e + (real)1);
    *slope = v_select((ivec)(x < (real)0), e * reciprocal, reciprocal);
    return v_max(v_set1((real)0), x) + v_log1p(e);
}
