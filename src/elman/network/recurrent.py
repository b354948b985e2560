# SPDX-License-Identifier: Apache-2.0
"""The recurrent rows of the layer table: SimpleRNN, LSTM and GRU. Each pass is one native call of the NumPy adapter.

The formulas stand at the steps in `reference.py`; the weights have the names, shapes and order of Keras.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from elman import _numpy
from elman.cells import CELLS
from elman.checks import check_extras, did_you_mean, positive_integer
from elman.network.dense import Draws, check_rate
from elman.network.layer import Array, Layer, Op, Parameter, Place, Shape, glorot_uniform, orthogonal, zeros
from elman.operands import Operands
from elman.options import ACTIVATIONS, Options

STATES = ("initial_state", "initial_carry")  # names of the parameters, in the order of Cell.states


@dataclasses.dataclass(frozen=True)
class Recurrent(Layer):
    """A recurrent layer over (batch, time, features). Each cell is a class that describes the arguments."""

    takes: ClassVar[tuple[int, ...]] = (2,)
    cell: ClassVar[str]

    units: int
    activation: str = "tanh"
    use_bias: bool = True
    return_sequences: bool = False
    go_backwards: bool = False
    zero_output_for_mask: bool = False
    dropout: float = 0.0
    recurrent_dropout: float = 0.0
    learn_initial_state: bool = False
    truncate_gradient: int | None = None
    clip_state_gradient: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "units", positive_integer("units", self.units))
        for name in ("activation", "recurrent_activation"):
            value = getattr(self, name, ACTIVATIONS[0])
            if value not in ACTIVATIONS:
                raise ValueError(
                    f"{name} is {value!r};{did_you_mean(value, ACTIVATIONS)} expected one of {', '.join(ACTIVATIONS)}."
                )
        for name in ("dropout", "recurrent_dropout"):
            check_rate(name, getattr(self, name))
        check_extras(self.truncate_gradient, self.clip_state_gradient, "require")

    @property
    def options(self) -> Options:
        """The options of the native call."""
        names = set(Options._fields) & {field.name for field in dataclasses.fields(self)}
        return Options(self.cell, **{name: getattr(self, name) for name in names})

    def bias_shape(self) -> tuple[int, ...]:
        """Shape of the bias."""
        return (len(CELLS[self.cell].gates) * self.units,)

    def bias_initializer(self, generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
        """First values of the bias."""
        return np.zeros(shape)

    def parameters(self, shape: Shape) -> dict[str, Parameter]:
        """kernel (features, gates * units), recurrent_kernel (units, gates * units), bias, initial states (units,)."""
        features, columns = shape[-1], len(CELLS[self.cell].gates) * self.units
        assert features is not None
        found = {
            "kernel": Parameter((features, columns), glorot_uniform),
            "recurrent_kernel": Parameter((self.units, columns), orthogonal),
        }
        if self.use_bias:
            found["bias"] = Parameter(self.bias_shape(), self.bias_initializer)
        if self.learn_initial_state:
            found |= {name: Parameter((self.units,), zeros) for name in STATES[: len(CELLS[self.cell].states)]}
        return found

    def output(self, shape: Shape) -> Shape:
        return (shape[0], self.units) if self.return_sequences else (self.units,)

    def bind(self, place: Place) -> Op:
        return _Recurrent(self, place)


@dataclasses.dataclass(frozen=True)
class SimpleRNN(Recurrent):
    """h_t = activation(x_t W + h_{t-1} U + b)                                                           (Elman 1990)

    Args:
        units: Size of the state.
        activation: Name of the activation of the new state.
        use_bias: Whether there is a bias.
        return_sequences: Return every step's output, (batch, time, units), instead of the last one's, (batch, units).
        go_backwards: Read time from the last step to the first. Outputs stay in processing order; see `Reverse`.
        zero_output_for_mask: Outputs of steps that are not valid are zero, instead of the output before them.
        dropout: Share of the input's features that is zeroed while training, the same ones at every step.
        recurrent_dropout: Share of the state that is zeroed while training, the same units at every step.
        learn_initial_state: Whether the initial state is a trained vector; zeros otherwise.
        truncate_gradient: Integer k: the state's gradient is cut every k steps from the end; `None`: it is not.
        clip_state_gradient: Largest L2 norm, per example, of the gradient that one step passes to the step before it.
    """

    cell: ClassVar[str] = "simple_rnn"


@dataclasses.dataclass(frozen=True)
class LSTM(Recurrent):
    """Gates i, f, o and candidate g; c_t = f c_{t-1} + i g, h_t = o activation(c_t)   (Hochreiter, Schmidhuber 1997)

    Args:
        units: Size of the state.
        activation: Name of the activation of the new state.
        use_bias: Whether there is a bias.
        return_sequences: Return every step's output, (batch, time, units), instead of the last one's, (batch, units).
        go_backwards: Read time from the last step to the first. Outputs stay in processing order; see `Reverse`.
        zero_output_for_mask: Outputs of steps that are not valid are zero, instead of the output before them.
        dropout: Share of the input's features that is zeroed while training, the same ones at every step.
        recurrent_dropout: Share of the state that is zeroed while training, the same units at every step.
        learn_initial_state: Whether the initial state is a trained vector; zeros otherwise.
        truncate_gradient: Integer k: the state's gradient is cut every k steps from the end; `None`: it is not.
        clip_state_gradient: Largest L2 norm, per example, of the gradient that one step passes to the step before it.
        recurrent_activation: Name of the gates' activation.
        unit_forget_bias: Whether the forget gate's bias starts from 1 (Jozefowicz et al. 2015).
    """

    cell: ClassVar[str] = "lstm"
    recurrent_activation: str = "sigmoid"
    unit_forget_bias: bool = True

    def bias_initializer(self, generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
        """Zeros; ones for the forget gate."""
        bias = np.zeros(shape)
        if self.unit_forget_bias:
            bias[self.units : 2 * self.units] = 1
        return bias


@dataclasses.dataclass(frozen=True)
class GRU(Recurrent):
    """Gates z, r and candidate n; h_t = z h_{t-1} + (1 - z) n                                     (Cho et al. 2014)

    Args:
        units: Size of the state.
        activation: Name of the activation of the new state.
        use_bias: Whether there is a bias.
        return_sequences: Return every step's output, (batch, time, units), instead of the last one's, (batch, units).
        go_backwards: Read time from the last step to the first. Outputs stay in processing order; see `Reverse`.
        zero_output_for_mask: Outputs of steps that are not valid are zero, instead of the output before them.
        dropout: Share of the input's features that is zeroed while training, the same ones at every step.
        recurrent_dropout: Share of the state that is zeroed while training, the same units at every step.
        learn_initial_state: Whether the initial state is a trained vector; zeros otherwise.
        truncate_gradient: Integer k: the state's gradient is cut every k steps from the end; `None`: it is not.
        clip_state_gradient: Largest L2 norm, per example, of the gradient that one step passes to the step before it.
        recurrent_activation: Name of the gates' activation.
        reset_after: Whether the reset gate acts on the product of state and weights, which then has a bias of its own
            (Keras and cuDNN), or on the state before it.
    """

    cell: ClassVar[str] = "gru"
    recurrent_activation: str = "sigmoid"
    reset_after: bool = True

    def bias_shape(self) -> tuple[int, ...]:
        """(2, 3 * units) with `reset_after`: b and b'."""
        columns = super().bias_shape()
        return (2, *columns) if self.reset_after else columns


