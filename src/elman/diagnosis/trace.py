# SPDX-License-Identifier: Apache-2.0
"""`elman.trace`: states, gates and the sums before them, at every step of some examples.

In: a model and inputs. Out: a `Trace`, arrays by name, which shows itself as a picture over time.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from elman.diagnosis import checks, gates, observe
from elman.diagnosis.observe import Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class TracedLayer:
    """One recurrent layer, in float64 and in the order in which it reads.

    Attributes:
        kind: `"SimpleRNN"`, `"LSTM"` or `"GRU"`.
        states: `"h"`, and of an LSTM `"c"`: after each step, `(examples, time, units)`.
        pre_activations: The sums `x W + h U + b` of each gate, of a simple network `"h"`, likewise.
        gates: An LSTM's `"i"`, `"f"`, `"g"`, `"o"`, a GRU's `"z"`, `"r"`, `"n"`, likewise; a simple network has none.
        mask: `(examples, time)`, `True` where a step counts.
    """

    kind: str
    states: dict[str, Array]
    pre_activations: dict[str, Array]
    gates: dict[str, Array]
    mask: Array


@dataclasses.dataclass(frozen=True)
class Trace:
    """What happened inside of a model's recurrent layers.

    Attributes:
        x: What the first of them was given, `(examples, time, features)`.
        layers: By name.
    """

    x: Array
    layers: dict[str, TracedLayer]

    def plot(self, example: int = 0) -> Figure:
        """The states of one example as a picture over time, beside the input.

        Args:
            example: Which one.
        """
        from elman.diagnosis import pictures

        return pictures.of_trace(self, example)


def trace(model: Any, x: Any) -> Trace:
    """Looks into a model's recurrent layers while they read.

    Args:
        model: A Keras model that holds `SimpleRNN`, `LSTM` or `GRU`, elman's or Keras's. It is left as it is.
        x: Inputs of some examples, as for `model.predict`.

    Returns:
        States, pre-activations and gates at every step. `.plot()` shows them.

    Raises:
        TypeError: If `model` is no Keras model, or `x` holds no numbers.
        ValueError: If the model has no recurrent layer or a stateful one, or a shape does not fit.

    Example:

        elman.trace(model, x[:1]).plot()
    """
    found = checks.layers("trace", model, None).measured
    seen = observe.run(model, checks.arrays("trace", model, x), observe.all_layers(model))
    traced = {}
    for each in found:
        if each.name in seen.calls:
            call = seen.calls[each.name]
            inside = gates.inside(call)
            traced[each.name] = TracedLayer(
                observe.kind(each), inside.states, inside.pre_activations, inside.gates, call.valid
            )
    return Trace(next(iter(seen.calls.values())).x, traced)
