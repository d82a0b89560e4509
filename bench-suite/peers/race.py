#!/usr/bin/env python3
"""Races the engines that setup.sh installed against `shufflenet bench`, in turns, on pinned cores.

First every engine must give the logits PyTorch gives in float64. Then, for each number of threads, batch and width,
all engines stand loaded and take turns of a fraction of a second, in an order that rotates from round to round, so
that what disturbs the machine disturbs them all. Writes peers.json and peers.md.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
OURS = "ours"
PEERS = ["onnxruntime", "openvino", "litert", "ncnn", "mnn", "torch", "tract"]
TITLES = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO", "litert": "LiteRT (XNNPACK)", "mnn": "MNN",
          "torch": "PyTorch (torch.compile)", OURS: "**shufflenet**"}
# Far above what float32 leaves (1e-6), far below what bf16 would (4e-3).
TOLERANCE = 1e-4
TICK = os.sysconf("SC_CLK_TCK")


class Failure(Exception):
    pass


def cpu_seconds(pid):
    """CPU time of a process with all its threads."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def core_seconds(cores):
    """Time for which the cores were not idle, whoever used them."""
    total = 0
    for line in pathlib.Path("/proc/stat").read_text().splitlines():
        name, *ticks = line.split()
        if name.startswith("cpu") and name[3:].isdigit() and int(name[3:]) in cores:
            user, nice, system, _idle, _wait, irq, softirq, steal = map(int, ticks[:8])
            total += user + nice + system + irq + softirq + steal
    return total / TICK


class Peer:
    """An engine that waits, loaded, in its own process for its turns."""

    def __init__(self, name, args, width, batch, threads, cores):
        self.name = name
        if name == "tract":
            command = [args.folder / "tract/release/tract-peer"]
        else:
            command = [sys.executable, HERE / "engines.py", name]
        command += [args.folder / "models", width, batch, threads]
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, cores))
        ready = self.answer()
        self.version, self.load_ms = ready["version"], ready["load_ms"]

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            self.log.seek(0)
            raise Failure(f"{self.name} ended early:\n{self.log.read()[-2000:]}")
        return json.loads(line)

    def ask(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self.answer()

    def logits(self, path):
        self.ask(f"logits {path}")

    def turn(self, seconds):
        cpu, wall = cpu_seconds(self.process.pid), time.perf_counter()
        ms = np.array(self.ask(f"run {seconds}")["ns"]) / 1e6
        cpu, wall = cpu_seconds(self.process.pid) - cpu, time.perf_counter() - wall
        return {"n": len(ms), "min_ms": ms.min(), "median_ms": np.median(ms), "p90_ms": np.quantile(ms, 0.9),
                "cpu_seconds": cpu, "wall_seconds": wall}

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.log.close()


class Ours:
    """`shufflenet`: its `logits` to check, its `bench` to race; loads anew for every turn, untimed."""

    name, load_ms = OURS, None

    def __init__(self, args, width, batch, threads, cores):
        self.models, self.batch, self.width = args.folder / "models", batch, width
        self.command = [args.shufflenet, "--threads", str(threads)] + (["--isa", args.isa] if args.isa else [])
        self.cores = cores
        self.version = subprocess.run([args.shufflenet, "--version"], capture_output=True, text=True).stdout.split()[-1]

    def call(self, *arguments):
        process = subprocess.Popen(
            list(map(str, [*self.command, *arguments])), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, self.cores))
        out, err = process.communicate()
        if process.returncode != 0:
            raise Failure(f"shufflenet {arguments[0]}: {err.strip()}")
        return out

    def logits(self, path):
        self.call("logits", "--weights", self.models / f"{self.width}.safetensors",
                  "--input", self.models / f"input_b{self.batch}.npy", "--output", path)

    def turn(self, seconds):
        before, wall = os.times(), time.perf_counter()
        report = json.loads(self.call("bench", "--width", self.width, "--batch", self.batch, "--seconds", seconds,
                                      "--pin", ",".join(map(str, sorted(self.cores))), "--json"))
        after, wall = os.times(), time.perf_counter() - wall
        cpu = after.children_user + after.children_system - before.children_user - before.children_system
        kept = ["n", "min_ms", "median_ms", "p90_ms", "peak_gflops", "macs", "isa"]
        return {key: report[key] for key in kept} | {"cpu_seconds": cpu, "wall_seconds": wall}

    def close(self):
        pass


