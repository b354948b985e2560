# SPDX-License-Identifier: Apache-2.0
"""`Network`: a nested list of layers with all its parameters in one vector; forward, backward, summary.

A network is bound to a shape of input when it meets it: each layer gets an `Op` with the memory that a pass needs. The
ops of a few shapes are kept, by each thread for itself.
"""

from __future__ import annotations

import dataclasses
import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from elman.checks import positive_integer
from elman.network import files, losses, training
from elman.network.combine import Chain, ChainOp, ConcatOp, Sum, SumOp, chain
from elman.network.layer import Array, Layer, Op, Parameter, Place, Shape
from elman.network.recurrent import Recurrent
from elman.network.sequences import Flatten

_KEPT = 4  # shapes whose ops are kept, of training and of inference each: whole batch, last batch, validation, one more
DTYPES = ("float32", "float64")


_building = threading.Lock()  # two threads may call a network first


class _Kept(threading.local):
    """The ops of a thread, for training and for inference, by the shape of the input: they write to their own memory,
    so two threads cannot share one."""

    def __init__(self) -> None:
        self.ops: dict[bool, OrderedDict[tuple[int, ...], Op]] = {True: OrderedDict(), False: OrderedDict()}


class Bound(NamedTuple):
    """A layer of a network that knows its input."""

    name: str
    layer: Layer
    shape: Shape  # of its input, without the batch
    parameters: dict[str, Parameter]


