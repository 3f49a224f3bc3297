/* Block sizes that the kernels of all ISAs and dtypes share. None of them changes a bit of any
 * result. */
#ifndef FBP_SIZES_H
#define FBP_SIZES_H

enum {
    FBP_PIECE = 256, /* elements or rows of a loss on the stack */
};

#endif
