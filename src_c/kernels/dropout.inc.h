/* Dropout: factors of a layer's outputs, and of their slopes, from a generator that needs no state.
 *
 * The factor of an element depends on the key and the element's number alone, so that any thread may
 * draw it. Work goes in pieces of FBP_PIECE columns of a row, on the stack. */

static FBP_INLINE uint64_t FBP_K(swapped)(uint64_t x)
{
    return x >> 32 | x << 32;
}

/* The generator Squares, four rounds */
static FBP_INLINE uint32_t FBP_K(squares)(uint64_t number, uint64_t key)
{
    uint64_t x = number * key;
    const uint64_t y = x, z = y + key;
    x = FBP_K(swapped)(x * x + y);
    x = FBP_K(swapped)(x * x + z);
    x = FBP_K(swapped)(x * x + y);
    return (uint32_t)((x * x + z) >> 32);
}

static void FBP_K(dropout)(double rate, uint64_t key, int64_t first_row, int activation,
                           double alpha, int64_t n_rows, int64_t n, int64_t ld, void *a,
                           void *slope)
{
    const uint64_t below = (uint64_t)(rate * 4294967296.0);
    const real kept = (real)(1.0 / (1.0 - rate));
    const int stored = fbp_keeps_slope(activation);
    real factor[FBP_PIECE];
    for (int64_t r = 0; r < n_rows; r++) {
        for (int64_t j0 = 0; j0 < n; j0 += FBP_PIECE) {
            const int64_t width = n - j0 < FBP_PIECE ? n - j0 : FBP_PIECE;
            const uint64_t first = (uint64_t)((first_row + r) * n + j0);
            real *const ar = (real *)a + r * ld + j0, *const sr = (real *)slope + r * ld + j0;
            for (int64_t j = 0; j < width; j++) {
                factor[j] = FBP_K(squares)(first + (uint64_t)j, key) < below ? 0 : kept;
            }
            for (int64_t j = 0; j < width; j++) {
                sr[j] = stored ? sr[j] * factor[j] : factor[j];
            }
            if (!stored) {
                FBP_K(times_slope_rows)(activation, alpha, 1, width, ld, ar, NULL, sr);
            }
            for (int64_t j = 0; j < width; j++) {
                ar[j] *= factor[j];
            }
        }
    }
}
