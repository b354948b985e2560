# SPDX-License-Identifier: Apache-2.0
"""What a diagnosis needs of a model: its recurrent layers by name, its inputs, and a way to run it.

`Observed` is derived twice: `on_network` for a `Network`, `on_keras` for a Keras model. Each runs the model with the
recurrence of each layer computed by a function of NumPy arrays, so that everything else in the diagnosis is the same.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from elman.cells import CELLS
from elman.diagnosis.call import Array, Given, Weights
from elman.state_gradient import Run

Loop = Callable[[Given], Run]


class Start(NamedTuple):
    """How the weights of a layer were drawn before training, where the user can choose it.

    Attributes:
        draw: New initial weights for weights of the same shapes; the same ones every time.
        better: Finds a better initializer of the recurrent kernel from the layer's input `(batch, time, features)` and
            its mask.
    """

    draw: Callable[[Weights], Weights]
    better: Callable[[Array, Array], Any]


class Recurrent(NamedTuple):
    """A recurrent layer of a model.

    Attributes:
        name: The layer's name after those of what contains it.
        own: The layer's name alone.
        cell: Name of its row in `cells.CELLS`.
        backward: Whether it is the backward half of two directions.
        sequences: Whether it returns every step.
        truncate: Its `truncate_gradient`.
        start: How its weights were drawn; `None` if that cannot be chosen.
    """

    name: str
    own: str
    cell: str
    backward: bool
    sequences: bool
    truncate: int | None
    start: Start | None

    @property
    def kind(self) -> str:
        """The layer's class as Keras names it."""
        return CELLS[self.cell].keras


class Criterion(NamedTuple):
    """A loss.

    Attributes:
        name: Its name.
        mean: Targets and outputs -> the mean over examples.
        classes: Whether targets are class numbers.
        from_logits: Whether outputs are logarithms of odds instead of probabilities.
        quantile: Which quantile of targets is the best constant output; `None` if their mean is.
    """

    name: str
    mean: Callable[[Array, Array], float]
    classes: bool = False
    from_logits: bool = False
    quantile: float | None = None


class Words(NamedTuple):
    """How the advice names what a user can change.

    Attributes:
        normalization: The layer that scales the input.
        normalized: A call of it, as a sentence names it.
        gated: The class of the layer with gates.
        clipping: How the norm of a gradient is limited.
    """

    normalization: str
    normalized: str
    gated: str
    clipping: str


class Observed(abc.ABC):
    """A model and its inputs.

    Attributes:
        name: Of the model.
        x: The inputs, each `(examples, ...)`.
        recurrent: All recurrent layers.
        criterion: Its loss.
        learning_rate: That of its optimizer and the default of the optimizer's class; `None` if unknown.
        outputs_count: The number of its outputs; `None` if that is known only after a run.
        words: How the advice names what can be changed.
        bypassed: Whether a path next to the recurrent layers, without a state, leads from the input to the output.
    """

    name: str
    x: list[Array]
    recurrent: list[Recurrent]
    learning_rate: tuple[float, float] | None
    outputs_count: int | None
    words: Words
    bypassed: bool = False

    @property
    @abc.abstractmethod
    def criterion(self) -> Criterion:
        """The loss.

        Raises:
            ValueError: If the model has several.
        """

    @abc.abstractmethod
    def run(self, x: list[Array], loops: Mapping[str, Loop]) -> list[Array]:
        """The outputs, each `(examples, ...)`, as the model computes them after training.

        Args:
            x: Inputs in the form of `self.x`, any number of examples.
            loops: Computes the recurrence of a layer, by its name. A layer without one is computed as usual.
        """

    def array(self, function: str, part: Any, name: str = "x") -> Array:
        """An input or a target as an array of numbers.

        Args:
            function: Name of the function that the user called, for the error message.
            part: What the user passed.
            name: What the user knows it by.

        Raises:
            TypeError: If it does not hold numbers.
        """
        found = np.asarray(part)
        if found.dtype.kind not in "fiub":
            raise TypeError(
                f"{function} got {name} of dtype {found.dtype} ({type(part).__name__}); expected an array of numbers, "
                "or one for each input of the model. Encode text as integers or one-hot."
            )
        return found
