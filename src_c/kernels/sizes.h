/* Block sizes that the kernels of all ISAs and dtypes share. None of them changes a bit of any
 * result. */
#ifndef FBP_SIZES_H
#define FBP_SIZES_H

enum {
    FBP_PANEL_VECTORS = 4, /* vectors in a column panel of a product */
    FBP_STRIP = 96,        /* rows of dw whose samples share L1 with a panel of dz */
    FBP_DEPTH = 512,       /* rows of b in a block: 128 KiB with AVX-512, in L2 */
    FBP_PIECE = 256,       /* elements or rows of a loss on the stack */
};

#endif
