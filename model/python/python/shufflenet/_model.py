"""A network from a file, as Python sees it."""

from __future__ import annotations

import itertools
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, TypedDict, TypeGuard, Union

import numpy as np
import numpy.typing as npt

from shufflenet import _native
from shufflenet._arrays import ArrayLike, Float32, array, floats

Path = Union[str, "os.PathLike[str]"]
Photo = Union[Path, bytes]
Images = Union[ArrayLike, Photo, Sequence[Photo]]
Size = Union[int, tuple[int, int]]
Wiring = Literal["torchvision", "megvii", "keras"]


class CheckpointWarning(UserWarning):
    """What whoever loads a checkpoint should know of it."""


# A class that a photo may show.
Guess = TypedDict("Guess", {"rank": int, "class": int, "label": Union[str, None], "probability": float})


class Answer(TypedDict, total=False):
    """What is told of a photo: `top`, or `error`. The names are those of `shufflenet classify --jsonl`."""

    image: str
    top: list[Guess]
    error: str


class Layer(TypedDict):
    """What a layer costs for one image."""

    name: str
    kind: str
    input: tuple[int, int, int]
    output: tuple[int, int, int]
    params: int
    macs: int
    mac_bytes: int


class Profile(Layer):
    """What a layer costs, and how long it takes."""

    ms: float
    percent_of_time: float
    gflops: float
    intensity: float


class Config(TypedDict):
    """What a network is."""

    wiring: str
    width: float | None
    stage_repeats: list[int]
    stage_channels: list[int]
    bottleneck_ratio: float
    classes: int


class Summary(TypedDict):
    """What a network is, and what it costs for one image."""

    config: Config
    size: tuple[int, int]
    isa: str
    threads: int
    params: int
    macs: int
    mac_bytes: int
    layers: list[Layer]


# Photos at a time, of what `classify` iterates over.
_CHUNK = 256


