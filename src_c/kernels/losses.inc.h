/* Losses: l of each sample in float64, and dl/da. Everything is computed from the last layer's
 * output, never from probabilities: log-sum-exp for softmax, softplus for binary cross-entropy, e^z
 * for Poisson. So the loss of finite outputs is finite wherever float64 can hold it.
 *
 * Work goes in pieces of FBP_PIECE elements, on the stack: whole rows of z while they are
 * narrow, else parts of one row. */

/* Elements of a piece: rows x columns of z, y (both contiguous, columns wide) -> l and d = dl/da */
typedef struct {
    int64_t rows, columns;
    const double *parameters; /* of the first column */
    const real *z, *y;
    double *l;
    real *d;
} FBP_K(piece);

static void FBP_K(squared_error)(const FBP_K(piece) *p)
{
    for (int64_t i = 0; i < p->rows * p->columns; i++) {
        const double e = (double)p->z[i] - (double)p->y[i];
        p->l[i] = 0.5 * e * e;
        p->d[i] = (real)e;
    }
}

static void FBP_K(absolute_error)(const FBP_K(piece) *p)
{
    for (int64_t i = 0; i < p->rows * p->columns; i++) {
        const double e = (double)p->z[i] - (double)p->y[i];
        p->l[i] = e < 0 ? -e : e;
        p->d[i] = (real)((e > 0) - (e < 0));
    }
}

static void FBP_K(huber)(const FBP_K(piece) *p)
{
    for (int64_t r = 0, i = 0; r < p->rows; r++) {
        for (int64_t j = 0; j < p->columns; j++, i++) {
            const double e = (double)p->z[i] - (double)p->y[i], size = e < 0 ? -e : e;
            const double delta = p->parameters[j];
            const double slope = e > delta ? delta : e < -delta ? -delta : e;
            p->l[i] = size <= delta ? 0.5 * e * e : delta * (size - 0.5 * delta);
            p->d[i] = (real)slope;
        }
    }
}

static void FBP_K(pinball)(const FBP_K(piece) *p)
{
    for (int64_t r = 0, i = 0; r < p->rows; r++) {
        for (int64_t j = 0; j < p->columns; j++, i++) {
            const double e = (double)p->z[i] - (double)p->y[i], quantile = p->parameters[j];
            p->l[i] = e > 0 ? (1.0 - quantile) * e : -quantile * e;
            p->d[i] = (real)(e > 0 ? 1.0 - quantile : e < 0 ? -quantile : 0.0);
        }
    }
}

/* l = e^z - y z */
static void FBP_K(poisson)(const FBP_K(piece) *p)
{
    const int64_t n = p->rows * p->columns;
    for (int64_t i = 0; i < n; i++) {
        p->l[i] = (double)p->z[i];
    }
    FBP_CAT(fbp_exp_each, FBP_ISA)(p->l, n);
    for (int64_t i = 0; i < n; i++) {
        p->d[i] = (real)(p->l[i] - (double)p->y[i]);
        p->l[i] -= (double)p->y[i] * (double)p->z[i];
    }
}

/* The largest value that a cross-entropy may give */
static FBP_INLINE double FBP_K(most)(const double *parameters)
{
    return parameters[0] > 0 ? parameters[0] : __builtin_inf();
}

/* l = max(z, 0) - y z + log(1 + e^-|z|), but at most `most` */
static void FBP_K(binary_cross_entropy)(const FBP_K(piece) *p)
{
    const int64_t n = p->rows * p->columns;
    const double most = FBP_K(most)(p->parameters);
    for (int64_t i = 0; i < n; i += VL) {
        const int lanes = (int)(n - i < VL ? n - i : VL);
        const vec z = v_load_n(p->z + i, lanes);
        real soft[VL];
        v_store(soft, v_log1p(v_exp(-v_abs(z))));
        v_store_n(p->d + i, v_sigmoid(z) - v_load_n(p->y + i, lanes), lanes);
        for (int l = 0; l < lanes; l++) {
            const double zl = (double)p->z[i + l], hinge = zl > 0 ? zl : 0;
            const double l_n = hinge - (double)p->y[i + l] * zl + (double)soft[l];
            p->l[i + l] = l_n > most ? most : l_n;
        }
    }
}

