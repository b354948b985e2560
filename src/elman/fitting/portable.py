# SPDX-License-Identifier: Apache-2.0
"""What was learned to classify, as an `elman.Network` that takes what a user has: numbers in their units, categories.

In: a fold and the trained models of one candidate. Out: a network, and a `Form` that says what it reads; and the arrays
of some sequences in that form. The scaling is inside the network, so that a stream or a C header needs nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from elman.comparison.classifiers import scale_of, side_by_side
from elman.comparison.model import Array, Model
from elman.comparison.sequences import Fold, Sequences
from elman.comparison.text import presence
from elman.network import Dense, Embedding, Flatten, Last, Network, Normalize, Rescale, Sum

ROWS, CODES, PRESENCE = "rows", "codes", "presence"


class Form(NamedTuple):
    """What a network reads, as plain data.

    Attributes:
        kind: `"rows"`: `(steps, features)` numbers; `"codes"`: `(steps,)` categories from 1; `"presence"`:
            `(symbols,)`, which words or characters a text has, as a row of length 1.
        steps: The last so many of a sequence.
        at_once: Steps that are read as one, side by side.
    """

    kind: str
    steps: int
    at_once: int = 1


def majority(fold: Fold) -> tuple[Network, Form]:
    """The share of each class, whatever the sequence."""
    data = fold.data
    shares = np.bincount(data.y[fold.train], minlength=len(data.classes)) / len(fold.train)
    head = [Last(), Dense(len(shares), "softmax")]
    if data.x is None:
        network, kind = Network([Embedding(data.symbols + 1, 1), *head], input_shape=(None,)), CODES
    else:
        network, kind = Network(head, input_shape=(None, data.x.shape[2])), ROWS
    network.flat[:] = 0
    network.weights["dense/bias"][...] = np.log(np.maximum(shares, np.finfo("float32").tiny))  # finite for a new class
    return network, Form(kind, data.steps)


def linear(fold: Fold, model: Model) -> tuple[Network, Form]:
    """Logistic regression on the steps side by side, or on which symbols a text has."""
    data, trained = fold.data, model.network
    assert trained is not None
    if data.known.by is not None:
        return trained, Form(PRESENCE, data.steps)
    head = [Flatten(), Dense(len(data.classes), "softmax")]
    if data.x is None:  # categories as zeros and ones
        network = Network([Embedding(data.symbols + 1, data.symbols), *head], input_shape=(data.steps,))
        network.weights["embedding/embeddings"][...] = np.eye(data.symbols + 1, data.symbols, -1)
    else:
        network = Network([Normalize(*scale_of(fold)), *head], input_shape=(data.steps, data.x.shape[2]))
    network.flat[-trained.flat.size :] = trained.flat
    return network, Form(ROWS if data.codes is None else CODES, data.steps)


def average(fold: Fold, models: Sequence[Model]) -> tuple[Network, Form]:
    """The mean of the probabilities of several recurrent networks, as one network."""
    data, trained = fold.data, [model.network for model in models if model.network is not None]
    entries = trained[0].layers.entries
    branches = entries if len(trained) == 1 else [Sum([[*entries, Rescale(1 / len(trained))] for _ in trained])]
    at_once = int(models[0].about["at_once"])
    if data.x is None:
        network = Network([*branches], input_shape=(None,))
    else:
        mean, std = (np.tile(part, at_once) for part in scale_of(fold))
        network = Network([Normalize(mean, std), *branches], input_shape=(None, len(mean)))
    network.flat[:] = np.concatenate([each.flat for each in trained])
    return network, Form(ROWS if data.codes is None else CODES, data.steps, at_once)


def inputs(network: Network, form: Form, data: Sequences) -> tuple[Array, Array | None]:
    """The arrays of some sequences that a network reads, and their mask.

    Padding is the mean of each feature, which the network's `Normalize` makes zero, as in training.
    """
    if form.kind == PRESENCE:
        return presence(data), None
    data = data.latest(form.steps)
    before = form.steps - data.steps
    if data.codes is not None:
        return np.pad(data.codes, ((0, 0), (before, 0))), None
    assert data.x is not None
    before += -form.steps % form.at_once
    there = np.ones(data.x.shape[:2], bool) if data.mask is None else data.mask
    mask = np.pad(there, ((0, 0), (before, 0)))
    x = np.pad(data.x, ((0, 0), (before, 0), (0, 0)))
    mean: Any = network.weights.get("normalize/mean", np.float32(0))
    x = np.where(mask[:, :, None], x, mean[: x.shape[2]] if np.ndim(mean) else mean)
    valid = np.any(side_by_side(mask[:, :, None], form.at_once), axis=2)
    return side_by_side(x, form.at_once), None if np.all(valid) else valid
