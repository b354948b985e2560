# SPDX-License-Identifier: Apache-2.0
"""The model of a run that an earlier elman wrote: `model.keras` alone, read with Keras into a `Network`.

In: the file and the run's metrics. Out: the network. Its layers are found by the names that elman gave them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from elman.errors import DataError
from elman.forecasting import forecaster
from elman.forecasting.baselines import Linear
from elman.forecasting.settings import Settings
from elman.forecasting.windows import Windows
from elman.network import LAYERS, Network

_SAME = 1e-4  # largest difference of both models' outputs, relative


def network_of(path: Path, metrics: dict[str, Any]) -> Network:
    """Reads the network.

    Raises:
        DataError: If the file is damaged, or is not of such a run.
        ImportError: If Keras is not installed.
    """
    try:
        from elman.loading import load_model
    except ModuleNotFoundError as error:
        if error.name != "keras":
            raise
        raise ImportError(
            f"{path} is of an earlier elman, which kept models as Keras does, and Keras is not installed. Install "
            "one of elman[tensorflow], elman[jax] and elman[torch], or run elman fit again with fresh (--fresh)."
        ) from error
    model = load_model(path, compile=False)
    try:
        network = _converted(model, metrics)
    except (KeyError, ValueError) as error:
        raise DataError(f"{path} is not the model of this run: {error}. Run elman fit again with fresh.") from error
    x = np.random.default_rng(0).normal(size=(3, *model.input_shape[1:])).astype("float32")
    expected = model.predict(x, verbose=0)
    if not np.abs(network(x) - expected).max() <= _SAME * np.abs(expected).max():
        raise DataError(f"{path} is not a model that elman fit wrote. Run elman fit again with fresh (--fresh).")
    return network


def _converted(model: Any, metrics: dict[str, Any]) -> Network:
    settings = Settings(cell=metrics["cell"], units=metrics["units"], bidirectional=metrics["bidirectional"])
    features, target = metrics["table"]["features"], metrics["target"]
    windows = Windows(np.empty((0, len(features))), (features.index(target),), metrics["window"], metrics["ahead"], {})
    scaling, units = (model.get_layer(name).get_config() for name in ("standardize", "units"))
    mean, std = np.array(scaling["mean"]), np.sqrt(np.array(scaling["variance"]))
    weights, bias = model.get_layer("linear").get_weights()
    linear = Linear(weights, bias, metrics["penalty"], mean, std)
    network = forecaster.build(windows, linear, settings, 0)
    layers = []
    for i in range(len(settings.units)):
        layer = model.get_layer(f"recurrent_{i + 1}")
        layers += [layer.forward_layer, layer.backward_layer] if settings.bidirectional else [layer]
    layers.append(model.get_layer("change"))
    kinds = (LAYERS[settings.cell], LAYERS["Dense"])
    values = dict(network.weights)
    for bound, layer in zip([each for each in network.bound if isinstance(each.layer, kinds)], layers, strict=False):
        values |= {f"{bound.name}/{key}": w for key, w in zip(bound.parameters, layer.get_weights(), strict=True)}
    network.set_weights(values)
    return forecaster.in_units(network, units["offset"], units["scale"])
