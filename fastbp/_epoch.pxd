"""An epoch on a team of threads: minibatches with updates (or, without an optimizer, the gradient).

Every function with ``tid`` and ``team`` is called by all threads of the team at once, and passes
the same barriers in each.
"""

from libc.math cimport sqrt
from libc.stdint cimport int64_t, uint64_t

from fastbp._c cimport *
from fastbp._pass cimport *


cdef struct EpochState:
    Pass p
    int64_t n, batch_size, cursor  # cursor: the next row; everything before it is done
    char *theta
    char *g
    char *m
    char *v
    const double *rates
    const double *scales
    fbp_update update  # kind -1: no update
    double l2, clip_norm
    int64_t first_step, batches_done
    double loss, batch_loss, deadline
    int bad_loss, bad_parameters, stop
    fbp_barrier barrier


cdef inline int block_rows(EpochState *e, int64_t row0, int64_t n, int tid,
                           int team) noexcept nogil:
    """Forward, loss and backward of this thread's share of a block; 1 if the losses are finite."""
    cdef int unit = e.p.kernels.tile_rows
    cdef int64_t at = share(n, unit, tid, team), end = share(n, unit, tid + 1, team)
    cdef int finite
    if at == end:
        return 1
    forward(&e.p, row0 + at, at, end - at, True, tid)
    finite = losses(&e.p, row0 + at, at, end - at)
    backward(&e.p, at, end - at, tid)
    return finite


cdef inline void update_range(EpochState *e, const fbp_update *u, int64_t begin,
                              int64_t n) noexcept nogil:
    cdef size_t offset = <size_t>begin * e.p.plan.itemsize
    if not e.p.kernels.update(u, n, e.theta + offset, e.g + offset,
                              e.m + offset if e.m != NULL else NULL,
                              e.v + offset if e.v != NULL else NULL):
        fbp_raise_flag(&e.bad_parameters)


cdef inline fbp_update update_of(const EpochState *e, int64_t batch, double shrink) noexcept nogil:
    """The optimiser's step for a minibatch; shrink is the factor of gradient clipping."""
    cdef fbp_update u = e.update
    cdef int64_t t = e.first_step + batch
    u.rate = e.rates[batch]
    u.scale = e.scales[batch] * shrink
    u.correction1 = u.correction2 = 1.0
    if u.kind == FBP_ADAM:
        u.correction1 = 1.0 - fbp_power(u.beta1, t)
        u.correction2 = sqrt(1.0 - fbp_power(u.beta2, t))
    return u


cdef inline void update_layer(EpochState *e, int l, int64_t batch, double shrink, int tid,
                              int team) noexcept nogil:
    """Update this thread's share of a layer's parameters, and its part of the transposed copy."""
    cdef const fbp_layer *layer = &e.p.layers[l]
    cdef int unit = e.p.kernels.tile_rows
    cdef int64_t i0 = share(layer.n_in, unit, tid, team)
    cdef int64_t i1 = share(layer.n_in, unit, tid + 1, team)
    cdef fbp_update u = update_of(e, batch, shrink)
    if l % team == tid:
        update_range(e, &u, layer.p_b, layer.n_out)
    u.weight_decay += e.l2 * e.scales[batch]
    update_range(e, &u, layer.p_w + i0 * layer.n_out, (i1 - i0) * layer.n_out)
    if l > 0:
        e.p.kernels.transpose(weights_of(&e.p, l), i0, i1, layer.n_in, layer.n_out,
                              e.p.arena + layer.wt)


cdef inline void layer_gradient(EpochState *e, int l, int64_t n, bint accumulate, int tid,
                                int team) noexcept nogil:
    """This thread's share of a layer's dw and db, over the n rows of the block."""
    cdef const Pass *t = &e.p
    cdef const fbp_layer *layer = &t.layers[l]
    cdef int unit = t.kernels.tile_rows
    cdef char *dz = t.arena + layer.dz
    cdef int64_t i0 = share(layer.n_in, unit, tid, team)
    cdef int64_t i1 = share(layer.n_in, unit, tid + 1, team)
    if l % team == tid:
        t.kernels.dense_bwd_db(dz, layer.ld, n, layer.n_out, accumulate,
                               e.g + <size_t>layer.p_b * t.plan.itemsize)
    if i0 < i1:
        t.kernels.dense_bwd_dw(x_rows(t, l), n, i0, i1, dz, layer.ld, layer.n_out, accumulate,
                               e.g + <size_t>layer.p_w * t.plan.itemsize, scratch_of(t, tid))


