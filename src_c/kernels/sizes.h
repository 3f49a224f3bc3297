/* Block sizes that the kernels of all ISAs and dtypes share. None of them changes a bit of any
 * result. */
#ifndef FBP_SIZES_H
#define FBP_SIZES_H

enum {
    FBP_PANEL_VECTORS = 4,     /* vectors in a column panel of a product */
    FBP_KC = 384,              /* rows of b in a block: 96 KiB with AVX-512, in L2 */
    FBP_PACK_MIN_ROWS = 24,    /* packing a panel costs as much as about one row of c */
    FBP_PACK_MIN_BYTES = 1024, /* from this distance between rows of b on, panels are packed */
    FBP_PIECE = 256,           /* elements or rows of a loss on the stack */
};

#endif
