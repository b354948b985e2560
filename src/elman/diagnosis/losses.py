# SPDX-License-Identifier: Apache-2.0
"""The loss of a model's last output, and that of the best constant, with which it is compared.

In: a model's criterion and targets. Out: a function of outputs.
"""

from __future__ import annotations

import numpy as np

from elman.diagnosis.call import Array
from elman.diagnosis.observed import Criterion


class Loss:
    """A loss against given targets.

    Attributes:
        name: Of the loss.
        targets: `(examples, ...)`, those of the last valid step.
    """

    def __init__(self, criterion: Criterion, targets: Array, shape: tuple[int, ...]) -> None:
        """Args:
        criterion: The loss that is computed.
        targets: `(examples, ...)`.
        shape: The shape of one example's output.

        Raises:
            ValueError: If the targets do not fit the output.
        """
        self._criterion, self._shape = criterion, shape
        self.name = criterion.name
        self.targets = self._fitting(targets)

    @property
    def crossentropy(self) -> bool:
        """Whether the loss is the logarithm of a probability."""
        return "crossentropy" in self.name

    def _fitting(self, targets: Array) -> Array:
        expected = self._shape[:-1] + (() if self._criterion.classes else self._shape[-1:])
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
        return self._criterion.mean(self.targets, outputs.reshape(len(outputs), *self._shape))

    def of_a_constant(self) -> float:
        """The loss of the best constant output: a mean or a quantile of the targets, or the frequency of each class."""
        if self._criterion.classes:
            size = self._shape[-1]
            constant = np.stack([(self.targets == label).mean(axis=0) for label in range(size)], axis=-1)
        elif self._criterion.quantile is not None:
            constant = np.quantile(self.targets, self._criterion.quantile, axis=0)
        else:
            constant = self.targets.mean(axis=0)
        if self.crossentropy and self._criterion.from_logits:
            odds = constant if self._shape[-1] > 1 else constant / np.maximum(1 - constant, 1e-7)
            constant = np.log(np.maximum(odds, 1e-7))
        return self(np.broadcast_to(constant.ravel(), (len(self.targets), constant.size)))

    def numbers(self) -> Array:
        """Targets as numbers whose differences have a meaning: classes are one-hot."""
        if self._criterion.classes:
            flat = self.targets.reshape(len(self.targets), -1)
            return (flat[..., None] == np.arange(self._shape[-1])).reshape(len(flat), -1).astype("float64")
        return self.targets.reshape(len(self.targets), -1).astype("float64")
