/* Layer sizes to offsets: computed once, before the first step, and checked for overflow. */

#include "fastbp/fastbp.h"

/* far enough below SIZE_MAX and INT64_MAX that no later sum of a few such numbers can wrap */
static const int64_t LARGEST = (int64_t)1 << 61;

static int64_t round_up(int64_t x, int64_t unit)
{
    return (x + unit - 1) / unit * unit;
}

/* Give out `count` elements of `size` bytes, aligned; a failed plan stays failed. */
static size_t take(int64_t *used, int64_t count, int64_t size, enum fbp_status *status)
{
    int64_t bytes;
    const size_t offset = (size_t)*used;
    if (*status != FBP_OK || __builtin_mul_overflow(count, size, &bytes) ||
        bytes > LARGEST - *used) {
        *status = FBP_TOO_LARGE;
        return 0;
    }
    *used = round_up(*used + bytes, FBP_ALIGN);
    return offset;
}

/* Rows a power of two apart would share a few cache sets; the last layer is dense for the
 * losses. */
static int64_t leading_dimension(int64_t n, size_t itemsize, int last)
{
    const int64_t line = FBP_ALIGN / (int64_t)itemsize;
    const int64_t ld = round_up(n, line);
    return last ? n : ld * (int64_t)itemsize % 1024 == 0 ? ld + line : ld;
}

/* Elements of a row in all panels of a matrix of n columns */
static int64_t panels_width(int64_t n)
{
    return round_up(n, FBP_ALIGN);
}

static void take_parameters(fbp_plan *plan, fbp_layer *layer, enum fbp_status *status)
{
    int64_t weights;
    if (__builtin_mul_overflow(layer->n_in, layer->n_out, &weights) ||
        weights > LARGEST / (int64_t)plan->itemsize - layer->n_out - plan->n_parameters) {
        *status = FBP_TOO_LARGE;
        return;
    }
    layer->p_w = plan->n_parameters;
    layer->p_b = layer->p_w + weights;
    plan->n_parameters = layer->p_b + layer->n_out;
}

/* Operands of products of bf16, in whole tiles */
static void take_bf16(const fbp_plan *plan, fbp_layer *layer, int first, int64_t *used,
                      enum fbp_status *status)
{
    enum { BYTES = sizeof(uint16_t) };
    const int64_t rows = plan->bf16 ? round_up(plan->block, FBP_BF16_UNIT) : 0;
    const int64_t n_in = round_up(layer->n_in, FBP_BF16_UNIT);
    const int64_t n_out = round_up(layer->n_out, FBP_BF16_UNIT);
    const int64_t weights = plan->bf16 ? n_in : 0;
    layer->x_left_t = take(used, rows, n_in * BYTES, status);
    layer->dz_right = take(used, rows, n_out * BYTES, status);
    layer->w_right = take(used, weights, n_out * BYTES, status);
    layer->wt_right = take(used, first ? 0 : weights, n_out * BYTES, status);
}

static void take_arena(const fbp_plan *plan, fbp_layer *layer, int first, int last, int64_t *used,
                       enum fbp_status *status)
{
    const int64_t item = (int64_t)plan->itemsize, block = plan->block;
    const int bf16 = plan->bf16;
    const int64_t pointer = sizeof(void *);
    layer->ld = leading_dimension(layer->n_out, plan->itemsize, last);
    layer->a = take(used, block, layer->ld * item, status);
    layer->dz = take(used, block, layer->ld * item, status);
    layer->slope = take(used, fbp_keeps_slope(layer->activation) || layer->dropout > 0 ? block : 0,
                        layer->ld * item, status);
    layer->wide = layer->n_out * item > FBP_WIDE_ROW && !bf16 && !(first && plan->sparse);
    layer->w_panels =
        take(used, layer->wide ? layer->n_in : 0, panels_width(layer->n_out) * item, status);
    layer->wt_panels =
        take(used, first || bf16 ? 0 : layer->n_out, panels_width(layer->n_in) * item, status);
    const int64_t few = block < FBP_FEW_SAMPLES ? block : FBP_FEW_SAMPLES;
    const int64_t dzt = layer->n_out * panels_width(few);
    const int64_t dz = layer->wide ? panels_width(layer->n_out) * block : 0;
    layer->dz_panels = take(used, bf16 ? 0 : dz > dzt ? dz : dzt, item, status);
    take_bf16(plan, layer, first, used, status);
    layer->x_rows = take(used, block, pointer, status);
    layer->dz_rows = take(used, block, pointer, status);
}

/* Columns of the widest x or dz, filled up to whole tiles */
static int64_t widest(const fbp_layer *layers, int n_layers)
{
    int64_t n = layers[0].n_in;
    for (int l = 0; l < n_layers; l++) {
        n = n < layers[l].n_out ? layers[l].n_out : n;
    }
    return round_up(n, FBP_BF16_UNIT);
}

