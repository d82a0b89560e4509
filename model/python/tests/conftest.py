"""A small network with random weights, in a file, and photos."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

import shufflenet

STAGES = {"repeats": [1, 2, 1], "channels": [8, 24, 48, 72, 40]}
CLASSES = 6


def tensors(seed: int = 0, stages: dict = STAGES, classes: int = CLASSES) -> dict[str, np.ndarray]:
    """Random weights under torchvision's names."""
    random = np.random.default_rng(seed)
    found: dict[str, np.ndarray] = {}

    def conv(name: str, *shape: int) -> None:
        scale = np.sqrt(2 / np.prod(shape[1:]))
        found[f"{name}.weight"] = random.normal(0, scale, shape).astype(np.float32)

    def norm(name: str, channels: int) -> None:
        found[f"{name}.weight"] = random.uniform(0.5, 1.5, channels).astype(np.float32)
        found[f"{name}.bias"] = random.normal(0, 0.1, channels).astype(np.float32)
        found[f"{name}.running_mean"] = random.normal(0, 0.1, channels).astype(np.float32)
        found[f"{name}.running_var"] = random.uniform(0.5, 1.5, channels).astype(np.float32)

    first, *outputs, last = stages["channels"]
    conv("conv1.0", first, 3, 3, 3)
    norm("conv1.1", first)
    ic = first
    for stage, (repeats, oc) in enumerate(zip(stages["repeats"], outputs), 2):
        half = oc // 2
        for unit in range(repeats):
            name = f"stage{stage}.{unit}"
            if unit == 0:
                conv(f"{name}.branch1.0", ic, 1, 3, 3)
                norm(f"{name}.branch1.1", ic)
                conv(f"{name}.branch1.2", half, ic, 1, 1)
                norm(f"{name}.branch1.3", half)
            conv(f"{name}.branch2.0", half, ic if unit == 0 else half, 1, 1)
            norm(f"{name}.branch2.1", half)
            conv(f"{name}.branch2.3", half, 1, 3, 3)
            norm(f"{name}.branch2.4", half)
            conv(f"{name}.branch2.5", half, half, 1, 1)
            norm(f"{name}.branch2.6", half)
        ic = oc
    conv("conv5.0", last, ic, 1, 1)
    norm("conv5.1", last)
    found["fc.weight"] = random.normal(0, 0.1, (classes, last)).astype(np.float32)
    found["fc.bias"] = random.normal(0, 0.1, classes).astype(np.float32)
    return found


def save(path: Path, weights: dict[str, np.ndarray]) -> Path:
    """Writes a .safetensors file."""
    header, at = {}, 0
    for name, values in weights.items():
        header[name] = {"dtype": "F32", "shape": values.shape, "data_offsets": [at, at + values.nbytes]}
        at += values.nbytes
    text = json.dumps(header).encode()
    data = b"".join(values.tobytes() for values in weights.values())
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def png(pixels: np.ndarray) -> bytes:
    """A PNG file of (h, w, 3) bytes."""
    h, w, _ = pixels.shape

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    head = struct.pack(">IIBBBBB", w, h, 8, 2, 0, 0, 0)
    chunks = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def photo(seed: int, h: int = 40, w: int = 60) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (h, w, 3), np.uint8)


@pytest.fixture(scope="session")
def weights() -> dict[str, np.ndarray]:
    return tensors()


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, weights: dict[str, np.ndarray]) -> Path:
    return save(tmp_path_factory.mktemp("weights") / "small.safetensors", weights)


@pytest.fixture(scope="session")
def model(checkpoint: Path) -> shufflenet.Model:
    return shufflenet.load(checkpoint)


@pytest.fixture(scope="session")
def batch() -> np.ndarray:
    return np.random.default_rng(7).normal(size=(5, 3, 48, 40)).astype(np.float32)
