"""The copies of the weights that products read: in panels, transposed, in bf16."""

from libc.stdint cimport int64_t

from fastbp._bf16 cimport tile_of, tiles_along
from fastbp._c cimport *
from fastbp._pass cimport *


cdef inline int64_t rows_of_w(const Pass *t) noexcept nogil:
    """Where threads may part the rows of w: whole cache lines or tiles of w transposed."""
    return FBP_BF16_UNIT if t.bf16 != NULL else ROWS_OF_W


cdef inline void bf16_copy_rows_of_w(const Pass *t, int l, int64_t i0, int64_t i1,
                                     const char *w) noexcept nogil:
    """The same for products of bf16; w is the first of the rows."""
    cdef const fbp_layer *layer = &t.layers[l]
    cdef fbp_bf16_source source
    source.rows, source.data, source.ld = NULL, w, layer.n_out
    t.bf16.pack(FBP_BF16_RIGHT, &source, i0, i1, 0, layer.n_out, tile_of(t, layer.w_right, 0),
                tiles_along(layer.n_in))
    if l > 0:
        t.bf16.pack(FBP_BF16_RIGHT_T, &source, i0, i1, 0, layer.n_out,
                    tile_of(t, layer.wt_right, 0), tiles_along(layer.n_out))


cdef inline void copy_rows_of_w(const Pass *t, int l, int64_t i0, int64_t i1) noexcept nogil:
    """Bring rows i0 .. i1 of a layer's w into its copies."""
    cdef const fbp_layer *layer = &t.layers[l]
    cdef const char *w = weights_of(t, l) + <size_t>(i0 * layer.n_out) * t.plan.itemsize
    if t.bf16 != NULL:
        bf16_copy_rows_of_w(t, l, i0, i1, w)
        return
    if t.w_in_panels and layer.wide:
        t.kernels.pack(w, layer.n_out, i0, i1, layer.n_in, layer.n_out, t.arena + layer.w_panels)
    if t.wt_in_panels and l > 0:
        t.kernels.transpose(w, layer.n_out, i0, i1, 0, layer.n_out, layer.n_in, layer.n_out,
                            t.arena + layer.wt_panels)


cdef inline void copy_weights(const Pass *t, int tid, int team) noexcept nogil:
    """This thread's share of the copies of all w."""
    cdef int l
    for l in range(t.plan.n_layers):
        copy_rows_of_w(t, l, share(t.layers[l].n_in, rows_of_w(t), tid, team),
                       share(t.layers[l].n_in, rows_of_w(t), tid + 1, team))
