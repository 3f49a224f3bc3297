/* Included once per dtype, after vmath.h: activations a = sigma(z) and their slopes sigma'(z).
 *
 * Each activation is a function of one vector. The loops take the activation as a constant, so that
 * the choice is made once per call and not per element. */

#define v_parameter FBP_CAT(vx_parameter, FBP_SFX)
#define v_relu FBP_CAT(vx_relu, FBP_SFX)
#define v_leaky_relu FBP_CAT(vx_leaky_relu, FBP_SFX)
#define v_elu FBP_CAT(vx_elu, FBP_SFX)
#define v_softsign FBP_CAT(vx_softsign, FBP_SFX)
#define v_silu FBP_CAT(vx_silu, FBP_SFX)
#define v_mish FBP_CAT(vx_mish, FBP_SFX)
#define v_slope_from_output FBP_CAT(vx_slope_from_output, FBP_SFX)
#define v_activation FBP_CAT(vx_activation, FBP_SFX)
#define v_activation_and_slope FBP_CAT(vx_activation_and_slope, FBP_SFX)

#define FBP_SELU_SCALE 1.0507009873554804934
#define FBP_SELU_LIMIT 1.7580993408473768599 /* scale times alpha, 1.6732632423543772848 */

/* A parameter in two parts: in float32 the first alone would cost half an ULP. */
typedef struct {
    vec high, low;
} v_parameter;

static FBP_INLINE v_parameter FBP_CAT(vx_set_parameter, FBP_SFX)(double value)
{
    const real high = (real)value;
    return (v_parameter){v_set1(high), v_set1((real)(value - (double)high))};
}

static FBP_INLINE vec v_relu(vec z)
{
    return v_max(v_set1((real)0), z) + (real)0; /* max passes NaN on, but also -0 */
}

static FBP_INLINE vec v_leaky_relu(vec z, v_parameter alpha)
{
    return v_select((ivec)(z > (real)0), z, z * alpha.high);
}

/* limit (e^z - 1) for z < 0, else slope z */
static FBP_INLINE vec v_elu(vec z, vec slope, v_parameter limit)
{
    vec low;
    const vec high = v_expm1_parts(v_min(v_set1((real)0), z), &low);
    const vec negative = v_fma(high, limit.high, v_fma(high, limit.low, low * limit.high));
    return v_select((ivec)(z >= (real)0), z * slope, negative);
}

static FBP_INLINE vec v_softsign(vec z)
{
    const vec size = v_min(v_set1((real)0x1p60), v_abs(z)); /* infinity / infinity is none */
    return v_copysign(size / (size + (real)1), z);
}

/* In these functions the negated absolute value restores the sign of a result that underflows. */
static FBP_INLINE vec v_silu(vec z, vec *slope)
{
    const vec minus_size = v_max(v_set1(FBP_EXP_LOWEST), v_negated_abs(z));
    const vec bounded = v_copysign(minus_size, z);
    const v_scaled exp = v_exp_scaled(minus_size);
    const v_quotient q = v_divide(exp.high, exp.low, v_set1((real)-1), v_ldexp(exp.high, exp.n),
                                  v_ldexp(exp.low, exp.n));
    const vec tail = v_ldexp(q.high + q.low, exp.n);
    const vec negative = v_fma(minus_size, q.high, minus_size * q.low);
    *slope = v_fma(bounded * tail, q.reciprocal, v_select_sign(z, tail, q.reciprocal));
    return v_select_sign(z, v_negated_abs(v_ldexp(negative, exp.n)), v_fma(minus_size, tail, z));
}

/* z tanh(log(1 + e^z)). With e = e^-|z| the tanh is q = (2 e + e^2) / (2 + 2 e + e^2) for z < 0 and
 * else 1 - q, q = 2 e^2 / (1 + 2 e + 2 e^2); its derivative is 4 e (1 + e) / (2 + 2 e + e^2)^2 and
 * 4 e^2 (1 + e) / (1 + 2 e + 2 e^2)^2. */
