# SPDX-License-Identifier: Apache-2.0
"""The tasks of the experiments: sequences and targets by a seed, for which it is known what they ask.

In: a generator and sizes. Out: `Data`. Numbers are float32; a target of integers is the number of a class.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

Array = np.ndarray
Generator = np.random.Generator


class Data(NamedTuple):
    """Sequences (examples, time, features), and targets (examples, 1) of numbers or (examples,) of classes."""

    x: Array
    y: Array


def recall(rng: Generator, examples: int, lag: int, time: int) -> Data:
    """Numbers uniform in [-1, 1]; the target is the one `lag` steps before the last."""
    x = rng.uniform(-1, 1, (examples, time, 1)).astype("float32")
    return Data(x, x[:, -1 - lag].copy())


def which_first(rng: Generator, examples: int, time: int) -> Data:
    """Two symbols at two random steps among zeros; the class is whether the first symbol comes first."""
    x = np.zeros((examples, time, 2), "float32")
    at = rng.random((examples, time)).argsort(axis=1)[:, :2]  # two different steps
    rows = np.arange(examples)
    x[rows, at[:, 0], 0] = 1
    x[rows, at[:, 1], 1] = 1
    return Data(x, (at[:, 0] < at[:, 1]).astype("int64"))


def last_sign(rng: Generator, examples: int, time: int) -> Data:
    """Numbers uniform in [-1, 1]; the class is the sign of the first feature at the last step. No order is needed."""
    x = rng.uniform(-1, 1, (examples, time, 2)).astype("float32")
    return Data(x, (x[:, -1, 0] > 0).astype("int64"))
