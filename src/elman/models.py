# SPDX-License-Identifier: Apache-2.0
"""Whole models: what their recurrent layers run on, and the same model with elman's layers or with Keras's own.

In: a Keras model, which is left as it is. Out: a table, or a new model that computes and trains as the old one would
go on. A layer is made anew from its own config, by its class and not by a name (for an RNN of cells `keras_rnn` has
the config, or says why it stays), and a model from its layers' twins; then variables, states,
trainable flags, compile settings and the optimizer's variables are copied, pair by pair.
"""

from __future__ import annotations

import functools
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any, NamedTuple

import keras
import numpy as np

from elman import keras_rnn, layers, route
from elman.cells import CELLS
from elman.layer_checks import EXTRAS, name_of

__all__ = ["LayerRoute", "accelerate", "routes", "to_stock"]

# Keras's layer, and the one of elman that computes the same.
TWINS: tuple[tuple[type, type], ...] = tuple(
    (getattr(keras.layers, cell.keras), getattr(layers, cell.keras)) for cell in CELLS.values()
)

_GRADIENT_OPTIONS = ("truncate_gradient", "clip_state_gradient", "activity_regularizer")  # training alone sees them
_OURS: tuple[type[Any], ...] = tuple(own for _, own in TWINS)
_LAMBDA = "The object being serialized includes a `lambda`"
_GRAPH_KEYS = {"name", "trainable", "layers", "input_layers", "output_layers"}  # of a functional model's config
_OWN_CODE = "a class around it that makes it in its own code"
_log = logging.getLogger("elman")


class LayerRoute(NamedTuple):
    """One row of `routes`.

    Attributes:
        layer: The layer's name, behind those of what it is in: `"bidirectional/forward_simple_rnn"`.
        path: `"native"` or `"keras"`; `None` where it is not known yet.
        reason: Off the native path, the sentence that says why.
    """

    layer: str
    path: str | None
    reason: str | None


# --- what users call -----------------------------------------------------------------------------------------------


def accelerate(model: Any) -> Any:
    """The same model with elman's layers where it has Keras's `SimpleRNN`, `LSTM` and `GRU`, and `RNN` of their cells.

    Stacked cells, `RNN([cell, ...])`, become one layer each, `NAME_cell_1` and so on, in a Sequential or Functional
    model. An `RNN` that elman has no layers for stays as it is, and is named in one warning of the logger "elman".
    Weights, outputs, names, states, seeds, frozen layers, compile settings and the optimizer with its variables are
    those of the model, so that training goes on where it was.

    Args:
        model: A Sequential or Functional model, or one that can be made from its config. It is left as it is.

    Returns:
        A new model that shares nothing with it.

    Raises:
        TypeError: If it is not a Keras model.
        ValueError: If a recurrent layer is where it cannot be replaced, or the model cannot be made from its config.

    Example:

        fast = elman.accelerate(keras.models.load_model("model.keras"))
        fast.fit(x, y)
    """
    _check_model("accelerate", model)
    twins = dict(TWINS)
    fast = _Copy(model, twins, keras_rnn.LAYERS).run(
        lambda twin: _check_none_stays("accelerate", twin, lambda kind: kind in twins)
    )
    held = _held(fast)
    kept = [
        f"{type(layer).__name__} {path!r}, which has {_kept_for(layer, held) or _OWN_CODE}"
        for path, layer in recurrent_layers(fast)
        if not isinstance(layer, _OURS)
    ]
    if kept:
        _log.warning("accelerate keeps Keras's own: %s.", "; ".join(kept))
    return fast


def to_stock(model: Any) -> Any:
    """The same model with Keras's own layers where it has elman's, so that its files open without elman.

    Weights, outputs, names, states, seeds, frozen layers, compile settings and the optimizer with its variables are
    those of the model. What acts on training alone and Keras does not have (`truncate_gradient`,
    `clip_state_gradient`, a recurrent layer's `activity_regularizer`) or on files (`save_state`) is dropped, and named
    in one warning of the logger "elman".

    Args:
        model: A Sequential or Functional model, or one that can be made from its config. It is left as it is.

    Returns:
        A new model that shares nothing with it.

    Raises:
        TypeError: If it is not a Keras model.
        ValueError: If a layer begins at a learned initial state that is not zero, if a recurrent layer is where it
            cannot be replaced, or if the model cannot be made from its config.

    Example:

        elman.to_stock(model).save("model.keras")
    """
    _check_model("to_stock", model)
    dropped = [text for path, layer in recurrent_layers(model) if (text := _dropped(path, layer))]
    twins = {own: stock for stock, own in TWINS}
    stock = _Copy(model, twins, {}).run(
        lambda twin: _check_none_stays("to_stock", twin, lambda k: issubclass(k, _OURS))
    )
    if dropped:
        _log.warning("to_stock drops what Keras's own layers do not have: %s.", "; ".join(dropped))
    return stock


