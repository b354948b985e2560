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


def marked(rng: Generator, examples: int, time: int, distractors: float = 1.0) -> Data:
    """Values and marks; one step is marked, at random, and the target is its value.

    Args:
        rng: Generator.
        examples: How many sequences.
        time: Steps.
        distractors: The values of the other steps are uniform between plus and minus this; 0: there are none.
    """
    x = np.zeros((examples, time, 2), "float32")
    x[:, :, 0] = distractors * rng.uniform(-1, 1, (examples, time))
    rows, at = np.arange(examples), rng.integers(0, time, examples)
    x[rows, at, 0] = rng.uniform(-1, 1, examples)
    x[rows, at, 1] = 1
    return Data(x, x[rows, at, :1].copy())


def waves(rng: Generator, examples: int, time: int) -> Data:
    """Windows of a noisy sum of two waves with random phases; the target is the next value, which a window decides."""
    at = np.arange(examples + time) + rng.uniform(0, 1000)
    series = np.sin(2 * np.pi * at / 12) + 0.5 * np.sin(2 * np.pi * at / 31) + 0.1 * rng.normal(size=len(at))
    windows = np.lib.stride_tricks.sliding_window_view(series.astype("float32"), time + 1)[:examples]
    return Data(np.ascontiguousarray(windows[:, :time, None]), windows[:, time:].copy())


def taught(rng: Generator, examples: int, time: int, start: float, units: int = 4) -> Data:
    """What a random SimpleRNN, the teacher, makes of random numbers at each step, from a hidden state that all share.

    Args:
        rng: Generator; the teacher's weights come first from it, so that the same generator makes the same teacher.
        examples: How many sequences.
        time: Steps.
        start: The teacher's hidden state has normal numbers of this size; 0: it starts from zeros.
        units: Of the teacher.
    """
    kernel, readout = 0.5 * rng.normal(size=(1, units)), rng.normal(size=(units, 1))
    recurrent_kernel = np.linalg.qr(rng.normal(size=(units, units)))[0]
    h = np.tile(start * rng.normal(size=units), (examples, 1))
    x, y = rng.uniform(-1, 1, (examples, time, 1)), np.zeros((examples, time, 1), "float32")
    for t in range(time):
        h = np.tanh(x[:, t] @ kernel + h @ recurrent_kernel)
        y[:, t] = h @ readout
    return Data(x.astype("float32"), y)
