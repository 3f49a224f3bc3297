/* The kernel table of one ISA: all kernels, included once per dtype. isa/<isa>.c defines
 * FBP_ISA, its name FBP_ISA_NAME, its vector shim FBP_SIMD, FBP_VBYTES and the tile heights
 * FBP_MR_1 .. FBP_MR_4, and includes this. */

#include <string.h>

#include "fastbp/fastbp.h"
#include "../simd/vec.h"
#include "sizes.h"
#include FBP_SIMD
#include "vmath.h"

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
