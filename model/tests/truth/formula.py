"""Weights and images by formula: float32 values both Python and Rust (../truth_formula/mod.rs) compute to the bit."""

import math

import numpy as np


def fill(name, shape, lo, hi):
    """float32 values in [lo, hi): FNV-1a of the name seeds a splitmix64 stream, one draw per element."""
    h = 0xCBF29CE484222325
    for byte in name.encode():
        h = ((h ^ byte) * 0x100000001B3) % 2**64
    i = np.arange(math.prod(shape), dtype=np.uint64)
    z = np.uint64(h) + i * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    u = (z >> np.uint64(40)).astype(np.float64) / 2.0**24
    return (lo + (hi - lo) * u).astype(np.float32).reshape(shape)


def value_range(wiring, name, shape):
    """Ranges that keep activations of order 1 from the image to the logits."""
    if name == "input":
        return (0.0, 255.0) if wiring == "megvii" else (-2.0, 2.0)
    if len(shape) == 1:
        scale = name.endswith(("running_var", "moving_variance:0", "gamma:0")) or (
            wiring != "keras" and name.endswith(".weight"))
        return (0.5, 1.5) if scale else (-0.3, 0.3)
    depthwise = name.endswith("depthwise_kernel:0") or (wiring != "keras" and len(shape) == 4 and shape[1] == 1)
    if wiring != "keras":
        fan_in = math.prod(shape[1:])
    elif depthwise:
        fan_in = shape[0] * shape[1]
    else:
        fan_in = math.prod(shape[:-1])
    # 6 would make up for the rectifier's loss of energy and 3 suits a layer without one; 4 offsets the BN's gain.
    bound = math.sqrt((3.0 if depthwise or len(shape) == 2 else 4.0) / float(fan_in))
    if name == "first_conv.0.weight":
        bound /= 128.0  # its pixels are 0..255
    return (-bound, bound)


def tensor(wiring, name, shape):
    return fill(name, shape, *value_range(wiring, name, shape))


def image(wiring, ih, iw, batch):
    return tensor(wiring, "input", (batch, 3, ih, iw))
