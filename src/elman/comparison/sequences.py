# SPDX-License-Identifier: Apache-2.0
"""Sequences with a label each, as the task *classify* compares them, and folds of them.

In: arrays. Out: `Sequences`, all of one length: shorter ones have padding before them, which a mask marks, so that the
last step of each is the last column. A `Fold` holds the indices of its parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from elman.assessment import rolling_origins
from elman.comparison.model import Array
from elman.errors import DataError
from elman.forecasting.words import counted

VALIDATION = 0.2  # share of the sequences outside the test part on which candidates decide
_HELD_OUT = 0.3  # share of a series that all test parts have together
_LEAST = 2  # sequences of each class in each fold
SYMBOLS = "symbols"  # the name of the categories that are not a column's


class Known(NamedTuple):
    """How some data became sequences, as plain data, so that new ones are read in the same way.

    Attributes:
        columns: The columns of a table that are used, in order; empty for arrays.
        symbols: The different texts, in order, of each column of text, of texts under `SYMBOLS`.
        group: The column that names the sequence of each row, or `None`.
        time: The column that orders the rows, or `None`.
        by: `"words"` or `"characters"` of texts, or `None` for other data.
        window: Of a series of categories: how many of the last ones tell the next; or `None`.
    """

    columns: list[str]
    symbols: dict[str, list[str]]
    group: str | None = None
    time: str | None = None
    by: str | None = None
    window: int | None = None


class Sequences(NamedTuple):
    """Sequences and their labels.

    Attributes:
        x: `(sequences, steps, features)` numbers, float32, zero in the padding; or `None`.
        codes: `(sequences, steps)` categories from 1, 0 in the padding; or `None`. One of both is there.
        mask: `(sequences, steps)`, true where a step is there; `None` where all are.
        y: `(sequences,)` numbers of classes.
        classes: Their names.
        clusters: `(sequences,)`: those with the same number are never parted by a fold.
        symbols: How many categories there are.
        names: `(sequences,)`: what each is called, its group or the number of its row.
        known: How new sequences are read.
    """

    x: Array | None
    codes: Array | None
    mask: Array | None
    y: Array
    classes: list[str]
    clusters: Array
    symbols: int = 0
    names: Any = ()
    known: Known = Known([], {})

    @property
    def steps(self) -> int:
        """The length of the longest."""
        return int((self.x if self.codes is None else self.codes).shape[1])  # type: ignore[union-attr]

    def latest(self, steps: int) -> Sequences:
        """The last steps of each."""
        x, codes, mask = (None if each is None else each[:, -steps:] for each in (self.x, self.codes, self.mask))
        return self._replace(x=x, codes=codes, mask=mask)


class Fold(NamedTuple):
    """What is learned from, and what is held out.

    Attributes:
        data: The sequences.
        train: Indices of the training part.
        validation: On which candidates decide.
        test: The held-out part.
    """

    data: Sequences
    train: Array
    validation: Array
    test: Array

    @property
    def held_out(self) -> Array:
        """What a model is asked to predict."""
        return self.test

    def truth(self) -> Array:
        """`(sequences,)` numbers of classes."""
        return self.data.y[self.test]


def padded(parts: Sequence[Array], dtype: str) -> tuple[Array, Array | None]:
    """Sequences of any lengths as one array with padding before them, and a mask if they differ."""
    longest = max(len(part) for part in parts)
    whole = np.zeros((len(parts), longest, *parts[0].shape[1:]), dtype)
    mask = np.zeros((len(parts), longest), bool)
    for i, part in enumerate(parts):
        whole[i, longest - len(part) :] = part
        mask[i, longest - len(part) :] = True
    return whole, None if mask.all() else mask


def stratified(data: Sequences, count: int, seed: int) -> list[Fold]:
    """Folds with nearly the same share of each class, which part no cluster.

    Raises:
        DataError: If a class has too few clusters, or there are fewer clusters than folds.
    """
    if count > (own := len(np.unique(data.clusters))):
        raise DataError(f"folds is {count}, and there are {counted(own, 'sequence')}; expected fewer folds.")
    everything = np.arange(len(data.y))
    dealt = _dealt(data, everything, count, seed)
    folds = []
    for number in range(count):
        rest, test = everything[dealt != number], everything[dealt == number]
        inner = _dealt(data, rest, round(1 / VALIDATION), seed + 1)
        folds.append(Fold(data, rest[inner != 0], rest[inner == 0], test))
    return folds


def whole(data: Sequences, seed: int) -> Fold:
    """All sequences, to learn from and to validate; none is held out. In order of time the last ones validate.

    Raises:
        DataError: If a class has too few clusters.
    """
    everything = np.arange(len(data.y))
    if data.known.window is not None:
        (origin,) = rolling_origins(len(everything), 1, held_out=VALIDATION)
        return Fold(data, everything[origin.train], everything[origin.test], everything[:0])
    dealt = _dealt(data, everything, round(1 / VALIDATION), seed + 1)
    return Fold(data, everything[dealt != 0], everything[dealt == 0], everything[:0])


def _dealt(data: Sequences, some: Array, count: int, seed: int) -> Array:
    """A number from 0 to `count` - 1 for each of some sequences: those of a class are dealt out in turn."""
    clusters, first, member = np.unique(data.clusters[some], return_index=True, return_inverse=True)
    labels = data.y[some][first]
    place = np.random.default_rng(seed).permutation(len(clusters))
    order = place[np.argsort(labels[place], kind="stable")]
    number = np.empty(len(clusters), int)
    number[order] = np.arange(len(clusters)) % count
    least = np.bincount(labels, minlength=len(data.classes)).min()
    if least < _LEAST:
        raise DataError(
            f"a class has {counted(int(least), 'sequence')} to learn from; expected {_LEAST} or more in each fold. "
            "Choose fewer folds, leave the class out, or pass more sequences."
        )
    return number[member]


def rolling(data: Sequences, count: int) -> list[Fold]:
    """Folds of sequences in order of time: each learns from those before its test part.

    Raises:
        DataError: If there are too few.
    """
    try:
        origins = rolling_origins(len(data.y), count, held_out=_HELD_OUT)
        inner = [rolling_origins(origin.train.stop, 1, held_out=VALIDATION)[0] for origin in origins]
    except ValueError as error:
        raise DataError(f"the series is too short: {error}") from error
    everything = np.arange(len(data.y))
    return [
        Fold(data, everything[each.train], everything[each.test], everything[origin.test])
        for origin, each in zip(origins, inner, strict=True)
    ]
