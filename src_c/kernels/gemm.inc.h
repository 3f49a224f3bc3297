/* The matrix products, once per ISA and dtype.
 *
 * c (m x n) = init + sum over k of a(i, k) b[k]: every element is one accumulator, summed over k in
 * order with FMA, whatever the tile, the panel or the thread.
 *
 * A is a table of row pointers, read in one of two ways:
 *   plain        a(i, k) = rows[i][column + k]   x w and dz w^T: a row of A makes a row of c
 *   transposed   a(i, k) = rows[k][column + i]   x^T dz: a column of A makes a row of c
 *
 * B is row-major, or in panels (fbp_operand): panels lie one after the other, each a row-major
 * matrix of its own, PANEL columns wide, so that a product reads one stream of whole cache lines.
 *
 * Tiles: mr rows x nv vectors of c are held in registers. For each k a tile loads nv vectors of
 * b and broadcasts mr elements of a for mr * nv FMAs. FBP_MR_1, FBP_MR_2, ... (isa/<isa>.c) give
 * mr for nv = 1 .. FBP_PANEL_VECTORS so that accumulators, b and one broadcast fit the register
 * file, and so that enough independent FMAs hide their latency.
 *
 * Every fourth k fetches a cache line of the next block of b (the panels of an operand lie one after
 * the other), lest the first tile of each block runs at the pace of the third-level cache.
 *
 * Depth: the plain product works on FBP_DEPTH rows of b at a time, which stay in L2 while all tiles
 * of a panel pass; c is spilled in between and taken up again, which rounds nothing. The transposed
 * one sums pieces of at most FBP_SUM_ROWS samples, each from zero, and adds them to c in order: its
 * slice of A and its panel share L1, c is not waited for, and the error of a sum over many samples
 * grows with their pieces, not with their number. */

enum { FBP_K(PANEL) = FBP_PANEL_VECTORS * VL, FBP_K(FETCHES) = 2 };

typedef struct {
    const real *const *rows;
    int64_t column; /* of A: where the block of k (plain) or c's first row (transposed) begins */
    int64_t m, depth;
    const real *b;
    int64_t ld_b;
    int tail;  /* valid lanes in the last vector */
    int add;   /* transposed: c + sum, not sum */
    int fetch; /* plain: fetch the rows of the next tile, which may be far away */
    real *c;
    int64_t ld_c;
    const real *init; /* plain: start value, row i at init + i * ld_init; NULL: zero */
    int64_t ld_init;
} FBP_K(tiles);

static FBP_INLINE vec FBP_K(tile_load)(const real *p, const int partial, int tail)
{
    return partial ? v_load_n(p, tail) : v_load(p);
}

static FBP_INLINE void FBP_K(tile_store)(real *p, vec x, const int partial, int tail)
{
    if (partial) {
        v_store_n(p, x, tail);
    } else {
        v_store(p, x);
    }
}

/* One k of a tile: acc += a(i.., k) b[k]. at: a(i, k) of a transposed A; a: rows of a plain one. */
static FBP_INLINE void FBP_K(tile_step)(const int transposed, const int mr, const int nv,
                                        const int masked, int tail, const real *const *a, int64_t k,
                                        const real *at, const real *b,
                                        vec (*acc)[FBP_PANEL_VECTORS])
{
    vec bv[FBP_PANEL_VECTORS];
#pragma GCC unroll 4
    for (int v = 0; v < nv; v++) {
        bv[v] = FBP_K(tile_load)(b + v * VL, masked && v == nv - 1, tail);
    }
#pragma GCC unroll 16
    for (int r = 0; r < mr; r++) {
        const vec ar = v_set1(transposed ? at[r] : a[r][k]);
#pragma GCC unroll 4
        for (int v = 0; v < nv; v++) {
            acc[r][v] = v_fma_in_place(ar, bv[v], acc[r][v]);
        }
    }
}

/* Rows i, i + mr, ... of c while mr rows are left; returns the first row not done. The four
 * integers are compile-time constants of each instance; `masked` says that the last vector may
 * be partial. */
