"""The gradient of a block of samples, and the update of the parameters by it.

Every function with ``tid`` and ``team`` is called by all threads of the team at once, and passes
the same barriers in each.
"""

from libc.math cimport sqrt
from libc.stdint cimport int64_t

from fastbp._bf16 cimport bf16_dw
from fastbp._c cimport *
from fastbp._pass cimport *
from fastbp._weights cimport copy_rows_of_w, rows_of_w


cdef enum:
    CHUNK_BYTES = 3 << 16
    BF16_CHUNK_BYTES = 1 << 19  # its products are so fast that the other operand is what is moved
    OUTER = 1 << 14  # weights from which on the gradient of one sample is better not written
    CHUNK_ROWS = 48  # or a multiple: whole tiles and whole cache lines of the transposed copy


cdef struct EpochState:
    Pass run
    int64_t n, batch_size, cursor  # cursor: the next row; everything before it is done
    int64_t block  # most rows between barriers
    bint few_samples  # in a batch: blocks are shared by weights
    int n_slabs  # blocks are shared by slabs; 0: they are not
    char *p
    char *g
    char *m
    char *v
    const double *rates
    const double *scales
    fbp_update update  # kind -1: no update
    double l2, clip_norm
    bint eps_hat  # Adam's eps is added before the root of v is corrected
    int64_t first_step, batches_done
    double *batch_losses  # of each minibatch; NULL: not wanted
    double *squares  # sum of squares of all weights before each minibatch; NULL: not wanted
    double loss, batch_loss, deadline
    int bad_loss, bad_parameters, stop
    bint copied  # the copies of the weights are those of p
    fbp_barrier barrier
    double waited  # seconds that thread 0 has spent at barriers


cdef inline void meet(EpochState *e, int tid, int team) noexcept nogil:
    """Wait for all threads of the team."""
    cdef double waited = fbp_barrier_wait(&e.barrier, team)
    if tid == 0:
        e.waited += waited


cdef inline char *gradient_at(EpochState *e, int64_t parameter) noexcept nogil:
    return e.g + <size_t>parameter * e.run.plan.itemsize


