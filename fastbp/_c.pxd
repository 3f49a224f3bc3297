"""What Cython needs of src_c/include/fastbp/fastbp.h, which documents it."""

from libc.stdint cimport int32_t, int64_t, uint16_t, uint64_t


cdef extern from "fastbp/fastbp.h" nogil:
    enum:
        FBP_OK
        FBP_ALIGN
        FBP_NORM_CHUNK
        FBP_SUM_ROWS
        FBP_FEW_SAMPLES
        FBP_HUGE_PAGE
        FBP_ADAM
        FBP_STORED_SLOPE
        FBP_N_ACTIVATIONS
        FBP_N_LOSSES
        FBP_N_OPTIMIZERS
        FBP_N_DTYPES

    int fbp_keeps_slope(int activation)
    const char *fbp_activation_name(int code)
    const char *fbp_loss_name(int code)
    const char *fbp_optimizer_name(int code)
    const char *fbp_dtype_name(int code)

    ctypedef struct fbp_layer:
        int64_t n_in, n_out
        int activation
        double alpha, dropout
        int64_t p_w, p_b
        int64_t ld
        bint wide
        size_t w_panels, wt_panels, dz_panels
        size_t x_left_t, dz_right, w_right, wt_right
        size_t a, slope, dz
        size_t x_rows, dz_rows

    ctypedef struct fbp_plan:
        int n_layers
        size_t itemsize
        int64_t n_parameters
        int64_t block, panel
        int64_t x_ld
        size_t x, row_loss, norms
        int n_slabs
        size_t slabs, slab_size, slab_loss
        int64_t n_norms
        size_t parts[2]
        bint bf16
        bint sparse
        int64_t steps
        size_t left[2]
        int64_t left_stride
        size_t size

    int fbp_plan_make(fbp_plan *plan, fbp_layer *layers, int n_layers, size_t itemsize,
                      int64_t block, int64_t panel, int n_slabs, int bf16, int sparse)
    int64_t fbp_plan_block(const fbp_layer *layers, int n_layers, size_t itemsize, int64_t batch,
                           int bf16)
    int fbp_plan_parts(const fbp_layer *layer, int64_t n)
    int fbp_plan_slabs(const fbp_layer *layers, int n_layers, int64_t batch)

    ctypedef struct fbp_samples:
        const char *x
        const int64_t *indptr
        const int32_t *indices
        int x_dtype
        ptrdiff_t x_stride0, x_stride1
        const void *y
        int labels
        const double *weight
        const int64_t *order

    ctypedef struct fbp_update:
        int kind
        int nesterov
        double rate
        double scale
        double weight_decay
        double decoupled_decay
        double beta1, beta2, eps
        double correction1, correction2

    ctypedef struct fbp_operand:
        const void *data
        int64_t ld
        int panels

    ctypedef struct fbp_kernels:
        int64_t panel
        int tile_rows
        void (*load_rows)(const fbp_samples *s, int64_t row0, int64_t n_rows, int64_t n_in,
                          void *out, int64_t ld) noexcept nogil
        void (*dense_fwd)(const void *const *rows, int64_t n_rows, int64_t n_in, fbp_operand w,
                          const void *b, int64_t n_out, int activation, double alpha, void *a,
                          void *slope, int64_t ld) noexcept nogil
        void (*dropout)(double rate, uint64_t key, int64_t first_row, int activation, double alpha,
                        int64_t n_rows, int64_t n, int64_t ld, void *a, void *slope) noexcept nogil
        void (*sparse_fwd)(const fbp_samples *s, int64_t row0, int64_t n_rows, const void *w,
                           const void *b, int64_t n_out, void *z, int64_t ld) noexcept nogil
        void (*dense_part)(const void *const *rows, int64_t n_rows, int64_t k0, int64_t k1,
                           int64_t n_in, fbp_operand w, const void *b, int64_t n_out, void *z,
                           int64_t ld) noexcept nogil
        void (*dense_bwd_dz)(const void *const *dz_rows, int64_t n_rows, int64_t n_out,
                             fbp_operand wt, int64_t n_in, int activation, double alpha,
                             const void *a, const void *slope, void *dz_below,
                             int64_t ld) noexcept nogil
        void (*dense_bwd_dz_few)(const void *w, int64_t m, int64_t n_out, fbp_operand dzt,
                                 int64_t n_rows, int activation, double alpha, const void *a,
                                 const void *slope, void *dz_below, int64_t ld) noexcept nogil
        void (*dense_bwd_dw)(const void *const *rows, int64_t n_rows, int64_t i0, int64_t i1,
                             fbp_operand dz, int64_t n_out, int accumulate,
                             void *dw) noexcept nogil
        void (*sparse_dw)(const fbp_samples *s, int64_t row0, int64_t n_rows, int64_t i0,
                          int64_t i1, const void *dz, int64_t ld, int64_t n_out, int accumulate,
                          void *dw) noexcept nogil
        void (*dense_bwd_db)(const void *dz, int64_t ld, int64_t n_rows, int64_t n_out,
                             int accumulate, void *db) noexcept nogil
        int (*loss)(int kind, const double *parameters, const fbp_samples *s, int64_t row0,
                    int64_t n_rows, const void *a, int64_t n_out, double *row_loss,
                    void *dz) noexcept nogil
        void (*link)(int loss_kind, const void *a, int64_t n_rows, int64_t n_out,
                     void *out) noexcept nogil
        int (*update)(const fbp_update *u, int64_t n, void *p, const void *g, void *m,
                      void *v) noexcept nogil
        int (*update_outer)(const fbp_update *u, const void *x, int64_t n_in, const void *dz,
                            int64_t n_out, void *p, void *m, void *v) noexcept nogil
        void (*square_root)(int64_t n, const void *x, void *out) noexcept nogil
        void (*add_slabs)(const void *slabs, size_t stride, int count, int64_t n,
                          void *out) noexcept nogil
        double (*sum_of_squares)(const void *g, int64_t n) noexcept nogil
        void (*pack)(const void *b, int64_t ld, int64_t k0, int64_t k1, int64_t depth, int64_t n,
                     void *panels) noexcept nogil
        void (*transpose)(const void *w, int64_t ld, int64_t i0, int64_t i1, int64_t j0,
                          int64_t j1, int64_t n_in, int64_t n_out, void *panels) noexcept nogil
        void (*activate)(int activation, double alpha, int64_t n_rows, int64_t n, int64_t ld,
                         const void *z, void *a, void *slope) noexcept nogil
        void (*times_slope)(int activation, double alpha, int64_t n_rows, int64_t n, int64_t ld,
                            const void *a, const void *slope, void *dz) noexcept nogil
        void (*outer)(const void *x, int64_t n_in, const void *dz, int64_t n_out,
                      void *out) noexcept nogil
        double (*fma_rate)(double seconds) noexcept nogil

    enum:
        FBP_BF16_UNIT
        FBP_BF16_TILE
        FBP_BF16_LEFT
        FBP_BF16_LEFT_T
        FBP_BF16_RIGHT
        FBP_BF16_RIGHT_T

    ctypedef struct fbp_bf16_source:
        const void **rows
        const void *data
        int64_t ld

    ctypedef struct fbp_bf16:
        const char *name
        void (*begin)() noexcept nogil
        void (*end)() noexcept nogil
        void (*pack)(int form, const fbp_bf16_source *source, int64_t r0, int64_t r1, int64_t c0,
                     int64_t c1, uint16_t *out, int64_t stride) noexcept nogil
        void (*product)(const uint16_t *a, int64_t a_stride, int64_t m, const uint16_t *b,
                        int64_t b_stride, int64_t n, int64_t steps, const void *init,
                        int accumulate, void *c, int64_t ld) noexcept nogil

    const fbp_bf16 *fbp_bf16_at(int i)
    int fbp_bf16_supported(const fbp_bf16 *table)

    ctypedef struct fbp_isa:
        const char *name
        const fbp_kernels *f32
        const fbp_kernels *f64

    const fbp_isa *fbp_isa_at(int i)
    int fbp_isa_supported(const fbp_isa *isa)

    uint64_t fbp_denormals_flush()
    void fbp_denormals_restore(uint64_t saved)
    double fbp_power(double beta, int64_t t)
    double fbp_sum(const double *x, int64_t n)
    int fbp_all_finite(const fbp_samples *s, int64_t n, int64_t n_in, double largest,
                       int64_t *row, int64_t *column)
    double fbp_seconds()
    void fbp_prefer_huge_pages(void *memory, size_t size)

    ctypedef struct fbp_barrier:
        unsigned arrived
        unsigned generation
        unsigned sleepers

    double fbp_barrier_wait(fbp_barrier *barrier, int team)
    void fbp_raise_flag(int *flag)

    int fbp_survive_fork()
    const char *fbp_compiler()
    int fbp_openmp_version()
    int fbp_openmp_threads()
    int fbp_team_size()
    int fbp_possible_threads(int n)
