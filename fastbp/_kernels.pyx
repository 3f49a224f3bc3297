"""Single kernels of any table on NumPy arrays: for tests, benchmarks and the curious.

Nothing is validated: shapes, dtypes and contiguity are the caller's to get right. "real" arrays are
float32 or float64, C-contiguous, of one dtype per call.
"""

from libc.stdint cimport int32_t, int64_t, uint16_t
from libc.stdlib cimport free, malloc

from fastbp._c cimport *
from fastbp._engine cimport find_bf16, kernels_of

ctypedef fused real:
    float
    double


SUM_ROWS = FBP_SUM_ROWS  # samples that are summed before they are added to dw


cdef class RowTable:
    """Row pointers of a C-contiguous matrix."""

    cdef const void **rows

    def __cinit__(self, Py_ssize_t first, Py_ssize_t n_rows, Py_ssize_t row_bytes):
        cdef Py_ssize_t r
        self.rows = <const void **>malloc(n_rows * sizeof(void *))
        if self.rows == NULL:
            raise MemoryError()
        for r in range(n_rows):
            self.rows[r] = <const char *>first + r * row_bytes

    def __dealloc__(self):
        free(self.rows)


cdef RowTable rows_of(const real[:, ::1] x):
    return RowTable(<Py_ssize_t>&x[0, 0], x.shape[0], x.shape[1] * sizeof(real))


cdef fbp_operand operand_of(const real[:, ::1] matrix, const real[::1] panels):
    """The panels, if they are given, else the matrix."""
    cdef fbp_operand operand
    operand.panels = panels is not None
    operand.data = &panels[0] if operand.panels else &matrix[0, 0]
    operand.ld = matrix.shape[1]
    return operand


def activate(str isa, int code, double alpha, const real[::1] z, real[::1] a, real[::1] slope=None):
    """a = sigma(z) and, if wanted, slope = sigma'(z)."""
    kernels_of(isa, sizeof(real)).activate(code, alpha, 1, z.shape[0], z.shape[0], &z[0], &a[0],
                                           &slope[0] if slope is not None else NULL)


def times_slope(str isa, int code, double alpha, const real[::1] a, const real[::1] slope,
                real[::1] dz):
    """dz *= sigma'(z), from a or slope."""
    kernels_of(isa, sizeof(real)).times_slope(code, alpha, 1, dz.shape[0], dz.shape[0], &a[0],
                                              &slope[0], &dz[0])


def loss(str isa, int code, const double[::1] parameters, const real[:, ::1] a, y, weight,
         double[::1] row_loss, real[:, ::1] dz):
    """Loss of each row and dl/da; True if all are finite. y: int32 (n,) or real (n, n_out)."""
    cdef fbp_samples s
    cdef const int32_t[::1] labels
    cdef const real[:, ::1] targets
    cdef const double[::1] weights
    s.order = NULL
    s.weight = NULL
    s.labels = y.ndim == 1
    if s.labels:
        labels = y
        s.y = &labels[0]
    else:
        targets = y
        s.y = &targets[0, 0]
    if weight is not None:
        weights = weight
        s.weight = &weights[0]
    return bool(kernels_of(isa, sizeof(real)).loss(code, &parameters[0], &s, 0, a.shape[0],
                                                   &a[0, 0], a.shape[1], &row_loss[0], &dz[0, 0]))


def link(str isa, int code, const real[:, ::1] a, real[:, ::1] out):
    """Predictions that belong to a loss."""
    kernels_of(isa, sizeof(real)).link(code, &a[0, 0], a.shape[0], a.shape[1], &out[0, 0])


