# SPDX-License-Identifier: Apache-2.0
"""The definition of every result, in plain NumPy. It is slow; every fast path is tested against it.

In: `Operands` of one floating dtype (float32, float64 or long double) and `Options`. Out: what the native
library returns, by the same names in the same order. No framework, no speed, no input checks.

Shapes: B batch, T time, F features, H units, G gates; those of the operands are listed in `operands.Operands`. W is
the kernel, U the recurrent kernel, b the bias. Time is in processing order: with `go_backwards`, `x` and `mask` are
reversed first. Each cell's formula is in the docstring of its step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from elman.cells import CELLS
from elman.operands import Operands
from elman.options import Options

Array = np.ndarray
States = tuple[Array, ...]


# --- activations: f(z), and f'(z) as a function of y = f(z), so that z need not be kept --------------------


class Activation(NamedTuple):
    """An activation and its slope as a function of its own output."""

    value: Callable[[Array], Array]
    slope: Callable[[Array], Array]


def _sigmoid(z: Array) -> Array:
    e = np.exp(-np.abs(z))  # never overflows
    return np.where(z < 0, e, np.ones_like(e)) / (1 + e)


def _hard_sigmoid(z: Array) -> Array:
    return np.clip(z / 6 + np.asarray(0.5, z.dtype), 0, 1)


ACTIVATIONS = {
    "linear": Activation(lambda z: z, np.ones_like),
    "tanh": Activation(np.tanh, lambda y: 1 - y * y),
    "relu": Activation(lambda z: np.where(z <= 0, np.zeros_like(z), z), lambda y: (y > 0).astype(y.dtype)),
    "sigmoid": Activation(_sigmoid, lambda y: y * (1 - y)),
    "hard_sigmoid": Activation(_hard_sigmoid, lambda y: ((y > 0) & (y < 1)) / np.asarray(6, y.dtype)),
}


# --- cells: one step forward and, after it, one step backward ----------------------------------------------


class Weights(NamedTuple):
    """The weights of a layer, or their gradients summed over the batch and the time steps so far."""

    kernel: Array
    recurrent_kernel: Array
    bias: Array | None


def _values(options: Options) -> list[Callable[[Array], Array]]:
    """The activation of the candidate and that of the gates."""
    chosen = (options.activation, options.recurrent_activation)
    return [a if callable(a) else ACTIVATIONS[a].value for a in chosen]


def _slopes(options: Options) -> list[Callable[[Array], Array]]:
    return [ACTIVATIONS[a].slope for a in (options.activation, options.recurrent_activation)]


def _by_gate(weights: Array, gates: int) -> Array:
    """(..., G*H) -> (G, ..., H)."""
    return np.stack(np.split(weights, gates, axis=-1))


def _side_by_side(weights: Array) -> Array:
    """(G, ..., H) -> (..., G*H)."""
    return np.concatenate(list(weights), axis=-1)


def _for_each_gate(array: Array, dropout: Array, gates: int) -> Array:
    """The input of each gate: x or h (B, N), times the dropout of the gate -> (G, B, N)."""
    return array * np.broadcast_to(dropout, (gates, *array.shape))


def _input_sums(x_in: Array, weights: Weights) -> Array:
    """x_in (G, B, F) -> x W + b, (G, B, H). Of a bias with two rows this adds the first."""
    sums = x_in @ _by_gate(weights.kernel, len(x_in))
    if weights.bias is None:
        return sums
    return sums + _by_gate(weights.bias if weights.bias.ndim == 1 else weights.bias[0], len(x_in))[:, None]


def _sums_back(
    dinput: Array, drecurrent: Array, x_in: Array, h_in: Array, weights: Weights, dropout: Sequence[Array]
) -> tuple[Array, Array, Weights]:
    """Gradients of the sums x W + b and h U + b, (G, B, H) each -> (dx, dh, weight gradients)."""
    gates = len(dinput)
    kernel, recurrent_kernel = _by_gate(weights.kernel, gates), _by_gate(weights.recurrent_kernel, gates)
    dx = (dinput @ kernel.swapaxes(1, 2) * dropout[0]).sum(axis=0)
    dh = (drecurrent @ recurrent_kernel.swapaxes(1, 2) * dropout[1]).sum(axis=0)
    dbias = None if weights.bias is None else _side_by_side(dinput.sum(axis=1))
    if weights.bias is not None and weights.bias.ndim == 2:
        dbias = np.stack([_side_by_side(d.sum(axis=1)) for d in (dinput, drecurrent)])
    dkernel, drecurrent_kernel = x_in.swapaxes(1, 2) @ dinput, h_in.swapaxes(1, 2) @ drecurrent
    return dx, dh, Weights(_side_by_side(dkernel), _side_by_side(drecurrent_kernel), dbias)


def _simple_rnn_step(
    x: Array, states: States, weights: Weights, dropout: Sequence[Array], options: Options
) -> tuple[States, Any]:
    """x (B, F), states ((B, H),), dropout ((G, B, F), (G, B, H)) -> the next states, and the tape of the step.

    h_t = activation(x_t W + h_{t-1} U + b)                                (Elman 1990, Finding Structure in Time)
    """
    activation, _ = _values(options)
    x_in, h_in = _for_each_gate(x, dropout[0], 1), _for_each_gate(states[0], dropout[1], 1)
    (z,) = _input_sums(x_in, weights) + h_in @ weights.recurrent_kernel
    h = activation(z)
    return (h,), (x_in, h_in, h)


def _simple_rnn_step_back(
    dstates: States, tape: Any, weights: Weights, dropout: Sequence[Array], options: Options
) -> tuple[Array, States, Weights]:
    """Gradient of the states after the step -> (dx (B, F), gradient of the states before it, weight gradients)."""
    x_in, h_in, h = tape
    slope, _ = _slopes(options)
    dz = (dstates[0] * slope(h))[None]
    dx, dh, dweights = _sums_back(dz, dz, x_in, h_in, weights, dropout)
    return dx, (dh,), dweights


def _lstm_step(
    x: Array, states: States, weights: Weights, dropout: Sequence[Array], options: Options
) -> tuple[States, Any]:
    """i, f, o = gate(x_t W + h_{t-1} U + b), g = activation(likewise); in the order i, f, g, o

    c_t = f c_{t-1} + i g,   h_t = o activation(c_t)              (Hochreiter and Schmidhuber 1997; Gers et al. 2000)
    """
    activation, gate = _values(options)
    h, c = states
    x_in, h_in = _for_each_gate(x, dropout[0], 4), _for_each_gate(h, dropout[1], 4)
    z_i, z_f, z_g, z_o = _input_sums(x_in, weights) + h_in @ _by_gate(weights.recurrent_kernel, 4)
    i, f, g, o = gate(z_i), gate(z_f), activation(z_g), gate(z_o)
    c_new = f * c + i * g
    a = activation(c_new)
    return (o * a, c_new), (x_in, h_in, c, i, f, g, o, a)


def _lstm_step_back(
    dstates: States, tape: Any, weights: Weights, dropout: Sequence[Array], options: Options
) -> tuple[Array, States, Weights]:
    dh, dc = dstates
    x_in, h_in, c, i, f, g, o, a = tape
    slope, gate_slope = _slopes(options)
    dc = dc + dh * o * slope(a)
    dz = np.stack([dc * g * gate_slope(i), dc * c * gate_slope(f), dc * i * slope(g), dh * a * gate_slope(o)])
    dx, dh, dweights = _sums_back(dz, dz, x_in, h_in, weights, dropout)
    return dx, (dh, dc * f), dweights


def _gru_step(
    x: Array, states: States, weights: Weights, dropout: Sequence[Array], options: Options
) -> tuple[States, Any]:
    """z, r = gate(x_t W + h_{t-1} U + b);   h_t = z h_{t-1} + (1 - z) n, where with `reset_after`

    n = activation(x_t W + b + r (h_{t-1} U + b'))      (Keras, cuDNN: every product before the gates, two rows of b)
    n = activation(x_t W + b + (r h_{t-1}) U)           without it (Cho et al. 2014)
    """
    activation, gate = _values(options)
    (h,) = states
    x_in, h_in = _for_each_gate(x, dropout[0], 3), _for_each_gate(h, dropout[1], 3)
    recurrent_kernel = _by_gate(weights.recurrent_kernel, 3)
    a = _input_sums(x_in, weights)
    u = h_in @ recurrent_kernel
    if weights.bias is not None and options.reset_after:
        u = u + _by_gate(weights.bias[1], 3)[:, None]
    z, r = gate(a[0] + u[0]), gate(a[1] + u[1])
    if not options.reset_after:
        h_in[2] = r * h_in[2]
        u[2] = h_in[2] @ recurrent_kernel[2]
    n = activation(a[2] + (r * u[2] if options.reset_after else u[2]))
    return (z * h + (1 - z) * n,), (x_in, h_in, h, z, r, n, u[2])


def _gru_step_back(
    dstates: States, tape: Any, weights: Weights, dropout: Sequence[Array], options: Options
) -> tuple[Array, States, Weights]:
    (dh,) = dstates
    x_in, h_in, h, z, r, n, u = tape
    slope, gate_slope = _slopes(options)
    dn = dh * (1 - z) * slope(n)
    dz = dh * (h - n) * gate_slope(z)
    if options.reset_after:
        dr, dproduct, seen = dn * u, dn * r, dropout[1]
    else:  # the reset gate multiplies h, as dropout does
        dr, dproduct = dn @ _by_gate(weights.recurrent_kernel, 3)[2].T * h * dropout[1][-1], dn
        seen = dropout[1] * np.stack([np.ones_like(r), np.ones_like(r), r])
    dr = dr * gate_slope(r)
    dsums = np.stack([dz, dr, dn]), np.stack([dz, dr, dproduct])
    dx, dbefore, dweights = _sums_back(*dsums, x_in, h_in, weights, (dropout[0], seen))
    return dx, (dbefore + dh * z,), dweights


class Step(NamedTuple):
    """One step of a cell, forward and backward."""

    forward: Callable[..., tuple[States, Any]]
    backward: Callable[..., tuple[Array, States, Weights]]


STEPS = {
    "simple_rnn": Step(_simple_rnn_step, _simple_rnn_step_back),
    "lstm": Step(_lstm_step, _lstm_step_back),
    "gru": Step(_gru_step, _gru_step_back),
}


# --- the time loop -----------------------------------------------------------------------------------------


_RESET = 3  # the code of a step before which the state returns to the initial one, see `Operands.mask`


class Gradients(NamedTuple):
    """The gradients that `backward` returns. `norms` (B, T) is the L2 norm, over all states jointly, of the gradient of
    the loss with respect to the state after each step."""

    dx: Array
    dkernel: Array
    drecurrent_kernel: Array
    dbias: Array | None
    dinitial_states: States
    norms: Array


def _prepare(operands: Operands, options: Options) -> Operands:
    """Fills in what was left out, makes a mask of lengths, and reverses time where asked."""
    x, mask, initial_states = operands.x, operands.mask, operands.initial_states
    batch, time, features = x.shape
    units = operands.recurrent_kernel.shape[0]
    if mask is None:
        mask = np.ones((batch, time), dtype=bool)
    elif mask.ndim == 1:
        mask = np.arange(time) < mask[:, None]
    if options.go_backwards:
        x, mask = x[:, ::-1], mask[:, ::-1]
    states = tuple(initial_states or (np.zeros((batch, units), x.dtype),) * len(CELLS[options.cell].states))
    dropout = [
        np.ones((1, batch, size), x.dtype) if masks is None else masks
        for masks, size in ((operands.input_dropout, features), (operands.recurrent_dropout, units))
    ]
    return Operands(x, *operands[1:4], states, mask, *dropout)


def forward(*operands: Any, options: Options = Options()) -> tuple[Array, States, list]:
    """Runs the recurrence.

    Args:
        *operands: The fields of `Operands`, in their order; those at the end may be left out.
        options: The recurrence's options.

    Returns:
        `(y, final_states, tape)`: y (B, T, H), or (B, H) without `return_sequences`; the states after the last
        step, each (B, H); and what `backward` needs of each step.
    """
    x, kernel, recurrent_kernel, bias, initial, mask, *dropout = _prepare(Operands(*operands), options)
    weights, states = Weights(kernel, recurrent_kernel, bias), initial
    output = np.zeros_like(states[0])  # before the first valid step
    outputs, tape = [], []
    for t in range(x.shape[1]):
        valid, resets = mask[:, t, None] != 0, mask[:, t, None] == _RESET
        states = tuple(np.where(resets, first, state) for first, state in zip(initial, states, strict=True))
        new_states, step_tape = STEPS[options.cell].forward(x[:, t], states, weights, dropout, options)
        masked_output = np.zeros_like(output) if options.zero_output_for_mask else output
        output = np.where(valid, new_states[0], masked_output)
        states = tuple(np.where(valid, new, old) for new, old in zip(new_states, states, strict=True))
        outputs.append(output)
        tape.append(step_tape)
    every = np.stack(outputs, axis=1) if outputs else np.zeros((*x.shape[:2], output.shape[1]), dtype=x.dtype)
    return (every if options.return_sequences else output), states, tape


def backward(*arguments: Any, options: Options = Options()) -> Gradients:
    """Carries the gradients of the loss back to every operand.

    A masked step copies its state, so the state's gradient passes through it; its output repeats the output
    before it, so the output's gradient moves there. A reset ends the state's gradient, which is then part of that of
    the initial states: clipped, and never cut. `truncate_gradient` and `clip_state_gradient` act on
    the gradient that a step, masked or not, passes to the step before it.

    Numbers that are not finite follow IEEE arithmetic: zero times infinity is NaN, also where the zero is a slope or a
    dropout mask. What a masked step holds reaches nothing. Where the joint norm of a row exceeds `clip_state_gradient`,
    the row is multiplied by the limit over the norm: if the norm is infinite, finite elements become 0 and infinite
    ones NaN. A NaN norm exceeds nothing, so its row is not clipped.

    Args:
        *arguments: All fields of `Operands`, in their order; then the tape that `forward` returned, and the gradients
            of the loss with respect to y (its shape) and to the final states (a tuple of arrays (B, H)).
        options: The recurrence's options.
    """
    *operands, tape, dy, dfinal_states = arguments
    x, kernel, recurrent_kernel, bias, states, mask, *dropout = _prepare(Operands(*operands), options)
    weights = Weights(kernel, recurrent_kernel, bias)
    batch, time, _ = x.shape
    dx = np.zeros_like(x)
    sums = Weights(
        np.zeros_like(kernel), np.zeros_like(recurrent_kernel), None if bias is None else np.zeros_like(bias)
    )
    norms = np.zeros((batch, time), dtype=x.dtype)
    dstates = tuple(dfinal_states)
    dinitial_states = tuple(np.zeros_like(d) for d in dstates)
    doutput = np.zeros_like(states[0]) if options.return_sequences else dy
    for t in reversed(range(time)):
        valid, resets = mask[:, t, None] != 0, mask[:, t, None] == _RESET
        if options.return_sequences:
            doutput = doutput + dy[:, t]
        dstates = (dstates[0] + np.where(valid, doutput, 0), *dstates[1:])
        norms[:, t] = _joint_norm(dstates)
        # Only rows that took the step: nothing of a masked row may reach a sum, not even zero times infinity.
        rows = np.flatnonzero(mask[:, t])
        dtaken = tuple(d[rows] for d in dstates)
        taken = tuple(array[..., rows, :] for array in tape[t])
        dropped = [array[:, rows] for array in dropout]
        dx[rows, t], dbefore, dweights = STEPS[options.cell].backward(dtaken, taken, weights, dropped, options)
        sums = _add(sums, dweights)
        dstates = tuple(d.copy() for d in dstates)
        for d, before in zip(dstates, dbefore, strict=True):
            d[rows] = before
        from_reset = tuple(np.where(resets, d, 0) for d in _clipped(dstates, options))
        dinitial_states = tuple(total + d for total, d in zip(dinitial_states, from_reset, strict=True))
        dstates = tuple(np.where(resets, 0, d) for d in _limit(dstates, t, time, options))
        doutput = np.where(valid | options.zero_output_for_mask, 0, doutput)
    dinitial_states = tuple(total + d for total, d in zip(dinitial_states, dstates, strict=True))
    return Gradients(dx[:, ::-1] if options.go_backwards else dx, *sums, dinitial_states, norms)


def _add(sums: Weights, terms: Weights) -> Weights:
    dbias = None if sums.bias is None or terms.bias is None else sums.bias + terms.bias
    return Weights(sums.kernel + terms.kernel, sums.recurrent_kernel + terms.recurrent_kernel, dbias)


def _joint_norm(states: States) -> Array:
    """The L2 norm per example over all states jointly, (B,). Squares are taken in units of the largest number, so that
    none overflows."""
    largest = np.max([np.abs(s).max(axis=1, initial=0) for s in states], axis=0)
    unit = np.where((largest > 0) & np.isfinite(largest), largest, 1)
    return unit * np.sqrt(sum(((s / unit[:, None]) ** 2).sum(axis=1) for s in states))


def _limit(dstates: States, t: int, time: int, options: Options) -> States:
    """The gradient that step t passes to step t-1, after `truncate_gradient` and `clip_state_gradient`."""
    k = options.truncate_gradient
    if k is not None and t > 0 and (time - t) % k == 0:
        return tuple(np.zeros_like(d) for d in dstates)
    return _clipped(dstates, options)


def _clipped(dstates: States, options: Options) -> States:
    c = options.clip_state_gradient
    if c is None:
        return dstates
    norm = _joint_norm(dstates)[:, None]
    return tuple(np.where(norm > c, d / np.where(norm > c, norm, 1) * c, d) for d in dstates)
