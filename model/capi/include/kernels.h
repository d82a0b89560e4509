// C interface to the kernels and to ShuffleNetV2. Generated from Rust by cbindgen: change it there.
//
// Link with libshufflenet_capi.so, or with libshufflenet_capi.a -lpthread -ldl -lm.
//
// Every function that can fail returns a status; of a failure, kernels_last_error() says more. What a function creates
// it stores through its last arguments, and leaves them as they are where it fails. NULL pointers and wrong lengths are
// errors. What cannot be checked is the caller's word:
//
// - A pointer with a length points at so many elements, initialised (also those to be written: take zeroed memory), which
//   nobody else writes during the call, nor reads if the call writes them.
// - A handle comes from this library and has not been freed. Handles other than workspaces never change: threads may
//   share them. A workspace serves one call at a time.
// - A string ends with a zero byte.
//
// Tensors are one image each, channels in blocks of sixteen: element (c, y, x) lies at
// (c / 16) * block_stride + (y * w + x) * 16 + c % 16, where block_stride is 16 * (h * w | 1).
// kernels_blocked_len() says how many elements that takes; memory aligned to 64 bytes is fastest.


#ifndef KERNELS_H
#define KERNELS_H

#include <stddef.h>
#include <stdint.h>

// No activation.
#define KERNELS_NONE 0

// max(0, x).
#define KERNELS_RELU 1

// min(6, max(0, x)).
#define KERNELS_RELU6 2

// How a call ended.
typedef enum {
  // Well.
  KERNELS_STATUS_OK = 0,
  // A pointer is NULL that must not be.
  KERNELS_STATUS_NULL_POINTER = 1,
  // A length, shape or parameter does not fit the others, or this processor lacks the instruction set.
  KERNELS_STATUS_INVALID_ARGUMENT = 2,
  // A checkpoint cannot be read, or is not what it should be.
  KERNELS_STATUS_CHECKPOINT = 3,
  // An error in this library.
  KERNELS_STATUS_INTERNAL = 4,
  // A photo cannot be read.
  KERNELS_STATUS_PHOTO = 5,
} kernels_status;

// dst = activation(src * scale + shift), one scale and shift per channel.
typedef struct kernels_affine kernels_affine;

// Depthwise convolution with bias, folded batch normalisation and activation.
typedef struct kernels_depthwise kernels_depthwise;

// A copy of a value with channel c in slot c: a shuffle that moves data.
typedef struct kernels_materialize kernels_materialize;

// In which slot of a blocked tensor each channel of a value lies. Slot s is lane s % 16 of block s / 16.
typedef struct kernels_order kernels_order;

// 1x1 convolution with bias, folded batch normalisation, activation and an optional residual.
typedef struct kernels_pointwise kernels_pointwise;

// ShuffleNetV2 with its weights, packed.
typedef struct kernels_shufflenet kernels_shufflenet;

// Memory of one running inference. It grows on the first run and is then used again.
typedef struct kernels_workspace kernels_workspace;

// Numbers to write.
typedef struct {
  // The first.
  float *data;
  // How many.
  size_t len;
} kernels_floats_mut;

// Numbers to read; {NULL, 0} where a function asks for none.
typedef struct {
  // The first.
  const float *data;
  // How many.
  size_t len;
} kernels_floats;

// The statistics of a batch normalisation, one number per channel each:
// y = (x - mean) / sqrt(variance + eps) * gamma + beta.
typedef struct {
  // Scale.
  kernels_floats gamma;
  // Shift.
  kernels_floats beta;
  // Running mean.
  kernels_floats mean;
  // Running variance.
  kernels_floats variance;
  // 1e-5 in PyTorch, 1e-3 in Keras.
  float eps;
} kernels_batch_norm;

// What a 1x1 convolution is made of. Zero every field that is not needed.
typedef struct {
  // Input channels.
  size_t ic;
  // Output channels.
  size_t oc;
  // Groups of channels that do not see each other; 0 is 1.
  size_t groups;
  // Where the input channels lie; NULL for channel c in slot c.
  const kernels_order *input_order;
  // Where the output channels go; NULL for channel c in slot c.
  const kernels_order *output_order;
  // One number per output channel, or none.
  kernels_floats bias;
  // Behind the convolution, or NULL.
  const kernels_batch_norm *batch_norm;
  // KERNELS_NONE, KERNELS_RELU or KERNELS_RELU6.
  uint32_t activation;
  // "avx512", "avx2", "portable" or "auto"; NULL for what the environment variable KERNELS_ISA says, else "auto".
  const char *isa;
} kernels_pointwise_options;