def routes(model: Any) -> list[LayerRoute]:
    """Prints what each recurrent layer ran on when Keras last traced it, and why.

    Args:
        model: A model, or a layer; what is nested in it counts.

    Returns:
        A row for each recurrent layer, elman's and Keras's, in the order of the model.

    Raises:
        TypeError: If it is no Keras layer or model.

    Example:

        elman.routes(model)  # layer       path    reason
                             # simple_rnn  native
    """
    if not isinstance(model, keras.Layer):
        raise TypeError(f"routes got {_kind_of(model)}; expected a Keras model or layer.")
    held = _held(model)
    rows = [LayerRoute(path, *_route_of(layer, held)) for path, layer in recurrent_layers(model)]
    print(_table(rows) if rows else f"{name_of(model)} has no recurrent layer.")
    return rows


# --- recurrent layers and their names ------------------------------------------------------------------------------


def _parts(layer: Any) -> list[Any]:
    """The layers directly in one; Keras tells it publicly of models alone."""
    if isinstance(layer, keras.Model):
        return list(layer.layers)
    return list(layer._flatten_layers(include_self=False, recursive=False))


def recurrent_layers(model: Any) -> Iterator[tuple[str, Any]]:
    """Each recurrent layer once, with its name as the user knows it."""
    seen = set()

    def walk(layer: Any, path: str) -> Iterator[tuple[str, Any]]:
        if id(layer) in seen:
            return
        seen.add(id(layer))
        if isinstance(layer, keras.layers.RNN):
            yield path, layer
            return
        for part in _parts(layer):
            yield from walk(part, f"{path}/{part.name}" if path else part.name)

    return walk(model, model.name if isinstance(model, keras.layers.RNN) else "")


def _held(model: Any) -> set[int]:
    """The ids of the layers that something holds which takes one layer in their place."""
    holders = [h for h in model._flatten_layers() if not isinstance(h, keras.Sequential | _functional_class())]
    return {id(part) for holder in holders for part in _parts(holder)}


def _kept_for(layer: Any, held: set[int]) -> str:
    """What one of Keras's layers has that no layer of elman has; empty if there is a layer for it."""
    if type(layer) in dict(TWINS):
        return ""
    if type(layer) is not keras.layers.RNN:
        return f"the class {type(layer).__name__}"
    return keras_rnn.obstacle(layer, id(layer) in held) or ""


def _route_of(layer: Any, held: set[int]) -> tuple[str | None, str | None]:
    if not isinstance(layer, _OURS):
        what = _kept_for(layer, held)
        return "keras", route.reason("kept", what=what) if what else route.reason("stock")
    if layer.route is None:
        return None, "not called yet"
    return layer.route.path, layer.route.reason


def _table(rows: list[LayerRoute]) -> str:
    texts = [("layer", "path", "reason"), *((row.layer, row.path or "-", row.reason or "") for row in rows)]
    name, path = (max(len(text[column]) for text in texts) for column in (0, 1))
    return "\n".join(f"{text[0]:{name}}  {text[1]:{path}}  {text[2]}".rstrip() for text in texts)


# --- checks --------------------------------------------------------------------------------------------------------


def _kind_of(value: Any) -> str:
    return name_of(value) if isinstance(value, keras.Layer) else f"a {type(value).__name__}"


def _check_model(function: str, model: Any) -> None:
    if isinstance(model, keras.Model):
        return
    hint = " Put the layer into one, keras.Sequential([layer])." if isinstance(model, keras.Layer) else ""
    raise TypeError(f"{function} got {_kind_of(model)}; expected a Keras model (keras.Model).{hint}")


