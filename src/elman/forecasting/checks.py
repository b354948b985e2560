# SPDX-License-Identifier: Apache-2.0
"""What is wrong with arguments before a table is read, and with its values after.

In: the arguments of `fit`; a `Table` and its parts. Out: nothing, or a `DataError`. Single cells are the business of
`table`. No framework.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from elman.cells import BY_KERAS
from elman.checks import did_you_mean, is_integer, is_real, positive_integer
from elman.errors import DataError
from elman.forecasting.table import CHUNK, FILLS, Table

LAYERS = tuple(BY_KERAS)
_SAME = 0.9999  # correlation of changes from which on one column tells another
_OWN_PAST = 8  # changes of the target from which it may be told as well
_SAMPLE = 100_000  # rows
_LEAST_VARIANCE = 1e-12  # Keras's Normalization takes less for none


def check_arguments(
    *,
    window: Any,
    ahead: Any,
    units: Any,
    layer: Any,
    epochs: Any,
    seed: Any,
    bidirectional: Any,
    fill: Any,
    batch_size: Any,
    learning_rate: Any,
) -> None:
    """Raises DataError for the first argument of a wrong kind."""
    whole = {"ahead": ahead, "epochs": epochs}
    whole |= {name: value for name, value in (("window", window), ("batch_size", batch_size)) if value is not None}
    sizes = units if isinstance(units, Sequence) and not isinstance(units, str) else [units]
    for name, value in [*whole.items(), *(("units", size) for size in sizes)]:
        positive_integer(name, value, error=DataError)
    if not sizes:
        raise DataError("units is empty; expected a positive integer, or one for each layer.")
    if not is_integer(seed, least=0) or seed >= 2**31:
        raise DataError(f"seed is {seed!r}; expected an integer from 0 to 2147483647.")
    if layer not in LAYERS:
        raise DataError(f"layer is {layer!r}; expected one of {', '.join(LAYERS)}.{did_you_mean(layer, LAYERS)}")
    if not isinstance(bidirectional, bool):
        raise DataError(f"bidirectional is {bidirectional!r}; expected True or False.")
    if fill is not None and fill not in FILLS:
        raise DataError(f"fill is {fill!r}; expected one of {', '.join(FILLS)}.{did_you_mean(fill, FILLS)}")
    rate = learning_rate
    if not is_real(rate) or rate <= 0:
        raise DataError(f"learning_rate is {rate!r}; expected a positive number.")


def moments(table: Table, part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each column over the training part, in float64.

    Raises:
        DataError: If a column is constant there.
    """
    columns = table.rows.shape[1]
    count, total, squares = 0, np.zeros(columns), np.zeros(columns)
    first = table.rows[int((part == 0).argmax())].astype("float64")  # as an offset, so that squares stay small
    for start in range(0, len(table.rows), CHUNK):
        rows = table.rows[start : start + CHUNK][part[start : start + CHUNK] == 0] - first
        count, total, squares = count + len(rows), total + rows.sum(0), squares + (rows**2).sum(0)
    mean = total / max(count, 1)
    variance = np.maximum(squares / max(count, 1) - mean**2, 0)
    for name, offset, value in zip(table.chosen.features, first + mean, variance, strict=True):
        if value == 0:
            raise DataError(
                f"column {name!r} is constant over the training part, the first 70 %, at {offset:g}; it tells nothing. "
                + ("It is the target." if name == table.chosen.target else "Leave it out with features (--features).")
            )
        if value < _LEAST_VARIANCE:
            raise DataError(f"column {name!r} varies by {value**0.5:.3g}; choose a unit in which it varies by more.")
    return first + mean, np.sqrt(variance)


def check_leakage(table: Table, part: np.ndarray, window: int, ahead: int) -> None:
    """Raises DataError if a feature has the target's future in it.

    That is so if its changes are the target's own some rows later, up to a factor, and the target cannot be told as
    well from its own past. Looked at in the longest stretch of the training part.
    """
    first, end = max(table.segments.tolist(), key=lambda segment: segment[1] - segment[0])
    rows = table.rows[first:end][part[first:end] == 0][-_SAMPLE:]
    changes = np.diff(rows.astype("float64"), axis=0)
    target = changes[:, table.target]
    if len(changes) < 4 * _OWN_PAST or _told_by_its_past(target):
        return
    for i, name in enumerate(table.chosen.features):
        if i == table.target:
            continue
        for shift in range(1, min(window + ahead, len(target) // 2)):
            if abs(_correlation(changes[:-shift, i], target[shift:])) > _SAME:
                rows_ = "1 row" if shift == 1 else f"{shift} rows"
                raise DataError(
                    f"column {name!r} equals the target {table.chosen.target!r} of {rows_} later: it has the future in "
                    "it. Leave it out with features (--features)."
                )


def _told_by_its_past(changes: np.ndarray) -> bool:
    past = np.lib.stride_tricks.sliding_window_view(changes, _OWN_PAST)[:-1]
    now = changes[_OWN_PAST:]
    told = past @ np.linalg.lstsq(past, now, rcond=None)[0]
    return bool(((now - told) ** 2).sum() <= (1 - _SAME**2) * (now**2).sum())


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    size = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / size) if size else 0.0
