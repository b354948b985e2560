# SPDX-License-Identifier: Apache-2.0
"""What the tests of the diagnosis share: reports as plain data, usual ones and ones that have little or nothing to
show; and a counter of calls."""

from __future__ import annotations

import math
from typing import Any

import pytest

from elman.diagnosis.figures import Advice, LayerFigures
from elman.diagnosis.report import Report

NAN = float("nan")


def layer(**changed: Any) -> LayerFigures:
    lags = list(range(12))
    curve = [0.8**lag for lag in lags]
    own: dict[str, Any] = {
        "kind": "SimpleRNN",
        "units": 8,
        "lags": lags,
        "reach": curve,
        "reach_low": [0.5 * value for value in curve],
        "reach_high": [2 * value for value in curve],
        "lyapunov": -0.22,
        "lyapunov_error": 0.01,
        "half_life": 3.1,
        "forgetting": curve,
        "saturation": {"h": 0.25},
        "dead": 0.0,
        "first_nonfinite": None,
    }
    return LayerFigures(**(own | changed))


def report(layers: dict[str, LayerFigures] | None = None, advice: list[Advice] | None = None, **changed: Any) -> Report:
    advice = [Advice("units", 32, "Set units=32 on layer 'rnn'.")] if advice is None else advice
    own: dict[str, Any] = {
        "model": "walk",
        "examples": 64,
        "of": 300,
        "steps": 12,
        "horizon": 5,
        "horizon_low": 5,
        "horizon_high": 6,
        "lags": list(range(13)),
        "deviation": [1.0, 0.7, 0.4, 0.2, 0.06, *[0.01] * 8],
        "loss": [1.0, 0.8, 0.5, 0.3, 0.2, *[0.15] * 8],
        "full_loss": 0.15,
        "loss_name": "mean_squared_error",
        "need": 4,
        "layers": layers or {"rnn": layer()},
        "verdict": "healthy",
        "because": "The output uses 5 of 12 steps.",
        "notes": ["A note."],
        "date": "2026-02-03",
        "version": "1.2.3",
        "advise": lambda: advice,
    }
    return Report(**(own | changed))


LSTM = layer(kind="LSTM", saturation=dict.fromkeys("ifgoh", 0.5), half_life=math.inf, lyapunov=0.1)
ODD = {
    "usual": report(),
    "without targets": report(loss=None, full_loss=None, loss_name=None, need=None, advice=[], notes=[]),
    "two layers": report({"a": layer(), "b": LSTM}),
    "zeros": report({"rnn": layer(reach=[1.0, *[0.0] * 11], lyapunov=-math.inf, half_life=0.0)}),
    "no state": report(
        {"rnn": layer(saturation={"h": 0.0})}, horizon=0, horizon_low=0, horizon_high=0, deviation=[0.0] * 13
    ),
    "diverged": report(
        {
            "rnn": layer(
                lags=[],
                reach=[],
                reach_low=[],
                reach_high=[],
                forgetting=[],
                lyapunov=NAN,
                half_life=NAN,
                saturation={"h": 0.0},
            )
        },
        horizon=None,
        horizon_low=None,
        horizon_high=None,
        lags=[],
        deviation=[],
        loss=None,
        full_loss=None,
    ),
    "two steps": report({"rnn": layer(lags=[0, 1], reach=[1.0, 0.5], reach_low=[1, 0.4], reach_high=[1, 0.6])}),
    "dead": report({"rnn": layer(dead=0.5, saturation={"h": 1.0})}),
    "never settles": report(horizon=13, horizon_low=13, horizon_high=13, deviation=[1.0] * 13),
}


class Counted:
    """Counts the calls of a function, and notes what it is called with."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, where: Any, name: str) -> None:
        self.calls: list[tuple[Any, ...]] = []
        usual = getattr(where, name)

        def counting(*arguments: Any, **named: Any) -> Any:
            self.calls.append(arguments)
            return usual(*arguments, **named)

        monkeypatch.setattr(where, name, counting)

    def rows(self) -> list[int]:
        """Of the operands of each forward pass."""
        return sorted(len(operands[0]) for _, operands in self.calls)
