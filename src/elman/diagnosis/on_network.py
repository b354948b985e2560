# SPDX-License-Identifier: Apache-2.0
"""A `Network` as the diagnosis observes it: the operations of its recurrent layers are replaced in a pass.

In: a network and an input. Out: an `Observed`. Everything around the recurrent layers is computed as in the network's
own call, in its dtype. No framework.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from elman.cells import CELLS
from elman.diagnosis.call import Array, Weights, given
from elman.diagnosis.observed import Criterion, Loop, Observed, Recurrent, Words
from elman.network import Network
from elman.network import losses as network_losses
from elman.network.combine import Chain
from elman.network.layer import Layer, Op, Place
from elman.network.network import Bound
from elman.network.recurrent import STATES
from elman.network.recurrent import Recurrent as RecurrentLayer

_WORDS = Words(
    normalization="elman.network.Normalize",
    normalized="Normalize(mean, std), with those of x,",
    gated="elman.network.LSTM",
    clipping="clip_norm=1.0 in fit",
)


class ObservedNetwork(Observed):
    """A network and its input."""

    words = _WORDS
    outputs_count = 1
    learning_rate = None  # a network does not keep the one it was trained with

    def __init__(self, function: str, network: Network, x: Any, loss: str | network_losses.Loss = "mse") -> None:
        """Args:
        function: Name of the function that the user called, for error messages.
        network: The network.
        x: Its input.
        loss: What it was trained with.

        Raises:
            TypeError: If `x` does not hold numbers.
            ValueError: If the network has no weights or no recurrent layer, or the shape of x does not fit.
        """
        if network.input_shape is None:
            raise ValueError("the network has no weights yet; expected a trained one. Call fit first, or load a file.")
        self.network, self.name, self.loss = network, "network", loss
        self.x = [network.input(self.array(function, x))]
        self.bypassed = _has_bypass(network.layers)
        backward = _backward_halves(network)
        self.recurrent = [
            _described(each, backward=each.name in backward)
            for each in network.bound
            if isinstance(each.layer, RecurrentLayer)
        ]
        if not self.recurrent:
            raise ValueError(
                f"The network has no recurrent layer: {network!r:.200}; expected a SimpleRNN, LSTM or GRU. Only those "
                "remember."
            )

    @property
    def criterion(self) -> Criterion:
        """The loss that the network was trained with."""
        loss = network_losses.named(self.loss)
        quantile = {"mae": 0.5, "quantile": loss.parameter}.get(loss.name)
        return Criterion(loss.name, functools.partial(_mean, loss), classes=loss.classes, quantile=quantile)

    def run(self, x: list[Array], loops: Mapping[str, Loop]) -> list[Array]:
        """The output of the network."""

        def make(bound: Bound, place: Place) -> Op:
            loop = loops.get(bound.name)
            return bound.layer.bind(place) if loop is None else _Observing(bound.layer, place, loop)

        y, _ = self.network.bind(x[0].shape, make).forward(x[0], None)
        return [y.astype("float64")]


class _Observing(Op):
    """A recurrent layer whose recurrence is computed by a function of float64 arrays. It has no backward."""

    def __init__(self, layer: Layer, place: Place, loop: Loop) -> None:
        assert isinstance(layer, RecurrentLayer)
        self.layer, self.place, self.loop = layer, place, loop
        self.weights = _weights(place)

    def forward(self, x: Array, mask: Array | None) -> tuple[Array, Array | None]:
        place, sequences = self.place, self.layer.return_sequences
        states = tuple(np.zeros((len(x), self.layer.units)) + start for start in _initial_states(self.layer, place))
        run = self.loop(given(self.layer.options, x.astype("float64"), mask, states, self.weights, place.dtype.name))
        with np.errstate(over="ignore"):  # a value too large for the network's dtype is infinite there too
            y = np.ascontiguousarray(run.y if sequences else run.y[:, -1], place.dtype)
        return y, mask if sequences else None

    def backward(self, dy: Array) -> Array | None:
        raise NotImplementedError("an observed layer runs forwards only")


def _weights(place: Place) -> Weights:
    """Kernel, recurrent kernel and bias in float64."""
    kernel, recurrent_kernel = (place.weights[name].astype("float64") for name in ("kernel", "recurrent_kernel"))
    return kernel, recurrent_kernel, place.weights["bias"].astype("float64") if "bias" in place.weights else None


def _initial_states(layer: RecurrentLayer, place: Place) -> Iterator[Array]:
    """The initial state of each of the cell's states, `(units,)`, float64."""
    for name in STATES[: len(CELLS[layer.cell].states)]:
        yield place.weights.get(name, np.zeros(layer.units)).astype("float64")


def _described(bound: Bound, *, backward: bool) -> Recurrent:
    layer = bound.layer
    assert isinstance(layer, RecurrentLayer)
    return Recurrent(
        name=bound.name,
        own=bound.name,
        cell=layer.cell,
        backward=backward,
        sequences=layer.return_sequences,
        truncate=layer.truncate_gradient,
        start=None,  # a network draws its first weights in one way
    )


def _has_bypass(entry: Any) -> bool:
    """Whether branches on the same input meet of which some have recurrent layers and others none."""
    if isinstance(entry, Layer):
        return False
    if isinstance(entry, Chain):
        return any(_has_bypass(each) for each in entry.entries)
    recurrent = {_is_recurrent(branch) for branch in entry.branches}
    return len(recurrent) > 1 or any(_has_bypass(branch) for branch in entry.branches)


def _is_recurrent(entry: Any) -> bool:
    if isinstance(entry, Layer):
        return isinstance(entry, RecurrentLayer)
    return any(_is_recurrent(each) for each in (entry.entries if isinstance(entry, Chain) else entry.branches))


def _backward_halves(network: Network) -> set[str]:
    """The names of layers that read backwards while a layer in another branch on the same input reads forwards."""
    names = (each.name for each in network.bound)
    found: set[str] = set()

    def walk(entry: Any) -> dict[str, bool]:
        """Whether each recurrent layer of an entry reads backwards."""
        if isinstance(entry, Layer):
            name = next(names)
            return {name: entry.go_backwards} if isinstance(entry, RecurrentLayer) else {}
        if isinstance(entry, Chain):
            return {name: value for each in entry.entries for name, value in walk(each).items()}
        branches = [walk(branch) for branch in entry.branches]
        for branch in branches:
            if any(not backward for other in branches if other is not branch for backward in other.values()):
                found.update(name for name, backward in branch.items() if backward)
        return {name: value for branch in branches for name, value in branch.items()}

    walk(network.layers)
    return found


def _mean(loss: network_losses.Loss, targets: Array, outputs: Array) -> float:
    of_batch = network_losses.BatchLoss(loss, outputs.shape, outputs.dtype, wants_gradient=False)
    return of_batch(outputs, targets, None, None)
