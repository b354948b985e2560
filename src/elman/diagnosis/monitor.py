# SPDX-License-Identifier: Apache-2.0
"""`elman.HorizonMonitor`: how far back a model looks, in the logs of each epoch."""

from __future__ import annotations

import logging
import math
import time
from typing import Any

import keras
import numpy as np

from elman.checks import is_integer
from elman.diagnosis import gates, gradient, horizon, inputs, observe
from elman.diagnosis.on_keras import KerasModel

_EXAMPLES = 64
_SHARE = 0.05  # of training's time
_log = logging.getLogger("elman")


class HorizonMonitor(keras.callbacks.Callback):
    """Adds figures on memory to the logs of epochs, which CSVLogger, TensorBoard and the progress bar show.

    The keys are `horizon` (valid steps that the last output depends on; `elman.diagnose` defines it),
    `reach_half_life` (steps in which a gradient halves on its way back, in the layer that carries it furthest),
    `largest_gradient` (the largest norm at any step over that at the last one) and `saturation` (the largest share of
    saturated values in any layer). An epoch that is not measured repeats the figures of the one before.

    Args:
        x: Inputs to measure on, best not trained on, as for `elman.diagnose`. 64 examples are drawn from them.
        every: Measure every so many epochs; with `"auto"`, as often as 5 % of the training's time allow. The first and
            the last epoch are always measured.
        stop_on_nan: Whether the first NaN in a batch's loss ends the training. In either case a warning of the logger
            "elman" names the step and the layer.
        seed: Seed for the draw of examples and for the gradient's directions.

    Raises:
        ValueError: If `every` is neither a positive integer nor `"auto"`. When training begins, the same errors as
            `elman.diagnose`.

    Example:

        model.fit(x, y, epochs=20, callbacks=[elman.HorizonMonitor(x_validation), keras.callbacks.CSVLogger("log.csv")])
    """

    def __init__(self, x: Any, every: int | str = "auto", stop_on_nan: bool = True, seed: int = 0) -> None:
        super().__init__()
        if every != "auto" and not is_integer(every, least=1):
            raise ValueError(f'every is {every!r}; expected a positive integer (epochs), or "auto".')
        self.every, self.stop_on_nan, self.seed = every, stop_on_nan, seed
        self._x = x
        self._some: Any = None
        self._figures: dict[str, float] = {}
        self._began = self._spent = self._longest = 0.0
        self._warned = False

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Checks the model and the data."""
        observed = KerasModel("HorizonMonitor", self.model, self._x)
        some, _, _ = inputs.sample(observed.x, None, self.seed, _EXAMPLES)
        self._some = observed.packed(some)
        self._figures, self._warned = {}, False
        self._spent = self._longest = 0.0
        self._began = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Checks the loss for NaN."""
        if not self._warned and math.isnan(float((logs or {}).get("loss", 0.0))):
            self._warned = True
            _log.warning("%s", self._where())
            if self.stop_on_nan:
                self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Measures, if it is due, and adds the figures to the logs."""
        if self._due(epoch):
            begin = time.perf_counter()
            self._figures = self._measure()
            took = time.perf_counter() - begin
            self._spent += took
            self._longest = max(self._longest, took)
        if logs is not None:
            logs.update(self._figures)

    def _due(self, epoch: int) -> bool:
        if not self._figures or epoch + 1 == (self.params or {}).get("epochs") or self.model.stop_training:
            return True
        if self.every != "auto":
            return (epoch + 1) % int(self.every) == 0
        # Time for the last epoch's measurement is reserved.
        trained = time.perf_counter() - self._began - self._spent
        return self._spent + 2 * self._longest < _SHARE * trained

    def _measure(self) -> dict[str, float]:
        observed = KerasModel("HorizonMonitor", self.model, self._some)  # again: it reads the weights once
        seen = observe.run(observed, observed.x, keep_tapes=True)
        calls = {name: seen.calls[name] for name in _called(observed, seen)}
        reaches = [gradient.reach(call, self.seed) for call in calls.values()]
        saturated = [max(gates.saturation(call, gates.inside(call)).values()) for call in calls.values()]
        nan = float("nan")
        figures = {
            "horizon": nan,
            "reach_half_life": max(gradient.half_life(each.exponent) for each in reaches),
            "largest_gradient": max(float(np.max(each.high)) for each in reaches),
            "saturation": max(saturated),
        }
        outputs = seen.outputs
        if np.isfinite(outputs).all() and np.ptp(outputs, axis=0).max() > 0:
            resets = horizon.Resets(observed, observed.x, list(calls), seen)
            figures["horizon"] = float(horizon.measure(resets, self.seed).horizon)
        return figures

    def _where(self) -> str:
        """Which layer, at which step, has the first NaN or infinity on the monitor's data."""
        observed = KerasModel("HorizonMonitor", self.model, self._some)
        seen = observe.run(observed, observed.x)
        for name in _called(observed, seen):
            call = seen.calls[name]
            step = call.first_nonfinite()
            if step is not None:
                broken = any(not np.isfinite(weight).all() for weight in call.weights if weight is not None)
                why = ", whose weights have NaN or infinities" if broken else ""
                return f"The loss is NaN. The first NaN or infinity is at step {step} of layer {name!r}{why}."
        return "The loss is NaN. No recurrent layer has NaN or infinities on the monitor's data: check y and the loss."


def _called(observed: KerasModel, seen: observe.Seen) -> list[str]:
    """The names of the layers that read forwards and take part."""
    return [each.name for each in inputs.measured(observed, None) if seen.times[each.name]]
