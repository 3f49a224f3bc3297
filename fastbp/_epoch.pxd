"""An epoch on a team of threads: minibatches with updates (or, without an optimizer, the gradient).

Three ways to share a block of samples:

    by rows      each thread takes a range of the rows through all layers, then a range of the rows
                 of every w, for which it has all samples. Two barriers.
    by weights   for few samples (Network.few): each thread takes a range of the weights of every
                 layer, forward and backward, so that every weight is read by one thread only, and w
                 transposed is not needed. Two barriers a layer. The same bits as by rows, but for
                 one sample.
    by slabs     for narrow nets: each thread takes some of the parts into which the samples are cut
                 through both passes, piece by piece while they are in cache, and sums their
                 gradients in slabs, which are added in order. Two barriers. The parts depend on the
                 net and the batch alone.

Every function with ``tid`` and ``team`` is called by all threads of the team at once, and passes
the same barriers in each.
"""

from libc.stdint cimport int64_t
from libc.string cimport memset

from fastbp._bf16 cimport bf16_backward, bf16_forward
from fastbp._c cimport *
from fastbp._pass cimport *
from fastbp._step cimport *
from fastbp._weights cimport copy_weights


cdef enum:
    TILE = 12  # where slabs part the samples: whole tiles


cdef inline int block_rows(EpochState *e, int64_t row0, int64_t n, int tid,
                           int team) noexcept nogil:
    """Forward, loss and backward of this thread's share of a block; 1 if the losses are finite."""
    cdef bint bf16 = e.run.bf16 != NULL
    cdef int unit = FBP_BF16_UNIT if bf16 else e.run.kernels.tile_rows
    cdef int64_t at = share(n, unit, tid, team), end = share(n, unit, tid + 1, team)
    cdef int finite
    if at == end:
        return 1
    if bf16:
        bf16_forward(&e.run, row0 + at, at, end - at)
        finite = losses(&e.run, row0 + at, at, end - at)
        bf16_backward(&e.run, at, end - at)
    else:
        forward(&e.run, row0 + at, at, end - at, True)
        finite = losses(&e.run, row0 + at, at, end - at)
        backward(&e.run, at, end - at)
        pack_dz(e, at, end, n)
    return finite


cdef inline void pack_dz(EpochState *e, int64_t at, int64_t end, int64_t n) noexcept nogil:
    """Rows at .. end of dz, of the n in the block, to the panels that the products for dw read."""
    cdef int l
    cdef const fbp_layer *layer
    for l in range(e.run.plan.n_layers):
        layer = &e.run.layers[l]
        if layer.wide:
            e.run.kernels.pack(row_of(&e.run, layer.dz, layer.ld, at), layer.ld, at, end, n,
                               layer.n_out, e.run.arena + layer.dz_panels)


cdef inline void few_samples_layer(EpochState *e, int l, int64_t n, int tid,
                                   int team) noexcept nogil:
    """One layer forward. After it each thread may read the inputs of its own rows of the next
    layer's w; if that is not in parts, all inputs; thread 0 the last layer's output."""
    cdef const Pass *t = &e.run
    cdef int parts = fbp_plan_parts(&t.layers[l], n), next_parts
    if parts == 1:
        forward_columns(t, l, n, column_share(t, l, tid, team), column_share(t, l, tid + 1, team))
        meet(e, tid, team)
        return
    forward_parts(t, l, n, parts, <int>share(parts, 1, tid, team),
                  <int>share(parts, 1, tid + 1, team))
    meet(e, tid, team)
    if l == t.plan.n_layers - 1:
        if tid == 0:
            add_parts(t, l, n, parts, 0, t.layers[l].n_out)
        return
    add_parts(t, l, n, parts, own_rows(e, l + 1, n, tid, team),
              own_rows(e, l + 1, n, tid + 1, team))
    next_parts = fbp_plan_parts(&t.layers[l + 1], n)
    if next_parts == 1 or team > next_parts:
        meet(e, tid, team)


cdef inline int few_samples_forward(EpochState *e, int64_t row0, int64_t n, int tid,
                                    int team) noexcept nogil:
    """Forward and loss, shared by weights. Has a barrier after each layer. 1 if losses are finite.
    """
    cdef const Pass *t = &e.run
    cdef int l, last = t.plan.n_layers - 1, finite = 1
    if tid == 0:
        input_rows(t, row0, 0, n)
    meet(e, tid, team)
    for l in range(last + 1):
        few_samples_layer(e, l, n, tid, team)
    if tid == 0:
        finite = losses(t, row0, 0, n)
        output_dz(t, 0, n)
        transpose_dz(t, last, n, 0, t.layers[last].n_out)
    return finite


