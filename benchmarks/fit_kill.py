# SPDX-License-Identifier: Apache-2.0
"""Kills `elman.fit` with SIGKILL at random moments, and compares what the resumed run ends with.

    python benchmarks/fit_kill.py

In: nothing but seeds. Out: one JSON object; status 1 if a number or a weight differs, or a file was
found cut short. The moments are spread over the whole run by a seed, from the first instant to the last.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import elman
from elman import checkpoint

CODE = """
import json, sys
import elman
run = elman.fit(sys.argv[1], "x0", window=12, units=8, epochs=12, out=sys.argv[2])
print(json.dumps(run.metrics))
"""


def start(folder: Path, data: Path) -> subprocess.Popen[str]:
    """A run, under way."""
    command = [sys.executable, "-c", CODE, str(data), str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def finish(folder: Path, data: Path) -> dict[str, Any]:
    """Runs it to its end; its metrics without times."""
    said, _ = start(folder, data).communicate()
    metrics = json.loads(said)
    del metrics["command"]
    for epoch in metrics["training"]["history"]:
        del epoch["seconds"]
    return metrics


def cut_short(folder: Path) -> list[str]:
    """The files that cannot be read to their end; those that were being written do not count."""
    broken = []
    for path in folder.glob("[!.]*") if folder.exists() else ():
        try:
            if path.suffix == ".json":
                json.loads(path.read_text())
            elif path.name.startswith(("checkpoint", "intervals")):
                checkpoint.read(path, "")
            elif path.suffix == ".safetensors":
                elman.Network.load(path)
        except (ValueError, OSError):
            broken.append(path.name)
    return broken


def weights(folder: Path) -> list[np.ndarray]:
    """Those of the model in a folder."""
    return list(elman.Network.load(folder / "model.safetensors").weights.values())


def main() -> int:
    """Kills, resumes, compares and prints."""
    options = argparse.ArgumentParser()
    options.add_argument("--kills", type=int, default=20)
    options.add_argument("--seed", type=int, default=0)
    asked = options.parse_args()
    wave = np.sin(np.arange(1500) / 6)[:, None] + 0.2 * np.random.default_rng(0).normal(size=(1500, 2))
    choose = random.Random(asked.seed)
    found = []
    with tempfile.TemporaryDirectory() as name:
        data, whole = Path(name) / "data.csv", Path(name) / "whole"
        pl.DataFrame(wave, schema=["x0", "x1"]).write_csv(data)
        began = time.perf_counter()
        metrics = finish(whole, data)
        seconds = time.perf_counter() - began
        for i in range(asked.kills):
            folder = Path(name) / f"killed{i}"
            process = start(folder, data)
            try:
                process.wait(choose.uniform(0, seconds))
            except subprocess.TimeoutExpired:
                process.kill()
            process.communicate()
            there = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
            broken = cut_short(folder)
            same = finish(folder, data) == metrics
            equal = all(np.array_equal(a, b) for a, b in zip(weights(folder), weights(whole), strict=True))
            found.append({"there": there, "cut_short": broken, "same_metrics": same, "same_weights": equal})
    failed = [kill for kill in found if kill["cut_short"] or not (kill["same_metrics"] and kill["same_weights"])]
    print(json.dumps({"kills": len(found), "failed": failed, "found": found}))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