static FBP_INLINE vec v_mish(vec z, vec *slope)
{
    const vec minus_size = v_max(v_set1(FBP_EXP_LOWEST), v_negated_abs(z));
    const v_scaled exp = v_exp_scaled(minus_size);
    const vec e = v_ldexp(exp.high, exp.n);
    const vec twice = e + e;
    /* numerator for z < 0, without the factor 2^n */
    const vec num = v_fma(exp.high, e, exp.high + exp.high);
    const vec num_low = v_fma(exp.high, e, exp.high + exp.high - num) + (exp.low + exp.low);
    const v_quotient q =
        v_divide(v_select_sign(z, num, twice * e), v_select_sign(z, num_low, v_set1((real)0)),
                 v_select_sign(z, v_set1((real)-2), v_set1((real)-1)),
                 v_select_sign(z, v_ldexp(num, exp.n), v_fma(twice, e, twice)), (vec){0});
    const vec sum = q.high + q.low;
    const vec d_tanh = v_select_sign(z, e, e * e) * (e + (real)1) * (real)4;
    *slope = v_fma(v_copysign(minus_size, z) * d_tanh, q.reciprocal * q.reciprocal,
                   v_select_sign(z, v_ldexp(sum, exp.n), (real)1 - sum));
    const vec negative = v_fma(minus_size, q.high, minus_size * q.low);
    return v_select_sign(z, v_negated_abs(v_ldexp(negative, exp.n)), v_fma(minus_size, sum, z));
}

/* sigma'(z) from a = sigma(z), for the activations of which it is a function */
static FBP_INLINE vec v_slope_from_output(int activation, v_parameter alpha, vec a)
{
    const vec one = v_set1((real)1);
    const ivec positive = (ivec)(a > (real)0);
    switch (activation) {
    case FBP_RELU: return v_select(positive, one, v_set1((real)0));
    case FBP_LEAKY_RELU: return v_select(positive, one, alpha.high);
    case FBP_ELU: return v_select(positive, one, a + alpha.high);
    case FBP_SELU:
        return v_select(positive, v_set1((real)FBP_SELU_SCALE), a + (real)FBP_SELU_LIMIT);
    case FBP_SIGMOID: return a * (one - a);
    case FBP_TANH: return v_fma(-a, a, one);
    case FBP_SOFTSIGN: return (one - v_abs(a)) * (one - v_abs(a));
    default: return one; /* FBP_IDENTITY */
    }
}

/* sigma(z), and sigma'(z) for the activations that keep it (else *slope is not written) */
static FBP_INLINE vec v_activation(int activation, v_parameter alpha, vec z, vec *slope)
{
    switch (activation) {
    case FBP_RELU: return v_relu(z);
    case FBP_LEAKY_RELU: return v_leaky_relu(z, alpha);
    case FBP_ELU: return v_elu(z, v_set1((real)1), alpha);
    case FBP_SELU:
        return v_elu(z, v_set1((real)FBP_SELU_SCALE),
                     FBP_CAT(vx_set_parameter, FBP_SFX)(FBP_SELU_LIMIT));
    case FBP_SIGMOID: return v_sigmoid(z);
    case FBP_TANH: return v_tanh(z);
    case FBP_SOFTSIGN: return v_softsign(z);
    case FBP_SOFTPLUS: return v_softplus(z, slope);
    case FBP_GELU: return v_gelu(z, slope);
    case FBP_SILU: return v_silu(z, slope);
    case FBP_MISH: return v_mish(z, slope);
    default: return z; /* FBP_IDENTITY */
    }
}

static FBP_INLINE vec v_activation_and_slope(int activation, v_parameter alpha, vec z, vec *slope)
{
    const vec a = v_activation(activation, alpha, z, slope);
    if (!fbp_keeps_slope(activation)) {
        *slope = v_slope_from_output(activation, alpha, a);
    }
    return a;
}

/* The loop of `activate_rows` for one activation (a constant); `slope` may be NULL. */
static FBP_INLINE void FBP_K(activate_as)(int activation, double alpha, int64_t n_rows, int64_t n,
                                          int64_t ld, const real *z, real *a, real *slope)
{
    const v_parameter parameter = FBP_CAT(vx_set_parameter, FBP_SFX)(alpha);
    const int rest = (int)(n % VL);
    for (int64_t r = 0; r < n_rows; r++, z += ld, a += ld, slope = slope ? slope + ld : NULL) {
        vec d;
        int64_t i = 0;
        for (; i + VL <= n; i += VL) {
            v_store(a + i, v_activation_and_slope(activation, parameter, v_load(z + i), &d));
            if (slope != NULL) {
                v_store(slope + i, d);
            }
        }
        if (rest > 0) {
            const vec tail = v_load_n(z + i, rest);
            v_store_n(a + i, v_activation_and_slope(activation, parameter, tail, &d), rest);
            if (slope != NULL) {
                v_store_n(slope + i, d, rest);
            }
        }
    }
}

