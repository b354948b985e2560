# SPDX-License-Identifier: Apache-2.0
"""The same network in stock Keras: how far its outputs are, and how long an epoch takes beside ours.

In: the trained network, compiled. Out: numbers. Both train a bounded number of steps on the same batches, in turns,
after a round that compiles; what they learn there is thrown away.
"""

from __future__ import annotations

import time
from statistics import median
from typing import Any, NamedTuple

import numpy as np

import elman
from elman.forecasting.training import EVALUATION_BATCH, Batches, compile_for

_STEPS = 64  # of one timing, of the epoch's own if it has fewer
_ROUNDS = 3


class Speed(NamedTuple):
    """Seconds per epoch of training steps, and the largest difference of outputs in the target's units."""

    seconds: float
    stock_seconds: float
    difference: float


def against_stock(network: Any, batches: Batches, learning_rate: float) -> Speed:
    """Times a network against its stock twin. The network's weights are put back."""
    kept = network.get_weights()
    stock = elman.to_stock(network)
    few = Batches(batches.windows, batches.starts[: _STEPS * batches.batch_size], batches.batch_size, batches.scale)
    inputs = batches.windows.inputs(batches.windows.starts["test"][:EVALUATION_BATCH])
    ours, theirs = (model.predict(inputs, batch_size=EVALUATION_BATCH, verbose=0) for model in (network, stock))
    seconds: dict[str, list[float]] = {"elman": [], "stock": []}
    for model in (network, stock):
        compile_for(model, learning_rate, len(few))
        model.fit(few, shuffle=False, verbose=0)
    for _ in range(_ROUNDS):
        for name, model in (("elman", network), ("stock", stock)):
            start = time.perf_counter()
            model.fit(few, shuffle=False, verbose=0)
            seconds[name].append(time.perf_counter() - start)
    network.set_weights(kept)
    share = len(batches) / len(few)
    difference = float(np.abs(ours - theirs).max()) * batches.scale[1]
    return Speed(median(seconds["elman"]) * share, median(seconds["stock"]) * share, difference)
