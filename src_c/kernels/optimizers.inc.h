/* The optimizers: one pass over p, g and the moments (formulas: fbp_update in fastbp.h).
 *
 * Each rule is a small function on vectors that changes m and v and returns the step to
 * subtract; one driver loads, applies decay, calls the rule, guards p and stores.
 *
 * In cache the time of Adam is that of its square roots and divisions, which share one unit. Every
 * other vector takes its square root without it (`undivided`), with the same result. Close behind
 * come products and FMAs: what is finite is told by subtractions, which have units of their own on
 * some CPUs, and decays that are not asked for are left out. */

typedef struct {
    vec rate, scale, weight_decay, keep; /* keep: 1 - rate * decoupled decay */
    vec beta1, rest1, beta2, rest2, eps, correction2;
} FBP_K(constants);

static FBP_INLINE vec FBP_K(root)(const int undivided, vec x)
{
    return undivided ? v_sqrt_undivided(x) : v_sqrt(x);
}

static FBP_INLINE vec FBP_K(momentum_step)(const FBP_K(constants) *c, int nesterov, vec s, vec *m)
{
    *m = v_fma(c->beta1, *m, s);
    return c->rate * (nesterov ? v_fma(c->beta1, *m, s) : *m);
}

static FBP_INLINE vec FBP_K(adam_step)(const FBP_K(constants) *c, const int undivided, vec s,
                                       vec *m, vec *v)
{
    *m = v_fma(c->beta1, *m, c->rest1 * s);
    *v = v_fma(c->beta2, *v, c->rest2 * s * s);
    return c->rate * *m / v_fma(FBP_K(root)(undivided, *v), c->correction2, c->eps);
}

static FBP_INLINE vec FBP_K(rmsprop_scaled)(const FBP_K(constants) *c, const int undivided, vec s,
                                            vec *v)
{
    *v = v_fma(c->beta2, *v, c->rest2 * s * s);
    return s / (FBP_K(root)(undivided, *v) + c->eps);
}

static FBP_INLINE vec FBP_K(adagrad_step)(const FBP_K(constants) *c, const int undivided, vec s,
                                          vec *v)
{
    *v = v_fma(s, s, *v);
    return c->rate * s / (FBP_K(root)(undivided, *v) + c->eps);
}

