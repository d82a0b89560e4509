#!/usr/bin/env python3
"""Records what PyTorch and Keras themselves compute, as the truth for the whole-network tests.

The files beside this script were recorded with Python 3.11 and
    pip install torch==2.15.0 torchvision==0.29.2 tensorflow-cpu==2.21.0 tf_keras==2.21.0 \
        numpy==2.4.6 h5py==3.14.0 safetensors==0.8.0
by
    python record.py                        rewrites everything in this folder, after the checks below
    python record.py --checkpoints DIR      writes checkpoint files of the same weights instead

No weights are committed: every tensor is filled by a formula of its name (formula.py), which the Rust tests
(../truth_formula/mod.rs) compute to the same bits. Values are float32, all arithmetic here is float64.

Three wirings:
    torchvision     torchvision.models.ShuffleNetV2
    megvii          the paper's own network, written below with the names of its authors' checkpoints.
                    Its AvgPool2d(7) fits 224x224 only; here the mean over the final map stands in, which is the
                    same at 224x224.
    keras           the network of the Keras tutorial: concat (main, identity), convolution biases, BN eps 1e-3,
                    SAME padding, no BN on conv1 and conv5, softmax at the end.

Files: {wiring}_{network}_{height}x{width}_b{batch}.npy holds the logits as float64 of shape (batch, kept):
all classes at 224x224 and in the custom network, every 8th class (0, 8, 16, ...) elsewhere. For keras a second file,
..._softmax.npy, holds the last layer's output at the same classes. stages.json holds the mean and the mean of
absolutes of every stage at 224x224. {wiring}.tensors.txt lists name and shape of every float tensor.
"""

import argparse
import json
import os
import pathlib
import sys

sys.dont_write_bytecode = True
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import numpy as np
import safetensors.torch
import torch
import torchvision
import tf_keras as keras  # after torch: the other way round two copies of LLVM abort the process
from tf_keras import backend as K
from tf_keras import layers as L
from torch import nn

from formula import image, tensor

HERE = pathlib.Path(__file__).resolve().parent

# Units per stage, output channels of conv1, the three stages and conv5, classes.
REPEATS = [4, 8, 4]
NETWORKS = {
    "0.5": (REPEATS, [24, 48, 96, 192, 1024], 1000),
    "1.0": (REPEATS, [24, 116, 232, 464, 1024], 1000),
    "1.5": (REPEATS, [24, 176, 352, 704, 1024], 1000),
    "2.0": (REPEATS, [24, 244, 488, 976, 2048], 1000),
}
# Halves of 42, 74 and 138 are odd; the paper's own code demands multiples of 4.
CUSTOM = {
    "torchvision": ([2, 3, 2], [16, 42, 74, 138, 200], 10),
    "megvii": ([2, 3, 2], [16, 40, 72, 136, 200], 10),
    "keras": ([2, 3, 2], [16, 42, 74, 138, 200], 10),
}
SIZES = [(224, 224, 1), (193, 257, 2), (64, 96, 5)]
CUSTOM_SIZES = [(97, 64, 3), (32, 32, 1)]
WIRINGS = ["torchvision", "megvii", "keras"]


# ---------------------------------------------------------------- torchvision and megvii

class MegviiUnit(nn.Module):
    def __init__(self, ic, oc, mid, stride):
        super().__init__()
        main_out = oc - ic  # at stride 1 `ic` is half of what comes in
        self.branch_main = nn.Sequential(
            nn.Conv2d(ic, mid, 1, bias=False), nn.BatchNorm2d(mid), nn.ReLU(),
            nn.Conv2d(mid, mid, 3, stride, 1, groups=mid, bias=False), nn.BatchNorm2d(mid),
            nn.Conv2d(mid, main_out, 1, bias=False), nn.BatchNorm2d(main_out), nn.ReLU())
        self.branch_proj = None if stride == 1 else nn.Sequential(
            nn.Conv2d(ic, ic, 3, stride, 1, groups=ic, bias=False), nn.BatchNorm2d(ic),
            nn.Conv2d(ic, ic, 1, bias=False), nn.BatchNorm2d(ic), nn.ReLU())

    def forward(self, x):
        if self.branch_proj is None:
            return torch.cat((x[:, 0::2], self.branch_main(x[:, 1::2])), 1)
        return torch.cat((self.branch_proj(x), self.branch_main(x)), 1)


