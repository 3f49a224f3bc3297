/* Included once per ISA with FBP_SFX f64, after the vector maths: in-place functions of float64
 * arrays that the kernels of both dtypes need. */

static void FBP_CAT(fbp_exp_each, FBP_ISA)(double *x, int64_t n)
{
    for (int64_t i = 0; i < n; i += VL) {
        const int lanes = (int)(n - i < VL ? n - i : VL);
        v_store_n(x + i, v_exp(v_load_n(x + i, lanes)), lanes);
    }
}

/* of positive normal numbers */
static void FBP_CAT(fbp_log_each, FBP_ISA)(double *x, int64_t n)
{
    for (int64_t i = 0; i < n; i += VL) {
        const int lanes = (int)(n - i < VL ? n - i : VL);
        v_store_n(x + i, v_log(v_load_n(x + i, lanes)), lanes);
    }
}
