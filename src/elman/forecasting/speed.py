# SPDX-License-Identifier: Apache-2.0
"""How long an epoch takes, and how long one takes in stock Keras.

In: the trained network and the same with Keras's layers, both compiled alike. Out: seconds. Both train a bounded number
of steps on the same batches, in turns, after a round that compiles. Their weights are restored afterwards.
"""

from __future__ import annotations

import time
from statistics import median
from typing import Any

from elman.forecasting.training import Batches, weights_of

_STEPS = 64  # of one timing; fewer if the epoch has fewer
_ROUNDS = 3


def seconds_per_epoch(models: dict[str, Any], batches: Batches) -> dict[str, float]:
    """Times the training steps of an epoch.

    Args:
        models: Compiled models by name.
        batches: The windows of the training part.

    Returns:
        Seconds by name. For a long epoch, a part of it is timed and the result scaled.
    """
    few = Batches(batches.windows, batches.starts[: _STEPS * batches.batch_size], batches.batch_size, batches.scale)
    kept = {name: weights_of(model) for name, model in models.items()}
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for turn in range(1 + _ROUNDS):
        for name, model in models.items():
            start = time.perf_counter()
            model.fit(few, shuffle=False, verbose=0)
            if turn > 0:
                seconds[name].append(time.perf_counter() - start)
    for name, model in models.items():
        model.set_weights(kept[name])
    return {name: median(each) * len(batches) / len(few) for name, each in seconds.items()}