class Network:
    """A small recurrent network that needs NumPy alone.

    Args:
        layers: Layers of `elman.network`, in order. A list in it is a sequence; `Sum([...])` and `Concat([...])` run
            branches on the same input.
        input_shape: Shape of the input without the batch: (time, features), (features,), or (time,) for an `Embedding`.
            A time of `None` is any; `Flatten` needs to know it. It may be left out: the first input then decides.
        dtype: `"float32"` or `"float64"`.
        seed: Seed of the first weights.

    Raises:
        TypeError: If an entry is not a layer, a combinator or a list.
        ValueError: If a layer cannot take what the one before it returns; the message names it.

    Example:

    >>> from elman.network import Dense, Network, SimpleRNN
    >>> net = Network([SimpleRNN(32), Dense(1)])
    >>> net(np.zeros((8, 20, 3))).shape  # batch, time, features
    (8, 1)

    Several threads may call a network at once, but not while it is trained.
    """

    def __init__(
        self,
        layers: Sequence[Any],
        *,
        input_shape: Shape | None = None,
        dtype: str = "float32",
        seed: int = 0,
    ) -> None:
        if dtype not in DTYPES:
            raise ValueError(f"dtype is {dtype!r}; expected one of {', '.join(DTYPES)}.")
        self.layers, self.dtype, self.seed = chain(layers), np.dtype(dtype), seed
        self.input_shape: Shape | None = None
        self.output_shape: Shape = ()
        self._names = _named(self.layers)
        self._bound: list[Bound] = []
        self._kept = _Kept()
        self._arrays: dict[str, Array] = {}
        self._gradients: dict[str, Array] = {}
        self.generator = np.random.default_rng(seed)
        if input_shape is not None:
            self.build(tuple(input_shape))

    @property
    def takes_integers(self) -> bool:
        """Whether the input is the integers of an `Embedding`."""
        return any(layer.integers for layer in _first_layers(self.layers))

    # --- parameters ---------------------------------------------------------------------------------------------

    def build(self, shape: Shape) -> None:
        """Makes the parameters for inputs of a shape.

        Args:
            shape: (time, features), (features,) or, for an `Embedding`, (time,). A time of `None` is any.

        Raises:
            ValueError: If the network is built already, a size is not valid, or a layer cannot take its input.
        """
        shape = tuple(self._size(shape, axis) for axis in range(len(shape)))
        if self.input_shape is not None:
            raise ValueError(f"the network is built for inputs of {self.input_shape}; make another one for {shape}.")
        bound, output = self._walk(shape)
        generator = np.random.default_rng(self.seed)
        sizes = [math.prod(p.shape) for each in bound for p in each.parameters.values() if p.trainable]
        self.flat, self.gradient = (np.zeros(sum(sizes), self.dtype) for _ in range(2))
        first = 0
        for each in bound:
            for key, parameter in each.parameters.items():
                name, size = f"{each.name}/{key}", math.prod(parameter.shape)
                if parameter.trainable:
                    self._arrays[name] = self.flat[first : first + size].reshape(parameter.shape)
                    self._gradients[name] = self.gradient[first : first + size].reshape(parameter.shape)
                    first += size
                else:
                    self._arrays[name] = np.empty(parameter.shape, self.dtype)
                self._arrays[name][...] = parameter.initial(generator, parameter.shape)
        self._bound, self.input_shape, self.output_shape = bound, shape, output

    def _size(self, shape: Shape, axis: int) -> int | None:
        """The size of an axis, checked; a time may be `None`."""
        is_time = self.takes_integers or (len(shape) > 1 and axis == 0)
        if is_time and shape[axis] is None:
            return None
        return positive_integer("time" if is_time else "the number of features", shape[axis])

    def _walk(self, shape: Shape) -> tuple[list[Bound], Shape]:
        bound: list[Bound] = []
        return bound, _walk(self.layers, shape, iter(self._names), bound)

    def weight_shapes(self, shape: Shape) -> dict[str, tuple[int, ...]]:
        """The shapes of the weights for an input of a shape, by name; nothing is made.

        Args:
            shape: As `build` takes it.
        """
        bound, _ = self._walk(shape)
        return {f"{each.name}/{key}": p.shape for each in bound for key, p in each.parameters.items()}

    @property
    def weights(self) -> dict[str, Array]:
        """The network's own arrays by name, `layer/parameter`; writing into one changes the network.

        Constants, such as the mean of a `Normalize`, are among them.
        """
        return dict(self._arrays)

    @property
    def gradients(self) -> dict[str, Array]:
        """The gradients that the last `backward` wrote, by the names of the weights that are trained."""
        return dict(self._gradients)

    def set_weights(self, weights: Mapping[str, Any]) -> None:
        """Copies arrays into the network.

        Args:
            weights: By the names of `weights`; all of them.

        Raises:
            ValueError: If a name is missing or unknown, or a shape differs. The network is unchanged then.
        """
        if set(weights) != set(self._arrays):
            missing, unknown = sorted(set(self._arrays) - set(weights)), sorted(set(weights) - set(self._arrays))
            raise ValueError(f"weights lack {missing} and have {unknown}; expected {sorted(self._arrays)}.")
        arrays = {name: np.asarray(value) for name, value in weights.items()}
        for name, array in arrays.items():
            if array.shape != self._arrays[name].shape:
                raise ValueError(f"{name} has shape {array.shape}; expected {self._arrays[name].shape}.")
        for name, array in arrays.items():
            self._arrays[name][...] = array

    def __getstate__(self) -> dict[str, Any]:
        """What a copy or a pickle is made of: arrays are views of one vector, and ops hold addresses."""
        return {
            "layers": self.layers,
            "input_shape": self.input_shape,
            "dtype": self.dtype.name,
            "seed": self.seed,
            "weights": self.weights,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        weights = state.pop("weights")
        Network.__init__(self, **state)
        self.set_weights(weights)

    # --- computing ----------------------------------------------------------------------------------------------

    def __call__(self, x: Any, mask: Any = None, lengths: Any = None) -> Array:
        """Computes the outputs.

        Args:
            x: (batch, time, features), (batch, features), or integers (batch, time) for an `Embedding`.
            mask: bool (batch, time), true where a step is valid.
            lengths: Integers (batch,): the first so many steps are valid. Not together with `mask`.

        Returns:
            A new array.

        Raises:
            TypeError: If `x` does not hold numbers.
            ValueError: If a shape does not fit.
        """
        array = self.input(x)
        y, _ = self.op(array.shape, training=False).forward(array, self.valid(array, mask, lengths))
        return y.copy()

    def forward(self, x: Array, mask: Array | None = None) -> tuple[Array, Array | None]:
        """As a step of training computes it: with dropout, and remembering what `backward` needs.

        Args:
            x: As `input` returns it.
            mask: As `valid` returns it.

        Returns:
            The output and the mask of its steps, in memory that the next call overwrites.
        """
        return self.op(x.shape, training=True).forward(x, mask)

    def backward(self, dy: Array) -> dict[str, Array]:
        """The gradients of the weights, from that of the output of the last `forward`.

        Args:
            dy: Of the output's shape and dtype.

        Returns:
            As `gradients`.
        """
        (op,) = list(self._kept.ops[True].values())[-1:]
        op.backward(np.ascontiguousarray(dy, self.dtype))
        return self.gradients

    def op(self, shape: tuple[int, ...], training: bool) -> Op:
        """The operation for an input of that shape, batch first."""
        ops = self._kept.ops[training]
        if shape in ops:
            ops.move_to_end(shape)
            return ops[shape]
        with _building:
            if self.input_shape is None:
                self.build(self._open(shape[1:]))
        if len(ops) >= _KEPT:
            ops.popitem(last=False)
        ops[shape] = self._bind(self.layers, shape, iter(self._bound), False, training, _own_op)[0]
        return ops[shape]

    def bind(self, shape: tuple[int, ...], make: Callable[[Bound, Place], Op]) -> Op:
        """An operation for inference on inputs of that shape, whose layers another function binds. It is not kept.

        Args:
            shape: Shape of the input, batch first.
            make: The operation of a layer at a place.
        """
        return self._bind(self.layers, shape, iter(self._bound), False, False, make)[0]

    def _bind(
        self,
        entry: Any,
        shape: tuple[int, ...],
        bound: Iterator[Bound],
        wants_dx: bool,
        training: bool,
        make: Callable[[Bound, Place], Op],
    ) -> tuple[Op, tuple[int, ...], bool]:
        """The op of an entry, the shape of its output, and whether the entry after it has to return a gradient."""
        if isinstance(entry, Layer):
            each = next(bound)
            weights, gradients = (
                {k: of[f"{each.name}/{k}"] for k in each.parameters if f"{each.name}/{k}" in of}
                for of in (self._arrays, self._gradients)
            )
            place = Place(weights, gradients if training else None, shape, self.dtype, self.generator, wants_dx)
            each.layer.check(shape[1:], each.name)
            output = each.layer.output(shape[1:])
            return make(each, place), (shape[0], *_known(output)), training and (wants_dx or bool(gradients))
        if isinstance(entry, Chain):
            ops = []
            for each_entry in entry.entries:
                op, shape, wants_dx = self._bind(each_entry, shape, bound, wants_dx, training, make)
                ops.append(op)
            return ChainOp(ops), shape, wants_dx
        found = [self._bind(branch, shape, bound, wants_dx, training, make) for branch in entry.branches]
        branch_ops, shapes, wanted = zip(*found, strict=True)
        place = Place({}, {} if training else None, shape, self.dtype, self.generator, wants_dx)
        joined = (shape[0], *_known(entry.output([each[1:] for each in shapes])))
        return (SumOp if isinstance(entry, Sum) else ConcatOp)(branch_ops, place, shapes), joined, any(wanted)

    def input(self, x: Any) -> Array:
        """`x` as an array that the first layer takes: C-contiguous, of the network's dtype or integers.

        Raises:
            TypeError: If it does not hold numbers.
            ValueError: If its shape does not fit the network.
        """
        array = np.asarray(x)
        integers = self.takes_integers
        if array.dtype.kind not in ("iu" if integers else "iufb"):
            expected = "integers, the numbers of words or categories" if integers else "numbers"
            raise TypeError(f"x has dtype {array.dtype}; expected {expected}.")
        axes = (2,) if integers else (2, 3)
        if array.ndim not in axes or not self._fits(array.shape[1:]):
            shape = (
                "(batch, time)"
                if integers
                else f"(batch, {', '.join(map(str, self.input_shape or ('time', 'features')))})"
            )
            raise ValueError(
                f"x has shape {array.shape}; expected {shape.replace('None', 'time')}.{self._reshape(array)}"
            )
        return np.ascontiguousarray(array, None if integers else self.dtype)

    def _reshape(self, array: Array) -> str:
        """How rows of numbers become the sequences that the network was built for, with a space in front."""
        expected = self.input_shape
        if array.ndim != 2 or expected is None or len(expected) != 2:
            return ""
        steps, left = divmod(array.shape[1], expected[1] or 1)
        return "" if left else f" If a row has all steps of a sequence, pass x.reshape(-1, {steps}, {expected[1]})."

    def _open(self, shape: tuple[int, ...]) -> Shape:
        """The shape of an input with any number of steps, where the layers allow it."""
        flattens = any(isinstance(layer, Flatten) for layer in _leaves(self.layers))
        if flattens or (len(shape) == 1 and not self.takes_integers):
            return shape
        return (None, *shape[1:])

    def _fits(self, shape: tuple[int, ...]) -> bool:
        expected = self.input_shape
        if expected is None:
            return True
        return len(shape) == len(expected) and all(e in (None, s) for s, e in zip(shape, expected, strict=True))

    def valid(self, x: Array, mask: Any, lengths: Any) -> Array | None:
        """The mask of an input, from a mask or from lengths.

        Raises:
            ValueError: If a shape does not fit, a length is out of range, or both are given.
        """
        if mask is None and lengths is None:
            return None
        if mask is not None and lengths is not None:
            raise ValueError("got mask and lengths; expected one of them.")
        if x.ndim == 2 and not self.takes_integers:
            raise ValueError("got a mask for an input without a time axis; leave it out.")
        steps = x.shape[1]
        if mask is not None:
            array = np.asarray(mask)
            if array.shape != x.shape[:2]:
                raise ValueError(f"mask has shape {array.shape}; expected (batch, time) = {x.shape[:2]}.")
            return np.ascontiguousarray(array, bool)
        array = np.asarray(lengths)
        if array.shape != x.shape[:1] or array.dtype.kind not in "iu":
            raise ValueError(f"lengths has shape {array.shape}, {array.dtype}; expected {x.shape[:1]} integers.")
        if array.size and not (array.min() >= 0 and array.max() <= steps):
            raise ValueError(f"lengths go from {array.min()} to {array.max()}; expected 0 to {steps}, the steps of x.")
        return np.arange(steps) < array[:, None]

    # --- training and files -------------------------------------------------------------------------------------

    def fit(
        self,
        x: Any,
        y: Any = None,
        *,
        loss: str | losses.Loss = "mse",
        optimizer: str = "adam",
        learning_rate: float = 1e-3,
        clip_norm: float | None = None,
        batch_size: int = 32,
        epochs: int = 1,
        shuffle: bool = True,
        validation_data: Any = None,
        patience: int | None = None,
        sample_weight: Any = None,
        mask: Any = None,
        seed: int = 0,
        tell: Callable[[training.Progress], None] | None = None,
        stop: Callable[[], bool] | None = None,
        checkpoint: str | Path | None = None,
    ) -> training.History:
        """Trains the network.

        Args:
            x: Inputs, (batch, time, features), (batch, features) or integers (batch, time); or a `Source`.
            y: Targets, of the output's shape; for `"sparse_categorical_crossentropy"` the numbers of classes. Not with
                a `Source`.
            loss: One of `losses.LOSSES`, `losses.huber(delta)` or `losses.quantile(share)`.
            optimizer: `"adam"` or `"adamw"`.
            learning_rate: Size of the first steps.
            clip_norm: Largest L2 norm of the gradient, over all weights jointly; `None`: any.
            batch_size: Examples in a step.
            epochs: How often the examples are gone through, at most.
            shuffle: Whether each epoch has an order of its own.
            validation_data: `(x, y)`, `(x, y, sample_weight)`, `(x, y, sample_weight, mask)` or a `Source`, whose loss
                is computed before training and after each epoch. `sample_weight` and `mask` are as below, or `None`.
            patience: Epochs without a smaller validation loss after which training ends; in a third of that the
                learning rate is halved. `None`: neither.
            sample_weight: (batch,) or (batch, time): multiplies the losses.
            mask: bool (batch, time), true where a step of `x` is valid. The validation data have a mask of their own.
            seed: Of the order of examples and of dropout.
            tell: Called with a `Progress` after each step.
            stop: Called after each epoch; training ends if it returns true.
            checkpoint: File that is written after each epoch. If it exists, training goes on from it, to the same bits.

        Returns:
            A `History`: `loss` and `validation_loss`, one number for each epoch. The network has the best weights:
            those of the least validation loss, which may be the weights before training; or the last ones if there are
            no validation data.

        Raises:
            DataError: If the checkpoint is of another training, is damaged, or cannot be written.
            ValueError: If an argument does not fit.
        """
        return training.fit(
            self,
            x,
            y,
            training.Options(
                losses.named(loss), optimizer, learning_rate, clip_norm, batch_size, epochs, shuffle, patience, seed
            ),
            validation_data=validation_data,
            sample_weight=sample_weight,
            mask=mask,
            tell=tell,
            stop=stop,
            checkpoint=checkpoint,
        )

    def save(self, path: Any) -> None:
        """Writes the network, description and weights, to a safetensors file.

        Args:
            path: Where to, a text or a `pathlib.Path`.

        Raises:
            DataError: If the file cannot be written; an older file of that name is then as it was.
        """
        files.save(self, path)

    @classmethod
    def load(cls, path: Any) -> Network:
        """The network in a file that `save` wrote. Nothing in the file is run.

        Args:
            path: The file, a text or a `pathlib.Path`.

        Raises:
            DataError: If it is not such a file, is damaged, or is of a newer version of elman.
        """
        return files.load(path)

    @classmethod
    def from_keras(cls, model: Any) -> Network:
        """A network that computes what a Keras model computes, with the same weights.

        Args:
            model: A `keras.Sequential`, or a Functional model whose graph is made of sequences, sums and
                concatenations, with Keras's recurrent layers or elman's; or the path of a file of one.

        Returns:
            A `Network`. A BatchNormalization becomes the `Rescale` that it computes after training.

        Raises:
            RuntimeError: If both compute different results from random input.
            TypeError: If `model` is not a Keras model.
            ValueError: If a layer cannot be held; the message names it and lists those that can.
        """
        from elman.conversion.from_keras import from_keras

        return from_keras(model)

    @classmethod
    def from_torch(cls, module: Any) -> Network:
        """A network that computes what a torch module computes, with the same weights.

        Args:
            module: An `nn.Sequential`, a recurrent module, or a module of your own whose `forward` calls nn.RNN, LSTM
                and GRU (any `num_layers`, `bidirectional`, `batch_first`, `dropout`), Linear, LayerNorm, Embedding,
                Dropout, BatchNorm1d, Flatten and activations on one input, and may use the outputs of a recurrent
                module, its `h[-1]`, `out[:, -1]`, `out[:, -n:].flatten(1)`, sums and `torch.cat` of features. It is
                left as it is. Of a forward that returns outputs and last states, `(out, h)`, the network returns the
                outputs.

        Returns:
            A `Network` of the module's dtype. It takes the batch first, whatever `batch_first` is. The two biases of
            RNN and LSTM are added up: the function is the same, but a step of training changes one bias where PyTorch
            changes two. A BatchNorm1d becomes the `Rescale` that it computes in evaluation.

        Raises:
            RuntimeError: If both compute different results from random input.
            TypeError: If `module` is not a module, or is a quantized one.
            ValueError: If something cannot be held, such as `proj_size`; the message names it and lists what can.
        """
        from elman.conversion.from_torch import from_torch

        return from_torch(module)

    def to_keras(self) -> Any:
        """The network as a Keras model of Keras's own classes: its file opens where elman is not installed.

        Two branches that are the directions of one layer become a `Bidirectional`. What Keras has no layer for
        (`Reverse`, `Latest`, `Last`) becomes operations of `keras.ops`. Options that Keras's layers lack and that act
        on training only are dropped, and one warning of the logger "elman" names them.

        Returns:
            A new functional `keras.Model`, not compiled, with the network's dtype and a copy of its weights. Its input
            has the network's `input_shape`, batch first; that of an `Embedding` is int32.

        Raises:
            RuntimeError: If both compute different results from random input.
            ValueError: If the network has no weights yet, a layer has a learned initial state that is not zero, or
                Keras's backend lacks the network's dtype.
        """
        from elman.conversion.to_keras import to_keras

        return to_keras(self)

    # --- what it says of itself ---------------------------------------------------------------------------------

    def describe(self) -> dict[str, Any]:
        """The structure as plain data, without weights; `files.network_of` makes a network of both."""
        return {
            "dtype": self.dtype.name,
            "input_shape": None if self.input_shape is None else list(self.input_shape),
            "layers": _described(self.layers, iter(self._names)),
        }

    @property
    def bound(self) -> tuple[Bound, ...]:
        """The layers in the order in which they run, with name, input shape and parameters; empty before `build`."""
        return tuple(self._bound)

    def summary(self) -> str:
        """A table of the layers: name, output, parameters."""
        rows = [("layer", "output", "parameters")]
        for each in self._bound:
            count = sum(math.prod(p.shape) for p in each.parameters.values())
            rows.append(
                (f"{each.name} ({type(each.layer).__name__})", str(each.layer.output(each.shape)), f"{count:,}")
            )
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}" for a, b, c in rows]
        return "\n".join([*lines, f"trained parameters: {self.flat.size if self._bound else 0:,}"])

    def __repr__(self) -> str:
        return f"Network({_text(self.layers)}, dtype={self.dtype.name!r})"


