/* Data movement: the caller's rows, the transposed copy of w, the outer product. */

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

/* wt[:, i0:i1] = w[i0:i1, :]^T, in squares that fit a few cache lines each way */
static void FBP_K(transpose)(const void *w, int64_t i0, int64_t i1, int64_t n_in, int64_t n_out,
                             void *wt)
{
    enum { SQUARE = 16 };
    for (int64_t i = i0; i < i1; i += SQUARE) {
        const int64_t i_end = i1 - i < SQUARE ? i1 : i + SQUARE;
        for (int64_t j = 0; j < n_out; j += SQUARE) {
            const int64_t j_end = n_out - j < SQUARE ? n_out : j + SQUARE;
            for (int64_t jj = j; jj < j_end; jj++) {
                for (int64_t ii = i; ii < i_end; ii++) {
                    ((real *)wt)[jj * n_in + ii] = ((const real *)w)[ii * n_out + jj];
                }
            }
        }
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
