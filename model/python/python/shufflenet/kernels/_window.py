"""What slides over an image, as numbers."""

from __future__ import annotations

import operator
from typing import Literal, SupportsIndex, Union

Pair = Union[int, tuple[int, int]]
Padding = Union[int, tuple[int, int], tuple[int, int, int, int], Literal["same"]]
Taps = tuple[tuple[int, int], tuple[int, int], tuple[int, int], Union[tuple[int, int, int, int], None]]


def number(what: str, value: SupportsIndex, least: int = 0) -> int:
    """A whole number that may count something."""
    found = operator.index(value)
    if not least <= found < 1 << 32:
        raise ValueError(f"{what}: expected a whole number from {least} on, found {found}")
    return found


def pair(what: str, value: Pair) -> tuple[int, int]:
    """Rows and columns."""
    if not isinstance(value, (tuple, list)):
        value = (value, value)
    if len(value) != 2:
        raise ValueError(f"{what}: expected one number or two, found {value}")
    return number(what, value[0]), number(what, value[1])


def taps(kernel: Pair, stride: Pair, padding: Padding, dilation: Pair = 1) -> Taps:
    """A window. Padding is one number; rows and columns; top, bottom, left and right; or TensorFlow's "same"."""
    sides: tuple[int, int, int, int] | None
    if isinstance(padding, str):
        if padding != "same":
            raise ValueError(f"padding: expected numbers or 'same', found {padding!r}")
        sides = None
    elif isinstance(padding, (tuple, list)) and len(padding) == 4:
        top, bottom, left, right = (number("padding", side) for side in padding)
        sides = (top, bottom, left, right)
    else:
        rows, columns = pair("padding", padding)
        sides = (rows, rows, columns, columns)
    return pair("kernel", kernel), pair("stride", stride), pair("dilation", dilation), sides