// Channels, rows and columns of one image or feature map.
typedef struct {
  // Channels (or slots, where a tensor is read or written through an order).
  size_t c;
  // Rows.
  size_t h;
  // Columns.
  size_t w;
} kernels_shape;

// A blocked tensor to read.
typedef struct {
  // The first element.
  const float *data;
  // Elements: exactly kernels_blocked_len(shape).
  size_t len;
  // Channels, rows, columns.
  kernels_shape shape;
} kernels_view;

// A blocked tensor to write.
typedef struct {
  // The first element.
  float *data;
  // Elements: exactly kernels_blocked_len(shape).
  size_t len;
  // Channels, rows, columns.
  kernels_shape shape;
} kernels_view_mut;

// What a depthwise convolution is made of. Zero every field that is not needed.
typedef struct {
  // Channels.
  size_t channels;
  // Rows and columns of the window: 3 or 5.
  size_t kernel;
  // 1 or 2.
  size_t stride;
  // Rows of nothing above the image.
  size_t pad_top;
  // Rows of nothing below the image.
  size_t pad_bottom;
  // Columns of nothing before the image.
  size_t pad_left;
  // Columns of nothing behind the image.
  size_t pad_right;
  // Not 0: TensorFlow's padding "same" instead of the four numbers above.
  uint32_t pad_same;
  // Where the input channels lie; NULL for channel c in slot c.
  const kernels_order *input_order;
  // One number per channel, or none.
  kernels_floats bias;
  // Behind the convolution, or NULL.
  const kernels_batch_norm *batch_norm;
  // KERNELS_NONE, KERNELS_RELU or KERNELS_RELU6.
  uint32_t activation;
  // As in kernels_pointwise_options.
  const char *isa;
} kernels_depthwise_options;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The message of this thread's last failure, "" if there was none. The string lives until the thread's next failure.
const char *kernels_last_error(void);

// Loads a checkpoint (.pth, .safetensors or Keras .h5) and recognises width, wiring and classes. `isa` as in
// kernels_pointwise_options.
kernels_status kernels_shufflenet_load(const char *path, const char *isa, kernels_shufflenet **out);

// The same for a checkpoint in memory, of `len` bytes.
kernels_status kernels_shufflenet_load_bytes(const uint8_t *data,
                                             size_t len,
                                             const char *isa,
                                             kernels_shufflenet **out);

// Decodes a photo, a JPEG, PNG or WebP file of `len` bytes in memory, and makes of it the input that such a network was
// trained on, as `shufflenet classify` does: one image of 224 x 224, 3 * 224 * 224 numbers, for kernels_shufflenet_run.
kernels_status kernels_shufflenet_read_photo(const kernels_shufflenet *network,
                                             const uint8_t *data,
                                             size_t len,
                                             kernels_floats_mut image);

// Replaces the logits of one image by probabilities.
kernels_status kernels_softmax(kernels_floats_mut values);

// Classes: the numbers that kernels_shufflenet_run writes per image; 0 for NULL.
size_t kernels_shufflenet_classes(const kernels_shufflenet *network);

// Computes the logits of `n` preprocessed images of `h` x `w`, at least 32 x 32. `images` are n * 3 * h * w numbers:
// image, channel, row, column. `logits` are n * classes numbers.
kernels_status kernels_shufflenet_run(const kernels_shufflenet *network,
                                      kernels_workspace *workspace,
                                      kernels_floats images,
                                      size_t n,
                                      size_t h,
                                      size_t w,
                                      kernels_floats_mut logits);

// Frees a network. NULL is fine.
void kernels_shufflenet_free(kernels_shufflenet *network);

// An empty workspace. It serves networks of any size, one call at a time.
kernels_status kernels_workspace_new(kernels_workspace **out);

// Frees a workspace. NULL is fine.
void kernels_workspace_free(kernels_workspace *workspace);

// Packs `weights`, oc rows of ic / groups numbers.
kernels_status kernels_pointwise_new(const kernels_pointwise_options *options,
                                     kernels_floats weights,
                                     kernels_pointwise **out);

// Computes `dst` from `src`; `residual` (NULL for none) is shaped and ordered like `dst` and added before the
// activation. `src` and `dst` need as many slots as their orders name, and the same rows and columns.
kernels_status kernels_pointwise_run(const kernels_pointwise *pointwise,
                                     kernels_view src,
                                     const kernels_view *residual,
                                     kernels_view_mut dst);

