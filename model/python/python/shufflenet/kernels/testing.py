"""Property tests for anybody's kernels in Python, with hypothesis.

A problem is what a kernel is asked to do, the numbers to do it with, and the result that must come out,
computed by the definition in float64 (`shufflenet.kernels.reference`). Sizes shrink to the smallest that fail:

    from hypothesis import given
    from shufflenet.kernels import testing

    @given(testing.pointwise())
    def test_my_convolution(problem):
        problem.check(my_convolution(problem.images, problem.weights))

A problem is drawn in one of two kinds of numbers. Whole numbers from -8 to 8 leave no room: as long as sums
stay below 2^24, float32 computes them without any error in any order, so results must be equal. Real numbers
may be off by what rounding explains: `(k + 4) * eps * sum of |a * w|` over the k products of a sum, which is
derived and not tuned (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1).

Needs hypothesis, which nothing else here does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from shufflenet._arrays import Float32, Float64
from shufflenet.kernels import reference

__all__ = [
    "Problem",
    "average_pool",
    "convolution",
    "depthwise",
    "linear",
    "max_pool",
    "pointwise",
    "shuffle",
]

_EPS = float(np.finfo(np.float32).eps)
_TINY = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True, eq=False, repr=False)
class Problem:
    """What a kernel is asked to do. What an operator does not have is None, 1 or 0."""

    operator: str
    #: (n, c, h, w); of `linear`: (n, ic).
    images: Float32
    #: Shaped as the operator's class in `shufflenet.kernels` wants them.
    weights: Float32 | None = None
    bias: Float32 | None = None
    kernel: int = 1
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    groups: int = 1
    #: What must come out.
    expected: Float64 | None = None
    #: How far each number may be off; 0 where it must be equal.
    bound: Float64 | None = None

    def check(self, found: npt.ArrayLike) -> None:
        """An AssertionError that says where, unless `found` is what was expected."""
        assert self.expected is not None and self.bound is not None
        result = np.asarray(found)
        assert result.shape == self.expected.shape, (
            f"expected shape {self.expected.shape}, found {result.shape}"
        )
        wrong = ~(np.abs(result.astype(np.float64) - self.expected) <= self.bound)
        if wrong.any():
            first = tuple(int(i) for i in np.argwhere(wrong)[0])
            raise AssertionError(
                f"{self}: at {first} expected {self.expected[first]!r} (off by at most {self.bound[first]:.3g}), "
                f"found {result[first]!r}; {int(wrong.sum())} of {result.size} numbers differ"
            )

    def __repr__(self) -> str:
        told = []
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray) and field.name not in ("expected", "bound"):
                told.append(f"{field.name}={value.shape}")
            elif not isinstance(value, np.ndarray) and value != field.default and field.name != "operator":
                told.append(f"{field.name}={value}")
        return f"{self.operator}({', '.join(told)})"


def _numbers(draw: st.DrawFn) -> Callable[..., Float32]:
    """A source of arrays, of whole or of real numbers."""
    whole = draw(st.booleans())
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))

    def array(*shape: int) -> Float32:
        if whole:
            return random.integers(-8, 9, shape).astype(np.float32)
        return random.uniform(-2, 2, shape).astype(np.float32)

    return array


def _bound(k: int, magnitude: Float64, *numbers: Float32 | None) -> Float64:
    """What rounding explains; nothing where all numbers are whole and the sums small."""
    whole = all(n is None or bool((n == np.rint(n)).all()) for n in numbers)
    if whole and magnitude.max(initial=0) < 2**24:
        return np.zeros_like(magnitude)
    return (k + 4) * (_EPS * magnitude + _TINY)


def _absolute(array: Float32 | None) -> Float32 | None:
    return None if array is None else np.abs(array)


@st.composite
def pointwise(
    draw: st.DrawFn, *, max_channels: int = 70, max_side: int = 9, groups: bool = False, bias: bool = False
) -> Problem:
    """1x1 convolutions; with groups and a bias, if the kernel has them."""
    count = draw(st.sampled_from([1, 2, 3])) if groups else 1
    ic, oc = (draw(st.integers(1, max(1, max_channels // count))) for _ in range(2))
    n, h, w = draw(st.integers(1, 2)), draw(st.integers(1, max_side)), draw(st.integers(1, max_side))
    array = _numbers(draw)
    images, weights = array(n, ic * count, h, w), array(oc * count, ic)
    added = array(oc * count) if bias and draw(st.booleans()) else None
    magnitude = reference.pointwise(np.abs(images), np.abs(weights), _absolute(added), groups=count)
    return Problem(
        "pointwise",
        images,
        weights,
        added,
        groups=count,
        expected=reference.pointwise(images, weights, added, groups=count),
        bound=_bound(ic, magnitude, images, weights, added),
    )


@st.composite
def depthwise(
    draw: st.DrawFn,
    *,
    max_channels: int = 40,
    max_side: int = 12,
    bias: bool = False,
    dilation: bool = False,
) -> Problem:
    """Depthwise convolutions, 3x3 and 5x5, of stride 1 and 2, padded by up to half a kernel; `weights` are
    (channels, kh, kw)."""
    apart = draw(st.integers(1, 2)) if dilation else 1
    kernel, stride, padding, h, w = _slides(draw, (3, 5), max_side, apart)
    c, n = draw(st.integers(1, max_channels)), draw(st.integers(1, 2))
    array = _numbers(draw)
    images, weights = array(n, c, h, w), array(c, kernel, kernel)
    added = array(c) if bias and draw(st.booleans()) else None

    def compute(images: Float32, weights: Float32, bias: Float32 | None) -> Float64:
        return reference.depthwise(images, weights, bias, stride=stride, padding=padding, dilation=apart)

    magnitude = compute(np.abs(images), np.abs(weights), _absolute(added))
    return Problem(
        "depthwise",
        images,
        weights,
        added,
        kernel,
        stride,
        padding,
        apart,
        groups=c,
        expected=compute(images, weights, added),
        bound=_bound(kernel * kernel, magnitude, images, weights, added),
    )


@st.composite
def convolution(
    draw: st.DrawFn,
    *,
    max_channels: int = 20,
    max_side: int = 12,
    bias: bool = False,
    groups: bool = False,
    dilation: bool = False,
) -> Problem:
    """Convolutions, 1x1 to 7x7, of stride 1 and 2, padded by up to half a kernel."""
    apart = draw(st.integers(1, 2)) if dilation else 1
    count = draw(st.sampled_from([1, 2, 3])) if groups else 1
    kernel, stride, padding, h, w = _slides(draw, (1, 3, 5, 7), max_side, apart)
    ic, oc = (draw(st.integers(1, max(1, max_channels // count))) for _ in range(2))
    n = draw(st.integers(1, 2))
    array = _numbers(draw)
    images, weights = array(n, ic * count, h, w), array(oc * count, ic, kernel, kernel)
    added = array(oc * count) if bias and draw(st.booleans()) else None

    def compute(images: Float32, weights: Float32, bias: Float32 | None) -> Float64:
        return reference.convolution(
            images, weights, bias, stride=stride, padding=padding, dilation=apart, groups=count
        )

    magnitude = compute(np.abs(images), np.abs(weights), _absolute(added))
    return Problem(
        "convolution",
        images,
        weights,
        added,
        kernel,
        stride,
        padding,
        apart,
        count,
        expected=compute(images, weights, added),
        bound=_bound(ic * kernel * kernel, magnitude, images, weights, added),
    )


@st.composite
def linear(draw: st.DrawFn, *, max_channels: int = 100, bias: bool = False) -> Problem:
    """Fully connected layers: `images` are (n, ic)."""
    ic, oc = draw(st.integers(1, max_channels)), draw(st.integers(1, max_channels))
    array = _numbers(draw)
    rows, weights = array(draw(st.integers(1, 3)), ic), array(oc, ic)
    added = array(oc) if bias and draw(st.booleans()) else None
    magnitude = reference.linear(np.abs(rows), np.abs(weights), _absolute(added))
    return Problem(
        "linear",
        rows,
        weights,
        added,
        expected=reference.linear(rows, weights, added),
        bound=_bound(ic, magnitude, rows, weights, added),
    )


@st.composite
def max_pool(draw: st.DrawFn, *, max_channels: int = 40, max_side: int = 12) -> Problem:
    """Maxima of windows, 2x2 to 5x5, of stride 1 and 2."""
    kernel, stride, padding, h, w = _slides(draw, (2, 3, 5), max_side)
    images = _numbers(draw)(draw(st.integers(1, 2)), draw(st.integers(1, max_channels)), h, w)
    expected = reference.max_pool(images, kernel, stride=stride, padding=padding)
    return Problem(
        "max_pool",
        images,
        kernel=kernel,
        stride=stride,
        padding=padding,
        expected=expected,
        bound=np.zeros_like(expected),
    )


@st.composite
def average_pool(draw: st.DrawFn, *, max_channels: int = 40, max_side: int = 12) -> Problem:
    """Means of windows, 2x2 to 5x5, of stride 1 and 2; sums are divided by the whole window."""
    kernel, stride, padding, h, w = _slides(draw, (2, 3, 5), max_side)
    images = _numbers(draw)(draw(st.integers(1, 2)), draw(st.integers(1, max_channels)), h, w)
    magnitude = reference.average_pool(np.abs(images), kernel, stride=stride, padding=padding)
    return Problem(
        "average_pool",
        images,
        kernel=kernel,
        stride=stride,
        padding=padding,
        expected=reference.average_pool(images, kernel, stride=stride, padding=padding),
        # A mean of whole numbers is not whole.
        bound=(kernel * kernel + 4) * (_EPS * magnitude + _TINY),
    )


@st.composite
def shuffle(draw: st.DrawFn, *, max_channels: int = 70, max_side: int = 9) -> Problem:
    """Channel shuffles, in `groups`."""
    groups = draw(st.integers(1, 5))
    c = groups * draw(st.integers(1, max(1, max_channels // groups)))
    h, w = draw(st.integers(1, max_side)), draw(st.integers(1, max_side))
    images = _numbers(draw)(draw(st.integers(1, 2)), c, h, w)
    expected = reference.shuffle(images, groups)
    return Problem("shuffle", images, groups=groups, expected=expected, bound=np.zeros_like(expected))


def _slides(
    draw: st.DrawFn, kernels: tuple[int, ...], max_side: int, dilation: int = 1
) -> tuple[int, int, int, int, int]:
    """Kernel, stride, padding, height and width of images into which the window fits."""
    kernel = draw(st.sampled_from(kernels))
    stride, padding = draw(st.integers(1, 2)), draw(st.integers(0, kernel // 2))
    extent = (kernel - 1) * dilation + 1
    sides = st.integers(max(1, extent - 2 * padding), max(max_side, extent))
    return kernel, stride, padding, draw(sides), draw(sides)
