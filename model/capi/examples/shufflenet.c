// The kernels and ShuffleNetV2 from C: a depthwise-separable layer behind a channel shuffle, compared with plain loops,
// then a whole network.
//
//     shufflenet CHECKPOINT

#include "kernels.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Ends the program with the library's message where a call fails.
static void must(kernels_status status) {
    if (status != KERNELS_STATUS_OK) {
        fprintf(stderr, "error: %s\n", kernels_last_error());
        exit(1);
    }
}

// Ends the program where a call does not fail with `status` and a message that contains `words`.
static void must_fail(kernels_status status, kernels_status expected, const char *words) {
    if (status != expected || !strstr(kernels_last_error(), words)) {
        fprintf(stderr, "expected status %d (\"%s\"), found %d (\"%s\")\n", expected, words, status,
                kernels_last_error());
        exit(1);
    }
}

static float number(size_t i) {
    return (float)(i * 7919 % 2003) / 1001.5f - 1.0f;
}

static float *numbers(size_t len) {
    float *data = malloc(len * sizeof *data);
    if (!data) abort();
    for (size_t i = 0; i < len; i++) data[i] = number(i);
    return data;
}

// A tensor of zeros in memory of its own.
static kernels_view_mut tensor(size_t c, size_t h, size_t w) {
    kernels_view_mut t = {.shape = {c, h, w}};
    t.len = kernels_blocked_len(t.shape);
    size_t bytes = (t.len * sizeof(float) + 63) / 64 * 64;
    t.data = aligned_alloc(64, bytes);
    if (!t.data) abort();
    memset(t.data, 0, bytes);
    return t;
}

static kernels_view reading(kernels_view_mut t) {
    return (kernels_view){.data = t.data, .len = t.len, .shape = t.shape};
}

enum { IC = 40, OC = 58, H = 9, W = 14 };

static void operators(void) {
    float *image = numbers(IC * H * W), *dw_weights = numbers(IC * 9), *pw_weights = numbers(OC * IC);
    float *scale = numbers(OC), *shift = numbers(OC);

    // The image's channels, shuffled in two groups without being moved.
    kernels_order *plain, *shuffled;
    must(kernels_order_identity(IC, &plain));
    must(kernels_order_shuffle(plain, 2, &shuffled));

    kernels_depthwise_options dw = {.channels = IC, .kernel = 3, .stride = 1, .pad_top = 1, .pad_bottom = 1,
                                    .pad_left = 1, .pad_right = 1, .input_order = shuffled,
                                    .activation = KERNELS_RELU};
    kernels_depthwise *depthwise;
    must(kernels_depthwise_new(&dw, (kernels_floats){dw_weights, IC * 9}, &depthwise));
    kernels_order *filtered_order;
    must(kernels_depthwise_output_order(depthwise, &filtered_order));

    kernels_pointwise_options pw = {.ic = IC, .oc = OC, .input_order = filtered_order};
    kernels_pointwise *pointwise;
    must(kernels_pointwise_new(&pw, (kernels_floats){pw_weights, OC * IC}, &pointwise));

    kernels_affine *affine;
    must(kernels_affine_new((kernels_floats){scale, OC}, (kernels_floats){shift, OC}, KERNELS_RELU, NULL, &affine));

    kernels_shape shape;
    must(kernels_depthwise_output_shape(depthwise, H, W, &shape));
    kernels_view_mut src = tensor(IC, H, W), filtered = tensor(shape.c, shape.h, shape.w), dst = tensor(OC, H, W);
    must(kernels_from_nchw((kernels_floats){image, IC * H * W}, src));
    must(kernels_depthwise_run(depthwise, reading(src), filtered));
    must(kernels_pointwise_run(pointwise, reading(filtered), NULL, dst));
    must(kernels_affine_run(affine, reading(dst), dst));
    float *output = numbers(OC * H * W);
    must(kernels_to_nchw(reading(dst), NULL, (kernels_floats_mut){output, OC * H * W}));

    double worst = 0;
    for (int y = 0; y < H; y++) {
        for (int x = 0; x < W; x++) {
            double middle[IC];
            for (int c = 0; c < IC; c++) {
                const float *plane = image + (c % 2 * (IC / 2) + c / 2) * H * W;
                double sum = 0;
                for (int kh = -1; kh <= 1; kh++)
                    for (int kw = -1; kw <= 1; kw++)
                        if (y + kh >= 0 && y + kh < H && x + kw >= 0 && x + kw < W)
                            sum += dw_weights[c * 9 + (kh + 1) * 3 + kw + 1] * plane[(y + kh) * W + x + kw];
                middle[c] = fmax(sum, 0);
            }
            for (int o = 0; o < OC; o++) {
                double sum = 0;
                for (int c = 0; c < IC; c++) sum += pw_weights[o * IC + c] * middle[c];
                sum = fmax(sum * scale[o] + shift[o], 0);
                worst = fmax(worst, fabs(sum - output[(o * H + y) * W + x]));
            }
        }
    }
    if (!(worst < 1e-4)) {
        fprintf(stderr, "operators: off by %g\n", worst);
        exit(1);
    }

    // The same shuffle with the data moved.
    kernels_materialize *materialize;
    must(kernels_materialize_new(shuffled, NULL, &materialize));
    kernels_view_mut moved = tensor(IC, H, W);
    must(kernels_materialize_run(materialize, reading(src), moved));
    float *there = numbers(IC * H * W);
    must(kernels_to_nhwc(reading(moved), NULL, (kernels_floats_mut){there, IC * H * W}));
    for (size_t p = 0; p < H * W; p++)
        for (size_t c = 0; c < IC; c++)
            if (there[p * IC + c] != image[(c % 2 * (IC / 2) + c / 2) * H * W + p]) {
                fprintf(stderr, "shuffle: channel %zu of pixel %zu is wrong\n", c, p);
                exit(1);
            }

    // What is wrong is said, and nothing is written.
    kernels_pointwise *none = NULL;
    must_fail(kernels_pointwise_new(&pw, (kernels_floats){pw_weights, 7}, &none), KERNELS_STATUS_INVALID_ARGUMENT,
              "weights: expected 2320 elements, found 7");
    must_fail(kernels_pointwise_new(&pw, (kernels_floats){NULL, OC * IC}, &none), KERNELS_STATUS_NULL_POINTER,
              "weights is NULL");
    must_fail(kernels_pointwise_run(NULL, reading(filtered), NULL, dst), KERNELS_STATUS_NULL_POINTER,
              "pointwise is NULL");
    must_fail(kernels_pointwise_run(pointwise, reading(dst), NULL, dst), KERNELS_STATUS_INVALID_ARGUMENT, "overlap");
    kernels_view_mut low = tensor(IC, H - 1, W);
    must_fail(kernels_depthwise_run(depthwise, reading(src), low), KERNELS_STATUS_INVALID_ARGUMENT, "should be");
    low.len -= 1;
    must_fail(kernels_materialize_run(materialize, reading(src), low), KERNELS_STATUS_INVALID_ARGUMENT,
              "dst: view: expected");
    pw.isa = "sse9";
    must_fail(kernels_pointwise_new(&pw, (kernels_floats){pw_weights, OC * IC}, &none),
              KERNELS_STATUS_INVALID_ARGUMENT, "sse9");
    must_fail(kernels_order_shuffle(plain, 3, &shuffled), KERNELS_STATUS_INVALID_ARGUMENT, "40 channels in 3 groups");
    if (none) exit(1);
    printf("operators: as plain loops\n");

    kernels_materialize_free(materialize);
    kernels_affine_free(affine);
    kernels_pointwise_free(pointwise);
    kernels_depthwise_free(depthwise);
    kernels_order_free(filtered_order);
    kernels_order_free(shuffled);
    kernels_order_free(plain);
    kernels_order_free(NULL);
    float *floats[] = {image, dw_weights, pw_weights, scale, shift, output, there, src.data, filtered.data, dst.data,
                       moved.data, low.data};
    for (size_t i = 0; i < sizeof floats / sizeof *floats; i++) free(floats[i]);
}