class Model:
    """A ShuffleNetV2 with its weights packed for this processor. Made by `load`.

    Threads may call one model at the same time; Python's lock is released while it computes. The numbers of an
    image depend neither on `threads` nor on the rest of the batch, to the last bit. A model is pickled as its
    path and options: whoever unpickles it reads the file again.
    """

    def __init__(
        self,
        path: Path,
        *,
        width: str | float | None = None,
        wiring: Wiring | None = None,
        key: str | None = None,
        ema: bool = False,
        labels: Path | Sequence[str] | None = None,
        threads: int = 1,
        isa: str | None = None,
    ) -> None:
        width = None if width is None else str(float(width))
        # Whoever unpickles it may stand in another folder.
        self._path = os.path.abspath(os.fspath(path))
        self._options: dict[str, Any] = {
            "width": width,
            "wiring": wiring,
            "key": key,
            "ema": ema,
            "labels": os.path.abspath(os.fspath(labels))
            if isinstance(labels, (str, os.PathLike))
            else labels,
            "threads": threads,
            "isa": isa,
        }
        self._network = _native.Network(
            os.fspath(path), width=width, wiring=wiring, key=key, ema=ema, threads=threads, isa=isa
        )
        for remark in self._network.remarks:
            warnings.warn(remark, CheckpointWarning, stacklevel=3)
        self._labels = self._names(labels)

    def _names(self, labels: Path | Sequence[str] | None) -> list[str] | None:
        if isinstance(labels, (str, os.PathLike)):
            return _native.labels(os.fspath(labels), self.classes)
        imagenet = _native.imagenet() if labels is None else None
        if imagenet is not None:
            return imagenet if len(imagenet) == self.classes else None
        names = [str(name) for name in labels or ()]
        if len(names) != self.classes:
            raise ValueError(f"labels: expected {self.classes} names, found {len(names)}")
        return names

    def __repr__(self) -> str:
        return f"<{self._network.description}, {self.isa}, threads: {self.threads}, from {self._path!r}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self._path, self._options)

    @property
    def path(self) -> str:
        """The file that the weights came from."""
        return self._path

    @property
    def classes(self) -> int:
        """Classes; 0 where the network ends in features."""
        return self._network.classes

    @property
    def labels(self) -> list[str] | None:
        """Names of the classes: those that were given, else ImageNet's where there are 1000 classes, else none."""
        return None if self._labels is None else list(self._labels)

    @property
    def isa(self) -> str:
        """The instruction set that the weights are packed for."""
        return self._network.isa

    @property
    def threads(self) -> int:
        """Threads that work on a call."""
        return self._network.threads

    def __call__(
        self,
        images: Images,
        *,
        layout: Literal["nchw", "nhwc"] = "nchw",
        resize: bool | None = None,
        probabilities: bool = False,
    ) -> Float32:
        """The logits of every image: float32, (n, classes). With `probabilities`, their softmax.

        What an image is, its type says:

        - float32 (n, 3, h, w): preprocessed, run as it is at any size from 32x32 on. Read where it lies if it is in C order;
          other strides and other floats are copied first, once. `layout="nhwc"` reads (n, h, w, 3).
        - uint8 (n, h, w, 3): photos in RGB, prepared as the authors of the network prepared theirs. Photos of 224x224 are
          scaled and normalised; others are resized and cropped first, as a file would be. `resize=True` does
          that to those of 224x224, too, and `resize=False` to none.
        - a path or the bytes of a JPEG, PNG or WebP file, or a sequence of them: decoded, turned as EXIF says, resized, cropped.

        One image without a batch is a batch of one; images of one channel are run as three equal ones. Tensors
        of other libraries (DLPack) are read where they lie.
        """
        if isinstance(images, (str, bytes, os.PathLike)):
            images = [images]
        if _are_photos(images):
            return self._network.photos(list(images), probabilities=probabilities, strict=True)[0]
        found = array("images", images)  # type: ignore[arg-type]
        if found.dtype == np.uint8:
            return self._pixels(found, resize, probabilities)
        if found.dtype.kind != "f":
            raise ValueError(
                f"images: expected float32 (n, 3, h, w) or uint8 (n, h, w, 3), found {found.dtype} {found.shape}"
            )
        nhwc = {"nchw": False, "nhwc": True}.get(layout)
        if nhwc is None:
            raise ValueError(f"layout: expected 'nchw' or 'nhwc', found {layout!r}")
        if resize is not None:
            raise ValueError("resize: only uint8 images are resized")
        found = floats("images", _three(found, 3 if nhwc else 1), (4,))
        return self._network.run(found, nhwc=nhwc, probabilities=probabilities)

    def _pixels(self, found: npt.NDArray[np.uint8], resize: bool | None, probabilities: bool) -> Float32:
        found = np.ascontiguousarray(_three(found, 3))
        if resize is None:
            resize = found.shape[1:3] != (self._network.crop, self._network.crop)
        return self._network.pixels(found, resize=resize, probabilities=probabilities)

    def topk(
        self,
        images: Images,
        k: int = 5,
        *,
        layout: Literal["nchw", "nhwc"] = "nchw",
        resize: bool | None = None,
    ) -> tuple[Float32, npt.NDArray[np.int64]]:
        """Probabilities and classes of the `k` most probable classes of every image, (n, k) each, the most probable first."""
        found = self(images, layout=layout, resize=resize, probabilities=True)
        return _best(found, k)

    def classify(self, photos: Photo | Iterable[Photo], top: int = 5) -> Iterator[Answer]:
        """What photos show, one after the other, in their order: what `shufflenet classify --jsonl` writes.

        Photos are asked for, decoded and answered in chunks, so there may be any number of them. One that
        cannot be read has an `error` in place of `top`, and does not keep the others from being classified.
        """
        if self.classes == 0:
            raise ValueError("the network ends in features, so there are no classes")
        if top < 1:
            raise ValueError(f"top: expected at least 1, found {top}")
        one = isinstance(photos, (str, bytes, os.PathLike))
        return self._answers(iter([photos] if one else photos), top)  # type: ignore[list-item, arg-type]

    def _answers(self, photos: Iterator[Photo], top: int) -> Iterator[Answer]:
        count = 0
        while chunk := list(itertools.islice(photos, _CHUNK)):
            found, errors = self._network.photos(chunk, probabilities=True, strict=False)
            probabilities, classes = _best(found, top)
            for index, photo in enumerate(chunk):
                image = f"photo {count + index}" if isinstance(photo, bytes) else os.fspath(photo)
                error = errors[index]
                if error is not None:
                    yield {"image": image, "error": error}
                    continue
                ranks = enumerate(zip(classes[index].tolist(), probabilities[index].tolist(), strict=True), 1)
                yield {"image": image, "top": [self._guess(rank, *guess) for rank, guess in ranks]}
            count += len(chunk)

    def _guess(self, rank: int, index: int, probability: float) -> Guess:
        label = None if self._labels is None else self._labels[index]
        return {"rank": rank, "class": index, "label": label, "probability": probability}

    def summary(self, size: Size = 224) -> Summary:
        """What the network is, and what it costs for an image of `size`: one number, or height and width.

        `macs` are multiply-adds, which the paper counts as FLOPs; `mac_bytes` is its memory access cost, in bytes.
        """
        h, w = _sides(size)
        layers: list[Layer] = self._network.layers(h, w)
        return {
            "config": self._network.config(),
            "size": (h, w),
            "isa": self.isa,
            "threads": self.threads,
            "params": sum(layer["params"] for layer in layers),
            "macs": sum(layer["macs"] for layer in layers),
            "mac_bytes": sum(layer["mac_bytes"] for layer in layers),
            "layers": layers,
        }

    def profile(self, size: Size = 224, *, seconds: float = 1.0) -> list[Profile]:
        """Where the time of one image goes, layer by layer: the mean of the fastest tenth of the runs within `seconds`."""
        h, w = _sides(size)
        layers: list[Layer] = self._network.layers(h, w)
        times = self._network.profile(h, w, float(seconds))
        total = sum(times)
        return [
            {
                **layer,
                "ms": 1e3 * time,
                "percent_of_time": 100 * time / total,
                "gflops": 2e-9 * layer["macs"] / time,
                "intensity": 2 * layer["macs"] / layer["mac_bytes"],
            }
            for layer, time in zip(layers, times, strict=True)
        ]