static FBP_INLINE int64_t FBP_K(sweep)(const int transposed, const int mr, const int nv,
                                       const int masked, const FBP_K(tiles) *const shared,
                                       int64_t i)
{
    /* a copy, which no store to c can change: its numbers need not be read again after each */
    const FBP_K(tiles) own = *shared, *const t = &own;
    const int64_t depth = t->depth, ld_b = t->ld_b;
    const int last = nv - 1, tail = t->tail;
    const char *ahead = (const char *)(t->b + depth * ld_b); /* the next block of b */
    for (; i + mr <= t->m; i += mr) {
        vec acc[16][FBP_PANEL_VECTORS];
        const real *a[16];
#pragma GCC unroll 16
        for (int r = 0; r < mr; r++) {
            a[r] = transposed ? NULL : t->rows[i + r] + t->column;
            const real *const start =
                !transposed && t->init ? t->init + (i + r) * t->ld_init : NULL;
#pragma GCC unroll 4
            for (int v = 0; v < nv; v++) {
                acc[r][v] =
                    start ? FBP_K(tile_load)(start + v * VL, masked && v == last, tail) : (vec){0};
                if (transposed && t->add) {
                    __builtin_prefetch(t->c + (i + r) * t->ld_c + v * VL, 1);
                }
            }
        }
        const real *b = t->b;
        int64_t k = 0;
        for (; k + 4 <= depth; k += 4, ahead += FBP_ALIGN) {
            __builtin_prefetch(ahead, 0, 2);
            if (!transposed && t->fetch && i + 2 * mr <= t->m) {
                /* a cache line of every row takes VL k; twice as fast, as tiles may be low */
                const int64_t q = k / 4 * FBP_K(FETCHES);
#pragma GCC unroll 4
                for (int u = 0; u < FBP_K(FETCHES); u++) {
                    const real *const row = t->rows[i + mr + (q + u) % mr] + t->column;
                    __builtin_prefetch(row + (q + u) / mr * (FBP_ALIGN / (int)sizeof(real)), 0, 2);
                }
            }
#pragma GCC unroll 4
            for (int u = 0; u < 4; u++, b += ld_b) {
                const real *const at = transposed ? t->rows[k + u] + t->column + i : NULL;
                FBP_K(tile_step)(transposed, mr, nv, masked, tail, a, k + u, at, b, acc);
            }
        }
        for (; k < depth; k++, b += ld_b) {
            const real *const at = transposed ? t->rows[k] + t->column + i : NULL;
            FBP_K(tile_step)(transposed, mr, nv, masked, tail, a, k, at, b, acc);
        }
#pragma GCC unroll 16
        for (int r = 0; r < mr; r++) {
            real *const c = t->c + (i + r) * t->ld_c;
#pragma GCC unroll 4
            for (int v = 0; v < nv; v++) {
                const int partial = masked && v == last;
                const vec x = transposed && t->add
                                  ? FBP_K(tile_load)(c + v * VL, partial, tail) + acc[r][v]
                                  : acc[r][v];
                FBP_K(tile_store)(c + v * VL, x, partial, tail);
            }
        }
    }
    return i;
}

/* One instance: rows in strips of MR, then of 4, 2 and 1. */
#define FBP_SWEEP(NAME, TRANSPOSED, MR, NV, MASKED)                                                \
    static __attribute__((noinline)) void FBP_K(NAME)(const FBP_K(tiles) *t)                       \
    {                                                                                              \
        int64_t i = FBP_K(sweep)(TRANSPOSED, MR, NV, MASKED, t, 0);                                \
        i = MR > 4 ? FBP_K(sweep)(TRANSPOSED, 4, NV, MASKED, t, i) : i;                            \
        i = FBP_K(sweep)(TRANSPOSED, 2, NV, MASKED, t, i);                                         \
        (void)FBP_K(sweep)(TRANSPOSED, 1, NV, MASKED, t, i);                                       \
    }

FBP_SWEEP(plain_full, 0, FBP_MR_FULL, FBP_PANEL_VECTORS, 0)
FBP_SWEEP(plain_1, 0, FBP_MR_1, 1, 1)
FBP_SWEEP(plain_2, 0, FBP_MR_2, 2, 1)
FBP_SWEEP(transposed_full, 1, FBP_MR_FULL, FBP_PANEL_VECTORS, 0)
FBP_SWEEP(transposed_1, 1, FBP_MR_1, 1, 1)
FBP_SWEEP(transposed_2, 1, FBP_MR_2, 2, 1)
#if FBP_PANEL_VECTORS == 4
FBP_SWEEP(plain_3, 0, FBP_MR_3, 3, 1)
FBP_SWEEP(plain_4, 0, FBP_MR_4, 4, 1)
FBP_SWEEP(transposed_3, 1, FBP_MR_3, 3, 1)
FBP_SWEEP(transposed_4, 1, FBP_MR_4, 4, 1)
#endif
#undef FBP_SWEEP

