# SPDX-License-Identifier: Apache-2.0
"""An `elman.Network` as a Keras model of Keras's own classes, whose file opens without elman.

In: a built network. Out: a Functional model with the same weights, once both have computed the same from random input.
`LAYERS` has the layer of Keras for each row of the layer table. Where Keras has none, operations of `keras.ops` are in
the graph; Keras writes them to files as it writes layers. Keras's operations drop a mask, and its Add and Concatenate
join masks in another way: from there on, the mask is computed from the input and passed to the recurrent layers.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from elman.conversion.check import check_same, random_input
from elman.conversion.run_keras import outputs
from elman.network import (
    GRU,
    LSTM,
    Activation,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    Last,
    Latest,
    LayerNorm,
    Mask,
    Network,
    Normalize,
    Rescale,
    Reverse,
    SimpleRNN,
    Sum,
)
from elman.network.combine import Branches, Chain
from elman.network.layer import Layer
from elman.network.recurrent import STATES, Recurrent
from elman.patching import stock

_NOT_IN_KERAS = ("truncate_gradient", "clip_state_gradient", "learn_initial_state")
_log = logging.getLogger("elman")


class _Value(NamedTuple):
    """A tensor of the graph and its mask.

    Attributes:
        tensor: Keras's symbolic tensor.
        mask: Pairs of an input and a number: a step is valid where no input's features all equal its number.
        carried: Whether Keras passes that mask on with the tensor.
    """

    tensor: Any
    mask: tuple[tuple[Any, float], ...] = ()
    carried: bool = True

    def to(self, tensor: Any) -> _Value:
        """The output of a layer that keeps the mask."""
        return self._replace(tensor=tensor)

    def valid(self) -> Any:
        """The mask as a tensor, bool (batch, time)."""
        found = []
        for tensor, number in self.mask:
            differs = ops.not_equal(tensor, number)
            found.append(ops.any(differs, axis=-1) if len(tensor.shape) == 3 else differs)
        return functools.reduce(ops.logical_and, found)

    @property
    def as_argument(self) -> dict[str, Any]:
        """The argument with which a recurrent layer gets a mask that Keras does not pass on by itself."""
        return {} if self.carried or not self.mask else {"mask": self.valid()}


class _Row(NamedTuple):
    """A row of a network with its weights."""

    name: str
    layer: Any
    weights: dict[str, np.ndarray]
    dtype: str


def to_keras(network: Network) -> Any:
    """The network as a Keras model; see `Network.to_keras`."""
    if network.input_shape is None:
        raise ValueError("the network has no weights yet. Pass input_shape=, or call it once, before it is converted.")
    _check_width(network)
    kind = "int32" if network.takes_integers else network.dtype.name
    inputs = keras.Input(network.input_shape, dtype=kind)
    output = _through(network.layers, _Value(inputs), _rows(network))
    model = keras.Model(inputs, output.tensor, name="network")
    x = random_input(network, network.input_shape)
    check_same("the Network and its Keras model", network(x), outputs(model, x, network.dtype), network.dtype)
    return model


def _check_width(network: Network) -> None:
    """Raises if Keras's backend lacks the network's dtype."""
    got = keras.backend.standardize_dtype(ops.zeros((), network.dtype.name).dtype)
    if got != network.dtype.name:
        raise ValueError(
            f"to_keras got a Network of dtype {network.dtype.name}; expected float32, as {keras.config.backend()} "
            f"makes {got} of it. Make the Network with dtype='float32', or call "
            "jax.config.update('jax_enable_x64', True)."
        )


def _rows(network: Network) -> Iterator[_Row]:
    weights = network.weights
    for name, layer, _, parameters in network.bound:
        yield _Row(name, layer, {key: weights[f"{name}/{key}"] for key in parameters}, network.dtype.name)


# --- the graph ------------------------------------------------------------------------------------------------------


def _through(entry: Any, x: _Value, rows: Iterator[_Row]) -> _Value:
    """The output of an entry."""
    if isinstance(entry, Layer):
        row = next(rows)
        if type(entry) not in LAYERS:
            held = ", ".join(kind.__name__ for kind in LAYERS)
            raise ValueError(
                f"to_keras cannot express layer {row.name!r} ({type(entry).__name__}) by Keras's own classes; expected "
                f"{held}, Sum or Concat. Use Network.save, or leave the layer out."
            )
        return LAYERS[type(entry)](row, x)
    if isinstance(entry, Chain):
        for each in entry.entries:
            x = _through(each, x, rows)
        return x
    if _is_bidirectional(entry, x):
        return _bidirectional(entry, x, rows)
    return _joined(entry, [_through(branch, x, rows) for branch in entry.branches])


def _joined(entry: Branches, values: list[_Value]) -> _Value:
    if len(values) == 1:
        return values[0]
    join = keras.layers.Add() if isinstance(entry, Sum) else keras.layers.Concatenate()
    masks = {(id(tensor), number): (tensor, number) for value in values for tensor, number in value.mask}
    alike = all(value.carried and len(value.mask) == len(masks) for value in values)
    return _Value(join([value.tensor for value in values]), tuple(masks.values()), alike)


def _is_bidirectional(entry: Branches, x: _Value) -> bool:
    """Whether two branches are the two directions of one kind of layer, as Keras's Bidirectional computes them.

    That one zeroes the outputs of steps that are not valid, whatever its layers' options are.
    """
    if len(entry.branches) != 2:
        return False
    (one, *more), (other, *rest) = (branch.entries or (None,) for branch in entry.branches)
    return (
        isinstance(one, Recurrent)
        and type(one) is type(other)
        and (one.go_backwards, other.go_backwards) == (False, True)
        and one.return_sequences == other.return_sequences
        and not more
        and rest == [Reverse()] * one.return_sequences
        and (not x.mask or not one.return_sequences or (one.zero_output_for_mask and other.zero_output_for_mask))
    )


def _bidirectional(entry: Branches, x: _Value, rows: Iterator[_Row]) -> _Value:
    """Two directions as Keras's Bidirectional, which puts the second one into the order of the input by itself."""
    forward, backward = next(rows), next(rows)
    if forward.layer.return_sequences:
        next(rows)
    both = keras.layers.Bidirectional(
        _made(forward),
        merge_mode="sum" if isinstance(entry, Sum) else "concat",
        backward_layer=_made(backward),
        dtype=forward.dtype,
    )
    y = both(x.tensor, **x.as_argument)
    for layer, row in ((both.forward_layer, forward), (both.backward_layer, backward)):
        layer.set_weights(_kept(row))
    return x.to(y) if forward.layer.return_sequences else _Value(y)


