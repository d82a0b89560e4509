"""Whatever users have, as the one form of array that is read without a copy: C order, native float32."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, Union, runtime_checkable

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]


@runtime_checkable
class DLPack(Protocol):
    """A tensor of another library, on the CPU."""

    def __dlpack__(self, *, stream: Any = ...) -> Any: ...

    def __dlpack_device__(self) -> Any: ...


ArrayLike = Union[npt.ArrayLike, DLPack]


def array(what: str, source: ArrayLike) -> npt.NDArray[Any]:
    """An array, on the memory of the source where that can be."""
    if not isinstance(source, np.ndarray) and isinstance(source, DLPack):
        return np.from_dlpack(source)
    found = np.asarray(source)
    if found.dtype == object:
        raise ValueError(f"{what}: expected an array of numbers, found {type(source).__name__}")
    return found


def floats(what: str, source: ArrayLike, dimensions: Sequence[int]) -> Float32:
    """float32 in C order: the source itself where it is that, else a copy."""
    return np.require(_numbers(what, source, dimensions), np.float32, ["C", "A"])


def doubles(what: str, source: ArrayLike, dimensions: Sequence[int]) -> Float64:
    """The same in float64."""
    return np.require(_numbers(what, source, dimensions), np.float64, ["C", "A"])


def _numbers(what: str, source: ArrayLike, dimensions: Sequence[int]) -> npt.NDArray[Any]:
    found = array(what, source)
    if found.dtype.kind not in "fiub":
        raise ValueError(f"{what}: expected numbers, found {found.dtype}")
    if found.ndim not in dimensions:
        expected = " or ".join(map(str, dimensions))
        raise ValueError(f"{what}: expected {expected} dimensions, found shape {found.shape}")
    return found
