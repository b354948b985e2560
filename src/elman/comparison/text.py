# SPDX-License-Identifier: Apache-2.0
"""The task *text*: labelled texts in, a `Problem` of stratified folds out, whose words or characters are numbered.

The vocabulary of a fold is that of its training part. A word that is not in it gets the number 1.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from elman.comparison import classify
from elman.comparison.asked import Asked
from elman.comparison.classifiers import trained
from elman.comparison.labelled import classes_of
from elman.comparison.model import Array, Choice, Model
from elman.comparison.problem import Problem
from elman.comparison.sequences import SYMBOLS, Fold, Known, Sequences, padded
from elman.errors import DataError
from elman.network import Dense, Network

_MOST_WORDS, _LEAST_COUNT = 5_000, 2  # of a vocabulary, and how often the training part has a word of it
_LONGEST = {"words": 100, "characters": 250}  # the last so many of a text are read
_WORD = re.compile(r"\w+|[^\w\s]")
_FEW_WORDS = 3.0  # words of a text on average, below which its characters are read


def problem(name: str, sha256: str, texts: Sequence[str], labels: Any, asked: Asked, said: str) -> Problem:
    """The problem.

    Raises:
        DataError: If the texts are empty, or other than texts, or the labels are not classes.
    """
    _check(texts)
    by = _by(texts) if asked.by == "auto" else asked.by
    parts = _parts(texts, by)
    symbols, codes = np.unique([symbol for part in parts for symbol in part], return_inverse=True)
    ends = np.cumsum([len(part) for part in parts])
    whole, mask = padded([each[-_LONGEST[by] :] + 1 for each in np.split(codes, ends[:-1])], "int64")
    y, classes = classes_of(np.asarray(labels), len(texts))
    own = np.arange(len(texts))
    known = Known([], {SYMBOLS: symbols.tolist()}, by=by)
    data = Sequences(None, whole, mask, y, classes, own, len(symbols), own, known)
    found = classify.problem("text", name, sha256, data, asked, f"{said}, by {by}")
    assert found.whole is not None
    everything = found.whole
    return found._replace(
        folds=[_with_vocabulary(fold) for fold in found.folds], whole=lambda: _with_vocabulary(everything())
    )


def unlabelled(texts: Sequence[str], known: Known) -> Sequences:
    """Texts with the numbers of a vocabulary, without labels.

    Args:
        texts: The texts.
        known: That of `Problem.whole`: words or characters, and those that have a number, from 2.

    Raises:
        DataError: If a text is empty, or is none.
    """
    assert known.by is not None
    _check(texts)
    number = {symbol: i for i, symbol in enumerate(known.symbols[SYMBOLS], 2)}
    parts = [np.array([number.get(symbol, 1) for symbol in part]) for part in _parts(texts, known.by)]
    whole, mask = padded([part[-_LONGEST[known.by] :] for part in parts], "int64")
    own = np.arange(len(texts))
    return Sequences(None, whole, mask, np.zeros(len(own), "int64"), [], own, len(number) + 1, own, known)


def _check(texts: Sequence[str]) -> None:
    """Raises DataError if one is not a text."""
    if (wrong := next((i for i, text in enumerate(texts) if not isinstance(text, str)), None)) is not None:
        raise DataError(f"text {wrong} (counted from 0) is {texts[wrong]!r}; expected a text. Leave it out.")


def _by(texts: Sequence[str]) -> str:
    """Words or characters."""
    words = sum(len(_WORD.findall(text)) for text in texts)
    return "words" if words >= _FEW_WORDS * len(texts) else "characters"


def _parts(texts: Sequence[str], by: str) -> list[list[str]]:
    """The words or characters of each text.

    Raises:
        DataError: If a text has none.
    """
    parts = [_WORD.findall(text.lower()) if by == "words" else list(text) for text in texts]
    if (empty := next((i for i, part in enumerate(parts) if not part), None)) is not None:
        raise DataError(f"text {empty} (counted from 0) is empty; expected {by}. Leave it out.")
    return parts


def _with_vocabulary(fold: Fold) -> Fold:
    """The fold with the frequent symbols of its training part numbered from 2, and all others as 1."""
    data = fold.data
    codes = data.codes
    assert codes is not None
    counts = np.bincount(codes[fold.train].ravel(), minlength=data.symbols + 1)
    counts[0] = 0
    order = np.argsort(-counts, kind="stable")[:_MOST_WORDS]
    kept = order[counts[order] >= _LEAST_COUNT]
    number = np.ones(len(counts), "int64")
    number[kept] = np.arange(2, len(kept) + 2)
    number[0] = 0
    texts = data.known.symbols[SYMBOLS]
    known = data.known._replace(symbols={SYMBOLS: [texts[i - 1] for i in kept]})
    return fold._replace(data=data._replace(codes=number[codes], symbols=len(kept) + 1, known=known))


def presence(data: Sequences) -> Array:
    """`(texts, symbols)`: which symbols each text has, as a row of length 1."""
    assert data.codes is not None
    inputs = np.zeros((len(data.codes), data.symbols + 1), "float32")
    inputs[np.arange(len(data.codes))[:, None], data.codes] = 1
    inputs = inputs[:, 1:]
    return inputs / np.maximum(np.sqrt((inputs**2).sum(1, keepdims=True)), 1)


def bag(fold: Fold, choice: Choice, seed: int) -> Model:
    """Logistic regression on which symbols a text has, whatever their order."""
    inputs = presence(fold.data)
    network = Network([Dense(len(fold.data.classes), "softmax")], input_shape=inputs.shape[1:], seed=seed)
    return trained(fold, network, inputs, None, choice._replace(learning_rate=1e-2), seed, inputs.shape[1])
