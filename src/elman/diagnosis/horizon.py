# SPDX-License-Identifier: Apache-2.0
"""How much of the past a model's last output depends on: states are reset, and the change of the output is measured.

In: a model, its inputs, its recurrent layers. Out: the deviation by how many steps are kept, and the horizon: the
smallest number from which on it stays within 5 %. Nothing is assumed of the model, and no gradient is taken: it answers
how much history is used, not how much could be learned.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np

from elman.diagnosis import observe
from elman.diagnosis.observe import Array, Found

TOLERANCE = 0.05  # of the standard deviation of the output
_EVERY = 384  # steps up to which every number of kept steps is tried
_FINER = 24  # beyond that: tries per doubling, before the place where it settles is searched step by step
_NUMBERS = 8_000_000  # of the input that a model is given at once
_RESAMPLES = 400
_NOISE = 1e-6  # deviations below it are the rounding of single precision around the layers, and are taken as 0


class Curve(NamedTuple):
    """The last output by the number of valid steps that are kept.

    Attributes:
        kept: Numbers of steps, ascending from 0.
        deviation: At each, root mean square over examples and outputs, over the full output's standard deviation.
        outputs: At each, `(examples, numbers)`.
        horizon: The smallest number from which on the deviation stays within the tolerance.
        low: Of the horizon, 2.5 % by bootstrap over examples.
        high: 97.5 %.
    """

    kept: list[int]
    deviation: list[float]
    outputs: list[Array]
    horizon: int
    low: int
    high: int


class Resets(NamedTuple):
    """What is run again and again.

    Attributes:
        model: A Keras model.
        x: Its inputs, as `checks.arrays` gives them.
        layers: Its recurrent layers.
        reset: The names of those whose states are reset.
        steps: Time steps.
    """

    model: Any
    x: Any
    layers: list[Found]
    reset: list[str]
    steps: int


def measure(resets: Resets, full: Array, seed: int = 0) -> Curve:
    """The curve of a model.

    Args:
        resets: The model, and what is reset.
        full: The last outputs with nothing reset, `(examples, numbers)`.
        seed: Of the bootstrap.
    """
    outputs: dict[int, Array] = {}
    steps = resets.steps

    def try_all(numbers: list[int]) -> None:
        outputs.update(_outputs(resets, [k for k in numbers if k not in outputs], len(full)))

    try_all(_numbers(steps))
    # No less than what single precision rounds, which alone is left of an output that is the same for all.
    scale = max(np.sqrt(np.mean(np.square(full - full.mean(axis=0)))), 2e-6 * np.abs(full).max(), 1e-30)
    while True:
        kept = sorted(outputs)
        squares = np.stack([np.mean(np.square(outputs[k] - full), axis=1) for k in kept]) / scale**2
        settled = _settled(np.sqrt(squares.mean(axis=1)))
        if settled in {0, len(kept)} or kept[settled] - kept[settled - 1] == 1:
            break
        try_all(list(range(kept[settled - 1] + 1, kept[settled])))
    deviation = np.sqrt(squares.mean(axis=1))
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(len(full), np.full(len(full), 1 / len(full)), _RESAMPLES) / len(full)
    resampled = np.sqrt(squares @ counts.T)
    ends = [_at(kept, _settled(column), steps) for column in resampled.T]
    low, high = np.quantile(ends, (0.025, 0.975), method="nearest")
    return Curve(
        kept,
        np.where(deviation < _NOISE, 0.0, deviation).tolist(),
        [outputs[k] for k in kept],
        _at(kept, settled, steps),
        int(low),
        int(high),
    )


def _numbers(steps: int) -> list[int]:
    """Of steps to keep: all, or all up to `_EVERY` and ever fewer beyond."""
    if steps <= _EVERY:
        return list(range(steps + 1))
    beyond = np.geomspace(_EVERY, steps, int(_FINER * np.log2(steps / _EVERY)) + 2)
    return [*range(_EVERY), *sorted({int(k) for k in beyond[:-1]} | {steps})]


def _settled(deviation: Array) -> int:
    """The index from which on all are within the tolerance; their number if the last is not."""
    above = np.flatnonzero(~(deviation <= TOLERANCE))
    return int(above[-1]) + 1 if len(above) else 0


def _at(kept: list[int], index: int, steps: int) -> int:
    return kept[index] if index < len(kept) else steps + 1


def _outputs(resets: Resets, numbers: list[int], examples: int) -> dict[int, Array]:
    """The last outputs for each number of kept steps, several in one call of the model."""
    size = max(resets.steps * examples, *(np.size(part) for part in keras.tree.flatten(resets.x)))
    at_once = max(1, _NUMBERS // size)
    outputs: dict[int, Array] = {}
    for i in range(0, len(numbers), at_once):
        some = numbers[i : i + at_once]
        x = keras.tree.map_structure(_tiling(len(some)), resets.x)
        seen = observe.run(resets.model, x, resets.layers, np.repeat(some, examples), resets.reset)
        outputs |= dict(zip(some, np.split(seen.outputs, len(some)), strict=True))
    return outputs


def _tiling(times: int) -> Callable[[Array], Array]:
    return lambda array: np.tile(array, (times, *[1] * (array.ndim - 1)))
