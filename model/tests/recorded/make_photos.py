#!/usr/bin/env python3
"""Writes the small photos in images/ that make_fixtures.py does not: JPEG files of rare kinds, WebP, interlaced PNG.

    apt-get install libjpeg-turbo-progs libturbojpeg0
    pip install numpy==2.4.6 pillow==13.0.0
    python make_photos.py                             # overwrites them

`images/jpeg/source.png` is the picture in all of `images/jpeg`. Beside the others lies a `.rgb` file of the pixels that
Pillow reads from them.
"""
import ctypes
import pathlib
import struct
import subprocess
import tempfile
import zlib

import numpy as np
from PIL import Image, ImageOps

HERE = pathlib.Path(__file__).parent / "images"

# Scan scripts as `cjpeg -scans` reads them.
SEPARATE = "0;\n1;\n2;\n"
LUMA_FIRST = "0;\n1 2;\n"
CHROMA_LAST = "0 1;\n2;\n"
REFINED = ("0,1,2: 0-0, 0, 1;\n0: 1-5, 0, 2;\n2: 1-63, 0, 1;\n1: 1-63, 0, 1;\n0: 6-63, 0, 2;\n0: 1-63, 2, 1;\n"
           "0,1,2: 0-0, 1, 0;\n2: 1-63, 1, 0;\n1: 1-63, 1, 0;\n0: 1-63, 1, 0;\n")
PROGRESSIVE_SEPARATE = "".join(f"{c}: {band}, 0, 0;\n" for band in ("0-0", "1-63") for c in range(3))

JPEGS = {
    "2x2.jpg": ("2x2", None, []),
    "2x2_separate.jpg": ("2x2", SEPARATE, []),
    "2x2_separate_restarts.jpg": ("2x2", SEPARATE, ["-restart", "2B"]),
    "2x1_luma_first.jpg": ("2x1", LUMA_FIRST, []),
    "1x2_chroma_last.jpg": ("1x2", CHROMA_LAST, []),
    "2x2_refined.jpg": ("2x2", REFINED, []),
    "2x1_restarts.jpg": ("2x1", None, ["-restart", "1"]),
    "1x1_progressive_restarts.jpg": ("1x1", None, ["-progressive", "-restart", "3B"]),
    "more_chroma.jpg": ("1x1,2x2,2x2", None, []),
    "more_chroma_separate.jpg": ("1x1,2x2,2x2", SEPARATE, []),
    "more_chroma_progressive.jpg": ("1x1,2x2,2x2", None, ["-progressive"]),
    "3x1.jpg": ("3x1", None, []),
    "4x2_progressive.jpg": ("4x2", PROGRESSIVE_SEPARATE, []),
    "rgb_separate_restarts.jpg": ("1x1", SEPARATE, ["-rgb", "-restart", "2B"]),
    "three_widths.jpg": ("4x1,2x1,1x1", None, []),
    "three_widths_separate.jpg": ("4x1,2x1,1x1", SEPARATE, []),
    "arithmetic.jpg": ("2x2", None, ["-arithmetic"]),
    "arithmetic_progressive.jpg": ("2x2", None, ["-arithmetic", "-progressive"]),
}


def jpegs(out):
    out.mkdir(exist_ok=True)
    y, x = np.mgrid[0:67, 0:83]
    waves = [128 + 100 * np.sin(x / 25 + y / 40), 128 + 100 * np.sin(y / 22), 128 + 100 * np.cos((x + y) / 35)]
    source = Image.fromarray(np.stack(waves, axis=-1).astype(np.uint8))
    source.save(out / "source.png", optimize=True)

    def write(name, picture, sampling, scans, more):
        with tempfile.TemporaryDirectory() as scratch:
            ppm, script = pathlib.Path(scratch, "ppm"), pathlib.Path(scratch, "scans")
            picture.save(ppm, "ppm")
            script.write_text(scans or "")
            command = ["cjpeg", "-quality", "90", "-sample", sampling, *more, *(["-scans", script] if scans else []), ppm]
            (out / name).write_bytes(subprocess.run(command, capture_output=True, check=True).stdout)

    for name, how in JPEGS.items():
        write(name, source, *how)
    # A plane whose blocks in a row are no whole number of the frame's.
    write("three_widths_narrow.jpg", source.crop((0, 0, 33, 67)), "4x1,2x1,1x1", SEPARATE, [])

    # Of ink: as stored, and as luminance, colour and black, which only libjpeg's own interface writes.
    cmyk = source.convert("CMYK")
    cmyk.save(out / "cmyk_2x2.jpg", quality=90, subsampling=2)
    turbo = ctypes.CDLL("libturbojpeg.so.0")
    turbo.tjInitCompress.restype = ctypes.c_void_p
    inverted = np.ascontiguousarray(255 - np.asarray(cmyk))
    buffer, size = ctypes.c_void_p(), ctypes.c_ulong()
    failed = turbo.tjCompress2(ctypes.c_void_p(turbo.tjInitCompress()), inverted.ctypes.data_as(ctypes.c_void_p),
                               source.width, 0, source.height, 11, ctypes.byref(buffer), ctypes.byref(size), 2, 90, 0)
    assert not failed
    (out / "ycck_2x2.jpg").write_bytes(ctypes.string_at(buffer, size.value))


def record(path):
    read = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    path.with_name(path.name + ".rgb").write_bytes(read.tobytes())


def webps(out):
    y, x = np.mgrid[0:14, 0:23]
    image = Image.fromarray(np.stack([8 * x, 200 - 9 * y, 60 + 4 * x + 5 * y], axis=-1).astype(np.uint8))
    rgba = image.copy()
    rgba.putalpha(Image.fromarray((11 * x % 256).astype(np.uint8)))
    exif = Image.Exif()
    exif[0x0112] = 6
    other = rgba.transpose(Image.Transpose.ROTATE_180)
    for name, picture, options in [
        ("lossy.webp", image, dict(quality=80)),
        ("lossy_alpha.webp", rgba, dict(quality=80)),
        ("lossless.webp", image, dict(lossless=True)),
        ("lossless_alpha.webp", rgba, dict(lossless=True, exact=True)),
        ("gray.webp", image.convert("L"), dict(quality=80)),
        ("animated.webp", rgba, dict(save_all=True, append_images=[other], duration=100, lossless=True)),
        ("orientation6.webp", image, dict(quality=80, exif=exif)),
    ]:
        picture.save(out / name, **options)
        record(out / name)


def interlaced(out):
    """Pillow writes no interlaced files."""
    rng = np.random.default_rng(1)
    for name, color_type, bits, channels in [("rgb", 2, 8, 3), ("rgba16", 6, 16, 4), ("palette4", 3, 4, 1), ("gray1", 0, 1, 1)]:
        samples = rng.integers(0, 1 << bits, (14, 23, channels))
        data = b""
        for x, y, dx, dy in [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]:
            for row in samples[y::dy, x::dx]:
                stored = "".join(format(sample, f"0{bits}b") for sample in row.ravel())
                stored += "0" * (-len(stored) % 8)
                data += b"\0" + bytes(int(stored[i:i + 8], 2) for i in range(0, len(stored), 8))
        chunks = [(b"IHDR", struct.pack(">IIBBBBB", 23, 14, bits, color_type, 0, 0, 1)),
                  (b"PLTE", bytes(5 * i for i in range(48))), (b"IDAT", zlib.compress(data)), (b"IEND", b"")]
        if color_type != 3:
            del chunks[1]
        path = out / f"interlaced_{name}.png"
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in chunks))
        record(path)


jpegs(HERE / "jpeg")
webps(HERE)
interlaced(HERE)
