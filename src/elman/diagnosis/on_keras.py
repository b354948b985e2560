# SPDX-License-Identifier: Apache-2.0
"""A Keras model as the diagnosis observes it: the time loops of its recurrent layers are replaced while it runs.

In: a Keras model and inputs as for `model.predict`. Out: an `Observed`. Everything around the recurrent layers runs in
Keras, on the backend that it has.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras import ops

from elman import initializers, layers
from elman.cells import BY_KERAS
from elman.checks import shape_text
from elman.diagnosis.call import Array, Given, Weights, given
from elman.diagnosis.observed import Criterion, Loop, Observed, Recurrent, Start, Words
from elman.layer_routes import recurrent_layers
from elman.options import ACTIVATIONS
from elman.patching import stock
from elman.state_gradient import Run

KINDS = {stock(keras.layers, name): cell for name, cell in BY_KERAS.items()}
_WORDS = Words(
    normalization="keras.layers.Normalization",
    normalized="keras.layers.Normalization(), adapted to x,",
    gated="elman.LSTM",
    clipping="clipnorm=1.0 on the optimizer",
)


class KerasModel(Observed):
    """A Keras model and its inputs. Its weights are read once, so it is made for one measurement."""

    words = _WORDS

    def __init__(self, function: str, model: Any, x: Any, loss: Any = None) -> None:
        """Args:
        function: Name of the function that the user called, for error messages.
        model: The model.
        x: Its inputs, as for `model.predict`.
        loss: Its loss, as Keras takes one; that of the compiled model, or the mean squared error, if `None`.

        Raises:
            TypeError: If `x` does not hold numbers.
            ValueError: If the model has no recurrent layer or one that cannot be computed, or a shape does not fit.
        """
        self.model, self.name = model, model.name
        self._loss = loss or getattr(model, "loss", None) or "mean_squared_error"
        self._layers = _recurrent(model)
        self.recurrent = [_described(name, *found) for name, found in self._layers.items()]
        self.x = self._arrays(function, x)
        self._weights: dict[str, Weights] = {}
        self.learning_rate = _learning_rate(model)
        self.outputs_count = len(getattr(model, "outputs", None) or ()) or None

    @property
    def criterion(self) -> Criterion:
        """The loss."""
        return _criterion(self._loss)

    def array(self, function: str, part: Any, name: str = "x") -> Array:
        """As the base class has it; a tensor of the backend is converted."""
        return super().array(function, ops.convert_to_numpy(part) if ops.is_tensor(part) else part, name)

    def run(self, x: list[Array], loops: Mapping[str, Loop]) -> list[Array]:
        """The outputs of the model."""
        replaced = {name: self._inner_loop(name, loop) for name, loop in loops.items()}
        with _replaced_loops((self._layers[name][0], loop) for name, loop in replaced.items()):
            outputs = self.model(self.packed(x), training=False)
        return [_numbers(output) for output in keras.tree.flatten(outputs)]

    def packed(self, x: list[Array]) -> Any:
        """Inputs in the structure that the model takes."""
        return keras.tree.pack_sequence_as(self._structure, x)

    # --- inputs -------------------------------------------------------------------------------------------------

    def _arrays(self, function: str, x: Any) -> list[Array]:
        """x as arrays; keeps the structure that the model takes them in."""
        inputs = _inputs(self.model)
        if isinstance(x, list | tuple) and x and not isinstance(keras.tree.flatten(x)[0], str | bytes):
            x = np.asarray(x) if np.isscalar(keras.tree.flatten(x)[0]) else x  # one array, written as lists of numbers
        if inputs is not None and isinstance(x, dict) and isinstance(inputs, dict):
            x = {name: x[name] for name in _known(x, inputs)}
        parts = [self.array(function, part) for part in keras.tree.flatten(x)]
        if inputs is None:
            self._structure = x if len(parts) > 1 else parts[0]
            return parts
        flat = keras.tree.flatten(inputs)
        if len(parts) != len(flat):
            raise ValueError(
                f"x has {len(parts)} arrays; expected {len(flat)}, one for each input of model {self.name!r}."
            )
        for part, tensor in zip(parts, flat, strict=True):
            _check_shape(part, tensor, self.model)
        self._structure = inputs
        return parts

    # --- between Keras and NumPy --------------------------------------------------------------------------------

    def _inner_loop(self, name: str, loop: Loop) -> Callable[..., Any]:
        """What Keras calls in place of a layer's time loop."""
        layer, cell, _ = self._layers[name]

        def inner_loop(sequences: Any, initial_state: Any, mask: Any, training: bool = False) -> Any:
            if name not in self._weights:
                self._weights[name] = weights_of(layer)
            return _returned(layer, loop(_given(layer, cell, self._weights[name], sequences, initial_state, mask)))

        return inner_loop


