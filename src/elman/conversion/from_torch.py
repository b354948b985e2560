# SPDX-License-Identifier: Apache-2.0
"""A torch module as an `elman.Network`: nn.RNN, LSTM and GRU with dense layers around them.

In: a module, whose `forward` is traced by torch.fx. Out: a network with the same weights, once both have computed the
same from random input. `MODULES` has one function for each class of torch.nn, `FUNCTIONS` one for each function and
method of tensors. What neither has is refused by name. Keras is not imported.
"""

from __future__ import annotations

import dataclasses
import inspect
import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import fx, nn

from elman import torch as modules
from elman.conversion.check import check_same, random_input
from elman.conversion.graph import Call, Joined, Loaded, nested, network_of, used_twice
from elman.network import (
    LAYERS,
    Activation,
    Concat,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    Last,
    Latest,
    LayerNorm,
    Network,
    Rescale,
    Reverse,
    Sum,
)
from elman.patching import stock
from elman.torch_forms import BY_TORCH, DTYPES, Form, check_parameters, form_of_module, keras_weights, suffixes

_ALL = slice(None)
_SIZE = 3  # what a traced program sees as every size


class _Tensor(NamedTuple):
    """A tensor of the traced program.

    Attributes:
        call: What computes it.
        features: Size of its last axis; `None` if it is that of the input.
        sequence: Whether it has a time axis; `None` if the input's is not known yet.
        swapped: Whether batch and time are in the other order than in the input.
        channels: Whether the features come before the time, (batch, features, time), as nn.BatchNorm1d takes them.
        latest: The program has only so many of the last steps, and has yet to lay them side by side.
        flat: Features of each step, where all steps lie side by side and their number is not known yet.
    """

    call: Call
    features: int | None = None
    sequence: bool | None = None
    swapped: bool = False
    channels: bool = False
    latest: int | None = None
    flat: int | None = None

    def to(self, *entries: Any, **changed: Any) -> _Tensor:
        """The result of entries on it."""
        return self._replace(call=Call(list(entries), (self.call,)), **changed)


class _States(NamedTuple):
    """The last states `h` of a recurrent module, of each layer and direction, or its `c`, which are not held."""

    each: tuple[_Tensor, ...]


class _Results(NamedTuple):
    """What a recurrent module returns."""

    outputs: _Tensor
    states: _States | tuple[_States, _States]


def from_torch(module: Any) -> Network:
    """A torch module as a `Network`; see `Network.from_torch`."""
    if not isinstance(module, nn.Module):
        raise TypeError(f"from_torch got {type(module).__name__}; expected a torch.nn.Module.")
    modes = [(each, each.training) for each in module.modules()]
    try:
        module.eval()
        return _converted(module)
    finally:
        for each, training in modes:
            each.training = training


def _converted(module: Any) -> Network:
    dtype = _dtype(module)
    program = _Program(module)
    end = program.run()
    entries = nested(end.call, lambda calls: (calls[0].what, 1), Joined)
    twice = used_twice(entries)
    if twice is not None:
        raise _refused(program.names[id(twice)], "it is in two places, and a Network would train them apart")
    network = network_of(_shortened(entries), program.shape, dtype)
    x = random_input(network, program.shape)
    what = f"the module {type(module).__name__} and its Network"
    check_same(what, program.compute(x, end), network(x), network.dtype)
    return network


def _refused(name: str, reason: str) -> ValueError:
    known = ", ".join(dict.fromkeys(f"nn.{kind.__name__}" for kind in MODULES))
    return ValueError(
        f"a Network cannot hold {name}: {reason}. It holds {known}; in forward, the outputs of a recurrent module, "
        f"its h[-1], out[:, -1], out[:, -n:].flatten(1), +, torch.cat of features, and {', '.join(sorted(FUNCTIONS))}."
    )


def _dtype(module: Any) -> str:
    found = sorted({str(each.dtype).removeprefix("torch.") for each in module.parameters()})
    if len(found) != 1 or found[0] not in DTYPES:
        raise ValueError(
            f"from_torch got a module of dtype {' and '.join(found) or 'none, as it has no parameters'}; expected "
            "float32 or float64 in all modules. Pass a copy, copy.deepcopy(module).float()."
        )
    return found[0]


