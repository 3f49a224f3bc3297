/* Included by portable.h once per dtype. Contracts are stated there. */

static FBP_INLINE vec v_fma(vec a, vec b, vec c)
{
    for (int i = 0; i < VL; i++) {
        c[i] = FBP_CAT(fbp_fma, FBP_SFX)(a[i], b[i], c[i]);
    }
    return c;
}

static FBP_INLINE vec v_fma_in_place(vec a, vec b, vec c)
{
    return v_fma(a, b, c);
}

static FBP_INLINE vec v_sqrt(vec a)
{
    for (int i = 0; i < VL; i++) {
        a[i] = FBP_CAT(fbp_sqrt, FBP_SFX)(a[i]);
    }
    return a;
}

static FBP_INLINE vec v_sqrt_undivided(vec a)
{
    return v_sqrt(a);
}

static FBP_INLINE int v_all_zero(vec a)
{
    int all = 1;
    for (int i = 0; i < VL; i++) {
        all &= a[i] == 0;
    }
    return all;
}

static FBP_INLINE vec v_select(ivec mask, vec a, vec b)
{
    return (vec)(((ivec)a & mask) | ((ivec)b & ~mask));
}

static FBP_INLINE vec v_select_sign(vec x, vec a, vec b)
{
    return v_select((ivec)x < 0, a, b);
}

static FBP_INLINE vec v_ldexp(vec a, vec n)
{
    return FBP_CAT(vx_ldexp_by_products, FBP_SFX)(a, n);
}

static FBP_INLINE vec v_max(vec a, vec b)
{
    return v_select((ivec)(a > b), a, b);
}

static FBP_INLINE vec v_min(vec a, vec b)
{
    return v_select((ivec)(a < b), a, b);
}

static FBP_INLINE vec v_load_n(const real *p, int n)
{
    vec v = {0};
    for (int i = 0; i < n; i++) {
        v[i] = p[i];
    }
    return v;
}

static FBP_INLINE void v_store_n(real *p, vec v, int n)
{
    for (int i = 0; i < n; i++) {
        p[i] = v[i];
    }
}
