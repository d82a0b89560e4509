"""Every operator again, as naive loops in float64: the executable definition that kernels are tested against.

Images are (n, c, h, w) with at least one number; results are float64. Weights are float32, as in a checkpoint.
What kernels fuse is composed here. Taps that fall on padding are left out, not multiplied by zero. Windows may
have any kernel, stride and dilation.
"""

from __future__ import annotations

import numpy as np

from shufflenet import _native
from shufflenet._arrays import ArrayLike, Float32, Float64, doubles, floats
from shufflenet.kernels import Activation, BatchNorm, ChannelOrder, _filters, _rows, _statistics
from shufflenet.kernels._window import Padding, Pair, number, taps

__all__ = [
    "activate",
    "affine",
    "average_pool",
    "batch_norm",
    "convolution",
    "depthwise",
    "gather",
    "global_average",
    "linear",
    "max_pool",
    "pointwise",
    "shuffle",
    "softmax",
]


def pointwise(
    images: ArrayLike, weights: ArrayLike, bias: ArrayLike | None = None, *, groups: int = 1
) -> Float64:
    """1x1 convolution; `weights` are (oc, ic / groups)."""
    return _native.reference_pointwise(
        doubles("images", images, (4,)), _rows(weights), _bias(bias), number("groups", groups, 1)
    )


def depthwise(
    images: ArrayLike,
    weights: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
) -> Float64:
    """Depthwise convolution; `weights` are (oc, kh, kw), oc any multiple of the channels."""
    found, kernel = _filters(weights)
    window = taps(kernel, stride, padding, dilation)
    return _native.reference_depthwise(doubles("images", images, (4,)), found, window, _bias(bias))


def convolution(
    images: ArrayLike,
    weights: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Float64:
    """Convolution in groups; `weights` are (oc, ic / groups, kh, kw)."""
    found = floats("weights", weights, (4,))
    kh, kw = found.shape[2:]
    window = taps((kh, kw), stride, padding, dilation)
    return _native.reference_convolution(
        doubles("images", images, (4,)), found, window, _bias(bias), number("groups", groups, 1)
    )


def linear(rows: ArrayLike, weights: ArrayLike, bias: ArrayLike | None = None) -> Float64:
    """Fully connected layer, (n, ic) to (n, oc); `weights` are (oc, ic)."""
    return _native.reference_linear(
        doubles("rows", rows, (2,)), floats("weights", weights, (2,)), _bias(bias)
    )


def affine(images: ArrayLike, scale: ArrayLike, shift: ArrayLike) -> Float64:
    """`images * scale + shift`, one of each per channel."""
    found = floats("scale", scale, (1,)), floats("shift", shift, (1,))
    return _native.reference_affine(doubles("images", images, (4,)), *found)


def batch_norm(images: ArrayLike, statistics: BatchNorm) -> Float64:
    """`(images - mean) / sqrt(variance + eps) * gamma + beta`."""
    return _native.reference_batch_norm(doubles("images", images, (4,)), _statistics(statistics))


def activate(images: ArrayLike, activation: Activation) -> Float64:
    """The activation of that name, or none, element by element. NaN passes."""
    found = np.array(images, np.float64, order="C")
    return _native.reference_activate(found.reshape(-1), activation).reshape(found.shape)


def max_pool(images: ArrayLike, kernel: Pair, *, stride: Pair = 1, padding: Padding = 0) -> Float64:
    """The greatest value of each window, NaN where it holds one. Padding never wins."""
    return _native.reference_max_pool(doubles("images", images, (4,)), taps(kernel, stride, padding))


def average_pool(
    images: ArrayLike,
    kernel: Pair,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    count_include_pad: bool = True,
) -> Float64:
    """The sum of each window, divided by its taps or, unless `count_include_pad`, by those inside the image."""
    window = taps(kernel, stride, padding)
    return _native.reference_average_pool(doubles("images", images, (4,)), window, count_include_pad)


def global_average(images: ArrayLike) -> Float64:
    """The mean of every channel: (n, c, h, w) to (n, c)."""
    found: Float64 = doubles("images", images, (4,)).mean((2, 3))
    return found


def gather(images: ArrayLike, order: ChannelOrder) -> Float64:
    """Channel `c` of the result is channel `order.slots[c]` of the images."""
    return _native.reference_gather(doubles("images", images, (4,)), order)


def shuffle(images: ArrayLike, groups: int) -> Float64:
    """Channel shuffle: `out[groups * i + j] = in[j * (channels / groups) + i]`."""
    found = doubles("images", images, (4,))
    return gather(found, ChannelOrder.identity(found.shape[1]).shuffle(number("groups", groups, 1)))


def softmax(logits: ArrayLike) -> Float64:
    """The softmax of every row."""
    found = doubles("logits", logits, (2,))
    powers = np.exp(found - found.max(1, keepdims=True))
    result: Float64 = powers / powers.sum(1, keepdims=True)
    return result


def _bias(bias: ArrayLike | None) -> Float32 | None:
    return None if bias is None else floats("bias", bias, (1,))
