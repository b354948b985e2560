# SPDX-License-Identifier: Apache-2.0
"""Estimators of scikit-learn with a recurrent network in them: `Forecaster` and `Classifier`.

In: windows or sequences, `(samples, steps)` or `(samples, steps, features)`. Out: values, or classes. They work in
pipelines, in cross-validation and in searches. Needs scikit-learn 1.6 or later.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from elman.cells import BY_KERAS
from elman.network import LAYERS, Dense, Network, Normalize, files

Array = np.ndarray
_NORM = 1.0  # largest norm of the gradient
_MOST = 2**31 - 1


class _Recurrent(BaseEstimator):
    """What both estimators share: the parameters, the network, training with an early end."""

    def __init__(
        self,
        cell: str = "SimpleRNN",
        units: int = 32,
        *,
        learning_rate: float = 3e-3,
        epochs: int = 100,
        batch_size: int = 32,
        validation_fraction: float = 0.0,
        n_iter_no_change: int = 15,
        random_state: Any = None,
    ) -> None:
        self.cell = cell
        self.units = units
        self.learning_rate = learning_rate
        self.epochs = epochs
        self.batch_size = batch_size
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.random_state = random_state

    def __getstate__(self) -> dict[str, Any]:
        """What a pickle holds: the network as its description and its weights."""
        state = dict(super().__getstate__())
        if "network_" in state:
            state["network_"] = (json.dumps(self.network_.describe()), self.network_.weights)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "network_" in state:
            state = state | {"network_": files.network_of("the pickle", *state["network_"])}
        super().__setstate__(state)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    def _inputs(self, x: Array) -> Array:
        """`(samples, steps, features)`; double precision, so that a sample's result does not depend on the others."""
        return (x if x.ndim == 3 else x[:, :, None]).astype("float64")

    def _train(self, x: Array, y: Array, head: Dense, loss: str) -> None:
        if self.cell not in BY_KERAS:
            raise ValueError(f"cell is {self.cell!r}; expected one of {', '.join(BY_KERAS)}.")
        seed = int(check_random_state(self.random_state).randint(_MOST))
        inputs, layer = self._inputs(x), LAYERS[self.cell]
        mean, std = inputs.mean((0, 1), dtype="float64"), inputs.std((0, 1), dtype="float64")
        self.network_ = Network(
            [Normalize(mean, np.where(std > 0, std, 1)), layer(self.units), head],  # type: ignore[call-arg, arg-type]
            input_shape=inputs.shape[1:],
            dtype="float64",
            seed=seed,
        )
        held = round(self.validation_fraction * len(inputs))
        first = len(inputs) - held
        history = self.network_.fit(
            inputs[:first],
            y[:first],
            loss=loss,
            learning_rate=self.learning_rate,
            clip_norm=_NORM,
            batch_size=self.batch_size,
            epochs=self.epochs,
            validation_data=(inputs[first:], y[first:]) if held else None,
            patience=self.n_iter_no_change if held else None,
            seed=seed,
        )
        self.n_iter_ = len(history.loss)
        self.loss_curve_ = history.loss

    def _outputs(self, x: Any) -> Array:
        check_is_fitted(self)
        array = validate_data(self, x, reset=False, allow_nd=True)
        return self.network_(self._inputs(array))


class Forecaster(RegressorMixin, _Recurrent):
    """A recurrent network from windows to the values that follow.

    Args:
        cell: `"SimpleRNN"`, `"LSTM"` or `"GRU"`.
        units: Size of the recurrent layer.
        learning_rate: Of Adam.
        epochs: Largest number of passes over the data.
        batch_size: Samples in a step.
        validation_fraction: Share of the samples, the last ones, whose loss decides when training ends; 0 for none.
        n_iter_no_change: Epochs without a smaller validation loss after which it ends.
        random_state: Seed of the first weights and of the order of samples.

    Attributes:
        network_: The `elman.Network`, from windows to standardized values; `elman.export` and `elman.Stream` take it.
        n_iter_: Epochs of training.
        loss_curve_: The loss of each.

    Example:

        from sklearn.model_selection import TimeSeriesSplit, cross_val_score

        windows = np.lib.stride_tricks.sliding_window_view(series[:-1], 24)
        cross_val_score(elman.sklearn.Forecaster("GRU"), windows, series[24:], cv=TimeSeriesSplit())
    """

    def fit(self, X: Any, y: Any) -> Forecaster:  # noqa: N803  # the name of scikit-learn
        """Trains.

        Args:
            X: `(samples, steps)` or `(samples, steps, features)`.
            y: `(samples,)` or `(samples, ahead)`.

        Returns:
            Itself.
        """
        x, y = validate_data(self, X, y, allow_nd=True, multi_output=True, y_numeric=True)
        values = np.asarray(y, "float64")
        self._mean, std = values.mean(0), values.std(0)
        self._std = np.where(std > 0, std, 1)
        scaled = ((values - self._mean) / self._std).reshape(len(values), -1)
        self._one = values.ndim == 1
        self._train(x, scaled, Dense(scaled.shape[1]), "mse")
        return self

    def predict(self, X: Any) -> Array:  # noqa: N803
        """The values that follow, `(samples,)` or `(samples, ahead)`.

        Args:
            X: `(samples, steps)` or `(samples, steps, features)`.
        """
        outputs = self._outputs(X)
        return (outputs[:, 0] if self._one else outputs) * self._std + self._mean

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


class Classifier(ClassifierMixin, _Recurrent):
    """A recurrent network from sequences to classes.

    Args:
        cell: `"SimpleRNN"`, `"LSTM"` or `"GRU"`.
        units: Size of the recurrent layer.
        learning_rate: Of Adam.
        epochs: Largest number of passes over the data.
        batch_size: Samples in a step.
        validation_fraction: Share of the samples, the last ones, whose loss decides when training ends; 0 for none.
        n_iter_no_change: Epochs without a smaller validation loss after which it ends.
        random_state: Seed of the first weights and of the order of samples.

    Attributes:
        classes_: The classes.
        network_: The `elman.Network`, from sequences to probabilities.
        n_iter_: Epochs of training.
        loss_curve_: The loss of each.
    """

    def fit(self, X: Any, y: Any) -> Classifier:  # noqa: N803
        """Trains.

        Args:
            X: `(samples, steps)` or `(samples, steps, features)`.
            y: `(samples,)` classes.

        Returns:
            Itself.
        """
        x, y = validate_data(self, X, y, allow_nd=True)
        check_classification_targets(y)
        self.classes_, numbers = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError("Classifier got one class; expected two or more, a label for each sample.")
        self._train(x, numbers, Dense(len(self.classes_), "softmax"), "sparse_categorical_crossentropy")
        return self

    def predict_proba(self, X: Any) -> Array:  # noqa: N803
        """`(samples, classes)` probabilities.

        Args:
            X: `(samples, steps)` or `(samples, steps, features)`.
        """
        outputs = self._outputs(X)
        return outputs / outputs.sum(1, keepdims=True)

    def predict(self, X: Any) -> Array:  # noqa: N803
        """The most probable class of each sample.

        Args:
            X: `(samples, steps)` or `(samples, steps, features)`.
        """
        shares = self.predict_proba(X)  # raises if the estimator is not fitted
        return self.classes_[shares.argmax(1)]
