/* The kernel table of one ISA: all kernels, included once per dtype. isa/<isa>.c defines
 * FBP_ISA, its name FBP_ISA_NAME, its vector shim FBP_SIMD, FBP_VBYTES and its sizes, none of which
 * changes a bit of any result, and includes this:
 *
 *   FBP_PANEL_VECTORS   vectors in a column panel of a product, 2 or 4
 *   FBP_MR_1, ...       rows of a tile of 1 .. FBP_PANEL_VECTORS vectors
 *   FBP_STRIP           rows of dw whose samples share L1 with a panel of dz
 *   FBP_DEPTH           rows of b in a block: a panel of them stays in L2 (AVX-512) or L1 */

#include <string.h>

#include "fastbp/fastbp.h"
#include "../simd/vec.h"
#include "sizes.h"
#include FBP_SIMD
#include "vmath.h"

#define FBP_MR_FULL FBP_CAT(FBP_MR, FBP_PANEL_VECTORS) /* of a full panel */

#define FBP_SFX f64
#include "float64_arrays.inc.h"
#include "kernels.inc.h"
#undef FBP_SFX
#define FBP_SFX f32
#include "kernels.inc.h"
#undef FBP_SFX

const fbp_isa FBP_CAT(fbp_isa, FBP_ISA) = {
    .name = FBP_ISA_NAME,
    .f32 = &FBP_CAT(FBP_CAT(fbp_kernels, f32), FBP_ISA),
    .f64 = &FBP_CAT(FBP_CAT(fbp_kernels, f64), FBP_ISA),
};
