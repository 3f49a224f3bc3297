/* Vector mathematics of both dtypes: follows the headers of simd/, with FBP_SFX not defined. */
#ifndef FBP_KERNELS_VMATH_H
#define FBP_KERNELS_VMATH_H

#include "coefficients.h"

#define FBP_SFX f64
#include "math.inc.h"
#undef FBP_SFX
#define FBP_SFX f32
#include "math.inc.h"
#undef FBP_SFX

#include "normal.h"

#endif