def _shortened(entries: list[Any]) -> list[Any]:
    """With layers that return the last step alone, where only that one is used."""
    found: list[Any] = []
    for entry in entries:
        if isinstance(entry, Joined):
            entry = Joined(entry.kind, [_shortened(branch) for branch in entry.branches])
        before: Any = found[-1] if found else None
        is_last = isinstance(entry, Loaded) and isinstance(entry.layer, Last)
        if is_last and isinstance(before, Loaded) and getattr(before.layer, "return_sequences", False):
            found[-1] = _final(before)
        else:
            found.append(entry)
    return found


def _final(loaded: Loaded) -> Loaded:
    """A recurrent layer that returns its last output alone."""
    layer: Any = loaded.layer
    return loaded._replace(layer=dataclasses.replace(layer, return_sequences=False))


# --- the program ----------------------------------------------------------------------------------------------------


class _Proxy(fx.Proxy):
    """A traced tensor that answers what a program asks to make a state of zeros: sizes, dtype and device."""

    def size(self, axis: int | None = None) -> Any:
        return self.shape if axis is None else _SIZE

    @property
    def shape(self) -> tuple[int, ...]:
        return (_SIZE,) * 3

    @property
    def dtype(self) -> Any:
        return self.tracer.like.dtype

    @property
    def device(self) -> Any:
        return self.tracer.like.device


class _Tracer(fx.Tracer):
    def __init__(self, like: torch.Tensor) -> None:
        super().__init__()
        self.like = like

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Proxy(node, self)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Those of torch.nn, and elman's own."""
        return isinstance(m, nn.RNNBase) or super().is_leaf_module(m, module_qualified_name)


class _Root(nn.Module):
    """Calls a module with its input alone, so that other arguments of its forward keep their defaults."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Any) -> Any:
        return self.module(x)


class _Program:
    """A traced module.

    Attributes:
        names: The name of each parameter, by its id.
        features: Size of the input's last axis, once it is known.
        time: Number of the input's steps, where a layer after Flatten tells it.
        sequence: Whether the input has a time axis.
        integers: Whether the input is the integers of an embedding.
        batch_first: The order of the input's axes, once it is known.
    """

    def __init__(self, module: Any) -> None:
        self.root = _Root(module)
        self.names = {id(p): name for name, p in module.named_parameters()}
        self.features: int | None = None
        self.time: int | None = None
        self.sequence = self.integers = False
        self.batch_first: bool | None = None
        self.like = next(module.parameters(), torch.empty(0))
        try:
            self.graph = _Tracer(self.like).trace(self.root)
        except (fx.proxy.TraceError, TypeError) as error:
            raise ValueError(
                f"from_torch cannot trace the forward of {type(module).__name__}: {error}. Expected one without "
                "branches or loops that depend on the input. Convert the parts of the module one by one."
            ) from error

    def run(self) -> _Tensor:
        """The result of the program, computed with `_Tensor`s.

        Raises:
            ValueError: If a Network cannot hold a call.
        """
        known: dict[fx.Node, Any] = {}
        for node in self.graph.nodes:
            arguments, named = fx.node.map_arg((node.args, node.kwargs), known.__getitem__)
            known[node] = self._result(node, list(arguments), dict(named))
        return known[node]

    def _result(self, node: fx.Node, arguments: list[Any], named: dict[str, Any]) -> Any:
        if node.op == "placeholder":
            return _Tensor(Call(None))
        if node.op == "get_attr":
            return operator.attrgetter(str(node.target))(self.root)
        if node.op == "call_module":
            module = self.root.get_submodule(str(node.target))
            name = f"{str(node.target).removeprefix('module.')!r} (nn.{type(module).__name__})"
            convert: Any = MODULES.get(type(module))
            arguments = [module, *arguments]
        else:
            target = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
            name, convert = f"{target!r} in forward", FUNCTIONS.get(target)
        if node.op == "output":
            return self._end(arguments[0])
        if convert is None:
            raise _refused(name, "no row of the layer table computes it")
        call = (_Place(self, name), *arguments)
        try:
            inspect.signature(convert).bind(*call, **named)
        except TypeError as error:
            raise _refused(name, f"it is called with {node.args[1:]} and {node.kwargs}") from error
        return convert(*call, **named)

    def _end(self, result: Any) -> _Tensor:
        """What the forward returns; of outputs and last states, the outputs."""
        if isinstance(result, _Results):
            return result.outputs
        several = isinstance(result, (tuple, list)) and not isinstance(result, (_Tensor, _States))
        if several and len(result) > 1 and all(map(_are_states, result[1:])):
            result = result[0]
        if not isinstance(result, _Tensor):
            raise _refused(
                "a forward that returns more than one tensor, or none",
                "expected one, or one and the last states h, which are left out",
            )
        if result.channels or result.latest or result.flat:
            what = "with the features before the time" if result.channels else "of several steps"
            raise _refused(
                f"a forward that returns a tensor {what}", "expected all steps, (batch, time, features), or one vector"
            )
        return result

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Of the input, without the batch."""
        if self.integers:
            return (self.time,)
        if self.features is None:
            raise ValueError("from_torch got a module without a layer that knows the number of features; expected one.")
        return (self.time, self.features) if self.sequence else (self.features,)

    def compute(self, x: np.ndarray, end: _Tensor) -> np.ndarray:
        """What the module itself computes, batch first."""
        time_first = self.batch_first is False
        tensor = torch.from_numpy(x).to(self.like.device)
        tensor = tensor.long() if self.integers else tensor
        with torch.no_grad():
            y = self.root(tensor.transpose(0, 1) if time_first else tensor)
        y = y[0] if isinstance(y, (tuple, list)) else y
        is_sequence = end.sequence or (end.sequence is None and self.sequence)
        return (y.transpose(0, 1) if is_sequence and time_first != end.swapped else y).cpu().numpy()


