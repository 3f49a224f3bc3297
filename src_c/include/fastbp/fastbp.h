/* The one header that Cython sees: codes, the plan of a network, the table of kernels.
 *
 * Kernels are single-threaded, allocate nothing, keep no state, and come in float32 and float64;
 * pointers to data are therefore `void *` here and typed inside ("real" below is either).
 * Matrices are row-major with a leading dimension `ld` counted in elements. A table of row
 * pointers `rows` stands for a matrix whose element (r, c) is rows[r][c].
 * Unless a comment says otherwise, arguments must not overlap. */
#ifndef FASTBP_H
#define FASTBP_H

#include <stddef.h>
#include <stdint.h>

/* Codes and names. Python has the names in the order of the codes, from here. */
#define FBP_ACTIVATIONS(X)                                                                         \
    X(FBP_IDENTITY, "identity")                                                                    \
    X(FBP_RELU, "relu")                                                                            \
    X(FBP_LEAKY_RELU, "leaky_relu") /* alpha: slope for z <= 0 */                                  \
    X(FBP_ELU, "elu")               /* alpha: -limit for z -> -inf */                              \
    X(FBP_SELU, "selu")                                                                            \
    X(FBP_SIGMOID, "sigmoid")                                                                      \
    X(FBP_TANH, "tanh")                                                                            \
    X(FBP_SOFTSIGN, "softsign")                                                                    \
    X(FBP_SOFTPLUS, "softplus") /* from here on sigma'(z) is stored: fbp_keeps_slope */            \
    X(FBP_GELU, "gelu")                                                                            \
    X(FBP_SILU, "silu")                                                                            \
    X(FBP_MISH, "mish")

/* An activation whose sigma'(z) is stored: with it, slope is multiplied by whatever it holds. */
#define FBP_STORED_SLOPE FBP_SOFTPLUS

/* parameters[0] of a cross-entropy is the most that it may be: of a sample (softmax), of an output
 * (binary); 0: no limit. */
#define FBP_LOSSES(X)                                                                              \
    X(FBP_SQUARED_ERROR, "squared_error")                                                          \
    X(FBP_ABSOLUTE_ERROR, "absolute_error")                                                        \
    X(FBP_HUBER, "huber")     /* parameters[j]: delta */                                           \
    X(FBP_PINBALL, "pinball") /* parameters[j]: quantile of output j */                            \
    X(FBP_POISSON, "poisson")                                                                      \
    X(FBP_BINARY_CROSS_ENTROPY, "binary_cross_entropy")                                            \
    X(FBP_SOFTMAX_CROSS_ENTROPY, "softmax_cross_entropy")

#define FBP_OPTIMIZERS(X)                                                                          \
    X(FBP_SGD, "sgd")                                                                              \
    X(FBP_ADAM, "adam")                                                                            \
    X(FBP_RMSPROP, "rmsprop")                                                                      \
    X(FBP_ADAGRAD, "adagrad")

/* element types of the caller's X */
#define FBP_DTYPES(X)                                                                              \
    X(FBP_F32, "float32")                                                                          \
    X(FBP_F64, "float64")                                                                          \
    X(FBP_I8, "int8")                                                                              \
    X(FBP_U8, "uint8")                                                                             \
    X(FBP_I16, "int16")                                                                            \
    X(FBP_U16, "uint16")                                                                           \
    X(FBP_I32, "int32")                                                                            \
    X(FBP_U32, "uint32")                                                                           \
    X(FBP_I64, "int64")                                                                            \
    X(FBP_U64, "uint64")

#define FBP_CODE(code, name) code,
enum fbp_activation { FBP_ACTIVATIONS(FBP_CODE) FBP_N_ACTIVATIONS };
enum fbp_loss { FBP_LOSSES(FBP_CODE) FBP_N_LOSSES };
enum fbp_optimizer { FBP_OPTIMIZERS(FBP_CODE) FBP_N_OPTIMIZERS };
enum fbp_dtype { FBP_DTYPES(FBP_CODE) FBP_N_DTYPES };
#undef FBP_CODE

