# SPDX-License-Identifier: Apache-2.0
"""What `elman.fit` takes for a large table: memory beyond the imports, and an epoch compared with stock Keras.

    python benchmarks/fit_table.py
    KERAS_BACKEND=tensorflow python benchmarks/fit_table.py --keras

In: with --keras, the backend that KERAS_BACKEND names. Out: one JSON object. The table is a CSV file of a million rows
and eight columns, written first by a process of its own; all else is left at its default, but that one epoch is
trained.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import elman
from elman.forecasting.predict import examples

_STEPS = 64  # of stock Keras, from which the time of an epoch follows
WRITE = """
import sys
import numpy as np, polars as pl
rows, columns, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
rng = np.random.default_rng(0)
day = np.sin(2 * np.pi * (np.arange(rows)[:, None] / 96 + np.arange(columns) / columns))  # a value every 15 minutes
values = day + 0.3 * rng.normal(size=(rows, columns))
pl.DataFrame({f"c{i}": values[:, i] for i in range(columns)}).write_csv(path)
"""


def resident(field: str) -> int:
    """Bytes of this process: VmRSS now, or VmHWM at most so far."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise SystemExit(f"/proc/self/status has no {field}; this needs Linux.")


def warm() -> None:
    """Imports and starts all that a fit needs, so that its memory is not counted as the table's."""
    small = np.random.default_rng(0).normal(size=(100, 8))
    with tempfile.TemporaryDirectory() as folder:
        elman.fit(small, "x0", window=4, epochs=1, out=folder)


def stock(run: elman.Run, path: Path) -> dict[str, Any]:
    """The seconds that an epoch of the same model takes in stock Keras, from some steps after as many that compile."""
    import keras

    _, x, y = examples(run, path)
    size, model = run.metrics["training"]["batch_size"], run.models["network"].to_keras()
    model.compile(
        keras.optimizers.Adam(3e-3), "mse", steps_per_execution=16 if keras.config.backend() == "tensorflow" else 1
    )
    x, y = (np.resize(array, (_STEPS * size, *array.shape[1:])) for array in (x, y))
    model.fit(x, y, batch_size=size, verbose=0)
    start = time.perf_counter()
    model.fit(x, y, batch_size=size, verbose=0)
    seconds = (time.perf_counter() - start) / _STEPS * -(-run.metrics["windows"]["train"] // size)
    own = run.history[1]["seconds"]
    return {
        "backend": keras.config.backend(),
        "stock_seconds": round(seconds, 2),
        "stock_over_elman": round(seconds / own, 2),
    }


def main() -> None:
    """Measures and prints."""
    options = argparse.ArgumentParser()
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--columns", type=int, default=8)
    options.add_argument("--keras", action="store_true", help="time stock Keras on the same windows as well")
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        written = [str(asked.rows), str(asked.columns), str(folder / "data.csv")]
        subprocess.run([sys.executable, "-c", WRITE, *written], check=True)
        warm()
        before = resident("VmRSS")
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # VmHWM counts from here
        start = time.perf_counter()
        run = elman.fit(folder / "data.csv", "c0", epochs=1, out=folder / "run")
        seconds = time.perf_counter() - start
        beyond = resident("VmHWM") - before
        keras = stock(run, folder / "data.csv") if asked.keras else {}
    print(
        json.dumps(
            {
                "table": [asked.rows, asked.columns],
                "window": run.metrics["window"],
                "units": run.metrics["units"],
                "batch_size": run.metrics["training"]["batch_size"],
                "gigabytes_beyond_imports": round(beyond / 1e9, 3),
                "seconds": round(seconds, 1),
                "seconds_of_the_epoch": round(run.history[1]["seconds"], 2),
                **keras,
            }
        )
    )


if __name__ == "__main__":
    main()
