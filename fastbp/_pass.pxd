"""A pass of a range of rows through the net, on one thread: forward, losses, backward to dz."""

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy

from fastbp._c cimport *


# What every thread of a team does with a task of its own type, all at once
ctypedef void (*Worker)(void *task, int tid, int team) noexcept nogil


cdef enum:
    ROWS_OF_W = 16  # where threads may part the rows of w: whole cache lines of w transposed


cdef struct Pass:
    const fbp_kernels *kernels
    const fbp_bf16 *bf16  # of the products, if they are of bf16
    const fbp_plan *plan
    const fbp_layer *layers
    char *arena
    const char *p
    fbp_samples samples
    bint x_in_place
    bint w_in_panels  # copies of w in panels are kept up to date
    bint wt_in_panels  # and of w transposed
    int loss
    const double *loss_parameters
    bint drops  # outputs of layers that have dropout
    uint64_t seed  # of what is dropped


cdef inline const char *weights_of(const Pass *t, int layer) noexcept nogil:
    return t.p + <size_t>t.layers[layer].p_w * t.plan.itemsize


cdef inline const char *biases_of(const Pass *t, int layer) noexcept nogil:
    return t.p + <size_t>t.layers[layer].p_b * t.plan.itemsize


cdef inline const void **x_rows(const Pass *t, int layer) noexcept nogil:
    return <const void **>(t.arena + t.layers[layer].x_rows)


cdef inline const void **dz_rows(const Pass *t, int layer) noexcept nogil:
    return <const void **>(t.arena + t.layers[layer].dz_rows)


cdef inline char *row_of(const Pass *t, size_t offset, int64_t ld, int64_t row) noexcept nogil:
    """Row of a, slope, dz or x in the arena."""
    return t.arena + offset + <size_t>(row * ld) * t.plan.itemsize


cdef inline double *row_loss(const Pass *t, int64_t row) noexcept nogil:
    return <double *>(t.arena + t.plan.row_loss) + row


cdef inline fbp_operand row_major(const void *data, int64_t ld) noexcept nogil:
    cdef fbp_operand operand
    operand.data, operand.ld, operand.panels = data, ld, False
    return operand


cdef inline fbp_operand in_panels(const void *data) noexcept nogil:
    cdef fbp_operand operand
    operand.data, operand.ld, operand.panels = data, 0, True
    return operand


cdef inline fbp_operand w_operand(const Pass *t, int layer) noexcept nogil:
    if t.w_in_panels and t.layers[layer].wide:
        return in_panels(t.arena + t.layers[layer].w_panels)
    return row_major(weights_of(t, layer), t.layers[layer].n_out)


cdef inline void point_rows(const void **table, char *first, int64_t ld, size_t itemsize,
                            int64_t n) noexcept nogil:
    cdef int64_t r
    for r in range(n):
        table[r] = first + <size_t>(r * ld) * itemsize


cdef inline void input_rows(const Pass *t, int64_t row0, int64_t at, int64_t n) noexcept nogil:
    """Point rows at .. at+n of layer 0's input to samples row0 .. row0+n, converted if need be."""
    cdef const void **table = x_rows(t, 0) + at
    cdef const fbp_samples *s = &t.samples
    cdef char *converted
    cdef int64_t r, row
    if t.x_in_place:
        for r in range(n):
            row = s.order[row0 + r] if s.order != NULL else row0 + r
            table[r] = s.x + row * s.x_stride0
    else:
        converted = row_of(t, t.plan.x, t.plan.x_ld, at)
        t.kernels.load_rows(s, row0, n, t.layers[0].n_in, converted, t.plan.x_ld)
        point_rows(table, converted, t.plan.x_ld, t.plan.itemsize, n)


