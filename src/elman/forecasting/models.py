# SPDX-License-Identifier: Apache-2.0
"""Every model of a run as an `elman.Network`: raw rows in, the next values of the target out, in its own units.

In: what the fit of each came to. Out: networks that can be saved, exported, streamed and diagnosed, whichever of them
has the smallest error. A repeat of old values is a `Dense` layer whose weights are ones and zeros, so that it is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from elman.forecasting.baselines import Linear
from elman.forecasting.windows import Windows
from elman.network import Dense, Flatten, Latest, Network, Normalize, Rescale, Sum


def last_value(windows: Windows) -> Network:
    """Repeats the target's last value; it takes any number of rows."""
    return _repeat(windows, np.zeros(windows.ahead, int), 1)


def seasonal(windows: Windows, period: int) -> Network:
    """Repeats the values of the last period; it takes as many rows as the period has, or more."""
    return _repeat(windows, np.arange(windows.ahead) % period, period)


def _repeat(windows: Windows, rows: np.ndarray, latest: int) -> Network:
    """A network whose output at each step is the target in one of the latest rows."""
    features, targets = windows.rows.shape[1], len(windows.columns)
    choose = [Dense(targets, use_bias=False), Latest(latest), Dense(windows.outputs, use_bias=False)]
    network = Network(choose, input_shape=(None, features))
    column, row = (weights for weights in network.weights.values())
    column[...] = np.arange(features)[:, None] == windows.columns
    # Of each of the latest rows and of each target a number comes in; of each target and each step one goes out.
    row[...] = (
        np.kron(np.eye(targets), np.arange(latest)[:, None] == rows)
        .reshape(targets, latest, windows.outputs)
        .transpose(1, 0, 2)
        .reshape(row.shape)
    )
    return network


def linear(windows: Windows, model: Linear) -> Network:
    """The linear model of the window's latest rows."""
    rows = len(model.weights) // len(model.mean)
    latest = Flatten() if rows == windows.window else Latest(rows)
    scale = Rescale(windows.of_outputs(model.std), windows.of_outputs(model.mean))
    network = Network(
        [Normalize(model.mean, model.std), latest, Dense(windows.outputs), scale],
        input_shape=(windows.window, len(model.mean)),
    )
    (dense,) = (each.name for each in network.bound if isinstance(each.layer, Dense))
    network.set_weights(network.weights | {f"{dense}/kernel": model.of_values(windows), f"{dense}/bias": model.bias})
    return network


def average(networks: Sequence[Network], mean: Any, std: Any) -> Network:
    """The mean of several trained forecasters as one network, in the target's units.

    All of them read the same window. So the mean is a sum over their recurrent branches, each with its last weights
    divided by the number of networks, and over one linear path, the mean of theirs.

    Args:
        networks: Of `forecaster.build`, trained.
        mean: Of the target, in the training part; of each output, if there are several targets.
        std: Likewise.
    """
    first, count = networks[0], len(networks)
    normalize, both = first.layers.entries
    recurrent, along = both.branches
    network = Network(
        [normalize, Sum([*[recurrent] * count, along]), Rescale(std, mean)], input_shape=first.input_shape
    )
    change, linear = (
        sum(np.prod(parameter.shape) for parameter in each.parameters.values())
        for each in first.bound
        if isinstance(each.layer, Dense)
    )
    parts = []
    for each in networks:
        own = each.flat[:-linear].copy()
        own[-change:] /= count
        parts.append(own)
    parts.append(np.mean([each.flat[-linear:] for each in networks], axis=0, dtype="float64"))
    network.flat[:] = np.concatenate(parts)
    return network


def in_deviations(network: Network, values: np.ndarray) -> tuple[Network, np.ndarray]:
    """A network of several targets without its Rescale, and values in its standard deviations, so that no target counts
    more than the others because of its unit.

    Args:
        network: Of `average`.
        values: `(windows, outputs)`, in the targets' units.
    """
    *layers, rescale = network.layers.entries
    bare = Network(layers, input_shape=network.input_shape)
    bare.set_weights({name: weights for name, weights in network.weights.items() if name in bare.weights})
    return bare, ((values - np.array(rescale.offset)) / np.array(rescale.scale)).astype("float32")


def rows_of(name: str, windows: Windows, period: int | None) -> int:
    """How many rows a model of a run reads."""
    return period if name == "seasonal" and period is not None else windows.window
