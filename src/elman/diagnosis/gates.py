# SPDX-License-Identifier: Apache-2.0
"""What happens inside a recurrent layer: states, gates and the sums before them, at every step.

In: a `Call`. Out: arrays `(examples, time, units)` by name. The reference computes them, step by step, so this is for
some examples, not for speed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from elman import reference
from elman.cells import CELLS
from elman.diagnosis.observe import Array, Call


class Inside(NamedTuple):
    """Each array `(examples, time, units)`, in processing order.

    Attributes:
        states: The states after each step, by the names of `Cell.states`.
        gates: The gates, by the names of `Cell.gates`; none of a cell that has none besides its state.
        pre_activations: The sums of which the gates, or a simple network's state `"h"`, are the activations.
    """

    states: dict[str, Array]
    gates: dict[str, Array]
    pre_activations: dict[str, Array]


@np.errstate(over="ignore", invalid="ignore")  # NaN and infinities are told by first_nonfinite
def inside(call: Call) -> Inside:
    """Every value of a layer at every step."""
    y, finals, tape = reference.forward(call.x, *call.weights, call.states, call.valid, options=call.options)
    cell = CELLS[call.options.cell]
    x_in, h_in, *rest = (np.stack(part, axis=-2) for part in zip(*tape, strict=True))
    values = dict(zip(cell.tape, rest, strict=True))
    states = {cell.states[0]: y}
    for name, final in zip(cell.states[1:], finals[1:], strict=True):  # the state after a step is that before the next
        states[name] = np.concatenate([values[f"before_{name}"][:, 1:], final[:, None]], axis=1)
    gates = {name: values[name] for name in cell.gates} if cell.gated else {}
    return Inside(states, gates, _sums(call, x_in, h_in, values))


def _sums(call: Call, x_in: Array, h_in: Array, values: dict[str, Array]) -> dict[str, Array]:
    """x W + h U + b of each gate; x_in and h_in are what each sees, `(gates, examples, time, ...)`."""
    kernel, recurrent, bias = call.weights
    gates, cell = len(x_in), CELLS[call.options.cell]
    own, back = (np.split(weight, gates, axis=-1) for weight in (kernel, recurrent))
    biases = np.zeros((2, gates, recurrent.shape[0]))
    if bias is not None:
        rows = bias if bias.ndim == 2 else bias[None]
        biases[: len(rows)] = rows.reshape(len(rows), gates, -1)
    sums = {}
    for i, name in enumerate(cell.gates):
        product = h_in[i] @ back[i] + biases[1, i]
        if cell.reset and call.options.reset_after and name == cell.candidate:
            product = values[cell.reset] * product
        sums[name] = x_in[i] @ own[i] + biases[0, i] + product
    return sums


def saturation(call: Call, found: Inside) -> dict[str, float]:
    """Of each gate, and of the state, the share of valid steps at which it is within 1 % of where its activation ends.

    Activations that do not end on both sides (relu, linear) have none, and are 0.
    """
    options, cell = call.options, CELLS[call.options.cell]
    kinds = {
        name: options.activation if name == cell.candidate else options.recurrent_activation for name in found.gates
    }
    values = dict(found.gates)
    if not cell.interpolates:  # an average of candidates does not end
        values["h"], kinds["h"] = found.states["h"], options.activation
    return {name: _share(kinds[name], value[call.valid]) for name, value in values.items()}


def _share(activation: str, values: Array) -> float:
    if activation == "tanh":
        ended = np.abs(values) > 0.99
    elif activation in {"sigmoid", "hard_sigmoid"}:
        ended = (values < 0.01) | (values > 0.99)
    else:
        return 0.0
    return float(ended.mean()) if ended.size else 0.0


def dead(call: Call, found: Inside) -> float:
    """The share of relu units that are zero at every valid step of every example; 0 for other activations."""
    if call.options.activation != "relu":
        return 0.0
    cell = CELLS[call.options.cell]
    seen = found.gates[cell.candidate] if cell.interpolates else found.states["h"]
    return float((seen[call.valid] == 0).all(axis=0).mean())


@np.errstate(over="ignore", invalid="ignore")
def drive(call: Call) -> float:
    """The root mean square of what the input alone adds to the sums, x W: far above 1 it saturates them."""
    kernel, *_ = call.weights
    return float(np.sqrt(np.mean(np.square(call.x[call.valid] @ kernel))))