cdef inline void drop(const Pass *t, int l, int64_t row0, int64_t at, int64_t n) noexcept nogil:
    """Drop some of a layer's output in rows at .. at+n, which are samples row0 .. row0+n."""
    cdef const fbp_layer *layer = &t.layers[l]
    # an odd number whose bits are mixed well enough for the generator
    cdef uint64_t key = (t.seed + <uint64_t>(l + 1)) * <uint64_t>0x9E3779B97F4A7C15 | 1
    if t.drops and layer.dropout > 0:
        t.kernels.dropout(layer.dropout, key, row0, layer.activation, layer.alpha, n, layer.n_out,
                          layer.ld, row_of(t, layer.a, layer.ld, at),
                          row_of(t, layer.slope, layer.ld, at))


cdef inline int slope_of(const Pass *t, int l) noexcept nogil:
    """The activation by whose rule a backward pass finds sigma'(z) of a layer."""
    if t.drops and t.layers[l].dropout > 0:
        return FBP_STORED_SLOPE
    return t.layers[l].activation


cdef inline void sparse_layer(const Pass *t, int64_t row0, int64_t at, int64_t n) noexcept nogil:
    """The first layer's output for samples row0 .. row0+n of a sparse X."""
    cdef const fbp_layer *layer = &t.layers[0]
    t.kernels.sparse_fwd(&t.samples, row0, n, weights_of(t, 0), biases_of(t, 0), layer.n_out,
                         row_of(t, layer.a, layer.ld, at), layer.ld)
    activate_columns(t, 0, at, n, 0, layer.n_out)
    drop(t, 0, row0, at, n)


cdef inline void forward(const Pass *t, int64_t row0, int64_t at, int64_t n,
                         bint for_backward) noexcept nogil:
    """Samples row0 .. row0+n through the net, in rows at .. at+n of the arena."""
    cdef int l
    cdef const fbp_layer *layer
    cdef char *slope
    if t.plan.sparse:
        sparse_layer(t, row0, at, n)
    else:
        input_rows(t, row0, at, n)
    for l in range(1 if t.plan.sparse else 0, t.plan.n_layers):
        layer = &t.layers[l]
        slope = row_of(t, layer.slope, layer.ld, at) if for_backward else NULL
        t.kernels.dense_fwd(x_rows(t, l) + at, n, layer.n_in, w_operand(t, l), biases_of(t, l),
                            layer.n_out, layer.activation, layer.alpha,
                            row_of(t, layer.a, layer.ld, at), slope, layer.ld)
        drop(t, l, row0, at, n)


cdef inline int64_t column_share(const Pass *t, int l, int part, int parts) noexcept nogil:
    """Where a thread's columns of w begin: at a panel, if there are several."""
    return share(t.layers[l].n_out, t.plan.panel if t.layers[l].wide else 16, part, parts)


cdef inline void forward_columns(const Pass *t, int l, int64_t n, int64_t j0,
                                 int64_t j1) noexcept nogil:
    """Columns j0 .. j1 of one layer's output, for rows 0 .. n; j0 is the first of a panel."""
    cdef const fbp_layer *layer = &t.layers[l]
    cdef size_t offset = <size_t>j0 * t.plan.itemsize
    cdef fbp_operand w = w_operand(t, l)
    w.data = <const char *>w.data + (<size_t>layer.n_in * offset if w.panels else offset)
    if j0 < j1:
        t.kernels.dense_fwd(x_rows(t, l), n, layer.n_in, w, biases_of(t, l) + offset, j1 - j0,
                            layer.activation, layer.alpha, t.arena + layer.a + offset,
                            t.arena + layer.slope + offset, layer.ld)


cdef inline void activate_columns(const Pass *t, int l, int64_t at, int64_t n, int64_t j0,
                                  int64_t j1) noexcept nogil:
    """From z, where a will be, to a (and slope) in columns j0 .. j1 of rows at .. at+n."""
    cdef const fbp_layer *layer = &t.layers[l]
    cdef size_t offset = <size_t>j0 * t.plan.itemsize
    cdef char *a = row_of(t, layer.a, layer.ld, at) + offset
    cdef char *slope = row_of(t, layer.slope, layer.ld, at) + offset
    t.kernels.activate(layer.activation, layer.alpha, n, j1 - j0, layer.ld, a, a,
                       slope if fbp_keeps_slope(layer.activation) else NULL)


