#!/usr/bin/env python3
"""Writes the small files that model/tests/{weights,images,arrays,hostile_files}.rs read.

    pip install torch==2.15.0 torchvision==0.29.2 safetensors==0.8.0 tf_keras==2.21.0 \
                tensorflow==2.21.0 keras==3.15.1 h5py==3.14.0 numpy==2.4.6 pillow==13.0.0
    python make_fixtures.py            # overwrites weights/, images/ and arrays/ beside this file

Every weight is `ramp(k, shape)`: element i (counted in C order) of tensor k is k + i / 4. The tests
compute the same, so that the files hold layouts and not numbers anybody has to trust.
"""
import argparse
import collections
import os
import pathlib
import zipfile

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
HERE = pathlib.Path(__file__).parent


def ramp(k, shape):
    import numpy as np

    return (k + np.arange(int(np.prod(shape)), dtype=np.float64) / 4).astype(np.float32).reshape(shape)


def torch_files(out):
    import numpy as np
    import torch

    def t(k, *shape):
        return torch.from_numpy(ramp(k, shape))

    base = t(8, 4, 6)
    state = collections.OrderedDict()
    state["f32"] = t(1, 2, 3)
    state["scalar"] = t(2).reshape(())
    state["empty"] = torch.zeros(0, 3)
    state["f64"] = t(3, 4).double()
    state["f16"] = t(4, 5).half()
    state["bf16"] = t(5, 5).bfloat16()
    state["transposed"] = t(6, 3, 2).t()
    state["channels_last"] = t(7, 2, 3, 2, 2).to(memory_format=torch.channels_last)
    state["window"] = base[1:3, 2:5]
    state["whole"] = base
    state["expanded"] = t(9, 1, 3).expand(4, 3)
    state["bn.num_batches_tracked"] = torch.tensor(7)
    state["mask"] = torch.tensor([True, False])

    torch.save(state, out / "zip.pth")
    torch.save(state, out / "zip_protocol4.pth", pickle_protocol=4)
    torch.save(state, out / "legacy.pth", _use_new_zipfile_serialization=False)
    torch.save(state, out / "legacy_protocol4.pth", _use_new_zipfile_serialization=False, pickle_protocol=4)

    parallel = collections.OrderedDict(("module." + k, torch.nn.Parameter(t(1, 2, 3)) if k == "f32" else v)
                                       for k, v in list(state.items())[:2])
    training = {
        "epoch": 90,
        "best": np.float64(69.5),
        "args": argparse.Namespace(lr=0.5, wiring=None),
        "optimizer": {"state": {0: {"momentum_buffer": t(50, 2, 3)}}, "param_groups": [{"lr": 0.5, "params": [0]}]},
        "state_dict": parallel,
        "scheduler": collections.Counter({3: 1}),
    }
    torch.save(training, out / "training.pth")
    torch.save({"model": dict(parallel)}, out / "model_legacy.pth", _use_new_zipfile_serialization=False)

    # Files that must be refused.
    torch.save(torch.nn.Linear(2, 2), out / "whole_module.pth")
    torch.save({"q": torch.quantize_per_tensor(t(1, 2, 3), 0.1, 0, torch.qint8)}, out / "quantised.pth")
    torch.save({"epoch": 3}, out / "no_tensors.pth")
    with zipfile.ZipFile(out / "zip.pth") as src, zipfile.ZipFile(out / "big_endian.pth", "w") as dst:
        for item in src.namelist():
            dst.writestr(item, b"big" if item.endswith("byteorder") else src.read(item))
    with zipfile.ZipFile(out / "zip.pth") as src, \
            zipfile.ZipFile(out / "deflated.pth", "w", zipfile.ZIP_DEFLATED) as dst:
        for item in src.namelist():
            dst.writestr(item, src.read(item))


