# SPDX-License-Identifier: Apache-2.0
"""A Keras model as an `elman.Network`: Sequential, and Functional models made of sequences, sums and concatenations.

In: a model in memory, or a file. Out: a network with the same weights, once both have computed the same from random
input. Regularizers, constraints and the optimizer are left out. A layer that no row of the layer table holds is refused
by name. `LAYERS` has one function for each class of Keras.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from elman.cells import BY_KERAS
from elman.conversion.check import check_same, random_input
from elman.conversion.graph import Call, Joined, Loaded, nested, network_of, used_twice
from elman.conversion.run_keras import outputs
from elman.layer_routes import functional_class
from elman.network import (
    LAYERS as ROWS,
)
from elman.network import (
    Activation,
    Concat,
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
    Sum,
)
from elman.network.layer import Layer
from elman.patching import stock

Array = np.ndarray
_OPTIONS = ("units", "activation", "recurrent_activation", "use_bias", "return_sequences", "go_backwards",
            "zero_output_for_mask", "dropout", "recurrent_dropout", "reset_after", "learn_initial_state",
            "truncate_gradient", "clip_state_gradient")  # fmt: skip


def from_keras(model: Any) -> Network:
    """A Keras model as a `Network`; see `Network.from_keras`."""
    if isinstance(model, (str, os.PathLike)):
        from elman.loading import load_model

        model = load_model(Path(model), compile=False)
    if not isinstance(model, keras.Model):
        raise TypeError(f"from_keras got {type(model).__name__}; expected a Keras model, or the path of one.")
    if not model.built:
        raise ValueError(f"model {model.name!r} is not built; call it once, or give it an Input.")
    _check_inputs(model)
    entries = _model(model)
    twice = used_twice(entries)
    if twice is not None:
        raise _refused(twice, "its result is used in places that do not share all that comes before")
    shape = tuple(model.inputs[0].shape[1:])
    network = network_of(entries, shape, _dtype(model))
    x = random_input(network, shape)
    check_same(f"model {model.name!r} and its Network", outputs(model, x, network.dtype), network(x), network.dtype)
    return network


def _refused(layer: Any, reason: str) -> ValueError:
    held = ", ".join(sorted(kind.__name__ for kind in LAYERS))
    return ValueError(
        f"a Network cannot hold layer {layer.name!r} ({type(layer).__name__}): {reason}. It holds {held}, Add, "
        "Concatenate, Sequential and Functional models."
    )


def _check_inputs(model: Any) -> None:
    kinds: Any = (keras.Sequential, functional_class())
    if not isinstance(model, kinds):
        raise ValueError(  # noqa: TRY004 - it is a Keras model, which is the type that is expected
            f"model {model.name!r} is a subclass of Model; expected a Sequential or Functional model."
        )
    for name, tensors in (("inputs", model.inputs), ("outputs", model.outputs)):
        if len(tensors) != 1:
            raise ValueError(f"model {model.name!r} has {len(tensors)} {name}; expected one.")


def _dtype(model: Any) -> str:
    found = {layer.compute_dtype for layer in model._flatten_layers() if layer.weights}
    name = found.pop() if len(found) == 1 else keras.config.floatx() if not found else ", ".join(sorted(found))
    if name not in ("float32", "float64"):
        raise ValueError(f"model {model.name!r} computes in {name}; expected float32 or float64 in all layers.")
    return name


# --- the graph ------------------------------------------------------------------------------------------------------


def _model(model: Any) -> list[Any]:
    """The entries of a model."""
    if isinstance(model, keras.Sequential):
        return [entry for layer in model.layers for entry in _entries(layer)]
    return nested(_graph(model), _converted, _joined)


def _graph(model: Any) -> Call:
    """The call that gives a Functional model's output, read from its configuration.

    Raises:
        ValueError: If a layer is called twice, or with more than tensors.
    """
    config = model.get_config()
    operations = {operation.name: operation for operation in model.operations}
    described = {each["name"]: each for each in config["layers"]}
    known: dict[str, Call] = {}

    def call(name: str) -> Call:
        if name in known:
            return known[name]
        operation, nodes = operations[name], described[name]["inbound_nodes"]
        if not nodes:
            known[name] = Call(None)
            return known[name]
        if len(nodes) > 1:
            raise _refused(operation, f"it is called {len(nodes)} times, and a Network has a layer once")
        arguments = [each for argument in nodes[0]["args"] for each in _listed(argument)]
        tensors = [source for each in arguments if (source := _tensor(each))]
        settings = [keras.saving.deserialize_keras_object(each) for each in arguments if not _tensor(each)]
        named = [
            key for key, value in nodes[0]["kwargs"].items() if key not in ("mask", "training") and value is not None
        ]
        if named or (settings and isinstance(operation, keras.Layer)):
            raise _refused(
                operation,
                f"it is called with {', '.join(named) or 'a constant'}, and a Network passes on one input alone",
            )
        inputs = tuple(call(source) for source in tensors)
        if type(operation).__name__ == "TakeAlongAxis" and _are_last(inputs):
            inputs = inputs[:1]  # the second one is computed from the mask
        known[name] = Call(operation, inputs, tuple(settings))
        return known[name]

    ends = config["output_layers"]
    (end,) = [ends] if isinstance(ends[0], str) else ends
    return call(end[0])


def _listed(argument: Any) -> Sequence[Any]:
    return argument if isinstance(argument, (list, tuple)) else [argument]


def _tensor(argument: Any) -> str | None:
    """The name of the layer that gave a tensor; `None` if the argument is not the first tensor of one."""
    if not isinstance(argument, Mapping) or argument.get("class_name") != "__keras_tensor__":
        return None
    name, _, number = argument["config"]["keras_history"]
    return name if number == 0 else None


def _converted(calls: Sequence[Call]) -> tuple[list[Any], int]:
    """The entries of the first of some calls; two operations may be one row."""
    layer = calls[0].what
    if isinstance(layer, keras.Layer) or type(layer).__name__ not in OPERATIONS:
        return _entries(layer), 1
    after = calls[1] if len(calls) > 1 else Call(None)
    found = OPERATIONS[type(layer).__name__](calls[0], after)
    if found is None:
        raise _refused(
            layer, "of operations, it holds x[:, -1], x[:, ::-1], flip along time, and a reshape of x[:, -n:] or x"
        )
    row, length = found
    return [Loaded(row)], length


# --- operations -----------------------------------------------------------------------------------------------------

_ALL = slice(None)


def _flipped(call: Call, after: Call) -> tuple[Layer, int] | None:
    return (Reverse(), 1) if call.what.axis in (1, (1,)) and len(call.what.output.shape) == 3 else None


def _indexed(call: Call, after: Call) -> tuple[Layer, int] | None:
    """x[:, -1], whether that step is valid or not, or x[:, -n:] that is reshaped to a vector."""
    key = tuple(call.settings)
    while len(key) > 2 and key[-1] in (_ALL, Ellipsis):
        key = key[:-1]
    if key == (_ALL, -1):
        return Latest(1), 1
    if key == (_ALL, slice(None, None, -1)):
        return Reverse(), 1
    if len(key) == 2 and isinstance(key[1], slice) and key[1].stop is key[1].step is None and (key[1].start or 0) < 0:
        steps, features = -key[1].start, call.what.output.shape[-1]
        if after.what is not None and tuple(after.what.output.shape[1:]) == (steps * features,) and _flattens(after):
            return Latest(steps), 2
    return None


def _flattens(call: Call) -> bool:
    return isinstance(call.what, keras.layers.Flatten) or type(call.what).__name__ == "Reshape"


def _reshaped(call: Call, after: Call) -> tuple[Layer, int] | None:
    before = call.inputs[0].what
    is_vector = len(call.what.output.shape) == 2 and call.what.newshape[0] == -1
    return (Flatten(), 1) if is_vector and before is not None and len(before.output.shape) == 3 else None


def _taken(call: Call, after: Call) -> tuple[Layer, int] | None:
    """The last valid step, as `Network.to_keras` writes it."""
    return (Last(), 2) if call.what.axis == 1 and after.settings == (_ALL, 0) else None


def _are_last(inputs: tuple[Call, ...]) -> bool:
    """Whether the second of two inputs are the steps at which the running sum of a mask has its first maximum."""
    names, step = [], inputs[-1]
    while step.inputs:
        names.append(type(step.what).__name__)
        step = step.inputs[0]
    return names[:3] == ["GetItem", "Argmax", "Cumsum"]


OPERATIONS: dict[str, Callable[[Call, Call], tuple[Layer, int] | None]] = {
    "Flip": _flipped,
    "GetItem": _indexed,
    "Reshape": _reshaped,
    "TakeAlongAxis": _taken,
}


def _joined(layer: Any, branches: list[list[Any]]) -> Any:
    kind = type(layer).__name__
    if kind == "Add":
        return Joined(Sum, branches)
    if kind == "Concatenate" and layer.axis in (-1, len(layer.output.shape) - 1):
        return Joined(Concat, branches)
    raise _refused(layer, "it joins branches in another way than a sum, or a concatenation of features")


# --- layers ---------------------------------------------------------------------------------------------------------


def _entries(layer: Any) -> list[Any]:
    """The entries of a layer.

    Raises:
        ValueError: If no row holds it.
    """
    if isinstance(layer, keras.Model):
        if len(layer.inputs) != 1 or len(layer.outputs) != 1:
            raise _refused(layer, "it has several inputs or outputs")
        return _model(layer)
    kind = next((kind for kind in LAYERS if type(layer) is kind or _is_recurrent(layer, kind)), None)
    if kind is None:
        raise _refused(layer, "no row of the layer table computes it")
    return [
        each._replace(source=each.source or layer) if isinstance(each, Loaded) else each for each in LAYERS[kind](layer)
    ]


def _is_recurrent(layer: Any, kind: type) -> bool:
    """True for elman's layers, which are subclasses of Keras's."""
    return kind.__name__ in BY_KERAS and isinstance(layer, kind) and type(layer).__name__ == kind.__name__


def _values(layer: Any) -> tuple[Array, ...]:
    return tuple(keras.ops.convert_to_numpy(weight) for weight in layer.weights)


def _activation_name(layer: Any, argument: str, activation: Any) -> str:
    name = keras.activations.serialize(activation)
    if not isinstance(name, str):
        raise _refused(layer, f"its {argument} is {name!r}, which is not one of Keras's by name")
    return name


def _made(layer: Any, make: Callable[[], Layer]) -> Layer:
    """A row made of a layer's options; what the row refuses is the reason."""
    try:
        return make()
    except ValueError as error:
        raise _refused(layer, str(error).rstrip(".")) from error