/* The name of a code of enum fbp_activation, fbp_loss, fbp_optimizer, fbp_dtype */
const char *fbp_activation_name(int code);
const char *fbp_loss_name(int code);
const char *fbp_optimizer_name(int code);
const char *fbp_dtype_name(int code);

/* The activations whose derivative is not had cheaply and exactly from the output alone: the
 * forward pass stores sigma'(z) ("slope") for them. */
static inline int fbp_keeps_slope(int activation)
{
    return activation >= FBP_SOFTPLUS;
}

enum fbp_status { FBP_OK, FBP_TOO_LARGE };

/* ------------------------------------------------------------------------------------------------
 * Plan: where everything lies (plan.c) */

enum { FBP_ALIGN = 64, FBP_HUGE_PAGE = 1 << 21 };
enum { FBP_WIDE_ROW = 256 };    /* bytes; longer rows are read from panels */
enum { FBP_FEW_SAMPLES = 128 }; /* most in a batch that is shared by weights */
/* Part of the bits of results: how sums are cut into pieces */
enum { FBP_NORM_CHUNK = 4096, FBP_SUM_LANES = 8, FBP_SUM_ROWS = 96, FBP_MOST_SLABS = 16 };
enum { FBP_DOT_LANES = 16 }; /* w dz of one sample */

/* One dense layer, a = sigma(x w + b). p_w and p_b count elements in the flat parameter vector; the
 * other offsets are bytes from the start of the arena. */
typedef struct {
    int64_t n_in, n_out;
    int activation;
    double alpha;
    double dropout;   /* share of the outputs that a training pass sets to zero */
    int64_t p_w, p_b; /* w (n_in x n_out, row-major) and b (n_out) */
    int64_t ld;       /* leading dimension of a, slope and dz; n_out in the last layer */
    int wide;         /* rows of w and dz are so long that products read them in panels */
    size_t w_panels;  /* w in panels; unused where it is not wide */
    size_t wt_panels; /* w transposed (n_out x n_in) in panels: operand of dx; unused in layer 0 */
    size_t dz_panels; /* dz of a block in panels, or of few samples transposed (n_out x n) */
    size_t a, slope, dz;
    size_t x_left_t, dz_right; /* bf16: x and dz of a block as operands of dw */
    size_t w_right, wt_right;  /* and w and its transposed as those of z and dx */
    size_t x_rows;  /* table of row pointers to the layer's input x, one per row of a block */
    size_t dz_rows; /* the same for dz */
} fbp_layer;

/* The arena of a network for blocks of `block` rows. */
typedef struct {
    int n_layers;
    size_t itemsize;
    int64_t n_parameters;
    int64_t block;           /* rows that go through the network together */
    int64_t panel;           /* columns of a panel */
    int64_t x_ld;            /* leading dimension of x */
    size_t x;                /* input rows converted to real, where X cannot be read in place */
    size_t row_loss;         /* float64 loss of each row of the block */
    int n_slabs;             /* gradients that parts of a minibatch are summed in; 0: none */
    size_t slabs, slab_size; /* bytes */
    size_t slab_loss;        /* float64 loss of each slab's samples */
    size_t norms;            /* float64 sum of squares of each chunk of FBP_NORM_CHUNK gradients,
                              * or of each layer's weights */
    int64_t n_norms;
    size_t parts[2]; /* parts of z of few samples: of one layer, and of the next */
    int bf16;        /* products are of bf16: there are no float32 panels */
    int sparse;      /* X is: there is no room for its rows, nor panels for its products */
    int64_t steps;   /* tiles along the samples of a block */
    size_t left[2];  /* x and dz of a block as left operands: of one layer, and of the next */
    int64_t left_stride;
    size_t size; /* bytes in all */
} fbp_plan;

/* Fill `plan` and the offsets of layers[0 .. n_layers-1], whose n_in, n_out, activation and
 * alpha are given, for kernels whose panels have `panel` columns, or for products of bf16.
 * FBP_TOO_LARGE when a size does not fit into 62 bits. */
