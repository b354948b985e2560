# SPDX-License-Identifier: Apache-2.0
"""Intervals of forecasts: calibrated once, on the held-out windows of a run, and kept in its folder.

In: the errors of each model on held-out windows. Out: for any level, how far above and below a forecast the value may
be, step by step; and how often such intervals held the value. The file has a checksum, as a checkpoint has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from elman import checkpoint
from elman.assessment import Conformal, coverage_ahead
from elman.checks import is_real
from elman.errors import DataError

INTERVALS = "intervals.safetensors"
LEVELS = (0.8, 0.95)  # of `forecast.csv`


def save(folder: Path, errors: Mapping[str, np.ndarray]) -> dict[str, Conformal]:
    """Calibrates the intervals of each model and writes them.

    Args:
        folder: Of the run.
        errors: For each model `(windows, ahead)` errors, forecast minus value, of held-out windows in order of time;
            NaN where the value is not known.
    """
    found = {name: Conformal.calibrated(each) for name, each in errors.items()}
    checkpoint.write(folder / INTERVALS, {name: each.errors.astype("float32") for name, each in found.items()}, {})
    return found


def load(folder: Path, model: str) -> Conformal:
    """The intervals of a model.

    Raises:
        DataError: If the file is missing or damaged.
    """
    path = folder / INTERVALS
    if not path.exists():
        raise DataError(f"{path} is missing, so that the forecast has no interval. Run elman fit again with --fresh.")
    arrays, _ = checkpoint.read(path, "Run elman fit again with fresh (--fresh).")
    return Conformal(arrays[model].astype("float64"))


def checked(interval: Any) -> tuple[float, ...]:
    """The levels that a user asked for.

    Args:
        interval: A level, several, or `None` for none.

    Raises:
        DataError: If one of them is not between 0 and 1.
    """
    levels = () if interval is None else tuple(interval) if isinstance(interval, Sequence) else (interval,)
    for level in levels:
        if not is_real(level) or not 0 < level < 1:
            raise DataError(f"interval is {level!r}; expected a number between 0 and 1 such as 0.9, several, or None.")
    return tuple(float(level) for level in levels)


def columns(level: float, target: str | None = None) -> tuple[str, str]:
    """The names of the lower and the upper end: `lower_95` and `upper_95`, of one of several targets `temp_lower_95`
    and `temp_upper_95`."""
    text, of = f"{100 * level:g}", "" if target is None else f"{target}_"
    return f"{of}lower_{text}", f"{of}upper_{text}"


def measured(errors: np.ndarray) -> list[dict[str, Any]]:
    """How often the intervals of each level of LEVELS held the value, where each is calibrated on earlier windows.

    Args:
        errors: `(windows, ahead)`, in order of time; NaN where the value is not known.
    """
    found = []
    for level in LEVELS:
        covered = coverage_ahead(errors, level)
        found.append(
            {
                "level": level,
                "coverage": None if covered is None else float(covered.mean()),
                "by_step": None if covered is None else covered.tolist(),
                "finite": level <= Conformal.calibrated(errors).highest_level,
            }
        )
    return found