static void network(const char *path) {
    enum { N = 2, SIDE = 64 };
    kernels_shufflenet *net = NULL;
    must_fail(kernels_shufflenet_load("/no/such/file", NULL, &net), KERNELS_STATUS_CHECKPOINT, "/no/such/file");
    must(kernels_shufflenet_load(path, NULL, &net));
    kernels_workspace *workspace;
    must(kernels_workspace_new(&workspace));

    size_t classes = kernels_shufflenet_classes(net);
    float *images = numbers(N * 3 * SIDE * SIDE), *logits = calloc(N * classes, sizeof *logits);
    if (!logits) abort();
    kernels_floats input = {images, N * 3 * SIDE * SIDE};
    kernels_floats_mut output = {logits, N * classes};
    must_fail(kernels_shufflenet_run(net, workspace, input, N, SIDE, SIDE - 1, output),
              KERNELS_STATUS_INVALID_ARGUMENT, "images: expected");
    must_fail(kernels_shufflenet_run(net, workspace, input, N, 31, SIDE, output), KERNELS_STATUS_INVALID_ARGUMENT,
              "at least 32x32");
    enum { PHOTO = 3 * 224 * 224 };
    kernels_floats_mut photo = {numbers(PHOTO), PHOTO};
    must_fail(kernels_shufflenet_read_photo(net, (const uint8_t *)"GIF89a", 6, photo), KERNELS_STATUS_PHOTO,
              "a GIF picture");
    free(photo.data);
    must(kernels_shufflenet_run(net, workspace, input, N, SIDE, SIDE, output));
    for (size_t i = 0; i < N; i++) {
        size_t best = 0;
        for (size_t c = 1; c < classes; c++)
            if (logits[i * classes + c] > logits[i * classes + best]) best = c;
        printf("image %zu: class %zu, logit %.1f\n", i, best, logits[i * classes + best]);
    }

    free(images);
    free(logits);
    kernels_workspace_free(workspace);
    kernels_shufflenet_free(net);
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: %s CHECKPOINT\n", argv[0]);
        return 2;
    }
    operators();
    network(argv[1]);
    return 0;
}
