# SPDX-License-Identifier: Apache-2.0
"""What happens inside a recurrent layer: states, gates and the sums before them, at every step.

In: a `Call`. Out: arrays `(examples, time, units)` by name. The reference computes them, step by step, so this is for
some examples, not for speed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from elman import reference
from elman.diagnosis.observe import Array, Call

# What the reference's tape of a step holds behind the inputs of x and h, by name: gates, and the state before the step.
_TAPES = {"simple_rnn": ("h",), "lstm": ("before", "i", "f", "g", "o", "a"), "gru": ("before", "z", "r", "n", "u")}
GATES = {"simple_rnn": (), "lstm": ("i", "f", "g", "o"), "gru": ("z", "r", "n")}
CANDIDATES = {"lstm": "g", "gru": "n"}  # which has the activation of the state, not that of a gate


class Inside(NamedTuple):
    """Each array `(examples, time, units)`, in processing order.

    Attributes:
        states: The state after each step; an LSTM's too, by the names h and c.
        gates: What `GATES` lists.
        pre_activations: The sums of which the gates, or a simple network's state `"h"`, are the activations.
    """

    states: dict[str, Array]
    gates: dict[str, Array]
    pre_activations: dict[str, Array]


@np.errstate(over="ignore", invalid="ignore")  # NaN and infinities are told by first_nonfinite
def inside(call: Call) -> Inside:
    """Every value of a layer at every step."""
    y, _, tape = reference.forward(call.x, *call.weights, call.states, call.valid, options=call.options)
    cell = call.options.cell
    x_in, h_in, *rest = (np.stack(part, axis=-2) for part in zip(*tape, strict=True))
    values = dict(zip(_TAPES[cell], rest, strict=True))
    states = {"h": y}
    if cell == "lstm":
        states["c"] = _held(values["f"] * values["before"] + values["i"] * values["g"], call)
    sums = _sums(call, x_in, h_in, values)
    return Inside(states, {name: values[name] for name in GATES[cell]}, sums)


def _held(c: Array, call: Call) -> Array:
    """A state after each step, which a masked step keeps."""
    held, now = c.copy(), call.states[1]
    for t in range(c.shape[1]):
        now = np.where(call.valid[:, t, None], c[:, t], now)
        held[:, t] = now
    return held


def _sums(call: Call, x_in: Array, h_in: Array, values: dict[str, Array]) -> dict[str, Array]:
    """x W + h U + b of each gate; x_in and h_in are what each sees, `(gates, examples, time, ...)`."""
    kernel, recurrent, bias = call.weights
    gates = len(x_in)
    names = GATES[call.options.cell] or ("h",)
    own, back = (np.split(weight, gates, axis=-1) for weight in (kernel, recurrent))
    biases = np.zeros((2, gates, recurrent.shape[0]))
    if bias is not None:
        rows = bias if bias.ndim == 2 else bias[None]
        biases[: len(rows)] = rows.reshape(len(rows), gates, -1)
    sums = {}
    for i, name in enumerate(names):
        product = values["u"] if name == "n" else h_in[i] @ back[i] + biases[1, i]
        if name == "n" and call.options.reset_after:
            product = values["r"] * product
        sums[name] = x_in[i] @ own[i] + biases[0, i] + product
    return sums


def saturation(call: Call, found: Inside) -> dict[str, float]:
    """Of each gate, and of the state, the share of valid steps at which it is within 1 % of where its activation ends.

    Activations that do not end on both sides (relu, linear) have none, and are 0.
    """
    options = call.options
    candidate = CANDIDATES.get(options.cell)
    kinds = {
        name: options.activation if name == candidate else options.recurrent_activation for name in GATES[options.cell]
    }
    values = {name: found.gates[name] for name in kinds} | {"h": found.states["h"]}
    kinds["h"] = options.activation
    if options.cell == "gru":
        del values["h"]  # a mean of candidates, which does not end
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
    seen = found.states["h"] if call.options.cell != "gru" else found.gates["n"]
    return float((seen[call.valid] == 0).all(axis=0).mean())


@np.errstate(over="ignore", invalid="ignore")
def drive(call: Call) -> float:
    """The root mean square of what the input alone adds to the sums, x W: far above 1 it saturates them."""
    kernel, *_ = call.weights
    return float(np.sqrt(np.mean(np.square(call.x[call.valid] @ kernel))))
