# SPDX-License-Identifier: Apache-2.0
"""Small tables for the tests of fit and predict: a noisy wave, and noise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

ROWS = 200
_rng = np.random.default_rng(0)
WAVE = np.round(np.sin(np.arange(ROWS) / 3) + 0.1 * _rng.normal(size=ROWS), 4)
NOISE = np.round(_rng.normal(size=ROWS), 4)
DAYS = np.datetime64("2024-01-01") + np.arange(ROWS)
LINES = ["temp,wind", *(f"{a},{b}" for a, b in zip(WAVE, NOISE, strict=True))]
SMALL = {"target": "temp", "window": 6, "units": 4, "epochs": 4, "unit": "K", "seeds": 2, "origins": 2}
ONCE = SMALL | {"seeds": 1, "origins": 1}  # one training, whose steps come in the order of the calls
MODELS = ["last_value", "linear", "network", "seasonal"]
FINAL = [
    "forecast.csv",
    "forecast.png",
    "intervals.safetensors",
    "learning.png",
    "metrics.json",
    *(f"model-{name}.safetensors" for name in MODELS),
    "model.safetensors",
    "run.json",
]
DATED = ["day,temp", *(f"{day},{a}" for day, a in zip(DAYS, WAVE, strict=True))]


def replaced(lines: list[str], row: int, line: str) -> str:
    """A CSV file's text with another line in the row that a spreadsheet gives that number."""
    return "\n".join([*lines[: row - 1], line, *lines[row:]]) + "\n"


def csv_file(folder: Path, content: str | bytes = "\n".join(LINES), name: str = "data.csv") -> Path:
    """Writes a file."""
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def frame(**columns: object) -> pl.DataFrame:
    """The wave and the noise as a Polars frame, and more columns or others."""
    return pl.DataFrame({"temp": WAVE, "wind": NOISE} | columns)


def names(folder: Path) -> list[str]:
    """The files of a folder."""
    return sorted(path.name for path in folder.iterdir())


def flipped(at: float) -> Callable[[bytes], bytes]:
    """A change of one bit of a file, `at` counted as a share of its length."""

    def change(content: bytes) -> bytes:
        place = int(at * len(content))
        return content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :]

    return change
