#!/usr/bin/env python3
"""Writes the small files that model/tests/weights.rs and model/tests/images.rs read.

    pip install torch==2.15.0 safetensors==0.8.0 tf_keras==2.21.0 tensorflow==2.21.0 \
                h5py==3.14.0 numpy==2.4.6 pillow==13.0.0
    python make_fixtures.py            # in this folder; overwrites weights/ and images/

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


if __name__ == "__main__":
    weights = HERE / "weights"
    weights.mkdir(exist_ok=True)
    torch_files(weights)
    safetensors_files(weights)
    keras_files(weights)
    for path in sorted(weights.iterdir()):
        print(f"{path.stat().st_size:8} {path.name}")
