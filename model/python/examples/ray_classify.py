"""Photos in, Parquet out, on as many workers as there are: `shufflenet` on Ray Data.

    pip install "ray[data]" pyarrow
    python ray_classify.py photos/ --weights shufflenetv2_x1.pth --output classes/ --workers 2

Every worker loads the network once and classifies batches of photos. One row is written for each photo:
`image`, `label`, `class` and `probability` of the most probable classes, or `error`. A worker that dies is
started again, and Ray gives it the batch that it had not finished: at the end each photo has one row, which is
checked. docs/scale.md says more.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import ray
from ray.data import ActorPoolStrategy, DataContext

import shufflenet

SCHEMA = pa.schema(
    [
        ("image", pa.string()),
        ("label", pa.list_(pa.string())),
        ("class", pa.list_(pa.int32())),
        ("probability", pa.list_(pa.float32())),
        ("error", pa.string()),
    ]
)
ENDINGS = [".jpg", ".jpeg", ".png", ".webp"]


class Classifier:
    """One worker: a network, and threads for it."""

    def __init__(self, weights: str, threads: int, top: int) -> None:
        self.model = shufflenet.load(weights, threads=threads)
        self.top = top

    def __call__(self, batch: pa.Table) -> pa.Table:
        photos = batch["bytes"].to_pylist()
        rows = []
        for path, answer in zip(
            batch["path"].to_pylist(), self.model.classify(photos, self.top), strict=True
        ):
            top = answer.get("top", [])
            rows.append(
                {
                    "image": path,
                    "label": [guess["label"] for guess in top],
                    "class": [guess["class"] for guess in top],
                    "probability": [guess["probability"] for guess in top],
                    "error": answer.get("error"),
                }
            )
        return pa.Table.from_pylist(rows, SCHEMA)


def classify(photos: list[str], weights: str, output: str, workers: int, threads: int, top: int) -> None:
    """Writes a row for each of `photos` into the folder `output`."""
    # Bytes are read in tasks of their own, a few megabytes ahead of the workers: nothing waits for the disk.
    files = ray.data.read_binary_files(
        photos, include_paths=True, override_num_blocks=max(4 * workers, len(photos) // 64)
    )
    rows = files.map_batches(
        Classifier,
        fn_constructor_args=(weights, threads, top),
        batch_format="pyarrow",
        batch_size=32,
        # `num_cpus` is what Ray counts, and `threads` what the network starts: they have to agree.
        num_cpus=threads,
        compute=ActorPoolStrategy(size=workers),
    )
    rows.write_parquet(output)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("photos", help="a folder, with the folders in it")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--output", required=True, help="a folder for Parquet files; new, or empty")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1, help="of each worker")
    parser.add_argument("--top", type=int, default=5)
    parser.add_argument("--address", help="of a cluster; the default is this machine alone")
    args = parser.parse_args()

    found = sorted(str(p.absolute()) for p in Path(args.photos).rglob("*") if p.suffix.lower() in ENDINGS)
    if not found:
        parser.error(f"{args.photos}: no photo")
    if any(Path(args.output).glob("*.parquet")):
        parser.error(f"{args.output}: holds Parquet files already")
    if args.address:
        ray.init(address=args.address)
    else:
        # One processor more than the workers have, for those who read and write.
        cpus = args.workers * args.threads + 1
        ray.init(num_cpus=cpus, include_dashboard=False, object_store_memory=1 << 30)
    DataContext.get_current().enable_progress_bars = False

    begin = time.perf_counter()
    weights, output = str(Path(args.weights).absolute()), str(Path(args.output).absolute())
    classify(found, weights, output, args.workers, args.threads, args.top)
    seconds = time.perf_counter() - begin

    table = pq.read_table(output, columns=["image", "error"])
    images = table["image"].to_pylist()
    unread = len(images) - table["error"].null_count
    print(
        f"{len(images)} photos ({unread} unreadable) in {seconds:.1f} s, workers: {args.workers}, threads: {args.threads}: "
        f"{len(images) / seconds:.1f} images per second"
    )
    if sorted(images) != found:
        print(f"expected a row for each of {len(found)} photos", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
