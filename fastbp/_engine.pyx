"""The loops of fastbp: layers, row blocks, minibatches; the only parallel regions.

The arithmetic is in src_c (kernels on one thread, rows in, rows out); arguments are validated in
Python, before they come here. Signatures and contracts are in _engine.pyi.

How threads share a batch, with the same bits at any number of them, is in _epoch.pxd.
"""

import os
import warnings
from dataclasses import dataclass

from cpython.buffer cimport (
    PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_Release,
    PyObject_GetBuffer,
)
from cpython.exc cimport PyErr_CheckSignals
from cython.parallel cimport parallel, threadid
from libc.float cimport DBL_MAX, FLT_MAX
from libc.stdint cimport INT32_MAX, int32_t, int64_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from fastbp._c cimport *
from fastbp._epoch cimport epoch_worker
from fastbp._pass cimport (
    GRADIENT_OF_ROWS, LOSSES_OF_ROWS, PREDICT, PREDICT_LINK, Pass, RowsTask, Worker, point_rows,
    rows_worker, share,
)
from fastbp._step cimport EpochState
from fastbp._weights cimport copy_weights


cdef extern from "<stdlib.h>" nogil:
    void *aligned_alloc(size_t alignment, size_t size)


ACTIVATIONS = tuple([fbp_activation_name(code).decode() for code in range(FBP_N_ACTIVATIONS)])
LOSSES = tuple([fbp_loss_name(code).decode() for code in range(FBP_N_LOSSES)])
OPTIMIZERS = tuple([fbp_optimizer_name(code).decode() for code in range(FBP_N_OPTIMIZERS)])
X_DTYPES = tuple([fbp_dtype_name(code).decode() for code in range(FBP_N_DTYPES)])


include "_settings.pxi"
include "_teams.pxi"
include "_buffers.pxi"


# --------------------------------------------------------------------------------------------------
# Network: sizes, and a pool of arenas

cdef enum:
    MOST_ARENAS = 4  # kept for the next pass; more only while passes run at once
    PANELS_MIN_ROWS = 24  # of a thread's rows: they pay for copies of w that updates keep
    PANELS_ONCE_MIN_ROWS = 256  # and for copies made for them alone
    BLOCK_OF_SPARSE = 1 << 10  # most rows of a sparse X between barriers
    BLOCK_OF_SLAB = 1 << 11  # most rows of a slab between barriers, where Ctrl-C is seen,
    LEAST_OF_SLAB = 96  # fewer where so many are more than BETWEEN_SIGNALS
    BETWEEN_SIGNALS = 1_000_000_000  # floating-point operations between two looks at Ctrl-C
    UPDATE = 60  # floating-point operations in whose time a weight is updated


# What a barrier costs where no weights are exchanged at it, beside others, measured.
cdef double IN_PARTS = 0.25


cdef char *arena_memory(size_t size) noexcept:
    """Aligned memory; large arenas in huge pages, as far as the system has them."""
    cdef char *memory
    if size < FBP_HUGE_PAGE:
        return <char *>aligned_alloc(FBP_ALIGN, size)
    size = (size + FBP_HUGE_PAGE - 1) // FBP_HUGE_PAGE * FBP_HUGE_PAGE
    memory = <char *>aligned_alloc(FBP_HUGE_PAGE, size)
    if memory != NULL:
        fbp_prefer_huge_pages(memory, size)
    return memory


cdef class Arena:
    """Scratch memory for one pass at a time, laid out by a plan."""

    cdef fbp_plan plan
    cdef fbp_layer *layers
    cdef char *memory
    cdef const fbp_kernels *kernels

    def __cinit__(self, Network network, int64_t block, int n_slabs, bint bf16, bint sparse):
        cdef int l
        cdef size_t size = network.n_layers * sizeof(fbp_layer)
        self.kernels = kernels_of("", network.itemsize)
        self.layers = <fbp_layer *>calloc(1, size)
        if self.layers == NULL:
            raise MemoryError()
        memcpy(self.layers, network.layers, size)
        if fbp_plan_make(&self.plan, self.layers, network.n_layers, network.itemsize, block,
                         self.kernels.panel, n_slabs, bf16, sparse) != FBP_OK:
            raise OverflowError("the network is too large for this machine's address space")
        self.memory = arena_memory(self.plan.size)
        if self.memory == NULL:
            raise MemoryError(
                f"{self.plan.size} bytes for activations and deltas; make the network smaller"
            )
        for l in range(network.n_layers):
            self.point_layer(l)

    cdef void point_layer(self, int l) noexcept:
        cdef fbp_layer *layer = &self.layers[l]
        cdef fbp_layer *below = &self.layers[l - 1]
        point_rows(<const void **>(self.memory + layer.dz_rows), self.memory + layer.dz, layer.ld,
                   self.plan.itemsize, self.plan.block)
        if l > 0:
            point_rows(<const void **>(self.memory + layer.x_rows), self.memory + below.a, below.ld,
                       self.plan.itemsize, self.plan.block)

    def __dealloc__(self):
        free(self.layers)
        free(self.memory)