# --- the model ------------------------------------------------------------------------------------------------------


def _recurrent(model: Any) -> dict[str, tuple[Any, str, bool]]:
    """The recurrent layers of a model by name: layer, cell, and whether it is the backward half of a Bidirectional.

    Raises:
        ValueError: If there is none, or one is stateful or has an activation of the user's own, which only Keras can
            compute.
    """
    halves = {
        id(layer.backward_layer) for layer in model._flatten_layers() if isinstance(layer, keras.layers.Bidirectional)
    }
    found = {}
    for name, layer in recurrent_layers(model):
        cell = next((cell.name for kind, cell in KINDS.items() if isinstance(layer, kind)), None)
        if cell is not None:
            _check_options(name, layer, cell)
            found[name] = (layer, cell, id(layer) in halves)
    if not found:
        raise ValueError(
            f"Model {model.name!r} has no recurrent layer that elman knows; expected a SimpleRNN, LSTM or GRU. "
            "elman.accelerate(model) converts an RNN of Keras's cells to one."
        )
    return found


def _check_options(name: str, layer: Any, cell: str) -> None:
    if layer.stateful:
        raise ValueError(
            f"Layer {name!r} is stateful, so its states depend on earlier calls; expected stateful=False. Build "
            "the model with stateful=False and set the same weights."
        )
    options = layers.options_of(layer, cell)
    for argument in ("activation", "recurrent_activation"):
        value = getattr(options, argument)
        if callable(value):
            raise ValueError(  # noqa: TRY004  Keras takes it
                f"Layer {name!r} has {argument}={getattr(value, '__name__', value)!r}; expected one of "
                f"{', '.join(ACTIVATIONS)}, whose slopes elman knows. Diagnose a model with one of these."
            )


def _described(name: str, layer: Any, cell: str, backward: bool) -> Recurrent:
    return Recurrent(
        name=name,
        own=layer.name,
        cell=cell,
        backward=backward,
        sequences=layer.return_sequences,
        truncate=getattr(layer, "truncate_gradient", None),
        start=Start(functools.partial(_draw, layer.cell), functools.partial(_better_initializer, layer)),
    )


def _draw(cell: Any, weights: Weights) -> Weights:
    """New weights from the initializers of a layer; the bias is zero."""
    kernel, recurrent_kernel, bias = weights
    return (
        _drawn(cell.kernel_initializer, kernel.shape, 0),
        _drawn(cell.recurrent_initializer, recurrent_kernel.shape, 1),
        None if bias is None else np.zeros_like(bias),
    )


def _drawn(initializer: Any, shape: tuple[int, ...], seed: int) -> Array:
    config = initializer.get_config()
    if "seed" in config:
        initializer = type(initializer).from_config(config | {"seed": seed})
    return np.asarray(ops.convert_to_numpy(initializer(shape, "float32")), "float64")


def _better_initializer(layer: Any, x: Array, valid: Array) -> Any:
    """An initializer of a simple RNN's recurrent kernel with which gradients neither shrink nor grow at first."""
    activation = layers.options_of(layer, "simple_rnn").activation
    return initializers.orthogonal_on_batch(x, layer.units, activation, mask=valid)


def _learning_rate(model: Any) -> tuple[float, float] | None:
    """The learning rate of the model's optimizer and the default of the optimizer's class; `None` if unknown."""
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None:
        return None
    default = inspect.signature(type(optimizer).__init__).parameters.get("learning_rate")
    if default is None or not isinstance(default.default, float):
        return None
    return float(ops.convert_to_numpy(optimizer.learning_rate)), default.default