def _recurrent(layer: Any) -> list[Any]:
    """SimpleRNN, LSTM, GRU, Keras's or elman's."""
    for name in ("stateful", "return_state"):
        if getattr(layer, name):
            raise _refused(layer, f"it has {name}=True, and a Network has no states between calls")
    options = {name: getattr(layer, name) for name in _OPTIONS if hasattr(layer, name)}
    for name in {"activation", "recurrent_activation"} & set(options):
        options[name] = _activation_name(layer, name, options[name])
    row = ROWS[type(layer).__name__]
    options |= {name: bool(options[name]) for name in row.switches() if name in options}
    made = _made(layer, lambda: row(**options))
    return [Loaded(made, _values(layer))]


def _bidirectional(layer: Any) -> list[Any]:
    """Two directions as two branches; the second is in the order of the input again if it returns sequences."""
    branches = []
    for each in (layer.forward_layer, layer.backward_layer):
        (loaded,) = _entries(each)
        reverse = [Loaded(Reverse())] if each.go_backwards and each.return_sequences else []
        branches.append([loaded, *reverse])
    if layer.merge_mode == "concat":
        return [Joined(Concat, branches)]
    if layer.merge_mode in ("sum", "ave"):
        size = layer.forward_layer.units
        half = Loaded(Rescale(0.5), (np.full(size, 0.5), np.zeros(size)))
        return [Joined(Sum, branches), *([half] if layer.merge_mode == "ave" else [])]
    raise _refused(layer, f"it has merge_mode={layer.merge_mode!r}; a Network can join by concat, sum and ave")