def update(str isa, real[::1] p, const real[::1] g, real[::1] m=None, real[::1] v=None, *,
           const real[::1] x=None, int kind, bint nesterov=False, double rate,
           double scale=1.0, double weight_decay=0.0,
           double decoupled_decay=0.0, double beta1=0.0, double beta2=0.0, double eps=0.0,
           double correction1=1.0, double correction2=1.0):
    """One optimizer step (fbp_update in fastbp.h); True if every result is finite.

    With x, g is dz of one sample and the gradient is x dz^T.
    """
    cdef const fbp_kernels *k = kernels_of(isa, sizeof(real))
    cdef real *m0 = &m[0] if m is not None else NULL
    cdef real *v0 = &v[0] if v is not None else NULL
    cdef fbp_update u
    u.kind, u.nesterov, u.rate, u.scale = kind, nesterov, rate, scale
    u.weight_decay, u.decoupled_decay = weight_decay, decoupled_decay
    u.beta1, u.beta2, u.eps = beta1, beta2, eps
    u.correction1, u.correction2 = correction1, correction2
    if x is not None:
        return bool(k.update_outer(&u, &x[0], x.shape[0], &g[0], g.shape[0], &p[0], m0, v0))
    return bool(k.update(&u, p.shape[0], &p[0], &g[0], m0, v0))


def square_root(str isa, const real[::1] x, real[::1] out):
    """The square root that optimizers take of second moments."""
    kernels_of(isa, sizeof(real)).square_root(x.shape[0], &x[0], &out[0])


def add_slabs(str isa, const real[:, ::1] slabs, Py_ssize_t n, real[::1] out):
    """out[:n] = slabs[0, :n] + slabs[1, :n] + ..."""
    kernels_of(isa, sizeof(real)).add_slabs(&slabs[0, 0], slabs.shape[1] * sizeof(real),
                                            slabs.shape[0], n, &out[0])


def panel_columns(str isa, str dtype):
    """Columns of a panel (fbp_operand in fastbp.h); the last panel's are whole vectors."""
    return kernels_of(isa, 4 if dtype == "float32" else 8).panel


def pack(str isa, const real[:, ::1] matrix, Py_ssize_t begin, Py_ssize_t end, real[::1] panels):
    """Rows begin .. end of the matrix to their places in its panels."""
    kernels_of(isa, sizeof(real)).pack(&matrix[begin, 0], matrix.shape[1], begin, end,
                                       matrix.shape[0], matrix.shape[1], &panels[0])


def transpose(str isa, const real[:, ::1] w, Py_ssize_t begin, Py_ssize_t end, real[::1] panels):
    """Rows begin .. end of w to their places, as columns, in the panels of w^T."""
    kernels_of(isa, sizeof(real)).transpose(&w[begin, 0], w.shape[1], begin, end, 0,
                                            w.shape[1], w.shape[0], w.shape[1], &panels[0])


def dense_forward(str isa, const real[:, ::1] x, const real[:, ::1] w, const real[::1] b,
                  int activation, double alpha, real[:, ::1] a, real[:, ::1] slope=None,
                  const real[::1] w_panels=None):
    """a = sigma(x w + b), and slope = sigma'(z) where the activation keeps it."""
    cdef RowTable t = rows_of(x)
    kernels_of(isa, sizeof(real)).dense_fwd(
        t.rows, x.shape[0], x.shape[1], operand_of(w, w_panels), &b[0], w.shape[1], activation,
        alpha, &a[0, 0], &slope[0, 0] if slope is not None else NULL, a.shape[1])


def dense_backward_dz(str isa, const real[:, ::1] dz, const real[:, ::1] wt, int activation,
                      double alpha, const real[:, ::1] a, const real[:, ::1] slope,
                      real[:, ::1] dz_below, const real[::1] wt_panels=None):
    """dz_below = sigma'(z) * (dz wt), with a and slope of the layer below."""
    cdef RowTable t = rows_of(dz)
    kernels_of(isa, sizeof(real)).dense_bwd_dz(
        t.rows, dz.shape[0], dz.shape[1], operand_of(wt, wt_panels), wt.shape[1], activation,
        alpha, &a[0, 0], &slope[0, 0], &dz_below[0, 0], dz_below.shape[1])