class _Place(NamedTuple):
    """Where something is called: the program, and the name for errors."""

    program: _Program
    name: str

    def refuse(self, reason: str) -> ValueError:
        return _refused(self.name, reason)

    def tensor(self, x: Any, channels: bool = False) -> _Tensor:
        """Checks that it is a tensor computed from the input, with the features last if `channels` is false."""
        if isinstance(x, _Tensor):
            if x.channels and not channels:
                raise self.refuse("it takes (batch, features, time); only BatchNorm1d and activations do here")
            return x
        what = "the states of a recurrent module" if isinstance(x, (_States, _Results, tuple)) else "a constant"
        raise self.refuse(f"it takes {what}; expected a tensor, such as the outputs or h[-1]")

    def made(self, row: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """A row; what it refuses is the reason."""
        try:
            return row(*arguments, **options)
        except ValueError as error:
            raise self.refuse(str(error).rstrip(".")) from error

    def takes(self, x: Any, features: int) -> _Tensor:
        """A tensor of so many features, which may tell those of the input, or the steps that were flattened."""
        tensor = self.tensor(x)
        if tensor.flat is not None:
            steps, rest = divmod(features, tensor.flat)
            if rest or not steps or (self.program.time or steps) != steps:
                raise self.refuse(f"it takes {features} features and gets all steps of {tensor.flat} features")
            self.program.time = steps
            tensor = tensor._replace(features=features, flat=None)
        if tensor.features is None:
            self.program.features = self.program.features or features
        if (tensor.features or self.program.features) != features:
            raise self.refuse(f"it takes {features} features and gets {tensor.features or self.program.features}")
        return tensor

    def features(self, x: _Tensor) -> int:
        """The number of features of a tensor."""
        size = x.features or self.program.features
        if size is None or x.flat is not None:
            raise self.refuse("it joins the input with something before a layer tells the number of its features")
        return size

    def as_sequence(self, x: Any) -> _Tensor:
        """A tensor that has to have a time axis."""
        tensor = self.tensor(x)
        if tensor.sequence is False:
            raise self.refuse("it takes sequences and gets one vector for each example")
        if tensor.latest:
            raise self.refuse(f"it takes the last {tensor.latest} steps; a Network has them side by side, flatten(1)")
        self.program.sequence = True
        return tensor._replace(sequence=True)

    def is_batch_first(self, x: _Tensor, expected: bool) -> bool:
        """Whether a sequence's batch comes first; what is expected decides where nothing has told it yet."""
        program = self.program
        if program.batch_first is None:
            program.batch_first = expected != x.swapped
        return program.batch_first != x.swapped

    def check_last_axis(self, x: _Tensor, axis: Any) -> None:
        """Checks that an axis is that of the features."""
        if axis not in (-1, 1 if x.sequence is False else 2):
            raise self.refuse(f"it acts on axis {axis}; a Network takes the features, axis -1")


# --- modules --------------------------------------------------------------------------------------------------------


def _are_states(x: Any) -> bool:
    """Whether it is what a recurrent module returns next to its outputs, or nothing."""
    return x is None or isinstance(x, _States) or (type(x) is tuple and all(map(_are_states, x)))


def _array(tensor: Any) -> np.ndarray:
    return tensor.detach().cpu().numpy()


def _recurrent(place: _Place, module: Any, x: Any, hx: Any = None) -> _Results:
    """A stack of layers, each in one direction or in both, with dropout between them."""
    form = form_of_module(torch, module)
    check_parameters(form, module)
    states = hx if isinstance(hx, tuple) else (hx,)
    if not all(each is None or (isinstance(each, torch.Tensor) and not each.any()) for each in states):
        raise place.refuse("it starts from a state that the program computes; a Network starts from zeros")
    weights = {name: _array(parameter) for name, parameter in module.named_parameters()}
    tensor = place.as_sequence(place.takes(x, form.features))
    if place.is_batch_first(tensor, module.batch_first) != module.batch_first:
        raise place.refuse(f"it has batch_first={module.batch_first}, and its input has the other order of axes")
    ends, width = suffixes(form), 2 if form.bidirectional else 1
    last: list[_Tensor] = []
    for number in range(form.layers):
        if number and module.dropout:
            tensor = tensor.to(Loaded(place.made(Dropout, module.dropout)))
        pair = [_row(form, end, weights, module) for end in ends[number * width :][:width]]
        if form.bidirectional:
            last += [_vector(tensor.to(_final(each), features=form.units)) for each in pair]
            branches = [pair[:1], [pair[1], Loaded(Reverse())]]
            tensor = tensor.to(Joined(Concat, branches), features=2 * form.units)
        else:
            tensor = tensor.to(*pair, features=form.units)
            last.append(_vector(tensor.to(Loaded(Last()))))
    h = _States(tuple(last))
    return _Results(tensor, (h, _States(())) if form.kind == "LSTM" else h)


def _vector(x: _Tensor) -> _Tensor:
    return x._replace(sequence=False, swapped=False)


def _row(form: Form, end: str, weights: dict[str, np.ndarray], module: Any) -> Loaded:
    options: dict[str, Any] = {"activation": form.activation} if form.kind == "RNN" else {}
    kind: Any = LAYERS[BY_TORCH[form.kind].keras]
    layer = kind(
        form.units, use_bias=form.bias, return_sequences=True, go_backwards=end.endswith("_reverse"), **options
    )
    return Loaded(layer, tuple(keras_weights(form, end, weights)), getattr(module, f"weight_ih_{end}"))


def _linear(place: _Place, module: Any, x: Any) -> _Tensor:
    row = Dense(module.out_features, use_bias=module.bias is not None)
    values = (_array(module.weight).T, *([_array(module.bias)] if row.use_bias else []))
    return place.takes(x, module.in_features).to(Loaded(row, values, module.weight), features=module.out_features)


def _layer_norm(place: _Place, module: Any, x: Any) -> _Tensor:
    if len(module.normalized_shape) != 1 or module.weight is None or module.bias is None:
        raise place.refuse("it has no weight, no bias, or several axes; a Network normalizes the features")
    row = place.made(LayerNorm, module.eps)
    values = (_array(module.weight), _array(module.bias))
    return place.takes(x, module.normalized_shape[0]).to(Loaded(row, values, module.weight))


def _batch_norm(place: _Place, module: Any, x: Any) -> _Tensor:
    """Folded into y = x scale + offset, with the running mean and variance."""
    if module.running_mean is None:
        raise place.refuse("it has track_running_stats=False, so that each example depends on its batch")
    given = place.tensor(x, channels=True)
    if given.sequence and not given.channels:
        raise place.refuse("it takes the time for features; expected (batch, features, time), as transpose(1, 2) makes")
    tensor = place.takes(given._replace(channels=False), module.num_features)
    mean, variance = (_array(each).astype("float64") for each in (module.running_mean, module.running_var))
    scale = 1 / np.sqrt(variance + module.eps) * (1.0 if module.weight is None else _array(module.weight))
    offset = (0.0 if module.bias is None else _array(module.bias)) - mean * scale
    found = tensor.to(Loaded(Rescale(scale, offset), (scale, offset), scale), channels=given.channels)
    return found if given.channels else _vector(found)


def _flat_module(place: _Place, module: Any, x: Any) -> _Tensor:
    return _flattened(place, x, module.start_dim, module.end_dim)


def _embedding(place: _Place, module: Any, x: Any) -> _Tensor:
    tensor = place.as_sequence(x)
    if tensor.call.what is not None or module.max_norm is not None:
        raise place.refuse("it has max_norm, or does not take the input itself")
    place.program.integers = True
    row = Embedding(module.num_embeddings, module.embedding_dim)
    return tensor.to(Loaded(row, (_array(module.weight),), module.weight), features=module.embedding_dim)


def _dropout(place: _Place, module: Any, x: Any) -> _Tensor:
    return place.tensor(x, channels=True).to(Loaded(place.made(Dropout, module.p)))


def _activation(name: str, **expected: Any) -> Callable[..., _Tensor]:
    """The conversion of a module of an activation, whose options have to be these."""

    def convert(place: _Place, module: Any, x: Any) -> _Tensor:
        for option, value in expected.items():
            if getattr(module, option) != value:
                raise place.refuse(f"it has {option}={getattr(module, option)}; a Network has {value}")
        return place.tensor(x, channels=True).to(Loaded(Activation(name)))

    return convert


def _softmax(place: _Place, module: Any, x: Any) -> _Tensor:
    return _softmax_of(place, x, module.dim)


MODULES: dict[type, Callable[..., Any]] = {
    **{stock(nn, name): _recurrent for name in BY_TORCH},
    **{getattr(modules, name): _recurrent for name in BY_TORCH},
    nn.Linear: _linear,
    nn.LayerNorm: _layer_norm,
    nn.BatchNorm1d: _batch_norm,
    nn.Flatten: _flat_module,
    nn.Embedding: _embedding,
    nn.Dropout: _dropout,
    nn.Identity: lambda place, module, x: place.tensor(x, channels=True),
    nn.Tanh: _activation("tanh"),
    nn.ReLU: _activation("relu"),
    nn.Sigmoid: _activation("sigmoid"),
    nn.Hardsigmoid: _activation("hard_sigmoid"),
    nn.Softplus: _activation("softplus", beta=1.0),
    nn.ELU: _activation("elu", alpha=1.0),
    nn.Softmax: _softmax,
}


# --- functions and methods ------------------------------------------------------------------------------------------


def _item(place: _Place, x: Any, key: Any) -> Any:
    """An index: of what a recurrent module returns, of its states, or of the last step or steps."""
    if isinstance(x, _Results):
        return x[key]
    if isinstance(x, tuple) and not isinstance(x, (_Tensor, _States)):  # (h, c)
        return x[key]
    keys = list(key) if isinstance(key, tuple) else [key]
    while len(keys) > 1 and keys[-1] in (_ALL, Ellipsis):
        keys.pop()
    if isinstance(x, _States):
        if len(keys) == 1 and isinstance(keys[0], int) and -len(x.each) <= keys[0] < len(x.each):
            return x.each[keys[0]]
        raise place.refuse(f"it takes {key} of the last states; expected one of h, such as h[-1]")
    tensor = place.as_sequence(x)
    if keys == ([_ALL, -1] if place.is_batch_first(tensor, keys != [-1]) else [-1]):
        return _vector(tensor.to(Loaded(Last())))
    if len(keys) == 2 and keys[0] == _ALL and isinstance(keys[1], slice) and keys[1].step is None:
        first, end = keys[1].start, keys[1].stop
        if isinstance(first, int) and first < 0 and end is None and place.is_batch_first(tensor, True):
            return tensor._replace(latest=-first)
    raise place.refuse(f"it takes {key}; expected the last step, -1, or the last of them, -n:")


def _add(place: _Place, x: Any, y: Any) -> _Tensor:
    parts = [place.tensor(x), place.tensor(y)]
    features = parts[0].features or parts[1].features
    if features is not None:
        parts = [place.takes(each, features) for each in parts]
    return _join(place, Sum, parts, features)


def _cat(place: _Place, tensors: Sequence[Any], dim: int = 0) -> _Tensor:
    parts = [place.tensor(each) for each in tensors]
    place.check_last_axis(parts[0], dim)
    return _join(place, Concat, parts, sum(place.features(each) for each in parts))


def _join(place: _Place, kind: type[Sum | Concat], parts: Sequence[_Tensor], features: int | None) -> _Tensor:
    first = max(parts, key=lambda part: part.sequence is not None)
    if len({(part.latest, part.flat is None) for part in parts}) > 1:
        raise place.refuse("it joins tensors of different steps")
    return first._replace(call=Call(kind, tuple(part.call for part in parts)), features=features)


def _function(name: str) -> Callable[..., _Tensor]:
    """The conversion of a function that is an activation."""
    return lambda place, x: place.tensor(x, channels=True).to(Loaded(Activation(name)))


def _softmax_of(place: _Place, x: Any, dim: Any = None) -> _Tensor:
    tensor = place.tensor(x)
    place.check_last_axis(tensor, dim)
    return tensor.to(Loaded(Activation("softmax")))


def _dropped(place: _Place, x: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> _Tensor:
    return place.tensor(x, channels=True).to(Loaded(place.made(Dropout, p)))


def _transposed(place: _Place, x: Any, *axes: Any) -> _Tensor:
    """Batch and time in the other order, or time and features."""
    order = axes[0] if len(axes) == 1 else axes
    if [axis % 3 for axis in order] in ([1, 2], [2, 1], [0, 2, 1]):
        tensor = place.as_sequence(x._replace(channels=False)) if isinstance(x, _Tensor) else place.tensor(x)
        if not place.is_batch_first(tensor, True):
            raise place.refuse("it moves the batch from its place; expected batch_first=True")
        return tensor._replace(channels=not x.channels)
    if sorted(order[:2]) != [0, 1] or list(order) in ([0, 1, 2],):
        raise place.refuse(f"it takes the axes {tuple(order)}; expected those of batch and time, 0 and 1")
    tensor = place.as_sequence(x)
    return tensor._replace(swapped=not tensor.swapped)


def _flipped(place: _Place, x: Any, *dims: Any, **named: Any) -> _Tensor:
    axes = [axis for each in (*dims, *named.values()) for axis in (each if isinstance(each, (list, tuple)) else [each])]
    tensor = place.as_sequence(x)
    if axes != [1 if place.is_batch_first(tensor, axes == [1]) else 0]:
        raise place.refuse(f"it flips the axes {axes}; expected that of time")
    return tensor.to(Loaded(Reverse()))


def _squeezed(place: _Place, x: Any, dim: Any = None) -> _Tensor:
    """The only one of the last states, or the last steps of one feature."""
    if isinstance(x, _States) and len(x.each) == 1 and dim == 0:
        return x.each[0]
    if isinstance(x, _Tensor) and x.latest and x.features == 1 and dim in (-1, 2):
        return _side_by_side(x)
    raise place.refuse("it drops an axis; expected h.squeeze(0) of one layer and direction")


def _flattened(place: _Place, x: Any, start_dim: int = 0, end_dim: int = -1) -> _Tensor:
    """All values of an example side by side, or those of the last steps."""
    tensor = place.tensor(x)
    if start_dim != 1 or end_dim not in (-1, 1 if tensor.sequence is False else 2):
        raise place.refuse(f"it joins the axes {start_dim} to {end_dim}; expected those after the batch, 1 to -1")
    if tensor.sequence is False:
        return tensor
    if tensor.latest:
        return _side_by_side(tensor)
    tensor = place.as_sequence(tensor)
    if not place.is_batch_first(tensor, True):
        raise place.refuse("it joins the batch with the features; expected batch_first=True")
    return _vector(tensor.to(Loaded(Flatten()), features=None, flat=place.features(tensor)))


def _side_by_side(x: _Tensor) -> _Tensor:
    assert x.latest
    found = x.to(Loaded(Latest(x.latest)), latest=None, features=x.features and x.features * x.latest)
    return _vector(found)


def _reshaped(place: _Place, x: Any, *sizes: Any) -> _Tensor:
    """`x.reshape(x.size(0), -1)`."""
    if tuple(sizes[0] if len(sizes) == 1 else sizes) != (_SIZE, -1):
        raise place.refuse(f"it makes the shape {sizes}; expected (x.size(0), -1)")
    return _flattened(place, x, 1)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "getitem": _item,
    "add": _add,
    "iadd": _add,
    "cat": _cat,
    "concat": _cat,
    "tanh": _function("tanh"),
    "relu": _function("relu"),
    "sigmoid": _function("sigmoid"),
    "softmax": _softmax_of,
    "dropout": _dropped,
    "transpose": _transposed,
    "permute": _transposed,
    "flip": _flipped,
    "squeeze": _squeezed,
    "flatten": _flattened,
    "reshape": _reshaped,
    "view": _reshaped,
    "contiguous": lambda place, x: place.tensor(x),
}