def _dense(layer: Any) -> list[Any]:
    activation = _activation_name(layer, "activation", layer.activation)
    return [Loaded(_made(layer, lambda: Dense(layer.units, activation, bool(layer.use_bias))), _values(layer))]


def _time_distributed(layer: Any) -> list[Any]:
    if type(layer.layer) not in (keras.layers.Dense, keras.layers.Dropout, keras.layers.Activation):
        raise _refused(layer, f"it wraps a {type(layer.layer).__name__}; a Network applies Dense to each step")
    return _entries(layer.layer)


def _embedding(layer: Any) -> list[Any]:
    return [Loaded(Embedding(layer.input_dim, layer.output_dim, bool(layer.mask_zero)), _values(layer))]


def _batch_normalization(layer: Any) -> list[Any]:
    """Folded: y = x scale + offset, with the moving mean and variance."""
    _check_last_axis(layer)
    found = {weight.name: keras.ops.convert_to_numpy(weight).astype("float64") for weight in layer.weights}
    scale = found.get("gamma", 1.0) / np.sqrt(found["moving_variance"] + layer.epsilon)
    offset = found.get("beta", 0.0) - found["moving_mean"] * scale
    return [Loaded(Rescale(scale, offset), (scale, offset))]


def _layer_normalization(layer: Any) -> list[Any]:
    _check_last_axis(layer)
    if not (layer.center and layer.scale) or getattr(layer, "rms_scaling", False):
        raise _refused(layer, "it has center=False, scale=False or rms_scaling=True; a Network has gamma and beta")
    return [Loaded(_made(layer, lambda: LayerNorm(layer.epsilon)), _values(layer))]


