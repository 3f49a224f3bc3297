/* Data movement: the caller's rows, the transposed copy of w, sums of slabs, the outer product. */

/* n values of type T, `stride` bytes apart, converted to real */
#define FBP_CONVERT(T)                                                                             \
    if (stride == (ptrdiff_t)sizeof(T)) {                                                          \
        for (int64_t i = 0; i < n; i++) {                                                          \
            out[i] = (real)((const T *)x)[i];                                                      \
        }                                                                                          \
    } else {                                                                                       \
        for (int64_t i = 0; i < n; i++) {                                                          \
            out[i] = (real) * (const T *)(x + i * stride);                                         \
        }                                                                                          \
    }                                                                                              \
    break

static void FBP_K(convert)(int dtype, const char *x, ptrdiff_t stride, int64_t n,
                           real *restrict out)
{
    switch (dtype) {
    case FBP_F32: FBP_CONVERT(float);
    case FBP_F64: FBP_CONVERT(double);
    case FBP_I8: FBP_CONVERT(int8_t);
    case FBP_U8: FBP_CONVERT(uint8_t);
    case FBP_I16: FBP_CONVERT(int16_t);
    case FBP_U16: FBP_CONVERT(uint16_t);
    case FBP_I32: FBP_CONVERT(int32_t);
    case FBP_U32: FBP_CONVERT(uint32_t);
    case FBP_I64: FBP_CONVERT(int64_t);
    case FBP_U64: FBP_CONVERT(uint64_t);
    default: break;
    }
}
#undef FBP_CONVERT

static void FBP_K(load_rows)(const fbp_samples *s, int64_t row0, int64_t n_rows, int64_t n_in,
                             void *out, int64_t ld)
{
    for (int64_t r = 0; r < n_rows; r++) {
        const int64_t row = s->order ? s->order[row0 + r] : row0 + r;
        FBP_K(convert)(s->x_dtype, s->x + row * s->x_stride0, s->x_stride1, n_in,
                       (real *)out + r * ld);
    }
}

/* Four rows of four elements become four columns */
static FBP_INLINE void FBP_K(transpose_quads)(quad *r)
{
    const quad even_lo = FBP_SHUFFLE(r[0], r[1], 0, 4, 1, 5);
    const quad even_hi = FBP_SHUFFLE(r[0], r[1], 2, 6, 3, 7);
    const quad odd_lo = FBP_SHUFFLE(r[2], r[3], 0, 4, 1, 5);
    const quad odd_hi = FBP_SHUFFLE(r[2], r[3], 2, 6, 3, 7);
    r[0] = FBP_SHUFFLE(even_lo, odd_lo, 0, 1, 4, 5);
    r[1] = FBP_SHUFFLE(even_lo, odd_lo, 2, 3, 6, 7);
    r[2] = FBP_SHUFFLE(even_hi, odd_hi, 0, 1, 4, 5);
    r[3] = FBP_SHUFFLE(even_hi, odd_hi, 2, 3, 6, 7);
}

/* 4 x 4 elements, transposed: rows ld_w apart to rows ld_wt apart */
static FBP_INLINE void FBP_K(transpose_4x4)(const real *w, int64_t ld_w, real *wt, int64_t ld_wt)
{
    quad r[4];
    for (int i = 0; i < 4; i++) {
        memcpy(&r[i], w + i * ld_w, sizeof r[i]);
    }
    FBP_K(transpose_quads)(r);
    for (int i = 0; i < 4; i++) {
        memcpy(wt + i * ld_wt, &r[i], sizeof r[i]);
    }
}

/* to = from^T for m x n elements, row-major */
static FBP_INLINE void FBP_K(transpose_strip)(const real *from, int64_t ld_from, int64_t m,
                                              int64_t n, real *to, int64_t ld_to)
{
    const int64_t m_fours = m / 4 * 4, n_fours = n / 4 * 4;
    for (int64_t j = 0; j < n_fours; j += 4) {
        for (int64_t i = 0; i < m_fours; i += 4) {
            FBP_K(transpose_4x4)(from + i * ld_from + j, ld_from, to + j * ld_to + i, ld_to);
        }
    }
    for (int64_t j = 0; j < n; j++) {
        for (int64_t i = j < n_fours ? m_fours : 0; i < m; i++) {
            to[j * ld_to + i] = from[i * ld_from + j];
        }
    }
}

/* Panels of w^T (n_out x n_in), their columns i0 .. i1, in strips of 16 so that whole cache lines
 * are written */
static void FBP_K(transpose)(const void *w, int64_t ld, int64_t i0, int64_t i1, int64_t j0,
                             int64_t j1, int64_t n_in, int64_t n_out, void *panels)
{
    enum { STRIP = FBP_K(PANEL) < 16 ? FBP_K(PANEL) : 16 };
    for (int64_t i = i0, end; i < i1; i = end) {
        const int64_t panel = i - i % FBP_K(PANEL);
        const int64_t strip_end = i / STRIP * STRIP + STRIP;
        end = strip_end < i1 ? strip_end : i1;
        const int64_t ld_panel = FBP_K(panel_ld)(n_in - panel);
        FBP_K(transpose_strip)((const real *)w + (i - i0) * ld, ld, end - i, j1 - j0,
                               (real *)panels + panel * n_out + j0 * ld_panel + (i - panel),
                               ld_panel);
    }
}

static void FBP_K(add_slabs)(const void *slabs, size_t stride, int count, int64_t n, void *out)
{
    for (int64_t i = 0; i < n; i += VL) {
        const int lanes = (int)(n - i < VL ? n - i : VL);
        const char *slab = slabs;
        vec sum = v_load_n((const real *)slab + i, lanes);
        for (int s = 1; s < count; s++) {
            slab += stride;
            sum += v_load_n((const real *)slab + i, lanes);
        }
        v_store_n((real *)out + i, sum, lanes);
    }
}

static void FBP_K(outer)(const void *x, int64_t n_in, const void *dz, int64_t n_out, void *out)
{
    const real *restrict d = dz;
    for (int64_t i = 0; i < n_in; i++) {
        const real xi = ((const real *)x)[i];
        real *restrict row = (real *)out + i * n_out;
        for (int64_t j = 0; j < n_out; j++) {
            row[j] = xi * d[j];
        }
    }
}
