# SPDX-License-Identifier: Apache-2.0
"""The loss of a model's last output, and that of the best constant, with which it is compared.

In: a model and targets. Out: a function of outputs. If the model is not compiled, the loss is the mean squared error.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from elman.diagnosis.call import Array


class Loss:
    """A loss against given targets.

    Attributes:
        name: Of the loss.
        targets: `(examples, ...)`, those of the last valid step.
    """

    name: str
    targets: Array

    def __init__(self, model: Any, targets: Array, shape: tuple[int, ...]) -> None:
        """Args:
        model: The model whose loss is computed.
        targets: `(examples, ...)`.
        shape: The shape of one example's output.

        Raises:
            ValueError: If the model has several losses, or the targets do not fit the output.
        """
        loss = getattr(model, "loss", None) or "mean_squared_error"
        if isinstance(loss, dict | list | tuple):
            raise ValueError(  # noqa: TRY004  Keras takes this type
                "The model has several losses; expected one. Leave y out, or diagnose one output's model."
            )
        self._loss: Any = keras.losses.get(loss)
        self.name = str(getattr(self._loss, "name", None) or getattr(self._loss, "__name__", "loss"))
        self._shape = shape
        self.targets = self._fitting(targets)

    @property
    def classes(self) -> bool:
        """Whether targets are class numbers."""
        return self.name.startswith("sparse")

    @property
    def crossentropy(self) -> bool:
        """Whether the loss is the logarithm of a probability."""
        return "crossentropy" in self.name

    def _fitting(self, targets: Array) -> Array:
        expected = self._shape[:-1] + (() if self.classes else self._shape[-1:])
        got = targets.shape[1:]
        if got not in {expected, (*expected, 1)} and (*got, 1) != expected:
            raise ValueError(
                f"y has shape {targets.shape}; expected (examples, {', '.join(map(str, expected))}), which fits "
                f"the model's output and its loss {self.name!r}. Reshape y, or leave it out."
            )
        return targets.reshape(len(targets), *expected)

    def __call__(self, outputs: Array) -> float:
        """The mean over examples.

        Args:
            outputs: `(examples, numbers)`.
        """
        predicted = outputs.reshape(len(outputs), *self._shape).astype("float32")
        kind = "int32" if self.classes else "float32"
        value = self._loss(
            keras.ops.convert_to_tensor(self.targets.astype(kind)), keras.ops.convert_to_tensor(predicted)
        )
        return float(np.mean(np.asarray(keras.ops.convert_to_numpy(value), "float64")))

    def of_a_constant(self) -> float:
        """The loss of the best constant output: the mean or median of the targets, or the frequency of each class."""
        if self.classes:
            size = self._shape[-1]
            constant = np.stack([(self.targets == label).mean(axis=0) for label in range(size)], axis=-1)
        elif "absolute" in self.name or self.name == "mae":
            constant = np.median(self.targets, axis=0)
        else:
            constant = self.targets.mean(axis=0)
        if self.crossentropy and getattr(self._loss, "_fn_kwargs", {}).get("from_logits"):
            odds = constant if self._shape[-1] > 1 else constant / np.maximum(1 - constant, 1e-7)
            constant = np.log(np.maximum(odds, 1e-7))
        return self(np.broadcast_to(constant.ravel(), (len(self.targets), constant.size)))

    def numbers(self) -> Array:
        """Targets as numbers whose differences have a meaning: classes are one-hot."""
        if self.classes:
            flat = self.targets.reshape(len(self.targets), -1)
            return (flat[..., None] == np.arange(self._shape[-1])).reshape(len(flat), -1).astype("float64")
        return self.targets.reshape(len(self.targets), -1).astype("float64")