static void FBP_K(elementwise)(int kind, const FBP_K(piece) *p)
{
    switch (kind) {
    case FBP_SQUARED_ERROR: FBP_K(squared_error)(p); break;
    case FBP_ABSOLUTE_ERROR: FBP_K(absolute_error)(p); break;
    case FBP_HUBER: FBP_K(huber)(p); break;
    case FBP_PINBALL: FBP_K(pinball)(p); break;
    case FBP_POISSON: FBP_K(poisson)(p); break;
    default: FBP_K(binary_cross_entropy)(p); break;
    }
}

static FBP_INLINE int64_t FBP_K(sample)(const fbp_samples *s, int64_t r)
{
    return s->order ? s->order[r] : r;
}

/* row_loss[r] = weight * row_loss[r], d[r] = weight * d[r]; 1 if all losses are finite */
static int FBP_K(weigh)(const fbp_samples *s, int64_t row0, int64_t n_rows, int64_t n_out,
                        double *row_loss, real *d)
{
    int finite = 1;
    for (int64_t r = 0; r < n_rows; r++) {
        if (s->weight) {
            const double weight = s->weight[FBP_K(sample)(s, row0 + r)];
            row_loss[r] *= weight;
            for (int64_t j = 0; j < n_out; j++) {
                d[r * n_out + j] *= (real)weight;
            }
        }
        finite &= row_loss[r] - row_loss[r] == 0.0;
    }
    return finite;
}

/* All losses that are sums over the outputs, each from its own output */
static void FBP_K(loss_elementwise)(int kind, const double *parameters, const fbp_samples *s,
                                    int64_t row0, int64_t n_rows, const real *a, int64_t n_out,
                                    double *row_loss, real *d)
{
    real y[FBP_PIECE];
    double l[FBP_PIECE];
    const int64_t columns = n_out < FBP_PIECE ? n_out : FBP_PIECE, rows = FBP_PIECE / columns;
    for (int64_t r = 0; r < n_rows; r += rows) {
        const int64_t n = n_rows - r < rows ? n_rows - r : rows;
        for (int64_t j = 0; j < n_out; j += columns) {
            const int64_t width = n_out - j < columns ? n_out - j : columns;
            for (int64_t i = 0; i < n; i++) {
                const real *target = (const real *)s->y + FBP_K(sample)(s, row0 + r + i) * n_out;
                memcpy(y + i * width, target + j, (size_t)width * sizeof(real));
            }
            const FBP_K(piece) p = {n, width, parameters + j,   a + r * n_out + j,
                                    y, l,     d + r * n_out + j};
            FBP_K(elementwise)(kind, &p);
            for (int64_t i = 0; i < n; i++) {
                double sum = j ? row_loss[r + i] : 0.0;
                for (int64_t c = 0; c < width; c++) {
                    sum += l[i * width + c];
                }
                row_loss[r + i] = sum;
            }
        }
    }
}

/* out = exp(a - largest of the row) for n_rows rows; largest[r] is that maximum. out may be a. */
static void FBP_K(shifted_exp)(const real *a, int64_t n_rows, int64_t n_out, real *out,
                               real *largest)
{
    for (int64_t r = 0; r < n_rows; r++) {
        const real *const z = a + r * n_out;
        real top = z[0];
        for (int64_t j = 1; j < n_out; j++) {
            top = z[j] > top ? z[j] : top;
        }
        for (int64_t j = 0; j < n_out; j++) {
            out[r * n_out + j] = z[j] - top;
        }
        largest[r] = top;
    }
    const int64_t n = n_rows * n_out;
    for (int64_t i = 0; i < n; i += VL) {
        const int lanes = (int)(n - i < VL ? n - i : VL);
        v_store_n(out + i, v_exp(v_load_n(out + i, lanes)), lanes);
    }
}

static FBP_INLINE double FBP_K(row_sum)(const real *x, int64_t n)
{
    double sum = 0;
    for (int64_t j = 0; j < n; j++) {
        sum += (double)x[j];
    }
    return sum;
}

/* With e_j = exp(z_j - top) and sum = sum_j e_j, from one row: returns l - log(sum) * (sum of y)
 * and turns e into dl/dz = softmax(z) * (sum of y) - y. */
static FBP_INLINE double FBP_K(softmax_row)(const real *z, int64_t n_out, const real *y, double top,
                                            double sum, double *y_sum, real *e)
{
    double linear = 0, total = 0;
    for (int64_t j = 0; j < n_out; j++) {
        total += (double)y[j];
        linear += y[j] != 0 ? (double)y[j] * (top - (double)z[j]) : 0.0;
    }
    const real scale = (real)(total / sum);
    for (int64_t j = 0; j < n_out; j++) {
        e[j] = e[j] * scale - y[j];
    }
    *y_sum = total;
    return linear;
}

