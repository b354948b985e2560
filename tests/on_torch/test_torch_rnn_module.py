# SPDX-License-Identifier: Apache-2.0
"""elman's layers, alone and in a Bidirectional, against `torch.nn.RNN`, `LSTM` and `GRU` with their weights: outputs,
final states and all gradients.

torch has each weight transposed, a GRU's gates in the order r, z, n, and always a second bias, here zero but for a GRU.
It is the yardstick of the rule, in float32, and in float64 it is the truth, as the float64 layer has to be. Masks and
what else it lacks is left to other tests.
"""

from __future__ import annotations

import functools
import itertools

import keras
import numpy as np
import pytest
import torch

import cases
import elman
import tolerance

Array = np.ndarray
SIZES = {
    "cell": ("simple_rnn", "lstm", "gru"),
    "batch": (1, 2, 7, 16),
    "time": (1, 2, 9, 20),
    "features": (1, 3, 17),
    "units": (1, 5, 16, 33, 70),
    "activation": ("tanh", "relu"),
    "initial_state": (False, True),
    "bidirectional": (False, True),
}
KINK = 1e-5  # as in `cases.make`
NAMES = {"simple_rnn": ("SimpleRNN", "RNN"), "lstm": ("LSTM", "LSTM"), "gru": ("GRU", "GRU")}  # of elman, of torch
ROWS = cases.pairwise(SIZES)
WEIGHTS = ("kernel", "recurrent_kernel", "bias")


def problem(number: int) -> list[cases.Case]:
    """A case for each direction. The first has x and the activation of both."""
    row = ROWS[number]
    shape = tuple(row[name] for name in ("batch", "time", "features", "units"))
    activation = row["activation"] if row["cell"] == "simple_rnn" else "tanh"  # torch's others have no choice
    choice = {"cell": row["cell"], "activation": activation, "initial_state": row["initial_state"]}
    first = cases.make(shape, choice, seed=number)
    if not row["bidirectional"]:
        return [first]
    # It gets the x of the first, with which no pre-activation of a relu may come near its kink either.
    for seed in itertools.count(1000 * (number + 1)):
        second = cases.make(shape, choice | {"go_backwards": True}, seed).replace(x=first.x)
        if not cases.near_a_kink(second, KINK):
            return [first, second]
    raise AssertionError("itertools.count has no end")


def in_torchs_order(weights: Array, cell: str) -> Array:
    """Gates (..., gates * units) as torch has them; a GRU's twice is as they were."""
    if cell != "gru":
        return weights
    z, r, n = np.split(weights, 3, axis=-1)
    return np.concatenate([r, z, n], axis=-1)


def by_torch(halves: list[cases.Case], dtype: type) -> dict[str, Array]:
    """Every result by torch's own module, in the form that Keras gives it."""
    halves = [half.astype(dtype) for half in halves]
    shape, cell = halves[0].shape, halves[0].options.cell
    own = {"nonlinearity": halves[0].options.activation} if cell == "simple_rnn" else {}
    rnn = getattr(torch.nn, NAMES[cell][1])(
        shape.features,
        shape.units,
        **own,
        batch_first=True,
        bidirectional=len(halves) == 2,
        dtype=torch.from_numpy(halves[0].x).dtype,
    )
    suffixes = ("", "_reverse")[: len(halves)]
    with torch.no_grad():
        for suffix, half in zip(suffixes, halves, strict=True):
            biases = half.bias if half.bias.ndim == 2 else (half.bias, np.zeros_like(half.bias))
            values = (half.kernel.T, half.recurrent_kernel.T, *biases)
            for name, value in zip(("weight_ih", "weight_hh", "bias_ih", "bias_hh"), values, strict=True):
                getattr(rnn, f"{name}_l0{suffix}").copy_(torch.tensor(in_torchs_order(value.T, cell).T))
    x = torch.tensor(halves[0].x, requires_grad=True)
    states, count = states_of(halves), len(halves[0].cell.states)
    stacked = [torch.stack(states[i::count]) for i in range(count)] if states else []
    y, finals = rnn(x, (tuple(stacked) if len(stacked) > 1 else stacked[0]) if stacked else None)
    finals = finals if isinstance(finals, tuple) else (finals,)
    finals = [final[i] for i in range(len(halves)) for final in finals]
    kinds = ("weight_ih", "weight_hh", "bias_ih", *["bias_hh"] * (cell == "gru"))
    weights = [getattr(rnn, f"{name}_l0{suffix}") for suffix in suffixes for name in kinds]
    gradients = torch.autograd.grad([y, *finals], [x, *states, *weights], [dy_of(halves), *dfinals_of(halves)])
    data, of_weights = gradients[: 1 + len(states)], [g.numpy().T for g in gradients[1 + len(states) :]]
    turned = [torch.from_numpy(in_torchs_order(g, cell)) for g in of_weights]
    if cell == "gru":  # one bias of two rows
        turned = [w for i in range(0, len(turned), 4) for w in (*turned[i : i + 2], torch.stack(turned[i + 2 : i + 4]))]
    return named(halves, y, finals, [*data, *turned])


