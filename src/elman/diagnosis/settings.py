# SPDX-License-Identifier: Apache-2.0
"""How layers and optimizer were set up, as far as the advice needs it.

In: recurrent layers and their calls. Out: a `Setting` of each. What takes time to find out is a function, which the
advice calls only if a rule depends on it.
"""

from __future__ import annotations

import functools
import inspect
from typing import Any

import keras
import numpy as np

from elman import initializers
from elman.cells import CELLS
from elman.diagnosis import gates, gradient
from elman.diagnosis.call import Array, Call
from elman.diagnosis.observe import Recurrent
from elman.diagnosis.verdict import Setting

_EXAMPLES = 64  # on which new weights are tried


def of(recurrent: Recurrent, call: Call) -> Setting:
    """The setting of a layer, by its call."""
    few = call.rows(slice(0, _EXAMPLES))
    simple = not CELLS[recurrent.cell].gated and bool(np.isfinite(few.x[few.valid]).all())
    return Setting(
        activation=str(call.options.activation),
        truncate=getattr(recurrent.layer, "truncate_gradient", None),
        drive=gates.drive(call),
        fresh=functools.partial(_fresh_exponent, recurrent, few) if simple else lambda: None,
        initializer=functools.partial(_better_initializer, few),
    )


def _fresh_exponent(recurrent: Recurrent, call: Call) -> float:
    """The Lyapunov exponent of the layer with new initial weights, whose draws are the same every time."""
    cell = recurrent.layer.cell
    kernel, recurrent_kernel, bias = call.weights
    drawn = (
        _drawn(cell.kernel_initializer, kernel.shape, 0),
        _drawn(cell.recurrent_initializer, recurrent_kernel.shape, 1),
        None if bias is None else np.zeros_like(bias),
    )
    return gradient.reach(call.changed(weights=drawn, keep_tape=True)).exponent


def _drawn(initializer: Any, shape: tuple[int, ...], seed: int) -> Array:
    config = initializer.get_config()
    if "seed" in config:
        initializer = type(initializer).from_config(config | {"seed": seed})
    return np.asarray(keras.ops.convert_to_numpy(initializer(shape, "float32")), "float64")


def _better_initializer(call: Call) -> Any:
    """An initializer of a simple RNN's recurrent kernel with which gradients neither shrink nor grow at first."""
    return initializers.orthogonal_on_batch(call.x, call.units, str(call.options.activation), mask=call.valid)


def learning_rate(model: Any) -> tuple[float, float] | None:
    """The learning rate of the model's optimizer and the default of the optimizer's class; `None` if unknown."""
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None:
        return None
    default = inspect.signature(type(optimizer).__init__).parameters.get("learning_rate")
    if default is None or not isinstance(default.default, float):
        return None
    return float(keras.ops.convert_to_numpy(optimizer.learning_rate)), default.default
