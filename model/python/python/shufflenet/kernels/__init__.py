"""The kernels as objects over NumPy arrays: built once from weights, called with (n, c, h, w).

Every call copies its images into blocks of sixteen channels and its results back: two passes over memory that a
network (`shufflenet.load`, or the crate `kernels`) makes once at its ends and not at every layer. README.md
says what that costs. So these are for trying and testing operators, and for layers that compute a lot; not for
building a network layer by layer.

Weights are laid out as PyTorch's. Arrays that are float32 in C order are read where they lie, others are copied
first. Operators may be called by several threads at the same time; Python's lock is released while they
compute. Batch normalisation, bias, activation and residual cost no pass of their own.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, Union

from shufflenet import _native
from shufflenet._arrays import ArrayLike, Float32, floats
from shufflenet._native import ChannelOrder
from shufflenet.kernels._window import Padding, Pair, number, taps

__all__ = [
    "Affine",
    "AveragePool",
    "BatchNorm",
    "ChannelOrder",
    "Convolution",
    "Depthwise",
    "Linear",
    "Materialize",
    "MaxPool",
    "Pointwise",
    "global_average",
    "shuffle",
    "softmax",
]

Activation = Union[
    Literal["relu", "relu6", "hard_sigmoid", "hard_swish", "sigmoid", "silu", "tanh", "gelu", "gelu_tanh"],
    None,
]


class BatchNorm(NamedTuple):
    """`(x - mean) / sqrt(variance + eps) * gamma + beta`, one number per channel each."""

    gamma: ArrayLike
    beta: ArrayLike
    mean: ArrayLike
    variance: ArrayLike
    eps: float = 1e-5


class _Options(NamedTuple):
    bias: Float32 | None
    batch_norm: tuple[Float32, Float32, Float32, Float32, float] | None
    activation: str | None
    isa: str | None


def _options(
    bias: ArrayLike | None, batch_norm: BatchNorm | None, activation: Activation, isa: str | None
) -> _Options:
    return _Options(
        None if bias is None else floats("bias", bias, (1,)),
        None if batch_norm is None else _statistics(batch_norm),
        activation,
        isa,
    )


def _statistics(batch_norm: BatchNorm) -> tuple[Float32, Float32, Float32, Float32, float]:
    gamma, beta, mean, variance, eps = batch_norm
    return (
        floats("gamma", gamma, (1,)),
        floats("beta", beta, (1,)),
        floats("mean", mean, (1,)),
        floats("variance", variance, (1,)),
        float(eps),
    )


def _rows(weights: ArrayLike) -> Float32:
    """(oc, ic) of (oc, ic) or (oc, ic, 1, 1)."""
    found = floats("weights", weights, (2, 4))
    if found.ndim == 4:
        if found.shape[2:] != (1, 1):
            raise ValueError(f"weights: expected shape (oc, ic / groups, 1, 1), found {found.shape}")
        found = found.reshape(found.shape[:2])
    return found


class _Maps:
    """From images to images."""

    _operator: _native.Operator

    def __call__(self, images: ArrayLike, *, out: Float32 | None = None) -> Float32:
        """Computes every image. `out` is written where it is given: float32 in C order, not the images themselves."""
        return self._operator(floats("images", images, (4,)), out=out)


class Pointwise(_Maps):
    """1x1 convolution; `weights` are (oc, ic / groups), with or without (1, 1) behind.

    `input_order` says in which channel of the images each input channel lies: a shuffle, split or concatenation
    that moves nothing.
    """

    def __init__(
        self,
        weights: ArrayLike,
        bias: ArrayLike | None = None,
        *,
        groups: int = 1,
        batch_norm: BatchNorm | None = None,
        activation: Activation = None,
        input_order: ChannelOrder | None = None,
        isa: str | None = None,
    ) -> None:
        options = _options(bias, batch_norm, activation, isa)
        self._operator = _native.pointwise(_rows(weights), number("groups", groups, 1), input_order, options)

    def __call__(
        self, images: ArrayLike, *, residual: ArrayLike | None = None, out: Float32 | None = None
    ) -> Float32:
        """Computes every image; adds `residual`, shaped as the result, before the activation."""
        added = None if residual is None else floats("residual", residual, (4,))
        return self._operator(floats("images", images, (4,)), residual=added, out=out)


class Depthwise(_Maps):
    """Depthwise convolution; `weights` are (channels, kh, kw) or (channels, 1, kh, kw)."""

    def __init__(
        self,
        weights: ArrayLike,
        bias: ArrayLike | None = None,
        *,
        stride: Pair = 1,
        padding: Padding = 0,
        dilation: Pair = 1,
        batch_norm: BatchNorm | None = None,
        activation: Activation = None,
        input_order: ChannelOrder | None = None,
        isa: str | None = None,
    ) -> None:
        found, kernel = _filters(weights)
        options = _options(bias, batch_norm, activation, isa)
        window = taps(kernel, stride, padding, dilation)
        self._operator = _native.depthwise(found, window, input_order, options)


def _filters(weights: ArrayLike) -> tuple[Float32, tuple[int, int]]:
    """(channels, taps) and the kernel of (channels, kh, kw) or (channels, 1, kh, kw)."""
    found = floats("weights", weights, (3, 4))
    if found.ndim == 4 and found.shape[1] != 1:
        raise ValueError(f"weights: expected shape (channels, 1, kh, kw), found {found.shape}")
    kh, kw = found.shape[-2:]
    return found.reshape(found.shape[0], kh * kw), (kh, kw)


class Convolution(_Maps):
    """Convolution; `weights` are (oc, ic / groups, kh, kw). Images are read where they lie."""

    def __init__(
        self,
        weights: ArrayLike,
        bias: ArrayLike | None = None,
        *,
        stride: Pair = 1,
        padding: Padding = 0,
        dilation: Pair = 1,
        groups: int = 1,
        batch_norm: BatchNorm | None = None,
        activation: Activation = None,
        isa: str | None = None,
    ) -> None:
        found = floats("weights", weights, (4,))
        kh, kw = found.shape[2:]
        options = _options(bias, batch_norm, activation, isa)
        window = taps((kh, kw), stride, padding, dilation)
        self._operator = _native.convolution(found, window, number("groups", groups, 1), options)


class Linear:
    """Fully connected layer; `weights` are (oc, ic)."""

    def __init__(
        self,
        weights: ArrayLike,
        bias: ArrayLike | None = None,
        *,
        batch_norm: BatchNorm | None = None,
        activation: Activation = None,
        isa: str | None = None,
    ) -> None:
        options = _options(bias, batch_norm, activation, isa)
        self._operator = _native.linear(floats("weights", weights, (2,)), options)

    def __call__(self, rows: ArrayLike, *, out: Float32 | None = None) -> Float32:
        """(n, ic) to (n, oc)."""
        return self._operator(floats("rows", rows, (2,)), out=out)


class Affine(_Maps):
    """`activation(x * scale + shift)`, one of each per channel: batch normalisation by itself."""

    def __init__(
        self, scale: ArrayLike, shift: ArrayLike, *, activation: Activation = None, isa: str | None = None
    ) -> None:
        found = floats("scale", scale, (1,)), floats("shift", shift, (1,))
        self._operator = _native.affine(*found, activation, isa)


class MaxPool(_Maps):
    """The greatest value of each window, NaN where it holds one."""

    def __init__(
        self, kernel: Pair, *, stride: Pair = 1, padding: Padding = 0, isa: str | None = None
    ) -> None:
        self._operator = _native.max_pool(taps(kernel, stride, padding), isa)


class AveragePool(_Maps):
    """The mean of each window; `count_include_pad` as PyTorch's."""

    def __init__(
        self,
        kernel: Pair,
        *,
        stride: Pair = 1,
        padding: Padding = 0,
        count_include_pad: bool = True,
        isa: str | None = None,
    ) -> None:
        self._operator = _native.average_pool(taps(kernel, stride, padding), count_include_pad, isa)


class Materialize(_Maps):
    """Channels really moved into an order: what a network does that cannot read through one."""

    def __init__(self, order: ChannelOrder, *, isa: str | None = None) -> None:
        self._operator = _native.materialize(order, isa)


def shuffle(images: ArrayLike, groups: int) -> Float32:
    """Channel shuffle that moves data: `out[groups * i + j] = in[j * (channels / groups) + i]`.

    Where a 1x1 convolution comes next, `Pointwise(..., input_order=ChannelOrder.identity(c).shuffle(groups))`
    moves none.
    """
    found = floats("images", images, (4,))
    order = ChannelOrder.identity(found.shape[1]).shuffle(number("groups", groups, 1))
    return Materialize(order)(found)


def global_average(images: ArrayLike, *, isa: str | None = None) -> Float32:
    """The mean of every channel: (n, c, h, w) to (n, c)."""
    return _native.global_average(floats("images", images, (4,)), isa)


def softmax(logits: ArrayLike) -> Float32:
    """The softmax of every row of (n, classes)."""
    return _native.softmax(floats("logits", logits, (2,)))
