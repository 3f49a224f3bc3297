/* Included by vmath.h once per dtype: elementary functions of vectors.
 *
 * Each is one sequence of operations on every instruction set, and where a product must be exact it
 * is so with and without FMA. NaN gives NaN; results may be denormal. Where x is bounded,
 * the bound is the first operand of v_max or v_min, which then pass NaN on. */

#define FBP_LENGTH(table) ((int)(sizeof(table) / sizeof((table)[0])))
/* v_polynomial of the dtype's table: FBP_POLYNOMIAL(x, exp, 0) uses fbp_exp_f32 or fbp_exp_f64 */
#define FBP_POLYNOMIAL(x, name, n_head) FBP_POLYNOMIAL_OF(x, FBP_CAT(fbp_##name, FBP_SFX), n_head)
#define FBP_POLYNOMIAL_OF(x, table, n_head) v_polynomial((x), (table), FBP_LENGTH(table), (n_head))

/* a bound past which e^x is 0 even when multiplied by x */
#define FBP_EXP_LOWEST FBP_BY_DTYPE(-120, -760)
/* a bound past which e^x overflows, and 2^(n-1) of its n does not */
#define FBP_EXP_HIGHEST FBP_BY_DTYPE(88.9, 709.9)

#define v_negated_abs FBP_CAT(vx_negated_abs, FBP_SFX)
#define v_upper_half FBP_CAT(vx_upper_half, FBP_SFX)
#define v_polynomial FBP_CAT(vx_polynomial, FBP_SFX)
#define v_quotient FBP_CAT(vx_quotient, FBP_SFX)
#define v_divide FBP_CAT(vx_divide, FBP_SFX)
#define v_exp_reduce FBP_CAT(vx_exp_reduce, FBP_SFX)
#define v_expm1_reduced FBP_CAT(vx_expm1_reduced, FBP_SFX)
#define v_scaled FBP_CAT(vx_scaled, FBP_SFX)
#define v_exp_scaled FBP_CAT(vx_exp_scaled, FBP_SFX)
#define v_expm1_parts FBP_CAT(vx_expm1_parts, FBP_SFX)
#define v_exp FBP_CAT(vx_exp, FBP_SFX)
#define v_log FBP_CAT(vx_log, FBP_SFX)
#define v_log1p FBP_CAT(vx_log1p, FBP_SFX)
#define v_tanh FBP_CAT(vx_tanh, FBP_SFX)
#define v_sigmoid FBP_CAT(vx_sigmoid, FBP_SFX)
#define v_softplus FBP_CAT(vx_softplus, FBP_SFX)

typedef struct {
    vec high, low, reciprocal;
} v_quotient; /* see v_divide */

/* (high + low) 2^n. Where e^x is not the last step, scaling waits for the last, so that a denormal
 * result is rounded once. */
typedef struct {
    vec high, low, n;
} v_scaled;

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

/* c[0] + c[1] x + ... + c[n-1] x^(n-1): Horner's rule for the first n_head coefficients, and for
 * the rest four interleaved polynomials of x^4, which are short chains of dependent operations but
 * round more where terms of opposite sign are large */
static FBP_INLINE vec v_polynomial(vec x, const double *c, int n, int n_head)
{
    const vec x2 = x * x;
    const vec x4 = x2 * x2;
    vec part[4] = {{0}};
#pragma GCC unroll 32
    for (int i = n - 1; i >= n_head; i--) {
        const int j = (i - n_head) % 4;
        const vec coefficient = v_set1((real)c[i]);
        part[j] = i + 4 < n ? v_fma(part[j], x4, coefficient) : coefficient;
    }
    vec sum = v_fma(v_fma(part[3], x, part[2]), x2, v_fma(part[1], x, part[0]));
#pragma GCC unroll 32
    for (int i = n_head - 1; i >= 0; i--) {
        sum = v_fma(sum, x, v_set1((real)c[i]));
    }
    return sum;
}

/* (num + num_low) / (c + b + b_low) for c = 1, 2 or 5, given as minus_c, and b >= -1, nearly as if
 * with twice the precision: high + low, of which high has half the bits; reciprocal is
 * 1 / (c + b) within 2 ULP */
static FBP_INLINE v_quotient v_divide(vec num, vec num_low, vec minus_c, vec b, vec b_low)
{
    const vec minus_den = minus_c - b;
    const vec minus_high = v_upper_half(minus_den);
    const vec minus_low = ((minus_c - minus_high) - b) - b_low;
    const vec reciprocal = (real)-1 / minus_den;
    const vec q = v_upper_half(num * reciprocal);
    const vec rest = v_fma(q, minus_high, num) + v_fma(q, minus_low, num_low);
    return (v_quotient){q, rest * reciprocal, reciprocal};
}