typedef void (*FBP_K(sweep_function))(const FBP_K(tiles) *);

/* by number of vectors in the panel; 0 stands for the full panel */
static const FBP_K(sweep_function) FBP_K(sweeps)[2][FBP_PANEL_VECTORS + 1] = {
#if FBP_PANEL_VECTORS == 4
    {FBP_K(plain_full), FBP_K(plain_1), FBP_K(plain_2), FBP_K(plain_3), FBP_K(plain_4)},
    {FBP_K(transposed_full), FBP_K(transposed_1), FBP_K(transposed_2), FBP_K(transposed_3),
     FBP_K(transposed_4)},
#else
    {FBP_K(plain_full), FBP_K(plain_1), FBP_K(plain_2)},
    {FBP_K(transposed_full), FBP_K(transposed_1), FBP_K(transposed_2)},
#endif
};

/* Columns of the panel that begins `columns_left` columns before the end */
static FBP_INLINE int64_t FBP_K(panel_width)(int64_t columns_left)
{
    return columns_left < FBP_K(PANEL) ? columns_left : FBP_K(PANEL);
}

/* Leading dimension of that panel: whole vectors */
static FBP_INLINE int64_t FBP_K(panel_ld)(int64_t columns_left)
{
    return (FBP_K(panel_width)(columns_left) + VL - 1) / VL * VL;
}

/* Where column j, the first of a panel, of B (depth x n) begins, and its leading dimension */
static FBP_INLINE const real *FBP_K(panel_of)(fbp_operand b, int64_t depth, int64_t n, int64_t j,
                                              int64_t *ld)
{
    *ld = b.panels ? FBP_K(panel_ld)(n - j) : b.ld;
    return (const real *)b.data + (b.panels ? j * depth : j);
}

/* One column panel of c, `width` columns wide, by the instance that fits it */
static FBP_INLINE void FBP_K(sweep_panel)(int transposed, FBP_K(tiles) *t, int64_t width)
{
    const int64_t vectors = (width + VL - 1) / VL;
    t->tail = (int)(width - (vectors - 1) * VL);
    FBP_K(sweeps)[transposed][width == FBP_K(PANEL) ? 0 : vectors](t);
}

/* The plain product for all k of one column panel; t gives the rest. */
static void FBP_K(panel_product)(FBP_K(tiles) t, int64_t width)
{
    const int64_t depth = t.depth, column = t.column;
    const real *const b = t.b;
    int64_t k = 0;
    do { /* once even for depth 0: c = init */
        t.depth = depth - k < FBP_DEPTH ? depth - k : FBP_DEPTH;
        t.b = b + k * t.ld_b;
        t.column = column + k;
        FBP_K(sweep_panel)(0, &t, width);
        t.init = t.c;
        t.ld_init = t.ld_c;
        k += t.depth;
    } while (k < depth);
}

/* Rows k0 .. k1 of a matrix (depth x n), b being the first of them, to their places in its panels */
static void FBP_K(pack)(const void *b, int64_t ld_b, int64_t k0, int64_t k1, int64_t depth,
                        int64_t n, void *panels)
{
    for (int64_t j = 0; j < n; j += FBP_K(PANEL)) {
        const int64_t width = FBP_K(panel_width)(n - j), ld = FBP_K(panel_ld)(n - j);
        const int64_t whole = width / VL * VL;
        const real *from = (const real *)b + j;
        real *to = (real *)panels + j * depth + k0 * ld;
        for (int64_t k = k0; k < k1; k++, from += ld_b, to += ld) {
            for (int64_t c = 0; c < whole; c += VL) {
                v_store(to + c, v_load(from + c));
            }
            if (whole < width) {
                v_store(to + whole, v_load_n(from + whole, (int)(width - whole)));
            }
        }
    }
}