class _Recurrent(Op):
    """One native call each way."""

    def __init__(self, layer: Recurrent, place: Place) -> None:
        batch, _, features = place.shape
        weights, gradients = place.weights, place.gradients
        states = [name for name in STATES if name in weights]
        self.states = [(weights[name], place.empty(batch, layer.units)) for name in states]
        self.draws = (
            _draws(layer.dropout, (1, batch, features), place),
            _draws(layer.recurrent_dropout, (1, batch, layer.units), place),
        )
        self.dx = place.empty(*place.shape) if place.wants_dx else None
        self.dstates = [(gradients[name], place.empty(batch, layer.units)) for name in states] if gradients else []
        self.sequences = layer.return_sequences
        operands = Operands(
            np.broadcast_to(place.dtype.type(0), place.shape),
            weights["kernel"],
            weights["recurrent_kernel"],
            weights.get("bias"),
            tuple(state for _, state in self.states),
            None,
            *(None if draw is None else draw.values for draw in self.draws),
        )
        results = None if gradients is None else self._results(gradients)
        self.recurrence = _numpy.Recurrence(layer.options, operands, results)

    def _results(self, gradients: Mapping[str, Array]) -> _numpy.Results:
        dstates = tuple(dstate for _, dstate in self.dstates)
        return _numpy.Results(
            self.dx, gradients["kernel"], gradients["recurrent_kernel"], gradients.get("bias"), dstates
        )

    def forward(self, x: Array, mask: Array | None) -> tuple[Array, Array | None]:
        for weight, state in self.states:
            np.copyto(state, weight)
        for draw in self.draws:
            if draw is not None:
                draw()
        return self.recurrence.forward(x, mask), mask if self.sequences else None

    def backward(self, dy: Array) -> Array | None:
        self.recurrence.backward(dy)
        for gradient, dstate in self.dstates:
            np.add.reduce(dstate, axis=0, out=gradient)
        return self.dx


def _draws(rate: float, shape: tuple[int, ...], place: Place) -> Draws | None:
    return Draws(rate, shape, place) if rate and place.training else None
