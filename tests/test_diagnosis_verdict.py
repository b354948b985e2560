# SPDX-License-Identifier: Apache-2.0
"""Verdicts and advice from given facts, and how far back data asks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from diagnosis_cases import layer as usual_layer
from elman.diagnosis import need
from elman.diagnosis.figures import LayerFigures
from elman.diagnosis.observed import Words
from elman.diagnosis.verdict import Facts, Setting, advice, verdict

WORDS = Words("keras.layers.Normalization", "keras.layers.Normalization()", "elman.LSTM", "clipnorm=1.0")


def layer_with(**changed: Any) -> LayerFigures:
    lags = list(range(30))
    reach = [0.9**lag for lag in lags]
    own = {"units": 64, "lags": lags, "reach": reach, "lyapunov": -0.1, "half_life": 6.9, "saturation": {"h": 0.0}}
    return usual_layer(**(own | changed))


def facts_with(
    layer: LayerFigures, setting: dict[str, Any] | None = None, fresh: float = -0.1, **changed: Any
) -> Facts:
    usual: dict[str, Any] = {"activation": "tanh", "truncate": None, "drive": 1.0}
    settings = {"rnn": Setting(**(usual | (setting or {})), fresh=lambda: fresh, initializer=Gain)}
    own: dict[str, Any] = {
        "layers": {"rnn": layer},
        "settings": lambda: settings,
        "steps": 30,
        "horizon": 12,
        "need": 10,
        "left": 0.0,
        "ratio": 0.9,
        "learning_rate": (0.001, 0.001),
        "nonfinite_input": False,
        "words": WORDS,
    }
    return Facts(**(own | changed))


class Gain:
    """An initializer of Keras, as far as a sentence needs one."""

    def get_config(self) -> dict[str, float]:
        return {"gain": 1.25}


@pytest.mark.parametrize(
    ("facts", "name", "argument"),
    [
        (facts_with(layer_with(), ratio=0.05), "healthy", None),
        (facts_with(layer_with(), ratio=0.05, horizon=0, bypassed=True), "no memory used", None),
        (facts_with(layer_with(), ratio=0.05, horizon=3, bypassed=True), "healthy", None),
        (facts_with(layer_with(), ratio=0.4, left=0.4), "healthy", None),
        (facts_with(layer_with(), ratio=0.4, left=0.1), "underfits", "epochs"),
        (facts_with(layer_with(), ratio=0.4, left=None), "healthy", None),
        (facts_with(layer_with(), ratio=None, need=None), "no fault found", None),
        (facts_with(layer_with(), ratio=None, need=None, horizon=0), "memory unused", None),
        (facts_with(layer_with(saturation={"h": 0.8}), {"drive": 30.0}), "saturated", "keras.layers.Normalization"),
        (facts_with(layer_with(lyapunov=0.3), learning_rate=(0.3, 0.001)), "exploding", "learning_rate"),
        (
            facts_with(layer_with(reach=[0.1**k for k in range(30)]), fresh=-1.5),
            "vanishing",
            "recurrent_initializer",
        ),
        (facts_with(layer_with(reach=[0.1**k for k in range(30)])), "vanishing", "layer"),
        (facts_with(layer_with(), {"truncate": 3}, horizon=4), "memory unused", "truncate_gradient"),
        (facts_with(layer_with(), {"activation": "sigmoid"}, horizon=4), "memory unused", "activation"),
        (facts_with(layer_with(units=3)), "underfits", "units"),
        (facts_with(layer_with(dead=0.8), {"activation": "relu"}), "underfits", "activation"),
        (facts_with(layer_with(), horizon=30, need=None), "data short of memory", "window"),
        (
            facts_with(layer_with(reach=[0.99**k for k in range(30)]), horizon=30, need=30, ratio=1.2),
            "underfits",
            "epochs",
        ),
        (
            facts_with(layer_with(reach=[0.99**k for k in range(30)]), horizon=30, need=None, ratio=0.97),
            "underfits",
            "epochs",
        ),
        (facts_with(layer_with(first_nonfinite=3), horizon=None, ratio=None), "diverged", "learning_rate"),
    ],
)
def test_a_verdict_and_its_first_advice(facts: Facts, name: str, argument: str | None) -> None:
    found = verdict(facts)
    given = advice(facts, found.name)
    assert found.name == name
    assert argument is None or given[0].argument == argument
    assert bool(given) == (name not in {"healthy", "no fault found", "no memory used"})
    assert len(given) <= 3
    assert len({each.argument for each in given}) == len(given)
    for each in given:
        assert each.argument.rpartition(".")[2] in each.text or each.argument in {"layer", "window", "epochs"}


def test_without_targets_the_verdict_says_what_is_not_known() -> None:
    found = verdict(facts_with(layer_with(), ratio=None, need=None))
    assert found.because == (
        "The output uses 12 of 30 steps. Without targets it is not known whether that is enough: pass y."
    )


@pytest.mark.parametrize("horizon", [5, 12, 30])
def test_a_model_that_learned_nothing_is_described_so(horizon: int) -> None:
    found = verdict(facts_with(layer_with(), ratio=1.3, need=None, horizon=horizon))
    assert found.name == "underfits"
    assert found.because.count("of the best constant") == 1
    assert "The loss is 1.3 times that of the best constant: the model is not trained, or" in found.because


@pytest.mark.parametrize(("ratio", "name"), [(0.05, "healthy"), (None, "memory unused")])
def test_an_output_that_the_state_plays_no_part_in_is_described_so(ratio: float | None, name: str) -> None:
    found = verdict(facts_with(layer_with(), ratio=ratio, need=None, horizon=0))
    assert found.name == name
    assert "The recurrent state plays no part" in found.because
    assert "0 of 30" not in found.because


def refuses() -> Any:
    raise AssertionError("this is not needed for the advice")


@pytest.mark.parametrize("ratio", [0.05, None])
def test_a_verdict_without_a_fault_needs_no_settings(ratio: float | None) -> None:
    facts = facts_with(layer_with(), ratio=ratio, need=None, settings=refuses)
    assert advice(facts, verdict(facts).name) == []


def test_an_initializer_is_looked_for_only_where_the_present_one_is_a_cause() -> None:
    setting = Setting("tanh", None, 1.0, fresh=lambda: -0.1, initializer=refuses)
    facts = facts_with(layer_with(), settings=lambda: {"rnn": setting})
    assert [each.argument for each in advice(facts, "underfits")] == ["epochs"]


def test_rules_after_the_third_change_are_not_computed() -> None:
    setting = Setting("tanh", 3, 30.0, fresh=refuses, initializer=refuses)
    facts = facts_with(layer_with(), settings=lambda: {"rnn": setting}, learning_rate=(0.3, 0.001))
    arguments = [each.argument for each in advice(facts, "underfits")]
    assert arguments == ["truncate_gradient", "keras.layers.Normalization", "learning_rate"]


def test_what_the_data_asks_for_is_found() -> None:
    rng = np.random.default_rng(17)
    x, valid = rng.normal(size=(600, 25, 2)), np.ones((600, 25), bool)
    assert need.of(x, x[:, -8, :1], valid) == pytest.approx((8, 0.0), abs=1e-6)
    assert need.of(x, x[:, -3, :1] * x[:, -3, 1:], valid)[0] == 3
    noisy = x[:, -12, :1] + x[:, -2, 1:] + rng.normal(size=(600, 1))
    assert need.of(x, noisy, valid) == pytest.approx((12, 1 / 3), abs=0.06)
    assert need.of(x, rng.normal(size=(600, 1)), valid) is None
    shorter = valid & (np.arange(25) < rng.integers(15, 25, 600)[:, None])
    last = shorter.sum(axis=1) - 1
    assert need.of(x, x[np.arange(600), last - 4, :1], shorter)[0] == 5
