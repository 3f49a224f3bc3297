/* The optimizers: one pass over p, g and the moments (formulas: fbp_update in fastbp.h).
 *
 * Each rule is a small function on vectors that changes m and v and returns the step to
 * subtract; one driver loads, applies decay, calls the rule, guards p and stores. */

typedef struct {
    vec rate, scale, weight_decay, keep; /* keep: 1 - rate * decoupled decay */
    vec beta1, rest1, beta2, rest2, eps, correction2;
} FBP_K(constants);

static FBP_INLINE vec FBP_K(momentum_step)(const FBP_K(constants) *c, int nesterov, vec s, vec *m)
{
    *m = v_fma(c->beta1, *m, s);
    return c->rate * (nesterov ? v_fma(c->beta1, *m, s) : *m);
}

static FBP_INLINE vec FBP_K(adam_step)(const FBP_K(constants) *c, vec s, vec *m, vec *v)
{
    *m = v_fma(c->beta1, *m, c->rest1 * s);
    *v = v_fma(c->beta2, *v, c->rest2 * s * s);
    return c->rate * *m / v_fma(v_sqrt(*v), c->correction2, c->eps);
}

static FBP_INLINE vec FBP_K(rmsprop_scaled)(const FBP_K(constants) *c, vec s, vec *v)
{
    *v = v_fma(c->beta2, *v, c->rest2 * s * s);
    return s / (v_sqrt(*v) + c->eps);
}

static FBP_INLINE vec FBP_K(adagrad_step)(const FBP_K(constants) *c, vec s, vec *v)
{
    *v = v_fma(s, s, *v);
    return c->rate * s / (v_sqrt(*v) + c->eps);
}

static FBP_INLINE vec FBP_K(step)(int kind, int momentum, int nesterov, const FBP_K(constants) *c,
                                  vec s, vec *m, vec *v)
{
    if (kind == FBP_ADAM) {
        return FBP_K(adam_step)(c, s, m, v);
    }
    if (kind == FBP_ADAGRAD) {
        return FBP_K(adagrad_step)(c, s, v);
    }
    if (kind == FBP_RMSPROP) {
        s = FBP_K(rmsprop_scaled)(c, s, v);
    }
    return momentum ? FBP_K(momentum_step)(c, nesterov, s, m) : c->rate * s;
}

typedef struct {
    real *p;
    const real *g;
    real *m, *v;
    const real *x, *dz; /* of one sample, whose gradient x dz^T is not in g; NULL: it is */
    int64_t n_out;
} FBP_K(state);

/* `lanes` parameters from the i-th on, with the gradient g; 1 if every result is finite. kind,
 * momentum and nesterov are compile-time constants of each call. */
static FBP_INLINE int FBP_K(update_vector)(const int kind, const int momentum, const int nesterov,
                                           const FBP_K(constants) *c, const FBP_K(state) *at,
                                           int64_t i, int lanes, vec g)
{
    const int has_m = kind == FBP_ADAM || momentum, has_v = kind != FBP_SGD;
    const vec old = v_load_n(at->p + i, lanes), zero = {0};
    const vec s = v_fma(c->scale, g, c->weight_decay * old);
    const vec old_m = has_m ? v_load_n(at->m + i, lanes) : zero;
    const vec old_v = has_v ? v_load_n(at->v + i, lanes) : zero;
    vec m = old_m, v = old_v;
    vec next = c->keep * old - FBP_K(step)(kind, momentum, nesterov, c, s, &m, &v);
    /* zero, or NaN where something is not finite: a moment may overflow where its step does not */
    const vec probe = v_fma(next, zero, v_fma(m, zero, v * zero));
    const int finite = v_all_zero(probe);
    if (!finite) {
        const ivec ok = (ivec)(probe == zero);
        next = v_select(ok, next, old);
        m = v_select(ok, m, old_m);
        v = v_select(ok, v, old_v);
    }
    v_store_n(at->p + i, next, lanes);
    if (has_m) {
        v_store_n(at->m + i, m, lanes);
    }
    if (has_v) {
        v_store_n(at->v + i, v, lanes);
    }
    return finite;
}

