# SPDX-License-Identifier: Apache-2.0
"""A recurrent layer's call in NumPy: its tape, its gates, its gradients, and steps by their lag."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from elman import _native, reference
from elman.cells import CELLS
from elman.diagnosis import call as calls
from elman.diagnosis import gates, gradient
from elman.diagnosis.call import Call, Given, by_lag, computed, last_valid
from elman.options import Options

B, T, F, U = 7, 12, 3, 5
OPTIONS = {
    "simple rnn": Options(),
    "relu": Options(activation="relu"),
    "lstm": Options("lstm"),
    "gru": Options("gru"),
    "gru, reset before": Options("gru", reset_after=False),
    "zeros at masked steps": Options("lstm", zero_output_for_mask=True),
}


def given(options: Options, bias: bool = True, masked: bool = True) -> Given:
    rng = np.random.default_rng(0)
    cell = CELLS[options.cell]
    columns = len(cell.gates) * U
    rows = (2, columns) if options.cell == "gru" and options.reset_after else (columns,)
    weights = (rng.normal(size=(F, columns)), rng.normal(size=(U, columns)), rng.normal(size=rows) if bias else None)
    states = tuple(rng.normal(size=(B, U)) for _ in cell.states)
    valid = rng.random((B, T)) < 0.7 if masked else np.ones((B, T), bool)
    valid[:, 5] = True
    return Given(options, rng.normal(size=(B, T, F)), valid, states, weights, "float32", reversed_time=False)


@pytest.fixture(params=OPTIONS, ids=list(OPTIONS))
def options(request: pytest.FixtureRequest) -> Options:
    return OPTIONS[request.param]


def norms(found: Call) -> np.ndarray:
    return found.gradient_norms(np.random.default_rng(1).normal(size=(B, U)))


def test_gradients_are_those_of_the_reference_with_and_without_a_kept_tape(
    options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, dropped = computed(given(options), keep_tape=True), computed(given(options))
    assert kept.run.tape is not None
    assert dropped.run.tape is None
    assert_array_equal(norms(dropped), norms(kept))
    monkeypatch.setattr(calls, "_TAPE", kept.tape_numbers())  # one example at a time
    assert computed(given(options), keep_tape=True).run.tape is None
    assert_allclose(norms(dropped), norms(kept), rtol=1e-12)
    native = norms(kept)
    monkeypatch.setattr(_native, "reason", lambda: "as if there was no library")
    expected = computed(given(options))
    assert_allclose(kept.y, expected.y, rtol=1e-12, atol=1e-14)
    assert_allclose(native, norms(expected), rtol=1e-10, atol=1e-14)


def test_a_masked_end_passes_the_gradient_on_whatever_the_outputs_there() -> None:
    held, zeroed = given(Options("gru")), given(Options("gru", zero_output_for_mask=True))
    assert not held.valid[:, -1].all()
    assert_array_equal(norms(computed(held)), norms(computed(zeroed)))
    assert norms(computed(zeroed))[:, 0].min() > 0


@pytest.mark.parametrize("bias", [True, False])
def test_gates_and_sums_are_those_of_the_reference(options: Options, bias: bool) -> None:
    found = computed(given(options, bias))
    inside = gates.inside(found)
    cell = CELLS[options.cell]
    y, finals, tape = reference.forward(*found.operands(), options=options)
    _, _, *parts = (np.stack(part, axis=-2) for part in zip(*tape, strict=True))
    values = dict(zip(cell.tape, parts, strict=True))
    assert tuple(inside.sums) == cell.gates
    assert tuple(inside.gates) == (cell.gates if cell.gated else ())
    for name, sums in inside.sums.items():
        own = name == cell.candidate
        activation = reference.ACTIVATIONS[options.activation if own else options.recurrent_activation]
        assert_allclose(activation.value(sums), values[name], rtol=1e-10, atol=1e-14)
        assert_allclose(inside.gates.get(name, values[name]), values[name], rtol=1e-10, atol=1e-14)
    states = gates.states(found)
    assert tuple(states) == cell.states
    assert_array_equal(states["h"], found.y)
    for name, final in zip(cell.states[1:], finals[1:], strict=True):
        assert_array_equal(states[name][:, -1], final)
        masked = ~found.valid[:, 1:]
        assert_array_equal(states[name][:, 1:][masked], states[name][:, :-1][masked])


def test_a_changed_call_is_computed_again() -> None:
    found = computed(given(Options("lstm")))
    other = tuple(state + 1 for state in found.states)
    changed = found.changed(states=other)
    assert_array_equal(changed.y, computed(dataclasses.replace(given(Options("lstm")), states=other)).y)
    assert (changed.y != found.y).any()
    halved = (*(weight / 2 for weight in found.weights[:2]), None)
    assert_array_equal(found.changed(weights=halved).weights[0], halved[0])


def test_a_forgetting_curve_starts_after_the_first_valid_step() -> None:
    turn, _ = np.linalg.qr(np.random.default_rng(2).normal(size=(U, U)))
    some = given(Options(activation="linear"))
    linear = dataclasses.replace(some, weights=(some.weights[0], 0.5 * turn, None))
    curve = gradient.forgetting(computed(linear))
    assert_allclose(curve, 0.5 ** np.arange(1, len(curve) + 1), rtol=1e-9)
    assert len(curve) >= 7


def test_the_first_value_that_a_dtype_cannot_hold_is_found() -> None:
    some = given(Options(activation="linear"), masked=False)
    grows = dataclasses.replace(some, weights=(some.weights[0], 1e9 * np.eye(U), None))
    assert computed(some).first_nonfinite() is None
    assert computed(grows).first_nonfinite() == 4  # 1e9 to the 4th and 5th: float32 ends at 3.4e38
    assert computed(dataclasses.replace(grows, dtype="float16")).first_nonfinite() == 0
    assert computed(dataclasses.replace(grows, dtype="float64")).first_nonfinite() is None
    assert computed(dataclasses.replace(grows, reversed_time=True)).first_nonfinite() == T - 1 - 4


def test_steps_by_lag_and_the_last_valid_one() -> None:
    valid = np.array([[True, False, True, True], [True, True, False, False]])
    values = np.arange(8.0).reshape(2, 4)
    assert_array_equal(by_lag(values, valid, -1), [[3, 2, 0, -1], [5, 4, -1, -1]])
    assert_array_equal(by_lag(values[..., None], valid, 0.0)[..., 0], [[3, 2, 0, 0], [5, 4, 0, 0]])
    assert_array_equal(last_valid(valid), [3, 1])
    assert_array_equal(last_valid(np.zeros((1, 4), bool)), [3])
