# SPDX-License-Identifier: Apache-2.0
"""What happens inside a recurrent layer: gates and the sums before them, at every step.

In: a `Call`, whose outputs are the states. Out: arrays `(examples, time, units)` by name. As the states are known, each
sum is one product over all steps, and no step waits for the one before it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from elman import reference
from elman.cells import CELLS
from elman.diagnosis.call import Array, Call


class Inside(NamedTuple):
    """Each array `(examples, time, units)`, in processing order.

    Attributes:
        gates: The gates, by the names of `Cell.gates`; none for a cell without gates besides its state.
        sums: The sums before the activations, by the names of `Cell.gates`.
    """

    gates: dict[str, Array]
    sums: dict[str, Array]


@np.errstate(over="ignore", invalid="ignore")  # Call.first_nonfinite reports NaN and infinities
def inside(call: Call) -> Inside:
    """Every gate and every sum of a layer, at every step; masked steps are computed as if they were valid.

    The formulas stand at each cell's step in `reference`.
    """
    cell, before = CELLS[call.options.cell], _states_before(call)
    kernel, recurrent_kernel, bias = call.weights
    biases = (0.0, 0.0) if bias is None else (bias, 0.0) if bias.ndim == 1 else tuple(bias)
    inputs = _by_gate(cell.gates, call.x @ kernel + biases[0])
    products = _by_gate(cell.gates, before @ recurrent_kernel + biases[1])
    sums: dict[str, Array] = {}
    gates: dict[str, Array] = {}
    for name in sorted(cell.gates, key=lambda name: name == cell.candidate):  # the gate that resets comes before it
        product = products[name]
        if cell.reset and name == cell.candidate and call.options.reset_after:
            product = gates[cell.reset] * product
        elif cell.reset and name == cell.candidate:
            product = (gates[cell.reset] * before) @ _by_gate(cell.gates, recurrent_kernel)[name]
        sums[name] = inputs[name] + product
        if cell.gated:
            gates[name] = reference.ACTIVATIONS[_activation(call, name)].value(sums[name])
    return Inside(
        {name: gates[name] for name in cell.gates if name in gates}, {name: sums[name] for name in cell.gates}
    )


def _by_gate(names: tuple[str, ...], columns: Array) -> dict[str, Array]:
    """The columns of weights or sums, by the gate that they belong to."""
    return dict(zip(names, np.split(columns, len(names), axis=-1), strict=True))


def _states_before(call: Call) -> Array:
    """The state before each step: the output of the last valid step before it, or the initial state."""
    steps = np.where(call.valid, np.arange(call.valid.shape[1]), -1)
    last = np.maximum.accumulate(steps, axis=1)
    last = np.concatenate([np.full((len(last), 1), -1), last[:, :-1]], axis=1)
    held = np.take_along_axis(call.y, np.maximum(last, 0)[..., None], axis=1)
    return np.where(last[..., None] < 0, call.states[0][:, None], held)


def states(call: Call) -> dict[str, Array]:
    """The states after each step, by the names of `Cell.states`.

    A call keeps the first of them alone. The reference computes the others, step by step, so this is for some examples.
    """
    cell = CELLS[call.options.cell]
    after = {cell.states[0]: call.y}
    if len(cell.states) > 1:
        _, finals, tape = reference.forward(*call.operands(), options=call.options)
        kept = (np.stack(part, axis=-2) for part in list(zip(*tape, strict=True))[2:])  # after the inputs of all gates
        values = dict(zip(cell.tape, kept, strict=True))
        for name, final in zip(cell.states[1:], finals[1:], strict=True):  # a state is that before the next step
            after[name] = np.concatenate([values[f"before_{name}"][:, 1:], final[:, None]], axis=1)
    return after


def _activation(call: Call, name: str) -> str:
    """The activation of a gate, by name."""
    own = name == CELLS[call.options.cell].candidate
    return call.options.activation if own else call.options.recurrent_activation


def saturation(call: Call, found: Inside) -> dict[str, float]:
    """The share of values within 1 % of a limit of their activation, over valid steps: of each gate, and of the state.

    Activations without two limits (relu, linear) never saturate: their share is 0. A state that is an average of
    candidates has no limit, so it is left out.
    """
    shares = {name: _share(_activation(call, name), values[call.valid]) for name, values in found.gates.items()}
    if CELLS[call.options.cell].interpolates:
        return shares
    return shares | {"h": _share(call.options.activation, call.y[call.valid])}


def _share(activation: str, values: Array) -> float:
    if activation == "tanh":
        at_limit = np.abs(values) > 0.99
    elif activation in {"sigmoid", "hard_sigmoid"}:
        at_limit = (values < 0.01) | (values > 0.99)
    else:
        return 0.0
    return float(at_limit.mean()) if at_limit.size else 0.0


def dead(call: Call, found: Inside) -> float:
    """The share of relu units that are zero at every valid step of every example; 0 for other activations."""
    if call.options.activation != "relu":
        return 0.0
    cell = CELLS[call.options.cell]
    values = found.gates[cell.candidate] if cell.interpolates else call.y
    return float((values[call.valid] == 0).all(axis=0).mean())


@np.errstate(over="ignore", invalid="ignore")
def drive(call: Call) -> float:
    """The root mean square of what the input alone adds to the sums, x W. A value far above 1 saturates them."""
    kernel, *_ = call.weights
    return float(np.sqrt(np.mean(np.square(call.x[call.valid] @ kernel))))
