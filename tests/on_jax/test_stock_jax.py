# SPDX-License-Identifier: Apache-2.0
"""The rows of docs/differences.md that only JAX can show."""

import logging
from collections.abc import Callable
from typing import Any

import jax
import keras
import numpy as np
import pytest

import elman

X = np.ones((2, 5, 3), "float32")
MASK = np.array([[True] * 5, [True, True, True, False, False]])


def compiled_by(call: Callable[[], Any], caplog: pytest.LogCaptureFixture) -> int:
    """How many programs JAX compiles in a call, by its own log."""
    with jax.log_compiles(), caplog.at_level(logging.WARNING, "jax"):
        caplog.clear()
        call()
    return sum(record.getMessage().startswith("Compiling") for record in caplog.records)


@pytest.mark.parametrize("mask", [None, MASK], ids=["all", "masked"])
@pytest.mark.parametrize("kind", ["SimpleRNN", "LSTM", "GRU"])
def test_an_eager_call_compiles_once(kind, mask, caplog):
    ours, stock = (getattr(module, kind)(4) for module in (elman, keras.layers))
    for layer in (ours, stock):
        layer(X, mask=mask)
    assert compiled_by(lambda: ours(X, mask=mask), caplog) == 0
    assert compiled_by(lambda: stock(X, mask=mask), caplog) >= 1
