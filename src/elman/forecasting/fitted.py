# SPDX-License-Identifier: Apache-2.0
"""The models at each origin, and their forecasts of the windows that are held out there.

In: a `Prepared`. Out: for each origin the linear model and the network, which is the mean of several seeds; and the
forecasts of all models, one origin after another.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from elman.forecasting import baselines, forecaster, models, training
from elman.forecasting.forecast import forecasts_of
from elman.forecasting.prepared import Origin, Prepared
from elman.forecasting.run import checkpoint_name
from elman.forecasting.settings import Settings
from elman.forecasting.stages import Stages
from elman.forecasting.verdict import NETWORK, surely_better
from elman.forecasting.windows import moments_of
from elman.network import History, Network


class Fitted(NamedTuple):
    """The models of one origin.

    Attributes:
        linear: The linear model, that each network starts as.
        network: The mean of the trained networks, in the target's units; the linear model if they learned nothing.
        single: Each trained network in the target's units.
        histories: Of each training.
        learned: Whether the mean is better than the linear model on the validation part, by more than chance.
    """

    linear: baselines.Linear
    network: Network
    single: list[Network]
    histories: list[History]
    learned: bool


def fit_all(prepared: Prepared, settings: Settings, path: Path, stages: Stages) -> list[Fitted]:
    """Fits all models at each origin."""
    stages.begin("fitting the linear model")
    linear, untrained, jobs = [], [], list[training.Job]()
    for origin in prepared.origins:
        linear.append(baselines.fit_linear(origin.windows, origin.mean, origin.std))
        for k in range(settings.seeds):
            network = forecaster.build(origin.windows, linear[-1], settings, settings.seed + k)
            checkpoint = path / checkpoint_name(len(jobs) + 1)
            jobs.append(training.Job(network, origin.windows, origin.scale, settings.seed + k, checkpoint))
        untrained.append(models.average([jobs[-1].network], *origin.scale))
    histories = training.train_all(jobs, settings, prepared.batch_size, stages.training)
    found = []
    for i, origin in enumerate(prepared.origins):
        own = slice(i * settings.seeds, (i + 1) * settings.seeds)
        trained = [job.network for job in jobs[own]]
        network = models.average(trained, *origin.scale)
        learned = any(history.best_epoch for history in histories[own]) and _learned(
            network, prepared, origin, linear[i]
        )
        single = [models.average([each], *origin.scale) for each in trained]
        found.append(Fitted(linear[i], network if learned else untrained[i], single, histories[own], learned))
    return found


def _learned(network: Network, prepared: Prepared, origin: Origin, linear: baselines.Linear) -> bool:
    """Whether the trained network is better than the linear model that it started as, by more than chance.

    The best of many epochs is better by chance alone, and much better if one outlier makes up most of the error.
    """
    windows = origin.windows
    starts = windows.starts["validation"]
    truth = windows.truth(starts)
    forecasts = (forecasts_of(network, prepared.table, starts, *windows[2:4]), linear(windows, starts))
    own, before = (((values - truth) / origin.scale[1]) ** 2 for values in forecasts)
    return surely_better(own, before, windows.ahead, moments_of(prepared.table, starts, windows.window))


def forecasts(prepared: Prepared, fitted: list[Fitted]) -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
    """The forecasts of the held-out windows, at each origin by the models that were fitted there.

    Returns:
        For each model `(windows, outputs)`, in the order of `Prepared.windows`; and the same for each single network.
    """
    found: dict[str, list[np.ndarray]] = {}
    single: list[list[np.ndarray]] = [[] for _ in fitted[0].single]
    for origin, each in zip(prepared.origins, fitted, strict=True):
        windows, starts = origin.windows, origin.windows.starts["test"]

        def by(network: Network, starts: np.ndarray = starts, sizes: tuple[int, int] = windows[2:4]) -> np.ndarray:
            return forecasts_of(network, prepared.table, starts, *sizes)

        found.setdefault("last_value", []).append(baselines.last_value(windows, starts))
        if prepared.period is not None:
            found.setdefault("seasonal", []).append(baselines.seasonal(windows, starts, prepared.period))
        found.setdefault("linear", []).append(each.linear(windows, starts))
        found.setdefault(NETWORK, []).append(by(each.network))
        for values, network in zip(single, each.single, strict=True):
            values.append(by(network if each.learned else each.network))
    return (
        {name: np.concatenate(values) for name, values in found.items()},
        [np.concatenate(values) for values in single],
    )


def models_of(prepared: Prepared, last: Fitted) -> dict[str, Network]:
    """The models of the last origin as networks, which have learned from all rows before the last block."""
    windows = prepared.origins[-1].windows
    found = {"last_value": models.last_value(windows)}
    if prepared.period is not None:
        found["seasonal"] = models.seasonal(windows, prepared.period)
    return found | {"linear": models.linear(windows, last.linear), NETWORK: last.network}
