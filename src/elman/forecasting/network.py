# SPDX-License-Identifier: Apache-2.0
"""The forecaster: raw rows in, the next values of the target out, in its own units.

    rows -> Normalization -> recurrent layers -> Dense -> + linear model + last value -> Rescaling -> values

In: sizes, and the linear model that it begins as, with the training part's mean and deviation. Out: a Keras model up to
the Rescaling, which trains on standardized targets, and one with it. All scaling is inside. Training is not here.
"""

from __future__ import annotations

from typing import Any

import keras

import elman
from elman.forecasting.baselines import Linear


def build(
    *,
    window: int,
    ahead: int,
    target: int,
    linear: Linear,
    units: list[int],
    layer: str,
    bidirectional: bool,
    seed: int,
) -> Any:
    """The network without its Rescaling.

    Args:
        window: Rows of input.
        ahead: Rows of forecast.
        target: The target's column.
        linear: What the untrained network says.
        units: Of each recurrent layer.
        layer: Name of the recurrent layer.
        bidirectional: Whether each has a second one that reads from the end.
        seed: Of the initial weights.

    Returns:
        A model from `(batch, window, features)` to `(batch, ahead)`, standardized.
    """
    kind = getattr(elman, layer)
    mean, std = linear.mean, linear.std
    inputs = keras.Input((window, len(mean)), name="rows")
    scaled = keras.layers.Normalization(mean=mean.tolist(), variance=(std**2).tolist(), name="standardize")(inputs)
    hidden = scaled
    for i, size in enumerate(units):
        own = {"units": size, "return_sequences": i + 1 < len(units)}
        name = f"recurrent_{i + 1}"
        if bidirectional:
            ahead_, back = (
                kind(**own, **_initializers(seed + 2 * i + 1000 * turned), go_backwards=turned, name=f"{name}_{way}")
                for turned, way in ((False, "forward"), (True, "backward"))
            )
            hidden = keras.layers.Bidirectional(ahead_, backward_layer=back, name=name)(hidden)
        else:
            hidden = kind(**own, **_initializers(seed + 2 * i), name=name)(hidden)
    # From zero: untrained it is the linear model, and where that cannot be bettered it stays so. A linear path beside a
    # recurrent one is that of LSTNet: Lai et al., "Modeling long- and short-term temporal patterns", 2018.
    change = keras.layers.Dense(ahead, kernel_initializer="zeros", name="change")(hidden)
    rows = len(linear.weights) // len(mean)
    straight = keras.layers.Dense(ahead, name="linear")
    along = straight(keras.layers.Flatten(name="latest")(scaled[:, -rows:] if rows < window else scaled))
    straight.set_weights([linear.weights, linear.bias])
    last = scaled[:, -1, target : target + 1]
    return keras.Model(inputs, keras.layers.Add(name="forecast")([change, along, last]))


def _initializers(seed: int) -> dict[str, Any]:
    return {
        "kernel_initializer": keras.initializers.GlorotUniform(seed=seed),
        "recurrent_initializer": keras.initializers.Orthogonal(seed=seed + 1),
    }


def first_recurrent(network: Any) -> Any:
    """The first recurrent layer; of a Bidirectional the one that reads forwards."""
    layer = network.get_layer("recurrent_1")
    return getattr(layer, "forward_layer", layer)


def in_units(network: Any, mean: float, std: float) -> Any:
    """The network with its Rescaling: values in the target's units. It shares the network's layers."""
    scaled = keras.layers.Rescaling(std, offset=mean, name="units")(network.outputs[0])
    return keras.Model(network.inputs, scaled, name="forecaster")