enum fbp_status fbp_plan_make(fbp_plan *plan, fbp_layer *layers, int n_layers, size_t itemsize,
                              int64_t block, int64_t panel, int n_slabs, int bf16, int sparse);

/* Rows that go through the network together for batches of `batch`: enough to feed the products,
 * few enough to stay in cache. Depends on the net and the batch alone, so that sums over a block
 * have the same bits at any thread count. */
int64_t fbp_plan_block(const fbp_layer *layers, int n_layers, size_t itemsize, int64_t batch,
                       int bf16);

/* Parts that z of `n` (few) samples is summed in, each over some of the layer's inputs, and then
 * added in order: for large layers, so that a thread needs only those rows of w that it updates.
 * Depends on the layer and n alone. */
int fbp_plan_parts(const fbp_layer *layer, int64_t n);

/* Parts of a minibatch whose gradients are summed apart, each by one thread, and then added in
 * order; 1 where the gradient is so large beside the samples that the adding would not pay. Depends
 * on the net and the batch alone. */
int fbp_plan_slabs(const fbp_layer *layers, int n_layers, int64_t batch);

/* ------------------------------------------------------------------------------------------------
 * Kernels */

/* The caller's samples. Where indptr is not NULL, X is sparse: row r holds x[k] (of type real) in column
 * indices[k] for indptr[r] <= k < indptr[r + 1], columns ascending. */
typedef struct {
    const char *x;
    const int64_t *indptr;
    const int32_t *indices;
    int x_dtype;
    ptrdiff_t x_stride0, x_stride1; /* bytes */
    const void *y; /* int32 class labels if `labels`, else real (n x n_out); NULL: no targets */
    int labels;
    const double *weight; /* weight of each sample; NULL: all one */
    const int64_t *order; /* row of X, y and weight that is the r-th sample; NULL: r */
} fbp_samples;

/* One step of an optimizer. With s = scale * g + weight_decay * p:
 *   SGD      m = beta1 m + s;  p -= rate (nesterov ? s + beta1 m : m)          (no m if beta1 is 0)
 *   Adam     m = beta1 m + (1 - beta1) s;  v = beta2 v + (1 - beta2) s^2;
 *            p -= rate / correction1 * m / (sqrt(v) / correction2 + eps)
 *   RMSprop  v = beta2 v + (1 - beta2) s^2;  s /= sqrt(v) + eps;  then as SGD with momentum beta1
 *   Adagrad  v += s^2;  p -= rate s / (sqrt(v) + eps)
 * after p *= 1 - rate * decoupled_decay. Formulas and order of operations are PyTorch's. */
typedef struct {
    int kind;
    int nesterov;
    double rate; /* learning rate of this step */
    double scale;
    double weight_decay;
    double decoupled_decay;
    double beta1, beta2, eps;
    double correction1, correction2; /* Adam: 1 - beta1^t and sqrt(1 - beta2^t) */
} fbp_update;

/* The right-hand matrix of a product (depth x n): row-major with leading dimension ld, or in panels
 * of fbp_kernels.panel columns (the last one: what is left, its rows filled up to whole vectors),
 * each row-major and one after the other, as `pack` and `transpose` make them. */
typedef struct {
    const void *data;
    int64_t ld; /* of a row-major matrix */
    int panels;
} fbp_operand;

