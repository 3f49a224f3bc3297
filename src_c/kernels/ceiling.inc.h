/* The FMA ceiling: operations per second of a loop that does nothing but independent FMAs in
 * registers. Rates of everything else are quoted as shares of it. */

static double FBP_K(fma_rate)(double seconds)
{
    enum { ROUNDS = 4096, CHAINS = FBP_MR_FULL * FBP_PANEL_VECTORS };
    vec acc[CHAINS];
    for (int c = 0; c < CHAINS; c++) {
        acc[c] = v_set1((real)c);
    }
    vec a = v_set1((real)0.5), b = v_set1((real)1);
    __asm__ volatile("" : "+m"(a), "+m"(b)); /* unknown to the compiler */
    const double begin = fbp_seconds();
    double flops = 0, now = begin;
    while (now - begin < seconds) {
        for (int i = 0; i < ROUNDS; i++) {
#pragma GCC unroll 32
            for (int c = 0; c < CHAINS; c++) {
                acc[c] = v_fma(acc[c], a, b);
            }
        }
        flops += 2.0 * ROUNDS * CHAINS * VL;
        now = fbp_seconds();
    }
    for (int c = 0; c < CHAINS; c++) {
        __asm__ volatile("" : : "m"(acc[c])); /* used */
    }
    return flops / (now - begin);
}
