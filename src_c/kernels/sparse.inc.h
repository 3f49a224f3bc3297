/* The two products of a first layer whose X is sparse: what is not stored is not computed.
 *
 * A stored element meets one row of w (or of dw). Forward, strips of columns are kept in registers
 * while all elements of a sample go by; for dw, each element is added to its row in memory. */

enum { FBP_K(SPARSE_STRIP) = 4 }; /* vectors */

/* Columns j0 .. j0 + width of one sample's z, width at most a strip; begin .. end are its elements */
static FBP_INLINE void FBP_K(sparse_strip)(const fbp_samples *s, int64_t begin, int64_t end,
                                           const real *w, const real *b, int64_t n_out, int64_t j0,
                                           int64_t width, real *z)
{
    const int vectors = (int)((width + VL - 1) / VL), last = (int)(width - (vectors - 1) * VL);
    vec acc[FBP_K(SPARSE_STRIP)];
    for (int v = 0; v < vectors; v++) {
        acc[v] = v_load_n(b + j0 + v * VL, v < vectors - 1 ? VL : last);
    }
    for (int64_t k = begin; k < end; k++) {
        const vec x = v_set1(((const real *)s->x)[k]);
        const real *const row = w + s->indices[k] * n_out + j0;
        for (int v = 0; v < vectors; v++) {
            const vec wv = v < vectors - 1 ? v_load(row + v * VL) : v_load_n(row + v * VL, last);
            acc[v] = v_fma(x, wv, acc[v]);
        }
    }
    for (int v = 0; v < vectors; v++) {
        v_store_n(z + j0 + v * VL, acc[v], v < vectors - 1 ? VL : last);
    }
}

/* Reads X, w, b; writes z. */
static void FBP_K(sparse_fwd)(const fbp_samples *s, int64_t row0, int64_t n_rows, const void *w,
                              const void *b, int64_t n_out, void *z, int64_t ld)
{
    const int64_t strip = FBP_K(SPARSE_STRIP) *VL;
    for (int64_t r = 0; r < n_rows; r++) {
        const int64_t row = FBP_K(sample)(s, row0 + r);
        for (int64_t j = 0; j < n_out; j += strip) {
            FBP_K(sparse_strip)(s, s->indptr[row], s->indptr[row + 1], w, b, n_out, j,
                                n_out - j < strip ? n_out - j : strip, (real *)z + r * ld);
        }
    }
}

/* The first of elements begin .. end whose column is at least i */
static FBP_INLINE int64_t FBP_K(first_from)(const int32_t *indices, int64_t begin, int64_t end,
                                            int64_t i)
{
    while (begin < end) {
        const int64_t middle = begin + (end - begin) / 2;
        if (indices[middle] < i) {
            begin = middle + 1;
        } else {
            end = middle;
        }
    }
    return begin;
}

/* Reads X, dz; writes dw. */
static void FBP_K(sparse_dw)(const fbp_samples *s, int64_t row0, int64_t n_rows, int64_t i0,
                             int64_t i1, const void *dz, int64_t ld, int64_t n_out, int accumulate,
                             void *dw)
{
    if (!accumulate) {
        memset(dw, 0, (size_t)((i1 - i0) * n_out) * sizeof(real));
    }
    for (int64_t r = 0; r < n_rows; r++) {
        const int64_t row = FBP_K(sample)(s, row0 + r), end = s->indptr[row + 1];
        const real *const d = (const real *)dz + r * ld;
        for (int64_t k = FBP_K(first_from)(s->indices, s->indptr[row], end, i0);
             k < end && s->indices[k] < i1; k++) {
            const vec x = v_set1(((const real *)s->x)[k]);
            real *const out = (real *)dw + (s->indices[k] - i0) * n_out;
            for (int64_t j = 0; j < n_out; j += VL) {
                const int lanes = (int)(n_out - j < VL ? n_out - j : VL);
                const vec sum = v_fma(x, v_load_n(d + j, lanes), v_load_n(out + j, lanes));
                v_store_n(out + j, sum, lanes);
            }
        }
    }
}