cdef inline void update_range(EpochState *e, const fbp_update *u, int64_t begin, int64_t n,
                              const char *g, const char *x, int64_t n_out) noexcept nogil:
    """Update parameters begin .. begin+n by their gradient g.

    If x is not NULL, they are rows of w, and their gradient is x g^T: g is dz of one sample.
    """
    cdef size_t offset = <size_t>begin * e.run.plan.itemsize
    cdef char *m = e.m + offset if e.m != NULL else NULL
    cdef char *v = e.v + offset if e.v != NULL else NULL
    cdef int finite
    if x == NULL:
        finite = e.run.kernels.update(u, n, e.p + offset, g, m, v)
    else:
        finite = e.run.kernels.update_outer(u, x, n // n_out, g, n_out, e.p + offset, m, v)
    if not finite:
        fbp_raise_flag(&e.bad_parameters)


cdef inline fbp_update update_of(const EpochState *e, int64_t batch, double shrink) noexcept nogil:
    """The optimizer's step for a minibatch; shrink is the factor of gradient clipping."""
    cdef fbp_update u = e.update
    cdef int64_t t = e.first_step + batch
    u.rate = e.rates[batch]
    u.scale = e.scales[batch] * shrink
    u.correction1 = u.correction2 = 1.0
    if u.kind == FBP_ADAM:
        u.correction1 = 1.0 - fbp_power(u.beta1, t)
        u.correction2 = sqrt(1.0 - fbp_power(u.beta2, t))
        if e.eps_hat:
            u.eps /= u.correction2
    return u


cdef inline void update_biases(EpochState *e, int l, const fbp_update *u, int tid,
                               int team) noexcept nogil:
    """Update this thread's share of a layer's biases by the gradient."""
    cdef const fbp_layer *layer = &e.run.layers[l]
    cdef int64_t j0 = share(layer.n_out, FBP_ALIGN, tid, team)
    cdef int64_t j1 = share(layer.n_out, FBP_ALIGN, tid + 1, team)
    update_range(e, u, layer.p_b + j0, j1 - j0, gradient_at(e, layer.p_b + j0), NULL, 0)


cdef inline void update_rows(EpochState *e, int l, int64_t batch, const fbp_update *u, int64_t i0,
                             int64_t i1, const char *dw) noexcept nogil:
    """Update rows i0 .. i1 of a layer's weights, and their copies.

    By dw; if that is NULL, by the gradient of the block's only sample.
    """
    cdef const fbp_layer *layer = &e.run.layers[l]
    cdef const char *x = NULL
    cdef fbp_update with_l2 = u[0]
    with_l2.weight_decay += e.l2 * e.scales[batch]
    if dw == NULL:
        x = <const char *>x_rows(&e.run, l)[0] + <size_t>i0 * e.run.plan.itemsize
        dw = e.run.arena + layer.dz
    update_range(e, &with_l2, layer.p_w + i0 * layer.n_out, (i1 - i0) * layer.n_out, dw, x,
                 layer.n_out)
    copy_rows_of_w(&e.run, l, i0, i1)


cdef inline int64_t chunk_of(const EpochState *e, const fbp_layer *layer) noexcept nogil:
    """Rows of dw whose samples share the L1 cache, and that are still in L2 for the update."""
    cdef int64_t row = layer.n_out * <int64_t>e.run.plan.itemsize
    if e.run.bf16 != NULL:
        return max(BF16_CHUNK_BYTES // row // FBP_BF16_UNIT, <int64_t>1) * FBP_BF16_UNIT
    return max(CHUNK_BYTES // row // CHUNK_ROWS, <int64_t>1) * CHUNK_ROWS


cdef inline char *slab_of(const EpochState *e, int s) noexcept nogil:
    return e.run.arena + e.run.plan.slabs + <size_t>s * e.run.plan.slab_size


cdef inline double *slab_loss(const EpochState *e, int s) noexcept nogil:
    return <double *>(e.run.arena + e.run.plan.slab_loss) + s


cdef inline void add_slabs(EpochState *e, int64_t begin, int64_t n, char *out) noexcept nogil:
    """The gradient of parameters begin .. begin+n from the slabs."""
    e.run.kernels.add_slabs(slab_of(e, 0) + <size_t>begin * e.run.plan.itemsize,
                            e.run.plan.slab_size, e.n_slabs, n, out)


cdef inline void bias_gradient(EpochState *e, int l, int64_t n, bint first, int tid,
                               int team) noexcept nogil:
    """This thread's share of a layer's db over the n rows of the block."""
    cdef const fbp_layer *layer = &e.run.layers[l]
    cdef int64_t j0 = share(layer.n_out, FBP_ALIGN, tid, team)
    cdef int64_t j1 = share(layer.n_out, FBP_ALIGN, tid + 1, team)
    if e.n_slabs > 0:
        add_slabs(e, layer.p_b + j0, j1 - j0, gradient_at(e, layer.p_b + j0))
        return
    e.run.kernels.dense_bwd_db(e.run.arena + layer.dz + <size_t>j0 * e.run.plan.itemsize, layer.ld,
                               n, j1 - j0, not first, gradient_at(e, layer.p_b + j0))


cdef inline fbp_operand dz_operand(const EpochState *e, int l) noexcept nogil:
    cdef const fbp_layer *layer = &e.run.layers[l]
    if layer.wide and not e.few_samples:
        return in_panels(e.run.arena + layer.dz_panels)
    return row_major(e.run.arena + layer.dz, layer.ld)


cdef inline void few_samples_below(EpochState *e, int l, int64_t n, int64_t i0,
                                   int64_t i1) noexcept nogil:
    """Columns i0 .. i1 of dz of the layer below, and their part of its transposed copy."""
    cdef const Pass *t = &e.run
    cdef const fbp_layer *layer = &t.layers[l]
    cdef const fbp_layer *below = &t.layers[l - 1]
    cdef size_t offset = <size_t>i0 * t.plan.itemsize
    cdef char *dz = t.arena + below.dz + offset
    t.kernels.dense_bwd_dz_few(
        weights_of(t, l) + <size_t>(i0 * layer.n_out) * t.plan.itemsize, i1 - i0, layer.n_out,
        dz_transposed(t, l, n), n, below.activation, below.alpha, t.arena + below.a + offset,
        t.arena + below.slope + offset, dz, below.ld)
    transpose_dz(t, l - 1, n, i0, i1)


cdef inline int64_t own_rows(const EpochState *e, int l, int64_t n, int tid,
                             int team) noexcept nogil:
    """Where a thread's rows of w begin; with few samples those whose parts of z it computes."""
    cdef int64_t n_in = e.run.layers[l].n_in
    cdef int parts = fbp_plan_parts(&e.run.layers[l], n) if e.few_samples else 1
    if 1 < parts and team <= parts:
        return share(n_in, ROWS_OF_W, <int>share(parts, 1, tid, team), parts)
    return share(n_in, rows_of_w(&e.run), tid, team)


cdef inline void layer_step(EpochState *e, int l, int64_t batch, int64_t row0, int64_t n,
                            bint first, const fbp_update *u, int tid, int team) noexcept nogil:
    """This thread's share of a layer's dw and db over the n rows of the block; updates if u.

    With few samples, also its share of dz of the layer below, from w before the update.
    """
    cdef const fbp_layer *layer = &e.run.layers[l]
    cdef int64_t i = own_rows(e, l, n, tid, team)
    cdef int64_t end = own_rows(e, l, n, tid + 1, team)
    cdef int64_t chunk = chunk_of(e, layer), next_i
    # A gradient that is used at once and not wanted otherwise goes to one place, chunk after chunk.
    cdef bint reuse = first and u != NULL
    cdef bint sparse = l == 0 and e.run.plan.sparse
    cdef bint outer = (reuse and n == 1 and e.n_slabs == 0 and e.run.bf16 == NULL and not sparse
                       and layer.n_in * layer.n_out >= OUTER)
    cdef char *dw = gradient_at(e, layer.p_w + i * layer.n_out)
    bias_gradient(e, l, n, first, tid, team)
    if u != NULL:
        update_biases(e, l, u, tid, team)
    while i < end:
        next_i = min(i + chunk, end)
        if e.few_samples and l > 0:
            few_samples_below(e, l, n, i, next_i)
        if e.n_slabs > 0:
            add_slabs(e, layer.p_w + i * layer.n_out, (next_i - i) * layer.n_out, dw)
        elif e.run.bf16 != NULL:
            bf16_dw(&e.run, l, n, i, next_i, first, dw)
        elif sparse:
            e.run.kernels.sparse_dw(&e.run.samples, row0, n, i, next_i, e.run.arena + layer.dz,
                                    layer.ld, layer.n_out, not first, dw)
        elif not outer:
            e.run.kernels.dense_bwd_dw(x_rows(&e.run, l), n, i, next_i, dz_operand(e, l),
                                       layer.n_out, not first, dw)
        if u != NULL:
            update_rows(e, l, batch, u, i, next_i, NULL if outer else dw)
        i = next_i
        if not reuse:
            dw = gradient_at(e, layer.p_w + i * layer.n_out)


cdef inline void square_weights(EpochState *e, int tid, int team) noexcept nogil:
    """This thread's share of the sums of squares of the weights, chunk by chunk."""
    cdef double *norms = <double *>(e.run.arena + e.run.plan.norms)
    cdef const fbp_layer *layer
    cdef int64_t chunk = 0, begin, n
    cdef int l
    for l in range(e.run.plan.n_layers):
        layer = &e.run.layers[l]
        begin, n = 0, layer.n_in * layer.n_out
        while begin < n:
            if chunk % team == tid:
                norms[chunk] = e.run.kernels.sum_of_squares(
                    e.p + <size_t>(layer.p_w + begin) * e.run.plan.itemsize,
                    min(<int64_t>FBP_NORM_CHUNK, n - begin))
            chunk += 1
            begin += FBP_NORM_CHUNK


cdef inline double sum_of_squares(const EpochState *e) noexcept nogil:
    """Sum of squares of all weights, after square_weights in all threads."""
    cdef int64_t chunks = 0
    cdef int l
    for l in range(e.run.plan.n_layers):
        chunks += (e.run.layers[l].n_in * e.run.layers[l].n_out
                   + FBP_NORM_CHUNK - 1) // FBP_NORM_CHUNK
    return fbp_sum(<const double *>(e.run.arena + e.run.plan.norms), chunks)


cdef inline double clipping(EpochState *e, int64_t batch, int tid, int team) noexcept nogil:
    """Factor that brings the mean gradient's norm down to clip_norm. Has two barriers."""
    cdef double *norms = <double *>(e.run.arena + e.run.plan.norms)
    cdef int64_t n = e.run.plan.n_norms, i, begin
    cdef double norm
    meet(e, tid, team)
    for i in range(share(n, 1, tid, team), share(n, 1, tid + 1, team)):
        begin = i * FBP_NORM_CHUNK
        norms[i] = e.run.kernels.sum_of_squares(
            e.g + <size_t>begin * e.run.plan.itemsize,
            min(<int64_t>FBP_NORM_CHUNK, e.run.plan.n_parameters - begin))
    meet(e, tid, team)
    norm = sqrt(fbp_sum(norms, n)) * e.scales[batch]
    return e.clip_norm / norm if norm > e.clip_norm else 1.0


cdef inline void clipped_update(EpochState *e, int64_t batch, int tid, int team) noexcept nogil:
    """Update by the whole gradient, shrunk to clip_norm."""
    cdef fbp_update u = update_of(e, batch, clipping(e, batch, tid, team))
    cdef int l
    cdef const fbp_layer *layer
    cdef int64_t unit = rows_of_w(&e.run), i0, i1
    for l in range(e.run.plan.n_layers):
        layer = &e.run.layers[l]
        i0 = share(layer.n_in, unit, tid, team)
        i1 = share(layer.n_in, unit, tid + 1, team)
        update_biases(e, l, &u, tid, team)
        update_rows(e, l, batch, &u, i0, i1, gradient_at(e, layer.p_w + i0 * layer.n_out))


cdef inline void gradient_and_update(EpochState *e, int64_t batch, int64_t row0, int64_t n,
                                     bint first, bint last, int tid, int team) noexcept nogil:
    cdef bint updates = last and e.update.kind >= 0
    cdef bint clips = updates and e.clip_norm > 0
    cdef fbp_update u
    cdef int l
    if updates and not clips:
        u = update_of(e, batch, 1.0)
    for l in range(e.run.plan.n_layers - 1, -1, -1):
        layer_step(e, l, batch, row0, n, first, &u if updates and not clips else NULL, tid, team)
        if e.few_samples and l > 0:
            meet(e, tid, team)
    if clips:
        clipped_update(e, batch, tid, team)


cdef inline void finish_block(EpochState *e, int64_t end, bint last) noexcept nogil:
    e.cursor = end
    if last:
        e.loss += e.batch_loss
        e.batches_done += 1
    if fbp_seconds() > e.deadline:
        e.stop = 1
