/* Products of bf16 matrices with sums in float32, once for each kind of instruction.
 *
 * A bf16 is the upper half of a float32: 8 bits of precision, the same range. Matrices are rounded
 * to it (to nearest, ties to even; denormals to zero) when they are packed into 1 KiB tiles, in the
 * order in which the instructions take them:
 *
 *   left form of A (m x k)    tiles of 16 rows x 32 k: row by row. Row panel by row panel, `stride`
 *                             tiles apart, each with its tiles along k.
 *   right form of B (k x n)   tiles of 32 k x 16 columns: pair of k by pair of k, the pair of one
 *                             column together. Column panels are two tiles wide, 2 * `stride` tiles
 *                             apart, each with its pairs of tiles along k.
 *
 * Both are filled up to multiples of FBP_BF16_UNIT (32) rows, columns and k with zeros. Read as
 * 16 x 16 elements of 32 bits, a tile of one form, transposed, is a tile of the other form of the
 * transposed matrix; so four forms are made by two ways to read and one transposition.
 *
 * The file that includes this one defines bf16_block: c (32 x 32) = start + a b. Products run over
 * one column panel of B and FBP_BF16_DEPTH tiles of k at a time, 32 KiB, which stay in L1 while all
 * rows of A pass. */

#include <immintrin.h>
#include <string.h>

#include "fastbp/fastbp.h"

enum { FBP_BF16_DEPTH = 16 };

/* n (0 to 16) floats, zeros beyond */
static inline __m512 load_part(const float *p, int64_t n)
{
    return _mm512_maskz_loadu_ps(n > 0 ? (__mmask16)(0xffffu >> (16 - (n < 16 ? n : 16))) : 0, p);
}

static inline const float *source_row(const fbp_bf16_source *s, int64_t r)
{
    return s->rows ? (const float *)s->rows[r] : (const float *)s->data + r * s->ld;
}

/* 16 rows from r on x 32 columns from c on, of n_rows x n_columns */
static inline void read_rows(const fbp_bf16_source *s, int64_t r, int64_t n_rows, int64_t c,
                             int64_t n_columns, __m512i *tile)
{
    for (int i = 0; i < 16; i++) {
        const float *const row = source_row(s, r + i < n_rows ? r + i : 0) + c;
        const int64_t n = r + i < n_rows ? n_columns - c : 0;
        tile[i] = (__m512i)_mm512_cvtne2ps_pbh(load_part(row + 16, n - 16), load_part(row, n));
    }
}

/* 32 rows from r on x 16 columns from c on; rows 2 i and 2 i + 1 interleaved */
static inline void read_pairs(const fbp_bf16_source *s, int64_t r, int64_t n_rows, int64_t c,
                              int64_t n_columns, __m512i *tile)
{
    const __m512i interleave =
        _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                         21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    for (int i = 0; i < 16; i++) {
        __m512 row[2];
        for (int u = 0; u < 2; u++) {
            const int64_t at = r + 2 * i + u;
            row[u] =
                load_part(source_row(s, at < n_rows ? at : 0) + c, at < n_rows ? n_columns - c : 0);
        }
        tile[i] =
            _mm512_permutexvar_epi16(interleave, (__m512i)_mm512_cvtne2ps_pbh(row[1], row[0]));
    }
}