cdef inline void times_slope_columns(const Pass *t, int l, int64_t at, int64_t n, int64_t j0,
                                     int64_t j1) noexcept nogil:
    """From dl/da, where dz will be, to dz in columns j0 .. j1 of rows at .. at+n."""
    cdef const fbp_layer *layer = &t.layers[l]
    cdef size_t offset = <size_t>j0 * t.plan.itemsize
    t.kernels.times_slope(slope_of(t, l), layer.alpha, n, j1 - j0, layer.ld,
                          row_of(t, layer.a, layer.ld, at) + offset,
                          row_of(t, layer.slope, layer.ld, at) + offset,
                          row_of(t, layer.dz, layer.ld, at) + offset)


cdef inline char *part_of_z(const Pass *t, int l, int64_t n, int part) noexcept nogil:
    """One of the parts that z of n samples is summed in; rows lie layer.ld apart."""
    return row_of(t, t.plan.parts[l % 2], t.layers[l].ld, part * n)


cdef inline void forward_parts(const Pass *t, int l, int64_t n, int parts, int first,
                               int end) noexcept nogil:
    """Parts first .. end of a layer's z for rows 0 .. n; the bias is in the first of all."""
    cdef const fbp_layer *layer = &t.layers[l]
    cdef int part
    for part in range(first, end):
        t.kernels.dense_part(
            x_rows(t, l), n, share(layer.n_in, ROWS_OF_W, part, parts),
            share(layer.n_in, ROWS_OF_W, part + 1, parts), layer.n_in, w_operand(t, l),
            biases_of(t, l) if part == 0 else NULL, layer.n_out, part_of_z(t, l, n, part),
            layer.ld)


cdef inline void add_parts(const Pass *t, int l, int64_t n, int parts, int64_t j0,
                           int64_t j1) noexcept nogil:
    """Columns j0 .. j1 of a layer's output from the parts of z, for rows 0 .. n."""
    cdef const fbp_layer *layer = &t.layers[l]
    cdef size_t offset = <size_t>j0 * t.plan.itemsize
    cdef size_t size = <size_t>(n * layer.ld) * t.plan.itemsize
    cdef int64_t r
    if j0 == j1:
        return
    for r in range(n):
        t.kernels.add_slabs(row_of(t, t.plan.parts[l % 2], layer.ld, r) + offset, size, parts,
                            j1 - j0, row_of(t, layer.a, layer.ld, r) + offset)
    activate_columns(t, l, 0, n, j0, j1)


cdef inline int losses(const Pass *t, int64_t row0, int64_t at, int64_t n) noexcept nogil:
    """Losses of the rows and dl/da of the last layer, in its dz; 1 if the losses are finite."""
    cdef const fbp_layer *last = &t.layers[t.plan.n_layers - 1]
    return t.kernels.loss(t.loss, t.loss_parameters, &t.samples, row0, n,
                          row_of(t, last.a, last.ld, at), last.n_out, row_loss(t, at),
                          row_of(t, last.dz, last.ld, at))


cdef inline void output_dz(const Pass *t, int64_t at, int64_t n) noexcept nogil:
    """From dl/da of the last layer to its dz."""
    cdef int last = t.plan.n_layers - 1
    times_slope_columns(t, last, at, n, 0, t.layers[last].n_out)


cdef inline void backward(const Pass *t, int64_t at, int64_t n) noexcept nogil:
    """From dl/da of the last layer to dz of every layer."""
    cdef int l = t.plan.n_layers - 1
    cdef const fbp_layer *layer
    cdef const fbp_layer *below
    output_dz(t, at, n)
    while l > 0:
        layer = &t.layers[l]
        below = &t.layers[l - 1]
        t.kernels.dense_bwd_dz(dz_rows(t, l) + at, n, layer.n_out,
                               in_panels(t.arena + layer.wt_panels), layer.n_in, slope_of(t, l - 1),
                               below.alpha, row_of(t, below.a, below.ld, at),
                               row_of(t, below.slope, below.ld, at),
                               row_of(t, below.dz, below.ld, at), below.ld)
        l -= 1


