# SPDX-License-Identifier: Apache-2.0
"""Random networks, and finite differences of what they compute. No framework, no tolerance."""

from __future__ import annotations

from typing import Any

import numpy as np

from elman.network import (
    GRU,
    LSTM,
    Activation,
    Concat,
    Dense,
    Flatten,
    Last,
    Latest,
    LayerNorm,
    Mask,
    Network,
    Normalize,
    Rescale,
    Reverse,
    SimpleRNN,
    Sum,
)

Array = np.ndarray
CELLS = (SimpleRNN, LSTM, GRU)
SIZES = (1, 2, 3, 4, 5)  # of layers
SMOOTH = ("linear", "tanh", "sigmoid", "softplus")


def random_layers(rng: np.random.Generator, features: int, sizes: tuple[int, ...] = SIZES) -> list[Any]:
    """Layers from sequences to vectors: a scaling, some recurrent layers in branches or not, dense layers."""
    layers: list[Any] = []
    if rng.random() < 0.5:
        layers.append(Normalize(rng.normal(size=features), rng.uniform(0.5, 2, features)))
    if rng.random() < 0.3:
        layers.append(Dense(pick(rng, sizes), str(rng.choice(SMOOTH))))
    layers.extend(sequence_layer(rng, pick(rng, sizes)) for _ in range(int(rng.integers(0, 3))))
    units = pick(rng, sizes)
    ends = [
        [recurrent(rng, units, return_sequences=False)],
        [recurrent(rng, units, return_sequences=True), Last()],
        [Latest(int(rng.integers(1, 4))), Dense(units)],
        [Flatten(), Dense(units, "tanh")],
    ]
    chosen = [ends[i] for i in rng.permutation(len(ends))[: int(rng.integers(1, 4))]]
    layers.append(Sum(chosen) if rng.random() < 0.5 else Concat(chosen))
    if rng.random() < 0.5:
        layers.append(LayerNorm())
    if rng.random() < 0.5:
        layers.append(Rescale(2.0, 1.0))
    return [*layers, Dense(int(rng.integers(2, 4)), str(rng.choice([*SMOOTH, "softmax"])))]


def pick(rng: np.random.Generator, values: tuple[int, ...]) -> int:
    """One of some values."""
    return values[int(rng.integers(len(values)))]


def recurrent(rng: np.random.Generator, units: int, return_sequences: bool) -> Any:
    """A recurrent layer with random options."""
    kind = CELLS[int(rng.integers(3))]
    options: dict[str, Any] = {"use_bias": bool(rng.random() < 0.8), "go_backwards": bool(rng.random() < 0.3)}
    options["learn_initial_state"] = bool(rng.random() < 0.3)
    options["zero_output_for_mask"] = bool(rng.random() < 0.3)
    if kind is GRU:
        options["reset_after"] = bool(rng.random() < 0.5)
    return kind(units, str(rng.choice(["tanh", "sigmoid", "linear"])), return_sequences=return_sequences, **options)


def sequence_layer(rng: np.random.Generator, units: int) -> Any:
    """An entry from sequences to sequences."""
    one = recurrent(rng, units, return_sequences=True)
    choices = [
        one,
        Sum([[Dense(units), one], [Dense(units)]]),
        Concat(
            [
                [SimpleRNN(units, return_sequences=True)],
                [LSTM(units, return_sequences=True, go_backwards=True), Reverse()],
            ]
        ),
        [Dense(units), Activation("tanh"), LayerNorm(1e-2)],
        Sum([[SimpleRNN(units, return_sequences=True), Dense(units)], Dense(units)]),
        Mask(0.0),
    ]
    return choices[int(rng.integers(len(choices)))]


def random_weights(network: Network, rng: np.random.Generator) -> None:
    """Trained weights with no zeros among them."""
    network.flat[:] = rng.normal(scale=0.5, size=network.flat.size)


def differences(network: Network, x: Array, mask: Array | None, dy: Array, step: float = 1e-6) -> Array:
    """The gradient of sum(dy * output) with respect to all trained weights, by central differences."""
    gradient = np.empty_like(network.flat)
    for i in range(len(gradient)):
        kept, ends = network.flat[i], []
        for moved in (kept + step, kept - step):
            network.flat[i] = moved
            ends.append(float((network(x, mask) * dy).sum()))
        network.flat[i] = kept
        gradient[i] = (ends[0] - ends[1]) / (2 * step)
    return gradient
