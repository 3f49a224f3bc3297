/* The three products of a dense layer with what belongs to them, column panel by column panel, so
 * that bias, activation and derivative work on what the product has just left in cache. */

enum {
    FBP_K(DOT_ROWS) = 4,
    FBP_K(DOT_VECTORS) = FBP_DOT_LANES / VL,
    FBP_K(SUM_VECTORS) = 4, /* that are summed at once, so that additions need not wait */
    FBP_K(SUM_WIDTH) = FBP_K(SUM_VECTORS) *VL,
    FBP_K(MANY_COLUMNS) = 512 / (int)sizeof(real), /* of dz: more pay for gathering rows of x */
};

/* FBP_DOT_LANES columns from the j-th on, of which `left` are there, of the rows times those elements
 * of y */
static FBP_INLINE void FBP_K(dot_step)(const int whole, int64_t left, int64_t j,
                                       const real *const *rows, const real *y,
                                       vec (*acc)[FBP_K(DOT_VECTORS)])
{
#pragma GCC unroll 8
    for (int v = 0; v < FBP_K(DOT_VECTORS); v++) {
        const int64_t rest = left - v * VL;
        const int lanes = rest <= 0 ? 0 : rest < VL ? (int)rest : VL;
        const vec yv = FBP_K(tile_load)(y + j + v * VL, !whole, lanes);
#pragma GCC unroll 4
        for (int r = 0; r < FBP_K(DOT_ROWS); r++) {
            const vec row = FBP_K(tile_load)(rows[r] + j + v * VL, !whole, lanes);
            acc[r][v] = v_fma(row, yv, acc[r][v]);
        }
    }
}

/* The FBP_DOT_LANES lanes of each row, added by halves; those of all rows at once for the last two */
static FBP_INLINE void FBP_K(add_lanes)(vec (*acc)[FBP_K(DOT_VECTORS)], quad *out)
{
    quad sums[FBP_K(DOT_ROWS)];
    _Static_assert(FBP_K(DOT_ROWS) == 4, "a quad");
#pragma GCC unroll 4
    for (int r = 0; r < FBP_K(DOT_ROWS); r++) {
        quad lanes[FBP_DOT_LANES / 4];
        memcpy(lanes, acc[r], sizeof lanes);
#pragma GCC unroll 4
        for (int half = FBP_DOT_LANES / 8; half > 0; half /= 2) {
#pragma GCC unroll 4
            for (int i = 0; i < half; i++) {
                lanes[i] += lanes[i + half];
            }
        }
        sums[r] = lanes[0];
    }
    FBP_K(transpose_quads)(sums);
    *out = (sums[0] + sums[2]) + (sums[1] + sums[3]);
}

/* Up to DOT_ROWS rows times y: sums of every FBP_DOT_LANES-th product, added by halves. Writes
 * DOT_ROWS numbers, of which n_rows count. */
static FBP_INLINE void FBP_K(dots)(const real *const *rows, int64_t n_rows, int64_t depth,
                                   const real *y, real *out)
{
    const real *all[FBP_K(DOT_ROWS)];
    for (int r = 0; r < FBP_K(DOT_ROWS); r++) {
        all[r] = rows[r < n_rows ? r : 0];
    }
    vec acc[FBP_K(DOT_ROWS)][FBP_K(DOT_VECTORS)] = {{{0}}};
    int64_t j = 0;
    for (; j + FBP_DOT_LANES <= depth; j += FBP_DOT_LANES) {
        FBP_K(dot_step)(1, FBP_DOT_LANES, j, all, y, acc);
    }
    if (j < depth) {
        FBP_K(dot_step)(0, depth - j, j, all, y, acc);
    }
    quad sums;
    FBP_K(add_lanes)(acc, &sums);
    memcpy(out, &sums, sizeof sums);
}

/* z = b + rows w for a single output: as a column of a product it would leave all lanes but one
 * idle */
static void FBP_K(one_output)(const real *const *rows, int64_t n_rows, int64_t n_in, const real *w,
                              real b, real *z, int64_t ld)
{
    real sums[FBP_K(DOT_ROWS)];
    for (int64_t r = 0; r < n_rows; r += FBP_K(DOT_ROWS)) {
        const int64_t n = n_rows - r < FBP_K(DOT_ROWS) ? n_rows - r : FBP_K(DOT_ROWS);
        FBP_K(dots)(rows + r, n, n_in, w, sums);
        for (int k = 0; k < n; k++) {
            z[(r + k) * ld] = b + sums[k];
        }
    }
}

