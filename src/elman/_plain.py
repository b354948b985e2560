# SPDX-License-Identifier: Apache-2.0
"""The recurrences in the operations of a framework. They run where the native path cannot, can be differentiated any
number of times, and are what exported files hold.

They are written once, over the operations that each adapter supplies (`Ops`). Shapes and names are as in `reference`.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from elman.cells import CELLS
from elman.operands import Operands
from elman.options import Options

Tensor = Any
Tensors = tuple[Any, ...]


class Ops(Protocol):
    """The operations that an adapter supplies. Arrays support `@`, `+`, `*`, `&`, `%`, comparison and indexing."""

    def activation(self, name: str) -> Callable[[Tensor], Tensor]:
        """The framework's own function of that name."""

    def scan(
        self, step: Callable[[Tensors, Tensors], tuple[Tensors, Tensor]], carry: Tensors, inputs: Tensors
    ) -> tuple[Tensors, Tensor]:
        """Runs `carry, output = step(carry, inputs at t)` over the leading axis of every input (which may be 0 long,
        or unknown); returns the last carry and the outputs, stacked along a new leading axis."""

    def clip_gradient(self, states: Tensors, limit: float) -> Tensors:
        """The states as they are; the backward passes their gradients through `clipped`."""

    def maximum(self, x: Tensor, y: Tensor | float) -> Tensor:
        """The larger of two numbers, element by element; NaN if one of them is."""

    def minimum(self, x: Tensor, y: Tensor | float) -> Tensor:
        """Likewise the smaller one."""

    def row_maximum(self, x: Tensor) -> Tensor:
        """The largest number of each row of x (B, H): (B, 1)."""

    def row_sum(self, x: Tensor) -> Tensor:
        """The sum of each row of x (B, H): (B, 1)."""

    def sqrt(self, x: Tensor) -> Tensor: ...

    def largest_number(self, x: Tensor) -> float:
        """The largest finite number that the dtype of x holds."""

    def split(self, x: Tensor, parts: int) -> Sequence[Tensor]:
        """Equal parts of the last axis."""

    def stop_gradient(self, x: Tensor) -> Tensor: ...

    def is_codes(self, mask: Tensor) -> bool:
        """Whether a mask of two axes holds codes of steps, uint8, rather than booleans."""

    def where(self, condition: Tensor, x: Tensor, y: Tensor) -> Tensor: ...

    def sum_of_time(self, x: Tensor) -> Tensor:
        """The sum over axis 1 of x (B, T, F): (B, 1, F)."""

    def swap_batch_and_time(self, x: Tensor) -> Tensor: ...

    def flip_time(self, x: Tensor) -> Tensor:
        """Reverses axis 0."""

    def steps(self, x: Tensor) -> Tensor:
        """0, 1, ... T-1 for x (T, ...), as integers."""

    def zeros(self, x: Tensor, units: int) -> Tensor:
        """Zeros (B, units) of the dtype of x (T, B, F)."""


Pair = tuple[Any, Any]


def _functions(ops: Ops, options: Options) -> Pair:
    """The activation of the candidate and that of the gates."""
    activation, gate = (
        a if callable(a) else ops.activation(a) for a in (options.activation, options.recurrent_activation)
    )
    return activation, gate


def _seen(x: Tensor, dropout: Tensor | None, gate: int) -> Tensor:
    """The input of a gate: x or h, times its dropout."""
    return x if dropout is None else x * dropout[gate if dropout.shape[0] > 1 else 0]


def _products(x: Tensor, weights: Tensor, dropout: Tensor | None, gates: int, ops: Ops) -> list[Tensor]:
    """The product of the input of each gate with the columns of the gate."""
    if dropout is None or dropout.shape[0] == 1:
        return list(ops.split(_seen(x, dropout, 0) @ weights, gates))
    return [_seen(x, dropout, gate) @ columns for gate, columns in enumerate(ops.split(weights, gates))]


def _sums(parts: list[Tensor], bias: Tensor | None, ops: Ops) -> list[Tensor]:
    """The parts, each plus its block of the bias."""
    return parts if bias is None else [p + b for p, b in zip(parts, ops.split(bias, len(parts)), strict=True)]


def simple_rnn_step(x: Tensor, states: Tensors, weights: Tensors, dropout: Pair, ops: Ops, options: Options) -> Tensors:
    """x (B, F), the states, (W, U, b) and the dropout masks of x and of h -> the next states."""
    (h,), (kernel, recurrent_kernel, bias) = states, weights
    activation, _ = _functions(ops, options)
    z = _seen(x, dropout[0], 0) @ kernel + _seen(h, dropout[1], 0) @ recurrent_kernel
    return (activation(z if bias is None else z + bias),)


def lstm_step(x: Tensor, states: Tensors, weights: Tensors, dropout: Pair, ops: Ops, options: Options) -> Tensors:
    """The same of an LSTM."""
    (h, c), (kernel, recurrent_kernel, bias) = states, weights
    activation, gate = _functions(ops, options)
    inputs = _sums(_products(x, kernel, dropout[0], 4, ops), bias, ops)
    recurrent = _products(h, recurrent_kernel, dropout[1], 4, ops)
    z_i, z_f, z_g, z_o = (a + u for a, u in zip(inputs, recurrent, strict=True))
    c = gate(z_f) * c + gate(z_i) * activation(z_g)
    return gate(z_o) * activation(c), c


