"""The passes of a range of rows with products of bf16, all else in float32, on one thread.

As in _pass.pxd, but every matrix is packed as an operand (src_c/kernels/bf16.inc.h) as soon as it
is made, GROUP columns at a time, while these are in cache: x and dz as left operands of z and dx,
and as the operands of dw.
"""

from libc.stdint cimport int64_t, uint16_t

from fastbp._c cimport *
from fastbp._pass cimport *


cdef enum:
    GROUP = 4 * FBP_BF16_UNIT


cdef inline int64_t tiles_along(int64_t n) noexcept nogil:
    return (n + FBP_BF16_UNIT - 1) // FBP_BF16_UNIT


cdef inline uint16_t *tile_of(const Pass *t, size_t offset, int64_t tile) noexcept nogil:
    return <uint16_t *>(t.arena + offset) + tile * FBP_BF16_TILE


cdef inline uint16_t *left_of_rows(const Pass *t, int l, int64_t at) noexcept nogil:
    """Where rows from `at` on of x or dz of layer l lie in left form. Threads do not meet there."""
    return tile_of(t, t.plan.left[l % 2], at // 16 * t.plan.left_stride)


cdef inline void pack_columns(const Pass *t, int l, const void **rows, bint left, int form,
                              size_t operand_of_dw, int64_t at, int64_t n, int64_t c0,
                              int64_t c1) noexcept nogil:
    """Columns c0 .. c1 of x or dz of a layer: left operand if wanted, and operand of dw in a form.
    """
    cdef fbp_bf16_source source
    source.rows, source.data, source.ld = rows + at, NULL, 0
    if left:
        t.bf16.pack(FBP_BF16_LEFT, &source, at, at + n, c0, c1,
                    tile_of(t, t.plan.left[l % 2], 0), t.plan.left_stride)
    t.bf16.pack(form, &source, at, at + n, c0, c1, tile_of(t, operand_of_dw, 0), t.plan.steps)


cdef inline void pack_x(const Pass *t, int l, int64_t at, int64_t n, int64_t c0,
                        int64_t c1) noexcept nogil:
    """Columns c0 .. c1 of a layer's input: operands of z and of dw."""
    pack_columns(t, l, x_rows(t, l), True, FBP_BF16_LEFT_T, t.layers[l].x_left_t, at, n, c0, c1)


cdef inline void pack_bf16_dz(const Pass *t, int l, int64_t at, int64_t n, int64_t c0,
                              int64_t c1) noexcept nogil:
    """Columns c0 .. c1 of a layer's dz: operands of dx (but for the first layer) and of dw."""
    pack_columns(t, l, dz_rows(t, l), l > 0, FBP_BF16_RIGHT, t.layers[l].dz_right, at, n, c0, c1)


cdef inline void bf16_columns_forward(const Pass *t, int l, int64_t at, int64_t n, int64_t j0,
                                      int64_t j1) noexcept nogil:
    """Columns j0 .. j1 of a layer's output for rows at .. at+n."""
    cdef const fbp_layer *layer = &t.layers[l]
    cdef size_t offset = <size_t>j0 * t.plan.itemsize
    cdef int64_t steps = tiles_along(layer.n_in)
    t.bf16.product(left_of_rows(t, l, at), t.plan.left_stride, n,
                   tile_of(t, layer.w_right, j0 // 16 * steps), steps, j1 - j0, steps,
                   biases_of(t, l) + offset, False, row_of(t, layer.a, layer.ld, at) + offset,
                   layer.ld)
    activate_columns(t, l, at, n, j0, j1)


cdef inline void bf16_forward(const Pass *t, int64_t row0, int64_t at, int64_t n) noexcept nogil:
    """Samples row0 .. row0+n through the net, in rows at .. at+n of the arena."""
    cdef int l
    cdef int64_t j, end
    input_rows(t, row0, at, n)
    pack_x(t, 0, at, n, 0, t.layers[0].n_in)
    for l in range(t.plan.n_layers):
        j = 0
        while j < t.layers[l].n_out:
            end = min(j + GROUP, t.layers[l].n_out)
            bf16_columns_forward(t, l, at, n, j, end)
            if l + 1 < t.plan.n_layers:
                pack_x(t, l + 1, at, n, j, end)
            j = end


cdef inline void bf16_columns_below(const Pass *t, int l, int64_t at, int64_t n, int64_t i0,
                                    int64_t i1) noexcept nogil:
    """Columns i0 .. i1 of dz of the layer below l, for rows at .. at+n."""
    cdef const fbp_layer *layer = &t.layers[l]
    cdef const fbp_layer *below = &t.layers[l - 1]
    cdef size_t offset = <size_t>i0 * t.plan.itemsize
    cdef int64_t steps = tiles_along(layer.n_out)
    t.bf16.product(left_of_rows(t, l, at), t.plan.left_stride, n,
                   tile_of(t, layer.wt_right, i0 // 16 * steps), steps, i1 - i0, steps, NULL,
                   False, row_of(t, below.dz, below.ld, at) + offset, below.ld)
    times_slope_columns(t, l - 1, at, n, i0, i1)


cdef inline void bf16_backward(const Pass *t, int64_t at, int64_t n) noexcept nogil:
    """From dl/da of the last layer to dz of every layer."""
    cdef int l = t.plan.n_layers - 1
    cdef int64_t i, end
    output_dz(t, at, n)
    pack_bf16_dz(t, l, at, n, 0, t.layers[l].n_out)
    while l > 0:
        i = 0
        while i < t.layers[l].n_in:
            end = min(i + GROUP, t.layers[l].n_in)
            bf16_columns_below(t, l, at, n, i, end)
            pack_bf16_dz(t, l - 1, at, n, i, end)
            i = end
        l -= 1


cdef inline void bf16_dw(const Pass *t, int l, int64_t n, int64_t i0, int64_t i1, bint first,
                         char *dw) noexcept nogil:
    """Rows i0 .. i1 of a layer's dw over the n rows of the block; not first: added."""
    cdef const fbp_layer *layer = &t.layers[l]
    t.bf16.product(tile_of(t, layer.x_left_t, i0 // 16 * t.plan.steps), t.plan.steps, i1 - i0,
                   tile_of(t, layer.dz_right, 0), t.plan.steps, layer.n_out, tiles_along(n), NULL,
                   not first, dw, layer.n_out)
