"""ShuffleNetV2 on the CPU by explicit SIMD, and its kernels, on NumPy arrays.

>>> model = shufflenet.load("shufflenetv2_x1-5666bf0f80.pth")
>>> for answer in model.classify(["cat.jpg", "dog.png"]):
...     print(answer["image"], answer["top"][0]["label"])
"""

from shufflenet._model import Answer, CheckpointWarning, Guess, Layer, Model, Profile, Summary, load
from shufflenet._native import Error, isas

__all__ = [
    "Answer",
    "CheckpointWarning",
    "Error",
    "Guess",
    "Layer",
    "Model",
    "Profile",
    "Summary",
    "isas",
    "load",
]