cdef inline int slab_piece(EpochState *e, int64_t row0, int64_t at, int64_t n, char *slab,
                           bint first) noexcept nogil:
    """Both passes of samples row0 .. row0+n; their gradient is the slab (first) or added to it."""
    cdef const Pass *t = &e.run
    cdef const fbp_layer *layer
    cdef size_t item = t.plan.itemsize
    cdef char *dz
    cdef int l, finite
    forward(t, row0, at, n, True)
    finite = losses(t, row0, at, n)
    backward(t, at, n)
    for l in range(t.plan.n_layers):
        layer = &t.layers[l]
        dz = row_of(t, layer.dz, layer.ld, at)
        t.kernels.dense_bwd_dw(x_rows(t, l) + at, n, 0, layer.n_in, row_major(dz, layer.ld),
                               layer.n_out, not first, slab + <size_t>layer.p_w * item)
        t.kernels.dense_bwd_db(dz, layer.ld, n, layer.n_out, not first,
                               slab + <size_t>layer.p_b * item)
    return finite


cdef inline int slab_rows(EpochState *e, int s, int64_t row0, int64_t n, bint first,
                          int tid) noexcept nogil:
    """One slab's part of the block's n rows; 1 if the losses are finite."""
    cdef int64_t begin = share(n, TILE, s, e.n_slabs), end = share(n, TILE, s + 1, e.n_slabs)
    cdef int64_t at = tid * <int64_t>FBP_SUM_ROWS, piece, rows
    cdef int pieces = <int>((end - begin + FBP_SUM_ROWS - 1) // FBP_SUM_ROWS), i
    cdef int finite = 1
    if first:
        slab_loss(e, s)[0] = 0.0
        if begin == end:
            memset(slab_of(e, s), 0, e.run.plan.slab_size)
    for i in range(pieces):  # of about the same size
        piece = begin + share(end - begin, TILE, i, pieces)
        rows = begin + share(end - begin, TILE, i + 1, pieces) - piece
        finite &= slab_piece(e, row0 + piece, at, rows, slab_of(e, s), first)
        slab_loss(e, s)[0] += fbp_sum(row_loss(&e.run, at), rows)
        first = False
    return finite


cdef inline int block_slabs(EpochState *e, int64_t row0, int64_t n, bint first, int tid,
                            int team) noexcept nogil:
    """This thread's slabs; 1 if the losses are finite."""
    cdef int finite = 1, s
    for s in range(<int>share(e.n_slabs, 1, tid, team), <int>share(e.n_slabs, 1, tid + 1, team)):
        finite &= slab_rows(e, s, row0, n, first, tid)
    return finite


cdef inline void add_block_loss(EpochState *e, int64_t batch, int64_t n, bint first,
                                bint last) noexcept nogil:
    if e.n_slabs == 0:
        e.batch_loss = (0.0 if first else e.batch_loss) + fbp_sum(row_loss(&e.run, 0), n)
    elif last:
        e.batch_loss = fbp_sum(slab_loss(e, 0), e.n_slabs)
    if last and e.batch_losses != NULL:
        e.batch_losses[batch] = e.batch_loss
    if last and e.squares != NULL:
        e.squares[batch] = sum_of_squares(e)


cdef inline int passes(EpochState *e, int64_t row0, int64_t n, bint first, int tid,
                       int team) noexcept nogil:
    """Forward, loss and, but for few samples, backward; 1 if the losses are finite."""
    if e.n_slabs > 0:
        return block_slabs(e, row0, n, first, tid, team)
    if e.few_samples:
        return few_samples_forward(e, row0, n, tid, team)
    return block_rows(e, row0, n, tid, team)


cdef inline bint epoch_block(EpochState *e, int tid, int team) noexcept nogil:
    """The next rows of the epoch: up to a block, within one minibatch. False: a loss not finite.

    A flag may be read only where no thread of the team can be raising it at the same time, lest one
    leaves and the others wait: bad_loss between the two barriers, the rest after the second.
    """
    cdef int64_t row0 = e.cursor, batch = row0 // e.batch_size
    cdef int64_t begin = batch * e.batch_size
    cdef int64_t end = min(begin + e.batch_size, e.n)
    cdef int64_t n = min(e.block, end - row0)
    cdef bint first = row0 == begin, last = row0 + n == end
    if first and e.squares != NULL:
        square_weights(e, tid, team)
    if not passes(e, row0, n, first, tid, team) and e.update.kind >= 0:
        fbp_raise_flag(&e.bad_loss)
    meet(e, tid, team)
    if e.bad_loss:
        return False
    if tid == 0:
        add_block_loss(e, batch, n, first, last)
    if last or e.n_slabs == 0:
        gradient_and_update(e, batch, row0, n, first or e.n_slabs > 0, last, tid, team)
    if tid == 0:
        finish_block(e, row0 + n, last)
    meet(e, tid, team)
    return True


cdef inline void epoch_worker(void *task, int tid, int team) noexcept nogil:
    cdef EpochState *e = <EpochState *>task
    if e.run.bf16 != NULL:
        e.run.bf16.begin()
    if not e.copied:
        copy_weights(&e.run, tid, team)
        meet(e, tid, team)
    while e.cursor < e.n and not (e.stop or e.bad_parameters) and epoch_block(e, tid, team):
        pass
    if e.run.bf16 != NULL:
        e.run.bf16.end()
