/* AVX-512 (F, BW, DQ, VL): 32 registers of 512 bits. */
#define FBP_ISA avx512
#define FBP_ISA_NAME "avx512"
#define FBP_SIMD "../simd/avx512.h"
#define FBP_VBYTES 64
#define FBP_PANEL_VECTORS 4
#define FBP_MR_1 8
#define FBP_MR_2 8
#define FBP_MR_3 8
#define FBP_MR_4 6
#define FBP_STRIP 96
#define FBP_DEPTH 512
#include "../kernels/table.inc.h"
