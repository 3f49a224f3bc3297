/* The three products of a dense layer with what belongs to them, column panel by column panel, so
 * that bias, activation and derivative work on what the product has just left in cache. */

static FBP_INLINE int64_t FBP_K(panel_width)(int64_t columns_left)
{
    return columns_left < FBP_PANEL_VECTORS * VL ? columns_left : FBP_PANEL_VECTORS * VL;
}

/* a = sigma(rows w + b). Reads rows, w, b; writes a and slope; destroys scratch. */
static void FBP_K(dense_fwd)(const void *const *rows, int64_t n_rows, int64_t n_in, const void *w,
                             const void *b, int64_t n_out, int activation, double alpha, void *a,
                             void *slope, int64_t ld, fbp_scratch scratch)
{
    const int keeps_slope = slope && fbp_keeps_slope(activation);
    for (int64_t j = 0; j < n_out; j += FBP_PANEL_VECTORS * VL) {
        const int64_t width = FBP_K(panel_width)(n_out - j);
        const FBP_K(tiles) t = {
            .rows = (const real *const *)rows,
            .m = n_rows,
            .depth = n_in,
            .b = (const real *)w + j,
            .ld_b = n_out,
            .c = (real *)a + j,
            .ld_c = ld,
            .init = (const real *)b + j,
            .ld_init = 0,
        };
        FBP_K(panel_product)(0, t, width, scratch);
        if (activation != FBP_IDENTITY) {
            for (int64_t r = 0; r < n_rows; r++) {
                real *const z = (real *)a + r * ld + j;
                FBP_K(activate)(activation, alpha, width, z, z,
                                keeps_slope ? (real *)slope + r * ld + j : NULL);
            }
        }
    }
}

/* dz_below = sigma'(z below) * (dz wt). Reads dz_rows, wt, a, slope; writes dz_below; destroys
 * scratch. */
static void FBP_K(dense_bwd_dz)(const void *const *dz_rows, int64_t n_rows, int64_t n_out,
                                const void *wt, int64_t ld_wt, int64_t n_in, int activation,
                                double alpha, const void *a, const void *slope, void *dz_below,
                                int64_t ld, fbp_scratch scratch)
{
    for (int64_t i = 0; i < n_in; i += FBP_PANEL_VECTORS * VL) {
        const int64_t width = FBP_K(panel_width)(n_in - i);
        const FBP_K(tiles) t = {
            .rows = (const real *const *)dz_rows,
            .m = n_rows,
            .depth = n_out,
            .b = (const real *)wt + i,
            .ld_b = ld_wt,
            .c = (real *)dz_below + i,
            .ld_c = ld,
        };
        FBP_K(panel_product)(0, t, width, scratch);
        if (activation != FBP_IDENTITY) {
            for (int64_t r = 0; r < n_rows; r++) {
                const int64_t at = r * ld + i;
                FBP_K(times_slope)(activation, alpha, width, (const real *)a + at,
                                   slope ? (const real *)slope + at : NULL, (real *)dz_below + at);
            }
        }
    }
}

/* dw (+)= rows[:, i0:i1]^T dz. Reads rows, dz; writes dw; destroys scratch. */
static void FBP_K(dense_bwd_dw)(const void *const *rows, int64_t n_rows, int64_t i0, int64_t i1,
                                const void *dz, int64_t ld, int64_t n_out, int accumulate, void *dw,
                                fbp_scratch scratch)
{
    for (int64_t j = 0; j < n_out; j += FBP_PANEL_VECTORS * VL) {
        const int64_t width = FBP_K(panel_width)(n_out - j);
        real *const c = (real *)dw + j;
        const FBP_K(tiles) t = {
            .rows = (const real *const *)rows,
            .column = i0,
            .m = i1 - i0,
            .depth = n_rows,
            .b = (const real *)dz + j,
            .ld_b = ld,
            .c = c,
            .ld_c = n_out,
            .init = accumulate ? c : NULL,
            .ld_init = n_out,
        };
        FBP_K(panel_product)(1, t, width, scratch);
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
        vec sum = accumulate ? v_load_n(out, n) : (vec){0};
        for (int64_t r = 0; r < n_rows; r++, in += ld) {
            sum += v_load_n(in, n);
        }
        v_store_n(out, sum, n);
    }
}
