/* The matrix products, once per ISA and dtype.
 *
 * c (m x n) = init + sum over k of a(i, k) b[k]: every element is one accumulator, summed over k in
 * order with FMA, whatever the tile, the panel or the thread. Sums longer than one block of k are
 * spilled to c and taken up again, which rounds nothing.
 *
 * A is a table of row pointers, read in one of two ways:
 *   plain        a(i, k) = rows[i][column + k]   x w and dz w^T: a row of A makes a row of c
 *   transposed   a(i, k) = rows[k][column + i]   x^T dz: a column of A makes a row of c
 *
 * Tiles: mr rows x nv vectors of c are held in registers. For each k a tile loads nv vectors of
 * b and broadcasts mr elements of a for mr * nv FMAs. FBP_MR_1 .. FBP_MR_4 (isa/<isa>.c) give mr
 * for nv = 1 .. 4 so that accumulators, b and one broadcast fit the register file, and so that
 * enough independent FMAs hide their latency. A panel is 4 vectors wide; its block of FBP_KC
 * rows of b stays in L2, and is packed where b is so wide that its rows would share a few cache
 * sets and many pages. (sizes.h) */

typedef struct {
    const real *const *rows;
    int64_t column; /* of A: where the block of k (plain) or c's first row (transposed) begins */
    int64_t m, depth;
    const real *b;
    int64_t ld_b;
    int tail; /* valid lanes in the last vector */
    real *c;
    int64_t ld_c;
    const real *init; /* start value, row i at init + i * ld_init; NULL: zero */
    int64_t ld_init;
} FBP_K(tiles);

/* Rows i, i + mr, ... of c while mr rows are left; returns the first row not done. The four
 * integers are compile-time constants of each instance; `masked` says that the last vector may
 * be partial. */
static FBP_INLINE int64_t FBP_K(sweep)(const int transposed, const int mr, const int nv,
                                       const int masked, const FBP_K(tiles) *const t, int64_t i)
{
    const int64_t depth = t->depth, ld_b = t->ld_b;
    const int last = nv - 1, tail = t->tail;
    for (; i + mr <= t->m; i += mr) {
        vec acc[16][FBP_PANEL_VECTORS];
        const real *a[16];
#pragma GCC unroll 16
        for (int r = 0; r < mr; r++) {
            a[r] = transposed ? NULL : t->rows[i + r] + t->column;
            const real *const start = t->init ? t->init + (i + r) * t->ld_init : NULL;
#pragma GCC unroll 4
            for (int v = 0; v < nv; v++) {
                acc[r][v] = !start                  ? (vec){0}
                            : (masked && v == last) ? v_load_n(start + v * VL, tail)
                                                    : v_load(start + v * VL);
            }
        }
        const real *b = t->b;
        for (int64_t k = 0; k < depth; k++, b += ld_b) {
            const real *const at = transposed ? t->rows[k] + t->column + i : NULL;
            vec bv[FBP_PANEL_VECTORS];
#pragma GCC unroll 4
            for (int v = 0; v < nv; v++) {
                bv[v] = (masked && v == last) ? v_load_n(b + v * VL, tail) : v_load(b + v * VL);
            }
#pragma GCC unroll 16
            for (int r = 0; r < mr; r++) {
                const vec ar = v_set1(transposed ? at[r] : a[r][k]);
#pragma GCC unroll 4
                for (int v = 0; v < nv; v++) {
                    acc[r][v] = v_fma(ar, bv[v], acc[r][v]);
                }
            }
        }
#pragma GCC unroll 16
        for (int r = 0; r < mr; r++) {
            real *const c = t->c + (i + r) * t->ld_c;
#pragma GCC unroll 4
            for (int v = 0; v < nv; v++) {
                if (masked && v == last) {
                    v_store_n(c + v * VL, acc[r][v], tail);
                } else {
                    v_store(c + v * VL, acc[r][v]);
                }
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

FBP_SWEEP(plain_full, 0, FBP_MR_4, 4, 0)
FBP_SWEEP(plain_1, 0, FBP_MR_1, 1, 1)
FBP_SWEEP(plain_2, 0, FBP_MR_2, 2, 1)
FBP_SWEEP(plain_3, 0, FBP_MR_3, 3, 1)
FBP_SWEEP(plain_4, 0, FBP_MR_4, 4, 1)
FBP_SWEEP(transposed_full, 1, FBP_MR_4, 4, 0)
FBP_SWEEP(transposed_1, 1, FBP_MR_1, 1, 1)
FBP_SWEEP(transposed_2, 1, FBP_MR_2, 2, 1)
FBP_SWEEP(transposed_3, 1, FBP_MR_3, 3, 1)
FBP_SWEEP(transposed_4, 1, FBP_MR_4, 4, 1)
#undef FBP_SWEEP

typedef void (*FBP_K(sweep_function))(const FBP_K(tiles) *);

/* by number of vectors in the panel; 0 stands for the full panel */
static const FBP_K(sweep_function) FBP_K(sweeps)[2][FBP_PANEL_VECTORS + 1] = {
    {FBP_K(plain_full), FBP_K(plain_1), FBP_K(plain_2), FBP_K(plain_3), FBP_K(plain_4)},
    {FBP_K(transposed_full), FBP_K(transposed_1), FBP_K(transposed_2), FBP_K(transposed_3),
     FBP_K(transposed_4)},
};

/* depth rows of `width` elements of b, one after the other, each filled up to whole vectors */
static void FBP_K(pack)(const real *b, int64_t ld_b, int64_t depth, int64_t width, int64_t ld,
                        real *panel)
{
    const int64_t whole = width / VL * VL;
    for (int64_t k = 0; k < depth; k++, b += ld_b, panel += ld) {
        for (int64_t j = 0; j < whole; j += VL) {
            v_store(panel + j, v_load(b + j));
        }
        if (whole < width) {
            v_store(panel + whole, v_load_n(b + whole, (int)(width - whole)));
        }
    }
}

/* One column panel of c, `width` <= 4 VL columns wide: t gives a, m, c, init and all of b's
 * depth */
static void FBP_K(panel_product)(int transposed, FBP_K(tiles) t, int64_t width, fbp_scratch scratch)
{
    const int64_t depth = t.depth, ld_b = t.ld_b;
    const real *const b = t.b, *const *const rows = t.rows;
    const int vectors = (int)((width + VL - 1) / VL);
    const int full = width == FBP_PANEL_VECTORS * VL;
    const int64_t ld_panel = (int64_t)vectors * VL;
    const int packed = t.m >= FBP_PACK_MIN_ROWS &&
                       ld_b * (int64_t)sizeof(real) >= FBP_PACK_MIN_BYTES &&
                       scratch.size >= sizeof(real) * (size_t)(FBP_KC * FBP_PANEL_VECTORS * VL);
    t.tail = (int)(width - (int64_t)(vectors - 1) * VL);
    int64_t k = 0;
    do { /* once even for depth 0: c = init */
        t.depth = depth - k < FBP_KC ? depth - k : FBP_KC;
        t.b = b + k * ld_b;
        if (packed) {
            FBP_K(pack)(t.b, ld_b, t.depth, width, ld_panel, scratch.buffer);
            t.b = scratch.buffer;
            t.ld_b = ld_panel;
        }
        if (transposed) {
            t.rows = rows + k;
        } else {
            t.column = k;
        }
        FBP_K(sweeps)[transposed][full ? 0 : vectors](&t);
        t.init = t.c;
        t.ld_init = t.ld_c;
        k += t.depth;
    } while (k < depth);
}