typedef struct {
    int64_t panel; /* columns of a panel of an operand */
    int tile_rows; /* rows of the micro-kernel's tile: ranges of rows are best cut at multiples */

    /* out[r] = X[order[row0 + r]] converted to real, r < n_rows */
    void (*load_rows)(const fbp_samples *s, int64_t row0, int64_t n_rows, int64_t n_in, void *out,
                      int64_t ld);
    /* a[r] = sigma(rows[r] w + b) for r < n_rows; slope[r] = sigma'(z) where fbp_keeps_slope (may
     * be NULL: not wanted). a and slope have leading dimension ld. Each z is one sum over k in order,
     * but for n_out = 1 and a w of ld 1, a vector: then one of dots, as of one sample. */
    void (*dense_fwd)(const void *const *rows, int64_t n_rows, int64_t n_in, fbp_operand w,
                      const void *b, int64_t n_out, int activation, double alpha, void *a,
                      void *slope, int64_t ld);
    /* Sets a share `rate` of a (n_rows x n, rows ld apart) to zero and divides the rest by 1 - rate;
     * slope becomes sigma'(z) times the same factors, whether it was stored or not. Which ones: the
     * 32-bit number that the generator Squares (Widynski, arXiv:2004.06278) gives for `key` and the
     * element's number (first_row + r) n + j is below rate 2^32. */
    void (*dropout)(double rate, uint64_t key, int64_t first_row, int activation, double alpha,
                    int64_t n_rows, int64_t n, int64_t ld, void *a, void *slope);
    /* z[r] = b + X[order[row0 + r]] w for r < n_rows of a sparse X; w (n_in x n_out) is row-major. The
     * bits are those of dense_fwd on the same X, but for n_out = 1. */
    void (*sparse_fwd)(const fbp_samples *s, int64_t row0, int64_t n_rows, const void *w,
                       const void *b, int64_t n_out, void *z, int64_t ld);
    /* z[r] = b + rows[r][k0 .. k1] w[k0 .. k1] for r < n_rows, w having n_in rows; b NULL: zero. z has
     * leading dimension ld. */
    void (*dense_part)(const void *const *rows, int64_t n_rows, int64_t k0, int64_t k1,
                       int64_t n_in, fbp_operand w, const void *b, int64_t n_out, void *z,
                       int64_t ld);
    /* dz_below[r] = sigma'(z) * (dz_rows[r] wt) for r < n_rows: wt is this layer's w transposed
     * (n_out x n_in); activation, alpha, a, slope are those of the layer below, whose n_out is
     * this layer's n_in; a, slope and dz_below have leading dimension ld. */
    void (*dense_bwd_dz)(const void *const *dz_rows, int64_t n_rows, int64_t n_out, fbp_operand wt,
                         int64_t n_in, int activation, double alpha, const void *a,
                         const void *slope, void *dz_below, int64_t ld);
    /* The same for the m columns of dz_below that belong to m rows of w (m x n_out, row-major), from
     * w itself: for few samples it is cheaper to transpose dz than w. dzt is dz
     * transposed (n_out x n_rows); a, slope and dz_below begin at the first of the columns. */
    void (*dense_bwd_dz_few)(const void *w, int64_t m, int64_t n_out, fbp_operand dzt,
                             int64_t n_rows, int activation, double alpha, const void *a,
                             const void *slope, void *dz_below, int64_t ld);
    /* dw[i - i0] = sum_r rows[r][i] dz[r] for i0 <= i < i1: rows i0 .. i1 of dl/dw (n_in x n_out),
     * of which dw is the first. The samples are summed in order, in equal pieces of at most
     * FBP_SUM_ROWS; the pieces are added in order. `accumulate`: to what dw holds. */
    void (*dense_bwd_dw)(const void *const *rows, int64_t n_rows, int64_t i0, int64_t i1,
                         fbp_operand dz, int64_t n_out, int accumulate, void *dw);
    /* The same for a sparse X, whose samples row0 .. row0 + n_rows have dz, of leading dimension ld,
     * as one sum in order */
    void (*sparse_dw)(const fbp_samples *s, int64_t row0, int64_t n_rows, int64_t i0, int64_t i1,
                      const void *dz, int64_t ld, int64_t n_out, int accumulate, void *dw);
    /* db = sum_r dz[r], r in order; `accumulate`: added to what db holds */
    void (*dense_bwd_db)(const void *dz, int64_t ld, int64_t n_rows, int64_t n_out, int accumulate,
                         void *db);
    /* row_loss[r] = weight * l of sample row0 + r, from the last layer's output a (n_rows x n_out,
     * leading dimension n_out), and dz[r] = weight * dl/da, same layout. dz is always written.
     * Returns 1 if every loss is finite, else 0. */
    int (*loss)(int kind, const double *parameters, const fbp_samples *s, int64_t row0,
                int64_t n_rows, const void *a, int64_t n_out, double *row_loss, void *dz);
    /* out[r] = the prediction that belongs to the loss: softmax, sigmoid or exp of a[r], or a[r]
     * itself; both n_rows x n_out with leading dimension n_out; out may be a. */
    void (*link)(int loss_kind, const void *a, int64_t n_rows, int64_t n_out, void *out);
    /* One step on n parameters. Returns 1 if every result is finite; a parameter whose result is
     * not is left as it was, with its moments, and 0 is returned. m, v may be NULL where the
     * formula has none. */
    int (*update)(const fbp_update *u, int64_t n, void *p, const void *g, void *m, void *v);
    /* The same for w (n_in x n_out), with the gradient x dz^T of one sample */
    int (*update_outer)(const fbp_update *u, const void *x, int64_t n_in, const void *dz,
                        int64_t n_out, void *p, void *m, void *v);
    /* A square root that `update` takes of second moments: out = sqrt(x), correctly rounded, for
     * finite x >= 0; not finite for any other x */
    void (*square_root)(int64_t n, const void *x, void *out);
    /* out = slab 0 + slab 1 + ... on n values: `count` >= 1 slabs, `stride` bytes apart */
    void (*add_slabs)(const void *slabs, size_t stride, int count, int64_t n, void *out);
    /* sum of g^2 in float64, FBP_SUM_LANES partial sums added in order */
    double (*sum_of_squares)(const void *g, int64_t n);
    /* Rows k0 .. k1 of a matrix (depth x n, row-major), b being the first of them, to their places
     * in its panels */
    void (*pack)(const void *b, int64_t ld, int64_t k0, int64_t k1, int64_t depth, int64_t n,
                 void *panels);
    /* Rows i0 .. i1 of w (n_in x n_out) to their places as columns in the panels of w transposed
     * (n_out x n_in): of each row its columns j0 .. j1. w is the first of these elements. */
    void (*transpose)(const void *w, int64_t ld, int64_t i0, int64_t i1, int64_t j0, int64_t j1,
                      int64_t n_in, int64_t n_out, void *panels);
    /* a = sigma(z) and slope = sigma'(z), elementwise on n_rows x n, all with leading dimension ld.
     * slope may be NULL (not wanted); a may be z. Any activation may be asked for its slope here. */
    void (*activate)(int activation, double alpha, int64_t n_rows, int64_t n, int64_t ld,
                     const void *z, void *a, void *slope);
    /* dz *= sigma'(z), elementwise on as many: from a, or from slope where fbp_keeps_slope */
    void (*times_slope)(int activation, double alpha, int64_t n_rows, int64_t n, int64_t ld,
                        const void *a, const void *slope, void *dz);
    /* out[i][j] = x[i] dz[j]: dl/dw of one sample (n_in x n_out) */
    void (*outer)(const void *x, int64_t n_in, const void *dz, int64_t n_out, void *out);
    /* floating-point operations per second of one thread that does nothing but FMAs, measured for
     * about that many seconds */
    double (*fma_rate)(double seconds);
} fbp_kernels;