/* a = sigma(rows w + b). Reads rows, w, b; writes a and slope. */
static void FBP_K(dense_fwd)(const void *const *rows, int64_t n_rows, int64_t n_in, fbp_operand w,
                             const void *b, int64_t n_out, int activation, double alpha, void *a,
                             void *slope, int64_t ld)
{
    const int keeps_slope = slope && fbp_keeps_slope(activation);
    if (n_out == 1 && !w.panels && w.ld == 1) {
        FBP_K(one_output)((const real *const *)rows, n_rows, n_in, w.data, *(const real *)b, a, ld);
        FBP_K(activate_rows)(activation, alpha, n_rows, 1, ld, a, a, keeps_slope ? slope : NULL);
        return;
    }
    for (int64_t j = 0; j < n_out; j += FBP_K(PANEL)) {
        const int64_t width = FBP_K(panel_width)(n_out - j);
        real *const z = (real *)a + j;
        FBP_K(tiles) t = {
            .rows = (const real *const *)rows,
            .m = n_rows,
            .depth = n_in,
            .c = z,
            .ld_c = ld,
            .fetch = j == 0,
            .init = (const real *)b + j,
            .ld_init = 0,
        };
        t.b = FBP_K(panel_of)(w, n_in, n_out, j, &t.ld_b);
        FBP_K(panel_product)(t, width);
        FBP_K(activate_rows)(activation, alpha, n_rows, width, ld, z, z,
                             keeps_slope ? (real *)slope + j : NULL);
    }
}

/* Columns k0 .. k1 of the rows times as many rows of w; a sum that begins at b, or if that is NULL
 * at zero. Reads rows, w, b; writes z. */
static void FBP_K(dense_part)(const void *const *rows, int64_t n_rows, int64_t k0, int64_t k1,
                              int64_t n_in, fbp_operand w, const void *b, int64_t n_out, void *z,
                              int64_t ld)
{
    for (int64_t j = 0; j < n_out; j += FBP_K(PANEL)) {
        FBP_K(tiles) t = {
            .rows = (const real *const *)rows,
            .column = k0,
            .m = n_rows,
            .depth = k1 - k0,
            .c = (real *)z + j,
            .ld_c = ld,
            .init = b ? (const real *)b + j : NULL,
        };
        t.b = FBP_K(panel_of)(w, n_in, n_out, j, &t.ld_b);
        t.b += k0 * t.ld_b;
        FBP_K(panel_product)(t, FBP_K(panel_width)(n_out - j));
    }
}

/* dz_below = sigma'(z below) * (dz wt). Reads dz_rows, wt, a, slope; writes dz_below. */
static void FBP_K(dense_bwd_dz)(const void *const *dz_rows, int64_t n_rows, int64_t n_out,
                                fbp_operand wt, int64_t n_in, int activation, double alpha,
                                const void *a, const void *slope, void *dz_below, int64_t ld)
{
    for (int64_t i = 0; i < n_in; i += FBP_K(PANEL)) {
        const int64_t width = FBP_K(panel_width)(n_in - i);
        FBP_K(tiles) t = {
            .rows = (const real *const *)dz_rows,
            .m = n_rows,
            .depth = n_out,
            .c = (real *)dz_below + i,
            .ld_c = ld,
        };
        t.b = FBP_K(panel_of)(wt, n_out, n_in, i, &t.ld_b);
        FBP_K(panel_product)(t, width);
        FBP_K(times_slope_rows)(activation, alpha, n_rows, width, ld, (const real *)a + i,
                                slope ? (const real *)slope + i : NULL, t.c);
    }
}

/* w (m x n_out) dz for the dz of one sample, by dots for the same reason */
static void FBP_K(one_sample_below)(const real *w, int64_t m, int64_t n_out, const real *dz,
                                    real *below)
{
    const real *rows[FBP_K(DOT_ROWS)];
    real sums[FBP_K(DOT_ROWS)];
    for (int64_t i = 0; i < m; i += FBP_K(DOT_ROWS)) {
        const int64_t n = m - i < FBP_K(DOT_ROWS) ? m - i : FBP_K(DOT_ROWS);
        for (int64_t r = 0; r < n; r++) {
            rows[r] = w + (i + r) * n_out;
        }
        FBP_K(dots)(rows, n, n_out, dz, sums);
        for (int64_t r = 0; r < n; r++) {
            below[i + r] = sums[r];
        }
    }
}

/* The m columns of dz_below for more than one sample, by strips of rows of w. Not inline: the stack
 * for the strip, page by page, costs single samples of small nets a twentieth of their time. */