// Frees a 1x1 convolution. NULL is fine.
void kernels_pointwise_free(kernels_pointwise *pointwise);

// Packs `weights`, kernel * kernel numbers per channel.
kernels_status kernels_depthwise_new(const kernels_depthwise_options *options,
                                     kernels_floats weights,
                                     kernels_depthwise **out);

// The shape that `dst` must have (it may have more slots) for a source of `h` x `w`.
kernels_status kernels_depthwise_output_shape(const kernels_depthwise *depthwise,
                                              size_t h,
                                              size_t w,
                                              kernels_shape *out);

// Where each channel lies in `dst`: lanes stay lanes, so this is the input order less the blocks without a channel.
kernels_status kernels_depthwise_output_order(const kernels_depthwise *depthwise,
                                              kernels_order **out);

// Computes `dst` from `src`, which needs as many slots as the input order names.
kernels_status kernels_depthwise_run(const kernels_depthwise *depthwise,
                                     kernels_view src,
                                     kernels_view_mut dst);

// Frees a depthwise convolution. NULL is fine.
void kernels_depthwise_free(kernels_depthwise *depthwise);

// Packs one scale and one shift per channel.
kernels_status kernels_affine_new(kernels_floats scale,
                                  kernels_floats shift,
                                  uint32_t activation,
                                  const char *isa,
                                  kernels_affine **out);

// Packs a batch normalisation.
kernels_status kernels_affine_from_batch_norm(const kernels_batch_norm *batch_norm,
                                              uint32_t activation,
                                              const char *isa,
                                              kernels_affine **out);

// Computes `dst` from `src`, of the same shape; the two may be the same memory.
kernels_status kernels_affine_run(const kernels_affine *affine, kernels_view src, kernels_view_mut dst);

// Frees a batch normalisation. NULL is fine.
void kernels_affine_free(kernels_affine *affine);

// Prepares to gather the channels of `order`.
kernels_status kernels_materialize_new(const kernels_order *order,
                                       const char *isa,
                                       kernels_materialize **out);

// Gathers `dst`, which has exactly the channels of the order, from `src`, which has at least its slots.
kernels_status kernels_materialize_run(const kernels_materialize *materialize,
                                       kernels_view src,
                                       kernels_view_mut dst);

// Frees a shuffle. NULL is fine.
void kernels_materialize_free(kernels_materialize *materialize);

// Channel c in slot c.
kernels_status kernels_order_identity(size_t channels, kernels_order **out);

// Channel c in slot slots[c].
kernels_status kernels_order_from_slots(const uint32_t *slots, size_t channels, kernels_order **out);

// Channel shuffle of `groups` groups: out[groups * i + j] = in[j * (channels / groups) + i].
kernels_status kernels_order_shuffle(const kernels_order *order, size_t groups, kernels_order **out);

// The first `at` channels, and the others.
kernels_status kernels_order_split(const kernels_order *order,
                                   size_t at,
                                   kernels_order **first,
                                   kernels_order **others);

// The channels of `count` values of one buffer, one value after the other.
kernels_status kernels_order_concat(const kernels_order *const *parts, size_t count, kernels_order **out);

// The value in a buffer that begins `blocks` blocks further on.
kernels_status kernels_order_after_blocks(const kernels_order *order, size_t blocks, kernels_order **out);

// How many channels the value has; 0 for NULL.
size_t kernels_order_channels(const kernels_order *order);

// Copies the slot of every channel; `len` is the number of channels.
kernels_status kernels_order_slots(const kernels_order *order, uint32_t *slots, size_t len);

// Frees an order. NULL is fine.
void kernels_order_free(kernels_order *order);

// Elements of a blocked tensor; 0 where a side is zero or there cannot be so many.
size_t kernels_blocked_len(kernels_shape shape);

// Reads a planar image: channel, row, column.
kernels_status kernels_from_nchw(kernels_floats src, kernels_view_mut dst);

// Reads an interleaved image: row, column, channel.
kernels_status kernels_from_nhwc(kernels_floats src, kernels_view_mut dst);

// Writes the channels of `order` (of NULL: all, in the order of their slots) as a planar image.
kernels_status kernels_to_nchw(kernels_view src, const kernels_order *order, kernels_floats_mut dst);

// Writes the channels of `order` (of NULL: all, in the order of their slots) as an interleaved image.
kernels_status kernels_to_nhwc(kernels_view src, const kernels_order *order, kernels_floats_mut dst);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* KERNELS_H */