cdef inline double clipping(EpochState *e, int64_t batch, int tid, int team) noexcept nogil:
    """Factor that brings the mean gradient's norm down to clip_norm. Has two barriers."""
    cdef double *norms = <double *>(e.p.arena + e.p.plan.norms)
    cdef int64_t n = e.p.plan.n_norms, i, begin
    cdef double norm
    fbp_barrier_wait(&e.barrier, team)
    for i in range(share(n, 1, tid, team), share(n, 1, tid + 1, team)):
        begin = i * FBP_NORM_CHUNK
        norms[i] = e.p.kernels.sum_of_squares(
            e.g + <size_t>begin * e.p.plan.itemsize,
            min(<int64_t>FBP_NORM_CHUNK, e.p.plan.n_parameters - begin))
    fbp_barrier_wait(&e.barrier, team)
    norm = sqrt(fbp_sum(norms, n)) * e.scales[batch]
    return e.clip_norm / norm if norm > e.clip_norm else 1.0


cdef inline void gradient_and_update(EpochState *e, int64_t batch, int64_t n, bint first, bint last,
                                     int tid, int team) noexcept nogil:
    cdef bint updates = last and e.update.kind >= 0
    cdef bint clips = updates and e.clip_norm > 0
    cdef double shrink
    cdef int l
    for l in range(e.p.plan.n_layers):
        layer_gradient(e, l, n, not first, tid, team)
        if updates and not clips:
            update_layer(e, l, batch, 1.0, tid, team)
    if clips:
        shrink = clipping(e, batch, tid, team)
        for l in range(e.p.plan.n_layers):
            update_layer(e, l, batch, shrink, tid, team)


cdef inline void finish_block(EpochState *e, int64_t end, bint last) noexcept nogil:
    e.cursor = end
    if last:
        e.loss += e.batch_loss
        e.batches_done += 1
    if fbp_seconds() > e.deadline:
        e.stop = 1


cdef inline bint epoch_block(EpochState *e, int tid, int team) noexcept nogil:
    """The next rows of the epoch: up to a block, within one minibatch. False: a loss not finite.

    A flag may be read only where no thread of the team can be raising it at the same time, lest one
    leaves and the others wait: bad_loss between the two barriers, the rest after the second.
    """
    cdef int64_t row0 = e.cursor, batch = row0 // e.batch_size
    cdef int64_t begin = batch * e.batch_size
    cdef int64_t end = min(begin + e.batch_size, e.n)
    cdef int64_t n = min(e.p.plan.block, end - row0)
    cdef bint first = row0 == begin, last = row0 + n == end
    if not block_rows(e, row0, n, tid, team) and e.update.kind >= 0:
        fbp_raise_flag(&e.bad_loss)
    fbp_barrier_wait(&e.barrier, team)
    if e.bad_loss:
        return False
    if tid == 0:
        e.batch_loss = (0.0 if first else e.batch_loss) + fbp_sum(row_loss(&e.p, 0), n)
    gradient_and_update(e, batch, n, first, last, tid, team)
    if tid == 0:
        finish_block(e, row0 + n, last)
    fbp_barrier_wait(&e.barrier, team)
    return True


cdef inline void epoch_worker(EpochState *e, int tid, int team) noexcept nogil:
    cdef uint64_t mode = fbp_denormals_flush()
    transpose_weights(&e.p, tid, team)
    fbp_barrier_wait(&e.barrier, team)
    while e.cursor < e.n and not (e.stop or e.bad_parameters) and epoch_block(e, tid, team):
        pass
    fbp_denormals_restore(mode)