/* n parameters from the i-th on: by g, or (outer) by x * dz, of which this is one row */
static FBP_INLINE int FBP_K(update_run)(const int kind, const int momentum, const int nesterov,
                                        const int outer, const FBP_K(constants) *c,
                                        const FBP_K(state) *at, int64_t begin, int64_t n, real x)
{
    const real *const g = outer ? at->dz : at->g + begin;
    const vec x_lanes = v_set1(x), zero = {0};
    int finite = 1;
    for (int64_t i = 0; i < n; i += VL) {
        const int full = n - i >= VL, lanes = full ? VL : (int)(n - i);
        const vec read = full ? v_load(g + i) : v_load_n(g + i, lanes);
        const vec gradient = outer ? v_fma(x_lanes, read, zero) : read;
        finite &= full ? FBP_K(update_vector)(kind, momentum, nesterov, c, at, begin + i, VL,
                                              gradient)
                       : FBP_K(update_vector)(kind, momentum, nesterov, c, at, begin + i, lanes,
                                              gradient);
    }
    return finite;
}

static FBP_INLINE int FBP_K(update_all)(const int kind, const int momentum, const int nesterov,
                                        const FBP_K(constants) *c, int64_t n,
                                        const FBP_K(state) *at)
{
    if (!at->x) {
        return FBP_K(update_run)(kind, momentum, nesterov, 0, c, at, 0, n, 0);
    }
    int finite = 1;
    for (int64_t i = 0; i < n / at->n_out; i++) {
        finite &= FBP_K(update_run)(kind, momentum, nesterov, 1, c, at, i * at->n_out, at->n_out,
                                    at->x[i]);
    }
    return finite;
}

static int FBP_K(update_by)(const fbp_update *u, int64_t n, const FBP_K(state) *at)
{
    const FBP_K(constants) c = {
        .rate = v_set1((real)(u->kind == FBP_ADAM ? u->rate / u->correction1 : u->rate)),
        .scale = v_set1((real)u->scale),
        .weight_decay = v_set1((real)u->weight_decay),
        .keep = v_set1((real)(1.0 - u->rate * u->decoupled_decay)),
        .beta1 = v_set1((real)u->beta1),
        .rest1 = v_set1((real)(1.0 - u->beta1)),
        .beta2 = v_set1((real)u->beta2),
        .rest2 = v_set1((real)(1.0 - u->beta2)),
        .eps = v_set1((real)u->eps),
        .correction2 = v_set1((real)(1.0 / u->correction2)),
    };
    const int momentum = u->beta1 != 0.0;
    switch (u->kind) {
    case FBP_ADAM: return FBP_K(update_all)(FBP_ADAM, 0, 0, &c, n, at);
    case FBP_ADAGRAD: return FBP_K(update_all)(FBP_ADAGRAD, 0, 0, &c, n, at);
    case FBP_RMSPROP:
        return momentum ? FBP_K(update_all)(FBP_RMSPROP, 1, 0, &c, n, at)
                        : FBP_K(update_all)(FBP_RMSPROP, 0, 0, &c, n, at);
    default:
        return !momentum     ? FBP_K(update_all)(FBP_SGD, 0, 0, &c, n, at)
               : u->nesterov ? FBP_K(update_all)(FBP_SGD, 1, 1, &c, n, at)
                             : FBP_K(update_all)(FBP_SGD, 1, 0, &c, n, at);
    }
}

static int FBP_K(update)(const fbp_update *u, int64_t n, void *p, const void *g, void *m, void *v)
{
    const FBP_K(state) at = {.p = p, .g = g, .m = m, .v = v};
    return FBP_K(update_by)(u, n, &at);
}

static int FBP_K(update_outer)(const fbp_update *u, const void *x, int64_t n_in, const void *dz,
                               int64_t n_out, void *p, void *m, void *v)
{
    const FBP_K(state) at = {.p = p, .m = m, .v = v, .x = x, .dz = dz, .n_out = n_out};
    return FBP_K(update_by)(u, n_in * n_out, &at);
}

static void FBP_K(square_root)(int64_t n, const void *x, void *out)
{
    for (int64_t i = 0; i < n; i += VL) {
        const int lanes = (int)(n - i < VL ? n - i : VL);
        v_store_n((real *)out + i, v_sqrt(v_load_n((const real *)x + i, lanes)), lanes);
    }
}

static double FBP_K(sum_of_squares)(const void *g, int64_t n)
{
    const real *const x = g;
    double lanes[FBP_SUM_LANES] = {0};
    int64_t i = 0;
    for (; i + FBP_SUM_LANES <= n; i += FBP_SUM_LANES) {
        for (int l = 0; l < FBP_SUM_LANES; l++) {
            lanes[l] += (double)x[i + l] * (double)x[i + l];
        }
    }
    for (int l = 0; i < n; i++, l++) {
        lanes[l] += (double)x[i] * (double)x[i];
    }
    double sum = 0;
    for (int l = 0; l < FBP_SUM_LANES; l++) {
        sum += lanes[l];
    }
    return sum;
}
