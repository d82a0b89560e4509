"""Records what onnxruntime and OpenCV make of FastestDet, for ../fastestdet.rs to compare with.

    python record.py FASTESTDET_DIR > recorded.txt

The folder holds fastestdet.onnx, coco.names, 1.jpg and 3.jpg.
"""

import sys
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

sys.path.insert(0, str(Path(__file__).parent.parent / "truth"))
from formula import fill  # noqa: E402

SIDE, GRID = 352, 22


def pattern(width, height):
    """A photo by formula, red, green and blue."""
    x, y, c = np.meshgrid(np.arange(width), np.arange(height), np.arange(3), indexing="xy")
    return ((x * 7 + y * 13 + c * 29 + x * y % 31 * 5) % 256).astype(np.uint8)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def decode(output, width, height):
    """Boxes as (score, class, x1, y1, x2, y2) before suppression, the likeliest first."""
    found = []
    for h in range(GRID):
        for w in range(GRID):
            obj, reg, cls = output[0, h, w], output[1:5, h, w], output[5:, h, w]
            score = obj**0.6 * cls.max() ** 0.4
            if score > 0.65:
                cx, cy = (w + np.tanh(reg[0])) / GRID, (h + np.tanh(reg[1])) / GRID
                bw, bh = sigmoid(reg[2]), sigmoid(reg[3])
                sides = [(cx - bw / 2) * width, (cy - bh / 2) * height, (cx + bw / 2) * width, (cy + bh / 2) * height]
                found.append((score, cls.argmax(), *sides))
    return sorted(found, reverse=True)


def overlap(a, b):
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0
    return w * h / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - w * h)


def main():
    folder = Path(sys.argv[1])
    session = onnxruntime.InferenceSession(folder / "fastestdet.onnx", providers=["CPUExecutionProvider"])
    run = lambda tensor: session.run(None, {session.get_inputs()[0].name: tensor})[0]
    print(f"# onnxruntime {onnxruntime.__version__}, OpenCV {cv2.__version__}")

    print("# resize: width, height, then red, green and blue of every 2003rd pixel")
    for width, height in [(640, 480), (500, 335), (353, 352), (300, 1000), (200, 100), (704, 1056)]:
        small = cv2.resize(pattern(width, height), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        print("resize", width, height, *small.reshape(-1, 3)[::2003].ravel())

    print("# raw: bounds of the input, then every 101st number of the output")
    for lo, hi in [(0, 1), (-2, 2)]:
        output = run(fill("input", (1, 3, SIDE, SIDE), lo, hi))
        print("raw", lo, hi, *(f"{x:.7g}" for x in output.ravel()[::101]))

    print("# box: photo, class, score, x1, y1, x2, y2")
    names = (folder / "coco.names").read_text().split("\n")
    for photo in ["1.jpg", "3.jpg"]:
        image = cv2.imread(str(folder / photo))
        small = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        output = run(small.transpose(2, 0, 1)[None].astype(np.float32) / 255)[0]
        kept = []
        for box in decode(output, image.shape[1], image.shape[0]):
            if all(overlap(box[2:], better[2:]) <= 0.45 for better in kept):
                kept.append(box)
        for score, label, *sides in kept:
            print("box", photo, names[label].strip(), f"{score:.4f}", *(f"{x:.2f}" for x in sides))


main()