def check(engine, folder, width, batch):
    with tempfile.TemporaryDirectory() as scratch:
        path = f"{scratch}/logits.npy"
        engine.logits(path)
        logits = np.load(path)
    truth = np.load(folder / f"models/{width}_logits_b{batch}.npy")
    if logits.shape != truth.shape:
        raise Failure(f"{engine.name} {width}: logits of shape {logits.shape} instead of {truth.shape}")
    error = np.abs(logits - truth).max() / np.abs(truth).max()
    if not error < TOLERANCE:
        raise Failure(f"{engine.name} {width}, batch {batch}: logits are off by {error:.1e} of the largest")
    return float(error)


def race(args, width, batch, threads):
    cores = args.cores[:threads]
    engines = []
    try:
        engines.append(Ours(args, width, batch, threads, set(cores)))
        for name in args.engines:
            engines.append(Peer(name, args, width, batch, threads, set(cores)))
        errors = {engine.name: check(engine, args.folder, width, batch) for engine in engines}
        turns = {engine.name: [] for engine in engines}
        for round_ in range(args.rounds):
            first = round_ % len(engines)
            for engine in engines[first:] + engines[:first]:
                time.sleep(0.25)  # threads of the one before, still spinning for work, go to sleep
                before = core_seconds(cores)
                turn = engine.turn(args.seconds)
                others = core_seconds(cores) - before - turn["cpu_seconds"]
                turn["others"] = max(0.0, others) / (turn["wall_seconds"] * threads)
                turns[engine.name].append(turn)
    finally:
        for engine in engines:
            engine.close()
    ours = turns[OURS]
    peak = max(turn["peak_gflops"] for turn in ours)
    results = []
    for engine in engines:
        mine = turns[engine.name]
        least = min(turn["min_ms"] for turn in mine) / batch
        results.append({
            "engine": engine.name, "version": engine.version, "error": errors[engine.name], "load_ms": engine.load_ms,
            "n": sum(turn["n"] for turn in mine),
            "min_ms": least,
            "median_ms": statistics.median(turn["median_ms"] for turn in mine) / batch,
            "p90_ms": statistics.median(turn["p90_ms"] for turn in mine) / batch,
            "percent_of_peak": 100 * 2e-6 * ours[0]["macs"] / least / peak,
            "cores": sum(t["cpu_seconds"] for t in mine) / sum(t["wall_seconds"] for t in mine),
            "turns": mine,
        })
    for result in results:
        for key in ["min_ms", "median_ms"]:
            result[f"{key[:-3]}_over_ours"] = result[key] / results[0][key]
    return {"width": width, "batch": batch, "threads": threads, "macs": ours[0]["macs"], "isa": ours[0]["isa"],
            "peak_gflops": peak, "others": statistics.mean(t["others"] for m in turns.values() for t in m),
            "results": sorted(results, key=lambda result: result["min_ms"])}


def environment():
    info = pathlib.Path("/proc/cpuinfo").read_text()
    cpu = next(line.split(":")[1].strip() for line in info.splitlines() if line.startswith("model name"))
    commit = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True)
    return {"cpu": cpu, "cores": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version(),
            "date": datetime.date.today().isoformat(), "commit": commit.stdout.strip()}


def title(name):
    return TITLES.get(name, name)


def summary(races):
    """The fastest peer over ours, and every place where a peer is ahead."""
    widths = sorted({race["width"] for race in races})
    lines = ["Fastest peer / ours, by the minimum (by the median); above 1 ours is faster:", "",
             "| threads, batch | " + " | ".join(f"{w}x" for w in widths) + " |", "|---" * (len(widths) + 1) + "|"]
    lost = []
    for threads, batch in sorted({(race["threads"], race["batch"]) for race in races}):
        cells = []
        for width in widths:
            race = next(r for r in races if (r["threads"], r["batch"], r["width"]) == (threads, batch, width))
            peers = [r for r in race["results"] if r["engine"] != OURS]
            best = min(peers, key=lambda r: r["min_over_ours"])
            median = min(r["median_over_ours"] for r in peers)
            cells.append(f"{best['min_over_ours']:.2f} ({median:.2f}) {title(best['engine'])}")
            where = f"{width}x with {threads} thread{'s' * (threads > 1)}, batch {batch}"
            for by in ["min", "median"]:
                lost += [f"- {title(r['engine'])} is ahead at {where}, by the {'minimum' if by == 'min' else by}: "
                         f"{r[by + '_ms']:.3f} ms, {1 / r[by + '_over_ours']:.2f} times as fast"
                         for r in peers if r[f"{by}_over_ours"] < 1]
        lines.append(f"| {threads}, {batch} | " + " | ".join(cells) + " |")
    return lines + [""] + (lost or ["No peer is ahead anywhere in this run, neither by minimum nor by median."])