static FBP_INLINE void FBP_K(activate_switch)(int activation, double alpha, int64_t n_rows,
                                              int64_t n, int64_t ld, const real *z, real *a,
                                              real *slope)
{
    switch (activation) {
#define FBP_CASE(code, name)                                                                       \
    case code: FBP_K(activate_as)(code, alpha, n_rows, n, ld, z, a, slope); break;
        FBP_ACTIVATIONS(FBP_CASE)
#undef FBP_CASE
    default: break;
    }
}

static void FBP_K(activate_values)(int activation, double alpha, int64_t n_rows, int64_t n,
                                   int64_t ld, const real *z, real *a)
{
    FBP_K(activate_switch)(activation, alpha, n_rows, n, ld, z, a, NULL);
}

static void FBP_K(activate_values_and_slopes)(int activation, double alpha, int64_t n_rows,
                                              int64_t n, int64_t ld, const real *z, real *a,
                                              real *slope)
{
    FBP_K(activate_switch)(activation, alpha, n_rows, n, ld, z, a, slope);
}

/* fbp_kernels.activate on n columns of n_rows rows, ld apart: what other kernels call */
static void FBP_K(activate_rows)(int activation, double alpha, int64_t n_rows, int64_t n,
                                 int64_t ld, const real *z, real *a, real *slope)
{
    if (slope != NULL) {
        FBP_K(activate_values_and_slopes)(activation, alpha, n_rows, n, ld, z, a, slope);
    } else if (activation != FBP_IDENTITY || z != a) {
        FBP_K(activate_values)(activation, alpha, n_rows, n, ld, z, a);
    }
}

static void FBP_K(activate)(int activation, double alpha, int64_t n_rows, int64_t n, int64_t ld,
                            const void *z, void *a, void *slope)
{
    FBP_K(activate_rows)(activation, alpha, n_rows, n, ld, z, a, slope);
}

/* dz *= slope */
static void FBP_K(times_stored_slope)(int64_t n_rows, int64_t n, int64_t ld, const real *slope,
                                      real *dz)
{
    const int rest = (int)(n % VL);
    for (int64_t r = 0; r < n_rows; r++, slope += ld, dz += ld) {
        int64_t i = 0;
        for (; i + VL <= n; i += VL) {
            v_store(dz + i, v_load(dz + i) * v_load(slope + i));
        }
        v_store_n(dz + i, v_load_n(dz + i, rest) * v_load_n(slope + i, rest), rest);
    }
}

/* dz *= sigma'(z) from a, for one activation (a constant) */
static FBP_INLINE void FBP_K(times_slope_as)(int activation, double alpha, int64_t n_rows,
                                             int64_t n, int64_t ld, const real *a, real *dz)
{
    const v_parameter parameter = FBP_CAT(vx_set_parameter, FBP_SFX)(alpha);
    const int rest = (int)(n % VL);
    for (int64_t r = 0; r < n_rows; r++, a += ld, dz += ld) {
        int64_t i = 0;
        for (; i + VL <= n; i += VL) {
            const vec slope = v_slope_from_output(activation, parameter, v_load(a + i));
            v_store(dz + i, v_load(dz + i) * slope);
        }
        if (rest > 0) {
            const vec slope = v_slope_from_output(activation, parameter, v_load_n(a + i, rest));
            v_store_n(dz + i, v_load_n(dz + i, rest) * slope, rest);
        }
    }
}

/* fbp_kernels.times_slope on n columns of n_rows rows, ld apart */
static void FBP_K(times_slope_rows)(int activation, double alpha, int64_t n_rows, int64_t n,
                                    int64_t ld, const real *a, const real *slope, real *dz)
{
    switch (activation) {
#define FBP_CASE(name)                                                                             \
    case name: FBP_K(times_slope_as)(name, alpha, n_rows, n, ld, a, dz); break;
        FBP_CASE(FBP_RELU)
        FBP_CASE(FBP_LEAKY_RELU)
        FBP_CASE(FBP_ELU)
        FBP_CASE(FBP_SELU)
        FBP_CASE(FBP_SIGMOID)
        FBP_CASE(FBP_TANH)
        FBP_CASE(FBP_SOFTSIGN)
#undef FBP_CASE
    case FBP_IDENTITY: break;
    default: FBP_K(times_stored_slope)(n_rows, n, ld, slope, dz); break;
    }
}

static void FBP_K(times_slope)(int activation, double alpha, int64_t n_rows, int64_t n, int64_t ld,
                               const void *a, const void *slope, void *dz)
{
    FBP_K(times_slope_rows)(activation, alpha, n_rows, n, ld, a, slope, dz);
}
