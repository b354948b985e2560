# SPDX-License-Identifier: Apache-2.0
"""How long `elman fit` takes from the shell: a table of 10,000 rows, with nothing set but the target.

    python benchmarks/fit_time.py

In: nothing but a seed. Out: one JSON object; status 1 if the median of the runs is 10 s or more. Each run is a process
of its own, with a new folder. The load of the machine before it is printed with it: a run next to others is slower.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import polars as pl

LONGEST = 10.0  # seconds


def hours(rows: int) -> pl.DataFrame:
    """A load by the hour with a wave of a day, and the temperature three hours before."""
    rng, time_of = np.random.default_rng(0), np.arange(rows)
    day, slow = 8 * np.sin(2 * np.pi * time_of / 24), np.zeros(rows)
    for i in range(1, rows):
        slow[i] = 0.8 * slow[i - 1] + rng.normal()
    times = np.datetime64("2023-01-01T00", "us") + time_of * np.timedelta64(1, "h")
    temperature = 15 + day + rng.normal(size=rows)
    return pl.DataFrame({"time": times, "load": 50 + np.roll(day, 3) + 3 * slow, "temperature": temperature})


def run(data: Path, folder: Path, *options: str) -> dict[str, Any]:
    """One run of the command: seconds on the clock and of processors, and how much it trained."""
    load, before = os.getloadavg()[0], resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "elman.cli", "fit", str(data), "--target", "load", "--out", str(folder), "--json"]
    start = time.perf_counter()
    done = subprocess.run([*command, *options], capture_output=True, text=True)
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"elman fit ended with status {done.returncode}: {done.stderr}")
    trainings = json.loads(done.stdout)["training"]["trainings"]
    return {
        "seconds": seconds,
        "processor_seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "load_before": load,
        "trainings": len(trainings),
        "epochs": sum(each["epochs"] for each in trainings),
    }


def main() -> int:
    """Runs and prints."""
    options = argparse.ArgumentParser()
    options.add_argument("--rows", type=int, default=10_000)
    options.add_argument("--runs", type=int, default=5)
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "load.csv")
        hours(asked.rows).write_csv(data)
        found = [run(data, Path(folder, f"run-{i}")) for i in range(asked.runs)]
    seconds = median(each["seconds"] for each in found)
    failed = [f"{asked.rows:,} rows take {seconds:.1f} s; expected less than {LONGEST:g}"] if seconds >= LONGEST else []
    print(json.dumps({"failed": failed, "rows": asked.rows, "seconds": seconds, "runs": found}))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
