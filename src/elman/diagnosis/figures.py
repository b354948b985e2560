# SPDX-License-Identifier: Apache-2.0
"""What a diagnosis or a trace holds: figures of each recurrent layer and of the model, a piece of advice, and states.
All of it is plain data."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np

TOLERANCE = 0.05  # the change of an output that counts as none, over the output's standard deviation


@dataclasses.dataclass(frozen=True)
class LayerFigures:
    """The figures of one recurrent layer.

    Attributes:
        kind: `"SimpleRNN"`, `"LSTM"` or `"GRU"`.
        units: Its size.
        lags: 0, 1, 2, ...: valid steps back from the last one.
        reach: At each lag the norm of the gradient with respect to all states jointly, for a loss at the last step,
            over that at lag 0: the median over examples.
        reach_low: The 10 % quantile.
        reach_high: The 90 % quantile.
        lyapunov: The leading Lyapunov exponent, per step (natural logarithm).
        lyapunov_error: Its standard error over examples.
        half_life: Steps in which a difference halves, `ln 2 / -lyapunov`; infinite if it does not shrink.
        forgetting: The distance of the states from two initial states under the same input, after 1, 2, ... steps,
            over the distance of the initial states: the median over examples.
        saturation: The share of values within 1 % of a limit of their activation, for each gate and for the state
            `"h"`; a SimpleRNN has only `"h"`, a GRU only gates.
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
class Figures:
    """The figures of a model. `Report` describes each of them."""

    model: str
    examples: int
    of: int
    steps: int
    horizon: int | None
    horizon_low: int | None
    horizon_high: int | None
    lags: list[int]
    deviation: list[float]
    loss: list[float] | None
    full_loss: float | None
    loss_name: str | None
    need: int | None
    layers: dict[str, LayerFigures]

    tolerance: ClassVar[float] = TOLERANCE


@dataclasses.dataclass(frozen=True)
class Advice:
    """A change to make.

    Attributes:
        argument: The argument to set.
        value: What to set it to, or `None` if no single value says it.
        text: One sentence.
    """

    argument: str
    value: Any
    text: str


@dataclasses.dataclass(frozen=True)
class TracedLayer:
    """What happened inside one recurrent layer, in float64 and in the order in which it reads.

    Attributes:
        kind: `"SimpleRNN"`, `"LSTM"` or `"GRU"`.
        states: After each step `"h"`, for an LSTM `"c"` as well, each `(examples, time, units)`.
        pre_activations: The sums `x W + h U + b` of each gate, for a SimpleRNN those of `"h"`, in the same shape.
        gates: `"i"`, `"f"`, `"g"`, `"o"` of an LSTM, `"z"`, `"r"`, `"n"` of a GRU, in the same shape; a SimpleRNN has
            none.
        mask: `(examples, time)`, `True` where a step is valid.
    """

    kind: str
    states: dict[str, np.ndarray]
    pre_activations: dict[str, np.ndarray]
    gates: dict[str, np.ndarray]
    mask: np.ndarray
