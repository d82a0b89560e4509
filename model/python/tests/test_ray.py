"""The example on Ray Data: a worker is killed in the middle, and nothing is lost or doubled."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import photo, png

import shufflenet

pytest.importorskip("ray", reason="Ray is not installed here")
parquet = pytest.importorskip("pyarrow.parquet", reason="PyArrow is not installed here")

EXAMPLE = Path(__file__).parent.parent / "examples" / "ray_classify.py"


def workers(session: int) -> list[int]:
    """The processes of the session in which a network was loaded."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            name = (process / "cmdline").read_bytes()
            group = int((process / "stat").read_text().rpartition(")")[2].split()[3])
        except (OSError, IndexError):
            continue
        if group == session and name.startswith(b"ray::") and b"Classifier" in name:
            found.append(int(process.name))
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="workers are found in /proc")
def test_a_worker_dies_in_the_middle(checkpoint, tmp_path):
    folder, output = tmp_path / "photos", tmp_path / "classes"
    folder.mkdir()
    kinds = [png(photo(seed, 900, 1200)) for seed in range(4)]
    for index in range(400):
        (folder / f"{index:03}.png").write_bytes(kinds[index % 4])
    (folder / "text.jpg").write_text("no photo")
    command = [sys.executable, EXAMPLE, folder, "--weights", checkpoint, "--output", output, "--workers", "2"]
    with (tmp_path / "log").open("w") as log:
        running = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        killed = 0
        while running.poll() is None and killed < 2:
            time.sleep(0.05)
            # Some rows are there, and not nearly all of them.
            if len(list(output.glob("*.parquet"))) > 2 * killed:
                victims = workers(running.pid)
                if victims:
                    os.kill(victims[0], signal.SIGKILL)
                    killed += 1
        assert running.wait(300) == 0, (tmp_path / "log").read_text()
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
    assert killed == 2, (tmp_path / "log").read_text()
    assert "401 photos (1 unreadable)" in (tmp_path / "log").read_text()

    rows = {row["image"]: row for row in parquet.read_table(output).to_pylist()}
    assert len(rows) == 401 == parquet.read_table(output).num_rows
    probabilities, classes = shufflenet.load(checkpoint).topk(kinds, 5)
    for index in range(400):
        row = rows[str(folder / f"{index:03}.png")]
        assert row["class"] == classes[index % 4].tolist() and row["error"] is None
        assert np.array_equal(np.float32(row["probability"]), probabilities[index % 4])
    assert "neither JPEG nor PNG nor WebP" in rows[str(folder / "text.jpg")]["error"]
