# SPDX-License-Identifier: Apache-2.0
"""Markov chains of order 1 to 3 as candidates, for sequences of categories and for texts.

There are two ways to use one. Each class has a chain of its own, and the class is the one under which the sequence is
most probable; or the class follows from the last categories, as when it is the category that comes next. The
validation part decides on the way and the order. Probabilities are smoothed by adding a share of a count to each.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from elman.comparison.model import Array, Choice, Model, Unfit
from elman.comparison.sequences import Fold

_ORDERS, _ADDED = (1, 2, 3), (0.05, 0.5)
_MOST = 1 << 22  # entries of a table


def markov(fold: Fold, choice: Choice, seed: int) -> Model:
    """The best chain on the validation part.

    Raises:
        Unfit: If the sequences are not of categories.
    """
    data = fold.data
    if data.codes is None:
        raise Unfit("a Markov chain needs categories, and these are numbers")
    found: list[tuple[float, int, float, str, Callable[[Array], Array], int]] = []
    truth = data.y[fold.validation]
    for order in _ORDERS:
        base = data.symbols + 1
        if base**order * base * len(data.classes) > _MOST:
            continue
        contexts = _contexts(data.codes, base, order)
        for added in _ADDED:
            for way, make in _WAYS.items():
                predict, size = make(fold, contexts, order, added)
                chance = np.maximum(predict(fold.validation)[np.arange(len(truth)), truth], 1e-12)
                found.append((float(-np.log(chance).mean()), order, added, way, predict, size))
    if not found:
        raise Unfit("there are too many categories for a table of them")
    _, order, added, way, predict, size = min(found, key=lambda each: each[0])
    return Model(predict, size, order, {"order": order, "added": added, "way": way})


def _contexts(codes: Array, base: int, order: int) -> Array:
    """`(sequences, steps + 1)`: the number of the `order` categories before each step, and of the last ones."""
    padded = np.concatenate([np.zeros((len(codes), order), codes.dtype), codes], axis=1).astype("int64")
    windows = np.lib.stride_tricks.sliding_window_view(padded, order, axis=1)
    return windows @ (base ** np.arange(order - 1, -1, -1))


def _by_chain(fold: Fold, contexts: Array, order: int, added: float) -> tuple[Callable[[Array], Array], int]:
    """A chain for each class."""
    data = fold.data
    assert data.codes is not None
    base, classes = data.symbols + 1, len(data.classes)
    counts = np.zeros((base**order, base, classes))
    own, labels = data.codes[fold.train], data.y[fold.train]
    valid = own > 0
    np.add.at(counts, (contexts[fold.train, :-1][valid], own[valid], np.repeat(labels, valid.sum(1))), 1)
    counts = counts[:, 1:] + added
    table = np.concatenate([np.zeros((base**order, 1, classes)), np.log(counts / counts.sum(1, keepdims=True))], axis=1)
    prior = np.log((np.bincount(labels, minlength=classes) + added) / (len(labels) + added * classes))
    codes = data.codes

    def predict(some: Array) -> Array:
        scores = prior + table[contexts[some, :-1], codes[some]].sum(1)
        return _shares(scores)

    return predict, _seen(contexts[fold.train, :-1][valid]) * data.symbols * classes + classes


def _by_last(fold: Fold, contexts: Array, order: int, added: float) -> tuple[Callable[[Array], Array], int]:
    """The class by the last categories."""
    data = fold.data
    classes = len(data.classes)
    counts = np.zeros(((data.symbols + 1) ** order, classes))
    last, labels = contexts[fold.train, -1], data.y[fold.train]
    np.add.at(counts, (last, labels), 1)
    prior = np.bincount(labels, minlength=classes) / len(labels)
    counts += added * classes * np.maximum(prior, 1 / len(labels))
    table = np.log(counts / counts.sum(1, keepdims=True))
    return lambda some: _shares(table[contexts[some, -1]]), _seen(last) * classes


_WAYS = {"a chain for each class": _by_chain, "the last categories": _by_last}


def _seen(contexts: Array) -> int:
    """How many contexts the table needs."""
    return len(np.unique(contexts))


def _shares(scores: Array) -> Array:
    """Probabilities from logarithms."""
    scores = np.exp(scores - scores.max(1, keepdims=True))
    return scores / scores.sum(1, keepdims=True)