def _criterion(given: Any) -> Criterion:
    """A loss of Keras.

    Raises:
        ValueError: If there are several.
    """
    if isinstance(given, dict | list | tuple):
        raise ValueError(  # noqa: TRY004  Keras takes this type
            "The model has several losses; expected one. Leave y out, or diagnose one output's model."
        )
    loss = keras.losses.get(given)
    name = str(getattr(loss, "name", None) or getattr(loss, "__name__", "loss"))
    classes = name.startswith("sparse")
    kind = "int32" if classes else "float32"

    def mean(targets: Array, outputs: Array) -> float:
        value = loss(ops.convert_to_tensor(targets.astype(kind)), ops.convert_to_tensor(outputs.astype("float32")))
        return float(np.mean(_numbers(value)))

    from_logits = bool(getattr(loss, "_fn_kwargs", {}).get("from_logits"))
    return Criterion(name, mean, classes, from_logits, 0.5 if "absolute" in name or name == "mae" else None)


# --- inputs ---------------------------------------------------------------------------------------------------------


def _inputs(model: Any) -> Any:
    """The structure of a model's inputs; `None` for a class of the user's own, whose `call` alone knows it."""
    if isinstance(model, keras.Sequential):
        return model.inputs[0] if model.built and model.inputs else None
    return getattr(model, "_inputs_struct", None)


def _known(x: dict[str, Any], inputs: dict[str, Any]) -> list[str]:
    if set(x) != set(inputs):
        raise ValueError(f"x has the keys {sorted(x)}; expected {sorted(inputs)}, the names of the model's inputs.")
    return sorted(inputs)


def _check_shape(part: Array, tensor: Any, model: Any) -> None:
    expected = tuple(tensor.shape)
    fits = part.ndim == len(expected) and all(
        want is None or got == want for got, want in zip(part.shape[1:], expected[1:], strict=True)
    )
    if not fits:
        advice = " For a single sequence pass x[None]." if part.ndim == len(expected) - 1 else ""
        raise ValueError(
            f"x has shape {part.shape}; expected {shape_text((None, *expected[1:]))}, the shape of input "
            f"{tensor.name!r} of model {model.name!r}.{advice}"
        )


# --- between Keras and NumPy ----------------------------------------------------------------------------------------


def _given(layer: Any, cell: str, weights: Weights, sequences: Any, initial_state: Any, mask: Any) -> Given:
    """What Keras calls a layer's time loop with.

    Raises:
        ValueError: If the call has resets, which the diagnosis does not compute.
    """
    steps = layers.Steps.of(mask)
    if steps.resets is not None:
        raise ValueError(
            f"layer {layer.name!r} is called with resets; expected a model without them. Diagnose the model on single "
            "sequences."
        )
    valid = None if steps.mask is None else _numbers(steps.mask, "bool")
    states = initial_state if isinstance(initial_state, list | tuple) else [initial_state]
    return given(
        layers.options_of(layer, cell),
        _numbers(sequences),
        valid[..., 0] if valid is not None and valid.ndim == 3 else valid,
        tuple(_numbers(state) for state in states),
        weights,
        layer.compute_dtype,
    )


def weights_of(layer: Any) -> Weights:
    """Kernel, recurrent kernel and bias of a layer in float64."""
    cell = layer.cell
    kernel, recurrent_kernel, bias = (
        None if weight is None else _numbers(weight) for weight in (cell.kernel, cell.recurrent_kernel, cell.bias)
    )
    assert kernel is not None
    assert recurrent_kernel is not None
    return kernel, recurrent_kernel, bias


def _numbers(tensor: Any, dtype: str = "float64") -> Array:
    return np.asarray(ops.convert_to_numpy(tensor)).astype(dtype)


def _returned(layer: Any, run: Run) -> tuple[Any, Any, list[Any]]:
    """What Keras expects of a time loop: the last output, all outputs (which it reads only if the layer returns
    sequences) and the final states."""
    last = _tensor(run.y[:, -1], layer)
    every = _tensor(run.y, layer) if layer.return_sequences else last
    return last, every, [_tensor(state, layer) for state in run.final_states]


def _tensor(array: Array, layer: Any) -> Any:
    wide = layer.compute_dtype == "float64"
    with np.errstate(over="ignore"):  # a value too large for the layer's dtype is infinite there too
        return ops.convert_to_tensor(array if wide else array.astype("float32"), layer.compute_dtype)


@contextmanager
def _replaced_loops(loops: Iterable[tuple[Any, Callable[..., Any]]]) -> Iterator[None]:
    """Replaces the time loop of each layer inside the block. Keras's tracking of attributes does not see it."""
    loops = list(loops)
    for layer, loop in loops:
        object.__setattr__(layer, "inner_loop", loop)
    try:
        yield
    finally:
        for layer, _ in loops:
            object.__delattr__(layer, "inner_loop")