/* Products of bf16 matrices, with sums in float32: kernels/bf16.inc.h has the layouts. */
enum { FBP_BF16_UNIT = 32 };  /* rows, columns and k are filled up to multiples of it */
enum { FBP_BF16_TILE = 512 }; /* elements of a tile */
enum fbp_bf16_form { FBP_BF16_LEFT, FBP_BF16_LEFT_T, FBP_BF16_RIGHT, FBP_BF16_RIGHT_T };

/* A float32 matrix: by a table of row pointers, or if that is NULL row-major */
typedef struct {
    const void *const *rows;
    const void *data;
    int64_t ld;
} fbp_bf16_source;

typedef struct {
    const char *name;
    /* Around this thread's products; passes run in between */
    void (*begin)(void);
    void (*end)(void);
    /* Rows r0 .. r1 and columns c0 .. c1 of a matrix, or of what is to be its transposed, to their
     * places in a form; r0 and c0 are multiples of FBP_BF16_UNIT, and what follows r1 and c1 up to
     * the next multiple becomes zero. The source begins at row r0, column 0. stride: tiles along k
     * of the whole operand. */
    void (*pack)(int form, const fbp_bf16_source *source, int64_t r0, int64_t r1, int64_t c0,
                 int64_t c1, uint16_t *out, int64_t stride);
    /* c (m x n, leading dimension ld) = a b over `steps` tiles of k, a in left form and b in right
     * form. init (n), if not NULL, is added to every row; `accumulate`: to what c holds (then init
     * is not looked at). */
    void (*product)(const uint16_t *a, int64_t a_stride, int64_t m, const uint16_t *b,
                    int64_t b_stride, int64_t n, int64_t steps, const void *init, int accumulate,
                    void *c, int64_t ld);
} fbp_bf16;

