# SPDX-License-Identifier: Apache-2.0
"""The candidates of the task *forecast*. Each is a function from a fold, a choice and a seed to a `Model`.

The linear model and the networks are those of `elman fit`: a network starts as the linear model, and stays it where it
learns no more than chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from elman.comparison.forecast import Fold, lengths, predicted, shortened
from elman.comparison.model import Array, Choice, Model, Unfit, horizon_of
from elman.forecasting import baselines, forecaster
from elman.forecasting.baselines import Linear
from elman.forecasting.training import Examples
from elman.forecasting.verdict import surely_better
from elman.forecasting.windows import batch_size_for, moments_of
from elman.network import LAYERS, Dense, Flatten, Network

_EPOCHS, _PATIENCE, _NORM = 100, 9, 1.0
_NEARLY = 1.005  # times the least error; fewer rows that reach it are preferred to more
TREES = {"early_stopping": True, "max_leaf_nodes": 15, "max_bins": 63, "n_iter_no_change": 5}
_ROUNDS, _LEAST_ROUNDS = 150, 25  # trees over all steps ahead, and of each
_STEPS = 3_000  # of training, at most, in whole epochs


def last_value(fold: Fold, choice: Choice, seed: int) -> Model:
    """The last value at every step."""
    return Model(lambda starts: baselines.last_value(fold.windows, starts), 0, 1)


def seasonal(fold: Fold, choice: Choice, seed: int) -> Model:
    """The value a period before.

    Raises:
        Unfit: If the training part has no clear period.
    """
    if fold.period is None:
        raise Unfit("no period was found")
    period = fold.period
    return Model(lambda starts: baselines.seasonal(fold.windows, starts, period), 1, period, {"period": period})


def drift(fold: Fold, choice: Choice, seed: int) -> Model:
    """The last value, and the mean change of the training part for each step."""
    steps = np.arange(1, fold.windows.ahead + 1) * fold.drift
    return Model(lambda starts: baselines.last_value(fold.windows, starts) + steps, 1, 1)


def linear(fold: Fold, choice: Choice, seed: int) -> Model:
    """Ridge regression on the fewest latest rows whose validation error is nearly the least."""
    found = linear_of(fold)
    rows = len(found.weights) // len(found.mean)
    cut = fold.windows.window - rows
    short = shortened(fold.windows, rows)
    size = found.weights.size + found.bias.size
    return Model(
        lambda starts: found(short, starts + cut),
        size,
        rows * len(found.mean),
        {"rows": rows, "penalty": found.penalty},
    )


def linear_of(fold: Fold) -> Linear:
    """The linear model of a fold."""
    found = [squares_of_linear(fold, rows) for rows in lengths(fold.windows.window)]
    return found[fewest([float(np.sqrt(np.nanmean(squares))) for _, squares in found])][0]


def fewest(errors: Sequence[float]) -> int:
    """The index of the first error that is nearly the least."""
    return next(i for i, error in enumerate(errors) if error <= _NEARLY * min(errors))


def squares_of_linear(fold: Fold, rows: int) -> tuple[Linear, Array]:
    """The linear model of the latest rows, and its squared errors on the validation part."""
    windows = shortened(fold.windows, rows)
    found = baselines.fit_linear(windows, fold.mean, fold.std)
    held_out = windows.starts["validation"]
    return found, (found(windows, held_out) - windows.truth(held_out)) ** 2


def feedforward(fold: Fold, choice: Choice, seed: int) -> Model:
    """A hidden layer on the window."""
    return _network(fold, [Flatten(), Dense(choice.units, "relu")], choice, seed)


def recurrent(cell: str) -> Any:
    """The candidate with one recurrent layer of that cell."""

    def fit(fold: Fold, choice: Choice, seed: int) -> Model:
        layer: Any = LAYERS[cell]
        return _network(fold, [layer(choice.units)], choice, seed, recurrent=True)

    return fit


def _network(fold: Fold, layers: list[Any], choice: Choice, seed: int, *, recurrent: bool = False) -> Model:
    windows, start = fold.windows, linear_of(fold)
    scale = windows.of_outputs(fold.mean), windows.of_outputs(fold.std)
    network = forecaster.along(windows, start, layers, seed)
    untrained = forecaster.in_units(network, *scale)
    train = Examples(windows, windows.starts["train"], *scale)
    validation = Examples(windows, windows.starts["validation"], *scale, judge=True)
    batch_size = batch_size_for(len(train))
    history = network.fit(
        train,
        validation_data=validation,
        learning_rate=choice.learning_rate,
        clip_norm=_NORM,
        batch_size=batch_size,
        epochs=max(1, min(_EPOCHS, _STEPS * batch_size // len(train))),
        patience=_PATIENCE,
        seed=seed,
    )
    trained = forecaster.in_units(network, *scale)
    model = trained if history.best_epoch and _learned(fold, trained, untrained) else untrained
    about = choice._asdict() | {"epochs": len(history.loss), "learned": model is trained}
    losses = [history.untrained_loss, *history.validation_loss]
    state = windows.window * len(fold.mean) + choice.units

    def horizon() -> int | None:
        measured = windows.measured(fold.held_out)
        return horizon_of(model, windows.inputs(measured), windows.targets(measured))

    return Model(
        lambda starts: predicted(model, fold, starts),
        network.flat.size,
        state,
        about,
        horizon if recurrent else None,
        min(loss for loss in losses if loss is not None),
    )


def _learned(fold: Fold, trained: Network, untrained: Network) -> bool:
    """Whether training helped by more than chance on the validation part."""
    starts = fold.windows.starts["validation"]
    truth = fold.windows.truth(starts)
    after, before = ((predicted(model, fold, starts) - truth) ** 2 for model in (trained, untrained))
    return surely_better(after, before, fold.windows.ahead, moments_of(fold.table, starts, fold.windows.window))


def boosting(fold: Fold, choice: Choice, seed: int) -> Model:
    """Gradient-boosted trees on the window, for the change from the last value; one model for each step ahead."""
    from sklearn.ensemble import HistGradientBoostingRegressor
    from threadpoolctl import threadpool_limits

    windows = fold.windows
    train, validation = windows.starts["train"], windows.starts["validation"]

    def inputs(starts: Array) -> Array:
        return windows.inputs(starts).reshape(len(starts), -1)

    rounds = max(_LEAST_ROUNDS, _ROUNDS // windows.ahead)
    x, y = inputs(train), windows.targets(train).astype("float64") - windows.last(train)
    x_held_out, y_held_out = inputs(validation), windows.truth(validation) - windows.last(validation)
    known = ~np.isnan(y_held_out)
    with threadpool_limits(1):  # sums do not depend on the number of threads then
        models = [
            HistGradientBoostingRegressor(**TREES, max_iter=rounds, random_state=seed).fit(
                x, y[:, step], X_val=x_held_out[known[:, step]], y_val=y_held_out[known[:, step], step]
            )
            for step in range(windows.ahead)
        ]

    def predict(starts: Array) -> Array:
        steps = [model.predict(inputs(starts)) for model in models]
        return windows.last(starts) + np.column_stack(steps)

    return Model(predict, sum(map(nodes_of, models)), None, {"trees": sum(model.n_iter_ for model in models)})


def nodes_of(model: Any) -> int:
    """Numbers in the trees of a boosted model: two of each inner node, one of each leaf."""
    trees = [tree.nodes["is_leaf"] for row in model._predictors for tree in row]
    return int(sum(2 * (~leaf.astype(bool)).sum() + leaf.sum() for leaf in trees))
