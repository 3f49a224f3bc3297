/* AMX: a block of c is 2 x 2 tiles, each of which takes 16 x 16 x 32 products in 16 cycles. */
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

static inline void bf16_block(const uint16_t *a, int64_t panel, const uint16_t *b, int64_t steps,
                              const float *start, int64_t ld_start, float *c, int64_t ld_c)
{
    const long row = (long)(ld_c * 4), from = (long)(ld_start * 4);
    if (start) {
        _tile_loadd(0, start, from);
        _tile_loadd(1, start + 16, from);
        _tile_loadd(2, start + 16 * ld_start, from);
        _tile_loadd(3, start + 16 * ld_start + 16, from);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    for (int64_t s = 0; s < steps; s++, a += 512, b += 1024) {
        _tile_loadd(4, a, 64);
        _tile_loadd(6, b, 64);
        _tile_loadd(7, b + 512, 64);
        _tile_loadd(5, a + panel, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, c, row);
    _tile_stored(1, c + 16, row);
    _tile_stored(2, c + 16 * ld_c, row);
    _tile_stored(3, c + 16 * ld_c + 16, row);
}

#include "../kernels/bf16.inc.h"

/* Eight tiles of 16 rows of 64 bytes */
static void begin(void)
{
    struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } config;
    memset(&config, 0, sizeof config);
    config.palette = 1;
    for (int i = 0; i < 8; i++) {
        config.row_bytes[i] = 64;
        config.rows[i] = 16;
    }
    _tile_loadconfig(&config);
}

static void end(void)
{
    _tile_release();
}

extern const fbp_bf16 fbp_bf16_amx;
const fbp_bf16 fbp_bf16_amx = {"amx", begin, end, pack, product};