def _own_op(bound: Bound, place: Place) -> Op:
    return bound.layer.bind(place)


def _named(layers: Chain) -> list[str]:
    """A name for each layer, as Keras makes them: `lstm`, `lstm_1`."""
    counts: dict[str, int] = {}
    names = []
    for layer in _leaves(layers):
        base = files.snake(type(layer).__name__)
        number = counts[base] = counts.get(base, -1) + 1
        names.append(f"{base}_{number}" if number else base)
    return names


def _leaves(entry: Any) -> Iterator[Layer]:
    if isinstance(entry, Layer):
        yield entry
    else:
        for each in entry.entries if isinstance(entry, Chain) else entry.branches:
            yield from _leaves(each)


def _first_layers(entry: Any) -> Iterator[Layer]:
    """The layers that see the network's input."""
    if isinstance(entry, Layer):
        yield entry
    elif isinstance(entry, Chain):
        if entry.entries:
            yield from _first_layers(entry.entries[0])
    else:
        for branch in entry.branches:
            yield from _first_layers(branch)


def _walk(entry: Any, shape: Shape, names: Iterator[str], bound: list[Bound], is_first: bool = True) -> Shape:
    """Gives each layer its input's shape; returns that of the output. The first layers see the network's input."""
    if isinstance(entry, Layer):
        name = next(names)
        if entry.integers and not is_first:
            raise ValueError(
                f"{name} comes after another layer; expected it to be the first, as it takes the integers of the "
                "input. Put it at the beginning of the list, or of a branch with which the list begins."
            )
        _check_axes(entry, shape, name, bound)
        entry.check(shape, name)
        bound.append(Bound(name, entry, shape, entry.parameters(shape)))
        return entry.output(shape)
    if isinstance(entry, Chain):
        for i, each in enumerate(entry.entries):
            shape = _walk(each, shape, names, bound, is_first and i == 0)
        return shape
    return entry.output([_walk(branch, shape, names, bound, is_first) for branch in entry.branches])


