/* The kernels of one ISA and dtype, and their table. */

#include "activations.inc.h"
#include "ceiling.inc.h"
#include "gemm.inc.h"
#include "losses.inc.h"
#include "optimizers.inc.h"
#include "rows.inc.h"
#include "dense.inc.h"
#include "sparse.inc.h"
#include "dropout.inc.h"

static const fbp_kernels FBP_CAT(FBP_CAT(fbp_kernels, FBP_SFX), FBP_ISA) = {
    .panel = FBP_K(PANEL),
    .tile_rows = FBP_MR_FULL,
    .load_rows = FBP_K(load_rows),
    .dense_fwd = FBP_K(dense_fwd),
    .dense_part = FBP_K(dense_part),
    .dense_bwd_dz = FBP_K(dense_bwd_dz),
    .dense_bwd_dz_few = FBP_K(dense_bwd_dz_few),
    .dense_bwd_dw = FBP_K(dense_bwd_dw),
    .dense_bwd_db = FBP_K(dense_bwd_db),
    .loss = FBP_K(loss),
    .link = FBP_K(link),
    .update = FBP_K(update),
    .update_outer = FBP_K(update_outer),
    .square_root = FBP_K(square_root),
    .add_slabs = FBP_K(add_slabs),
    .dropout = FBP_K(dropout),
    .sparse_fwd = FBP_K(sparse_fwd),
    .sparse_dw = FBP_K(sparse_dw),
    .sum_of_squares = FBP_K(sum_of_squares),
    .pack = FBP_K(pack),
    .transpose = FBP_K(transpose),
    .activate = FBP_K(activate),
    .times_slope = FBP_K(times_slope),
    .outer = FBP_K(outer),
    .fma_rate = FBP_K(fma_rate),
};