/* Tables that were compiled in, fastest first; NULL past the last. */
const fbp_bf16 *fbp_bf16_at(int i);
/* 1 if both the CPU and the operating system can run that table; asks the latter to. */
int fbp_bf16_supported(const fbp_bf16 *table);

/* The tables of one ISA. */
typedef struct {
    const char *name;
    const fbp_kernels *f32, *f64;
} fbp_isa;

/* Tables that were compiled in, best first; NULL past the last. */
const fbp_isa *fbp_isa_at(int i);
/* 1 if both the CPU and the operating system can run that table. */
int fbp_isa_supported(const fbp_isa *isa);

/* ------------------------------------------------------------------------------------------------
 * Runtime support (runtime.c) */

/* Flush denormals to zero in this thread; returns what fbp_denormals_restore needs to undo it. */
uint64_t fbp_denormals_flush(void);
void fbp_denormals_restore(uint64_t saved);

/* beta^t by repeated squaring: the same bits on every machine */
double fbp_power(double beta, int64_t t);
/* FBP_SUM_LANES interleaved partial sums, added in order */
double fbp_sum(const double *x, int64_t n);
/* 1 if all n x n_in elements of X are finite, and those of float64 at most as large as `largest`;
 * else 0 with the first offender's row and column */
int fbp_all_finite(const fbp_samples *s, int64_t n, int64_t n_in, double largest, int64_t *row,
                   int64_t *column);
/* seconds of a monotonic clock */
double fbp_seconds(void);

/* Ask the system for pages of FBP_HUGE_PAGE bytes for this memory, which is aligned to that. */
void fbp_prefer_huge_pages(void *memory, size_t size);

/* A barrier for a team of threads: spins for a bounded time, then sleeps. Initialise with zeros. */
typedef struct {
    unsigned arrived;
    char apart[FBP_ALIGN - sizeof(unsigned)]; /* another cache line, whatever the alignment */
    unsigned generation;
    unsigned sleepers;
} fbp_barrier;
/* The seconds it took; 0.0 for a microsecond or less. */
double fbp_barrier_wait(fbp_barrier *barrier, int team);
/* *flag = 1, from any thread */
void fbp_raise_flag(int *flag);

/* Make this process safe to fork after OpenMP was used: without it a child waits for ever for the
 * parent's threads. Call once. 0 on success. */
int fbp_survive_fork(void);

const char *fbp_compiler(void);

/* OpenMP where the compiler has it; in a serial build there is one thread. */
int fbp_openmp_version(void); /* the _OPENMP date, 0 in a serial build */
int fbp_openmp_threads(void); /* what OpenMP would use: OMP_NUM_THREADS or the CPUs it may run on */
int fbp_team_size(void);      /* threads of the parallel region that calls */
/* How many of n threads there can be, tried out: this one and up to n - 1 more. */
int fbp_possible_threads(int n);

#endif
