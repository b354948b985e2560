# SPDX-License-Identifier: Apache-2.0
"""A pytest plugin with which Keras's own tests run elman's layers instead of the stock ones.

Those tests read a layer as an attribute of `keras.src.layers` or `keras.layers` when they run, so the plugin sets these
attributes first. Out: at the end a line for each layer with the number of calls of its time loop.
"""

from __future__ import annotations

import collections
import functools
import importlib.util

import pytest

if importlib.util.find_spec("torch"):
    import torch  # noqa: F401  before TensorFlow, as in Keras's own conftest

import keras
from keras.src import layers as layers_in_tests

import elman

NAMES = ("SimpleRNN", "LSTM", "GRU")
MARKERS = ("requires_trainable_backend", "multi_device")  # defined in Keras's own conftest
_calls: collections.Counter[str] = collections.Counter()


def pytest_configure(config: pytest.Config) -> None:
    for marker in MARKERS:
        config.addinivalue_line("markers", f"{marker}: of Keras's own conftest")
    for name in NAMES:
        layer = getattr(elman, name)
        layer.inner_loop = _counted(name, layer.inner_loop)
        for module in (layers_in_tests, keras.layers):
            setattr(module, name, layer)


def _counted(name: str, inner_loop):
    @functools.wraps(inner_loop)
    def counting(*args, **kwargs):
        _calls[name] += 1
        return inner_loop(*args, **kwargs)

    return counting


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for name in NAMES:
        terminalreporter.write_line(f"time loops of elman.{name}: {_calls[name]}")