static __attribute__((noinline)) void FBP_K(few_samples_below)(
    const void *w, int64_t m, int64_t n_out, fbp_operand dzt, int64_t n_rows, int activation,
    double alpha, const void *a, const void *slope, void *dz_below, int64_t ld)
{
    real c[FBP_STRIP * FBP_K(PANEL)];
    const real *rows[FBP_STRIP];
    for (int64_t i = 0; i < m; i += FBP_STRIP) {
        const int64_t strip = m - i < FBP_STRIP ? m - i : FBP_STRIP;
        real *const below = (real *)dz_below + i;
        for (int64_t r = 0; r < strip; r++) {
            rows[r] = (const real *)w + (i + r) * n_out;
        }
        for (int64_t s = 0; s < n_rows; s += FBP_K(PANEL)) {
            const int64_t width = FBP_K(panel_width)(n_rows - s);
            FBP_K(tiles) t = {.rows = rows, .m = strip, .depth = n_out, .c = c};
            t.ld_c = FBP_K(panel_ld)(n_rows - s);
            t.b = FBP_K(panel_of)(dzt, n_out, n_rows, s, &t.ld_b);
            FBP_K(panel_product)(t, width);
            FBP_K(transpose_strip)(c, t.ld_c, strip, width, below + s * ld, ld);
        }
        FBP_K(times_slope_rows)(activation, alpha, n_rows, strip, ld, (const real *)a + i,
                                slope ? (const real *)slope + i : NULL, below);
    }
}

/* m columns of dz_below = sigma'(z below) * (dz w^T), as (w dz^T)^T for few samples. Reads w, dzt, a,
 * slope; writes dz_below. */
static void FBP_K(dense_bwd_dz_few)(const void *w, int64_t m, int64_t n_out, fbp_operand dzt,
                                    int64_t n_rows, int activation, double alpha, const void *a,
                                    const void *slope, void *dz_below, int64_t ld)
{
    if (n_rows > 1) {
        FBP_K(few_samples_below)(w, m, n_out, dzt, n_rows, activation, alpha, a, slope, dz_below,
                                 ld);
        return;
    }
    FBP_K(one_sample_below)(w, m, n_out, dzt.data, dz_below);
    FBP_K(times_slope_rows)(activation, alpha, 1, m, ld, a, slope, dz_below);
}

/* Columns i0 .. i1 of n_rows rows, close together in `to`; the table then points there. */
static void FBP_K(gather_columns)(const real *const *rows, int64_t n_rows, int64_t i0, int64_t i1,
                                  real *to, const real **table)
{
    const int64_t n = i1 - i0, whole = n / VL * VL;
    for (int64_t r = 0; r < n_rows; r++, to += n) {
        const real *const from = rows[r] + i0;
        for (int64_t i = 0; i < whole; i += VL) {
            v_store(to + i, v_load(from + i));
        }
        for (int64_t i = whole; i < n; i++) {
            to[i] = from[i];
        }
        table[r] = to;
    }
}

/* `vectors` vectors (a constant) of dw for a single output, from column i of the rows on */
static FBP_INLINE void FBP_K(dw_column)(const int vectors, int tail, const real *const *rows,
                                        int64_t n_rows, int64_t i, const real *dz, int64_t ld,
                                        int add, real *dw)
{
    vec sums[FBP_K(SUM_VECTORS)] = {{0}};
    for (int64_t r = 0; r < n_rows; r++) {
        const vec d = v_set1(dz[r * ld]);
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
            const vec x = FBP_K(tile_load)(rows[r] + i + v * VL, v == vectors - 1, tail);
            sums[v] = v_fma(x, d, sums[v]);
        }
    }
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) {
        const int partial = v == vectors - 1;
        real *const to = dw + v * VL;
        const vec sum = add ? FBP_K(tile_load)(to, partial, tail) + sums[v] : sums[v];
        FBP_K(tile_store)(to, sum, partial, tail);
    }
}

/* Rows i0 .. i1 of dw (+)= rows^T dz for a single output: dw is then a vector along i */
static void FBP_K(dw_one_output)(const real *const *rows, int64_t n_rows, int64_t i0, int64_t i1,
                                 const real *dz, int64_t ld, int add, real *dw)
{
    for (int64_t i = i0; i < i1; i += FBP_K(SUM_WIDTH), dw += FBP_K(SUM_WIDTH)) {
        const int64_t width = i1 - i < FBP_K(SUM_WIDTH) ? i1 - i : FBP_K(SUM_WIDTH);
        const int vectors = (int)((width + VL - 1) / VL), tail = (int)(width - (vectors - 1) * VL);
        switch (vectors) {
        case 1: FBP_K(dw_column)(1, tail, rows, n_rows, i, dz, ld, add, dw); break;
        case 2: FBP_K(dw_column)(2, tail, rows, n_rows, i, dz, ld, add, dw); break;
        case 3: FBP_K(dw_column)(3, tail, rows, n_rows, i, dz, ld, add, dw); break;
        default: FBP_K(dw_column)(4, tail, rows, n_rows, i, dz, ld, add, dw); break;
        }
    }
}

