# Part of _engine: what the caller passes, held for a pass, and the check that it is finite.

cdef class Buffer:
    """Holds the memory of an array, or of None, for as long as it lives."""

    cdef Py_buffer view
    cdef bint held

    def __cinit__(self, array, int flags):
        self.held = False
        if array is not None:
            PyObject_GetBuffer(array, &self.view, flags)
            self.held = True

    def __dealloc__(self):
        if self.held:
            PyBuffer_Release(&self.view)

    cdef char *data(self) noexcept:
        return <char *>self.view.buf if self.held else NULL


cdef Buffer NOTHING = Buffer(None, 0)


cdef Buffer buffer_of(array, int flags):
    return NOTHING if array is None else Buffer(array, flags)


cdef Buffer readable(array):
    return buffer_of(array, PyBUF_C_CONTIGUOUS)


cdef Buffer writable(array):
    return buffer_of(array, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE)


cdef dict codes = {}  # found before


cdef int code_of(const char *format, size_t itemsize) except -1:
    """Code of enum fbp_dtype for a buffer's format."""
    key = (<bytes>format, itemsize)
    if key not in codes:
        letter = key[0].decode().lstrip("@=<>")
        kind = "float" if letter in "fd" else "int" if letter.islower() else "uint"
        codes[key] = X_DTYPES.index(f"{kind}{8 * itemsize}")
    return codes[key]


@dataclass(frozen=True)
class CSR:
    indptr: object
    indices: object
    values: object
    shape: tuple

    def __len__(self):
        return self.shape[0]


cdef class Samples:
    """The caller's X, y, weights and order, held for a pass."""

    cdef Buffer x, indptr, indices, y, weight, order
    cdef fbp_samples c
    cdef int64_t n
    cdef int64_t n_in

    def __cinit__(self, x, y=None, weight=None, order=None):
        cdef bint sparse = isinstance(x, CSR)
        self.x = Buffer(x.values if sparse else x, PyBUF_STRIDES | PyBUF_FORMAT)
        self.indptr = readable(x.indptr if sparse else None)
        self.indices = readable(x.indices if sparse else None)
        self.y = buffer_of(y, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT)
        self.weight = readable(weight)
        self.order = readable(order)
        self.n, self.n_in = x.shape
        self.c.x = self.x.data()
        self.c.indptr = <const int64_t *>self.indptr.data()
        self.c.indices = <const int32_t *>self.indices.data()
        self.c.x_dtype = code_of(self.x.view.format, self.x.view.itemsize)
        self.c.x_stride0 = self.x.view.strides[0]
        self.c.x_stride1 = self.x.view.strides[self.x.view.ndim - 1]
        self.c.y = self.y.data()
        self.c.labels = y is not None and self.y.view.format.decode() == "i"
        self.c.weight = <const double *>self.weight.data()
        self.c.order = <const int64_t *>self.order.data()


cdef enum:
    CHECK_PARALLEL = 1 << 18  # elements of X that pay for a team to look at them


cdef struct CheckTask:
    fbp_samples samples
    int64_t n, n_in
    double largest
    int nonfinite


cdef void check_worker(void *task, int tid, int team) noexcept nogil:
    """Raise the flag if something is not finite in this thread's share of the rows."""
    cdef CheckTask *check = <CheckTask *>task
    cdef fbp_samples part = check.samples
    cdef int64_t begin = share(check.n, 1, tid, team), row, column
    part.x += begin * part.x_stride0
    if not fbp_all_finite(&part, share(check.n, 1, tid + 1, team) - begin, check.n_in,
                          check.largest, &row, &column):
        fbp_raise_flag(&check.nonfinite)


def first_nonfinite(x, bint single=False):
    cdef Samples samples = Samples(x)
    cdef CheckTask check
    cdef int64_t row = 0, column = 0
    cdef bint large = samples.n * samples.n_in >= CHECK_PARALLEL
    cdef int threads = affordable(get_num_threads() if large else 1)
    check.samples, check.n, check.n_in, check.nonfinite = samples.c, samples.n, samples.n_in, 0
    check.largest = FLT_MAX if single else DBL_MAX
    with nogil:
        on_team(check_worker, &check, threads)
        if check.nonfinite:
            fbp_all_finite(&check.samples, check.n, check.n_in, check.largest, &row, &column)
    return (row, column) if check.nonfinite else None


def sum_float64(const double[::1] values):
    return fbp_sum(&values[0], values.shape[0]) if values.shape[0] else 0.0
