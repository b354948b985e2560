# SPDX-License-Identifier: Apache-2.0
"""Programs of others, unchanged, with torch.nn's modules and under `elman.patch()`: equal results, and the time.

    python benchmarks/torch_programs.py [ROUNDS]

In: rounds, by default 3. Out: one JSON object. Each of `benchmarks/programs/` runs in processes of its own, stock and
patched in turn; it prints numbers, which must agree within 1e-4 of their size, and the CPU seconds of what it measures,
with one thread. What is not installed is left out, and named.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

PROGRAMS = Path(__file__).parent / "programs"
ALLOWED = 1e-4
ONE_THREAD = {"OMP_NUM_THREADS": "1", "ELMAN_NUM_THREADS": "1"}  # so that no side waits for threads
NEEDS = {  # by file: what it imports
    "recurrent_ppo": ("sb3_contrib", "gymnasium"),
    "darts_rnn": ("darts", "pytorch_lightning"),
    "neuralforecast_rnn": ("neuralforecast", "pytorch_lightning"),
    "tagger": (),
}


def run(name: str, *, patched: bool) -> dict[str, Any]:
    """The numbers and seconds of each part of a program, in one process."""
    start = ["-m", "elman"] if patched else []
    command = [sys.executable, "-W", "ignore", *start, str(PROGRAMS / f"{name}.py")]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | ONE_THREAD)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with status {done.returncode}:\n{done.stderr[-2000:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    return found | {"table": done.stderr[done.stderr.rfind("elman: ") :].splitlines()} if patched else found


def compared(name: str, rounds: int) -> list[dict[str, Any]]:
    """A row for each part of a program."""
    pairs = [(run(name, patched=False), run(name, patched=True)) for _ in range(rounds)]
    stock, own = pairs[0]
    rows = []
    for part in stock["parts"]:
        expected, got = (np.array(each["parts"][part]["numbers"], float) for each in (stock, own))
        seconds = [median(pair[side]["parts"][part]["seconds"] for pair in pairs) for side in (0, 1)]
        size = max(float(np.abs(expected).max()), 1e-30)
        rows.append({
            "program": name, "part": part, "stock_s": seconds[0], "elman_s": seconds[1],
            "ratio": seconds[0] / seconds[1], "error": float(np.abs(got - expected).max()) / size,
        })  # fmt: skip
    return rows


def main(rounds: int) -> int:
    """Runs the programs and prints; the status is 1 if a result differs."""
    rows: list[dict[str, Any]] = []
    missing = {}
    for name in NEEDS:
        if absent := [module for module in NEEDS[name] if importlib.util.find_spec(module) is None]:
            missing[name] = absent
            continue
        rows += compared(name, rounds)
        print(rows[-1], file=sys.stderr, flush=True)
    json.dump({"rows": rows, "missing": missing}, sys.stdout)
    return int(any(not row["error"] <= ALLOWED for row in rows))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 3))
