# SPDX-License-Identifier: Apache-2.0
"""The forecaster: raw rows in, the next values of the target out, in its own units.

    rows -> Normalize -> recurrent layers -> Dense  -> +  -> Rescale -> values
                      -> the latest rows  -> Dense  ->

In: sizes, and the linear model that it starts as, with the mean and deviation of the training part. Out: an
`elman.Network` up to the Rescale, which is trained on standardized targets, and one with it. All scaling is inside.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from elman.forecasting.baselines import Linear
from elman.forecasting.settings import Settings
from elman.forecasting.windows import Windows
from elman.network import LAYERS, Concat, Dense, Flatten, Latest, Network, Normalize, Rescale, Reverse, Sum


def build(windows: Windows, linear: Linear, settings: Settings, seed: int) -> Network:
    """The network of `elman fit` without its Rescale.

    Args:
        windows: Their sizes, and the targets' columns.
        linear: The model that the untrained network computes.
        settings: The recurrent layers.
        seed: Of their weights.

    Returns:
        A network from `(batch, window, features)` to `(batch, outputs)`, standardized.
    """
    return along(windows, linear, _recurrent(settings), seed)


def along(windows: Windows, linear: Linear, layers: list[Any], seed: int) -> Network:
    """A network of some layers next to a linear model, which the untrained network computes.

    Args:
        windows: Their sizes, and the targets' columns.
        linear: The linear model.
        layers: From windows to one vector for each.
        seed: Of the first weights.

    Returns:
        A network from `(batch, window, features)` to `(batch, outputs)`, standardized.
    """
    features, outputs = len(linear.mean), windows.outputs
    rows = len(linear.weights) // features
    latest = Flatten() if rows == windows.window else Latest(rows)
    # LSTNet has such a linear path next to a recurrent one: Lai et al., "Modeling long- and short-term temporal
    # patterns with deep neural networks", 2018.
    branches = [[*layers, Dense(outputs)], [latest, Dense(outputs)]]
    network = Network(
        [Normalize(linear.mean, linear.std), Sum(branches)], input_shape=(windows.window, features), seed=seed
    )
    *_, change, value = (each.name for each in network.bound if isinstance(each.layer, Dense))
    weights = linear.of_values(windows)
    zeros = np.zeros_like(network.weights[f"{change}/kernel"])  # so that the untrained network is the linear model
    network.set_weights(
        network.weights | {f"{change}/kernel": zeros, f"{value}/kernel": weights, f"{value}/bias": linear.bias}
    )
    return network


def _recurrent(settings: Settings) -> list[Any]:
    """The recurrent layers; the last one returns its last state."""
    kind: Any = LAYERS[settings.cell]
    entries: list[Any] = []
    for i, units in enumerate(settings.units):
        sequences = i + 1 < len(settings.units)
        forwards = kind(units, return_sequences=sequences)
        if settings.bidirectional:
            backwards = kind(units, return_sequences=sequences, go_backwards=True)
            entries.append(Concat([forwards, [backwards, Reverse()] if sequences else backwards]))
        else:
            entries.append(forwards)
    return entries


def in_units(network: Network, mean: Any, std: Any) -> Network:
    """A copy of the network with its Rescale: values in the targets' units."""
    model = Network([*network.layers.entries, Rescale(std, mean)], input_shape=network.input_shape)
    model.set_weights(model.weights | network.weights)
    return model