def gru_step(x: Tensor, states: Tensors, weights: Tensors, dropout: Pair, ops: Ops, options: Options) -> Tensors:
    """The same of a GRU."""
    (h,), (kernel, recurrent_kernel, bias) = states, weights
    activation, gate = _functions(ops, options)
    biases = (bias, None) if bias is None or not options.reset_after else (bias[0], bias[1])
    inputs = _sums(_products(x, kernel, dropout[0], 3, ops), biases[0], ops)
    if options.reset_after:
        recurrent = _sums(_products(h, recurrent_kernel, dropout[1], 3, ops), biases[1], ops)
        z, r = gate(inputs[0] + recurrent[0]), gate(inputs[1] + recurrent[1])
        product = r * recurrent[2]
    else:
        u_z, u_r, u_n = ops.split(recurrent_kernel, 3)
        z = gate(inputs[0] + _seen(h, dropout[1], 0) @ u_z)
        r = gate(inputs[1] + _seen(h, dropout[1], 1) @ u_r)
        product = (r * _seen(h, dropout[1], 2)) @ u_n
    return (z * h + (1 - z) * activation(inputs[2] + product),)


def clipped(ops: Ops, gradients: Sequence[Tensor], limit: float) -> Tensors:
    """The gradients of the states, scaled so that their joint L2 norm per example is at most `limit`; as
    `reference.backward` does it, and differentiable.

    Squares are taken in units of about the largest number, so that none overflows. The unit and its inverse, which
    a compiler may multiply by instead, are normal numbers.
    """
    most = ops.largest_number(gradients[0]) / 4
    largest = functools.reduce(ops.maximum, [ops.row_maximum(abs(gradient)) for gradient in gradients])
    unit = ops.stop_gradient(ops.minimum(ops.maximum(largest, 1 / most), most))
    parts = [gradient / unit for gradient in gradients]
    squares = functools.reduce(operator.add, [ops.row_sum(part * part) for part in parts])
    over = ops.sqrt(ops.stop_gradient(squares)) > limit / unit
    scale = limit / ops.sqrt(ops.where(over, squares, 1.0))  # the root is taken where it has a slope
    return tuple(ops.where(over, part * scale, gradient) for part, gradient in zip(parts, gradients, strict=True))


RESET = 3  # the code of a step before which the state returns to the initial one, see `Operands.mask`
STEPS = {"simple_rnn": simple_rnn_step, "lstm": lstm_step, "gru": gru_step}


def recurrence(ops: Ops, options: Options, operands: Operands) -> tuple[Tensor, Tensors]:
    """The recurrence as `reference.forward` defines it: `(y, final_states)`."""
    if operands.x.shape[1] == 0:
        return _of_no_steps(ops, options, operands)
    x, kernel, recurrent_kernel, bias, initial_states, mask, input_dropout, recurrent_dropout = operands
    if input_dropout is not None and input_dropout.shape[0] == 1:
        x, input_dropout = x * input_dropout[0][:, None], None
    x = ops.swap_batch_and_time(x)
    steps = ops.steps(x)
    resets = None
    if mask is not None:
        of_lengths = len(mask.shape) == 1
        mask = steps[:, None] < mask[None] if of_lengths else ops.swap_batch_and_time(mask)
        resets = None if of_lengths or not ops.is_codes(mask) else mask == RESET
        mask = mask if resets is None else mask > 0
        # A masked step is computed, and its result is not used. With a NaN in it the gradient would be NaN times zero.
        x = ops.where(mask[..., None], x, 0.0)
    if options.go_backwards:
        x, mask, resets = (None if i is None else ops.flip_time(i) for i in (x, mask, resets))
    left = steps[-1:] + 1 - steps if options.truncate_gradient else None  # steps from here to the end
    zeros = ops.zeros(x, recurrent_kernel.shape[0])
    inputs = tuple(i for i in (x, mask, resets, left, steps) if i is not None)
    initial = initial_states or (zeros,) * len(CELLS[options.cell].states)
    weights, dropout = (kernel, recurrent_kernel, bias), (input_dropout, recurrent_dropout)

    def step(carry: Tensors, now: Tensors) -> tuple[Tensors, Tensor]:
        states, output = carry[:-1], carry[-1]
        x_t, t = now[0], now[-1]
        if options.truncate_gradient is not None:
            cut = (now[-2] % options.truncate_gradient == 0) & (t > 0)
            states = tuple(ops.where(cut, ops.stop_gradient(s), s) for s in states)
        if resets is not None:
            states = tuple(ops.where(now[2][:, None], i, s) for i, s in zip(initial, states, strict=True))
        if options.clip_state_gradient is not None:
            states = ops.clip_gradient(states, options.clip_state_gradient)
        taken = STEPS[options.cell](x_t, states, weights, dropout, ops, options)
        if mask is None:
            return (*taken, taken[0]), taken[0]
        valid = now[1][:, None]
        output = ops.where(valid, taken[0], zeros if options.zero_output_for_mask else output)
        return (*(ops.where(valid, new, old) for new, old in zip(taken, states, strict=True)), output), output

    carry, y = ops.scan(step, (*initial, zeros), inputs)
    return (ops.swap_batch_and_time(y) if options.return_sequences else carry[-1]), tuple(carry[:-1])


def _of_no_steps(ops: Ops, options: Options, operands: Operands) -> tuple[Tensor, Tensors]:
    """The recurrence with no time steps, computed with one masked step: the results then depend on every operand, so
    that every gradient exists and is zero, as on the native path."""
    x = ops.sum_of_time(operands.x)
    options = options._replace(truncate_gradient=None, clip_state_gradient=None)  # no step passes a gradient on
    never = ops.zeros(ops.swap_batch_and_time(x), 1) > 0  # (B, 1)
    y, final_states = recurrence(ops, options, operands._replace(x=x, mask=never))
    return (y[:, :0] if options.return_sequences else y), final_states