def safetensors_files(out):
    import torch
    from safetensors.torch import save_file

    def t(k, *shape):
        return torch.from_numpy(ramp(k, shape))

    save_file({"module.f32": t(1, 2, 3), "module.f64": t(3, 4).double(), "module.f16": t(4, 5).half(),
               "module.bf16": t(5, 5).bfloat16(), "module.bn.num_batches_tracked": torch.tensor(7)},
              out / "hugging_face.safetensors", metadata={"format": "pt"})


def keras_files(out):
    import h5py
    import numpy as np
    import tf_keras as keras

    layers = keras.layers
    x = image = layers.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, use_bias=False, name="conv1")(x)
    x = layers.Conv2D(2, 1, name="stage2/block1/1x1conv_1")(x)
    x = layers.BatchNormalization(name="stage2/block1/bn_1x1conv_1")(x)
    x = layers.DepthwiseConv2D(3, name="stage2/block1/3x3dwconv")(x)
    x = layers.Dense(5, name="fc")(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(image, x)
    for k, weight in enumerate(model.weights):
        weight.assign(ramp(k, tuple(weight.shape)))
        print("keras", k, weight.name, tuple(weight.shape))
    model.compile(optimizer="sgd", loss="mse")
    model.save_weights(out / "keras_weights.h5")
    model.save(out / "keras_model.h5")

    # The same layout with other element types, and with names of variable length.
    with h5py.File(out / "keras_types.h5", "w") as f:
        f.attrs["layer_names"] = ["a/b", "c"]
        g = f.create_group("a/b")
        g.attrs["weight_names"] = ["a/b/bias:0"]
        g.create_dataset("a/b/bias:0", data=ramp(2, (5,)).astype(np.float16))
        g = f.create_group("c")
        g.attrs["weight_names"] = ["c/beta:0", "c/steps:0", "c/empty:0"]
        g.create_dataset("c/beta:0", data=ramp(4, (5,)).astype(np.float64))
        g.create_dataset("c/steps:0", data=np.int64(7))
        g.create_dataset("c/empty:0", (0, 3), "f4")

    # Ways to store an array: in chunks that stick out of it, compressed, shuffled, with checksums, big-endian.
    for file, options in [("codecs.h5", {}), ("codecs_latest.h5", {"libver": "latest"}),
                          ("user_block.h5", {"userblock_size": 1024})]:
        with h5py.File(out / file, "w", **options) as f:
            for k, (name, kind, how) in enumerate([
                ("plain", "<f4", {}), ("big", ">f8", {}), ("chunks", "<f4", {"chunks": (3, 2)}),
                ("one_chunk", ">f4", {"chunks": (7, 5), "compression": "gzip"}),
                ("gzip", "<f2", {"chunks": (3, 2), "compression": "gzip", "compression_opts": 9}),
                ("shuffle", ">f8", {"chunks": (4, 4), "compression": "gzip", "shuffle": True}),
                ("checksum", "<f4", {"chunks": (2, 5), "fletcher32": True}),
                ("all", ">f4", {"chunks": (3, 3), "compression": "gzip", "shuffle": True, "fletcher32": True}),
                ("row", "<f4", {"chunks": (1,), "shape": (7,)}),
            ]):
                shape = how.pop("shape", (7, 5))
                f.create_dataset(name, data=ramp(k, shape).astype(kind), **how)
    with h5py.File(out / "lzf.h5", "w") as f:
        f.create_dataset("lzf", data=ramp(0, (7, 5)), chunks=(7, 5), compression="lzf")
    # A byte of a chunk is changed after its checksum was made.
    damaged = bytearray((out / "codecs.h5").read_bytes())
    with h5py.File(out / "codecs.h5") as f:
        damaged[f["checksum"].id.get_chunk_info(0).byte_offset + 3] ^= 1
    (out / "checksum.h5").write_bytes(damaged)

    # Files that must be refused.
    def one_dataset(file, *args, **kwargs):
        with h5py.File(out / file, "w") as f:
            f.attrs["layer_names"] = ["a"]
            g = f.create_group("a")
            g.attrs["weight_names"] = ["kernel:0"]
            g.create_dataset("kernel:0", *args, **kwargs)

    one_dataset("chunked.h5", data=ramp(1, (8, 3)), chunks=(3, 2), compression="gzip", shuffle=True)
    # No chunk is ever written, so that four terabytes take no room.
    one_dataset("bomb.h5", (2**20, 2**20), "f4", chunks=(2**10, 2**10), compression="gzip")
    one_dataset("big_endian.h5", data=ramp(3, (5,)).astype(">f4"))
    one_dataset("unwritten.h5", (5,), "f4")
    with h5py.File(out / "not_keras.h5", "w") as f:
        f["x"] = ramp(1, (3,))
    with h5py.File(out / "cycle.h5", "w") as f:
        f.attrs["layer_names"] = ["a"]
        g = f.create_group("a")
        g.attrs["weight_names"] = ["a/kernel:0"]
        g["a"] = h5py.SoftLink("/a/a")
        g["self"] = g


def keras_3_files(out):
    """Keras 3 names the groups of layers by their class; the names that users gave are attributes and in config.json."""
    import keras
    import numpy as np

    layers = keras.layers
    x = image = layers.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, use_bias=False, name="conv1")(x)
    x = layers.Conv2D(2, 1, name="stage2_block1_1x1conv_1")(x)
    x = layers.BatchNormalization(epsilon=1e-5, name="stage2_block1_bn_1x1conv_1")(x)
    x = layers.DepthwiseConv2D(3, name="stage2_block1_3x3dwconv")(x)
    x = layers.Dense(5, name="fc")(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(image, x)
    for k, weight in enumerate(model.weights):
        weight.assign(ramp(k, tuple(weight.shape)))
        print("keras 3", k, weight.path, tuple(weight.shape))
    model.save_weights(out / "keras3.weights.h5")
    model.save(out / "keras3.keras")
    model.save(out / "keras3_legacy.h5")

    # A whole network whose layers were never named, with another epsilon, and what it says to an image: element i of
    # the image is (i % 13) / 6.5 - 1. Packed again, since most of it are empty groups.
    keras.utils.clear_session()
    keras.utils.set_random_seed(1)
    relu = lambda x: layers.Activation("relu")(layers.BatchNormalization(epsilon=1e-5)(x))
    normal = lambda x: layers.BatchNormalization(epsilon=1e-5)(x)
    x = image = layers.Input((32, 32, 3))
    x = layers.Conv2D(4, 3, strides=2, padding="same", use_bias=False, activation="relu")(x)
    x = layers.MaxPool2D(3, 2, padding="same")(x)
    for oc in [8, 12, 16]:
        half = oc // 2
        for block in range(2):
            stride = 2 - block
            main, other = (x[..., half:], x[..., :half]) if block else (x, x)
            main = relu(layers.Conv2D(half, 1)(main))
            main = normal(layers.DepthwiseConv2D(3, strides=stride, padding="same")(main))
            main = relu(layers.Conv2D(half, 1)(main))
            if not block:
                other = normal(layers.DepthwiseConv2D(3, strides=2, padding="same")(other))
                other = relu(layers.Conv2D(half, 1)(other))
            x = layers.Concatenate()([main, other])
            height, width = x.shape[1:3]
            x = layers.Reshape((height, width, 2, half))(x)
            x = layers.Reshape((height, width, oc))(layers.Permute((1, 2, 4, 3))(x))
    x = layers.Conv2D(6, 1, activation="relu")(x)
    model = keras.Model(image, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))
    generator = np.random.default_rng(1)
    for weight in model.weights:
        low, high = (0.01, 0.5) if "variance" in weight.path else (0.5, 1.5) if "gamma" in weight.path else (-0.5, 0.5)
        weight.assign(generator.uniform(low, high, weight.shape))
    model.save(out / "unpacked.keras")
    with zipfile.ZipFile(out / "unpacked.keras") as src, \
            zipfile.ZipFile(out / "keras3_unnamed.keras", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as dst:
        for item in src.namelist():
            dst.writestr(item, src.read(item))
    (out / "unpacked.keras").unlink()
    pixels = (np.arange(32 * 32 * 3).reshape(1, 3, 32, 32) % 13 / 6.5 - 1).transpose(0, 2, 3, 1)
    print("keras3_unnamed.keras says", model.predict(pixels, verbose=0).tolist())


def pixels(width, height):
    """An RGB picture by formula: smooth in red, stripes in green, noise in blue."""
    import numpy as np

    y, x = np.mgrid[0:height, 0:width].astype(np.uint64)
    noise = ((x * 2654435761 + y * 40503) & 0xFFFFFFFF) >> 24
    return np.stack([(3 * x + 2 * y) % 256, (x // 3 + y // 5) % 2 * 255, noise], axis=-1).astype(np.uint8)


def fnv(data):
    """64-bit FNV-1a."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value


def preprocessed(out):
    """Hashes of what torchvision makes of the pictures: the cropped bytes, and the normalised floats."""
    import torchvision.transforms.functional as F
    from PIL import Image
    from torchvision.transforms._presets import ImageClassification

    with open(out / "preprocessed.txt", "w") as f:
        f.write("# width height resize crop: FNV-1a of the cropped RGB bytes, and of the normalised f32 planes\n")
        for width, height, resize, crop in [
            (640, 480, 256, 224), (480, 640, 256, 224), (640, 480, 232, 224), (500, 375, 256, 224),
            (256, 256, 256, 224), (224, 224, 256, 224), (257, 301, 256, 224), (97, 61, 256, 224),
            (300, 1200, 256, 224), (300, 601, 256, 224), (1200, 300, 256, 224), (3, 2, 256, 224),
            (1, 1, 256, 224), (1, 40, 256, 224), (40, 1, 256, 224), (100, 80, 33, 32), (101, 80, 33, 32),
            (50, 40, 20, 32), (51, 40, 21, 32), (60, 20, 24, 32), (33, 90, 31, 37),
        ]:
            image = Image.fromarray(pixels(width, height))
            cropped = F.center_crop(F.resize(image, resize, antialias=True), crop)
            floats = ImageClassification(crop_size=crop, resize_size=resize)(image).numpy()
            f.write(f"{width} {height} {resize} {crop} {fnv(cropped.tobytes()):016x} {fnv(floats.tobytes()):016x}\n")


def pictures(out):
    """Files of every colour type, each with a .rgb file of the pixels that Pillow reads from it."""
    import struct
    import zlib

    import numpy as np
    from PIL import Image, ImageOps

    rgb = pixels(23, 14)
    image = Image.fromarray(rgb)
    gray = image.convert("L")
    alpha = Image.fromarray((np.arange(23 * 14) % 256).astype(np.uint8).reshape(14, 23))
    rgba = image.copy()
    rgba.putalpha(alpha)
    palette = image.quantize(16)

    def save(name, image, **options):
        image.save(out / name, **options)
        read = ImageOps.exif_transpose(Image.open(out / name)).convert("RGB")
        (out / (name + ".rgb")).write_bytes(read.tobytes())

    save("rgb.png", image)
    save("rgba.png", rgba)
    save("gray.png", gray)
    save("gray_alpha.png", rgba.convert("LA"))
    save("bilevel.png", gray.convert("1"))
    save("palette.png", palette)
    save("palette_transparent.png", palette, transparency=3)

    def png16(name, color_type, samples):
        """Pillow writes no colour of 16 bits, and makes 16-bit gray white. The upper bytes are expected."""
        height, width, _ = samples.shape
        rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
        chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 0)),
                  (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
        png = b"\x89PNG\r\n\x1a\n" + b"".join(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in chunks)
        (out / name).write_bytes(png)
        upper = (samples >> 8).astype(np.uint8)
        upper = upper[..., :3] if samples.shape[2] > 2 else np.repeat(upper[..., :1], 3, axis=2)
        (out / (name + ".rgb")).write_bytes(upper.tobytes())

    low = np.arange(14 * 23 * 4).reshape(14, 23, 4) * 37 % 256
    wide = np.concatenate([rgb, np.asarray(alpha)[..., None]], axis=2).astype(np.uint16) << 8 | low.astype(np.uint16)
    png16("gray16.png", 0, wide[..., :1])
    png16("rgb16.png", 2, wide[..., :3])
    png16("gray_alpha16.png", 4, wide[..., 2:])
    png16("rgba16.png", 6, wide)

    # JPEG decoders differ in the last bits; smooth pictures keep it at that.
    y, x = np.mgrid[0:14, 0:23]
    smooth = Image.fromarray(np.stack([8 * x, 200 - 9 * y, 60 + 4 * x + 5 * y], axis=-1).astype(np.uint8))
    save("rgb.jpg", smooth, quality=95)
    save("progressive.jpg", smooth, quality=95, progressive=True)
    save("gray.jpg", smooth.convert("L"), quality=95)
    save("cmyk.jpg", smooth.convert("CMYK"), quality=95)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        save(f"orientation{orientation}.jpg", smooth, quality=95, subsampling=0, exif=exif)
    exif = Image.Exif()
    exif[0x0112] = 6
    save("orientation6.png", image, exif=exif)

    # A megabyte of zeros, compressed: 65500 x 65500 pixels.
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 65500, 65500, 8, 2, 0, 0, 0)),
              (b"IDAT", zlib.compress(bytes(1 << 20))), (b"IEND", b"")]
    (out / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks))


def arrays(out):
    import numpy as np

    np.save(out / "ramp.npy", ramp(1, (2, 3)))
    np.save(out / "scalar.npy", ramp(1, (1,)).reshape(()))
    np.save(out / "vector.npy", ramp(1, (5,)))
    np.save(out / "empty.npy", ramp(1, (0, 3)))
    for version in (2, 3):
        with open(out / f"version{version}.npy", "wb") as f:
            np.lib.format.write_array(f, ramp(1, (2, 3)), version=(version, 0))
    np.save(out / "fortran.npy", np.asfortranarray(ramp(1, (2, 3))))
    np.save(out / "double.npy", ramp(1, (2, 3)).astype(np.float64))
    np.save(out / "big_endian.npy", ramp(1, (2, 3)).astype(">f4"))
    np.save(out / "half.npy", ramp(1, (2, 3)).astype(np.float16))
    np.save(out / "bytes.npy", np.array([[0, 1, 127], [128, 200, 255]], np.uint8))
    np.save(out / "truth.npy", np.array([[True, False, True]]))
    cube = np.arange(-3, 21).reshape(2, 3, 4)
    np.save(out / "big_endian_fortran.npy", np.asfortranarray(cube.astype(">i8")))
    np.save(out / "complex.npy", np.zeros(2, np.complex64))
    np.save(out / "objects.npy", np.array([None, "x"]), allow_pickle=True)
    np.save(out / "text.npy", np.array(["a", "bc"]))
    np.save(out / "dates.npy", np.array(["2026-01-02"], "datetime64[D]"))
    np.savez(out / "archive.npz", x=ramp(1, (2, 3)))
    np.save(out / "structured.npy", np.zeros(2, dtype=[("a", "<f4")]))


if __name__ == "__main__":
    for folder, make in [("images", preprocessed), ("images", pictures), ("arrays", arrays)]:
        (HERE / folder).mkdir(exist_ok=True)
        make(HERE / folder)
    weights = HERE / "weights"
    weights.mkdir(exist_ok=True)
    torch_files(weights)
    safetensors_files(weights)
    keras_files(weights)
    keras_3_files(weights)
    for path in sorted(weights.iterdir()):
        print(f"{path.stat().st_size:8} {path.name}")