/* 16 x 16 elements of 32 bits: by pairs, fours, eights and sixteens of columns */
static inline void transpose_16x16(__m512i *t)
{
    __m512i u[16];
    for (int i = 0; i < 16; i += 2) {
        u[i] = _mm512_unpacklo_epi32(t[i], t[i + 1]);
        u[i + 1] = _mm512_unpackhi_epi32(t[i], t[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        t[i] = _mm512_unpacklo_epi64(u[i], u[i + 2]);
        t[i + 1] = _mm512_unpackhi_epi64(u[i], u[i + 2]);
        t[i + 2] = _mm512_unpacklo_epi64(u[i + 1], u[i + 3]);
        t[i + 3] = _mm512_unpackhi_epi64(u[i + 1], u[i + 3]);
    }
    for (int i = 0; i < 16; i += 8) {
        for (int k = 0; k < 4; k++) {
            u[i + k] = _mm512_shuffle_i32x4(t[i + k], t[i + k + 4], 0x88);
            u[i + k + 4] = _mm512_shuffle_i32x4(t[i + k], t[i + k + 4], 0xdd);
        }
    }
    for (int k = 0; k < 8; k++) {
        t[k] = _mm512_shuffle_i32x4(u[k], u[k + 8], 0x88);
        t[k + 8] = _mm512_shuffle_i32x4(u[k], u[k + 8], 0xdd);
    }
}

/* Where the tile of row (or column) panel `panel` (16 wide) and step `step` of k begins */
static inline uint16_t *tile_at(int right, uint16_t *out, int64_t stride, int64_t panel,
                                int64_t step)
{
    return right ? out + (panel / 2 * stride + step) * 2 * FBP_BF16_TILE + panel % 2 * FBP_BF16_TILE
                 : out + (panel * stride + step) * FBP_BF16_TILE;
}

static void pack(int form, const fbp_bf16_source *s, int64_t r0, int64_t r1, int64_t c0, int64_t c1,
                 uint16_t *out, int64_t stride)
{
    const int right = form == FBP_BF16_RIGHT || form == FBP_BF16_RIGHT_T;
    const int transposed = form == FBP_BF16_LEFT_T || form == FBP_BF16_RIGHT_T;
    const int pairs = right != transposed;
    const int height = pairs ? 32 : 16, width = pairs ? 16 : 32;
    const int64_t rows = (r1 - r0 + 31) / 32 * 32, end = c0 + (c1 - c0 + 31) / 32 * 32;
    for (int64_t r = 0; r < rows; r += height) {
        for (int64_t c = c0; c < end; c += width) {
            __m512i tile[16];
            if (pairs) {
                read_pairs(s, r, r1 - r0, c, c1, tile);
            } else {
                read_rows(s, r, r1 - r0, c, c1, tile);
            }
            if (transposed) {
                transpose_16x16(tile);
            }
            const int64_t row_tile = (r0 + r) / height, column_tile = c / width;
            uint16_t *const to = tile_at(right, out, stride, pairs ? column_tile : row_tile,
                                         pairs ? row_tile : column_tile);
            for (int i = 0; i < 16; i++) {
                _mm512_storeu_si512(to + i * 32, tile[i]);
            }
        }
    }
}

/* A block of c that is not whole: computed apart, m x n of it copied */
static void edge_block(const uint16_t *a, int64_t panel, const uint16_t *b, int64_t steps,
                       const float *init, int accumulate, int64_t m, int64_t n, float *c,
                       int64_t ld_c)
{
    float start[32 * 32] = {0}, result[32 * 32];
    for (int64_t i = 0; i < m && (init || accumulate); i++) {
        memcpy(start + i * 32, accumulate ? c + i * ld_c : init, (size_t)n * sizeof(float));
    }
    bf16_block(a, panel, b, steps, start, 32, result, 32);
    for (int64_t i = 0; i < m; i++) {
        memcpy(c + i * ld_c, result + i * 32, (size_t)n * sizeof(float));
    }
}

static void product(const uint16_t *a, int64_t a_stride, int64_t m, const uint16_t *b,
                    int64_t b_stride, int64_t n, int64_t steps, const void *init, int accumulate,
                    void *out, int64_t ld_c)
{
    const int64_t panel = a_stride * FBP_BF16_TILE;
    for (int64_t j = 0; j < n; j += 32, b += b_stride * 2 * FBP_BF16_TILE) {
        const float *const first = init ? (const float *)init + j : NULL;
        float *const c = (float *)out + j;
        for (int64_t k = 0; k < steps; k += FBP_BF16_DEPTH) {
            const int64_t depth = steps - k < FBP_BF16_DEPTH ? steps - k : FBP_BF16_DEPTH;
            const int again = k > 0 || accumulate;
            for (int64_t i = 0; i < m; i += 32) {
                const uint16_t *const left = a + i / 16 * panel + k * FBP_BF16_TILE;
                const uint16_t *const right = b + k * 2 * FBP_BF16_TILE;
                float *const block = c + i * ld_c;
                if (m - i < 32 || n - j < 32) {
                    edge_block(left, panel, right, depth, first, again, m - i < 32 ? m - i : 32,
                               n - j < 32 ? n - j : 32, block, ld_c);
                } else {
                    bf16_block(left, panel, right, depth, again ? block : first, again ? ld_c : 0,
                               block, ld_c);
                }
            }
        }
    }
}