cdef inline int64_t share(int64_t n, int64_t unit, int part, int parts) noexcept nogil:
    """Where part `part` of 0 .. n begins, cut at multiples of unit."""
    cdef int64_t begin = (n + unit - 1) // unit * part // parts * unit
    return begin if begin < n else n


cdef inline fbp_operand dz_transposed(const Pass *t, int l, int64_t n) noexcept nogil:
    """dz of few samples as (n_out x n); that of one sample is a column as it lies."""
    if n == 1:
        return row_major(t.arena + t.layers[l].dz, 1)
    return in_panels(t.arena + t.layers[l].dz_panels)


cdef inline void transpose_dz(const Pass *t, int l, int64_t n, int64_t j0,
                              int64_t j1) noexcept nogil:
    """Columns j0 .. j1 of a layer's dz, of few samples, to their rows of the transposed copy."""
    cdef const fbp_layer *layer = &t.layers[l]
    if l > 0 and n > 1:
        t.kernels.transpose(t.arena + layer.dz + <size_t>j0 * t.plan.itemsize, layer.ld, 0, n, j0,
                            j1, n, layer.n_out, t.arena + layer.dz_panels)


cdef enum RowResult:
    PREDICT
    PREDICT_LINK
    LOSSES_OF_ROWS
    GRADIENT_OF_ROWS


cdef struct RowsTask:
    Pass run
    int what  # RowResult
    int64_t begin, end  # of the rows
    char *out


cdef inline void rows_worker(void *task, int tid, int team) noexcept nogil:
    cdef const RowsTask *rows_task = <const RowsTask *>task
    cdef const Pass *t = &rows_task.run
    cdef int what = rows_task.what
    cdef int64_t begin = rows_task.begin, n = rows_task.end - rows_task.begin
    cdef int64_t at = share(t.plan.block, 1, tid, team)
    cdef int64_t size = share(t.plan.block, 1, tid + 1, team) - at
    cdef int64_t row = begin + share(n, 1, tid, team), rows
    cdef int64_t end = begin + share(n, 1, tid + 1, team)
    while row < end:
        rows = min(size, end - row)
        forward(t, row, at, rows, what == GRADIENT_OF_ROWS)
        rows_result(t, what, row, at, rows, rows_task.out)
        row += rows


cdef inline void rows_result(const Pass *t, int what, int64_t row, int64_t at, int64_t n,
                             char *out) noexcept nogil:
    """What is wanted of samples row .. row+n, which are in rows at .. at+n after forward."""
    cdef const fbp_layer *last = &t.layers[t.plan.n_layers - 1]
    cdef size_t size = <size_t>last.n_out * t.plan.itemsize
    cdef char *a = row_of(t, last.a, last.ld, at)
    cdef int64_t r
    if what == PREDICT:
        memcpy(out + <size_t>row * size, a, <size_t>n * size)
    elif what == PREDICT_LINK:
        t.kernels.link(t.loss, a, n, last.n_out, out + <size_t>row * size)
    else:
        losses(t, row, at, n)
        if what == LOSSES_OF_ROWS:
            memcpy(out + <size_t>row * sizeof(double), row_loss(t, at), <size_t>n * sizeof(double))
        else:
            backward(t, at, n)
            for r in range(n):
                sample_gradient(t, at + r,
                                out + <size_t>((row + r) * t.plan.n_parameters) * t.plan.itemsize)


cdef inline void sample_gradient(const Pass *t, int64_t at, char *out) noexcept nogil:
    """dl/dw = x dz^T and dl/db = dz of every layer, for the sample in row `at`."""
    cdef int l
    cdef const fbp_layer *layer
    for l in range(t.plan.n_layers):
        layer = &t.layers[l]
        t.kernels.outer(x_rows(t, l)[at], layer.n_in, dz_rows(t, l)[at], layer.n_out,
                        out + <size_t>layer.p_w * t.plan.itemsize)
        memcpy(out + <size_t>layer.p_b * t.plan.itemsize, dz_rows(t, l)[at],
               <size_t>layer.n_out * t.plan.itemsize)
