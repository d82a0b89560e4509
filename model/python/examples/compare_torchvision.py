"""A folder of photos by `shufflenet` and by torchvision, in turns on the same processor, from files to classes.

It wants torchvision, which brings the rest:

    pip install torch torchvision
    python compare_torchvision.py photos/ --width 1.0
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torchvision
from PIL import Image

import shufflenet

ENDINGS = [".jpg", ".jpeg", ".png", ".webp"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--width", default="1.0", choices=["0.5", "1.0", "1.5", "2.0"])
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()

    files = sorted(path for path in args.photos.iterdir() if path.suffix.lower() in ENDINGS)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
    torch.set_num_threads(1)
    name = f"shufflenet_v2_x{args.width.replace('.', '_')}"
    # The time does not depend on the weights.
    module = getattr(torchvision.models, name)(weights=None).eval()
    # As torchvision's weights for this width say.
    weights = torchvision.models.get_model_weights(name)
    transforms = weights.DEFAULT.transforms()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.pth"
        torch.save(module.state_dict(), path)
        model = shufflenet.load(path)

    def ours() -> np.ndarray:
        return model(files)

    def theirs() -> np.ndarray:
        with torch.inference_mode():
            logits = [module(transforms(Image.open(file).convert("RGB"))[None]) for file in files]
        return torch.cat(logits).numpy()

    # The transforms round to pixels as Pillow does; what is left is the order of additions.
    expected = theirs()
    difference = np.abs(ours() - expected).max() / np.abs(expected).max()
    best = {"shufflenet": np.inf, "torchvision": np.inf}
    for _ in range(args.rounds):
        for engine, run in (("shufflenet", ours), ("torchvision", theirs)):
            begin = time.perf_counter()
            run()
            best[engine] = min(best[engine], time.perf_counter() - begin)
    print(
        f"{len(files)} photos, {args.width}x, one core, {model.isa}; logits differ by at most {difference:.1g} of the greatest"
    )
    for engine, seconds in best.items():
        print(f"{engine:12} {len(files) / seconds:7.1f} images per second")


if __name__ == "__main__":
    main()
