# SPDX-License-Identifier: Apache-2.0
"""Claims 1 and 2: what a SimpleRNN computes, and its shapes. Nothing is trained."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from elman.claims.cells import CELLS
from elman.claims.claim import FAILS, HOLDS, Experiment, Findings
from elman.claims.estimates import known, mean, median, number
from elman.claims.runs import Runs
from elman.network import Network
from elman.options import ACTIVATIONS

Array = np.ndarray
APPLY: dict[str, Callable[[Array], Array]] = {
    "tanh": np.tanh,
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "relu": lambda z: np.maximum(z, 0),
    "linear": lambda z: z,
    "hard_sigmoid": lambda z: np.clip(z / 6 + 0.5, 0, 1),
}


def formula(x: Array, h: Array, kernel: Array, recurrent_kernel: Array, bias: Array) -> Array:
    """x_t W + h_{t-1} U + b: what the activation is applied to."""
    return x @ kernel + h @ recurrent_kernel + bias


def computes(
    runs: Runs,
    *,
    step: Callable[[Array, Array, Array, Array, Array], Array] = formula,
    activations: tuple[str, ...] = ACTIVATIONS,
    units: int = 8,
    features: int = 3,
    time: int = 12,
    batch: int = 5,
    dtype: str = "float64",
    tolerance: float = 1e-12,
) -> Findings:
    """Compares the layer with a loop over time in NumPy, float64, for each activation, with and without a bias,
    forwards and backwards, with and without a mask and an initial state, for the last step and for all.

    Args:
        runs: The seeds.
        step: x_t (batch, features), h_{t-1} (batch, units), W, U and b in; (batch, units) out.
        activations: Names.
        units: Units.
        features: Features of the input.
        time: Steps.
        batch: Examples.
        dtype: In which the layer computes.
        tolerance: The largest difference, relative to the largest output, at which the claim holds.
    """
    options = list(itertools.product(*[(False, True)] * 5))  # bias, backwards, mask, initial state, all steps

    def difference(activation: str, seed: int) -> float:
        return max(_difference(activation, seed, *each) for each in options)

    def _difference(
        activation: str, seed: int, use_bias: bool, backwards: bool, masks: bool, starts: bool, all_: bool
    ) -> float:
        rng = np.random.default_rng(seed)
        layer = CELLS["SimpleRNN"](
            units,
            activation,
            use_bias=use_bias,
            go_backwards=backwards,
            learn_initial_state=starts,
            return_sequences=all_,
        )
        network = Network([layer], dtype=dtype, seed=seed)
        network.build((None, features))
        for array in network.weights.values():
            array[...] = rng.normal(size=array.shape) / np.sqrt(units)
        x = rng.normal(size=(batch, time, features)).astype(dtype)
        mask = rng.random((batch, time)) < 0.7 if masks else np.ones((batch, time), bool)
        w = {name.partition("/")[2]: array for name, array in network.weights.items()}
        h = np.tile(w.get("initial_state", np.zeros(units)), (batch, 1))
        y = np.zeros_like(h)  # before the first valid step the layer returns zeros, as Keras does
        steps = []
        for t in reversed(range(time)) if backwards else range(time):
            bias = w.get("bias", np.zeros(units))
            new = APPLY[activation](step(x[:, t], h, w["kernel"], w["recurrent_kernel"], bias))
            h, y = (np.where(mask[:, t, None], new, old) for old in (h, y))
            steps.append(y)
        expected = np.stack(steps, axis=1) if all_ else y
        computed = network(x, mask=mask if masks else None)
        return float(abs(computed - expected).max() / abs(expected).max())

    found = runs.grid(difference, list(activations))
    figures = [
        median(f"largest relative difference, {name}", each) for name, each in zip(activations, found, strict=True)
    ]
    largest = known("largest relative difference of all", max(float(each.max()) for each in found))
    verdict = HOLDS if largest.estimate <= tolerance else FAILS
    because = (
        f"Over {len(options)} combinations of options, {len(activations)} activations and {len(runs.seeds)} seeds the "
        f"largest difference is {largest.estimate:.1e} of the largest output; allowed is {tolerance:.0e}."
    )
    return Findings(verdict, because, [*figures, largest])


COMPUTES: Experiment = Experiment(
    title="what it computes",
    statement="At each step it computes h_t = activation(x_t W + h_{t-1} U + b), with separate weights for the input "
    "and for the state.",
    prediction="A loop over time with that one line of NumPy gives the layer's outputs, whatever the options.",
    rule="It holds if the largest difference, over all options and seeds, is at most 1e-12 of the largest output.",
    measure=computes,
)


def shapes(
    runs: Runs,
    *,
    cell: str = "SimpleRNN",
    batch: tuple[int, ...] = (1, 7),
    time: tuple[int, ...] = (1, 9),
    features: tuple[int, ...] = (1, 4),
    units: tuple[int, ...] = (1, 5, 32),
) -> Findings:
    """Builds layers of every combination of sizes, with return_sequences off and on, and counts their parameters.

    Args:
        runs: The seeds; they draw the input.
        cell: SimpleRNN, LSTM or GRU.
        batch: Numbers of examples.
        time: Numbers of steps.
        features: Numbers of features.
        units: Numbers of units.
    """
    sizes = list(itertools.product(batch, time, features, units))

    def right(all_steps: bool, seed: int) -> tuple[float, float]:
        rng = np.random.default_rng(seed)
        shaped = counted = 0
        for b, t, f, u in sizes:
            network = Network([CELLS[cell](u, return_sequences=all_steps)], seed=seed)
            y = network(rng.normal(size=(b, t, f)))
            shaped += y.shape == ((b, t, u) if all_steps else (b, u))
            counted += network.flat.size == f * u + u * u + u
        return shaped / len(sizes), counted / len(sizes)

    last, every = runs.grid(right, [False, True])
    figures = [
        mean("share of layers with output (batch, units), return_sequences=False", last[:, 0]),
        mean("share of layers with output (batch, time, units), return_sequences=True", every[:, 0]),
        mean("share of layers with F U + U U + U parameters", np.concatenate([last[:, 1], every[:, 1]])),
    ]
    verdict = HOLDS if all(figure.estimate == 1 for figure in figures) else FAILS
    because = (
        f"Of {2 * len(sizes)} layers, {number(100 * (last[:, 0].mean() + every[:, 0].mean()) / 2)} % have the output "
        f"that is said and {number(100 * figures[2].estimate)} % the number of parameters."
    )
    return Findings(verdict, because, figures)


SHAPES: Experiment = Experiment(
    title="shapes and parameters",
    statement="The input is (batch, time, features); units sets the size of the state; return_sequences chooses every "
    "step or the last.",
    prediction="The output is (batch, units) or (batch, time, units), and the layer has F U + U U + U parameters, for "
    "F features and U units.",
    rule="It holds if that is so for every combination of sizes.",
    measure=shapes,
)