def by_elman(halves: list[cases.Case], dtype: type) -> dict[str, Array]:
    """Every result by the layer."""
    halves = [half.astype(dtype) for half in halves]
    shape = halves[0].shape
    layer = getattr(elman, NAMES[halves[0].options.cell][0])(
        shape.units,
        activation=halves[0].options.activation,
        return_sequences=True,
        return_state=True,
        native="require",
        dtype=np.dtype(dtype).name,
    )
    layer = keras.layers.Bidirectional(layer, dtype=layer.dtype_policy) if len(halves) == 2 else layer
    layer.build(halves[0].x.shape)
    layer.set_weights([getattr(half, name) for half in halves for name in WEIGHTS])
    x = torch.tensor(halves[0].x, requires_grad=True)
    states = states_of(halves)
    y, *h = layer(x, initial_state=states or None)
    weights = [v.value for v in layer.trainable_variables]
    gradients = torch.autograd.grad([y, *h], [x, *states, *weights], [dy_of(halves), *dfinals_of(halves)])
    return named(halves, y, h, list(gradients))


def states_of(halves: list[cases.Case]) -> list[torch.Tensor]:
    return [torch.tensor(state, requires_grad=True) for half in halves for state in half.initial_states]


def dy_of(halves: list[cases.Case]) -> torch.Tensor:
    """The gradient of the output, whose second half is in the time order of x in both."""
    return torch.cat([torch.tensor(_turned(half, half.dy).copy()) for half in halves], dim=-1)


def _turned(half: cases.Case, y: Array) -> Array:
    return y[:, ::-1] if half.options.go_backwards else y


def dfinals_of(halves: list[cases.Case]) -> list[torch.Tensor]:
    return [torch.tensor(dfinal) for half in halves for dfinal in half.dfinals]


def named(
    halves: list[cases.Case], y: torch.Tensor, finals: list[torch.Tensor], gradients: list[torch.Tensor]
) -> dict[str, Array]:
    sides = ("forward", "backward")[: len(halves)]
    names = ["y", *(f"{side} {state}" for side in sides for state in halves[0].cell.states), "dx"]
    names += [f"{side} d{name}" for side in sides for name in cases.STATES[: len(halves[0].initial_states)]]
    names += [f"{side} d{name}" for side in sides for name in WEIGHTS]
    return {name: t.detach().numpy() for name, t in zip(names, [y, *finals, *gradients], strict=True)}


def truth_of(halves: list[cases.Case]) -> dict[str, Array]:
    """Every result by the reference in long double."""
    results = [cases.by_reference(half, np.longdouble) for half in halves]
    outputs = [_turned(half, result["y"]) for half, result in zip(halves, results, strict=True)]
    truth = {"y": np.concatenate(outputs, axis=-1), "dx": sum(result["dx"] for result in results)}
    for side, result in zip(("forward", "backward"), results, strict=False):
        truth |= {f"{side} {name}": array for name, array in result.items()}
    return truth


@functools.cache
def measured(number: int) -> tolerance.Grid:
    """Checks a problem by the rule in both dtypes; returns the errors in float32."""
    halves, grid = problem(number), tolerance.Grid()
    truth, wide, theirs = truth_of(halves), by_torch(halves, np.float64), by_torch(halves, np.float32)
    what = ROWS[number]
    for name, array in by_elman(halves, np.float64).items():
        tolerance.assert_float64(array, truth[name], f"{what}: {name}")
        tolerance.assert_float64(array, wide[name], f"{what}: {name}, next to torch's own")
    for name, array in by_elman(halves, np.float32).items():
        grid.check(name.rpartition(" ")[2], array, truth[name], theirs[name], what)
    return grid


@pytest.mark.medium
@pytest.mark.parametrize("number", range(len(ROWS)))
def test_the_layer_agrees_with_torchs_module(number: int) -> None:
    measured(number)


def test_all_problems_together_are_about_as_exact_as_torchs_modules() -> None:
    grid = tolerance.Grid()
    for number in range(len(ROWS)):
        grid.extend(measured(number))
    grid.assert_root_mean_square()
