# SPDX-License-Identifier: Apache-2.0
"""How much of the past a model's last output depends on: states are reset, and the change of the output is measured.

In: a model, and its run with nothing reset. Out: the deviation by the number of steps that are kept, and the horizon:
the smallest number of kept steps above which the deviation stays within 5 %. The measurement assumes nothing about the
model and takes no gradient. It shows how much history is used, not how much could be learned.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from elman.diagnosis import observe
from elman.diagnosis.call import Array
from elman.diagnosis.figures import TOLERANCE
from elman.diagnosis.observe import Reset, Seen
from elman.diagnosis.observed import Observed

_EVERY = 384  # every number of kept steps is tried up to this one
_FINER = 24  # above it: tries per doubling, before the place where the deviation settles is searched step by step
_NUMBERS = 8_000_000  # of the input in one call of the model
_RESAMPLES = 400
_NOISE = 1e-6  # smaller deviations come from rounding to float32 around the recurrent layers, and count as 0


class Curve(NamedTuple):
    """The last output by the number of valid steps that are kept.

    Attributes:
        kept: Numbers of steps, ascending from 0.
        deviation: For each of them, the root mean square of the output's change over examples and outputs, over the
            standard deviation of the full output.
        outputs: For each of them, `(examples, numbers)`.
        horizon: The smallest of them at which, and above which, the deviation is within the tolerance.
        low: The 2.5 % quantile of the horizon, by bootstrap over examples.
        high: The 97.5 % quantile.
    """

    kept: list[int]
    deviation: list[float]
    outputs: list[Array]
    horizon: int
    low: int
    high: int


class Resets(NamedTuple):
    """What is run again with states reset.

    Attributes:
        model: The model.
        x: Its inputs, some examples of `model.x`.
        reset: The names of those whose states are reset.
        full: The run with nothing reset.
    """

    model: Observed
    x: list[Array]
    reset: list[str]
    full: Seen

    @property
    def steps(self) -> int:
        """Time steps of the sequences that the first of the reset layers reads."""
        return self.full.calls[self.reset[0]].x.shape[1]


def measure(resets: Resets, seed: int = 0) -> Curve:
    """Measures the curve of a model; `seed` is that of the bootstrap."""
    full = resets.full.outputs
    outputs: dict[int, Array] = {}
    steps = resets.steps

    def try_all(numbers: list[int]) -> None:
        outputs.update(_outputs(resets, [k for k in numbers if k not in outputs]))

    try_all(_numbers(steps))
    # At least the rounding of float32: nothing else is left of an output that is the same for all examples.
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
    """Numbers of steps to keep: all of them, or all up to `_EVERY` and fewer above it."""
    if steps <= _EVERY:
        return list(range(steps + 1))
    beyond = np.geomspace(_EVERY, steps, int(_FINER * np.log2(steps / _EVERY)) + 2)
    return [*range(_EVERY), *sorted({int(k) for k in beyond[:-1]} | {steps})]


def _settled(deviation: Array) -> int:
    """The first index after which no deviation exceeds the tolerance; the number of deviations if the last one does."""
    above = np.flatnonzero(~(deviation <= TOLERANCE))
    return int(above[-1]) + 1 if len(above) else 0


def _at(kept: list[int], index: int, steps: int) -> int:
    return kept[index] if index < len(kept) else steps + 1


def _outputs(resets: Resets, numbers: list[int]) -> dict[int, Array]:
    """The last outputs for each number of kept steps, several in one call of the model."""
    full = resets.full.outputs
    outputs = {k: full for k in numbers if k >= resets.full.longest}  # no state is reset after the first valid step
    rest = [k for k in numbers if k not in outputs]
    size = max(resets.steps * len(full), *(np.size(part) for part in resets.x))
    at_once = max(1, _NUMBERS // size)
    for i in range(0, len(rest), at_once):
        some = rest[i : i + at_once]
        x = [np.tile(part, (len(some), *[1] * (part.ndim - 1))) for part in resets.x]
        reset = Reset(np.repeat(some, len(full)), resets.reset, resets.full)
        changed = observe.run_reset(resets.model, x, reset)
        outputs |= dict(zip(some, np.split(changed, len(some)), strict=True))
    return outputs
