# SPDX-License-Identifier: Apache-2.0
"""How far back the data itself asks, whatever the network: which steps of the input carry information on the target.

In: inputs `(examples, time, features)` and targets. Out: a number of steps, or `None` if no step carries information.
Steps are chosen one by one, each time the one that explains most of the rest (orthogonal matching pursuit: Pati,
Rezaiifar and Krishnaprasad 1993), as long as the Bayesian information criterion (Schwarz 1978) falls by more than
chance among so many steps. Each step counts by its features, their squares and their products. Effects that need
several steps together are not detected.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

from elman.diagnosis.call import Array, by_lag

MOST_EXAMPLES = 4096
_MOST_FEATURES = 6
_MOST_STEPS = 24  # chosen ones
_LEAST_EXAMPLES = 64


class Need(NamedTuple):
    """What the data asks for.

    Attributes:
        steps: The number of steps from the earliest one that carries information on the targets to the last valid one.
        left: The share of the targets' variance that the chosen steps do not explain.
    """

    steps: int
    left: float


def measurable(examples: int, features: int) -> bool:
    """Whether there are enough examples, and few enough features, to measure a need."""
    return examples >= _LEAST_EXAMPLES and features <= _MOST_FEATURES


def of(x: Array, targets: Array, valid: Array) -> Need | None:
    """How far back the targets ask.

    Args:
        x: `(examples, time, features)`.
        targets: `(examples, outputs)`.
        valid: `(examples, time)`.

    Returns:
        `None` if no step carries information, or there are too few examples or too many features to know.
    """
    if not measurable(len(x), x.shape[2]):
        return None
    x, targets, valid = x[:MOST_EXAMPLES], targets[:MOST_EXAMPLES].astype("float64"), valid[:MOST_EXAMPLES]
    terms = _terms(by_lag(x, valid, 0.0))
    left = targets - targets.mean(axis=0)
    total = np.square(left).sum()
    chosen: list[int] = []
    columns = np.zeros((len(x), 0))
    count, lags, size = terms.shape
    penalty = (size * left.shape[1]) * np.log(count) + 2 * np.log(lags)
    while len(chosen) < min(_MOST_STEPS, lags) and total > 0:
        gains = [_explained(terms[:, lag], left) if lag not in chosen else 0.0 for lag in range(lags)]
        best = int(np.argmax(gains))
        more = np.concatenate([columns, terms[:, best]], axis=1)
        rest = targets - targets.mean(axis=0)
        rest = rest - more @ np.linalg.lstsq(more, rest, rcond=None)[0]
        before, after = np.square(left).sum(), np.square(rest).sum()
        if not count * left.shape[1] * np.log(max(before, 1e-300) / max(after, 1e-300)) > penalty:
            break
        chosen, columns, left = [*chosen, best], more, rest
        if after < 1e-10 * total:
            break
    return Need(max(chosen) + 1, float(np.square(left).sum() / total)) if chosen else None


def _terms(x: Array) -> Array:
    """Features, their squares and products: standardized, and zero where they are constant."""
    pairs = itertools.combinations_with_replacement(range(x.shape[2]), 2)
    terms = np.concatenate([x, *(x[..., i : i + 1] * x[..., j : j + 1] for i, j in pairs)], axis=2)
    terms = terms - terms.mean(axis=0)
    scale = terms.std(axis=0)
    return terms / np.where(scale > 1e-12, scale, np.inf)


def _explained(terms: Array, left: Array) -> float:
    """The sum of squares of what is left that one step's terms explain."""
    basis, singular, _ = np.linalg.svd(terms, full_matrices=False)
    basis = basis[:, singular > 1e-6 * max(singular[0], 1e-300)]
    return float(np.square(basis.T @ left).sum())