static FBP_INLINE vec FBP_K(step)(int kind, int momentum, int nesterov, int undivided,
                                  const FBP_K(constants) *c, vec s, vec *m, vec *v)
{
    if (kind == FBP_ADAM) {
        return FBP_K(adam_step)(c, undivided, s, m, v);
    }
    if (kind == FBP_ADAGRAD) {
        return FBP_K(adagrad_step)(c, undivided, s, v);
    }
    if (kind == FBP_RMSPROP) {
        s = FBP_K(rmsprop_scaled)(c, undivided, s, v);
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

/* What is a compile-time constant of each call */
typedef struct {
    int kind, momentum, nesterov;
    int decays; /* weight decay or decoupled decay */
} FBP_K(rule);

static FBP_INLINE int FBP_K(has_m)(const FBP_K(rule) rule)
{
    return rule.kind == FBP_ADAM || rule.momentum;
}

static FBP_INLINE int FBP_K(has_v)(const FBP_K(rule) rule)
{
    return rule.kind != FBP_SGD;
}

typedef struct {
    vec p, m, v;
} FBP_K(values);

static FBP_INLINE FBP_K(values)
    FBP_K(load_values)(const FBP_K(rule) rule, const FBP_K(state) *at, int64_t i, int lanes)
{
    FBP_K(values) x = {v_load_n(at->p + i, lanes), {0}, {0}};
    if (FBP_K(has_m)(rule)) {
        x.m = v_load_n(at->m + i, lanes);
    }
    if (FBP_K(has_v)(rule)) {
        x.v = v_load_n(at->v + i, lanes);
    }
    return x;
}

static FBP_INLINE void FBP_K(store_values)(const FBP_K(rule) rule, const FBP_K(state) *at,
                                           int64_t i, int lanes, FBP_K(values) x)
{
    v_store_n(at->p + i, x.p, lanes);
    if (FBP_K(has_m)(rule)) {
        v_store_n(at->m + i, x.m, lanes);
    }
    if (FBP_K(has_v)(rule)) {
        v_store_n(at->v + i, x.v, lanes);
    }
}

static FBP_INLINE FBP_K(values) FBP_K(stepped)(const FBP_K(rule) rule, const int undivided,
                                               const FBP_K(constants) *c, FBP_K(values) x, vec g)
{
    const vec s = rule.decays ? v_fma(c->scale, g, c->weight_decay * x.p) : c->scale * g;
    const vec kept = rule.decays ? c->keep * x.p : x.p;
    x.p = kept - FBP_K(step)(rule.kind, rule.momentum, rule.nesterov, undivided, c, s, &x.m, &x.v);
    return x;
}

/* Zero, or NaN where something is not finite: a moment may overflow where its step does not */
static FBP_INLINE vec FBP_K(probe)(FBP_K(values) x)
{
    return (x.p - x.p) + ((x.m - x.m) + (x.v - x.v));
}

/* Stores what is finite in all its parts, and leaves the other parameters as they were. */
static FBP_INLINE void FBP_K(store_finite)(const FBP_K(rule) rule, const FBP_K(state) *at,
                                           int64_t i, int lanes, FBP_K(values) x)
{
    const FBP_K(values) old = FBP_K(load_values)(rule, at, i, lanes);
    const ivec ok = (ivec)(FBP_K(probe)(x) == (vec){0});
    x.p = v_select(ok, x.p, old.p);
    x.m = v_select(ok, x.m, old.m);
    x.v = v_select(ok, x.v, old.v);
    FBP_K(store_values)(rule, at, i, lanes, x);
}

/* What of the gradient belongs to `lanes` parameters: g, or x times dz, for which g stands then */
static FBP_INLINE vec FBP_K(gradient_vector)(const int outer, const real *g, vec x, int lanes)
{
    const vec read = lanes == VL ? v_load(g) : v_load_n(g, lanes);
    return outer ? v_fma(x, read, (vec){0}) : read;
}

/* `lanes` parameters from the i-th on; 1 if every result is finite */
static FBP_INLINE int FBP_K(update_vector)(const FBP_K(rule) rule, const int undivided,
                                           const FBP_K(constants) *c, const FBP_K(state) *at,
                                           int64_t i, int lanes, vec g)
{
    const FBP_K(values) old = FBP_K(load_values)(rule, at, i, lanes);
    const FBP_K(values) x = FBP_K(stepped)(rule, undivided, c, old, g);
    const int finite = v_all_zero(FBP_K(probe)(x));
    if (finite) {
        FBP_K(store_values)(rule, at, i, lanes, x);
    } else {
        FBP_K(store_finite)(rule, at, i, lanes, x);
    }
    return finite;
}

/* The same of two whole vectors, with one test */
static FBP_INLINE int FBP_K(update_pair)(const FBP_K(rule) rule, const FBP_K(constants) *c,
                                         const FBP_K(state) *at, int64_t i, vec g0, vec g1)
{
    const FBP_K(values) old0 = FBP_K(load_values)(rule, at, i, VL);
    const FBP_K(values) old1 = FBP_K(load_values)(rule, at, i + VL, VL);
    const FBP_K(values) x0 = FBP_K(stepped)(rule, 0, c, old0, g0);
    const FBP_K(values) x1 = FBP_K(stepped)(rule, 1, c, old1, g1);
    const int finite = v_all_zero(FBP_K(probe)(x0) + FBP_K(probe)(x1));
    if (finite) {
        FBP_K(store_values)(rule, at, i, VL, x0);
        FBP_K(store_values)(rule, at, i + VL, VL, x1);
    } else {
        FBP_K(store_finite)(rule, at, i, VL, x0);
        FBP_K(store_finite)(rule, at, i + VL, VL, x1);
    }
    return finite;
}

/* n parameters from `begin` on; outer: a row of w, by x * dz */
static FBP_INLINE int FBP_K(update_run)(const FBP_K(rule) rule, const int outer,
                                        const FBP_K(constants) *c, const FBP_K(state) *at,
                                        int64_t begin, int64_t n, real x)
{
    const FBP_K(state) here = *at; /* else read again after every store */
    const real *const g = outer ? here.dz : here.g + begin;
    const vec xs = v_set1(x);
    int finite = 1;
    int64_t i = 0;
    for (; i + 2 * VL <= n; i += 2 * VL) {
        const vec g0 = FBP_K(gradient_vector)(outer, g + i, xs, VL);
        const vec g1 = FBP_K(gradient_vector)(outer, g + i + VL, xs, VL);
        finite &= FBP_K(update_pair)(rule, c, &here, begin + i, g0, g1);
    }
    for (; i < n; i += VL) {
        const int lanes = (int)(n - i < VL ? n - i : VL);
        finite &= FBP_K(update_vector)(rule, 1, c, &here, begin + i, lanes,
                                       FBP_K(gradient_vector)(outer, g + i, xs, lanes));
    }
    return finite;
}

static FBP_INLINE int FBP_K(update_rows)(const FBP_K(rule) rule, const FBP_K(constants) *c,
                                         int64_t n, const FBP_K(state) *at)
{
    if (!at->x) {
        return FBP_K(update_run)(rule, 0, c, at, 0, n, 0);
    }
    int finite = 1;
    for (int64_t i = 0; i < n / at->n_out; i++) {
        finite &= FBP_K(update_run)(rule, 1, c, at, i * at->n_out, at->n_out, at->x[i]);
    }
    return finite;
}

static FBP_INLINE int FBP_K(update_all)(const int kind, const int momentum, const int nesterov,
                                        int decays, const FBP_K(constants) *c, int64_t n,
                                        const FBP_K(state) *at)
{
    const FBP_K(rule) plain = {kind, momentum, nesterov, 0};
    const FBP_K(rule) decaying = {kind, momentum, nesterov, 1};
    return decays ? FBP_K(update_rows)(decaying, c, n, at) : FBP_K(update_rows)(plain, c, n, at);
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
    const int decays = u->weight_decay != 0.0 || u->decoupled_decay != 0.0;
    switch (u->kind) {
    case FBP_ADAM: return FBP_K(update_all)(FBP_ADAM, 0, 0, decays, &c, n, at);
    case FBP_ADAGRAD: return FBP_K(update_all)(FBP_ADAGRAD, 0, 0, decays, &c, n, at);
    case FBP_RMSPROP:
        return momentum ? FBP_K(update_all)(FBP_RMSPROP, 1, 0, decays, &c, n, at)
                        : FBP_K(update_all)(FBP_RMSPROP, 0, 0, decays, &c, n, at);
    default:
        return !momentum     ? FBP_K(update_all)(FBP_SGD, 0, 0, decays, &c, n, at)
               : u->nesterov ? FBP_K(update_all)(FBP_SGD, 1, 1, decays, &c, n, at)
                             : FBP_K(update_all)(FBP_SGD, 1, 0, decays, &c, n, at);
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
        v_store_n((real *)out + i, v_sqrt_undivided(v_load_n((const real *)x + i, lanes)), lanes);
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
