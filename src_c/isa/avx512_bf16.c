/* AVX-512 with VDPBF16PS: 8 rows x 32 columns of c in registers, two k in each instruction. */
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

enum { ROWS = 8 };

static inline void rows_of_block(const uint16_t *a, const uint16_t *b, int64_t steps,
                                 const float *start, int64_t ld_start, float *c, int64_t ld_c)
{
    __m512 acc[ROWS][2];
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; r++) {
        acc[r][0] = start ? _mm512_loadu_ps(start + r * ld_start) : _mm512_setzero_ps();
        acc[r][1] = start ? _mm512_loadu_ps(start + r * ld_start + 16) : _mm512_setzero_ps();
    }
    for (int64_t s = 0; s < steps; s++, a += 512, b += 1024) {
        for (int p = 0; p < 16; p++) {
            const __m512bh b0 = (__m512bh)_mm512_loadu_si512(b + p * 32);
            const __m512bh b1 = (__m512bh)_mm512_loadu_si512(b + 512 + p * 32);
#pragma GCC unroll 8
            for (int r = 0; r < ROWS; r++) {
                int32_t pair;
                memcpy(&pair, a + r * 32 + p * 2, sizeof pair);
                const __m512bh ar = (__m512bh)_mm512_set1_epi32(pair);
                acc[r][0] = _mm512_dpbf16_ps(acc[r][0], ar, b0);
                acc[r][1] = _mm512_dpbf16_ps(acc[r][1], ar, b1);
            }
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; r++) {
        _mm512_storeu_ps(c + r * ld_c, acc[r][0]);
        _mm512_storeu_ps(c + r * ld_c + 16, acc[r][1]);
    }
}

static void bf16_block(const uint16_t *a, int64_t panel, const uint16_t *b, int64_t steps,
                       const float *start, int64_t ld_start, float *c, int64_t ld_c)
{
    for (int i = 0; i < 32; i += ROWS) {
        rows_of_block(a + i / 16 * panel + i % 16 * 32, b, steps,
                      start ? start + i * ld_start : NULL, ld_start, c + i * ld_c, ld_c);
    }
}

#include "../kernels/bf16.inc.h"

static void nothing(void) {}

extern const fbp_bf16 fbp_bf16_avx512;
const fbp_bf16 fbp_bf16_avx512 = {"avx512_bf16", nothing, nothing, pack, product};