def _check_last_axis(layer: Any) -> None:
    axes = layer.axis if isinstance(layer.axis, (list, tuple)) else [layer.axis]
    dimensions = len(layer.get_build_config()["input_shape"])
    if len(axes) != 1 or axes[0] not in (-1, dimensions - 1):
        raise _refused(layer, f"it has axis={layer.axis}; a Network normalizes the features, axis -1")


def _normalization(layer: Any) -> list[Any]:
    _check_last_axis(layer)
    if layer.invert:
        raise _refused(layer, "it has invert=True")
    mean = keras.ops.convert_to_numpy(layer.mean).reshape(-1).astype("float64")
    std = np.maximum(
        np.sqrt(keras.ops.convert_to_numpy(layer.variance).reshape(-1).astype("float64")), keras.config.epsilon()
    )
    return [Loaded(Normalize(mean, std), (mean, std))]


def _rescaling(layer: Any) -> list[Any]:
    features = layer.output.shape[-1]
    scale, offset = (
        np.broadcast_to(np.asarray(value, "float64"), (features,)) for value in (layer.scale, layer.offset)
    )
    return [Loaded(Rescale(scale, offset), (scale, offset))]


def _dropout(layer: Any) -> list[Any]:
    """With a noise_shape (batch, 1, features) all steps of a sequence lose the same features."""
    noise = layer.noise_shape
    alike = noise is not None and [size == 1 for size in noise] == [False, True, False]
    if noise is not None and not alike:
        raise _refused(layer, f"it has noise_shape={noise}; a Network has None, or (batch, 1, features)")
    return [Loaded(_made(layer, lambda: Dropout(layer.rate, each_step=not alike)))]


def _activation(layer: Any) -> list[Any]:
    name = _activation_name(layer, "activation", layer.activation)
    return [Loaded(_made(layer, lambda: Activation(name)))]


def _relu(layer: Any) -> list[Any]:
    if layer.max_value is not None or layer.negative_slope or layer.threshold:
        raise _refused(layer, "it has max_value, negative_slope or threshold")
    return [Loaded(Activation("relu"))]


def _softmax(layer: Any) -> list[Any]:
    if layer.axis not in (-1, len(layer.output.shape) - 1):
        raise _refused(layer, f"it has axis={layer.axis}; a Network takes the features, axis -1")
    return [Loaded(Activation("softmax"))]


def _elu(layer: Any) -> list[Any]:
    if layer.alpha != 1.0:
        raise _refused(layer, f"it has alpha={layer.alpha}; a Network has 1.0")
    return [Loaded(Activation("elu"))]


LAYERS: dict[type, Callable[[Any], list[Any]]] = {
    **{stock(keras.layers, name): _recurrent for name in BY_KERAS},
    keras.layers.Bidirectional: _bidirectional,
    keras.layers.Dense: _dense,
    keras.layers.TimeDistributed: _time_distributed,
    keras.layers.Embedding: _embedding,
    keras.layers.BatchNormalization: _batch_normalization,
    keras.layers.LayerNormalization: _layer_normalization,
    keras.layers.Normalization: _normalization,
    keras.layers.Rescaling: _rescaling,
    keras.layers.Activation: _activation,
    keras.layers.ReLU: _relu,
    keras.layers.ELU: _elu,
    keras.layers.Softmax: _softmax,
    keras.layers.Flatten: lambda layer: [Loaded(Flatten())],
    keras.layers.Masking: lambda layer: [Loaded(_made(layer, lambda: Mask(layer.mask_value)))],
    keras.layers.Dropout: _dropout,
    keras.layers.SpatialDropout1D: lambda layer: [Loaded(_made(layer, lambda: Dropout(layer.rate, each_step=False)))],
    # These act on training alone, and on numbers that a Network does not have while it trains.
    keras.layers.GaussianNoise: lambda layer: [],
    keras.layers.GaussianDropout: lambda layer: [],
    keras.layers.AlphaDropout: lambda layer: [],
    keras.layers.ActivityRegularization: lambda layer: [],
    keras.layers.InputLayer: lambda layer: [],
    keras.layers.Identity: lambda layer: [],
}
