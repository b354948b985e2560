# SPDX-License-Identifier: Apache-2.0
"""The forecaster: raw rows in, the next values of the target out, in its own units.

    rows -> Normalization -> recurrent layers -> Dense -> + linear model + last value -> Rescaling -> values

In: sizes, and the linear model that it starts as, with the mean and deviation of the training part. Out: a Keras model
up to the Rescaling, which is trained on standardized targets, and one with it. All scaling is inside the model.
"""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path
from typing import Any

import keras

from elman import layers
from elman.forecasting.baselines import Linear
from elman.forecasting.settings import Settings
from elman.forecasting.windows import Windows

_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest that a ZIP archive can hold


def build(windows: Windows, linear: Linear, settings: Settings) -> Any:
    """The network without its Rescaling.

    Args:
        windows: Their sizes, and the target's column.
        linear: The model that the untrained network computes.
        settings: The recurrent layers and the seed of their weights.

    Returns:
        A model from `(batch, window, features)` to `(batch, ahead)`, standardized.
    """
    window, ahead, target, seed = windows.window, windows.ahead, windows.target, settings.seed
    kind = getattr(layers, settings.cell)
    mean, std = linear.mean, linear.std
    inputs = keras.Input((window, len(mean)), name="rows")
    scaled = keras.layers.Normalization(mean=mean.tolist(), variance=(std**2).tolist(), name="standardize")(inputs)
    hidden = scaled
    for i, size in enumerate(settings.units):
        own = {"units": size, "return_sequences": i + 1 < len(settings.units)}
        name = f"recurrent_{i + 1}"
        if settings.bidirectional:
            forward, backward = (
                kind(**own, **_initializers(seed + 2 * i + 1000 * turned), go_backwards=turned, name=f"{name}_{way}")
                for turned, way in ((False, "forward"), (True, "backward"))
            )
            hidden = keras.layers.Bidirectional(forward, backward_layer=backward, name=name)(hidden)
        else:
            hidden = kind(**own, **_initializers(seed + 2 * i), name=name)(hidden)
    # From zero: the untrained network is the linear model, and stays so if nothing better is found. LSTNet has such a
    # linear path next to a recurrent one: Lai et al., "Modeling long- and short-term temporal patterns", 2018.
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
    """The first recurrent layer; if it is a Bidirectional, the layer in it that reads forwards."""
    layer = network.get_layer("recurrent_1")
    return getattr(layer, "forward_layer", layer)


def in_units(network: Any, mean: float, std: float) -> Any:
    """The network with its Rescaling: values in the target's units. It shares the network's layers."""
    scaled = keras.layers.Rescaling(std, offset=mean, name="units")(network.outputs[0])
    return keras.Model(network.inputs, scaled, name="forecaster")


def save(model: Any, path: Path) -> None:
    """Writes a `.keras` file with a fixed date. Keras uses the clock, and fails if that is before 1980."""
    with tempfile.TemporaryDirectory() as folder:
        parts = Path(folder, "model")
        model.save(parts, zipped=False)
        with zipfile.ZipFile(path, "w") as archive:
            for part in sorted(path for path in parts.rglob("*") if path.is_file()):
                archive.writestr(zipfile.ZipInfo(part.relative_to(parts).as_posix(), _DATE), part.read_bytes())
