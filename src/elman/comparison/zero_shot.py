# SPDX-License-Identifier: Apache-2.0
"""The candidate `zero-shot`: a Chronos forecaster, which has learned from other series and sees these only to forecast.

In: a fold. Out: a `Model`. Needs the package chronos-forecasting and weights on this machine; nothing is downloaded.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from elman.comparison.forecast import Fold
from elman.comparison.model import Array, Choice, Model, Unfit

WEIGHTS = "ELMAN_ZERO_SHOT"  # the environment variable: a folder, or a name of the Hugging Face hub
_USUAL = "amazon/chronos-bolt-small"
_LONGEST, _AT_ONCE = 512, 128  # values before a forecast that are read, and forecasts of a call


def zero_shot(fold: Fold, choice: Choice, seed: int) -> Model:
    """Ansari et al., "Chronos: learning the language of time series", 2024.

    It reads the target alone, as far back as the rows go without a gap.

    Raises:
        Unfit: If the weights are not on this machine.
    """
    import torch

    name = os.environ.get(WEIGHTS, _USUAL)
    pipeline = _loaded(name)
    windows, segments = fold.windows, fold.table.segments
    target = fold.table.rows[:, fold.table.targets[0]].astype("float32")

    def context(start: int) -> Any:
        end = start + windows.window
        first = segments[np.searchsorted(segments[:, 0], start, side="right") - 1, 0]
        return torch.from_numpy(target[max(int(first), end - _LONGEST) : end].copy())

    def predict(starts: Array) -> Array:
        torch.manual_seed(seed)  # some of them draw samples
        found = []
        for at in range(0, len(starts), _AT_ONCE):
            series = [context(int(start)) for start in starts[at : at + _AT_ONCE]]
            _, mean = pipeline.predict_quantiles(series, windows.ahead, quantile_levels=[0.5])
            found.append(np.asarray(mean, "float64").reshape(len(series), windows.ahead))
        return np.concatenate(found)

    parameters = sum(each.numel() for each in pipeline.inner_model.parameters())
    return Model(predict, parameters, None, {"weights": name})


def _loaded(name: str) -> Any:
    """The forecaster, from weights that are here.

    Raises:
        Unfit: If they are not.
    """
    from chronos import BaseChronosPipeline

    try:
        return BaseChronosPipeline.from_pretrained(name, device_map="cpu", local_files_only=True)
    except (OSError, ValueError) as error:
        raise Unfit(
            f"the weights of {name} are not on this machine; download them, or name a folder with some in {WEIGHTS}"
        ) from error