/* All panels of a strip of dw; t gives the rows. The samples begin at row r0 of dz. */
static void FBP_K(dw_panels)(FBP_K(tiles) t, fbp_operand dz, int64_t r0, int64_t dz_rows,
                             int64_t n_out, real *dw)
{
    for (int64_t j = 0; j < n_out; j += FBP_K(PANEL)) {
        t.b = FBP_K(panel_of)(dz, dz_rows, n_out, j, &t.ld_b);
        t.b += r0 * t.ld_b;
        t.c = dw + j;
        FBP_K(sweep_panel)(1, &t, FBP_K(panel_width)(n_out - j));
    }
}

/* The same where several panels of dz pass: what they need of the rows is brought together first, as
 * rows lie far apart, each on a page of its own. Not inline, for the same reason. */
static __attribute__((noinline)) void FBP_K(dw_panels_gathered)(FBP_K(tiles) t, fbp_operand dz,
                                                                int64_t r0, int64_t dz_rows,
                                                                int64_t n_out, real *dw)
{
    real gathered[FBP_SUM_ROWS * FBP_STRIP];
    const real *table[FBP_SUM_ROWS];
    FBP_K(gather_columns)(t.rows, t.depth, t.column, t.column + t.m, gathered, table);
    t.rows = table;
    t.column = 0;
    FBP_K(dw_panels)(t, dz, r0, dz_rows, n_out, dw);
}

/* Rows i0 .. i1 (at most FBP_STRIP) of dw (+)= rows^T dz for one piece of samples, which begins at
 * row r0 of dz */
static void FBP_K(dw_strip)(const real *const *rows, int64_t n_rows, int64_t i0, int64_t i1,
                            fbp_operand dz, int64_t r0, int64_t dz_rows, int64_t n_out, int add,
                            real *dw)
{
    if (n_out == 1 && !dz.panels) {
        const real *const column = (const real *)dz.data + r0 * dz.ld;
        FBP_K(dw_one_output)(rows, n_rows, i0, i1, column, dz.ld, add, dw);
        return;
    }
    const FBP_K(tiles) t = {
        .rows = rows, .column = i0, .m = i1 - i0, .depth = n_rows, .add = add, .ld_c = n_out};
    if (n_out > FBP_K(MANY_COLUMNS)) {
        FBP_K(dw_panels_gathered)(t, dz, r0, dz_rows, n_out, dw);
    } else {
        FBP_K(dw_panels)(t, dz, r0, dz_rows, n_out, dw);
    }
}

/* dw (+)= rows[:, i0:i1]^T dz. Reads rows, dz; writes dw. */
static void FBP_K(dense_bwd_dw)(const void *const *rows, int64_t n_rows, int64_t i0, int64_t i1,
                                fbp_operand dz, int64_t n_out, int accumulate, void *dw)
{
    const int64_t pieces = (n_rows + FBP_SUM_ROWS - 1) / FBP_SUM_ROWS;
    const int64_t piece = (n_rows + pieces - 1) / pieces;
    for (int64_t i = i0; i < i1; i += FBP_STRIP) {
        const int64_t end = i1 - i < FBP_STRIP ? i1 : i + FBP_STRIP;
        for (int64_t r = 0; r < n_rows; r += piece) {
            FBP_K(dw_strip)((const real *const *)rows + r, n_rows - r < piece ? n_rows - r : piece,
                            i, end, dz, r, n_rows, n_out, accumulate || r > 0,
                            (real *)dw + (i - i0) * n_out);
        }
    }
}

/* Sums of `vectors` vectors of columns, of which the last has `tail` lanes, over all rows */
static FBP_INLINE void FBP_K(sum_columns)(const int vectors, int tail, const real *dz, int64_t ld,
                                          int64_t n_rows, int accumulate, real *db)
{
    vec sums[FBP_K(SUM_VECTORS)];
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) {
        sums[v] = (vec){0};
    }
    for (int64_t r = 0; r < n_rows; r++, dz += ld) {
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
            sums[v] += v_load_n(dz + v * VL, v == vectors - 1 ? tail : VL);
        }
    }
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) {
        const int lanes = v == vectors - 1 ? tail : VL;
        real *const out = db + v * VL;
        v_store_n(out, accumulate ? v_load_n(out, lanes) + sums[v] : sums[v], lanes);
    }
}

/* db (+)= sum of dz's rows, in order */
static void FBP_K(dense_bwd_db)(const void *dz, int64_t ld, int64_t n_rows, int64_t n_out,
                                int accumulate, void *db)
{
    int64_t j = 0;
    for (; j + FBP_K(SUM_WIDTH) <= n_out; j += FBP_K(SUM_WIDTH)) {
        FBP_K(sum_columns)(FBP_K(SUM_VECTORS), VL, (const real *)dz + j, ld, n_rows, accumulate,
                           (real *)db + j);
    }
    for (; j < n_out; j += VL) {
        FBP_K(sum_columns)(1, (int)(n_out - j < VL ? n_out - j : VL), (const real *)dz + j, ld,
                           n_rows, accumulate, (real *)db + j);
    }
}
