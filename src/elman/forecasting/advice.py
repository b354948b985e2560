# SPDX-License-Identifier: Apache-2.0
"""The next thing to try after a run, chosen by rule from what the run measured.

In: the verdict, what the network remembers, and the errors that the best model leaves. Out: one sentence, with the
option to set, or "Nothing".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from elman.forecasting.verdict import BASELINES, NETWORK

_LAGS = 20  # at most, of the test whether errors depend on earlier ones
_CLEARLY = 3.0  # standard deviations of the test's sum for noise
_WORTH = 0.97  # ratio of errors below which more rows may show that the network is better
_LONGEST = 512  # rows of a window that is advised


def next_step(
    errors: dict[str, Any],
    memory: dict[str, Any],
    left: np.ndarray,
    *,
    cell: str,
    units: Sequence[int],
    window: int,
    features: int,
    targets: Sequence[str],
) -> str:
    """The sentence that a report ends with.

    Args:
        errors: Of `verdict.errors`.
        memory: The horizon of the network; `None` if it was not measured.
        left: `(windows,)` errors of the model to use, one step ahead, in order of time, where the value is known.
        cell: Of the network.
        units: Sizes of its recurrent layers.
        window: Rows of it.
        features: Columns that it sees.
        targets: The columns that are forecast.
    """
    horizon = memory["horizon"]
    best = errors["best_baseline"]
    longer = f"a longer window, --window {2 * window}" if 2 * window <= _LONGEST else None
    if errors["models"][errors["use"]]["rmse"] == 0:
        return "Next: nothing. The forecast is exact."
    if not errors["enough"]:
        return f"Next: more rows. With about {errors['rows_needed']:,} a winner can be named."
    if errors["winner"] == NETWORK:
        if longer and horizon is not None and horizon >= window - 1:
            return f"Next: {longer}. The network's state looks back to the first row of the window."
        if cell == "SimpleRNN":
            return "Next: --cell LSTM or --cell GRU. The network has found more than a line does, and these keep more."
        more = ",".join(str(2 * size) for size in units)
        return f"Next: more units, --units {more}. The network has found more than a line does."
    if features > len(targets) and best != "linear":
        return (
            f"Next: fewer columns, --features {','.join(targets)}. The linear model of all {features} columns is worse "
            f"than {BASELINES[best]}."
        )
    depends_on_itself = depends(left)
    if depends_on_itself and longer:
        return f"Next: {longer}. What {BASELINES[best]} leaves depends on what it left before."
    if errors["difference"]["ratio"] < _WORTH:
        return "Next: more rows. The network is better here, by no more than chance can do."
    if depends_on_itself:
        return (
            f"Next: nothing that is sure to help. What {BASELINES[best]} leaves depends on what it left before, and "
            f"the window of {window} rows is long already."
        )
    return f"Next: nothing. The data hold no more: what {BASELINES[best]} leaves looks like noise."


def depends(errors: np.ndarray) -> bool:
    """Whether errors depend on earlier ones, by their autocorrelations.

    The formula is that of Ljung and Box, "On a measure of lack of fit in time series models", 1978: for noise the sum
    n (n + 2) r(k)^2 / (n - k) over K lags has the mean K and the variance 2 K.
    """
    count = len(errors)
    lags = min(_LAGS, count // 5)
    if lags < 1:
        return False
    deviations = errors - errors.mean()
    size = deviations @ deviations
    if not size > 0:
        return False
    correlations = np.array([deviations[k:] @ deviations[:-k] / size for k in range(1, lags + 1)])
    total = count * (count + 2) * (correlations**2 / (count - np.arange(1, lags + 1))).sum()
    return bool(total > lags + _CLEARLY * np.sqrt(2 * lags))
