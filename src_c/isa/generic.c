/* Plain C on 128-bit vectors: any target, SSE2 on x86-64, NEON on arm64. Tiles for 16 registers. */
#define FBP_ISA generic
#define FBP_ISA_NAME "generic"
#define FBP_SIMD "../simd/portable.h"
#define FBP_VBYTES 16
#define FBP_PANEL_VECTORS 4
#define FBP_MR_1 8
#define FBP_MR_2 6
#define FBP_MR_3 4
#define FBP_MR_4 2
#define FBP_STRIP 96
#define FBP_DEPTH 512
#include "../kernels/table.inc.h"
