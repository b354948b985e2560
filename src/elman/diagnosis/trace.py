# SPDX-License-Identifier: Apache-2.0
"""`elman.trace`: states, gates and the sums before them, at every step of some examples.

In: a model and inputs. Out: a `Trace`, arrays by name, which can be drawn as a picture over time.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from elman.diagnosis import gates, inputs, observe
from elman.diagnosis.call import Array, Call
from elman.diagnosis.figures import TracedLayer

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class Trace:
    """What happened inside a model's recurrent layers.

    Attributes:
        x: The input of the first of them, `(examples, time, features)`.
        layers: By name.
    """

    x: Array
    layers: dict[str, TracedLayer]

    def plot(self, example: int = 0) -> Figure:
        """The states of one example as a picture over time, below its input.

        Args:
            example: Its index.

        Raises:
            IndexError: If there is no such example.
        """
        from elman.diagnosis import pictures

        return pictures.of_trace(self.x, self.layers, example)


def trace(model: Any, x: Any) -> Trace:
    """Records what happens inside a model's recurrent layers while they read.

    Args:
        model: An `elman.Network`, or a Keras model with `SimpleRNN`, `LSTM` or `GRU` layers, elman's or Keras's. It is
            not changed.
        x: Inputs of some examples, as for `model.predict`.

    Returns:
        States, pre-activations and gates at every step. `.plot()` draws the states.

    Raises:
        TypeError: If `model` is neither, or `x` does not hold numbers.
        ValueError: If the model has no recurrent layer or a stateful one, or a shape does not fit.

    Example:

        elman.trace(model, x[:1]).plot()
    """
    observed = inputs.observed("trace", model, x)
    seen = observe.run(observed, observed.x)
    traced = {
        each.name: _traced(each.kind, seen.calls[each.name])
        for each in inputs.measured(observed, None)
        if seen.times[each.name]
    }
    return Trace(next(iter(seen.calls.values())).x, traced)


def _traced(kind: str, call: Call) -> TracedLayer:
    inside = gates.inside(call)
    return TracedLayer(kind, gates.states(call), inside.sums, inside.gates, call.valid)
