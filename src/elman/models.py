# SPDX-License-Identifier: Apache-2.0
"""Copies of a model: with elman's layers instead of Keras's own, and back.

In: a Keras model, which is left as it is. Out: a new model that produces the same outputs and resumes training where
the old one stopped. Each layer is made again from its own config, by its class and not by a registered name
(`keras_rnn` has the config for an RNN of cells), and each model from its layers' twins. Then variables, states,
trainable flags, compile settings and the optimizer's variables are copied, pair by pair.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

import keras
import numpy as np

from elman import keras_rnn
from elman.layer_arguments import EXTRAS, name_of
from elman.layer_routes import (
    OURS,
    TWINS,
    functional_class,
    kind_of,
    reason_to_keep,
    recurrent_layers,
    wrapped_layers,
)

__all__ = ["accelerate", "to_stock"]

_GRADIENT_OPTIONS = ("truncate_gradient", "clip_state_gradient", "activity_regularizer")  # act on training only
_LAMBDA = "The object being serialized includes a `lambda`"
_GRAPH_KEYS = {"name", "trainable", "layers", "input_layers", "output_layers"}  # of a functional model's config
_OWN_CODE = "a class around it that makes it in its own code"
_log = logging.getLogger("elman")


# --- what users call -----------------------------------------------------------------------------------------------


def accelerate(model: Any) -> Any:
    """Copies a model with elman's layers instead of Keras's `SimpleRNN`, `LSTM`, `GRU` and `RNN` of their cells.

    Stacked cells, `RNN([cell, ...])`, become one layer each, `NAME_cell_1` and so on, in a Sequential or Functional
    model. An `RNN` for which elman has no layer is kept, and one warning of the logger "elman" names it. Weights,
    outputs, names, states, seeds, vocabularies, frozen layers, compile settings and the optimizer with its variables
    are copied, so that training resumes where it stopped.

    Args:
        model: A Sequential or Functional model, or one that can be made from its config. It is left as it is.

    Returns:
        A new model that shares nothing with `model`.

    Raises:
        TypeError: If `model` is not a Keras model.
        ValueError: If a class makes a recurrent layer in its own code, or the model cannot be made from its config.

    Example:

        fast = elman.accelerate(keras.models.load_model("model.keras"))
        fast.fit(x, y)
    """
    _check_model("accelerate", model)
    twins = dict(TWINS)
    fast = _Copy(model, twins, keras_rnn.LAYERS).run(
        lambda twin: _check_none_stays("accelerate", twin, lambda kind: kind in twins)
    )
    wrapped = wrapped_layers(fast)
    kept = [
        f"{type(layer).__name__} {path!r}, which has {reason_to_keep(layer, wrapped) or _OWN_CODE}"
        for path, layer in recurrent_layers(fast)
        if not isinstance(layer, OURS)
    ]
    if kept:
        _log.warning("accelerate keeps Keras's own: %s.", "; ".join(kept))
    return fast


def to_stock(model: Any) -> Any:
    """Copies a model with Keras's own layers instead of elman's, so that its files open without elman.

    Weights, outputs, names, states, seeds, vocabularies, frozen layers, compile settings and the optimizer with its
    variables are copied. Options that Keras lacks and that act on training only (`truncate_gradient`,
    `clip_state_gradient`, a recurrent layer's `activity_regularizer`) or on files only (`save_state`) are dropped, and
    one warning of the logger "elman" names them.

    Args:
        model: A Sequential or Functional model, or one that can be made from its config. It is left as it is.

    Returns:
        A new model that shares nothing with `model`.

    Raises:
        TypeError: If `model` is not a Keras model.
        ValueError: If a layer starts from a learned initial state that is not zero, if a class makes a recurrent layer
            in its own code, or if the model cannot be made from its config.

    Example:

        elman.to_stock(model).save("model.keras")
    """
    _check_model("to_stock", model)
    dropped = [text for path, layer in recurrent_layers(model) if (text := _dropped(path, layer))]
    twins = {own: stock for stock, own in TWINS}
    stock = _Copy(model, twins, {}).run(lambda twin: _check_none_stays("to_stock", twin, lambda k: issubclass(k, OURS)))
    if dropped:
        _log.warning("to_stock drops what Keras's own layers do not have: %s.", "; ".join(dropped))
    return stock


# --- checks --------------------------------------------------------------------------------------------------------


def _check_model(function: str, model: Any) -> None:
    if isinstance(model, keras.Model):
        return
    hint = " Put the layer into one, keras.Sequential([layer])." if isinstance(model, keras.Layer) else ""
    raise TypeError(f"{function} got {kind_of(model)}; expected a Keras model (keras.Model).{hint}")


def _check_none_stays(function: str, twin: Any, to_replace: Callable[[type], bool]) -> None:
    """Raises if a copy still has a layer that was to be replaced.

    That is a layer of a class derived from elman's, or one that another class makes in its own code.
    """
    kinds = {kind for pair in TWINS for kind in pair}
    staying = [(path, type(layer)) for path, layer in recurrent_layers(twin) if to_replace(type(layer))]
    if not staying:
        return
    named = ", ".join(f"{kind.__name__} {path!r}" for path, kind in staying)
    package = "elman" if function == "accelerate" else "keras.layers"
    if any(kind not in kinds for _, kind in staying):
        raise ValueError(
            f"{function} cannot replace {named} in {name_of(twin)}: a class of your own is derived from elman's; "
            f"expected elman's layers themselves. Derive the class from {package}, and copy the weights with "
            "get_weights and set_weights."
        )
    raise ValueError(
        f"{function} cannot replace {named} in {name_of(twin)}: the class that holds it makes it in its own code, not "
        "from its config; expected recurrent layers in Sequential or Functional models, in wrappers, or in the config "
        f"of a custom layer. Make it there from {package}, and copy the weights with get_weights and set_weights."
    )


def _dropped(path: str, layer: Any) -> str:
    """The options of a layer that Keras's own lacks, as the warning names them; empty if there are none."""
    if not isinstance(layer, OURS):
        return ""
    names = [name for name in _GRADIENT_OPTIONS if getattr(layer, name) is not None]
    if layer.learn_initial_state:
        if any(np.any(keras.ops.convert_to_numpy(weight)) for weight in layer._initial_weights):
            raise ValueError(
                f"to_stock got {type(layer).__name__} {path!r} with a learned initial state that is not zero; expected "
                "layers that start from zero, as Keras's own do. Train with learn_initial_state=False, or keep elman's "
                "layers and load the model after `import elman`."
            )
        names.append("learn_initial_state")
    if layer.save_state:
        names.append("save_state")
    return f"{', '.join(names)} of {path!r}" if names else ""


# --- the copy ------------------------------------------------------------------------------------------------------


class _Copy:
    """The state of one copy of a model.

    `_made` maps a layer's id to the layer and its twin (several twins for an RNN of stacked cells), parts before the
    layers that contain them, so that a shared layer is made once. `_whole` has the ids of the layers that were made
    from one config together with everything inside of them.
    """

    def __init__(self, model: Any, twins: dict[type, type], of_cells: dict[type, type]) -> None:
        """Args:
        model: The model to copy.
        twins: For each class of layer that is replaced, the class that replaces it.
        of_cells: For each class of cell, the class that replaces a Keras RNN of it.
        """
        self._model, self._twins, self._of_cells = model, twins, of_cells
        self._wrapped = wrapped_layers(model)
        self._made: dict[int, tuple[Any, tuple[Any, ...]]] = {}
        self._whole: set[int] = set()
        self._arguments = _compile_arguments(model)
        self._objects = _custom_objects([*model._flatten_layers(), *_leaves(self._arguments)])

    def run(self, check: Callable[[Any], None]) -> Any:
        """Makes the new model, calls `check` on it, and copies what training and calls have changed in the old one."""
        twin = self._twin(self._model)
        check(twin)
        pairs = self._pairs(twin)
        variables = self._variables(pairs, twin)
        for old, new in pairs:
            new.trainable = old.trainable  # a layer comes before its parts, whose flags it sets too
        for old, new in variables.values():
            new.trainable = old.trainable
            _assign(new, old)
        _copy_states(pairs)
        for old, new in pairs:
            _copy_rest(old, new)
        if self._model.compiled:
            self._compile(twin, {key: new for key, (_, new) in variables.items()})
        return twin

    # --- layers and models ---

    def _twins_of(self, layer: Any) -> tuple[Any, ...]:
        """A layer's twin; for stacked cells one twin for each cell, where the parent can hold several layers."""
        if id(layer) not in self._made:
            if isinstance(layer, keras.Sequential):
                twins = (self._sequential(layer),)
            elif isinstance(layer, functional_class()):
                twins = (self._functional(layer),)
            elif self._of_cells and keras_rnn.are_stacked(layer) and not reason_to_keep(layer, self._wrapped):
                twins = self._unstacked(layer)
            elif isinstance(layer, keras.Layer):
                twins = (self._layer(layer),)
            else:
                twins = (type(layer).from_config(layer.get_config()),)  # a plain operation in a functional model
            self._made[id(layer)] = layer, twins
        return self._made[id(layer)][1]

    def _twin(self, layer: Any) -> Any:
        (twin,) = self._twins_of(layer)
        return twin

    def _kind(self, layer: Any) -> type:
        """The class of a layer's twin."""
        if self._of_cells and type(layer) is keras.layers.RNN and not keras_rnn.are_stacked(layer):
            return type(layer) if reason_to_keep(layer, self._wrapped) else self._of_cells[type(layer.cell)]
        return self._twins.get(type(layer), type(layer))

    def _sequential(self, model: Any) -> Any:
        twin = type(model)(name=model.name)
        inputs = [tensor._keras_history.operation for tensor in getattr(model, "inputs", None) or ()]
        parts = [*inputs, *model.layers]
        layers_of_twin = [layer for part in parts for layer in self._twins_of(part)]
        for layer in layers_of_twin:
            twin.add(layer, rebuild=layer is layers_of_twin[-1])
        return twin

    def _functional(self, model: Any) -> Any:
        plain = type(model) is functional_class()
        config = {} if plain else _config(model)
        if not plain and not config.keys() >= {"layers", "input_layers", "output_layers"}:
            return self._layer(model)  # its class makes the graph in its own code
        view = keras.Model(model.input, model.output, name=model.name)  # the same graph, not compiled
        inputs = keras.tree.map_structure(lambda tensor: self._twin(tensor._keras_history.operation).output, view.input)
        twin = keras.models.clone_model(
            view, input_tensors=inputs, clone_function=self._twins_of, call_function=_call_in_turn
        )
        if plain:
            return twin
        own = {key: value for key, value in config.items() if key not in _GRAPH_KEYS}
        return type(model)(inputs=twin.input, outputs=twin.output, name=model.name, **own)

    def _layer(self, layer: Any) -> Any:
        """A layer, or a model of the user's own class, from its config."""
        kind = self._kind(layer)
        config = self._with_functions(layer, _config(layer))
        if kind is not type(layer) and type(layer) is keras.layers.RNN:
            config = keras_rnn.config_of(config, self._with_functions(layer.cell, _config(layer.cell)))
        config = self._replaced(config, _named(layer))
        if kind is not type(layer):
            config = _without_extras(config, kind) | _not_in_config(layer, layer.cell)
        twin = self._from_config(kind, config, layer.get_build_config() if layer.built else None)
        self._whole.add(id(layer))
        return twin

    def _unstacked(self, layer: Any) -> tuple[Any, ...]:
        """The layers of an RNN's stacked cells."""
        config, stack = self._with_functions(layer, _config(layer)), keras_rnn.of(layer)
        batch = int(_states(layer)[0].shape[0]) if layer.stateful and layer.built else None
        twins = []
        for i, cell in enumerate(stack):
            inner = self._with_functions(cell, _config(cell))
            inner = keras_rnn.config_of_one(config, inner, i, len(stack)) | _not_in_config(layer, cell)
            shape = {"input_shape": (batch, None, int(cell.kernel.shape[0]))} if layer.built else None
            twins.append(self._from_config(self._of_cells[type(cell)], inner, shape))
            self._made[id(cell)] = cell, (twins[-1].cell,)
            self._whole.add(id(cell))
        return tuple(twins)

    def _from_config(self, kind: type, config: dict[str, Any], build_config: Any = None) -> Any:
        """Makes an object of exactly this class, whether or not Keras would find it by its name."""
        name = f"elman>made_{id(kind)}"  # unique, as calls nest and the outermost scope wins
        record = {"class_name": kind.__name__, "config": config, "registered_name": name, "build_config": build_config}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", _LAMBDA, UserWarning)
            return keras.saving.deserialize_keras_object(
                record,
                custom_objects={**self._objects, name: kind},
                safe_mode=False,  # the lambdas are the model's own
            )

    def _with_functions(self, owner: Any, config: dict[str, Any]) -> dict[str, Any]:
        """The config with each function as an object. Keras writes its name, or its code without its globals."""
        config = dict(config)
        for key, value in config.items():
            function = vars(owner).get(f"_{key}", getattr(owner, key, None))
            if isinstance(function, FunctionType) and not isinstance(value, str):
                name = f"elman>function_{id(function)}"
                self._objects[name] = function
                config[key] = {"class_name": "function", "config": name, "registered_name": name}
        return config

    def _replaced(self, value: Any, parts: dict[tuple[str, str], Any]) -> Any:
        """A config whose entries for the layer's parts become their twins, and whose other layers get the twin's class.

        Args:
            value: The config, or a part of it.
            parts: The layer's parts, as `_named` returns them.
        """
        if isinstance(value, list | tuple):
            return type(value)(self._replaced(item, parts) for item in value)
        if not isinstance(value, dict):
            return value
        inner = value.get("config")
        if "class_name" not in value or not isinstance(inner, dict):
            return {key: self._replaced(item, parts) for key, item in value.items()}
        part = parts.get((value["class_name"], str(inner.get("name"))))
        if part is not None:
            name = f"elman>part_{id(part)}"
            self._objects[name] = _Made(self, part)
            return {"class_name": value["class_name"], "config": {}, "registered_name": name}
        if self._of_cells and (made := keras_rnn.of_record(value)):
            return value | _header(made[0]) | {"config": made[1]}
        for old, new in self._twins.items():
            if _header(old).items() <= value.items():
                return value | _header(new) | {"config": _without_extras(inner, new)}
        return value | {"config": self._replaced(inner, parts)}

    # --- what is copied ---

    def _pairs(self, twin: Any) -> list[tuple[Any, Any]]:
        """Every layer with its twin, a layer before its parts."""
        alive = {id(layer) for layer in twin._flatten_layers()}
        pairs: list[tuple[Any, Any]] = []
        for old, twins in reversed(self._made.values()):
            if id(twins[0]) not in alive:
                continue  # an operation, or a part that a wrapper made again
            if id(old) not in self._whole:
                pairs += [(old, new) for new in twins]
                continue
            olds, news = old._flatten_layers(), twins[0]._flatten_layers()
            if len(olds) != len(news) or not all(map(self._are_twins, olds, news)):
                raise _unlike(old, "other layers in it")
            pairs += zip(olds, news, strict=True)
        return pairs

    def _are_twins(self, old: Any, new: Any) -> bool:
        """True if `new` has the class of the twin of `old`, or is the RNN that a class made in its own code."""
        return type(new) is self._kind(old) or (type(new) is type(old) is keras.layers.RNN)

    def _variables(self, pairs: list[tuple[Any, Any]], twin: Any) -> dict[int, tuple[Any, Any]]:
        """Each variable with its twin, by the old one's id, without states and without what the twin lacks."""
        states = {
            id(v) for model in (self._model, twin) for _, layer in recurrent_layers(model) for v in _states(layer)
        }
        dropped = {
            id(v)
            for _, layer in recurrent_layers(self._model)
            if not issubclass(self._kind(layer), OURS)
            for v in getattr(layer, "_initial_weights", ())
        }
        found: dict[int, tuple[Any, Any]] = {}
        for old, new in pairs:
            if id(old) not in self._whole:
                continue
            olds, news = ([v for v in layer.variables if id(v) not in states | dropped] for layer in (old, new))
            if [tuple(v.shape) for v in olds] != [tuple(v.shape) for v in news]:
                raise _unlike(old, "other variables")
            found |= {id(a): (a, b) for a, b in zip(olds, news, strict=True)}
        expected = [v for v in self._model.variables if id(v) not in states | dropped]
        got = [v for v in twin.variables if id(v) not in states]
        if [id(found[id(v)][1]) if id(v) in found else None for v in expected] != [id(v) for v in got]:
            raise _unlike(self._model, "variables that belong to no layer of it, or others")
        return found

    def _compile(self, twin: Any, variables: dict[int, Any]) -> None:
        """Compiles the twin as the old model was compiled, and copies the optimizer's variables."""
        model = self._model
        if self._arguments:
            copied = {key: self._copied(self._arguments[key]) for key in ("optimizer", "metrics", "weighted_metrics")}
            # Where the loss is scaled, the optimizer is already wrapped.
            twin.compile(**self._arguments | copied, auto_scale_loss=False)
        else:  # the class has a compile of its own
            twin.compile_from_config(model.get_compile_config())
        optimizer = getattr(model, "optimizer", None)
        if optimizer is None or not optimizer.built:
            return
        # An optimizer was built for the variables that were trainable then. Keras lists them nowhere publicly.
        built_for = optimizer._trainable_variables
        twin.optimizer.build([variables[id(v)] for v in built_for if id(v) in variables])
        gone = tuple(v.path.replace("/", "_") + "_" for v in built_for if id(v) not in variables)
        kept = [v for v in optimizer.variables if not v.name.startswith(gone)]
        for old, new in zip(kept, twin.optimizer.variables, strict=True):
            _assign(new, old)

    def _copied(self, value: Any) -> Any:
        """Copies the metrics and optimizers in nested lists and dictionaries, as they have variables."""
        if isinstance(value, list | tuple):
            return [self._copied(item) for item in value]
        if isinstance(value, dict):
            return {key: self._copied(item) for key, item in value.items()}
        if not isinstance(value, keras.metrics.Metric | keras.optimizers.Optimizer):
            return value
        return self._from_config(type(value), self._with_functions(value, _config(value)))


class _Made:
    """A class in a config whose objects are the twin of one given layer."""

    def __init__(self, copy: _Copy, layer: Any) -> None:
        self._copy, self._layer = copy, layer

    def from_config(self, config: dict[str, Any]) -> Any:
        """Returns the twin. Keras calls this."""
        return self._copy._twin(self._layer)


def _call_in_turn(layers_or_operations: tuple[Any, ...], *args: Any, **kwargs: Any) -> Any:
    """Calls one operation of a functional model, or a stack of layers with the same mask for each."""
    first, *rest = layers_or_operations
    outputs = first(*args, **kwargs)
    kwargs.pop("sequences", None)
    for layer in rest:
        outputs = layer(outputs, *args[1:], **kwargs)
    return outputs


# --- configs -------------------------------------------------------------------------------------------------------


def _config(value: Any) -> dict[str, Any]:
    try:
        with warnings.catch_warnings():
            # Keras warns that a file with a lambda is unsafe to load. Here the function itself is used.
            warnings.filterwarnings("ignore", _LAMBDA, UserWarning)
            return value.get_config()
    except NotImplementedError as error:
        raise ValueError(
            f"{name_of(value)} cannot be copied, as its class has no get_config; expected layers and models that "
            "Keras can save. Write get_config for it, with every argument of its constructor."
        ) from error


def _header(kind: type) -> dict[str, Any]:
    """How Keras names a class in a config."""
    if issubclass(kind, OURS):
        registered = keras.saving.get_registered_name(kind)
        return {"module": kind.__module__, "class_name": kind.__name__, "registered_name": registered}
    return {"module": "keras.layers", "class_name": kind.__name__, "registered_name": None}


def _without_extras(config: dict[str, Any], kind: type) -> dict[str, Any]:
    """The config without the arguments that Keras's own layers lack, unless the class is elman's."""
    return config if issubclass(kind, OURS) else {key: v for key, v in config.items() if key not in EXTRAS}


def _not_in_config(layer: Any, cell: Any) -> dict[str, Any]:
    """The arguments of a recurrent layer that Keras's configs do not contain."""
    found = {"seed": cell.seed}
    if hasattr(cell, "implementation"):
        found["implementation"] = cell.implementation
    if "use_cudnn" in vars(layer):  # stock's
        found["use_cudnn"] = layer.use_cudnn
    return found


def _named(layer: Any) -> dict[tuple[str, str], Any]:
    """The layers inside of one, by class and name, as a config has them."""
    return {(type(part).__name__, part.name): part for part in layer._flatten_layers(include_self=False)}


def _custom_objects(holders: list[Any]) -> dict[str, Any]:
    """The user's classes and functions that the configs of these objects name."""
    found: dict[str, Any] = {}
    for value in (*holders, *(value for holder in holders for value in vars(holder).values())):
        if not isinstance(value, FunctionType):
            if not hasattr(value, "get_config"):
                continue
            value = type(value)
        if value.__module__.partition(".")[0] not in {"keras", "elman"}:
            found[keras.saving.get_registered_name(value)] = value
    return found


def _compile_arguments(model: Any) -> dict[str, Any]:
    """The arguments of `compile`, as objects; empty if the model's class has a compile of its own."""
    if not model.compiled or type(model).compile is not keras.Model.compile:
        return {}
    # The public get_compile_config turns functions into names, and lambdas into code without its globals.
    return model._compile_config.config | {"optimizer": model.optimizer}


def _leaves(value: Any) -> Iterator[Any]:
    """The objects in nested lists and dictionaries that have attributes, and the optimizers that others wrap."""
    if isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _leaves(item)
    elif hasattr(value, "__dict__"):
        yield value
        yield from _leaves(getattr(value, "inner_optimizer", None))


# --- values --------------------------------------------------------------------------------------------------------


def _unlike(layer: Any, difference: str) -> ValueError:
    return ValueError(
        f"{name_of(layer)} cannot be copied: made again from its config it has {difference}; expected a config from "
        "which Keras makes the same layer again. Write get_config with every argument of the constructor, and make "
        "parts and weights in the constructor or in build."
    )


def _array(value: Any) -> np.ndarray:
    """A copy of a variable, as training on JAX frees the memory of the old values."""
    return np.array(keras.ops.convert_to_numpy(value))


def _assign(new: Any, old: Any) -> None:
    new.assign(_array(old))


def _states(layer: Any) -> list[Any]:
    """The variables of a stateful recurrent layer."""
    return [] if layer.states is None else keras.tree.flatten(layer.states)


def _copy_states(pairs: list[tuple[Any, Any]]) -> None:
    """Copies the states of recurrent layers. An RNN of stacked cells has the states of all its twins, in order."""
    found: dict[int, tuple[list[Any], dict[int, Any]]] = {}
    for old, new in pairs:
        if isinstance(old, keras.layers.RNN):  # a pair may be there twice
            found.setdefault(id(old), (_states(old), {}))[1].update((id(state), state) for state in _states(new))
    for states, twins in found.values():
        for state, twin in zip(states, twins.values(), strict=True):
            _assign(twin, state)


def _copy_rest(old: Any, new: Any) -> None:
    """Copies what is not in a config: a model's dtype policy, what a layer derives when it loads, vocabularies."""
    if new.dtype_policy != old.dtype_policy:
        new.dtype_policy = old.dtype_policy  # a model's
    if "use_cudnn" in vars(old):
        new.use_cudnn = old.use_cudnn  # Keras's own layers in a Bidirectional have it
    if type(old) is type(new) and type(new).load_own_variables is not keras.Layer.load_own_variables:
        store: dict[str, Any] = {}
        old.save_own_variables(store)
        new.load_own_variables({key: _array(value) for key, value in store.items()})
    if hasattr(old, "save_assets"):
        with tempfile.TemporaryDirectory() as folder:
            old.save_assets(folder)
            new.load_assets(folder)
