# SPDX-License-Identifier: Apache-2.0
"""`elman.SimpleRNN`, alone and in a Bidirectional, against `torch.nn.RNN` with the same weights: outputs, final states
and all gradients.

`torch.nn.RNN` has each weight transposed, and a second bias, here zero. It is the yardstick of the rule, in float32,
and in float64 it is the truth, as the float64 layer has to be. Masks and what else it lacks is left to other tests.
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
    "batch": (1, 2, 7, 16),
    "time": (1, 2, 9, 20),
    "features": (1, 3, 17),
    "units": (1, 5, 16, 33, 70),
    "activation": ("tanh", "relu"),
    "initial_state": (False, True),
    "bidirectional": (False, True),
}
KINK = 1e-5  # as in `cases.make`
ROWS = cases.pairwise(SIZES)
WEIGHTS = ("kernel", "recurrent_kernel", "bias")


def problem(number: int) -> list[cases.Case]:
    """A case for each direction, of which the first brings x and, for both, the activation."""
    row = ROWS[number]
    shape = tuple(row[name] for name in ("batch", "time", "features", "units"))
    choice = {"activation": row["activation"], "initial_state": row["initial_state"]}
    first = cases.make(shape, choice, seed=number)
    if not row["bidirectional"]:
        return [first]
    # It gets the x of the first, with which no pre-activation of a relu may come near its kink either.
    for seed in itertools.count(1000 * (number + 1)):
        second = cases.make(shape, choice | {"go_backwards": True}, seed).replace(x=first.x)
        if row["activation"] != "relu" or np.abs(cases.pre_activations(second)).min() > KINK:
            return [first, second]
    raise AssertionError("itertools.count has no end")


def by_torch(halves: list[cases.Case], dtype: type) -> dict[str, Array]:
    """Every result by `torch.nn.RNN`, in the form that Keras gives it."""
    halves = [half.astype(dtype) for half in halves]
    shape = halves[0].shape
    rnn = torch.nn.RNN(
        shape.features,
        shape.units,
        nonlinearity=halves[0].options.activation,
        batch_first=True,
        bidirectional=len(halves) == 2,
        dtype=torch.from_numpy(halves[0].x).dtype,
    )
    suffixes = ("", "_reverse")[: len(halves)]
    with torch.no_grad():
        for suffix, half in zip(suffixes, halves, strict=True):
            getattr(rnn, f"weight_ih_l0{suffix}").copy_(torch.tensor(half.kernel.T))
            getattr(rnn, f"weight_hh_l0{suffix}").copy_(torch.tensor(half.recurrent_kernel.T))
            getattr(rnn, f"bias_ih_l0{suffix}").copy_(torch.tensor(half.bias))
            getattr(rnn, f"bias_hh_l0{suffix}").zero_()
    x = torch.tensor(halves[0].x, requires_grad=True)
    states = states_of(halves)
    y, h = rnn(x, torch.stack(states) if states else None)
    weights = [
        getattr(rnn, f"{name}_l0{suffix}") for suffix in suffixes for name in ("weight_ih", "weight_hh", "bias_ih")
    ]
    gradients = torch.autograd.grad([y, h], [x, *states, *weights], [dy_of(halves), torch.stack(dfinal_of(halves))])
    turned = [g.T if g.ndim == 2 and i > len(states) else g for i, g in enumerate(gradients)]
    return named(halves, y, list(h), turned)


def by_elman(halves: list[cases.Case], dtype: type) -> dict[str, Array]:
    """Every result by the layer."""
    halves = [half.astype(dtype) for half in halves]
    shape = halves[0].shape
    layer = elman.SimpleRNN(
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
    gradients = torch.autograd.grad([y, *h], [x, *states, *weights], [dy_of(halves), *dfinal_of(halves)])
    return named(halves, y, h, list(gradients))


def states_of(halves: list[cases.Case]) -> list[torch.Tensor]:
    return [torch.tensor(h.initial_state, requires_grad=True) for h in halves if h.initial_state is not None]


def dy_of(halves: list[cases.Case]) -> torch.Tensor:
    """The gradient of the output, whose second half is in the time order of x in both."""
    return torch.cat([torch.tensor(_turned(half, half.dy).copy()) for half in halves], dim=-1)


def _turned(half: cases.Case, y: Array) -> Array:
    return y[:, ::-1] if half.options.go_backwards else y


def dfinal_of(halves: list[cases.Case]) -> list[torch.Tensor]:
    return [torch.tensor(half.dfinal) for half in halves]


def named(
    halves: list[cases.Case], y: torch.Tensor, h: list[torch.Tensor], gradients: list[torch.Tensor]
) -> dict[str, Array]:
    sides = ("forward", "backward")[: len(halves)]
    names = ["y", *(f"{side} h" for side in sides), "dx"]
    if halves[0].initial_state is not None:
        names += [f"{side} dinitial_state" for side in sides]
    names += [f"{side} d{name}" for side in sides for name in WEIGHTS]
    return {name: t.detach().numpy() for name, t in zip(names, [y, *h, *gradients], strict=True)}


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
    """A problem held to the rule in both dtypes, and the errors found in float32."""
    halves, grid = problem(number), tolerance.Grid()
    truth, wide, theirs = truth_of(halves), by_torch(halves, np.float64), by_torch(halves, np.float32)
    what = ROWS[number]
    for name, array in by_elman(halves, np.float64).items():
        tolerance.assert_float64(array, truth[name], f"{what}: {name}")
        tolerance.assert_float64(array, wide[name], f"{what}: {name}, beside torch.nn.RNN")
    for name, array in by_elman(halves, np.float32).items():
        grid.check(name.rpartition(" ")[2], array, truth[name], theirs[name], what)
    return grid


@pytest.mark.parametrize("number", range(len(ROWS)))
def test_the_layer_agrees_with_torch_rnn(number: int) -> None:
    measured(number)


def test_all_problems_together_are_about_as_exact_as_torch_rnn() -> None:
    grid = tolerance.Grid()
    for number in range(len(ROWS)):
        grid.extend(measured(number))
    grid.assert_root_mean_square()
