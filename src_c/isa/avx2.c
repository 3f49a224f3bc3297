/* AVX2 with FMA: 16 registers of 256 bits. */
#define FBP_ISA avx2
#define FBP_ISA_NAME "avx2"
#define FBP_SIMD "../simd/avx2.h"
#define FBP_VBYTES 32
#define FBP_PANEL_VECTORS 2
#define FBP_MR_1 8
#define FBP_MR_2 6
#define FBP_STRIP 48
#define FBP_DEPTH 256
#include "../kernels/table.inc.h"
