# SPDX-License-Identifier: Apache-2.0
"""The figures of one recurrent layer, and one piece of advice: plain data."""

from __future__ import annotations

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Layer:
    """What was measured of a recurrent layer.

    Attributes:
        kind: `"SimpleRNN"`, `"LSTM"` or `"GRU"`.
        units: Its size.
        lags: 0, 1, 2, ...: valid steps back from the last one.
        reach: At each lag the norm of the gradient with respect to all states jointly, of a loss at the last step, over
            that at lag 0: the median over examples.
        reach_low: The 10 % quantile.
        reach_high: The 90 % quantile.
        lyapunov: The leading Lyapunov exponent, per step (natural logarithm).
        lyapunov_error: Its standard error over examples.
        half_life: Steps in which a difference halves, `ln 2 / -lyapunov`; infinite where it does not shrink.
        forgetting: The distance of the states from two beginnings under the same input, after 1, 2, ... steps, over
            the distance at first: the median over examples.
        saturation: For each gate (of a simple network `"h"`, the state) the share of values within 1 % of where the
            activation ends.
        dead: The share of relu units that are always zero.
        first_nonfinite: The first step with NaN or infinities, or `None`.
    """

    kind: str
    units: int
    lags: list[int]
    reach: list[float]
    reach_low: list[float]
    reach_high: list[float]
    lyapunov: float
    lyapunov_error: float
    half_life: float
    forgetting: list[float]
    saturation: dict[str, float]
    dead: float
    first_nonfinite: int | None


@dataclasses.dataclass(frozen=True)
class Advice:
    """A change to make.

    Attributes:
        argument: The argument to set.
        value: What to set it to, where that can be said by a value.
        text: One sentence.
    """

    argument: str
    value: Any
    text: str
