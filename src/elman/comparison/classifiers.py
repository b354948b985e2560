# SPDX-License-Identifier: Apache-2.0
"""The candidates of the tasks *classify* and *text*. Each is a function from a fold, a choice and a seed to a `Model`.

They return probabilities of the classes. What looks at a window sees the steps side by side, the padding as zeros of
standardized numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from elman.comparison.forecasters import TREES, nodes_of
from elman.comparison.model import Array, Choice, Model, horizon_of
from elman.comparison.sequences import Fold
from elman.network import LAYERS, Dense, Embedding, Network
from elman.network.training import Arrays

_NORM, _BATCH = 1.0, 32
_STEPS, _PATIENCE = 3_000, 500  # of training, at most, and without a smaller validation loss; in whole epochs
_LEAST_EPOCHS = 10  # of both
_LONGEST = 40  # steps of numbers that a recurrent layer reads; of more, several are read as one, side by side
_VECTOR = 8  # numbers of an embedding, at most
_ROUNDS = 100  # of boosting
_LOSS = "sparse_categorical_crossentropy"


def majority(fold: Fold, choice: Choice, seed: int) -> Model:
    """The share of each class, whatever the sequence."""
    shares = np.bincount(fold.data.y[fold.train], minlength=len(fold.data.classes)) / len(fold.train)
    return Model(lambda some: np.tile(shares, (len(some), 1)), len(shares), 0)


def linear(fold: Fold, choice: Choice, seed: int) -> Model:
    """Logistic regression on the steps side by side; training ends where the validation loss no longer falls."""
    inputs = flat_inputs(fold)
    network = Network([_output(fold)], input_shape=inputs.shape[1:], seed=seed)
    return trained(fold, network, inputs, None, choice._replace(learning_rate=1e-2), seed, inputs.shape[1])


def feedforward(fold: Fold, choice: Choice, seed: int) -> Model:
    """A hidden layer on the steps side by side."""
    inputs = flat_inputs(fold)
    network = Network([Dense(choice.units, "relu"), _output(fold)], input_shape=inputs.shape[1:], seed=seed)
    return trained(fold, network, inputs, None, choice, seed, inputs.shape[1])


def recurrent(cell: str) -> Any:
    """The candidate with one recurrent layer of that cell; categories are embedded."""
    layer: Any = LAYERS[cell]

    def fit(fold: Fold, choice: Choice, seed: int) -> Model:
        data = fold.data
        head = [layer(choice.units), _output(fold)]
        if data.codes is not None:
            vector = min(_VECTOR, data.symbols)
            network = Network(
                [Embedding(data.symbols + 1, vector, mask_zero=True), *head], input_shape=(None,), seed=seed
            )
            return trained(fold, network, data.codes, None, choice, seed, choice.units, at_once=1)
        at_once = -(-data.steps // _LONGEST)
        inputs = side_by_side(standardized(fold), at_once)
        mask = None if data.mask is None else np.any(side_by_side(data.mask[:, :, None], at_once), axis=2)
        network = Network(head, input_shape=(None, inputs.shape[2]), seed=seed)
        return trained(fold, network, inputs, mask, choice, seed, choice.units, at_once=at_once)

    return fit


def trained(
    fold: Fold,
    network: Network,
    inputs: Array,
    mask: Array | None,
    choice: Choice,
    seed: int,
    state: int,
    *,
    at_once: int | None = None,
) -> Model:
    """A network that was trained on the fold.

    Args:
        fold: The fold.
        network: From inputs to probabilities.
        inputs: Of all sequences.
        mask: Of their steps.
        choice: The learning rate.
        seed: Of the order of examples.
        state: Numbers that it keeps between steps.
        at_once: Steps that a recurrent layer reads as one; `None` if there is no such layer.
    """

    def examples(some: Array) -> Arrays:
        return Arrays(network, inputs[some], fold.data.y[some], None, None if mask is None else mask[some])

    def horizon() -> int | None:
        assert at_once is not None
        whole = fold.test if fold.data.mask is None else fold.test[fold.data.mask[fold.test].all(axis=1)]
        found = horizon_of(network, inputs[whole], None)
        return None if found is None else min(found * at_once, fold.data.steps)

    each = -(-len(fold.train) // _BATCH)  # steps of an epoch
    history = network.fit(
        examples(fold.train),
        validation_data=examples(fold.validation),
        loss=_LOSS,
        learning_rate=choice.learning_rate,
        clip_norm=_NORM,
        batch_size=_BATCH,
        epochs=max(_LEAST_EPOCHS, _STEPS // each),
        patience=max(_LEAST_EPOCHS, _PATIENCE // each),
        seed=seed,
    )
    return Model(
        lambda some: network(inputs[some], None if mask is None else mask[some]).astype("float64"),
        network.flat.size,
        state,
        {"units": choice.units, "learning_rate": choice.learning_rate, "epochs": len(history.loss), "at_once": at_once},
        None if at_once is None else horizon,
        min(history.validation_loss),
        network,
    )


def boosting(fold: Fold, choice: Choice, seed: int) -> Model:
    """Gradient-boosted trees on the steps side by side; a step that is not there is a missing value."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits

    data = fold.data
    inputs = np.array(flat_inputs(fold))
    if data.mask is not None:
        inputs[~np.repeat(data.mask, inputs.shape[1] // data.steps, axis=1)] = np.nan
    with threadpool_limits(1):  # sums do not depend on the number of threads then
        model = HistGradientBoostingClassifier(**TREES, max_iter=_ROUNDS, random_state=seed).fit(
            inputs[fold.train], data.y[fold.train], X_val=inputs[fold.validation], y_val=data.y[fold.validation]
        )

    def predict(some: Array) -> Array:
        found = np.zeros((len(some), len(data.classes)))
        found[:, model.classes_] = model.predict_proba(inputs[some])
        return found

    return Model(predict, nodes_of(model), None, {"trees": int(model.n_iter_)})


def side_by_side(values: Array, count: int) -> Array:
    """`(sequences, steps / count, features * count)`: several steps as one; zeros come before the first ones."""
    before = -values.shape[1] % count
    padded = np.pad(values, ((0, 0), (before, 0), (0, 0)))
    return padded.reshape(len(values), -1, count * values.shape[2])


def scale_of(fold: Fold) -> tuple[Array, Array]:
    """Mean and deviation `(features,)` of the valid steps of the training part; a constant feature has 1."""
    data = fold.data
    assert data.x is not None
    some = data.x[fold.train]
    valid = some.reshape(-1, some.shape[2]) if data.mask is None else some[data.mask[fold.train]]
    mean, std = valid.mean(0, dtype="float64"), valid.std(0, dtype="float64")
    return mean, np.where(std > 0, std, 1)


def standardized(fold: Fold) -> Array:
    """All sequences of numbers, by the scale of the training part; zero in the padding."""
    data = fold.data
    assert data.x is not None
    mean, std = scale_of(fold)
    found = ((data.x - mean) / std).astype("float32")
    return found if data.mask is None else found * data.mask[:, :, None]


def flat_inputs(fold: Fold) -> Array:
    """`(sequences, steps * features)`: numbers standardized, categories as zeros and ones."""
    data = fold.data
    if data.codes is None:
        return standardized(fold).reshape(len(data.y), -1)
    return np.eye(data.symbols + 1, dtype="float32")[data.codes][:, :, 1:].reshape(len(data.y), -1)


def _output(fold: Fold) -> Dense:
    return Dense(len(fold.data.classes), "softmax")