cdef class Network:
    cdef readonly int64_t n_parameters
    cdef public int max_threads
    cdef int n_layers
    cdef size_t itemsize
    cdef fbp_layer *layers
    cdef int loss
    cdef Buffer loss_parameters
    cdef list pool

    def __cinit__(self, widths, activations, alphas, int loss, loss_parameters, size_t itemsize,
                  dropouts=None):
        cdef int l
        cdef fbp_plan plan
        self.n_layers = len(activations)
        self.itemsize = itemsize
        self.loss = loss
        self.loss_parameters = readable(loss_parameters)
        self.pool = []
        self.layers = <fbp_layer *>calloc(self.n_layers, sizeof(fbp_layer))
        if self.layers == NULL:
            raise MemoryError()
        for l in range(self.n_layers):
            self.layers[l].n_in = widths[l]
            self.layers[l].n_out = widths[l + 1]
            self.layers[l].activation = activations[l]
            self.layers[l].alpha = alphas[l]
            self.layers[l].dropout = dropouts[l] if dropouts is not None else 0.0
        if fbp_plan_make(&plan, self.layers, self.n_layers, itemsize, 1, 1, 0, 0, 0) != FBP_OK:
            raise OverflowError("the network has more parameters than this machine can address")
        self.n_parameters = plan.n_parameters

    def __dealloc__(self):
        free(self.layers)

    def offsets(self):
        return [(self.layers[l].p_w, self.layers[l].p_b) for l in range(self.n_layers)]

    cdef int64_t block_for(self, int64_t batch, bint bf16, bint sparse) noexcept:
        if sparse:
            return min(batch, <int64_t>BLOCK_OF_SPARSE)
        return fbp_plan_block(self.layers, self.n_layers, self.itemsize, batch, bf16)

    cdef int64_t block_of_slab(self, int slabs) noexcept:
        cdef int64_t rows = <int64_t>BETWEEN_SIGNALS // (6 * self.n_parameters * slabs)
        return min(max(rows, <int64_t>LEAST_OF_SLAB), <int64_t>BLOCK_OF_SLAB)

    cdef bint few(self, int64_t batch) noexcept:
        """Whether there is less of dz to transpose, there and back, than of w."""
        cdef int l
        cdef int64_t outputs = 0
        for l in range(self.n_layers):
            outputs += self.layers[l].n_out
        return batch <= FBP_FEW_SAMPLES and 2 * batch * outputs <= self.n_parameters

    cdef bint in_parts(self, int64_t n) noexcept:
        """Whether z of the largest layer is summed in parts: no w goes from thread to thread."""
        cdef int l, largest = 0
        for l in range(self.n_layers):
            if (self.layers[l].n_in * self.layers[l].n_out
                    > self.layers[largest].n_in * self.layers[largest].n_out):
                largest = l
        return fbp_plan_parts(&self.layers[largest], n) > 1

    cdef int team_for(self, double flop_per_weight, double barriers, int64_t shares) except -1:
        """Threads that pay for so much work, in so many shares and with so many barriers in it."""
        cdef int most = self.max_threads if self.max_threads > 0 else get_num_threads()
        cdef double worth = <double>most
        if _thread_grain > 0:
            # float64 takes twice the time of float32
            worth = (flop_per_weight * <double>self.n_parameters
                     * <double>(self.itemsize // sizeof(float)) / (_thread_grain * barriers))
        return affordable(<int>max(1.0, min(worth, <double>min(<int64_t>most, shares))))

    cdef Arena take(self, int64_t block, int n_slabs, bint bf16, bint sparse):
        """An arena from the pool that is large enough, or a new one."""
        cdef Arena arena
        cdef const fbp_kernels *kernels = kernels_of("", self.itemsize)
        for arena in self.pool:
            if (arena.kernels == kernels and arena.plan.block >= block
                    and arena.plan.n_slabs >= n_slabs and arena.plan.bf16 == bf16
                    and arena.plan.sparse == sparse):
                self.pool.remove(arena)
                return arena
        return Arena(self, block, n_slabs, bf16, sparse)

    cdef int give_back(self, Arena arena) except -1:
        self.pool.append(arena)
        if len(self.pool) > MOST_ARENAS:
            del self.pool[0]
        return 0

    cdef Pass start(self, Arena arena, Buffer parameters, Samples samples,
                    bint w_in_panels) noexcept:
        """A pass that keeps no copy of w transposed."""
        cdef Pass t
        t.kernels = arena.kernels
        t.bf16 = NULL
        t.plan = &arena.plan
        t.layers = arena.layers
        t.arena = arena.memory
        t.p = parameters.data()
        t.samples = samples.c
        t.x_in_place = (samples.c.x_dtype == (0 if self.itemsize == sizeof(float) else 1)
                        and samples.c.x_stride1 == <ptrdiff_t>self.itemsize)
        t.w_in_panels = w_in_panels
        t.wt_in_panels = False
        t.drops, t.seed = False, 0
        t.loss = self.loss
        t.loss_parameters = <const double *>self.loss_parameters.data()
        return t

    def predict(self, parameters, x, out, bint link):
        self.each_row(PREDICT_LINK if link else PREDICT, parameters, Samples(x), writable(out))

    def losses(self, parameters, x, y, weight, out):
        self.each_row(LOSSES_OF_ROWS, parameters, Samples(x, y, weight), writable(out))

    def per_sample_gradient(self, parameters, x, y, weight, out):
        self.each_row(GRADIENT_OF_ROWS, parameters, Samples(x, y, weight), writable(out))

    cdef int each_row(self, int what, parameters, Samples samples, Buffer out) except -1:
        """Passes whose rows need nothing of each other: a range of rows for each thread.

        Ctrl-C ends them. What a gradient of each row costs is mostly to write it.
        """
        cdef bint sparse = samples.c.indptr != NULL
        cdef int64_t rows = self.block_for(samples.n, False, sparse)
        cdef int threads = self.team_for(2.0 * <double>rows, 1, rows)
        cdef double flop_of_row = (
            (16.0 if what == GRADIENT_OF_ROWS else 2.0) * <double>self.n_parameters)
        cdef int64_t piece = max(rows, <int64_t>(BETWEEN_SIGNALS / flop_of_row))
        cdef Arena arena = self.take(rows, 0, False, sparse)
        cdef Buffer p = readable(parameters)
        cdef RowsTask task
        task.run = self.start(arena, p, samples, samples.n // threads >= PANELS_ONCE_MIN_ROWS)
        task.run.wt_in_panels = what == GRADIENT_OF_ROWS
        task.what, task.out = what, out.data()
        copy_weights(&task.run, 0, 1)
        task.begin = 0
        while task.begin < samples.n:
            task.end = min(samples.n, task.begin + piece)
            with nogil:
                on_team(rows_worker, &task, threads)
            PyErr_CheckSignals()
            task.begin = task.end
        self.give_back(arena)
        return 0

    def gradient(self, parameters, x, y, weight, out):
        cdef Epoch epoch = Epoch(self, parameters, out, None, None, x, y, weight, None, x.shape[0],
                                 None, None, 1, optimizer=-1)
        while not epoch.run(0.05):
            pass
        return epoch.state.loss


# --------------------------------------------------------------------------------------------------
# Epoch: minibatches with updates (or, without an optimizer, the gradient of one batch)

cdef class Epoch:
    cdef EpochState state
    cdef Network network
    cdef Arena arena
    cdef Samples samples
    cdef int threads
    cdef tuple held
    cdef object clock
    cdef double epochs

    def __cinit__(self, Network network, parameters, gradient, m, v, x, y, weight, order,
                  int64_t batch_size, rates, scales, int64_t first_step, *, int optimizer,
                  bint nesterov=False, double weight_decay=0.0, double decoupled_decay=0.0,
                  double beta1=0.0, double beta2=0.0, double eps=0.0, double l2=0.0,
                  double clip_norm=0.0, bint eps_hat=False, batch_losses=None, squares=None,
                  str bf16="", dropout_seed=None, int64_t batches_done=0, double loss=0.0,
                  clock=None):
        cdef EpochState *e = &self.state
        cdef Buffer p = readable(parameters) if optimizer < 0 else writable(parameters)
        cdef Buffer g = writable(gradient), mb = writable(m), vb = writable(v)
        cdef Buffer r = readable(rates), s = readable(scales)
        cdef Buffer bl = writable(batch_losses), sq = writable(squares)
        self.network = network
        self.samples = Samples(x, y, weight, order)
        self.held = (p, g, mb, vb, r, s, bl, sq)
        memset(e, 0, sizeof(EpochState))
        e.n, e.batch_size, e.first_step = self.samples.n, batch_size, first_step
        # an epoch that goes on: its first minibatches are done, and this is their summed loss
        e.cursor, e.batches_done, e.loss = batches_done * batch_size, batches_done, loss
        e.p, e.g, e.m, e.v = p.data(), g.data(), mb.data(), vb.data()
        e.rates, e.scales = <const double *>r.data(), <const double *>s.data()
        self.clock, self.epochs = clock, 0.0 if clock is None else clock.epochs
        e.l2, e.clip_norm, e.eps_hat = l2, clip_norm, eps_hat
        e.batch_losses, e.squares = <double *>bl.data(), <double *>sq.data()
        e.update.kind, e.update.nesterov = optimizer, nesterov
        e.update.weight_decay, e.update.decoupled_decay = weight_decay, decoupled_decay
        e.update.beta1, e.update.beta2, e.update.eps = beta1, beta2, eps
        self.plan(p, min(batch_size, e.n), find_bf16(bf16) if bf16 else NULL,
                  dropout_seed is not None)
        if dropout_seed is not None:
            e.run.drops, e.run.seed = True, dropout_seed

    cdef int plan(self, Buffer parameters, int64_t batch, const fbp_bf16 *bf16,
                  bint drops) except -1:
        """How to share a batch (_epoch.pxd), on how many threads, and an arena for it."""
        cdef EpochState *e = &self.state
        cdef Network network = self.network
        cdef bint half = bf16 != NULL, sparse = self.samples.c.indptr != NULL
        cdef int slabs = 1
        cdef int64_t rows_of_thread
        cdef double barriers = 2.0
        if not (half or sparse):
            slabs = fbp_plan_slabs(network.layers, network.n_layers, batch)
        e.n_slabs = slabs if slabs > 1 else 0
        e.few_samples = slabs == 1 and network.few(batch) and not (half or sparse or drops)
        e.block = (min(batch, slabs * network.block_of_slab(slabs)) if slabs > 1
                   else network.block_for(batch, half, sparse))
        if slabs == 1 and batch <= FBP_FEW_SAMPLES and not half:
            # by rows there are fewer, but a small net pays as much for what is exchanged at them
            barriers = 2.0 * network.n_layers + 1.0
            if e.few_samples and network.in_parts(batch):
                barriers *= IN_PARTS
        # three products of a multiplication and an addition for every weight and row
        self.threads = network.team_for(
            6.0 * <double>e.block + (UPDATE if e.update.kind >= 0 else 0), barriers,
            slabs if slabs > 1 else INT32_MAX)
        self.arena = network.take(self.threads * <int64_t>FBP_SUM_ROWS if slabs > 1 else e.block,
                                  e.n_slabs, half, sparse)
        rows_of_thread = batch if e.few_samples else batch // self.threads
        e.run = network.start(
            self.arena, parameters, self.samples,
            rows_of_thread >= (PANELS_MIN_ROWS if e.update.kind >= 0 else PANELS_ONCE_MIN_ROWS))
        e.run.wt_in_panels = not e.few_samples
        e.run.bf16 = bf16
        return 0

    cdef int64_t n_batches(self) noexcept:
        return (self.state.n + self.state.batch_size - 1) // self.state.batch_size

    @property
    def batches_done(self):
        return self.state.batches_done

    @property
    def loss(self):
        return self.state.loss

    @property
    def status(self):
        return ("loss" if self.state.bad_loss
                else "parameters" if self.state.bad_parameters else "ok")

    def parameters_changed(self):
        self.state.copied = False

    def run(self, double seconds):
        cdef EpochState *e = &self.state
        cdef double begun = fbp_seconds(), ended
        cdef int threads = useful_team(self.threads, begun)
        cdef int64_t row = e.cursor
        e.stop = 0
        e.deadline = begun + seconds
        e.barrier.arrived = 0
        e.waited = 0.0
        with nogil:
            on_team(epoch_worker, e, threads)
        e.copied = True
        if self.clock is not None:
            # Here and not in Python, where a signal could come between the minibatches and this.
            self.clock.steps = e.first_step - 1 + e.batches_done
            self.clock.epochs = self.epochs + <double>e.batches_done / <double>self.n_batches()
        if self.threads > 1:
            ended = fbp_seconds()
            judge_team(self.network.n_parameters, e.batch_size, <double>(e.cursor - row),
                       ended - begun, e.waited, ended)
        PyErr_CheckSignals()
        done = e.cursor >= e.n or e.bad_loss or e.bad_parameters
        if done and self.arena is not None:
            self.network.give_back(self.arena)
            self.arena = None
        return bool(done)