class Megvii(nn.Module):
    def __init__(self, repeats, channels, classes):
        super().__init__()
        self.first_conv = nn.Sequential(
            nn.Conv2d(3, channels[0], 3, 2, 1, bias=False), nn.BatchNorm2d(channels[0]), nn.ReLU())
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        units, ic = [], channels[0]
        for count, oc in zip(repeats, channels[1:4]):
            units.append(MegviiUnit(ic, oc, oc // 2, 2))
            units += [MegviiUnit(oc // 2, oc, oc // 2, 1) for _ in range(count - 1)]
            ic = oc
        self.features = nn.Sequential(*units)
        self.conv_last = nn.Sequential(
            nn.Conv2d(ic, channels[4], 1, bias=False), nn.BatchNorm2d(channels[4]), nn.ReLU())
        self.classifier = nn.Sequential(nn.Linear(channels[4], classes, bias=False))

    def forward(self, x):
        x = self.conv_last(self.features(self.maxpool(self.first_conv(x))))
        return self.classifier(x.mean((2, 3)))


def build_torch(wiring, repeats, channels, classes, dtype=torch.float64):
    if wiring == "torchvision":
        model = torchvision.models.ShuffleNetV2(repeats, channels, num_classes=classes)
    else:
        model = Megvii(repeats, channels, classes)
    state = model.state_dict()
    for name, old in state.items():
        if not name.endswith("num_batches_tracked"):
            state[name] = torch.from_numpy(tensor(wiring, name, tuple(old.shape)))
    model.load_state_dict(state)
    return model.to(dtype).eval()


def run_torch(wiring, model, x):
    with torch.no_grad():
        return model(torch.from_numpy(x.astype(np.float64))).numpy(), None


def stages_torch(wiring, repeats, model, x):
    if wiring == "torchvision":
        points = dict(conv1=model.conv1, maxpool=model.maxpool, stage2=model.stage2, stage3=model.stage3,
                      stage4=model.stage4, conv5=model.conv5)
    else:
        last = np.cumsum(repeats) - 1
        points = dict(conv1=model.first_conv, maxpool=model.maxpool, stage2=model.features[last[0]],
                      stage3=model.features[last[1]], stage4=model.features[last[2]], conv5=model.conv_last)
    seen = {}
    hooks = [module.register_forward_hook(lambda _m, _i, out, name=name: seen.update({name: out.numpy()}))
             for name, module in points.items()]
    seen["logits"] = run_torch(wiring, model, x)[0]
    for hook in hooks:
        hook.remove()
    return seen


# ---------------------------------------------------------------- keras

def keras_shuffle(x, groups=2):
    height, width, channels = x.shape.as_list()[1:]
    x = K.reshape(x, [-1, height, width, groups, channels // groups])
    x = K.permute_dimensions(x, (0, 1, 2, 4, 3))
    return K.reshape(x, [-1, height, width, channels])


def keras_unit(x, oc, stride, prefix, wrong):
    half = oc // 2

    def conv_bn_relu(x, conv, bn, relu):
        x = L.Conv2D(half, 1, padding="same", name=f"{prefix}/{conv}")(x)
        x = L.BatchNormalization(name=f"{prefix}/{bn}")(x)
        return L.Activation("relu", name=f"{prefix}/{relu}")(x)

    def depthwise_bn(x, conv, bn):
        padding = "same"
        if wrong == "padding" and stride == 2:
            x, padding = L.ZeroPadding2D(1)(x), "valid"
        x = L.DepthwiseConv2D(3, strides=stride, padding=padding, name=f"{prefix}/{conv}")(x)
        return L.BatchNormalization(name=f"{prefix}/{bn}")(x)

    other = x
    if stride == 1:
        split = x.shape[-1] // 2
        other = L.Lambda(lambda z: z[:, :, :, 0:split], name=f"{prefix}/spl/sp0_slice")(x)
        x = L.Lambda(lambda z: z[:, :, :, split:], name=f"{prefix}/spl/sp1_slice")(x)
    x = conv_bn_relu(x, "1x1conv_1", "bn_1x1conv_1", "relu_1x1conv_1")
    x = depthwise_bn(x, "3x3dwconv", "bn_3x3dwconv")
    x = conv_bn_relu(x, "1x1conv_2", "bn_1x1conv_2", "relu_1x1conv_2")
    if stride == 2:
        other = depthwise_bn(other, "3x3dwconv_2", "bn_3x3dwconv_2")
        other = conv_bn_relu(other, "1x1_conv_3", "bn_1x1conv_3", "relu_1x1conv_3")
    pair = [other, x] if wrong == "concat" else [x, other]
    x = L.Concatenate(name=f"{prefix}/concat_{stride}")(pair)
    groups = half if wrong == "shuffle" else 2
    return L.Lambda(keras_shuffle, arguments={"groups": groups}, name=f"{prefix}/channel_shuffle")(x)


def build_keras(repeats, channels, classes, ih, iw, dtype="float64", wrong=None):
    keras.backend.clear_session()
    keras.backend.set_floatx(dtype)
    x = inputs = L.Input((ih, iw, 3))
    x = L.Conv2D(channels[0], 3, strides=2, padding="same", use_bias=False, activation="relu", name="conv1")(x)
    x = L.MaxPool2D(3, 2, padding="same", name="maxpool1")(x)
    for stage, (count, oc) in enumerate(zip(repeats, channels[1:4]), 2):
        for block in range(1, count + 1):
            x = keras_unit(x, oc, 2 if block == 1 else 1, f"stage{stage}/block{block}", wrong)
    x = L.Conv2D(channels[4], 1, padding="same", activation="relu", name="1x1conv5_out")(x)
    x = L.GlobalAveragePooling2D(name="global_avg_pool")(x)
    x = L.Dense(classes, name="fc")(x)
    x = L.Activation("softmax", name="softmax")(x)
    model = keras.Model(inputs, x, name="ShuffleNetV2")
    for weight in model.weights:
        weight.assign(tensor("keras", weight.name, tuple(weight.shape)))
    return model


def keras_outputs(model, names, x):
    part = keras.Model(model.input, [model.get_layer(name).output for name in names])
    return [np.asarray(y) for y in part(x.transpose(0, 2, 3, 1).astype(np.float64), training=False)]


def run_keras(model, x):
    return keras_outputs(model, ["fc", "softmax"], x)


def stages_keras(repeats, model, x):
    ends = {f"stage{s}": f"stage{s}/block{n}/channel_shuffle" for s, n in enumerate(repeats, 2)}
    points = {"conv1": "conv1", "maxpool": "maxpool1", **ends, "conv5": "1x1conv5_out", "logits": "fc"}
    return dict(zip(points, keras_outputs(model, list(points.values()), x)))


# ---------------------------------------------------------------- checks, and what is written

def relative(a, b):
    return np.abs(a - b).max() / np.abs(b).max()


def check_outputs(label, logits, softmax):
    top = np.abs(logits).max()
    assert np.isfinite(logits).all() and 0.5 < top < 100.0, f"{label}: largest logit {top}"
    if softmax is not None:
        assert np.allclose(softmax.sum(1), 1.0, atol=1e-12) and softmax.max() < 0.9, f"{label}: {softmax.max()}"
    if len(logits) > 1:
        assert relative(logits[0], logits[1]) > 1e-2, f"{label}: images of one batch hardly differ"


def check_sensitivity(wiring):
    """Mistakes in wiring, padding or epsilon must show: otherwise the recorded logits prove nothing."""
    net = NETWORKS["1.0"]
    for ih, iw, batch in SIZES:
        x = image(wiring, ih, iw, batch)
        if wiring == "keras":
            right = run_keras(build_keras(*net, ih, iw), x)[0]
            wrong = {w: run_keras(build_keras(*net, ih, iw, wrong=w), x)[0] for w in ["shuffle", "concat"]}
            if ih % 2 == 0:  # on odd sizes SAME is symmetric at the first layers
                wrong["padding"] = run_keras(build_keras(*net, ih, iw, wrong="padding"), x)[0]
            model = build_keras(*net, ih, iw)
            for layer in model.layers:
                if isinstance(layer, L.BatchNormalization):
                    layer.epsilon = 1e-5
            eps = run_keras(model, x)[0]
        else:
            model = build_torch(wiring, *net)
            right = run_torch(wiring, model, x)[0]
            wrong = {}
            if wiring == "torchvision":
                module = torchvision.models.shufflenetv2
                shuffle = module.channel_shuffle
                module.channel_shuffle = lambda x, groups: shuffle(x, x.shape[1] // groups)
                wrong["shuffle"] = run_torch(wiring, model, x)[0]
                module.channel_shuffle = shuffle
            else:
                forward = MegviiUnit.forward

                def swapped(self, x):
                    if self.branch_proj is None:
                        return torch.cat((x[:, 1::2], self.branch_main(x[:, 0::2])), 1)
                    return forward(self, x)
                MegviiUnit.forward = swapped
                wrong["shuffle"] = run_torch(wiring, model, x)[0]
                MegviiUnit.forward = forward
            for module in model.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eps = 1e-3
            eps = run_torch(wiring, model, x)[0]
            model = build_torch(wiring, *net)
            for module in model.modules():
                if isinstance(module, nn.Conv2d) and module.groups > 1 and module.stride == (2, 2):
                    module.padding = (0, 0)
                    module.register_forward_pre_hook(lambda _m, a: nn.functional.pad(a[0], (0, 1, 0, 1)))
            if ih % 32 == 0 and iw % 32 == 0:  # only there do both paddings give maps of one size
                wrong["padding"] = run_torch(wiring, model, x)[0]
        for kind, logits in wrong.items():
            change = relative(logits, right)
            print(f"{wiring} {ih}x{iw}: wrong {kind} changes the logits by {change:.3f}")
            assert change > 1e-2
        print(f"{wiring} {ih}x{iw}: the other BN epsilon changes the logits by {relative(eps, right):.1e}")
        assert relative(eps, right) > 5e-5


def networks(wiring):
    yield from NETWORKS.items()
    yield "custom", CUSTOM[wiring]


def write_cases(wiring):
    stages = {}
    for network, (repeats, channels, classes) in networks(wiring):
        custom = network == "custom"
        for ih, iw, batch in CUSTOM_SIZES if custom else SIZES:
            case = f"{wiring}_{network}_{ih}x{iw}_b{batch}"
            x = image(wiring, ih, iw, batch)
            if wiring == "keras":
                model = build_keras(repeats, channels, classes, ih, iw)
                logits, softmax = run_keras(model, x)
            else:
                model = build_torch(wiring, repeats, channels, classes)
                logits, softmax = run_torch(wiring, model, x)
            assert logits.dtype == np.float64 and logits.shape == (batch, classes)
            check_outputs(case, logits, softmax)
            step = 1 if custom or ih == 224 else 8
            np.save(HERE / f"{case}.npy", np.ascontiguousarray(logits[:, ::step]))
            if softmax is not None:
                np.save(HERE / f"{case}_softmax.npy", np.ascontiguousarray(softmax[:, ::step]))
            spread = f"{np.abs(logits).max():.2f}, deviation {logits.std():.2f}"
            print(f"{case}: largest logit {spread}" + ("" if softmax is None else f", largest p {softmax.max():.3f}"))
            if ih == 224:
                seen = stages_keras(repeats, model, x) if wiring == "keras" else stages_torch(wiring, repeats, model, x)
                stages[f"{wiring}_{network}"] = {
                    name: {"mean": float(y.mean()), "mean_abs": float(np.abs(y).mean())} for name, y in seen.items()}
    return stages


def shapes(wiring, repeats, channels, classes):
    if wiring == "keras":
        return {w.name: tuple(w.shape) for w in build_keras(repeats, channels, classes, 32, 32).weights}
    state = build_torch(wiring, repeats, channels, classes).state_dict()
    return {k: tuple(v.shape) for k, v in state.items() if not k.endswith("num_batches_tracked")}


def write_tensor_list(wiring):
    """One line per tensor: its name and its shape at each width; then, after a blank line, the custom network's."""
    columns = [shapes(wiring, *net) for net in NETWORKS.values()]
    lines = [" ".join(["name", *NETWORKS])]
    lines += [" ".join([name] + ["x".join(map(str, c[name])) for c in columns]) for name in columns[0]]
    lines += ["", "name custom"]
    lines += [f"{name} {'x'.join(map(str, shape))}" for name, shape in shapes(wiring, *CUSTOM[wiring]).items()]
    (HERE / f"{wiring}.tensors.txt").write_text("\n".join(lines) + "\n")


def write_checkpoints(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for wiring in WIRINGS:
        for network, net in networks(wiring):
            base = f"{folder}/{wiring}_{network}"
            if wiring == "keras":
                model = build_keras(*net, 224, 224, dtype="float32")
                model.save_weights(f"{base}_weights.h5")
                model.save(f"{base}_model.h5")
                continue
            state = build_torch(wiring, *net, dtype=torch.float32).state_dict()
            torch.save(state, f"{base}.pth")
            torch.save(state, f"{base}_legacy.pth", _use_new_zipfile_serialization=False)
            safetensors.torch.save_file(dict(state), f"{base}.safetensors")
            # As nn.DataParallel and a training loop leave it.
            wrapped = {"epoch": 3, "state_dict": {f"module.{k}": v for k, v in state.items()}}
            torch.save(wrapped, f"{base}_wrapped.pth")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--checkpoints", type=pathlib.Path, metavar="DIR")
    args = parser.parse_args()
    if args.checkpoints:
        return write_checkpoints(args.checkpoints)
    for wiring in WIRINGS:
        check_sensitivity(wiring)
    stages = {}
    for wiring in WIRINGS:
        stages.update(write_cases(wiring))
        write_tensor_list(wiring)
    (HERE / "stages.json").write_text(json.dumps(stages, indent=1) + "\n")


if __name__ == "__main__":
    main()
