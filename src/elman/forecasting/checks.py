# SPDX-License-Identifier: Apache-2.0
"""What is wrong with the values of a table as a whole, and whether a network of the size asked for fits into memory.

In: a `Table` and its parts. Out: moments, or a `DataError`. Single cells are checked in `reading`, arguments in
`settings`. No framework.
"""

from __future__ import annotations

import numpy as np

from elman import system
from elman.cells import BY_KERAS
from elman.errors import DataError
from elman.forecasting.columns import of_category
from elman.forecasting.moments import Moments
from elman.forecasting.settings import Settings
from elman.forecasting.table import CHUNK, Table
from elman.forecasting.windows import Windows
from elman.forecasting.words import counted, listed

_SAME = 0.9999  # correlation of changes, above which one column gives the other away
_OWN_PAST = 8  # changes of the target that may predict the next one as well
_SAMPLE = 100_000  # rows
# Keras's Normalization takes a smaller variance for zero, and computes the variance in float32.
_LEAST_VARIANCE, _LARGEST_VARIANCE = 1e-12, 1e38
# While training: weights, gradients, two moments of Adam, the best weights so far, and what is being written.
_COPIES = 6
_BYTES = 4  # of a float32


def moments(table: Table, part: np.ndarray) -> tuple[Table, np.ndarray, np.ndarray]:
    """The table without the columns that are constant over the training part, and the mean and standard deviation of
    each column there, in float64.

    Raises:
        DataError: If the target is constant there, or a column varies too little or too much for the network.
    """
    sums = Moments(table.rows.shape[1])
    for start in range(0, len(table.rows), CHUNK):
        sums.add(table.rows[start : start + CHUNK][part[start : start + CHUNK] == 0])
    mean, std = sums.mean, sums.std
    where = f"the training part, the first {100 * (part == 0).mean():.0f} % of the rows"
    for name, column in zip(table.chosen.targets, table.targets, strict=True):
        if std[column] == 0:
            raise DataError(
                f"column {name!r} is constant over {where}, at {mean[column]:g}, so there is nothing to learn from it. "
                "It is the target. Choose another one."
            )
    if (std == 0).any():
        table = _without_constants(table, mean, std > 0, where)
        mean, std = mean[std > 0], std[std > 0]
    for name, each in zip(table.chosen.features, std, strict=True):
        if not _LEAST_VARIANCE <= each**2 <= _LARGEST_VARIANCE:
            less_or_more = "more" if each < 1 else "less"
            raise DataError(
                f"column {name!r} varies by {each:.3g}; choose a unit in which it varies by {less_or_more}."
            )
    return table, mean, std


def _without_constants(table: Table, mean: np.ndarray, kept: np.ndarray, where: str) -> Table:
    """The table without some columns, which are constant `where`, and a note that names them."""
    chosen = table.chosen
    features = [name for name, keep in zip(chosen.features, kept, strict=True) if keep]
    values = [value for value, keep in zip(mean, kept, strict=True) if not keep]
    names = [name for name in chosen.features if name not in features]
    each = [f"{name} ({value:g})" for name, value in zip(names, values, strict=True)]
    note = f"Left out, as constant over {where}: {listed(each, 6)}."
    made = {name: [of_category(name, value) for value in values] for name, values in chosen.categories.items()}
    inputs = [name for name in chosen.inputs if name in features or set(made.get(name, ())) & set(features)]
    categories = {name: values for name, values in chosen.categories.items() if name in inputs}
    chosen = chosen._replace(features=features, inputs=inputs, categories=categories)
    return table._replace(rows=np.ascontiguousarray(table.rows[:, kept]), chosen=chosen, notes=[*table.notes, note])


def check_memory(settings: Settings, windows: Windows, batch_size: int) -> None:
    """Raises DataError if training would take more memory than this machine has."""
    features = windows.rows.shape[1]
    gates, both = len(BY_KERAS[settings.cell].gates), 1 + settings.bidirectional
    weights = min(windows.window * features, 2000) * windows.outputs  # of the linear model
    states = 0
    inputs = features
    for units in settings.units:
        weights += both * gates * units * (inputs + units + 2)
        states += both * (gates + 2) * units
        inputs = both * units
    weights += inputs * windows.outputs
    rows = min(batch_size, len(windows.starts["train"]))
    # For every time step, the inputs and what the backward pass needs are kept, and a gradient of each.
    needed = _BYTES * (_COPIES * weights + 2 * rows * windows.window * (features + states))
    available = system.memory()
    if needed > available:
        sizes = ", ".join(map(str, settings.units))
        raise DataError(
            f"units of {sizes} with a window of {windows.window} and {counted(rows, 'window')} per step take about "
            f"{needed / 1e9:,.0f} GB to train, and this machine has {available / 1e9:,.0f} GB. Choose fewer units, a "
            "smaller window or a smaller batch_size."
        )


def check_leakage(table: Table, part: np.ndarray, window: int, ahead: int) -> None:
    """Raises DataError if a feature contains a target's future.

    It does if its changes equal, up to a factor, the target's changes some rows later, and if the target's own past
    does not predict them as well. Only the longest stretch of the training part is looked at.
    """
    first, end = max(table.segments.tolist(), key=lambda segment: segment[1] - segment[0])
    rows = table.rows[first:end][part[first:end] == 0][-_SAMPLE:]
    changes = np.diff(rows.astype("float64"), axis=0)
    for name, column in zip(table.chosen.targets, table.targets, strict=True):
        if len(changes) >= 4 * _OWN_PAST and not _follows_from_its_past(changes[:, column]):
            _check_leakage_of(table, name, column, changes, window + ahead)


def _check_leakage_of(table: Table, of: str, column: int, changes: np.ndarray, furthest: int) -> None:
    """Raises DataError if the changes of a feature equal those of one target fewer than so many rows later."""
    target = changes[:, column]
    for i, name in enumerate(table.chosen.features):
        if i == column:
            continue
        for shift in range(1, min(furthest, len(target) // 2)):
            if abs(_correlation(changes[:-shift, i], target[shift:])) > _SAME:
                cure = f"Leave it out with exclude (--exclude {name!r})."
                if name in table.chosen.known:
                    cure = "Its values cannot be known before those of the target. Leave it out of known (--known)."
                raise DataError(
                    f"column {name!r} contains the target {of!r} from {counted(shift, 'row')} ahead (leakage). {cure}"
                )


def _follows_from_its_past(changes: np.ndarray) -> bool:
    past = np.lib.stride_tricks.sliding_window_view(changes, _OWN_PAST)[:-1]
    now = changes[_OWN_PAST:]
    predicted = past @ np.linalg.lstsq(past, now, rcond=None)[0]
    return bool(((now - predicted) ** 2).sum() <= (1 - _SAME**2) * (now**2).sum())


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    size = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / size) if size else 0.0
