/* Included by vec.h once per dtype (FBP_SFX): operations that need no particular instruction. */

static FBP_INLINE vec v_set1(real x)
{
    return x - (vec){0}; /* minus, not plus: keeps -0 */
}

static FBP_INLINE vec v_load(const real *p)
{
    vec v;
    memcpy(&v, p, sizeof v);
    return v;
}

static FBP_INLINE void v_store(real *p, vec v)
{
    memcpy(p, &v, sizeof v);
}

static FBP_INLINE ivec FBP_CAT(vx_sign_bit, FBP_SFX)(void)
{
    return (ivec)v_set1((real)-0.0);
}

static FBP_INLINE vec v_abs(vec a)
{
    return (vec)((ivec)a & ~FBP_CAT(vx_sign_bit, FBP_SFX)());
}

/* |a| with the sign of b */
static FBP_INLINE vec v_copysign(vec a, vec b)
{
    const ivec sign = FBP_CAT(vx_sign_bit, FBP_SFX)();
    return (vec)(((ivec)a & ~sign) | ((ivec)b & sign));
}

/* 2^n for integers n that are exponents of normal numbers */
static FBP_INLINE vec v_pow2(vec n)
{
    return (vec)((ivec)(n + (FBP_SHIFTER + FBP_BIAS)) << FBP_MANTISSA);
}

/* v_ldexp where no instruction does it: 2^n in two factors, as it may not be a normal number */
static FBP_INLINE vec FBP_CAT(vx_ldexp_by_products, FBP_SFX)(vec a, vec n)
{
    const vec half = (n * (real)0.5 + FBP_SHIFTER) - FBP_SHIFTER;
    return a * v_pow2(half) * v_pow2(n - half);
}