def load(
    path: Path,
    width: str | float | None = None,
    wiring: Wiring | None = None,
    key: str | None = None,
    threads: int = 1,
    isa: str | None = None,
    *,
    ema: bool = False,
    labels: Path | Sequence[str] | None = None,
) -> Model:
    """Loads a ShuffleNetV2 from a PyTorch, safetensors or Keras checkpoint. Nothing in the file is run.

    Wiring, width and classes are recognised. `width` and `wiring` say what they have to be; `key` says where in
    the file the network lies, where several fit; `ema` takes averaged weights. `threads` work on a call; the
    default is the calling thread alone. `isa` is the instruction set ("avx512", "avx2", "portable";
    `shufflenet.isas()`); the default is what the environment variable KERNELS_ISA says, else the best. `labels`
    names the classes: a list, or a file of names.

    Raises OSError where the file cannot be read, `shufflenet.Error` where it is no such checkpoint, ValueError
    for wrong options.
    """
    return Model(path, width=width, wiring=wiring, key=key, ema=ema, labels=labels, threads=threads, isa=isa)


def _restored(path: str, options: dict[str, Any]) -> Model:
    with warnings.catch_warnings():
        # They were given where it was loaded first.
        warnings.simplefilter("ignore", CheckpointWarning)
        return Model(path, **options)


def _are_photos(images: object) -> TypeGuard[Sequence[Photo]]:
    return isinstance(images, Sequence) and all(
        isinstance(image, (str, bytes, os.PathLike)) for image in images
    )


def _three(found: npt.NDArray[Any], axis: int) -> npt.NDArray[Any]:
    """A batch whose `axis` has three channels, of images or one image of three or one."""
    images = found[np.newaxis] if found.ndim == 3 else found
    if images.ndim != 4 or images.shape[axis] not in (1, 3):
        expected = "(n, 3, h, w)" if axis == 1 else "(n, h, w, 3)"
        hint = ""
        if images.ndim == 4 and images.shape[4 - axis] in (1, 3):
            hint = (
                "; uint8 images have their channels last"
                if found.dtype == np.uint8
                else "; is it layout='%s'?" % ("nhwc" if axis == 1 else "nchw")
            )
        raise ValueError(f"images: expected shape {expected}, found {found.shape}{hint}")
    return np.repeat(images, 3, axis) if images.shape[axis] == 1 else images


def _best(probabilities: Float32, k: int) -> tuple[Float32, npt.NDArray[np.int64]]:
    if k < 1:
        raise ValueError(f"k: expected at least 1, found {k}")
    # Equal ones in the order of their classes; NaN last.
    classes = np.argsort(-probabilities, axis=1, kind="stable")[:, :k].astype(np.int64)
    return np.take_along_axis(probabilities, classes, 1), classes


def _sides(size: Size) -> tuple[int, int]:
    h, w = (size, size) if isinstance(size, int) else size
    if not (32 <= h <= 4096 and 32 <= w <= 4096):
        raise ValueError(f"size: expected numbers from 32 to 4096, found {h} and {w}")
    return h, w