def _check_none_stays(function: str, twin: Any, to_replace: Callable[[type], bool]) -> None:
    """A layer of a user's own class stays as it is; one that a class makes in its own code is made there again."""
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
    """What a stock layer leaves out, as the warning names it."""
    if not isinstance(layer, _OURS):
        return ""
    names = [name for name in _GRADIENT_OPTIONS if getattr(layer, name) is not None]
    if layer.learn_initial_state:
        if any(np.any(keras.ops.convert_to_numpy(weight)) for weight in layer._initial_weights):
            raise ValueError(
                f"to_stock got {type(layer).__name__} {path!r} with a learned initial state that is not zero; expected "
                "layers that begin at zero, as Keras's own do. Train with learn_initial_state=False, or hand the model "
                "on as it is and load it after `import elman`."
            )
        names.append("learn_initial_state")
    if layer.save_state:
        names.append("save_state")
    return f"{', '.join(names)} of {path!r}" if names else ""


# --- a model made anew ---------------------------------------------------------------------------------------------


class _Copy:
    """One copying of a model.

    `twins` says which class becomes which, and `of_cells` what an RNN of a cell becomes. `_made` holds each layer with
    its twin, or an RNN of stacked cells with its twins, parts before what holds them, so that a shared layer is made
    once; `_whole` the ids of those made with all that is in them, from one config.
    """

    def __init__(self, model: Any, twins: dict[type, type], of_cells: dict[type, type]) -> None:
        self._model, self._twins, self._of_cells = model, twins, of_cells
        self._held = _held(model)
        self._made: dict[int, tuple[Any, tuple[Any, ...]]] = {}
        self._whole: set[int] = set()
        self._arguments = _compile_arguments(model)
        self._objects = _custom_objects([*model._flatten_layers(), *_leaves(self._arguments)])

    def run(self, check: Callable[[Any], None]) -> Any:
        """The new model, checked, with everything that the old one has come to."""
        twin = self._twin(self._model)
        check(twin)
        pairs = self._pairs(twin)
        variables = self._variables(pairs, twin)
        for old, new in pairs:
            new.trainable = old.trainable  # what holds others comes first: it sets theirs too
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
        """A layer's twin; of stacked cells one twin each, where what holds the layer takes some."""
        if id(layer) not in self._made:
            if isinstance(layer, keras.Sequential):
                twins = (self._sequential(layer),)
            elif isinstance(layer, _functional_class()):
                twins = (self._functional(layer),)
            elif self._of_cells and keras_rnn.are_stacked(layer) and not _kept_for(layer, self._held):
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
            return type(layer) if _kept_for(layer, self._held) else self._of_cells[type(layer.cell)]
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
        plain = type(model) is _functional_class()
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
            config = _without_extras(config, kind) | _left_out(layer, layer.cell)
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
            inner = keras_rnn.config_of_one(config, inner, i, len(stack)) | _left_out(layer, cell)
            shape = {"input_shape": (batch, None, int(cell.kernel.shape[0]))} if layer.built else None
            twins.append(self._from_config(self._of_cells[type(cell)], inner, shape))
            self._made[id(cell)] = cell, (twins[-1].cell,)
            self._whole.add(id(cell))
        return tuple(twins)

    def _from_config(self, kind: type, config: dict[str, Any], build_config: Any = None) -> Any:
        """An object of exactly this class, whether or not Keras would find it by its name."""
        name = f"elman>made_{id(kind)}"  # of this class alone: calls nest, and the outermost scope wins
        record = {"class_name": kind.__name__, "config": config, "registered_name": name, "build_config": build_config}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", _LAMBDA, UserWarning)
            return keras.saving.deserialize_keras_object(
                record,
                custom_objects={**self._objects, name: kind},
                safe_mode=False,  # the lambdas are the model's own
            )

    def _with_functions(self, owner: Any, config: dict[str, Any]) -> dict[str, Any]:
        """The config with each function itself: Keras writes its name, or code without its globals."""
        config = dict(config)
        for key, value in config.items():
            function = vars(owner).get(f"_{key}", getattr(owner, key, None))
            if isinstance(function, FunctionType) and not isinstance(value, str):
                name = f"elman>function_{id(function)}"
                self._objects[name] = function
                config[key] = {"class_name": "function", "config": name, "registered_name": name}
        return config

    def _replaced(self, value: Any, parts: dict[tuple[str, str], Any]) -> Any:
        """A config in which each of the layer's parts stands for its twin, and other layers are of the twin's class."""
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
        """Every layer with its twin, what holds others before them."""
        alive = {id(layer) for layer in twin._flatten_layers()}
        pairs: list[tuple[Any, Any]] = []
        for old, twins in reversed(self._made.values()):
            if id(twins[0]) not in alive:
                continue  # an operation; or a part of which a wrapper made its own
            if id(old) not in self._whole:
                pairs += [(old, new) for new in twins]
                continue
            olds, news = old._flatten_layers(), twins[0]._flatten_layers()
            if len(olds) != len(news) or not all(map(self._are_twins, olds, news)):
                raise _unlike(old, "other layers in it")
            pairs += zip(olds, news, strict=True)
        return pairs

    def _are_twins(self, old: Any, new: Any) -> bool:
        """Whether one layer stands for the other; an RNN that a class makes in its own code stays one."""
        return type(new) is self._kind(old) or (type(new) is type(old) is keras.layers.RNN)

    def _variables(self, pairs: list[tuple[Any, Any]], twin: Any) -> dict[int, tuple[Any, Any]]:
        """Each variable with its twin, by the old one's id; not the states, nor what stock layers do not have."""
        states = {
            id(v) for model in (self._model, twin) for _, layer in recurrent_layers(model) for v in _states(layer)
        }
        dropped = {
            id(v)
            for _, layer in recurrent_layers(self._model)
            if not issubclass(self._kind(layer), _OURS)
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
        """Compiles as the old model was, and gives the optimizer the old one's variables."""
        model = self._model
        if self._arguments:
            anew = {key: self._anew(self._arguments[key]) for key in ("optimizer", "metrics", "weighted_metrics")}
            # The optimizer is already wrapped where its loss is scaled.
            twin.compile(**self._arguments | anew, auto_scale_loss=False)
        else:  # the class compiles in its own way
            twin.compile_from_config(model.get_compile_config())
        optimizer = getattr(model, "optimizer", None)
        if optimizer is None or not optimizer.built:
            return
        # Nothing public tells which variables an optimizer was built for: not those that are trainable today.
        built_for = optimizer._trainable_variables
        twin.optimizer.build([variables[id(v)] for v in built_for if id(v) in variables])
        gone = tuple(v.path.replace("/", "_") + "_" for v in built_for if id(v) not in variables)
        kept = [v for v in optimizer.variables if not v.name.startswith(gone)]
        for old, new in zip(kept, twin.optimizer.variables, strict=True):
            _assign(new, old)

    def _anew(self, value: Any) -> Any:
        """Metrics and optimizers, which have variables, made anew wherever they are in lists and dictionaries."""
        if isinstance(value, list | tuple):
            return [self._anew(item) for item in value]
        if isinstance(value, dict):
            return {key: self._anew(item) for key, item in value.items()}
        if not isinstance(value, keras.metrics.Metric | keras.optimizers.Optimizer):
            return value
        return self._from_config(type(value), self._with_functions(value, _config(value)))


class _Made:
    """Stands for a class in a config, and is made into the twin of one layer."""

    def __init__(self, copy: _Copy, layer: Any) -> None:
        self._copy, self._layer = copy, layer

    def from_config(self, config: dict[str, Any]) -> Any:
        """As Keras calls it."""
        return self._copy._twin(self._layer)


@functools.cache
def _functional_class() -> type:
    """That of functional models, which Keras has no public name for."""
    tensor = keras.Input((1,))
    return type(keras.Model(tensor, tensor))


def _call_in_turn(layers_or_operations: tuple[Any, ...], *args: Any, **kwargs: Any) -> Any:
    """Calls one operation of a functional model; or layers one behind the other, all with the same mask."""
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
            # Keras says of a lambda that a file with it is unsafe to load. Here the function itself is kept.
            warnings.filterwarnings("ignore", _LAMBDA, UserWarning)
            return value.get_config()
    except NotImplementedError as error:
        raise ValueError(
            f"{name_of(value)} cannot be made anew, as its class has no get_config; expected layers and models that "
            "Keras can save. Write get_config for it, with every argument of its constructor."
        ) from error


def _header(kind: type) -> dict[str, Any]:
    """How Keras names a class in a config."""
    if issubclass(kind, _OURS):
        registered = keras.saving.get_registered_name(kind)
        return {"module": kind.__module__, "class_name": kind.__name__, "registered_name": registered}
    return {"module": "keras.layers", "class_name": kind.__name__, "registered_name": None}


def _without_extras(config: dict[str, Any], kind: type) -> dict[str, Any]:
    """The config, with no argument that a class of this kind does not take."""
    return config if issubclass(kind, _OURS) else {key: v for key, v in config.items() if key not in EXTRAS}


def _left_out(layer: Any, cell: Any) -> dict[str, Any]:
    """What stock's configs leave out of a layer of this cell."""
    found = {"seed": cell.seed}
    if hasattr(cell, "implementation"):
        found["implementation"] = cell.implementation
    if "use_cudnn" in vars(layer):  # stock's
        found["use_cudnn"] = layer.use_cudnn
    return found


def _named(layer: Any) -> dict[tuple[str, str], Any]:
    """The layers in one, by what a config tells of them."""
    return {(type(part).__name__, part.name): part for part in layer._flatten_layers(include_self=False)}


def _custom_objects(holders: list[Any]) -> dict[str, Any]:
    """The classes and functions of the user's own that the configs of these objects name."""
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
    """What the model was compiled with, as objects; empty where its class compiles in its own way."""
    if not model.compiled or type(model).compile is not keras.Model.compile:
        return {}
    # The public get_compile_config turns functions into names, and lambdas into code without its globals.
    return model._compile_config.config | {"optimizer": model.optimizer}


def _leaves(value: Any) -> Iterator[Any]:
    """The objects in nested lists and dictionaries that have attributes; of an optimizer the one it wraps too."""
    if isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _leaves(item)
    elif hasattr(value, "__dict__"):
        yield value
        yield from _leaves(getattr(value, "inner_optimizer", None))


# --- values --------------------------------------------------------------------------------------------------------


def _unlike(layer: Any, what: str) -> ValueError:
    return ValueError(
        f"{name_of(layer)} cannot be copied: made anew from its config it has {what}; expected a config from which "
        "Keras makes the same layer again. Write get_config with every argument of the constructor, and make parts "
        "and weights in the constructor or in build."
    )


def _array(value: Any) -> np.ndarray:
    """A copy: on JAX training gives away the memory of what it replaces."""
    return np.array(keras.ops.convert_to_numpy(value))


def _assign(new: Any, old: Any) -> None:
    new.assign(_array(old))


def _states(layer: Any) -> list[Any]:
    """The variables of a stateful recurrent layer."""
    return [] if layer.states is None else keras.tree.flatten(layer.states)


def _copy_states(pairs: list[tuple[Any, Any]]) -> None:
    """Copies the states of recurrent layers; an RNN of stacked cells has those of all its twins, in their order."""
    found: dict[int, tuple[list[Any], dict[int, Any]]] = {}
    for old, new in pairs:
        if isinstance(old, keras.layers.RNN):  # a pair may be there twice
            found.setdefault(id(old), (_states(old), {}))[1].update((id(state), state) for state in _states(new))
    for states, twins in found.values():
        for state, twin in zip(states, twins.values(), strict=True):
            _assign(twin, state)


def _copy_rest(old: Any, new: Any) -> None:
    """What else a layer has: what its config does not hold, what it derives when it loads, vocabularies."""
    if new.dtype_policy != old.dtype_policy:
        new.dtype_policy = old.dtype_policy  # a model's
    if "use_cudnn" in vars(old):
        new.use_cudnn = old.use_cudnn  # that of stock's layers in a Bidirectional
    if type(old) is type(new) and type(new).load_own_variables is not keras.Layer.load_own_variables:
        store: dict[str, Any] = {}
        old.save_own_variables(store)
        new.load_own_variables({key: _array(value) for key, value in store.items()})
    if hasattr(old, "save_assets"):
        with tempfile.TemporaryDirectory() as folder:
            old.save_assets(folder)
            new.load_assets(folder)