def dense_backward_dz_few(str isa, const real[:, ::1] w, const real[:, ::1] dzt, int activation,
                          double alpha, const real[:, ::1] a, const real[:, ::1] slope,
                          real[:, ::1] dz_below, const real[::1] dzt_panels=None):
    """dz_below = sigma'(z) * (dz w^T), from w and dz^T."""
    kernels_of(isa, sizeof(real)).dense_bwd_dz_few(
        &w[0, 0], w.shape[0], w.shape[1], operand_of(dzt, dzt_panels), dzt.shape[1], activation,
        alpha, &a[0, 0], &slope[0, 0], &dz_below[0, 0], dz_below.shape[1])


def dense_backward_dw(str isa, const real[:, ::1] x, const real[:, ::1] dz, real[:, ::1] dw,
                      bint accumulate=False, const real[::1] dz_panels=None):
    """dw (+)= x^T dz."""
    cdef RowTable t = rows_of(x)
    kernels_of(isa, sizeof(real)).dense_bwd_dw(
        t.rows, x.shape[0], 0, x.shape[1], operand_of(dz, dz_panels), dz.shape[1], accumulate,
        &dw[0, 0])


def dense_backward_db(str isa, const real[:, ::1] dz, real[::1] db, bint accumulate=False):
    """db (+)= sum of dz's rows."""
    kernels_of(isa, sizeof(real)).dense_bwd_db(&dz[0, 0], dz.shape[1], dz.shape[0], dz.shape[1],
                                               accumulate, &db[0])


cdef uint16_t[::1] nan_tiles(int64_t n):
    """Memory for tiles, all NaN, so that what is not written is seen."""
    return memoryview(bytearray(b"\xff" * (2 * n * FBP_BF16_TILE))).cast("H")


cdef uint16_t[::1] bf16_operand(const fbp_bf16 *k, int form, const float[:, ::1] matrix,
                                uint16_t[::1] tiles, int64_t stride, int64_t cut):
    """The matrix in a form, by two calls: rows up to and from `cut`."""
    cdef fbp_bf16_source source
    cdef int64_t begin, end
    source.rows, source.ld = NULL, matrix.shape[1]
    for begin, end in ((0, cut), (cut, matrix.shape[0])):
        if begin < end:
            source.data = &matrix[begin, 0]
            k.pack(form, &source, begin, end, 0, matrix.shape[1], &tiles[0], stride)
    return tiles


def bf16_product(str name, const float[:, ::1] a, const float[:, ::1] b, float[:, ::1] c,
                 const float[::1] init=None, *, bint a_transposed=False, bint b_transposed=False,
                 bint accumulate=False, Py_ssize_t cut=0):
    """c (+)= init + a b with factors rounded to bf16, or with those of which a and b are the
    transposed; these are packed in two parts, cut at a row."""
    cdef const fbp_bf16 *k = find_bf16(name)
    cdef int64_t unit = FBP_BF16_UNIT, m = c.shape[0], n = c.shape[1]
    cdef int64_t depth = a.shape[0] if a_transposed else a.shape[1]
    cdef int64_t steps = (depth + unit - 1) // unit
    cdef uint16_t[::1] left = bf16_operand(
        k, FBP_BF16_LEFT_T if a_transposed else FBP_BF16_LEFT, a,
        nan_tiles((m + unit - 1) // unit * steps * 2), steps, cut)
    cdef uint16_t[::1] right = bf16_operand(
        k, FBP_BF16_RIGHT_T if b_transposed else FBP_BF16_RIGHT, b,
        nan_tiles((n + unit - 1) // unit * steps * 2), steps, cut)
    k.begin()
    k.product(&left[0], steps, m, &right[0], steps, n, steps,
              &init[0] if init is not None else NULL, accumulate, &c[0, 0], n)
    k.end()


def fma_ceiling(str isa, str dtype, double seconds):
    """Operations per second of one thread that does nothing but FMAs in registers."""
    cdef const fbp_kernels *k = kernels_of(isa, 4 if dtype == "float32" else 8)
    cdef double rate
    with nogil:
        rate = k.fma_rate(seconds)
    return rate