# --- layers ---------------------------------------------------------------------------------------------------------


def _kept(row: _Row) -> list[np.ndarray]:
    """The weights that Keras's layer has; it starts from zeros.

    Raises:
        ValueError: If the row starts from something else.
    """
    states = [weight for name, weight in row.weights.items() if name in STATES]
    if any(np.any(state) for state in states):
        raise ValueError(
            f"to_keras cannot express layer {row.name!r}: it has a learned initial state that is not zero, and Keras's "
            "layers start from zero. Train it with learn_initial_state=False, or use Network.save."
        )
    return [weight for name, weight in row.weights.items() if name not in STATES]


def _made(row: _Row) -> Any:
    """The recurrent layer of Keras without weights. What it lacks acts on training alone, and is named in a warning."""
    kind = stock(keras.layers, type(row.layer).__name__)
    options = row.layer.config()
    dropped = [name for name in _NOT_IN_KERAS if options.pop(name)]
    if dropped:
        _log.warning("to_keras drops what Keras's layers lack: %s of %r.", ", ".join(dropped), row.name)
    return kind(name=row.name, dtype=row.dtype, **options)


def _recurrent(row: _Row, x: _Value) -> _Value:
    layer = _made(row)
    y = layer(x.tensor, **x.as_argument)
    layer.set_weights(_kept(row))
    return x.to(y) if row.layer.return_sequences else _Value(y)