int fbp_plan_parts(const fbp_layer *layer, int64_t n)
{
    enum { LARGE = 1 << 15, MOST = 8, ROWS = 16 }; /* of w in a part, for each of z */
    int parts = 1;
    while (parts < MOST && 2 * parts * n * ROWS <= layer->n_in &&
           layer->n_in * layer->n_out >= LARGE) {
        parts *= 2;
    }
    return parts;
}

/* Elements of all parts of z of up to `block` samples, where these are few */
static int64_t size_of_parts(const fbp_layer *layers, int n_layers, int64_t block)
{
    int64_t most = 0;
    for (int l = 0; l < n_layers; l++) {
        for (int64_t n = 1; n <= block && n <= FBP_FEW_SAMPLES; n++) {
            const int parts = fbp_plan_parts(&layers[l], n);
            const int64_t size = parts > 1 ? parts * n * layers[l].ld : 0;
            most = size > most ? size : most;
        }
    }
    return most;
}

enum fbp_status fbp_plan_make(fbp_plan *plan, fbp_layer *layers, int n_layers, size_t itemsize,
                              int64_t block, int64_t panel, int n_slabs, int bf16, int sparse)
{
    enum fbp_status status = FBP_OK;
    int64_t used = 0;
    *plan = (fbp_plan){.n_layers = n_layers,
                       .itemsize = itemsize,
                       .block = block,
                       .panel = panel,
                       .n_slabs = n_slabs,
                       .bf16 = bf16,
                       .sparse = sparse,
                       .steps = (block + FBP_BF16_UNIT - 1) / FBP_BF16_UNIT};
    for (int l = 0; l < n_layers && status == FBP_OK; l++) {
        take_parameters(plan, &layers[l], &status);
    }
    for (int l = 0; l < n_layers && status == FBP_OK; l++) {
        take_arena(plan, &layers[l], l == 0, l == n_layers - 1, &used, &status);
    }
    plan->x_ld = leading_dimension(layers[0].n_in, itemsize, 0);
    plan->x = take(&used, sparse ? 0 : block, plan->x_ld * (int64_t)itemsize, &status);
    plan->row_loss = take(&used, block, sizeof(double), &status);
    plan->slab_size = (size_t)round_up(plan->n_parameters * (int64_t)itemsize, FBP_ALIGN);
    plan->slabs = take(&used, n_slabs, (int64_t)plan->slab_size, &status);
    plan->slab_loss = take(&used, n_slabs, sizeof(double), &status);
    plan->n_norms = (plan->n_parameters + FBP_NORM_CHUNK - 1) / FBP_NORM_CHUNK;
    /* the weights of each layer begin a chunk of their own */
    plan->norms = take(&used, plan->n_norms + n_layers, sizeof(double), &status);
    for (int i = 0; i < 2 && !bf16 && status == FBP_OK; i++) {
        plan->parts[i] =
            take(&used, size_of_parts(layers, n_layers, block), (int64_t)itemsize, &status);
    }
    plan->left_stride = widest(layers, n_layers) / FBP_BF16_UNIT;
    for (int i = 0; i < 2; i++) {
        plan->left[i] = take(&used, bf16 ? plan->steps * plan->left_stride : 0,
                             2 * FBP_BF16_TILE * (int64_t)sizeof(uint16_t), &status);
    }
    plan->size = (size_t)used;
    return status;
}

int64_t fbp_plan_block(const fbp_layer *layers, int n_layers, size_t itemsize, int64_t batch,
                       int bf16)
{
    enum { TARGET_BYTES = 1 << 20, FEWEST = 192, UNIT = 48, BF16 = 256 };
    int64_t row = layers[0].n_in;
    for (int l = 0; l < n_layers; l++) {
        row += 2 * layers[l].n_out;
    }
    int64_t block = TARGET_BYTES / (int64_t)itemsize / row / UNIT * UNIT;
    block = bf16 ? BF16 : block < FEWEST ? FEWEST : block;
    return batch < block ? batch : block;
}

int fbp_plan_slabs(const fbp_layer *layers, int n_layers, int64_t batch)
{
    enum { FEWEST = 96, ROWS = 192 };
    int64_t row = layers[0].n_in, n_parameters = 0;
    for (int l = 0; l < n_layers; l++) {
        row += 2 * layers[l].n_out;
        n_parameters += (layers[l].n_in + 1) * layers[l].n_out;
    }
    /* what threads would read of each other's samples otherwise, beside a slab */
    const double pays = (double)batch * (double)row / (double)n_parameters;
    int slabs = batch < FEWEST ? 1 : 2;
    while (slabs < FBP_MOST_SLABS && batch >= 2 * slabs * ROWS) {
        slabs *= 2;
    }
    while (slabs > 2 && pays < 4 * slabs) {
        slabs /= 2;
    }
    return pays < 4 ? 1 : slabs;
}