/* At most FBP_PIECE rows; the loss of each is at most `most` */
static void FBP_K(softmax_rows)(double most, const fbp_samples *s, int64_t row0, int64_t n_rows,
                                const real *a, int64_t n_out, double *row_loss, real *d)
{
    real largest[FBP_PIECE];
    double sums[FBP_PIECE];
    int32_t labels[FBP_PIECE];
    /* all at once, as those of shuffled rows may be far away and would be waited for one by one */
    for (int64_t r = 0; s->labels && r < n_rows; r++) {
        labels[r] = ((const int32_t *)s->y)[FBP_K(sample)(s, row0 + r)];
    }
    FBP_K(shifted_exp)(a, n_rows, n_out, d, largest);
    for (int64_t r = 0; r < n_rows; r++) {
        sums[r] = row_loss[r] = FBP_K(row_sum)(d + r * n_out, n_out);
    }
    FBP_CAT(fbp_log_each, FBP_ISA)(row_loss, n_rows);
    for (int64_t r = 0; r < n_rows; r++) {
        const real *const z = a + r * n_out;
        real *const e = d + r * n_out;
        if (s->labels) {
            const real scale = (real)(1.0 / sums[r]);
            for (int64_t j = 0; j < n_out; j++) {
                e[j] *= scale;
            }
            e[labels[r]] -= 1;
            row_loss[r] += (double)largest[r] - (double)z[labels[r]];
        } else {
            const real *const y = (const real *)s->y + FBP_K(sample)(s, row0 + r) * n_out;
            double y_sum;
            const double linear =
                FBP_K(softmax_row)(z, n_out, y, (double)largest[r], sums[r], &y_sum, e);
            row_loss[r] = y_sum * row_loss[r] + linear;
        }
        row_loss[r] = row_loss[r] > most ? most : row_loss[r];
    }
}

static int FBP_K(loss)(int kind, const double *parameters, const fbp_samples *s, int64_t row0,
                       int64_t n_rows, const void *a, int64_t n_out, double *row_loss, void *dz)
{
    if (kind == FBP_SOFTMAX_CROSS_ENTROPY) {
        for (int64_t r = 0; r < n_rows; r += FBP_PIECE) {
            const int64_t n = n_rows - r < FBP_PIECE ? n_rows - r : FBP_PIECE;
            FBP_K(softmax_rows)(FBP_K(most)(parameters), s, row0 + r, n,
                                (const real *)a + r * n_out, n_out, row_loss + r,
                                (real *)dz + r * n_out);
        }
    } else {
        FBP_K(loss_elementwise)(kind, parameters, s, row0, n_rows, a, n_out, row_loss, dz);
    }
    return FBP_K(weigh)(s, row0, n_rows, n_out, row_loss, dz);
}

static void FBP_K(softmax)(const real *a, int64_t n_rows, int64_t n_out, real *out)
{
    real largest[FBP_PIECE];
    for (int64_t r = 0; r < n_rows; r += FBP_PIECE) {
        const int64_t n = n_rows - r < FBP_PIECE ? n_rows - r : FBP_PIECE;
        FBP_K(shifted_exp)(a + r * n_out, n, n_out, out + r * n_out, largest);
        for (int64_t i = r; i < r + n; i++) {
            const real sum = (real)FBP_K(row_sum)(out + i * n_out, n_out);
            for (int64_t j = 0; j < n_out; j++) {
                out[i * n_out + j] /= sum;
            }
        }
    }
}

static void FBP_K(link)(int loss_kind, const void *a, int64_t n_rows, int64_t n_out, void *out)
{
    const int64_t n = n_rows * n_out;
    if (loss_kind == FBP_SOFTMAX_CROSS_ENTROPY) {
        FBP_K(softmax)(a, n_rows, n_out, out);
        return;
    }
    for (int64_t i = 0; i < n; i += VL) {
        const int lanes = (int)(n - i < VL ? n - i : VL);
        const vec z = v_load_n((const real *)a + i, lanes);
        const vec p = loss_kind == FBP_BINARY_CROSS_ENTROPY ? v_sigmoid(z)
                      : loss_kind == FBP_POISSON            ? v_exp(z)
                                                            : z;
        v_store_n((real *)out + i, p, lanes);
    }
}