def _by(kind: str, options: Callable[[Any], dict[str, Any]]) -> Callable[[_Row, _Value], _Value]:
    """The conversion to a layer of Keras with the same weights, which keeps the mask."""

    def convert(row: _Row, x: _Value) -> _Value:
        layer = getattr(keras.layers, kind)(**options(row.layer), name=row.name, dtype=row.dtype)
        y = x.to(layer(x.tensor))
        layer.set_weights(list(row.weights.values()))
        return y

    return convert


def _normalize(row: _Row, x: _Value) -> _Value:
    mean, std = (row.weights[name].astype("float64") for name in ("mean", "std"))
    layer = keras.layers.Normalization(
        mean=mean.tolist(), variance=(std * std).tolist(), name=row.name, dtype=row.dtype
    )
    return x.to(layer(x.tensor))


def _rescale(row: _Row, x: _Value) -> _Value:
    options = {name: row.weights[name].tolist() for name in ("scale", "offset")}
    return x.to(keras.layers.Rescaling(**options, name=row.name, dtype=row.dtype)(x.tensor))


def _dropout(row: _Row, x: _Value) -> _Value:
    alike = not row.layer.each_step and len(x.tensor.shape) == 3
    kind = keras.layers.SpatialDropout1D if alike else keras.layers.Dropout
    return x.to(kind(row.layer.rate, name=row.name, dtype=row.dtype)(x.tensor))


def _embedding(row: _Row, x: _Value) -> _Value:
    y = _by("Embedding", lambda e: {"input_dim": e.size, "output_dim": e.units, "mask_zero": e.mask_zero})(row, x)
    return y._replace(mask=((x.tensor, 0),)) if row.layer.mask_zero else y


def _mask(row: _Row, x: _Value) -> _Value:
    """Keras's layer forgets the mask before it."""
    y = keras.layers.Masking(row.layer.value, name=row.name, dtype=row.dtype)(x.tensor)
    return _Value(y, (*x.mask, (x.tensor, row.layer.value)), carried=not x.mask)


def _flatten(row: _Row, x: _Value) -> _Value:
    """Keras's Flatten warns that it drops a mask, and an operation does not."""
    if x.mask:
        return _side_by_side(x.tensor, int(np.prod(x.tensor.shape[1:])))
    return _Value(keras.layers.Flatten(name=row.name, dtype=row.dtype)(x.tensor))


def _latest(row: _Row, x: _Value) -> _Value:
    steps = row.layer.steps
    return _side_by_side(x.tensor[:, -steps:], steps * x.tensor.shape[-1])


def _side_by_side(tensor: Any, size: int) -> _Value:
    return _Value(ops.reshape(tensor, (-1, size)))


def _last(row: _Row, x: _Value) -> _Value:
    """The sum of the mask up to a step has its first maximum at the last valid step."""
    if not x.mask:
        return _Value(x.tensor[:, -1])
    step = ops.argmax(ops.cumsum(ops.cast(x.valid(), "int32"), axis=1), axis=1)
    return _Value(ops.take_along_axis(x.tensor, step[:, None, None], axis=1)[:, 0])


def _reverse(row: _Row, x: _Value) -> _Value:
    return _Value(ops.flip(x.tensor, axis=1), x.mask, carried=not x.mask)


LAYERS: dict[type, Callable[[_Row, _Value], _Value]] = {
    SimpleRNN: _recurrent,
    LSTM: _recurrent,
    GRU: _recurrent,
    Dense: _by("Dense", dataclasses.asdict),
    Activation: _by("Activation", dataclasses.asdict),
    LayerNorm: _by("LayerNormalization", dataclasses.asdict),
    Embedding: _embedding,
    Normalize: _normalize,
    Rescale: _rescale,
    Dropout: _dropout,
    Mask: _mask,
    Flatten: _flatten,
    Latest: _latest,
    Last: _last,
    Reverse: _reverse,
}