def markdown(report):
    env, races = report["environment"], report["races"]
    versions = {r["engine"]: r["version"] for race in races for r in race["results"]}
    isa = races[0]["isa"]
    others = max(race["others"] for race in races)
    lines = [
        f"{env['cpu']}, {env['cores']} cores, Linux {env['kernel']}; {env['date']}; ours {env['commit']} ({isa}).",
        "Versions: " + ", ".join(f"{title(name)} {version}" for name, version in versions.items()) + ".",
        "torchvision's ShuffleNetV2, 224x224, float32, ms per image: minimum of all turns, median of the turns' medians "
        "and 90 % marks. % of peak: 2 FLOP per multiply-add over the multiply-add peak measured between our runs.",
        "cores: CPU time over wall time. "
        f"Other processes took at most {100 * others:.0f} % of the raced cores in any of these races"
        + ("." if others < 0.05 else ": **not a quiet machine, not figures to quote.**"),
        "", *summary(races)]
    for race in races:
        lines += ["", f"{race['width']}x, {race['threads']} thread{'s' * (race['threads'] > 1)}, batch {race['batch']} "
                  f"(peak {race['peak_gflops']:.0f} GFLOP/s)", "",
                  "| engine | min ms | median | p90 | % of peak | min / ours | median / ours | cores | n |",
                  "|---|---:|---:|---:|---:|---:|---:|---:|---:|"]
        lines += [f"| {title(r['engine'])} | {r['min_ms']:.3f} | {r['median_ms']:.3f} | {r['p90_ms']:.3f} "
                  f"| {r['percent_of_peak']:.1f} | {r['min_over_ours']:.2f} | {r['median_over_ours']:.2f} "
                  f"| {r['cores']:.2f} | {r['n']} |" for r in race["results"]]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    several = {"type": lambda text: text.split(","), "metavar": "A,B,..."}
    numbers = {"type": lambda text: [int(n) for n in text.split(",")], "metavar": "N,M,..."}
    parser.add_argument("--folder", type=pathlib.Path, default=ROOT / "target/peers", help="what setup.sh was given")
    parser.add_argument("--engines", default=PEERS, help=",".join(PEERS), **several)
    parser.add_argument("--widths", default=["0.5", "1.0", "1.5", "2.0"], **several)
    parser.add_argument("--threads", default=[1, 2], **numbers)
    parser.add_argument("--batches", default=[1, 8], **numbers)
    parser.add_argument("--cores", default=sorted(os.sched_getaffinity(0)), help="to pin to, in this order", **numbers)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=0.5, help="of a turn")
    parser.add_argument("--isa", help="for ours; the best available if not given")
    parser.add_argument("--shufflenet", type=pathlib.Path, help="a binary to race instead of building one")
    parser.add_argument("--out", type=pathlib.Path, help="folder for peers.json and peers.md; default: --folder")
    args = parser.parse_args()
    args.folder = args.folder.resolve()
    if max(args.threads) > len(args.cores):
        parser.error(f"{max(args.threads)} threads, but {len(args.cores)} cores to pin them to")
    if args.shufflenet is None:
        subprocess.run(["cargo", "build", "--release", "-p", "model", "--bin", "shufflenet"], cwd=ROOT, check=True)
        target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
        args.shufflenet = target / "release/shufflenet"
    races = []
    for threads in args.threads:
        for batch in args.batches:
            for width in args.widths:
                races.append(race(args, width, batch, threads))
                shown = [f"{r['engine']} {r['min_ms']:.2f}" for r in races[-1]["results"]]
                print(f"{width}x, threads {threads}, batch {batch}: {', '.join(shown)} ms", file=sys.stderr, flush=True)
    report = {"schema": 1, "environment": environment(), "rounds": args.rounds, "seconds": args.seconds, "races": races}
    out = args.out or args.folder
    out.mkdir(parents=True, exist_ok=True)
    (out / "peers.json").write_text(json.dumps(report, indent=1, default=float) + "\n")
    (out / "peers.md").write_text(markdown(report))
    print(f"wrote {out}/peers.json and {out}/peers.md", file=sys.stderr)


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        sys.exit(f"race.py: {failure}")