/* x - n ln 2, at most ln 2 / 2 in size, and the integer n */
static FBP_INLINE vec v_exp_reduce(vec x, vec *n)
{
    const vec log2_e = v_set1((real)1.44269504088896340736);
    const vec minus_ln2_hi = v_set1(FBP_BY_DTYPE(-FBP_LN2_F32_HI, -FBP_LN2_F64_HI));
    const vec minus_ln2_lo = v_set1(FBP_BY_DTYPE(-FBP_LN2_F32_LO, -FBP_LN2_F64_LO));
    *n = v_fma(x, log2_e, v_set1(FBP_SHIFTER)) - FBP_SHIFTER;
    return v_fma(*n, minus_ln2_lo, v_fma(*n, minus_ln2_hi, x));
}

/* e^r - 1 for |r| <= ln 2 / 2 */
static FBP_INLINE vec v_expm1_reduced(vec r)
{
    return v_fma(r * r, FBP_POLYNOMIAL(r, exp, 0), r);
}

/* e^x for FBP_EXP_LOWEST <= x <= FBP_EXP_HIGHEST; low is below half an ULP of high */
static FBP_INLINE v_scaled v_exp_scaled(vec x)
{
    vec n;
    const vec p = v_expm1_reduced(v_exp_reduce(x, &n));
    const vec high = p + (real)1;
    return (v_scaled){high, p - (high - (real)1), n};
}

static FBP_INLINE vec v_exp(vec x)
{
    x = v_min(v_set1(FBP_EXP_HIGHEST), v_max(v_set1(FBP_EXP_LOWEST), x));
    const v_scaled exp = v_exp_scaled(x);
    return v_ldexp(exp.high, exp.n);
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
    const vec tail = v_fma(s, v_fma(z, FBP_POLYNOMIAL(z, log, 0), half_square), n * ln2_lo);
    return v_fma(n, ln2_hi, f - (half_square - tail));
}

/* log(1 + u) for 0 <= u <= 1 */
static FBP_INLINE vec v_log1p(vec u)
{
    return v_fma(u * u, FBP_POLYNOMIAL(u, log1p, 5), u);
}

static FBP_INLINE vec v_tanh(vec x)
{
    vec low;
    const vec m = v_expm1_parts((real)2 * v_negated_abs(x), &low);
    const v_quotient q = v_divide(m, low, v_set1((real)-2), m, low);
    return v_copysign(q.high + q.low, x);
}

static FBP_INLINE vec v_sigmoid(vec x)
{
    const v_scaled exp = v_exp_scaled(v_max(v_set1(FBP_EXP_LOWEST), v_negated_abs(x)));
    const vec e = v_ldexp(exp.high, exp.n);
    const vec low = v_ldexp(exp.low, exp.n);
    const v_quotient q = v_divide(e, low, v_set1((real)-1), e, low);
    const vec tail = q.high + q.low;
    return v_select_sign(x, tail, (real)1 - tail);
}

/* log(1 + e^x); *slope is its derivative, sigma(x), within 4 ULP */
static FBP_INLINE vec v_softplus(vec x, vec *slope)
{
    const v_scaled exp = v_exp_scaled(v_max(v_set1(FBP_EXP_LOWEST), v_negated_abs(x)));
    const vec e = v_ldexp(exp.high, exp.n);
    const vec low = v_ldexp(exp.low, exp.n);
    const vec reciprocal = (real)1 / (e + (real)1);
    *slope = v_select_sign(x, e * reciprocal, reciprocal);
    /* max(x, 0) + e + e^2 P(e), and what was lost in e (1 - e / 2 is near enough to the derivative
     * there) and in the sum of the two largest terms */
    const vec positive = v_max(v_set1((real)0), x);
    const vec sum = positive + e;
    const vec e_in_sum = sum - positive;
    const vec lost = (positive - (sum - e_in_sum)) + (e - e_in_sum);
    const vec correction = v_fma(low * e, v_set1((real)-0.5), low) + lost;
    const vec result = v_fma(e * e, FBP_POLYNOMIAL(e, log1p, 5), correction) + sum;
    return v_select((ivec)(x > (real)64), x, result); /* infinity - infinity is NaN above */
}
