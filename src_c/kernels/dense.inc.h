/* The three products of a dense layer with what belongs to them, column panel by column panel, so
 * that bias, activation and derivative work on what the product has just left in cache. */

/* a = sigma(rows w + b). Reads rows, w, b; writes a and slope. */
static void FBP_K(dense_fwd)(const void *const *rows, int64_t n_rows, int64_t n_in, fbp_operand w,
                             const void *b, int64_t n_out, int activation, double alpha, void *a,
                             void *slope, int64_t ld)
{
    const int keeps_slope = slope && fbp_keeps_slope(activation);
    for (int64_t j = 0; j < n_out; j += FBP_K(PANEL)) {
        const int64_t width = FBP_K(panel_width)(n_out - j);
        real *const z = (real *)a + j;
        FBP_K(tiles) t = {
            .rows = (const real *const *)rows,
            .m = n_rows,
            .depth = n_in,
            .c = z,
            .ld_c = ld,
            .init = (const real *)b + j,
            .ld_init = 0,
        };
        t.b = FBP_K(panel_of)(w, n_in, n_out, j, &t.ld_b);
        FBP_K(panel_product)(0, t, width, FBP_DEPTH);
        FBP_K(activate_rows)(activation, alpha, n_rows, width, ld, z, z,
                             keeps_slope ? (real *)slope + j : NULL);
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
        FBP_K(panel_product)(0, t, width, FBP_DEPTH);
        FBP_K(times_slope_rows)(activation, alpha, n_rows, width, ld, (const real *)a + i,
                                slope ? (const real *)slope + i : NULL, t.c);
    }
}

/* dw (+)= rows[:, i0:i1]^T dz. Reads rows, dz; writes dw. */
static void FBP_K(dense_bwd_dw)(const void *const *rows, int64_t n_rows, int64_t i0, int64_t i1,
                                fbp_operand dz, int64_t n_out, int accumulate, void *dw)
{
    const int64_t pieces = (n_rows + FBP_SUM_ROWS - 1) / FBP_SUM_ROWS;
    for (int64_t j = 0; j < n_out; j += FBP_K(PANEL)) {
        FBP_K(tiles) t = {
            .rows = (const real *const *)rows,
            .column = i0,
            .m = i1 - i0,
            .depth = n_rows,
            .add = accumulate,
            .c = (real *)dw + j,
            .ld_c = n_out,
        };
        t.b = FBP_K(panel_of)(dz, n_rows, n_out, j, &t.ld_b);
        FBP_K(panel_product)(1, t, FBP_K(panel_width)(n_out - j), (n_rows + pieces - 1) / pieces);
    }
}

/* db (+)= sum of dz's rows, in order */
static void FBP_K(dense_bwd_db)(const void *dz, int64_t ld, int64_t n_rows, int64_t n_out,
                                int accumulate, void *db)
{
    for (int64_t j = 0; j < n_out; j += VL) {
        const int n = (int)(n_out - j < VL ? n_out - j : VL);
        real *const out = (real *)db + j;
        const real *in = (const real *)dz + j;
        vec sum = (vec){0};
        for (int64_t r = 0; r < n_rows; r++, in += ld) {
            sum += v_load_n(in, n);
        }
        v_store_n(out, accumulate ? v_load_n(out, n) + sum : sum, n);
    }
}
