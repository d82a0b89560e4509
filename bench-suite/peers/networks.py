#!/usr/bin/env python3
"""Races .onnx files: `shufflenet bench --network FILE` against ONNX Runtime and OpenVINO, in turns, on pinned cores.

    python networks.py [--threads N] [--seconds S] [--rounds N] [--engines NAMES] FILE.onnx ...

Needs numpy, onnxruntime and openvino (requirements.txt), and a built `shufflenet` (cargo build --release -p model). All
engines stand loaded and take turns of S seconds, in an order that rotates from round to round. Prints a table of
the minima in milliseconds (medians of all turns in brackets), batch 1, float32; sizes that a file leaves open are 224.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PEERS = ["onnxruntime", "openvino"]


def inputs_of(path):
    """Name and shape of each input, with a batch of one and 224 for what is open."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    fix = lambda axis, size: size if isinstance(size, int) and size > 0 else (1 if axis == 0 else 224)
    return [(i.name, [fix(axis, size) for axis, size in enumerate(i.shape)]) for i in session.get_inputs()]


def onnxruntime(path, arrays, threads):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    for name, x in arrays.items():
        binding.bind_input(name, "cpu", 0, x.dtype.type, x.shape, x.ctypes.data)
    for output in session.get_outputs():
        binding.bind_output(output.name, "cpu")
    return lambda: session.run_with_iobinding(binding)


def openvino(path, arrays, threads):
    import openvino as ov

    core = ov.Core()
    model = core.read_model(path)
    model.reshape({name: list(x.shape) for name, x in arrays.items()})
    settings = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1", "INFERENCE_NUM_THREADS": str(threads),
                "INFERENCE_PRECISION_HINT": "f32"}
    request = core.compile_model(model, "CPU", settings).create_infer_request()
    for name, x in arrays.items():
        request.set_tensor(name, ov.Tensor(x, shared_memory=True))
    return request.infer


def timed(run, seconds):
    """Milliseconds of each run; at least two."""
    ms = []
    start = now = time.perf_counter()
    while len(ms) < 2 or now - start < seconds:
        before = time.perf_counter()
        run()
        now = time.perf_counter()
        ms.append(1e3 * (now - before))
    return ms


def serve(engine, path, threads):
    """One engine, loaded, in a process of its own."""
    import numpy as np

    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    random = np.random.default_rng(0)
    arrays = {name: random.uniform(-2, 2, shape).astype(np.float32) for name, shape in inputs_of(path)}
    run = globals()[engine](path, arrays, int(threads))
    run()
    print("{}", file=answers)
    for line in sys.stdin:
        timed(run, float(line) / 5)
        ms = timed(run, float(line))
        print(json.dumps({"min": min(ms), "median": statistics.median(ms)}), file=answers)


class Peer:
    def __init__(self, engine, path, threads, cores):
        self.process = subprocess.Popen(
            [sys.executable, __file__, "serve", engine, path, str(threads)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, cores))
        self.loads = self.process.stdout.readline() != ""

    def turn(self, seconds):
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Ours:
    """Loads anew for every turn, untimed."""

    loads = True

    def __init__(self, shufflenet, path, threads, cores):
        self.command = [shufflenet, "--threads", str(threads), "bench", "--network", path, "--json"]
        self.cores = cores

    def turn(self, seconds):
        out = subprocess.run([*self.command, "--seconds", str(seconds)], capture_output=True, text=True, check=True,
                             preexec_fn=lambda: os.sched_setaffinity(0, self.cores)).stdout
        report = json.loads(out)
        return {"min": report["min_ms"], "median": report["median_ms"]}

    def close(self):
        pass


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--engines", default=",".join(PEERS))
    parser.add_argument("--shufflenet", default=str(ROOT / "target/release/shufflenet"))
    args = parser.parse_args()
    cores = set(sorted(os.sched_getaffinity(0))[:args.threads])
    engines = args.engines.split(",")
    print(f"| network | shufflenet | {' | '.join(engines)} | fastest other / shufflenet |")
    print("|---" * (len(engines) + 3) + "|")
    ratios = []
    for path in args.files:
        standing = {"shufflenet": Ours(args.shufflenet, path, args.threads, cores)}
        standing |= {name: Peer(name, path, args.threads, cores) for name in engines}
        turns = {name: [] for name, engine in standing.items() if engine.loads}
        for start in range(args.rounds):
            order = list(turns)
            for name in order[start % len(order):] + order[:start % len(order)]:
                turns[name].append(standing[name].turn(args.seconds))
        for engine in standing.values():
            engine.close()
        least = {name: min(turn["min"] for turn in of) for name, of in turns.items()}
        median = {name: statistics.median(turn["median"] for turn in of) for name, of in turns.items()}
        cell = lambda name: f"{least[name]:.3f} ({median[name]:.3f})" if name in least else "does not load it"
        others = [least[name] for name in engines if name in least]
        ratio = f"{min(others) / least['shufflenet']:.2f}" if others else ""
        ratios += [min(others) / least["shufflenet"]] if others else []
        print(f"| {pathlib.Path(path).stem} | {cell('shufflenet')} | {' | '.join(map(cell, engines))} | {ratio} |", flush=True)
    if ratios:
        print(f"\ngeometric mean of the last column: {statistics.geometric_mean(ratios):.2f}, least {min(ratios):.2f}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(*sys.argv[2:])
    else:
        main()