def _check_axes(layer: Layer, shape: Shape, name: str, bound: list[Bound]) -> None:
    """The two errors that beginners make most: a stack without return_sequences, and rows instead of sequences.

    Raises:
        ValueError: If the layer wants sequences and the one before it, or the input, has none.
    """
    if layer.takes != (2,) or len(shape) != 1:
        return
    size = shape[0]
    before = bound[-1] if bound else None
    if before is None:
        raise ValueError(
            f"{name} got an input of shape (batch, {size}); expected (batch, time, features). If each row is a "
            f"sequence of {size} single values, pass x.reshape(-1, {size}, 1). If each row is one time step of {size} "
            f"features, pass x.reshape(-1, 1, {size})."
        )
    if isinstance(before.layer, Recurrent) and not before.layer.return_sequences:
        raise ValueError(
            f"{name} got an input of shape (batch, {size}) from {before.name}, which returns only its last output; "
            f"expected the output of every step, (batch, time, features). Give {before.name} return_sequences=True."
        )


def _known(shape: Shape) -> tuple[int, ...]:
    assert None not in shape
    return shape  # type: ignore[return-value]


def _described(entry: Any, names: Iterator[str]) -> Any:
    if isinstance(entry, Layer):
        return {"layer": type(entry).__name__, "name": next(names), **entry.config()}
    if isinstance(entry, Chain):
        return [_described(each, names) for each in entry.entries]
    return {type(entry).__name__: [_described(branch, names) for branch in entry.branches]}


def _text(entry: Any) -> str:
    if isinstance(entry, Layer):
        changed = [
            (field.name, getattr(entry, field.name))
            for field in dataclasses.fields(entry)
            if field.default is dataclasses.MISSING or getattr(entry, field.name) != field.default
        ]
        return f"{type(entry).__name__}({', '.join(f'{name}={value!r:.40}' for name, value in changed)})"
    if isinstance(entry, Chain):
        return f"[{', '.join(map(_text, entry.entries))}]"
    return f"{type(entry).__name__}([{', '.join(map(_text, entry.branches))}])"
